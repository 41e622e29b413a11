"""The files of a folder of checkpoints: which may be models, which are not and why, and their labels."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rnn.reading.sources import FORMATS
from rnn.study.database import DATABASE
from rnn.study.workers import writable


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FolderFiles:
    """The files of a folder.

    Attributes
    ----------
    models : tuple of (str, str)
        Path from the folder, and sha256, of each file that may be a model.
    unread : tuple of (str, str)
        Path and reason of every other file.
    """

    models: tuple[tuple[str, str], ...]
    unread: tuple[tuple[str, str], ...]


def folder_files(folder: Path, *, spared: Sequence[str | os.PathLike[str]] = ()) -> FolderFiles:
    """Tell which files of a folder may be models.

    Parameters
    ----------
    folder : Path
        It and its subfolders are looked through, but for hidden ones.
    spared : sequence of path-like
        Files and folders that are no models: the data, the results.

    Returns
    -------
    FolderFiles
        In the order of the names.
    """
    apart = {os.path.realpath(path) for path in spared}
    first: dict[str, str] = {}
    unread = []
    for path in _walked(folder, apart):
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() not in FORMATS:
            unread.append((name, f"no model: its name ends in {path.suffix!r}"))
            continue
        digest, reason = _digest(path)
        if reason:
            unread.append((writable(name), reason))
        elif digest in first:
            unread.append((name, f"the same as {first[digest]}"))
        else:
            first[digest] = name
    return FolderFiles(tuple((name, digest) for digest, name in first.items()), tuple(unread))


def labels_of(names: Sequence[str], by: str | None, argument: str) -> dict[str, str] | None:
    """Give the label of each file.

    Parameters
    ----------
    names : sequence of str
        Paths from the folder.
    by : str or None
        "subfolder", or a regular expression whose first group, or whole match, is the label.
    argument : str
        What to call it in a message.

    Returns
    -------
    dict of str to str, or None
        By path; None where `by` is.

    Raises
    ------
    ValueError
        If it is no regular expression, or not in a path.

    Examples
    --------
    >>> labels_of(["a/run1_e5.pt", "a/run2_e5.pt"], "run(.)", "cluster_by")
    {'a/run1_e5.pt': '1', 'a/run2_e5.pt': '2'}
    """
    if by is None:
        return None
    if by == "subfolder":
        return {name: Path(name).parent.as_posix() for name in names}
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise ValueError(
            f"{argument} is {by!r}, which is no regular expression ({error}); expected one, or subfolder"
        ) from None
    found = {name: pattern.search(name) for name in names}
    for name, match in found.items():
        if match is None or match[pattern.groups > 0] is None:
            raise ValueError(f"{argument} is {by!r}, which is not in {name}; expected it in every path")
    return {name: str(match[pattern.groups > 0]) for name, match in found.items() if match}


def _walked(folder: Path, apart: set[str]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        hidden = [name for name in folders if name.startswith(".")]
        own = ["curves"] if DATABASE in names else []  # of a study: arrays that go with its weights
        results = [name for name in folders if os.path.realpath(os.path.join(place, name)) in apart]
        folders[:] = sorted({*folders} - {*hidden, *own, *results})
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and os.path.realpath(path) not in apart:
                yield path


def _digest(path: Path) -> tuple[str, str]:
    """Give the sha256 of a file, or the reason why there is none."""
    if writable(str(path)) != str(path):
        return "", "its name is no UTF-8; rename it"
    try:
        return (sha256_of(path), "") if path.is_file() else ("", "no regular file")
    except OSError as error:
        return "", f"it cannot be read: {error.strerror}"


def sha256_of(path: Path) -> str:
    """Give the sha256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
