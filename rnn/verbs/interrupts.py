"""What an interrupted verb says: how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def told_when_interrupted(words: str) -> Iterator[None]:
    """Within it, Ctrl-C says something on stderr at once, and then interrupts as ever.

    Parameters
    ----------
    words : str
        One line, such as how to go on.

    Yields
    ------
    None
        Nothing.

    Notes
    -----
    At once, because a command that takes longer than a moment to end is ended; see `rnn.supervision`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""  # a bar may stand there

    def tell(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"{clear}{words}\n".encode())  # print is not safe inside a handler
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
