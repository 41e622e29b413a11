"""Rectangular pencils zB - A with more rows than columns, by a singular value decomposition at each point."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigvals

from spectra.checks import Matrix, any_matrix
from spectra.inverse_lanczos import Complexes, Found
from spectra.pencils import Region, Sizes, finite_points, intervals, refuse_memory, region_around
from spectra.resolvent import SmallestSingularValues
from spectra.scaling import unit_scaled
from spectra.threads import Progress, one_blas_thread, run_blocks

_STACK_BYTES = 2**24  # of matrices at a time, in each thread


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RectangularPencil:
    """A dense pencil zB - A with at least as many rows as columns; a `spectra.pencils.Pencil`.

    Attributes
    ----------
    T, S : ndarray, shape (r, n)
        A and B divided by their scales; of more than 2n rows the triangle r = 2n that a QR leaves of both.
    sizes : Sizes
        The scales and norms.
    is_real : bool
        Whether A and B are real.
    estimates : ndarray of complex
        Eigenvalues of the top n rows, whose ε-pseudospectra enclose those of the whole.
    """

    T: Matrix
    S: Matrix
    sizes: Sizes
    is_real: bool
    estimates: Complexes

    @property
    def n(self) -> int:
        """Number of columns."""
        return int(self.T.shape[1])

    @property
    def eigenvalues(self) -> Complexes:
        """None: a rectangular pencil has no eigenvalues unless by accident."""
        return np.zeros(0, dtype=np.complex128)

    @property
    def norm_bound(self) -> float:
        """Upper bound of ‖A‖."""
        return self.sizes.norm

    @property
    def slope(self) -> float:
        """Upper bound of ‖B‖."""
        return self.sizes.slope

    def region(self) -> Region:
        """Enclose the eigenvalues of the top n rows; without any, the disc |z| <= ‖A‖/‖B‖."""
        radius = self.norm_bound / self.slope if self.slope > 0 else 1.0
        return region_around(self.estimates, radius, is_real=self.is_real)

    def sigma_min(self, z: complex) -> float:
        """σ_min(zB - A) by a dense singular value decomposition."""
        return float(
            self.smallest_singular_values(np.array([z]), rtol=0.0, delta=0.0, threads=1).sigma_min[0]
        )

    def smallest_singular_values(
        self,
        z: Complexes,
        *,
        rtol: float,
        delta: float,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SmallestSingularValues:
        """σ_min(zB - A) at each point z by dense singular value decompositions.

        Parameters
        ----------
        z : ndarray of complex, shape (m,)
            The points.
        rtol, delta
            Not needed: what is computed is right to rounding, and so are both ends of the intervals.
        threads, progress
            As of `spectra.resolvent.smallest_singular_values`.

        Returns
        -------
        SmallestSingularValues
            Values to within the floor, with a step for each.
        """
        at = self.sizes.at(z)
        sigma = np.zeros(len(z))

        def solve(part: slice) -> None:
            stack = at.w[part, None, None] * self.S - at.c * self.T
            sigma[part] = np.linalg.svd(stack, compute_uv=False)[:, -1]

        longest, stop = max(1, _STACK_BYTES // (16 * self.T.size)), np.zeros(1, dtype=np.uint8)
        with one_blas_thread():
            run_blocks(solve, len(z), longest=longest, threads=threads, stop=stop, progress=progress)
        steps = np.ones(len(z), dtype=np.int64)
        return intervals(Found(sigma, sigma, steps, np.ones(len(z), dtype=bool)), at)


def rectangular_pencil(A: ArrayLike, B: ArrayLike | None = None) -> RectangularPencil:
    """Prepare a pencil zB - A of m x n matrices, m >= n; its ε-pseudospectrum is {z : σ_min(zB - A) <= ε}.

    Without B, B is the m x n identity (Wright and Trefethen 2002): the points z for which (A + E)v = z(v, 0)
    for some v ≠ 0 and ‖E‖ <= ε. For small ε it usually is empty.

    Parameters
    ----------
    A : array_like, shape (m, n)
        Real or complex matrix.
    B : array_like, shape (m, n), optional
        Real or complex matrix.

    Returns
    -------
    RectangularPencil
        The pencil, of at most 2n rows.

    Raises
    ------
    TypeError
        If A or B is no array of numbers.
    ValueError
        If A has fewer rows than columns, B has another shape, or they hold NaN or inf, come near the
        largest float, or do not fit into memory.

    Notes
    -----
    Of more than 2n rows, one unitary transformation leaves 2n. Then a dense singular value decomposition at
    each point, about 4 m n² complex operations (0.8 ms for 110 x 100): a QR factorisation with inverse
    Lanczos took as long below n = 100, and half of it at n = 300.

    References
    ----------
    T. G. Wright and L. N. Trefethen, Pseudospectra of rectangular matrices, IMA Journal of Numerical
    Analysis 22, 2002.
    """
    left = any_matrix(A)
    m, n = left.shape
    if m < n:
        raise ValueError(
            f"A has shape {left.shape}: of fewer rows than columns every z is an eigenvalue; "
            "expected at least as many rows as columns: pass A.T"
        )
    right = np.eye(m, n) if B is None else any_matrix(B, "B")
    if left.shape != right.shape:
        raise ValueError(f"B has shape {right.shape}, A has {left.shape}; expected one shape for both")
    refuse_memory(16 * 8 * left.size, f"A pencil of shape {left.shape}", "smaller matrices")
    (T, scale_A), (S, scale_B) = unit_scaled(left), unit_scaled(right)
    sizes = Sizes.of(T, scale_A, None if B is None else S, scale_B)
    with np.errstate(all="ignore"):  # infinite and undefined eigenvalues of the top rows
        estimates = eigvals(T[:n], None if B is None else S[:n], check_finite=False).astype(np.complex128)
    estimates = finite_points(estimates, scale_A / scale_B)
    is_real = not (np.iscomplexobj(T) or np.iscomplexobj(S))
    if m > 2 * n:
        S, T = np.hsplit(np.linalg.qr(np.hstack([S, T]), mode="r"), 2)
    return RectangularPencil(T, S, sizes, is_real, estimates)
