"""A reader of pickles that calls, imports and runs nothing of the file."""

from __future__ import annotations

import codecs
import functools
import pickle
import struct
from collections.abc import Callable
from typing import Any

from rnn.reading.pickle_machine import BrokenError, Machine, Makers, Stream, entries

MOST_OPERATIONS = 20_000_000  # some seconds, and at most about 1 GB of plain objects

Operation = Callable[[Machine], Any]


def unpickle(
    stream: Stream, *, makers: Makers, persistent: Callable[[Any], Any], called: dict[str, None]
) -> Any:
    """Read one pickle without running anything of it.

    Parameters
    ----------
    stream : Stream
        Stands at the first byte; afterwards behind the last.
    makers : mapping of str to callable
        For each global that is understood, by its full name, what gives its value here. They never become
        values of the pickle themselves, so it can neither change them nor choose another way to call them.
    persistent : callable
        Takes a persistent id, gives its value.
    called : dict
        Here the name of each call that is not understood is entered.

    Returns
    -------
    object
        Plain data (dictionaries, lists, tuples, text, numbers; sets as lists), values of `makers` and
        `persistent`, `Global`, `Made` and `Refused`.

    Raises
    ------
    ValueError
        If it is no pickle, is damaged, or holds more than `MOST_OPERATIONS` operations.

    Notes
    -----
    A stack machine of its own: no recursion, no registry of Python's is read or written, no length is trusted
    before the bytes are there, and only names and small numbers are hashed. Time and memory are linear in the
    length of the pickle.

    Examples
    --------
    >>> import io, os, pickle
    >>> class Hostile:
    ...     def __reduce__(self):
    ...         return os.system, ("touch here",)
    >>> stream, called = io.BytesIO(pickle.dumps({"a": Hostile()})), {}
    >>> made = unpickle(stream, makers={}, persistent=lambda key: key, called=called)["a"]
    >>> made.maker.endswith(".system"), made.arguments, list(called) == [made.maker]
    (True, ('touch here',), True)
    """
    machine, operations = Machine(stream, makers, persistent, called), _OPERATIONS
    try:
        for _ in range(MOST_OPERATIONS):
            code = stream.read(1)
            if code == pickle.STOP:
                return machine.pop()
            operations[code](machine)
    except Exception as error:  # wrong bytes fail in a dozen ways
        reason = str(error) if isinstance(error, BrokenError) else "wrong or missing bytes"
        raise ValueError(f"a damaged pickle: {reason}") from None
    raise ValueError(f"a pickle of more than {MOST_OPERATIONS} operations")


def _python_2_text(found: bytes) -> str | bytes:
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError:
        return found


def _quoted(line: str) -> str | bytes:
    if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"":
        raise BrokenError("text without quotation marks")
    return _python_2_text(codecs.escape_decode(line[1:-1].encode())[0])


def _decimal(line: str) -> int | bool:
    return line == "01" if line in {"00", "01"} else int(line.rstrip("L"))


def _sized(form: struct.Struct, convert: Callable[[bytes], Any] = bytes) -> Operation:
    return lambda m: m.push(convert(m.take(max(0, m.number(form)))))


def _pushes(read: Callable[[Machine], Any]) -> Operation:
    return lambda m: m.push(read(m))


def _gets(index: Callable[[Machine], int]) -> Operation:
    return lambda m: m.push(m.memo[index(m)])


def _puts(index: Callable[[Machine], int]) -> Operation:
    return lambda m: m.memo.__setitem__(index(m), m.stack[-1])


def _tuple_of(size: int) -> Operation:
    def operation(machine: Machine) -> None:
        machine.push(tuple([machine.pop() for _ in range(size)][::-1]))

    return operation


_TEXT: Callable[[bytes], Any] = functools.partial(str, encoding="utf-8", errors="surrogatepass")
_SIGNED: Callable[[bytes], Any] = functools.partial(int.from_bytes, byteorder="little", signed=True)
_B1, _B2, _B4, _B8 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")

