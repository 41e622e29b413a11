"""The farthest point of an ε-pseudospectrum, to the right or from the origin."""

from __future__ import annotations

import dataclasses
from warnings import warn

import numpy as np
from scipy.optimize import brentq

from spectra.curves import Curves, Points, mirrored
from spectra.errors import AccuracyWarning, ConvergenceError
from spectra.minima import Sampler, inside, lowest
from spectra.polish import outermost, polished
from spectra.resolvent import common_unit, norm_bound
from spectra.results import Extremum
from spectra.schur import SchurForm
from spectra.threads import one_blas_thread

_MOST_STEPS = 60
_RAYS = 2  # inside points that a step follows outwards
_CLIMBS = 20  # curves that samples are tried on
_SMALL = 24  # order up to which eigenvalues of order 2n take no longer than samples
_WIDTH = 2e-7  # relative distance from the value to the curve that samples prove to lie outside
_LEAPS = 2.0  # eigenproblems that the samples of a curve may take the time of


def farthest_point(form: SchurForm, epsilon: float, curves: Curves) -> Extremum:
    """Largest level of `curves` over the ε-pseudospectrum: from samples, or by criss-cross.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    epsilon : float
        The pseudospectral level, in the units of A, above 0.
    curves : Lines or Circles
        `LINES` for the abscissa, `CIRCLES` for the radius.

    Returns
    -------
    Extremum
        The value with its interval; `residual` is abs(σ_min(zI - A) - ε) at ``points[0]``.

    Raises
    ------
    ConvergenceError
        If the search does not settle.
    """
    with one_blas_thread():
        return _farthest_point(_Search(form, epsilon, curves))


def _farthest_point(search: _Search) -> Extremum:
    unit, level = search.unit, search.curves.level
    if search.epsilon <= search.floor:
        warn(
            f"epsilon = {search.epsilon * unit:.2g} is below the rounding level {search.floor * unit:.2g} of "
            "A: the interval says what is left; use a larger epsilon or higher precision",
            AccuracyWarning,
            stacklevel=5,
        )
    if search.form.n > _SMALL and search.epsilon > 2 * search.floor:
        z, found = search.by_samples()
        if found is not None:
            return found
    else:
        z = search.start()
    for step in range(1, _MOST_STEPS + 1):
        value = float(level(z))
        better = search.beyond(value)
        if better is None or float(level(better)) <= value + 1e-14 * max(abs(value), search.scale):
            return search.certified(z, step)
        z = better
    raise ConvergenceError(
        f"criss-cross did not settle in {_MOST_STEPS} steps (epsilon = {search.epsilon * unit}); "
        "best.lower is attained",
        search.certified(z, _MOST_STEPS),
    )


