"""Criss-cross search: the farthest point of an ε-pseudospectrum, to the right or from the origin."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvals, get_lapack_funcs
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from spectra.checks import Matrix
from spectra.errors import AccuracyWarning, ConvergenceError
from spectra.resolvent import common_unit, norm_bound, rounding_floor, smallest_singular_values
from spectra.results import Extremum
from spectra.schur import SchurForm

Floats = NDArray[np.float64]
Points = NDArray[np.complex128]

_MOST_STEPS = 60
_RAYS = 2  # inside points that a step follows outwards
_INVERTIBLE = 1e-6  # least reciprocal condition number of a matrix that is inverted
_LOOSE = 1e-3  # an eigenvalue counts as a crossing when it is this near the curve, relative to the norm


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A family of curves that sweeps the plane outwards: vertical lines or circles around 0.

    Attributes
    ----------
    level : callable
        Points to the value of the curve they lie on: Re z or abs(z).
    outward : callable
        Points to the unit direction in which the level grows fastest.
    crossings : callable
        ``crossings(A, epsilon, value)``: points of the curve that include, up to rounding, all those where
        some singular value of zI - A equals epsilon.
    middles : callable
        ``middles(z, value)``: a point of the curve between each two neighbours among the points z.
    least : float
        No level is smaller.
    """

    level: Callable[[Any], Any]
    outward: Callable[[Any], Any]
    crossings: Callable[[Matrix, float, float], Points]
    middles: Callable[[Points, float], Points]
    least: float


def _line_crossings(A: Matrix, epsilon: float, value: float) -> Points:
    # Burke, Lewis, Overton: iy is an eigenvalue of this iff epsilon is a singular value at value + iy
    eye = np.eye(len(A))
    shifted = A - value * eye
    found = eigvals(np.block([[shifted, epsilon * eye], [-epsilon * eye, -shifted.conj().T]]))
    near = np.abs(found.real) <= _LOOSE * (np.linalg.norm(A) + abs(value) + epsilon)
    return np.asarray(value + 1j * np.sort(found[near].imag))


def _circle_crossings(A: Matrix, epsilon: float, value: float) -> Points:
    # Mengi, Overton: e^{it} is an eigenvalue of this iff epsilon is a singular value at value e^{it}
    eye, zero = np.eye(len(A)), np.zeros_like(A)
    left = np.block([[A, epsilon * eye], [zero, value * eye]])
    right = np.block([[value * eye, zero], [epsilon * eye, A.conj().T]])
    found = _pencil_eigenvalues(left, right)
    near = np.abs(np.abs(found) - 1.0) <= _LOOSE
    return np.asarray(value * np.exp(1j * np.sort(np.angle(found[near]))))


def _pencil_eigenvalues(left: Matrix, right: Matrix) -> Points:
    """Finite eigenvalues of left v = λ right v, by a Cayley transform or, where ill-conditioned, QZ."""
    functions: Any = get_lapack_funcs(("getrf", "getrs", "gecon"), (left, right))
    getrf, getrs, gecon = functions
    total = left + right
    factor, pivots, _ = getrf(total)
    if gecon(factor, np.abs(total).sum(axis=0).max())[0] > _INVERTIBLE:
        mu = eigvals(getrs(factor, pivots, left - right)[0])
        mu = mu[mu != 1.0]
        return np.asarray((1.0 + mu) / (1.0 - mu))
    alpha, beta = eigvals(left, right, homogeneous_eigvals=True)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no crossing
        return np.asarray(alpha[beta != 0] / beta[beta != 0])


def _line_middles(z: Points, value: float) -> Points:
    return (z[1:] + z[:-1]) / 2


def _circle_middles(z: Points, value: float) -> Points:
    if len(z) == 0:
        return z
    angles = np.angle(z)
    gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
    return value * np.exp(1j * (angles + gaps / 2))


LINES = Curve(
    level=lambda z: z.real,
    outward=lambda z: 1.0,
    crossings=_line_crossings,
    middles=_line_middles,
    least=-np.inf,
)
CIRCLES = Curve(
    level=np.abs,
    outward=lambda z: np.exp(1j * np.angle(z)),
    crossings=_circle_crossings,
    middles=_circle_middles,
    least=0.0,
)


