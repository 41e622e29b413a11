"""What goes with robustness among somebody's own models: rows, correlations, and sentences about them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn.measuring.measures import BASELINES
from rnn.study.blocks import LEAST_MODELS
from rnn.study.correlation_findings import correlation_findings, ranked_correlations
from rnn.study.evidence import StudyStatistics, study_statistics
from rnn.study.network_rows import AttackPlan
from spectra.results import replaced_file

if TYPE_CHECKING:
    import pandas as pd

MEASURES = (
    *BASELINES,
    "henrici_departure_relative",
    "eigenvector_condition_number",
    "pseudospectral_radius",
    "kreiss_constant_scaled",
    "input_spectral_norm",
    "jacobian_spectral_radius",
    "jacobian_spectral_norm",
    "jacobian_henrici_departure_relative",
    "growth_peak",
    "growth_end",
    "lyapunov_exponent",
    "io_jacobian_norm",
    "margin",
    "io_jacobian_per_margin",
)
"""Measures that are correlated unless others are named; few, because each more makes every test stricter."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ModelCorrelations:
    """Which measures go with robustness among given models.

    Attributes
    ----------
    rows : DataFrame
        One row for each model that could be measured: name, group, architecture, parameters, measures and
        outcomes (columns as of `rnn.study.network_rows.network_row`), warnings, seconds.
    statistics : StudyStatistics or None
        Every table of correlations; None where there are too few models.
    note : str
        Why there are no statistics; empty where there are.
    failures : tuple of (str, str)
        Name and error of each model that could not be measured.
    unread : tuple of (str, str)
        Files of the folder that were left out, with the reason.
    measures, outcomes, covariates : tuple of str
        The columns that were correlated, and those that are held fixed in partial correlations.
    plan : AttackPlan
        What was done to each model.
    """

    rows: pd.DataFrame
    statistics: StudyStatistics | None
    note: str
    failures: tuple[tuple[str, str], ...]
    unread: tuple[tuple[str, str], ...]
    measures: tuple[str, ...]
    outcomes: tuple[str, ...]
    covariates: tuple[str, ...]
    plan: AttackPlan

    def __str__(self) -> str:
        """Give the number of models, and the strongest correlation with the first outcome."""
        failed = f" ({len(self.failures)} more failed)" if self.failures else ""
        head = f"ModelCorrelations of {len(self.rows)} models{failed}"
        words = self.note or next(iter(self.findings), "no correlation is defined")
        return f"{head}: {words.rstrip('.')}"

    __repr__ = __str__

    @property
    def table(self) -> pd.DataFrame:
        """The correlations, those of the first outcome first, the strongest first.

        One row for each pair of a measure and an outcome: ``spearman`` with its interval, ``p`` and ``holm``
        (p adjusted for all pairs), ``partial`` (the covariates held fixed) with its interval, ``gain`` (how
        much stronger it is than that of the better baseline, spectral radius or norm) with its interval,
        ``alike`` (whether the two must go together by what they are). Over all groups where there are
        several: ``block`` says so.
        """
        return ranked_correlations(self.statistics, self.outcomes)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the numbers say, in sentences that are computed from them."""
        if self.statistics is None:
            return ()
        return correlation_findings(self.statistics, self.table, self.rows)

    def to_json(self, about: Mapping[str, Any] | None = None) -> str:
        """Give everything as JSON.

        Parameters
        ----------
        about : mapping, optional
            What stands before it.

        Returns
        -------
        str
            An object with findings, correlations, models, failures and unread files; null where there is no
            number, the strings "inf" and "-inf" where one is infinite.
        """
        content = {
            **(about or {}),
            "note": self.note,
            "findings": list(self.findings),
            "correlations": _records(self.table),
            "models": _records(self.rows),
            "failures": [{"name": name, "error": error} for name, error in self.failures],
            "unread": [{"name": name, "reason": reason} for name, reason in self.unread],
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def to_html(self, *, command: str = "") -> str:
        """Give a page with sentences, figures and tables, which needs no other file.

        Parameters
        ----------
        command : str
            What to type to repeat it.

        Returns
        -------
        str
            HTML, to be written in UTF-8.
        """
        from rnn.study.correlation_page import correlation_page

        within = None if self.statistics is None else self.statistics.per_block
        return correlation_page(
            self.rows,
            self.table,
            within,
            findings=self.findings or (f"There are {self.note}.",),
            columns=(*self.outcomes, *self.measures),
            covariates=self.covariates,
            plan=self.plan,
            missing=[*self.failures, *self.unread],
            command=command,
        )

    def write(self, folder: str | os.PathLike[str], *, command: str = "") -> tuple[Path, ...]:
        """Write page and tables to a folder, each file whole or not at all.

        Parameters
        ----------
        folder : path-like
            Made where it is missing; files of these names are replaced.
        command : str
            What to type to repeat it; stands on the page.

        Returns
        -------
        tuple of Path
            ``report.html``, ``models.csv``, and ``correlations.csv`` where there are any.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        contents = {
            "report.html": self.to_html(command=command),
            "models.csv": self.rows.to_csv(index=False),
        }
        if len(self.table):
            contents["correlations.csv"] = self.table.to_csv(index=False)
        for name, content in contents.items():
            with replaced_file(place / name) as file:
                file.write(content.encode())
        return tuple(place / name for name in contents)


