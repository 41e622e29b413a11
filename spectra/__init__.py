"""Pseudospectra, norms and measures of non-normality of matrices: NumPy in, frozen results out."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOM_OF = {
    "ConvergenceError": "errors",
    "AccuracyWarning": "errors",
    "UnsupportedModelError": "errors",
    "Pseudospectrum": "results",
    "Extremum": "results",
    "Record": "results",
    "SchurForm": "schur",
    "schur_form": "schur",
    "spectral_radius": "spectrum",
    "spectral_abscissa": "spectrum",
    "spectral_norm": "norms",
    "spectral_norm_bounds": "norms",
    "condition_number": "norms",
    "convolution_norm_bounds": "convolution",
    "SpectralDistribution": "distribution",
    "singular_value_distribution": "distribution",
    "PowerLawFit": "power_law",
    "power_law_fit": "power_law",
    "power_law_p_value": "power_law",
    "resolvent_norm": "norms",
    "stable_rank": "norms",
    "henrici_departure": "nonnormality",
    "commutator_norm": "nonnormality",
    "eigenvector_condition_number": "nonnormality",
    "eigenvalue_condition_numbers": "conditioning",
    "bauer_fike_radius": "conditioning",
    "distance_to_normality": "normality",
    "Pseudomode": "modes",
    "pseudomode": "modes",
    "Eigenmodes": "eigenvectors",
    "eigenmodes": "eigenvectors",
    "numerical_abscissa": "field_of_values",
    "NumericalRange": "field_of_values",
    "numerical_range": "field_of_values",
    "numerical_radius": "field_of_values",
    "GridCost": "cost",
    "grid_cost": "cost",
    "pseudospectrum": "pseudospectra",
    "RealPseudospectrum": "real_pseudospectra",
    "real_pseudospectrum": "real_pseudospectra",
    "pseudospectral_abscissa": "extremes",
    "pseudospectral_radius": "extremes",
    "distance_to_instability": "stability",
    "kreiss_constant": "stability",
    "Measures": "overview",
    "measures": "overview",
    "TransientGrowth": "transients",
    "transient_growth": "transients",
}
_ROOMS = ("gallery", "plots")

__all__ = [*_ROOM_OF, *_ROOMS, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        return getattr(importlib.import_module(f"spectra.{_ROOM_OF[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"spectra.{name}")
    raise AttributeError(f"module 'spectra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
