"""The dispatch from a source to its reader: every suffix, and every path that leads nowhere."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rnn.reading import neighbours
from rnn.reading.neighbours import neighbour, read_json
from rnn.reading.sources import FORMATS, read_source
from rnn.reading.tensors import NotUnderstoodError
from spectra.errors import UnsupportedModelError


def test_paths_may_be_text_or_objects_and_suffixes_of_any_case(tmp_path: Path) -> None:
    np.save(tmp_path / "W.npy", np.eye(2))
    (tmp_path / "W.npy").rename(tmp_path / "W.NPY")
    for path in (tmp_path / "W.NPY", str(tmp_path / "W.NPY")):
        assert list(read_source(path).entries) == ["W"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"hello, this is no model at all\n" * 9, bytes(range(256)) * 4]
)
def test_every_reader_refuses_what_is_not_its_own(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises((ValueError, UnsupportedModelError), match=r"model\.") as caught:
        read_source(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [*FORMATS, ".xyz", ""])
def test_a_missing_file_is_missing_whatever_its_suffix(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no file or folder at .*absent{suffix}; nothing is downl"):
        read_source(tmp_path / f"absent{suffix}")


def test_a_name_of_a_published_model_is_not_looked_up() -> None:
    with pytest.raises(FileNotFoundError, match="there is no file or folder at gpt2; nothing is downloaded"):
        read_source("gpt2")


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(
        UnsupportedModelError, match=r"suffix '\.gguf'; expected one of \.pt, .*\.onnx, a \*\.ind"
    ):
        read_source(tmp_path / "model.gguf")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_cannot_be_opened_is_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"x")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(neighbours, "open", denied, raising=False)
    with pytest.raises(ValueError, match=rf"model{suffix} cannot be opened \(Permission denied\)"):
        read_source(path)


def test_pipes_and_long_names_and_loops_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ValueError, match=r"pipe\.pt is no regular file"):
        read_source(tmp_path / "pipe.pt")
    with pytest.raises(ValueError, match="cannot be opened"):
        read_source(tmp_path / ("x" * 5000 + ".pt"))
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    with pytest.raises((ValueError, FileNotFoundError), match=r"loop\.pt"):
        read_source(tmp_path / "loop.pt")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_pointer_of_git_lfs_is_told_apart(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"model{suffix}").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(
        ValueError, match=r"is a pointer of Git LFS, not the weights themselves; run: git lfs"
    ):
        read_source(tmp_path / f"model{suffix}")


def test_the_first_reason_is_said_where_no_tensor_is_left() -> None:
    with pytest.raises(UnsupportedModelError, match=r"holds no tensors \(a: a list of tensors without names"):
        read_source({"a": [torch.eye(2)]})


def test_a_lone_shard_says_that_it_is_one(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "pytorch_model-00001-of-00003.bin")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "pytorch_model-00001-of-00001.bin")
    assert read_source(tmp_path / "pytorch_model-00001-of-00003.bin").unrecognised == [
        (
            "the other 2 of 3 shards",
            "not read: pass the folder, or the index beside them, to read the whole model",
        )
    ]
    assert read_source(tmp_path / "pytorch_model-00001-of-00001.bin").unrecognised == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret", "leads outside"),
        ("a/../../secret", "leads outside"),
        ("/etc/passwd", "leads outside"),
        ("..\\secret", "leads outside"),
        ("C:\\secret", "leads outside"),
        ("\\\\host\\share", "leads outside"),
        ("link", "is a link that leads outside its folder"),
        ("inner/up", "is a link that leads outside its folder"),
        ("", "is no name of a file"),
        ("a\0b", "is no name of a file"),
        (3, "is no name of a file"),
        (None, "is no name of a file"),
        ("absent", "'absent' is missing"),
        ("inner", "is no regular file"),
        ("round", "round"),
    ],
)
def test_names_in_a_file_stay_in_its_folder(name: object, reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inner" / "up").symlink_to("../../secret")
    (folder / "round").symlink_to("round")
    with pytest.raises(NotUnderstoodError, match=reason):
        neighbour(folder, name)


def test_links_within_a_folder_and_within_the_cache_are_followed(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "1234"
    (snapshot / "onnx").mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    (tmp_path / "models--a--b" / "blobs" / "0").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"x")
    (snapshot / "a").symlink_to("../../blobs/0")
    (snapshot / "onnx" / "b").symlink_to("../../../blobs/0")
    (snapshot / "c").symlink_to("a")
    (snapshot / "d").symlink_to("../../../other")
    for folder, name in ((snapshot, "a"), (snapshot / "onnx", "b"), (snapshot, "c")):
        assert neighbour(folder, name).read_bytes() == b"x"
    with pytest.raises(NotUnderstoodError, match="leads outside"):
        neighbour(snapshot, "d")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no readable JSON"),
        (b"{", "no readable JSON"),
        (b"[" * 100_000, "no readable JSON"),
        (b"\xff\xfe\xfa", "no readable JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no readable JSON"),
        (b"[1]", "holds a list; expected an object"),
    ],
)
def test_damaged_descriptions_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_json(tmp_path / "config.json")


def test_a_description_as_large_as_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "config.json") == {"a": 1}
    monkeypatch.setattr(neighbours, "_LARGEST_JSON", 7)
    with pytest.raises(ValueError, match="more than 7 bytes"):
        read_json(tmp_path / "config.json")
