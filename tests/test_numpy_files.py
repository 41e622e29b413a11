"""NumPy files: arrays as they were saved, read one by one and never unpickled."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from rnn.reading import numpy_files
from rnn.reading.numpy_files import read_numpy
from rnn.reading.sources import read_source
from rnn.reading.tensors import ANY_ARRAY, NotUnderstoodError
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError

W = np.random.default_rng(0).normal(size=(3, 4))


def npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


ORDERS = {
    "C": W,
    "fortran": np.asfortranarray(W),
    "big-endian": W.astype(">f8"),
    "big-endian float16": W.astype(">f2"),
    "float32": W.astype(np.float32),
    "a view": np.repeat(W, 2, axis=0)[::2],
}


@pytest.mark.parametrize("array", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("suffix", ["npy", "npz", "compressed"])
def test_arrays_come_back_as_they_were_saved(array: np.ndarray, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / ("W.npy" if suffix == "npy" else "W.npz")
    if suffix == "npy":
        np.save(path, array)
    else:
        (np.savez if suffix == "npz" else np.savez_compressed)(path, W=array)
    table = read_source(path)
    assert table.kinds == {"W": ANY_ARRAY}
    assert table.entries["W"].shape == (3, 4)
    assert table.entries["W"].dtype == array.dtype.name
    np.testing.assert_array_equal(table.entries["W"].read().numpy(), array)
    (found,) = named_matrices(path)
    np.testing.assert_array_equal(found.matrix, array.astype(np.float64))
    assert found.matrix.flags.writeable


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "W.npy", W)
    np.savez(tmp_path / "W.npz", W=W)
    for path in (tmp_path / "W.npy", tmp_path / "W.npz"):
        stored = read_source(path).entries["W"]
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(NotUnderstoodError, match=r"damaged, or of another kind|numbers instead of 12"):
            stored.read()


def test_the_first_bytes_say_which_format_it_is(tmp_path: Path) -> None:
    (tmp_path / "W.npz").write_bytes(npy(W))
    archive(tmp_path / "many.npy", {"V.npy": npy(W)})
    assert [m.name for m in named_matrices(tmp_path / "W.npz")] == ["W"]
    assert [m.name for m in named_matrices(tmp_path / "many.npy")] == ["V"]


def test_bytes_behind_an_array_are_listed(tmp_path: Path) -> None:
    (tmp_path / "W.npy").write_bytes(npy(W) + npy(W))
    found = named_matrices(tmp_path / "W.npy")
    assert len(found) == 1
    assert found.unrecognised == [("W.npy", f"{len(npy(W))} bytes after the first array are not read")]


def test_members_that_are_no_weights_are_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    damaged = bytearray(npy(W))
    damaged[-1] ^= 1
    members = {
        "W.npy": npy(W),
        "objects.npy": npy(np.array([{"a": 1}]), allow_pickle=True),
        "records.npy": npy(np.zeros(2, dtype=[("a", "f4")])),
        "text.npy": npy(np.array(["x"])),
        "times.npy": npy(np.array(["2020-01-01"], dtype="M8[D]")),
        "wide.npy": npy(W.astype(np.longdouble)),
        "steps.npy": npy(np.eye(3, dtype=np.int32)),
        "flags.npy": npy(np.eye(2, dtype=bool)),
        "nan.npy": npy(np.array([[np.nan, 1.0]])),
        "empty.npy": npy(np.zeros((0, 3))),
        "cube.npy": npy(np.ones((2, 2, 2))),
        "more.npy": header("(1000, 1000)"),
        "less.npy": header("(-2, -3)") + bytes(48),
        "unicode.npy": b"\x93NUMPY\x03\x00" + header("(1, 1)")[8:] + bytes(8),
        "notes.txt": b"hello",
        "bias.npy": npy(np.ones(3)),
    }
    found = named_matrices(archive(tmp_path / "a.npz", members))
    assert [m.name for m in found] == ["W"]
    reasons = dict(found.unrecognised)
    assert reasons.keys() == {name.removesuffix(".npy") for name in members} - {"W", "bias"}
    for name, reason in {
        "objects": "it holds Python objects, or is damaged: nothing is unpickled",
        "records": "an array of dtype [('a', '<f4')], not of numbers",
        "text": "an array of dtype <U1, not of numbers",
        "times": "an array of dtype datetime64[D], not of numbers",
        "wide": "numbers of type float128, wider than 64 bits",
        "steps": "numbers of type int32, not real weights",
        "flags": "numbers of type bool, not real weights",
        "nan": "1 NaN or infinite entries",
        "empty": "empty, shape (0, 3)",
        "more": "shape (1000, 1000) needs more bytes than there are",
        "less": "a shape of (-2, -3)",
        "unicode": "version (3, 0) of the format, which is for records, not for numbers",
    }.items():
        assert reasons[name] == reason
    assert reasons["notes.txt"].startswith("damaged, or of another kind")


def test_a_damaged_member_is_listed_and_the_others_are_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", {"V.npy": npy(W), "W.npy": npy(2 * W)})
    content = path.read_bytes()
    inside = content.index(W.tobytes()) + 5
    path.write_bytes(content[:inside] + bytes([content[inside] ^ 1]) + content[inside + 1 :])
    found = named_matrices(path)
    assert [m.name for m in found] == ["W"]
    ((name, reason),) = found.unrecognised
    assert name == "V"
    assert "CRC" in reason


def test_two_members_of_one_name_are_not_mixed_up(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("W.npy", npy(W))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("W.npy", npy(2 * W))
    found = named_matrices(tmp_path / "a.npz")
    np.testing.assert_array_equal(found[0].matrix, W)
    assert found.unrecognised == [("W", "a second array of the same name; only the first is read")]


def test_archives_that_would_unpack_without_end_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_files, "_UNPACKED", 1000)
    zeros = npy(np.zeros((1000, 1000)))
    path = archive(tmp_path / "a.npz", {"W.npy": npy(W), "bomb.npy": zeros}, zipfile.ZIP_DEFLATED)
    assert len(zeros) > 200 * path.stat().st_size
    found = named_matrices(path)
    assert [m.name for m in found] == ["W"]
    assert found.unrecognised == [("bomb", "it would unpack to far more bytes than the file has; not read")]


def test_what_does_not_fit_into_memory_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "W.npy", W)
    stored = read_source(tmp_path / "W.npy").entries["W"]

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "fromfile", full)
    with pytest.raises(NotUnderstoodError, match="it does not fit into memory"):
        stored.read()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header("(1000000, 1000000, 1000000)"), "needs more bytes than there are"),
        (header("(-1, 3)"), r"a shape of \(-1, 3\)"),
        (header("(2, 'x')"), "shape is not valid"),
        (header("(2,)", "[('a', '<f4', (10**9,))]"), "no readable"),
        (header("(1,)", "__import__('os').getcwd()"), "no readable"),
        (header("(" * 300), "no readable"),
        (npy(np.array([{}]), allow_pickle=True), "it holds Python objects"),
        (b"", "no readable"),
        (b"\x93NUMPY", "no readable"),
        (b"PK\x03\x04", "no readable"),
        (b"hello", "no readable"),
    ],
)
@pytest.mark.parametrize("name", ["W.npy", "W.npz"])
def test_what_is_no_array_is_refused(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        named_matrices(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"source {tmp_path / name} is no readable")


@pytest.mark.parametrize("name", ["W.npy", "W.npz"])
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    np.save(path, W) if name == "W.npy" else np.savez(path, W=W)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="no readable"):
            read_numpy(path)


@pytest.mark.parametrize("name", ["W.npy", "W.npz"])
def test_wrong_bytes_are_refused_or_read(name: str, tmp_path: Path) -> None:
    path, random = tmp_path / name, np.random.default_rng(0)
    np.save(path, W) if name == "W.npy" else np.savez_compressed(path, W=W, V=W)
    whole = path.read_bytes()
    outcomes = []
    for _ in range(400):
        content = bytearray(whole)
        for place in random.integers(len(whole), size=3):
            content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            outcomes.append(repr(named_matrices(path)))
        except (ValueError, UnsupportedModelError) as error:
            outcomes.append(str(error))
    refusals = [text for text in outcomes if "no readable" in text]
    assert 20 < len(refusals) < 400
    assert not any("\n" in text for text in refusals)


def test_unsigned_and_complex_numbers_keep_their_type(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", u=np.eye(2, dtype=np.uint16), c=np.eye(2, dtype=np.complex64))
    entries = read_source(tmp_path / "a.npz").entries
    assert [stored.read().dtype for stored in entries.values()] == [torch.uint16, torch.complex64]
    assert len(named_matrices(tmp_path / "a.npz").unrecognised) == 2
