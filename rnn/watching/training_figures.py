"""The figure of a training: each measure over the optimiser steps, a line for each matrix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.measuring.measures import column_label
from rnn.pages.images import STYLES, WIDE, empty_figure
from rnn.watching.training_measures import TrainingMeasures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))

_BOUNDARIES = {  # of stability
    "spectral_radius": 1.0,
    "pseudospectral_radius": 1.0,
    "spectral_abscissa": 0.0,
    "pseudospectral_abscissa": 0.0,
}
_MARKS = (("^", "infinite"), ("x", "not measured"))
_MARKERS = 12  # about so many on a line


def draw_training_measures(
    record: TrainingMeasures,
    *,
    measures: Iterable[str] | None = None,
    matrices: Iterable[str] | None = None,
) -> Figure:
    """Draw measures over the steps of a training, a panel for each measure, a line for each matrix.

    Parameters
    ----------
    record : TrainingMeasures
        From `SpectralCallback`.
    measures, matrices : iterable of str, optional
        Which to draw; by default all that were measured. Up to 24 matrices have lines of their own kind.

    Returns
    -------
    Figure
        With a dashed line where stability ends (a spectral or pseudospectral radius of 1, an abscissa of
        0). Gates of one layer share their dashes, the same gates of all layers their colour, where there are
        more than 6 matrices. At the upper edge a triangle marks an infinite value, at the lower edge a cross
        one that could not be had.

    Raises
    ------
    TypeError
        If `record` is none.
    ValueError
        If nothing was measured yet, or a name is unknown.

    Examples
    --------
    >>> import torch
    >>> from rnn.watching.callbacks import SpectralCallback
    >>> callback = SpectralCallback(torch.nn.GRU(2, 3), at_start=True)
    >>> len(draw_training_measures(callback.record).axes)
    3
    """
    if not isinstance(record, TrainingMeasures):
        raise TypeError(f"record is a {type(record).__name__}; expected a TrainingMeasures: callback.record")
    if len(record.steps) == 0:
        raise ValueError("record holds no measurement yet; train on, or measure at_start=True")
    panels = _places(record.measures, measures, "measures")
    lines = _places(record.matrices, matrices, "matrices")
    names = [str(record.matrices[line]) for line in lines]
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    width = max(3.6 * columns, 5.0)
    per_row = max(1, min(len(names), int(width / (0.075 * max(map(len, names)) + 0.75))))
    figure = empty_figure(width, 2.9 * rows + 0.2 + 0.2 * -(-len(names) // per_row))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    styles = _styles(names)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, str(record.measures[panel]), record.steps, record.values[:, lines, panel], styles)
    for axes in grid[max(0, len(panels) - columns) : len(panels)]:
        axes.set_xlabel("optimiser steps")
    _draw_legend(figure, names, styles, record.values[:, lines][:, :, panels], per_row)
    return figure


def _places(known: NDArray[np.str_], wanted: Iterable[str] | None, name: str) -> list[int]:
    if wanted is None:
        return list(range(len(known)))
    if isinstance(wanted, str):
        raise TypeError(f"{name} is {wanted!r}; expected several names: [{wanted!r}]")
    names = list(map(str, known))
    places = []
    for one in wanted:
        if one not in names:
            raise ValueError(f"{name} holds {one!r}; expected some of {', '.join(names)}")
        places.append(names.index(one))
    if not places:
        raise ValueError(f"{name} is empty; expected some of {', '.join(names)}, or None")
    return places


def _styles(names: Sequence[str]) -> list[dict[str, Any]]:
    """Give each matrix colour, marker and dashes."""
    stems = [re.sub(r"\[\w*\]$", "", name) for name in names]
    gates = [name.removeprefix(stem) for name, stem in zip(names, stems, strict=True)]
    stem_list, gate_list = list(dict.fromkeys(stems)), list(dict.fromkeys(gates))
    places = [(k % len(STYLES), k // len(STYLES) % len(_DASHES)) for k in range(len(names))]
    by_gate = len(names) > len(STYLES) and 1 < len(gate_list) <= len(STYLES)
    if by_gate and len(stem_list) <= len(_DASHES):
        places = [(gate_list.index(g), stem_list.index(s)) for g, s in zip(gates, stems, strict=True)]
    return [
        {"color": STYLES[hue][0], "marker": STYLES[hue][1], "linestyle": _DASHES[dash]}
        for hue, dash in places
    ]


def _draw_panel(
    axes: Axes,
    measure: str,
    steps: NDArray[np.int64],
    values: NDArray[np.float64],
    styles: list[dict[str, Any]],
) -> None:
    often = max(1, len(steps) // _MARKERS)
    finite = np.isfinite(values)
    for column, style in zip(np.where(finite, values, np.nan).T, styles, strict=True):
        axes.plot(steps, column, linewidth=1.2, markersize=3.5, markevery=often, **style)
    if measure in _BOUNDARIES:
        axes.axhline(_BOUNDARIES[measure], color="black", linewidth=1.0, dashes=(5, 3), zorder=1)
    elif finite.any() and 0 < WIDE * values[finite].min() < values[finite].max():
        axes.set_yscale("log")
    edges = axes.get_xaxis_transform()
    for (marker, _), height, which in zip(_MARKS, (0.97, 0.03), _not_finite(values), strict=True):
        for column, style in zip(which.T, styles, strict=True):
            there = steps[column]
            axes.plot(
                there,
                np.full(len(there), height),
                linestyle="",
                marker=marker,
                markersize=4.5,
                color=style["color"],
                transform=edges,
            )
    axes.set_title(column_label(measure), fontsize="medium", pad=6)
    axes.grid(alpha=0.25)


def _draw_legend(
    figure: Figure,
    names: list[str],
    styles: list[dict[str, Any]],
    values: NDArray[np.float64],
    per_row: int,
) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=1.2, markersize=3.5, **style) for style in styles]
    labels = list(names)
    for (marker, label), which in zip(_MARKS, _not_finite(values), strict=True):
        if which.any():
            handles.append(Line2D([], [], linestyle="", marker=marker, markersize=4.5, color="black"))
            labels.append(label)
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=per_row,
        frameon=False,
        fontsize="small",
        handlelength=4.0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold a $


def _not_finite(values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return np.isinf(values), np.isnan(values)
