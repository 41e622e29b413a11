"""What the pictures of one matrix show, for those who do not see them."""

from __future__ import annotations

import numpy as np

from rnn.pages.matrix_words import BEYOND, number
from rnn.report import prose
from spectra.distribution import SpectralDistribution
from spectra.results import Pseudospectrum
from spectra.transients import TransientGrowth

_SIZES = {"discrete": "moduli", "continuous": "real parts"}


def portrait_words(result: Pseudospectrum, *, dynamics: str) -> str:
    """Say what a portrait shows, for those who do not see it.

    Parameters
    ----------
    result : Pseudospectrum
        The record that is drawn.
    dynamics : {"discrete", "continuous"}
        Whether moduli matter, or real parts.

    Returns
    -------
    str
        The region, the eigenvalues, and how far each level reaches on the grid.
    """
    discrete = dynamics == "discrete"
    name, size, limit = ("|z|", np.abs, 1.0) if discrete else ("Re z", np.real, 0.0)
    sizes, points = size(result.eigenvalues), size(result.x + 1j * result.y[:, None])
    beyond = f"{np.count_nonzero(sizes > limit)} of them {BEYOND[dynamics]}"
    text = f"""
        Pseudospectra in the complex plane, real part {number(result.x[0], digits=3)} to
        {number(result.x[-1], digits=3)}, imaginary part {number(result.y[0], digits=3)} to
        {number(result.y[-1], digits=3)}. Order {len(sizes)}, {_SIZES[dynamics]} of the eigenvalues from
        {number(sizes.min(), digits=3)} to {number(sizes.max(), digits=3)}, {beyond}.
    """
    reached = [(level, points[result.sigma_min <= level]) for level in np.sort(result.epsilons)]
    words = [f"ε = {level:.3g} to {name} = {number(z.max(), digits=3)}" for level, z in reached if z.size]
    if words:
        text += f" On this grid the levels reach: {', '.join(words)}."
    return prose(text)


def growth_words(result: TransientGrowth) -> str:
    """Say what a curve of growth shows, for those who do not see it.

    Parameters
    ----------
    result : TransientGrowth
        The record that is drawn.

    Returns
    -------
    str
        The peak, the last value and the rate.
    """
    power, time = ("‖A^k‖", "k") if result.dynamics == "discrete" else ("‖exp(tA)‖", "t")
    return prose(f"""
        {power} from {time} = {number(result.times[0])} to {number(result.times[-1])}: from
        {number(result.norms[0])} by way of {number(result.peak)} at {time} = {number(result.peak_time)} to
        {number(result.norms[-1])} at the end, with bounds from theory around it and the long-term rate
        {number(result.rate)} as a dashed line.
    """)


def distribution_words(result: SpectralDistribution) -> str:
    """Say what a histogram of singular values shows, for those who do not see it.

    Parameters
    ----------
    result : SpectralDistribution
        The record that is drawn.

    Returns
    -------
    str
        Counts, range and the distance of the bulk from the law.
    """
    sigma = result.singular_values
    return prose(f"""
        Histogram of {len(sigma)} singular values from {number(sigma[-1])} to {number(sigma[0])}, each divided
        by √{max(result.rows, result.columns)}, beside the Marchenko-Pastur law: {result.outliers} outliers,
        Kolmogorov-Smirnov distance of the others {number(result.ks_distance, digits=2)}.
    """)
