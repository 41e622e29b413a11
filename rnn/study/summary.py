"""What became of the networks of a study, in one table and the verdicts on the claims, in seconds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.report import Cell, Table, counted
from rnn.study.blocks import names
from rnn.study.claims import Claim, claims
from rnn.study.criteria import stable
from rnn.study.selection import chosen, some, worded
from rnn.study.study_columns import ACCURACY, BLOCKS, REFERENCE, configuration_columns, listed, study_label
from rnn.study.tables import study_rows

if TYPE_CHECKING:
    import pandas as pd

SUMMARY_COLUMNS = {
    "networks": "finished networks of the group",
    "accuracy": "clean accuracy, median",
    "fooling": "fooling rate at the middle budget, the worst of the attacks, median",
    "stable": "share with a negative Lyapunov exponent whose worst kick has shrunk in the end",
    "radius": "spectral radius, median",
}
_WAYS = {
    "networks": ("key", "size"),
    "accuracy": (ACCURACY, "median"),
    "fooling": (REFERENCE, "median"),
    "stable": ("stable", "mean"),
    "radius": ("spectral_radius", "median"),
}
_STABLE = ("lyapunov_exponent", "kick_end_worst")
_JUDGED = (ACCURACY, REFERENCE, *_STABLE)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudySummary:
    """What became of the networks of a study.

    Attributes
    ----------
    table : DataFrame
        A row for each group: the columns that make it, then those of `SUMMARY_COLUMNS`.
    claims : tuple of Claim
        The verdicts; empty where there can be none.
    note : str
        Why there are none, or which networks take no part; empty if there is nothing to say.
    networks : int
        How many were looked at.
    only : str
        Which networks were asked for; empty for all.
    """

    table: pd.DataFrame
    claims: tuple[Claim, ...]
    note: str
    networks: int
    only: str

    def __str__(self) -> str:
        which = f" with {self.only}" if self.only else ""
        verdicts = "; ".join(f"{claim.name} {claim.verdict}" for claim in self.claims)
        return f"{counted(self.networks, 'trained network')}{which}: {verdicts or 'no verdict yet'}"

    __repr__ = __str__


def study_summary(
    out: str | os.PathLike[str],
    *,
    only: Mapping[str, object] | None = None,
    by: Sequence[str] | None = None,
) -> StudySummary:
    """Sum a study up: accuracy, fooling rate and stability of each group, and the verdicts on the claims.

    Parameters
    ----------
    out : path-like
        Folder of the study; a run may be at work.
    only : mapping of str to value or sequence of values, optional
        Columns and what they may be, such as ``{"task": "digits", "gain": [0.5, 1]}``; the verdicts are then
        about these networks.
    by : sequence of str, optional
        Columns that make a group, in place of task, cell and all that makes a configuration; those with one
        value throughout are left out.

    Returns
    -------
    StudySummary
        Of the trials that are finished now.

    Raises
    ------
    ValueError
        If there is no study in the folder, no such column, or no network with these values.
    DamagedStudyError
        If its database is damaged.

    Notes
    -----
    `rnn.study_report` adds which measures go with robustness, with figures. This one takes a second or two
    for 10,000 networks.
    """
    rows = chosen(study_rows(out), only or {})
    judged, note = verdicts(rows)
    return StudySummary(group_table(rows, by), judged, note, len(rows), worded(only or {}))


def group_table(rows: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """Give one row for each group of networks.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.
    by : sequence of str, optional
        Columns that make a group, in place of task, cell and all that makes a configuration; those with one
        value throughout are left out.

    Returns
    -------
    DataFrame
        The columns that are left of `by`, then those of `SUMMARY_COLUMNS` whose numbers are there.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    import pandas as pd

    if rows.empty:
        return pd.DataFrame(columns=["networks"])
    wanted = [*BLOCKS, *configuration_columns(rows)] if by is None else names(by, "by")
    if unknown := [name for name in wanted if name not in rows]:
        raise ValueError(
            f"by names the column {unknown[0]!r}, which is not there; there are {some(map(str, rows))}"
        )
    there = {"key", *rows.select_dtypes("number")}  # a trial function of one's own may give texts
    if there >= set(_STABLE):
        known = rows[list(_STABLE)].notna().all(axis=1)
        rows = rows.assign(stable=stable(rows).astype(float).where(known))
        there.add("stable")
    ways = {name: way for name, way in _WAYS.items() if way[0] in there}
    several = [name for name in wanted if rows[name].nunique(dropna=False) > 1]
    groups = rows.groupby(several or np.zeros(len(rows)), sort=True, dropna=False)
    return groups.agg(**ways).reset_index(drop=not several)


def summary_table(table: pd.DataFrame) -> Table:
    """Give the groups as a table of a page.

    Parameters
    ----------
    table : DataFrame
        From `group_table`.

    Returns
    -------
    Table
        Rates in percent.
    """
    heads = [name for name in table if name in SUMMARY_COLUMNS]
    groups = [str(name) for name in table if name not in SUMMARY_COLUMNS]
    rows = [
        [
            *(Cell(study_label(str(row[name]))) for name in groups),
            *(Cell(_shown(row[name], name)) for name in heads),
        ]
        for row in table.to_dict("records")
    ]
    return Table(
        title="The networks, group by group",
        caption="; ".join(f"{name}: {SUMMARY_COLUMNS[name]}" for name in heads) + ".",
        heads=[*groups, *heads],
        rows=rows,
    )


def verdicts(rows: pd.DataFrame) -> tuple[tuple[Claim, ...], str]:
    """Hold the claims against those networks that have all it takes.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    claims : tuple of Claim
        The verdicts; empty where there can be none.
    note : str
        Why there are none, or how many networks take no part; empty if there is nothing to say.
    """
    if rows.empty:
        return (), "No network is finished yet, so there is no verdict."
    there = set(rows.select_dtypes("number"))
    lacking = [name for name in _JUDGED if name not in there]
    if lacking:
        return (), f"No verdict: the networks have no {listed(lacking)}."
    whole = rows[rows[list(_JUDGED)].notna().all(axis=1)]
    if whole.empty:
        return (), f"No verdict: no network has all of {listed(_JUDGED)}."
    left = len(rows) - len(whole)
    text = ""
    if left:
        text = f"{counted(left, 'network')} without a Lyapunov exponent, kick or fooling rate take no part."
    try:  # networks are paired by their configuration; whether one was audited is no part of it
        return claims(whole.drop(columns="audited", errors="ignore")), text
    except ValueError as error:  # a table of another function than run_trial, or one that cannot be paired
        return (), f"No verdict: {error}."


def _shown(value: float, name: str) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:.1%}" if name in {"accuracy", "fooling", "stable"} else f"{value:.3g}"
