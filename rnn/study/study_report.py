"""The report of a study: statistics, verdicts on the claims, tables, figures, and a page that shows them."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnn.extra import require
from rnn.report import counted
from rnn.study.claims import Claim
from rnn.study.configuration import read_study, shipped_studies
from rnn.study.demo_pages import checked_folder, write_folder
from rnn.study.evidence import StudyStatistics
from rnn.study.evidence_columns import COLUMNS
from rnn.study.selection import chosen, worded
from rnn.study.status import StudyStatus, reading, study_status
from rnn.study.study_columns import baseline_columns, main_outcomes
from rnn.study.study_numbers import (
    CENTRAL_COLUMNS,
    StudyFindings,
    StudyNumbers,
    along_training,
    study_numbers,
)
from rnn.study.study_page import render_study, study_page
from rnn.study.study_pictures import study_pictures
from rnn.study.study_words import lead_words, work_words
from rnn.study.summary import group_table, verdicts
from rnn.study.tables import study_rows
from spectra import __version__
from spectra.checks import generator, whole_number
from spectra.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

_STEPS = 5
PAGE = "report.html"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyReport:
    """What a study has shown so far.

    Attributes
    ----------
    status : StudyStatus
        How far the study is.
    statistics : StudyStatistics or None
        Of the measures and main outcomes; None where there are too few models, `reason` says which.
    claims : tuple of Claim
        The verdicts; empty where there can be none yet.
    reason : str
        Why there are no statistics; empty where there are.
    tables : dict of str to DataFrame
        All tables by name: ``measures`` (one row for each network), ``central`` (one line for each measure
        and main outcome), those of `StudyStatistics`, those of the further outcomes (``further_...``), of the
        claims (``claim_c1``, ...), ``along_training``, and ``columns``, which says what the columns are.
    figures : dict of str to bytes
        PNG images by file name.
    html : str
        The page.
    study : str
        The study as JSON; `rnn.study.configuration.study_from` makes it again.
    """

    status: StudyStatus
    statistics: StudyStatistics | None
    claims: tuple[Claim, ...]
    reason: str
    tables: dict[str, pd.DataFrame]
    figures: dict[str, bytes]
    html: str
    study: str

    def __str__(self) -> str:
        """Give the outcome in a sentence."""
        return f"StudyReport of {self.status.name!r}: {lead_words(self.status, self.claims)}"

    __repr__ = __str__

    def to_html(self) -> str:
        """Give the report as one self-contained HTML page.

        Returns
        -------
        str
            The page, to be written in UTF-8.
        """
        return self.html

    def write(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write page, tables (CSV), figures (PNG) and the study (JSON), each whole or not at all.

        Parameters
        ----------
        folder : path-like
            Made when missing; files of the same names are replaced when all are written.

        Returns
        -------
        tuple of Path
            The files; the page is ``report.html``.

        Raises
        ------
        ValueError
            If it is a file, or cannot be written.
        """
        contents = {PAGE: self.html.encode(), "study.json": self.study.encode(), **self.figures}
        contents |= {f"{name}.csv": table.to_csv(index=False).encode() for name, table in self.tables.items()}
        return write_folder(checked_folder(folder), contents)


def study_report(
    out: str | os.PathLike[str],
    *,
    only: Mapping[str, object] | None = None,
    rng: int | np.random.Generator = 0,
    draws: int = 2000,
    progress: Progress | None = None,
) -> StudyReport:
    """Report on a study: which measures go with robustness, and what becomes of the claims.

    Parameters
    ----------
    out : path-like
        Folder of the study; a run may be at work.
    only : mapping of str to value or sequence of values, optional
        Columns and what they may be, such as ``{"task": "digits", "gain": [0.5, 1]}``: the report is about
        these networks.
    rng : int or numpy.random.Generator
        Source of resamples and permutations.
    draws : int
        Number of resamples.
    progress : callable, optional
        Called as ``progress(done, total)`` after each step.

    Returns
    -------
    StudyReport
        Of the trials that are finished now.

    Raises
    ------
    TypeError, ValueError
        If there is no study in the folder, no network with these values, or an argument is out of range.
    DamagedStudyError
        If its database is damaged.

    Notes
    -----
    Which columns are measures and outcomes is said in `rnn.study.study_columns`, how the statistics are
    clustered in `rnn.study.study_numbers`. The main outcomes make one family for the corrections, all further
    ones another. Networks without a Lyapunov exponent or a fooling rate take no part in the verdicts.
    """
    for package in ("pandas", "jinja2"):
        require(package, what="the report of a study")
    random, count = generator(rng), whole_number(draws, "draws")
    folder, done = Path(out), iter(range(1, _STEPS + 1))

    def step() -> None:
        if progress is not None:
            progress(next(done), _STEPS)

    status, study, rows = study_status(folder), _study_of(folder), chosen(study_rows(folder), only or {})
    step()
    judged, unclaimed = verdicts(rows)
    step()
    numbers = study_numbers(rows, draws=count, rng=random)
    step()
    curves, missing = along_training(folder, rows)
    outcomes, baselines = main_outcomes(rows), baseline_columns(rows)
    found = StudyFindings(
        status,
        rows,
        numbers,
        judged,
        unclaimed,
        curves,
        missing,
        outcomes,
        baselines,
        _only(only, rows, status),
    )
    pictures = study_pictures(found)
    step()
    page = study_page(
        found, pictures, command=_command(status, study), study=study, facts=_facts(status, rows)
    )
    report = StudyReport(
        status=status,
        statistics=numbers.main,
        claims=judged,
        reason=numbers.reason,
        tables=_tables(rows, numbers, judged, curves),
        figures={name: picture.png for name, picture in pictures.items()},
        html=render_study(page),
        study=study,
    )
    step()
    return report


