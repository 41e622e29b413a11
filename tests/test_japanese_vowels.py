"""Japanese Vowels: blocks, speakers, padding and scaling; damaged files are refused by line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA, needs_data

from rnn.tasks import load_task

ONES = " ".join(["1.0"] * 12)


def put(folder: Path, ending: str = ONES) -> dict[str, list[np.ndarray]]:
    """Write two utterances of each speaker for training, three for the test, with files of the counts."""
    random, written = np.random.default_rng(0), {}
    folder.mkdir(exist_ok=True)
    for part, each in (("train", 2), ("test", 3)):
        lengths = random.integers(7, 12, 9 * each)
        written[part] = [random.normal(2, 3, (length, 12)).round(6) for length in lengths]
        blocks = ["\n".join(" ".join(map(str, row)) for row in block) for block in written[part]]
        (folder / f"ae.{part}").write_text("".join(f"{block}\n{ending}\n" for block in blocks))
        (folder / f"size_ae.{part}").write_text(" ".join([str(each)] * 9) + "\n")
    return written


@pytest.mark.parametrize("ending", [ONES, "", f"{ONES} \r"])
def test_utterances_come_back_scaled_and_padded(ending: str, tmp_path: Path) -> None:
    written = put(tmp_path / "japanese_vowels", ending)
    task = load_task("japanese-vowels", data_root=tmp_path)
    assert task.y_train.tolist() == [speaker for speaker in range(9) for _ in range(2)]
    assert task.y_test.tolist() == [speaker for speaker in range(9) for _ in range(3)]
    frames = np.concatenate(written["train"])
    for x, lengths, blocks in (
        (task.x_train, task.lengths_train, written["train"]),
        (task.x_test, task.lengths_test, written["test"]),
    ):
        assert lengths is not None
        assert lengths.tolist() == [len(block) for block in blocks]
        for row, block in zip(x.numpy(), blocks, strict=True):
            expected = (block - frames.mean(0)) / frames.std(0)
            np.testing.assert_allclose(row[: len(block)], expected, atol=1e-6)
            assert not row[len(block) :].any()
    assert task.bounds is None
    assert task.steps == max(len(block) for part in written.values() for block in part)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[:-1], r"ae\.train ends in line \d+ inside an utterance; it is cut off"),
        (lambda lines: lines[: lines.index(ONES) + 1], r"holds 1 utterances; expected 18 \(2 2 2"),
        (lambda lines: [lines[0], lines[1] + " 3.0", *lines[2:]], r"line 2: 13 numbers; expected 12"),
        (lambda lines: [lines[0][:-20], *lines[1:]], r"line 1: \d+ numbers; expected 12"),
        (lambda lines: [lines[0], "nan " * 12, *lines[2:]], r"line 2: 'nan' is no finite number"),
        (lambda lines: [lines[0], *lines], None),
        (lambda lines: lines[:1] * 1001, r"line 1001: more than 1000 frames without an end"),
        (lambda lines: [f"7 {line[line.index(' '):]}" if line != ONES else line for line in lines],
         r"coefficient 1 of ae\.train is the same in all frames"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused(change: object, words: str | None, tmp_path: Path) -> None:
    put(tmp_path)
    path = tmp_path / "ae.train"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")  # type: ignore[operator]
    if words is None:  # one frame more is no damage
        load_task("japanese-vowels", data_root=tmp_path)
        return
    with pytest.raises(ValueError, match=words):
        load_task("japanese-vowels", data_root=tmp_path)


def test_without_the_counts_the_official_ones_are_expected(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "size_ae.train").unlink()
    with pytest.raises(ValueError, match=r"holds 18 utterances; expected 270 \(30 30 .* by speaker\)"):
        load_task("japanese-vowels", data_root=tmp_path)


@pytest.mark.parametrize("sizes", ["1 2 3", "2 2 2 2 2 2 2 2 2.5", "3 1 0 2 2 2 2 2 4"])
def test_wrong_counts_are_refused(sizes: str, tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "size_ae.train").write_text(sizes)
    with pytest.raises(ValueError, match=r"size_ae\.train holds \d numbers, .*; expected 9 whole numbers"):
        load_task("japanese-vowels", data_root=tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs the file ae\.train, not found in .*; get it from https"):
        load_task("japanese-vowels", data_root=tmp_path)
    put(tmp_path)
    (tmp_path / "ae.test").unlink()
    with pytest.raises(ValueError, match=r"needs the file ae\.test"):
        load_task("japanese-vowels", data_root=tmp_path)


@needs_data
def test_the_real_utterances() -> None:
    task = load_task("japanese-vowels", data_root=DATA)
    assert (len(task.y_train), len(task.y_test), task.steps, task.features) == (270, 370, 29, 12)
    assert task.y_train.bincount().tolist() == [30] * 9
    assert task.y_test.bincount().tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert task.lengths_train is not None
    assert task.lengths_test is not None
    both = torch.cat((task.lengths_train, task.lengths_test))
    assert (int(both.min()), int(both.max())) == (7, 29)  # as the archive says
    inside = torch.arange(29) < task.lengths_train[:, None]
    torch.testing.assert_close(task.x_train[inside].mean(0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(task.x_train[inside].std(0, correction=0), torch.ones(12), atol=1e-5, rtol=0)