def farthest_point(form: SchurForm, epsilon: float, curve: Curve) -> Extremum:
    """Largest level of `curve` over the ε-pseudospectrum, by criss-cross.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    epsilon : float
        The pseudospectral level, in the units of A, above 0.
    curve : Curve
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
    with threadpool_limits(1, "blas"):  # more make LAPACK slower at these orders, much so in company
        return _farthest_point(form, epsilon, curve)


def _farthest_point(form: SchurForm, epsilon: float, curve: Curve) -> Extremum:
    search = _Search(form, epsilon, curve)
    if search.epsilon <= search.floor:
        warn(
            f"epsilon = {epsilon:.2g} is below the rounding level {search.floor * search.unit:.2g} of A: "
            "the interval says what is left; use a larger epsilon or higher precision",
            AccuracyWarning,
            stacklevel=5,
        )
    z = search.start()
    for step in range(1, _MOST_STEPS + 1):
        value = float(curve.level(z))
        better = search.beyond(value)
        if better is None or float(curve.level(better)) <= value + 1e-14 * max(abs(value), search.scale):
            return search.certified(z, step)
        z = better
    best = search.certified(z, _MOST_STEPS)
    raise ConvergenceError(
        f"criss-cross did not settle in {_MOST_STEPS} steps (epsilon = {epsilon}); best.lower is attained",
        best,
    )


class _Search:
    """One criss-cross search, in units of the larger of ``form.scale`` and, to a power of two, epsilon."""

    def __init__(self, form: SchurForm, epsilon: float, curve: Curve) -> None:
        unit = common_unit(form, epsilon)
        self.form, self.curve, self.unit = form, curve, unit
        self.A, self.epsilon = form.A / unit, epsilon / unit
        self.scaled = dataclasses.replace(
            form, A=self.A, T=form.T * (form.scale / unit), scale=1.0, eigenvalues=form.eigenvalues / unit
        )
        self.scale = norm_bound(self.scaled) + self.epsilon
        self.floor = rounding_floor(self.scaled, self.scale)

    def sigma(self, z: complex) -> float:
        return float(np.linalg.svd(z * np.eye(len(self.A)) - self.A, compute_uv=False)[-1])

    def start(self) -> complex:
        """Follow rays from the outermost eigenvalues; give the best end."""
        order = np.argsort(-self.curve.level(self.scaled.eigenvalues), kind="stable")
        return self._outermost(self.scaled.eigenvalues[order[: 2 * _RAYS]])

    def beyond(self, value: float) -> complex | None:
        """Find a boundary point of the pseudospectrum farther out than the curve at `value`, if any."""
        inside = self.inside(value, self.epsilon)
        return self._outermost(inside[:_RAYS]) if len(inside) else None

    def inside(self, value: float, epsilon: float) -> Points:
        """Points of the curve at `value` with σ_min below epsilon, deepest first; none if it has none."""
        crossings = self.curve.crossings(self.A, epsilon, value)
        points = np.concatenate([crossings, self.curve.middles(crossings, value)])
        if len(points) == 0:
            return points
        found = smallest_singular_values(self.scaled, points, rtol=1e-10, delta=1e-3, threads=1).sigma_min
        deepest = np.argsort(found, kind="stable")
        return points[deepest[: np.count_nonzero(found < epsilon)]]

    def _outermost(self, inside: Points) -> complex:
        ends = np.array([self._ray_end(complex(z)) for z in inside])
        return complex(ends[np.argmax(self.curve.level(ends))])

    def _ray_end(self, z: complex) -> complex:
        """Where the ray from z outwards leaves the pseudospectrum (z itself if it is outside by rounding)."""
        direction = complex(self.curve.outward(z))
        level = float(self.curve.level(z))
        length = max(2.0 * self.scale - level, self.scale)
        excess = lambda t: self.sigma(z + t * direction) - self.epsilon  # noqa: E731
        if excess(0.0) >= 0.0:
            return z
        return z + brentq(excess, 0.0, length, xtol=4e-16 * self.scale, rtol=1e-15) * direction

    def certified(self, z: complex, step: int) -> Extremum:
        """Widen from z to a point inside and a curve outside, both by more than rounding noise."""
        direction = complex(self.curve.outward(z))
        value = float(self.curve.level(z))
        least = max(self.curve.least, -self.scale)
        lower, width = value, self.floor
        while self.sigma(z - (value - lower) * direction) > self.epsilon - self.floor and lower > least:
            lower, width = max(value - width, self.curve.least), 2.0 * width
        upper, width = value, max(value - lower, self.floor)
        while upper == value or len(self.inside(upper, self.epsilon + self.floor)):
            upper, width = value + width, 2.0 * width
        residual = abs(self.sigma(z) - self.epsilon)
        points = np.array([z, z.conjugate()] if self.form.is_real and z.imag != 0 else [z], dtype=complex)
        return Extremum(
            value=value * self.unit,
            lower=lower * self.unit,
            upper=upper * self.unit,
            points=np.asarray(points * self.unit),
            residual=residual * self.unit,
            steps=step,
        )
