"""Files at the door: readable ones, and those that another file names, which must lie in its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from rnn.reading.tensors import NotUnderstoodError

_LARGEST_JSON = 2**28  # bytes: the largest index of a published model has some megabytes
_POINTER = b"version https://git-lfs"


def readable_file(path: Path) -> Path:
    """Check that a path is a file that can be opened, and not what Git leaves in place of one.

    Parameters
    ----------
    path : Path
        What the caller named.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    ValueError
        If it is no regular file, cannot be opened, or is a pointer of Git LFS.
    """
    try:
        if not path.exists():
            raise FileNotFoundError(
                f"there is no file or folder at {path}; nothing is downloaded: pass a path on this machine"
            )
        if not path.is_file():
            raise ValueError(f"source {path} is no regular file; pass a file or a folder of weights")
        with open(path, "rb") as file:
            first = file.read(len(_POINTER))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"source {path} cannot be opened ({error.strerror}); check the path") from None
    if first == _POINTER:
        raise ValueError(
            f"source {path} is a pointer of Git LFS, not the weights themselves; run: git lfs pull"
        )
    return path


def neighbour(folder: Path, name: object) -> Path:
    """Give the file of a folder that another file names; what leads out of the folder is refused.

    Parameters
    ----------
    folder : Path
        The folder.
    name : object
        What stands in the other file.

    Returns
    -------
    Path
        A file in the folder. A link may lead elsewhere in it or, in a snapshot of the Hugging Face cache, to
        the ``blobs`` of the same model.

    Raises
    ------
    NotUnderstoodError
        If it is no name of a file, leads outside, is missing or cannot be opened.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise NotUnderstoodError(f"{name!r:.80} is no name of a file")
    for sort in (PurePosixPath, PureWindowsPath):
        if sort(name).anchor or ".." in sort(name).parts:
            raise NotUnderstoodError(f"{name!r:.80} leads outside its folder and is not opened")
    path = folder / name
    try:
        target, home = path.resolve(), folder.resolve()
        if not any(target.is_relative_to(root) for root in [home, *_blobs(home)]):
            raise NotUnderstoodError(f"{name!r:.80} is a link that leads outside its folder; not opened")
        readable_file(path)
    except FileNotFoundError:
        raise NotUnderstoodError(f"{name!r:.80} is missing") from None
    except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: links that go round
        raise NotUnderstoodError(str(error).splitlines()[0]) from None
    return path


def _blobs(home: Path) -> list[Path]:
    """Find the store that the links of a snapshot in the Hugging Face cache lead to."""
    return [
        revision.parent.parent / "blobs"
        for revision in (home, *home.parents)
        if revision.parent.name == "snapshots" and revision.parent.parent.name.startswith("models--")
    ]


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    ValueError
        If it is too large, damaged, or holds something else.
    """
    if os.path.getsize(path) > _LARGEST_JSON:
        raise ValueError(f"{path.name} has more than {_LARGEST_JSON} bytes; expected a description, not data")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name} is no readable JSON file; get it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds a {type(content).__name__}; expected an object with names")
    return content
