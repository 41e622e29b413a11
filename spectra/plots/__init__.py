"""Figures of results: each function draws one record on one matplotlib Axes and computes nothing else."""

from spectra.plots.modes import plot_pseudomode
from spectra.plots.portrait import plot_pseudospectrum

__all__ = ["plot_pseudomode", "plot_pseudospectrum"]
