"""Real-structured pseudospectra: what real perturbations of a real matrix can do to its eigenvalues."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import box, callback, grid_shape
from spectra.cost import refuse_what_does_not_fit
from spectra.real_distance import real_distances
from spectra.resolvent import common_unit, norm_bound, rounding_floor
from spectra.results import Record
from spectra.scaling import UNIT_ROUNDOFF, refuse_overflow
from spectra.schur import SchurForm, matrix_of, schur_form
from spectra.standard import StandardPencil
from spectra.threads import Progress, one_blas_thread, run_blocks

Floats = NDArray[np.float64]
Region = tuple[float, float, float, float]

_BLOCK = 2e5  # entries of zI - A over the points that are solved at once


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RealPseudospectrum(Record):
    """Least norm of a real E with eigenvalue z of A + E, on a grid of points z = x + iy, with intervals.

    Attributes
    ----------
    x, y : ndarray
        Real and imaginary parts of the grid points.
    distance : ndarray, shape (len(y), len(x))
        The norm at ``x[ix] + 1j * y[iy]``, indexed ``[iy, ix]``; inf off the real axis for n = 1.
    lower, upper : ndarray, shape (len(y), len(x))
        The interval that holds the true value: both ends are proven up to the rounding of singular values,
        which they include.
    gamma : ndarray, shape (len(y), len(x))
        The scaling 0 < γ <= 1 that proves `lower`: the second smallest singular value of
        [[xI - A, -γ y I], [(y/γ) I, xI - A]]. It is 1 on the real axis, and 0 where `distance` is inf.
    eigenvalues : ndarray
        Eigenvalues of A.
    floor : float
        Below this σ_min(zI - A) is rounding noise; near the real axis the intervals of distances are wider.
    """

    x: Floats
    y: Floats
    distance: Floats
    lower: Floats
    upper: Floats
    gamma: Floats
    eigenvalues: NDArray[np.complex128]
    floor: float

    def _check_shapes(self) -> None:
        shape = (*self.y.shape, *self.x.shape)
        grids = (self.distance, self.lower, self.upper, self.gamma)
        if len(shape) != 2 or any(grid.shape != shape for grid in grids):
            raise ValueError("grids of another shape than x and y")

    def __str__(self) -> str:
        """One line."""
        ny, nx = self.distance.shape
        low, high = float(self.distance.min()), float(self.distance.max())
        return (
            f"RealPseudospectrum of order {len(self.eigenvalues)}: {ny} x {nx} grid, "
            f"distance from {low:.3g} to {high:.3g}, floor {self.floor:.1g}"
        )

    __repr__ = __str__


def real_pseudospectrum(
    A: ArrayLike | SchurForm,
    *,
    region: Region | None = None,
    shape: tuple[int, int] = (50, 50),
    threads: int | None = None,
    progress: Progress | None = None,
) -> RealPseudospectrum:
    """Real-structured distance min{‖E‖₂ : E real, z an eigenvalue of A + E} on a grid of points z.

    Its level sets bound the real-structured ε-pseudospectra of A, the unions of the spectra of A + E over
    real E with ‖E‖ <= ε. They are smaller than the ε-pseudospectra, which allow complex E.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real matrix.
    region : (xmin, xmax, ymin, ymax), optional
        Rectangle of the complex plane, end points included. By default that of `pseudospectrum`.
    shape : (ny, nx)
        Number of grid points along y and x, each at least 2.
    threads : int, optional
        Threads to use; all cores by default. The numbers do not depend on it.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of points.

    Returns
    -------
    RealPseudospectrum
        Grid, values and intervals, mostly 1e-7 wide relative to the value, wider near rounding noise.

    Raises
    ------
    TypeError
        If A is complex or no array of numbers, or an option is of the wrong type.
    ValueError
        If A is not square, is empty or holds NaN or inf, an option is out of range, A or the region come near
        the largest float, or the grid would not fit into memory.

    Notes
    -----
    Off the real axis the distance is a maximum over the scaling γ of a second smallest singular value of
    order 2n, unimodal in γ; a real E built from the singular vectors bounds it from above. Some three
    singular value decompositions of order 2n a point: on one thread about 3 ms for n = 20, 30 ms for
    n = 100. Conjugate points are solved once. On the real axis the distance is σ_min(zI - A), in general
    smaller than its limit from beside the axis, so that real-structured pseudospectra can have spurs there.

    References
    ----------
    L. Qiu, B. Bernhardsson, A. Rantzer, E. J. Davison, P. M. Young and J. C. Doyle, A formula for computation
    of the real stability radius, Automatica 31 (1995).

    Examples
    --------
    A real symmetric E moves the double eigenvalue 0 of the zero matrix to 1; a rotation moves it to ±i:

    >>> from spectra import real_pseudospectrum
    >>> result = real_pseudospectrum([[0.0, 0.0], [0.0, 0.0]], region=(-1, 1, -1, 1), shape=(3, 3))
    >>> result.distance.round(6)
    array([[1.414214, 1.      , 1.414214],
           [1.      , 0.      , 1.      ],
           [1.414214, 1.      , 1.414214]])
    """
    callback(progress)
    ny, nx = grid_shape(shape)
    limits = None if region is None else box(region)
    matrix = real_matrix_of(A)
    refuse_what_does_not_fit(len(matrix), (ny, nx), True)
    form = schur_form(A)
    xmin, xmax, ymin, ymax = limits or StandardPencil(form).region()
    refuse_overflow(norm_bound(form) + max(map(abs, (xmin, xmax, ymin, ymax))), "A and region")
    x, y = np.linspace(xmin, xmax, nx), np.linspace(ymin, ymax, ny)
    y[np.abs(y) <= 8 * UNIT_ROUNDOFF * np.abs(y).max()] = 0.0  # a row meant for the real axis lies on it
    mirrored = ymin == -ymax
    half = y[ny // 2 :] if mirrored else np.abs(y)
    z = np.asarray(x[None, :] + 1j * half[:, None], dtype=np.complex128)
    farthest = float(np.abs(z).max())
    unit = common_unit(form, farthest)
    solved = _solved(matrix / unit, z.ravel() / unit, threads, progress).reshape(4, *z.shape)
    if mirrored:
        solved = np.concatenate([solved[:, ny % 2 :][:, ::-1], solved], axis=1)
    distance, lower, upper = solved[:3] * unit
    return RealPseudospectrum(
        x=x,
        y=y,
        distance=distance,
        lower=lower,
        upper=upper,
        gamma=solved[3],
        eigenvalues=form.eigenvalues,
        floor=rounding_floor(form, farthest),
    )


def real_matrix_of(A: ArrayLike | SchurForm) -> Floats:
    """Give the real matrix behind a `SchurForm`, or `A` through the gate.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real matrix.

    Returns
    -------
    ndarray of float, shape (n, n)
        The matrix.

    Raises
    ------
    TypeError
        If it is of a complex type or no array of numbers.
    """
    matrix = matrix_of(A)
    if matrix.dtype != np.float64:
        raise TypeError(
            "A is complex; expected a real matrix, which real perturbations keep real: pass A.real where the "
            "imaginary part is zero, or allow complex perturbations"
        )
    return np.asarray(matrix.real)


def _solved(A: Floats, z: NDArray[np.complex128], threads: int | None, progress: Progress | None) -> Floats:
    """Distance, lower, upper and γ at each point, in blocks over a pool of threads."""
    values = np.zeros((4, len(z)))
    stop = np.zeros(1, dtype=np.uint8)

    def solve(part: slice) -> None:
        found, y = real_distances(A, z[part], stop), z.imag[part]
        gamma = np.where(y > 0, np.minimum(y / np.where(found.t > 0, found.t, np.inf), 1.0), 1.0)
        values[:, part] = found.distance, found.lower, found.upper, gamma

    with one_blas_thread():
        longest = max(1, int(_BLOCK / len(A) ** 2))
        run_blocks(solve, len(z), longest=longest, threads=threads, stop=stop, progress=progress)
    return values
