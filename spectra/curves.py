"""Circles around 0 and vertical lines: families of curves that sweep the plane outwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from spectra.checks import Matrix
from spectra.lapack import eigenvalues, pencil_eigenvalues

Floats = NDArray[np.float64]
Points = NDArray[np.complex128]

_INVERTIBLE = 1e-6  # least reciprocal condition number of a matrix that is inverted
_LOOSE = 1e-3  # an eigenvalue counts as a crossing when it is this near the curve, relative to the norm


class Lines:
    """Vertical lines; the level of a line is Re z, a place on it is Im z."""

    least = -np.inf

    def level(self, z: Any) -> Any:
        """Levels of the lines through points."""
        return np.real(z)

    def convex(self, level: float) -> float:
        """Give the coordinate in which log max ‖(zI - A)^-1‖ is convex: the three lines theorem."""
        return level

    def place(self, z: Any) -> Any:
        """Places of points on their lines."""
        return np.imag(z)

    def point(self, level: Any, place: Any) -> Any:
        """Points at places of lines."""
        return level + 1j * np.asarray(place)

    def outward(self, z: Any) -> Any:
        """Give the unit direction in which the level grows fastest."""
        return 1.0

    def span(self, level: float, reach: float) -> tuple[float, float]:
        """Upper half of the places outside of which σ_min is larger than at place 0."""
        # there it is at most abs(level) + w(A), elsewhere at least abs(z) - w(A) (w: `reach`)
        return 0.0, 2 * reach + abs(level)

    def length(self, level: float, gap: Floats) -> Floats:
        """Lengths of pieces of a line between places a `gap` apart."""
        return gap

    def sag(self, level: float, gap: Floats, reach: float) -> Floats:
        """Bend κ of σ_min² over pieces of a line: see `spectra.minima`."""
        return gap**2

    def crossings(self, A: Matrix, epsilon: float, level: float) -> Points:
        """Points of a line that include, but for rounding, all where epsilon is a singular value."""
        # Burke, Lewis, Overton: iy is an eigenvalue of this iff epsilon is a singular value at level + iy
        eye = np.eye(len(A))
        shifted = A - level * eye
        found = eigenvalues(np.block([[shifted, epsilon * eye], [-epsilon * eye, -shifted.conj().T]]))
        near = np.abs(found.real) <= _LOOSE * (np.linalg.norm(A) + abs(level) + epsilon)
        return np.asarray(level + 1j * np.sort(found[near].imag))

    def middles(self, z: Points, level: float) -> Points:
        """Points of a line between each two neighbours among the points z, which are sorted."""
        return (z[1:] + z[:-1]) / 2


class Circles:
    """Circles around 0; the level of a circle is its radius, a place on it is an angle."""

    least = 0.0

    def level(self, z: Any) -> Any:
        """Radii of the circles through points."""
        return np.abs(z)

    def convex(self, level: float) -> float:
        """Give the coordinate in which log max ‖(zI - A)^-1‖ is convex: the three circles theorem."""
        return float(np.log(level))

    def place(self, z: Any) -> Any:
        """Angles of points."""
        return np.angle(z)

    def point(self, level: Any, place: Any) -> Any:
        """Points at angles of circles."""
        return level * np.exp(1j * np.asarray(place))

    def outward(self, z: Any) -> Any:
        """Give the unit direction in which the radius grows fastest."""
        return np.exp(1j * np.angle(z))

    def span(self, level: float, reach: float) -> tuple[float, float]:
        """Angles of the upper half."""
        return 0.0, np.pi

    def length(self, level: float, gap: Floats) -> Floats:
        """Lengths of arcs between angles a `gap` apart."""
        return level * gap

    def sag(self, level: float, gap: Floats, reach: float) -> Floats:
        """Bend κ of σ_min² over arcs: see `spectra.minima`."""
        return 16.0 * reach * level * np.sin(gap / 4) ** 2

    def crossings(self, A: Matrix, epsilon: float, level: float) -> Points:
        """Points of a circle that include, but for rounding, all where epsilon is a singular value."""
        # Mengi, Overton: e^{it} is an eigenvalue of this iff epsilon is a singular value at level e^{it}
        eye, zero = np.eye(len(A)), np.zeros_like(A)
        left = np.block([[A, epsilon * eye], [zero, level * eye]])
        right = np.block([[level * eye, zero], [epsilon * eye, A.conj().T]])
        found = _pencil_eigenvalues(left, right)
        near = np.abs(np.abs(found) - 1.0) <= _LOOSE
        return np.asarray(level * np.exp(1j * np.sort(np.angle(found[near]))))

    def middles(self, z: Points, level: float) -> Points:
        """Points of a circle between each two neighbours among the points z, which are sorted."""
        if len(z) == 0:
            return z
        angles = np.angle(z)
        gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
        return np.asarray(level * np.exp(1j * (angles + gaps / 2)))


Curves = Lines | Circles
LINES, CIRCLES = Lines(), Circles()


def mirrored(z: complex, is_real: bool) -> Points:
    """Give a point and, for a real matrix, its mirror image; one point where z is real up to rounding."""
    if abs(z.imag) <= 4e-16 * abs(z):
        z = complex(z.real)
    return np.array([z, z.conjugate()] if is_real and z.imag != 0 else [z])


def _pencil_eigenvalues(left: Matrix, right: Matrix) -> Points:
    """Finite eigenvalues of left v = λ right v, by a Cayley transform or, where ill-conditioned, QZ."""
    functions: Any = get_lapack_funcs(("getrf", "getrs", "gecon"), (left, right))
    getrf, getrs, gecon = functions
    total = left + right
    factor, pivots, _ = getrf(total)
    if gecon(factor, np.abs(total).sum(axis=0).max())[0] > _INVERTIBLE:
        mu = eigenvalues(getrs(factor, pivots, left - right)[0])
        alpha, beta = 1.0 + mu, 1.0 - mu
    else:
        alpha, beta = pencil_eigenvalues(left, right)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no crossing
        return np.asarray(alpha[beta != 0] / beta[beta != 0])
