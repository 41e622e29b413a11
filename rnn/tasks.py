"""Seeded data to train on: real data that comes with installed packages first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from spectra.checks import generator, one_of


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A classification task on sequences, split into training and test examples.

    Attributes
    ----------
    name : str
        The name under which `load_task` knows it.
    x_train, x_test : Tensor, shape (N, T, F)
        Sequences of T vectors of F features, float32.
    y_train, y_test : Tensor, shape (N,)
        Labels 0 to classes - 1, int64.
    classes : int
        Number of classes.
    bounds : tuple of float, or None
        Range of valid inputs (for images (0.0, 1.0)); None where there is none.
    seed : int
        ``load_task(name, rng=seed)`` gives this task again, with the same split.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    bounds: tuple[float, float] | None
    seed: int = 0

    @property
    def steps(self) -> int:
        """Length T of a sequence."""
        return int(self.x_train.shape[1])

    @property
    def features(self) -> int:
        """Number F of features of one step."""
        return int(self.x_train.shape[2])

    def __repr__(self) -> str:
        """One line."""
        return (
            f"Task {self.name!r}: {len(self.y_train)} training and {len(self.y_test)} test sequences, "
            f"{self.steps} steps of {self.features} features, {self.classes} classes"
        )


def load_task(name: str, *, rng: int | np.random.Generator = 0) -> Task:
    """Load a task by name; same name and seed, same data and split.

    Parameters
    ----------
    name : str
        One of `TASKS`: "digits" (1797 handwritten digits of 8 x 8 pixels, read as 8 rows of 8 features in
        [0, 1]; 360 test examples, stratified; comes with scikit-learn, no download).
    rng : int or numpy.random.Generator
        Determines the split.

    Returns
    -------
    Task
        The data, on the CPU.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If `rng` is neither a generator nor a seed.

    Examples
    --------
    >>> load_task("digits")
    Task 'digits': 1437 training and 360 test sequences, 8 steps of 8 features, 10 classes
    """
    one_of(name, "name", TASKS)
    random = generator(rng)
    seed = int(random.integers(2**31)) if isinstance(rng, np.random.Generator) else int(rng)
    return _LOADERS[name](seed)


def _digits(seed: int) -> Task:
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = (data.images / 16.0).astype(np.float32), data.target.astype(np.int64)
    train, test = _stratified_split(labels, 360, seed)
    return Task(
        name="digits",
        x_train=torch.from_numpy(images[train]),
        y_train=torch.from_numpy(labels[train]),
        x_test=torch.from_numpy(images[test]),
        y_test=torch.from_numpy(labels[test]),
        classes=10,
        bounds=(0.0, 1.0),
        seed=seed,
    )


def _stratified_split(labels: np.ndarray, test_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=test_size,
        stratify=labels,
        random_state=np.random.RandomState(np.random.MT19937(seed)),
    )
    return np.asarray(train), np.asarray(test)


_LOADERS: dict[str, Callable[[int], Task]] = {"digits": _digits}

TASKS = tuple(_LOADERS)
