"""Files of the command line: checked first, never unpickled, written whole or not at all."""

from __future__ import annotations

import itertools
import os
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.checks import square_matrix
from spectra.results import replaced_file

_REPORTS = {".html", ".csv", ".md"}  # endings of what is written beside weights and is no part of them


def read_matrix(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the square matrix that ``numpy.save`` wrote.

    Parameters
    ----------
    path : path-like
        The ``.npy`` file.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix, in the type it is stored in.

    Raises
    ------
    TypeError
        If the file holds no numbers (objects are refused: to read them would run code of the file).
    ValueError
        If it is no ``.npy`` file, is damaged, or holds no finite square matrix.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    ...     np.save(file.name, np.eye(2))
    ...     read_matrix(file.name)
    array([[1., 0.],
           [0., 1.]])
    """
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, TypeError, EOFError, MemoryError, tokenize.TokenError) as error:
        if "allow_pickle" in str(error):
            raise TypeError(
                f"{path} holds Python objects, which are not read; save an array of floats"
            ) from None
        raise ValueError(
            f"{path} is no readable .npy file ({error}); write it with numpy.save(path, A)"
        ) from None
    square_matrix(array, str(path))
    return np.asarray(array)


def check_target(path: Path | None, name: str, endings: tuple[str, ...] = ()) -> None:
    """Refuse, before the work and not after it, a file that cannot be written.

    Parameters
    ----------
    path : Path or None
        The file to write later; None when none is wanted.
    name : str
        The option that names it, for the message.
    endings : tuple of str
        Endings of the file's name of which it must have one; any will do when there are none.

    Raises
    ------
    ValueError
        If it is a folder, a device or -, its folder is missing or cannot be written, or its name ends
        otherwise.
    """
    if path is None:
        return
    if str(path) == "-":
        raise ValueError(f"{name} is -, which would be a file of that name; name another, such as ./out")
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{name} is {path}; expected a name that ends in {', '.join(endings)}")
    if path.is_dir():
        raise ValueError(f"{name} is {path}, which is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{name} is {path}, which is no regular file; name a file that can be replaced")
    if not path.parent.is_dir():
        raise ValueError(f"{name} is {path}, but there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{name} is {path}, but the folder {path.parent} cannot be written; choose another")


def check_distinct(first: Path | None, first_name: str, second: Path | None, second_name: str) -> None:
    """Refuse one file as the place of two results.

    Parameters
    ----------
    first, second : Path or None
        The files to write later.
    first_name, second_name : str
        The options that name them.

    Raises
    ------
    ValueError
        If they are the same.
    """
    if first is not None and second is not None and os.path.realpath(first) == os.path.realpath(second):
        raise ValueError(f"{first_name} and {second_name} are both {second}; name two files")


def check_targets(targets: Mapping[str, Path | None]) -> None:
    """Refuse, before the work and not after it, files that cannot be written or are the same.

    Parameters
    ----------
    targets : mapping of str to Path or None
        The files to write later, by the options that name them.

    Raises
    ------
    ValueError
        As `check_target` and `check_distinct`.
    """
    for name, path in targets.items():
        check_target(path, name)
    for (name, path), (other, second) in itertools.combinations(sorted(targets.items()), 2):
        check_distinct(path, name, second, other)


def check_unused(
    targets: Mapping[str, Path | None], *, endings: Mapping[str, tuple[str, ...]], force: bool
) -> None:
    """Refuse, before the work and not after it, files that cannot be written, are the same, or exist.

    Parameters
    ----------
    targets : mapping of str to Path or None
        The files to write later, by the options that name them.
    endings : mapping of str to tuple of str
        Endings of which the name of a file must have one, by the option.
    force : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    ValueError
        As `check_target` and `check_distinct`; or a file exists and may not be replaced.
    """
    check_targets(targets)
    for name, path in targets.items():
        check_target(path, name, endings.get(name, ()))
        if path is not None and path.exists() and not force:
            raise ValueError(f"{name} is {path}, which exists; name another file, or replace it by --force")


def check_spared(targets: Mapping[str, Path | None], sources: Iterable[Path | None]) -> None:
    """Refuse to replace what is read: the weights, the data, or files of a folder of weights.

    Parameters
    ----------
    targets : mapping of str to Path or None
        The files to write later, by the options that name them.
    sources : iterable of Path or None
        Files and folders to read.

    Raises
    ------
    ValueError
        If a target is a source, or a file in a source that may be part of it: any that is there and does not
        end in .html, .csv or .md.
    """
    wanted = [(name, path) for name, path in targets.items() if path is not None]
    for (name, path), source in itertools.product(wanted, [one for one in sources if one is not None]):
        target, read = Path(os.path.realpath(path)), Path(os.path.realpath(source))
        part = read.is_dir() and read in target.parents and target.suffix.lower() not in _REPORTS
        if target == read or (part and target.exists()):
            raise ValueError(f"{name} is {path}, which is read and would be replaced; name another file")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it: nobody ever sees half of it.

    Parameters
    ----------
    path : Path
        Where to write; an existing file is replaced in one step.
    content : str or bytes
        What to write; text as UTF-8.

    Raises
    ------
    OSError
        If it cannot be written, such as on a full disk; it names the file.
    """
    try:
        with replaced_file(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OSError(error.errno, f"cannot be written ({error.strerror})", str(path)) from error
