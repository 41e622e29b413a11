"""Files: matrices are read or refused by name; what is written is whole or not there."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from rnn.files import check_distinct, check_spared, check_target, check_unused, read_matrix, write_whole


def written(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_saved_is_read_in_its_own_type(tmp_path: Path, dtype: type, order: str) -> None:
    A = np.arange(9).reshape(3, 3).astype(dtype, order=order)
    found = read_matrix(written(tmp_path / "a.npy", A))
    np.testing.assert_array_equal(found, A)
    assert found.dtype == A.dtype  # its precision is part of what a grid tells


@pytest.mark.parametrize(
    ("array", "kind", "words"),
    [
        (np.ones((2, 3)), ValueError, "expected a square matrix"),
        (np.ones(3), ValueError, "expected two dimensions"),
        (np.ones((0, 0)), ValueError, "empty"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), ValueError, "NaN or infinite entry at"),
        (np.array([["a", "b"], ["c", "d"]]), TypeError, "dtype <U1"),
        (np.ones((2, 2), dtype=bool), TypeError, "dtype bool"),
        (np.array([[{}, None], [1, 2]], dtype=object), TypeError, "Python objects"),
    ],
)
def test_what_is_no_finite_square_matrix_is_refused(
    tmp_path: Path, array: np.ndarray, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as refusal:
        read_matrix(written(tmp_path / "a.npy", array))
    assert "a.npy" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUM", b"1 2\n3 4\n", b"PK\x03\x04zip"])
def test_what_is_no_npy_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy is no readable \.npy file .* numpy\.save"):
        read_matrix(path)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, np.eye(2))
    path = tmp_path / "a.npy"
    for length in range(len(whole.getvalue())):
        path.write_bytes(whole.getvalue()[:length])
        with pytest.raises(ValueError, match="no readable"):
            read_matrix(path)


def test_a_header_that_claims_the_impossible_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, np.eye(2))
    path = tmp_path / "a.npy"
    for claim in (b"(9999999, 9999999)", b"(2, -2)", b"'x'", b"((2"):
        honest = b"(2, 2), }" + b" " * 30
        path.write_bytes(whole.getvalue().replace(honest, (claim + b", }").ljust(len(honest))))
        with pytest.raises(ValueError, match="no readable"):
            read_matrix(path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_matrix(tmp_path / "none.npy")


def test_targets_that_cannot_be_written_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_target(tmp_path / "new.png", "--figure", (".png", ".pdf"))
    check_target(tmp_path / "NEW.PDF", "--figure", (".png", ".pdf"))
    check_target(tmp_path / "anything", "--out")
    with pytest.raises(
        ValueError, match=r"--figure is .*new\.gif; expected a name that ends in \.png, \.pdf"
    ):
        check_target(tmp_path / "new.gif", "--figure", (".png", ".pdf"))
    with pytest.raises(ValueError, match="--out is -, which would be a file of that name"):
        check_target(Path("-"), "--out")
    with pytest.raises(ValueError, match=r"--out is .*, which is a folder"):
        check_target(tmp_path, "--out")
    with pytest.raises(ValueError, match=r"--out is .*, but there is no folder .*nowhere"):
        check_target(tmp_path / "nowhere" / "new", "--out")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ValueError, match=r"--out is .*, but the folder .* cannot be written"):
        check_target(tmp_path / "new", "--out")


@pytest.mark.parametrize("content", ["Größe\n", b"\x00\x01"])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\): '.*file'") as found:
        write_whole(tmp_path / "file", "new")
    assert found.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_one_file_for_two_results_is_refused(tmp_path: Path) -> None:
    check_distinct(tmp_path / "a", "--out", tmp_path / "b", "--figure")
    check_distinct(None, "--out", None, "--figure")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match=r"--out and --figure are both .*link; name two files"):
        check_distinct(tmp_path / "a", "--out", tmp_path / "link", "--figure")


def test_devices_and_pipes_are_no_targets(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ValueError, match="no regular file"):
            check_target(path, "--out")


def test_a_header_of_booleans_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, np.eye(2))
    path = tmp_path / "a.npy"
    path.write_bytes(whole.getvalue().replace(b"(2, 2), }" + b" " * 10, b"(True, True), }" + b" " * 4))
    with pytest.raises(ValueError, match="no readable"):
        read_matrix(path)


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, "content")
    assert path.read_text() == "content"


def test_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    for name in ("model.safetensors", "config.json", "report.html"):
        (folder / name).touch()
    (tmp_path / "link.json").symlink_to(weights)
    check_spared({"--json": tmp_path / "a.json", "--html": None}, (weights, None))
    check_spared({"--json": folder / "new.json", "--html": folder / "report.html"}, (folder,))
    for target, source in [
        (weights, weights),
        (tmp_path / "link.json", weights),
        (folder / "config.json", folder),
        (tmp_path / "link.json", folder),
    ]:
        with pytest.raises(
            ValueError, match=f"--json is .*{target.name}, which is read and would be replaced"
        ):
            check_spared({"--json": target}, (None, source))


def test_what_exists_is_spared_unless_told(tmp_path: Path) -> None:
    there = tmp_path / "there.npz"
    there.touch()
    endings = {"--out": (".npz",)}
    check_unused({"--out": tmp_path / "new.npz", "--json": None}, endings=endings, force=False)
    check_unused({"--out": there}, endings=endings, force=True)
    for targets, words in (
        ({"--out": there}, "--out is .*there.npz, which exists; name another file, or replace it by --force"),
        ({"--out": tmp_path / "a.png"}, "ends in .npz"),
        ({"--out": tmp_path / "a.npz", "--json": tmp_path / "a.npz"}, "are both"),
    ):
        with pytest.raises(ValueError, match=words):
            check_unused(targets, endings=endings, force=False)
