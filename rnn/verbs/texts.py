"""What options say as text: numbers, names, settings of a method; and the whole command line again."""

from __future__ import annotations

import shlex
import sys
from typing import Any


def numbers(text: str, name: str) -> tuple[Any, ...]:
    """Give the numbers of an option.

    Parameters
    ----------
    text : str
        Such as ``0.01,0.1``.
    name : str
        The option, for the message.

    Returns
    -------
    tuple of float
        As many as there are: how many there must be, others check.

    Raises
    ------
    ValueError
        If it is anything else.

    Examples
    --------
    >>> numbers("0.01,1e-1", "--budget")
    (0.01, 0.1)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}; expected numbers with commas between them, such as 0.01,0.1"
        ) from None


def whole_numbers(text: str, name: str) -> tuple[Any, ...]:
    """Give the whole numbers of an option.

    Parameters
    ----------
    text : str
        Such as ``100,100``.
    name : str
        The option, for the message.

    Returns
    -------
    tuple of int
        As many as there are.

    Raises
    ------
    ValueError
        If it is anything else.

    Examples
    --------
    >>> whole_numbers("100,80", "--shape")
    (100, 80)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}; expected whole numbers with commas between them, such as 100,100"
        ) from None


def names(text: str, name: str) -> tuple[str, ...]:
    """Give the names of an option, each once.

    Parameters
    ----------
    text : str
        Such as ``pgd,worst``.
    name : str
        The option, for the message.

    Returns
    -------
    tuple of str
        In their order.

    Raises
    ------
    ValueError
        If one is empty, or named twice.

    Examples
    --------
    >>> names("pgd, worst", "--method")
    ('pgd', 'worst')
    """
    found = tuple(part.strip() for part in text.split(","))
    if not all(found) or len(set(found)) < len(found):
        raise ValueError(f"{name} is {text!r}; expected different names with commas between them")
    return found


def settings(texts: list[str], methods: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Give the options of each method.

    Parameters
    ----------
    texts : list of str
        Each ``name=value``, for all methods, or ``method.name=value``, for one.
    methods : tuple of str
        The methods.

    Returns
    -------
    dict of str to dict
        For each method its options; that it knows them, others check.

    Raises
    ------
    ValueError
        If a text is anything else, names another method, or sets an option twice.

    Examples
    --------
    >>> settings(["steps=20", "worst.square=100"], ("pgd", "worst"))
    {'pgd': {'steps': 20}, 'worst': {'steps': 20, 'square': 100}}
    """
    found: dict[str, dict[str, Any]] = {method: {} for method in methods}
    for text in texts:
        key, _, value = text.partition("=")
        method, _, own = key.rpartition(".")
        if not own.isidentifier() or not value or (method and method not in methods):
            raise ValueError(
                f"--option is {text!r}; expected name=value, such as steps=20, or for one method "
                f"{methods[0]}.steps=20"
            )
        for one in [method] if method else methods:
            if own in found[one]:
                raise ValueError(f"--option sets {own} of {one} twice; give it once")
            found[one][own] = _value(value)
    return found


def command_line() -> str:
    """Give what was typed, quoted so that a shell can run it again.

    Returns
    -------
    str
        One line.
    """
    return shlex.join(["spectra", *sys.argv[1:]])


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.lower(), text)
