"""Figures of one matrix as small PNG images: portrait, thumbnail, growth, distribution; two to learn by."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from spectra.distribution import SpectralDistribution
from spectra.pseudospectra import pseudospectrum
from spectra.results import Pseudospectrum
from spectra.transients import TransientGrowth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS = 120  # to the inch
_COLOURS = 64  # of the palette: a third of the bytes of full colour, and no difference to be seen
_THUMBNAIL = 144  # pixels of its side

EXAMPLE_LEVELS = (0.01, 0.03, 0.1, 0.3)
_EXAMPLE_EIGENVALUES = (0.75, 0.45, 0.15, -0.15, -0.45, -0.75)
_EXAMPLE_COUPLING = 0.9
_EXAMPLE_REGION = (-1.8, 1.8, -1.5, 1.5)
_EXAMPLE_SHAPE = (101, 121)  # the eigenvalues are points of the grid, so that no level is missed
EXAMPLE_POINT = 1.1 + 0.3j  # outside the unit circle, and an eigenvalue after a change of norm 0.1


def portrait_png(result: Pseudospectrum) -> bytes:
    """Draw a portrait with contours, eigenvalues and unit circle.

    Parameters
    ----------
    result : Pseudospectrum
        The record to draw.

    Returns
    -------
    bytes
        The image.
    """
    axes = _axes(5.2, 5.4)
    _draw_portrait(result, axes)
    return _png(axes)


def thumbnail_png(result: Pseudospectrum) -> bytes:
    """Draw a portrait that fits into a row of a table: colours, eigenvalues and unit circle, no words.

    Parameters
    ----------
    result : Pseudospectrum
        The record to draw.

    Returns
    -------
    bytes
        The image, 144 by 144 pixels.
    """
    axes = _axes(_THUMBNAIL / _DOTS, _THUMBNAIL / _DOTS, layout=None)
    _draw_portrait(result, axes)
    legend = axes.get_legend()
    for artist in [*axes.texts, *([legend] if legend else [])]:
        artist.remove()
    for lines in axes.collections:
        lines.set_linewidth(0.0)
    for line in axes.lines:
        line.set(markersize=1.6, markeredgewidth=0.0, linewidth=0.7, path_effects=[])
    axes.set_axis_off()
    axes.set_position((0.0, 0.0, 1.0, 1.0))
    return _png(axes)


def growth_png(result: TransientGrowth) -> bytes:
    """Draw norms over time between their bounds.

    Parameters
    ----------
    result : TransientGrowth
        The record to draw.

    Returns
    -------
    bytes
        The image.
    """
    from spectra.plots.transients import plot_transient_growth

    axes = _axes(5.2, 4.2)
    plot_transient_growth(result, ax=axes)
    return _png(axes)


def distribution_png(result: SpectralDistribution) -> bytes:
    """Draw singular values against the law of pure noise.

    Parameters
    ----------
    result : SpectralDistribution
        The record to draw.

    Returns
    -------
    bytes
        The image.

    Raises
    ------
    ValueError
        If the values leave the range of the floats.
    """
    from spectra.plots.distribution import plot_spectral_distribution

    axes = _axes(5.2, 3.8)
    plot_spectral_distribution(result, ax=axes)
    return _png(axes)


def example_matrix(*, coupling: float = _EXAMPLE_COUPLING) -> NDArray[np.float64]:
    """Matrix of order 6 to learn by, with eigenvalues ±0.15, ±0.45, ±0.75.

    Parameters
    ----------
    coupling : float
        Its entries above the diagonal, on the first two diagonals; 0 makes it normal.

    Returns
    -------
    ndarray, shape (6, 6)
        An upper triangular matrix.
    """
    n = len(_EXAMPLE_EIGENVALUES)
    return np.diag(_EXAMPLE_EIGENVALUES) + coupling * (np.eye(n, k=1) + np.eye(n, k=2))


def example_pngs() -> tuple[bytes, bytes]:
    """Draw two matrices with the same eigenvalues: a normal one, and one that is not, with remarks.

    Returns
    -------
    (bytes, bytes)
        The images: `example_matrix` with coupling 0, and as it is.
    """
    images = []
    for coupling in (0.0, _EXAMPLE_COUPLING):
        axes = _axes(5.2, 5.0)
        A = example_matrix(coupling=coupling)
        result = pseudospectrum(A, region=_EXAMPLE_REGION, shape=_EXAMPLE_SHAPE, epsilons=EXAMPLE_LEVELS)
        _draw_portrait(result, axes)
        if coupling:
            _explain(axes)
        images.append(_png(axes))
    return images[0], images[1]


def _explain(axes: Axes) -> None:
    from matplotlib.patheffects import withStroke

    for number, point, place in (
        ("1  an eigenvalue", (-0.75, 0.0), (-1.7, 1.35)),
        ("2  the unit circle", (-np.sqrt(0.5), -np.sqrt(0.5)), (-1.7, -1.35)),
        (
            "3  outside, and reached by\n    a change of norm 0.1",
            (EXAMPLE_POINT.real, EXAMPLE_POINT.imag),
            (0.3, 1.33),
        ),
    ):
        axes.annotate(
            number,
            point,
            xytext=place,
            fontsize=9.5,
            va="center",
            zorder=8,
            arrowprops={"arrowstyle": "-|>", "color": "black", "shrinkB": 3},
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _draw_portrait(result: Pseudospectrum, axes: Axes) -> None:
    from spectra.plots.portrait import plot_pseudospectrum

    plot_pseudospectrum(result, ax=axes)


def _axes(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout, dpi=_DOTS).add_subplot()


def _png(axes: Axes) -> bytes:
    from PIL import Image

    buffer, small = io.BytesIO(), io.BytesIO()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(buffer, format="png", dpi=_DOTS)
    image = Image.open(buffer).convert("RGB")
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()
