"""Distance to instability under real perturbations: the least real-structured distance on the boundary."""

from __future__ import annotations

from warnings import warn

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from spectra.checks import one_of
from spectra.errors import AccuracyWarning
from spectra.real_distance import RealDistances, perturbation, real_distances
from spectra.real_form import rounding, scaled_blocks, second_smallest
from spectra.real_pseudospectra import real_matrix_of
from spectra.resolvent import common_unit, norm_bound, rounding_floor
from spectra.results import Extremum
from spectra.scaling import UNIT_ROUNDOFF
from spectra.schur import SchurForm
from spectra.threads import one_blas_thread, run_blocks

Floats = NDArray[np.float64]
Points = NDArray[np.complex128]

_RTOL = 1e-3  # relative width of the interval
_FIRST = 24  # pieces of the boundary
_POLISHED = 2  # of them whose neighbourhood is searched for a minimum
_HALVINGS = 50
_WORK = 1e11  # operations for singular values, after which the interval stays as it is
_BLOCK = 1e6  # entries of matrices whose singular values are asked for at once


def real_distance_to_instability(form: SchurForm, dynamics: str) -> Extremum:
    """Smallest ‖E‖₂ over real E for which A + E is not stable.

    Parameters
    ----------
    form : SchurForm
        Of a real matrix whose entries do not come near the largest float.
    dynamics : {"discrete", "continuous"}
        Whether stable means eigenvalues inside the unit circle or left of the imaginary axis.

    Returns
    -------
    Extremum
        The distance, in the units of A. At `points` A + E has an eigenvalue for a real E whose norm is
        `upper` up to rounding; `residual` is the distance of the nearest computed eigenvalue of A + E.
        `lower` is proven up to the rounding of singular values, and within 0.1 % of the value unless an
        AccuracyWarning says otherwise. `steps` counts points of the boundary. Where A is not stable the value
        is 0, `points` are its outermost eigenvalues, and `upper` is the rounding level of A, below which
        computed eigenvalues cannot tell.

    Raises
    ------
    TypeError
        If the matrix is complex.
    ValueError
        If `dynamics` is none of its words.

    Notes
    -----
    Real boundary points have distance σ_min(zI - A), for others see `real_pseudospectrum`: the second
    smallest singular value of K(t) proves a lower bound at its point z and, since K changes by a known amount
    from z to any other point, around it. Pieces of the boundary are halved until these bounds are as large as
    the smallest distance found, less 0.1 %.
    """
    A = real_matrix_of(form)
    discrete = one_of(dynamics, "dynamics", ("discrete", "continuous")) == "discrete"
    edge = 1.0 if discrete else 0.0
    level = np.abs(form.eigenvalues) if discrete else form.eigenvalues.real
    if level.max() >= edge:
        outermost = form.eigenvalues[level >= level.max()]
        return Extremum(0.0, 0.0, rounding_floor(form, edge), outermost, 0.0, 0)
    unit = common_unit(form, edge)
    # beyond twice the norm plus rounding sigma_min(zI - A) on the imaginary axis exceeds that at 0
    length = edge / unit if discrete else 2.0 * norm_bound(form) / unit
    with one_blas_thread():
        return _Search(np.asarray(A / unit), length, discrete).result(unit)


