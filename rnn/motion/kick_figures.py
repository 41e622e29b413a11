"""The figure of kicked states: growth of random and worst kicks over time beside what theory predicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnn.motion.kicks import StateKicks
from spectra.plots.canvas import BLUE, GREEN, VERMILION

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Kicks = StateKicks | Iterable[StateKicks]

_GREY, _WIDTH, _HEIGHT = "#595959", 3.5, 3.1
_DECADES = 8  # shown at most below the largest growth
_ABOVE = 10.0  # times the largest growth, where the scale ends at the latest
_MARGIN = 1.3
_RANGE = (5.0, 95.0)  # percent of the random kicks
_BELOW = 3.0  # times, that the scale goes on below the lowest line to show the range of random kicks
_POWERS, _PEAK = (
    r"powers of mean Jacobian, $\Vert M^t\Vert$",
    r"lower bound of max$_{j \leq t} \Vert M^j\Vert$",
)


def draw_kicks(kicks: Kicks | Mapping[str, Kicks]) -> Figure:
    """Draw ‖δ_t‖ / ‖δ_0‖ over the steps after a kick, a panel for each record, and what theory predicts.

    Parameters
    ----------
    kicks : StateKicks, iterable of StateKicks, or mapping of str to one of these
        For one size or several, none of them 0; the keys of a mapping are put into the titles, to tell
        networks apart.

    Returns
    -------
    Figure
        Random kicks as a median and the range from 5% to 95%, over draws and trajectories; the worst kick as
        the median over the trajectories; for comparison the median of linear theory for that very kick and
        of the largest linear growth, the norms ‖M^t‖ of the powers of the mean Jacobian, and
        `StateKicks.mean_lower`: what the largest ‖M^j‖ with j <= t is at least. The scale is logarithmic and
        the same for all panels. It ends a factor of 3 below the lowest line, so that the range of random
        kicks may be cut off, at most eight decades below the largest growth, and at most one above: the mean
        Jacobian may predict more. A thin line is drawn at 1, the size of the
        kick. Titles say which share of the predictions changed, where there are any.

    Raises
    ------
    TypeError
        If `kicks` holds anything else.
    ValueError
        If it is empty, or a size is 0.

    Examples
    --------
    >>> import torch
    >>> from rnn.motion.kicks import state_kicks
    >>> layer, x = torch.nn.GRU(3, 4), torch.ones(2, 6, 3)
    >>> len(draw_kicks([state_kicks(layer, x, size=size) for size in (0.01, 1.0)]).axes)
    2
    """
    from matplotlib.figure import Figure

    panels = _checked(kicks)
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(_WIDTH * columns, 5.4), _HEIGHT * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (name, found) in zip(grid, panels, strict=False):
        _draw_panel(axes, found)
        axes.set_title(_title(name, found), fontsize=9)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for place in range(len(panels)):
        if place + columns >= len(panels):
            grid[place].set_xlabel("steps after the kick")
            grid[place].tick_params(labelbottom=True)
        if place % columns == 0:
            grid[place].set_ylabel(r"growth $\Vert\delta_t\Vert$ / $\Vert\delta_0\Vert$")
    _set_scale(grid[0], [found for _, found in panels])
    named: dict[str, Artist] = {}
    for axes in grid[: len(panels)]:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(
        named.values(),
        named,
        loc="outside lower center",
        ncols=max(columns, 2),
        frameon=False,
        fontsize="small",
    )
    return figure


def _checked(kicks: Kicks | Mapping[str, Kicks]) -> list[tuple[str, StateKicks]]:
    named = kicks if isinstance(kicks, Mapping) else {"": kicks}
    panels: list[tuple[str, StateKicks]] = []
    for name, some in named.items():
        several = some if isinstance(some, Iterable) else [some]
        panels += [(str(name), found) for found in several]
    for _, found in panels:
        if not isinstance(found, StateKicks):
            raise TypeError(
                f"kicks holds a {type(found).__name__}; expected StateKicks: rnn.state_kicks(...)"
            )
        if found.size == 0:
            raise ValueError("kicks holds kicks of size 0, which do not grow; kick with a larger size")
    if not panels:
        raise ValueError("kicks is empty; expected at least one: rnn.state_kicks(...)")
    return panels


def _draw_panel(axes: Axes, kicks: StateKicks) -> None:
    steps = np.arange(kicks.norms.shape[1])
    growth = kicks.growth
    chosen = kicks.directions == "random"
    if chosen.any():
        values = growth[chosen].reshape(-1, len(steps))
        low, high = np.percentile(values, _RANGE, axis=0)
        axes.fill_between(
            steps, low, high, color=BLUE, alpha=0.2, linewidth=0, label="random kicks: 5% to 95%"
        )
        axes.plot(
            steps, np.median(values, axis=0), "-", color=BLUE, linewidth=1.8, label="random kicks: median"
        )
    axes.axhline(1.0, color="0.75", linewidth=0.8, zorder=0)
    for kind, colour, name, marker, width, dot in (  # the broad line below the narrow one: they may be one
        ("mean-jacobian", GREEN, "kick of mean Jacobian", "s", 4.0, 7.0),
        ("worst", VERMILION, "worst kick", "o", 1.5, 3.0),
    ):
        chosen = kicks.directions == kind
        if chosen.any():
            (values,) = growth[chosen]
            (linear,) = kicks.linear[chosen] / kicks.size
            axes.plot(
                steps, np.median(values, axis=0), marker=marker, color=colour, linewidth=width,
                markersize=dot, label=f"{name}: median",
            )  # fmt: skip
            axes.plot(
                steps, _shown(np.median(linear, axis=0)), "--", color=colour, linewidth=1.1,
                label=f"{name}: linear theory",
            )  # fmt: skip
    for values, dashes, label in (
        (np.median(kicks.norms, axis=0), "-.", "largest linear growth: median"),
        (kicks.of_mean_jacobian, ":", _POWERS),
    ):
        axes.plot(steps, _shown(values), dashes, color=_GREY, linewidth=1.4, label=label)
    axes.plot(steps, _shown(kicks.mean_lower), "-", color="0.6", linewidth=1.0, label=_PEAK)
    axes.grid(alpha=0.25)


def _title(name: str, kicks: StateKicks) -> str:
    head = f"{name}: " if name else ""
    head += rf"$\Vert\delta_0\Vert$ = {kicks.size:g}" + (f", before step {kicks.at}" if kicks.at else "")
    if not len(kicks.changed):
        return head
    parts = [
        f"{kind} {kicks.changed[kicks.directions == kind].mean():.1%}"
        for kind in ("random", "worst")
        if (kicks.directions == kind).any()
    ]
    return f"{head}\nanswers changed: {', '.join(parts)}" if parts else head


def _shown(values: Floats) -> Floats:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _set_scale(axes: Axes, panels: list[StateKicks]) -> None:
    """Make the scale logarithmic and end it about where the network and its own Jacobians do."""
    lowest, largest = [1.0], [1.0]
    for found in panels:
        for kind in dict.fromkeys(map(str, found.directions)):
            growth = found.growth[found.directions == kind].reshape(-1, found.norms.shape[1])
            lowest.append(float(np.nanmin(_shown(np.median(growth, axis=0)))))
            largest.append(float(growth.max()))
        norms = _shown(np.median(found.norms, axis=0))
        lowest.append(float(np.nanmin(norms)))
        largest.append(float(np.nanmax(norms)))
    predicted = np.concatenate([np.append(found.of_mean_jacobian, found.mean_lower) for found in panels])
    top = max(largest)
    low = max(min(lowest) / _BELOW, top * 10.0**-_DECADES)
    high = min(max(top, float(predicted.max())), _ABOVE * top)
    axes.set_ylim(low / _MARGIN, high * _MARGIN)  # first, since autoscaling may overflow on the log scale
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
