"""The figures of a study's report with captions, and in words for those who do not see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.figures import CELL_LABELS
from rnn.pages.images import small_png
from rnn.report import Picture, prose
from rnn.study.criteria import stable
from rnn.study.evidence import StudyStatistics
from rnn.study.study_columns import ACCURACY, REFERENCE, study_label
from rnn.study.study_figures import (
    draw_along_training,
    draw_forest,
    draw_gains,
    draw_scatter_matrix,
    draw_triangle,
)
from rnn.study.study_numbers import StudyFindings
from rnn.study.study_words import interval, named, signed

if TYPE_CHECKING:
    import pandas as pd

_STRONGEST = 3  # measures beside the baselines in the scatter matrix
_TRIANGLE = (ACCURACY, REFERENCE, "lyapunov_exponent", "kick_end_worst", "normalisation")


def study_pictures(found: StudyFindings) -> dict[str, Picture]:
    """Draw the figures of a study that its data allow.

    Parameters
    ----------
    found : StudyFindings
        The numbers.

    Returns
    -------
    dict of str to Picture
        By file name.
    """
    pictures: dict[str, Picture] = {}
    if found.numbers.main is not None and found.numbers.central["spearman"].notna().any():
        pictures |= _correlation_pictures(found, found.numbers.main)
    triangle = found.rows[found.rows[list(_TRIANGLE)].notna().all(axis=1)] if _has_triangle(found) else None
    if triangle is not None and len(triangle):
        pictures["triangle.png"] = Picture(
            "Accurate, stable, robust: three things",
            prose("""
                Each point is a network: to the right more accurate, higher up more robust, filled if stable
                (negative Lyapunov exponent, and the worst kick has shrunk at the end). Arrows lead from the
                mean of the networks without normalisation to the mean of those with one.
            """),
            triangle_alt(triangle),
            small_png(draw_triangle(triangle)),
        )
    if len(found.curves):
        pictures["along_training.png"] = Picture(
            "Spectra along training",
            prose("""
                Median and quartiles over the networks of a cell without normalisation; a row for each task.
                Epoch 0 is before training; epochs, condition numbers and Kreiss constants on logarithmic
                axes.
            """),
            along_alt(found.curves),
            small_png(draw_along_training(found.curves)),
        )
    return pictures


def forest_alt(central: pd.DataFrame, outcomes: Sequence[str]) -> str:
    """Say what the forest shows.

    Parameters
    ----------
    central : DataFrame
        From `rnn.study.study_numbers.central_frame`.
    outcomes : sequence of str
        Its panels.

    Returns
    -------
    str
        The strongest of each panel and the baselines, with numbers.
    """
    known = central[central["spearman"].notna()]
    parts = []
    for outcome in outcomes:
        part = known[known["outcome"] == outcome]
        top = part.iloc[part["spearman"].abs().argsort()[::-1]].head(3)
        shown = [named(row) for _, row in top.iterrows()]
        shown += [named(row) for _, row in part[part["baseline"] & ~part.index.isin(top.index)].iterrows()]
        parts.append(f"{study_label(outcome)}: {'; '.join(shown) or 'no correlation'}")
    return f"Rank correlations with intervals, a line for each measure. {'. '.join(parts)}."


def gains_alt(central: pd.DataFrame, outcome: str) -> str:
    """Say what the figure of gains shows.

    Parameters
    ----------
    central : DataFrame
        From `rnn.study.study_numbers.central_frame`.
    outcome : str
        Its outcome.

    Returns
    -------
    str
        The largest gains and partial correlations, with numbers.
    """
    part = central[central["outcome"] == outcome]
    texts = []
    for name, what in (("gain", "Largest gains"), ("partial", "Strongest partial correlations")):
        known = part[part[name].notna()]
        strength = known[name] if name == "gain" else known[name].abs()
        top = known.loc[strength.sort_values(ascending=False).index[:3]]
        shown = [f"{study_label(row['measure'])} {interval(row, name)}" for _, row in top.iterrows()]
        texts.append(f"{what} for the {study_label(outcome)}: {'; '.join(shown) or 'none'}.")
    return " ".join(texts)


def scatter_alt(central: pd.DataFrame, measures: Sequence[str], outcomes: Sequence[str], count: int) -> str:
    """Say what the scatter matrix shows.

    Parameters
    ----------
    central : DataFrame
        From `rnn.study.study_numbers.central_frame`.
    measures, outcomes : sequence of str
        Its columns and rows.
    count : int
        Number of networks.

    Returns
    -------
    str
        The correlations of its panels.
    """
    found = central.set_index(["measure", "outcome"])["spearman"]
    rows = []
    for outcome in outcomes:
        values = [f"{study_label(name)} {signed(found.get((name, outcome), np.nan))}" for name in measures]
        rows.append(f"{study_label(outcome)}: {', '.join(values)}")
    return f"{count} networks as points. Rank correlations within blocks, pooled: {'; '.join(rows)}."


def along_alt(curves: pd.DataFrame) -> str:
    """Say what the curves along training show.

    Parameters
    ----------
    curves : DataFrame
        From `rnn.study.study_numbers.along_training`.

    Returns
    -------
    str
        Medians before and after training.
    """
    parts = []
    for measure, own in curves.groupby("measure", sort=False):
        texts = []
        for (task, cell), part in own.groupby(["task", "cell"], sort=True):
            medians = part[np.isfinite(part["value"])].groupby("epoch")["value"].median()
            if len(medians):
                name = f"{task} {CELL_LABELS.get(str(cell), cell)}"
                texts.append(f"{name} {medians.iloc[0]:.3g} to {medians.iloc[-1]:.3g}")
        parts.append(f"{study_label(str(measure))}: {', '.join(texts)}")
    return f"Medians from before training to its end. {'; '.join(parts)}."


def triangle_alt(rows: pd.DataFrame) -> str:
    """Say what the picture of accuracy, stability and robustness shows.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    str
        Means of each normalisation over all networks.
    """
    quiet = stable(rows)
    texts = []
    for kind, part in rows.groupby("normalisation", sort=True):
        texts.append(
            f"{kind}: accuracy {part[ACCURACY].mean():.2f}, not turned {1 - part[REFERENCE].mean():.2f}, "
            f"{int(quiet[part.index].sum())} of {len(part)} stable"
        )
    return f"Means over the networks of each normalisation. {'; '.join(texts)}."


def _correlation_pictures(found: StudyFindings, main: StudyStatistics) -> dict[str, Picture]:
    central, outcomes, baselines = found.numbers.central, found.outcomes, found.baselines
    first = central[(central["outcome"] == outcomes[0]) & central["spearman"].notna()]
    strongest = [name for name in first["measure"] if name not in baselines][:_STRONGEST]
    chosen = [*strongest, *baselines]
    label = study_label(outcomes[0])
    pictures = {
        "forest.png": Picture(
            "All measures at once",
            prose(f"""
                Spearman's correlation, pooled over blocks by random effects, with its 95 % interval; the
                single blocks are the small dots below. Filled: p below 0.05 after Holm's correction. Dash: no
                correlation. The measures are in the order of their strength for the {label}.
            """),
            forest_alt(central, outcomes),
            small_png(draw_forest(central, main.per_block, outcomes=outcomes, baselines=baselines)),
        ),
        "gains.png": Picture(
            "Beyond size, and at equal accuracy",
            prose(f"""
                For the {label}. Left: strength of the correlation less that of the better of spectral radius
                and spectral norm, with its interval where there are enough configurations. Right: what
                is left of the correlation when a line in the ranks of clean accuracy is taken out. Filled as
                above.
            """),
            gains_alt(central, outcomes[0]),
            small_png(draw_gains(central, outcome=outcomes[0], baselines=baselines)),
        ),
    }
    if chosen:
        pictures["scatter.png"] = Picture(
            "The networks themselves",
            prose(f"""
                The {len(strongest)} strongest measures for the {label}, then the baselines. Blocks differ in
                level, so what counts is the trend within one colour and marker.
            """),
            scatter_alt(central, chosen, outcomes, len(found.rows)),
            small_png(draw_scatter_matrix(found.rows, measures=chosen, outcomes=outcomes)),
        )
    return pictures


def _has_triangle(found: StudyFindings) -> bool:
    return set(_TRIANGLE) <= set(found.rows)
