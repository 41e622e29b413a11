"""Figures of a recurrent layer on data: growth, Jacobians along the way, exponents, fixed points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnn.layer_dynamics import LayerDynamics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours; dashes and markers tell the curves apart without them.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
_KINDS = {
    "attractor": (_BLUE, "o"),
    "saddle": (_ORANGE, "s"),
    "repeller": ("#CC79A7", "^"),
    "marginal": (_GREEN, "D"),
    "kink": ("#E69F00", "P"),
    "slow": ("#56B4E9", "v"),
}


def draw_layer_dynamics(found: LayerDynamics) -> Figure:
    """Draw what a layer does on data, in three panels.

    Parameters
    ----------
    found : LayerDynamics
        The results.

    Returns
    -------
    Figure
        Growth of small disturbances over the steps; spectral radius and norm of the state Jacobian at each
        step (median, and where 90 % of the sequences lie); Lyapunov exponents with their errors.
    """
    figure = _figure(13.2, 4.2)
    growth, jacobians, exponents = figure.subplots(1, 3)
    _draw_growth(found, growth)
    _draw_jacobians(found, jacobians)
    _draw_exponents(found, exponents)
    return figure


def draw_fixed_points(found: LayerDynamics) -> Figure:
    """Draw the fixed and slow points of a layer: how far each is from rest, and its leading eigenvalues.

    Parameters
    ----------
    found : LayerDynamics
        The results, with points.

    Returns
    -------
    Figure
        Points on their two main axes; eigenvalues of the state Jacobian at each, with the unit circle.

    Raises
    ------
    ValueError
        If there are no points.
    """
    from spectra.plots.canvas import draw_unit_circle

    points = found.points
    if points is None or len(points) == 0:
        raise ValueError(f"found has no fixed points of {found.name}; nothing can be drawn")
    figure = _figure(8.8, 4.4)
    plane, spectrum = figure.subplots(1, 2)
    centre = points.states.mean(axis=0)
    axes = np.linalg.svd(points.states - centre, full_matrices=False)[2][:2]
    where = np.zeros((len(points), 2))
    where[:, : len(axes)] = (points.states - centre) @ axes.T
    for kind, (colour, marker) in _KINDS.items():
        chosen = points.kinds == kind
        if chosen.any():
            plane.plot(*where[chosen].T, marker, color=colour, markersize=7, label=kind, linestyle="")
            values = points.eigenvalues[chosen].ravel()
            spectrum.plot(values.real, values.imag, marker, color=colour, markersize=3.5, linestyle="")
    plane.set(xlabel="first main axis of the points", ylabel="second main axis", title="Points")
    plane.margins(0.15)
    plane.grid(alpha=0.25)
    draw_unit_circle(spectrum)
    spectrum.set(xlabel="Re λ", ylabel="Im λ", title="Eigenvalues of the Jacobian there", aspect="equal")
    spectrum.grid(alpha=0.25)
    handles, labels = plane.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _draw_growth(found: LayerDynamics, ax: Axes) -> None:
    growth = found.growth
    steps = np.arange(1, len(growth.log10_mean) + 1)
    curves = (
        ("largest of all sequences", growth.log10_largest, _ORANGE, "-"),
        ("mean of the sequences", growth.log10_mean, _BLUE, "--"),
        ("mean Jacobian alone", growth.log10_of_mean_jacobian, _GREY, ":"),
    )
    for label, values, colour, dashes in curves:
        shown = np.where(np.isfinite(values), values, np.nan)
        ax.plot(steps, shown, dashes, color=colour, linewidth=1.8, label=label)
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.set(xlabel="steps t", ylabel="log10 of ‖J_t ... J_1‖", title="Growth of a small disturbance")
    ax.grid(alpha=0.25)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize="small")


def _draw_jacobians(found: LayerDynamics, ax: Axes) -> None:
    for label, values, colour, dashes in (
        ("norm", found.norms, _ORANGE, "-"),
        ("spectral radius", found.radii, _BLUE, "--"),
    ):
        steps = np.flatnonzero(~np.isnan(values).all(axis=0))
        low, middle, high = np.nanpercentile(values[:, steps], (5, 50, 95), axis=0)
        ax.plot(
            steps + 1,
            middle,
            dashes,
            color=colour,
            linewidth=1.8,
            label=f"{label}: median, 90 % range",
        )
        ax.fill_between(steps + 1, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.axhline(1, color="0.4", linewidth=0.8)
    ax.set(xlabel="step t", ylabel="of the state Jacobian J_t", title="One step at a time")
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize="small")


def _draw_exponents(found: LayerDynamics, ax: Axes) -> None:
    values, errors = found.lyapunov.exponents, found.lyapunov.errors
    finite = np.isfinite(values)
    place = np.arange(1, len(values) + 1)[finite]
    wide = np.where(np.isfinite(errors), errors, 0.0)[finite]
    ax.errorbar(place, values[finite], yerr=wide, fmt="o", color=_BLUE, markersize=3.5, ecolor="0.5")
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.set(xlabel="number", ylabel="exponent per step", title="Lyapunov exponents, 95 % intervals")
    ax.grid(alpha=0.25)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
