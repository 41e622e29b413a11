"""Tables of settings, checked key by key: whatever is wrong is named with its file, line and key."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rnn.study.toml_places import KeyPath, line_of

Check = Callable[[Any, str], Any]  # gives the value as it is used; raises TypeError or ValueError


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """One table of a file of settings.

    Attributes
    ----------
    values : mapping
        Its keys.
    path : tuple
        Where it stands in the file; empty for the file itself.
    source : str
        Name of the file, for messages.
    lines : dict
        Line of each key, where there are lines.
    """

    values: Mapping[str, Any]
    path: KeyPath
    source: str
    lines: dict[KeyPath, int]

    def refusal(self, message: str, *names: str) -> ValueError:
        """Give the error for a key of this table: file, line, key, and what is wrong."""
        path = (*self.path, *names)
        line = line_of(self.lines, path)
        key = ".".join(str(name) for name in path if isinstance(name, str))
        places = [self.source, *([f"line {line}"] if line else []), *([f"key {key}"] if key else [])]
        return ValueError(f"{', '.join(places)}: {message}")

    def take(self, name: str, check: Check, default: Any) -> Any:
        """Give the checked value of a key, or the default where it is left out.

        Parameters
        ----------
        name : str
            The key.
        check : callable
            ``check(value, name)`` gives the value as it is used.
        default : object
            Stands where there is no value.

        Returns
        -------
        object
            The value.

        Raises
        ------
        ValueError
            If the check refuses it.
        """
        if name not in self.values:
            return default
        try:
            return check(self.values[name], name)
        except (TypeError, ValueError) as error:
            raise self.refusal(str(error), name) from None

    def table(self, name: str) -> Settings:
        """Give a table inside this one; an empty one where it is left out.

        Parameters
        ----------
        name : str
            Its key.

        Returns
        -------
        Settings
            The table.

        Raises
        ------
        ValueError
            If the key holds no table.
        """
        values = self.values.get(name, {})
        if not isinstance(values, Mapping):
            raise self.refusal(f"expected a table [{name}], got {values!r}", name)
        return Settings(values, (*self.path, name), self.source, self.lines)

    def check_known(self, known: Iterable[str]) -> None:
        """Refuse keys that nobody reads.

        Parameters
        ----------
        known : iterable of str
            Those that are read.

        Raises
        ------
        ValueError
            If there is another one; the nearest known one is named.
        """
        names = tuple(known)
        for name in self.values:
            if name not in names:
                raise self.refusal(f"unknown key; {nearest(name, names)}", name)


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which names there are, and which was perhaps meant.

    Parameters
    ----------
    name : str
        An unknown one.
    known : iterable of str
        The known ones.

    Returns
    -------
    str
        Part of a sentence.

    Examples
    --------
    >>> nearest("gruu", ["gru", "lstm"])
    'did you mean "gru"? expected one of "gru", "lstm"'
    """
    names = tuple(known)
    meant = difflib.get_close_matches(name, names, n=1)
    question = f'did you mean "{meant[0]}"? ' if meant else ""
    return f"{question}expected one of " + ", ".join(f'"{one}"' for one in names)


def known_name(known: Callable[[], Iterable[str]]) -> Check:
    """Give a check that a value is one of the names known when it is checked."""

    def check(value: Any, name: str) -> str:
        names = tuple(known())
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}; expected one of " + ", ".join(f'"{one}"' for one in names))
        if value not in names:
            raise ValueError(f'"{value}" is unknown; {nearest(value, names)}')
        return value

    return check


def text(value: Any, name: str) -> str:
    """Give `value` if it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; expected a text in quotation marks")
    return value


def each(check: Check, *, least: int = 1) -> Check:
    """Give a check of a list, or of one value that stands for a list of one; equal ones count once."""

    def check_all(values: Any, name: str) -> tuple[Any, ...]:
        listed = values if isinstance(values, (list, tuple)) else [values]
        if len(listed) < least:
            raise ValueError(f"{name} is empty; expected at least one value, or leave the key out")
        return tuple(dict.fromkeys(check(value, name) for value in listed))

    return check_all
