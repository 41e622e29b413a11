"""Where trials run: worker processes of our own, or anything that is a ``concurrent.futures.Executor``."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from rnn.extra import require
from rnn.study.workers import TrialResult, one_line, start_worker, trial_result

Trials = Callable[[Any], Any]
Record = Callable[[TrialResult], None]
Started = Callable[[int], None]

_DIED = "the worker process died (killed, out of memory, or a crash in compiled code)"


def in_processes(
    function: Trials, configs: Sequence[Any], *, workers: int, started: Started, record: Record
) -> None:
    """Run trials in worker processes, each with one thread, and record each as it ends.

    Parameters
    ----------
    function : callable
        The trial; it pickles.
    configs : sequence
        One configuration per trial.
    workers : int
        Number of processes.
    started, record : callable
        Called here with the index of each trial that is given to a worker, and with its result.

    Raises
    ------
    RuntimeError
        If no worker starts.

    Notes
    -----
    When a worker dies, the trials that were running are tried once more, each in a process of its own, so
    that only the one that kills its worker is lost.
    """
    waiting = deque(range(len(configs)))
    while waiting:
        suspects = _work_off(function, configs, waiting, min(workers, len(waiting)), started, record)
        for index in suspects:
            if _work_off(function, configs, deque([index]), 1, started, record):
                record(TrialResult(index, configs[index], None, _DIED, "", 0.0))


def in_executor(function: Trials, configs: Sequence[Any], *, executor: Executor, record: Record) -> None:
    """Run trials in the executor of somebody else, and record each as it ends.

    Parameters
    ----------
    function : callable
        The trial; it pickles.
    configs : sequence
        One configuration per trial; all are handed out at once, so that a cluster can see what waits.
    executor : concurrent.futures.Executor
        It is left open.
    record : callable
        Called here with each result.

    Raises
    ------
    RuntimeError
        If the executor breaks or gives trials up.
    """
    ended: queue.SimpleQueue[tuple[int, Future[TrialResult]]] = queue.SimpleQueue()
    futures: list[Future[TrialResult]] = []
    try:
        for index, config in enumerate(configs):
            future = executor.submit(trial_result, function, index, config)
            futures.append(future)
            future.add_done_callback(lambda future, index=index: ended.put((index, future)))  # type: ignore[misc]
        for _ in configs:
            index, future = ended.get()
            if future.cancelled() or isinstance(future.exception(), BrokenExecutor):
                why = "cancelled" if future.cancelled() else str(future.exception())
                raise RuntimeError(
                    f"the executor gave trials up ({why}); see whether its scheduler or pool is still alive, "
                    "start it again and run again"
                )
            record(_outcome(future, index, configs[index]))
    finally:
        for future in futures:
            future.cancel()  # does nothing to those that have ended


@contextlib.contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Give an executor on a running Dask cluster, and close the connection afterwards.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``"tcp://127.0.0.1:8786"``.

    Yields
    ------
    concurrent.futures.Executor
        For `rnn.run_trials` and `rnn.run_study`.

    Raises
    ------
    ModuleNotFoundError
        If distributed is not installed.
    ValueError
        If no scheduler answers there.
    """
    require("distributed", what="a Dask cluster")
    from distributed import Client

    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:  # a wrong address is a ValueError, silence a TimeoutError
        raise ValueError(
            f"address is {address!r}, and no Dask scheduler answers there ({error}); start one with "
            "`dask scheduler` and name the address it prints"
        ) from None
    with client:
        yield client.get_executor(pure=False)


def usable_processors() -> int:
    """Give the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work_off(
    function: Trials,
    configs: Sequence[Any],
    waiting: deque[int],
    workers: int,
    started: Started,
    record: Record,
) -> list[int]:
    # Runs what waits in one pool, never more at a time than there are workers. When a worker dies, the whole
    # pool is broken: gives the trials that were running then; the others stay in `waiting`.
    running: dict[Future[TrialResult], int] = {}
    alive = multiprocessing.get_context("spawn").Event()
    with _pool(function, workers, alive) as pool:
        while waiting or running:
            broken = not _handed_out(pool, function, configs, waiting, running, workers, started)
            ended = wait(running, return_when=FIRST_COMPLETED).done
            done = {f: running.pop(f) for f in ended if not isinstance(f.exception(), BrokenProcessPool)}
            broken = broken or len(done) < len(ended)
            if not broken:  # before the results are recorded, so that no worker waits for that
                broken = not _handed_out(pool, function, configs, waiting, running, workers, started)
            for future, index in done.items():
                record(_outcome(future, index, configs[index]))
            if broken and not alive.is_set():
                raise RuntimeError(
                    "no worker process could start (its output is above); a script that runs trials needs "
                    "`if __name__ == '__main__':` around the call, because workers import it"
                )
            if broken:
                return sorted(running.values())
    return []


def _handed_out(
    pool: Executor,
    function: Trials,
    configs: Sequence[Any],
    waiting: deque[int],
    running: dict[Future[TrialResult], int],
    workers: int,
    started: Started,
) -> bool:
    """Give every idle worker a trial; False if the pool is broken."""
    while waiting and len(running) < workers:
        try:
            with _interrupts_held_back():
                future = pool.submit(trial_result, function, waiting[0], configs[waiting[0]])
        except BrokenProcessPool:
            return False
        running[future] = waiting.popleft()
        started(running[future])
    return True


def _outcome(future: Future[TrialResult], index: int, config: Any) -> TrialResult:
    failure = future.exception()  # of the way there or back: something that does not pickle, or an exit
    return TrialResult(index, config, None, one_line(failure), "", 0.0) if failure else future.result()


@contextlib.contextmanager
def _pool(function: Trials, workers: int, alive: Any) -> Iterator[ProcessPoolExecutor]:
    # A pool that is gone at the end of the block: quietly when all is done, at once when an exception passes.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(function, alive),
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


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
