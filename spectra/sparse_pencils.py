"""Sparse square pencils zB - A by a sparse LU factorisation at each point: intervals at both ends."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, issparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import LinearOperator, splu

from spectra.checks import any_matrix, numeric_array
from spectra.cost import grid_cost
from spectra.errors import AccuracyWarning
from spectra.inverse_lanczos import Complexes, Floats, solve_batches
from spectra.layout import Accuracy
from spectra.pencils import Region, Sizes, intervals, refuse_memory
from spectra.projection import ProjectedPencil, projected_pencil
from spectra.resolvent import SmallestSingularValues
from spectra.scaling import unit_scaled
from spectra.threads import Progress, available_threads

_ENTRY_BYTES = 24  # of an entry of a factor: a complex number and its place


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SparsePencil:
    """A sparse square pencil zB - A, factorised anew at each point; a `spectra.pencils.Pencil`.

    Attributes
    ----------
    T, S : csc_array, shape (n, n)
        A and B divided by their scales.
    sizes : Sizes
        The scales and norms.
    is_real : bool
        Whether A and B are real.
    projected : ProjectedPencil or None
        Of A on a Krylov subspace, for a look at the spectrum; None where there is a B.
    factor_bytes : int
        Bound of the memory of one factorisation.
    """

    T: csc_array
    S: csc_array
    sizes: Sizes
    is_real: bool
    projected: ProjectedPencil | None
    factor_bytes: int

    @property
    def n(self) -> int:
        """Order of A."""
        return int(self.T.shape[0])

    @property
    def eigenvalues(self) -> Complexes:
        """Those that the projection found to 1e-10 ‖A‖; none where there is a B."""
        return np.zeros(0, dtype=np.complex128) if self.projected is None else self.projected.eigenvalues

    @property
    def norm_bound(self) -> float:
        """Upper bound of ‖A‖."""
        return self.sizes.norm

    @property
    def slope(self) -> float:
        """Upper bound of ‖B‖."""
        return self.sizes.slope

    def region(self) -> Region:
        """Enclose the Ritz values of the projection.

        Returns
        -------
        (xmin, xmax, ymin, ymax)
            The rectangle.

        Raises
        ------
        ValueError
            If there is a B: nothing is known about the spectrum then.
        """
        if self.projected is None:
            raise ValueError("region is not known for a sparse A with a B; pass (xmin, xmax, ymin, ymax)")
        return self.projected.region()

    def sigma_min(self, z: complex) -> float:
        """σ_min(zB - A) from two random starts, to a residual of 1e-12."""
        twice = self.smallest_singular_values(np.array([z, z]), rtol=1e-12, delta=1e-3, threads=1)
        return float(twice.sigma_min.min())

    def smallest_singular_values(
        self,
        z: Complexes,
        *,
        rtol: float,
        delta: float,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SmallestSingularValues:
        """σ_min(zB - A) at each point z: a sparse LU factorisation, then inverse Lanczos.

        Parameters
        ----------
        z : ndarray of complex, shape (m,)
            The points.
        rtol, delta, threads, progress
            As of `spectra.resolvent.smallest_singular_values`.

        Returns
        -------
        SmallestSingularValues
            `lower` holds with probability at least 1 - `delta`; both ends are widened by the largest backward
            error measured in a solve of the point.

        Warns
        -----
        AccuracyWarning
            Where a point does not converge to `rtol`: its interval then is wider, but true.
        """
        at, most = self.sizes.at(z), grid_cost(1).available_bytes // self.factor_bytes
        backward = np.zeros(len(z))

        def factors_at(part: slice) -> _SparseFactors:
            matrices = [(w * self.S - at.c * self.T).tocsc() for w in at.w[part]]
            return _SparseFactors.of(matrices, backward[part], at.floor)

        found = solve_batches(
            factors_at,
            len(z),
            self.n,
            accuracy=Accuracy(float(np.sqrt((self.n - 1) * max(len(z), 1) / delta)), rtol, at.floor),
            batch=1,
            threads=max(1, min(available_threads(threads), most)),
            progress=progress,
        )
        if not found.converged.all():
            where, count = z[np.argmin(found.converged)], int((~found.converged).sum())
            warnings.warn(
                f"inverse Lanczos did not converge at {count} of {len(z)} points, such as z = {where:.6g}: "
                "intervals are wider there; a larger rtol takes fewer steps",
                AccuracyWarning,
                stacklevel=2,
            )
        return intervals(found, at, backward)


def sparse_matrix(value: Any, name: str) -> csc_array:
    """Give a sparse or dense square matrix as a fresh csc_array, float64 or complex128.

    Returns
    -------
    csc_array
        Without duplicates.

    Raises
    ------
    TypeError
        If it is no matrix of numbers.
    ValueError
        If it is not square, is empty, or holds NaN or inf.
    """
    if not issparse(value):
        value = any_matrix(value, name)
    if len(value.shape) != 2 or value.shape[0] != value.shape[1] or value.shape[0] == 0:
        raise ValueError(
            f"{name} has shape {value.shape}; expected a square sparse matrix, of order at least 1"
        )
    matrix = csc_array(value, copy=True)
    matrix.sum_duplicates()
    if not matrix.nnz:
        return csc_array(matrix.shape, dtype=numeric_array(np.zeros(1, dtype=matrix.dtype), name).dtype)
    matrix.data = numeric_array(matrix.data, name)
    return matrix


def sparse_pencil(
    A: Any, B: Any = None, *, subspace: int | None = None, rng: int | np.random.Generator = 0
) -> SparsePencil:
    """Prepare a sparse square pencil zB - A; its ε-pseudospectrum is {z : σ_min(zB - A) <= ε}.

    Parameters
    ----------
    A, B : sparse matrix or array, or array_like, shape (n, n)
        The matrices; without B the identity.
    subspace, rng
        As of `projected_pencil`, for a look at the spectrum; not used where there is a B.

    Returns
    -------
    SparsePencil
        The pencil.

    Raises
    ------
    TypeError
        If A or B is no matrix of numbers.
    ValueError
        If they are not square and of one order, hold NaN or inf or come near the largest float, or factors
        could not fit into memory.

    Notes
    -----
    SuperLU at each point, then two solves a step. The memory of factors is bounded by n (3 b + 1) entries
    with the half bandwidth b of a reverse Cuthill-McKee order; SuperLU's own order mostly needs far less.
    """
    left = sparse_matrix(A, "A")
    n = left.shape[0]
    right = _identity(n) if B is None else sparse_matrix(B, "B")
    if left.shape != right.shape:
        raise ValueError(f"B has shape {right.shape}, A has {left.shape}; expected one shape for both")
    scale, slope_scale = _to_unit_size(left), _to_unit_size(right)
    sizes = Sizes.of(left, scale, None if B is None else right, slope_scale)
    factor_bytes = _ENTRY_BYTES * n * min(3 * _bandwidth(left, right) + 1, n)
    refuse_memory(
        factor_bytes,
        f"A sparse LU factorisation of order {n}",
        "scipy.sparse.linalg.aslinearoperator(A), for upper bounds from products",
    )
    is_real = not (np.iscomplexobj(left.data) or np.iscomplexobj(right.data))
    projected = None
    if B is None:
        operator = LinearOperator(left.shape, matvec=lambda v: scale * (left @ v), dtype=left.dtype)
        projected = projected_pencil(operator, subspace=subspace, rng=rng)
    return SparsePencil(left, right, sizes, is_real, projected, factor_bytes)


def _identity(n: int) -> csc_array:
    return csc_array((np.ones(n), (np.arange(n), np.arange(n))), shape=(n, n))


def _factor(M: csc_array) -> Any:
    """Factorise; None where M is exactly singular."""
    try:
        return splu(M)
    except RuntimeError:
        return None


def _to_unit_size(matrix: csc_array) -> float:
    """Divide the entries by a power of two; give it."""
    if not matrix.nnz:
        return 1.0
    matrix.data, scale = unit_scaled(matrix.data)
    return scale


def _bandwidth(A: csc_array, B: csc_array) -> int:
    """Largest distance of an entry from the diagonal in a reverse Cuthill-McKee order of the pattern."""
    pattern = abs(A) + abs(B)
    pattern = (pattern + pattern.T).tocsr()
    place = np.argsort(reverse_cuthill_mckee(pattern, symmetric_mode=True))
    rows, columns = pattern.nonzero()
    return int(np.abs(place[rows] - place[columns]).max(initial=0))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _SparseFactors:
    """Sparse matrices M_j with their LU factors, and the largest backward error of a solve with each."""

    matrices: list[Any]
    factors: list[Any]
    backward: Floats  # written to
    index: NDArray[np.int64]

    @classmethod
    def of(cls, matrices: list[Any], backward: Floats, floor: float) -> Self:
        factors: list[Any] = []
        for j, M in enumerate(matrices):
            factors.append(_factor(M))
            if factors[j] is None:  # mostly it is not after a change of the size of rounding
                backward[j] = floor
                factors[j] = _factor((M + floor * _identity(M.shape[0])).tocsc())
        return cls(matrices, factors, backward, np.arange(len(matrices)))

    def solve(self, right: Complexes, *, adjoint: bool) -> Complexes:
        solution = np.empty_like(right)
        for j, (M, factor) in enumerate(zip(self.matrices, self.factors, strict=True)):
            if factor is None:
                solution[:, j] = np.inf
                continue
            x = factor.solve(np.ascontiguousarray(right[:, j]), "H" if adjoint else "N")
            product = (M.T @ x.conj()).conj() if adjoint else M @ x
            error = float(np.linalg.norm(product - right[:, j]) / np.linalg.norm(x))
            if np.isfinite(error):
                i = self.index[j]
                self.backward[i] = max(self.backward[i], error)
            solution[:, j] = x
        return solution

    def keep(self, chosen: NDArray[np.int64]) -> Self:
        return type(self)(
            [self.matrices[j] for j in chosen],
            [self.factors[j] for j in chosen],
            self.backward,
            self.index[chosen],
        )
