"""What a terminal shows: tables on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

LOG_WIDTH = 1000  # where stdout is no terminal: nothing is broken or cut


def printable(text: str) -> str:
    r"""Give a text in which nothing but line ends commands a terminal: what cannot be printed is escaped.

    Parameters
    ----------
    text : str
        Such as the name of a file or of a tensor, which anybody may have chosen.

    Returns
    -------
    str
        The same where every character can be printed.

    Examples
    --------
    >>> printable("a\x1b[31m.npy")
    'a\\x1b[31m.npy'
    """
    return "".join(
        c if c == "\n" or unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode()
        for c in text
    )


def print_table(heads: Iterable[str], rows: Iterable[Iterable[str]], title: str) -> None:
    """Print a table: the first column to the left, numbers to the right.

    Parameters
    ----------
    heads : iterable of str
        Heads of the columns.
    rows : iterable of iterables of str
        The cells, shown as they are.
    title : str
        Stands above.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False)
    console.print(Text(printable(title)), table, sep="\n")


def print_records(records: Iterable[Mapping[Any, Any]], title: str) -> None:
    """Print records with the same keys as a table; floats to four digits, NaN and None as a dash.

    Parameters
    ----------
    records : iterable of mapping
        At least one.
    title : str
        Stands above.
    """
    rows = [{str(name): _cell(value) for name, value in record.items()} for record in records]
    print_table(rows[0], [row.values() for row in rows], title)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return "-" if value is None else str(value)


@contextlib.contextmanager
def progress_of(label: str, *, told: bool = False) -> Iterator[Callable[..., None]]:
    """Give a function of (done, total, ...) that shows how far the work is: a bar, or lines in a log.

    Parameters
    ----------
    label : str
        What is counted.
    told : bool
        Whether the third argument says in words how far it is, and how long it will take.

    Yields
    ------
    callable
        Call it as ``show(done, total)``; further arguments are ignored, but for the third where it tells.
    """
    if not sys.stderr.isatty():
        with _lines(label, told=told) as show:
            yield show
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    known = (MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
    words = (TimeElapsedColumn(), TextColumn("{task.fields[words]}", markup=False))
    columns = (TextColumn(label), BarColumn(), *(words if told else known))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(label, total=None, words="")

        def show_bar(done: int, total: int, *more: object) -> None:
            bars.update(bar, completed=done, total=total, words=f"{more[0]}" if told and more else "")

        yield show_bar


@contextlib.contextmanager
def _lines(
    label: str, *, told: bool = False, first: float = 2.0, every: float = 5.0
) -> Iterator[Callable[..., None]]:
    """Print a line now and then, also while one step takes long: somebody may wait for a sign of life."""
    reached: dict[str, str] = {}
    ended, begun = threading.Event(), time.monotonic()

    def show(done: int, total: int, *more: object) -> None:
        reached["words"] = f"{more[0]}, after" if told and more else f"{done} of {total},"

    def tell() -> None:
        pause = first
        while not ended.wait(pause):
            pause = every
            if reached:
                seconds = time.monotonic() - begun
                print(f"{label}: {reached['words']} {seconds:.0f} s", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield show
    finally:
        ended.set()
        teller.join()
