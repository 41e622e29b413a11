"""The page about somebody's own models: what goes with robustness among them, with figures and tables."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.measuring.measures import BASELINES, MEASURES
from rnn.pages.images import figure_png
from rnn.report import Cell, Picture, Report, Table, prose, render_report
from rnn.study.blocks import POOLED
from rnn.study.correlation_findings import SIGNIFICANT, interval, label
from rnn.study.network_rows import AttackPlan
from rnn.study.study_figures import draw_forest
from spectra import __version__

if TYPE_CHECKING:
    import pandas as pd

_NONE = "-"
_TERMS = (
    ("fooling rate", "The share of the clean-correct examples that an attack turns within its budget."),
    ("minimal distance", "The median distance of an example to the nearest misclassified point found."),
    (
        "gain",
        "How much stronger a correlation is than that of the better of spectral radius and spectral norm.",
    ),
    ("partial", "The correlation that is left when the covariates, such as clean accuracy, are held fixed."),
    ("Holm's p", "The p-value adjusted for all correlations of the table, by permutations."),
    (
        "growth along trajectories",
        "Mean of log10 of the norm of the product of the state Jacobians: at its peak, and at the end.",
    ),
    ("slope of the output", "Median norm of the Jacobian of the logits with respect to the input."),
    ("margin of the output", "Median of the true logit less the largest other one."),
)


def correlation_page(
    rows: pd.DataFrame,
    table: pd.DataFrame,
    within: pd.DataFrame | None,
    *,
    findings: Sequence[str],
    columns: Sequence[str],
    covariates: Sequence[str],
    plan: AttackPlan,
    missing: Sequence[tuple[str, str]],
    command: str,
) -> str:
    """Give the page.

    Parameters
    ----------
    rows : DataFrame
        The models.
    table : DataFrame
        From `rnn.study.correlation_findings.ranked_correlations`; may be empty.
    within : DataFrame or None
        The correlations within groups.
    findings : sequence of str
        Sentences.
    columns : sequence of str
        Of the models, to be shown.
    covariates : sequence of str
        What was held fixed.
    plan : AttackPlan
        What was done to each model.
    missing : sequence of (str, str)
        Models and files that are not among the rows, with the reason.
    command : str
        What to type to repeat it; empty for a call from Python.

    Returns
    -------
    str
        HTML, to be written in UTF-8.
    """
    outcomes = list(dict.fromkeys(table["outcome"])) if len(table) else []
    figures = [] if within is None or not outcomes else [_picture(table, within, outcomes)]
    report = Report(
        title="What goes with robustness among these models?",
        lead=f"{len(rows)} trained models, measured and attacked.",
        findings=findings,
        figures=figures,
        tables=[*(_correlations(table, outcome) for outcome in outcomes), _models(rows, columns, missing)],
        glossary=[*_TERMS, *((measure.label, measure.definition) for measure in MEASURES if measure.studied)],
        command=command or "rnn.correlate(models, x, y, ...)",
        facts=_facts(rows),
        method=_method(rows, plan, covariates),
        limits=_limits(missing),
    )
    return render_report(report)


def _picture(table: pd.DataFrame, within: pd.DataFrame, outcomes: Sequence[str]) -> Picture:
    pooled = (table["block"] == POOLED).any()
    figure = draw_forest(table, within if pooled else within[:0], outcomes=outcomes, baselines=BASELINES)
    caption = """
        Spearman's correlation of each measure with each outcome, with its 95 % interval. Filled: Holm's p is
        below 0.05. With all attacks an example counts that any of them turns.
    """
    return Picture(
        "All correlations",
        prose(caption + ("Small points are single groups." if pooled else "")),
        "Rank correlations of all measures with each outcome, as in the tables below.",
        figure_png(figure),
    )


def _correlations(table: pd.DataFrame, outcome: str) -> Table:
    part = table[table["outcome"] == outcome]
    several = part["block"].nunique() > 1
    heads = ["measure", *(["group"] if several else []), "models", "Spearman's correlation", "Holm's p"]
    rows = []
    for row in part.to_dict("records"):
        cells = [Cell(label(row["measure"]) + (" *" if row["alike"] else ""))]
        cells += [Cell(str(row["block"]))] if several else []
        cells += [
            Cell(str(row["n"])),
            Cell(interval(row), strong=row["holm"] < SIGNIFICANT),
            Cell(f"{row['holm']:.2g}"),
        ]
        cells += [Cell(interval(row, "partial")), Cell(interval(row, "gain"))]
        rows.append(cells)
    notes = ["* must go with this outcome by what both are."] if part["alike"].any() else []
    return Table(
        title=f"Correlations with {label(outcome)}",
        caption="The strongest first, with 95 % intervals; bold where Holm's p is below 0.05.",
        heads=[*heads, "partial", "gain"],
        rows=rows,
        notes=notes,
    )


def _models(rows: pd.DataFrame, columns: Sequence[str], missing: Sequence[tuple[str, str]]) -> Table:
    names = [name for name in dict.fromkeys(("clean_accuracy", *columns)) if name in rows]
    return Table(
        title="The models",
        caption="Every column of every model is in models.csv, where it was written.",
        heads=["model", "group", *map(label, names)],
        rows=[
            [Cell(str(row["name"])), Cell(str(row["group"])), *(Cell(_number(row[name])) for name in names)]
            for row in rows.to_dict("records")
        ],
        notes=[f"Not among them: {name}: {reason}" for name, reason in missing],
    )


def _number(value: Any) -> str:
    return _NONE if np.isnan(value) else f"{value:#.3g}".rstrip(".")


def _method(rows: pd.DataFrame, plan: AttackPlan, covariates: Sequence[str]) -> list[str]:
    budgets = "; ".join(f"{norm} {', '.join(f'{b:g}' for b in values)}" for norm, values in plan.budgets)
    groups = rows["group"].nunique()
    attacked = rows["attacked_examples"].max()
    held = ", ".join(map(label, covariates)) or "nothing"
    return [
        prose(f"""
            Each model was attacked by {", ".join(plan.methods)} on {attacked:.0f} examples, with the budgets
            {budgets}; an outcome counts the worst of them. Models are only compared within their group, of
            which there are {groups}; several groups are pooled by random effects.
        """),
        prose(f"""
            Intervals are percentiles of bootstrap resamples, p-values come from permutations within groups
            and are adjusted by Holm over all pairs. Partial correlations hold fixed: {held}.
        """),
    ]


def _limits(missing: Sequence[tuple[str, str]]) -> list[str]:
    words = ["A correlation among these models is not a cause, and says nothing about models of other kinds."]
    words += ["An attack that fails proves nothing: a fooling rate is a lower bound of the true one."]
    if missing:
        words.append(f"{len(missing)} models or files are missing; the table of models names them.")
    return words


def _facts(rows: pd.DataFrame) -> list[tuple[str, str]]:
    least, most = rows["parameters"].min(), rows["parameters"].max()
    packages = ("numpy", "scipy", "torch", "pandas")
    versions = [f"spectra-rnn {__version__}", *(f"{name} {version(name)}" for name in packages)]
    return [
        (
            "models",
            f"{len(rows)}, with {least} to {most} parameters",
        ),
        ("versions", ", ".join(versions)),
        ("Python", f"{platform.python_version()} on {platform.platform()}"),
        ("time", f"{rows['seconds'].sum():.0f} s for measuring and attacking, one after the other"),
    ]
