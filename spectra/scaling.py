"""Powers of two: a matrix is measured at unit size, and the measure scaled back, without overflow."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from spectra.checks import Matrix

UNIT_ROUNDOFF = 2.0**-53
SMALLEST = 2.0**-1074  # the smallest float above 0
SMALLEST_UNIT = 2.0**-1021  # its reciprocal is a float too


def unit_scaled(matrix: Matrix, *, smallest: float = SMALLEST) -> tuple[Matrix, float]:
    """Divide a matrix by a power of two that brings its largest real or imaginary part into [1, 2).

    Parameters
    ----------
    matrix : ndarray
        Finite numbers.
    smallest : float
        A power of two; no smaller one is divided by, also where the result then lies below 1.

    Returns
    -------
    scaled : ndarray
        ``matrix / scale``, exact but for entries smaller than the largest by a factor of 2^1022 or more.
    scale : float
        The power of two; 1 for a zero matrix.
    """
    parts = matrix.view(np.float64)
    largest = np.abs(parts).max()
    exponent = max(np.frexp(largest)[1], np.frexp(smallest)[1]) - 1 if largest > 0 else 0
    with np.errstate(under="ignore"):
        scaled = np.ldexp(parts, -exponent).view(matrix.dtype)
    return cast(Matrix, scaled), float(np.ldexp(1.0, exponent))


def rescaled(values: NDArray[np.complex128], scale: float) -> NDArray[np.complex128]:
    """Give ``values * scale`` by parts: without a warning, what is too large becomes inf, too small 0."""
    parts = np.ascontiguousarray(values, dtype=np.complex128).view(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        return (parts * scale).view(np.complex128)


def refuse_overflow(reach: float, what: str) -> None:
    """Let a computation pass whose sums and differences stay floats.

    Parameters
    ----------
    reach : float
        The largest number in it, to a factor of 8.
    what : str
        What the user can make smaller, for the message.

    Raises
    ------
    ValueError
        If they can exceed the largest float.
    """
    if not reach <= 2.0**1020:
        raise ValueError(
            f"{what} reach up to {reach:.2g}, where sums leave the range of floats: divide them by a power "
            "of two such as 2.0**100, and multiply the result by it"
        )
