"""The smallest singular value of zI - A at many points z at once, each with its interval."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svdvals

from spectra import kernels
from spectra.layout import Accuracy, PaddedFactor, padded_factor
from spectra.scaling import SMALLEST, SMALLEST_UNIT, UNIT_ROUNDOFF
from spectra.schur import SchurForm
from spectra.threads import Progress, run_blocks

Floats = NDArray[np.float64]


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


def common_unit(form: SchurForm, size: float) -> float:
    """Give a power of two near the larger of the entries of A and another number, to compute in.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    size : float
        The number, at least 0.

    Returns
    -------
    float
        The unit; neither it nor its reciprocal leaves the range of normal floats.
    """
    least = form.scale if form.A.any() else SMALLEST_UNIT
    return max(least, float(2.0 ** np.floor(np.log2(size))) if size > 0 else 0.0)


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
    device: str | None = None,
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
        Relative residual at which a point is done: σ_min is then within rtol / 2 of a singular value, and
        within rtol of the smallest unless the start meets its vector far less than most do.
    delta : float
        Probability that some `lower` fails, over the random starting vectors.
    threads : int, optional
        Threads to use; all cores by default.
    device : str, optional
        A torch device such as "cuda" to compute on instead.
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
    unit = common_unit(form, farthest)
    accuracy = Accuracy(float(np.sqrt((form.n - 1) * max(m, 1) / delta)), rtol, floor / unit)
    if device is None:
        solved = _solve_on_cores(form, unit, z / unit, accuracy, threads, progress)
    else:
        from spectra.gpu import solve_on_device

        solved = solve_on_device(form, unit, z / unit, accuracy, device=device, progress=progress)
    sigma, lower, steps = solved
    for i in np.flatnonzero(sigma < 0):
        sigma[i] = lower[i] = dense_sigma_min(form, z[i]) / unit
    sigma, lower = sigma * unit, lower * unit
    floor += SMALLEST  # these products are rounded below the normal floats
    return SmallestSingularValues(sigma, np.maximum(lower - floor, 0.0), sigma + floor, steps, floor)


def _solve_on_cores(
    form: SchurForm,
    unit: float,
    z: NDArray[np.complex128],
    accuracy: Accuracy,
    threads: int | None,
    progress: Progress | None,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Values, lower ends and steps, in units of `unit`, by the compiled kernel."""
    m = len(z)
    sigma, lower, steps = np.zeros(m), np.zeros(m), np.zeros(m, dtype=np.int64)
    zr, zi = np.ascontiguousarray(z.real), np.ascontiguousarray(z.imag)
    arrays = panels(padded_factor(form, unit, kernels.ROWS))
    stop = np.zeros(1, dtype=np.uint8)

    def solve(part: slice) -> None:
        kernels.solve_points(
            *arrays, zr[part], zi[part], part.start, *accuracy, stop, sigma[part], lower[part], steps[part]
        )

    longest = max(4 * kernels.LANES, int(5e8 // form.n**2))
    run_blocks(solve, m, longest=longest, threads=threads, stop=stop, progress=progress)
    return sigma, lower, steps


def panels(factor: PaddedFactor) -> tuple[Floats, ...]:
    """Lay the factor and its adjoint out for `kernels.solve_points`: four rows a panel, slots, roots, starts.

    Parameters
    ----------
    factor : PaddedFactor
        The factor, padded to a multiple of `kernels.ROWS`.

    Returns
    -------
    tuple of ndarray
        The first seven arguments of the kernel.
    """
    T, n = factor.T, len(factor.T)
    i = np.arange(0, n, 2)
    slot = np.stack([T[i, i], T[i, i + 1], T[i + 1, i], T[i + 1, i + 1]], axis=1)

    def by_rows(M: Floats) -> Floats:
        return np.ascontiguousarray(M.reshape(n // kernels.ROWS, kernels.ROWS, n).transpose(0, 2, 1))

    none = np.zeros((0, 0, kernels.ROWS))
    upper, lower = by_rows(T.real), by_rows(T.real.T)
    imaginary = (by_rows(T.imag), by_rows(-T.imag.T)) if np.iscomplexobj(T) else (none, none)
    slots = np.concatenate([slot.real, slot.imag], axis=1)
    roots = np.ascontiguousarray(np.stack([factor.roots.real, factor.roots.imag], axis=1))
    return upper, imaginary[0], lower, imaginary[1], slots, roots, factor.starts


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
    unit = common_unit(form, abs(z))
    shifted = (z / unit) * np.eye(form.n) - form.T * (form.scale / unit)
    return float(svdvals(shifted, overwrite_a=True, check_finite=False)[-1]) * unit
