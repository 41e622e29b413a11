"""What the figures of networks share: colours with markers, an empty figure, and its image."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from spectra.plots.canvas import BLUE, GREEN, PURPLE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; markers tell apart without colour.
STYLES = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (PURPLE, "D"), ("#56B4E9", "v"), ("#E69F00", "P"))
WIDE = 8  # a ratio of largest to smallest value from which an axis is logarithmic


def empty_figure(width: float, height: float) -> Figure:
    """Give a figure that no window shows and nothing else holds.

    Parameters
    ----------
    width, height : float
        Its size in inches.

    Returns
    -------
    Figure
        Without Axes.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def figure_png(figure: Figure, *, dots: int = 150, colours: int | None = None) -> bytes:
    """Give a figure as a PNG image.

    Parameters
    ----------
    figure : Figure
        The figure.
    dots : int
        How many to the inch.
    colours : int, optional
        Size of the palette, at most 256; all colours if left out.

    Returns
    -------
    bytes
        The image.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots)
    if colours is None:
        return buffer.getvalue()
    from PIL import Image

    small = io.BytesIO()
    image = Image.open(buffer).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    image.save(small, "png", optimize=True)
    return small.getvalue()
