"""One matrix of a network in detail: its measures with intervals, portrait, growth, singular values."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rnn.measuring.measured_matrix import MeasuredMatrix
from rnn.measuring.measures import MEASURES
from rnn.measuring.number_formats import RoundingEffect, rounding_effects
from spectra.distribution import SpectralDistribution, singular_value_distribution
from spectra.errors import ConvergenceError
from spectra.norms import spectral_norm_bounds
from spectra.overview import Measures, measures
from spectra.pseudospectra import pseudospectrum
from spectra.results import Pseudospectrum
from spectra.scaling import unit_scaled
from spectra.schur import SchurForm
from spectra.transients import TransientGrowth, transient_growth

Floats = NDArray[np.float64]
Part = TypeVar("Part")

LARGEST = 2048  # order up to which a matrix gets more than its norms, unless asked otherwise
PORTRAIT = (60, 60)
_DIRECT = (
    "spectral_radius",
    "spectral_abscissa",
    "henrici_departure",
    "henrici_departure_relative",
    "commutator_norm",
    "numerical_abscissa",
)
_POWERS = (*range(7), 8, 10, 12, 16, 20, 24, 32, 40, 50)
_TIMES = 20.0  # in units of 1 / ‖A‖: how long growth in continuous time is followed


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MatrixDetail:
    """Everything that was computed about one matrix.

    Attributes
    ----------
    name : str
        Name of the matrix.
    dynamics : {"discrete", "continuous"}
        What its square measures are of.
    values : dict of str to float
        The measures of `rnn.measuring.measures.MEASURES` that it has, by name.
    measures : Measures or None
        Those with an interval or a direct formula, with their intervals and times; None for rectangular and
        for too large matrices, and in the quick mode.
    portrait : Pseudospectrum or None
        Grid of σ_min(zI - A), with contours at ε / 100, ε / 10 and ε.
    growth : TransientGrowth or None
        ‖A^k‖, or ‖exp(tA)‖ in continuous time.
    distribution : SpectralDistribution or None
        Singular values against the law of pure noise.
    rounding : tuple of RoundingEffect
        What number formats do to its stability, if asked for.
    failures : tuple of str
        What was not computed, each with the reason.
    seconds : dict of str to float
        Time by part.
    """

    name: str
    dynamics: str
    values: dict[str, float]
    measures: Measures | None
    portrait: Pseudospectrum | None
    growth: TransientGrowth | None
    distribution: SpectralDistribution | None
    rounding: tuple[RoundingEffect, ...]
    failures: tuple[str, ...]
    seconds: dict[str, float]

    def interval(self, name: str) -> tuple[float, float]:
        """Give the interval of a measure; of a direct formula both ends are its value.

        Parameters
        ----------
        name : str
            Name of the measure.

        Returns
        -------
        tuple of float
            Lower and upper end.
        """
        if self.measures is None or name not in set(self.measures):
            return self.values[name], self.values[name]
        place = list(self.measures).index(name)
        return float(self.measures.lower[place]), float(self.measures.upper[place])


def matrix_detail(
    name: str,
    A: Floats,
    *,
    dynamics: str = "discrete",
    epsilon: float,
    rounding: bool = False,
    quick: bool = False,
    largest: int = LARGEST,
) -> MatrixDetail:
    """Compute everything that a diagnosis says about one matrix.

    Parameters
    ----------
    name : str
        Name of the matrix.
    A : ndarray of float64, shape (m, n)
        The matrix, finite.
    dynamics : {"discrete", "continuous"}
        What a square matrix is applied as.
    epsilon : float
        Level of the pseudospectral measures, in the units of A.
    rounding : bool
        Whether to round a square A to number formats as well.
    quick : bool
        Direct formulas only: no pseudospectra, no intervals, no portrait, no growth, of the singular values
        only the largest.
    largest : int
        Smaller size of A from which on only bounds of its norm are computed.

    Returns
    -------
    MatrixDetail
        The results. A part that fails is missing, with the reason in `failures`; the others are there.

    Notes
    -----
    Of order n = 512 in full some 8 s on one core, of which the numerical radius takes 2; quick 0.3 s.
    """
    parts = _Parts()
    values: dict[str, float] = {}
    if min(A.shape) > largest:
        values = parts.of("norm", lambda: _norm_values(A)) or {}
        parts.failures.append(f"smaller size {min(A.shape)} is above largest={largest}: only its norms")
        return MatrixDetail(name, dynamics, values, None, None, None, None, (), *parts.end())
    distribution = None
    if quick:
        values = parts.of("norms", lambda: _quick_norm_values(A)) or {}
    else:
        distribution = parts.of("singular values", lambda: singular_value_distribution(A))
    if distribution is not None:
        values = parts.of("norms", lambda: _singular_values(distribution)) or {}
    found = portrait = growth = effects = None
    if A.shape[0] == A.shape[1]:
        one = MeasuredMatrix(A, epsilon=epsilon, dynamics=dynamics)
        form = parts.of("Schur form", lambda: one.form)
        if form is not None:
            values |= parts.of("direct formulas", lambda: {name: one.measure(name) for name in _DIRECT}) or {}
        if form is not None and not quick:
            found = parts.of("measures", lambda: measures(form, dynamics=dynamics, epsilon=epsilon))
            levels = (epsilon / 100, epsilon / 10, epsilon)
            portrait = parts.of("portrait", lambda: pseudospectrum(form, epsilons=levels, shape=PORTRAIT))
            growth = parts.of("growth", lambda: _growth(form, dynamics, values))
            if rounding:
                effects = parts.of("rounding", lambda: rounding_effects(form, dynamics=dynamics, threads=1))
        if found is not None:
            values |= {key: found[key] for key in found if key not in values}
            reach = found["pseudospectral_radius"] - found["spectral_radius"]
            values["pseudospectral_sensitivity"] = reach / epsilon
    ordered = {measure.name: values[measure.name] for measure in MEASURES if measure.name in values}
    rounded = tuple((effects or {}).values())
    return MatrixDetail(name, dynamics, ordered, found, portrait, growth, distribution, rounded, *parts.end())


def noise_distance(M: int) -> float:
    """Give the Kolmogorov-Smirnov distance from the Marchenko-Pastur law that pure noise seldom exceeds.

    Parameters
    ----------
    M : int
        Number of singular values.

    Returns
    -------
    float
        (1 + 0.7 log M) / M.

    Notes
    -----
    Eigenvalues repel, so that they follow the law far more closely than the M^(-1/2) of independent samples.
    Of random matrices with independent entries, normal or uniform, square or up to eight times as long as
    wide, some 1 % exceed the distance for M from 32 to 256 (200 of each shape, 40 of the largest).

    Examples
    --------
    >>> round(noise_distance(64), 3)
    0.061
    """
    return (1 + 0.7 * math.log(M)) / M


class _Parts:
    """Times the parts of a computation, and keeps the reasons of those that fail."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.seconds: dict[str, float] = {}

    def of(self, part: str, compute: Callable[[], Part]) -> Part | None:
        start = time.perf_counter()
        try:
            return compute()
        except (ValueError, ConvergenceError) as error:  # no convergence, or numbers near the largest float
            self.failures.append(f"{part} not computed: {error}")
            return None
        finally:
            self.seconds[part] = time.perf_counter() - start

    def end(self) -> tuple[tuple[str, ...], dict[str, float]]:
        return tuple(self.failures), self.seconds


