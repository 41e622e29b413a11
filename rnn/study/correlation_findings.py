"""What correlations among models say: one line for each measure and outcome, and sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnn.study.evidence import StudyStatistics
from rnn.study.study_columns import alike, study_label

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT = 0.05
_FEW = 30  # clean-correct examples, below which a fooling rate is mostly chance


def ranked_correlations(statistics: StudyStatistics | None, outcomes: Sequence[str]) -> pd.DataFrame:
    """Lay out what is known of each measure and outcome in one line.

    Parameters
    ----------
    statistics : StudyStatistics or None
        Over blocks of models.
    outcomes : sequence of str
        In the order of the lines.

    Returns
    -------
    DataFrame
        See `rnn.study.model_correlations.ModelCorrelations.table`; empty where there are no statistics.
    """
    import pandas as pd

    if statistics is None:
        return pd.DataFrame()
    keys, parts = ["measure", "outcome", "block"], ["lower", "upper"]
    found = statistics.pooled if len(statistics.pooled) else statistics.per_block
    table = found[found["spearman"].notna()][[*keys, "n", "spearman", *parts, "p", "holm"]]
    beside = ((statistics.partial, "partial"), (statistics.gains, "gain"))
    for frame, name in beside:
        if len(frame):
            more = frame[[*keys, name, *parts, *(["baseline"] if name == "gain" else [])]]
            table = table.merge(
                more.rename(columns={part: f"{name}_{part}" for part in parts} | {"baseline": "rival"}),
                how="left",
                on=keys,
            )
    table["alike"] = [alike(*pair) for pair in zip(table["measure"], table["outcome"], strict=True)]
    order = table["outcome"].map({name: place for place, name in enumerate(outcomes)})
    by_strength = table.assign(_order=order, _size=-table["spearman"].abs())
    ordered = by_strength.sort_values(["_order", "_size", "block"], kind="stable")
    return ordered.drop(columns=["_order", "_size"]).reset_index(drop=True)


def correlation_findings(
    statistics: StudyStatistics, table: pd.DataFrame, rows: pd.DataFrame
) -> tuple[str, ...]:
    """Say what correlations among models tell.

    Parameters
    ----------
    statistics : StudyStatistics
        Over blocks of models.
    table : DataFrame
        From `ranked_correlations`.
    rows : DataFrame
        The models.

    Returns
    -------
    tuple of str
        Sentences, computed from the numbers.
    """
    sentences = [_strongest(part) for _, part in table.groupby("outcome", sort=False)]
    pairs, sure = len(table), int((table["holm"] < SIGNIFICANT).sum())
    if pairs:
        sentences.append(
            f"Of {pairs} correlations {sure or 'none'} {'has' if sure == 1 else 'have'} Holm's p below 0.05."
        )
    sentences += _power(statistics.power)
    if rows["group"].nunique() > 1 and len(table) and not len(statistics.pooled):
        sentences.append("Only one group has enough models for correlations: nothing is pooled.")
    few = int((rows["clean_correct"] < _FEW).sum())
    if few:
        sentences.append(
            f"{few} of {len(rows)} models are right on fewer than {_FEW} clean examples, so that their "
            "fooling rates are mostly chance: take more examples."
        )
    return tuple(sentences)


def _power(power: pd.DataFrame) -> list[str]:
    if power.empty:
        return []
    row = power.iloc[-1]  # the pooled one where there are several groups
    head = f"With {row['n']} models and {row['tests']} tests"
    if math.isnan(row["smallest"]):
        return [f"{head} no correlation can be found, however strong: name fewer measures and outcomes."]
    found = f"a correlation of {row['smallest']:.2f} is found with probability 0.8"
    return [f"{head} {found}; a weaker one is easily missed."]


def _strongest(part: pd.DataFrame) -> str:
    apart = part[~part["alike"]]
    top = (apart if len(apart) else part).iloc[0]
    sentence = (
        f"Strongest with {label(top['outcome'])}: {label(top['measure'])}, {interval(top)}, "
        f"Holm's p {top['holm']:.2g}"
    )
    if math.isnan(float(top.get("gain", math.nan))):
        return f"{sentence}."
    sure = "more than" if top["gain_lower"] > 0 else "not shown to be more than"
    return f"{sentence}; {sure} the {label(top['rival'])} (by {interval(top, 'gain')})."


def label(column: str) -> str:
    """Give the name of a column in words.

    Parameters
    ----------
    column : str
        Such as ``fooling_all_linf_0.1``.

    Returns
    -------
    str
        The words.

    Examples
    --------
    >>> label("fooling_all_linf_0.1")
    'fooling rate, all attacks, L∞ 0.1'
    """
    return study_label(column)


def interval(row: Mapping[Any, Any] | pd.Series, name: str = "spearman") -> str:
    """Give a number of a row of `ModelCorrelations.table` with its interval.

    Parameters
    ----------
    row : mapping
        The row.
    name : str
        "spearman", "partial" or "gain".

    Returns
    -------
    str
        A dash where there is none.
    """
    prefix = "" if name == "spearman" else f"{name}_"
    names = (name, f"{prefix}lower", f"{prefix}upper")
    value, lower, upper = (round(float(row.get(one, math.nan)), 2) + 0.0 for one in names)  # no -0.00
    return "-" if math.isnan(value) else f"{value:+.2f} [{lower:+.2f}, {upper:+.2f}]"
