"""The engine: runs independent trials in worker processes, and tells what each of them gave."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from threadpoolctl import threadpool_limits

from spectra.checks import whole_number


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TrialResult:
    """What one trial gave.

    Attributes
    ----------
    index : int
        Position of its configuration.
    config : object
        The configuration.
    value : object
        What the function returned; None if it failed.
    error : str
        What went wrong, in one line; empty if nothing did.
    details : str
        The traceback from the worker; empty if nothing went wrong.
    seconds : float
        How long it ran; 0 where the worker died.
    """

    index: int
    config: Any
    value: Any
    error: str
    details: str
    seconds: float

    def __repr__(self) -> str:
        """One line."""
        return f"TrialResult {self.index}: {self.error or 'done'} after {self.seconds:.1f} s"


Progress = Callable[[int, int, TrialResult], None]


def run_trials(
    function: Callable[[Any], Any],
    configs: Sequence[Any],
    *,
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
    workers : int, optional
        Number of worker processes; the number of usable processors if None. One runs in a worker as well.
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
        If `workers` is no whole number, or `function` does not pickle.
    ValueError
        If `workers` is less than 1.
    RuntimeError
        If no worker starts.

    Notes
    -----
    The numbers do not depend on the number of workers: every trial runs alone in its process on one thread.
    When a worker dies, the trials that were running are tried once more, each in a process of its own, so
    that only the one that kills its worker is lost. An interrupt (Ctrl-C) or any exception from `progress`
    stops all workers at once. A script that calls this needs ``if __name__ == "__main__":``, since workers
    import it.
    """
    count = _usable_processors() if workers is None else whole_number(workers, "workers")
    _check_function(function)
    waiting = deque(range(len(configs)))
    results: dict[int, TrialResult] = {}

    def record(result: TrialResult) -> None:
        results[result.index] = result
        if progress is not None:
            progress(len(results), len(configs), result)

    while waiting:
        suspects = _work_off(function, configs, waiting, min(count, len(waiting)), record)
        for index in suspects:
            if _work_off(function, configs, deque([index]), 1, record):
                message = "the worker process died (killed, out of memory, or a crash in compiled code)"
                record(TrialResult(index, configs[index], None, message, "", 0.0))
    return [results[index] for index in range(len(configs))]


def _work_off(
    function: Callable[[Any], Any],
    configs: Sequence[Any],
    waiting: deque[int],
    workers: int,
    record: Callable[[TrialResult], None],
) -> list[int]:
    # Runs what waits in one pool, never more at a time than there are workers. When a worker dies, the whole
    # pool is broken: gives the trials that were running then; the others stay in `waiting`.
    running: dict[Future[TrialResult], int] = {}
    started = multiprocessing.get_context("spawn").Event()
    with _pool(function, workers, started) as pool:
        while waiting or running:
            broken = False
            try:
                while waiting and len(running) < workers:
                    with _interrupts_held_back():
                        future = pool.submit(_trial, function, waiting[0], configs[waiting[0]])
                    running[future] = waiting.popleft()
            except BrokenProcessPool:
                broken = True
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
                else:
                    index = running.pop(future)
                    record(_outcome(future, index, configs[index]))
            if broken and not started.is_set():
                raise RuntimeError(
                    "no worker process could start (its output is above); a script that runs trials needs "
                    "`if __name__ == '__main__':` around the call, because workers import it"
                )
            if broken:
                return sorted(running.values())
    return []


def _trial(function: Callable[[Any], Any], index: int, config: Any) -> TrialResult:
    start = time.perf_counter()
    value, error, details = None, "", ""
    try:
        value = function(config)
    except Exception as failure:
        error, details = _one_line(failure), traceback.format_exc()
    return TrialResult(index, config, value, error, details, time.perf_counter() - start)


def _outcome(future: Future[TrialResult], index: int, config: Any) -> TrialResult:
    failure = future.exception()  # of the way there or back: something that does not pickle, or an exit
    return TrialResult(index, config, None, _one_line(failure), "", 0.0) if failure else future.result()


def _one_line(failure: BaseException) -> str:
    return " ".join(f"{type(failure).__name__}: {failure}".split())


def _check_function(function: Callable[[Any], Any]) -> None:
    try:
        pickle.dumps(function)
    except Exception as failure:
        raise TypeError(
            f"function is {function!r}, which does not pickle ({failure}); use a function of a module"
        ) from None


@contextlib.contextmanager
def _pool(function: Callable[[Any], Any], workers: int, started: Any) -> Iterator[ProcessPoolExecutor]:
    # A pool that is gone at the end of the block: quietly when all is done, at once when an exception passes.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(function, started),
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


def _start_worker(_: Callable[[Any], Any], started: Any) -> None:
    # The function is sent along, so that the libraries of its module are loaded and limited here;
    # the environment limits those that are loaded later.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    started.set()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    # A worker inherits the mask: Ctrl-C in a terminal reaches only this process, which then ends the workers.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
