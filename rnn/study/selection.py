"""Some networks of a study: those whose columns have certain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 12  # values in an error


def chosen(rows: pd.DataFrame, only: Mapping[str, object]) -> pd.DataFrame:
    """Give the rows whose columns have one of the values that are asked for.

    Parameters
    ----------
    rows : DataFrame
        One row for each network.
    only : mapping of str to value or sequence of values
        Column and what it may be, such as ``{"task": "digits", "gain": [0.5, 1]}``. Numbers may also be
        given as text.

    Returns
    -------
    DataFrame
        The rows that fit all of it, in their order; all of them if `only` is empty.

    Raises
    ------
    ValueError
        If there is no such column, or no row fits.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"cell": ["gru", "tanh", "gru"], "gain": [1.0, 1.0, 2.0]})
    >>> chosen(rows, {"cell": "gru", "gain": "2"})["gain"].tolist()
    [2.0]
    """
    kept = rows
    for name, wanted in only.items():
        if name not in rows:
            raise ValueError(
                f"only names the column {name!r}, which is not there; there are {some(map(str, rows))}"
            )
        values = rows[name].map(_key)
        keys = {_key(value) for value in _several(wanted)}
        if missing := keys - set(values):
            raise ValueError(
                f"only asks for {name} = {some(missing)}, which no finished network has; "
                f"there are {some(set(values))}"
            )
        kept = kept[values[kept.index].isin(keys)]
    if kept.empty and only:
        raise ValueError(f"only asks for {worded(only)}, and no finished network has all of it; ask for less")
    return kept.reset_index(drop=True)


def worded(only: Mapping[str, object]) -> str:
    """Say in words what is asked for.

    Parameters
    ----------
    only : mapping of str to value or sequence of values
        Column and what it may be.

    Returns
    -------
    str
        The same.

    Examples
    --------
    >>> worded({"task": "digits", "gain": [0.5, 1]})
    'task = digits, gain = 0.5 or 1'
    """
    return ", ".join(f"{name} = {' or '.join(map(str, _several(values)))}" for name, values in only.items())


def _several(wanted: object) -> list[object]:
    if isinstance(wanted, Iterable) and not isinstance(wanted, str):
        return list(wanted)
    return [wanted]


def _key(value: object) -> str:
    """Give the same text for the same value, also where a number is given as text."""
    text = str(value)
    try:
        return repr(float(text))
    except ValueError:
        return text


def some(names: Iterable[str]) -> str:
    """List some names in an error, not hundreds of them.

    Parameters
    ----------
    names : iterable of str
        All of them.

    Returns
    -------
    str
        The first in the order of the alphabet, and how many more there are.

    Examples
    --------
    >>> some(["b", "a"])
    'a, b'
    """
    found = sorted(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
