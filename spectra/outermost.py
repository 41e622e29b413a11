"""The outermost point of the numerical range, found by supporting lines and proven by Ando's bound."""

from __future__ import annotations

import functools

import numpy as np
from scipy.optimize import brentq

from spectra.ando import ando_bound
from spectra.checks import Matrix
from spectra.lapack import pencil_eigenvalues
from spectra.results import Extremum
from spectra.scaling import UNIT_ROUNDOFF
from spectra.supporting_lines import Floats, Lines, Points, first_lines, more_lines, supporting_line

_CUTS = 24  # supporting lines beyond the first that look for the outermost point
_PEAKS = 3  # of the arcs that may hold it, how many are searched to the end
_NARROW = 1e-6  # between lines at a smaller angle no other is drawn
_CLOSE = 1e-12  # relative distance of the first upper bound that is tried from the value
_LOOSE = 1e-3  # an eigenvalue this near the unit circle counts as a crossing


def outermost_point(A: Matrix) -> Extremum:
    """Largest abs(z) over the numerical range of A, with a proof.

    Parameters
    ----------
    A : ndarray, shape (n, n)
        A matrix whose largest entry is near 1, or zero.

    Returns
    -------
    Extremum
        As `numerical_radius` describes it.
    """
    lines = _cut(A)
    floor, margin = lines.floor(len(A)), max(_CLOSE, 8 * len(A) * UNIT_ROUNDOFF)
    best = _highest(A, _open_arcs(lines, floor), lines.points)
    bound, steps, settled = min(lines.reach, float(np.linalg.norm(A, 2))), 0, False
    while bound > abs(best) * (1 + margin):
        target = abs(best) * (1 + margin / 2)
        bound, steps = min(bound, ando_bound(A, target)), steps + 1
        if bound <= abs(best) * (1 + margin):
            break
        if not settled:
            better = _highest(A, _arcs_above(A, target), np.array([best]))
            settled = abs(better) <= target
            best = better
        else:
            margin *= 10
    return _with_residual(A, best, bound, floor, steps)


def _with_residual(A: Matrix, best: complex, bound: float, floor: float, steps: int) -> Extremum:
    point, x = supporting_line(A, float(np.angle(best)))[1:]
    if A.dtype == np.float64 and best.imag == 0:  # rounding of π turned it out of the axis
        point = complex(point.real)
    value, turn = abs(point), np.exp(-1j * np.angle(point))
    gradient = (turn * (A @ x) + (turn * A).conj().T @ x) / 2 - value * x
    return Extremum(
        value=value,
        lower=max(value - floor, 0.0),
        upper=max(bound, value) + floor,
        points=np.array([point, point.conjugate()] if A.dtype == np.float64 and point.imag else [point]),
        residual=float(np.linalg.norm(gradient)),
        steps=steps,
    )


def _cut(A: Matrix) -> Lines:
    """Put supporting lines across the farthest corner, until a point lies as far out."""
    lines = first_lines(A)
    for _ in range(_CUTS):
        corners = lines.corners()
        k = int(np.argmax(np.abs(corners)))
        left, right = lines.angles[k : k + 2]
        if abs(corners[k]) <= np.abs(lines.points).max() + lines.floor(len(A)):
            break
        angle = left + float(np.angle(corners[k] * np.exp(-1j * left)))
        if not left + _NARROW < angle < right - _NARROW:
            break
        lines = more_lines(A, lines, np.array([angle]))
    return lines


def _open_arcs(lines: Lines, floor: float) -> Floats:
    """Give the ends of the arcs with the farthest corners, as far as these are beyond all points."""
    reach = np.abs(lines.corners())
    order = np.argsort(-reach, kind="stable")
    order = order[reach[order] > np.abs(lines.points).max() + floor][:_PEAKS]
    return np.column_stack([lines.angles[order], lines.angles[order + 1]])


def _arcs_above(A: Matrix, level: float) -> Floats:
    """Give the arcs of angles at which the support exceeds `level`, those first where it does most."""
    # Mengi, Overton: level is an eigenvalue of H(-t) and vector y iff e^{it} of the pencil, (e^{it}y, y)
    eye, zero = np.eye(len(A)), np.zeros_like(A)
    left = np.block([[2 * level * eye, -A.conj().T], [eye, zero]])
    alpha, beta = pencil_eigenvalues(left, np.block([[A, zero], [zero, eye]]))
    near = np.abs(np.abs(alpha) - np.abs(beta)) <= _LOOSE * np.abs(beta)
    ends = np.sort(np.angle(beta[near] * alpha[near].conj()))
    if len(ends) == 0:
        return np.zeros((0, 2))
    arcs = np.column_stack([ends, np.append(ends[1:], ends[0] + 2 * np.pi)])
    support = np.array([supporting_line(A, middle)[0] for middle in arcs.mean(axis=1)])
    order = np.argsort(-support, kind="stable")
    return arcs[order[support[order] > level]][:_PEAKS]


def _highest(A: Matrix, arcs: Floats, points: Points) -> complex:
    """Search arcs of angles for the point of W(A) farthest from 0; give it, or one of `points`."""
    found = list(points)

    @functools.cache
    def slope(angle: float) -> float:
        point = supporting_line(A, angle)[1]
        found.append(point)
        return (point * np.exp(-1j * angle)).imag

    for left, right in arcs:
        if slope(left) > 0 > slope(right):
            brentq(slope, left, right, xtol=1e-11)
        else:
            slope((left + right) / 2)
    return max(found, key=abs)
