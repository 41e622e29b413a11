"""The numerical range in the plane, with the eigenvalues it contains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.field_of_values import NumericalRange
from spectra.plots.canvas import (
    BLUE,
    VERMILION,
    axes_or_new,
    draw_eigenvalues,
    draw_unit_circle,
    legend_below,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_MARGIN = 0.08  # room around the range, relative to its larger side
_FLATTEST = 0.3  # the plane shown is at least this share of its larger side high and wide
_VISIBLE = 0.005  # distance of the polygons, relative to the larger side, from which both are drawn


def plot_numerical_range(result: NumericalRange, ax: Axes | None = None) -> Axes:
    """Draw the numerical range W(A), the eigenvalues and the unit circle.

    Parameters
    ----------
    result : NumericalRange
        The record to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, with equal units in both directions.

    Raises
    ------
    TypeError
        If `result` is no `NumericalRange` or `ax` no Axes.

    Notes
    -----
    The filled polygon is the inner one. The outer one is drawn, dashed, where the two are far enough
    apart to be told from each other.

    Examples
    --------
    >>> from spectra import gallery, numerical_range, plots
    >>> axes = plots.plot_numerical_range(numerical_range(gallery.grcar(50)))
    >>> axes.figure.savefig("range.png")  # doctest: +SKIP
    """
    if not isinstance(result, NumericalRange):
        raise TypeError(f"result is a {type(result).__name__}; expected what spectra.numerical_range returns")
    ax = axes_or_new(ax, (6, 6))
    side = _show(result, ax)
    inner, outer = (np.append(polygon, polygon[:1]) for polygon in (result.inner, result.outer))
    fixed: dict[str, Any] = {"scalex": False, "scaley": False}
    ax.fill(result.inner.real, result.inner.imag, facecolor=BLUE, alpha=0.15, linewidth=0, zorder=1)
    coarse = result.gap > _VISIBLE * side
    name = "numerical range, from inside" if coarse else "numerical range"
    handles: list[Artist] = [
        *draw_eigenvalues(result.eigenvalues, ax),
        *draw_unit_circle(ax),
        *ax.plot(inner.real, inner.imag, color=BLUE, zorder=3, label=name, **fixed),
    ]
    if coarse:
        handles += ax.plot(
            outer.real, outer.imag, "--", color=VERMILION, zorder=2, label="from outside", **fixed
        )
    legend_below(ax, handles)
    return ax


def _show(result: NumericalRange, ax: Axes) -> float:
    """Set the limits to the outer polygon with a margin; give its larger side."""
    corners = np.append(result.outer, result.eigenvalues)
    middle = [(part.min() / 2 + part.max() / 2) for part in (corners.real, corners.imag)]
    sides = np.array([np.ptp(corners.real), np.ptp(corners.imag)])
    side = float(sides.max())
    away = abs(complex(*middle))
    least = side if side > 1e-12 * away else 0.1 * away or 1.0  # a single point
    x, y = (0.5 + _MARGIN) * np.maximum(sides, _FLATTEST * least)
    ax.set(
        xlim=(middle[0] - x, middle[0] + x),
        ylim=(middle[1] - y, middle[1] + y),
        xlabel="Re z",
        ylabel="Im z",
        aspect="equal",
    )
    return side