def model_correlations(
    rows: pd.DataFrame,
    *,
    plan: AttackPlan,
    measures: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
    covariates: Sequence[str] = ("clean_accuracy",),
    clusters: Sequence[str] | None = None,
    failures: Sequence[tuple[str, str]] = (),
    unread: Sequence[tuple[str, str]] = (),
    rng: int = 0,
) -> ModelCorrelations:
    """Correlate measures with outcomes over the rows of models.

    Parameters
    ----------
    rows : DataFrame
        As `rnn.study.model_rows.rows_frame` gives it: models are only compared within their ``group``.
    plan : AttackPlan
        What was done to each.
    measures, outcomes, covariates : sequence of str
        Columns; None for `MEASURES`, and for the worst of the attacks at each budget with the median
        distances.
    clusters : sequence of str, optional
        For each row a label; rows of one label belong together, such as checkpoints of one training.
    failures, unread : sequence of (str, str)
        What is not among the rows, with the reason.
    rng : int
        Determines resamples and permutations.

    Returns
    -------
    ModelCorrelations
        With statistics where there are five models at least; a column that is not there is empty.
    """
    wanted: dict[str, Any] = {
        "measures": _present(rows, MEASURES) if measures is None else tuple(measures),
        "outcomes": _present(rows, plan_outcomes(plan)) if outcomes is None else tuple(outcomes),
        "covariates": tuple(covariates),
    }
    every = [*wanted["measures"], *wanted["outcomes"], *wanted["covariates"]]
    rows = rows.assign(**{name: math.nan for name in every if name not in rows})
    statistics, note = None, ""
    if len(rows) < LEAST_MODELS:
        note = f"no correlations, which need at least {LEAST_MODELS} models"
    elif not (wanted["measures"] and wanted["outcomes"]):
        note = (
            "no correlations, because no model has a measure or no model an outcome (none right when clean?)"
        )
    else:
        named = rows if clusters is None else rows.assign(**{"(cluster)": [str(one) for one in clusters]})
        statistics = study_statistics(
            named,
            **wanted,
            blocks="group",
            cluster=None if clusters is None else "(cluster)",
            replicate=None if clusters is None else "name",
            baselines=[name for name in BASELINES if name in wanted["measures"]],
            rng=rng,
        )
    return ModelCorrelations(rows, statistics, note, tuple(failures), tuple(unread), **wanted, plan=plan)


def plan_outcomes(plan: AttackPlan) -> tuple[str, ...]:
    """Give the outcomes that are correlated unless others are named.

    Parameters
    ----------
    plan : AttackPlan
        What is done to each model.

    Returns
    -------
    tuple of str
        The worst of the attacks at each budget, and the median distances.

    Examples
    --------
    >>> plan_outcomes(AttackPlan(budgets=(("linf", (0.1,)),)))
    ('fooling_all_linf_0.1', 'minimal_l2')
    """
    rates = [f"fooling_all_{norm}_{budget:g}" for norm, budgets in plan.budgets for budget in budgets]
    return (*rates, *(f"minimal_{norm}" for norm in plan.minimal))


def _present(rows: pd.DataFrame, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in rows and rows[name].notna().any())


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{value}"
    return value
