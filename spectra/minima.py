"""The smallest σ_min(zI - A) on a circle or line, proven from samples or by eigenvalues of order 2n.

σ_min(zI - A)² - abs(z)² = min over unit v of ‖Av‖² - 2 Re(conj(z) v*Av) is a minimum of functions affine in
(Re z, Im z), hence concave on the plane, and no steeper than 2 w(A), w being the numerical radius. On the
chord between points a and b it lies above the line through its values there. A point of a circle of radius r
lies h(t) <= 4t(1 - t) h(1/2) beyond the point at the share t of the chord. So, for s(t) = σ_min² there,

    s(t) >= (1 - t) s(0) + t s(1) - κ t (1 - t),   κ = abs(b - a)² on a line,
                                                   κ = 16 w r sin(γ/4)² on an arc of angle γ.

Samples a gap apart then miss the minimum by O(gap²), not by the O(gap) of a function that is only Lipschitz.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spectra import kernels
from spectra.curves import Curves, Floats, Points
from spectra.layout import padded_factor
from spectra.resolvent import dense_sigma_min, panels, rounding_floor
from spectra.schur import SchurForm

DELTA = 1e-3  # probability that any lower bound from the samples of one Sampler fails
_RTOL = 1e-10  # of a sample
_FIRST = 64  # samples that a curve starts with
_BATCH = 16  # samples that cost no more than one
_RIVALS = 4  # local minima to remember
_PIECES = 6  # most pieces that one step divides a gap into
_MOST_STEPS = 60


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """σ_min(zI - A) at a batch of points.

    Attributes
    ----------
    value, lower, upper : ndarray
        Value and interval; `upper` is proven up to rounding, `lower` improbable to fail.
    """

    value: Floats
    lower: Floats
    upper: Floats


class Sampler:
    """σ_min(zI - A) of one matrix at batches of points, counted; the factor is laid out once.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    unit : float
        The power of two that everything is measured in.
    farthest : float
        Largest modulus of interest, in the units of A.
    """

    def __init__(self, form: SchurForm, unit: float, farthest: float) -> None:
        self.form = in_units(form, unit)
        self.floor = rounding_floor(self.form, farthest / unit)
        self.evaluations = 0
        self.method = "samples"
        self._batches = 0
        self._arrays = panels(padded_factor(self.form, 1.0, kernels.ROWS))

    def __call__(self, z: Points) -> Samples:
        """Give σ_min at points."""
        m = len(z)
        origin, self.evaluations = self.evaluations, self.evaluations + m
        self._batches += 1
        delta = DELTA / (self._batches * (self._batches + 1))  # these add up to DELTA
        widening = float(np.sqrt((self.form.n - 1) * max(m, 1) / delta))
        floor = max(self.floor, rounding_floor(self.form, float(np.abs(z).max(initial=0.0))))
        value, lower, steps = np.zeros(m), np.zeros(m), np.zeros(m, dtype=np.int64)
        stop = np.zeros(1, dtype=np.uint8)
        zr, zi = np.ascontiguousarray(z.real), np.ascontiguousarray(z.imag)
        kernels.solve_points(*self._arrays, zr, zi, origin, widening, _RTOL, floor, stop, value, lower, steps)
        for i in np.flatnonzero(value < 0):  # not converged
            value[i] = lower[i] = dense_sigma_min(self.form, z[i])
        return Samples(value, np.maximum(lower - floor, 0.0), value + floor)

    @property
    def reach(self) -> float:
        """Upper bound of the numerical radius."""
        return self.form.once("reach", lambda: numerical_radius_bound(self.form)) + self.floor

    @property
    def affordable(self) -> float:
        """Samples that take about as long as one eigenproblem of order 2n."""
        return 20.0 * self.form.n + 500.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Lowest:
    """What is known of the smallest σ_min on a curve.

    Attributes
    ----------
    value, lower : float
        The smallest found, and what none is below.
    place, gap : float
        Where on the curve the value is, and how far from the next sample.
    rivals : tuple of (place, gap)
        Other local minima among the samples that may hide a smaller value, the best few.
    settled : bool
        Whether `lower` reaches what was asked for.
    """

    value: float
    lower: float
    place: float
    gap: float
    rivals: tuple[tuple[float, float], ...]
    settled: bool

    @property
    def valleys(self) -> tuple[tuple[float, float], ...]:
        """Place and gap of the smallest value and of its rivals."""
        return (self.place, self.gap), *self.rivals


def in_units(form: SchurForm, unit: float) -> SchurForm:
    """Give the Schur form of A / unit, for a power of two."""
    return dataclasses.replace(
        form,
        A=form.A / unit,
        T=form.T * (form.scale / unit),
        scale=1.0,
        eigenvalues=form.eigenvalues / unit,
    )


def numerical_radius_bound(form: SchurForm, directions: int = 16) -> float:
    """Upper bound of the numerical radius, at most 2 % too large: a polygon around the numerical range."""
    A = form.A
    support = np.empty(directions)
    half = directions // 2
    for k in range(half // 2 + 1 if form.is_real else half):
        turned = A if k == 0 else A * np.exp(-2j * np.pi * k / directions)
        ends = np.linalg.eigvalsh((turned + turned.conj().T) / 2)
        support[k], support[k + half] = ends[-1], -ends[0]
        if form.is_real:  # symmetric in the real axis
            support[-k % directions], support[half - k] = support[k], support[k + half]
    angle = 2 * np.pi / directions
    following = np.roll(support, -1)
    along = (following - support * np.cos(angle)) / np.sin(angle)  # to the next corner
    return float(np.hypot(support, along).max())


def least_between(lower: Floats, bend: Floats, length: Floats) -> Floats:
    """Lower bound of σ_min between neighbouring samples: the better of the concave and the Lipschitz one."""
    squares = lower**2
    left, right = squares[:-1], squares[1:]
    drop = np.minimum(np.abs(right - left), bend)
    vertex = np.maximum(left, right) - (bend + drop) ** 2 / np.maximum(4 * bend, 1e-300)
    vertex = np.where(np.abs(right - left) >= bend, np.minimum(left, right), vertex)
    return np.maximum(np.sqrt(np.maximum(vertex, 0.0)), (lower[:-1] + lower[1:] - length) / 2)


def lowest(
    sampler: Sampler,
    curves: Curves,
    level: float,
    *,
    aim: Callable[[float], float],
    budget: float = np.inf,
) -> Lowest:
    """Smallest σ_min on a curve from samples, added where they do not yet prove enough.

    Parameters
    ----------
    sampler : Sampler
        The matrix.
    curves : Lines or Circles
        The family of the curve.
    level : float
        Which curve of the family.
    aim : callable
        ``aim(value)`` is the lower bound that is enough while `value` is the smallest sample. Samples below
        the aim end the search.
    budget : float
        Samples to use at the most; where more are foreseen, the search ends unsettled.

    Returns
    -------
    Lowest
        The smallest sample and a lower bound of all values.
    """
    start = sampler.evaluations
    first, last = curves.span(level, sampler.reach)
    place = np.linspace(first if sampler.form.is_real else -last, last, _FIRST)
    found = sampler(curves.point(level, place))
    lower, value = found.lower, found.value
    while True:
        least = int(np.argmin(value))
        best = float(value[least])
        target = aim(best)
        gap = np.diff(place)
        bend = curves.sag(level, gap, sampler.reach)
        between = least_between(lower, bend, curves.length(level, gap))
        proven = min(float(between.min()), float(lower.min()))
        open_ = between < target
        wide = np.maximum(np.append(gap, 0.0), np.append(0.0, gap))
        valleys = [(float(place[i]), float(wide[i])) for i in _valleys(value, between)]
        settled = not open_.any() and best >= target
        state = Lowest(best, proven, *valleys[0], tuple(valleys[1:_RIVALS]), settled)
        if not open_.any() or float(lower.min()) <= target:
            return state
        margin = np.sqrt(lower**2 - target**2)
        wanted = np.sqrt(bend[open_]) / (margin[:-1] + margin[1:])[open_]  # as if σ_min² were linear between
        if sampler.evaluations - start + wanted.sum() > budget:
            return state
        pieces = np.clip(np.ceil(wanted), 2, max(_PIECES, _BATCH // len(wanted)))
        more = _divided(place[:-1][open_], gap[open_], pieces.astype(int))
        found = sampler(curves.point(level, more))
        order = np.argsort(np.concatenate([place, more]), kind="stable")
        place = np.concatenate([place, more])[order]
        lower = np.concatenate([lower, found.lower])[order]
        value = np.concatenate([value, found.value])[order]


def inside(sampler: Sampler, curves: Curves, level: float, epsilon: float) -> tuple[Points, Floats]:
    """Points of a curve with σ_min below epsilon, and σ_min there, deepest first; none if it has none."""
    crossings = curves.crossings(sampler.form.A, epsilon, level)
    points = np.concatenate([crossings, curves.middles(crossings, level)])
    if len(points) == 0:
        return points, np.zeros(0)
    found = sampler(points).value
    deepest = np.argsort(found, kind="stable")[: np.count_nonzero(found < epsilon)]
    return points[deepest], found[deepest]


def proven_lowest(sampler: Sampler, curves: Curves, level: float, *, aim: Callable[[float], float]) -> Lowest:
    """Smallest σ_min on a curve: from samples or, where these would be too many, by level sets.

    Parameters
    ----------
    sampler : Sampler
        The matrix; its `method` becomes "eigenvalues" where samples did not do.
    curves : Lines or Circles
        The family of the curve.
    level : float
        Which curve of the family.
    aim : callable
        As for `lowest`.

    Returns
    -------
    Lowest
        The smallest value found and a lower bound of all, 0 where rounding leaves nothing else.

    Notes
    -----
    Boyd and Balakrishnan: the crossings of a level below the smallest value known are eigenvalues of order
    2n; where there are none the level is proven, up to rounding, and otherwise the middles between them lie
    lower.
    """
    state = lowest(sampler, curves, level, aim=aim, budget=sampler.affordable)
    if state.settled:
        return state
    sampler.method = "eigenvalues"
    value, place = state.value, state.place
    for _ in range(_MOST_STEPS):
        bar = aim(value)
        if bar <= 2 * sampler.floor:
            break
        points, found = inside(sampler, curves, level, bar)
        if len(points) == 0:
            return Lowest(value, bar - sampler.floor, place, state.gap, state.rivals, settled=True)
        value, place = float(found[0]), float(curves.place(points[0]))
    lower = state.lower if value == state.value else 0.0
    return Lowest(value, lower, place, state.gap, state.rivals, settled=False)


def _valleys(value: Floats, between: Floats) -> NDArray[np.int64]:
    """Give the smallest sample, then local minima beside which the bound lies below it."""
    neighbours = np.minimum(np.append(value[1:], np.inf), np.append(np.inf, value[:-1]))
    bound = np.minimum(np.append(between, np.inf), np.append(np.inf, between))
    least = int(np.argmin(value))
    other = np.flatnonzero((value < neighbours) & (bound < value[least]) & (np.arange(len(value)) != least))
    return np.append(least, other[np.argsort(value[other], kind="stable")])


def _divided(start: Floats, gap: Floats, pieces: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    """Points that divide each interval into equal pieces."""
    inner = pieces - 1
    which = np.repeat(np.arange(len(start)), inner)
    rank = np.arange(len(which)) - np.repeat(np.cumsum(inner) - inner, inner) + 1
    return np.asarray(start[which] + gap[which] * rank / pieces[which])
