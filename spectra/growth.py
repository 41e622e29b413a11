"""Bounds of ‖A^k‖ and ‖exp(tA)‖ over time, from norms, fields of values, eigenvectors and resolvents."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from spectra.field_of_values import numerical_abscissa, numerical_radius
from spectra.resolvent import dense_sigma_min, rounding_floor
from spectra.results import Extremum
from spectra.scaling import UNIT_ROUNDOFF, unit_scaled
from spectra.schur import SchurForm
from spectra.stability import kreiss_interval

Floats = NDArray[np.float64]

_POINTS = 8  # beyond the boundary of stability, for lower bounds
_POWER_ERROR = 1e-12  # relative, of pow and of exp where it is a float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class GrowthBounds:
    """Upper bounds C g^t (discrete) or C exp(gt) (continuous), and pseudo-eigenvalues for lower ones.

    Attributes
    ----------
    discrete : bool
        Whether the bounds are of ‖A^t‖ rather than of ‖exp(tA)‖.
    constants, rates : ndarray
        C >= 1 and g of each upper bound.
    levels, residuals : ndarray
        abs(z), or Re z, of some points, and an upper bound of σ_min(zI - A) there.
    kreiss : Extremum
        The Kreiss constant.
    """

    discrete: bool
    constants: Floats
    rates: Floats
    levels: Floats
    residuals: Floats
    kreiss: Extremum

    @property
    def neutral(self) -> float:
        """The rate at which nothing grows: 1 for powers, 0 for exponentials."""
        return 1.0 if self.discrete else 0.0

    def factors(self, rates: Floats, times: Floats) -> Floats:
        """g^t or exp(gt): inf and 0 beyond the floats."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.power(rates, times) if self.discrete else np.exp(rates * times))

    def upper(self, times: Floats) -> Floats:
        """Upper bound of the norm at each time."""
        with np.errstate(over="ignore"):
            curves = self._above(self.rates[:, None], times) * self.constants[:, None]
        return np.asarray(curves.min(axis=0))

    def upper_within(self, length: float) -> float:
        """Upper bound of the norms over all times from 0 to `length`."""
        rising = np.maximum(self.rates, self.neutral)
        with np.errstate(over="ignore"):
            return float((self._above(rising, np.array(length)) * self.constants).min())

    def upper_from(self, start: float) -> float:
        """Upper bound of the norms over all times from `start` on; inf where none is known."""
        falling = np.where(self.rates <= self.neutral, self._above(self.rates, np.array(start)), np.inf)
        return float((falling * self.constants).min())

    def _above(self, rates: Floats, times: Floats) -> Floats:
        """Factors at least as large as the exact ones."""
        exact = (rates == self.neutral) | (times == 0)
        with np.errstate(over="ignore"):
            return np.asarray(self.factors(rates, times) * np.where(exact, 1.0, 1 + _POWER_ERROR))

    def perturbation(self, length: float, backward: float) -> float:
        """Upper bound of ‖exp(length A + E) - exp(length A)‖ over ‖E‖ <= backward."""
        # the integral over s of exp((1 - s) length A) E exp(s (length A + E)), both factors by C exp(gt)
        with np.errstate(over="ignore"):
            worst = self.constants**2 * np.exp(self.rates * length + self.constants * backward)
            return float((backward * worst).min())

    def lower(self, times: Floats) -> Floats:
        """Lower bound of the norm at each time."""
        best = np.where(times == 0, 1.0, 0.0)
        for level, residual in zip(self.levels, self.residuals, strict=True):
            for constant, rate in zip(self.constants, self.rates, strict=True):
                with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                    kept = 1 - residual * constant * self._overlap(level, rate, times)
                    found = self.factors(level, times) * kept
                best = np.fmax(best, np.where(kept > 0, found, 0.0))
        return best

    def lower_until(self, times: Floats) -> Floats:
        """Lower bound of the largest norm up to each time."""
        best = np.ones_like(times)
        for level, residual in zip(self.levels, self.residuals, strict=True):
            with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
                lost = residual * self._overlap(level, self.neutral, times)
                found = 1 / ((1 + _POWER_ERROR) / self.factors(level, times) + lost)
            best = np.fmax(best, found)
        return np.asarray(np.maximum.accumulate(best))

    def _overlap(self, level: float, rate: float, times: Floats) -> Floats:
        """Bound the sum over j < t of level^(-1-j) rate^j, or the integral of exp((rate - level) s)."""
        unit = level if self.discrete else 1.0
        if unit == 0:
            return np.full_like(times, np.inf)
        gap = (rate - level) / unit
        with np.errstate(divide="ignore"):
            log = np.log1p(gap) if self.discrete else gap
        rounding = 1e-9 + 8 * UNIT_ROUNDOFF * times * (1.0 if self.discrete else abs(level) + abs(rate))
        found = times if gap == 0 else np.expm1(times * log) / gap
        return np.asarray(found / unit * (1 + rounding))


