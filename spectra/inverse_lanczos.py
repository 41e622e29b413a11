"""Inverse Lanczos for many matrices M(z) in step: least singular values from solves with M and M* alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from spectra import kernels
from spectra.layout import Accuracy
from spectra.threads import Progress, one_blas_thread, run_blocks

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

_STARTS = 64  # random starting vectors that the points share


class Factors(Protocol):
    """Matrices M_1, ..., M_m of order n, one for each point of a batch, that can be solved with."""

    def solve(self, right: Complexes, *, adjoint: bool) -> Complexes:
        """Give M_j^-1, or M_j^-*, times column j of `right`, shape (n, m)."""

    def keep(self, chosen: NDArray[np.int64]) -> Self:
        """Give the factors of some of the points."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What inverse Lanczos found at each point, without allowance for rounding.

    Attributes
    ----------
    sigma, lower : ndarray
        Value (a Ritz value, hence an upper bound) and end of its interval.
    steps : ndarray of int
        Lanczos steps.
    converged : ndarray of bool
        False where `kernels.MAX_STEPS` did not suffice: the interval then is true, but wide.
    """

    sigma: Floats
    lower: Floats
    steps: NDArray[np.int64]
    converged: NDArray[np.bool_]


def random_starts(n: int, index: NDArray[np.int64]) -> Complexes:
    """Give a random unit vector for each point, the same for the same number of a point.

    Parameters
    ----------
    n : int
        Length of the vectors.
    index : ndarray of int, shape (m,)
        Numbers of the points.

    Returns
    -------
    ndarray of complex, shape (n, m)
        One vector a column.
    """
    parts = [np.random.default_rng(i % _STARTS).standard_normal((n, 2)) for i in index.tolist()]
    starts = np.stack([part[:, 0] + 1j * part[:, 1] for part in parts], axis=1)
    return np.asarray(starts / np.linalg.norm(starts, axis=0))


def solve_batches(
    factors_at: Callable[[slice], Factors],
    count: int,
    order: int,
    *,
    accuracy: Accuracy,
    batch: int,
    threads: int | None,
    progress: Progress | None,
) -> Found:
    """Run inverse Lanczos on batches of points over a pool of threads.

    Parameters
    ----------
    factors_at : callable
        Gives the factors of a slice of the points.
    count : int
        Number of points.
    order : int
        Order of the factors.
    accuracy : Accuracy
        When a point is done.
    batch : int
        Most points of a batch.
    threads : int or None
        Threads to use; all cores for None.
    progress : callable or None
        Called as ``progress(done, count)``.

    Returns
    -------
    Found
        Of all points.
    """
    found = Found(np.zeros(count), np.zeros(count), np.zeros(count, np.int64), np.zeros(count, bool))
    stop = np.zeros(1, dtype=np.uint8)

    def solve(part: slice) -> None:
        starts = random_starts(order, np.arange(part.start, part.stop))
        with np.errstate(all="ignore"):  # each thread has its own state
            some = inverse_lanczos(factors_at(part), starts, accuracy, stop=stop)
        for field in dataclasses.fields(Found):
            getattr(found, field.name)[part] = getattr(some, field.name)

    with one_blas_thread():
        run_blocks(solve, count, longest=batch, threads=threads, stop=stop, progress=progress)
    return found


def inverse_lanczos(
    factors: Factors, starts: Complexes, accuracy: Accuracy, *, stop: NDArray[np.uint8]
) -> Found:
    """Least singular value of each M_j by Lanczos on (M_j* M_j)^-1, all points of a batch in step.

    Parameters
    ----------
    factors : Factors
        The matrices.
    starts : ndarray of complex, shape (n, m)
        Random unit vectors.
    accuracy : Accuracy
        When a point is done, as in `kernels.solve_points`.
    stop : ndarray, shape (1,)
        Set from outside to leave early.

    Returns
    -------
    Found
        0 where the solves overflow, which proves a value far below rounding noise.
    """
    n, m = starts.shape
    sigma, lower, steps, settled = np.zeros(m), np.zeros(m), np.zeros(m, np.int64), np.zeros(m, bool)
    caution = kernels.CAUTION * np.sqrt(n)
    ceiling = min(accuracy.floor**-2.0, 1e300) if accuracy.floor > 0 else 1e300
    here, q, before = np.arange(m), starts, np.zeros_like(starts)
    alpha, beta, theta = np.zeros((0, m)), np.zeros((1, m)), np.zeros(m)  # row 0 of beta stays 0
    while len(here) and len(alpha) < kernels.MAX_STEPS and not stop[0]:
        v = factors.solve(q, adjoint=True)
        alpha = np.vstack([alpha, _squares(v)])
        w = factors.solve(v, adjoint=False) - alpha[-1] * q - beta[-1] * before
        size = np.sqrt(_squares(w))
        before, q = q, w / size
        theta, first2, last2 = _top_ritz_values(alpha, beta[1:], theta)
        beta = np.vstack([beta, size])
        residual = np.sqrt(last2) * size
        hidden = np.sqrt(first2) * residual
        normal = (theta < ceiling) & np.isfinite(hidden)
        small = np.maximum(residual, caution * hidden) <= accuracy.rtol * theta
        sigma[here] = np.where(theta < 1e300, 1 / np.sqrt(theta), 0.0)  # also where theta is NaN
        lower[here] = np.where(normal, 1 / np.sqrt(theta + accuracy.widening * hidden), 0.0)
        steps[here], settled[here] = len(alpha), ~normal | small
        left = np.flatnonzero(~settled[here])
        if len(left) < len(here):
            factors, here, q, before = factors.keep(left), here[left], q[:, left], before[:, left]
            alpha, beta, theta = alpha[:, left], beta[:, left], theta[left]
    return Found(sigma, lower, steps, settled)


def _squares(x: Complexes) -> Floats:
    """Give the squared length of each column."""
    return np.asarray(np.einsum("ij,ij->j", x.real, x.real) + np.einsum("ij,ij->j", x.imag, x.imag))


def _top_ritz_values(alpha: Floats, beta: Floats, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Top eigenvalue of each tridiagonal matrix and the squared ends of its eigenvector."""
    k, m = alpha.shape
    width = -(-m // kernels.LANES) * kernels.LANES
    diagonal, beside, high = np.ones((k, width)), np.zeros((k, width)), np.ones((1, width))
    diagonal[:, :m], beside[:-1, :m] = alpha, beta
    middle, half = (theta + alpha[-1]) / 2, (theta - alpha[-1]) / 2
    last = beta[-1] if len(beta) else 0.0
    high[0, :m] = (1 + 1e-14) * (middle + np.hypot(half, last))
    top, first2, last2 = np.zeros((1, width)), np.zeros((1, width)), np.zeros((1, width))
    kernels.ritz_values(diagonal, beside, high, top, first2, last2)
    return top[0, :m], first2[0, :m], last2[0, :m]
