"""What a page shows of each matrix: a row in a table, and a card with pictures, sentences and measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rnn.details import MatrixDetail
from rnn.measuring.measures import LABELS
from rnn.pages.detail_figures import distribution_png, growth_png, portrait_png, thumbnail_png
from rnn.pages.matrix_words import measure_rows, number, row_words, sentences
from rnn.pages.picture_words import distribution_words, growth_words, portrait_words
from rnn.report import Picture, counted

_SQUARE_KEYS = (
    "spectral_radius",
    "spectral_norm",
    "henrici_departure_relative",
    "eigenvector_condition_number",
    "pseudospectral_radius",
    "kreiss_constant",
    "distance_to_instability",
)
_OTHER_KEYS = (
    "spectral_norm",
    "stable_rank",
    "condition_number",
    "singular_value_outliers",
    "marchenko_pastur_distance",
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Card:
    """One matrix as a page shows it.

    Attributes
    ----------
    place : int
        From 1, in the order of the network.
    name, role, words : str
        What it is called, what it does, and its shape, gate and layer.
    level : str
        Worst level among its findings, or "" if there is none.
    keys : sequence of (str, float)
        The measures of its row by label; NaN where one is not defined.
    detail : MatrixDetail or None
        What else is known.
    sentences, notes : sequence of str
        What the numbers say, and what was not computed or drawn.
    measures : sequence of (str, str, str)
        Label, value and interval of each measure.
    pictures : sequence of Picture
        Portrait, growth, distribution.
    thumbnail : Picture or None
        The portrait in small.
    """

    place: int
    name: str
    role: str
    words: str
    square: bool
    level: str
    keys: Sequence[tuple[str, float]]
    detail: MatrixDetail | None
    sentences: Sequence[str]
    notes: Sequence[str]
    measures: Sequence[tuple[str, str, str]]
    pictures: Sequence[Picture]
    thumbnail: Picture | None

    @property
    def values(self) -> list[tuple[str, str]]:
        """The measures of its row, each as a number to sort by and in words."""
        return [(repr(value) if value == value else "", number(value)) for _, value in self.keys]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CardTable:
    """The rows of matrices of one role, all square or all rectangular.

    Attributes
    ----------
    title : str
        Role and count.
    heads : sequence of str
        Labels of the measures.
    cards : sequence of Card
        A row each.
    """

    title: str
    heads: Sequence[str]
    cards: Sequence[Card]

    @property
    def thumbnails(self) -> bool:
        """Whether any row has a small portrait."""
        return any(card.thumbnail for card in self.cards)


def matrix_card(
    place: int, row: Mapping[str, Any], *, detail: MatrixDetail | None, level: str, pictured: bool
) -> Card:
    """Make the card of one matrix.

    Parameters
    ----------
    place : int
        From 1, in the order of the network.
    row : mapping
        Its row in the table of a diagnosis.
    detail : MatrixDetail or None
        What else is known.
    level : str
        Worst level among its findings, or "".
    pictured : bool
        Whether to draw its pictures.

    Returns
    -------
    Card
        The card.
    """
    square = row["rows"] == row["columns"]
    values = {**row, **(detail.values if detail is not None else {})}
    names: tuple[str, ...] = _SQUARE_KEYS if square else _OTHER_KEYS
    if row.get("dynamics") == "continuous":
        names = tuple(name.replace("spectral_radius", "spectral_abscissa") for name in names)
    keys = [(LABELS[name], _float(values.get(name))) for name in names]
    pictures, notes = _pictures(detail) if detail is not None and pictured else ([], [])
    thumbnail = None
    if detail is not None and detail.portrait is not None and pictured:
        thumbnail = Picture("", "", "", thumbnail_png(detail.portrait, dynamics=detail.dynamics))
    return Card(
        place=place,
        name=str(row["name"]),
        role=str(row["role"]),
        words=row_words(row),
        square=bool(square),
        level=level,
        keys=keys,
        detail=detail,
        sentences=sentences(detail) if detail is not None else [],
        notes=[*(detail.failures if detail is not None else ()), *notes],
        measures=measure_rows(detail) if detail is not None else [],
        pictures=pictures,
        thumbnail=thumbnail,
    )


def card_tables(cards: Sequence[Card]) -> list[CardTable]:
    """Sort the cards into tables by role, square before rectangular.

    Parameters
    ----------
    cards : sequence of Card
        In the order of the network.

    Returns
    -------
    list of CardTable
        Roles in the order in which the network has them; recurrent matrices first.
    """
    groups: dict[tuple[str, bool, tuple[str, ...]], list[Card]] = {}
    for card in cards:
        heads = tuple(label for label, _ in card.keys)
        groups.setdefault((card.role, card.square, heads), []).append(card)
    ordered = sorted(groups.items(), key=lambda group: (group[0][0] != "recurrent", not group[0][1]))
    tables = []
    for (role, square, heads), members in ordered:
        shape = "square" if square else "rectangular"
        title = f"{role.capitalize()}: {counted(len(members), f'{shape} matrix', f'{shape} matrices')}"
        tables.append(CardTable(title, list(heads), members))
    return tables


def _pictures(detail: MatrixDetail) -> tuple[list[Picture], list[str]]:
    pictures, notes = [], []
    for title, caption, alt, draw in _drawings(detail):
        try:
            pictures.append(Picture(title, caption, alt, draw()))
        except ValueError as error:  # values beyond the floats
            notes.append(f"{title} not drawn: {error}")
    return pictures, notes


def _drawings(detail: MatrixDetail) -> Iterator[tuple[str, str, str, Any]]:
    portrait, growth, distribution = detail.portrait, detail.growth, detail.distribution
    if portrait is not None:
        caption = "How far perturbations of norm ε can take the eigenvalues: up to the contour labelled ε."
        words = portrait_words(portrait, dynamics=detail.dynamics)
        yield "Portrait", caption, words, lambda: portrait_png(portrait, dynamics=detail.dynamics)
    if growth is not None:
        caption = "By how much repeated steps can stretch a vector, and between which bounds this must lie."
        yield "Growth", caption, growth_words(growth), lambda: growth_png(growth)
    if distribution is not None:
        caption = "How the singular values are spread, beside the law of pure noise (Marchenko-Pastur)."
        words = distribution_words(distribution)
        yield "Singular values", caption, words, lambda: distribution_png(distribution)


def _float(value: Any) -> float:
    return float("nan") if value is None else float(np.float64(value))
