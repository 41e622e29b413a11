"""ECG5000: heart beats of 140 samples from the UCR archive, as text, .tsv, .ts or .arff."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.data.data_files import Source, file_if_there, found_file, numbers_of, text_lines
from rnn.data.splits import stratified_choice
from rnn.data.task import Task

_SOURCE = Source(
    "ecg5000",
    ("ecg5000", "ECG5000"),
    "https://www.timeseriesclassification.com/description.php?Dataset=ECG5000",
)
_SAMPLES, _CLASSES = 140, 5
_TEST_SHARE = 0.3  # of the training file, where the test file is missing


def ecg5000(seed: int, data_root: str | os.PathLike[str] | None) -> Task:
    """Give ECG5000: 140 steps of one feature, five classes of very different size.

    Parameters
    ----------
    seed : int
        Determines the split, where there is no official one.
    data_root : path-like or None
        Folder of the files, or of the folder ecg5000.

    Returns
    -------
    Task
        The official 500 and 4500 beats; where the test file is missing, the 500 split into 350 and 150. The
        numbers are those of the file: each beat has mean 0 and standard deviation 1.

    Raises
    ------
    ValueError
        If the training file is missing, or a file is damaged.
    """
    beats, labels = _read(found_file(data_root, _names("TRAIN"), _SOURCE))
    test_file = file_if_there(data_root, _names("TEST"), _SOURCE)
    if test_file is not None:
        test, note = _read(test_file), "official split"
        train = beats, labels
    else:
        held, kept = stratified_choice(labels, round(_TEST_SHARE * len(labels)), seed=seed)
        train, test = (beats[kept], labels[kept]), (beats[held], labels[held])
        note = (
            f"no ECG5000_TEST found: the {len(labels)} training beats were split by seed so that each class "
            "keeps its share"
        )
    return Task(
        name="ecg5000",
        x_train=torch.from_numpy(train[0]),
        y_train=torch.from_numpy(train[1]),
        x_test=torch.from_numpy(test[0]),
        y_test=torch.from_numpy(test[1]),
        classes=_CLASSES,
        bounds=None,
        note=note,
    )


def _names(part: str) -> tuple[str, ...]:
    return tuple(f"ECG5000_{part}{ending}" for ending in (".txt", ".tsv", ".ts", ".arff", ""))


def _read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    kind = path.suffix.lower()
    beats, labels = [], []
    started = kind not in {".ts", ".arff"}  # those have a header that ends with @data
    for number, line in text_lines(path):
        if not line or (kind in {".ts", ".arff"} and line[0] in "#%"):
            continue
        if not started:
            started = line.lower() == "@data"
            continue
        values = numbers_of(_with_label_last(line, kind, path, number), path, number)
        if len(values) != _SAMPLES + 1:
            raise ValueError(
                f"{path}, line {number}: {len(values)} numbers; expected a label and {_SAMPLES} samples: the "
                "file is cut off, or another one: get it again"
            )
        if values[-1] not in range(1, _CLASSES + 1):
            raise ValueError(
                f"{path}, line {number}: the label is {values[-1]:g}; expected 1 to {_CLASSES}: get it again"
            )
        beats.append(values[:-1])
        labels.append(int(values[-1]) - 1)
    if not beats:
        raise ValueError(f"{path} holds no beats; get it again")
    return np.array(beats, dtype=np.float32)[:, :, None], np.array(labels, dtype=np.int64)


def _with_label_last(line: str, kind: str, path: Path, number: int) -> str:
    if kind == ".arff":
        return line
    if kind == ".ts":
        beat, colon, last = line.rpartition(":")
        if not colon:
            raise ValueError(
                f"{path}, line {number}: no label after a colon; the file is cut off: get it again"
            )
        return f"{beat} {last}"
    label, *samples = line.replace(",", " ").split()
    return " ".join((*samples, label))
