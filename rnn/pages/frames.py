"""Tables of pandas as JSON, CSV and Markdown hold them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def plain(value: Any) -> Any:
    """Give a number as JSON can hold it.

    Parameters
    ----------
    value : object
        A number or a text.

    Returns
    -------
    object
        None for NaN, "inf" or "-inf" for infinities, else the same as a Python object.
    """
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else str(float(value)) if np.isinf(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value


def frame_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table as one dictionary per row, with numbers as `plain` gives them.

    Parameters
    ----------
    table : DataFrame
        The table.

    Returns
    -------
    list of dict
        Its rows.
    """
    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def frame_csv(table: pd.DataFrame) -> str:
    """Give a table as CSV.

    Parameters
    ----------
    table : DataFrame
        The table.

    Returns
    -------
    str
        A head line and one line per row, with empty cells where a number is not defined.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    for row in frame_records(table):
        writer.writerow(["" if value is None else value for value in row.values()])
    return buffer.getvalue()


def frame_markdown(table: pd.DataFrame) -> list[str]:
    """Give the lines of a table in Markdown.

    Parameters
    ----------
    table : DataFrame
        The table.

    Returns
    -------
    list of str
        Head, rule and one line per row.
    """
    columns = list(map(str, table.columns))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    rows = ([marked(_text(value)) for value in row.values()] for row in frame_records(table))
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def marked(text: str) -> str:
    r"""Escape what Markdown would read as marks, on one line.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The same to read.

    Examples
    --------
    >>> marked("a|b *c*")
    'a\\|b \\*c\\*'
    """
    return "".join(f"\\{c}" if c in "\\`*_[]<>|" else c for c in " ".join(text.split()))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