def write_study_report(out: str | os.PathLike[str], target: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Report on a study, and write page, tables and figures into a folder.

    Parameters
    ----------
    out : path-like
        Folder of the study.
    target : path-like
        Folder to write to; see `StudyReport.write`.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    ValueError
        If there is no study, or the folder cannot be written.
    """
    checked_folder(target)
    return study_report(out).write(target)


def _only(only: Mapping[str, object] | None, rows: pd.DataFrame, status: StudyStatus) -> str:
    if not only:
        return ""
    return f"This report is about {worded(only)}: {len(rows)} of {counted(status.done, 'trained network')}."


def _tables(
    rows: pd.DataFrame, numbers: StudyNumbers, judged: tuple[Claim, ...], curves: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    import pandas as pd

    tables = {"measures": rows, "summary": group_table(rows), "central": numbers.central}
    for prefix, statistics in (("", numbers.main), ("further_", numbers.further)):
        if statistics is not None:
            names = COLUMNS if not prefix else ("per_block", "pooled", "partial", "gains")
            tables |= {f"{prefix}{name}": getattr(statistics, name) for name in names}
    tables |= {f"claim_{claim.name.lower()}": claim.table for claim in judged}
    tables["along_training"] = curves
    meanings = [
        (table, column, text)
        for table, columns in ({"central": CENTRAL_COLUMNS} | COLUMNS).items()
        for column, text in columns.items()
    ]
    tables["columns"] = pd.DataFrame(meanings, columns=["table", "column", "meaning"])
    return tables


def _study_of(folder: Path) -> str:
    """Give what the study was made from, without the folder of the data, as JSON to be read by people."""
    with reading(folder) as connection:
        found = connection.execute("SELECT value FROM meta WHERE name = 'study'").fetchone()
    content: Mapping[str, object] = json.loads(found[0]) if found else {}
    return json.dumps({name: value for name, value in content.items() if name != "data_root"}, indent=1)


def _command(status: StudyStatus, study: str) -> str:
    name = next((name for name in shipped_studies() if _is_shipped(name, study)), "")
    run = f"spectra study run {name or 'study.toml'} --out {status.folder.name}"
    report = f"spectra study report {status.folder.name} --html {PAGE}"
    if name:
        return f"{run}\n{report}"
    return f"{run}\n{report}\n# study.toml holds the values below; study.json beside this page has them too"


def _is_shipped(name: str, study: str) -> bool:
    return dict(json.loads(read_study(name).content)) | {"data_root": ""} == json.loads(study) | {
        "data_root": ""
    }


def _facts(status: StudyStatus, rows: pd.DataFrame) -> list[tuple[str, str]]:
    facts = [
        (
            "trials",
            f"{status.done} finished, {status.failed} failed, "
            f"{status.total - status.done - status.failed} open, {status.total} in all",
        )
    ]
    if status.other:
        facts.append(("beside them", f"{status.other} of former configurations, not counted here"))
    if status.warned:
        facts.append(
            ("warnings", f"{counted(status.warned, 'trial')} warned of something: measures.csv says what")
        )
    for name, label in (
        ("task", "tasks"),
        ("cell", "cells"),
        ("normalisation", "normalisations"),
        ("seed", "seeds"),
    ):
        if name in rows and len(rows):
            facts.append((label, ", ".join(map(str, sorted(rows[name].unique())))))
    facts.append(("work", work_words(rows)))
    if "version" in rows and len(rows):
        facts.append(("networks made by", f"spectra-rnn {', '.join(sorted(rows['version'].unique()))}"))
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "torch", "pandas"))
    facts.append(
        ("report made by", f"spectra-rnn {__version__}, {packages}, Python {platform.python_version()}")
    )
    return facts
