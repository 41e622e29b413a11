"""Figures of results: each function draws one record on one matplotlib Axes and computes nothing else."""

from spectra.plots.distribution import plot_power_law, plot_spectral_distribution
from spectra.plots.modes import plot_pseudomode
from spectra.plots.numerical_range import plot_numerical_range
from spectra.plots.portrait import plot_pseudospectrum, plot_real_pseudospectrum
from spectra.plots.transients import plot_transient_growth

__all__ = [
    "plot_numerical_range",
    "plot_power_law",
    "plot_pseudomode",
    "plot_pseudospectrum",
    "plot_real_pseudospectrum",
    "plot_spectral_distribution",
    "plot_transient_growth",
]
