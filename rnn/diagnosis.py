"""Diagnosis: what was measured of a trained network and found in it, as tables, text, JSON and a page."""

from __future__ import annotations

import dataclasses
import html
import json
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rnn.bounds.lipschitz import LipschitzBounds
from rnn.bounds.slopes import LocalLipschitz
from rnn.details import MatrixDetail
from rnn.findings import LEVELS, Finding, grouped_lines
from rnn.measuring.measures import MEASURES
from rnn.motion.layer_dynamics import LayerDynamics
from rnn.pages.diagnosis_page import PageContents, diagnosis_page
from rnn.pages.frames import frame_csv, frame_markdown, frame_records, marked, plain
from rnn.pages.page_sections import dynamics_sections, lipschitz_sections, rounding_sections
from rnn.report import Section, counted
from spectra.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("name", "layer", "direction", "gate", "role", "dynamics", "rows", "columns"),
    *(measure.name for measure in MEASURES),
)
_INTERVALS = ("name", "measure", "value", "lower", "upper", "seconds")
_ROUNDING = (
    *("name", "number_format", "epsilon", "relative"),
    *("before", "after", "worst_lower", "worst_upper", "verdict"),
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """Every measure of every matrix of a network, and the findings.

    Attributes
    ----------
    source : str
        What was diagnosed: the class of the module, or the name of the file.
    table : DataFrame
        One row per matrix: name, layer, direction, gate, role, dynamics, rows, columns, and the measures of
        `rnn.measuring.measures.MEASURES` (NaN where one is not defined, inf where it is infinite).
    findings : list of Finding
        Warnings first.
    unrecognised : list of (str, str)
        Entries that were not understood, with the reason.
    epsilon : float
        Level of the pseudospectral measures.
    details : tuple of MatrixDetail
        What is known about each matrix beyond its row: intervals, portrait, growth, rounding.
    dynamics : tuple of LayerDynamics
        Each recurrent layer and direction on data; empty without data.
    lipschitz : LipschitzBounds or None
        Upper bounds of the Lipschitz constants of the layers and the network; None without a module.
    local_lipschitz : LocalLipschitz or None
        Norms of the Jacobian of the network at data; None without data.
    seconds : dict of str to float
        Time by part, summed over matrices; "in all" is the time that passed.
    """

    source: str
    table: pd.DataFrame
    findings: list[Finding]
    unrecognised: list[tuple[str, str]]
    epsilon: float
    details: tuple[MatrixDetail, ...]
    dynamics: tuple[LayerDynamics, ...]
    lipschitz: LipschitzBounds | None
    local_lipschitz: LocalLipschitz | None
    seconds: dict[str, float]

    @property
    def level(self) -> str:
        """The highest level among the findings."""
        return max((finding.level for finding in self.findings), key=LEVELS.index, default="pass")

    @property
    def intervals(self) -> pd.DataFrame:
        """One row per matrix and measure: value, and the interval in which the truth lies."""
        rows = [
            (detail.name, *row)
            for detail in self.details
            if (found := detail.measures) is not None
            for row in zip(
                found.names.tolist(), found.values, found.lower, found.upper, found.seconds, strict=True
            )
        ]
        return _frame(rows, _INTERVALS)

    @property
    def rounding(self) -> pd.DataFrame:
        """One row per matrix that carries the state and number format: the change, and what it can do."""
        rows = [
            (detail.name, *(getattr(effect, field) for field in _ROUNDING[1:]))
            for detail in self.details
            for effect in detail.rounding
        ]
        return _frame(rows, _ROUNDING)

    def __str__(self) -> str:
        count = counted(len(self.table), "matrix", "matrices")
        lines = [f"{count}, {counted(len(self.unrecognised), 'entry', 'entries')} not understood"]
        return "\n".join([*lines, *grouped_lines(self.findings)])

    def __repr__(self) -> str:
        count = counted(len(self.table), "matrix", "matrices")
        return f"Diagnosis of {count}: {self.level}, {len(self.findings)} findings"

    def _repr_html_(self) -> str:
        findings = "".join(f"<li>{html.escape(str(finding))}</li>" for finding in self.findings)
        return f"<ul>{findings}</ul>{self.table.to_html()}"

    def to_html(self, *, command: str = "", progress: Progress | None = None) -> str:
        """Give the diagnosis as one HTML page that needs no other file.

        Parameters
        ----------
        command : str
            What the page says to type to repeat it.
        progress : callable, optional
            Called as ``progress(done, total)`` with numbers of matrices; each takes some 0.4 s to draw.

        Returns
        -------
        str
            The page.
        """
        return self.page_with(source=self.source, command=command, progress=progress)

    def page_with(
        self,
        *sections: Section,
        source: str,
        findings: Sequence[Finding] = (),
        command: str = "",
        progress: Progress | None = None,
    ) -> str:
        """Give the page with further parts before those of the diagnosis.

        Parameters
        ----------
        *sections : Section
            The parts.
        source : str
            What the title names.
        findings : sequence of Finding
            Findings beyond those of the diagnosis.
        command, progress : optional
            As for `to_html`.

        Returns
        -------
        str
            The page.
        """
        return diagnosis_page(
            PageContents(
                source=source,
                findings=[*findings, *self.findings],
                table=self.table,
                epsilon=self.epsilon,
                seconds=self.seconds["in all"],
                command=command or f"spectra diagnose {shlex.quote(self.source)} --html report.html",
                details=self.details,
                unrecognised=self.unrecognised,
                sections=[
                    *sections,
                    *dynamics_sections(self.dynamics),
                    *lipschitz_sections(self.lipschitz, self.local_lipschitz),
                    *rounding_sections(self.rounding),
                ],
            ),
            progress=progress,
        )

    def to_json(self) -> str:
        """Give the diagnosis as JSON.

        Returns
        -------
        str
            An object with ``source``, ``level``, ``epsilon``, ``findings``, ``matrices``, ``intervals``,
            ``rounding``, ``dynamics``, ``lipschitz``, ``unrecognised`` and ``seconds``. A measure that is not
            defined is null, an infinite one the string "inf" or "-inf".
        """
        content = {
            "source": self.source,
            "level": self.level,
            "epsilon": self.epsilon,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "matrices": frame_records(self.table),
            "intervals": frame_records(self.intervals.drop(columns="seconds")),
            "rounding": frame_records(self.rounding),
            "dynamics": [_layer_content(layer) for layer in self.dynamics],
            "lipschitz": _lipschitz_content(self.lipschitz, self.local_lipschitz),
            "unrecognised": [{"name": name, "reason": reason} for name, reason in self.unrecognised],
            "seconds": self.seconds,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Give the table as CSV, with empty cells where a measure is not defined.

        Returns
        -------
        str
            A head line and one line per matrix.
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
        return "\n".join([*lines, "", *frame_markdown(self.table), "", f"epsilon = {self.epsilon:g}"]) + "\n"


def _layer_content(layer: LayerDynamics) -> dict[str, Any]:
    lyapunov, growth, points = layer.lyapunov, layer.growth, layer.points
    content: dict[str, Any] = {
        "name": layer.name,
        "sequences": layer.sequences,
        "of": layer.of,
        "steps": layer.steps,
        "states": layer.states,
        "lyapunov_exponents": [plain(value) for value in lyapunov.exponents],
        "lyapunov_errors": [plain(value) for value in lyapunov.errors],
        "kaplan_yorke": plain(lyapunov.kaplan_yorke),
        "log10_growth_mean": [plain(value) for value in growth.log10_mean],
        "log10_growth_largest": [plain(value) for value in growth.log10_largest],
        "mean_jacobian": {name: plain(value) for name, value in layer.jacobian.values.items()},
        "largest_jacobian": {name: plain(value) for name, value in layer.worst.values.items()},
        "fixed_points": None,
    }
    if points is not None:
        columns = (points.kinds, points.speeds, points.errors, points.spectral_radii, points.found)
        heads = ("kind", "speed", "error", "spectral_radius", "found")
        content["fixed_points"] = [
            dict(zip(heads, map(plain, row), strict=True)) for row in zip(*columns, strict=True)
        ]
    return content


def _lipschitz_content(found: LipschitzBounds | None, local: LocalLipschitz | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "bound": plain(found.bound),
        "certified": found.certified,
        "reason": found.reason,
        "layers": frame_records(found.table),
        "largest_on_data": None if local is None else plain(local.largest),
    }


def _frame(rows: Iterable[tuple[Any, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))
