"""Supporting lines of the numerical range, where they touch it and where they meet."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from spectra.checks import Matrix
from spectra.errors import ConvergenceError
from spectra.scaling import UNIT_ROUNDOFF

Floats = NDArray[np.float64]
Points = NDArray[np.complex128]


def supporting_line(A: Matrix, angle: float) -> tuple[float, complex, Points]:
    """Supporting line Re(e^{-iθ} z) = h of W(A) with the outward normal e^{iθ}, and a point where it touches.

    Parameters
    ----------
    A : ndarray, shape (n, n)
        A matrix whose largest entry is near 1.
    angle : float
        θ in radians.

    Returns
    -------
    support : float
        h(θ), the largest eigenvalue of H(θ) = (e^{-iθ} A + e^{iθ} A*)/2.
    point : complex
        x*Ax for a unit eigenvector x of it.
    x : ndarray, shape (n,)
        The eigenvector.

    Raises
    ------
    ConvergenceError
        If LAPACK's eigenvalue iteration fails.
    """
    n = len(A)
    turned = np.exp(-1j * angle) * A
    try:
        support, x = eigh((turned + turned.conj().T) / 2, subset_by_index=(n - 1, n - 1), check_finite=False)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(
            f"LAPACK heevr failed on a Hermitian part at {angle} rad ({error}); try A plus tiny noise"
        ) from None
    x = x[:, 0]
    return float(support[0]), complex(np.vdot(x, A @ x) / np.vdot(x, x).real), x


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Supporting lines in the order of their angles.

    Attributes
    ----------
    angles : ndarray, shape (m,)
        θ of the outward normals e^{iθ}, rising by at most π/2: from 0 to 2π, or for a real matrix to π, as
        all else is the mirror image.
    support : ndarray, shape (m,)
        h(θ) = max Re(e^{-iθ} z) over W(A).
    points : ndarray of complex, shape (m,)
        Where the lines touch W(A).
    """

    angles: Floats
    support: Floats
    points: Points

    @property
    def reach(self) -> float:
        """Distance of the farthest corner from 0, at least w(A) and at most 1.5 w(A)."""
        return float(np.abs(self.corners()).max())

    @property
    def size(self) -> float:
        """Half the larger side of the box around the points and their mirror images, if there are such."""
        mirrored = self.angles[-1] < 4.0
        return max(float(np.ptp(self.points.real)), float(np.ptp(self.points.imag)) * (1 + mirrored)) / 2

    def floor(self, n: int) -> float:
        """Give the rounding for a matrix of order n: (n + 3) u times 2 w(A), which is ‖A‖₂ or more."""
        return 2 * (n + 3) * UNIT_ROUNDOFF * self.reach

    def corners(self) -> Points:
        """Give the points, shape (m - 1,), where each line meets the next."""
        step, turn = np.diff(self.angles), np.exp(-1j * self.angles[:-1])
        along = (self.support[1:] - self.support[:-1] * np.cos(step)) / np.sin(step)
        first, last = (turn * self.points[:-1]).imag, (turn * self.points[1:]).imag
        along = np.clip(along, first, np.maximum(first, last))  # rounding moves it where the step is small
        return np.asarray((self.support[:-1] + 1j * along) / turn)

    def gaps(self) -> Floats:
        """Give the distance of each corner from the chord between its two touching points, shape (m - 1,)."""
        chords, beyond = np.diff(self.points), self.corners() - self.points[:-1]
        squares = np.abs(chords) ** 2
        share = (chords.conj() * beyond).real / np.where(squares > 0, squares, 1.0)
        return np.asarray(np.abs(beyond - np.clip(share, 0.0, 1.0) * chords))


def first_lines(A: Matrix) -> Lines:
    """Give the supporting lines of a matrix at multiples of π/2."""
    real = A.dtype == np.float64
    empty = Lines(np.zeros(0), np.zeros(0), np.zeros(0, dtype=complex))
    lines = more_lines(A, empty, np.linspace(0.0, np.pi, 3) if real else np.linspace(0.0, 2 * np.pi, 5))
    if real:  # with a point where the normal is real its mirror image is there, and their middle
        lines.points[[0, -1]] = lines.points[[0, -1]].real
    return lines


def more_lines(A: Matrix, lines: Lines, angles: Floats) -> Lines:
    """Give the supporting lines of a matrix with those at further angles among them."""
    found = [supporting_line(A, float(angle))[:2] for angle in angles]
    together = np.append(lines.angles, angles)
    order = np.argsort(together, kind="stable")
    return Lines(
        angles=together[order],
        support=np.append(lines.support, [line[0] for line in found])[order],
        points=np.append(lines.points, np.array([line[1] for line in found], dtype=complex))[order],
    )
