"""MNIST: its files, the two splits, fewer examples, and files that do not belong together."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA, needs_data
from test_idx_files import content

from rnn.tasks import load_task

RANDOM = np.random.default_rng(0)


def put(folder: Path, part: str, count: int, images: np.ndarray | None = None) -> None:
    """Write random images with labels 0, 1, ..., 9, 0, ..."""
    if images is None:
        images = RANDOM.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(content(images))
    labels = (np.arange(count) % 10).astype(np.uint8)
    (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content(labels)))


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
def test_with_the_training_images_the_split_is_official(folder: str, tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    put(tmp_path / folder, "train", 30, images)
    put(tmp_path / folder, "t10k", 20)
    task = load_task("mnist", data_root=tmp_path)
    assert task.note == "official split"
    assert (len(task.y_train), len(task.y_test)) == (30, 20)
    assert (task.steps, task.features, task.classes, task.bounds) == (28, 28, 10, (0.0, 1.0))
    np.testing.assert_array_equal((task.x_train * 255).round().byte().numpy(), images)
    assert task.y_train.tolist() == [*range(10)] * 3


def test_without_them_the_test_images_are_split(tmp_path: Path) -> None:
    put(tmp_path, "t10k", 100)
    task = load_task("mnist", data_root=tmp_path, rng=3)
    assert "no training images (train-images-idx3-ubyte) found: the 100 test images were split" in task.note
    assert task.y_train.bincount().tolist() == [8] * 10
    assert task.y_test.bincount().tolist() == [2] * 10
    again, other = (load_task("mnist", data_root=tmp_path, rng=seed) for seed in (3, 4))
    assert torch.equal(task.x_test, again.x_test)
    assert not torch.equal(task.x_test, other.x_test)
    rows = {tuple(x.flatten().tolist()) for x in torch.cat((task.x_train, task.x_test))}
    assert len(rows) == 100  # every image once


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "mnist", "t10k", 50)
    monkeypatch.setenv("SPECTRA_DATA", str(tmp_path))
    assert len(load_task("mnist").y_train) == 40


def test_fewer_examples_keep_the_shares(tmp_path: Path) -> None:
    put(tmp_path, "t10k", 200)
    whole = load_task("mnist", data_root=tmp_path)
    task = load_task("mnist", data_root=tmp_path, train_size=55, test_size=20)
    assert task.options == {"train_size": 55, "test_size": 20}
    assert set(task.y_train.bincount().tolist()) == {5, 6}
    assert task.y_test.bincount().tolist() == [2] * 10
    every = {tuple(x.flatten().tolist()): int(y) for x, y in zip(whole.x_train, whole.y_train, strict=True)}
    assert all(
        every[tuple(x.flatten().tolist())] == y for x, y in zip(task.x_train, task.y_train, strict=True)
    )
    assert len(load_task("mnist", data_root=tmp_path, train_size=160).y_train) == 160
    with pytest.raises(ValueError, match="train_size is 161; expected at most 160"):
        load_task("mnist", data_root=tmp_path, train_size=161)
    with pytest.raises(ValueError, match="test_size is 9; expected at least 10"):
        load_task("mnist", data_root=tmp_path, test_size=9)


def test_missing_files_are_named_with_the_place_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPECTRA_DATA", raising=False)
    with pytest.raises(ValueError, match=r"needs the file t10k-images-idx3-ubyte: pass data_root, or set"):
        load_task("mnist")
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte, not found in .*MNIST/raw.*yann\.lecun"):
        load_task("mnist", data_root=tmp_path)
    put(tmp_path, "t10k", 50)
    put(tmp_path, "train", 50)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="needs the file train-labels-idx1-ubyte, not found"):
        load_task("mnist", data_root=tmp_path)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "t10k", 50, np.zeros((40, 28, 28), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"holds 50 labels for the 40 images .*; expected as many"):
        load_task("mnist", data_root=tmp_path)
    put(tmp_path, "t10k", 50, np.zeros((50, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"images of \(8, 8\) pixels; expected 28 x 28"):
        load_task("mnist", data_root=tmp_path)
    put(tmp_path, "t10k", 50)
    labels = np.arange(50, dtype=np.uint8)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(content(labels))
    with pytest.raises(ValueError, match="holds the label 10 at byte 18; expected 0 to 9"):
        load_task("mnist", data_root=tmp_path)


@needs_data
def test_the_real_images() -> None:
    task = load_task("mnist", data_root=DATA)
    counts = task.y_train.bincount() + task.y_test.bincount()
    # The digits 0 to 9 in MNIST's test set.
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert task.x_train.shape[1:] == (28, 28)
    assert 0.1325 < float(torch.cat((task.x_train, task.x_test)).mean()) < 0.1326