def _norm_values(A: Floats) -> dict[str, float]:
    with np.errstate(over="ignore", under="ignore"):
        inside = 1e-140 < np.linalg.norm(A) < math.inf  # the squares are floats: no copy is needed
    matrix, scale = (A, 1.0) if inside else unit_scaled(A)
    norm = float(spectral_norm_bounds(matrix))
    return {"spectral_norm": norm * scale, "stable_rank": _stable_rank(float(np.linalg.norm(matrix)), norm)}


def _quick_norm_values(A: Floats) -> dict[str, float]:
    """Norm and stable rank from the eigenvalues of A*A or AA*: faster, and as exact for these two."""
    matrix, scale = unit_scaled(A)
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    norm = math.sqrt(max(float(np.linalg.eigvalsh(wide @ wide.T)[-1]), 0.0))
    return {"spectral_norm": norm * scale, "stable_rank": _stable_rank(float(np.linalg.norm(matrix)), norm)}


def _stable_rank(frobenius: float, norm: float) -> float:
    return (frobenius / norm) ** 2 if norm > 0 else 0.0


def _singular_values(found: SpectralDistribution) -> dict[str, float]:
    singular = found.singular_values
    most, least = float(singular[0]), float(singular[-1])
    if not math.isfinite(most):
        raise ValueError("the norm is beyond the largest float; scale the weights down")
    relative = singular / most if most > 0 else singular
    return {
        "spectral_norm": most,
        "stable_rank": float((relative**2).sum()),
        "condition_number": most / least if least > 0 else math.inf,
        "singular_value_outliers": float(found.outliers),
        "marchenko_pastur_distance": found.ks_distance,
    }


def _growth(form: SchurForm, dynamics: str, values: dict[str, float]) -> TransientGrowth:
    if dynamics == "discrete":
        return transient_growth(form, _POWERS, dynamics=dynamics)
    return transient_growth(form, _TIMES / (values.get("spectral_norm", 0.0) or 1.0), dynamics=dynamics)
