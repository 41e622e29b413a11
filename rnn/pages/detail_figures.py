"""Figures of one matrix as small PNG images: portrait, thumbnail, growth, distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rnn.pages.images import SMALL_DOTS, small_png
from spectra.distribution import SpectralDistribution
from spectra.results import Pseudospectrum
from spectra.transients import TransientGrowth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THUMBNAIL = 144  # pixels of its side


def portrait_png(
    result: Pseudospectrum,
    remarks: Sequence[tuple[str, complex, complex]] = (),
    *,
    dynamics: str = "discrete",
) -> bytes:
    """Draw a portrait with contours, eigenvalues and the limit of stability.

    Parameters
    ----------
    result : Pseudospectrum
        The record to draw.
    remarks : sequence of (str, complex, complex)
        Texts, each with the point that its arrow leads to and where it stands itself.
    dynamics : {"discrete", "continuous"}
        Whether the limit is the unit circle or the imaginary axis.

    Returns
    -------
    bytes
        The image.
    """
    axes = _axes(5.2, 5.4)
    _draw_portrait(result, axes, dynamics)
    for remark in remarks:
        _remark(axes, *remark)
    return _png(axes)


def thumbnail_png(result: Pseudospectrum, *, dynamics: str = "discrete") -> bytes:
    """Draw a portrait that fits into a row of a table: colours, eigenvalues, limit of stability, no words.

    Parameters
    ----------
    result : Pseudospectrum
        The record to draw.

    Returns
    -------
    bytes
        The image, 144 by 144 pixels.
    """
    axes = _axes(_THUMBNAIL / SMALL_DOTS, _THUMBNAIL / SMALL_DOTS, layout=None)
    _draw_portrait(result, axes, dynamics)
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


def _remark(axes: Axes, text: str, z: complex, place: complex) -> None:
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text,
        (z.real, z.imag),
        xytext=(place.real, place.imag),
        fontsize=9.5,
        va="center",
        zorder=8,
        arrowprops={"arrowstyle": "-|>", "color": "black", "shrinkB": 3},
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )


def _draw_portrait(result: Pseudospectrum, axes: Axes, dynamics: str) -> None:
    from spectra.plots.canvas import legend_below
    from spectra.plots.portrait import plot_pseudospectrum

    plot_pseudospectrum(result, ax=axes)
    if dynamics == "continuous":
        legend = axes.get_legend()
        handles = list(legend.legend_handles) if legend else []
        circle = next(line for line in axes.lines if line.get_label() == "unit circle")
        axis = axes.axvline(0, color=circle.get_color(), linestyle=circle.get_linestyle(), linewidth=1.2)
        axis.set(label="imaginary axis", path_effects=circle.get_path_effects())
        circle.remove()
        if legend:
            legend_below(axes, [axis if h.get_label() == "unit circle" else h for h in handles if h])


def _axes(width: float, height: float, *, layout: Literal["constrained"] | None = "constrained") -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout, dpi=SMALL_DOTS).add_subplot()


def _png(axes: Axes) -> bytes:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return small_png(figure)
