"""Figures of a study's report: correlations, gains, scatter matrix, spectra along training, the triangle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.figures import CELL_LABELS
from rnn.pages.images import STYLES, WIDE, empty_figure
from rnn.study.criteria import stable
from rnn.study.study_columns import ACCURACY, REFERENCE, study_label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNIFICANT = 0.05
_BLACK = ("#000000", "o")
_COLOURS = (*(colour for colour, _ in STYLES), "#000000", "#777777")
_MARKERS = "s^Dvp<h>"  # all with an inside, to be filled or not
_BAND = (25, 50, 75)  # percentiles
_LINE = 0.29  # inches of a line of a forest
_BELOW = 0.29  # of a line, where the dots of the blocks are
_WIDEST = 13.0  # inches of a figure


def draw_forest(
    central: pd.DataFrame, within: pd.DataFrame, *, outcomes: Sequence[str], baselines: Sequence[str]
) -> Figure:
    """Draw the correlation of each measure with each outcome, with intervals and the single blocks behind.

    Parameters
    ----------
    central : DataFrame
        From `rnn.study.study_numbers.central_frame`.
    within : DataFrame
        ``per_block`` of the statistics.
    outcomes : sequence of str
        One panel each.
    baselines : sequence of str
        Measures to mark.

    Returns
    -------
    Figure
        Filled where Holm's p is below 0.05, open elsewhere, a dash where there is no correlation; the blocks
        are small dots below each line.
    """
    measures = list(dict.fromkeys(central["measure"]))
    figure = empty_figure(2.9 * len(outcomes) + 3.0, _LINE * len(measures) + 1.5)
    panels = figure.subplots(1, len(outcomes), squeeze=False, sharex=True, sharey=True).ravel()
    for axes, outcome in zip(panels, outcomes, strict=True):
        blocks = within[(within["outcome"] == outcome) & within["measure"].isin(measures)]
        axes.plot(
            blocks["spearman"],
            [measures.index(name) + _BELOW for name in blocks["measure"]],
            linestyle="",
            marker="o",
            markersize=3.2,
            color="0.6",
            markeredgewidth=0,
        )
        part = central[central["outcome"] == outcome].set_index("measure").reindex(measures)
        _intervals(axes, part, ("spearman", "lower", "upper", "holm"))
        axes.set_title(study_label(outcome), fontsize="medium", parse_math=False)
        axes.set_xlim(-1.05, 1.05)
    _name_lines(panels, measures, baselines)
    figure.supxlabel("Spearman's rank correlation", fontsize="medium")
    return figure


def draw_gains(central: pd.DataFrame, *, outcome: str, baselines: Sequence[str]) -> Figure:
    """Draw how much stronger each measure is than the better baseline, and what stays at equal accuracy.

    Parameters
    ----------
    central : DataFrame
        From `rnn.study.study_numbers.central_frame`.
    outcome : str
        The outcome.
    baselines : sequence of str
        Measures to mark; they have no gain.

    Returns
    -------
    Figure
        Two panels with the same lines: gains, and partial correlations.
    """
    part = central[central["outcome"] == outcome].set_index("measure")
    measures = list(part.index)
    figure = empty_figure(8.6, _LINE * len(measures) + 1.3)
    panels = figure.subplots(1, 2, sharey=True)
    _intervals(panels[0], part, ("gain", "gain_lower", "gain_upper", "gain_holm"))
    panels[0].set_xlabel("gain over the better baseline\n(difference of |correlations|)")
    _intervals(panels[1], part, ("partial", "partial_lower", "partial_upper", "partial_holm"))
    panels[1].set_xlabel("partial rank correlation,\nclean accuracy held fixed")
    panels[1].set_xlim(-1.05, 1.05)
    _name_lines(panels, measures, baselines)
    return figure


def draw_scatter_matrix(rows: pd.DataFrame, *, measures: Sequence[str], outcomes: Sequence[str]) -> Figure:
    """Draw measures against outcomes, one point per network.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.
    measures, outcomes : sequence of str
        Columns and rows of the matrix of panels.

    Returns
    -------
    Figure
        A colour for each cell, a marker for each task; logarithmic axes where values span a factor of 8.
    """
    figure = empty_figure(2.45 * len(measures) + 0.6, 2.3 * len(outcomes) + 0.8)
    panels = figure.subplots(len(outcomes), len(measures), squeeze=False, sharex="col", sharey="row")
    cells, tasks = _cells(rows), sorted(rows["task"].unique())
    for line, outcome in zip(panels, outcomes, strict=True):
        for axes, measure in zip(line, measures, strict=True):
            for (cell, task), part in rows.groupby(["cell", "task"], sort=True):
                style = {"color": _colour(cell, cells), "marker": _marker(task, tasks)}
                both = np.isfinite(part[[measure, outcome]].to_numpy(dtype=float)).all(1)
                shown = part[both]
                axes.plot(
                    shown[measure], shown[outcome], linestyle="", markersize=4.2, alpha=0.65, mew=0, **style
                )
            axes.grid(alpha=0.25)
    for axes, measure in zip(panels[-1], measures, strict=True):
        axes.set_xlabel(_broken(study_label(measure)), parse_math=False)
        _log_if_wide(axes, "x", rows[measure])
    for line, outcome in zip(panels, outcomes, strict=True):
        line[0].set_ylabel(_broken(study_label(outcome)), parse_math=False)
        _log_if_wide(line[0], "y", rows[outcome])
    entries = {CELL_LABELS.get(cell, cell): {"color": _colour(cell, cells), "marker": "s"} for cell in cells}
    entries |= {task: {"color": "0.35", "marker": _marker(task, tasks)} for task in tasks}
    _legend(figure, entries)
    return figure


def draw_along_training(curves: pd.DataFrame) -> Figure:
    """Draw how spectra change while networks are trained: median and quartiles over the networks of a cell.

    Parameters
    ----------
    curves : DataFrame
        From `rnn.study.study_numbers.along_training`.

    Returns
    -------
    Figure
        A row of panels for each task, a column for each measure, a colour for each cell; condition numbers
        and Kreiss constants on logarithmic axes.
    """
    tasks, measures = sorted(curves["task"].unique()), list(dict.fromkeys(curves["measure"]))
    cells = _cells(curves)
    figure = empty_figure(2.55 * len(measures) + 0.4, 2.25 * len(tasks) + 0.9)
    panels = figure.subplots(len(tasks), len(measures), squeeze=False, sharex="row", sharey="col")
    for line, task in zip(panels, tasks, strict=True):
        for axes, measure in zip(line, measures, strict=True):
            part = curves[(curves["task"] == task) & (curves["measure"] == measure)]
            for cell, own in part.groupby("cell", sort=True):
                _band(axes, own, colour=_colour(cell, cells), marker=_marker(cell, cells))
            if "condition_number" in measure or "kreiss" in measure:
                axes.set_yscale("log")
                _plain_logarithms(axes, "y")
            axes.set_xscale("symlog", base=2, linthresh=1)
            _epochs(axes, part["epoch"])
            axes.grid(alpha=0.25)
        line[0].set_ylabel(task, parse_math=False)
    for axes, measure in zip(panels[0], measures, strict=True):
        axes.set_title(_broken(study_label(measure)), fontsize="medium", parse_math=False)
    for axes in panels[-1]:
        axes.set_xlabel("epoch of training")
    entries = {
        CELL_LABELS.get(cell, cell): {"color": _colour(cell, cells), "marker": _marker(cell, cells)}
        for cell in cells
    }
    _legend(figure, entries)
    return figure


def draw_triangle(rows: pd.DataFrame) -> Figure:
    """Draw accuracy, robustness and stability of every network, and where normalisations move them.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`, with accuracy, fooling rate and what `stable` needs.

    Returns
    -------
    Figure
        One panel for each cell and task: clean accuracy across, the share of right answers that no attack
        turns upwards, filled where stable; arrows from the mean without normalisation to that with it.
    """
    cells, tasks = _cells(rows), sorted(rows["task"].unique())
    kinds = ["none", *sorted(set(rows["normalisation"]) - {"none"})]
    width = min(3.4 * len(cells) + 0.5, _WIDEST)
    figure = empty_figure(width, 3.0 * len(tasks) + 0.4 + 0.1 * len(kinds))
    panels = figure.subplots(len(tasks), len(cells), squeeze=False, sharex="row", sharey=True)
    for line, task in zip(panels, tasks, strict=True):
        for axes, cell in zip(line, cells, strict=True):
            _networks(axes, rows[(rows["cell"] == cell) & (rows["task"] == task)], kinds)
            axes.set_title(f"{task}, {CELL_LABELS.get(cell, cell)}", fontsize="medium", parse_math=False)
            axes.grid(alpha=0.25)
        line[0].set_ylabel("right answers not turned\n(1 - fooling rate)")
    for axes in panels[-1]:
        axes.set_xlabel("clean accuracy")
    panels[0, 0].set_ylim(-0.03, 1.03)
    entries: dict[str, dict[str, Any]] = {
        kind: {"color": style[0], "marker": style[1]} for kind, style in _kind_styles(kinds).items()
    }
    entries |= {
        "filled: stable": {"color": "0.35", "marker": "o"},
        "open: not stable": {"color": "0.35", "marker": "o", "markerfacecolor": "white"},
    }
    _legend(figure, entries)
    return figure


def _intervals(axes: Axes, part: pd.DataFrame, names: tuple[str, str, str, str]) -> None:
    value, lower, upper, p = (part[name].to_numpy(dtype=float) for name in names)
    place = np.arange(len(value))
    known, sure = np.isfinite(value), np.isfinite(value) & (p < SIGNIFICANT)
    colour = _COLOURS[0]
    axes.hlines(place[known], lower[known], upper[known], color=colour, linewidth=1.6)
    axes.plot(value[sure], place[sure], "o", color=colour, markersize=6)
    open_ = known & ~sure
    axes.plot(value[open_], place[open_], "o", color=colour, markerfacecolor="white", markersize=6)
    axes.plot(np.zeros((~known).sum()), place[~known], linestyle="", marker="_", color="0.5", markersize=9)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.grid(axis="x", alpha=0.25)


def _name_lines(panels: NDArray[Any], measures: Sequence[str], baselines: Sequence[str]) -> None:
    names = [study_label(name) + (" (baseline)" if name in baselines else "") for name in measures]
    panels[0].set_yticks(range(len(measures)), names)
    for text, name in zip(panels[0].get_yticklabels(), measures, strict=True):
        text.set_fontweight("bold" if name in baselines else "normal")
        text.set_parse_math(False)  # a name may hold a $
    panels[0].set_ylim(len(measures) - 0.5, -0.5)
    for axes in panels:
        for place in (place for place, name in enumerate(measures) if name in baselines):
            axes.axhspan(place - 0.5, place + 0.5, color="#F0E442", alpha=0.3, linewidth=0, zorder=0)


def _networks(axes: Axes, part: pd.DataFrame, kinds: Sequence[str]) -> None:
    quiet = stable(part)
    means = {}
    for kind, (colour, marker) in _kind_styles(kinds).items():
        for filled in (True, False):
            own = part[(part["normalisation"] == kind) & (quiet == filled)]
            axes.plot(
                own[ACCURACY],
                1 - own[REFERENCE],
                linestyle="",
                marker=marker,
                markersize=5,
                color=colour,
                markerfacecolor=colour if filled else "white",
                alpha=0.75,
            )
        whole = part[part["normalisation"] == kind]
        means[kind] = (whole[ACCURACY].mean(), 1 - whole[REFERENCE].mean(), colour)
    start = means["none"]
    for kind, end in means.items():
        if kind != "none" and np.isfinite([*start[:2], *end[:2]]).all():
            arrow = {"arrowstyle": "-|>", "color": end[2], "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", end[:2], start[:2], arrowprops=arrow)


def _kind_styles(kinds: Sequence[str]) -> dict[str, tuple[str, str]]:
    others = zip(kinds[1:], [STYLES[i % len(STYLES)][0] for i in range(len(kinds))], strict=False)
    return {"none": _BLACK} | {
        kind: (colour, _MARKERS[i % len(_MARKERS)]) for i, (kind, colour) in enumerate(others)
    }


def _band(axes: Axes, own: pd.DataFrame, *, colour: str, marker: str) -> None:
    finite = own[np.isfinite(own["value"])]
    if finite.empty:
        return
    low, middle, high = (finite.groupby("epoch")["value"].quantile(share / 100) for share in _BAND)
    axes.fill_between(middle.index, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(middle.index, middle, color=colour, marker=marker, markersize=4)


def _epochs(axes: Axes, epochs: pd.Series) -> None:
    from matplotlib.ticker import NullLocator

    there = sorted(set(epochs))
    shown = [epoch for epoch in there if epoch == there[-1] or 1.4 * epoch < there[-1]]
    axes.set_xticks(shown, [f"{epoch:g}" for epoch in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def _log_if_wide(axes: Axes, direction: str, values: pd.Series) -> None:
    finite = values.to_numpy(dtype=float)
    finite = finite[np.isfinite(finite)]
    if str(values.name).startswith("fooling"):  # a share, and 0 among its values
        return
    if len(finite) and 0 < WIDE * finite.min() < finite.max():
        (axes.set_xscale if direction == "x" else axes.set_yscale)("log")
        _plain_logarithms(axes, direction)


def _plain_logarithms(axes: Axes, direction: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    axis = axes.xaxis if direction == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    if 0 < high < 5 * low:  # too short for round numbers on a logarithmic axis
        axis.set_major_locator(MaxNLocator(4))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1,) if high > 30 * low else (1, 2, 5), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, entries: Mapping[str, Mapping[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="", markersize=6, **style) for style in entries.values()]
    columns = max(1, min(len(entries), int(figure.get_figwidth() / 1.6)))
    made = figure.legend(handles, list(entries), loc="outside lower center", ncols=columns, frameon=False)
    for text in made.get_texts():
        text.set_parse_math(False)


def _cells(rows: pd.DataFrame) -> list[str]:
    known = list(CELL_LABELS)
    found = rows["cell"].unique()
    return sorted(found, key=lambda cell: (known.index(cell) if cell in known else len(known), cell))


def _colour(name: object, names: Sequence[str]) -> str:
    return _COLOURS[names.index(str(name)) % len(_COLOURS)]


def _marker(name: object, names: Sequence[str]) -> str:
    return _MARKERS[names.index(str(name)) % len(_MARKERS)]


def _broken(label: str, longest: int = 22) -> str:
    """Break a label that is too long for its panel at the space nearest to its middle."""
    spaces = [place for place, letter in enumerate(label) if letter == " "]
    if len(label) <= longest or not spaces:
        return label
    place = min(spaces, key=lambda place: abs(place - len(label) / 2))
    return f"{label[:place]}\n{label[place + 1 :]}"
