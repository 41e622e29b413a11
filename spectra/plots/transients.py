"""Transient growth: the norm of the powers or the exponential over time, between its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectra.plots.canvas import BLUE, VERMILION, axes_or_new, legend_below
from spectra.transients import TransientGrowth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

_DECADES = 2.0  # from here on the norms get a logarithmic axis
_FEWEST = 60  # up to so many integer times are marked one by one
_HIGHEST = 1e150  # norms beyond are not drawn


def plot_transient_growth(result: TransientGrowth, ax: Axes | None = None) -> Axes:
    """Draw ‖A^k‖ or ‖exp(tA)‖ over time, the bounds around it, its peak and its rate at last.

    Parameters
    ----------
    result : TransientGrowth
        The record to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, logarithmic where the norms span more than two decades.

    Raises
    ------
    TypeError
        If `result` is no `TransientGrowth` or `ax` no Axes.

    Notes
    -----
    The shading runs from ``result.lower`` to ``result.upper``, which can leave the frame: the
    norms choose its limits. The dotted line is ``result.lower_until``: some norm before must be at least as
    large. Norms of 1e150 and more are not drawn.

    Examples
    --------
    >>> from spectra import gallery, plots, transient_growth
    >>> record = transient_growth(gallery.transient(20), 100, dynamics="discrete")
    >>> axes = plots.plot_transient_growth(record)
    >>> axes.figure.savefig("transient.png")  # doctest: +SKIP
    """
    from matplotlib.ticker import MaxNLocator

    if not isinstance(result, TransientGrowth):
        raise TypeError(
            f"result is a {type(result).__name__}; expected what spectra.transient_growth returns"
        )
    ax = axes_or_new(ax)
    discrete = result.dynamics == "discrete"
    drawn = result.norms < _HIGHEST
    times, norms = result.times[drawn], result.norms[drawn]
    low, high, logarithmic = _limits(np.append(norms, min(result.peak, _HIGHEST)))
    with np.errstate(over="ignore", under="ignore"):
        asymptote = result.rate**times if discrete else np.exp(result.rate * times)
    cut: dict[str, Any] = {"linewidth": 1.3, "scaley": False}
    ax.fill_between(
        times,
        np.clip(result.lower[drawn], low, high),
        np.clip(result.upper[drawn], low, high),
        color=BLUE,
        alpha=0.15,
        linewidth=0,
        label="bounds from theory",
    )
    ax.plot(times, asymptote, "--", color="black", label=_rate_name(result), **cut)
    ax.plot(
        times,
        result.lower_until[drawn],
        ":",
        color="0.35",
        label="lower bound of the largest so far",
        **cut,
    )
    marked = "o-" if discrete and len(times) <= _FEWEST else "-"
    name = r"$\|A^k\|$" if discrete else r"$\|\exp(tA)\|$"
    ax.plot(times, norms, marked, color=BLUE, markersize=3, linewidth=1.6, label=name)
    if result.peak < _HIGHEST:
        _draw_peak(result, ax)
    ax.set(
        yscale="log" if logarithmic else "linear",
        ylim=(low, high),
        xlabel="step k" if discrete else "time t",
        ylabel="2-norm",
    )
    if discrete:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(ax)
    return ax


def _limits(norms: Floats) -> tuple[float, float, bool]:
    """Limits of the vertical axis, and whether it is logarithmic."""
    high = float(norms.max(initial=1.0))
    low = float(norms[norms > 0].min(initial=high))
    if np.log10(high / low) <= _DECADES:
        return 0.0, 1.2 * high, False
    low = max(low, high * 1e-16)
    room = (high / low) ** 0.12
    return low / room**0.3, high * room, True


def _rate_name(result: TransientGrowth) -> str:
    if result.dynamics == "discrete":
        return rf"$\rho^k$, $\rho =$ {result.rate:.4g}"
    return rf"$e^{{\alpha t}}$, $\alpha =$ {result.rate:.4g}"


def _draw_peak(result: TransientGrowth, ax: Axes) -> None:
    """Mark the peak and write its value beside it, on the side where there is room."""
    ax.plot(result.peak_time, result.peak, "D", color=VERMILION, markersize=6, zorder=5, label="peak")
    middle = (result.times[0] + result.times[-1]) / 2
    right = result.peak_time > middle
    ax.annotate(
        f"{result.peak:.4g}",
        (result.peak_time, result.peak),
        xytext=(-7 if right else 7, 4),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom",
        color=VERMILION,
    )
