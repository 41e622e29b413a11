"""Extremes of σ_min(zI - A) to all digits: quadratic models through samples, around ever better points."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from spectra.curves import Curves, Floats
from spectra.minima import Sampler

_MOST_ROUNDS = 40
_SHRINK, _RETREAT, _GROW = 0.1, 0.3, 3.0  # of the stencil: where the model held, led astray, pointed beyond
_FARTHEST = 2.0  # step, in units of the stencil
_STEADY = 1e-13  # relative change of the merit at which a point is final

_GRID = np.meshgrid([-1.0, 0.0, 1.0], [-1.0, -0.5, 0.0, 0.5, 1.0], indexing="ij")
_OUT, _ALONG = _GRID[0].ravel(), _GRID[1].ravel()
_CENTRE = 7
_MODEL = np.linalg.pinv(
    np.stack([np.ones(15), _OUT, _ALONG, _OUT**2 / 2, _OUT * _ALONG, _ALONG**2 / 2], axis=1)
)

Step = Callable[[float, float, float, float, float], float]
Merit = Callable[[Floats, Floats], Floats]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """What is sought, by a merit to be made large and by a step across the curves.

    Attributes
    ----------
    merit : callable
        ``merit(level, sigma)``; -inf for a point that does not qualify.
    step : callable
        ``step(level, unit, a, b, c)``: how many units further out the merit is largest where the smallest
        σ_min of a curve d units further out is a + b d + c d²; NaN where the model does not tell.
    """

    merit: Merit
    step: Step


def on_curve(level: float) -> Goal:
    """Goal: the smallest σ_min on one curve."""
    return Goal(lambda levels, sigma: np.where(levels == level, -sigma, -np.inf), lambda *_: 0.0)


def steepest(boundary: float, noise: float) -> Goal:
    """Goal: the largest (level - boundary) / σ_min, where σ_min is more than noise."""

    def step(level: float, unit: float, a: float, b: float, c: float) -> float:
        gain = (level - boundary) / unit
        square = gain * gain + (a - b * gain) / c if c > 0 else np.nan
        if square > 0:
            return float(np.sqrt(square) - gain)
        return float(np.copysign(np.inf, a - b * gain))

    def merit(levels: Floats, sigma: Floats) -> Floats:
        fit = (levels > boundary) & (sigma > noise)
        return np.where(fit, (levels - boundary) / np.where(fit, sigma, 1.0), -np.inf)

    return Goal(merit, step)


def outermost(epsilon: float) -> Goal:
    """Goal: the largest level with σ_min <= epsilon."""

    def step(level: float, unit: float, a: float, b: float, c: float) -> float:
        square = b * b + 4 * c * (epsilon - a)
        slope = b + np.sqrt(square) if b > 0 and square > 0 else 2 * b
        return float(2 * (epsilon - a) / slope) if slope > 0 else np.nan

    def merit(levels: Floats, sigma: Floats) -> Floats:
        return np.where(sigma <= epsilon * (1 + 1e-11), levels, -np.inf)

    return Goal(merit, step)


def polished(
    sampler: Sampler, curves: Curves, level: float, place: float, gap: float, goal: Goal
) -> tuple[float, float, float]:
    """Follow a goal from a point near its local extreme.

    Parameters
    ----------
    sampler : Sampler
        The matrix.
    curves : Lines or Circles
        The family of curves.
    level, place : float
        Where to start.
    gap : float
        Difference in place over which σ_min shows its curvature.
    goal : Goal
        What is sought.

    Returns
    -------
    level, place, sigma : float
        The best point found, at least as good as the start, and σ_min there (inf where none qualifies).
    """
    best, latest = (-np.inf, level, place, np.inf), np.nan
    out = max(float(curves.length(level, np.array([gap]))[0]), 1e-300)
    for _ in range(_MOST_ROUNDS):
        levels, places = level + out * _OUT, place + gap * _ALONG
        sigma = sampler(curves.point(levels, places)).value
        merit = goal.merit(levels, sigma)
        merit[levels < curves.least] = -np.inf
        top = int(np.argmax(merit))
        before, centre = best[0], float(merit[_CENTRE])
        steady = np.isfinite(centre + latest) and abs(centre - latest) <= _STEADY * abs(latest)
        latest = centre
        if merit[top] > best[0]:
            best = (float(merit[top]), float(levels[top]), float(places[top]), float(sigma[top]))
        across, along = _model_step(_MODEL @ sigma, level, out, goal.step)
        bounded = max(abs(across), abs(along)) <= 1.0
        if bounded and steady:
            break
        if latest < before and not bounded:
            level, place, latest = best[1], best[2], np.nan
            out, gap = out * _RETREAT, gap * _RETREAT
            continue
        level, place = level + out * across, place + gap * along
        within = _SHRINK if bounded else 1.0
        out *= within if abs(across) <= 1.0 else _GROW
        gap *= within if abs(along) <= 1.0 else _GROW
    return _on_real_axis(sampler, curves, best, goal)


def _on_real_axis(
    sampler: Sampler, curves: Curves, best: tuple[float, float, float, float], goal: Goal
) -> tuple[float, float, float]:
    """Move a point to the real axis where it lies there up to rounding, as for real matrices it may."""
    merit, level, place, sigma = best
    z = curves.point(level, place)
    if sampler.form.is_real and abs(z.imag) <= 1e-6 * (abs(z) + sampler.reach):
        axis = float(curves.place(complex(z.real)))
        found = float(sampler(np.array([curves.point(level, axis)])).value[0])
        if goal.merit(np.array([level]), np.array([found]))[0] >= merit - 1e-12 * abs(merit):
            return level, axis, found
    return level, place, sigma


def _model_step(model: Floats, level: float, out: float, step: Step) -> tuple[float, float]:
    """Step across and along the curves, in units of the stencil, each at most `_FARTHEST`."""
    a, b, slope, twice_c, mixed, curvature = (float(x) for x in model)

    def across(along: float, tilt: float) -> float:
        """Where the place is along + tilt d after d steps across."""
        value = a + slope * along + curvature * along**2 / 2
        rate = b + mixed * along + (slope + curvature * along) * tilt
        bend = twice_c / 2 + mixed * tilt + curvature * tilt**2 / 2
        found = step(level, out, value, rate, bend)
        return 0.0 if np.isnan(found) else min(max(found, -_FARTHEST), _FARTHEST)

    if curvature > 0:  # the floor of the valley
        foot, tilt = -slope / curvature, -mixed / curvature
        d = across(foot, tilt)
        if abs(foot + tilt * d) <= _FARTHEST:
            return d, foot + tilt * d
        along = math.copysign(_FARTHEST, foot + tilt * d)
    else:
        along = -math.copysign(_FARTHEST, slope)
    return across(along, 0.0), along
