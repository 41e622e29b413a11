"""Synthetic tasks of memory: add two marked numbers, and recall symbols after a long blank."""

from __future__ import annotations

import os

import numpy as np
import torch

from rnn.data.task import Task
from spectra.checks import positive, whole_number

_SYMBOLS, _RECALLED = 8, 10
_BLANK, _GO = 8, 9  # the features beside those of the eight symbols
_MOST = 10**9  # numbers in x_train or x_test


def adding(
    seed: int,
    data_root: str | os.PathLike[str] | None,
    *,
    steps: int = 50,
    train_size: int = 2000,
    test_size: int = 500,
    tolerance: float = 0.04,
) -> Task:
    """Give the adding task: a number from [0, 1] and a mark in each step; answer the sum of the marked two.

    Parameters
    ----------
    seed : int
        Determines the examples.
    data_root : path-like or None
        Not needed.
    steps : int
        Length T of the sequences, at least 2. One mark is in the first half, one in the second.
    train_size, test_size : int
        Number of examples.
    tolerance : float
        An answer further off is wrong.

    Returns
    -------
    Task
        A regression with one output. To answer 1 always has the mean squared error 1/6.
    """
    whole_number(steps, "steps", least=2)
    positive(tolerance, "tolerance")
    x, y = {}, {}
    for part, size, random in _parts(seed, train_size, test_size, 2 * steps):
        numbers = random.random((size, steps), dtype=np.float32)
        first = random.integers(0, steps // 2, size)
        second = random.integers(steps // 2, steps, size)
        rows = np.arange(size)
        marks = np.zeros_like(numbers)
        marks[rows, first] = marks[rows, second] = 1
        x[part] = torch.from_numpy(np.stack((numbers, marks), axis=2))
        y[part] = torch.from_numpy((numbers[rows, first] + numbers[rows, second])[:, None])
    return Task(
        name="adding",
        x_train=x["train"],
        y_train=y["train"],
        x_test=x["test"],
        y_test=y["test"],
        classes=1,
        bounds=(0.0, 1.0),
        kind="regression",
        tolerance=float(tolerance),
        note="drawn by seed",
    )


def copy(
    seed: int,
    data_root: str | os.PathLike[str] | None,
    *,
    steps: int = 20,
    train_size: int = 2000,
    test_size: int = 500,
) -> Task:
    """Give the copy task: ten symbols out of eight, a long blank, a signal; then recall them in order.

    Parameters
    ----------
    seed : int
        Determines the examples.
    data_root : path-like or None
        Not needed.
    steps : int
        Frames from the last symbol to the first that is recalled, the signal among them; at least 1.
    train_size, test_size : int
        Number of examples.

    Returns
    -------
    Task
        A labelling with steps + 20 frames, each one-hot among eight symbols, blank and signal, into nine
        classes, eight symbols and blank; blank is right up to the signal. To answer blank always is right in
        (steps + 10)/(steps + 20) of the frames, and has the balanced accuracy 1/9.
    """
    whole_number(steps, "steps")
    length = steps + 2 * _RECALLED
    x, y = {}, {}
    for part, size, random in _parts(seed, train_size, test_size, (_SYMBOLS + 2) * length):
        symbols = random.integers(0, _SYMBOLS, (size, _RECALLED))
        shown = np.full((size, length), _BLANK)
        shown[:, :_RECALLED] = symbols
        shown[:, -_RECALLED - 1] = _GO
        labels = np.full((size, length), _BLANK)
        labels[:, -_RECALLED:] = symbols
        x[part] = torch.from_numpy(np.eye(_SYMBOLS + 2, dtype=np.float32)[shown])
        y[part] = torch.from_numpy(labels)
    return Task(
        name="copy",
        x_train=x["train"],
        y_train=y["train"],
        x_test=x["test"],
        y_test=y["test"],
        classes=_SYMBOLS + 1,
        bounds=(0.0, 1.0),
        kind="labelling",
        note="drawn by seed",
    )


def _parts(
    seed: int, train_size: int, test_size: int, numbers: int
) -> list[tuple[str, int, np.random.Generator]]:
    sizes = {"train": train_size, "test": test_size}
    streams = np.random.SeedSequence(seed).spawn(2)
    for part, size in sizes.items():
        whole_number(size, f"{part}_size")
        if size * numbers > _MOST:
            raise ValueError(
                f"{part}_size is {size}, which makes {size * numbers} numbers of input; expected at most "
                f"{_MOST}: use fewer examples or steps"
            )
    return [
        (part, size, np.random.default_rng(stream))
        for (part, size), stream in zip(sizes.items(), streams, strict=True)
    ]
