"""What a grid will cost in time and memory, before it is started."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from spectra.checks import grid_shape, whole_number
from spectra.threads import available_threads

_SCHUR_OPERATIONS = 30.0  # n^3, at the rate of matrix products: LAPACK's QR iteration runs well below it
_MATRICES = 9  # arrays of n^2 entries alive at the peak


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class GridCost:
    """Predicted cost of a pseudospectrum on a grid.

    Attributes
    ----------
    seconds : float
        Predicted wall time, to a factor of about 2.
    bytes : int
        Predicted peak of memory beyond the interpreter's own.
    available_bytes : int
        Memory that this machine can give now.
    """

    seconds: float
    bytes: int
    available_bytes: int

    @property
    def fits(self) -> bool:
        """Whether the memory suffices."""
        return self.bytes <= self.available_bytes

    def __str__(self) -> str:
        """One line."""
        need, free = self.bytes / 2**30, self.available_bytes / 2**30
        return f"about {self.seconds:.1f} s and {need:.2f} GiB of {free:.2f} GiB available"

    __repr__ = __str__


def grid_cost(
    n: int, *, shape: tuple[int, int] = (100, 100), is_real: bool = True, threads: int | None = None
) -> GridCost:
    """Predicted time and memory of `pseudospectrum` for a matrix of order n, all points solved.

    Parameters
    ----------
    n : int
        Order of the matrix.
    shape : (ny, nx)
        Number of grid points along y and x.
    is_real : bool
        Whether the matrix is real and the region symmetric about the real axis.
    threads : int, optional
        Threads to use; all cores by default.

    Returns
    -------
    GridCost
        Seconds, from the rate of a matrix product measured now (some milliseconds), and bytes.

    Raises
    ------
    TypeError
        If n or shape are no whole numbers.
    ValueError
        If they are out of range.

    Notes
    -----
    30 n³ operations for the Schur form and, a point, about 4 + 4 log10(n) steps of 4 n² operations; complex
    matrices take four times as many operations on a grid that cannot be mirrored. Measured against
    `pseudospectrum` by ``tests/test_cost.py``.

    Examples
    --------
    >>> from spectra import grid_cost
    >>> cost = grid_cost(64)
    >>> cost.fits, cost.bytes < 2**22
    (True, True)
    """
    n = whole_number(n, "n", most=2**31)
    ny, nx = grid_shape(shape)
    workers = available_threads(threads)
    kind = 1 if is_real else 2
    rate = _product_rate()
    solves = ny * nx / (2 if is_real else 1) * (4 + 4 * np.log10(n)) * 4 * kind * (n**2 + 40 * n)
    seconds = kind**2 * _SCHUR_OPERATIONS * n**3 / rate + solves / (0.9 * rate * workers)
    size = grid_bytes(n, (ny, nx), is_real)
    return GridCost(seconds=float(seconds), bytes=size, available_bytes=_available_bytes())


def grid_bytes(n: int, shape: tuple[int, int], is_real: bool) -> int:
    """Peak memory of a grid: arrays of n² entries, starting vectors, and a few values a point."""
    return 8 * (1 if is_real else 2) * (_MATRICES * n**2 + 500 * n) + 8 * 6 * shape[0] * shape[1]


def refuse_what_does_not_fit(n: int, shape: tuple[int, int], is_real: bool) -> None:
    """Let a grid pass whose memory this machine can give.

    Raises
    ------
    ValueError
        If the grid needs more than is available.
    """
    need, free = grid_bytes(n, shape, is_real), _available_bytes()
    if need > free:
        raise ValueError(
            f"A is of order {n}: a {shape[0]} x {shape[1]} grid needs {need / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are available; take a coarser shape or a smaller matrix (a leading "
            "Schur or Krylov compression of A), or a machine with more memory"
        )


def _product_rate() -> float:
    """Operations per second of a double-precision matrix product, on one thread if BLAS has one."""
    A = np.ones((256, 256))
    A @ A
    start = time.perf_counter()
    for _ in range(4):
        A @ A
    return 4 * 2 * 256**3 / (time.perf_counter() - start)


def _available_bytes() -> int:
    """Memory that can be had without swapping; without a way to ask, as if there were no limit."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**62
