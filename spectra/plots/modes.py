"""The shape of a pseudomode along its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spectra.modes import Pseudomode
from spectra.plots.canvas import BLUE, VERMILION, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 40  # entries that are still marked one by one


def plot_pseudomode(result: Pseudomode, ax: Axes | None = None) -> Axes:
    """Draw the real part of a pseudo-eigenvector between its envelopes abs(v) and -abs(v), over the index.

    Parameters
    ----------
    result : Pseudomode
        The record to draw.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on, with z and σ_min(zI - A) in the title.

    Raises
    ------
    TypeError
        If `result` is no `Pseudomode` or `ax` no Axes.

    Examples
    --------
    >>> from spectra import gallery, plots, pseudomode
    >>> axes = plots.plot_pseudomode(pseudomode(gallery.grcar(100), 1.5 + 1.5j))
    >>> axes.figure.savefig("pseudomode.png")  # doctest: +SKIP
    """
    if not isinstance(result, Pseudomode):
        raise TypeError(f"result is a {type(result).__name__}; expected what spectra.pseudomode returns")
    ax = axes_or_new(ax, (6, 3.5))
    n = result.vector.size
    j, size = np.arange(1, n + 1), np.abs(result.vector)
    ax.fill_between(j, -size, size, color=VERMILION, alpha=0.12, linewidth=0)
    ax.plot(j, size, color=VERMILION, linewidth=1.2, label=r"$\pm|v_j|$")
    ax.plot(j, -size, color=VERMILION, linewidth=1.2)
    marker = "o" if n <= _FEW else ""
    ax.plot(j, result.vector.real, color=BLUE, linewidth=1.2, marker=marker, markersize=3, label=r"Re $v_j$")
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(xlabel="index $j$", ylabel="entry $v_j$", title=_title(result))
    ax.set_xlim((1, n) if n > 1 else (0, 2))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return ax


def _title(result: Pseudomode) -> str:
    point = f"$z$ = {result.x:.4g}"
    if result.y:
        point += f" {'+' if result.y > 0 else '-'} {abs(result.y):.4g}i"
    value = f"= {result.sigma:.2g}" if result.sigma > 0 else rf"$\leq$ {result.floor:.0e}, rounding noise"
    return rf"Pseudomode at {point},  $\sigma_{{\min}}(zI - A)$ {value}"
