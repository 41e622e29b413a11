"""The page of a diagnosis: what was found, every matrix with its portrait, and how to read it all."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import platform
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.details import MatrixDetail
from rnn.findings import Finding, grouped
from rnn.pages.matrix_cards import Card, card_tables, matrix_card
from rnn.pages.matrix_words import number
from rnn.pages.primer import examples
from rnn.pages.terms import TERMS, linked
from rnn.report import Section, check_tables, counted, render_page
from spectra import __version__
from spectra.threads import Progress

if TYPE_CHECKING:
    import pandas as pd

MOST_PICTURED = 40  # matrices with pictures: some 90 kB of page and half a second each
_SIGNS = {"warning": "▲", "notice": "◆", "pass": "✓"}  # the worst first; told apart without colour
_MANY = 4  # findings that differ in nothing but numbers, from which on the first stands for all
_LONGEST = 80  # letters of a name that is shown in full


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PageContents:
    """What the page of a diagnosis is made of.

    Attributes
    ----------
    source : str
        Name of the file or class of the network.
    findings : sequence of Finding
        In any order.
    table : DataFrame
        A row per matrix with at least name, layer, direction, gate, role, rows and columns, and measures.
    epsilon : float
        Level of the pseudospectral measures.
    seconds : float
        Time the diagnosis took.
    command : str
        What to type to repeat it.
    details : sequence of MatrixDetail
        What is known beyond the table, for as many of the matrices as there are.
    unrecognised : sequence of (str, str)
        Entries that were not understood, with the reason.
    sections : sequence of Section
        Further parts: number formats, Lipschitz bounds, dynamics, a comparison.
    facts : sequence of (str, str)
        Versions and settings beyond those that every page names.
    """

    source: str
    findings: Sequence[Finding]
    table: pd.DataFrame
    epsilon: float
    seconds: float
    command: str
    details: Sequence[MatrixDetail] = ()
    unrecognised: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()
    facts: Sequence[tuple[str, str]] = ()


def diagnosis_page(contents: PageContents, *, progress: Progress | None = None) -> str:
    """Give a diagnosis as one HTML page that needs no other file, no network and no script.

    Parameters
    ----------
    contents : PageContents
        The numbers and texts; every text is escaped.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of matrices.

    Returns
    -------
    str
        The page, to be written in UTF-8.

    Raises
    ------
    ValueError
        If a row of a table of a section has not as many cells as the table has heads.

    Notes
    -----
    Up to `MOST_PICTURED` matrices get pictures, those with the worst findings first, so that the size of the
    page is bounded by some 4 MB and 5 kB more for each further matrix; the page says so. A script of a few
    lines lets the reader sort tables; without it all else works.
    """
    for section in contents.sections:
        check_tables(section.tables)
    cards = _cards(contents, progress)
    places = {card.name: card for card in cards}
    ordered = sorted(contents.findings, key=lambda finding: _rank(finding.level))
    findings = [
        _Entry(place, finding, places.get(finding.subject)) for place, finding in enumerate(ordered, start=1)
    ]
    counts = Counter(finding.level for finding in ordered)
    detailed = [card for card in cards if card.detail is not None]
    detailed.sort(key=lambda card: (_rank(card.level), not card.square))
    return render_page(
        "diagnosis.html.j2",
        contents=contents,
        verdict=_verdict(contents, cards, counts),
        first=findings[0] if findings and ordered[0].level != "pass" else None,
        counts=[(level, counts[level]) for level in _SIGNS],
        signs=_SIGNS,
        levels=[
            (level, grouped([entry for entry in findings if entry.level == level], least=_MANY))
            for level in _SIGNS
            if counts[level]
        ],
        findings_of=lambda card: [entry for entry in findings if entry.card is card],
        tables=card_tables(cards),
        cards=detailed,
        pictured=sum(bool(card.pictures) for card in detailed),
        examples=examples(),
        terms=TERMS,
        facts=_facts(contents),
        linked=linked,
        shortened=shortened,
        digest=_digest,
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A finding with its place on the page and its matrix."""

    place: int
    finding: Finding
    card: Card | None

    @property
    def level(self) -> str:
        return self.finding.level

    @property
    def subject(self) -> str:
        return self.finding.subject

    @property
    def text(self) -> str:
        return self.finding.text

    @property
    def advice(self) -> str:
        return re.split(r"(?<=[.!?]) (?=[A-Z])", self.finding.text.strip())[-1]


def shortened(name: str) -> str:
    """Give a name with its middle left out if it is very long.

    Parameters
    ----------
    name : str
        Of a tensor.

    Returns
    -------
    str
        At most 80 letters.
    """
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[1 - _LONGEST // 2 :]}"


def _cards(contents: PageContents, progress: Progress | None) -> list[Card]:
    details = {detail.name: detail for detail in contents.details}
    rows = [{str(key): value for key, value in row.items()} for row in contents.table.to_dict("records")]
    levels = [_worst(f.level for f in contents.findings if f.subject == row["name"]) for row in rows]

    def urgency(index: int) -> tuple[bool, int, bool]:
        detail = details.get(rows[index]["name"])
        return detail is None, _rank(levels[index]), detail is None or detail.portrait is None

    pictured = set(sorted(range(len(rows)), key=urgency)[:MOST_PICTURED])
    cards = []
    for place, row in enumerate(rows):
        detail = details.get(row["name"])
        cards.append(
            matrix_card(place + 1, row, detail=detail, level=levels[place], pictured=place in pictured)
        )
        if progress is not None:
            progress(place + 1, len(rows))
    return cards


def _rank(level: str) -> int:
    return [*_SIGNS, ""].index(level)


def _worst(levels: Iterable[str]) -> str:
    return min(levels, key=_rank, default="")


def _verdict(contents: PageContents, cards: Sequence[Card], counts: Counter[str]) -> str:
    total = counted(len(cards), "matrix", "matrices")
    if counts["warning"]:
        concerned = sum(card.level == "warning" for card in cards)
        text = f"Needs attention: {counted(counts['warning'], 'warning')}"
        text += f", on {concerned} of {total}." if concerned else "."
    elif counts["notice"]:
        text = f"No warnings; {counted(counts['notice'], 'notice')} to keep in mind, for {total}."
    elif cards:
        text = f"Nothing that calls for action was found in {total}."
    else:
        text = "No matrix was found, so nothing can be said."
    unknown = len(contents.unrecognised)
    if unknown:
        verb = "was not understood and is" if unknown == 1 else "were not understood and are"
        text += f" {counted(unknown, 'entry', 'entries')} of the file {verb} not judged."
    return text


def _facts(contents: PageContents) -> list[tuple[str, str]]:
    return [
        ("Source", contents.source),
        ("ε", f"{contents.epsilon:g}, in the units of the weights"),
        ("Time", f"{number(contents.seconds, digits=3)} s"),
        *contents.facts,
        ("spectra-rnn", __version__),
        ("NumPy", np.__version__),
        ("Python", platform.python_version()),
    ]


def _digest(script: str) -> str:
    """Give the hash by which a page allows its own script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode('ascii')}"
