"""What runs where a trial runs: one at a time in a process, on one thread, its errors caught."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from threadpoolctl import threadpool_limits

_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LONGEST = 2000, 20_000  # characters of an error that are kept, and of its traceback
_ALONE = threading.Lock()  # torch's generators and numbers of threads are those of the process


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
    warnings : tuple of str
        What it warned of, each text once.
    """

    index: int
    config: Any
    value: Any
    error: str
    details: str
    seconds: float
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line."""
        return f"TrialResult {self.index}: {self.error or 'done'} after {self.seconds:.1f} s"


def trial_result(function: Callable[[Any], Any], index: int, config: Any) -> TrialResult:
    """Call ``function(config)`` on one thread, while no other trial runs in this process.

    Parameters
    ----------
    function : callable
        The trial.
    index : int
        Position of its configuration.
    config : object
        The configuration.

    Returns
    -------
    TrialResult
        With what it returned, or the exception it raised.
    """
    with _ALONE, _one_thread(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", append=True)  # those that nothing else is said about
        start = time.perf_counter()
        value, error, details = None, "", ""
        try:
            value = function(config)
        except (Exception, SystemExit) as failure:  # an exit would end the process of others
            error, details = one_line(failure), writable(traceback.format_exc())[-_LONGEST[1] :]
        seconds = time.perf_counter() - start
        words = tuple(dict.fromkeys(one_line(warning.message) for warning in caught))
        return TrialResult(index, config, value, error, details, seconds, words)


def one_line(failure: BaseException | str) -> str:
    """Give the kind and the message of an exception or a warning in one line that can be written."""
    try:
        words = str(failure)
    except Exception as fault:  # of the exception's own code
        words = f"(no message: its __str__ raised {type(fault).__name__})"
    line = " ".join(f"{type(failure).__name__}: {writable(words)}".split())
    return line if len(line) <= _LONGEST[0] else f"{line[: _LONGEST[0]]} ..."


def writable(text: str) -> str:
    """Give a text without what no file in UTF-8 and no database takes: lone surrogates, NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def start_worker(_: Callable[[Any], Any], started: Any) -> None:
    """Prepare a worker process: one thread, and an end when the parent ends.

    Parameters
    ----------
    _ : callable
        The function of the trials, sent along so that the libraries of its module are loaded and limited
        here; the environment limits those that are loaded later.
    started : multiprocessing.Event
        Set when the worker has started.
    """
    os.environ.update(dict.fromkeys(_LIBRARIES, "1"))
    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    started.set()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    # Workers of others (Dask's, say) come with any number of threads. The environment limits libraries that
    # the trial is the first to load.
    environment = {name: os.environ.get(name) for name in _LIBRARIES}
    torch: Any = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    os.environ.update(dict.fromkeys(_LIBRARIES, "1"))
    if threads != 1:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        if threads != 1:
            torch.set_num_threads(threads)
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
