"""Threads: compiled work on others, so that the main one hears Ctrl-C, and BLAS held to one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spectra.checks import whole_number

Progress = Callable[[int, int], None]
Result = TypeVar("Result")

_MOST = 1024  # threads that can be asked for
_LONG = 300  # order from which LAPACK is worth a thread
_SHORTEST, _LONGEST = 32, 1024  # points of a block: enough to fill the lanes, and a step of progress

_BLAS_IS_HELD = threading.Lock()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside a block, and leave its limits as they were.

    More make LAPACK slower at small orders, much so in company. Limits are those of the process: were each of
    several Python threads to restore what it found, the last could leave the limit of another for good. So
    one of them holds BLAS, and a block that begins meanwhile, inside or elsewhere, leaves it alone.

    Yields
    ------
    None
        Nothing.
    """
    if not _BLAS_IS_HELD.acquire(blocking=False):
        yield
        return
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        _BLAS_IS_HELD.release()


def available_threads(threads: int | None) -> int:
    """How many threads to use: `threads`, or all cores that this process may run on.

    Parameters
    ----------
    threads : int or None
        The number asked for.

    Returns
    -------
    int
        At least 1.
    """
    if threads is not None:
        return whole_number(threads, "threads", most=_MOST)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def interruptible(compute: Callable[[], Result], n: int) -> Result:
    """Call a long function that releases Python's lock so that Ctrl-C is heard while it runs.

    Parameters
    ----------
    compute : callable
        Without arguments. When interrupted it runs on to its end in its thread, for which only the end of the
        process waits: LAPACK cannot be stopped, and must not lose its memory while it runs.
    n : int
        Order of the matrix it works on; below 300 it is not worth a thread.

    Returns
    -------
    object
        What it returns.
    """
    if n < _LONG:
        return compute()
    done: Future[Result] = Future()

    def work() -> None:
        try:
            done.set_result(compute())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work).start()
    while not wait([done], timeout=0.1).done:
        pass
    return done.result()


def run_blocks(
    solve: Callable[[slice], None],
    count: int,
    *,
    longest: int,
    threads: int | None,
    stop: NDArray[np.uint8],
    progress: Progress | None,
) -> None:
    """Call `solve` on slices that make up range(count), over a pool of threads.

    Parameters
    ----------
    solve : callable
        Takes a slice; releases Python's lock while it computes and leaves soon after ``stop[0]`` is set.
    count : int
        Number of points.
    longest : int
        Most points of a slice.
    threads : int or None
        Threads to use; all cores for None.
    stop : ndarray, shape (1,)
        Set when this function is left, by whatever exception.
    progress : callable or None
        Called as ``progress(done, count)`` from the calling thread.
    """
    workers = available_threads(threads)
    size = max(1, min(_LONGEST, longest, max(_SHORTEST, -(-count // (8 * workers)))))
    pool = ThreadPoolExecutor(workers)
    sizes = {}
    try:
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            sizes[pool.submit(solve, part)] = part.stop - part.start
        waiting, done = set(sizes), 0
        while waiting:
            ready, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in ready:
                future.result()
                done += sizes[future]
            if progress is not None:
                progress(done, count)
    finally:
        stop[0] = 1
        pool.shutdown(wait=True, cancel_futures=True)
