"""Pseudomodes: the vectors that are almost eigenvectors, at any point, and what makes them eigenvectors."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, complex_number
from spectra.eigenvectors import turned
from spectra.errors import ConvergenceError
from spectra.results import Record
from spectra.scaling import SMALLEST_UNIT, UNIT_ROUNDOFF, refuse_overflow, rescaled, unit_scaled
from spectra.schur import SchurForm, matrix_of

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pseudomode(Record):
    """Pseudo-eigenvector v of A at z, ‖(zI − A)v‖ = σ_min(zI − A), and what makes it an eigenvector.

    Attributes
    ----------
    x, y : float
        Real and imaginary part of the point z.
    sigma : float
        σ = σ_min(zI − A), the size of the smallest perturbation of A that has the eigenvalue z; 0 where it is
        at most `floor`.
    floor : float
        Below this σ is rounding noise: n u ‖zI − A‖.
    vector, left_vector : ndarray of complex, shape (n,)
        Unit vectors v and u with (zI − A)v = σu and u*(zI − A) = σv*.
    perturbation : ndarray of complex, shape (n, n)
        E = σuv*, of norm σ: v and u are right and left eigenvectors of A + E for the eigenvalue z.
    residual : float
        ‖(A + E)v − zv‖, which is rounding.
    landing : float
        Distance of the nearest computed eigenvalue of A + E from z.
    admissible : ndarray, shape (n, n)
        A perturbation with the same effect and entries of the kind of A: for real A the real matrix
        σ [Re u, Im u] [Re v, Im v]⁺, for complex A the same as `perturbation`.
    admissible_norm : float
        Its norm: σ for complex A and for real z, otherwise above σ where an eigenvalue does land.
    admissible_landing : float
        Distance of the nearest computed eigenvalue of A with it added from z. It is large where v is a real
        vector times a number and z is not real, as for every symmetric A: no real matrix has such an
        eigenvector.
    """

    x: float
    y: float
    sigma: float
    floor: float
    vector: Complex
    left_vector: Complex
    perturbation: Complex
    residual: float
    landing: float
    admissible: Matrix
    admissible_norm: float
    admissible_landing: float

    @property
    def z(self) -> complex:
        """The point x + iy."""
        return complex(self.x, self.y)

    def _check_shapes(self) -> None:
        n = self.vector.size
        if self.left_vector.shape != (n,) or not self.perturbation.shape == self.admissible.shape == (n, n):
            raise ValueError("vectors and matrices of different orders")

    def __str__(self) -> str:
        """One line."""
        return (
            f"Pseudomode of order {self.vector.size} at z = {self.z:.6g}: sigma {self.sigma:.6g}, "
            f"an admissible perturbation of norm {self.admissible_norm:.6g} lands within "
            f"{self.admissible_landing:.1g}"
        )

    __repr__ = __str__


def pseudomode(A: ArrayLike | SchurForm, z: complex) -> Pseudomode:
    """Pseudo-eigenvector v at z, ‖(zI − A)v‖ = σ_min(zI − A), and the perturbation for which it is one.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    z : complex
        A point of the plane, in the units of A.

    Returns
    -------
    Pseudomode
        Singular vectors, the smallest perturbation, for real A also a real one, and how near to z they bring
        an eigenvalue. On an eigenvalue σ and the perturbations are 0, and v is an eigenvector.

    Raises
    ------
    TypeError
        If A is no array of numbers or z no number.
    ValueError
        If A is not square, is empty, or holds NaN or inf, z is NaN or infinite, or A or z come near the
        largest float.
    ConvergenceError
        If LAPACK's singular value or QR iteration fails.

    Notes
    -----
    One singular value decomposition of zI − A and the eigenvalues of A with each perturbation: about 40 n³
    operations. σ has an error of about n u ‖zI − A‖, and v, where σ is well below the other singular values
    and above that, one of that over their distance. An eigenvalue lands within about n u ‖A‖ / |u*v| of z.

    The real perturbation E maps Re v and Im v to the real and imaginary parts of σu: (A + E)v = zv where the
    two are independent. It is not the smallest one, and its norm grows without bound as v becomes real, which
    happens as z nears the real axis.

    References
    ----------
    L. N. Trefethen and M. Embree, Spectra and Pseudospectra, Princeton University Press, 2005.

    Examples
    --------
    >>> from spectra import pseudomode
    >>> found = pseudomode([[0.0, 1.0], [0.0, 0.0]], 0.75)
    >>> round(found.sigma, 12), abs(found.vector).round(4)
    (0.401387818866, array([0.8817, 0.4719]))
    >>> found.landing < 1e-14
    True
    """
    matrix, point = matrix_of(A), complex_number(z, "z")
    n = len(matrix)
    together, scale = unit_scaled(
        np.append(matrix, point if point.imag else point.real), smallest=SMALLEST_UNIT
    )
    refuse_overflow(4.0 * n * scale, "A and z")
    B, w = together[:-1].reshape(n, n), complex(together[-1])
    real = matrix.dtype == np.float64
    B = B.real if real else B
    left, singular, right = _decomposed((w if w.imag else w.real) * np.eye(n) - B)
    floor = n * UNIT_ROUNDOFF * float(singular[0])
    sigma = float(singular[-1]) if singular[-1] > floor else 0.0
    u, v = turned(left[:, -1].astype(complex), right[-1].conj().astype(complex))
    E = sigma * np.outer(u, v.conj())
    own = (sigma * _real_map(v, u)).astype(complex) if real else E
    return Pseudomode(
        x=point.real,
        y=point.imag,
        sigma=sigma * scale,
        floor=floor * scale,
        vector=v,
        left_vector=u,
        perturbation=rescaled(E, scale),
        residual=float(np.linalg.norm(B @ v + E @ v - w * v)) * scale,
        landing=_distance_to_spectrum(B + E, w) * scale,
        admissible=rescaled(own, scale).real.copy() if real else rescaled(own, scale),
        admissible_norm=float(np.linalg.norm(own, 2)) * scale,
        admissible_landing=_distance_to_spectrum(B + own, w) * scale,
    )


def _decomposed(matrix: Matrix) -> tuple[Matrix, Floats, Matrix]:
    try:
        left, singular, right = np.linalg.svd(matrix)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(f"LAPACK gesdd failed on zI - A ({error}); move z a little") from None
    return left, singular, right


def _real_map(v: Complex, u: Complex) -> Floats:
    """Give the smallest real matrix that maps v to u, or comes nearest to that."""
    V, U = np.column_stack([v.real, v.imag]), np.column_stack([u.real, u.imag])
    return np.asarray(U @ np.linalg.pinv(V, rcond=len(v) * UNIT_ROUNDOFF))


def _distance_to_spectrum(matrix: Matrix, z: complex) -> float:
    try:
        return float(np.abs(np.linalg.eigvals(matrix) - z).min())
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(f"LAPACK geev failed on A + E ({error}); move z a little") from None