class _Search:
    """One search, in units of the larger of ``form.scale`` and, to a power of two, epsilon."""

    def __init__(self, form: SchurForm, epsilon: float, curves: Curves) -> None:
        unit = common_unit(form, epsilon)
        self.curves, self.unit, self.epsilon = curves, unit, epsilon / unit
        self.scale = norm_bound(form) / unit + self.epsilon
        self.sampler = Sampler(form, unit, self.scale * unit)
        self.form, self.floor = self.sampler.form, self.sampler.floor

    def sigma(self, z: complex) -> float:
        return float(np.linalg.svd(z * np.eye(self.form.n) - self.form.A, compute_uv=False)[-1])

    def by_samples(self) -> tuple[complex, Extremum | None]:
        """Climb from curve to curve until samples prove one outside; None where they do not."""
        curves, goal, epsilon = self.curves, outermost(self.epsilon), self.epsilon
        level, place, gap = self._far_inside()
        for step in range(1, _CLIMBS + 1):
            level, place, _ = polished(self.sampler, curves, level, place, gap, goal)
            beyond = level + _WIDTH * max(abs(level), epsilon)
            state = lowest(
                self.sampler,
                curves,
                beyond,
                aim=lambda _: epsilon + self.floor,
                budget=_LEAPS * self.sampler.affordable,
            )
            if state.settled:
                for valley in state.valleys:  # one of which may end between the value and the curve
                    rival = polished(self.sampler, curves, beyond, *valley, goal)
                    if rival[2] < np.inf and rival[0] > level:
                        level, place, _ = rival
                return self._point(level, place), self._proven(level, place, beyond, step)
            if state.value >= epsilon:
                break
            level, place, gap = beyond, state.place, state.gap
        return self._point(level, place), None

    def _far_inside(self) -> tuple[float, float, float]:
        """Level and place of a point outwards from the outermost eigenvalue, and a gap of places there."""
        eigenvalue = complex(self._eigenvalues_outermost_first()[0])
        distances = np.geomspace(self.epsilon / 2, 2 * self.scale, 48)
        ray = eigenvalue + distances * self.curves.outward(eigenvalue)
        farthest = int(np.flatnonzero(self.sampler(ray).value <= self.epsilon).max(initial=0))
        level, place = float(self.curves.level(ray[farthest])), float(self.curves.place(ray[farthest]))
        width = float(self.curves.length(level, np.ones(1))[0])
        return level, place, min(0.2 * float(distances[farthest]) / width, 1.0)

    def _proven(self, level: float, place: float, upper: float, step: int) -> Extremum:
        z = self._point(level, place)
        widths = self.floor * 2.0 ** np.arange(40)
        inside = self.sampler(z - widths * self.curves.outward(z)).upper <= self.epsilon
        lower = level - widths[inside].min(initial=2 * self.scale)
        found = self._extremum(z, level, max(lower, self.curves.least), upper, step)
        return dataclasses.replace(found, method="samples")

    def _point(self, level: float, place: float) -> complex:
        return complex(self.curves.point(level, place))

    def _eigenvalues_outermost_first(self) -> Points:
        found = self.form.eigenvalues
        return found[np.argsort(-self.curves.level(found), kind="stable")]

    def start(self) -> complex:
        """Follow rays from the outermost eigenvalues; give the best end."""
        return self._outermost(self._eigenvalues_outermost_first()[: 2 * _RAYS])

    def beyond(self, value: float) -> complex | None:
        """Find a boundary point of the pseudospectrum farther out than the curve at `value`, if any."""
        found, _ = inside(self.sampler, self.curves, value, self.epsilon)
        return self._outermost(found[:_RAYS]) if len(found) else None

    def _outermost(self, inside: Points) -> complex:
        ends = np.array([self._ray_end(complex(z)) for z in inside])
        return complex(ends[np.argmax(self.curves.level(ends))])

    def _ray_end(self, z: complex) -> complex:
        """Where the ray from z outwards leaves the pseudospectrum (z itself if it is outside by rounding)."""
        direction = complex(self.curves.outward(z))
        level = float(self.curves.level(z))
        length = max(2.0 * self.scale - level, self.scale)
        excess = lambda t: self.sigma(z + t * direction) - self.epsilon  # noqa: E731
        if excess(0.0) >= 0.0:
            return z
        return z + brentq(excess, 0.0, length, xtol=4e-16 * self.scale, rtol=1e-15) * direction

    def certified(self, z: complex, step: int) -> Extremum:
        """Widen from z to a point inside and a curve outside, both by more than rounding noise."""
        direction = complex(self.curves.outward(z))
        value = float(self.curves.level(z))
        least = max(self.curves.least, -self.scale)
        lower, width = value, self.floor
        while self.sigma(z - (value - lower) * direction) > self.epsilon - self.floor and lower > least:
            lower, width = max(value - width, self.curves.least), 2.0 * width
        upper, width = value, max(value - lower, self.floor)
        while upper == value or len(inside(self.sampler, self.curves, upper, self.epsilon + self.floor)[0]):
            upper, width = value + width, 2.0 * width
        return self._extremum(z, value, lower, upper, step)

    def _extremum(self, z: complex, value: float, lower: float, upper: float, step: int) -> Extremum:
        return Extremum(
            value=value * self.unit,
            lower=lower * self.unit,
            upper=upper * self.unit,
            points=mirrored(z, self.form.is_real) * self.unit,
            residual=abs(self.sigma(z) - self.epsilon) * self.unit,
            steps=step,
            method="eigenvalues",
        )
