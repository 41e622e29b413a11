"""Backups of the database of a study: copied while it is in use, checked, replaced in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from pathlib import Path

from rnn.study.database import BACKUP, DATABASE, check_database
from rnn.study.faults import faults_named
from rnn.study.store import Store, opened_store
from rnn.study.trial_files import write_durably

EVERY = 60.0  # seconds between backups, and at least a hundred times what one takes
_PARTS = ("", "-wal", "-shm", "-journal")


class Backups:
    """Backups of a store, from time to time.

    Parameters
    ----------
    store : Store
        The store; there is a backup at once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due = 0.0
        self.write()

    def write_when_due(self) -> None:
        """Write a backup if the last one is old."""
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write a backup."""
        start = time.monotonic()
        write_backup(self._store)
        self._due = time.monotonic() + max(EVERY, 100 * (time.monotonic() - start))


def write_backup(store: Store) -> None:
    """Copy the database of a store to ``study.backup.sqlite``, whole or not at all.

    Parameters
    ----------
    store : Store
        The store.

    Raises
    ------
    sqlite3.DatabaseError
        If the copy is damaged: the former backup stays.
    """
    temporary = store.folder / f".{secrets.token_hex(8)}.part"
    try:
        with faults_named(store.folder):
            with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as target:
                store.connection.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file
                (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"the backup is not as it should be: {found}")
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, store.folder / BACKUP)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def restore_database(folder: Path) -> int:
    """Put a damaged database aside, and take what is finished from the backup and the files of the trials.

    Parameters
    ----------
    folder : Path
        Of the study; this process holds its lock.

    Returns
    -------
    int
        Number of trials taken from files, finished after the backup.

    Raises
    ------
    ValueError
        If the database is intact, or there is no intact backup.
    """
    if _intact(folder / DATABASE):
        raise ValueError(f"{folder / DATABASE} is intact; there is nothing to restore")
    if not _intact(folder / BACKUP):
        raise ValueError(
            f"{folder} has no intact backup; move {DATABASE} away and run the study again with its file: "
            "what is finished is taken from the files of the trials"
        )
    _put_aside(folder)
    write_durably(folder / DATABASE, (folder / BACKUP).read_bytes())
    with opened_store(folder) as store:
        collected = store.collect()
        store.release()
        write_backup(store)
    return collected


def _intact(path: Path) -> bool:
    try:
        check_database(path)
    except (ValueError, sqlite3.Error, FileNotFoundError):
        return False
    return True


def _put_aside(folder: Path) -> None:
    """Rename the parts of a database to names that are free."""
    number = 1
    while any((folder / f"study.damaged-{number}.sqlite{part}").exists() for part in _PARTS):
        number += 1
    for part in _PARTS:
        path = folder / f"{DATABASE}{part}"
        if path.exists():
            path.rename(folder / f"study.damaged-{number}.sqlite{part}")
