"""Figures of a study: portraits of matrices, spectra against attack success, correlations with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.measuring.measures import column_label
from rnn.pages.images import STYLES, WIDE, empty_figure
from rnn.study.statistics import POOLED, wilson_interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spectra.results import Pseudospectrum

CELL_LABELS = {
    "tanh": "tanh",
    "gru": "GRU",
    "lstm": "LSTM",
    "feedforward": "feed-forward",
    POOLED: "mean of families",
}


def draw_portraits(results: Mapping[str, Pseudospectrum]) -> Figure:
    """Draw pseudospectra side by side, two in a row.

    Parameters
    ----------
    results : mapping of str to Pseudospectrum
        By title.

    Returns
    -------
    Figure
        Each with eigenvalues, unit circle and labelled contours, on equal scales; one legend for all.
    """
    from spectra.plots import plot_pseudospectrum

    columns = min(2, len(results))
    rows = -(-len(results) // columns)
    figure = empty_figure(5.2 * columns, 5.0 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(results) :]:
        axes.set_axis_off()
    entries: dict[str, Artist] = {}
    for axes, (title, result) in zip(panels, results.items(), strict=False):
        plot_pseudospectrum(result, ax=axes)
        axes.set_title(title, pad=9, parse_math=False)  # a name may hold a $
        legend = axes.get_legend()
        if legend is not None:
            labels = [text.get_text() for text in legend.get_texts()]
            entries |= dict(zip(labels, legend.legend_handles, strict=True))
            legend.remove()
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=min(len(entries), 2 * columns),
        frameon=False,
    )
    return figure


def draw_success(
    models: pd.DataFrame, correlations: pd.DataFrame, *, outcome: str, measures: Sequence[str]
) -> Figure:
    """Draw each measure against the fooling rate, one point per model with its sampling interval.

    Parameters
    ----------
    models : DataFrame
        Columns ``cell``, ``clean_correct`` (number of examples right when clean), the measures and `outcome`.
    correlations : DataFrame
        From `rank_correlations`; its rows of the mean over the families head the panels.
    outcome : str
        Column of a fooling rate (share of the clean-correct examples).
    measures : sequence of str
        Columns for the horizontal axes, one panel each.

    Returns
    -------
    Figure
        Panels, three in a row, with 95 % Wilson intervals.
    """
    columns = min(3, len(measures))
    rows = -(-len(measures) // columns)
    figure = empty_figure(3.6 * columns, 3.4 * rows + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in panels.ravel()[len(measures) :]:
        axes.set_axis_off()
    for axes, measure in zip(panels.ravel(), measures, strict=False):
        _scatter(axes, models, measure, outcome)
        axes.set_title(_mean_line(correlations, measure, outcome), fontsize="medium", pad=8)
    for axes in panels[:, 0]:
        axes.set_ylabel(column_label(outcome))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def draw_correlations(correlations: pd.DataFrame, *, outcome: str, measures: Sequence[str]) -> Figure:
    """Draw the correlations of all measures with one outcome, with their intervals, one panel per block.

    Parameters
    ----------
    correlations : DataFrame
        From `rank_correlations`.
    outcome : str
        The outcome.
    measures : sequence of str
        One line each, from top to bottom.

    Returns
    -------
    Figure
        Filled points where the interval leaves out 0, open ones elsewhere, a dash where there is none.
    """
    rows = correlations[(correlations["outcome"] == outcome) & correlations["measure"].isin(list(measures))]
    blocks = sorted(rows["block"].unique(), key=lambda block: (block != POOLED, _cell_rank(block)))
    figure = empty_figure(1.7 * len(blocks) + 3.0, 0.27 * len(measures) + 1.3)
    panels = figure.subplots(1, len(blocks), squeeze=False, sharex=True, sharey=True).ravel()
    for axes, block in zip(panels, blocks, strict=True):
        part = rows[rows["block"] == block].set_index("measure").reindex(list(measures))
        _forest(
            axes,
            part["spearman"].to_numpy(),
            part["lower"].to_numpy(),
            part["upper"].to_numpy(),
            _style(block)[0],
        )
        axes.set_title(CELL_LABELS.get(block, block), fontsize="medium")
    panels[0].set_yticks(range(len(measures)), [column_label(measure) for measure in measures])
    panels[0].set_ylim(len(measures) - 0.5, -0.5)
    figure.supxlabel(f"Spearman correlation with {column_label(outcome)} (95 % interval)", fontsize="medium")
    return figure


def _scatter(axes: Axes, models: pd.DataFrame, measure: str, outcome: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for cell in sorted(models["cell"].unique(), key=_cell_rank):
        part = models[models["cell"] == cell]
        part = part[np.isfinite(part[measure].to_numpy(dtype=float))]
        x, rate, trials = (part[name].to_numpy(dtype=float) for name in (measure, outcome, "clean_correct"))
        lower, upper = wilson_interval(np.round(rate * trials), trials)
        colour, marker = _style(cell)
        axes.errorbar(
            x,
            rate,
            yerr=np.clip([rate - lower, upper - rate], 0, None),
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=0.8,
            alpha=0.85,
            label=CELL_LABELS.get(cell, cell),
        )
    values = models[measure].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if len(values) and 0 < WIDE * values.min() < values.max():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(column_label(measure))
    axes.grid(alpha=0.25)


def _forest(axes: Axes, value: np.ndarray, lower: np.ndarray, upper: np.ndarray, colour: str) -> None:
    place = np.arange(len(value))
    known = np.isfinite(value)
    clear = known & ((lower > 0) | (upper < 0))
    axes.hlines(place[known], lower[known], upper[known], color=colour, linewidth=1.5)
    axes.plot(value[clear], place[clear], "o", color=colour, markersize=5.5)
    unclear = known & ~clear
    axes.plot(value[unclear], place[unclear], "o", color=colour, markerfacecolor="white", markersize=5.5)
    axes.plot(
        np.zeros(int((~known).sum())), place[~known], linestyle="", marker="_", color="0.6", markersize=9
    )
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_xlim(-1.05, 1.05)
    axes.grid(axis="x", alpha=0.25)


def _mean_line(correlations: pd.DataFrame, measure: str, outcome: str) -> str:
    rows = correlations[
        (correlations["measure"] == measure)
        & (correlations["outcome"] == outcome)
        & (correlations["block"] == POOLED)
        & correlations["spearman"].notna()
    ]
    if rows.empty:
        return "no correlation"
    row = rows.iloc[0]
    return f"Spearman, mean of families:\n{row['spearman']:+.2f} [{row['lower']:+.2f}, {row['upper']:+.2f}]"


def _cell_rank(cell: str) -> tuple[int, str]:
    known = list(CELL_LABELS)
    return (known.index(cell) if cell in known else len(known), cell)


def _style(cell: str) -> tuple[str, str]:
    if cell == POOLED:
        return "#000000", "o"
    rank = _cell_rank(cell)[0]
    return STYLES[rank % len(STYLES)]
