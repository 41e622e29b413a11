"""Tables of a study's report, as a page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.report import Cell, Table, prose
from rnn.study.claims import Claim
from rnn.study.evidence import StudyStatistics
from rnn.study.granulated import ALL_AXES
from rnn.study.status import StudyStatus
from rnn.study.study_columns import study_label
from rnn.study.study_figures import SIGNIFICANT
from rnn.study.study_words import NONE, signed

if TYPE_CHECKING:
    import pandas as pd

_MOST_LEFT_OUT = 60
_WORDS = {
    "n": "networks",
    "start": "matrix at the start",
    "both": "stable and not robust",
    "accurate": "still accurate",
    "accurate_not_robust": "of these not robust",
}
_SHARES = {"stable_before", "not_robust_before", "both", "rose"}  # they have no interval


def central_table(central: pd.DataFrame, outcome: str) -> Table:
    """Give the table of all measures and one outcome.

    Parameters
    ----------
    central : DataFrame
        From `rnn.study.study_numbers.central_frame`.
    outcome : str
        Which.

    Returns
    -------
    Table
        A row for each measure.
    """
    rows = []
    for row in _records(central[central["outcome"] == outcome]):
        mark = " †" if row["alike"] else " (baseline)" if row["baseline"] else ""
        rows.append(
            [
                Cell(f"{study_label(row['measure'])}{mark}"),
                _interval(row, "spearman", "lower", "upper", strong=row["holm"] < SIGNIFICANT),
                Cell(signed(row["kendall"])),
                Cell(_small(row["holm"])),
                Cell(_percent(row["i2"])),
                _interval(row, "gain", strong=row["gain_holm"] < SIGNIFICANT),
                Cell(_bracket(row["by_seed_lower"], row["by_seed_upper"])),
                _interval(row, "partial", strong=row["partial_holm"] < SIGNIFICANT),
                Cell(_count(row["blocks"])),
                Cell(_count(row["n"])),
            ]
        )
    heads = ["measure", "Spearman", "Kendall", "p (Holm)", "I²"]
    heads += ["gain over baselines", "by seed", "Spearman at equal accuracy", "blocks", "networks"]
    return Table(
        title=f"All measures and the {study_label(outcome)}",
        caption=prose("""
            95 % intervals in brackets; bold where p is below 0.05 after Holm's correction. I² is the part of
            the differences between blocks that chance does not explain. By seed: the interval of the gain if
            networks of one seed belong together. At equal accuracy: a straight line in the ranks of clean
            accuracy is taken out, which is not all of it where the relation bends, as it does for networks
            that give one answer to nearly everything.
        """),
        heads=heads,
        rows=rows,
        notes=["† Close to the outcome by what both are: such a pair must go together."]
        if central.loc[central["outcome"] == outcome, "alike"].any()
        else [],
    )


def claim_table(claim: Claim) -> Table:
    """Give the numbers of a claim.

    Parameters
    ----------
    claim : Claim
        The claim.

    Returns
    -------
    Table
        Values with their intervals in one cell.
    """
    return interval_table(
        claim.table, title=f"{claim.name}: the numbers", caption="95 % intervals in brackets."
    )


def interval_table(
    frame: pd.DataFrame, *, title: str, caption: str, heads: Mapping[str, str] | None = None
) -> Table:
    """Give a frame as a table, values with intervals in one cell: changes with a sign, others as shares.

    Parameters
    ----------
    frame : DataFrame
        Beside a column x there may be x_lower and x_upper.
    title, caption : str
        Heading, and how to read it.
    heads : mapping of str to str, optional
        Columns in order, with their heads; all of them if None.

    Returns
    -------
    Table
        The table.
    """
    ends = {f"{name}_{end}" for name in frame for end in ("lower", "upper")}
    shown = heads or {
        str(name): _WORDS.get(str(name), study_label(str(name)).replace("_", " "))
        for name in frame
        if name not in ends
    }
    return Table(
        title=title,
        caption=prose(caption),
        heads=list(shown.values()),
        rows=[[_any(row, name) for name in shown] for row in _records(frame)],
    )


def prediction_table(statistics: StudyStatistics, outcome: str) -> Table:
    """Give the table of out-of-sample predictions of one outcome.

    Parameters
    ----------
    statistics : StudyStatistics
        Of the main outcomes.
    outcome : str
        Which.

    Returns
    -------
    Table
        A row for each measure and column left out in turn, the largest gains first.
    """
    part = statistics.prediction[statistics.prediction["outcome"] == outcome]
    rows = [
        [
            Cell(study_label(row["measure"])),
            Cell(row["leave_out"]),
            Cell(signed(row["r2_known"])),
            Cell(signed(row["r2_with"])),
            _interval(row, "gain", "lower", "upper", strong=bool(row["lower"] > 0)),
            Cell(f"{row['helped']} of {row['folds']}"),
        ]
        for row in _records(part.sort_values("gain", ascending=False))
    ]
    return Table(
        title=f"Predicting the {study_label(outcome)} where nothing was fitted",
        caption=prose("""
            Out-of-sample R² of a regression of ranks on the baselines and clean accuracy, with and without
            the measure, one task or cell left out at a time; below 0 a prediction is worse than none. Bold
            where the interval of the gain lies above 0; not corrected for the number of measures.
        """),
        heads=["measure", "left out", "R² without", "R² with", "gain [95 %]", "folds helped"],
        rows=rows,
    )


def granulated_table(statistics: StudyStatistics, outcome: str) -> Table:
    """Give the granulated coefficients of one outcome.

    Parameters
    ----------
    statistics : StudyStatistics
        Of the main outcomes.
    outcome : str
        Which.

    Returns
    -------
    Table
        A row for each measure, a column for each hyperparameter, the strongest mean first.
    """
    part = statistics.granulated[statistics.granulated["outcome"] == outcome]
    axes = list(dict.fromkeys(part["axis"]))
    axes = [axis for axis in axes if axis != ALL_AXES or len(axes) > 2]
    found = {(row["measure"], row["axis"]): row for row in _records(part)}
    whole = part[part["axis"] == ALL_AXES].set_index("measure")["kendall"].abs()
    rows = [
        [
            Cell(study_label(measure)),
            *(_interval(found[measure, axis], "kendall", "lower", "upper") for axis in axes),
        ]
        for measure in whole.sort_values(ascending=False, na_position="last").index
    ]
    return Table(
        title=f"Networks that differ in one thing only, and the {study_label(outcome)}",
        caption=prose("""
            Granulated Kendall coefficients: Kendall's correlation among networks of one task, cell and seed
            that differ only in what heads the column, averaged.
        """),
        heads=["measure", *axes],
        rows=rows,
    )


def power_table(statistics: StudyStatistics) -> Table:
    """Give the table of what could have been found.

    Parameters
    ----------
    statistics : StudyStatistics
        Of the main outcomes.

    Returns
    -------
    Table
        A row for each block, and for the mean over them.
    """
    return Table(
        title="Which correlation could have been found",
        caption=prose("""
            Strength that is found with probability 0.8, in the median of all pairs: after correction for the
            tests of its family, and as the only test.
        """),
        heads=["block", "networks", "configurations", "tests", "after correction", "alone"],
        rows=[
            [
                Cell(row["block"]),
                Cell(_count(row["n"])),
                Cell(_count(row["clusters"])),
                Cell(_count(row["tests"])),
                Cell(_plain(row["smallest"]), title=row["note"]),
                Cell(_plain(row["smallest_alone"])),
            ]
            for row in _records(statistics.power)
        ],
        notes=["A dash: no correlation, however strong, would have been found with that probability."]
        if statistics.power["smallest"].isna().any()
        else [],
    )


def left_out_table(statistics: StudyStatistics) -> Table:
    """Give the table of what has no correlation, and why.

    Parameters
    ----------
    statistics : StudyStatistics
        Of the main outcomes.

    Returns
    -------
    Table
        A row for each reason and measure, with the blocks.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in _records(statistics.left_out):
        key = tuple(row[name] for name in ("analysis", "measure", "outcome", "reason"))
        groups.setdefault(key, []).append(row["block"])
    rows = [
        [
            Cell(study_label(measure) if measure else "all"),
            Cell(study_label(outcome) if outcome else "all"),
            Cell(analysis),
            Cell(", ".join(blocks)),
            Cell(reason),
        ]
        for (analysis, measure, outcome, reason), blocks in groups.items()
    ]
    more = len(rows) - _MOST_LEFT_OUT
    return Table(
        title="Without a number",
        caption="Pairs of a measure and an outcome that have no correlation somewhere, each with the reason.",
        heads=["measure", "outcome", "analysis", "where", "why"],
        rows=rows[:_MOST_LEFT_OUT],
        notes=[f"{more} more lines are in left_out.csv."] if more > 0 else [],
    )


