"""Japanese Vowels: utterances of different lengths by nine speakers, from the files of the UCI archive."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.data.data_files import Source, file_if_there, found_file, numbers_of, text_lines
from rnn.data.task import Task

_SOURCE = Source(
    "japanese-vowels",
    ("japanese_vowels", "japanese-vowels", "JapaneseVowels"),
    "https://archive.ics.uci.edu/dataset/128/japanese+vowels",
)
_COEFFICIENTS, _SPEAKERS, _LONGEST = 12, 9, 1000
_SIZES = {"train": (30,) * 9, "test": (31, 35, 88, 44, 29, 24, 40, 50, 29)}  # utterances by speaker


def japanese_vowels(seed: int, data_root: str | os.PathLike[str] | None) -> Task:
    """Give Japanese Vowels: who of nine speakers said /ae/, from 7 to 29 frames of 12 coefficients.

    Parameters
    ----------
    seed : int
        Not used: the split is the official one.
    data_root : path-like or None
        Folder of ``ae.train`` and ``ae.test``, or of the folder japanese_vowels.

    Returns
    -------
    Task
        270 utterances for training and 370 for the test, padded with zeros, with their lengths. Each
        coefficient is scaled to mean 0 and standard deviation 1 over the frames of the training utterances.

    Raises
    ------
    ValueError
        If a file is missing or damaged.
    """
    parts = {part: _read(data_root, part) for part in _SIZES}
    frames = np.concatenate(parts["train"][0])
    mean, deviation = frames.mean(0), frames.std(0)
    if not deviation.all():
        raise ValueError(
            f"coefficient {int(np.argmin(deviation)) + 1} of ae.train is the same in all frames; get it again"
        )
    steps = max(len(utterance) for utterances, _ in parts.values() for utterance in utterances)
    x, lengths = {}, {}
    for part, (utterances, _) in parts.items():
        padded = np.zeros((len(utterances), steps, _COEFFICIENTS), dtype=np.float32)
        for row, utterance in zip(padded, utterances, strict=True):
            row[: len(utterance)] = (utterance - mean) / deviation
        x[part] = torch.from_numpy(padded)
        lengths[part] = torch.tensor([len(utterance) for utterance in utterances])
    return Task(
        name="japanese-vowels",
        x_train=x["train"],
        y_train=torch.from_numpy(parts["train"][1]),
        x_test=x["test"],
        y_test=torch.from_numpy(parts["test"][1]),
        classes=_SPEAKERS,
        bounds=None,
        lengths_train=lengths["train"],
        lengths_test=lengths["test"],
        note="official split",
    )


def _read(
    data_root: str | os.PathLike[str] | None, part: str
) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    path = found_file(data_root, (f"ae.{part}",), _SOURCE)
    utterances = _utterances(path)
    sizes_file = file_if_there(data_root, (f"size_ae.{part}",), _SOURCE)
    sizes = _SIZES[part] if sizes_file is None else _sizes(sizes_file)
    if len(utterances) != sum(sizes):
        raise ValueError(
            f"{path} holds {len(utterances)} utterances; expected {sum(sizes)} "
            f"({' '.join(map(str, sizes))} by speaker{f', as {sizes_file} says' if sizes_file else ''}): the "
            "file is cut off, or another one: get it again"
        )
    return utterances, np.repeat(np.arange(_SPEAKERS), sizes)


def _utterances(path: Path) -> list[NDArray[np.float64]]:
    """Read blocks of lines, each ended by a row of ones or by an empty line."""
    utterances: list[NDArray[np.float64]] = []
    frames: list[list[float]] = []
    number = 0
    for number, line in text_lines(path):
        values = numbers_of(line, path, number)
        if not values or set(values) == {1.0}:
            if frames:
                utterances.append(np.array(frames))
            frames = []
            continue
        if len(values) != _COEFFICIENTS:
            raise ValueError(
                f"{path}, line {number}: {len(values)} numbers; expected {_COEFFICIENTS}: the file is cut "
                "off, or another one: get it again"
            )
        frames.append(values)
        if len(frames) > _LONGEST:
            raise ValueError(
                f"{path}, line {number}: more than {_LONGEST} frames without an end; expected utterances "
                "that end with a row of ones: get it again"
            )
    if frames:
        raise ValueError(f"{path} ends in line {number} inside an utterance; it is cut off: get it again")
    return utterances


def _sizes(path: Path) -> tuple[int, ...]:
    sizes = [size for number, line in text_lines(path) for size in numbers_of(line, path, number)]
    if len(sizes) != _SPEAKERS or not all(size >= 1 and size == int(size) for size in sizes):
        raise ValueError(
            f"{path} holds {len(sizes)} numbers, {' '.join(f'{size:g}' for size in sizes[:12])}; expected "
            f"{_SPEAKERS} whole numbers, the utterances of each speaker: get it again"
        )
    return tuple(int(size) for size in sizes)
