"""Dense square pencils zB - A by their generalised Schur form."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import qz, svdvals

from spectra.checks import square_matrix
from spectra.errors import ConvergenceError
from spectra.inverse_lanczos import Complexes, solve_batches
from spectra.layout import Accuracy
from spectra.pencils import Region, Sizes, finite_points, intervals, refuse_memory, region_around
from spectra.resolvent import SmallestSingularValues
from spectra.scaling import UNIT_ROUNDOFF, unit_scaled
from spectra.threads import Progress

_BATCH = 256  # points in step
_BLOCK = 32  # rows of a diagonal block, beside which there are matrix products


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SquarePencil:
    """A dense square pencil zB - A by its generalised Schur form; a `Pencil`.

    Attributes
    ----------
    T, S : ndarray of complex, shape (n, n)
        Upper triangular: A = scale_A Q T Z* and B = scale_B Q S Z* with unitary Q and Z.
    sizes : Sizes
        The scales and norms.
    is_real : bool
        Whether A and B are real.
    eigenvalues : ndarray of complex
        The finite eigenvalues: those with a diagonal entry of S above n u ‖B‖.
    """

    T: Complexes
    S: Complexes
    sizes: Sizes
    is_real: bool
    eigenvalues: Complexes

    @property
    def n(self) -> int:
        """Order of A."""
        return len(self.T)

    @property
    def norm_bound(self) -> float:
        """Upper bound of ‖A‖."""
        return self.sizes.norm

    @property
    def slope(self) -> float:
        """Upper bound of ‖B‖."""
        return self.sizes.slope

    def region(self) -> Region:
        """Enclose the finite eigenvalues; without any, the disc |z| <= ‖A‖/‖B‖."""
        radius = self.norm_bound / self.slope if self.slope > 0 else 1.0
        return region_around(self.eigenvalues, radius, is_real=self.is_real)

    def sigma_min(self, z: complex) -> float:
        """σ_min(zB - A) by a dense singular value decomposition."""
        at = self.sizes.at(np.array([z], dtype=np.complex128))
        return float(svdvals(at.w[0] * self.S - at.c * self.T, check_finite=False)[-1]) * at.unit

    def smallest_singular_values(
        self,
        z: Complexes,
        *,
        rtol: float,
        delta: float,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SmallestSingularValues:
        """σ_min(zB - A) at each point z by inverse Lanczos, with 2 n² complex operations a solve.

        Parameters
        ----------
        z : ndarray of complex, shape (m,)
            The points.
        rtol, delta, threads, progress
            As of `spectra.resolvent.smallest_singular_values`.

        Returns
        -------
        SmallestSingularValues
            `upper` is proven up to rounding; `lower` holds with probability at least 1 - `delta`.
        """
        at = self.sizes.at(z)
        widening = float(np.sqrt((self.n - 1) * max(len(z), 1) / delta))
        S, T = self.S, at.c * self.T
        adjoints = [np.ascontiguousarray(M.conj().T[::-1, ::-1]) for M in (S, T)]
        found = solve_batches(
            lambda part: _ShiftedTriangles.of(at.w[part], (S, T), (adjoints[0], adjoints[1])),
            len(z),
            self.n,
            accuracy=Accuracy(widening, rtol, at.floor),
            batch=_BATCH,
            threads=threads,
            progress=progress,
        )
        for i in np.flatnonzero(~found.converged):
            found.sigma[i] = found.lower[i] = self.sigma_min(z[i]) / at.unit
        return intervals(found, at)


def square_pencil(A: ArrayLike, B: ArrayLike) -> SquarePencil:
    """Reduce a dense square pencil zB - A; its ε-pseudospectrum is {z : σ_min(zB - A) <= ε}.

    That is the union of the spectra of z B - (A + E) over ‖E‖ <= ε: perturbations of A alone. It is not the
    pseudospectrum of B⁻¹A, and B may be singular; of a singular pencil σ_min is 0 everywhere.

    Parameters
    ----------
    A, B : array_like, shape (n, n)
        Real or complex matrices.

    Returns
    -------
    SquarePencil
        The reduced pencil.

    Raises
    ------
    TypeError
        If A or B is no array of numbers.
    ValueError
        If they are not square and of one order, hold NaN or inf, come near the largest float, or do not fit
        into memory.
    ConvergenceError
        If LAPACK's QZ iteration fails.

    Notes
    -----
    LAPACK ``gges`` on A and B, each divided by a power of two: some 30 n³ complex operations. Then inverse
    Lanczos with back substitution for many points in step. Below n u (‖A‖ + |z| ‖B‖) a value is noise.
    Infinite eigenvalues of a defective kind can come out as finite ones of size u^(-1/k) ‖A‖/‖B‖.
    """
    left, right = square_matrix(A), square_matrix(B, "B")
    if left.shape != right.shape:
        raise ValueError(f"B has shape {right.shape}, A has {left.shape}; expected one shape for both")
    refuse_memory(16 * 12 * left.size, f"A pencil of order {len(left)}", "smaller matrices, or sparse ones")
    (T, scale_A), (S, scale_B) = unit_scaled(left), unit_scaled(right)
    sizes = Sizes.of(T, scale_A, S, scale_B)
    is_real = not (np.iscomplexobj(T) or np.iscomplexobj(S))
    try:
        above, below, _, _ = qz(T, S, output="complex", check_finite=False)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise ConvergenceError(
            f"LAPACK gges did not converge on A and B ({error}); try A plus tiny noise, or another basis"
        ) from None
    left_factor, right_factor = np.triu(above).astype(np.complex128), np.triu(below).astype(np.complex128)
    above, below = np.diagonal(left_factor), np.diagonal(right_factor)
    finite = np.abs(below) > sizes.order * UNIT_ROUNDOFF * sizes.slope / scale_B
    eigenvalues = finite_points(above[finite] / below[finite], scale_A / scale_B)
    return SquarePencil(left_factor, right_factor, sizes, is_real, eigenvalues)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _ShiftedTriangles:
    """M_j = w_j S - T with upper triangles S and T; all points share the products beside diagonal blocks."""

    w: Complexes  # (m,)
    triangles: tuple[Complexes, Complexes]  # S and T
    reversed_adjoints: tuple[Complexes, Complexes]  # of S and T: upper triangles again
    pivots: Complexes  # (n, m)

    @classmethod
    def of(
        cls, w: Complexes, triangles: tuple[Complexes, Complexes], adjoints: tuple[Complexes, Complexes]
    ) -> Self:
        S, T = (np.diagonal(M)[:, None] for M in triangles)
        return cls(w, triangles, adjoints, S * w - T)

    def solve(self, right: Complexes, *, adjoint: bool) -> Complexes:
        if adjoint:
            x = right[::-1].copy()
            _substitute(x, self.w.conj(), *self.reversed_adjoints, self.pivots.conj()[::-1])
            return x[::-1]
        x = right.copy()
        _substitute(x, self.w, *self.triangles, self.pivots)
        return x

    def keep(self, chosen: NDArray[np.int64]) -> Self:
        return dataclasses.replace(self, w=self.w[chosen], pivots=self.pivots[:, chosen])


def _substitute(x: Complexes, w: Complexes, S: Complexes, T: Complexes, pivots: Complexes) -> None:
    """Overwrite each column x_j by (w_j S - T)^-1 x_j, from the last block of rows up."""
    for end in range(len(x), 0, -_BLOCK):
        start = max(end - _BLOCK, 0)
        for i in range(end - 1, start - 1, -1):
            row, below = np.s_[i, i + 1 : end], x[i + 1 : end]
            x[i] = (x[i] - w * (S[row] @ below) + T[row] @ below) / pivots[i]
        if start:
            block = np.s_[:start, start:end]
            x[:start] += T[block] @ x[start:end] - w * (S[block] @ x[start:end])
