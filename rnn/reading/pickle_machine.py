"""The stack machine of pickles, without calls: what a file describes is noted in values of this room."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from rnn.reading.tensors import NotUnderstoodError

_LONGEST_LINE = 1 << 40  # a stream gives what is there
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class Stream(Protocol):
    """What a pickle is read from: a file with a known end."""

    def read(self, size: int, /) -> bytes:
        """Give exactly `size` bytes, or fewer at the end; reserves nothing for bytes that are not there."""
        ...

    def readline(self, size: int, /) -> bytes:
        """Give the bytes up to and with the next line feed, at most `size`."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Global:
    """A class or function that a pickle names, as ``module.name``; nothing is imported."""

    name: str


@dataclasses.dataclass(slots=True, eq=False)
class Made:
    """An object that a pickle describes and that is not made here.

    Attributes
    ----------
    maker : str
        The class or function that would have made it.
    arguments : tuple
        What it would have been called with.
    called : bool
        Whether the pickle asks for a call, rather than for an empty object of the class.
    state : object
        What its attributes would have been set to.
    items, pairs : list, dict
        What would have been put into it, as into a list or a dictionary.
    """

    maker: str
    arguments: tuple[Any, ...] = ()
    called: bool = False
    state: Any = None
    items: list[Any] = dataclasses.field(default_factory=list)
    pairs: dict[Hashable, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """Something that is understood, but cannot be had; with the reason."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """A key of a dictionary that is no name: compared by identity, so that nothing in it is hashed."""

    text: str

    def __str__(self) -> str:
        return self.text


Makers = Mapping[str, Callable[..., Any]]


def one_line(text: object, longest: int = 200) -> str:
    r"""Give a text of a file as it may be printed: one line of visible characters, not too long.

    Parameters
    ----------
    text : object
        The text.
    longest : int
        Number of characters that are kept.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> one_line("a" + chr(27) + "[2J")
    'a\\x1b[2J'
    """
    whole = text if isinstance(text, str) else str(text)
    shown = whole if len(whole) <= longest else whole[:longest] + "..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]


class BrokenError(Exception):
    """What is wrong with a pickle."""


class Machine:
    """Stack, marks and memo of one pickle. No operation takes longer than its own bytes are long."""

    def __init__(
        self, stream: Stream, makers: Makers, persistent: Callable[[Any], Any], called: dict[str, None]
    ) -> None:
        self.stream, self.persistent, self.called = stream, persistent, called
        self.makers = {**_PLAIN, **makers}
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks below the open marks
        self.memo: dict[int, Any] = {}

    def take(self, size: int) -> bytes:
        """Give the next bytes of the pickle."""
        found = self.stream.read(size)
        if len(found) != size:
            raise BrokenError("it ends too early")
        return found

    def number(self, form: struct.Struct) -> Any:
        """Give the next number of the pickle."""
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        """Give the next line of the pickle."""
        return self.raw_line().decode("utf-8")

    def raw_line(self) -> bytes:
        """Give the bytes of the next line."""
        found = self.stream.readline(_LONGEST_LINE)
        if not found.endswith(b"\n"):
            raise BrokenError("a line without end")
        return found[:-1]

    def push(self, value: Any) -> None:
        """Put a value onto the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take a value from the stack."""
        return self.stack.pop()

    def mark(self) -> None:
        """Begin a group of values."""
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """End a group of values, and give it."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def name(self, module: Any, name: Any) -> None:
        """Push a global."""
        if not (isinstance(name, str) and isinstance(module, str)):
            raise BrokenError("a global whose name is no text")
        self.push(Global(f"{one_line(_PYTHON_2.get(module, module))}.{one_line(name)}"))

    def make(self, maker: Any, arguments: Any, *, called: bool) -> None:
        """Push what a global makes of its arguments, or a note of it."""
        if not isinstance(arguments, tuple):
            raise BrokenError("arguments that are no tuple")
        if isinstance(maker, Global) and maker.name in _BY_CLASS and arguments:
            maker, called = arguments[0], False
        if not isinstance(maker, Global):
            name = f"(a {type(maker).__name__} of the file)"
        elif maker.name in self.makers:
            return self.push(_value(self.makers[maker.name], arguments))
        else:
            name = maker.name
        if called:
            self.called[name] = None
        return self.push(Made(name, arguments, called))

    def build(self) -> None:
        """Note the state of an object."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Made):
            target.state = state

    def extend(self, values: list[Any]) -> None:
        """Put elements into the list on top."""
        target = self.stack[-1]
        if not isinstance(target, (list, Made)):
            raise BrokenError("elements for what is no list")
        (target if isinstance(target, list) else target.items).extend(values)

    def enter(self, values: list[Any]) -> None:
        """Put keys and values into the dictionary on top."""
        target = self.stack[-1]
        if not isinstance(target, (dict, Made)):
            raise BrokenError("entries for what is no dictionary")
        (target if isinstance(target, dict) else target.pairs).update(entries(values))

    def pop_two(self) -> list[Any]:
        """Take two values from the stack, and give them in the order of the file."""
        value, key = self.pop(), self.pop()
        return [key, value]

    def new_with_keywords(self) -> None:
        """Push an empty object, made with keywords."""
        named, arguments = self.pop(), self.pop()
        self.make(self.pop(), arguments, called=False)
        if isinstance(self.stack[-1], Made):
            self.stack[-1].items.append(named)

    def instance(self) -> None:
        """Push a call of a global that follows, with a group of values."""
        self.name(self.line(), self.line())
        maker = self.pop()
        self.make(maker, tuple(self.marked()), called=True)

    def object(self) -> None:
        """Push a call of the first value of a group, with the others."""
        maker, *arguments = self.marked()
        self.make(maker, tuple(arguments), called=True)

    def reduce(self, *, called: bool) -> None:
        """Push a call, or an empty object of a class."""
        arguments = self.pop()
        self.make(self.pop(), arguments, called=called)

    def discard(self) -> None:
        """Drop the top value, or mark."""
        (self.stack if self.stack else self.below).pop()


_BY_CLASS = {"copyreg.__newobj__", "copyreg.__newobj_ex__", "copyreg._reconstructor"}


def _value(maker: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Give the value of a function of this package for arguments of a file, or why there is none."""
    try:
        return maker(*arguments[:16])
    except NotUnderstoodError as reason:
        return Refused(str(reason))
    except Exception:  # arguments of any kind fail in any way
        return Refused("described in a way that torch does not use; the file may be damaged")


def entries(values: list[Any]) -> dict[Hashable, Any]:
    """Pair keys and values into a dictionary whose keys can be hashed at no risk."""
    return {_safe_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _safe_key(key: Any) -> Hashable:
    if isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 60):
        return key
    if isinstance(key, (float, bytes)):
        return _Key(one_line(key[:200] if isinstance(key, bytes) else key))
    return _Key(key.name if isinstance(key, Global) else f"({type(key).__name__})")


def _dictionary(*arguments: Any) -> dict[Any, Any] | Made:
    """Give an OrderedDict, a defaultdict or a Counter; of a list of pairs, a note."""
    content = arguments[-1] if arguments else None
    if isinstance(content, (list, tuple)):
        return Made("collections.OrderedDict", arguments)
    return content if isinstance(content, dict) else {}


def _sequence(items: Any = ()) -> Any:
    return items if isinstance(items, (list, tuple)) else []


_PLAIN: Makers = {
    **dict.fromkeys(
        ("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"),
        _dictionary,
    ),
    **dict.fromkeys(
        ("builtins.set", "builtins.frozenset", "builtins.list", "builtins.tuple", "torch.Size"), _sequence
    ),
    "builtins.complex": lambda real, imaginary: complex(float(real), float(imaginary)),
    "builtins.bytes": lambda *_: b"",
    "builtins.object": lambda: Made("builtins.object"),
}
