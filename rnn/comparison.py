"""Two states of one network compared: what training, pruning or rounding did to its measures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.diagnosis import Diagnosis
from rnn.examination import diagnose
from rnn.findings import LEVELS, Finding, carries_state, grouped_lines
from rnn.measuring.measures import LABELS
from rnn.pages.frames import frame_csv, frame_markdown, frame_records, marked
from rnn.pages.page_sections import comparison_sections
from rnn.report import counted, prose
from rnn.weights import NamedMatrices, named_matrices
from spectra.checks import callback
from spectra.errors import UnsupportedModelError
from spectra.norms import spectral_norm_bounds
from spectra.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("name", "measure", "before", "after", "change", "ratio")
_CHANGED = 0.1  # relative change of a measure of non-normality that is worth a word
_NON_NORMALITY = (
    "henrici_departure_relative",
    "eigenvector_condition_number",
    "pseudospectral_sensitivity",
    "kreiss_constant",
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two diagnoses of one network, matrix by matrix.

    Attributes
    ----------
    before, after : Diagnosis
        The diagnoses.
    table : DataFrame
        One row per matrix and measure that both have: name, measure, before, after, change (after - before)
        and ratio (after / before). In the rows of the measure "weight_change", before is ‖W_before‖, after
        is ‖W_after - W_before‖.
    findings : list of Finding
        What changed; warnings first.
    """

    before: Diagnosis
    after: Diagnosis
    table: pd.DataFrame
    findings: list[Finding]

    @property
    def level(self) -> str:
        """The highest level among the findings about the change and about the network after it."""
        found = [*self.findings, *self.after.findings]
        return max((finding.level for finding in found), key=LEVELS.index, default="pass")

    @property
    def _count(self) -> str:
        return counted(self.table["name"].nunique(), "matrix", "matrices")

    @property
    def summary(self) -> pd.DataFrame:
        """One row per square matrix, with a column per measure: "before -> after"."""
        both = [f"{row.before:.4g} -> {row.after:.4g}" for row in self.table.itertuples()]
        wide = self.table.assign(both=both).pivot_table(
            index="name", columns="measure", values="both", aggfunc="first", sort=False
        )
        return (
            wide[wide["spectral_radius"].notna()].reset_index()
            if "spectral_radius" in wide
            else wide.iloc[:0]
        )

    def __str__(self) -> str:
        return "\n".join([f"{self._count} compared", *grouped_lines(self.findings)])

    def __repr__(self) -> str:
        return f"Comparison of {self._count}: {len(self.findings)} findings"

    def _repr_html_(self) -> str:
        return f"<pre>{len(self.findings)} findings</pre>{self.table.to_html()}"

    def to_html(self, *, command: str = "", progress: Progress | None = None) -> str:
        """Give the diagnosis of the network after the change, with the changes, as one HTML page.

        Parameters
        ----------
        command : str
            What the page says to type to repeat it.
        progress : callable, optional
            Called as ``progress(done, total)`` with numbers of matrices.

        Returns
        -------
        str
            The page.
        """
        sections = comparison_sections(self.table, self.before.source, self.after.source)
        source = f"{self.before.source} -> {self.after.source}"
        return self.after.page_with(
            *sections, source=source, findings=self.findings, command=command, progress=progress
        )

    def to_json(self) -> str:
        """Give the comparison as JSON.

        Returns
        -------
        str
            An object with ``level``, ``findings``, ``changes``, and ``before`` and ``after`` as
            `Diagnosis.to_json` gives them.
        """
        content = {
            "level": self.level,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "changes": frame_records(self.table),
            "before": json.loads(self.before.to_json()),
            "after": json.loads(self.after.to_json()),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Give the table as CSV, with empty cells where a number is not defined.

        Returns
        -------
        str
            A head line and one line per matrix and measure.
        """
        return frame_csv(self.table)

    def to_markdown(self) -> str:
        """Give findings and table in Markdown.

        Returns
        -------
        str
            A list and a table.
        """
        lines = [f"- **{f.level}** {marked(f.subject)}: {marked(f.text)}" for f in self.findings]
        return "\n".join([*lines, "", *frame_markdown(self.table)]) + "\n"


def compare(
    before: Any,
    after: Any,
    *,
    recurrent: str | Sequence[str] | None = None,
    orientation: str | None = None,
    leak: float | None = None,
    dt: float | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Diagnose two states of one network, and say what changed from the first to the second.

    Parameters
    ----------
    before, after : nn.Module, mapping, or path
        As for `diagnose`: the initial and the trained weights, say.
    recurrent, orientation, leak, dt : optional
        As for `named_matrices`.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of matrices of both.
    **options : object
        Further ones of `diagnose`: epsilon, quick, largest, threads.

    Returns
    -------
    Comparison
        Both diagnoses and the changes.

    Raises
    ------
    UnsupportedModelError
        If a source is no model, or no matrix of one has the name and shape of one of the other.
    TypeError
        If data or a model are given.
    ValueError
        If a file is damaged, or an option is out of range.

    Examples
    --------
    >>> import torch
    >>> start = {"weight_hh_l0": torch.tensor([[0.5, 0.0], [0.0, 0.5]])}
    >>> end = {"weight_hh_l0": torch.tensor([[0.5, 0.4], [0.0, 0.5]])}
    >>> print(compare(start, end).findings[0])
    notice: weight_hh_l0: weights moved by 0.4, 80.0% of their norm before; \
that made it less normal: Henrici departure, relative 0 -> 0.492, eigenvector condition number 1 -> inf, \
pseudospectral sensitivity 1 -> 2.24.
    """
    callback(progress)
    if options.keys() & {"data", "model"}:
        raise TypeError("data and model are for rnn.diagnose; diagnose each of the two networks on the data")
    reading: dict[str, Any] = {"recurrent": recurrent, "orientation": orientation, "leak": leak, "dt": dt}
    parts = [named_matrices(source, **reading) for source in (before, after)]
    places = [{(record.name, record.shape) for record in part} for part in parts]
    if not places[0] & places[1]:
        raise UnsupportedModelError(
            "before and after share no matrix of the same name and shape; compare two states of one network"
        )
    total = sum(map(len, parts))

    def later(shift: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(shift + done, total)

    first = diagnose(parts[0], progress=later(0), **options)
    second = diagnose(parts[1], progress=later(len(parts[0])), **options)
    import pandas as pd

    table = pd.DataFrame(list(_rows(first, second, *parts)), columns=list(COLUMNS))
    carriers = {record.name for record in parts[1] if carries_state(record)}
    findings = [*_changes(table, carriers), *_alone(*parts)]
    findings.sort(key=lambda finding: -LEVELS.index(finding.level))
    return Comparison(first, second, table, findings)


def _rows(
    first: Diagnosis, second: Diagnosis, old: NamedMatrices, new: NamedMatrices
) -> Iterator[tuple[Any, ...]]:
    later = {record.name: record for record in new}
    values = {detail.name: detail.values for detail in second.details}
    for record, detail in zip(old, first.details, strict=True):
        other = later.get(record.name)
        if other is None or other.shape != record.shape:
            continue
        norm = detail.values.get("spectral_norm", math.nan)
        moved = float(spectral_norm_bounds(other.matrix - record.matrix))
        yield record.name, "weight_change", norm, moved, moved, _ratio(norm, moved)
        for name, value in detail.values.items():
            if name in values[record.name]:
                end = values[record.name][name]
                change = 0.0 if end == value else end - value
                yield record.name, name, value, end, change, _ratio(value, end)


def _ratio(before: float, after: float) -> float:
    if before == after:
        return 1.0
    return after / before if before != 0 and math.isfinite(before) else math.nan


def _changes(table: pd.DataFrame, carriers: set[str]) -> Iterator[Finding]:
    for name, part in table.groupby("name", sort=False):
        rows = part.set_index("measure")
        if "spectral_radius" not in rows.index:
            continue
        start, end = rows["before"], rows["after"]
        if end["weight_change"] == 0:
            text = "did not change at all: if it was trained in between, check that its gradient arrives"
            yield Finding("notice", str(name), text)
            continue
        moved = f"weights moved by {end['weight_change']:.3g}"
        if start["weight_change"] > 0:
            moved += f", {end['weight_change'] / start['weight_change']:.1%} of their norm before"
        level = "notice" if name in carriers else "pass"
        yield Finding(level, str(name), prose(f"{moved}; {_direction(start, end)}."))
        if name in carriers and start["spectral_radius"] <= 1 < end["spectral_radius"]:
            text = f"""
                spectral radius went from {start["spectral_radius"]:.4g} to {end["spectral_radius"]:.4g},
                across 1: as a linear map the matrix was stable before and is not now.
            """
            yield Finding("warning", str(name), prose(text))


def _direction(start: pd.Series[float], end: pd.Series[float]) -> str:
    """Say which measures of non-normality rose and which fell."""
    words = {"more": [], "less": []}  # type: dict[str, list[str]]
    for name in _NON_NORMALITY:
        if name == "kreiss_constant" and math.inf in (start.get(name), end.get(name)):
            continue  # that says where the eigenvalues are
        if name in start.index and abs(_log_ratio(start[name], end[name])) > math.log1p(_CHANGED):
            text = f"{LABELS[name]} {start[name]:.3g} -> {end[name]:.3g}"
            words["more" if end[name] > start[name] else "less"].append(text)
    if not words["more"] and not words["less"]:
        return f"no measure of non-normality changed by more than {_CHANGED:.0%}"
    if words["more"] and words["less"]:
        return f"non-normality rose by some measures ({', '.join(words['more'])}) and fell by others \
({', '.join(words['less'])})"
    way = "less normal" if words["more"] else "more normal"
    return f"that made it {way}: {', '.join(words['more'] or words['less'])}"


def _log_ratio(start: float, end: float) -> float:
    if start == end:
        return 0.0
    return np.log(end / start) if 0 < start < math.inf and 0 < end < math.inf else math.inf


def _alone(old: NamedMatrices, new: NamedMatrices) -> Iterator[Finding]:
    shapes = [{record.name: record.shape for record in part} for part in (old, new)]
    for here, there, word in ((shapes[0], shapes[1], "before"), (shapes[1], shapes[0], "after")):
        for name, shape in here.items():
            if name not in there:
                yield Finding("notice", name, f"is only in the network {word}, and was not compared")
            elif there[name] != shape and word == "before":
                text = f"has shape {shape} before and {there[name]} after, and was not compared"
                yield Finding("notice", name, text)
