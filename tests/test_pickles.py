"""The unpickler reads what Python writes, and runs nothing: hostile pickles become notes and clear errors."""

import argparse
import collections
import copyreg
import datetime
import functools
import io
import os
import pickle
import pickletools
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnn.reading.pickle_machine import Global, Made, Refused, one_line
from rnn.reading.pickled_arrays import ARRAY_MAKERS, stored_array
from rnn.reading.pickles import MOST_OPERATIONS, unpickle
from rnn.reading.tensors import NotUnderstoodError


def read(content: bytes, makers: dict[str, Any] | None = None) -> Any:
    value, _ = read_calls(content, makers)
    return value


def read_calls(content: bytes, makers: dict[str, Any] | None = None) -> tuple[Any, list[str]]:
    called: dict[str, None] = {}
    value = unpickle(
        io.BytesIO(content), makers=makers or {}, persistent=lambda key: ("id", key), called=called
    )
    return value, list(called)


def outcome(content: bytes) -> tuple[Any, str]:
    """What is read, or the message of the refusal."""
    try:
        return read(content), ""
    except ValueError as error:
        return None, str(error)


PLAIN = {
    "text": ["", "a", "\u00e9\u4e2d", "x" * 70_000, "line\nbreak", "\ud800"],
    "numbers": [0, 1, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 10**30, -(10**30), 0.5, float("inf")],
    "others": (None, True, False, b"", b"bytes\xff", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}),
    3: [{"a": {"b": [1, [2, [3]]]}}, "shared", "shared"],
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back_as_python_reads_it(protocol: int) -> None:
    makers = {"_codecs.encode": lambda text, _: text.encode("latin1")}
    assert read(pickle.dumps(PLAIN, protocol), makers) == PLAIN


@pytest.mark.parametrize("protocol", range(6))
def test_containers_come_back_as_dictionaries_and_lists(protocol: int) -> None:
    value = {
        "ordered": collections.OrderedDict(a=1, b=2),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
        "set": {7},
        "frozen": frozenset({7}),
        "complex": 1 + 2j,
    }
    assert read(pickle.dumps(value, protocol)) == value | {"set": [7], "frozen": [7]}


def test_shared_and_endless_values_keep_their_identity() -> None:
    shared = [1]
    endless: list[Any] = [shared, shared]
    endless.append(endless)
    found = read(pickle.dumps(endless))
    assert found[0] is found[1]
    assert found[2] is found


def test_every_operation_of_pickle_is_known_or_refused() -> None:
    from rnn.reading.pickles import _OPERATIONS

    missing = {op.name for op in pickletools.opcodes if op.code.encode("latin1") not in _OPERATIONS}
    assert missing == {"STOP", "NEXT_BUFFER"}  # the end; buffers beside the file, of which there are none


class Writes:
    """A pickle of it asks for a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class SetsState:
    """Unpickled by Python, it would write a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["path"]).write_text("ran", encoding="utf-8")


