"""Data files: where they are looked for, and numbers read from text with the line of what is wrong."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT = "SPECTRA_DATA"

_LARGEST = 2**28  # bytes of a text file; the largest known here has 9 million
_LARGEST_NUMBER = 3.4e38  # beyond it float32 is infinite


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where the files of a task are looked for, and where a user gets them.

    Attributes
    ----------
    task : str
        Name of the task.
    folders : tuple of str
        Folders under the data root that may hold its files, besides the root itself.
    where : str
        Where to get the files, in words.
    """

    task: str
    folders: tuple[str, ...]
    where: str


def found_file(data_root: str | os.PathLike[str] | None, names: tuple[str, ...], source: Source) -> Path:
    """Give the first file of one of the names under the data root.

    Parameters
    ----------
    data_root : path-like or None
        Folder of data sets, or of this one alone; None is the environment variable SPECTRA_DATA.
    names : tuple of str
        Names the file may have, the preferred first.
    source : Source
        Where else to look, and where to get it.

    Returns
    -------
    Path
        A regular file.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = file_if_there(data_root, names, source)
    if found is not None:
        return found
    root = _root(data_root)
    if root is None:
        raise ValueError(
            f"task {source.task!r} needs the file {names[0]}: pass data_root, or set {ENVIRONMENT}, to the "
            f"folder that holds it (get it from {source.where})"
        )
    looked = ", ".join(str(folder) for folder in _folders(root, source))
    raise ValueError(
        f"task {source.task!r} needs the file {names[0]}, not found in {looked}; get it from {source.where}, "
        f"or let data_root or {ENVIRONMENT} name the folder that holds it"
    )


def file_if_there(
    data_root: str | os.PathLike[str] | None, names: tuple[str, ...], source: Source
) -> Path | None:
    """Give the first file of one of the names under the data root, or None.

    Parameters
    ----------
    data_root : path-like or None
        Folder of data sets, or of this one alone; None is the environment variable SPECTRA_DATA.
    names : tuple of str
        Names the file may have, the preferred first.
    source : Source
        Where else to look.

    Returns
    -------
    Path or None
        A regular file.
    """
    root = _root(data_root)
    if root is None:
        return None
    candidates = (folder / name for folder in _folders(root, source) for name in names)
    return next((path for path in candidates if path.is_file()), None)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines of a text file with their numbers, from 1 on, without what surrounds them.

    Parameters
    ----------
    path : Path
        The file; bytes that are no ASCII become question marks.

    Yields
    ------
    int, str
        Number and text.

    Raises
    ------
    ValueError
        If the file is too large to be one of these data sets.
    """
    size = path.stat().st_size
    if size > _LARGEST:
        raise ValueError(f"{path} has {size} bytes; expected at most {_LARGEST}: this is another file")
    with open(path, encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.strip()


def numbers_of(text: str, path: Path, line: int) -> list[float]:
    """Give the numbers of a line, separated by blanks, tabs or commas.

    Parameters
    ----------
    text : str
        The line.
    path, line : Path, int
        Where it stands, for the message.

    Returns
    -------
    list of float
        Finite numbers within the range of float32.

    Raises
    ------
    ValueError
        If something is no such number.
    """
    words = text.replace(",", " ").split()
    numbers = []
    for word in words:
        try:
            number = float(word) if "_" not in word else math.nan
        except ValueError:
            number = math.nan
        if not abs(number) <= _LARGEST_NUMBER:
            raise ValueError(
                f"{path}, line {line}: {word[:40]!r} is no finite number of 32 bits; the file is damaged, or "
                "another one: get it again"
            )
        numbers.append(number)
    return numbers


def _root(data_root: str | os.PathLike[str] | None) -> Path | None:
    given = data_root if data_root is not None else os.environ.get(ENVIRONMENT) or None
    return None if given is None else Path(given)


def _folders(root: Path, source: Source) -> list[Path]:
    return [root, *(root / name for name in source.folders)]
