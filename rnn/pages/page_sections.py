"""Parts of a diagnosis page beyond the matrices: dynamics, Lipschitz bounds, number formats, changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.bounds.lipschitz import LipschitzBounds
from rnn.bounds.slopes import LocalLipschitz
from rnn.details import MatrixDetail
from rnn.measuring.measures import LABELS
from rnn.motion.equilibria import FixedPoints
from rnn.motion.layer_dynamics import LayerDynamics
from rnn.pages.detail_figures import portrait_png
from rnn.pages.dynamics_figures import (
    draw_exponents,
    draw_fixed_points,
    draw_fixed_spectra,
    draw_growth,
    draw_step_jacobians,
)
from rnn.pages.images import small_png
from rnn.pages.matrix_words import number
from rnn.report import Cell, Picture, Section, Table, prose
from spectra.results import Pseudospectrum

if TYPE_CHECKING:
    import pandas as pd

_POINTS = 20  # rows of a table of fixed points


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
    rows = [[_cell(row[column]) for column in heads] for row in frame.to_dict("records")]
    return Table(title=title, caption=prose(caption), heads=list(heads.values()), rows=rows)


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
    if found.certified:
        first = f"""
            A perturbation of the input of norm d moves the output by at most L d, with L =
            {number(found.bound)}. This is proven. It holds for: {"; ".join(found.assumptions)}.
        """
    else:
        first = f"""
            No bound is proven for the network: {found.reason}. The product of the bounds of its layers is
            {number(found.bound)}; it bounds a network that applies them one after the other, and no other.
        """
    text = [prose(first)]
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
    shown = changes.assign(measure=changes["measure"].map(LABELS | {"weight_change": "norm of the change"}))
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
    lyapunov = layer.lyapunov
    largest = f"{lyapunov.exponents[0]:.3g} ± {lyapunov.errors[0]:.1g}"
    text = f"""
        {layer.sequences} of {layer.of} sequences of up to {layer.steps} steps; the state has {layer.states}
        entries. The largest Lyapunov exponent is {largest} per step (estimated): above 0, small disturbances
        grow along the data; below 0, they die out. A small one of the first state grew at most
        {10 ** min(layer.growth.log10_peaks.max(), 300.0):.3g} times.
    """
    pictures = [_growth_picture(layer), _steps_picture(layer), _exponents_picture(layer)]
    for detail, where in (
        (layer.jacobian, "at the mean state and input"),
        (layer.worst, "where its norm along the data is largest"),
    ):
        if detail.portrait is not None:
            pictures.append(_jacobian_picture(detail, detail.portrait, where))
    tables = []
    if layer.points is not None and len(layer.points):
        pictures += _points_pictures(layer.points)
        pictures += _portraits_at_points(layer.points, layer.portraits)
        tables.append(_points_table(layer.points, layer.reaches))
    return Section(f"Dynamics of {layer.name} on data", [prose(text)], tables, pictures)


def _growth_picture(layer: LayerDynamics) -> Picture:
    growth = layer.growth
    alt = f"""
        Growth of a small disturbance over {layer.steps} steps: at the end 10 to the power
        {growth.log10_mean[-1]:.2g} in the mean and {growth.log10_largest[-1]:.2g} at most; of the mean
        Jacobian alone {growth.log10_of_mean_jacobian[-1]:.2g}.
    """
    caption = "How far a small change of the first state can have grown after t steps."
    return Picture("Growth along the data", caption, prose(alt), small_png(draw_growth(growth)))


def _steps_picture(layer: LayerDynamics) -> Picture:
    norms, radii = (np.nanmedian(values) for values in (layer.norms, layer.radii))
    alt = f"""
        Norm and spectral radius of the state Jacobian by step; over all steps the medians are {norms:.3g} and
        {radii:.3g}.
    """
    caption = "What one step alone can do, and what it does in the long run where it repeats."
    return Picture("Step by step", caption, prose(alt), small_png(draw_step_jacobians(layer)))


def _exponents_picture(layer: LayerDynamics) -> Picture:
    exponents = layer.lyapunov.exponents
    alt = f"""
        {len(exponents)} Lyapunov exponents from {exponents[0]:.2g} down to {exponents[-1]:.2g},
        {int((exponents > 0).sum())} of them above 0.
    """
    caption = "Mean rates at which small disturbances grow (above 0) or die out, one for each direction."
    return Picture("Lyapunov exponents", caption, prose(alt), small_png(draw_exponents(layer.lyapunov)))


def _jacobian_picture(detail: MatrixDetail, portrait: Pseudospectrum, where: str) -> Picture:
    names = ("spectral_radius", "spectral_norm", "pseudospectral_radius")
    radius, norm, reach = (number(detail.values.get(name, math.nan)) for name in names)
    alt = f"""
        Eigenvalues and pseudospectra of the state Jacobian {where}: spectral radius {radius}, norm {norm},
        pseudospectral radius {reach}.
    """
    caption = f"The matrix that carries a small disturbance through one step, {where}."
    return Picture(f"State Jacobian {where}", caption, prose(alt), portrait_png(portrait))


def _portraits_at_points(points: FixedPoints, portraits: Sequence[Pseudospectrum]) -> list[Picture]:
    caption = """
        State Jacobian at this point: where a contour leaves the unit circle, so small a change of the
        Jacobian can turn stable into unstable there.
    """
    return [
        Picture(
            title=f"At point {place + 1}: {points.kinds[place]}",
            caption=prose(caption),
            alt=f"Eigenvalues and pseudospectra at point {place + 1}, spectral radius "
            f"{number(float(points.spectral_radii[place]))}.",
            png=portrait_png(portrait),
        )
        for place, portrait in enumerate(portraits)
    ]


def _points_pictures(points: FixedPoints) -> list[Picture]:
    where = """
        States that stay where they are (or nearly: slow) while the input is held at its mean.
    """
    values = "Eigenvalues inside the unit circle pull states in, those outside push them away."
    alt = f"{points}."
    outside = f"{alt} The largest modulus of an eigenvalue is {points.spectral_radii.max():.3g}."
    return [
        Picture("Fixed and slow points", prose(where), alt, small_png(draw_fixed_points(points))),
        Picture("What they do to states nearby", values, outside, small_png(draw_fixed_spectra(points))),
    ]


def _points_table(points: FixedPoints, reaches: NDArray[np.float64]) -> Table:
    rows = [
        [
            Cell(f"{place + 1}"),
            Cell(str(points.kinds[place])),
            Cell(number(float(points.speeds[place]))),
            Cell(number(float(points.errors[place]))),
            Cell(number(float(points.spectral_radii[place]))),
            Cell(number(float(reaches[place])) if len(reaches) else number(math.nan)),
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
        "pseudospectral radius",
        "unstable directions",
        "starts that led there",
    )
    notes = [f"The first {_POINTS} of {len(points)}."] if len(points) > _POINTS else []
    return Table("Fixed and slow points", "At the mean input.", heads, rows, notes)


def _cell(value: Any) -> Cell:
    return Cell(number(value) if isinstance(value, float) else str(value))
