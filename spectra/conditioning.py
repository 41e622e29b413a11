"""How far eigenvalues move when the matrix does: their condition numbers, and the discs of Bauer and Fike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import non_negative
from spectra.eigenvectors import triangular_eigenvectors
from spectra.nonnormality import eigenvector_condition_number
from spectra.rotations import complex_triangle
from spectra.schur import SchurForm, schur_form

Floats = NDArray[np.float64]


def eigenvalue_condition_numbers(A: ArrayLike | SchurForm) -> Floats:
    """Condition numbers κⱼ = 1 / |yⱼ*xⱼ| of the eigenvalues, with unit left and right eigenvectors yⱼ and xⱼ.

    A perturbation of norm ε moves a simple eigenvalue by κⱼ ε at most, to first order in ε.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    ndarray, shape (n,)
        κⱼ ≥ 1, without unit, in the order of ``schur_form(A).eigenvalues``. With u = 2⁻⁵³, an eigenvalue
        counts as defective, and its κⱼ is inf, where κⱼ ≥ 1 / (n u), or where it has a neighbour closer than
        n u ‖A‖_F and their eigenvectors are at an angle below 1e-6. A counts as normal, and all κⱼ are 1,
        where Henrici's departure is at most 10 n u ‖A‖_F.

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
    Left and right eigenvectors of the complex Schur factor by LAPACK ``trevc``, some 3 n³ complex operations
    after the Schur form. There yⱼ*xⱼ is a product of two entries, and no digit cancels; but the factor is
    that of a matrix within about n u ‖A‖ of A, so that of a large κⱼ only the leading digits mean anything.
    What counts as defective cannot be told from it: a matrix within ‖A‖ / (κⱼ² − 1)^½ of A has λⱼ as a
    multiple eigenvalue (Wilkinson). A Jordan block of order k that hides in a dense matrix is split by
    rounding and shows as about u^(1/k − 1), not as inf. A repeated eigenvalue that is not defective leaves xⱼ
    and yⱼ free, and LAPACK's choice is not the best one. max κⱼ ≤ κ₂(V) ≤ (n Σ κⱼ²)^½ for the
    `eigenvector_condition_number` κ₂(V).

    References
    ----------
    J. H. Wilkinson, "Note on matrices with a very ill-conditioned eigenproblem", Numer. Math. 19 (1972),
    176-178.

    Examples
    --------
    >>> from spectra import eigenvalue_condition_numbers
    >>> eigenvalue_condition_numbers([[-1.0, 5.0], [0.0, -2.0]]).round(6)
    array([5.09902, 5.09902])
    >>> eigenvalue_condition_numbers([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    array([inf, inf,  1.])
    """
    form = schur_form(A)
    found = triangular_eigenvectors(complex_triangle(form.T)[0])[2]
    if form.is_real:  # conjugates alike, to the last digit
        first = np.flatnonzero(np.diag(form.T, -1))
        found[first + 1] = found[first]
    return found


def bauer_fike_radius(A: ArrayLike | SchurForm, epsilon: float) -> float:
    """Radius ε κ₂(V) of the discs around the eigenvalues that together contain the ε-pseudospectrum.

    V holds the unit eigenvectors: whatever is added to A with a norm of at most ε, each eigenvalue then lies
    within this radius of one of A (Bauer and Fike).

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    epsilon : float
        Size of the perturbation, at least 0, in the units of A.

    Returns
    -------
    float
        The radius, in the units of A: ε where A is normal; inf where A is defective and ε > 0.

    Raises
    ------
    TypeError
        If A is no array of numbers or epsilon no real number.
    ValueError
        If A is not square, is empty, or holds NaN or inf, or epsilon is negative, NaN or infinite.
    ConvergenceError
        If LAPACK's QR iteration fails.

    Notes
    -----
    From `eigenvector_condition_number`, with its cost and error. To first order in ε the component around a
    simple eigenvalue is the disc of radius ε κⱼ; discs of radius n ε κⱼ contain the ε-pseudospectrum for
    every ε, because ‖(zI − A)⁻¹‖ ≤ Σ κⱼ / |z − λⱼ|. See `eigenvalue_condition_numbers`.

    References
    ----------
    F. L. Bauer and C. T. Fike, "Norms and exclusion theorems", Numer. Math. 2 (1960), 137-141.

    Examples
    --------
    >>> from spectra import bauer_fike_radius
    >>> round(bauer_fike_radius([[-1.0, 5.0], [0.0, -2.0]], 0.125), 12)
    1.262377439199
    """
    size = non_negative(epsilon, "epsilon")
    condition = eigenvector_condition_number(A)
    return size * condition if size > 0 else 0.0