class _Search:
    """The boundary from one real point to the other, or to infinity, and the least distance found on it.

    A place s from 0 to 1 stands for the point R exp(πis) of the circle, or iRs of the axis.
    """

    def __init__(self, A: Floats, R: float, discrete: bool) -> None:
        self.A, self.R, self.discrete = A, R, discrete
        self.steps, self.at, self.best = 0, 0j, np.inf
        self.solve(np.array([R, -R] if discrete else [0.0], dtype=complex))

    def points(self, s: Floats) -> Points:
        return np.asarray(self.R * np.exp(1j * np.pi * s) if self.discrete else 1j * self.R * s)

    def solve(self, z: Points) -> RealDistances:
        """Distances at some points, of which the least is remembered."""
        found = real_distances(self.A, z)
        least = int(found.distance.argmin())
        self.steps += len(z)
        if found.distance[least] < self.best:
            self.best, self.at = float(found.distance[least]), complex(z[least])
        return found

    def polish(self, a: float, b: float) -> None:
        """Look for a smaller distance at the places between a and b."""

        def distance(s: float) -> float:
            return float(self.solve(self.points(np.array([s]))).distance[0])

        minimize_scalar(distance, bounds=(a, b), method="bounded", options={"xatol": 1e-10, "maxiter": 60})

    def target(self) -> float:
        """Give the lower bound to be proven everywhere."""
        size = np.array([self.R])
        return float((1 - _RTOL) * self.best - 4 * rounding(self.A, size, size, size)[0])

    def proven(self) -> float:
        """Lower bound of the distance on the whole boundary: the target, if that can be afforded."""
        edges = np.linspace(0.0, 1.0, _FIRST + 1)
        a, b = edges[:-1], edges[1:]
        found = self.solve(self.points((a + b) / 2))
        for i in np.argsort(found.distance)[:_POLISHED]:
            self.polish(max(a[i] - 0.5 / _FIRST, 0.0), min(b[i] + 0.5 / _FIRST, 1.0))
        lower, t = found.lower, found.t
        for _ in range(_HALVINGS):
            bound = lower - self.change(a, b, t)
            unproven = bound < self.target()
            if not unproven.any():
                return max(self.target(), 0.0)
            if 8.0 * self.steps * len(self.A) ** 3 > _WORK:
                break
            a, b, t, bound = a[unproven], b[unproven], t[unproven], bound[unproven]
            middle = (a + b) / 2
            a, b = np.concatenate([a, middle]), np.concatenate([middle, b])
            y, before = self.points((a + b) / 2).imag, np.tile(self.points(middle).imag, 2)
            # the best t is constant near the real axis, where t >> y, and proportional to y far from it
            t = np.tile(t, 2) * (y / before) ** np.minimum(before / np.tile(t, 2), 1.0)
            lower, t = self.sample(a, b, t)
        return max(float(bound.min()), 0.0)

    def sample(self, a: Floats, b: Floats, t: Floats) -> tuple[Floats, Floats]:
        """Lower bounds in the middle of pieces, by given scalings or, where these do not do, the best."""
        z = self.points((a + b) / 2)
        lower = self.second_smallest(z, t) - rounding(self.A, z.real, z.imag, t)
        poor = np.flatnonzero(lower < self.target())
        if len(poor):
            before = self.best
            found = self.solve(z[poor])
            lower[poor], t[poor] = found.lower, found.t
            if self.best < before:
                least = poor[found.distance.argmin()]
                self.polish(a[least], b[least])
        return lower, t

    def second_smallest(self, z: Points, t: Floats) -> Floats:
        """Second smallest singular values of K(t) at each point, in blocks over a pool of threads."""
        n = len(self.A)
        values = np.zeros(len(z))

        def solve(part: slice) -> None:
            B = z.real[part, None, None] * np.eye(n) - self.A
            identity = np.broadcast_to(np.eye(n), B.shape)
            values[part] = second_smallest(scaled_blocks(B, identity, z.imag[part], t[part]))

        longest, stop = max(1, int(_BLOCK / n**2)), np.zeros(1, dtype=np.uint8)
        run_blocks(solve, len(z), longest=longest, threads=None, stop=stop, progress=None)
        self.steps += len(z)
        return values

    def change(self, a: Floats, b: Floats, t: Floats) -> Floats:
        """Give the most that the second smallest singular value falls from the middle of a piece to its ends.

        Returns
        -------
        ndarray
            The least norm of the change of K over the piece, with t kept or kept in proportion to y.
        """
        start, middle, end = self.points(a), self.points((a + b) / 2), self.points(b)
        y = middle.imag
        dx = np.maximum(np.abs(start.real - middle.real), np.abs(end.real - middle.real))
        highest = np.maximum(np.maximum(start.imag, end.imag), y)
        if self.discrete:
            highest = np.where((a < 0.5) & (b > 0.5), self.R, highest)
        dy = np.maximum(y - np.minimum(start.imag, end.imag), highest - y)
        kept = _norm(dx, dy * (highest + y) / t, 0.0 * t)
        proportional = _norm(dx, dy * (y / t), dy * (t / y))
        return np.asarray(np.minimum(kept, proportional) * (1 + 1e-12) + 8 * UNIT_ROUNDOFF * self.R)

    def result(self, unit: float) -> Extremum:
        proven = self.proven() if len(self.A) > 1 else np.inf  # of order 1 only the real points count
        found = real_distances(self.A, np.array([self.at]))
        E = perturbation(self.A, self.at, found, 0)
        value, upper = float(found.distance[0]), float(found.upper[0])
        lower = min(proven, float(found.lower[0]))
        if lower <= (1 - 2 * _RTOL) * value:
            warn(
                f"the distance {value * unit:.3g} is proven to be at least {lower * unit:.3g} only; the "
                "complex distance to instability is another lower bound",
                AccuracyWarning,
                stacklevel=4,
            )
        z = self.at
        return Extremum(
            value=value * unit,
            lower=lower * unit,
            upper=upper * unit,
            points=np.array([z, z.conjugate()] if z.imag else [z], dtype=np.complex128) * unit,
            residual=float(np.abs(np.linalg.eigvals(self.A + E) - z).min()) * unit,
            steps=self.steps,
            method="samples",
        )


def _norm(a: Floats, b: Floats, c: Floats) -> Floats:
    """Spectral norm of [[a, -b], [c, a]] for numbers b and c >= 0."""
    return np.asarray(0.5 * (np.hypot(2 * a, b + c) + np.abs(b - c)))
