"""Kreiss constants by three circles (or lines): bounds on some of them hold between all of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from spectra.curves import CIRCLES, LINES, Curves, mirrored
from spectra.field_of_values import numerical_abscissa, numerical_radius
from spectra.minima import Lowest, Sampler, lowest, proven_lowest
from spectra.nonnormality import henrici_departure
from spectra.norms import spectral_norm
from spectra.polish import polished, steepest
from spectra.resolvent import common_unit, dense_sigma_min, norm_bound
from spectra.results import Extremum
from spectra.scaling import UNIT_ROUNDOFF
from spectra.schur import SchurForm

_MOST_CURVES = 400
_LOOSEST = 0.5  # log of the most that a curve far from the maximum is underestimated by
_NEAR = 8  # gaps of samples within which a place belongs to the valley of a known maximum
_INDENT = 0.05  # share of an interval that a new curve keeps away from its ends


class StableRegion:
    """The stable region, the unit disc or the left half-plane, and the curves that sweep what is outside.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    dynamics : str
        "discrete" or "continuous".
    """

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


@dataclasses.dataclass(frozen=True, slots=True)
class _Peak:
    """A local maximum of (level - boundary) / σ_min."""

    value: float
    level: float
    place: float
    sigma: float


class KreissSearch:
    """The search for a Kreiss constant: curves with bounds of the resolvent norm, sorted by level.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    dynamics : str
        "discrete" or "continuous".
    rtol : float
        Relative width of the interval.
    """

    def __init__(self, form: SchurForm, dynamics: str, rtol: float) -> None:
        self.region = StableRegion(form, dynamics)
        self.form, self.dynamics, self.rtol = form, dynamics, rtol
        self.curves, self.sampler = self.region.curves, self.region.sampler
        self.boundary = self.region.boundary
        self.peak = _Peak(1.0, np.inf, 0.0, np.inf)
        self.climbed: list[float] = []  # places of the local maxima found
        self.levels: list[float] = []
        self.bounds: list[float] = []  # of the log of the resolvent norm
        self.doubt = ""  # why the interval is wider than it should be

    def constant(self) -> Extremum:
        """Kreiss constant with its interval."""
        noise = self.sampler.floor
        if self.dynamics == "discrete":
            self.reach = self.sampler.reach
            contracts = self._contracts(self.boundary + noise)
        else:
            self.reach = numerical_abscissa(self.sampler.form) + noise
            contracts = self.reach <= 2 * noise
        normal = henrici_departure(self.form, relative=True) <= 10 * self.form.n * UNIT_ROUNDOFF
        if contracts or (normal and self.region.excess <= noise):
            return self._result(1.0)
        if self.region.excess > 0 and self.region.boundary_is_clear():
            return self._result(np.inf)
        return self._searched()

    def _contracts(self, most: float) -> bool:
        """Whether w(A) <= most; w(A) itself costs as much as all the rest, and is seldom needed."""
        if spectral_norm(self.sampler.form) <= most:
            return True
        return self.reach <= 1.02 * most and numerical_radius(self.form).value / self.region.unit <= most

    def _searched(self) -> Extremum:
        state = self._bounded(self.boundary)
        if self.region.excess >= 0 or state.lower <= 0:
            above_noise = math.sqrt(self.sampler.floor * self.sampler.reach)
            self._climb(self.boundary + max(state.value, above_noise), state.place, state.gap)
            self.doubt = (
                "an eigenvalue of A lies on the boundary of stability up to rounding: the Kreiss constant "
                "has no upper bound; scale A down, or shift it, by more than its rounding level"
            )
            return self._result(np.inf)
        self._climb_from_ray(state)
        if self.peak.level < np.inf:
            self._bounded(self.peak.level)
        self._add_tail()
        upper, level = self._largest_bound()
        while len(self.levels) < _MOST_CURVES and level not in self.levels:
            if upper <= self.peak.value * (1 + self.rtol):
                return self._result(max(upper, self.peak.value))
            self._bounded(level)
            upper, level = self._largest_bound()
        self.doubt = (
            f"the Kreiss constant is not bounded to rtol = {self.rtol} with {len(self.levels)} curves; the "
            "interval says how far it is"
        )
        return self._result(upper)

    def _bounded(self, level: float) -> Lowest:
        """Bound the resolvent norm on a curve as far as it matters, and climb where it is large."""
        gain = level - self.boundary

        def aim(value: float) -> float:
            slack = math.log(max(self.peak.value * value / gain, 1.0)) if gain > 0 else _LOOSEST * 4
            return value * math.exp(-min((slack + math.log1p(self.rtol)) / 4, _LOOSEST))

        state = proven_lowest(self.sampler, self.curves, level, aim=aim)
        if gain > self.peak.value * (1 + 1e-9) * state.lower:
            for place, gap in state.valleys:
                known = any(abs(place - other) <= _NEAR * gap for other in self.climbed)
                better = place == state.place and gain > self.peak.value * (1 + 1e-9) * state.value
                if better or not known:
                    self._climb(level, place, gap)
        self._add(level, -math.log(state.lower) if state.lower > 0 else math.inf)
        return state

    def _add(self, level: float, bound: float) -> None:
        at = int(np.searchsorted(self.levels, level))
        self.levels.insert(at, level)
        self.bounds.insert(at, bound)

    def _climb_from_ray(self, state: Lowest) -> None:
        """Climb from the best level at the place where the boundary is closest to instability."""
        gains = np.geomspace(state.value / 4, max(100 * self.reach, state.value), 48)
        sigma = self.sampler(self.curves.point(self.boundary + gains, state.place)).value
        gain = float(gains[np.argmax(gains / sigma)])
        level = self.boundary + gain
        width = float(self.curves.length(level, np.ones(1))[0])
        self._climb(level, state.place, min(0.2 * gain / width, 1.0))

    def _climb(self, level: float, place: float, gap: float) -> None:
        goal = steepest(self.boundary, 100 * self.sampler.floor)
        found = polished(self.sampler, self.curves, level, place, gap, goal)
        self.climbed.append(found[1])
        value = (found[0] - self.boundary) / found[2] if found[2] > 0 else 0.0
        if self.peak.value < value < np.inf:
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
                best = (upper, min(max(level, low + _INDENT * (high - low)), high - _INDENT * (high - low)))
        return best

    def _summit(self, slope: float) -> float:
        """Where log(level - boundary) - slope * convex(level) is largest."""
        if self.dynamics == "continuous":
            return self.boundary + 1 / slope if slope > 0 else math.inf
        return self.boundary * slope / (slope - 1) if slope > 1 else math.inf

    def _result(self, upper: float) -> Extremum:
        unstable = upper == np.inf and self.region.excess > self.sampler.floor
        peak, scale = self.peak, self.region.unit
        points = np.zeros(0, dtype=np.complex128)
        lower, residual = 1.0, 0.0
        if peak.level < np.inf:
            z = complex(self.curves.point(peak.level, peak.place))
            points = mirrored(z, self.form.is_real) * scale
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
