"""The store of a study: a folder with an SQLite database and the files of the finished trials."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn.study.database import (
    BACKUP,
    DATABASE,
    check_database,
    check_schema,
    create_database,
    digest_of,
    read_only,
)
from rnn.study.faults import DamagedStudyError, faults_named
from rnn.study.trial_files import FinishedTrial, curves_path, read_curves, swept, write_trial
from spectra import __version__

if TYPE_CHECKING:
    from rnn.study.configuration import StudyConfig


class Store:
    """The database of a study, open for writing; one process at a time has one.

    Parameters
    ----------
    folder : Path
        Of the study.
    connection : sqlite3.Connection
        To its database.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.connection = connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Within it, all changes are made together or not at all."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # a full disk may have ended it already
                self.connection.execute("ROLLBACK")
            raise

    def enter(self, study: StudyConfig) -> None:
        """Make the trials of a study those of the store; others are kept, and no longer part of it.

        Parameters
        ----------
        study : StudyConfig
            The study.

        Raises
        ------
        ValueError
            If the store holds a study of another name.
        """
        name = self.meta("name")
        if name not in {"", study.name}:
            raise ValueError(
                f"{self.folder} holds the study {name!r}, not {study.name!r}; name another folder"
            )
        rows = [
            (trial.key, place, trial.content, json.dumps(trial.block), trial.label)
            for place, trial in enumerate(study.trials)
        ]
        with self.transaction() as connection:
            connection.execute("UPDATE trials SET position = NULL")
            connection.execute("UPDATE trials SET status = 'pending' WHERE status = 'running'")
            connection.execute("DELETE FROM missing")
            connection.executemany(
                "INSERT INTO trials (key, position, content, block, label) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET position = excluded.position, label = excluded.label",
                rows,
            )
            connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("name", study.name), ("description", study.description), ("study", study.content)],
            )

    def collect(self) -> int:
        """Take over trials whose files are there although the database does not say that they are finished.

        Returns
        -------
        int
            How many: finished just before a kill, or after the backup that was restored.
        """
        waiting = self.connection.execute("SELECT key FROM trials WHERE status != 'done'")
        found = []
        for (key,) in waiting:
            path = curves_path(self.folder, key)
            if path.exists():
                with contextlib.suppress(ValueError):  # damaged: the trial runs again and replaces it
                    record = read_curves(path)[0]
                    if record.get("key") == key:
                        found.append(record)
        with self.transaction():
            for record in found:
                self._set_done(record)
        return len(found)

    def begin(self, key: str) -> None:
        """Note that a worker has begun a trial."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE trials SET status = 'running', started = ? WHERE key = ? AND status != 'done'",
                (now(), key),
            )

    def finish(self, finished: FinishedTrial) -> None:
        """Keep a finished trial: first its files, then its row."""
        with faults_named(self.folder):
            write_trial(self.folder, finished)
            with self.transaction():
                self._set_done(finished.record)

    def fail(self, key: str, *, error: str, details: str, seconds: float) -> None:
        """Note that a trial failed.

        Parameters
        ----------
        key : str
            Of the trial.
        error, details : str
            One line, and the traceback.
        seconds : float
            How long it took.
        """
        with faults_named(self.folder), self.transaction() as connection:
            connection.execute(
                "UPDATE trials SET status = 'failed', attempts = attempts + 1, finished = ?, seconds = ?,"
                " error = ?, traceback = ? WHERE key = ? AND status != 'done'",
                (now(), seconds, error, details, key),
            )

    def release(self) -> None:
        """Note that no trial is running any more."""
        with self.transaction() as connection:
            connection.execute("UPDATE trials SET status = 'pending' WHERE status = 'running'")

    def waiting(self, *, retry_failed: bool) -> list[str]:
        """Give the keys of the trials to run, in the order of the study."""
        wanted = ("pending", "failed") if retry_failed else ("pending",)
        marks = ", ".join("?" * len(wanted))
        found = self.connection.execute(
            f"SELECT key FROM trials WHERE position IS NOT NULL AND status IN ({marks}) ORDER BY position",
            wanted,
        )
        return [key for (key,) in found]

    def known(self) -> list[tuple[str, str, str, float]]:
        """Give key, block, status and seconds of every trial of the study."""
        return self.connection.execute(
            "SELECT key, block, status, seconds FROM trials WHERE position IS NOT NULL"
        ).fetchall()

    def note_missing(self, reasons: Iterable[tuple[str, str]]) -> None:
        """Note the tasks whose data are not there, each with the reason."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO missing VALUES (?, ?)", list(reasons))

    def begin_run(self, *, executor: str, workers: int | None) -> int:
        """Note that a run has begun, and with which versions; give its number."""
        with self.transaction() as connection:
            found = connection.execute(
                "INSERT INTO runs (host, pid, executor, workers, started) VALUES (?, ?, ?, ?, ?)",
                (socket.gethostname(), os.getpid(), executor, workers, now()),
            )
            number = int(found.lastrowid or 0)
            connection.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                (f"versions of run {number}", json.dumps(_versions())),
            )
            return number

    def end_run(self, number: int, outcome: str) -> None:
        """Note how a run has ended."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE runs SET ended = ?, outcome = ? WHERE id = ?", (now(), outcome, number)
            )

    def meta(self, name: str) -> str:
        """Give what is known about the study by a name; empty if nothing is."""
        found = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else ""

    def _set_done(self, record: dict[str, Any]) -> None:
        row = json.dumps(record["row"], separators=(",", ":"))
        self.connection.execute(
            "UPDATE trials SET status = 'done', attempts = attempts + 1, finished = ?, seconds = ?, row = ?,"
            " digest = ?, warnings = ?, error = NULL, traceback = NULL WHERE key = ? AND status != 'done'",
            (
                record["finished"],
                record["seconds"],
                row,
                digest_of(record["key"], row),
                json.dumps(record["warnings"]),
                record["key"],
            ),
        )


@contextlib.contextmanager
def opened_store(folder: Path) -> Iterator[Store]:
    """Open the store of a folder for writing, and make one where there is none.

    Parameters
    ----------
    folder : Path
        An existing folder whose lock this process holds.

    Yields
    ------
    Store
        Checked: its structure, and every finished row.

    Raises
    ------
    DamagedStudyError
        If the database is damaged, or is missing where there is a backup.
    FullDiskError
        If there is no space left.
    """
    path = folder / DATABASE
    with faults_named(folder):
        swept(folder)
        if not path.exists() and (folder / BACKUP).exists():
            raise DamagedStudyError(folder, "it is missing")
        if not path.exists():
            create_database(path)
        check_intact(folder)
        connection = sqlite3.connect(path, timeout=10, isolation_level=None)
        try:
            for setting in ("journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY"):
                connection.execute(f"PRAGMA {setting}")
            yield Store(folder, connection)
            with contextlib.suppress(sqlite3.OperationalError):  # somebody is reading: it stays a WAL
                connection.execute("PRAGMA journal_mode = DELETE")  # one plain file again
        finally:
            connection.close()


def check_intact(folder: Path) -> None:
    """Refuse a database that is damaged, or of a later version.

    Parameters
    ----------
    folder : Path
        Of the study.

    Raises
    ------
    DamagedStudyError
        If a row or the structure is damaged.
    """
    path = folder / DATABASE
    with faults_named(folder):
        if path.stat().st_size:
            with contextlib.closing(read_only(path)) as connection:
                check_schema(connection, path)
        try:
            check_database(path)
        except ValueError as error:
            raise DamagedStudyError(folder, str(error)) from None


def _versions() -> dict[str, str]:
    """Give the versions of what makes the numbers, as they are in this process."""
    found = {"spectra-rnn": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in ("torch", "numpy", "scipy")}


def now() -> str:
    """Give the time, in UTC, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
