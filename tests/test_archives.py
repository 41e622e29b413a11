"""Files of torch are read lazily and equal torch.load; hostile and damaged ones end in one clear line."""

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.reading.archives import read_torch_archive
from rnn.reading.pickle_machine import Global
from rnn.reading.pickled_tensors import TENSOR_MAKERS, Storage
from rnn.reading.tensors import NotUnderstoodError, Tensors
from rnn.reading.zip_records import FileBytes, file_bytes
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
    from rnn.reading import zip_records

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


def test_tied_storages_with_other_lengths_are_refused_in_legacy_files(path: Path) -> None:
    torch.save({"a": BIG, "b": BIG.T}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    first = whole.replace(b"M\x58\x02N", b"M\x57\x02N", 1)
    assert first != whole
    path.write_bytes(first)
    with pytest.raises(UnsupportedModelError, match="b: a storage that does not fit its description"):
        read_torch_archive(path)


class Asked:
    """A call in a pickle."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_calls_that_torch_writes_on_other_machines_are_read(path: Path) -> None:
    array = np.arange(4, dtype=np.float32).reshape(2, 2)
    from_array = torch._utils._rebuild_device_tensor_from_numpy, array, torch.float32, "xla:0", False
    wrapped = torch._utils._rebuild_wrapper_subclass, Marked, (torch.float32,), {}
    content = {
        "xla": Asked(*from_array),
        "wrapped": Asked(torch._tensor._rebuild_from_type_v2, *wrapped),
        "layout": Asked(torch._utils._rebuild_sparse_tensor, "torch.sparse_wide", ()),
    }
    path.write_bytes(pickle.dumps(content))
    table = read_torch_archive(path)
    assert table.entries["xla"].read().tolist() == array.tolist()
    assert dict(table.unrecognised) == {
        "wrapped": "a tensor of class test_archives.Marked, which has no numbers of its own",
        "layout": "a sparse tensor in a layout that is not known",
    }


def test_what_torch_cannot_hold_is_refused_when_it_is_read(path: Path, monkeypatch: Any) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("not enough memory: you tried to allocate 7 bytes.\nBacktrace")

    torch.save({"weight": torch.eye(2)}, path)
    stored = read_torch_archive(path).entries["weight"]
    monkeypatch.setattr(torch, "frombuffer", fails)
    with pytest.raises(NotUnderstoodError, match=r"^cannot be rebuilt \(not enough memory: .* 7 bytes\.\)$"):
        stored.read()


def test_scales_that_are_no_numbers_are_refused() -> None:
    storage = Storage(torch.qint8, 4, lambda start, size: bytearray(size))
    rebuild = TENSOR_MAKERS["torch._utils._rebuild_qtensor"]

    def quantised_by(scales: list[Any]) -> torch.Tensor:
        scheme = (Global("torch.per_channel_affine"), scales, [1, 1], 0)
        return rebuild(storage, 0, (2, 2), (2, 1), scheme).read()

    assert quantised_by([0.5, 2.0]).tolist() == [[-0.5, -0.5], [-2.0, -2.0]]
    with pytest.raises(NotUnderstoodError, match="quantised with scales that are no numbers"):
        quantised_by(["x", "y"])


def test_lists_of_state_dictionaries_are_numbered(path: Path) -> None:
    torch.save([{"weight": torch.eye(2)}, {"weight": torch.eye(3)}], path)
    check_equal(read_torch_archive(path), {"0.weight": torch.eye(2), "1.weight": torch.eye(3)})


def test_storages_within_a_pickle_that_are_cut_off_are_refused(path: Path) -> None:
    inner = io.BytesIO()
    torch.save(torch.eye(9).untyped_storage(), inner, _use_new_zipfile_serialization=False)
    for keep, reason in ((-5, "a storage within it is cut off"), (-400, "")):
        storage = Asked(torch.storage._load_from_bytes, inner.getvalue()[:keep])
        tensor = Asked(torch._utils._rebuild_tensor_v2, storage, 0, (9,), (1,), False, None)
        path.write_bytes(pickle.dumps({"weight": tensor, "other": np.eye(2)}))
        table = read_torch_archive(path)
        if not reason:
            assert [key for key, _ in table.unrecognised] == ["weight"]
            continue
        table = read_torch_archive(path)
        whole = Asked(torch._utils._rebuild_tensor_v2, storage, 0, (324,), (1,), False, None)
        path.write_bytes(pickle.dumps({"weight": whole}))
        with pytest.raises(ValueError, match=reason):
            read_torch_archive(path).entries["weight"].read()


def test_legacy_storages_without_a_length_are_refused(path: Path) -> None:
    torch.save({"weight": torch.eye(9)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    begin = whole.index(b"}", whole.index(b"little_endian") + 50)
    content = whole[whole.rindex(b"\x80\x02", 0, begin) : whole.index(b".", whole.index(b"K\x51N")) + 1]
    assert content.count(b"K\x51N") == 1
    before = whole[: whole.index(content)]
    path.write_bytes(before + content.replace(b"K\x51N", b"NN") + pickle.dumps([], 2))
    with pytest.raises(UnsupportedModelError, match="a storage without a name or a length"):
        read_torch_archive(path)


def test_a_file_that_ends_before_its_size_is_cut_off(path: Path) -> None:
    path.write_bytes(b"12345")
    whole = file_bytes(path)
    with pytest.raises(ValueError, match=r"model\.pt is cut off; get the file again"):
        FileBytes(path, 10, whole.state).read(0, 10)
    with pytest.raises(ValueError, match=r"model\.pt is cut off; get the file again"):
        whole.read(3, 3)


MEMORY = """
import sys
import torch
from rnn.reading.archives import read_torch_archive
from rnn.weights import named_matrices
from rnn.reading.zip_records import FileBytes, file_bytes

def kibibytes(field):
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field))

def peak(read):
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the largest resident set starts anew
    before = kibibytes("VmRSS")
    read()
    return (kibibytes("VmHWM") - before) / 1024

torch.set_num_threads(1)
large, small = sys.argv[1:]
for record in named_matrices(small):
    record.matrix
print(peak(lambda: read_torch_archive(large)))
print(peak(lambda: [stored.read().shape for stored in read_torch_archive(large).entries.values()]))
print(peak(lambda: [record.matrix.sum() for record in named_matrices(large)]))
print(peak(lambda: torch.load(large)))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is measured by Linux")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_memory_is_that_of_one_tensor_not_of_the_file(zipped: bool, tmp_path: Path) -> None:
    """64 MiB in 32 layers of 2 MiB."""
    state = {f"{k}.weight": torch.rand(512, 1024) for k in range(32)}
    torch.save(state, tmp_path / "large.pt", _use_new_zipfile_serialization=zipped)
    torch.save({"0.weight": torch.rand(512, 512)}, tmp_path / "small.pt")
    files = [tmp_path / "large.pt", tmp_path / "small.pt"]
    run = subprocess.run([sys.executable, "-c", MEMORY, *files], capture_output=True, text=True, check=True)
    opened, read, matrices, loaded = map(float, run.stdout.split())
    assert opened < 1
    assert read < 2 * 2
    assert matrices < 6 * 4  # 4 MiB as float64
    assert loaded > 40  # what the same measure says of the whole file
