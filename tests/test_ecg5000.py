"""ECG5000 is read alike from all its formats; wrong lines are named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from data_folder import DATA, needs_data

from rnn.tasks import load_task

BEATS = np.random.default_rng(0).normal(size=(20, 140)).round(4)
LABELS = np.arange(20) % 5 + 1

HEADERS = {
    ".ts": "#Heart beats\n@problemName ECG5000\n@classLabel true 1 2 3 4 5\n@data\n",
    ".arff": "% Heart beats\n@relation ECG5000\n@attribute att1 numeric\n@DATA\n",
}


def line(beat: np.ndarray, label: object, ending: str) -> str:
    values = ",".join(map(str, beat))
    if ending == ".ts":
        return f"{values}:{label}"
    if ending == ".arff":
        return f"{values},{label}"
    return f"{label}.0000e+00\t" + "\t".join(map(str, beat)) if ending == ".txt" else f"{label},{values}"


def put(folder: Path, ending: str = ".txt", part: str = "TRAIN") -> Path:
    lines = [line(beat, label, ending) for beat, label in zip(BEATS, LABELS, strict=True)]
    path = folder / f"ECG5000_{part}{ending}"
    path.write_text(HEADERS.get(ending, "") + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("ending", [".txt", ".tsv", ".ts", ".arff", ""])
def test_the_formats_hold_the_same(ending: str, tmp_path: Path) -> None:
    put(tmp_path, ending)
    put(tmp_path, ending, "TEST")
    task = load_task("ecg5000", data_root=tmp_path)
    assert task.note == "official split"
    for x, y in ((task.x_train, task.y_train), (task.x_test, task.y_test)):
        np.testing.assert_array_equal(x[:, :, 0].numpy(), BEATS.astype(np.float32))
        np.testing.assert_array_equal(y.numpy(), LABELS - 1)
    assert (task.steps, task.features, task.classes, task.bounds) == (140, 1, 5, None)


def test_without_the_test_file_the_training_file_is_split(tmp_path: Path) -> None:
    (tmp_path / "ecg5000").mkdir()
    put(tmp_path / "ecg5000")
    task = load_task("ecg5000", data_root=tmp_path)
    assert "no ECG5000_TEST found: the 20 training beats were split by seed" in task.note
    assert (len(task.y_train), len(task.y_test)) == (14, 6)
    other = load_task("ecg5000", data_root=tmp_path, rng=1)
    assert not torch.equal(task.x_test, other.x_test)


@pytest.mark.parametrize(
    ("number", "text", "words"),
    [
        (3, line(BEATS[0], 6, ".txt"), "line 3: the label is 6; expected 1 to 5"),
        (3, line(BEATS[0], 0, ".txt"), "line 3: the label is 0; expected 1 to 5"),
        (2, line(BEATS[0][:-1], 1, ".txt"), "line 2: 140 numbers; expected a label and 140 samples"),
        (1, line(BEATS[0], 1, ".txt").replace("\t", "\tnan", 1), "line 1: 'nan.*' is no finite number"),
        (1, line(BEATS[0], 1, ".txt").replace("\t", "\t1_", 1), "line 1: '1_.*' is no finite number"),
        (2, "1e999 " * 141, "line 2: '1e999' is no finite number"),
        (2, "-1e39 " * 141, "line 2: '-1e39' is no finite number of 32 bits"),
        (2, "\x00\x01\x02", "line 2: .* is no finite number"),
        (2, "<html>", "line 2: '<html>' is no finite number of 32 bits; .* get it again"),
    ],
)
def test_wrong_lines_are_named(number: int, text: str, words: str, tmp_path: Path) -> None:
    path = put(tmp_path)
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"ECG5000_TRAIN\.txt, {words}"):
        load_task("ecg5000", data_root=tmp_path)


def test_files_without_beats_or_labels_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path, ".ts")
    path.write_text(path.read_text()[:-3])
    with pytest.raises(ValueError, match="line 24: no label after a colon"):
        load_task("ecg5000", data_root=tmp_path)
    path.write_text("@problemName ECG5000\n")
    with pytest.raises(ValueError, match="holds no beats; get it again"):
        load_task("ecg5000", data_root=tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ECG5000_TRAIN.txt").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ValueError, match=r"line 1: .* is no finite number"):
        load_task("ecg5000", data_root=tmp_path)


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "ECG5000_TRAIN.txt", "wb") as file:
        file.truncate(2**28 + 1)  # sparse: takes no room
    with pytest.raises(ValueError, match=r"has 268435457 bytes; expected at most 268435456"):
        load_task("ecg5000", data_root=tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs the file ECG5000_TRAIN\.txt, .*timeseriesclassification"):
        load_task("ecg5000", data_root=tmp_path)


@needs_data
def test_the_real_beats() -> None:
    task = load_task("ecg5000", data_root=DATA)
    assert (task.y_train.bincount() + task.y_test.bincount()).tolist() == [292, 177, 10, 19, 2]
    assert int(task.y_test.bincount().min()) >= 1
    torch.testing.assert_close(task.x_train.mean(1), torch.zeros(350, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(task.x_train.std(1), torch.ones(350, 1), atol=1e-4, rtol=0)
