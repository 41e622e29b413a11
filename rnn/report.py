"""One self-contained HTML page: findings in words, figures, tables, definitions, and how to repeat it all."""

from __future__ import annotations

import base64
import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
        What it shows.
    strong : bool
        Whether to stress it.
    title : str
        What a pointer resting on it is told.
    """

    text: str
    strong: bool = False
    title: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A table with its heading.

    Attributes
    ----------
    title : str
        Heading.
    caption : str
        How to read it.
    heads : sequence of str
        Column heads; the first column names the row.
    rows : sequence of sequence of Cell
        One cell for each head.
    notes : sequence of str
        Remarks below.
    """

    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A figure with its heading.

    Attributes
    ----------
    title : str
        Heading.
    caption : str
        How to read it.
    alt : str
        What it shows, for those who do not see it.
    png : bytes
        The image.
    """

    title: str
    caption: str
    alt: str
    png: bytes

    @property
    def source(self) -> str:
        """The image as a data address, so that the page needs no second file."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A part of a page under a heading of its own.

    Attributes
    ----------
    title : str
        Heading.
    text : sequence of str
        Paragraphs.
    tables : sequence of Table
        The tables.
    pictures : sequence of Picture
        The figures.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a page holds, from top to bottom.

    Attributes
    ----------
    title, lead : str
        Heading and the sentence below it.
    findings : sequence of str
        What was found, a sentence or a few each.
    tables : sequence of Table
        The tables.
    glossary : sequence of (str, str)
        Terms and what they mean.
    command : str
        What to type to repeat it.
    facts : sequence of (str, str)
        Versions, seeds, times.
    method : sequence of str
        What was done, a paragraph each.
    limits : sequence of str
        What it cannot show.
    figures : sequence of Picture
        The figures.
    """

    title: str
    lead: str
    findings: Sequence[str]
    tables: Sequence[Table]
    glossary: Sequence[tuple[str, str]]
    command: str
    facts: Sequence[tuple[str, str]]
    method: Sequence[str] = ()
    limits: Sequence[str] = ()
    figures: Sequence[Picture] = ()


def render_report(report: Report) -> str:
    """Give the report as one HTML page that needs no other file and no network.

    Parameters
    ----------
    report : Report
        The contents; every text is escaped.

    Returns
    -------
    str
        The page, to be written in UTF-8.

    Raises
    ------
    ValueError
        If a row of a table has not as many cells as the table has heads.
    """
    check_tables(report.tables)
    return render_page("report.html.j2", report=report)


def check_tables(tables: Iterable[Table]) -> None:
    """Refuse tables that cannot be written.

    Parameters
    ----------
    tables : iterable of Table
        The tables.

    Raises
    ------
    ValueError
        If a row has not as many cells as the table has heads.
    """
    for table in tables:
        for row in table.rows:
            if len(row) != len(table.heads):
                raise ValueError(
                    f"table {table.title!r} has {len(table.heads)} heads and a row of {len(row)} cells"
                )


def render_page(template: str, **content: Any) -> str:
    """Fill a template of this package.

    Parameters
    ----------
    template : str
        Its file name.
    **content
        What it needs; every text is escaped, and characters that cannot be seen are spelt out.

    Returns
    -------
    str
        The page, which can be written in UTF-8.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        if isinstance(value, Markup):
            return Markup(visible(str(value)))
        return visible(value) if isinstance(value, str) else value

    environment = Environment(
        loader=FunctionLoader(lambda name: files("rnn.pages").joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content)


def visible(text: str) -> str:
    r"""Give a text with control characters, marks of writing direction and lone surrogates spelt out.

    Parameters
    ----------
    text : str
        Such as the name of a tensor in a file of somebody else.

    Returns
    -------
    str
        The same where all characters can be seen; line ends and tabs stay.

    Examples
    --------
    >>> print(visible("weight\u202e"))
    weight\u202e
    """
    if text.isprintable():
        return text
    hidden = {"Cc", "Cf", "Cs"}
    return "".join(
        ascii(letter)[1:-1] if unicodedata.category(letter) in hidden and letter not in "\n\t" else letter
        for letter in text
    )


def counted(count: int, singular: str, plural: str = "") -> str:
    """Give a number of things in words.

    Parameters
    ----------
    count : int
        The number.
    singular, plural : str
        What one is called, and several; left out, the plural has an s more.

    Returns
    -------
    str
        Number and noun.

    Examples
    --------
    >>> counted(1, "matrix", "matrices"), counted(0, "warning")
    ('1 matrix', '0 warnings')
    """
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def prose(text: str) -> str:
    """Give a text with every run of spaces and line ends as one space; no-break spaces stay.

    Parameters
    ----------
    text : str
        As written in the source, broken and indented.

    Returns
    -------
    str
        One line.
    """
    return re.sub(r"[ \n]+", " ", text).strip(" ")
