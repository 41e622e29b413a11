"""What can go wrong with the folder of a study: a damaged database, a full disk; each with the next step."""

from __future__ import annotations

import contextlib
import errno
import shlex
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from rnn.study.database import BACKUP, DATABASE, check_database

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")


class DamagedStudyError(ValueError):
    """The database of a study is damaged; the message says whether its backup is intact.

    Parameters
    ----------
    folder : Path
        Of the study.
    what : str
        What is wrong with it.
    """

    def __init__(self, folder: Path, what: str) -> None:
        backup, intact = _backup_words(folder / BACKUP)
        restore = (
            f"`spectra study restore {shlex.quote(str(folder))}` puts it aside and takes what is finished "
            "from the backup and the files of the trials"
        )
        again = (
            f"Move {DATABASE} away and run the study again with its file: what is finished is taken from the "
            "files of the trials"
        )
        super().__init__(
            f"{folder / DATABASE} is damaged ({' '.join(what.split())}); {backup}. "
            f"{restore if intact else again}"
        )


class FullDiskError(OSError):
    """There is no space left; what is finished is kept.

    Parameters
    ----------
    folder : Path
        Of the study.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no space left for {folder}; the study has stopped, and what is finished is kept: make room, "
            "then run it again"
        )
        self.errno = errno.ENOSPC


@contextlib.contextmanager
def faults_named(folder: Path) -> Iterator[None]:
    """Within it, errors of the database and full disks become errors that say what to do.

    Parameters
    ----------
    folder : Path
        Of the study.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    DamagedStudyError
        In place of an error that says that the database is malformed.
    FullDiskError
        In place of one that says that there is no space left.
    OSError
        In place of other errors of reading and writing.
    sqlite3.Error
        As it came, if it is of another kind: a fault of this package.
    """
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(_DAMAGED):
            raise DamagedStudyError(folder, str(error)) from error
        if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _no_room(folder)):
            raise FullDiskError(folder) from error
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_BUSY")):
            raise OSError(errno.EIO, str(error), str(folder / DATABASE)) from error
        raise
    except OSError as error:
        if error.errno in _FULL and not isinstance(error, FullDiskError):
            raise FullDiskError(folder) from error
        raise


def _no_room(folder: Path) -> bool:
    """Whether an error of writing may come from a full disk: SQLite's log and its index say no more."""
    return shutil.disk_usage(folder).free < 1 << 20


def _backup_words(backup: Path) -> tuple[str, bool]:
    """Say in words how the backup is, and whether it is intact."""
    try:
        count = check_database(backup)
    except FileNotFoundError:
        return "there is no backup", False
    except (ValueError, sqlite3.Error) as error:
        return f"{backup.name} is damaged too ({error})", False
    saved = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(backup.stat().st_mtime))
    return f"{backup.name} of {saved} is intact ({count} finished trials)", True