def growth_bounds(form: SchurForm, dynamics: str) -> GrowthBounds:
    """All bounds of the growth of one matrix.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    dynamics : {"discrete", "continuous"}
        Powers or exponentials.

    Returns
    -------
    GrowthBounds
        Those by the norm and numerical radius, or the numerical abscissa; by the eigenvectors; by the Kreiss
        constant, which also gives a point for lower bounds beside the outermost eigenvalue.
    """
    discrete = dynamics == "discrete"
    kreiss, _ = kreiss_interval(form, dynamics, rtol=1e-3)
    if discrete:
        pairs = [(1.0, norm_above(form)), (2.0, numerical_radius(form).upper)]
    else:
        pairs = [(1.0, _abscissa_above(form))]
    theorem = math.e * form.n * float(kreiss.upper), 1.0 if discrete else 0.0
    pairs += [_eigenvector_bound(form, discrete), theorem]
    pairs = [pair for pair in pairs if np.isfinite(pair[0])]
    points = [outermost_eigenvalue(form, discrete)]
    points += [z for point in kreiss.points[:1] for z in _outwards(complex(point), discrete)]
    residuals = [dense_sigma_min(form, z) + rounding_floor(form, abs(z)) for z in points]
    return GrowthBounds(
        discrete=discrete,
        constants=np.array([constant for constant, _ in pairs]),
        rates=np.array([rate for _, rate in pairs]),
        levels=np.array([abs(z) if discrete else z.real for z in points]),
        residuals=np.array(residuals),
        kreiss=kreiss,
    )


def _outwards(z: complex, discrete: bool) -> list[complex]:
    """Points as far from the boundary of stability as z, twice as far, four times..., for early times."""
    steps = 2.0 ** np.arange(_POINTS)
    if discrete:
        return [complex(z / abs(z) * (1 + (abs(z) - 1) * step)) for step in steps]
    return [complex(z.real * step, z.imag) for step in steps]


def outermost_eigenvalue(form: SchurForm, discrete: bool) -> complex:
    """Give the eigenvalue of largest modulus, or of largest real part."""
    values = form.eigenvalues
    with np.errstate(over="ignore", under="ignore"):
        return complex(values[np.argmax(np.abs(values) if discrete else values.real)])


def norm_above(form: SchurForm) -> float:
    """Give an upper bound of ‖A‖, exact where A has one entry at most in each row and column."""
    matrix, scale = unit_scaled(form.A)
    sizes = np.abs(matrix)
    most = max(int((sizes > 0).sum(axis=axis).max()) for axis in (0, 1))
    if most <= 1:
        return float(sizes.max()) * scale
    noise = 1 + 4 * (form.n + 4) * UNIT_ROUNDOFF
    return float(np.linalg.norm(matrix, 2)) * noise * scale


def _abscissa_above(form: SchurForm) -> float:
    """Upper bound of ω(A), which is 0 for a matrix that is skew-Hermitian to the last bit."""
    matrix, scale = unit_scaled(form.A)
    size = float(np.linalg.norm((matrix + matrix.conj().T) / 2)) * scale
    return numerical_abscissa(form) + 4 * (form.n + 4) * UNIT_ROUNDOFF * size


def _eigenvector_bound(form: SchurForm, discrete: bool) -> tuple[float, float]:
    """Bound κ(V) g^t from V^-1 A V = Λ + V^-1 R for computed V and Λ; κ(V) = inf where V is near-singular."""
    matrix, scale = unit_scaled(form.A)
    values, V = np.linalg.eig(matrix)
    singular = np.linalg.svd(V, compute_uv=False)
    noise = 4 * (form.n + 4) * UNIT_ROUNDOFF
    smallest = float(singular[-1]) - noise * float(singular[0])
    if smallest <= 0:
        return float("inf"), float("inf")
    size = float(np.linalg.norm(matrix)) + float(np.abs(values).max())
    residual = float(np.linalg.norm(matrix @ V - V * values)) + noise * size * float(np.linalg.norm(V))
    level = float((np.abs(values) if discrete else values.real).max())
    condition = float(singular[0]) * (1 + noise) / smallest
    return condition, (level + residual / smallest) * scale
