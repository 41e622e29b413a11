"""The engine: runs independent trials in parallel, and tells what each of them gave."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from rnn.study.executors import in_executor, in_processes, usable_processors
from rnn.study.workers import TrialResult
from spectra.checks import whole_number

Progress = Callable[[int, int, TrialResult], None]


def run_trials(
    function: Callable[[Any], Any],
    configs: Sequence[Any],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[TrialResult]:
    """Call ``function(config)`` for every configuration, in parallel, and give the results in their order.

    Parameters
    ----------
    function : callable
        A function of a module (not a lambda), whose result depends on its argument only. It runs with one
        BLAS and torch thread.
    configs : sequence
        One configuration per trial; anything that pickles.
    executor : concurrent.futures.Executor, optional
        Where to run them, such as ``dask.distributed.Client(...).get_executor()`` or
        ``mpi4py.futures.MPIPoolExecutor()``; None starts worker processes here. It is left open.
    workers : int, optional
        Number of worker processes, where they are started here; the number of usable processors if None. One
        runs in a worker as well.
    progress : callable, optional
        Called here as ``progress(done, total, result)`` after every trial, in the order of finishing.

    Returns
    -------
    list of TrialResult
        One per configuration, in their order. A trial that raised, or whose worker died, holds its error; the
        others are not touched by it.

    Raises
    ------
    TypeError
        If `workers` is no whole number, `executor` no executor, or `function` does not pickle.
    ValueError
        If `workers` is less than 1, or given together with `executor`.
    RuntimeError
        If no worker starts, or `executor` breaks.

    Notes
    -----
    The numbers do not depend on the executor, the order or the number of workers: every trial runs alone in
    its process on one thread. An executor with several threads in a process runs them one after the other, so
    give each Dask worker one thread: ``dask worker --nthreads 1``. `function` is looked up by its name where
    it runs, so its module must be importable there.

    When a worker process dies, the trials that were running are tried once more, each in a process of its
    own, so that only the one that kills its worker is lost; Dask tries a trial on up to four workers. An
    interrupt (Ctrl-C) or any exception from `progress` stops all worker processes at once, and takes back
    what `executor` has not begun. A script that calls this needs ``if __name__ == "__main__":``, since
    workers import it.
    """
    results: dict[int, TrialResult] = {}

    def record(result: TrialResult) -> None:
        results[result.index] = result
        if progress is not None:
            progress(len(results), len(configs), result)

    each_trial(function, configs, executor=executor, workers=workers, record=record)
    return [results[index] for index in range(len(configs))]


def each_trial(
    function: Callable[[Any], Any],
    configs: Sequence[Any],
    *,
    record: Callable[[TrialResult], None],
    started: Callable[[int], None] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
) -> None:
    """Run trials as `run_trials` does, and keep none of the results.

    Parameters
    ----------
    function, configs, executor, workers
        See `run_trials`.
    record : callable
        Called here with each result, in the order of finishing.
    started : callable, optional
        Called here with the index of each trial that is given to a worker process.

    """
    count = checked_workers(executor, workers)
    _check_function(function)
    if executor is None:
        begun = started or (lambda _index: None)
        in_processes(function, configs, workers=count or 1, started=begun, record=record)
    else:
        in_executor(function, configs, executor=executor, record=record)


def checked_workers(executor: Executor | None, workers: int | None) -> int | None:
    """Check where trials shall run.

    Parameters
    ----------
    executor, workers
        See `run_trials`.

    Returns
    -------
    int or None
        Number of worker processes to start; None where there is an executor.

    Raises
    ------
    TypeError
        If `workers` is no whole number, or `executor` no executor.
    ValueError
        If `workers` is less than 1, or given together with `executor`.
    """
    if executor is None:
        return usable_processors() if workers is None else whole_number(workers, "workers")
    if not isinstance(executor, Executor):
        raise TypeError(
            f"executor is a {type(executor).__name__}; expected a concurrent.futures.Executor (a Dask client "
            "gives one: client.get_executor())"
        )
    if workers is not None:
        raise ValueError("workers and executor are both given; an executor brings its own: leave workers out")
    return None


def _check_function(function: Callable[[Any], Any]) -> None:
    if not callable(function):
        raise TypeError(f"function is a {type(function).__name__}; expected a function of a module")
    try:
        pickle.dumps(function)
    except Exception as failure:
        raise TypeError(
            f"function is {function!r}, which does not pickle ({failure}); use a function of a module"
        ) from None
