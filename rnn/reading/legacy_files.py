"""Files that torch.save wrote before torch 1.6, and plain pickles: pickles, then numbers in a row."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import torch

from rnn.reading.pickle_machine import Makers, Refused
from rnn.reading.pickled_arrays import bytes_of
from rnn.reading.pickled_tensors import Storage, storage_dtype
from rnn.reading.pickles import unpickle
from rnn.reading.tensors import NotUnderstoodError
from rnn.reading.zip_records import Bounded

_MAGIC = 0x1950A86A20F9469CFC6C  # with which these files begin
_PROTOCOL = 1001


def legacy_content(
    stream: BinaryIO,
    size: int,
    read: Callable[[int, int], bytearray],
    *,
    makers: Makers,
    called: dict[str, None],
) -> Any:
    """Read a plain pickle, or what ``torch.save`` wrote before torch 1.6.

    Parameters
    ----------
    stream : binary file
        Stands at its beginning.
    size : int
        Its number of bytes.
    read : callable
        Takes the first byte and the number of bytes, gives them; later, when the file is closed.
    makers : mapping of str to callable
        The globals that are understood, as `rnn.reading.pickles.unpickle` takes them.
    called : dict
        Here the name of each call that is not understood is entered.

    Returns
    -------
    object
        What it holds, with tensors as `Stored`.

    Raises
    ------
    ValueError
        If it is damaged, or of another kind.

    Notes
    -----
    Five pickles (a number, a version, the machine, the content, the names of the storages), then each storage
    with its length before it; torch always wrote these with the least significant byte first.
    """
    known: dict[int, tuple[Any, Any]] = {}

    def nested(content: Any) -> Any:
        """Open a storage that pickle, rather than torch.save, has put into bytes of its own."""
        if id(content) not in known:
            known[id(content)] = content, _nested_content(bytes_of(content), makers, called)
        return known[id(content)][1]

    return _content(stream, size, read, {**makers, "torch.storage._load_from_bytes": nested}, called)


def _nested_content(content: bytes, makers: Makers, called: dict[str, None]) -> Any:
    def read(start: int, length: int) -> bytearray:
        if start + length > len(content):
            raise ValueError("the file is damaged: a storage within it is cut off; get it again")
        return bytearray(content[start : start + length])

    return _content(io.BytesIO(content), len(content), read, makers, called)


def _content(
    stream: BinaryIO,
    size: int,
    read: Callable[[int, int], bytearray],
    makers: Makers,
    called: dict[str, None],
) -> Any:
    bounded = Bounded(stream, size)
    storages: dict[str, tuple[torch.dtype, int]] = {}
    places: dict[str, int] = {}

    def persistent(key: Any) -> Any:
        return _legacy_storage(key, storages, places, read)

    def following() -> Any:
        return unpickle(bounded, makers=makers, persistent=persistent, called=called)

    first = following()
    if type(first) is not int or first != _MAGIC:
        return first
    if following() != _PROTOCOL:
        raise ValueError("a legacy file of an unknown protocol")
    following()
    content, keys = following(), following()
    place = stream.tell()
    for key in keys if isinstance(keys, list) else ():
        dtype, count = storages.get(key, (None, 0)) if isinstance(key, str) else (None, 0)
        if dtype is None:
            raise ValueError("a legacy file with a storage that nothing uses")
        if place + 8 > size or struct.unpack("<q", read(place, 8))[0] != count:
            break  # what follows is cut off, and says so when it is read
        places[key] = place + 8
        place += 8 + count * dtype.itemsize
    return content


def _legacy_storage(
    key: Any,
    storages: dict[str, tuple[torch.dtype, int]],
    places: dict[str, int],
    read: Callable[[int, int], bytearray],
) -> Any:
    if isinstance(key, tuple) and len(key) == 4 and key[0] == "module":
        return key[1]  # a class, beside its source code
    if not (isinstance(key, tuple) and len(key) >= 5 and key[0] == "storage"):
        return Refused("a storage that is named in an unknown way; the file may be damaged")
    try:
        dtype = storage_dtype(key[1])
    except NotUnderstoodError as reason:
        return Refused(str(reason))
    name, count, view = key[2], key[4], key[5] if len(key) > 5 else None
    offset, length = (view[1], view[2]) if isinstance(view, tuple) and len(view) == 3 else (0, count)
    if not (
        isinstance(name, str) and all(type(n) is int and 0 <= n < 1 << 62 for n in (count, offset, length))
    ):
        return Refused("a storage without a name or a length; the file may be damaged")
    if offset + length > count or storages.setdefault(name, (dtype, count)) != (dtype, count):
        return Refused("a storage that does not fit its description; the file may be damaged")

    def read_part(start: int, size: int) -> bytearray:
        if name not in places:
            raise ValueError("the file is damaged or cut off before the numbers of this tensor; get it again")
        return read(places[name] + offset * dtype.itemsize + start, size)

    return Storage(dtype, length * dtype.itemsize, read_part)
