"""How far a matrix is from instability, and how large its transients must grow: distance and Kreiss constant."""

from __future__ import annotations

import dataclasses
import math
from warnings import warn

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from spectra.checks import one_of, positive
from spectra.curves import CIRCLES, LINES, Curves, Points
from spectra.errors import AccuracyWarning
from spectra.field_of_values import numerical_abscissa
from spectra.minima import Lowest, Sampler, lowest, proven_lowest
from spectra.nonnormality import henrici_departure
from spectra.norms import spectral_norm
from spectra.polish import on_curve, polished, steepest
from spectra.resolvent import common_unit, dense_sigma_min, norm_bound
from spectra.results import Extremum
from spectra.scaling import UNIT_ROUNDOFF, refuse_overflow
from spectra.schur import SchurForm, schur_form

DYNAMICS = ("discrete", "continuous")

_TIGHT = 1e-6  # relative width of the interval of a distance
_MOST_CURVES = 400
_LOOSEST = 0.5  # log of the most that a curve far from the maximum is underestimated by


class _Region:
    """The stable region, the unit disc or the left half-plane, and the curves that sweep what is outside."""

    def __init__(self, form: SchurForm, dynamics: str) -> None:
        discrete = dynamics == "discrete"
        self.curves: Curves = CIRCLES if discrete else LINES
        size = 1.0 if discrete else 0.0
        self.unit = common_unit(form, size)
        self.boundary = size / self.unit
        self.form = form
        self.sampler = Sampler(form, self.unit, max(size, norm_bound(form)))
        self.excess = float(self.curves.level(self.sampler.form.eigenvalues).max()) - self.boundary

    def boundary_is_clear(self) -> bool:
        """Whether no perturbation as small as rounding puts an eigenvalue on the boundary."""
        floor, affordable = self.sampler.floor, self.sampler.affordable
        found = lowest(
            self.sampler, self.curves, self.boundary, aim=lambda _: min(floor, 1.0), budget=affordable
        )
        return found.lower >= floor

    def both(self, z: complex) -> Points:
        """Points of the plane, in the units of A: z and, for a real matrix, its mirror image."""
        pair = [z, z.conjugate()] if self.form.is_real and z.imag != 0 else [z]
        return np.asarray(np.array(pair, dtype=np.complex128) * self.unit)


