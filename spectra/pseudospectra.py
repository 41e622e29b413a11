"""Pseudospectra on a grid of the complex plane."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from spectra.checks import any_matrix, box, callback, grid_shape, levels, positive
from spectra.cost import refuse_what_does_not_fit
from spectra.grid import Grid
from spectra.pencils import Pencil, Region
from spectra.projection import projected_pencil
from spectra.rectangular import rectangular_pencil
from spectra.results import Pseudospectrum
from spectra.scaling import refuse_overflow
from spectra.schur import SchurForm, entry_roundoff, schur_form
from spectra.sparse_pencils import sparse_pencil
from spectra.square_pencils import square_pencil
from spectra.standard import StandardPencil
from spectra.threads import Progress

Floats = NDArray[np.float64]

_DELTA = 1e-3  # probability that any lower bound on a grid fails


def pseudospectrum(
    A: Any,
    *,
    B: Any = None,
    region: Region | None = None,
    shape: tuple[int, int] = (100, 100),
    epsilons: ArrayLike | None = None,
    rtol: float = 1e-6,
    subspace: int | None = None,
    threads: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Pseudospectrum:
    """Smallest singular value σ_min(zI - A) on a grid; its level sets bound the ε-pseudospectra of A.

    The ε-pseudospectrum is {z : σ_min(zI - A) <= ε}, the union of the spectra of A + E over ‖E‖ <= ε; with B,
    and for rectangular A, the same of σ_min(zB - A).

    Parameters
    ----------
    A : array_like, shape (n, n) or (m, n) with m > n, SchurForm, sparse matrix or LinearOperator
        Real or complex matrix. Of a LinearOperator only products are used, on a Krylov subspace: `upper` is
        then proven, and `lower` is 0.
    B : array_like or sparse matrix of the shape of A, optional
        Instead of the identity; it may be singular. Perturbations are of A alone.
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
    subspace : int, optional
        Dimension of the Krylov subspace for a LinearOperator, and for a first look at the spectrum of a
        sparse A; 100 by default.
    threads : int, optional
        Threads to use; all cores by default. The numbers do not depend on it.
    device : str, optional
        A torch device such as "cuda" to solve on instead of the cores, for dense square A; needs torch.
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
        If A has more columns than rows, is empty or holds NaN or inf, B is of another shape, an option is out
        of range or not for this kind of A, A or the region come near the largest float, or the grid would not
        fit into memory (`grid_cost` tells beforehand).

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
    callback(progress)
    ny, nx = grid_shape(shape)
    wanted = np.zeros(0) if epsilons is None else levels(epsilons)
    rtol = positive(rtol, "rtol")
    if not 1e-13 <= rtol <= 0.1:
        raise ValueError(f"rtol is {rtol}; expected 1e-13 <= rtol <= 0.1, such as 1e-6")
    limits = None if region is None else box(region)
    pencil = _pencil_of(A, B, (ny, nx), subspace, device)
    xmin, xmax, ymin, ymax = limits or pencil.region()
    farthest = max(map(abs, (xmin, xmax, ymin, ymax)))
    refuse_overflow(pencil.norm_bound, "the entries of A")
    refuse_overflow(pencil.norm_bound + pencil.slope * farthest, "A and region")
    x, y = np.linspace(xmin, xmax, nx), np.linspace(ymin, ymax, ny)
    mirrored = pencil.is_real and ymin == -ymax
    half = y[ny // 2 :] if mirrored else y
    z = x[None, :] + 1j * half[:, None]

    solver = functools.partial(pencil.smallest_singular_values, rtol=rtol, delta=_DELTA, threads=threads)
    grid = Grid(z, wanted, solver, pencil.sigma_min, slope=pencil.slope, progress=progress)
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
        eigenvalues=pencil.eigenvalues,
        epsilons=wanted,
        floor=grid.floor,
        storage_floor=_entry_roundoff_of(A) * pencil.norm_bound,
        rtol=rtol,
        delta=_DELTA,
        iterations=grid.iterations,
    )


def _pencil_of(A: Any, B: Any, shape: tuple[int, int], subspace: int | None, device: str | None) -> Pencil:
    """Choose the solver for what A and B are."""
    operator = not isinstance(A, SchurForm) and not issparse(A) and isinstance(A, LinearOperator)
    if not operator and not issparse(A) and not issparse(B):
        if subspace is not None:
            raise ValueError("subspace is for sparse matrices and linear operators; leave it out for dense A")
        matrix = A.A if isinstance(A, SchurForm) else any_matrix(A)
        if B is None and matrix.shape[0] == matrix.shape[1]:
            refuse_what_does_not_fit(len(matrix), shape, matrix.dtype == np.float64)
            return StandardPencil(schur_form(A), device)
        _refuse_device(device)
        square = matrix.shape[0] == matrix.shape[1]
        return square_pencil(matrix, B) if square else rectangular_pencil(matrix, B)
    _refuse_device(device)
    if not operator:
        return sparse_pencil(A, B, subspace=subspace)
    if B is not None:
        raise ValueError("B is not possible with a LinearOperator A; leave it out or pass sparse matrices")
    return projected_pencil(A, subspace=subspace)


def _refuse_device(device: str | None) -> None:
    if device is not None:
        raise ValueError(f"device is {device!r}; only a dense square A without B can be solved on a device")


def _entry_roundoff_of(A: Any) -> float:
    if isinstance(A, SchurForm):
        return A.entry_roundoff
    return entry_roundoff(np.dtype(A.dtype) if hasattr(A, "dtype") else np.asarray(A).dtype)
