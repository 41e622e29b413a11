"""Files of torch are read lazily and equal torch.load; hostile and damaged ones end in one clear line."""

import collections
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.archives import read_torch_archive
from rnn.tensors import NotUnderstoodError, Tensors
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError

BIG = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
COMPLEX = torch.complex(BIG[:2, :2], BIG[2:4, :2])
TENSORS: dict[str, torch.Tensor] = {
    "plain": BIG,
    "tied": BIG,
    "transposed": BIG.T,
    "sliced": BIG[3:7, 2:9:3],
    "row": BIG[4],
    "double": BIG.double(),
    "half": BIG.half(),
    "bfloat16": BIG.bfloat16(),
    "float8": BIG.to(torch.float8_e4m3fn),
    "float8 wide": BIG.to(torch.float8_e5m2),
    "int8": torch.arange(6, dtype=torch.int8),
    "uint16": torch.arange(6).to(torch.uint16),
    "bool": torch.tensor([[True, False]]),
    "complex": COMPLEX,
    "conjugate": COMPLEX.conj(),
    "negative": torch.complex(BIG[4:6, :2], BIG[6:8, :2]).conj().imag,
    "parameter": nn.Parameter(torch.eye(2)),
    "empty": torch.zeros(0, 3),
    "number": torch.tensor(3.0),
    "nan": torch.tensor([[float("nan"), 1.0]]),
}


def quantised() -> dict[str, torch.Tensor]:
    scales, zeros = torch.linspace(0.05, 0.3, 20), torch.arange(20) - 10
    return {
        "per tensor": torch.quantize_per_tensor(BIG, 0.1, 3, torch.quint8),
        "per channel": torch.quantize_per_channel(BIG, scales, zeros, 0, torch.qint8),
        "other axis": torch.quantize_per_channel(BIG.T, scales, zeros, 1, torch.qint8),
        "int32": torch.quantize_per_tensor(BIG, 0.01, 0, torch.qint32),
    }


