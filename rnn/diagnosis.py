"""One diagnosis of a trained network: every measure of every matrix, and what in them is worth knowing."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.measures import EPSILON, MEASURES, matrix_measures
from rnn.report import Cell, Report, Table, prose, render_report
from rnn.weights import NamedMatrix, named_matrices
from spectra import __version__
from spectra.checks import positive

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("pass", "notice", "warning")
COLUMNS = ("name", "layer", "direction", "gate", "role", "rows", "columns", *(m.name for m in MEASURES))

_NEARLY_DEFECTIVE = (
    1e8  # eigenvector condition number at which half of the digits of an eigenvalue can be lost
)
_SENSITIVE = 10.0  # times as far as the perturbation is large


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something worth knowing about a matrix or the whole network.

    Attributes
    ----------
    level : {"pass", "notice", "warning"}
        How much it matters.
    subject : str
        Name of the matrix, or "network".
    text : str
        The number, the threshold, why it matters and what to do.
    """

    level: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.subject}: {self.text}"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """Every measure of every matrix of a network, and the findings.

    Attributes
    ----------
    table : DataFrame
        One row per matrix: name, layer, direction, gate, role, rows, columns, and the measures of `MEASURES`
        (NaN where one is not defined, inf where it is infinite).
    findings : list of Finding
        Warnings first.
    unrecognised : list of (str, str)
        Entries that were not understood, with the reason.
    epsilon : float
        Level of the pseudospectral measures.
    """

    table: pd.DataFrame
    findings: list[Finding]
    unrecognised: list[tuple[str, str]]
    epsilon: float

    @property
    def level(self) -> str:
        """The highest level among the findings."""
        return max((finding.level for finding in self.findings), key=LEVELS.index, default="pass")

    def __str__(self) -> str:
        lines = [f"{_matrices(len(self.table))}, {len(self.unrecognised)} entries not understood"]
        return "\n".join([*lines, *map(str, self.findings)])

    def __repr__(self) -> str:
        return f"Diagnosis of {_matrices(len(self.table))}: {self.level}, {len(self.findings)} findings"

    def _repr_html_(self) -> str:
        findings = "".join(f"<li>{html.escape(str(finding))}</li>" for finding in self.findings)
        return f"<ul>{findings}</ul>{self.table.to_html()}"

    def to_html(self) -> str:
        """Give the diagnosis as one HTML page that needs no other file.

        Returns
        -------
        str
            The page.
        """
        return render_report(_page(self))

    def to_json(self) -> str:
        """Give the diagnosis as JSON.

        Returns
        -------
        str
            An object with ``findings``, ``matrices``, ``unrecognised`` and ``epsilon``. A measure that is not
            defined is null, an infinite one the string "inf".
        """
        content = {
            "level": self.level,
            "epsilon": self.epsilon,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "matrices": [{name: _plain(row[name]) for name in COLUMNS} for row in self._records()],
            "unrecognised": [{"name": name, "reason": reason} for name, reason in self.unrecognised],
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Give the table as CSV, with empty cells where a measure is not defined.

        Returns
        -------
        str
            A head line and one line per matrix.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self._records():
            writer.writerow(["" if value is None else value for value in map(_plain, row.values())])
        return buffer.getvalue()

    def to_markdown(self) -> str:
        """Give findings and table in Markdown.

        Returns
        -------
        str
            A list and a table.
        """
        findings = [f"- **{f.level}** `{f.subject}`: {f.text}" for f in self.findings]
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in self._rows()]
        return "\n".join([*findings, "", *lines, "", f"epsilon = {self.epsilon:g}"]) + "\n"

    def _records(self) -> list[dict[str, Any]]:
        return [{name: row[name] for name in COLUMNS} for row in self.table.to_dict("records")]

    def _rows(self) -> list[list[str]]:
        return [[_text(value) for value in row.values()] for row in self._records()]


def diagnose(
    source: Any, *, epsilon: float = EPSILON, progress: Callable[[int, int], None] | None = None
) -> Diagnosis:
    """Measure every matrix of a trained network and say what is worth knowing.

    Parameters
    ----------
    source : nn.Module, mapping, or path
        As for `named_matrices`.
    epsilon : float
        Level of the pseudospectral measures, in the units of the weights.
    progress : callable, optional
        Called as ``progress(done, total)`` after every matrix.

    Returns
    -------
    Diagnosis
        Table and findings.

    Raises
    ------
    UnsupportedModelError
        If the source is no model.
    ValueError
        If a file is damaged, or `epsilon` is not positive.

    Notes
    -----
    Square matrices get every measure, rectangular ones the norms. Findings about stability are made for the
    matrices that carry the state only (of a GRU gate n, of an LSTM gate g): the other gates do not act alone.

    Examples
    --------
    >>> import torch
    >>> from rnn import diagnose
    >>> found = diagnose({"weight_hh_l0": 0.5 * torch.eye(3)})
    >>> print(found)
    1 matrix, 0 entries not understood
    pass: weight_hh_l0: spectral radius 0.5 and norm 0.5 are at most 1: no linear step makes the state grow.
    """
    import pandas as pd

    epsilon = positive(epsilon, "epsilon")
    found = named_matrices(source)
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for done, record in enumerate(found, start=1):
        row = _identity(record)
        try:
            row |= matrix_measures(record.matrix, epsilon=epsilon)
            findings += _findings(record, row, epsilon)
        except ValueError as error:  # no convergence, or numbers near the largest float
            findings.append(Finding("warning", record.name, f"not measured: {error}"))
        rows.append(row)
        if progress is not None:
            progress(done, len(found))
    findings += [
        Finding("notice", name, f"not understood and left out: {reason}")
        for name, reason in found.unrecognised
    ]
    if not rows:
        findings.append(
            Finding("warning", "network", "no weight matrix was found; see what was not understood")
        )
    findings.sort(key=lambda finding: -LEVELS.index(finding.level))
    return Diagnosis(pd.DataFrame(rows, columns=list(COLUMNS)), findings, list(found.unrecognised), epsilon)


def _identity(record: NamedMatrix) -> dict[str, Any]:
    rows, columns = record.matrix.shape
    named = {name: getattr(record, name) for name in ("name", "layer", "direction", "gate", "role")}
    return named | {"rows": rows, "columns": columns}


def _findings(record: NamedMatrix, row: dict[str, Any], epsilon: float) -> Iterator[Finding]:
    if row["spectral_norm"] == 0:
        yield Finding("warning", record.name, "all entries are 0: nothing passes; was it trained or loaded?")
    elif record.role == "recurrent" and record.gate in {"", "n", "g"}:
        yield _stability(record.name, row, epsilon)
    if row["rows"] == row["columns"]:
        yield from _nonnormality(record.name, row)


def _stability(name: str, row: dict[str, Any], epsilon: float) -> Finding:
    radius, norm, reach = (row[key] for key in ("spectral_radius", "spectral_norm", "pseudospectral_radius"))
    if radius > 1:
        level = "notice"
        text = f"""
            spectral radius {radius:.4g} is above 1: as a linear map the matrix makes states grow by that
            factor a step, and only the nonlinearity and the gates hold them back. Look at the state
            Jacobian (rnn.mean_state_jacobian); if states or gradients blow up, rescale the matrix or
            penalise its norm.
        """
    elif reach > 1:
        level = "warning"
        text = f"""
            spectral radius {radius:.4g} is at most 1, but a change of the weights of norm {epsilon:g} can
            bring it to {reach:.4g}: rounding, noise or further training can make the linear map unstable.
            Lower the norm ({norm:.4g}), or diagnose again after every such change.
        """
    elif norm > 1:
        level = "notice"
        text = f"""
            spectral radius {radius:.4g} stays at most 1 under every change of norm {epsilon:g}, but the
            norm {norm:.4g} is above 1: a state can grow for some steps before it shrinks. If that matters,
            bound the norm by 1.
        """
    else:
        level = "pass"
        text = f"""
            spectral radius {radius:.4g} and norm {norm:.4g} are at most 1: no linear step makes the state
            grow.
        """
    return Finding(level, name, prose(text))


def _nonnormality(name: str, row: dict[str, Any]) -> Iterator[Finding]:
    condition, sensitivity = row["eigenvector_condition_number"], row["pseudospectral_sensitivity"]
    if condition > _NEARLY_DEFECTIVE:
        text = f"""
            eigenvector condition number {condition:.3g} is above {_NEARLY_DEFECTIVE:g}: some eigenvectors
            are nearly dependent, and rounding alone can change half of the digits of an eigenvalue. Judge
            by pseudospectra (spectra.pseudospectrum), not by eigenvalues.
        """
        yield Finding("notice", name, prose(text))
    elif sensitivity > _SENSITIVE:
        text = f"""
            pseudospectral sensitivity {sensitivity:.3g} is above {_SENSITIVE:g}: the spectral radius can
            move that many times as far as a perturbation is large (1 for a normal matrix). Judge by
            pseudospectra (spectra.pseudospectrum), not by eigenvalues.
        """
        yield Finding("notice", name, prose(text))


def _matrices(count: int) -> str:
    return f"{count} {'matrix' if count == 1 else 'matrices'}"


def _page(diagnosis: Diagnosis) -> Report:
    labels = {measure.name: measure.label for measure in MEASURES}
    counts = Counter(finding.level for finding in diagnosis.findings)
    summary = ", ".join(f"{level}: {counts[level]}" for level in reversed(LEVELS))
    return Report(
        title="Diagnosis of a trained network",
        lead=f"{_matrices(len(diagnosis.table))}. Findings: {summary}.",
        findings=[str(finding) for finding in diagnosis.findings],
        tables=[
            Table(
                title="The matrices",
                caption=f"Pseudospectral measures at ε = {diagnosis.epsilon:g}, in the units of the weights.",
                heads=[labels.get(name, name) for name in COLUMNS],
                rows=[[Cell(text) for text in row] for row in diagnosis._rows()],
            )
        ],
        glossary=[(measure.label, measure.definition) for measure in MEASURES],
        command="spectra diagnose CHECKPOINT",
        facts=[("spectra-rnn", __version__)],
    )


def _plain(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else "inf" if np.isinf(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value


def _text(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return ""
    return f"{plain:.6g}" if isinstance(plain, float) else str(plain)
