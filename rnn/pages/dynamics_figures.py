"""Figures of a recurrent layer on data: growth, Jacobians along the way, exponents, fixed points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnn.motion.equilibria import FixedPoints
from rnn.motion.layer_dynamics import LayerDynamics
from rnn.motion.lyapunov import LyapunovSpectrum
from rnn.motion.propagation import FiniteTimeGrowth
from rnn.pages.images import STYLES, empty_figure
from spectra.plots.canvas import BLUE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = "#595959"
_STYLE_OF = dict(zip(("attractor", "saddle", "repeller", "marginal", "slow", "kink"), STYLES, strict=True))


def draw_growth(growth: FiniteTimeGrowth) -> Figure:
    """Draw how far small changes of the first state can grow over the steps.

    Parameters
    ----------
    growth : FiniteTimeGrowth
        The norms.

    Returns
    -------
    Figure
        The largest of all sequences, their mean, and what the mean Jacobian alone predicts; log10.
    """
    ax = _axes("steps t", "log10 ‖J_t ... J_1‖")
    steps = np.arange(1, len(growth.log10_mean) + 1)
    for label, values, colour, dashes in (
        ("largest of all sequences", growth.log10_largest, VERMILION, "-"),
        ("mean of the sequences", growth.log10_mean, BLUE, "--"),
        ("mean Jacobian alone", growth.log10_of_mean_jacobian, _GREY, ":"),
    ):
        shown = np.where(np.isfinite(values), values, np.nan)
        ax.plot(steps, shown, dashes, color=colour, linewidth=1.8, label=label)
    ax.axhline(0, color="0.4", linewidth=0.8)
    return _with_legend(ax)


def draw_step_jacobians(found: LayerDynamics) -> Figure:
    """Draw norm and spectral radius of the state Jacobian at each step.

    Parameters
    ----------
    found : LayerDynamics
        The results.

    Returns
    -------
    Figure
        The median of the sequences, and where the middle 90 % of them lie.
    """
    ax = _axes("step t", "of the state Jacobian J_t")
    for label, values, colour, dashes in (
        ("norm", found.norms, VERMILION, "-"),
        ("spectral radius", found.radii, BLUE, "--"),
    ):
        steps = np.flatnonzero(~np.isnan(values).all(axis=0))
        low, middle, high = np.nanpercentile(values[:, steps], (5, 50, 95), axis=0)
        ax.plot(steps + 1, middle, dashes, color=colour, linewidth=1.8, label=f"{label}: median, 90 % range")
        ax.fill_between(steps + 1, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.axhline(1, color="0.4", linewidth=0.8)
    ax.set_ylim(bottom=0)
    return _with_legend(ax)


def draw_exponents(spectrum: LyapunovSpectrum) -> Figure:
    """Draw Lyapunov exponents with their errors.

    Parameters
    ----------
    spectrum : LyapunovSpectrum
        The exponents.

    Returns
    -------
    Figure
        In falling order, with 95 % intervals; those that are -inf are left out.
    """
    ax = _axes("number of the exponent", "Lyapunov exponent per step")
    finite = np.isfinite(spectrum.exponents)
    place = np.arange(1, len(finite) + 1)[finite]
    errors = np.where(np.isfinite(spectrum.errors), spectrum.errors, 0.0)[finite]
    label = "estimate, 95 % interval"
    values = spectrum.exponents[finite]
    ax.errorbar(place, values, yerr=errors, fmt="o", color=BLUE, markersize=3.5, ecolor="0.5", label=label)
    ax.axhline(0, color="0.4", linewidth=0.8)
    return _with_legend(ax)


def draw_fixed_points(points: FixedPoints) -> Figure:
    """Draw fixed and slow points on their two main axes.

    Parameters
    ----------
    points : FixedPoints
        At least one.

    Returns
    -------
    Figure
        Each with the marker of its kind.

    Raises
    ------
    ValueError
        If there is no point.
    """
    _refuse_none(points)
    ax = _axes("first main axis of the points", "second main axis")
    centred = points.states - points.states.mean(axis=0)
    where = np.zeros((len(points), 2))
    main = np.linalg.svd(centred, full_matrices=False)[2][:2]
    where[:, : len(main)] = centred @ main.T
    for kind, (colour, marker) in _STYLE_OF.items():
        chosen = points.kinds == kind
        if chosen.any():
            ax.plot(*where[chosen].T, marker, color=colour, markersize=7, label=kind)
    ax.margins(0.15)
    return _with_legend(ax)


def draw_fixed_spectra(points: FixedPoints) -> Figure:
    """Draw the eigenvalues of the state Jacobian at fixed and slow points.

    Parameters
    ----------
    points : FixedPoints
        At least one.

    Returns
    -------
    Figure
        In the complex plane with the unit circle, each with the marker of its point's kind.

    Raises
    ------
    ValueError
        If there is no point.
    """
    from spectra.plots.canvas import draw_unit_circle

    _refuse_none(points)
    ax = _axes("Re λ", "Im λ", height=5.4)
    for kind, (colour, marker) in _STYLE_OF.items():
        values = points.eigenvalues[points.kinds == kind].ravel()
        if len(values):
            ax.plot(values.real, values.imag, marker, color=colour, markersize=4, label=kind)
    draw_unit_circle(ax)
    ax.set_aspect("equal", adjustable="datalim")
    return _with_legend(ax)


def _refuse_none(points: FixedPoints) -> None:
    if len(points) == 0:
        raise ValueError("points holds none; search from more starts: rnn.fixed_points(model, count=...)")


def _axes(across: str, upwards: str, *, height: float = 4.2) -> Axes:
    ax = empty_figure(5.2, height).add_subplot()
    ax.set(xlabel=across, ylabel=upwards)
    ax.grid(alpha=0.25)
    return ax


def _with_legend(ax: Axes) -> Figure:
    from spectra.plots.canvas import legend_below

    legend_below(ax)
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