def dense(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().resolve_conj().resolve_neg()
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    return tensor.to_dense() if tensor.layout != torch.strided else tensor


def check_equal(table: Tensors, expected: dict[str, torch.Tensor]) -> None:
    assert list(table.entries) == list(expected)
    for name, tensor in expected.items():
        stored, wanted = table.entries[name], dense(tensor)
        found = stored.read()
        assert (stored.shape, stored.dtype) == (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        assert (found.dtype, found.shape, found.is_contiguous()) == (wanted.dtype, wanted.shape, True)
        width = np.uint8 if wanted.element_size() == 1 else None
        theirs = wanted.contiguous().view(torch.uint8) if width else wanted
        torch.testing.assert_close(
            found.view(torch.uint8) if width else found, theirs, rtol=0, atol=0, equal_nan=True
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_kind_of_tensor_equals_what_torch_gives(path: Path, zipped: bool) -> None:
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    table = read_torch_archive(path)
    check_equal(table, TENSORS)
    if zipped:  # torch 2.13 cannot load a legacy file of its own with float8 or uint16 in it
        check_equal(table, torch.load(path, weights_only=True))
    assert (table.unrecognised, table.kinds, table.origin) == ([], {}, "model.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_quantised_and_sparse_tensors_are_made_dense(path: Path, zipped: bool) -> None:
    sparse = {
        "coo": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "csc": torch.eye(3).to_sparse_csc(),
        "bsr": torch.eye(4).to_sparse_bsr((2, 2)),
    }
    expected = quantised() | sparse
    torch.save(expected, path, _use_new_zipfile_serialization=zipped)
    check_equal(read_torch_archive(path), expected)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_of_tensors_are_read(path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(TENSORS, protocol=protocol))
    check_equal(read_torch_archive(path), TENSORS)


def test_older_rebuild_functions_and_names_are_read(path: Path) -> None:
    torch.save({"weight": torch.eye(2)}, path)
    content = rewritten(path, lambda p: p.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor"))
    (stored,) = read_torch_archive(content).entries.values()
    assert torch.equal(stored.read(), torch.eye(2))
    content = rewritten(path, lambda p: p.replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage"))
    (stored,) = read_torch_archive(content).entries.values()
    assert torch.equal(stored.read(), torch.eye(2))


def rewritten(path: Path, change: Callable[[bytes], bytes], name: str = "data.pkl", **how: Any) -> Path:
    """The same archive with one record changed, in a file beside it."""
    other = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w", **how) as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info.filename, change(content) if info.filename.endswith(name) else content)
    return other


def test_files_of_machines_with_the_other_order_of_bytes_are_read(path: Path) -> None:
    big = np.arange(6, dtype=">f4").reshape(2, 3)
    torch.save({"weight": torch.zeros(2, 3)}, path)
    swapped = rewritten(path, lambda _: b"big", "byteorder")
    other = rewritten_in_place(swapped, lambda _: big.tobytes(), "data/0")
    (stored,) = read_torch_archive(other).entries.values()
    np.testing.assert_array_equal(stored.read().numpy(), big)
    torch.save({"weight": torch.zeros(1, dtype=torch.complex64)}, path)
    value = np.array([1 + 2j], dtype=">c8")
    other = rewritten_in_place(
        rewritten(path, lambda _: b"big", "byteorder"), lambda _: value.tobytes(), "data/0"
    )
    (stored,) = read_torch_archive(other).entries.values()
    np.testing.assert_array_equal(stored.read().numpy(), value)


def rewritten_in_place(path: Path, change: Callable[[bytes], bytes], name: str) -> Path:
    source = path.with_name("source.pt")
    path.rename(source)
    return rewritten(source, change, name)


def test_files_without_checksums_are_read_and_wrong_checksums_refused(path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weight": BIG}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    check_equal(read_torch_archive(path), {"weight": BIG})
    torch.save({"weight": BIG}, path)
    content = bytearray(path.read_bytes())
    place = content.find(BIG.numpy().tobytes())
    content[place + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"model\.pt is damaged: a checksum does not fit; get the file again"
    ):
        read_torch_archive(path).entries["weight"].read()


def test_a_lone_tensor_or_parameter_has_the_name_of_its_file(path: Path) -> None:
    for value in (torch.eye(2), nn.Parameter(torch.eye(2))):
        torch.save(value, path)
        check_equal(read_torch_archive(path), {"model": value})


def test_opening_reads_no_numbers_and_reading_only_what_is_needed(path: Path, monkeypatch: Any) -> None:
    whole = torch.randn(1000, 100)
    torch.save({"a": whole[3:5], "b": whole}, path)
    taken: list[int] = []
    from rnn import zip_records

    original = zip_records.FileBytes.read
    monkeypatch.setattr(
        zip_records.FileBytes,
        "read",
        lambda self, start, length: taken.append(length) or original(self, start, length),
    )
    table = read_torch_archive(path)
    assert sum(taken) < 3000
    taken.clear()
    assert torch.equal(table.entries["a"].read(), whole[3:5])
    assert sum(taken) < 2 * 100 * 4 + 100


def test_a_file_that_changes_is_noticed(path: Path) -> None:
    torch.save({"weight": torch.eye(9)}, path)
    table = read_torch_archive(path)
    torch.save({"weight": torch.zeros(11, 9)}, path)
    with pytest.raises(ValueError, match=r"model\.pt has changed since it was opened; read it again"):
        table.entries["weight"].read()


def test_subclasses_and_what_has_no_numbers(path: Path) -> None:
    torch.save(
        {
            "weight": torch.eye(2),
            "sub": torch.eye(3).as_subclass(Marked),
            "meta": torch.zeros(2, 2, device="meta"),
            "later": nn.UninitializedParameter(),
        },
        path,
    )
    table = read_torch_archive(path)
    assert list(table.entries) == ["weight", "sub", "meta"]
    assert torch.equal(table.entries["sub"].read(), torch.eye(3))
    with pytest.raises(NotUnderstoodError, match="a meta tensor"):
        table.entries["meta"].read()
    assert table.unrecognised == [
        ("later", "a parameter without a shape yet; run the model once before it is saved")
    ]


class Marked(torch.Tensor):
    """A class that a reader of the file does not know."""


# ---- what the file says wrongly of one tensor leaves the others readable


def forged(path: Path, size: Any, stride: Any, offset: int = 0, count: int = 4) -> Path:
    """A file with an honest tensor and one that claims this shape over a storage of four numbers."""
    pickled = io.BytesIO()

    class Writer(pickle._Pickler):  # Python's own, which takes any order of calls
        def persistent_id(self, value: Any) -> Any:
            return value.key if isinstance(value, Reference) else None

    class Reference:
        def __init__(self, number: int) -> None:
            self.key = ("storage", torch.FloatStorage, str(number), "cpu", count if number else 4)

    class Rebuilt:
        def __init__(self, *arguments: Any) -> None:
            self.arguments = arguments

        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, self.arguments

    hooks: Any = collections.OrderedDict()
    content = {
        "bad": Rebuilt(Reference(1), offset, size, stride, False, hooks),
        "weight": Rebuilt(Reference(0), 0, (2, 2), (2, 1), False, hooks),
    }
    Writer(pickled, 2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        for number in (0, 1):
            archive.writestr(f"archive/data/{number}", struct.pack("<4f", 1, 2, 3, 4))
    return path


@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        (
            {"size": (10**6, 10**6), "stride": (0, 0)},
            "is expanded from a storage of 4 numbers; save it after",
        ),
        ({"size": (4, 2), "stride": (1, 0)}, "is expanded from a storage"),
        ({"size": (3, 2), "stride": (2, 1)}, "reaches outside its storage of 4 numbers"),
        ({"size": (2, 2), "stride": (2, 1), "offset": 1}, "reaches outside its storage"),
        ({"size": (2**61, 2**61), "stride": (2**61, 1)}, "reaches outside its storage"),
        (
            {"size": (2, 2), "stride": (2, 1), "count": 5},
            "its storage has 16 of 20 bytes; the file is damaged",
        ),
        ({"size": (2, 2), "stride": (2, 1), "count": -1}, "its storage has 16 of -4 bytes"),
        ({"size": (2, 2), "stride": (-2, 1)}, "numbers out of range"),
        ({"size": (2, -2), "stride": (2, 1)}, "numbers out of range"),
        ({"size": (2, 2), "stride": (2, 1), "offset": -1}, "numbers out of range"),
        ({"size": (2, 2), "stride": (1,)}, "a tensor without storage, shape or strides"),
        ({"size": "22", "stride": (2, 1)}, "no row of whole numbers"),
        ({"size": (1,) * 1000, "stride": (1,) * 1000}, "no row of whole numbers"),
        ({"size": (2.0, 2.0), "stride": (2, 1)}, "numbers out of range"),
        ({"size": None, "stride": None}, "no row of whole numbers"),
    ],
)
def test_tensors_that_lie_about_their_shape_are_refused_one_by_one(
    path: Path, forgery: dict[str, Any], reason: str
) -> None:
    table = read_torch_archive(forged(path, **forgery))
    ((key, why),) = table.unrecognised
    assert (key, reason in why) == ("bad", True)
    assert table.entries["weight"].read().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"X\x07\x00\x00\x00storage", b"X\x07\x00\x00\x00storagf", "named in an unknown way"),
        (b"FloatStorage", b"FlootStorage", "a storage of unknown type"),
        (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x007", "missing in the file, or compressed"),
        (b"X\x01\x00\x00\x000", b"K\x00", "missing in the file, or compressed"),
        (b"_rebuild_tensor_v2", b"_rebuild_nested_tensor", "a nested tensor"),
        (b"_rebuild_tensor_v2", b"_rebuild_wrapper_subclass", "no numbers of its own"),
        (b"_rebuild_tensor_v2", b"_rebuild_parameter", "made of something else than numbers"),
        (b"_rebuild_tensor_v2", b"_rebuild_unknown", r"made by a call of torch\._utils\._rebuild_unknown"),
        (b"_rebuild_tensor_v2", b"_rebuild_tensor_v3", "described in a way that torch does not use"),
    ],
)
def test_other_forgeries_are_refused_with_their_reason(
    path: Path, old: bytes, new: bytes, reason: str
) -> None:
    torch.save({"weight": torch.eye(2)}, path)
    with pytest.raises(UnsupportedModelError, match=reason) as caught:
        read_torch_archive(rewritten(path, lambda content: content.replace(old, new)))
    assert "\n" not in str(caught.value)
    assert "torch.save(model.state_dict(), path)" in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("tensor", "old", "new", "reason"),
    [
        (lambda: quantised()["per tensor"], b"per_tensor_affine", b"per_tensor_else", "quantised in a way"),
        (lambda: quantised()["per channel"], b"QInt8Storage", b"QUInt4x2Storage", "several in one byte"),
        (lambda: quantised()["other axis"], b"K\x01t", b"K\x07t", "along an axis that it does not have"),
        (
            lambda: torch.eye(3).to_sparse(),
            b"K\x03K\x03\x86",
            b"J\x00\x00\x00\x7fJ\x00\x00\x00\x7f\x86",
            "too large",
        ),
    ],
)
def test_forged_quantised_and_sparse_tensors(
    path: Path, tensor: Any, old: bytes, new: bytes, reason: str
) -> None:
    torch.save({"weight": tensor()}, path)
    with zipfile.ZipFile(path) as archive:
        assert old in archive.read("model/data.pkl")
    with pytest.raises(UnsupportedModelError, match=reason):
        read_torch_archive(rewritten(path, lambda content: content.replace(old, new)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_numbers_that_do_not_fit_are_noticed_when_they_are_read(path: Path) -> None:
    torch.save({"weight": torch.eye(3).to_sparse()}, path)
    wrong = rewritten(path, lambda _: np.arange(6, dtype=np.int64).tobytes(), "data/0")
    with pytest.raises(NotUnderstoodError, match="indices do not fit its shape"):
        read_torch_archive(wrong).entries["weight"].read()
    torch.save({"weight": quantised()["other axis"]}, path)
    fewer = rewritten(path, lambda content: content.replace(b"K\x01t", b"K\x00t"))
    with pytest.raises(NotUnderstoodError, match="another number of scales than channels"):
        read_torch_archive(fewer).entries["weight"].read()


# ---- hostile files


class Calls:
    """Asks for a call when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class SetsState:
    """Writes a file when it is unpickled by Python."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["path"]).write_text("ran", encoding="utf-8")


class Hidden(nn.Module):
    """A network with something else among its attributes."""

    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.extra = extra


ATTACKS: dict[str, Callable[[Path], Any]] = {
    "system": lambda p: Calls(os.system, f"touch {p}"),
    "eval": lambda p: Calls(eval, f"open({str(p)!r}, 'w')"),
    "exec": lambda p: Calls(exec, f"open({str(p)!r}, 'w')"),
    "Popen": lambda p: Calls(subprocess.Popen, ["touch", str(p)]),
    "load": lambda p: Calls(torch.load, str(p)),
    "_serialization.load": lambda p: Calls(torch.jit.load, str(p)),
    "SetsState": lambda p: SetsState(str(p)),
}


@pytest.mark.parametrize("form", ["zip", "legacy", "module", "legacy module", "pickle"])
@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_files_run_nothing_and_say_what_is_in_them(name: str, form: str, path: Path) -> None:
    target = path.with_name("written")
    bad = ATTACKS[name](target)
    content: Any = Hidden(bad) if "module" in form else {"bad": bad, "weight": torch.eye(2)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"bad": bad, "weight": np.eye(2)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization="legacy" not in form)
    table = read_torch_archive(path)
    assert not target.exists()
    (weight,) = (stored for key, stored in table.entries.items() if key.endswith("weight"))
    assert weight.read().isfinite().all()
    if name == "SetsState" and "module" in form:
        return  # an attribute of a module, of which only the tensors are read
    (line,) = [f"{key}: {reason}" for key, reason in table.unrecognised]
    assert re.search(rf"\b{re.escape(name)}\b", line)


def test_a_hostile_file_without_tensors_is_refused_in_one_line(path: Path) -> None:
    torch.save(Calls(os.system, f"touch {path}.x"), path)
    with pytest.raises(
        UnsupportedModelError, match=r"model\.pt holds no tensors .*made by a call of \w+\.system"
    ):
        read_torch_archive(path)
    torch.save({str(n): Calls(os.system, "x") for n in range(9)}, path)
    with pytest.raises(UnsupportedModelError, match="; and 6 more"):
        named_matrices(path)


def test_arrays_of_objects_stay_closed(path: Path) -> None:
    objects = np.array([Calls(os.system, f"touch {path}.x"), None], dtype=object)
    torch.save({"bad": objects, "weight": torch.eye(2)}, path)
    table = read_torch_archive(path)
    assert table.unrecognised[0] == ("bad", "an array of dtype O8, not of numbers")
    assert table.unrecognised[1][1] == "a call that the file asks for; it is not run"
    assert not Path(f"{path}.x").exists()


def test_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    (tmp_path / "a.pkl").write_bytes(b"}(S'x'\nctrap\nThing\n)\x81S'w'\nctrap\nmake\n)Ru.")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from rnn.archives import read_torch_archive\n"
        "try: read_torch_archive(sys.argv[1] + '/a.pkl')\n"
        "except TypeError as error: print(error)\n"
        "assert 'trap' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert "trap.make" in run.stdout


# ---- damaged files


def whole_files() -> Iterator[tuple[str, bytes]]:
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 2))
    script = torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3))
    for name, write in {
        "zip": lambda file: torch.save({"model": model.state_dict(), "epoch": 3}, file),
        "legacy": lambda file: torch.save(model.state_dict(), file, _use_new_zipfile_serialization=False),
        "module": lambda file: torch.save(model, file),
        "script": lambda file: torch.jit.save(script, file),
        "pickle": lambda file: pickle.dump({k: v.numpy() for k, v in model.state_dict().items()}, file),
    }.items():
        with tempfile.TemporaryFile() as file:
            write(file)
            file.seek(0)
            yield name, file.read()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        return dict(whole_files())


FORMS = ["zip", "legacy", "module", "script", "pickle"]


def outcome(path: Path) -> str:
    """What becomes of a file: the message of a refusal, or that of a tensor, or nothing."""
    try:
        table = read_torch_archive(path)
    except (ValueError, UnsupportedModelError) as error:
        return str(error)
    messages = []
    for stored in table.entries.values():
        try:
            assert tuple(stored.read().shape) == stored.shape
        except (ValueError, NotUnderstoodError) as error:
            messages.append(str(error))
    return messages[0] if messages else ""


@pytest.mark.parametrize("form", FORMS)
def test_files_cut_off_anywhere_are_refused(form: str, files: dict[str, bytes], path: Path) -> None:
    whole = files[form]
    path.write_bytes(whole)
    assert outcome(path) == ""
    lengths = {0, 1, 2, 3, 4, 5, len(whole) - 1, *np.random.default_rng(0).integers(len(whole), size=150)}
    for length in lengths:
        path.write_bytes(whole[:length])
        message = outcome(path)
        assert message, length
        assert "\n" not in message


@pytest.mark.parametrize("form", FORMS)
def test_files_with_one_wrong_byte_are_refused_or_read(
    form: str, files: dict[str, bytes], path: Path
) -> None:
    random, whole, refused = np.random.default_rng(0), files[form], 0
    for _ in range(400):
        content = bytearray(whole)
        content[random.integers(len(whole))] ^= 1 << random.integers(8)
        path.write_bytes(content)
        message = outcome(path)
        refused += bool(message)
        assert "\n" not in message
    assert refused > 10


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a damaged pickle"),
        (b"PK\x03\x04", "its directory cannot be read"),
        (b"\x00" * 257 + b"ustar\x00" + b"\x00" * 500, "a tar archive of a torch before 0.2"),
        (b"hello " * 1000, "a damaged pickle"),
        (b"\x89PNG\r\n\x1a\n", "a damaged pickle"),
    ],
)
def test_files_of_other_kinds_are_refused(content: bytes, reason: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"model\.pt is no readable torch file \({reason}.*; save model\.state"
    ):
        read_torch_archive(path)