def trials_table(status: StudyStatus) -> Table:
    """Give the table of trials by task and cell.

    Parameters
    ----------
    status : StudyStatus
        How far the study is.

    Returns
    -------
    Table
        Finished, failed and open.
    """
    lines = [*status.blocks, ("all", "all", status.done, status.failed, status.total)]
    return Table(
        title="Trials",
        caption="Each is one network: trained, normalised, measured, attacked.",
        heads=["task", "cell", "finished", "failed", "open", "in all"],
        rows=[
            [Cell(task), Cell(cell), *map(Cell, map(str, (done, failed, total - done - failed, total)))]
            for task, cell, done, failed, total in lines
        ],
    )


def failures_table(failures: Sequence[tuple[str, str]]) -> Table:
    """Give the table of trials that failed.

    Parameters
    ----------
    failures : sequence of (str, str)
        Label and error.

    Returns
    -------
    Table
        A row for each.
    """
    return Table(
        title="Trials that failed",
        caption="They are missing in all numbers; a run with --retry-failed tries them again.",
        heads=["trial", "error"],
        rows=[[Cell(label), Cell(error)] for label, error in failures],
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _any(row: dict[str, Any], name: str) -> Cell:
    value = row[name]
    if isinstance(value, str):
        return Cell(study_label(value))
    if name in _SHARES:
        return Cell(_percent(value))
    if f"{name}_lower" not in row:
        return Cell(_count(value) if float(value).is_integer() else _plain(value))
    if "change" in name:
        return _interval(row, name)
    share, lower, upper = (_percent(row[end]) for end in (name, f"{name}_lower", f"{name}_upper"))
    return Cell(f"{share} [{lower}, {upper}]")


def _interval(
    row: Mapping[str, Any], name: str, lower: str = "", upper: str = "", *, strong: bool = False
) -> Cell:
    value = float(row[name])
    if np.isnan(value):
        return Cell(NONE)
    ends = _bracket(row[lower or f"{name}_lower"], row[upper or f"{name}_upper"])
    return Cell(signed(value) + (f" {ends}" if ends != NONE else ""), strong=bool(strong))


def _bracket(lower: float, upper: float) -> str:
    return NONE if np.isnan(lower) else f"[{signed(lower)}, {signed(upper)}]"


def _plain(value: float) -> str:
    return NONE if np.isnan(value) else f"{value:.3g}"


def _small(value: float) -> str:
    return NONE if np.isnan(value) else f"{value:.2g}"


def _percent(value: float) -> str:
    return NONE if np.isnan(value) else f"{value:.0%}"


def _count(value: float) -> str:
    return NONE if np.isnan(value) else f"{value:.0f}"
