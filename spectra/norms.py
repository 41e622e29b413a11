"""Norms: of a matrix and of its resolvent, and the numbers that compare two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, any_matrix, complex_number, generator
from spectra.errors import ConvergenceError
from spectra.lanczos import failure_probability, largest_singular_value, relative_width, warn_if_wide
from spectra.operators import linear_map
from spectra.results import Extremum
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
    return float(singular_values(matrix)[0]) * scale


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
    singular = singular_values(unit_scaled(_any_matrix_of(A))[0])
    if singular[0] == 0:
        return 0.0
    with np.errstate(under="ignore"):
        return float(np.square(singular / singular[0]).sum())


def spectral_norm_bounds(
    A: Any, *, rtol: float = 1e-6, delta: float = 1e-6, rng: int | np.random.Generator = 0
) -> Extremum:
    """Spectral norm ‖A‖₂ = max ‖Ax‖₂ / ‖x‖₂ of a matrix that may be sparse or given by products, bracketed.

    Parameters
    ----------
    A : array_like, SchurForm, scipy sparse matrix or array, or LinearOperator, shape (m, n)
        Real or complex; a ``scipy.sparse.linalg.LinearOperator`` needs ``matvec`` and ``rmatvec``.
    rtol : float, default 1e-6
        Relative width of the interval asked for.
    delta : float, default 1e-6
        Probability, over the random start, with which `upper` may fail. With 0 it is the proven bound of the
        Notes, however far; `rtol` then limits the relative residual of the value alone.
    rng : int or numpy.random.Generator, default 0
        For the start.

    Returns
    -------
    Extremum
        `value` = ‖Ax‖₂ for the unit vector x = `points` (length n); `lower` is that less the rounding error
        of a product, max(m, n) u, and so proven; `upper` as said under `delta`. `residual` is
        ‖A*Ax − value² x‖₂ / value, in the units of A, and `steps` the number of products with A*A.

    Raises
    ------
    TypeError
        If A is no matrix of numbers, or an operator without ``rmatvec``.
    ValueError
        If A is not two-dimensional, is empty, holds or gives NaN or inf, its ``rmatvec`` is not the adjoint
        of its ``matvec`` (tried on random vectors), rtol is not in (0, 1], delta not in [0, 1), or delta is 0
        for a ``LinearOperator``.

    Warns
    -----
    AccuracyWarning
        If 300 steps do not reach `rtol`; the interval is right, but wider.

    Notes
    -----
    Lanczos on A*A or AA*, whichever is smaller, from a random unit vector q, with full reorthogonalisation:
    k steps take 2k products and 4 k² min(m, n) operations. A norm above `upper` would need a q nearly
    orthogonal to its singular vector: the Lanczos polynomials p_j satisfy Σ p_j(λ)² |<q, v>|² ≤ 1 for a unit
    eigenvector v of A*A to the eigenvalue λ. With a relative gap g between σ₁² and σ₂² it takes of the order
    of g^(-1/2) log(n/δ) steps. For a matrix with known entries `upper` is never above the proven bound
    min(‖A‖_F, (‖A‖₁ ‖A‖_∞)^(1/2)).

    Examples
    --------
    The second difference has the norm 4 cos²(π / (2n + 2)):

    >>> import scipy.sparse
    >>> from spectra import spectral_norm_bounds
    >>> A = scipy.sparse.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(50, 50))
    >>> round(float(spectral_norm_bounds(A)), 9)
    3.996206657
    """
    rtol, delta, rng = relative_width(rtol), failure_probability(delta), generator(rng)
    found = linear_map(A, rng)
    if delta == 0 and not np.isfinite(found.bound):
        raise ValueError("delta is 0, but nothing bounds a LinearOperator for certain; expected delta > 0")
    result = largest_singular_value(found, rtol=rtol, delta=delta, rng=rng)
    warn_if_wide(result, rtol, delta)
    return result


def condition_number(A: ArrayLike | SchurForm) -> float:
    """Condition number κ₂(A) = σ_max / σ_min, with the min(m, n)-th singular value as the smallest.

    Parameters
    ----------
    A : array_like, shape (m, n), or SchurForm
        Real or complex matrix; it may be rectangular.

    Returns
    -------
    float
        κ₂(A) ≥ 1, without unit; inf where σ_min ≤ max(m, n) u σ_max (u = 2⁻⁵³), since rounding cannot tell A
        from a matrix of lower rank then, and for the zero matrix.

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
    By a singular value decomposition; the relative error is of the order of n u κ₂(A).

    Examples
    --------
    >>> from spectra import condition_number
    >>> condition_number([[4.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    8.0
    >>> condition_number([[1.0, 2.0], [2.0, 4.0]])
    inf
    """
    matrix = _any_matrix_of(A)
    singular = singular_values(unit_scaled(matrix)[0])
    if singular[-1] <= max(matrix.shape) * UNIT_ROUNDOFF * singular[0]:
        return float("inf")
    return float(singular[0] / singular[-1])


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
    singular = singular_values(together[-1] * np.eye(n) - together[:-1].reshape(n, n))
    smallest = float(singular[-1])
    if smallest <= n * UNIT_ROUNDOFF * singular[0]:
        return float("inf")
    return 1.0 / smallest / scale


def _any_matrix_of(A: ArrayLike | SchurForm) -> Matrix:
    return A.A if isinstance(A, SchurForm) else any_matrix(A)


def singular_values(matrix: Matrix) -> NDArray[np.float64]:
    """Singular values, falling, of a matrix or of each in a stack, by LAPACK's gesdd.

    Parameters
    ----------
    matrix : ndarray, shape (..., m, n)
        Finite numbers whose squares are floats.

    Returns
    -------
    ndarray, shape (..., min(m, n))
        The singular values.

    Raises
    ------
    ConvergenceError
        If LAPACK's iteration fails.
    """
    try:
        return np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(
            f"LAPACK gesdd failed on a matrix of shape {matrix.shape} ({error}); try A plus tiny noise"
        ) from None
