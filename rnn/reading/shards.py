"""Reader of models in shards: several files that hold one table of tensors, with or without an index."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from rnn.reading.neighbours import neighbour, read_json
from rnn.reading.tensors import NotUnderstoodError, Stored, Tensors
from spectra.errors import UnsupportedModelError

Readers = Mapping[str, Callable[[Path], Tensors]]

SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{3,6})-of-(?P<total>\d{3,6})(?P<suffix>\.[a-z]+)")
INDEX = ".index.json"


def places_in_index(path: Path) -> dict[str, str]:
    """Read which file holds which tensor.

    Parameters
    ----------
    path : Path
        The index: ``model.safetensors.index.json``.

    Returns
    -------
    dict of str to str
        Key of a tensor to name of a file, not yet checked.

    Raises
    ------
    ValueError
        If the index is damaged, or something else.
    """
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"source {path} has no 'weight_map' from tensors to files; get or save it again")
    return {key: name if isinstance(name, str) else repr(name) for key, name in places.items()}


def read_index(path: Path, readers: Readers) -> Tensors:
    """Read the shards that an index names.

    Parameters
    ----------
    path : Path
        The index, beside its shards.
    readers : mapping of str to callable
        Suffix to reader of one file.

    Returns
    -------
    Tensors
        In the order of the index. Tensors of a shard that is missing, damaged or outside the folder are
        listed with the reason.

    Raises
    ------
    ValueError
        If the index is damaged, or no shard can be read.
    """
    places = places_in_index(path)
    tables = {name: _table_or_reason(path.parent, name, readers) for name in dict.fromkeys(places.values())}
    return _joined(path, tables, places, [])


def read_shards(folder: Path, names: list[str], readers: Readers) -> Tensors:
    """Read shards that have no index.

    Parameters
    ----------
    folder : Path
        Where they lie.
    names : list of str
        The shards of one model that are there.
    readers : mapping of str to callable
        Suffix to reader of one file.

    Returns
    -------
    Tensors
        In the order of the shards. A shard that is missing or damaged is listed.

    Raises
    ------
    ValueError
        If no shard can be read.
    """
    tables = {name: _table_or_reason(folder, name, readers) for name in names}
    places: dict[str, str] = {}
    for name, table in tables.items():
        for key in table.entries if isinstance(table, Tensors) else ():
            places.setdefault(key, name)
    notes = [(name, table) for name, table in tables.items() if isinstance(table, str)]
    shards = [shard for shard in map(SHARD.fullmatch, names) if shard]
    total = max((int(shard["total"]) for shard in shards), default=0)
    absent = set(range(1, total + 1)) - {int(shard["number"]) for shard in shards}
    notes += [(f"{len(absent)} of {total} shards", "missing")] if absent else []
    return _joined(folder / names[0], tables, places, notes)


def lone_shard(path: Path) -> list[tuple[str, str]]:
    """Say of one shard that it is not the whole model.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of (str, str)
        For `Tensors.unrecognised`; empty for a file that is no shard, or the only one.
    """
    shard = SHARD.fullmatch(path.name)
    if shard is None or int(shard["total"]) < 2:
        return []
    others = f"the other {int(shard['total']) - 1} of {int(shard['total'])} shards"
    return [(others, "not read: pass the folder, or the index beside them, to read the whole model")]


def _table_or_reason(folder: Path, name: str, readers: Readers) -> Tensors | str:
    suffix = Path(name).suffix.lower()
    try:
        path = neighbour(folder, name)
        return readers[suffix](path) if suffix in readers else f"{name!r:.80} has a suffix that is not read"
    except (NotUnderstoodError, ValueError, UnsupportedModelError, OSError) as error:
        return " ".join(str(error).split())


def _joined(
    path: Path,
    tables: Mapping[str, Tensors | str],
    places: Mapping[str, str],
    notes: list[tuple[str, str]],
) -> Tensors:
    """Take each tensor from its place; list what is not there, and what is elsewhere too."""
    entries: dict[str, Stored] = {}
    kinds: dict[str, str] = {}
    for key, name in places.items():
        table = tables[name]
        if isinstance(table, str):
            notes.append((key, table))
        elif key not in table.entries:
            notes.append((key, f"not in {name}, where the index places it"))
        else:
            stored = table.entries[key]
            entries[key] = dataclasses.replace(stored, where=stored.where or name)
    for name, table in tables.items():
        if isinstance(table, Tensors):
            kinds |= table.kinds
            spare = [key for key in table.entries if places.get(key) != name]
            notes += table.unrecognised
            notes += [(key, f"stands in {name} too; not read from there") for key in spare]
    if not entries:
        reason = notes[0][1] if notes else "they are empty"
        raise ValueError(f"source {path}: no shard can be read ({reason}); get the files again")
    return Tensors(path.name, entries, kinds, notes)
