"""The curve ‖A^k‖ or ‖exp(tA)‖ over given times, its peak, and its supremum over all times."""

from __future__ import annotations

import dataclasses
import heapq
import math
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
_HALVINGS = (200, 5000)  # fewest and most exponentials that refinement may take
_WORK = 2e10  # operations that it may take in between
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
    first: float  # bounds of the norm at its start and at its end
    last: float
    bend: float  # bound of ‖A² exp(tA)‖ at its start


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
        self._nodes = times if times[0] == 0 else np.concatenate([[0.0], times])
        self._seen = list(self._nodes)
        self._sups = {0.0: 1.0}  # bounds of the norms from time 0 to the length of a step
        identity = propagator(np.eye(form.n, dtype=form.A.dtype))
        self._best = Sample(0.0, 1.0, 0.0, self._bend(identity, 0.0), identity)
        self.attained, self._left_wide = 1.0, False
        total = len(self._nodes)
        self._norms, self._errors, self._above = np.ones(total), np.zeros(total), np.ones(total)
        self._bends, self._lengths = np.full(total, self._best.bend), np.zeros(total)
        self._walk(len(times), progress)
        self.norms, self.errors = self._norms[-len(times) :], self._errors[-len(times) :]

    def _walk(self, count: int, progress: Progress | None) -> None:
        """Measure every node, the last `count` of which are asked for, by one product each."""
        bounds, total = self._bounds, len(self._nodes)
        P = step = self._best.at
        length = reached = backward = inexact = 0.0
        all_errors, rounding_errors = _Carried(bounds, total), _Carried(bounds, total)
        first = total - count
        if first == 0 and progress is not None:
            progress(1, count)
        for i in range(1, total):
            time = float(self._nodes[i])
            if abs(time - reached - length) > (0 if bounds.discrete else _SAME * time):
                length = time - reached
                step, inexact = self._step(length)
            reached += length
            P, rounding = following(step, P)
            measured = self._above[:i]
            added = rounding + (2 * inexact * float(self._norms[i - 1]) if inexact else 0.0)
            error = all_errors.after(length, added, measured)
            late = 0.0
            if not bounds.discrete:  # the errors of all steps together may also perturb the whole time
                late = (abs(reached - time) + i * UNIT_ROUNDOFF * time) * self._size
                backward += self._backward(length)
                perturbed = bounds.perturbation(time, backward)
                error = min(error, rounding_errors.after(length, rounding, measured) + perturbed)
            found = self._sample(time, P, error, late)
            self._norms[i], self._errors[i], self._above[i] = found.norm, found.error, found.above
            self._bends[i], self._lengths[i] = found.bend, length
            if progress is not None:
                progress(i + 1 - first, count)

    def _step(self, length: float) -> tuple[Propagator, float]:
        """Give the propagator over one length of time, and a bound of its error."""
        if self._bounds.discrete:
            found = power(self._A, int(length))
            with np.errstate(over="ignore", under="ignore"):
                return found, float(np.ldexp(found.error, clipped(found.exponent)))
        return self._start(length), self._bounds.perturbation(length, self._backward(length))

    def _start(self, length: float) -> Propagator:
        """exp(length A), from which follows a bound of the norms from time 0 to there."""
        found = self._exponential(length)
        curved = length**2 / 8 * float(np.linalg.norm(self._square))
        straight = max(1.0, found.above) / (1 - curved) if curved < 1 else np.inf
        self._sups[length] = min(self._bounds.upper_within(length), straight)
        return found.at

    def _exponential(self, t: float) -> Sample:
        error = self._bounds.perturbation(t, self._backward(t))
        return self._sample(t, exponential(self._A, self._shift, t), error)

    def _backward(self, t: float) -> float:
        """Norm of the E for which tA + E is taken to have the exponential computed for tA."""
        return (len(self._A) + 4) * UNIT_ROUNDOFF * (t * self._size + 1)

    def _sample(self, time: float, P: Propagator, error: float, late: float = 0.0) -> Sample:
        """Measure one matrix, and keep it if it is the largest."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            norm = float(np.ldexp(spectral_norm(P.mantissa), clipped(P.exponent)))
            error += self._noise * norm + 2 * late * (norm + error)
            error = float(np.nan_to_num(error, nan=np.inf, posinf=np.inf))
        found = Sample(time, norm, error, self._bend(P, error), P)
        if error < np.inf > norm:
            self.attained = max(self.attained, norm - error)
        if norm > self._best.norm * (1 + self._noise + min(error, _TIE)):
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
        contracting = np.flatnonzero(self._above[1:] <= 1)
        last = int(contracting[0]) + 1 if len(contracting) else len(self._nodes) - 1
        tail = 0.0 if len(contracting) else bounds.upper_from(float(self._nodes[-1]))
        always = bounds.upper_from(0.0)
        if tail == np.inf or self._best.norm >= always:
            return always
        within = self._integers_within(last) if bounds.discrete else self._reals_within(last, tail)
        upper = min(always, max(tail, within))
        if self._left_wide:
            warn(
                f"the supremum is only known to lie from {self._best.norm:.4g} to {upper:.4g}: give times "
                "that are closer together where the norm is large",
                AccuracyWarning,
                stacklevel=3,
            )
        return upper

    def _integers_within(self, last: int) -> float:
        above = self._above[: last + 1]
        gaps = np.diff(self._nodes[: last + 1])
        skipped = [above[i] * self._bounds.upper_within(gaps[i] - 1) for i in np.flatnonzero(gaps > 1)]
        return float(max([above.max(), *skipped]))

    def _reals_within(self, last: int, enough: float) -> float:
        """Halve the intervals that may hold more than the peak and `enough`, until none holds much more."""
        if last == 0:
            return 1.0
        above = self._above
        heap = [
            self._interval(self._nodes[i], self._lengths[i + 1], above[i], above[i + 1], self._bends[i])
            for i in range(last)
        ]
        heapq.heapify(heap)
        most = int(np.clip(_WORK / (40 * len(self._A) ** 3), *_HALVINGS))
        for _ in range(most):
            if -heap[0].negative <= max(enough, self._best.norm * (1 + _WIDTH)):
                break
            whole = heapq.heappop(heap)
            half = whole.length / 2
            if half not in self._sups:
                self._start(half)
            middle = self._exponential(whole.start + half)
            self._seen.append(middle.time)
            heapq.heappush(heap, self._interval(whole.start, half, whole.first, middle.above, whole.bend))
            heapq.heappush(heap, self._interval(middle.time, half, middle.above, whole.last, middle.bend))
        else:
            self._left_wide = True
        return -heap[0].negative

    def _interval(self, start: float, length: float, first: float, last: float, bend: float) -> _Interval:
        """Bound the norms in an interval: by the growth from its start, and by linear interpolation."""
        sup = self._sups[length]
        bound = min(first * sup, max(first, last) + length**2 / 8 * bend * sup)
        return _Interval(-float(bound), float(start), float(length), first, last, bend)

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
            return -math.log(min(max(self._exponential(t).norm, 1e-300), 1e300))

        minimize_scalar(fallen, bounds=(low, high), method="bounded", options={"xatol": 1e-5 * (high - low)})
        return self._best
