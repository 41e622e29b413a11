"""Lanczos iteration for the largest singular value of a linear map, with an interval from a random start."""

from __future__ import annotations

import math
from typing import Any, cast
from warnings import warn

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from spectra.checks import non_negative, positive
from spectra.errors import AccuracyWarning
from spectra.operators import LinearMap, Vector, random_vector
from spectra.results import Extremum

Floats = NDArray[np.float64]

MOST_STEPS = 300
_FINER = 2.0  # ratio of the trial gaps in the search for the upper end, downwards
_COARSER = 1.1  # and upwards
_LEAST_GAP = 1e-16


def failure_probability(value: Any, name: str = "delta") -> float:
    """Give `value` as a float in [0, 1).

    Returns
    -------
    float
        The probability.

    Raises
    ------
    ValueError
        If it is negative, NaN, or at least 1.
    """
    number = non_negative(value, name)
    if number >= 1:
        raise ValueError(f"{name} is {number}; expected a probability below 1, such as 1e-6")
    return number


def relative_width(value: Any, name: str = "rtol") -> float:
    """Give `value` as a float in (0, 1].

    Returns
    -------
    float
        The width.

    Raises
    ------
    ValueError
        If it is zero, negative, NaN, or above 1.
    """
    number = positive(value, name)
    if number > 1:
        raise ValueError(f"{name} is {number}; expected a relative width of at most 1, such as 1e-6")
    return number


def largest_singular_value(
    A: LinearMap, *, rtol: float, delta: float, rng: np.random.Generator, most_steps: int = MOST_STEPS
) -> Extremum:
    """Largest singular value of a linear map.

    Parameters
    ----------
    A : LinearMap
        The map, m x n.
    rtol : float
        The iteration ends when the interval is narrower than this, relative to the value.
    delta : float
        Probability that `upper` fails; with 0 it is ``A.bound``, and `rtol` limits the residual.
    rng : numpy.random.Generator
        For the start.
    most_steps : int
        Limit of the iteration.

    Returns
    -------
    Extremum
        Value and interval in the units of A; `points` is the unit vector x of length n with ‖Ax‖ = `value`,
        `residual` is ‖A*Ax - value² x‖ / value.

    Notes
    -----
    Lanczos with full reorthogonalisation on A*A, or AA* where that is smaller, from a random unit vector q.
    Its orthonormal polynomials p_0, p_1, ... give the basis vectors p_j(A*A) q. If λ were an eigenvalue with
    unit eigenvector v, then by Bessel's inequality |<q, v>|² Σ_j p_j(λ)² <= 1. For q uniform on the sphere
    |<q, v>| <= t has probability at most √n t (real) or n t² (complex). So with probability at least 1 - δ
    the largest eigenvalue lies below the point beyond the largest Ritz value where Σ_j p_j² reaches n / δ²
    (real) or n / δ (complex).
    """
    wide = A.shape[0] < A.shape[1]
    forth, back = (A.adjoint, A.apply) if wide else (A.apply, A.adjoint)
    n = min(A.shape)
    least = _least_sum(n, A.is_complex, delta)
    gap = rtol * (1 + rtol / 4)  # (1 + rtol / 2)² - 1
    v = random_vector(n, A.is_complex, rng)
    basis = np.empty((min(n, most_steps), n), dtype=v.dtype)
    diagonal: list[float] = []
    beside: list[float] = []
    for k in range(len(basis)):
        basis[k] = v
        u = back(forth(v))
        diagonal.append(float(np.vdot(v, u).real))
        for _ in range(2):
            u = cast(Vector, u - (basis[: k + 1].conj() @ u) @ basis[: k + 1])
        beside.append(float(np.linalg.norm(u)))
        theta, s = _top_pair(diagonal, beside)
        if k + 1 == n or beside[-1] <= A.noise * theta:
            break
        settled = delta == 0 and beside[-1] * abs(s[-1]) <= rtol * theta
        reached = A.bound**2 <= theta * (1 + gap)
        if settled or reached or _sum_of_squares(diagonal, beside, theta * (1 + gap)) >= least:
            break
        v = u / beside[-1]
    complete = len(diagonal) == n and delta > 0
    beside[-1] = max(beside[-1], A.noise * theta)
    above = 0.0 if complete else _gap_above(diagonal, beside, theta, gap, least)
    x = cast(Vector, s @ basis[: len(s)])
    return extremum_at(A, forth(x) if wide else x, float(np.sqrt(theta * (1 + above))), steps=len(s))