def test_archives_without_what_torch_writes_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"without an uncompressed data\.pkl\)"):
        read_torch_archive(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/model.json", "{}")
    with pytest.raises(ValueError, match=r"but model\.json, as TorchScript before torch 1\.4"):
        read_torch_archive(path)


def test_compressed_records_are_not_opened(path: Path) -> None:
    """Torch writes none, and a small one can stand for as much memory as it likes."""
    torch.save({"weight": torch.zeros(1000, 1000)}, path)
    bomb = rewritten(path, lambda content: content, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"without an uncompressed data\.pkl"):
        read_torch_archive(bomb)
    other = path.with_name("mixed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for info in old.infolist():
            kind = zipfile.ZIP_DEFLATED if "data/" in info.filename else zipfile.ZIP_STORED
            new.writestr(info.filename, old.read(info), compress_type=kind)
    with pytest.raises(
        UnsupportedModelError, match="weight: its numbers are missing in the file, or compressed"
    ):
        read_torch_archive(other)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no file; expected a file that torch"):
        read_torch_archive(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no file"):
        read_torch_archive(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_torch_archive(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("value", "kind"), [([1, 2], "list"), (3, "int"), ("text", "str"), (torch.float32, "torch.float32")]
)
def test_what_holds_no_network_is_refused(value: Any, kind: str, path: Path) -> None:
    torch.save(value, path)
    with pytest.raises(UnsupportedModelError, match=f"holds a {re.escape(kind)}; expected a state_dict"):
        read_torch_archive(path)


def test_legacy_files_that_contradict_themselves_are_refused(files: dict[str, bytes], path: Path) -> None:
    whole = files["legacy"]
    path.write_bytes(whole.replace(b"M\xe9\x03.", b"M\xe8\x03."))
    with pytest.raises(ValueError, match="a legacy file of an unknown protocol"):
        read_torch_archive(path)
    names = re.findall(rb"X.\x00\x00\x00(\d{10,})", whole)
    (name, *_) = names
    path.write_bytes(whole[::-1].replace(name[::-1], (b"9" * len(name))[::-1], 1)[::-1])
    with pytest.raises(ValueError, match="with a storage that nothing uses"):
        read_torch_archive(path)


def test_tied_storages_with_other_lengths_are_refused_in_legacy_files(path: Path) -> None:
    torch.save({"a": BIG, "b": BIG.T}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    first = whole.replace(b"M\x58\x02N", b"M\x57\x02N", 1)
    assert first != whole
    path.write_bytes(first)
    with pytest.raises(UnsupportedModelError, match="b: a storage that does not fit its description"):
        read_torch_archive(path)
