"""Values of σ_min on a grid, solved coarse to fine: what neighbours prove needs no solve.

For every unit vector v, ‖(zI - A)v‖² = |z|² - 2 Re(z̄ v*Av) + ‖Av‖², and σ_min(zI - A)² is the least of these.
So σ_min(zI - A)² - |z|² is a minimum of affine functions of z, hence concave over the plane: chords bound it
from below and their prolongations from above. σ_min itself changes by at most |z - w| from z to w.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.resolvent import SmallestSingularValues
from spectra.scaling import UNIT_ROUNDOFF
from spectra.threads import Progress

Floats = NDArray[np.float64]
Points = NDArray[np.complex128]
Solver = Callable[..., SmallestSingularValues]

_COARSEST = 8  # first stride over a grid on which only some contours are wanted
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
_GUARD = 8.0 * UNIT_ROUNDOFF  # covers the rounding of a bound


def chord_bound(first: Floats, second: Floats, step: float) -> Floats:
    """Lower bound of σ_min at the middle of two points at distance `step` from it.

    Parameters
    ----------
    first, second : ndarray
        Lower bounds at the two points.
    step : float
        The distance, in the same units.

    Returns
    -------
    ndarray
        (½ (first² + second²) - step²)^½, 0 where that is not real.
    """
    mean = np.sqrt(0.5) * np.hypot(first, second)
    return np.asarray(np.sqrt(np.maximum(mean - step - _GUARD * mean, 0.0)) * np.sqrt(mean + step))


def prolongation_bound(near: Floats, far: Floats, step: float) -> Floats:
    """Upper bound of σ_min at a point from two points beside it on a line, at distances 1 and 3 times `step`.

    Parameters
    ----------
    near : ndarray
        Upper bounds at the nearer point.
    far : ndarray
        Lower bounds at the farther point.
    step : float
        The distance of the nearer point, in the same units.

    Returns
    -------
    ndarray
        (3/2 near² - ½ far² + 3 step²)^½.
    """
    high, low = np.sqrt(1.5) * np.hypot(near, np.sqrt(2.0) * step), np.sqrt(0.5) * far
    return np.asarray(np.sqrt(np.maximum(high - low, 0.0) + _GUARD * high) * np.sqrt(high + low))


class Grid:
    """Values and intervals at the points of a rectangular grid.

    Parameters
    ----------
    z : ndarray of complex, shape (ny, nx)
        The points, equally spaced along both axes.
    wanted : ndarray
        The contours wanted; all values where it is empty.
    solver : callable
        ``solver(points, progress=...)`` gives the values at a vector of points.
    exact : callable
        ``exact(point)`` gives the value at one point to within the floor, by a direct method.
    slope : float
        Upper bound β of ‖B‖ where the values are σ_min(zB - A): distances count β times, since
        ‖(zB - A)v‖² - β² |z|² is a concave function of z, and σ_min changes by at most β |z - w|.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of points.

    Attributes
    ----------
    sigma, lower, upper : ndarray, shape (ny, nx)
        Values and intervals.
    computed : ndarray of bool, shape (ny, nx)
        Where a solve was needed.
    iterations : int
        Lanczos steps of all solves.
    floor : float
        Level of rounding noise.
    """

    def __init__(
        self,
        z: Points,
        wanted: Floats,
        solver: Solver,
        exact: Callable[[complex], float],
        slope: float = 1.0,
        progress: Progress | None = None,
    ) -> None:
        self.z, self.wanted, self.slope = z, wanted, slope
        self.sigma, self.lower, self.upper = np.zeros(z.shape), np.zeros(z.shape), np.full(z.shape, np.inf)
        self.computed = np.zeros(z.shape, dtype=bool)
        self.iterations, self.floor = 0, 0.0
        self._solver, self._exact, self._progress = solver, exact, progress
        if len(wanted) == 0:
            self._solve(np.ones(z.shape, dtype=bool))
        else:
            self._solve_near_contours()
        self._resolve_contradictions()
        # a neighbour's interval can be the narrower one; of two that rounding sets apart, `upper` is proven
        self.lower = np.minimum(self.lower, self.upper)
        self.sigma = np.clip(self.sigma, self.lower, self.upper)

    def _solve(self, chosen: NDArray[np.bool_]) -> None:
        if not chosen.any():
            return
        found = self._solver(self.z[chosen], progress=self._count())
        self.sigma[chosen], self.lower[chosen], self.upper[chosen] = found.sigma_min, found.lower, found.upper
        self.computed |= chosen
        self.iterations += int(found.steps.sum())
        self.floor = max(self.floor, found.floor)

    def _count(self) -> Progress | None:
        """Report in points of the whole grid."""
        report, before, size = self._progress, int(self.computed.sum()), self.z.size
        return None if report is None else lambda done, _: report(before + done, size)

    def _solve_near_contours(self) -> None:
        """Solve on ever finer grids the points whose side of a contour is open, then all beside a contour."""
        stride = _COARSEST
        while stride >= 1:
            level = np.zeros(self.z.shape, dtype=bool)
            level[::stride, ::stride] = True
            below, above = self._sides(self.lower), self._sides(self.upper)
            self._solve(level & ~self.computed & (below != above))
            for power in range(stride.bit_length() - 1, -1, -1):
                self._spread(2**power)
            stride //= 2
        skipped = ~self.computed
        self.sigma[skipped] = 0.5 * (self.lower + self.upper)[skipped]
        self._solve(self._beside_a_contour() & skipped)
        if self._progress is not None:
            self._progress(self.z.size, self.z.size)

    def _sides(self, values: Floats) -> NDArray[np.int64]:
        """How many of the wanted contours a value lies above."""
        return np.asarray((values[..., None] > self.wanted).sum(axis=-1))

    def _beside_a_contour(self) -> NDArray[np.bool_]:
        """Corners of the cells whose corners lie on different sides of a contour."""
        side = self._sides(self.sigma)
        corners = np.stack([side[:-1, :-1], side[1:, :-1], side[:-1, 1:], side[1:, 1:]])
        crossed = corners.min(axis=0) != corners.max(axis=0)
        beside = np.zeros(self.z.shape, dtype=bool)
        for part in (np.s_[:-1, :-1], np.s_[1:, :-1], np.s_[:-1, 1:], np.s_[1:, 1:]):
            beside[part] |= crossed
        return beside

    def _spread(self, stride: int, directions: Sequence[tuple[int, int]] = _DIRECTIONS) -> None:
        """Narrow all intervals by what points `stride` and three times that away prove."""
        for dy, dx in directions:
            along = (stride * dy, stride * dx)
            (first, second), (low, middle, high) = _windows(self.z, along, 2), _windows(self.lower, along, 3)
            if first.size == 0:
                continue
            step = self.slope * float(abs(second.flat[0] - first.flat[0]))
            np.maximum(middle, chord_bound(low, high, step), out=middle)
            for lower, upper in (
                (_windows(self.lower, along, 4), _windows(self.upper, along, 4)),
                (_windows(self.lower, along, 4)[::-1], _windows(self.upper, along, 4)[::-1]),
            ):
                np.minimum(upper[0], prolongation_bound(upper[1], lower[3], step), out=upper[0])
            for here, there in ((0, 1), (1, 0)):
                lower, upper = _windows(self.lower, along, 2), _windows(self.upper, along, 2)
                np.maximum(lower[here], lower[there] - step, out=lower[here])
                np.minimum(upper[here], upper[there] + step, out=upper[here])

    def _resolve_contradictions(self) -> None:
        """Solve again, by the direct method, points whose intervals refute each other."""
        lower, upper, self.lower, self.upper = self.lower, self.upper, self.lower.copy(), self.upper.copy()
        self._spread(1, _DIRECTIONS[:2])
        wrong = self.lower > self.upper
        self.lower, self.upper = lower, upper
        for i in zip(*np.nonzero(_within(wrong, 3) & self.computed), strict=True):
            value = self._exact(complex(self.z[i]))
            self.sigma[i], self.lower[i] = value, max(value - self.floor, 0.0)
            self.upper[i] = value + self.floor


def _windows(values: NDArray[Any], along: tuple[int, int], count: int) -> list[NDArray[Any]]:
    """Give views of the points p, p + along, p + 2 along, ..., for all p that have `count` of them."""
    ny, nx = values.shape
    dy, dx = along
    views = []
    for k in range(count):
        row, rest = k * dy, (count - 1 - k) * dy
        column, others = (k * dx, (count - 1 - k) * dx) if dx >= 0 else (-(count - 1 - k) * dx, -k * dx)
        views.append(values[row : max(ny - rest, 0), column : max(nx - others, 0)])
    return views


def _within(chosen: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Points at most `reach` rows and columns away from a chosen one."""
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(chosen, size=2 * reach + 1)) if chosen.any() else chosen
