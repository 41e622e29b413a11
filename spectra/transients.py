"""Transient growth: how large the powers or the exponential of a matrix become before they decay."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, numeric_array, one_of, positive, whole_number
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
        Unit vectors x and y: at the time of the peak the state that began as x is peak * y, and no unit vector
        leads to a larger one. They are real for real A.
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
        If A is not square, is empty or holds NaN or inf; if `dynamics` is neither word; if times are negative,
        do not rise, are no integers (discrete), are more than 10^6 steps (a horizon), or so late that rounding
        leaves no digit of exp(tA).
    ConvergenceError
        If an iteration of LAPACK fails.
    """
    discrete = one_of(dynamics, "dynamics", ("discrete", "continuous")) == "discrete"
    wanted = _times(times, discrete)
    form = schur_form(A)
    unit = 1.0
    if not discrete:
        _refuse_late(form, float(wanted[-1]))
        unit = form.scale
        form, wanted = _scaled(form), wanted * unit
    bounds = growth_bounds(form, dynamics)
    curve = NormCurve(form, wanted, bounds, progress)
    supremum = curve.supremum()
    peak = curve.peak()
    first, last = _states(peak.at.mantissa)
    outermost = outermost_eigenvalue(form, discrete)
    return TransientGrowth(
        dynamics=dynamics,
        times=wanted / unit,
        norms=curve.norms,
        errors=curve.errors,
        lower=bounds.lower(wanted),
        upper=bounds.upper(wanted),
        lower_until=bounds.lower_until(wanted),
        rate=abs(outermost) if discrete else outermost.real * unit,
        kreiss_lower=bounds.kreiss.lower,
        kreiss_upper=bounds.kreiss.upper,
        peak=peak.norm,
        peak_time=peak.time / unit,
        peak_lower=curve.attained,
        peak_upper=max(supremum, peak.norm),
        initial_state=first,
        final_state=last,
    )


def _times(value: ArrayLike, discrete: bool) -> Floats:
    """Give the times in order, from a horizon or from an array of them."""
    if np.ndim(value) == 0 and discrete:  # type: ignore[arg-type]
        return np.arange(whole_number(value, "times", most=_MOST_STEPS) + 1.0)
    if np.ndim(value) == 0:  # type: ignore[arg-type]
        return np.linspace(0.0, positive(value, "times"), _POINTS)
    times = numeric_array(value, "times")
    if np.iscomplexobj(times):
        raise TypeError("times are complex; expected real numbers")
    if times.ndim != 1:
        raise ValueError(f"times has shape {times.shape}; expected one number or one dimension: times.ravel()")
    if times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError("times do not rise from 0 or above; expected each larger than the last: np.unique(times)")
    if discrete and ((times != np.floor(times)).any() or times[-1] > 2.0**53):
        raise ValueError("times are no integers up to 2^53; expected numbers of steps, or dynamics='continuous'")
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
