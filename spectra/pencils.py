"""Matrix pencils zB - A: what a grid asks of one, and the scales and intervals that all kinds share."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from spectra.cost import grid_cost
from spectra.inverse_lanczos import Complexes, Floats, Found
from spectra.resolvent import SmallestSingularValues
from spectra.scaling import UNIT_ROUNDOFF, refuse_overflow, rescaled
from spectra.threads import Progress

Region = tuple[float, float, float, float]


class Pencil(Protocol):
    """A pencil zB - A (B = I where there is none), reduced once so that values at many z are cheap.

    Attributes
    ----------
    n : int
        Number of columns.
    is_real : bool
        Whether σ_min(z̄B - A) = σ_min(zB - A).
    eigenvalues : ndarray of complex
        Finite eigenvalues, as far as there are any and they are known.
    norm_bound : float
        Upper bound of ‖A‖.
    slope : float
        Upper bound β of ‖B‖: σ_min changes by at most β |z - w| from z to w, and
        σ_min² - β² |z|² is concave.
    """

    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def is_real(self) -> bool: ...  # noqa: D102
    @property
    def eigenvalues(self) -> Complexes: ...  # noqa: D102
    @property
    def norm_bound(self) -> float: ...  # noqa: D102
    @property
    def slope(self) -> float: ...  # noqa: D102

    def region(self) -> Region:
        """Give a rectangle that shows the pseudospectra."""

    def smallest_singular_values(
        self,
        z: Complexes,
        *,
        rtol: float,
        delta: float,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SmallestSingularValues:
        """Give σ_min(zB - A) at each point; arguments as of `resolvent.smallest_singular_values`."""

    def sigma_min(self, z: complex) -> float:
        """Give σ_min(zB - A) at one point by a direct method, to within the floor."""


class Shifts(NamedTuple):
    """zB - A = unit (w S - c T) at a vector of points, for A = scale_A T and B = scale_B S.

    Attributes
    ----------
    w : ndarray of complex, shape (m,)
        Factors of S.
    c : float
        Factor of T, at most 1.
    unit : float
        A power of two near the larger of ‖A‖ and max |z| ‖B‖.
    floor : float
        Level of rounding noise in this unit: n u (‖A‖ + max |z| ‖B‖), with at least n = 10.
    """

    w: Complexes
    c: float
    unit: float
    floor: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Powers of two that bring A and B to unit size, and what bounds the rounding.

    Attributes
    ----------
    order : int
        Larger dimension of the matrices.
    scale, norm : float
        Power of two and upper bound of ‖A‖.
    slope_scale, slope : float
        Power of two and upper bound of ‖B‖.
    """

    order: int
    scale: float
    norm: float
    slope_scale: float
    slope: float

    @classmethod
    def of(cls, T: Any, scale_A: float, S: Any | None = None, scale_B: float = 1.0) -> Self:
        """Measure A = scale_A T and B = scale_B S, or the identity; refuse what would overflow."""
        norm = entrywise_norm_bound(T) * scale_A
        slope = 1.0 if S is None else entrywise_norm_bound(S) * scale_B
        refuse_overflow(norm, "the entries of A")
        refuse_overflow(slope, "the entries of B")
        return cls(max(T.shape), scale_A, norm, scale_B, slope)

    def at(self, z: Complexes) -> Shifts:
        """Give zB - A at points z in a common unit."""
        farthest = float(np.abs(z).max(initial=0.0))
        reach = self.norm + farthest * self.slope
        refuse_overflow(reach, "A and zB")
        of_A, of_B = (int(np.frexp(scale)[1]) - 1 for scale in (self.scale, self.slope_scale))
        exponent = max(of_A if self.norm > 0 else -1021, -1021)
        if farthest * self.slope > 0:
            exponent = max(exponent, int(np.frexp(farthest)[1]) + of_B)
        parts = np.ascontiguousarray(z, dtype=np.complex128).view(np.float64)
        w = np.ldexp(parts, of_B - exponent).view(np.complex128) if self.slope > 0 else np.zeros_like(z)
        c, unit = float(np.ldexp(1.0, of_A - exponent)), float(np.ldexp(1.0, exponent))
        return Shifts(w, c, unit, max(self.order, 10) * UNIT_ROUNDOFF * (reach / unit))


