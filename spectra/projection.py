"""Projected pencils: upper bounds of σ_min(zI - A) from products A v alone, for A of any order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from spectra.checks import Matrix, generator, numeric_array, whole_number
from spectra.inverse_lanczos import Complexes
from spectra.pencils import Region, refuse_memory, region_around
from spectra.rectangular import RectangularPencil, rectangular_pencil
from spectra.resolvent import SmallestSingularValues
from spectra.scaling import SMALLEST_UNIT, UNIT_ROUNDOFF, refuse_overflow, unit_scaled
from spectra.threads import Progress

_SUBSPACE = 100  # dimension where none is given
_SETTLED = 1e-10  # residual of a Ritz value, relative to the norm, at which it counts as an eigenvalue


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ProjectedPencil:
    """zI - A on a Krylov subspace; a `spectra.pencils.Pencil` whose values are upper bounds.

    Attributes
    ----------
    n : int
        Order of A.
    hessenberg : RectangularPencil
        zĨ - H̃ with the (k + 1) x k Hessenberg matrix H̃ of A V_k = V_{k+1} H̃.
    ritz_values : ndarray of complex
        Eigenvalues of the leading k rows of H̃.
    eigenvalues : ndarray of complex
        Those of them that are eigenvalues of A + E for some ‖E‖ <= 1e-10 ‖H̃‖.
    defect, loss : float
        ‖A V_k - V_{k+1} H̃‖ and the loss of orthogonality ‖V_{k+1}* V_{k+1} - I‖, measured; the former with
        k u ‖H̃‖ for an operator of lower precision than double.
    is_complete : bool
        Whether k = n: the values then are those of A, and have lower bounds too.
    """

    n: int
    hessenberg: RectangularPencil
    ritz_values: Complexes
    eigenvalues: Complexes
    defect: float
    loss: float
    is_complete: bool

    @property
    def is_real(self) -> bool:
        """Whether A is real."""
        return self.hessenberg.is_real

    @property
    def norm_bound(self) -> float:
        """Upper bound of ‖H̃‖ (of ‖A‖ there is none)."""
        return self.hessenberg.norm_bound

    @property
    def slope(self) -> float:
        """Norm of the identity."""
        return 1.0

    def region(self) -> Region:
        """Enclose the Ritz values."""
        return region_around(self.ritz_values, self.norm_bound, is_real=self.is_real)

    def sigma_min(self, z: complex) -> float:
        """σ_min(zĨ - H̃) by a dense singular value decomposition."""
        return self.hessenberg.sigma_min(z)

    def smallest_singular_values(
        self,
        z: Complexes,
        *,
        rtol: float,
        delta: float,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SmallestSingularValues:
        """σ_min(zĨ - H̃) at each point z, an upper bound of σ_min(zI - A).

        Parameters
        ----------
        z : ndarray of complex, shape (m,)
            The points.
        rtol, delta, threads, progress
            As of `RectangularPencil.smallest_singular_values`.

        Returns
        -------
        SmallestSingularValues
            `upper` is proven up to rounding in the products A v; `lower` is 0 unless `is_complete`.
        """
        found = self.hessenberg.smallest_singular_values(
            z, rtol=rtol, delta=delta, threads=threads, progress=progress
        )
        lower, upper = np.zeros(len(z)), (1 + 2 * self.loss) * found.upper + self.defect
        if self.is_complete:
            lower = np.maximum((1 - 2 * self.loss) * found.lower - self.defect, 0.0)
        return dataclasses.replace(found, lower=lower, upper=upper, floor=found.floor + self.defect)


def projected_pencil(
    A: LinearOperator, *, subspace: int | None = None, rng: int | np.random.Generator = 0
) -> ProjectedPencil:
    """Project zI - A onto a Krylov subspace of a random vector: σ_min(zI - A) <= σ_min(zĨ - H̃).

    For the unit vector y that attains the right side, (zI - A) V_k y = V_{k+1} (zĨ - H̃) y, and V_k y is a
    unit vector too.

    Parameters
    ----------
    A : LinearOperator, shape (n, n)
        Products A v are all that is used.
    subspace : int, optional
        Dimension k of the subspace, at most n; by default 100. Larger ones never worsen a bound.
    rng : int or numpy.random.Generator
        Seed or generator of the random vector.

    Returns
    -------
    ProjectedPencil
        The pencil on the subspace.

    Raises
    ------
    TypeError
        If products are no numbers, or complex where A says that it is real.
    ValueError
        If A is not square, products hold NaN or inf, or the basis does not fit into memory.

    Notes
    -----
    Arnoldi with every vector orthogonalised twice: k + 1 products, 8 k² n operations and n (k + 1) numbers of
    memory. Eigenvalues on the outside of the spectrum come first; inside it the bounds can stay poor however
    large k is.

    References
    ----------
    K.-C. Toh and L. N. Trefethen, Calculation of pseudospectra by the Arnoldi iteration, SIAM Journal on
    Scientific Computing 17, 1996.
    """
    if len(A.shape) != 2 or A.shape[0] != A.shape[1] or A.shape[0] == 0:
        raise ValueError(f"A has shape {A.shape}; expected a square operator of order at least 1")
    n = int(A.shape[0])
    k = min(n, _SUBSPACE) if subspace is None else whole_number(subspace, "subspace", most=n)
    dtype = np.dtype(A.dtype)
    is_real = dtype.kind != "c"
    refuse_memory(
        8 * n * (k + 3) * (1 if is_real else 2), f"A basis of {k} vectors of length {n}", "a smaller subspace"
    )
    parts = generator(rng).standard_normal(n if is_real else 2 * n)
    start: Any = parts if is_real else parts.view(np.complex128)
    start /= np.linalg.norm(start)
    scale = unit_scaled(_product(A, start, 1.0), smallest=SMALLEST_UNIT)[1]
    H, defect, loss = _arnoldi(lambda v: _product(A, v, scale), start, k)
    if dtype.kind in "fc" and np.finfo(dtype).bits < 64:
        defect += max(k, 10) * float(np.finfo(dtype).eps / 2) * float(np.linalg.norm(H))
    rows, columns = H.shape
    ritz, Y = np.linalg.eig(H[:columns])
    last = abs(H[-1, -1]) if rows > columns else 0.0
    settled = last * np.abs(Y[-1]) <= _SETTLED * np.linalg.norm(H)
    refuse_overflow(float(np.linalg.norm(H)) * scale, "products A @ v")
    ritz = ritz.astype(np.complex128) * scale
    pencil = rectangular_pencil(H * scale)
    return ProjectedPencil(n, pencil, ritz, ritz[settled], defect * scale, loss, columns == n)


def _product(A: LinearOperator, v: Matrix, scale: float) -> Matrix:
    """Give A v / scale; TypeError where it is complex and A says that it is real."""
    product: Any = numeric_array(A.matvec(v), "A @ v")
    if np.iscomplexobj(product) and not np.iscomplexobj(v):
        raise TypeError(
            f"A @ v is complex where A has dtype {A.dtype}; give the LinearOperator dtype=complex"
        )
    with np.errstate(over="ignore", under="ignore"):
        product = product * (1 / scale)
    return cast(Matrix, numeric_array(product, "A @ v").astype(v.dtype))


def _arnoldi(product: Callable[[Matrix], Matrix], start: Matrix, k: int) -> tuple[Matrix, float, float]:
    """Hessenberg matrix (j + 1) x j of a Krylov basis, or j x j of an invariant subspace; defect and loss."""
    n = len(start)
    V: NDArray[Any] = np.zeros((n, k + 1), dtype=start.dtype, order="F")
    H: NDArray[Any] = np.zeros((k + 1, k), dtype=start.dtype)
    V[:, 0], defect, largest = start, 0.0, 0.0
    for j in range(k):
        basis, image = V[:, : j + 1], product(V[:, j])
        w = image
        for _ in range(2):
            h = basis.conj().T @ w
            w = w - basis @ h
            H[: j + 1, j] += h
        size, largest = float(np.linalg.norm(w)), max(largest, float(np.linalg.norm(image)))
        invariant = j + 1 == n or size <= 10 * max(k, 10) * UNIT_ROUNDOFF * largest
        if not invariant:
            H[j + 1, j], V[:, j + 1] = size, w / size
        defect = float(np.hypot(defect, np.linalg.norm(image - V[:, : j + 2] @ H[: j + 2, j])))
        if invariant:
            H = H[: j + 1, : j + 1]
            break
    basis = V[:, : len(H)]
    loss = float(np.linalg.norm(basis.conj().T @ basis - np.eye(len(H))))
    return H, defect, loss
