"""How far a matrix is from instability, and how large transients it must have."""

from __future__ import annotations

from warnings import warn

from numpy.typing import ArrayLike

from spectra.checks import one_of, positive
from spectra.curves import mirrored
from spectra.errors import AccuracyWarning
from spectra.minima import proven_lowest
from spectra.polish import on_curve, polished
from spectra.resolvent import dense_sigma_min, norm_bound
from spectra.results import Extremum
from spectra.scaling import refuse_overflow
from spectra.schur import SchurForm, schur_form
from spectra.threads import one_blas_thread
from spectra.three_circles import KreissSearch, StableRegion

DYNAMICS = ("discrete", "continuous")

_TIGHT = 1e-6  # relative width of the interval of a distance


def distance_to_instability(
    A: ArrayLike | SchurForm, *, dynamics: str, perturbation: str = "complex"
) -> Extremum:
    """Distance to instability min{‖E‖ : A + E not stable} = min σ_min(zI - A) over the boundary of stability.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    dynamics : {"discrete", "continuous"}
        Whether stable means all eigenvalues inside the unit circle (x_{k+1} = A x_k) or left of the imaginary
        axis (x' = A x).
    perturbation : {"complex", "real"}
        Which E are allowed; real ones, for a real A, can be much farther away.

    Returns
    -------
    Extremum
        The distance, 0 where A is not stable, in the units of A. `points` are those of the boundary where it
        is attained: there A + E has an eigenvalue (where A is not stable, its outermost eigenvalues).
        `upper` is proven up to rounding, and `lower` holds with probability at least 0.999 over random
        starting vectors (method "samples") or as far as computed eigenvalues of order 2n can be trusted
        ("eigenvalues"). `residual` is the difference to a dense singular value decomposition at
        ``points[0]``. For real perturbations `lower` too is proven up to rounding and is within 0.1 % of the
        value, unless an AccuracyWarning says otherwise, and `residual` is the distance of ``points[0]`` to
        the nearest computed eigenvalue of A + E.

    Raises
    ------
    TypeError
        If A is no array of numbers, or is complex where `perturbation` is "real".
    ValueError
        If A is not square, is empty, or holds NaN or inf; `dynamics` or `perturbation` is none of its words;
        or the entries of A come near the largest float.
    ConvergenceError
        If LAPACK's QR iteration fails.

    Notes
    -----
    σ_min² - abs(z)² is concave on the plane, so that samples of the boundary bound it in between up to the
    square of their distance: about 100 of them, and a few hundred for an interval 1e-6 wide, take less time
    than one eigenproblem of order 2n. Where σ_min is so small that more would be needed, the level-set method
    of Boyd and Balakrishnan takes over. The value is polished on quadratic models. Below n u (‖A‖ + 1) it is
    noise, and `upper` of a matrix that is only just unstable is at least that.

    References
    ----------
    S. Boyd and V. Balakrishnan, A regularity result for the singular values of a transfer matrix and a
    quadratically convergent algorithm for computing its L-infinity norm, Systems and Control Letters 15
    (1990).

    Examples
    --------
    For this Jordan block σ_min(zI - A) = (abs(z)^2 + 1/4)^(1/2) - 1/2:

    >>> from spectra import distance_to_instability
    >>> round(float(distance_to_instability([[0.0, 1.0], [0.0, 0.0]], dynamics="discrete")), 12)
    0.61803398875
    """
    dynamics = one_of(dynamics, "dynamics", DYNAMICS)
    perturbation = one_of(perturbation, "perturbation", ("complex", "real"))
    form = schur_form(A)
    refuse_overflow(norm_bound(form), "the entries of A")
    if perturbation == "real":
        from spectra.real_structured import real_distance_to_instability

        return real_distance_to_instability(form, dynamics)
    with one_blas_thread():
        return _distance(form, StableRegion(form, dynamics))


def _distance(form: SchurForm, region: StableRegion) -> Extremum:
    sampler, curves, unit = region.sampler, region.curves, region.unit
    if region.excess >= 0:
        level = curves.level(form.eigenvalues)
        upper = 0.0 if region.boundary_is_clear() else sampler.floor * unit
        return Extremum(0.0, 0.0, upper, form.eigenvalues[level >= level.max()], 0.0, 0, sampler.method)
    state = proven_lowest(sampler, curves, region.boundary, aim=lambda value: value * (1 - _TIGHT))
    goal = on_curve(region.boundary)
    found = [polished(sampler, curves, region.boundary, *valley, goal) for valley in state.valleys]
    _, place, sigma = min([*found, (region.boundary, state.place, state.value)], key=lambda point: point[2])
    z = complex(curves.point(region.boundary, place))
    if not state.settled:
        warn(
            f"the distance is below the rounding level {sampler.floor * unit:.2g} of A or near it: the "
            "interval says what is left; higher precision would tell more",
            AccuracyWarning,
            stacklevel=3,
        )
    return Extremum(
        value=sigma * unit,
        lower=min(state.lower, sigma) * unit,
        upper=(sigma + sampler.floor) * unit,
        points=mirrored(z, form.is_real) * unit,
        residual=abs(dense_sigma_min(sampler.form, z) - sigma) * unit,
        steps=1,
        method=sampler.method,
    )


def kreiss_constant(A: ArrayLike | SchurForm, *, dynamics: str, rtol: float = 1e-3) -> Extremum:
    """Kreiss constant, the supremum of (abs(z) - 1) ‖(zI - A)^-1‖ over abs(z) > 1 (or Re z ‖·‖, Re z > 0).

    It bounds transient growth from both sides: K <= sup ‖A^k‖ <= e n K, and likewise for ‖exp(tA)‖.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    dynamics : {"discrete", "continuous"}
        Outside of what the supremum is taken: the unit circle or the imaginary axis.
    rtol : float
        Relative width of the interval, from 1e-8 to 0.5.

    Returns
    -------
    Extremum
        K >= 1, inf where A is unstable. The interval is `rtol` wide, unless an AccuracyWarning says
        otherwise; the value itself, attained at `points` (none where only at infinity), is then a local
        maximum to about ten digits. `lower` is proven up to rounding, and `upper` as far as is `lower` of
        `distance_to_instability`, which also explains `method`. `residual` is the relative difference to a
        dense singular value decomposition at ``points[0]``; `steps` counts curves.

    Raises
    ------
    TypeError
        If A is no array of numbers or `rtol` no real number.
    ValueError
        If A is not square, is empty, or holds NaN or inf; `dynamics` is none of its words; `rtol` is out of
        range; or the entries of A come near the largest float.
    ConvergenceError
        If LAPACK's QR iteration fails.

    Notes
    -----
    By the three circles (three lines) theorem M(r), the largest resolvent norm on the circle of radius r, is
    log-convex in log r (in r). So it lies below the chord through bounds on two circles, and below
    1/(r - w(A)) beyond the numerical radius w(A), in continuous time the numerical abscissa ω(A). Circles are
    added where the bound is largest until it is within `rtol` of the largest value found, each proven as far
    as it matters: some 10 to 15 circles of 70 to 100 samples each, more when an eigenvalue comes close to the
    boundary. K stays without upper bound (inf) where rounding hides on which side of the boundary an
    eigenvalue lies, except that K = 1 where, up to rounding, w(A) <= 1 (ω(A) <= 0) or A is normal.

    References
    ----------
    L. N. Trefethen and M. Embree, Spectra and Pseudospectra, Princeton University Press, 2005.

    Examples
    --------
    >>> from spectra import kreiss_constant
    >>> a, k = 0.5, 2.0  # K = k / (4 (1 - a)) + (1 - a) / k where that k is at least 2 (1 - a)
    >>> round(float(kreiss_constant([[a, k], [0.0, a]], dynamics="discrete")), 9)
    1.25
    """
    dynamics = one_of(dynamics, "dynamics", DYNAMICS)
    rtol = positive(rtol, "rtol")
    if not 1e-8 <= rtol <= 0.5:
        raise ValueError(f"rtol is {rtol}; expected 1e-8 <= rtol <= 0.5, such as 1e-3")
    found, doubt = kreiss_interval(schur_form(A), dynamics, rtol)
    if doubt:
        warn(doubt, AccuracyWarning, stacklevel=2)
    return found


def kreiss_interval(form: SchurForm, dynamics: str, rtol: float) -> tuple[Extremum, str]:
    """Kreiss constant of a checked matrix without a warning: what it would say is given beside it.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    dynamics : {"discrete", "continuous"}
        As for `kreiss_constant`.
    rtol : float
        Relative width of the interval asked for.

    Returns
    -------
    Extremum
        The constant.
    str
        Why the interval is wider than asked for; empty where it is not.
    """
    refuse_overflow(norm_bound(form), "the entries of A")
    search = KreissSearch(form, dynamics, rtol)
    with one_blas_thread():
        return search.constant(), search.doubt
