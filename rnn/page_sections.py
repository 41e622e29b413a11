"""Parts of a diagnosis page beyond the matrices: dynamics, Lipschitz bounds, number formats, changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn.detail_figures import portrait_png
from rnn.dynamics_figures import draw_fixed_points, draw_layer_dynamics
from rnn.images import figure_png
from rnn.layer_dynamics import LayerDynamics
from rnn.lipschitz import LipschitzBounds
from rnn.measures import MEASURES
from rnn.report import Cell, Picture, Section, Table, prose
from rnn.slopes import LocalLipschitz

if TYPE_CHECKING:
    import pandas as pd

_POINTS = 20  # rows of a table of fixed points
_LABELS = {measure.name: measure.label for measure in MEASURES} | {"weight_change": "norm of the change"}


def table_of(frame: pd.DataFrame, *, title: str, caption: str, heads: Mapping[str, str]) -> Table:
    """Give some columns of a frame as a table of a page, numbers to four digits.

    Parameters
    ----------
    frame : DataFrame
        The frame.
    title, caption : str
        Heading, and how to read it.
    heads : mapping of str to str
        Columns in order, with their heads.

    Returns
    -------
    Table
        The table.
    """
    rows = [[Cell(number(row[column])) for column in heads] for row in frame.to_dict("records")]
    return Table(title=title, caption=prose(caption), heads=list(heads.values()), rows=rows)


def number(value: Any) -> str:
    """Give a number to four digits, NaN as -, and a text as it is.

    Parameters
    ----------
    value : object
        The number or text.

    Returns
    -------
    str
        The text.
    """
    if not isinstance(value, float):
        return str(value)
    return "-" if value != value else "∞" if value == float("inf") else f"{value:.4g}"


def dynamics_sections(layers: Sequence[LayerDynamics]) -> list[Section]:
    """Give the parts about recurrent layers on data, one for each layer and direction.

    Parameters
    ----------
    layers : sequence of LayerDynamics
        The results.

    Returns
    -------
    list of Section
        The parts.
    """
    return [_layer_section(layer) for layer in layers]


def lipschitz_sections(found: LipschitzBounds | None, local: LocalLipschitz | None) -> list[Section]:
    """Give the part about Lipschitz constants.

    Parameters
    ----------
    found : LipschitzBounds or None
        The bounds.
    local : LocalLipschitz or None
        Norms of the Jacobian on data.

    Returns
    -------
    list of Section
        One, or none without bounds.
    """
    if found is None:
        return []
    how = "This is proven" if found.certified else f"This is not proven: {found.reason}"
    text = [
        prose(f"""
            A perturbation of the input of norm d moves the output by at most L d, with L =
            {number(found.bound)}. {how}. It holds for: {"; ".join(found.assumptions)}.
        """)
    ]
    if local is not None:
        word = "norms" if local.exact else "lower bounds of the norms"
        text.append(
            prose(f"""
                At {len(local.values)} examples of the data the {word} of the Jacobian reach
                {number(local.largest)} (median {number(float(local.quantiles((0.5,))[0]))}): the true
                constant is at least that.
            """)
        )
    heads = {"name": "layer", "kind": "kind", "bound": "bound", "steps": "steps", "reason": "why infinite"}
    caption = "Largest factor by which each layer can stretch a change of its input."
    table = table_of(found.table, title="Layer by layer", caption=caption, heads=heads)
    return [Section("Lipschitz bounds", text, [table])]


def rounding_sections(rounding: pd.DataFrame) -> list[Section]:
    """Give the part about number formats.

    Parameters
    ----------
    rounding : DataFrame
        `Diagnosis.rounding`.

    Returns
    -------
    list of Section
        One, or none where nothing was rounded.
    """
    if rounding.empty:
        return []
    text = """
        Storing weights in fewer bits changes a matrix by a perturbation of known norm ε. "After" is the
        spectral radius (in continuous time the abscissa) of the rounded matrix; "at most" is the largest that
        any perturbation of norm ε could give: where that is stable, no rounding of this size can do harm.
    """
    heads = {
        "name": "matrix",
        "number_format": "number format",
        "epsilon": "ε = ‖W - rounded(W)‖",
        "relative": "ε / ‖W‖",
        "before": "before",
        "after": "after",
        "worst_upper": "at most",
        "verdict": "verdict",
    }
    caption = "Matrices that carry the state; each is rounded alone."
    table = table_of(rounding, title="Stability after rounding", caption=caption, heads=heads)
    return [Section("Number formats", [prose(text)], [table])]


def comparison_sections(changes: pd.DataFrame, before: str, after: str) -> list[Section]:
    """Give the part about what changed.

    Parameters
    ----------
    changes : DataFrame
        `Comparison.table`.
    before, after : str
        Names of the two sources.

    Returns
    -------
    list of Section
        One.
    """
    shown = changes.assign(measure=changes["measure"].map(_LABELS))
    heads = {
        "name": "matrix",
        "measure": "measure",
        "before": "before",
        "after": "after",
        "change": "change",
        "ratio": "ratio",
    }
    caption = "In the rows of the norm of the change, before is the norm of the earlier matrix."
    table = table_of(shown, title="Every measure before and after", caption=caption, heads=heads)
    return [Section("What changed", [f"From {before} to {after}; the page below shows {after}."], [table])]


def _layer_section(layer: LayerDynamics) -> Section:
    lyapunov, growth = layer.lyapunov, layer.growth
    largest = f"{lyapunov.exponents[0]:.3g} ± {lyapunov.errors[0]:.1g}"
    text = f"""
        {layer.sequences} of {layer.of} sequences of up to {layer.steps} steps; the state has {layer.states}
        entries. The largest Lyapunov exponent is {largest} per step: above 0, small disturbances grow along
        the data; below 0, they die out. They grew at most
        {10 ** min(growth.log10_peaks.max(), 300.0):.3g} times.
    """
    alt = f"""
        Three panels. Growth of a small disturbance over {layer.steps} steps, at the end 10 to the power
        {growth.log10_mean[-1]:.2g} in the mean and {growth.log10_largest[-1]:.2g} at most. Norm and spectral
        radius of the state Jacobian by step. {len(lyapunov.exponents)} Lyapunov exponents from
        {lyapunov.exponents[0]:.2g} down to {lyapunov.exponents[-1]:.2g}.
    """
    caption = """
        Left: how far a small change of the first state can grow in t steps. Middle: what one step does.
        Right: the mean growth rates along the data, one for each direction.
    """
    title = f"Along the data: {layer.name}"
    pictures = [Picture(title, prose(caption), prose(alt), figure_png(draw_layer_dynamics(layer)))]
    if layer.jacobian.portrait is not None:
        pictures.append(_jacobian_picture(layer))
    tables = []
    if layer.points is not None and len(layer.points):
        pictures.append(_points_picture(layer))
        tables.append(_points_table(layer))
    return Section(f"Dynamics of {layer.name} on data", [prose(text)], tables, pictures)


def _jacobian_picture(layer: LayerDynamics) -> Picture:
    values, portrait = layer.jacobian.values, layer.jacobian.portrait
    assert portrait is not None
    alt = f"""
        Eigenvalues and pseudospectra of the state Jacobian at the mean state and input: spectral radius
        {number(values.get("spectral_radius", math.nan))}, norm
        {number(values.get("spectral_norm", math.nan))}.
    """
    caption = "The matrix that carries a small disturbance through one step, at the mean state and input."
    return Picture("State Jacobian at the mean state", caption, prose(alt), portrait_png(portrait))


def _points_picture(layer: LayerDynamics) -> Picture:
    points = layer.points
    assert points is not None
    alt = f"{points}. Largest spectral radius {points.spectral_radii.max():.3g}."
    caption = """
        States that stay where they are (or nearly, "slow") while the input is held at its mean. Eigenvalues
        inside the unit circle pull states in, those outside push them away.
    """
    return Picture("Fixed and slow points", prose(caption), alt, figure_png(draw_fixed_points(layer)))


def _points_table(layer: LayerDynamics) -> Table:
    points = layer.points
    assert points is not None
    rows = [
        [
            Cell(f"{place + 1}"),
            Cell(str(points.kinds[place])),
            Cell(number(float(points.speeds[place]))),
            Cell(number(float(points.errors[place]))),
            Cell(number(float(points.spectral_radii[place]))),
            Cell(str(points.unstable_dimensions[place])),
            Cell(str(points.found[place])),
        ]
        for place in range(min(len(points), _POINTS))
    ]
    heads = (
        "point",
        "kind",
        "speed",
        "error",
        "spectral radius",
        "unstable directions",
        "starts that led there",
    )
    notes = [f"The first {_POINTS} of {len(points)}."] if len(points) > _POINTS else []
    return Table("Fixed and slow points", "At the mean input.", heads, rows, notes)
