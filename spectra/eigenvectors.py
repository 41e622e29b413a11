"""Eigenvectors: right and left ones of a matrix with their condition numbers, and those of a triangle."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eig, get_lapack_funcs

from spectra.checks import Matrix
from spectra.errors import ConvergenceError
from spectra.results import Record
from spectra.rotations import complex_triangle
from spectra.scaling import SMALLEST_UNIT, UNIT_ROUNDOFF, rescaled, unit_scaled
from spectra.schur import SchurForm, matrix_of

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Eigenmodes(Record):
    """Eigenvalues with unit right and left eigenvectors and condition numbers.

    Attributes
    ----------
    eigenvalues : ndarray of complex, shape (n,)
        λⱼ, in the order of ``schur_form(A).eigenvalues``.
    right, left : ndarray of complex, shape (n, n)
        Unit vectors as columns, A xⱼ = λⱼ xⱼ and yⱼ*A = λⱼ yⱼ*, with yⱼ*xⱼ ≥ 0; the largest entry of xⱼ is
        above 0. Where A is defective some columns are parallel.
    condition_numbers : ndarray, shape (n,)
        κⱼ = 1 / (yⱼ*xⱼ), inf where λⱼ is defective, as `eigenvalue_condition_numbers` says.
    residual : float
        The largest ‖A xⱼ − λⱼ xⱼ‖ or ‖yⱼ*A − λⱼ yⱼ*‖, in the units of A.
    """

    eigenvalues: Complex
    right: Complex
    left: Complex
    condition_numbers: Floats
    residual: float

    def _check_shapes(self) -> None:
        n = self.eigenvalues.size
        flat = self.eigenvalues.shape == self.condition_numbers.shape == (n,)
        if not flat or not self.right.shape == self.left.shape == (n, n):
            raise ValueError("vectors of another order than the eigenvalues")

    def __str__(self) -> str:
        """One line."""
        defective = int(np.isinf(self.condition_numbers).sum())
        return (
            f"Eigenmodes of order {self.eigenvalues.size}: condition numbers from "
            f"{self.condition_numbers.min():.3g} to {self.condition_numbers.max():.3g}, "
            f"{defective} of defective eigenvalues, residual {self.residual:.1g}"
        )

    __repr__ = __str__


def eigenmodes(A: ArrayLike | SchurForm) -> Eigenmodes:
    """Eigenvalues λⱼ with unit right and left eigenvectors, A xⱼ = λⱼ xⱼ and yⱼ*A = λⱼ yⱼ*, and 1 / (yⱼ*xⱼ).

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    Eigenmodes
        Eigenvalues, vectors and condition numbers. For real A the vectors of real eigenvalues are real, and
        those of conjugate eigenvalues conjugate.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf.
    ConvergenceError
        If LAPACK's QR iteration fails.

    Notes
    -----
    Eigenvectors of the Schur factor by LAPACK ``trevc``, taken back by the Schur vectors: about 25 n³
    operations for the Schur form, which is computed here with its vectors also where a `SchurForm` is given,
    and 20 n³ for the rest. Residuals are of the order of n u ‖A‖ also where A is defective. The error of xⱼ
    and yⱼ is about that over the distance to the other eigenvalues, times their condition numbers: of
    ill-conditioned eigenvalues only the residual is small.

    Examples
    --------
    >>> from spectra import eigenmodes
    >>> found = eigenmodes([[-1.0, 5.0], [0.0, -2.0]])
    >>> found.eigenvalues.real, found.condition_numbers.round(6)
    (array([-1., -2.]), array([5.09902, 5.09902]))
    >>> (found.right[:, 1].real * 26**0.5).round(12)
    array([ 5., -1.])
    """
    matrix = matrix_of(A)
    scaled, scale = unit_scaled(matrix, smallest=SMALLEST_UNIT)
    T, Q, eigenvalues = _schur_vectors(scaled)
    triangle, basis = complex_triangle(T, Q)
    right, left, condition = triangular_eigenvectors(triangle)
    left, right = turned(basis @ left, basis @ right)
    if matrix.dtype == np.float64:
        first = np.flatnonzero(eigenvalues.imag > 0)
        for vectors in (right, left):
            vectors[:, first + 1] = vectors[:, first].conj()
        condition[first + 1] = condition[first]
        real = eigenvalues.imag == 0
        right[:, real] = right[:, real].real
        left[:, real] = turned(right[:, real], left[:, real])[1].real
        left[:, real] *= np.where((left[:, real] * right[:, real]).sum(axis=0).real < 0, -1.0, 1.0)
    right, left = right / np.linalg.norm(right, axis=0), left / np.linalg.norm(left, axis=0)
    rest = np.append(
        scaled @ right - right * eigenvalues, scaled.conj().T @ left - left * eigenvalues.conj(), axis=1
    )
    return Eigenmodes(
        eigenvalues=rescaled(eigenvalues, scale),
        right=right,
        left=left,
        condition_numbers=condition,
        residual=float(np.linalg.norm(rest, axis=0).max()) * scale,
    )


def triangular_eigenvectors(T: Complex) -> tuple[Complex, Complex, Floats]:
    """Give the unit eigenvectors of a triangular matrix and the condition numbers of its eigenvalues.

    Parameters
    ----------
    T : ndarray of complex, shape (n, n)
        Upper triangular, of a size near 1.

    Returns
    -------
    right, left : ndarray of complex, shape (n, n)
        Eigenvectors as columns, in the order of the diagonal, with yⱼ*xⱼ ≥ 0.
    condition : ndarray, shape (n,)
        1 / (yⱼ*xⱼ), inf where defective, as in `eigenvalue_condition_numbers`.
    """
    n, size = len(T), float(np.linalg.norm(T))
    noise = n * UNIT_ROUNDOFF
    if np.linalg.norm(np.triu(T, 1)) <= 10 * noise * size:
        return np.eye(n, dtype=complex), np.eye(n, dtype=complex), np.ones(n)
    found: Any = eig(T, left=True, check_finite=False)
    eigenvalues, left, right = found
    product = np.diag(left).conj() * np.diag(right)  # the right vectors end where the left ones begin
    cosine = np.abs(product)
    left *= np.where(cosine > 0, product, 1.0) / np.where(cosine > 0, cosine, 1.0)
    close = np.abs(np.subtract.outer(eigenvalues, eigenvalues)) <= noise * size
    parallel = np.abs(right.conj().T @ right) ** 2 >= 1 - 1e-12  # the squared cosine of 1e-6
    np.fill_diagonal(close, False)
    defective = (close & parallel).any(axis=1) | (cosine <= noise)
    condition = np.maximum(1.0, 1.0 / np.where(defective, 1.0, cosine))
    return right, left, np.where(defective, np.inf, condition)


def turned(others: Complex, vectors: Complex) -> tuple[Complex, Complex]:
    """Multiply both by the same numbers of modulus 1, so that the largest entry of each vector is above 0."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None, ...], axis=0)
    turn = largest.conj() / np.abs(largest)
    return others * turn, vectors * turn


def _schur_vectors(matrix: Matrix) -> tuple[Matrix, Matrix, Complex]:
    """Schur factor, in the order of `schur_form`, its vectors and the eigenvalues."""
    gees: Any = get_lapack_funcs("gees", (matrix,))
    real = matrix.dtype == np.float64
    select: Any = (lambda _, imaginary: imaginary == 0.0) if real else (lambda _: False)
    work = gees(select, matrix, lwork=-1)[-2]
    *result, info = gees(select, matrix, lwork=int(work[0].real), sort_t=int(real))
    if info not in {0, len(matrix) + 1, len(matrix) + 2}:  # beyond n only the order is affected
        raise ConvergenceError(
            f"LAPACK gees did not converge on A (info = {info}); try A plus tiny noise, or A in another basis"
        )
    eigenvalues = result[2] + 1j * result[3] if real else result[2]
    return result[0], result[-2], eigenvalues