def distance_to_instability(
    A: ArrayLike | SchurForm, *, dynamics: str, perturbation: str = "complex"
) -> Extremum:
    """Distance to instability, the smallest ‖E‖ for which A + E is not stable: min of σ_min(zI - A) on the boundary.

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
        The distance, 0 where A is not stable, in the units of A. `points` are those of the boundary where it is
        attained: there A + E has an eigenvalue (where A is not stable, its outermost eigenvalues). `upper` is
        proven up to rounding, and `lower` holds with probability at least 0.999 over random starting vectors
        (method "samples") or as far as computed eigenvalues of order 2n can be trusted ("eigenvalues").
        `residual` is the difference to a dense singular value decomposition at ``points[0]``.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf; `dynamics` or `perturbation` is none of its words; or
        the entries of A come near the largest float.
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
    with threadpool_limits(1, "blas"):
        return _distance(form, _Region(form, dynamics))


def _distance(form: SchurForm, region: _Region) -> Extremum:
    sampler, curves, unit = region.sampler, region.curves, region.unit
    if region.excess >= 0:
        level = curves.level(form.eigenvalues)
        upper = 0.0 if region.boundary_is_clear() else sampler.floor * unit
        return Extremum(0.0, 0.0, upper, form.eigenvalues[level >= level.max()], 0.0, 0, sampler.method)
    state = proven_lowest(sampler, curves, region.boundary, aim=lambda value: value * (1 - _TIGHT))
    goal = on_curve(region.boundary)
    _, place, sigma = polished(sampler, curves, region.boundary, state.place, state.gap, goal)
    if state.value < sigma:
        place, sigma = state.place, state.value
    z = complex(curves.point(region.boundary, place))
    if not state.settled:
        warn(
            f"the distance is below the rounding level {sampler.floor * unit:.2g} of A or near it: the interval "
            "says what is left; higher precision would tell more",
            AccuracyWarning,
            stacklevel=4,
        )
    return Extremum(
        value=sigma * unit,
        lower=min(state.lower, sigma) * unit,
        upper=(sigma + sampler.floor) * unit,
        points=region.both(z),
        residual=abs(dense_sigma_min(sampler.form, z) - sigma) * unit,
        steps=1,
        method=sampler.method,
    )


def kreiss_constant(A: ArrayLike | SchurForm, *, dynamics: str, rtol: float = 1e-3) -> Extremum:
    """Kreiss constant, sup of (abs(z) - 1) ‖(zI - A)^-1‖ over abs(z) > 1, or of Re z ‖(zI - A)^-1‖ over Re z > 0.

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
        K >= 1, inf where A is unstable. ``upper <= (1 + rtol) lower``, unless an AccuracyWarning says otherwise;
        the value itself, attained at `points` (none where only at infinity), is a local maximum to about ten
        digits. `lower` is proven up to rounding, and `upper` as is `lower` of `distance_to_instability`, which
        also explains `method`. `residual` is the relative difference to a dense singular value decomposition at
        ``points[0]``; `steps` counts curves.

    Raises
    ------
    TypeError
        If A is no array of numbers or `rtol` no real number.
    ValueError
        If A is not square, is empty, or holds NaN or inf; `dynamics` is none of its words; `rtol` is out of range;
        or the entries of A come near the largest float.
    ConvergenceError
        If LAPACK's QR iteration fails.

    Notes
    -----
    By the three circles (three lines) theorem M(r), the largest resolvent norm on the circle of radius r, is
    log-convex in log r (in r). So it lies below the chord through bounds on two circles, and below
    1/(r - w(A)) beyond the numerical radius w(A) (numerical abscissa). Circles are added where the bound is
    largest until it is within `rtol` of the largest value found, each proven as far as it matters: some 10
    circles of 100 samples each, more when an eigenvalue comes close to the boundary. A stays without upper
    bound (inf) where rounding hides on which side of the boundary an eigenvalue lies, except that K = 1
    whenever, up to rounding, ‖A‖ <= 1 (ω(A) <= 0) or A is normal.

    References
    ----------
    L. N. Trefethen and M. Embree, Spectra and Pseudospectra, Princeton University Press, 2005.

    Examples
    --------
    >>> from spectra import kreiss_constant
    >>> A = [[0.5, 2.0], [0.0, 0.5]]
    >>> kreiss_constant(A, dynamics="discrete")
    """
    dynamics = one_of(dynamics, "dynamics", DYNAMICS)
    rtol = positive(rtol, "rtol")
    if not 1e-8 <= rtol <= 0.5:
        raise ValueError(f"rtol is {rtol}; expected 1e-8 <= rtol <= 0.5, such as 1e-3")
    form = schur_form(A)
    refuse_overflow(norm_bound(form), "the entries of A")
    with threadpool_limits(1, "blas"):
        return _Kreiss(form, dynamics, rtol).constant()


@dataclasses.dataclass(frozen=True, slots=True)
class _Peak:
    """A local maximum of (level - boundary) / σ_min."""

    value: float
    level: float
    place: float
    sigma: float


class _Kreiss:
    """The search for a Kreiss constant: curves with bounds of the resolvent norm, sorted by level."""

    def __init__(self, form: SchurForm, dynamics: str, rtol: float) -> None:
        self.region = _Region(form, dynamics)
        self.form, self.dynamics, self.rtol = form, dynamics, rtol
        self.curves, self.sampler = self.region.curves, self.region.sampler
        self.boundary = self.region.boundary
        self.peak = _Peak(1.0, np.inf, 0.0, np.inf)
        self.levels: list[float] = []
        self.bounds: list[float] = []  # of the log of the resolvent norm

    def constant(self) -> Extremum:
        noise = self.sampler.floor
        if self.dynamics == "discrete":
            self.reach = self.sampler.reach
            contracts = spectral_norm(self.sampler.form) <= self.boundary + noise
        else:
            self.reach = numerical_abscissa(self.sampler.form) + noise
            contracts = self.reach <= 2 * noise
        normal = henrici_departure(self.form, relative=True) <= 10 * self.form.n * UNIT_ROUNDOFF
        if contracts or (normal and self.region.excess <= noise):
            return self._result(1.0)
        if self.region.excess > 0 and self.region.boundary_is_clear():
            return self._result(np.inf)
        return self._searched()

    def _searched(self) -> Extremum:
        state = self._bounded(self.boundary)
        if self.region.excess >= 0 or state.lower <= 0:
            self._climb(self.boundary + max(state.value, 4 * self.sampler.floor), state)
            warn(
                "an eigenvalue of A lies on the boundary of stability up to rounding: the Kreiss constant has no "
                "upper bound; scale A down by more than its rounding level",
                AccuracyWarning,
                stacklevel=5,
            )
            return self._result(np.inf)
        self._climb(self.boundary + state.value, state)
        if self.peak.level < np.inf:
            self._bounded(self.peak.level)
        self._add_tail()
        while len(self.levels) < _MOST_CURVES:
            upper, level = self._largest_bound()
            if upper <= self.peak.value * (1 + self.rtol):
                return self._result(max(upper, self.peak.value))
            self._bounded(level)
        warn(
            f"the Kreiss constant is not bounded to rtol = {self.rtol} with {_MOST_CURVES} curves; the interval "
            "says how far it is",
            AccuracyWarning,
            stacklevel=5,
        )
        return self._result(upper)

    def _bounded(self, level: float) -> Lowest:
        """Bound the resolvent norm on a curve as far as it matters, and climb where it is large."""
        gain = level - self.boundary

        def aim(value: float) -> float:
            slack = math.log(max(self.peak.value * value / gain, 1.0)) if gain > 0 else math.inf
            return value * math.exp(-min((slack + math.log1p(self.rtol)) / 4, _LOOSEST))

        state = proven_lowest(self.sampler, self.curves, level, aim=aim)
        if gain / state.value > self.peak.value * (1 + 1e-9):
            self._climb(level, state)
        self._add(level, -math.log(state.lower) if state.lower > 0 else math.inf)
        return state

    def _add(self, level: float, bound: float) -> None:
        at = int(np.searchsorted(self.levels, level))
        self.levels.insert(at, level)
        self.bounds.insert(at, bound)

    def _climb(self, level: float, state: Lowest) -> None:
        found = polished(self.sampler, self.curves, level, state.place, state.gap, steepest(self.boundary))
        value = (found[0] - self.boundary) / found[2]
        if value > self.peak.value:
            self.peak = _Peak(value, *found)

    def _add_tail(self) -> None:
        """Add the curve beyond which 1/(level - reach) suffices."""
        enough = self.peak.value * (1 + self.rtol / 2)
        level = (enough * self.reach - self.boundary) / (enough - 1)
        if level > self.levels[-1]:
            self._add(level, -math.log(level - self.reach))

    def _largest_bound(self) -> tuple[float, float]:
        """Upper bound between the curves, and the level it is attained at, off the curves themselves."""
        s = np.array([self.curves.convex(level) for level in self.levels])
        best = (0.0, 0.0)
        for left, right, low, high, up, down in zip(
            s[:-1], s[1:], self.levels[:-1], self.levels[1:], self.bounds[:-1], self.bounds[1:], strict=True
        ):
            slope = (up - down) / (right - left)
            level = min(max(self._summit(slope), low), high)
            share = (self.curves.convex(level) - left) / (right - left)
            upper = (level - self.boundary) * math.exp((1 - share) * up + share * down)
            if upper > best[0]:
                best = (upper, min(max(level, low + 0.05 * (high - low)), high - 0.05 * (high - low)))
        return best

    def _summit(self, slope: float) -> float:
        """Where log(level - boundary) - slope * convex(level) is largest."""
        if self.dynamics == "continuous":
            return self.boundary + 1 / slope if slope > 0 else math.inf
        return self.boundary * slope / (slope - 1) if slope > 1 else math.inf

    def _result(self, upper: float) -> Extremum:
        unstable = upper == np.inf and self.region.excess > 0
        peak, scale = self.peak, self.region.unit
        points = np.zeros(0, dtype=np.complex128)
        lower, residual = 1.0, 0.0
        if peak.level < np.inf:
            z = complex(self.curves.point(peak.level, peak.place))
            points = self.region.both(z)
            gain = peak.level - self.boundary
            lower = max(1.0, gain / (peak.sigma + self.sampler.floor))
            residual = abs(dense_sigma_min(self.sampler.form, z) / peak.sigma - 1)
        return Extremum(
            value=np.inf if unstable else peak.value,
            lower=np.inf if unstable and not self.levels else lower,
            upper=upper,
            points=points,
            residual=residual,
            steps=len(self.levels),
            method=self.sampler.method,
        )
