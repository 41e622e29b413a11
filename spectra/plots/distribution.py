"""Singular values as a histogram beside the Marchenko-Pastur law, and as a tail in logarithmic axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spectra.distribution import SpectralDistribution, marchenko_pastur_density
from spectra.plots.canvas import BLUE, GREEN, VERMILION, axes_or_new
from spectra.power_law import PowerLawFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST = 1e-150  # root of an eigenvalue that can be divided by


def plot_spectral_distribution(result: SpectralDistribution, ax: Axes | None = None) -> Axes:
    """Draw the density of the eigenvalues of W*W / N, the Marchenko-Pastur law and what lies beyond it.

    Parameters
    ----------
    result : SpectralDistribution
        The record to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    TypeError
        If `result` is no `SpectralDistribution` or `ax` no Axes.
    ValueError
        If the largest eigenvalue leaves the range of the floats.

    Notes
    -----
    The horizontal axis is √λ = σ / √N, in the units of W, where the law for a square matrix has no pole and
    outliers stay near; the density is that of √λ. The outliers are marked on the axis, and missing from the
    histogram and the law, whose areas are the share of the bulk. Noise of variance 0 has no law to draw.

    Examples
    --------
    >>> from spectra import gallery, plots, singular_value_distribution
    >>> axes = plots.plot_spectral_distribution(singular_value_distribution(gallery.grcar(100)))
    >>> axes.figure.savefig("grcar.png")  # doctest: +SKIP
    """
    if not isinstance(result, SpectralDistribution):
        raise TypeError(
            f"result is a {type(result).__name__}; expected what spectra.singular_value_distribution returns"
        )
    ax = axes_or_new(ax)
    roots = result.singular_values / np.sqrt(max(result.rows, result.columns))
    if not np.isfinite([*roots, result.threshold]).all() or 0 < roots[0] < _LEAST:
        raise ValueError("result has eigenvalues beyond the floats; scale the matrix by a power of two")
    count = len(roots) - result.outliers
    bulk, outliers = roots[result.outliers :], roots[: result.outliers]
    edges = np.sqrt([result.lower_edge, result.upper_edge])
    top = float(max(bulk.max(initial=0.0), edges[1]))
    top = top if top > 1e-8 * roots[0] else float(roots[0]) or 1.0
    bins = np.linspace(0.0, top, int(np.clip(2 * np.sqrt(count), 10, 60)) + 1)
    heights = np.histogram(bulk, bins)[0] / (len(roots) * bins[1])
    ax.stairs(heights, bins, fill=True, color=BLUE, alpha=0.45, label=f"bulk, {count} eigenvalues")
    if result.variance > 0:
        x = edges[0] + (edges[1] - edges[0]) * (1 - np.cos(np.linspace(0, np.pi, 401)[1:-1])) / 2
        law = 2 * x * marchenko_pastur_density(x * x, result.aspect_ratio, result.variance)
        ax.plot(x, law * count / len(roots), color="black", linewidth=1.5, label="Marchenko-Pastur law")
        for edge in edges:
            ax.axvline(edge, color="black", linewidth=0.8, linestyle=":")
    if result.outliers:
        marks = ax.plot(outliers, np.zeros(len(outliers)), "^", color=VERMILION, markersize=8, zorder=5)
        noun = "outlier" if result.outliers == 1 else "outliers"
        marks[0].set(label=f"{result.outliers} {noun}", clip_on=False)
    ax.set(
        xlabel=r"$\sqrt{\lambda} = \sigma / \sqrt{N}$",
        ylabel=r"density of $\sqrt{\lambda}$",
        title=f"{result.rows} x {result.columns}, KS distance of the bulk {result.ks_distance:.2g}",
        ylim=(0, 1.3 * ax.get_ylim()[1]),
    )
    ax.legend(frameon=False, loc="upper right")
    return ax


def plot_power_law(result: PowerLawFit, ax: Axes | None = None) -> Axes:
    """Draw which share of a sample exceeds x, in logarithmic axes, where a power law is a straight line.

    Parameters
    ----------
    result : PowerLawFit
        The record to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    TypeError
        If `result` is no `PowerLawFit` or `ax` no Axes.
    ValueError
        If a value exceeds the floats, or is below them.

    Examples
    --------
    >>> from spectra import gallery, plots, power_law_fit, singular_value_distribution
    >>> axes = plots.plot_power_law(power_law_fit(singular_value_distribution(gallery.grcar(100))))
    >>> axes.figure.savefig("grcar.png")  # doctest: +SKIP
    """
    if not isinstance(result, PowerLawFit):
        raise TypeError(f"result is a {type(result).__name__}; expected what spectra.power_law_fit returns")
    if np.abs(result.logarithms).max() > 700:
        raise ValueError("result has values beyond the floats; divide the sample by a power of two")
    ax = axes_or_new(ax)
    x, n = np.exp(result.logarithms), len(result.logarithms)
    share = 1 - np.arange(n) / n
    tail = result.tail_size
    ax.loglog(x, share, ".", color=BLUE, markersize=4, label=f"{n} values")
    ends = np.array([x[n - tail], x[-1]])
    line = tail / n * (ends / ends[0]) ** (1 - result.alpha)
    name = rf"$\alpha = {result.alpha:.3g} \pm {result.standard_error:.2g}$, {tail} values"
    ax.loglog(ends, line, color=VERMILION, linewidth=1.8, label=name)
    ax.axvline(ends[0], color=GREEN, linewidth=1, linestyle="--", label=rf"$x_{{\min}} = {result.xmin:.3g}$")
    ax.set(
        xlabel=r"$x$",
        ylabel=r"share of values $\geq x$",
        title=f"KS distance of the tail {result.ks_distance:.2g}",
    )
    ax.legend(loc="lower left", framealpha=0.9, edgecolor="none")
    return ax
