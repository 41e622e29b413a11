"""Ctrl-C that always works: a command runs in a child process, which is ended when it does not end itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

_HEEDED = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
GRACE = 0.5  # seconds that an interrupted command has to remove its temporary files


class _Terminated(BaseException):
    """SIGTERM or SIGHUP has come."""


def supervised(command: Callable[[], int]) -> int:
    """Run `command` in a child process and give its exit code; 130 within a second of Ctrl-C.

    Parameters
    ----------
    command : callable
        Takes nothing, gives an exit code. It runs in the child, and what it imports is loaded there only.

    Returns
    -------
    int
        The exit code: that of the command, or 128 + number of the signal that ended it.

    Notes
    -----
    LAPACK's Schur factorisation holds Python's lock for seconds, and a thread inside a kernel cannot be
    ended from Python; so no handler inside the process could keep the promise. The child is a process group
    of its own, so that its worker processes end with it; it also ends when its parent is killed. Without
    ``os.fork`` (Windows) the command runs in this process, and Ctrl-C waits for the kernel.
    """
    if not hasattr(os, "fork"):
        return command()
    alive, held = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)  # until parent and child can answer
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)
        os.close(held)
        os.setpgid(0, 0)
        threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
        try:
            code = command()
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed by the reader, or by the command
                stream.flush()
        os._exit(code)  # to take torch and numba apart first would take half a second
    os.close(alive)
    with contextlib.suppress(OSError):  # the child may have done it already, or have ended
        os.setpgid(child, child)
    return _wait(child)


def _wait(child: int) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        return _end(child, signal.SIGINT, "interrupted")
    except _Terminated as ended:
        return _end(child, ended.args[0], "terminated")
    if code < 0:
        _tell(
            f"error: the computation was ended by signal {-code} ({signal.strsignal(-code)}); enough memory?"
        )
        return 128 - code
    return code


def _terminate(number: int, _: object) -> None:
    raise _Terminated(number)


def _end(child: int, number: int, word: str) -> int:
    """Pass the signal on, wait a moment, then end the child and all its workers."""
    for other in _HEEDED:
        signal.signal(other, signal.SIG_IGN)
    os.kill(child, signal.SIGINT)
    deadline = time.monotonic() + GRACE
    gone = False
    while not gone and time.monotonic() < deadline:
        gone = os.waitpid(child, os.WNOHANG)[0] != 0
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not gone:
        os.waitpid(child, 0)
    _tell(word)
    return 128 + number


def _tell(message: str) -> None:
    if sys.stderr.isatty():
        message = f"\r\x1b[K\x1b[?25h{message}"  # what is left of a progress bar, and the hidden cursor
    print(message, file=sys.stderr)


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)  # returns when the parent, which holds the other end, is gone
    os.killpg(0, signal.SIGKILL)
