"""The figure of a bracket: accuracy under each attack and under all, and what is certified, over budgets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.attacking.bracket_verdicts import TOGETHER, RobustnessBracket
from rnn.attacking.verdicts import RobustnessCurve
from rnn.pages.images import STYLES, WIDE, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_DARK, _GREY, _WINE, _YELLOW = "#202020", "#595959", "#882255", "#F0E442"
_NORMS = {"linf": r"$L_\infty$", "l2": r"$L_2$", "l1": r"$L_1$"}
_WHERE = {"all": "", "each": " of each frame", "worst": " of one frame"}
_DODGE = 0.012  # of the width, by which the bars of neighbouring curves stand apart
_CERTIFIED = (0, (6, 1.5, 1, 1.5))  # dashes of no other curve


def draw_robustness(bracket: RobustnessBracket | RobustnessCurve) -> Figure:
    """Draw accuracy over budgets: of each attack, of all together, and what is certified.

    Parameters
    ----------
    bracket : RobustnessBracket or RobustnessCurve
        From `rnn.robustness_bracket`; or from `rnn.robustness`, which knows only all attacks together.

    Returns
    -------
    Figure
        Wilson intervals as bars beside the points; all attacks together as a broad dark line; a dotted line
        at the clean accuracy. Where something is certified, in wine, the true robust accuracy of these
        examples lies in the yellow area. Budgets far apart are on a scale that is logarithmic but for the
        first.

    Raises
    ------
    TypeError
        If `bracket` is anything else.

    Examples
    --------
    >>> import torch
    >>> from rnn.attacking.brackets import robustness_bracket
    >>> model, x = torch.nn.Linear(2, 2), torch.ones(4, 2)
    >>> y = model(x).argmax(1)
    >>> found = robustness_bracket(model, x, y, methods=["fgsm"], norm="l2", budgets=[0.0, 1.0])
    >>> len(draw_robustness(found).axes)
    1
    """
    if not isinstance(bracket, RobustnessBracket | RobustnessCurve):
        raise TypeError(
            f"bracket is a {type(bracket).__name__}; expected one of rnn.robustness_bracket or rnn.robustness"
        )
    figure = empty_figure(6.4, 4.4)
    axes = figure.subplots()
    _set_scale(axes, bracket.budgets)
    axes.axhline(bracket.clean_accuracy, color=_GREY, linestyle=":", linewidth=1.2, label="clean")
    curves = _curves(bracket)
    alone = [name for name in curves if name != TOGETHER]
    certified = isinstance(bracket, RobustnessBracket) and len(bracket.certified) > 0
    places = len(curves) + certified

    def shift(place: int) -> float:
        return _DODGE * (place - (places - 1) / 2)

    for place, name in enumerate(alone):
        colour, marker = STYLES[place % len(STYLES)]
        dashes = ("-", "--", "-.")[place // len(STYLES) % 3]
        _draw_curve(axes, curves[name], name, marker=marker, linestyle=dashes, color=colour)
        _draw_bars(axes, curves[name], shift(place), colour)
    if TOGETHER in curves:
        _draw_curve(axes, curves[TOGETHER], TOGETHER, color=_DARK, linewidth=6, alpha=0.35, zorder=1.5)
        _draw_bars(axes, curves[TOGETHER], shift(len(alone)), _DARK)
    if isinstance(bracket, RobustnessBracket) and certified:
        _draw_certified(axes, bracket, shift(places - 1))
    where = _WHERE[bracket.frames] if isinstance(bracket, RobustnessBracket) else ""
    axes.set_xlabel(f"budget, {_NORMS[bracket.norm]} norm{where}")
    axes.set_ylabel(f"accuracy, {bracket.level:.0%} intervals")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.25)
    _draw_legend(figure, axes, ["clean", *curves, "certified"])
    return figure


def _curves(found: RobustnessBracket | RobustnessCurve) -> dict[str, RobustnessCurve]:
    if isinstance(found, RobustnessBracket):
        return found.curves
    return {str(found.methods[0]) if len(found.methods) == 1 else TOGETHER: found}


def _draw_certified(axes: Axes, bracket: RobustnessBracket, shift: float) -> None:
    share, lower, upper = bracket.certified_interval
    worst = bracket.worst.accuracy
    axes.fill_between(
        bracket.budgets, share, worst, color=_YELLOW, alpha=0.3, linewidth=0, zorder=0.5,
        label="the truth lies here",
    )  # fmt: skip
    proven = dataclasses.replace(bracket.worst, accuracy=share, lower=lower, upper=upper)
    _draw_curve(axes, proven, "certified", marker="X", linestyle=_CERTIFIED, color=_WINE)
    _draw_bars(axes, proven, shift, _WINE)


def _draw_legend(figure: Figure, axes: Axes, order: list[str]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    ranked = sorted(named, key=lambda label: order.index(label) if label in order else len(order))
    figure.legend(
        [named[label] for label in ranked], ranked, loc="outside right upper", frameon=False, fontsize="small"
    )


def _draw_curve(axes: Axes, curve: RobustnessCurve, label: str, **look: Any) -> None:
    axes.plot(curve.budgets, curve.accuracy, label=label, **{"linewidth": 1.4, "markersize": 5} | look)


def _draw_bars(axes: Axes, curve: RobustnessCurve, shift: float, colour: str) -> None:
    """Draw the bars of a curve a little beside it, apart from those of other curves."""
    errors = np.clip([curve.accuracy - curve.lower, curve.upper - curve.accuracy], 0, None)
    moved = _moved(axes, curve.budgets, shift)
    axes.errorbar(
        moved, curve.accuracy, yerr=errors, fmt="none", ecolor=colour, elinewidth=0.9, capsize=2, alpha=0.8
    )


def _moved(axes: Axes, budgets: Floats, shift: float) -> Floats:
    """Move budgets sideways by a share of the width, whatever the scale."""
    forward = axes.get_xaxis().get_transform()
    low, high = axes.get_xlim()
    ends = forward.transform(np.array([low, high]))
    places = forward.transform(np.asarray(budgets)) + shift * (ends[1] - ends[0])
    return np.asarray(forward.inverted().transform(places))


def _set_scale(axes: Axes, budgets: Floats) -> None:
    positive = budgets[budgets > 0]
    highest = float(positive.max()) if len(positive) else 1.0
    if len(positive) > 1 and highest > WIDE * positive.min():
        first = float(positive.min())
        if budgets.min() > 0:
            axes.set_xscale("log")
            margin = (highest / first) ** 0.05
            axes.set_xlim(first / margin, highest * margin)
        else:
            axes.set_xscale("symlog", linthresh=first, linscale=0.5)
            axes.set_xlim(-0.15 * first, highest * (highest / first) ** 0.05)
        axes.set_xticks(budgets, [f"{size:g}" for size in budgets])
        axes.minorticks_off()
        return
    low = float(budgets.min())
    margin = 0.06 * (highest - low if highest > low else highest)
    axes.set_xlim(low - margin, highest + margin)
    axes.set_xticks(budgets, [f"{size:g}" for size in budgets])