_OPERATIONS: dict[bytes, Operation] = {
    pickle.PROTO: lambda m: m.number(_B1),
    pickle.FRAME: lambda m: m.number(_B8),
    # marks, stack and memo
    pickle.MARK: Machine.mark,
    pickle.POP: Machine.discard,
    pickle.POP_MARK: Machine.marked,
    pickle.DUP: _pushes(lambda m: m.stack[-1]),
    pickle.GET: _gets(lambda m: int(m.line())),
    pickle.BINGET: _gets(lambda m: m.number(_B1)),
    pickle.LONG_BINGET: _gets(lambda m: m.number(_B4)),
    pickle.PUT: _puts(lambda m: int(m.line())),
    pickle.BINPUT: _puts(lambda m: m.number(_B1)),
    pickle.LONG_BINPUT: _puts(lambda m: m.number(_B4)),
    pickle.MEMOIZE: _puts(lambda m: len(m.memo)),
    # plain values
    pickle.NONE: _pushes(lambda m: None),
    pickle.NEWTRUE: _pushes(lambda m: True),
    pickle.NEWFALSE: _pushes(lambda m: False),
    pickle.INT: _pushes(lambda m: _decimal(m.line())),
    pickle.BININT: _pushes(lambda m: m.number(_I4)),
    pickle.BININT1: _pushes(lambda m: m.number(_B1)),
    pickle.BININT2: _pushes(lambda m: m.number(_B2)),
    pickle.LONG: _pushes(lambda m: _decimal(m.line())),
    pickle.LONG1: _sized(_B1, _SIGNED),
    pickle.LONG4: _sized(_I4, _SIGNED),
    pickle.FLOAT: _pushes(lambda m: float(m.line())),
    pickle.BINFLOAT: _pushes(lambda m: m.number(_F8)),
    pickle.STRING: _pushes(lambda m: _quoted(m.line())),
    pickle.BINSTRING: _sized(_I4, _python_2_text),
    pickle.SHORT_BINSTRING: _sized(_B1, _python_2_text),
    pickle.UNICODE: _pushes(lambda m: m.raw_line().decode("raw-unicode-escape")),
    pickle.SHORT_BINUNICODE: _sized(_B1, _TEXT),
    pickle.BINUNICODE: _sized(_B4, _TEXT),
    pickle.BINUNICODE8: _sized(_B8, _TEXT),
    pickle.SHORT_BINBYTES: _sized(_B1),
    pickle.BINBYTES: _sized(_B4),
    pickle.BINBYTES8: _sized(_B8),
    pickle.BYTEARRAY8: _sized(_B8),
    pickle.READONLY_BUFFER: lambda m: None,
    # containers
    pickle.EMPTY_LIST: _pushes(lambda m: []),
    pickle.LIST: lambda m: m.push(m.marked()),
    pickle.APPEND: lambda m: m.extend([m.pop()]),
    pickle.APPENDS: lambda m: m.extend(m.marked()),
    pickle.EMPTY_SET: _pushes(lambda m: []),
    pickle.ADDITEMS: lambda m: m.extend(m.marked()),
    pickle.FROZENSET: lambda m: m.push(m.marked()),
    pickle.EMPTY_DICT: _pushes(lambda m: {}),
    pickle.DICT: lambda m: m.push(entries(m.marked())),
    pickle.SETITEM: lambda m: m.enter(m.pop_two()),
    pickle.SETITEMS: lambda m: m.enter(m.marked()),
    pickle.EMPTY_TUPLE: _pushes(lambda m: ()),
    pickle.TUPLE: lambda m: m.push(tuple(m.marked())),
    pickle.TUPLE1: _tuple_of(1),
    pickle.TUPLE2: _tuple_of(2),
    pickle.TUPLE3: _tuple_of(3),
    # objects
    pickle.GLOBAL: lambda m: m.name(m.line(), m.line()),
    pickle.STACK_GLOBAL: lambda m: m.name(*m.pop_two()),
    pickle.EXT1: lambda m: m.name("copyreg", f"extension_{m.number(_B1)}"),
    pickle.EXT2: lambda m: m.name("copyreg", f"extension_{m.number(_B2)}"),
    pickle.EXT4: lambda m: m.name("copyreg", f"extension_{m.number(_I4)}"),
    pickle.REDUCE: lambda m: m.reduce(called=True),
    pickle.NEWOBJ: lambda m: m.reduce(called=False),
    pickle.NEWOBJ_EX: Machine.new_with_keywords,
    pickle.INST: Machine.instance,
    pickle.OBJ: Machine.object,
    pickle.BUILD: Machine.build,
    pickle.PERSID: lambda m: m.push(m.persistent(m.line())),
    pickle.BINPERSID: lambda m: m.push(m.persistent(m.pop())),
}
