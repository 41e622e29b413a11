"""The tables of a study's statistics, and what their columns are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.study.block_tables import Table, intervals
from rnn.study.blocks import POOLED, UNDEFINED, Floats, Models
from rnn.study.correlation_tables import LEVEL, Correlated, pair_columns, with_adjusted
from rnn.study.evidence_columns import COLUMNS
from rnn.study.gains import gains
from rnn.study.power import detectable
from rnn.study.random_effects import RandomEffects, pooled_correlations

if TYPE_CHECKING:
    import pandas as pd


def within_frame(layout: pd.DataFrame) -> pd.DataFrame:
    """Take the rows within blocks from a table of correlations.

    Parameters
    ----------
    layout : DataFrame
        As `correlation_frame` gives it.

    Returns
    -------
    DataFrame
        With the columns of ``COLUMNS["per_block"]``.
    """
    return layout.loc[layout["block"] != POOLED, list(COLUMNS["per_block"])].reset_index(drop=True)


def pooled_frame(
    layout: pd.DataFrame, both: tuple[Correlated, Correlated], data: Models, level: float
) -> pd.DataFrame:
    """Pool correlations over blocks by random effects, beside their means.

    Parameters
    ----------
    layout : DataFrame
        As `correlation_frame` gives it.
    both : tuple of Correlated
        By Spearman and by Kendall.
    data : Models
        The models.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    DataFrame
        With the columns of ``COLUMNS["pooled"]``; a row for each pair with a correlation in two blocks.
    """
    rows = layout[layout["block"] == POOLED].reset_index(drop=True)
    kept = both[0].mean.blocks > 0
    columns: dict[str, Any] = {name: rows[name] for name in ("measure", "outcome", "block", "n", "clusters")}
    columns["blocks"] = both[0].mean.blocks[kept]
    for prefix, name, one in zip(("", "kendall_"), ("spearman", "kendall"), both, strict=True):
        found = _random_effects(one, level, name == "kendall")
        columns[name] = found.mean[kept]
        columns |= {f"{prefix}{key}": value[kept] for key, value in _pooling(found).items()}
        ends = (name, "lower", "upper") if not prefix else (name, "kendall_lower", "kendall_upper")
        for key, source in zip(("mean", "mean_lower", "mean_upper"), ends, strict=True):
            columns[f"{prefix}{key}"] = rows[source]
        columns |= {f"{prefix}{key}": rows[f"{prefix}{key}"] for key in ("p", "holm", "q")}
    columns["least_p"], columns["note"] = rows["least_p"], rows["note"]
    tests = max(1, int(kept.sum()))
    columns["detectable"] = detectable(
        both[0].tested.pooled_deviation[kept], LEVEL / tests, blocks=both[0].mean.blocks[kept]
    )
    return _frame(columns, "pooled")


def partial_frame(partial: Correlated, data: Models, level: float) -> pd.DataFrame:
    """Lay out partial correlations, within blocks and pooled.

    Parameters
    ----------
    partial : Correlated
        The partial correlations.
    data : Models
        The models.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    DataFrame
        With the columns of ``COLUMNS["partial"]``.
    """
    import pandas as pd

    if not data.covariates:
        return _frame({}, "partial")
    frames = []
    for b, (block, table) in enumerate(zip(data.blocks, partial.tables, strict=True)):
        tests = {"p": partial.tested.p[b], "least_p": partial.tested.least[b]}
        frames.append(_table_rows(block.label, table, {"partial": table.value} | tests, data, level))
    within = with_adjusted(pd.concat(frames, ignore_index=True))
    kept = partial.mean.blocks > 0
    if not kept.any():
        return within
    found = _random_effects(partial, level)
    tests = {"p": partial.tested.pooled_p, "least_p": partial.tested.pooled_least}
    columns = {"partial": found.mean} | tests | {"mean": partial.mean.value} | _pooling(found)
    rows = _table_rows(POOLED, partial.mean, columns, data, level, prefix="mean_")
    return pd.concat([within, with_adjusted(rows[kept.ravel()])], ignore_index=True)


def gains_frame(spearman: Correlated, data: Models, baselines: list[int], level: float) -> pd.DataFrame:
    """Lay out gains over the baselines, within blocks and pooled.

    Parameters
    ----------
    spearman : Correlated
        Spearman's correlations.
    data : Models
        The models.
    baselines : list of int
        Measures to beat.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    DataFrame
        With the columns of ``COLUMNS["gains"]``; only where there is a gain.
    """
    import pandas as pd

    frames = []
    rivals = np.array([data.measures[i] for i in baselines] + [""], dtype=object)
    places = {row: place for place, row in enumerate(baselines)} | {-1: len(baselines)}
    tables = [(block.label, table) for block, table in zip(data.blocks, spearman.tables, strict=True)]
    for label, table in [*tables, (POOLED, spearman.mean)]:
        found = gains(table, baselines, level)
        columns = {
            "n": table.n,
            "clusters": table.clusters,
            "gain": found.value,
            "lower": found.lower,
            "upper": found.upper,
            "p": found.p,
            "baseline": rivals[np.vectorize(places.__getitem__, otypes=[int])(found.best)],
        }
        frame = pd.DataFrame(
            pair_columns(data) | {"block": label} | {key: value.ravel() for key, value in columns.items()}
        )
        frames.append(frame[frame["gain"].notna()])
    within = with_adjusted(pd.concat(frames[:-1], ignore_index=True))
    return _frame(pd.concat([within, with_adjusted(frames[-1])], ignore_index=True), "gains")


def left_out_frame(
    data: Models,
    tables: Sequence[Table],
    held: Sequence[Table],
    prediction: pd.DataFrame,
    baselines: list[int],
) -> pd.DataFrame:
    """List what has no correlation in which block, and why.

    Parameters
    ----------
    data : Models
        The models.
    tables, held : sequence of Table
        Correlations and partial correlations of the blocks.
    prediction : DataFrame
        The predictions that there are.
    baselines : list of int
        Measures that are known in the predictions.

    Returns
    -------
    DataFrame
        With the columns of ``COLUMNS["left_out"]``; one row for a measure or an outcome where the reason is
        the same for all partners.
    """
    rows: list[tuple[str, str, str, str, int, str]] = []
    for b, block in enumerate(data.blocks):
        for analysis, table in (("correlation", tables[b]), ("partial", held[b])):
            if analysis == "partial" and not data.covariates:
                continue
            rows += [(analysis, block.label, *row) for row in _reasons(table, data)]
    for column in data.by:
        done = set(
            prediction.loc[prediction["leave_out"] == column, ["measure", "outcome"]].itertuples(
                index=False, name=None
            )
        )
        values = {block.keys[data.by.index(column)] for block in data.blocks}
        for i, measure in enumerate(data.measures):
            if i in baselines or measure in data.covariates:
                continue
            for outcome in data.outcomes:
                if (measure, outcome) not in done and outcome not in data.covariates:
                    reason = (
                        f"in fewer than two of the {len(values)} values of {column} there is a correlation"
                    )
                    rows.append(("prediction", column, measure, outcome, 0, reason))
    return _frame(
        dict(zip(COLUMNS["left_out"], zip(*rows, strict=True), strict=True)) if rows else {}, "left_out"
    )


def _reasons(table: Table, data: Models) -> list[tuple[str, str, int, str]]:
    empty = np.isnan(table.value)
    by_outcome = np.array([[str(text).startswith("outcome ") for text in row] for row in table.note])
    found: list[tuple[str, str, int, str]] = []
    rest = empty.copy()
    for i, measure in enumerate(data.measures):
        own = empty[i] & ~by_outcome[i]
        if (own | by_outcome[i]).all() and own.any() and len(set(table.note[i][own])) == 1:
            found.append((measure, "", int(table.n[i].max()), str(table.note[i][own][0])))
            rest[i, own] = False
    for j, outcome in enumerate(data.outcomes):
        own = by_outcome[:, j] & rest[:, j]
        if own.any():
            found.append(("", outcome, int(table.n[own, j].max()), str(table.note[own, j][0])))
            rest[own, j] = False
    for i, j in np.argwhere(rest):
        reason = str(table.note[i, j]) or UNDEFINED
        found.append((data.measures[i], data.outcomes[j], int(table.n[i, j]), reason))
    return found


def _random_effects(one: Correlated, level: float, kendall: bool = False) -> RandomEffects:
    # Variances of Fisher's z with n independent models: Fieller, Hartley and Pearson (1957), Biometrika 44.
    values, n = (np.stack([getattr(table, name) for table in one.tables]) for name in ("value", "n"))
    least = 0.437 / np.maximum(n - 4, 1) if kendall else 1 / np.maximum(n - 3, 1)
    return pooled_correlations(values, one.tested.deviation, n, least=least, confidence=level)


def _pooling(found: RandomEffects) -> dict[str, Floats]:
    plain = {
        name: getattr(found, name) for name in ("lower", "upper", "tau2", "i2", "new_lower", "new_upper")
    }
    return plain | {"p_mean": found.p}


def _table_rows(
    label: str, table: Table, columns: dict[str, Floats], data: Models, level: float, prefix: str = ""
) -> pd.DataFrame:
    lower, upper = intervals(table, level)
    whole = {
        "blocks": table.blocks,
        "n": table.n,
        "clusters": table.clusters,
        f"{prefix}lower": lower,
        f"{prefix}upper": upper,
        "note": table.note.astype(str),
        **columns,
    }
    flat = {name: value.ravel() for name, value in whole.items()}
    return _frame(pair_columns(data) | {"block": label} | flat, "partial")


def _frame(columns: Any, name: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns).reindex(columns=list(COLUMNS[name]))
