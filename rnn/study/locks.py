"""One run at a time on a folder: a lock that the kernel takes back when its process dies."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK = "study.lock"
_PATIENCE = 1.0  # seconds: whoever looks whether the lock is held holds it for a moment


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Within it, no other process that asks for this lock gets it.

    Parameters
    ----------
    folder : Path
        An existing folder; a file ``study.lock`` in it says who holds the lock, and stays.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    ValueError
        If another process holds it, or the file system knows no locks.

    Notes
    -----
    ``flock`` on POSIX, ``msvcrt.locking`` on Windows: released by the kernel however the process ends. On
    NFS, Linux turns it into a lock of the server, which holds between hosts where the server has locks; some
    cluster file systems have none and are refused.
    """
    deadline = time.monotonic() + _PATIENCE
    with open(folder / LOCK, "a+b") as file:
        while not _locked(file.fileno(), folder):
            if time.monotonic() > deadline:
                who = holder(folder) or "it does not say which"
                raise ValueError(
                    f"another run is at work on {folder} ({who}); wait for it, end it, or name another folder"
                )
            time.sleep(0.02)
        words = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        file.seek(0)
        file.truncate()
        with contextlib.suppress(OSError):  # on a full disk nobody says who holds it
            file.write(json.dumps(words).encode())
            file.flush()
        try:
            yield
        finally:
            _unlocked(file.fileno())


def holder(folder: Path) -> str:
    """Say who held the lock last, in words; empty where nobody says so.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    str
        Such as "process 123 on host, since 2026-11-21 17:00:00".
    """
    try:
        words: dict[str, Any] = json.loads((folder / LOCK).read_text("utf-8"))
        return f"process {words['pid']} on {words['host']}, since {words['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def is_locked(folder: Path) -> bool:
    """Say whether a process holds the lock now.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    bool
        False also where there has never been a lock.
    """
    try:
        with open(folder / LOCK, "rb+" if os.name == "nt" else "rb") as file:
            free = _locked(file.fileno(), folder, shared=True)
            if free:
                _unlocked(file.fileno())
            return not free
    except FileNotFoundError:
        return False


if os.name == "nt":
    import msvcrt

    _PLACE = 1 << 30  # far behind what is written: Windows lets nobody read a locked byte

    def _locked(file: int, folder: Path, *, shared: bool = False) -> bool:
        os.lseek(file, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True

    def _unlocked(file: int) -> None:
        os.lseek(file, _PLACE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _locked(file: int, folder: Path, *, shared: bool = False) -> bool:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                return False
            raise ValueError(
                f"{folder} is on a file system without locks ({error.strerror}); name a folder elsewhere"
            ) from None
        return True

    def _unlocked(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
