"""How far a study is: also from another terminal while it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnn.study.database import DATABASE, read_only
from rnn.study.estimates import Block, Pace
from rnn.study.faults import faults_named
from rnn.study.locks import is_locked
from rnn.study.store import check_intact


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyStatus:
    """How far a study is.

    Attributes
    ----------
    folder : Path
        Where it is.
    name, description : str
        Of the study.
    total, done, failed, running, pending : int
        Trials of the study; `running` only counts those in worker processes of the run itself, `pending` all
        others that are still to be run.
    warned : int
        Finished trials that warned of something; see the column `warnings` of `study_rows`.
    other : int
        Finished trials in the folder that are no longer part of the study.
    missing : tuple of (str, str)
        Tasks whose data are not there, with the reason and where to get them.
    absent : int
        Pending trials of these tasks.
    live : bool
        Whether a run is at work.
    run : str
        The last run in words; empty before the first.
    seconds_left : float or None
        Estimate for the pending trials whose data are there; None where nothing is known.
    failures : tuple of (str, str)
        Label and error of each failed trial.
    blocks : tuple of (str, str, int, int, int)
        Task, cell, how many trials are done, failed, and there in all.
    """

    folder: Path
    name: str
    description: str
    total: int
    done: int
    failed: int
    running: int
    pending: int
    warned: int
    other: int
    missing: tuple[tuple[str, str], ...]
    absent: int
    live: bool
    run: str
    seconds_left: float | None
    failures: tuple[tuple[str, str], ...]
    blocks: tuple[tuple[str, str, int, int, int], ...]

    @property
    def complete(self) -> bool:
        """Whether every trial is finished."""
        return self.done == self.total

    def __repr__(self) -> str:
        """One line."""
        words = [f"{self.done} of {self.total} trials finished"]
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"{self.absent} without data"] if self.absent else []
        words += [f"{self.warned} with warnings"] if self.warned else []
        words += [f"{self.other} of other configurations"] if self.other else []
        words += ["running"] if self.live else []
        if self.seconds_left:
            words += [f"about {duration(self.seconds_left)} left"]
        return f"Study {self.name!r} in {self.folder}: {', '.join(words)}"


def study_status(out: str | os.PathLike[str]) -> StudyStatus:
    """Tell how far a study is; nothing is changed, and a run may be at work.

    Parameters
    ----------
    out : path-like
        Folder of the study.

    Returns
    -------
    StudyStatus
        Its counts, failures, and an estimate of the time left.

    Raises
    ------
    ValueError
        If there is no study in the folder.
    DamagedStudyError
        If its database is damaged.

    Notes
    -----
    The database is read while the run writes to it, on the same machine. On a network file system look from
    the machine of the run, or at ``study.backup.sqlite``.
    """
    folder = Path(out)
    live = is_locked(folder)
    with reading(folder) as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        missing = tuple(connection.execute("SELECT task, reason FROM missing ORDER BY task").fetchall())
        rows = connection.execute(
            "SELECT block, status, seconds, label, error FROM trials WHERE position IS NOT NULL"
            " ORDER BY position"
        ).fetchall()
        (warned,), (other,) = (
            connection.execute(f"SELECT count(*) FROM trials WHERE status = 'done' AND {which}").fetchone()
            for which in ("position IS NOT NULL AND warnings != '[]'", "position IS NULL")
        )
        run = connection.execute(
            "SELECT host, pid, executor, workers, started, ended, outcome FROM runs ORDER BY id DESC LIMIT 1"
        ).fetchone()
        workers = _workers(connection, run)
    counts = Counter(status for _, status, *_ in rows)
    blocks: dict[tuple[str, str], Counter[str]] = {}
    for text, status, *_ in rows:
        blocks.setdefault(tuple(json.loads(text)[1:3]), Counter()).update([status, "all"])
    absent, seconds_left = _work_left(rows, {task for task, _ in missing}, workers)
    return StudyStatus(
        folder=folder,
        name=meta.get("name", ""),
        description=meta.get("description", ""),
        total=len(rows),
        done=counts["done"],
        failed=counts["failed"],
        running=counts["running"] if live else 0,
        pending=counts["pending"] + (0 if live else counts["running"]),
        warned=warned,
        other=other,
        missing=missing,
        absent=absent,
        live=live,
        run=_run_in_words(run, live),
        seconds_left=seconds_left,
        failures=tuple((label, error) for _, status, _, label, error in rows if status == "failed"),
        blocks=tuple((*place, n["done"], n["failed"], n["all"]) for place, n in blocks.items()),
    )


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a study for reading: all that is read in the block is of one moment.

    Parameters
    ----------
    folder : Path
        Of the study.

    Yields
    ------
    sqlite3.Connection
        To be read from.

    Raises
    ------
    ValueError
        If there is no study in the folder.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise ValueError(
            f"out is {folder}, and there is no study ({DATABASE}); run one with this folder first"
        )
    check_intact(folder)
    with faults_named(folder), contextlib.closing(read_only(path)) as connection:
        connection.execute("BEGIN")
        yield connection


def duration(seconds: float) -> str:
    """Give a time in words.

    Parameters
    ----------
    seconds : float
        At least 0.

    Returns
    -------
    str
        In two units at most.

    Examples
    --------
    >>> duration(4.2), duration(754), duration(93784)
    ('5 s', '12 min 34 s', '26 h 3 min')
    """
    whole = int(-(-seconds // 1))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _work_left(rows: list[tuple[Any, ...]], missing: set[str], workers: float) -> tuple[int, float | None]:
    """Give how many trials have no data, and the time that the others still take."""
    pace, waiting, absent = Pace(), Counter[Block](), 0
    for text, status, seconds, *_ in rows:
        block = tuple(json.loads(text))
        if status == "done":
            pace.add(block, seconds)
        elif status != "failed" and block[1] in missing:
            absent += 1
        elif status != "failed":
            waiting[block] += 1
    return absent, pace.seconds_left(waiting, workers)


def _workers(connection: sqlite3.Connection, run: tuple[Any, ...] | None) -> float:
    """Give how many trials run at a time: as many as there are workers, or as the last run has shown."""
    if run is None:
        return 1.0
    _, _, _, workers, started, ended, _ = run
    if workers:
        return float(workers)
    (spent,) = connection.execute(
        "SELECT coalesce(sum(seconds), 0) FROM trials WHERE finished >= ?", (started,)
    ).fetchone()
    until = _time(ended) if ended else datetime.now(UTC)
    return float(spent) / max((until - _time(started)).total_seconds(), 1.0)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _run_in_words(run: tuple[Any, ...] | None, live: bool) -> str:
    if run is None:
        return ""
    host, pid, executor, workers, started, ended, outcome = run
    many = f"{workers} worker{'s' if workers != 1 else ''}" if workers else executor
    words = f"process {pid} on {host} with {many}, since {started}"
    if live:
        return words
    return f"{words}, until {ended}: {outcome}" if ended else f"{words}: killed"
