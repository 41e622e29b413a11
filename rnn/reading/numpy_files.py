"""Reader of ``.npy`` and ``.npz`` files, array by array; nothing is unpickled."""

from __future__ import annotations

import dataclasses
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from rnn.reading.tensors import ANY_ARRAY, NotUnderstoodError, Stored, Tensors

_UNPACKED = 2**32  # bytes that an archive may unpack to, whatever its own size
_RATIO = 200  # and how often its own size beyond
_PIECE = 2**20  # bytes that are unpacked at a time


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int
    count: int
    bytes: int


def read_numpy(path: Path) -> Tensors:
    """Read the headers of an ``.npy`` or ``.npz`` file; each array is read when it is asked for.

    Parameters
    ----------
    path : Path
        The file; its first bytes, not its suffix, say which of the two it is.

    Returns
    -------
    Tensors
        Each array of kind `ANY_ARRAY` under its name, a lone one under the name of the file. Text, records,
        Python objects and damaged members are listed with their reasons.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind, or holds no numbers at all.

    Notes
    -----
    Held in memory: headers. A header is believed only where the file has as many bytes as it promises.
    """
    with open(path, "rb") as file:
        lone = file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX
    entries: dict[str, Stored] = {}
    try:
        entries, unrecognised = _or_reason(lambda: _lone(path) if lone else _archive(path))
    except NotUnderstoodError as error:
        unrecognised = [("", str(error))]
    if unrecognised and not entries:
        reason = ": ".join(part for part in unrecognised[0] if part)
        raise ValueError(
            f"source {path} is no readable {path.suffix} file of numbers ({reason:.200}); save it again"
        )
    return Tensors(path.name, entries, dict.fromkeys(entries, ANY_ARRAY), unrecognised)


def _lone(path: Path) -> tuple[dict[str, Stored], list[tuple[str, str]]]:
    with open(path, "rb") as file:
        header = _header(file, os.path.getsize(path))
        spare = os.path.getsize(path) - header.start - header.bytes
    stored = Stored(header.shape, header.dtype.name, lambda: _lone_values(path, header))
    notes = [(path.name, f"{spare} bytes after the first array are not read")] if spare else []
    return {path.stem: stored}, notes


def _archive(path: Path) -> tuple[dict[str, Stored], list[tuple[str, str]]]:
    entries: dict[str, Stored] = {}
    unrecognised = []
    room = max(_UNPACKED, _RATIO * os.path.getsize(path))
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            room -= member.file_size
            try:
                if room < 0:
                    raise NotUnderstoodError("it would unpack to far more bytes than the file has; not read")
                if name in entries:
                    raise NotUnderstoodError("a second array of the same name; only the first is read")
                entries[name] = _member(path, archive, member)
            except NotUnderstoodError as reason:
                unrecognised.append((name, str(reason)))
    return entries, unrecognised


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Stored:
    def header_of() -> _Header:
        with archive.open(member) as file:
            return _header(file, member.file_size)

    header = _or_reason(header_of)
    return Stored(header.shape, header.dtype.name, lambda: _member_values(path, member, header))


def _or_reason(read: Callable[[], Any]) -> Any:
    """Turn whatever a damaged member does into the reason why it is not read."""
    try:
        return read()
    except NotUnderstoodError:
        raise
    except MemoryError:
        raise NotUnderstoodError("it does not fit into memory") from None
    except Exception as error:  # zlib, zipfile, struct, encodings, encryption: each has its own
        reason = (str(error).strip() or "it ends too early").splitlines()[0]
        raise NotUnderstoodError(f"damaged, or of another kind ({reason:.150})") from None


def _header(file: IO[bytes], size: int) -> _Header:
    """Read the header of an array and hold it against the bytes that are there."""
    formats = np.lib.format
    version = formats.read_magic(file)
    if version not in {(1, 0), (2, 0)}:
        raise NotUnderstoodError(f"version {version} of the format, which is for records, not for numbers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's remark on headers of Python 2
        read = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
        shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise NotUnderstoodError("it holds Python objects, or is damaged: nothing is unpickled")
    if dtype.kind not in "iufcb":
        raise NotUnderstoodError(f"an array of dtype {dtype}, not of numbers")
    if dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise NotUnderstoodError(f"numbers of type {dtype.name}, wider than 64 bits")
    if any(length < 0 for length in shape):
        raise NotUnderstoodError(f"a shape of {shape}")
    count = 1
    for length in shape:
        count *= int(length)
    start = file.tell()
    if start + count * dtype.itemsize > size:
        raise NotUnderstoodError(f"shape {shape} needs more bytes than there are")
    return _Header(tuple(map(int, shape)), bool(fortran), dtype, start, count, count * dtype.itemsize)


def _lone_values(path: Path, header: _Header) -> Tensor:
    return _or_reason(
        lambda: _tensor(np.fromfile(path, header.dtype, count=header.count, offset=header.start), header)
    )


def _member_values(path: Path, member: zipfile.ZipInfo, header: _Header) -> Tensor:
    def read() -> Tensor:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            file.seek(header.start)
            content = np.empty(header.bytes, np.uint8)
            for start in range(0, header.bytes, _PIECE):
                part = content[start : start + _PIECE]
                part[:] = np.frombuffer(file.read(len(part)), np.uint8)
            file.read(1)  # at its end a member is held against its checksum
        return _tensor(content.view(header.dtype), header)

    return _or_reason(read)


def _tensor(values: np.ndarray[Any, Any], header: _Header) -> Tensor:
    if values.size != header.count:
        raise NotUnderstoodError(f"{values.size} numbers instead of {header.count}")
    shaped = values.reshape(header.shape, order="F" if header.fortran else "C")
    native = shaped.astype(header.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.require(native, requirements=["C", "W"]))
