"""The pseudospectral abscissa and radius."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from spectra.checks import non_negative
from spectra.criss_cross import farthest_point
from spectra.curves import CIRCLES, LINES, Curves
from spectra.resolvent import dense_sigma_min, norm_bound
from spectra.results import Extremum
from spectra.scaling import refuse_overflow
from spectra.schur import SchurForm, schur_form
from spectra.threads import one_blas_thread


def pseudospectral_abscissa(A: ArrayLike | SchurForm, epsilon: float) -> Extremum:
    """Pseudospectral abscissa α_ε = max{Re z : σ_min(zI - A) <= ε}.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    epsilon : float
        Level ε >= 0 in the units of A; 0 gives the spectral abscissa.

    Returns
    -------
    Extremum
        The value, where it is attained (both points of a conjugate pair for real A), and an interval: at
        `lower` σ_min is below ε by more than rounding noise. Where `method` is "samples", σ_min exceeds ε by
        more than that on the whole line at `upper`, with probability at least 0.999 over random starting
        vectors, and the interval is 2e-7 max(abs(value), ε) wide; where it is "eigenvalues", those of order
        2n, computed in floating point, show no crossing of ε plus that noise there, and the interval is as
        narrow as rounding allows. `residual` is abs(σ_min - ε) at ``points[0]``.

    Raises
    ------
    TypeError
        If A is no array of numbers or epsilon no real number.
    ValueError
        If A is not square, is empty or holds NaN or inf, epsilon is negative or not finite, or the norm of A
        and epsilon together come near the largest float.
    ConvergenceError
        If the search does not settle; ``error.best`` holds the best result.

    Notes
    -----
    A climb on quadratic models of σ_min from the rightmost eigenvalue, then samples of the line just beyond:
    σ_min² - abs(z)² is concave on the plane, so that a few hundred of them, O(n²) operations each, leave no
    gap unproven or find a point from which to climb on. Up to n = 24, and where σ_min is so small that the
    samples would cost more, criss-cross: crossings of a vertical line from the eigenvalues of a Hamiltonian
    matrix of order 2n, each candidate verified by σ_min itself, then along rays to the right; 2 to 6 steps of
    about 200 n³ operations.

    References
    ----------
    J. V. Burke, A. S. Lewis and M. L. Overton, Robust stability and a criss-cross algorithm for
    pseudospectra, IMA Journal of Numerical Analysis 23 (2003).

    Examples
    --------
    The value that Guglielmi and Overton print for the Grcar matrix of order 100 is 2.41276:

    >>> from spectra import gallery, pseudospectral_abscissa
    >>> round(float(pseudospectral_abscissa(gallery.grcar(100), 1e-4)), 8)
    2.41276492
    """
    return _extreme_level(A, epsilon, LINES)


def pseudospectral_radius(A: ArrayLike | SchurForm, epsilon: float) -> Extremum:
    """Pseudospectral radius ρ_ε = max{abs(z) : σ_min(zI - A) <= ε}.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    epsilon : float
        Level ε >= 0 in the units of A; 0 gives the spectral radius.

    Returns
    -------
    Extremum
        The value, where it is attained and an interval, as for `pseudospectral_abscissa`.

    Raises
    ------
    TypeError
        If A is no array of numbers or epsilon no real number.
    ValueError
        If A is not square, is empty or holds NaN or inf, epsilon is negative or not finite, or the norm of A
        and epsilon together come near the largest float.
    ConvergenceError
        If the search does not settle; ``error.best`` holds the best result.

    Notes
    -----
    As for the abscissa, with circles around 0 for lines, and crossings from a pencil of order 2n, by a Cayley
    transform or, where that is ill-conditioned, QZ.

    References
    ----------
    E. Mengi and M. L. Overton, Algorithms for the computation of the pseudospectral radius and the numerical
    radius of a matrix, IMA Journal of Numerical Analysis 25 (2005).

    Examples
    --------
    >>> from spectra import gallery, pseudospectral_radius
    >>> round(float(pseudospectral_radius(gallery.grcar(100), 1e-4)), 8)
    2.8521561
    """
    form = schur_form(A)
    found = _extreme_level(form, epsilon, CIRCLES)
    # a point whose real part exceeds the value lies within `near` of it on the real axis; where the
    # pseudospectrum comes that near, both extrema can be one, and must not differ by rounding the wrong way
    gap = found.upper - found.value
    near = gap + math.sqrt(gap) * math.sqrt(found.upper + found.value)
    with one_blas_thread():
        on_axis = dense_sigma_min(form, complex(found.value))
    if on_axis > epsilon + 2 * near:
        return found
    right = _extreme_level(form, epsilon, LINES)
    return right if right.value > found.value else found


def _extreme_level(A: ArrayLike | SchurForm, epsilon: float, curves: Curves) -> Extremum:
    epsilon = non_negative(epsilon, "epsilon")
    form = schur_form(A)
    refuse_overflow(norm_bound(form) + epsilon, "A and epsilon")
    if epsilon > 0:
        return farthest_point(form, epsilon, curves)
    level = curves.level(form.eigenvalues)
    value = float(level.max())
    points = form.eigenvalues[level >= value]
    return Extremum(value=value, lower=value, upper=value, points=points, residual=0.0, steps=0)