def entrywise_norm_bound(M: Any) -> float:
    """Upper bound of ‖M‖: the smaller of ‖M‖_F and (‖M‖_1 ‖M‖_inf)^(1/2); dense or sparse.

    Parameters
    ----------
    M : matrix
        Entries near unit size.

    Returns
    -------
    float
        The bound.
    """
    entries = M.ravel() if isinstance(M, np.ndarray) else M.data
    size = abs(M)
    mixed = np.sqrt(float(size.sum(axis=0).max()) * float(size.sum(axis=1).max()))
    return float(min(np.linalg.norm(entries), mixed))


def finite_points(points: Complexes, scale: float) -> Complexes:
    """Give ``points * scale``, without those that are or become infinite or undefined.

    Parameters
    ----------
    points : ndarray of complex
        Points.
    scale : float
        Their unit.

    Returns
    -------
    ndarray of complex
        Those that are numbers.
    """
    with np.errstate(invalid="ignore"):
        scaled = rescaled(points, scale)
    return scaled[np.isfinite(scaled)]


def refuse_memory(need: int, what: str, instead: str) -> None:
    """Let pass what fits into the memory that is available.

    Parameters
    ----------
    need : int
        Bytes.
    what, instead : str
        What needs them, and what to take instead, for the message.

    Raises
    ------
    ValueError
        If it does not fit.
    """
    free = grid_cost(1).available_bytes
    if need > free:
        raise ValueError(
            f"{what} needs {need / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are available; "
            f"take {instead}"
        )


def region_around(points: Complexes, radius: float, *, is_real: bool) -> Region:
    """Enclose points and half their spread, or a disc around 0 where there are none; and a near unit circle.

    Parameters
    ----------
    points : ndarray of complex
        Eigenvalues or estimates.
    radius : float
        A length for where the points have no spread.
    is_real : bool
        Whether the region shall be symmetric about the real axis.

    Returns
    -------
    (xmin, xmax, ymin, ymax)
        The rectangle.

    Raises
    ------
    ValueError
        If it comes near the largest float.
    """
    x, y = (points.real, points.imag) if len(points) else (np.zeros(1), np.zeros(1))
    spread = float(max(np.ptp(x), np.ptp(y)))
    margin = 0.5 * spread if spread > 1e-3 * radius else radius or 1.0
    low, high = np.array([x.min(), y.min()]) - margin, np.array([x.max(), y.max()]) + margin
    if len(points) and 0.25 <= np.abs(points).max() <= 4.0:
        low, high = np.minimum(low, -1.1), np.maximum(high, 1.1)
    refuse_overflow(max(-low.min(), high.max()), "the entries of A over those of B")
    if is_real:
        high[1] = max(-low[1], high[1])
        low[1] = -high[1]
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def intervals(found: Found, at: Shifts, noise: Floats | float = 0.0) -> SmallestSingularValues:
    """Give values in the units of A, with intervals widened by the floor.

    Parameters
    ----------
    found : Found
        Values in units of `at.unit`.
    at : Shifts
        The points they belong to.
    noise : ndarray or float
        What each interval is to be widened by beyond the floor, in the same units.

    Returns
    -------
    SmallestSingularValues
        Values and intervals.
    """
    sigma, width = found.sigma * at.unit, (at.floor + np.asarray(noise)) * at.unit
    lower, floor = (
        np.maximum(found.lower * at.unit - width, 0.0),
        float(width.max(initial=at.floor * at.unit)),
    )
    return SmallestSingularValues(sigma, lower, sigma + width, found.steps, floor)
