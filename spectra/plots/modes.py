"""The shape of a pseudomode along its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spectra.modes import Pseudomode
from spectra.plots.canvas import BLUE, GREEN, VERMILION, axes_or_new

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_FEW = 40  # entries that are still marked one by one
_LEAST = 2.0**-53  # a unit vector's entry below this is rounding


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

    Notes
    -----
    The dashed line is abs(v) once more, on a logarithmic axis at the right: pseudomodes often decay
    exponentially. Where σ_min is rounding noise the title gives the level of the noise.

    Examples
    --------
    >>> from spectra import gallery, plots, pseudomode
    >>> axes = plots.plot_pseudomode(pseudomode(gallery.grcar(100), 1.5 + 1.5j))
    >>> axes.figure.savefig("pseudomode.png")  # doctest: +SKIP
    """
    from matplotlib.ticker import MaxNLocator

    if not isinstance(result, Pseudomode):
        raise TypeError(f"result is a {type(result).__name__}; expected what spectra.pseudomode returns")
    ax = axes_or_new(ax, (6, 3.8))
    n = result.vector.size
    j, size = np.arange(1, n + 1), np.abs(result.vector)
    handles: list[Artist] = []
    ax.fill_between(j, -size, size, color=VERMILION, alpha=0.12, linewidth=0)
    handles += ax.plot(j, size, color=VERMILION, linewidth=1.2, label=r"$\pm|v_j|$")
    ax.plot(j, -size, color=VERMILION, linewidth=1.2)
    marker = "o" if n <= _FEW else ""
    handles += ax.plot(
        j, result.vector.real, color=BLUE, linewidth=1.2, marker=marker, markersize=3, label=r"Re $v_j$"
    )
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(xlabel="index $j$", ylabel="entry $v_j$", title=_title(result))
    ax.set_xlim((1, n) if n > 1 else (0, 2))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    decay = ax.twinx()
    decay.set(yscale="log", ylabel=r"$|v_j|$, logarithmic")
    handles += decay.plot(
        j, np.maximum(size, _LEAST), "--", color=GREEN, linewidth=1.2, label=r"$|v_j|$, right axis"
    )
    decay.set_ylim(bottom=0.5 * max(float(size.min()), _LEAST))
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, frameon=False)
    return ax


def _title(result: Pseudomode) -> str:
    point = _number(result.x)
    if result.y:
        point += f" {'+' if result.y > 0 else '-'} {_number(abs(result.y))}i"
    relation, value = ("=", result.sigma) if result.sigma > 0 else (r"\leq", result.floor)
    return rf"$z = {point}$,  $\sigma_{{\min}}(zI - A) {relation} {_number(value, 2)}$"


def _number(value: float, digits: int = 4) -> str:
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa
