"""Files that torch wrote (archives, TorchScript, legacy files), read lazily; none of their code is run."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from rnn.reading.legacy_files import legacy_content
from rnn.reading.mappings import is_understood, tensors_of_mapping
from rnn.reading.pickle_machine import Global, Made, Makers, Refused, one_line
from rnn.reading.pickled_arrays import ARRAY_MAKERS
from rnn.reading.pickled_modules import is_module
from rnn.reading.pickled_tensors import TENSOR_MAKERS, Storage, storage_dtype
from rnn.reading.pickles import unpickle
from rnn.reading.tensors import NotUnderstoodError, Stored, Tensors
from rnn.reading.zip_records import FileBytes, Record, file_bytes, zip_records
from spectra.errors import UnsupportedModelError


def read_torch_archive(path: str | os.PathLike[str]) -> Tensors:
    """Read the tensors of a file that torch or pickle wrote; none of its code is run or imported.

    Parameters
    ----------
    path : path-like
        What ``torch.save`` (of a state_dict, a checkpoint, a module, a tensor, in either format),
        ``torch.jit.save`` or ``pickle.dump`` wrote.

    Returns
    -------
    Tensors
        Names as in a state_dict. What cannot be rebuilt, and each call that the file asks for, is listed as
        unrecognised. Kinds are those of the classes of modules, if the file holds modules.

    Raises
    ------
    UnsupportedModelError
        If it holds no tensors.
    ValueError
        If it is damaged, or of another kind.
    FileNotFoundError
        If there is no file.

    Notes
    -----
    Opening reads the pickle and the directory of the archive. The bytes of a tensor are read by
    `Stored.read`, from where they stand, and checked against the checksum of the archive if they are all that
    one record holds. Memory beyond the pickle is that of the tensors which are kept.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(torch.nn.Linear(3, 2), f"{folder}/whole.pt")
    ...     table = read_torch_archive(f"{folder}/whole.pt")
    ...     print({name: stored.shape for name, stored in table.entries.items()}, table.kinds)
    {'weight': (2, 3), 'bias': (2,)} {'weight': 'linear'}
    """
    file = file_bytes(Path(path))
    called: dict[str, None] = {}
    try:
        content = _content(file, called)
    except ValueError as error:
        reason = str(error).removeprefix(f"{file.path} ")
        raise ValueError(
            f"{path} is no readable torch file ({reason}); save model.state_dict() again"
        ) from None
    table = _table(content, file.path)
    reasons = " ".join(reason for _, reason in table.unrecognised)
    unrun = [name for name in called if name not in reasons and not is_understood(name)]
    unrecognised = [
        *table.unrecognised,
        *((name, "a call that the file asks for; it is not run") for name in unrun),
    ]
    entries = {
        name: dataclasses.replace(stored, read=_guarded(stored)) for name, stored in table.entries.items()
    }
    if not entries:
        _refuse(path, unrecognised)
    return dataclasses.replace(table, entries=entries, unrecognised=unrecognised)


def _refuse(path: str | os.PathLike[str], unrecognised: list[tuple[str, str]]) -> None:
    listed = "; ".join(f"{key}: {reason}" if key else reason for key, reason in unrecognised[:3])
    more = f"; and {len(unrecognised) - 3} more" if len(unrecognised) > 3 else ""
    raise UnsupportedModelError(
        f"source {path} holds no tensors{f' ({listed}{more})' if listed else ''}; expected the weights of a "
        "model: torch.save(model.state_dict(), path)"
    )


def _guarded(stored: Stored) -> Callable[[], Tensor]:
    def read() -> Tensor:
        try:
            return stored.read()
        except (NotUnderstoodError, ValueError, OSError):
            raise
        except Exception as error:  # numbers of a damaged file fail in any way
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise NotUnderstoodError(f"cannot be rebuilt ({one_line(first, 80)})") from None

    return read


def _table(content: Any, path: Path) -> Tensors:
    """Give the tensors of what a file holds as a whole."""
    if is_module(content):
        table = tensors_of_mapping({"module": content}, path.name)
        listed = [
            (key.removeprefix("module").removeprefix("."), reason) for key, reason in table.unrecognised
        ]
        return dataclasses.replace(table, unrecognised=listed)
    if isinstance(content, (list, tuple)) and any(isinstance(one, (dict, Made)) for one in content[:1000]):
        content = dict(enumerate(content))
    if isinstance(content, (Stored, Made, Refused)):
        content = {path.stem: content}
    if not isinstance(content, dict):
        kind = content.name if isinstance(content, Global) else type(content).__name__
        raise UnsupportedModelError(
            f"source {path} holds a {kind}; expected a state_dict or a dictionary that holds one: "
            "torch.save(model.state_dict(), path)"
        )
    return tensors_of_mapping(content, path.name)


def _content(file: FileBytes, called: dict[str, None]) -> Any:
    """Read what the file holds, by the way it begins."""
    start = bytes(file.read(0, min(file.size, 512)))
    if start.startswith(b"PK\x03\x04"):
        return _archive_content(file, called)
    if start[257:262] == b"ustar":
        raise ValueError("a tar archive of a torch before 0.2; load it there")
    with open(file.path, "rb") as stream:
        return legacy_content(stream, file.size, file.read, makers=_MAKERS, called=called)


def _archive_content(file: FileBytes, called: dict[str, None]) -> Any:
    """Read a zip archive: data.pkl describes the content, data/0, data/1, ... hold the numbers."""
    records = zip_records(file)
    found = [name for name in records if name.count("/") <= 1 and name.rpartition("/")[2] == "data.pkl"]
    if not found:
        old = (
            " but model.json, as TorchScript before torch 1.4"
            if any("model.json" in r for r in records)
            else ""
        )
        raise ValueError(f"a zip archive without an uncompressed data.pkl{old}")
    top = found[0].removesuffix("data.pkl")
    order = records.get(f"{top}byteorder")
    swapped = order is not None and bytes(order.read(0, order.size)) == b"big"

    def unpickled(name: str, folder: str) -> Any:
        def persistent(key: Any) -> Storage | Refused:
            return _archive_storage(key, records, f"{top}{folder}/", swapped=swapped)

        stream = io.BytesIO(records[name].read(0, records[name].size))
        return unpickle(stream, makers=_MAKERS, persistent=persistent, called=called)

    content = unpickled(found[0], "data")
    constants = unpickled(f"{top}constants.pkl", "constants") if f"{top}constants.pkl" in records else ()
    if isinstance(constants, tuple) and any(isinstance(one, Stored) for one in constants):
        named = {f"c{n}": one for n, one in enumerate(constants)}
        return Made(
            "__torch__.Module",
            state={"CONSTANTS": Made("__torch__.Constants", state=named), **_state(content)},
        )
    return content


def _state(content: Any) -> dict[Any, Any]:
    return content.state if isinstance(content, Made) and isinstance(content.state, dict) else {}


def _archive_storage(
    key: Any, records: dict[str, Record], folder: str, *, swapped: bool
) -> Storage | Refused:
    if not (isinstance(key, tuple) and len(key) >= 5 and key[0] == "storage" and type(key[4]) is int):
        return Refused("a storage that is named in an unknown way; the file may be damaged")
    try:
        dtype = storage_dtype(key[1])
    except NotUnderstoodError as reason:
        return Refused(str(reason))
    record = records.get(f"{folder}{key[2]}") if isinstance(key[2], str) and len(key[2]) < 100 else None
    if record is None:
        return Refused("its numbers are missing in the file, or compressed; save it again with torch.save")
    size = key[4] * dtype.itemsize
    if not 0 <= size <= record.size:
        return Refused(f"its storage has {record.size} of {size} bytes; the file is damaged")
    return Storage(dtype, size, record.read, swapped)


_MAKERS: Makers = {**TENSOR_MAKERS, **ARRAY_MAKERS}
