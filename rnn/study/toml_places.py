"""Where in a TOML file a key stands: the line that an error message names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

KeyPath = tuple[str | int, ...]

_NAME = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|.', re.DOTALL
)


def parsed(text: str, name: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    r"""Parse TOML, and say on which line each key begins.

    Parameters
    ----------
    text : str
        The file's content.
    name : str
        Of the file, for messages.

    Returns
    -------
    content : dict
        As ``tomllib.loads`` gives it.
    lines : dict of tuple to int
        For each table and key its path, as ("grid", 0, "cell"), and its line, counted from 1. Keys inside
        inline tables have none of their own.

    Raises
    ------
    ValueError
        If it is no TOML; the message names file and line.

    Examples
    --------
    >>> parsed('name = "a"\n[[grid]]\ncell = ["tanh",\n  "gru"]\n', "study.toml")[1]
    {('name',): 1, ('grid',): 2, ('grid', 0): 2, ('grid', 0, 'cell'): 3}
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.match(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)$", str(error), re.DOTALL)
        words, line = (found[1], found[2]) if found else (str(error), None)
        where = f"line {line}" if line else f"line {len(text.splitlines())}, the last"
        raise ValueError(f"{name}, {where}: no TOML ({words[:1].lower()}{words[1:]})") from None
    except RecursionError:
        raise ValueError(f"{name}: lists or tables are nested too deeply to be read") from None
    return content, dict(_places(text.replace("\r\n", "\n")))


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Give the line of a key, or of the nearest table around it that has one.

    Parameters
    ----------
    lines : dict
        From `parsed`.
    path : tuple
        Of the key.

    Returns
    -------
    int or None
        Counted from 1.
    """
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _places(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Give path and line of each header and key; the text is known to be TOML."""
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    for line, statement in _statements(text):
        if statement.startswith("["):
            array = statement.startswith("[[")
            table = _inside(_names(statement.strip("[] \t")), counts)
            yield table, line
            if array:
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
                yield table, line
        else:
            yield (*table, *_names(statement)), line


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Give each header and each ``key = value`` with its first line; strings and comments hide nothing."""
    line, depth, begun, words = 1, 0, 1, ""
    for token in (match[0] for match in _TOKEN.finditer(text + "\n")):
        if token == "\n" and depth == 0:
            if words.strip():
                yield begun, words.strip()
            words = ""
        elif not token.startswith("#"):
            if not words.strip() and token.strip():
                begun = line
            header = words.lstrip().startswith("[") or not words.strip()
            depth += 0 if header else (token in "[{") - (token in "]}")
            words += token
        line += token.count("\n")


def _names(statement: str) -> KeyPath:
    """Give the parts of a dotted name at the beginning of a statement."""
    names: list[str] = []
    place = 0
    while found := _NAME.match(statement, place):
        quoted = found[1]
        names.append(
            tomllib.loads(f'x = "{quoted}"')["x"] if quoted is not None else found[2] or found[3] or ""
        )
        place = found.end()
        if statement[place : place + 1] != ".":
            break
        place += 1
    return tuple(names)


def _inside(path: KeyPath, counts: dict[KeyPath, int]) -> KeyPath:
    """Give the path of a header with the numbers of the arrays of tables that it lies in."""
    full: KeyPath = ()
    for place, name in enumerate(path):
        full = (*full, name)
        if full in counts and place < len(path) - 1:
            full = (*full, counts[full])
    return full
