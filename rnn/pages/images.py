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
SMALL_DOTS = 120
_PALETTE = 64  # colours: a third of the bytes of all of them, and no difference to be seen


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


def figure_png(figure: Figure, *, dots: int = 150) -> bytes:
    """Give a figure as a PNG image.

    Parameters
    ----------
    figure : Figure
        The figure.
    dots : int
        How many to the inch.

    Returns
    -------
    bytes
        The image.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots)
    return buffer.getvalue()


def small_png(figure: Figure) -> bytes:
    """Give a figure as a PNG image for a page that holds many.

    Parameters
    ----------
    figure : Figure
        The figure.

    Returns
    -------
    bytes
        The image, `SMALL_DOTS` to the inch, with a palette.
    """
    from PIL import Image

    small = io.BytesIO()
    image = Image.open(io.BytesIO(figure_png(figure, dots=SMALL_DOTS))).convert("RGB")
    image.quantize(_PALETTE, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()
