"""Where the eigenvalues reach: spectral radius and spectral abscissa."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spectra.schur import SchurForm, schur_form


def spectral_radius(A: ArrayLike | SchurForm) -> float:
    """Spectral radius ρ(A) = max |λ| over the eigenvalues λ of A.

    It is not the spectral norm: ρ(A) ≤ ‖A‖₂, with equality for normal matrices.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    float
        ρ(A) in the units of A; inf where it exceeds the largest float.

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
    From the Schur form (10 n³ operations, none for a `SchurForm`). The eigenvalues are exact for a matrix
    within about n u ‖A‖ of A, so the error is that distance times the condition number of the eigenvalue: on
    a strongly non-normal matrix it can be large.

    Examples
    --------
    >>> from spectra import spectral_radius
    >>> spectral_radius([[0.0, 4.0], [-1.0, 0.0]])
    2.0
    """
    with np.errstate(over="ignore", under="ignore"):
        return float(np.abs(schur_form(A).eigenvalues).max())


def spectral_abscissa(A: ArrayLike | SchurForm) -> float:
    """Spectral abscissa α(A) = max Re λ over the eigenvalues λ of A.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    float
        α(A) in the units of A; ±inf where it exceeds the largest float.

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
    As for `spectral_radius`.

    Examples
    --------
    >>> from spectra import spectral_abscissa
    >>> spectral_abscissa([[-1.0, 5.0], [0.0, -2.0]])
    -1.0
    """
    return float(schur_form(A).eigenvalues.real.max())
