"""Powers and exponentials of a matrix as mantissa and exponent, each with a bound of its rounding error."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectra.checks import Matrix
from spectra.scaling import UNIT_ROUNDOFF, unit_scaled

_FARTHEST = 10_000  # binary exponents beyond this are as good as infinite


class Propagator(NamedTuple):
    """A matrix ``mantissa * 2**exponent`` that no power of A makes overflow.

    Attributes
    ----------
    mantissa : ndarray, shape (n, n)
        Entries up to 2.
    exponent : int
        Power of two.
    error : float
        Bound of the norm of ``mantissa`` minus the truth.
    """

    mantissa: Matrix
    exponent: int
    error: float


def product_noise(n: int) -> float:
    """Bound of ‖fl(XY) − XY‖ / (‖X‖_F ‖Y‖_F) for real or complex matrices of order n.

    Parameters
    ----------
    n : int
        The order.

    Returns
    -------
    float
        2 (n + 4) u.
    """
    return 2 * (n + 4) * UNIT_ROUNDOFF


def propagator(matrix: NDArray[Any], exponent: int = 0, error: float = 0.0) -> Propagator:
    """Bring a matrix, with the bound of its error, into the form of a `Propagator`.

    Parameters
    ----------
    matrix : ndarray
        The matrix, to be multiplied by ``2**exponent``.
    exponent : int
        Power of two.
    error : float
        Bound of the error of `matrix`.

    Returns
    -------
    Propagator
        The same number in every entry.
    """
    mantissa, scale = unit_scaled(np.ascontiguousarray(matrix))
    return Propagator(mantissa, exponent + int(np.frexp(scale)[1]) - 1, error / scale)


def product(X: Propagator, Y: Propagator) -> Propagator:
    """Multiply two propagators.

    Parameters
    ----------
    X, Y : Propagator
        The factors.

    Returns
    -------
    Propagator
        X Y; its error is that of both factors and of rounding.
    """
    x, y = float(np.linalg.norm(X.mantissa)), float(np.linalg.norm(Y.mantissa))
    error = x * Y.error + X.error * y + X.error * Y.error + product_noise(len(X.mantissa)) * x * y
    return propagator(X.mantissa @ Y.mantissa, X.exponent + Y.exponent, error)


def power(A: Matrix, k: int) -> Propagator:
    """Power A^k by repeated squaring.

    Parameters
    ----------
    A : ndarray, shape (n, n)
        The matrix.
    k : int
        At least 1.

    Returns
    -------
    Propagator
        A^k.
    """
    base = propagator(A)
    result = None
    while True:
        if k % 2:
            result = base if result is None else product(result, base)
        k //= 2
        if k == 0:
            assert result is not None
            return result
        base = product(base, base)


def exponential(A: Matrix, shift: float, t: float) -> Propagator:
    """Exponential exp(tA) as exp(t shift) exp(t (A - shift I)).

    Parameters
    ----------
    A : ndarray, shape (n, n)
        The matrix, of a norm that times t does not overflow.
    shift : float
        Near the spectral abscissa, so that neither factor overflows.
    t : float
        Time, at least 0.

    Returns
    -------
    Propagator
        exp(tA), with error 0: what expm adds is left to the caller, who knows how it grows.
    """
    from scipy.linalg import expm

    octaves = t * shift / np.log(2.0)
    whole = round(octaves)
    matrix = expm(t * (A - shift * np.eye(len(A))))
    return propagator(matrix * 2.0 ** (octaves - whole), whole)


def following(step: Propagator, P: Propagator) -> tuple[Propagator, float]:
    """Multiply a propagator by that of a step; errors of the two are left to the caller.

    Parameters
    ----------
    step, P : Propagator
        The factors.

    Returns
    -------
    product : Propagator
        The product, with error 0.
    rounding : float
        Bound of the rounding error of this one product.
    """
    x, y = float(np.linalg.norm(step.mantissa)), float(np.linalg.norm(P.mantissa))
    exponent = step.exponent + P.exponent
    with np.errstate(over="ignore", under="ignore"):
        rounding = np.ldexp(product_noise(len(P.mantissa)) * x * y, clipped(exponent))
    return propagator(step.mantissa @ P.mantissa, exponent), float(rounding)


def clipped(exponent: int) -> int:
    """Bring a binary exponent into the range that ``numpy.ldexp`` takes.

    Parameters
    ----------
    exponent : int
        Any.

    Returns
    -------
    int
        The same, or one that makes every float inf or 0.
    """
    return max(-_FARTHEST, min(exponent, _FARTHEST))
