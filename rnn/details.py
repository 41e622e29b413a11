"""What is known about one matrix beyond its row in the table: intervals, portrait, growth, distribution."""

from __future__ import annotations

import dataclasses

from spectra.distribution import SpectralDistribution
from spectra.overview import Measures
from spectra.results import Pseudospectrum
from spectra.transients import TransientGrowth


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MatrixDetail:
    """Everything that was computed about one matrix.

    Attributes
    ----------
    name : str
        Name of the matrix.
    measures : Measures or None
        Every scalar measure with its interval; None for rectangular matrices, and in the quick mode.
    portrait : Pseudospectrum or None
        Grid of σ_min(zI - A) with the levels of `portrait_levels`.
    growth : TransientGrowth or None
        ‖A^k‖, or ‖exp(tA)‖ in continuous time.
    distribution : SpectralDistribution or None
        Singular values against the law of pure noise.
    """

    name: str
    measures: Measures | None
    portrait: Pseudospectrum | None
    growth: TransientGrowth | None
    distribution: SpectralDistribution | None
