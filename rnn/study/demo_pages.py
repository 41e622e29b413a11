"""What the demo writes: report, tables and figures, made in memory and moved into place together."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.figures import CELL_LABELS, draw_correlations, draw_portraits, draw_success
from rnn.measuring.measures import BASELINES, STUDIED, column_label
from rnn.pages.images import figure_png
from rnn.report import Cell, Picture, Report, Table, prose, render_report
from rnn.study.demo_words import correlation_words, glossary, method_words, portrait_words, success_words
from rnn.study.engine import TrialResult
from rnn.study.findings import study_findings, study_limits, study_verdict
from rnn.study.statistics import POOLED
from spectra import __version__
from spectra.extremes import pseudospectral_radius
from spectra.pseudospectra import pseudospectrum

if TYPE_CHECKING:
    import pandas as pd

CONTOURS = (0.05, 0.2, 0.5)
NONE = "-"

# The measures of the scatter plots and of the closing table: baselines, then non-normality, then dynamics.
SHOWN = (
    *BASELINES,
    "henrici_departure",
    "eigenvector_condition_number",
    "pseudospectral_sensitivity",
    "jacobian_spectral_norm",
)
ALL = (*(measure.name for measure in STUDIED), *(f"jacobian_{measure.name}" for measure in STUDIED))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pages:
    """The files of the demo before they are written, and its closing table.

    Attributes
    ----------
    files : dict of str to bytes
        Contents by name.
    summary : DataFrame
        Text: a row for each of `SHOWN`.
    """

    files: dict[str, bytes]
    summary: pd.DataFrame


def demo_pages(
    models: pd.DataFrame,
    correlations: pd.DataFrame,
    *,
    matrices: Mapping[str, NDArray[np.float64]],
    outcome: str,
    failures: Sequence[TrialResult],
    command: str,
    seconds: float,
) -> Pages:
    """Make the files of the demo from its tables.

    Parameters
    ----------
    models, correlations : DataFrame
        The tables.
    matrices : mapping of str to ndarray
        By family, the matrix whose pseudospectra are drawn, of the network of initial scale nearest to 1.
    outcome : str
        The fooling rate that figures and sentences are about.
    failures : sequence of TrialResult
        Networks that are missing.
    command : str
        What repeats the demo.
    seconds : float
        How long training, measuring and attacking took.

    Returns
    -------
    Pages
        The files and the closing table.
    """
    pictures = _pictures(models, correlations, matrices, outcome)
    report = Report(
        title="Do spectra tell how robust a network is?",
        lead=study_verdict(correlations, outcome=outcome, measures=ALL),
        method=method_words(models, outcome=outcome),
        findings=study_findings(models, correlations, outcome=outcome, measures=ALL),
        limits=[*study_limits(models, outcome=outcome), *map(_failure, failures)],
        figures=list(pictures.values()),
        tables=[_correlation_table(correlations, outcome), _model_table(models, outcome)],
        glossary=glossary(),
        command=command,
        facts=_facts(models, seconds),
    )
    files = {
        "report.html": render_report(report).encode(),
        "models.csv": models.to_csv(index=False).encode(),
        "correlations.csv": correlations.to_csv(index=False).encode(),
        **{name: picture.png for name, picture in pictures.items()},
    }
    return Pages(files, _summary(correlations, outcome))


def checked_folder(out: str | os.PathLike[str]) -> Path:
    """Give the folder to write to, if it can be one; nothing is made yet.

    Parameters
    ----------
    out : path-like
        An existing folder, or one that can be made in an existing folder.

    Returns
    -------
    Path
        The absolute path.

    Raises
    ------
    ValueError
        If it is a file, or cannot be written.
    """
    folder = Path(out).absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out is {folder}, which is a file; name a folder")
    base = next(place for place in (folder, *folder.parents) if place.exists())
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        raise ValueError(f"out is {folder}, but {base} cannot be written; choose another folder")
    return folder


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files into a folder, each whole or not at all; they are moved there when all are written.

    Parameters
    ----------
    folder : Path
        Made when missing, with its parents.
    contents : mapping of str to bytes
        By file name; an existing file of that name is replaced.

    Returns
    -------
    tuple of Path
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        for name in contents:
            os.replace(staging / name, folder / name)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(staging)
    return tuple(folder / name for name in contents)


def _pictures(
    models: pd.DataFrame,
    correlations: pd.DataFrame,
    matrices: Mapping[str, NDArray[np.float64]],
    outcome: str,
) -> dict[str, Picture]:
    # One region for all, so that they compare: as far as the widest contour of any goes.
    reach = 1.04 * max(pseudospectral_radius(matrix, max(CONTOURS)).value for matrix in matrices.values())
    region = (-reach, reach, -reach, reach)
    portraits = {
        CELL_LABELS.get(cell, cell): pseudospectrum(
            matrix, region=region, epsilons=CONTOURS, shape=(201, 201)
        )
        for cell, matrix in matrices.items()
    }
    return {
        "pseudospectra.png": Picture(
            "Where the eigenvalues are, and where a small change could put them",
            *portrait_words(portraits, CONTOURS),
            figure_png(draw_portraits(portraits)),
        ),
        "spectra_vs_success.png": Picture(
            "Spectra against attack success",
            *success_words(outcome, SHOWN),
            figure_png(draw_success(models, correlations, outcome=outcome, measures=SHOWN)),
        ),
        "correlations.png": Picture(
            "All measures at once",
            *correlation_words(outcome),
            figure_png(draw_correlations(correlations, outcome=outcome, measures=ALL)),
        ),
    }


def _correlation_table(correlations: pd.DataFrame, outcome: str) -> Table:
    found = _by_cell(correlations, outcome)
    cells = _blocks(correlations)[1:]
    body = [
        [
            Cell(column_label(measure)),
            _mean_cell(found, measure, cells),
            _interval_cell(found.get((measure, POOLED)), "gain"),
            *(_interval_cell(found.get((measure, cell))) for cell in cells),
        ]
        for measure in ALL
    ]
    missing: dict[str, list[str]] = {}
    for (measure, block), row in found.items():
        if measure in ALL and np.isnan(row["spearman"]):
            missing.setdefault(f"{CELL_LABELS.get(block, block)}, {row['note']}", []).append(measure)
    return Table(
        title=f"Correlation with the {column_label(outcome)}",
        caption=prose("""
            Spearman's rank correlation [95 % interval]; bold where the interval leaves out 0. Gain:
            strength of the mean of families less that of the better of spectral radius and spectral norm.
            The mean of families averages the correlations within them; where some family has none, the
            number of those averaged stands behind it.
        """),
        heads=[
            "measure",
            CELL_LABELS[POOLED],
            "gain over the simple two",
            *(CELL_LABELS[cell] for cell in cells),
        ],
        rows=body,
        notes=[
            f"No correlation for {reason}: {', '.join(map(column_label, names))}."
            for reason, names in missing.items()
        ],
    )


def _by_cell(correlations: pd.DataFrame, outcome: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = correlations[correlations["outcome"] == outcome].to_dict("records")
    return {(row["measure"], row["block"]): {str(key): row[key] for key in row} for row in rows}


def _blocks(correlations: pd.DataFrame) -> list[str]:
    return [POOLED, *(cell for cell in CELL_LABELS if cell in set(correlations["block"]) - {POOLED})]


def _interval_cell(row: dict[str, Any] | None, value: str = "spearman") -> Cell:
    if row is None or np.isnan(row[value]):
        return Cell(NONE, title="" if row is None or value != "spearman" else row["note"])
    names = ("lower", "upper") if value == "spearman" else (f"{value}_lower", f"{value}_upper")
    lower, upper = (row[name] for name in names)
    return Cell(f"{row[value]:+.2f} [{lower:+.2f}, {upper:+.2f}]", strong=bool(lower > 0 or upper < 0))


def _mean_cell(found: Mapping[tuple[str, str], dict[str, Any]], measure: str, cells: Sequence[str]) -> Cell:
    """Give the mean of the families, with their number where some have no correlation."""
    cell = _interval_cell(found.get((measure, POOLED)))
    rows = [found.get((measure, name)) for name in cells]
    count = sum(row is not None and not np.isnan(row["spearman"]) for row in rows)
    if cell.text == NONE or count == len(cells):
        return cell
    return dataclasses.replace(cell, text=f"{cell.text} ({count} families)")


def _model_table(models: pd.DataFrame, outcome: str) -> Table:
    columns = ["seed", "gain", "clean_accuracy", outcome, *SHOWN]
    heads = ["family", "seed", "initial scale", "accuracy", "fooling rate"]
    ordered = [models[models["cell"] == cell] for cell in CELL_LABELS]
    return Table(
        title="The networks",
        caption="Every column of every network is in models.csv.",
        heads=[*heads, *map(column_label, SHOWN)],
        rows=[
            [Cell(CELL_LABELS[row["cell"]]), *(Cell(_number(row[name])) for name in columns)]
            for part in ordered
            for row in part.to_dict("records")
        ],
    )


def _number(value: float) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    return NONE if np.isnan(value) else f"{value:#.3g}".rstrip(".")


def _facts(models: pd.DataFrame, seconds: float) -> list[tuple[str, str]]:
    packages = ("numpy", "scipy", "torch", "scikit-learn", "pandas")
    versions = [f"spectra-rnn {__version__}", *(f"{name} {version(name)}" for name in packages)]
    return [
        ("seeds", f"{models['seed'].min()} to {models['seed'].max()} in every family"),
        ("versions", ", ".join(versions)),
        ("Python", f"{platform.python_version()} on {platform.platform()}"),
        ("time", f"{seconds:.0f} s for training, measuring and attacking, on {os.cpu_count()} processors"),
        ("files", "models.csv, correlations.csv and the figures as PNG lie beside this page"),
    ]


def _failure(result: TrialResult) -> str:
    return f"One network failed and is missing ({result.config}): {result.error}"


def _summary(correlations: pd.DataFrame, outcome: str) -> pd.DataFrame:
    import pandas as pd

    found = _by_cell(correlations, outcome)
    table = {"measure": [column_label(measure) for measure in SHOWN]}
    for block in _blocks(correlations):
        if block == POOLED:
            texts = [_mean_cell(found, measure, _blocks(correlations)[1:]).text for measure in SHOWN]
        else:
            cells = [_interval_cell(found.get((measure, block))) for measure in SHOWN]
            texts = [cell.text.partition(" [")[0] for cell in cells]
        table[CELL_LABELS[block]] = texts
    return pd.DataFrame(table)
