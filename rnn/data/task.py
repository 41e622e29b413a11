"""What a task is: sequences, answers and their lengths, split into training and test examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spectra.checks import one_of, positive, real_number, whole_number

KINDS = ("classification", "labelling", "regression")

IGNORED = -100  # the label of a frame for which no answer is asked; torch's own `ignore_index`


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A task on sequences, split into training and test examples.

    Attributes
    ----------
    name : str
        The name under which `load_task` knows it.
    x_train, x_test : Tensor, shape (N, T, F)
        Sequences of T vectors of F features, float32; shorter ones end in zeros.
    y_train, y_test : Tensor
        Classification: labels 0 to classes - 1, int64, shape (N,). Labelling: such a label for each frame,
        shape (N, T), -100 where none is asked. Regression: float32, shape (N, classes).
    classes : int
        Number of classes; for regression the number of outputs.
    bounds : tuple of float, or None
        Range of valid inputs (for images (0.0, 1.0)); None where there is none.
    seed : int
        ``load_task(name, rng=seed, **options)`` gives this task again, with the same split.
    kind : {"classification", "labelling", "regression"}
        Whether a sequence, each of its frames, or a number is asked for.
    lengths_train, lengths_test : Tensor or None, shape (N,)
        Steps of each sequence, 1 to T, int64; None where all have T.
    tolerance : float or None
        Regression: an answer further off in any output is wrong. None for the other kinds.
    options : mapping of str to object
        The keywords that `load_task` was given for this task.
    note : str
        How the examples were split, in words.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    bounds: tuple[float, float] | None
    seed: int = 0
    kind: str = "classification"
    lengths_train: Tensor | None = None
    lengths_test: Tensor | None = None
    tolerance: float | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""

    @property
    def steps(self) -> int:
        """Length T of the longest sequence."""
        return int(self.x_train.shape[1])

    @property
    def features(self) -> int:
        """Number F of features of one step."""
        return int(self.x_train.shape[2])

    def __repr__(self) -> str:
        """One line."""
        varied = self.lengths_train is not None or self.lengths_test is not None
        asked = {
            "classification": f"{self.classes} classes",
            "labelling": f"{self.classes} classes a frame",
            "regression": f"{self.classes} output{'s' * (self.classes > 1)}",
        }
        return (
            f"Task {self.name!r}: {len(self.y_train)} training and {len(self.y_test)} test sequences, "
            f"{'up to ' if varied else ''}{self.steps} steps of {self.features} "
            f"feature{'s' * (self.features > 1)}, {asked[self.kind]}"
        )


def check_structure(task: Task) -> None:
    """Refuse a task whose parts do not fit together.

    Parameters
    ----------
    task : Task
        Anything put together as one.

    Raises
    ------
    TypeError
        If a part is of the wrong kind.
    ValueError
        If shapes, labels or lengths do not fit together.
    """
    one_of(task.kind, "task.kind", KINDS)
    whole_number(task.classes, "task.classes")
    if (task.kind == "regression") != (task.tolerance is not None):
        raise ValueError(
            f"task.tolerance is {task.tolerance!r} for {task.kind}; expected a number for regression, and "
            "None for the other kinds"
        )
    if task.tolerance is not None:
        positive(task.tolerance, "task.tolerance")
    for part in ("train", "test"):
        x, y = getattr(task, f"x_{part}"), getattr(task, f"y_{part}")
        for value, name in ((x, f"x_{part}"), (y, f"y_{part}")):
            if not isinstance(value, Tensor):
                raise TypeError(f"task.{name} is a {type(value).__name__}; expected a tensor")
        lengths = getattr(task, f"lengths_{part}")
        _check_answers(task, x, y, part)
        _check_lengths(lengths, x, part)
        if task.kind != "regression":
            _check_labels(y, lengths, part, frames=task.kind == "labelling")


def check_values(task: Task) -> None:
    """Refuse a task that is not made of finite sequences of one width, with labels of its classes.

    Parameters
    ----------
    task : Task
        One that `check_structure` let pass.

    Raises
    ------
    TypeError
        If the sequences are no float32.
    ValueError
        If a sequence is not (T, F), holds NaN or infinite entries, or leaves the bounds; if a label is out of
        range.
    """
    if task.x_train.ndim != 3 or task.x_train.shape[1:] != task.x_test.shape[1:] or 0 in task.x_train.shape:
        raise ValueError(
            f"task {task.name!r} has sequences of shapes {tuple(task.x_train.shape)} and "
            f"{tuple(task.x_test.shape)}; expected (N, T, F) with the same T and F: pad with zeros and give "
            "lengths_train and lengths_test"
        )
    for part in ("train", "test"):
        for name in (f"x_{part}", f"y_{part}"):
            values = getattr(task, name)
            if name.startswith("x") and values.dtype != torch.float32:
                raise TypeError(f"task.{name} is {values.dtype}; expected torch.float32: task.{name}.float()")
            if not values.isfinite().all():
                where = tuple(int(i) for i in (~values.isfinite()).nonzero()[0])
                raise ValueError(
                    f"task.{name} has a NaN or infinite entry at {where}; remove or replace it first"
                )
        labels = getattr(task, f"y_{part}")
        if task.kind != "regression" and int(labels.max()) >= task.classes:
            raise ValueError(
                f"task.y_{part} holds the label {int(labels.max())}; expected 0 to classes - 1, which is "
                f"{task.classes - 1}: number the classes from 0"
            )
    _check_bounds(task)


def asked_frames(y: Tensor, lengths: Tensor | None) -> Tensor:
    """Tell which frames of a labelling are asked: those with a label, within the length of their sequence.

    Parameters
    ----------
    y : Tensor, shape (N, T)
        Labels of frames.
    lengths : Tensor or None, shape (N,)
        Steps of each sequence.

    Returns
    -------
    Tensor, shape (N, T)
        True where an answer counts.

    Examples
    --------
    >>> asked_frames(torch.tensor([[1, IGNORED, 0]]), torch.tensor([2])).tolist()
    [[True, False, False]]
    """
    asked = y != IGNORED
    if lengths is not None:
        asked = asked & (torch.arange(y.shape[1], device=y.device) < lengths.to(y.device)[:, None])
    return asked


def _check_answers(task: Task, x: Tensor, y: Tensor, part: str) -> None:
    kind = {"classification": "label", "labelling": "label a frame", "regression": "row of numbers"}
    if task.kind == "regression":
        if not y.is_floating_point():
            raise TypeError(f"task.y_{part} is {y.dtype}; expected floats: task.y_{part}.float()")
        expected: tuple[int, ...] = (len(x), task.classes)
    else:
        if y.dtype != torch.int64:
            raise TypeError(f"task.y_{part} is {y.dtype}; expected whole numbers: task.y_{part}.long()")
        expected = tuple(x.shape[:2]) if task.kind == "labelling" else (len(x),)
    if len(x) == 0 or tuple(y.shape) != expected:
        raise ValueError(
            f"task has {len(x)} examples in x_{part} and y_{part} of shape {tuple(y.shape)}; expected at "
            f"least one example, and one {kind[task.kind]} for each: shape {expected}"
        )


def _check_labels(y: Tensor, lengths: Tensor | None, part: str, *, frames: bool) -> None:
    if frames:
        silent = ~asked_frames(y, lengths).any(1)
        if silent.any():
            raise ValueError(
                f"task.y_{part} asks for no frame of example {int(silent.nonzero()[0])}; expected at least "
                f"one label other than {IGNORED} in each: leave such examples out"
            )
        y = y[y != IGNORED]
    if y.min() < 0:
        raise ValueError(f"task.y_{part} holds the label {int(y.min())}; expected labels from 0 on")


def _check_lengths(lengths: Any, x: Tensor, part: str) -> None:
    if lengths is None:
        return
    if not isinstance(lengths, Tensor) or lengths.dtype != torch.int64:
        kind = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise TypeError(f"task.lengths_{part} is {kind}; expected an int64 tensor, or None")
    if lengths.shape != (len(x),):
        raise ValueError(
            f"task.lengths_{part} has shape {tuple(lengths.shape)}; expected ({len(x)},), one for "
            "each sequence"
        )
    if lengths.min() < 1 or lengths.max() > x.shape[1]:
        raise ValueError(
            f"task.lengths_{part} runs from {int(lengths.min())} to {int(lengths.max())}; expected "
            f"lengths from 1 to {x.shape[1]}, the steps of x_{part}"
        )


def _check_bounds(task: Task) -> None:
    if task.bounds is None:
        return
    if not isinstance(task.bounds, tuple) or len(task.bounds) != 2:
        raise TypeError(f"task.bounds is {task.bounds!r}; expected two numbers (lowest, highest), or None")
    low, high = (real_number(bound, "task.bounds") for bound in task.bounds)
    lowest = min(float(task.x_train.min()), float(task.x_test.min()))
    highest = max(float(task.x_train.max()), float(task.x_test.max()))
    if not low <= lowest <= highest <= high:
        raise ValueError(
            f"task.bounds are ({low:g}, {high:g}), but inputs run from {lowest:g} to {highest:g}; scale the "
            "inputs, or set bounds=None"
        )
