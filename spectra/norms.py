"""Norms: of a matrix, of its resolvent, and the stable rank that compares two of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, any_matrix, complex_number
from spectra.errors import ConvergenceError
from spectra.scaling import UNIT_ROUNDOFF, unit_scaled
from spectra.schur import SchurForm, matrix_of


def spectral_norm(A: ArrayLike | SchurForm) -> float:
    """Spectral norm ‖A‖₂ = max ‖Ax‖₂ / ‖x‖₂, the largest singular value (not its square).

    Parameters
    ----------
    A : array_like, shape (m, n), or SchurForm
        Real or complex matrix; it may be rectangular.

    Returns
    -------
    float
        ‖A‖₂ in the units of A; inf where it exceeds the largest float.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not two-dimensional, is empty, or holds NaN or inf.
    ConvergenceError
        If LAPACK's singular value iteration fails.

    Notes
    -----
    A dense singular value decomposition of A divided by a power of two: about 4 m n² operations for m ≥ n,
    relative error of the order of n u.

    Examples
    --------
    >>> from spectra import spectral_norm
    >>> spectral_norm([[3.0, 0.0, 0.0], [0.0, 0.0, -4.0]])
    4.0
    """
    matrix, scale = unit_scaled(_any_matrix_of(A))
    return float(_singular_values(matrix)[0]) * scale


def stable_rank(A: ArrayLike | SchurForm) -> float:
    """Stable rank ‖A‖_F² / ‖A‖₂², a number between 1 and the rank.

    Parameters
    ----------
    A : array_like, shape (m, n), or SchurForm
        Real or complex matrix; it may be rectangular.

    Returns
    -------
    float
        The stable rank, without unit; 0 for the zero matrix.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not two-dimensional, is empty, or holds NaN or inf.
    ConvergenceError
        If LAPACK's singular value iteration fails.

    Notes
    -----
    The sum of (σᵢ/σ₁)² over all singular values; cost as for `spectral_norm`.

    Examples
    --------
    >>> from spectra import stable_rank
    >>> stable_rank([[2.0, 0.0], [0.0, 1.0]])
    1.25
    """
    singular = _singular_values(unit_scaled(_any_matrix_of(A))[0])
    if singular[0] == 0:
        return 0.0
    with np.errstate(under="ignore"):
        return float(np.square(singular / singular[0]).sum())


def resolvent_norm(A: ArrayLike | SchurForm, z: complex) -> float:
    """Norm of the resolvent ‖(zI − A)⁻¹‖₂ = 1 / σ_min(zI − A), inf where z is an eigenvalue.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    z : complex
        A point of the plane, in the units of A.

    Returns
    -------
    float
        The norm, in 1 / units of A. It is inf where σ_min ≤ n u ‖zI − A‖₂ (u = 2⁻⁵³): the computed σ_min is
        then rounding noise, and z an eigenvalue of a matrix that rounding cannot tell from A.

    Raises
    ------
    TypeError
        If A is no array of numbers or z no number.
    ValueError
        If A is not square, is empty, or holds NaN or inf, or z is NaN or infinite.
    ConvergenceError
        If LAPACK's singular value iteration fails.

    Notes
    -----
    One dense singular value decomposition per point, of zI − A itself (8/3 n³ operations); for many points
    use `pseudospectrum`. The absolute error of σ_min is at most of the order of n u ‖zI − A‖₂.

    Examples
    --------
    >>> from spectra import resolvent_norm
    >>> resolvent_norm([[1.0, 0.0], [0.0, 2.0]], 1.75)
    4.0
    >>> resolvent_norm([[1.0, 0.0], [0.0, 2.0]], 2.0)
    inf
    """
    matrix = matrix_of(A)
    point = complex_number(z, "z")
    n = len(matrix)
    together, scale = unit_scaled(np.append(matrix, point if point.imag else point.real))
    singular = _singular_values(together[-1] * np.eye(n) - together[:-1].reshape(n, n))
    smallest = float(singular[-1])
    if smallest <= n * UNIT_ROUNDOFF * singular[0]:
        return float("inf")
    return 1.0 / smallest / scale


def _any_matrix_of(A: ArrayLike | SchurForm) -> Matrix:
    return A.A if isinstance(A, SchurForm) else any_matrix(A)


def _singular_values(matrix: Matrix) -> NDArray[np.float64]:
    try:
        return np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(
            f"LAPACK gesdd failed on a matrix of shape {matrix.shape} ({error}); try A plus tiny noise"
        ) from None
