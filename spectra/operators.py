"""Linear maps: a matrix given dense, sparse, or only by its products with vectors, at unit scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from spectra.checks import Matrix, any_matrix
from spectra.scaling import SMALLEST_UNIT, UNIT_ROUNDOFF, unit_scaled
from spectra.schur import SchurForm

Vector = NDArray[np.float64] | NDArray[np.complex128]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """Products with a matrix and with its adjoint, in units in which neither overflows.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    is_complex : bool
        Whether the products are complex.
    apply, adjoint : callable
        x to ``A @ x / scale`` and y to ``A.conj().T @ y / scale``.
    scale : float
        A power of two.
    bound : float
        Proven upper bound of ‖A‖₂ / scale, inf where nothing is known.
    roundoff : float
        Unit roundoff of the products.
    """

    shape: tuple[int, int]
    is_complex: bool
    apply: Callable[[Vector], Vector]
    adjoint: Callable[[Vector], Vector]
    scale: float
    bound: float
    roundoff: float = UNIT_ROUNDOFF

    @property
    def noise(self) -> float:
        """Relative rounding error of a product: max(m, n) u, with at least 10 for the sizes."""
        return max(*self.shape, 10) * self.roundoff


def random_vector(size: int, is_complex: bool, rng: np.random.Generator) -> Vector:
    """Random vector, uniform on the unit sphere.

    Returns
    -------
    ndarray, shape (size,)
        The vector, of norm 1.
    """
    x: Any = rng.standard_normal(size)
    if is_complex:
        x = x + 1j * rng.standard_normal(size)
    return cast(Vector, x / np.linalg.norm(x))


def linear_map(A: Any, rng: np.random.Generator) -> LinearMap:
    """Give a matrix, sparse matrix or ``LinearOperator`` as a `LinearMap`, checked.

    Parameters
    ----------
    A : array_like, SchurForm, scipy sparse matrix or array, or LinearOperator, shape (m, n)
        Finite real or complex numbers.
    rng : numpy.random.Generator
        Used to probe a ``LinearOperator``.

    Returns
    -------
    LinearMap
        Its products.

    Raises
    ------
    TypeError
        If A is no matrix of numbers, or an operator without ``rmatvec``.
    ValueError
        If A is not two-dimensional, is empty, holds or gives NaN or inf, or its ``rmatvec`` is not the
        adjoint of its ``matvec``.
    """
    if isinstance(A, LinearOperator):
        return _map_of_operator(A, rng)
    if scipy.sparse.issparse(A):
        return _map_of_sparse(A)
    return map_of_matrix(A.A if isinstance(A, SchurForm) else any_matrix(A))


def map_of_matrix(A: Matrix) -> LinearMap:
    """Give a dense matrix that passed the gate as a `LinearMap`.

    Returns
    -------
    LinearMap
        Its products.
    """
    matrix, scale = unit_scaled(A)
    size = np.abs(matrix)
    adjoint = matrix.conj().T
    return LinearMap(
        shape=(matrix.shape[0], matrix.shape[1]),
        is_complex=np.iscomplexobj(matrix),
        apply=lambda x: matrix @ x,
        adjoint=lambda y: adjoint @ y,
        scale=scale,
        bound=min(_mixed_bound(size), float(np.linalg.norm(size))),
    )


def _map_of_sparse(A: Any) -> LinearMap:
    if A.ndim != 2:
        raise ValueError(f"A has shape {A.shape}; expected two dimensions: reshape it to a matrix")
    _refuse_kind(A.dtype)
    if 0 in A.shape:
        raise ValueError(f"A is empty (shape {A.shape}); expected at least one entry")
    matrix: Any = scipy.sparse.csr_array(
        A, dtype=np.complex128 if A.dtype.kind == "c" else np.float64, copy=True
    )
    matrix.sum_duplicates()
    if not np.isfinite(matrix.data).all():
        raise ValueError("A has a NaN or infinite entry; remove or replace it first")
    data, scale = unit_scaled(matrix.data) if matrix.nnz else (matrix.data, 1.0)
    matrix.data = data
    adjoint = matrix.conj(copy=False).T
    size = abs(matrix)
    return LinearMap(
        shape=matrix.shape,
        is_complex=np.iscomplexobj(data),
        apply=lambda x: matrix @ x,
        adjoint=lambda y: adjoint @ y,
        scale=scale,
        bound=min(_mixed_bound(size), float(np.linalg.norm(data))),
    )


def _mixed_bound(size: Any) -> float:
    """(‖A‖_1 ‖A‖_inf)^(1/2) >= ‖A‖_2, from the absolute values of the entries."""
    return float(np.sqrt(size.sum(axis=0).max() * size.sum(axis=1).max()))


def _map_of_operator(A: LinearOperator, rng: np.random.Generator) -> LinearMap:
    _refuse_kind(A.dtype)
    if 0 in A.shape:
        raise ValueError(f"A is empty (shape {A.shape}); expected at least one row and one column")
    is_complex = A.dtype.kind == "c"
    kind = np.complex128 if is_complex else np.float64

    def product(by: Callable[[Any], Any], x: Vector, name: str) -> Vector:
        found = np.asarray(by(x)).ravel()
        if found.dtype.kind == "c" and not is_complex:
            raise TypeError(
                f"A has dtype {A.dtype}, but its {name} gives complex numbers; declare it complex"
            )
        if not np.isfinite(found).all():
            raise ValueError(f"A.{name} gives NaN or inf; check the operator, or divide it by a power of two")
        return cast(Vector, found.astype(kind))

    x = random_vector(A.shape[1], is_complex, rng)
    _, scale = unit_scaled(product(A.matvec, x, "matvec"), smallest=SMALLEST_UNIT)
    narrow = A.dtype.kind in "fc" and np.finfo(A.dtype).bits < 64
    found = LinearMap(
        shape=(int(A.shape[0]), int(A.shape[1])),
        is_complex=is_complex,
        apply=lambda v: product(A.matvec, v / scale, "matvec"),
        adjoint=lambda v: product(A.rmatvec, v / scale, "rmatvec"),
        scale=scale,
        bound=np.inf,
        roundoff=float(np.finfo(A.dtype).eps) / 2 if narrow else UNIT_ROUNDOFF,
    )
    _refuse_other_adjoint(found, x, rng)
    return found


def _refuse_other_adjoint(A: LinearMap, x: Vector, rng: np.random.Generator) -> None:
    """Compare <y, Ax> with <A*y, x> for y = Ax / ‖Ax‖ and a random vector together."""
    product = A.apply(x)
    size = float(np.linalg.norm(product))
    y: Any = random_vector(A.shape[0], A.is_complex, rng) + (product / size if size else 0.0)
    try:
        back = A.adjoint(y)
    except NotImplementedError:
        raise TypeError(
            "A is a LinearOperator without rmatvec; give it one, rmatvec=lambda y: ..., the product with the "
            "conjugate transpose"
        ) from None
    gap = abs(np.vdot(y, product) - np.vdot(back, x))
    if gap > np.sqrt(2 * A.roundoff) * max(size, float(np.linalg.norm(back))):
        raise ValueError(
            "A.rmatvec is not the adjoint of A.matvec: <y, Ax> and <A*y, x> differ for random x and y; make "
            "it multiply by the conjugate transpose"
        )


def _refuse_kind(dtype: Any) -> None:
    if dtype.kind not in "iufc":
        raise TypeError(f"A has dtype {dtype}; expected real or complex numbers: convert with .astype(float)")
