"""How far a matrix is from normal: Henrici's departure, the commutator, the condition of the eigenvectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spectra.scaling import UNIT_ROUNDOFF, unit_scaled
from spectra.schur import SchurForm, matrix_of, schur_form


def henrici_departure(A: ArrayLike | SchurForm, relative: bool = False) -> float:
    """Henrici's departure from normality (‖A‖_F² − Σ|λ|²)^½, which is zero exactly for normal matrices.

    It is the Frobenius norm of the strict upper triangle of a complex Schur factor of A.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    relative : bool, default False
        Divide by ‖A‖_F, which gives a number from 0 to 1 that does not depend on the scale of A.

    Returns
    -------
    float
        The departure, in the units of A (without unit if `relative`; then 0 for the zero matrix).

    Raises
    ------
    TypeError
        If A is no array of numbers or `relative` no bool.
    ValueError
        If A is not square, is empty, or holds NaN or inf.
    ConvergenceError
        If LAPACK's QR iteration fails.

    Notes
    -----
    From the Schur factor (10 n³ operations, none for a `SchurForm`), without the cancellation of the formula.
    In a real Schur factor a standardised 2 x 2 block [[a, b], [c, a]] contributes (|b| − |c|)². The value is
    exact for a matrix within about n u ‖A‖_F of A. A normal matrix gives about that much instead of 0; where
    the eigenvalues are so ill-conditioned that rounding moves them far, as those of ``gallery.godunov()``,
    six digits are right.

    References
    ----------
    P. Henrici, "Bounds for iterates, inverses, spectral variation and fields of values of non-normal
    matrices", Numer. Math. 4 (1962), 24-40.

    Examples
    --------
    >>> from spectra import henrici_departure
    >>> henrici_departure([[-1.0, 5.0], [0.0, -2.0]])
    5.0
    """
    if not isinstance(relative, (bool, np.bool_)):
        raise TypeError(f"relative is {relative!r}; expected True or False")
    F = schur_form(A)
    beyond = np.triu(F.T, 1)
    if F.is_real:  # a block that holds a conjugate pair is [[a, b], [c, a]] with bc < 0
        first = np.flatnonzero(np.diag(F.T, -1))
        beyond[first, first + 1] = np.abs(F.T[first, first + 1]) - np.abs(F.T[first + 1, first])
    departure = float(np.linalg.norm(beyond))
    if not relative:
        return departure * F.scale
    total = float(np.linalg.norm(F.T))
    return departure / total if total > 0 else 0.0


def commutator_norm(A: ArrayLike | SchurForm) -> float:
    """Commutator norm ‖A*A − AA*‖_F, which is zero exactly for normal matrices.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    float
        The norm, in the squared units of A; inf or 0 where that leaves the range of floats.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf.

    Notes
    -----
    Two matrix products, 4 n³ operations; the absolute error is of the order of n u ‖A‖_F², and this is also
    what a normal matrix gives.

    Examples
    --------
    >>> from spectra import commutator_norm
    >>> commutator_norm([[0.0, 3.0], [0.0, 0.0]]) ** 2
    162.0
    """
    matrix, scale = unit_scaled(matrix_of(A))
    adjoint = matrix.conj().T
    return float(np.linalg.norm(adjoint @ matrix - matrix @ adjoint)) * scale * scale


def eigenvector_condition_number(A: ArrayLike | SchurForm) -> float:
    """Condition number κ₂(V) = ‖V‖₂ ‖V⁻¹‖₂ of the matrix V of unit eigenvectors, inf where A is defective.

    The ε-pseudospectrum lies within ε κ₂(V) of the spectrum (Bauer and Fike).

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    float
        κ₂(V) ≥ 1, without unit. With u = 2⁻⁵³, A counts as defective, and κ₂(V) is inf, where rounding cannot
        tell V from a singular matrix (κ₂(V) ≥ 1 / (n u)), or two eigenvalues closer than n u ‖A‖_F have
        eigenvectors at an angle below 1e-6. A counts as normal, and κ₂(V) is 1, where Henrici's departure is
        at most 10 n u ‖A‖_F.

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
    LAPACK ``geev`` on the Schur factor, which has the same κ₂(V), in about 15 n³ operations more. Of a large
    value only the leading digits mean anything. A Jordan block of order k that hides in a dense matrix is
    split by rounding and shows as about u^(1/k − 1), 1e8 for k = 2, not as inf. A repeated eigenvalue that is
    not defective leaves V free, and LAPACK's choice is not the best one.

    Examples
    --------
    >>> from spectra import eigenvector_condition_number
    >>> eigenvector_condition_number([[0.0, 1.0], [0.0, 0.0]])
    inf
    >>> round(eigenvector_condition_number([[-1.0, 5.0], [0.0, -2.0]]), 12)
    10.099019513593
    """
    F = schur_form(A)
    n = F.n
    if henrici_departure(F, relative=True) <= 10 * n * UNIT_ROUNDOFF:
        return 1.0
    eigenvalues, vectors = np.linalg.eig(F.T)
    close = np.abs(np.subtract.outer(eigenvalues, eigenvalues)) <= n * UNIT_ROUNDOFF * np.linalg.norm(F.T)
    parallel = np.abs(vectors.conj().T @ vectors) ** 2 >= 1 - 1e-12  # the squared cosine of 1e-6
    largest, smallest = np.linalg.svd(vectors, compute_uv=False)[[0, -1]]
    if np.triu(close & parallel, 1).any() or smallest <= n * UNIT_ROUNDOFF * largest:
        return float("inf")
    return float(largest / smallest)