def warn_if_wide(result: Extremum, rtol: float, delta: float) -> None:
    """Say that an interval is wider than `rtol`, unless only proven bounds (delta = 0) were wanted.

    Parameters
    ----------
    result : Extremum
        Value and interval.
    rtol : float
        Relative width asked for.
    delta : float
        Failure probability allowed.
    """
    if delta > 0 and result.upper > result.lower * (1 + rtol):
        width = result.upper / result.lower - 1 if result.lower > 0 else np.inf
        warn(
            f"the norm is bracketed to {width:.1g} after {result.steps} steps, not to rtol = {rtol:.1g}; the "
            "interval holds, but is wider than asked for",
            AccuracyWarning,
            stacklevel=3,
        )


def extremum_at(A: LinearMap, x: Vector, upper: float, *, steps: int) -> Extremum:
    """Norm of Ax / ‖x‖, with the interval from there to an upper bound of ‖A‖, both widened by rounding.

    Parameters
    ----------
    A : LinearMap
        The map.
    x : ndarray, shape (n,)
        Any vector; 0 stands for the first unit vector.
    upper : float
        The bound, in units of ``A.scale``.
    steps : int
        For the record.

    Returns
    -------
    Extremum
        As `largest_singular_value` gives it.
    """
    size = float(np.linalg.norm(x))
    if size == 0:  # only if the map is zero
        x, size = np.eye(A.shape[1], 1).ravel(), 1.0
    x = x / size
    y = A.apply(x)
    value = float(np.linalg.norm(y))
    left = A.adjoint(y / value) - value * x if value else x * 0
    lower, upper = value * (1 - A.noise), max(min(upper, A.bound), value) * (1 + A.noise)
    return Extremum(
        value=value * A.scale,
        lower=math.nextafter(lower * A.scale, 0),
        upper=math.nextafter(upper * A.scale, math.inf) if upper else 0.0,
        points=x.astype(np.complex128),
        residual=float(np.linalg.norm(left)) * A.scale,
        steps=steps,
    )


def _least_sum(n: int, is_complex: bool, delta: float) -> float:
    """Give the sum of squares that only a start of probability below delta would fail."""
    if delta == 0:
        return float("inf")
    return n / delta if is_complex else n / delta / delta


def _top_pair(diagonal: list[float], beside: list[float]) -> tuple[float, Floats]:
    k = len(diagonal)
    values, vectors = eigh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(k - 1, k - 1))
    return max(float(values[0]), 0.0), np.asarray(vectors[:, 0], dtype=np.float64)


def _sum_of_squares(diagonal: list[float], beside: list[float], x: float) -> float:
    """Sum of the squares of the Lanczos polynomials at x beyond the largest Ritz value."""
    total, before, here, last = 1.0, 0.0, 1.0, 0.0
    for d, e in zip(diagonal, beside, strict=True):
        before, here, last = here, ((x - d) * here - last * before) / e, e
        total += here * here
        if total > 1e200:
            break
    return total


def _gap_above(diagonal: list[float], beside: list[float], theta: float, gap: float, least: float) -> float:
    """Give a gap g such that the sum at theta (1 + g) reaches the least that it must."""
    if theta == 0:
        return 0.0
    if not least < 1e200:
        return float("inf")

    def reached(g: float) -> bool:
        return _sum_of_squares(diagonal, beside, theta * (1 + g)) >= least

    gap = max(gap, _LEAST_GAP)
    if reached(gap):
        while gap > _LEAST_GAP and reached(gap / _FINER):
            gap /= _FINER
        return gap
    while not reached(gap):
        gap *= _COARSER
    return gap
