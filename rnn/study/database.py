"""The database of a study: its tables, and whether it is as it was written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import sqlite3
from pathlib import Path

DATABASE, BACKUP = "study.sqlite", "study.backup.sqlite"
_APPLICATION = 0x73706374  # "spct"
_SCHEMA = 1

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trials (
    key TEXT PRIMARY KEY,      -- sha256 of content
    position INTEGER,          -- in the study; NULL: no longer part of it
    content TEXT NOT NULL,     -- what determines the numbers, as JSON
    block TEXT NOT NULL,       -- trials that take about the same time, as JSON
    label TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,  -- that ended
    started TEXT, finished TEXT, seconds REAL,
    row TEXT, digest TEXT,     -- the columns as JSON, and the sha256 of key and row
    warnings TEXT,             -- texts, as JSON
    error TEXT, traceback TEXT,
    CHECK (status != 'done' OR (row IS NOT NULL AND digest IS NOT NULL))
);
CREATE INDEX by_position ON trials (position);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, executor TEXT NOT NULL, workers INTEGER,
    started TEXT NOT NULL, ended TEXT, outcome TEXT
);
CREATE TABLE missing (task TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
"""


def create_database(path: Path) -> None:
    """Make an empty database of a study, whole or not at all: one without content is always a damaged one.

    Parameters
    ----------
    path : Path
        Where.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")
            connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_database(path: Path) -> int:
    """Check a database of a study: its structure, and that every finished row is as it was written.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    int
        Number of finished trials.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is no database of this package, or a row is not as it was written.
    sqlite3.DatabaseError
        If its structure is damaged.
    """
    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    with contextlib.closing(read_only(path)) as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise ValueError(found)
        if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise ValueError("it is no database of a study")
        there = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
        missing = sorted({"meta", "trials", "runs", "missing"} - there)
        if missing:
            raise ValueError(f"it has no table {missing[0]!r}")
        rows = connection.execute("SELECT key, row, digest FROM trials WHERE status = 'done'")
        count = 0
        for key, row, digest in rows:
            if digest_of(key, row) != digest:
                raise ValueError(f"the row of trial {key[:12]} is not as it was written")
            count += 1
        for key, content in connection.execute("SELECT key, content FROM trials"):
            if hashlib.sha256(str(content).encode()).hexdigest() != key:
                raise ValueError(f"the configuration of trial {key[:12]} is not as it was written")
        return count


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database of a later version of this package.

    Parameters
    ----------
    connection : sqlite3.Connection
        To the database.
    path : Path
        Its file, for the message.

    Raises
    ------
    ValueError
        If it is one.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA:
        raise ValueError(
            f"{path} was written by a later version of spectra-rnn (schema {version}, here {_SCHEMA}); update"
        )


def digest_of(key: str, row: str) -> str:
    """Give the checksum of a row: SQLite has none of its own."""
    return hashlib.sha256(f"{key}\n{row}".encode()).hexdigest()


def read_only(path: Path) -> sqlite3.Connection:
    """Open a database for reading, also while another process writes to it.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    sqlite3.Connection
        To be closed.

    Raises
    ------
    FileNotFoundError
        If there is none.
    sqlite3.Error
        If it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    address = path.absolute().as_uri()
    connection = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=10, isolation_level=None)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorname", "") in {"SQLITE_CANTOPEN", "SQLITE_READONLY_DIRECTORY"}:
            # a folder that cannot be written: nobody else writes either, and the log can have no index
            return sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None)
        raise
    return connection
