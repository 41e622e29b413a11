"""Pseudospectra on a grid of the complex plane."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import box, grid_shape, levels, positive
from spectra.cost import refuse_what_does_not_fit
from spectra.grid import Grid
from spectra.resolvent import dense_sigma_min, norm_bound, smallest_singular_values
from spectra.results import Pseudospectrum
from spectra.scaling import refuse_overflow
from spectra.schur import SchurForm, matrix_of, schur_form
from spectra.threads import Progress, interruptible

Floats = NDArray[np.float64]
Region = tuple[float, float, float, float]

_DELTA = 1e-3  # probability that any lower bound on a grid fails


def pseudospectrum(
    A: ArrayLike | SchurForm,
    *,
    region: Region | None = None,
    shape: tuple[int, int] = (100, 100),
    epsilons: ArrayLike | None = None,
    rtol: float = 1e-6,
    threads: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Pseudospectrum:
    """Smallest singular value σ_min(zI - A) on a grid; its level sets bound the ε-pseudospectra of A.

    The ε-pseudospectrum is {z : σ_min(zI - A) <= ε}, the union of the spectra of A + E over ‖E‖ <= ε.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    region : (xmin, xmax, ymin, ymax), optional
        Rectangle of the complex plane, end points included. By default one around the spectrum that also
        shows its surroundings and, where it is near, the unit circle.
    shape : (ny, nx)
        Number of grid points along y and x, each at least 2.
    epsilons : sequence of float, optional
        The only contours wanted, in the units of A. Points are then skipped that solved ones prove to lie
        beside no contour; the contours drawn are the same. By default every point is solved.
    rtol : float
        Relative error allowed above the floor, from 1e-13 to 0.1. The intervals narrow in proportion, but are
        wider: they bound the rare start that misses a singular value.
    threads : int, optional
        Threads to use; all cores by default. The numbers do not depend on it.
    device : str, optional
        A torch device such as "cuda" to solve on instead of the cores; needs torch.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of points.

    Returns
    -------
    Pseudospectrum
        Grid, values and intervals: abs(error) <= rtol * sigma_min + floor, in practice some 1e-6 of that.

    Raises
    ------
    TypeError
        If A is no array of numbers, or an option is of the wrong type.
    ValueError
        If A is not square, is empty or holds NaN or inf, an option is out of range, A or the region come near
        the largest float, or the grid would not fit into memory (`grid_cost` tells beforehand).

    Notes
    -----
    One Schur form (about 10 n³ operations), then inverse Lanczos on the Schur factor for 16 points (4 without
    AVX-512) at a time, about 4 n² operations for a step of a real matrix, twice that for a complex one, and
    some 10 steps a point. Conjugate points of a real matrix are solved once. For given `epsilons` the grid is
    solved coarse to fine: σ_min(zI - A) changes by at most abs(z - w) from z to w, and σ_min(zI - A)² - |z|²
    is concave, being the least of ‖Av‖² - 2 Re(z̄ v*Av) over unit v. Below ``result.floor``, about
    n u (‖A‖ + |z|), a value is noise; points at most that far from an eigenvalue get 0.

    References
    ----------
    L. N. Trefethen and M. Embree, Spectra and Pseudospectra, Princeton University Press, 2005.

    Examples
    --------
    For this Jordan block σ_min(zI - A) = (abs(z)^2 + 1/4)^(1/2) - 1/2:

    >>> from spectra import pseudospectrum
    >>> result = pseudospectrum([[0.0, 1.0], [0.0, 0.0]], region=(-2, 2, -2, 2), shape=(3, 5))
    >>> result.sigma_min.round(4)
    array([[2.3723, 1.7913, 1.5616, 1.7913, 2.3723],
           [1.5616, 0.618 , 0.    , 0.618 , 1.5616],
           [2.3723, 1.7913, 1.5616, 1.7913, 2.3723]])
    """
    ny, nx = grid_shape(shape)
    wanted = np.zeros(0) if epsilons is None else levels(epsilons)
    rtol = positive(rtol, "rtol")
    if not 1e-13 <= rtol <= 0.1:
        raise ValueError(f"rtol is {rtol}; expected 1e-13 <= rtol <= 0.1, such as 1e-6")
    limits = None if region is None else box(region)
    matrix = matrix_of(A)
    refuse_what_does_not_fit(len(matrix), (ny, nx), matrix.dtype == np.float64)
    form = schur_form(A)
    refuse_overflow(norm_bound(form), "the entries of A")
    xmin, xmax, ymin, ymax = limits or _automatic_region(form)
    refuse_overflow(norm_bound(form) + max(map(abs, (xmin, xmax, ymin, ymax))), "A and region")
    x, y = np.linspace(xmin, xmax, nx), np.linspace(ymin, ymax, ny)
    mirrored = form.is_real and ymin == -ymax
    half = y[ny // 2 :] if mirrored else y
    z = x[None, :] + 1j * half[:, None]

    solver = functools.partial(
        smallest_singular_values, form, rtol=rtol, delta=_DELTA, threads=threads, device=device
    )
    grid = Grid(z, wanted, solver, functools.partial(dense_sigma_min, form), progress=progress)
    sigma, lower, upper, computed = grid.sigma, grid.lower, grid.upper, grid.computed
    if mirrored:
        sigma, lower, upper, computed = (
            np.concatenate([values[ny % 2 :][::-1], values]) for values in (sigma, lower, upper, computed)
        )
    return Pseudospectrum(
        x=x,
        y=y,
        sigma_min=sigma,
        lower=lower,
        upper=upper,
        computed=computed,
        eigenvalues=form.eigenvalues,
        epsilons=wanted,
        floor=grid.floor,
        storage_floor=form.entry_roundoff * norm_bound(form),
        rtol=rtol,
        delta=_DELTA,
        iterations=grid.iterations,
    )


def _automatic_region(form: SchurForm) -> Region:
    """Enclose the spectrum, grown towards the numerical range, at most doubled, and a near unit circle."""
    T = form.T
    parts = (T + T.conj().T) / 2, (T - T.conj().T) / 2j
    real, imaginary = interruptible(lambda: [np.linalg.eigvalsh(H)[[0, -1]] * form.scale for H in parts])
    e = form.eigenvalues
    spread = max(np.ptp(e.real), np.ptp(e.imag))
    reach = 0.5 * spread if spread > 1e-3 * form.scale else np.inf
    margin = 0.15 * (spread if spread > 0 else max(np.ptp(real), np.ptp(imaginary), abs(e[0]), form.scale))
    xmin, xmax = max(real[0], e.real.min() - reach) - margin, min(real[1], e.real.max() + reach) + margin
    ymin, ymax = (
        max(imaginary[0], e.imag.min() - reach) - margin,
        min(imaginary[1], e.imag.max() + reach) + margin,
    )
    if 0.25 <= np.abs(e).max() <= 4.0:
        xmin, xmax, ymin, ymax = min(xmin, -1.1), max(xmax, 1.1), min(ymin, -1.1), max(ymax, 1.1)
    if form.is_real:
        ymax = max(-ymin, ymax)
        ymin = -ymax
    return float(xmin), float(xmax), float(ymin), float(ymax)
