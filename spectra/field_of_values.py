"""The field of values (numerical range) {x*Ax : ‖x‖ = 1} and what can be read off it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spectra.scaling import unit_scaled
from spectra.schur import SchurForm, matrix_of


def numerical_abscissa(A: ArrayLike | SchurForm) -> float:
    """Numerical abscissa ω(A) = max Re x*Ax over unit vectors x, the largest eigenvalue of (A + A*)/2.

    It is the growth rate of ‖exp(tA)‖₂ at t = 0, and α(A) ≤ ω(A) ≤ ‖A‖₂.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    float
        ω(A) in the units of A; ±inf where it exceeds the largest float.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf.

    Notes
    -----
    LAPACK ``heevd`` on the Hermitian part, 4/3 n³ operations; the absolute error is of the order of n u ‖A‖₂.

    Examples
    --------
    >>> from spectra import numerical_abscissa
    >>> numerical_abscissa([[0.0, 1.0], [0.0, 0.0]])
    0.5
    """
    matrix, scale = unit_scaled(matrix_of(A))
    return float(np.linalg.eigvalsh((matrix + matrix.conj().T) / 2)[-1]) * scale