def attacks(target: Path) -> dict[str, Any]:
    code = f"open({str(target)!r}, 'w').write('ran')"
    return {
        "os.system": Writes(os.system, f"touch {target}"),
        "eval": Writes(eval, code),
        "exec": Writes(exec, code),
        "popen": Writes(subprocess.Popen, ["touch", str(target)]),
        "getattr": Writes(getattr, os, "system"),
        "partial": functools.partial(os.system, f"touch {target}"),
        "open": Writes(open, str(target), "w"),
        "setstate": SetsState(str(target)),
        "nested": [Writes(map, Writes(exec, code), [])],
    }


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", attacks(Path("x")))
def test_nothing_of_a_pickle_runs(name: str, protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "written"
    try:
        content = pickle.dumps({"first": 1, "bad": attacks(target)[name], "last": 2}, protocol)
    except TypeError:
        content = pickle.dumps({"first": 1, "bad": Writes(os.system, f"touch {target}"), "last": 2}, protocol)
    found, called = read_calls(content)
    assert (found["first"], found["last"]) == (1, 2)
    assert not isinstance(found["bad"], (int, str))
    assert not target.exists()
    assert called or name in {"setstate"}


def test_a_call_is_noted_with_its_name_and_arguments() -> None:
    found, called = read_calls(pickle.dumps(Writes(subprocess.Popen, ["ls"], -1)))
    assert isinstance(found, Made)
    assert (found.maker, found.arguments, found.called) == ("subprocess.Popen", (["ls"], -1), True)
    assert called == ["subprocess.Popen"]


def test_objects_are_noted_with_class_and_state() -> None:
    found, called = read_calls(pickle.dumps(argparse.Namespace(rate=0.1, name="run")))
    assert (found.maker, found.state, called) == ("argparse.Namespace", {"rate": 0.1, "name": "run"}, [])
    old, _ = read_calls(pickle.dumps(argparse.Namespace(rate=0.1), 0))
    assert (old.maker, old.state) == ("argparse.Namespace", {"rate": 0.1})


HAND_WRITTEN = {
    "instance of a class": b"(S'touch x'\nios\nsystem\n.",
    "object by a mark": b"(cos\nsystem\nS'touch x'\no.",
    "new object with keywords": b"cos\nsystem\n)}\x92.",
    "state of a class": b"ccollections\nOrderedDict\n}S'pop'\nNsb.",
    "slots of a class": b"ccollections\nOrderedDict\nN}S'pop'\nNs\x86b.",
    "state of a function": b"ctorch._utils\n_rebuild_tensor_v2\n}S'x'\nNsb.",
    "call of a value": b"S'text'\n)R.",
    "call of a note": b"cos\nsystem\n)R)R.",
    "new object of a number": b"K\x01)\x81.",
    "elements for a global": b"cos\nenviron\n(S'a'\nS'b'\nu.",
    "elements for a note": b"cos\nenviron\n)R(S'a'\nS'b'\nu.",
    "extension": b"\x82\x01)R.",
    "extension below 0": b"\x84\xff\xff\xff\xff.",
    "names of several parts": b"\x8c\x02os\x8c\x0esystem.__call__\x93)R.",
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_pickles_written_by_hand_change_nothing(name: str) -> None:
    before = (
        dict(vars(collections.OrderedDict)),
        dict(copyreg.dispatch_table),
        dict(os.environ),
        set(sys.modules),
    )
    found, message = outcome(HAND_WRITTEN[name])
    assert isinstance(found, (Made, Global, Refused, dict)) or "a damaged pickle" in message
    after = (
        dict(vars(collections.OrderedDict)),
        dict(copyreg.dispatch_table),
        dict(os.environ),
        set(sys.modules),
    )
    assert after == before


def test_what_one_pickle_does_another_does_not_see() -> None:
    makers = {"torch.float32": lambda: 1.0}
    first = read(b"ccollections\nOrderedDict\n)R}S'a'\nK\x01sb.", makers)
    assert first == {}
    assert read(b"ccollections\nOrderedDict\n)R.", makers) == {}
    assert list(makers) == ["torch.float32"]


def test_extensions_of_python_are_not_looked_up() -> None:
    copyreg.add_extension("os", "system", 77)
    try:
        found, called = read_calls(b"\x82\x4dS'touch x'\n\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 77)
    assert called == [found.maker] == ["copyreg.extension_77"]


def size_8(code: bytes, size: int) -> bytes:
    return b"\x80\x04" + code + struct.pack("<Q", size) + b"abc."


BOMBS = {
    "text": size_8(pickle.BINUNICODE8, 2**62),
    "more text than a machine word": size_8(pickle.BINUNICODE8, 2**64 - 1),
    "bytes": size_8(pickle.BINBYTES8, 2**40),
    "array": size_8(pickle.BYTEARRAY8, 2**40),
    "memo": b"N" + pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1) + b"0" + b"h\x01.",
    "integer": pickle.LONG4 + struct.pack("<i", 2**31 - 1) + b".",
    "negative length": pickle.LONG4 + struct.pack("<i", -5),
    "decimal": b"I" + b"9" * 100_000 + b"\n.",
    "key without hash": b"}]K\x01s.",
    "marks": b"(" * 100_000,
    "pops": b"0.",
    "memo that is not there": b"h\x07.",
    "no end": b"K\x01",
    "nothing": b"",
    "no pickle": b"hello, world",
    "buffers": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_neither_time_nor_memory(name: str) -> None:
    tracemalloc.start()
    begin = time.perf_counter()
    found, message = outcome(BOMBS[name])
    assert re.fullmatch("a damaged pickle: .*", message) or (found and name == "key without hash")
    seconds, (_, peak) = time.perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 20e6


def test_deep_nests_do_not_overflow_the_stack() -> None:
    deep = 200_000
    tuples = b")" + b"\x85" * deep  # a tuple in a tuple in a tuple ..., as key of a dictionary:
    (key,) = read(b"}" + tuples + b"K\x01s.")
    assert str(key) == "(tuple)"
    assert isinstance(read(b"]" * deep + b"a" * (deep - 1) + b"."), list)


def test_amplification_by_makers_is_bounded() -> None:
    """A long list that is copied by each of many calls would fill the memory."""
    items = b"(" + b"K\x01" * 100_000 + b"lp0\n"
    copies = b"(" + b"cbuiltins\nset\ng0\n\x85R" * 2000 + b"l."
    tracemalloc.start()
    found = read(items + copies)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 2000
    assert peak < 10e6


def test_colliding_keys_take_no_quadratic_time() -> None:
    step = sys.hash_info.modulus
    content = pickle.dumps({k * step: None for k in range(1, 4000)})
    begin = time.perf_counter()
    assert len(read(content)) == 3999
    assert time.perf_counter() - begin < 2


def test_more_operations_than_a_file_of_weights_needs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_OPERATIONS >= 10**7
    monkeypatch.setattr("rnn.reading.pickles.MOST_OPERATIONS", 1000)
    with pytest.raises(ValueError, match="a pickle of more than 1000 operations"):
        read(b"N" * 2000 + b".")


def test_cut_off_pickles_are_refused() -> None:
    whole = pickle.dumps({"a": [1, 2.5, "text", datetime.date(2020, 1, 2)], "b": b"bytes" * 20})
    for keep in range(len(whole)):
        with pytest.raises(ValueError, match="a damaged pickle"):
            read(whole[:keep])


def test_wrong_bytes_are_refused_or_read() -> None:
    random, refused = np.random.default_rng(0), 0
    wholes = [
        pickle.dumps({"a": [1, "text", Writes(os.system, "false")], 3: (None, {4})}, p) for p in range(6)
    ]
    for number in range(3000):
        content = bytearray(wholes[number % 6])
        content[random.integers(len(content))] = random.integers(256)
        message = outcome(bytes(content))[1]
        assert "\n" not in message
        refused += bool(message)
    assert refused > 100


def test_makers_that_fail_give_a_reason() -> None:
    def refuses() -> None:
        raise NotUnderstoodError("out of reach")

    def fails(_: int) -> None:
        raise KeyError

    found = read(b"(cm\nf\n)Rcm\ng\n(K\x01tRcm\ng\n)Rl.", {"m.f": refuses, "m.g": fails})
    assert found[0].reason == "out of reach"
    assert all("the file may be damaged" in one.reason for one in found[1:])


def test_names_of_a_file_are_printed_on_one_line() -> None:
    assert one_line("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"
    assert len(one_line("x" * 10**6)) == 203
    _, (called,) = read_calls(b"\x8c\x03os\n\x8c\x04x\x1b[2\x93)R.")
    assert called == "os\\n.x\\x1b[2"


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    np.arange(4, dtype=">f4"),
    np.array(3.5, dtype=np.float16),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.zeros((0, 3)),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_arrays_are_rebuilt_from_their_bytes(array: np.ndarray, protocol: int) -> None:
    stored = stored_array(read(pickle.dumps(array, protocol), ARRAY_MAKERS))
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype.newbyteorder("=").name)
    np.testing.assert_array_equal(stored.read().numpy(), array)


@pytest.mark.parametrize("protocol", range(6))
def test_scalars_are_plain_numbers(protocol: int) -> None:
    value = {"a": np.float32(1.5), "b": np.int64(-3), "c": np.bool_(True)}
    assert read(pickle.dumps(value, protocol), ARRAY_MAKERS) == {"a": 1.5, "b": -3, "c": True}


def test_arrays_that_are_none_are_refused() -> None:
    objects = read(pickle.dumps(np.array([None, "a"], dtype=object)), ARRAY_MAKERS)
    with pytest.raises(NotUnderstoodError, match="an array of dtype O8, not of numbers"):
        stored_array(objects)
    with pytest.raises(NotUnderstoodError, match="an array without its numbers"):
        stored_array(Made("numpy.ndarray"))
    number = Made("numpy.dtype", ("f8",))
    with pytest.raises(NotUnderstoodError, match="an array without a shape"):
        stored_array(Made("numpy.ndarray", state=(1, (-1,), number, False, b"")))
    short = stored_array(Made("numpy.ndarray", state=(1, (2**40, 2**40), number, False, b"12345678")))
    with pytest.raises(NotUnderstoodError, match="in 8 bytes; the file may be damaged"):
        short.read()


def test_what_python_2_wrote_is_read() -> None:
    ordered = read(b"ccollections\nOrderedDict\n((l(lS'a'\naI1\naatR.")
    assert (ordered.maker, ordered.arguments) == ("collections.OrderedDict", ([["a", 1]],))
    number = Made("numpy.dtype", ("i2",), state=(3, "<"))
    stored = stored_array(
        Made("numpy.ndarray", state=(1, (2,), number, False, read(b"U\x04\x01\x00\x02\x00.")))
    )
    assert stored.read().tolist() == [1, 2]
    assert read(b"U\x02\xff\xfe.") == b"\xff\xfe"
