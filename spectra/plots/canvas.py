"""What the figures share: an Axes to draw on, marks of eigenvalues and of the unit circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"  # told apart by everybody


def axes_or_new(ax: Axes | None, figsize: tuple[float, float] = (6, 4)) -> Axes:
    """Give the Axes to draw on: the caller's, or those of a new figure.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        What the caller gave.
    figsize : (float, float)
        Size of a new figure in inches.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes.

    Raises
    ------
    TypeError
        If `ax` is neither.
    """
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    if ax is None:
        return plt.figure(figsize=figsize, layout="constrained").add_subplot()
    if not isinstance(ax, Axes):
        raise TypeError(f"ax is a {type(ax).__name__}; expected a matplotlib Axes, or None for a new figure")
    return ax


def draw_eigenvalues(eigenvalues: NDArray[np.complex128], ax: Axes) -> Sequence[Artist]:
    """Mark eigenvalues in the plane without moving its limits.

    Parameters
    ----------
    eigenvalues : ndarray
        The points.
    ax : matplotlib.axes.Axes
        Where to draw.

    Returns
    -------
    sequence of Artist
        Handles for a legend; none where there are none.
    """
    if len(eigenvalues) == 0:
        return []
    return ax.plot(
        eigenvalues.real,
        eigenvalues.imag,
        "o",
        markersize=4.5 if len(eigenvalues) <= 100 else 3.0,
        markerfacecolor="black",
        markeredgecolor="white",
        markeredgewidth=0.6,
        scalex=False,
        scaley=False,
        zorder=5,
        label="eigenvalues",
    )


def draw_unit_circle(ax: Axes) -> Sequence[Artist]:
    """Draw the unit circle, if the limits of the plane show some of it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.

    Returns
    -------
    sequence of Artist
        Handles for a legend; none where the circle is not in sight.
    """
    from matplotlib.patheffects import withStroke

    z = np.exp(1j * np.linspace(0, 2 * np.pi, 721))
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    if not ((left <= z.real) & (z.real <= right) & (bottom <= z.imag) & (z.imag <= top)).any():
        return []
    style: dict[str, Any] = {"color": "black", "linewidth": 1.3, "dashes": (5, 3), "zorder": 4}
    halo = [withStroke(linewidth=2.6, foreground="white")]
    return ax.plot(
        z.real, z.imag, scalex=False, scaley=False, path_effects=halo, label="unit circle", **style
    )


def legend_below(ax: Axes, handles: Sequence[Artist] | None = None) -> None:
    """Set the legend below the name of the horizontal axis, where it hides nothing.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    handles : sequence of Artist, optional
        What to list; by default all that has a label.
    """
    from matplotlib.transforms import ScaledTranslation

    below = ScaledTranslation(0, -38 / 72, ax.figure.dpi_scale_trans)  # in points
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=ax.transAxes + below,
        ncols=2,
        frameon=False,
        borderaxespad=0,
        fontsize="small",
    )
