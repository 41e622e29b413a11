"""Transient growth: how large the powers or the exponential of a matrix become before they decay."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, callback, numeric_array, one_of, positive, whole_number
from spectra.growth import growth_bounds, outermost_eigenvalue
from spectra.norm_curves import NormCurve
from spectra.resolvent import norm_bound
from spectra.results import Record
from spectra.scaling import UNIT_ROUNDOFF
from spectra.schur import SchurForm, schur_form
from spectra.threads import Progress

Floats = NDArray[np.float64]

_MOST_STEPS = 10**6  # integer times of a horizon
_POINTS = 201  # times of a real horizon
_LATEST = 2.0**-10  # largest n u t ‖A‖ for which exp(tA) has digits


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TransientGrowth(Record):
    """Norm of A^k or exp(tA) over time, with its peak and its bounds.

    Attributes
    ----------
    dynamics : str
        "discrete" or "continuous".
    times : ndarray
        Integers k, or times t in 1 / units of A.
    norms : ndarray
        ‖A^k‖₂ or ‖exp(tA)‖₂; inf and 0 beyond the floats.
    errors : ndarray
        Bound of the rounding error of each norm.
    lower, upper : ndarray
        Bounds of each norm from theory, which use none of the norms.
    lower_until : ndarray
        Lower bound of the largest norm at any time from 0 to each of the times, by the resolvent.
    rate : float
        Spectral radius (discrete) or abscissa (continuous): at last the norm follows rate^k or exp(rate t).
    kreiss_lower, kreiss_upper : float
        Interval of the Kreiss constant K; the supremum over all times is from K to e n K.
    peak : float
        Largest norm found from time 0, where it is 1, to the last of the times.
    peak_time : float
        The first time at which it is found.
    peak_lower, peak_upper : float
        Interval of the supremum over all times from 0 to infinity: `peak_lower` is attained, `peak_upper` inf
        where neither the times nor theory bound it.
    initial_state, final_state : ndarray, shape (n,)
        Unit vectors x and y: at the time of the peak the state that began as x is peak * y, and no unit
        vector leads to a larger one. They are real for real A.
    """

    dynamics: str
    times: Floats
    norms: Floats
    errors: Floats
    lower: Floats
    upper: Floats
    lower_until: Floats
    rate: float
    kreiss_lower: float
    kreiss_upper: float
    peak: float
    peak_time: float
    peak_lower: float
    peak_upper: float
    initial_state: Matrix
    final_state: Matrix

    def _check_shapes(self) -> None:
        curves = (self.norms, self.errors, self.lower, self.upper, self.lower_until)
        if self.times.ndim != 1 or any(curve.shape != self.times.shape for curve in curves):
            raise ValueError("curves of another shape than times")
        if self.initial_state.ndim != 1 or self.initial_state.shape != self.final_state.shape:
            raise ValueError("states of different lengths")

    def __str__(self) -> str:
        """One line."""
        name, time = ("A^k", "k") if self.dynamics == "discrete" else ("exp(tA)", "t")
        return (
            f"TransientGrowth of order {len(self.initial_state)}: largest norm of {name} {self.peak:.6g} at "
            f"{time} = {self.peak_time:.6g}, over all times in [{self.peak_lower:.6g}, {self.peak_upper:.6g}]"
        )

    __repr__ = __str__


def transient_growth(
    A: ArrayLike | SchurForm, times: ArrayLike, *, dynamics: str, progress: Progress | None = None
) -> TransientGrowth:
    """Transient growth ‖A^k‖₂ of x_{k+1} = A x_k, or ‖exp(tA)‖₂ of x' = A x, over time, and its peak.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    times : float, int or array_like
        One number is the horizon: all integers from 0 to it (discrete), or 201 times from 0 to it
        (continuous). An array holds the times themselves, which rise from 0 or above: integers k (discrete),
        or times t in 1 / units of A (continuous).
    dynamics : {"discrete", "continuous"}
        Powers, stable inside the unit circle, or the exponential, stable in the left half-plane.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of times.

    Returns
    -------
    TransientGrowth
        Norms with bounds from theory, and the peak with an interval of the supremum over all times.

    Raises
    ------
    TypeError
        If A is no array of numbers, or `times` neither a real number nor an array of them.
    ValueError
        If A is not square, is empty or holds NaN or inf; if `dynamics` is neither word; if times are
        negative, do not rise, are no integers (discrete), are more than 10^6 steps (a horizon), or so late
        that rounding leaves no digit of exp(tA).
    ConvergenceError
        If an iteration of LAPACK fails.

    Warns
    -----
    AccuracyWarning
        If 200 exponentials more, or up to 5000 of small order, do not bring `peak_upper` within 0.1 % of the
        peak (continuous): the interval is right all the same.

    Notes
    -----
    *Norms.* One product with A, or with exp(hA), per time and one singular value decomposition of it, about
    2 n³ + 8/3 n³ operations, for integers in a row and times at equal distances; other gaps cost a power by
    repeated squaring, or an exponential (scipy.linalg.expm, about 30 n³), each. Everything is scaled by
    powers of two, so that no power overflows. `errors` adds the rounding of each product, carried on by the
    norms already known, and takes expm to be exact for hA + E with ‖E‖ <= (n + 4) u (‖hA‖ + 1). The Kreiss
    constant costs some thousand evaluations of σ_min.

    *Upper bounds of the curve*, of which `upper` is the smallest. For powers: ‖A‖^k; 2 w(A)^k with the
    numerical radius w; κ(V) (ρ + η)^k with computed eigenvectors V, and η = ‖V⁻¹(AV - VΛ)‖ for what they are
    not exact; e n K. For exponentials: exp(t ω) with the numerical abscissa ω; κ(V) exp(t (α + η)); e n K.

    *Lower bounds.* Let λ be the outermost computed eigenvalue and σ_min(λI - A) <= ε, which rounding makes
    positive. With a unit vector x, Ax = λx - e and ‖e‖ <= ε, one has A^k x = λ^k x - Σ_{j<k} λ^{k-1-j} A^j e.
    So ‖A^k‖ >= abs(λ)^k - ε Σ_{j<k} abs(λ)^{k-1-j} C g^j for each upper bound C g^j, and likewise with an
    integral for exponentials; `lower` is the largest, and would be abs(λ)^k with exact eigenvalues. For any z
    of modulus r and ε = σ_min(zI - A) the same sum, with the largest norm M up to time k for every ‖A^j‖,
    gives M >= r^k / (1 + ε (r^k - 1) / (r - 1)), and for Re z = a and exponentials
    M >= exp(at) / (1 + ε (exp(at) - 1) / a): this is `lower_until`, for λ, for the point that attains the
    Kreiss constant, with which it becomes K <= sup at late times, and for some farther out.

    *Supremum over all times.* Once ‖A^m‖ <= 1, no later norm exceeds all those before m, since ‖A^(qm + r)‖
    <= ‖A^m‖^q ‖A^r‖; likewise for exponentials. Before the first norm known to be at most 1, or before the
    last time if there is none, norms at integers that were skipped are bounded by those before times an upper
    bound from above. Between two real times at a distance h the norm is at most the larger one at their ends
    plus h²/8 sup ‖A² exp(tA)‖, the error of linear interpolation; intervals that matter are halved until the
    bound is within 0.1 % of the peak, which is then improved by bounded optimisation (Brent). Without a norm
    at most 1 the decreasing upper bounds say what may come later; if there are none, `peak_upper` is inf. It
    is proven up to the rounding in `errors`; the bound e n K as far as `kreiss_constant` says.

    References
    ----------
    L. N. Trefethen and M. Embree, Spectra and Pseudospectra, Princeton University Press, 2005.

    Examples
    --------
    For [[a, c], [0, a]] the powers are a^(k-1) [[a, kc], [0, a]]:

    >>> from spectra import transient_growth
    >>> transient_growth([[0.5, 4.0], [0.0, 0.5]], [0, 1, 2, 3], dynamics="discrete").norms.round(6)
    array([1.      , 4.061553, 4.015564, 3.005199])

    Of the stable matrix below the norm rises to 1.384 before it decays:

    >>> growth = transient_growth([[-1.0, 5.0], [0.0, -2.0]], 10.0, dynamics="continuous")
    >>> round(growth.peak, 6), round(growth.peak_time, 4), growth.peak_upper < 1.001 * growth.peak
    (1.383622, 0.5643, True)
    """
    callback(progress)
    discrete = one_of(dynamics, "dynamics", ("discrete", "continuous")) == "discrete"
    wanted = scaled = _times(times, discrete)
    form = schur_form(A)
    unit = 1.0
    if not discrete:
        _refuse_late(form, float(wanted[-1]))
        unit = form.scale
        form, scaled = _scaled(form), wanted * unit
    bounds = growth_bounds(form, dynamics)
    curve = NormCurve(form, scaled, bounds, progress)
    supremum = curve.supremum()
    peak = curve.peak()
    first, last = _states(peak.at.mantissa)
    outermost = outermost_eigenvalue(form, discrete)
    return TransientGrowth(
        dynamics=dynamics,
        times=wanted,
        norms=curve.norms,
        errors=curve.errors,
        lower=bounds.lower(scaled),
        upper=bounds.upper(scaled),
        lower_until=bounds.lower_until(scaled),
        rate=abs(outermost) if discrete else outermost.real * unit,
        kreiss_lower=float(bounds.kreiss.lower),
        kreiss_upper=float(bounds.kreiss.upper),
        peak=peak.norm,
        peak_time=float(peak.time / unit),
        peak_lower=curve.attained,
        peak_upper=max(supremum, peak.norm),
        initial_state=first,
        final_state=last,
    )


def _times(value: ArrayLike, discrete: bool) -> Floats:
    """Give the times in order, from a horizon or from an array of them."""
    if np.ndim(value) == 0 and discrete:
        return np.arange(whole_number(value, "times", most=_MOST_STEPS) + 1.0)
    if np.ndim(value) == 0:
        return np.linspace(0.0, positive(value, "times"), _POINTS)
    times = numeric_array(value, "times")
    if np.iscomplexobj(times):
        raise TypeError("times are complex; expected real numbers")
    if times.ndim != 1:
        raise ValueError(
            f"times has shape {times.shape}; expected one number or one dimension: times.ravel()"
        )
    if times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError(
            "times do not rise from 0 or above; expected each larger than the last: np.unique(times)"
        )
    if discrete and ((times != np.floor(times)).any() or times[-1] > 2.0**53):
        raise ValueError(
            "times are no integers up to 2^53; expected numbers of steps, or dynamics='continuous'"
        )
    return np.asarray(times, dtype=np.float64)


def _refuse_late(form: SchurForm, latest: float) -> None:
    with np.errstate(over="ignore"):
        lost = form.n * UNIT_ROUNDOFF * (latest * norm_bound(form))
    if not lost <= _LATEST:
        raise ValueError(
            f"times reach {latest:.3g}, where rounding, n u t ‖A‖ = {lost:.1g}, leaves no digit of exp(tA); "
            "end them earlier"
        )


def _scaled(form: SchurForm) -> SchurForm:
    """Give A / scale, of which A's own times are multiples of 1 / scale."""
    unit = form.scale
    return dataclasses.replace(form, A=form.A / unit, scale=1.0, eigenvalues=form.eigenvalues / unit)


def _states(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Leading right and left singular vectors, the largest entry of the right one positive."""
    U, _, Vh = np.linalg.svd(matrix)
    right, left = Vh[0].conj(), U[:, 0]
    largest = right[np.argmax(np.abs(right))]
    turn = np.abs(largest) / largest
    return np.asarray(right * turn), np.asarray(left * turn)
