"""A figure as an image."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_png(figure: Figure) -> bytes:
    """Give a figure as a PNG image.

    Parameters
    ----------
    figure : Figure
        The figure.

    Returns
    -------
    bytes
        The image, with 150 dots to the inch.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
