"""A run of a study: begins, goes on where the last one ended, keeps every trial as it finishes."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from rnn.study.backups import restore_database, write_backup
from rnn.study.configuration import StudyConfig, read_study, study_again
from rnn.study.database import DATABASE
from rnn.study.engine import checked_workers, each_trial
from rnn.study.experiment import run_trial
from rnn.study.locks import folder_lock
from rnn.study.recording import Progress, Recorder
from rnn.study.status import StudyStatus, reading, study_status
from rnn.study.store import opened_store
from rnn.study.trials import Trial, TrialOutcome
from rnn.study.workers import one_line
from rnn.tasks import load_task
from spectra.checks import callback, whole_number

TrialFunction = Callable[[Trial], TrialOutcome]


def run_study(
    study: StudyConfig | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    function: TrialFunction | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    retry_failed: bool = False,
    limit: int | None = None,
    data_root: str | os.PathLike[str] | None = None,
) -> StudyStatus:
    """Run a study, or go on with it: every trial that has not finished yet.

    Parameters
    ----------
    study : StudyConfig, path-like or str
        A study, its TOML file, or the name of one that comes with the package.
    out : path-like
        Folder for the database, weights and curves; made where it is missing.
    function : callable, optional
        Function of a module that gives the `TrialOutcome` of a `Trial`; None trains, measures and attacks.
        It is no part of the key of a trial: after a change of yours begin a new folder.
    executor : concurrent.futures.Executor, optional
        Where trials run; None starts worker processes here. See `run_trials`.
    workers : int, optional
        Number of worker processes; the number of usable processors if None.
    progress : callable, optional
        Called as ``progress(ended, total, StudyProgress)`` at the beginning and after every trial; `ended`
        counts failed ones too.
    retry_failed : bool
        Whether trials that failed in earlier runs run again.
    limit : int, optional
        How many trials to run at most now.
    data_root : path-like, optional
        Folder of the data, in place of that of the study.

    Returns
    -------
    StudyStatus
        How far the study is: failures, and tasks whose data are not there, included.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If the study is wrong, `out` is no folder or holds another study, or another run is at work on it.
    DamagedStudyError
        If the database is damaged; `restore_study` takes the backup.
    FullDiskError
        If there is no space left; what is finished is kept.
    RuntimeError
        If no worker starts, or `executor` breaks.

    Notes
    -----
    The database ``study.sqlite`` holds one row for each trial, keyed by the sha256 of its configuration and
    of the version of the code. A finished trial goes to disk as ``weights/<key>.pt``, then
    ``curves/<key>.npz`` (with the row as well), then as a row; each is on disk before the next is begun. So a
    run may be killed at any moment: the next one goes on, takes what was written, and nothing is counted
    twice. A backup is written once a minute. Trials of the folder that the study no longer has are kept, and
    not counted.

    The folder must lie on a file system with locks, and for watching from another terminal be local to the
    machine of the run: a database with a write-ahead log is not shared between hosts. Workers on other hosts
    do not touch it; they need this package, and the data at the same path.

    With MPI: a script that calls ``run_study(..., executor=MPIPoolExecutor())`` under
    ``if __name__ == "__main__":``, run by ``mpiexec -n 8 python -m mpi4py.futures script.py``.
    """
    config = study if isinstance(study, StudyConfig) else read_study(study)
    if data_root is not None:
        config = study_again(config.content, data_root=data_root)
    most = None if limit is None else whole_number(limit, "limit")
    count = checked_workers(executor, workers)
    callback(progress)
    if function is not None and not callable(function):
        raise TypeError(f"function is a {type(function).__name__}; expected a function of a module")
    folder = Path(out)
    if not os.fspath(out):
        raise ValueError("out is empty; name a folder for the study")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out is {folder}, which is no folder; name a folder for the study")
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder), opened_store(folder) as store:
        store.enter(config)
        store.collect()
        missing = _missing(config.trials) if function is None else {}
        store.note_missing(missing.items())
        keys = set(store.waiting(retry_failed=retry_failed))
        trials = [trial for trial in config.trials if trial.key in keys and trial.task not in missing][:most]
        recorder = Recorder(store, trials, progress=progress, workers=count)
        _work(function, trials, recorder, executor=executor, workers=count)
    return study_status(folder)


def resume_study(out: str | os.PathLike[str], **options: Any) -> StudyStatus:
    """Go on with the study of a folder, without its file.

    Parameters
    ----------
    out : path-like
        Folder of the study.
    **options : object
        As of `run_study`.

    Returns
    -------
    StudyStatus
        How far the study is.

    Raises
    ------
    ValueError
        If there is no study in the folder, or as `run_study`.
    """
    folder = Path(out)
    with reading(folder) as connection:
        found = connection.execute("SELECT value FROM meta WHERE name = 'study'").fetchone()
    if found is None:
        raise ValueError(f"{folder / DATABASE} holds no study yet; run one with this folder")
    return run_study(study_again(str(found[0])), folder, **options)


def restore_study(out: str | os.PathLike[str]) -> StudyStatus:
    """Put the damaged database of a study aside, and go back to its backup.

    Parameters
    ----------
    out : path-like
        Folder of the study.

    Returns
    -------
    StudyStatus
        How far the study is now.

    Raises
    ------
    ValueError
        If there is no folder, nothing is damaged, there is no intact backup, or a run is at work.

    Notes
    -----
    Trials that finished after the backup are taken from their files, so that none is lost; failures since
    then are forgotten. The damaged files stay in the folder as ``study.damaged-<number>.sqlite``.
    """
    folder = Path(out)
    if not folder.is_dir():
        raise ValueError(f"out is {folder}; expected the folder of a study")
    with folder_lock(folder):
        restore_database(folder)
    return study_status(folder)


def _work(
    function: TrialFunction | None,
    trials: Sequence[Trial],
    recorder: Recorder,
    *,
    executor: Executor | None,
    workers: int | None,
) -> None:
    store = recorder.store
    number = store.begin_run(executor=type(executor).__name__ if executor else "processes", workers=workers)
    outcome = "stopped"
    try:
        recorder.show()
        each_trial(
            _with_modules(function or run_trial, trials),
            trials,
            executor=executor,
            workers=workers,
            started=recorder.started,
            record=recorder.record,
        )
        outcome = "ended"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except Exception as failure:
        outcome = f"stopped: {one_line(failure)}"
        raise
    finally:
        with contextlib.suppress(*(() if outcome == "ended" else (sqlite3.Error, OSError))):  # all is kept
            store.release()
            store.end_run(number, outcome)
    write_backup(store)


def _missing(trials: Sequence[Trial]) -> dict[str, str]:
    """Give the tasks that cannot be loaded, each with the reason."""
    reasons = {}
    for trial in {trial.task: trial for trial in reversed(trials)}.values():
        try:
            load_task(trial.task, data_root=trial.data_root or None, rng=trial.seed, **dict(trial.options))
        except TypeError as error:
            raise ValueError(
                f"the task {trial.task!r} cannot be loaded with its options ({error}); correct the study"
            ) from None
        except Exception as error:  # a loader of one's own may raise anything where files are missing
            reasons[trial.task] = str(error) if isinstance(error, ValueError) else one_line(error)
    return reasons


def _with_modules(function: TrialFunction, trials: Sequence[Trial]) -> TrialFunction:
    modules = trials[0].modules if trials else ()
    return functools.partial(_after_imports, modules, function) if modules else function


def _after_imports(modules: tuple[str, ...], function: TrialFunction, trial: Trial) -> TrialOutcome:
    for name in modules:
        importlib.import_module(name)
    return function(trial)
