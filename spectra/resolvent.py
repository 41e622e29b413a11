"""The smallest singular value of zI - A at many points z at once, each with its interval."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svdvals

from spectra import kernels
from spectra.scaling import UNIT_ROUNDOFF
from spectra.schur import SchurForm
from spectra.threads import Progress, run_blocks

Floats = NDArray[np.float64]

_STARTS = 64  # random starting vectors that the points share
_PAD = -1e8 * np.pi  # diagonal entry of a padding row: far from every point, coupled to nothing


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SmallestSingularValues:
    """σ_min(zI - A) at a vector of points: value, interval and Lanczos steps of each.

    Attributes
    ----------
    sigma_min, lower, upper : ndarray
        Value and interval, as in `Pseudospectrum`.
    steps : ndarray of int
        Lanczos steps taken at each point.
    floor : float
        Level of rounding noise.
    """

    sigma_min: Floats
    lower: Floats
    upper: Floats
    steps: NDArray[np.int64]
    floor: float


def norm_bound(form: SchurForm) -> float:
    """Upper bound of ‖A‖: the smaller of the Frobenius norm and (‖A‖_1 ‖A‖_inf)^(1/2), in the units of A.

    Parameters
    ----------
    form : SchurForm
        The matrix.

    Returns
    -------
    float
        A bound at most √n times the norm.
    """
    size = np.abs(form.A / form.scale)
    mixed = np.sqrt(size.sum(axis=0).max() * size.sum(axis=1).max())
    return float(min(np.linalg.norm(size), mixed)) * form.scale


def rounding_floor(form: SchurForm, farthest: float) -> float:
    """Level below which a computed σ_min(zI - A) is noise: n u (‖A‖ + |z|), with at least n = 10.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    farthest : float
        Largest |z| of interest.

    Returns
    -------
    float
        The floor, in the units of A.
    """
    return max(form.n, 10) * UNIT_ROUNDOFF * (norm_bound(form) + farthest)


def smallest_singular_values(
    form: SchurForm,
    z: NDArray[np.complex128],
    *,
    rtol: float,
    delta: float,
    threads: int | None = None,
    progress: Progress | None = None,
) -> SmallestSingularValues:
    """Smallest singular value of zI - A at each point z.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    z : ndarray of complex, shape (m,)
        The points.
    rtol : float
        Relative residual at which a point is done: σ_min is then within rtol / 2 of a singular value.
    delta : float
        Probability that some `lower` fails, over the random starting vectors.
    threads : int, optional
        Threads to use; all cores by default.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of points, from the calling thread.

    Returns
    -------
    SmallestSingularValues
        Values and intervals in the units of A.

    Notes
    -----
    Inverse Lanczos on ((zI - T)* (zI - T))^-1 (Lui 1997), many shifts at a time. The value is a Ritz value,
    hence an upper bound up to rounding. A lower bound needs the random start q: if the largest eigenvalue
    were λ, the component of q along its eigenvector would be at most 1/p_k(λ), where p_k is the k-th Lanczos
    polynomial, and that is improbable for a random q. With p_k convex beyond its top zero θ and
    p_k'(θ) = 1/(s_1 r), where s is the unit eigenvector of the tridiagonal matrix and r the residual, λ
    exceeds θ + s_1 r √((n - 1)/δ) with probability at most δ. Points that do not converge go to a dense SVD.
    """
    m = len(z)
    farthest = float(np.abs(z).max(initial=0.0))
    floor = rounding_floor(form, farthest)
    unit = max(form.scale, float(2.0 ** np.floor(np.log2(farthest))) if farthest > 0 else 0.0)
    factor = _Panels.of(form, unit)
    sigma, lower, steps = np.zeros(m), np.zeros(m), np.zeros(m, dtype=np.int64)
    shifts = z / unit
    widening = np.sqrt((form.n - 1) * max(m, 1) / delta)
    stop = np.zeros(1, dtype=np.uint8)

    def solve(part: slice) -> None:
        points = shifts[part]
        out = np.zeros(len(points)), np.zeros(len(points)), np.zeros(len(points), dtype=np.int64)
        real, imaginary = np.ascontiguousarray(points.real), np.ascontiguousarray(points.imag)
        kernels.solve_points(
            *factor.arrays, real, imaginary, part.start, widening, rtol, floor / unit, stop, *out
        )
        sigma[part], lower[part], steps[part] = out

    longest = max(4 * kernels.LANES, int(5e8 // form.n**2))
    run_blocks(solve, m, longest=longest, threads=threads, stop=stop, progress=progress)
    for i in np.flatnonzero(sigma < 0):
        sigma[i] = lower[i] = dense_sigma_min(form, z[i]) / unit
    sigma, lower = sigma * unit, lower * unit
    return SmallestSingularValues(sigma, np.maximum(lower - floor, 0.0), sigma + floor, steps, floor)


def dense_sigma_min(form: SchurForm, z: complex) -> float:
    """σ_min(zI - A) by a dense singular value decomposition of zI - T.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    z : complex
        The point.

    Returns
    -------
    float
        The value, in the units of A, to within the rounding floor.
    """
    shifted = (z / form.scale) * np.eye(form.n) - form.T
    return float(svdvals(shifted, overwrite_a=True, check_finite=False)[-1]) * form.scale


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Panels:
    """The Schur factor laid out for the kernel: padded so that no 2 x 2 block straddles a slot, in panels."""

    arrays: tuple[Floats, ...]

    @classmethod
    def of(cls, form: SchurForm, unit: float) -> _Panels:
        order = _padded_order(form)
        kept = order >= 0
        size = len(order)
        T = np.zeros((size, size), dtype=form.T.dtype)
        T[np.ix_(kept, kept)] = form.T[np.ix_(order[kept], order[kept])] * (form.scale / unit)
        T[~kept, ~kept] = _PAD
        roots = np.full(size, _PAD, dtype=np.complex128)
        roots[kept] = form.eigenvalues[order[kept]] / unit
        first = np.arange(0, size, 2)
        slot = np.stack(
            [T[first, first], T[first, first + 1], T[first + 1, first], T[first + 1, first + 1]], axis=1
        )
        starts = np.random.default_rng(0).standard_normal((_STARTS, size, 2))
        starts[:, ~kept] = 0.0
        starts /= np.linalg.norm(starts.reshape(_STARTS, -1), axis=1)[:, None, None]
        none = np.zeros((0, 0, kernels.ROWS))
        upper, lower = _panels(T.real), _panels(T.real.T)
        imaginary = (none, none) if form.is_real else (_panels(T.imag), _panels(-T.imag.T))
        slots = np.concatenate([slot.real, slot.imag], axis=1)
        return cls((upper, imaginary[0], lower, imaginary[1], slots, _pairs(roots), starts))


def _padded_order(form: SchurForm) -> NDArray[np.int64]:
    """Rows of T in order, -1 for a padding row."""
    double = np.zeros(form.n + 1, dtype=bool)
    if form.is_real:
        double[: form.n - 1] = np.diagonal(form.T, -1) != 0
    order: list[int] = []
    for i in range(form.n):
        if double[i] and len(order) % 2:
            order.append(-1)
        order.append(i)
    order += [-1] * (-len(order) % kernels.ROWS)
    return np.array(order)


def _panels(T: Floats) -> Floats:
    size = len(T)
    return np.ascontiguousarray(T.reshape(size // kernels.ROWS, kernels.ROWS, size).transpose(0, 2, 1))


def _pairs(values: NDArray[np.complex128]) -> Floats:
    return np.ascontiguousarray(np.stack([values.real, values.imag], axis=1))
