"""The curve ‖A^k‖ or ‖exp(tA)‖ over given times, its peak, and its supremum over all times."""

from __future__ import annotations

import dataclasses
import heapq
from typing import NamedTuple
from warnings import warn

import numpy as np
from numpy.typing import NDArray

from spectra.errors import AccuracyWarning
from spectra.growth import GrowthBounds
from spectra.norms import spectral_norm
from spectra.propagators import Propagator, clipped, exponential, following, power, product_noise, propagator
from spectra.scaling import UNIT_ROUNDOFF
from spectra.schur import SchurForm
from spectra.threads import Progress

Floats = NDArray[np.float64]

_WIDTH = 1e-3  # relative width of the interval of the supremum at which refinement stops
_MOST_HALVINGS = 500
_TIE = 1e-12  # relative difference of norms, where that is less than their error, that makes no new peak
_MOST_ALIKE = 20_000  # steps whose errors are followed one by one
_SAME = 8 * UNIT_ROUNDOFF  # gaps that differ by less, relative to the time, are one gap


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One point of the curve.

    Attributes
    ----------
    time, norm, error : float
        The time, the norm and a bound of the rounding error of the norm.
    bend : float
        Upper bound of ‖A² exp(tA)‖; 0 for powers.
    at : Propagator
        The matrix itself.
    """

    time: float
    norm: float
    error: float
    bend: float
    at: Propagator

    @property
    def above(self) -> float:
        """Upper bound of the true norm."""
        return self.norm + self.error


class _Interval(NamedTuple):
    """An interval of times, sorted by a bound of the norms in it, largest first."""

    negative: float
    start: float
    length: float
    end: float  # bound of the norm at its end
    left: Sample | None


class _Carried:
    """Error of P_i = S_i P_{i-1}, made of what each product added and the later ones carried on.

    What was added at time s is multiplied by exp((t - s) A), whose norm is bounded by theory and, where all
    steps are alike, is one of those already measured.
    """

    def __init__(self, bounds: GrowthBounds, total: int) -> None:
        self._bounds, self._carried = bounds, np.zeros_like(bounds.rates)
        self._added, self._count, self._length = np.zeros(min(total, _MOST_ALIKE)), 0, -1.0

    def after(self, length: float, added: float, measured: Floats) -> float:
        """Give the error after one more step; `measured` holds bounds of all norms so far."""
        bounds, i = self._bounds, len(measured)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            factors = bounds.factors(bounds.rates, np.array(length))
            self._carried = np.fmin(factors * self._carried, np.inf) + bounds.constants * added
            candidates = [*self._carried]
            if i < len(self._added) and (i == 1 or (length == self._length and self._count == i - 1)):
                self._added[i], self._count, self._length = added, i, length
                candidates.append(self._added[1 : i + 1][::-1] @ measured)
        return float(np.nan_to_num(candidates, nan=np.inf, posinf=np.inf).min())


class NormCurve:
    """Norms of the powers or exponentials of a matrix.

    Parameters
    ----------
    form : SchurForm
        The matrix, of scale 1 where the bounds are those of the exponential.
    times : ndarray
        Rising, from 0 or above.
    bounds : GrowthBounds
        Those of the matrix.
    progress : callable or None
        Called as ``progress(done, total)`` with numbers of times.

    Attributes
    ----------
    norms, errors : ndarray
        The norm at each time, and a bound of its rounding error.
    attained : float
        The largest norm attained for certain.
    """

    def __init__(
        self, form: SchurForm, times: Floats, bounds: GrowthBounds, progress: Progress | None
    ) -> None:
        self._A, self._bounds = form.A, bounds
        self._noise, self._shift = product_noise(form.n), float(form.eigenvalues.real.max())
        self._square = form.A if bounds.discrete else form.A @ form.A
        self._size = 0.0 if bounds.discrete else float(np.linalg.norm(form.A))
        self._nodes = np.union1d([0.0], times)
        self._seen = list(self._nodes)
        self._steps: dict[float, Propagator] = {}
        self._sups: dict[float, float] = {}  # bounds of the norms from time 0 to the length of a step
        identity = propagator(np.eye(form.n, dtype=form.A.dtype))
        self._best = Sample(0.0, 1.0, 0.0, self._bend(identity, 0.0), identity)
        self.attained, self._left_wide = 1.0, False
        total = len(self._nodes)
        self._norms, self._errors = np.ones(total), np.zeros(total)
        self._bends, self._lengths = np.full(total, self._best.bend), np.zeros(total)
        self._walk(progress)
        self.norms, self.errors = self._norms[-len(times) :], self._errors[-len(times) :]

    def _walk(self, progress: Progress | None) -> None:
        """Measure every node, by one product each."""
        bounds, total = self._bounds, len(self._nodes)
        P = step = self._best.at
        length = reached = 0.0
        errors = _Carried(bounds, total)
        for i in range(1, total):
            time = float(self._nodes[i])
            if abs(time - reached - length) > (0 if bounds.discrete else _SAME * time):
                length = time - reached
                step = self._step(length)
            reached += length
            P, local = following(step, P)
            carried = errors.after(length, local, self._norms[:i] + self._errors[:i])
            late = abs(reached - time) + i * UNIT_ROUNDOFF * time
            found = self._sample(time, P, carried, late * self._size)
            self._norms[i], self._errors[i], self._bends[i] = found.norm, found.error, found.bend
            self._lengths[i] = length
            if progress is not None:
                progress(i + 1, total)

    def _step(self, length: float) -> Propagator:
        if self._bounds.discrete:
            return power(self._A, int(length))
        step = self._exponential(length)
        largest = max(1.0, self._sample(length, step, step.uncertainty).above)
        curved = length**2 / 8 * float(np.linalg.norm(self._square))
        straight = largest / (1 - curved) if curved < 1 else np.inf
        self._sups[length] = min(self._bounds.upper_within(length), straight)
        return step

    def _exponential(self, t: float) -> Propagator:
        """exp(tA), taken to be exact for tA + E with ‖E‖ <= (n + 4) u (‖tA‖ + 1)."""
        backward = (len(self._A) + 4) * UNIT_ROUNDOFF * (t * self._size + 1)
        return exponential(self._A, self._shift, t, self._bounds.perturbation(t, backward))

    def _sample(self, time: float, P: Propagator, error: float, late: float = 0.0) -> Sample:
        """Measure one matrix, and keep it if it is the largest."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            norm = float(np.ldexp(spectral_norm(P.mantissa), clipped(P.exponent)))
            error = float(np.nan_to_num(error + self._noise * norm + late * (norm + error), nan=np.inf, posinf=np.inf))
        found = Sample(time, norm, error, self._bend(P, error), P)
        if error < np.inf > norm:
            self.attained = max(self.attained, norm - error)
        if norm > self._best.norm * (1 + self._noise) + min(error, _TIE * norm):
            self._best = found
        return found

    def _bend(self, P: Propagator, error: float) -> float:
        if self._bounds.discrete:
            return 0.0
        with np.errstate(over="ignore", under="ignore"):
            computed = np.ldexp(np.linalg.norm(self._square @ P.mantissa), clipped(P.exponent))
            return float(computed * (1 + self._noise) + np.linalg.norm(self._square) * error)

    def supremum(self) -> float:
        """Upper bound of the norms over all times from 0 to infinity, inf where there is none.

        Once ‖A^m‖ <= 1, every norm from m on is at most one before m.

        Returns
        -------
        float
            The bound.
        """
        bounds = self._bounds
        contracting = np.flatnonzero(self._norms[1:] + self._errors[1:] <= 1)
        last = int(contracting[0]) + 1 if len(contracting) else len(self._nodes) - 1
        tail = 0.0 if len(contracting) else bounds.upper_from(float(self._nodes[-1]))
        always = bounds.upper_from(0.0)
        if tail == np.inf or self._best.norm >= always:
            return always
        within = self._integers_within(last) if bounds.discrete else self._reals_within(last, tail)
        upper = min(always, max(tail, within))
        if self._left_wide:
            warn(
                f"the supremum is known to lie between {self._best.norm:.4g} and {upper:.4g} only: give times that "
                "are closer together where the norm is large",
                AccuracyWarning,
                stacklevel=3,
            )
        return upper

    def _integers_within(self, last: int) -> float:
        above = (self._norms + self._errors)[: last + 1]
        gaps = np.diff(self._nodes[: last + 1])
        skipped = [above[i] * self._bounds.upper_within(gaps[i] - 1) for i in np.flatnonzero(gaps > 1)]
        return float(max([above.max(), *skipped]))

    def _reals_within(self, last: int, enough: float) -> float:
        """Halve the intervals that may hold more than the peak and `enough`, until none may hold much more."""
        above = self._norms + self._errors
        heap: list[_Interval] = []
        for i in range(last):
            length = float(self._lengths[i + 1])
            bound = self._bound(above[i], above[i + 1], self._bends[i], length)
            heap.append(_Interval(-bound, float(self._nodes[i]), length, float(above[i + 1]), None))
        heapq.heapify(heap)
        for _ in range(_MOST_HALVINGS):
            if -heap[0].negative <= max(enough, self._best.norm * (1 + _WIDTH)):
                break
            for half in self._halves(heapq.heappop(heap)):
                heapq.heappush(heap, half)
        else:
            self._left_wide = True
        return -heap[0].negative

    def _halves(self, whole: _Interval) -> tuple[_Interval, _Interval]:
        half = whole.length / 2
        if half not in self._steps:
            self._steps[half] = self._step(half)
        left = whole.left
        if left is None:
            P = self._exponential(whole.start)
            left = self._sample(whole.start, P, P.uncertainty)
        P, added = following(self._steps[half], left.at)
        carried = self._sups[half] * left.error + added
        middle = self._sample(whole.start + half, P, carried, UNIT_ROUNDOFF * whole.start * self._size)
        self._seen.append(middle.time)
        first = self._bound(left.above, middle.above, left.bend, half)
        second = self._bound(middle.above, whole.end, middle.bend, half)
        return (
            _Interval(-first, whole.start, half, middle.above, left),
            _Interval(-second, middle.time, half, whole.end, middle),
        )

    def _bound(self, start: float, end: float, bend: float, length: float) -> float:
        """Bound of the norms in an interval: by the growth from its start, or by linear interpolation."""
        sup = self._sups[length]
        return float(min(start * sup, max(start, end) + length**2 / 8 * bend * sup))

    def peak(self) -> Sample:
        """Find the largest sample, for exponentials improved between its neighbours.

        Returns
        -------
        Sample
            The earliest of those that rounding cannot tell apart.
        """
        from scipy.optimize import minimize_scalar

        seen = np.unique(self._seen)
        i = int(np.searchsorted(seen, self._best.time))
        low, high = float(seen[max(i - 1, 0)]), float(seen[min(i + 1, len(seen) - 1)])
        if self._bounds.discrete or not low < high or self._best.norm == np.inf:
            return self._best

        def fallen(t: float) -> float:
            P = self._exponential(t)
            return -self._sample(t, P, P.uncertainty).norm

        minimize_scalar(fallen, bounds=(low, high), method="bounded", options={"xatol": 1e-5 * (high - low)})
        return self._best
