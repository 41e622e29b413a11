"""Training of a model on a task; the door to its settings and to checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnn.constraints import normalised
from rnn.data.task import check_structure
from rnn.learning.checkpoints import (
    Checkpoint,
    is_checkpoint,
    load_checkpoint,
    read_torch_file,
    save_checkpoint,
)
from rnn.learning.objectives import accuracies, answers, mean_loss
from rnn.learning.records import CONSTRAINTS, OPTIMISERS, TrainingConfig, TrainingRecord, optimiser_of
from rnn.models import in_mode, seeded
from rnn.tasks import Task
from spectra.errors import ConvergenceError

__all__ = [
    "CONSTRAINTS",
    "OPTIMISERS",
    "Checkpoint",
    "TrainingConfig",
    "TrainingRecord",
    "is_checkpoint",
    "load_checkpoint",
    "read_torch_file",
    "save_checkpoint",
    "train",
]

Progress = Callable[[int, int, float], None]
Observer = Callable[[int, nn.Module], None]


def train(
    model: nn.Module,
    task: Task,
    *,
    config: TrainingConfig | None = None,
    progress: Progress | None = None,
    after_epoch: Observer | None = None,
) -> TrainingRecord:
    """Train a model in place on the loss of its task; same seed, same weights.

    Parameters
    ----------
    model : nn.Module
        Returns logits or numbers as `Task` asks for them; its weights are changed. Mode and global random
        state are not. Where sequences have different lengths, it takes them as keyword `lengths`.
    task : Task
        The data.
    config : TrainingConfig, optional
        How to train; None is ``TrainingConfig()``.
    progress : callable, optional
        Called after each epoch with (epochs done, epochs in all, mean loss).
    after_epoch : callable, optional
        Called with (epochs done, model) before the first step, where they are 0, and after each epoch, to
        measure the model: it is in evaluation mode then, and random numbers that are drawn do not count. It
        must not change the model.

    Returns
    -------
    TrainingRecord
        Losses, accuracies, time.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or model and data differ in precision.
    ValueError
        If the model has nothing to train, its answers are not those that the task asks for, or the task's
        parts do not fit together.
    UnsupportedModelError
        If the model has no matrix that the constraint can scale.
    ConvergenceError
        If the loss or its gradient becomes NaN or infinite; `best` is the record so far, and the model keeps
        the weights from before that step. Under a constraint also if a weight does.

    Notes
    -----
    The loss is the cross-entropy (of the frames that are asked, for labelling) or the squared error. A
    constraint is a projection by scaling after each step, as in projected gradient descent; the optimiser's
    own memory is not changed by it.

    The same numbers come out for the same seed, machine, number of threads and torch version; other
    machines sum in another order. Networks this small train several times faster on one thread:
    ``torch.set_num_threads(1)``, or ``OMP_NUM_THREADS=1`` in the environment.
    """
    config = config or TrainingConfig()
    _check(model, task, config)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(
            "model has no parameter that requires a gradient; call model.requires_grad_() to train it"
        )
    run = _Run(model, task, config, parameters)
    started = time.perf_counter()
    try:
        with seeded(model, config.seed), in_mode(model, training=True):
            failure = run.epochs(progress, after_epoch)
    finally:
        model.zero_grad(set_to_none=True)
    train_accuracy, _ = accuracies(model, task, "train")
    test_accuracy, balanced = accuracies(model, task, "test")
    record = TrainingRecord(
        losses=tuple(run.losses),
        train_accuracy=train_accuracy,
        test_accuracy=test_accuracy,
        seconds=time.perf_counter() - started - run.observing,
        config=config,
        test_balanced_accuracy=balanced,
    )
    if failure:
        raise ConvergenceError(f"{failure}; use a smaller learning_rate or gain, or a gradient_clip", record)
    return record


class _Run:
    """One training: what it works on, and what has come out so far."""

    def __init__(
        self, model: nn.Module, task: Task, config: TrainingConfig, parameters: list[nn.Parameter]
    ) -> None:
        self.model, self.task, self.config, self.parameters = model, task, config, parameters
        self.losses: list[float] = []
        self.observing = 0.0  # seconds
        self.highest = -1
        if task.kind != "regression":
            self.highest = int(torch.maximum(task.y_train.max(), task.y_test.max()))

    def epochs(self, progress: Progress | None, after_epoch: Observer | None) -> str:
        """Give what failed, or the empty string."""
        self._constrain()
        self._observe(0, after_epoch)
        optimiser = optimiser_of(self.config, self.parameters)
        order = torch.Generator().manual_seed(self.config.seed)
        for epoch in range(1, self.config.epochs + 1):
            total, count = 0.0, 0
            for index in torch.randperm(len(self.task.y_train), generator=order).split(
                self.config.batch_size
            ):
                loss, answered, failure = self._step(optimiser, index)
                if failure:
                    return f"training stopped in epoch {epoch}: {failure}"
                total += loss * answered
                count += answered
            self.losses.append(total / count)
            if progress is not None:
                progress(epoch, self.config.epochs, self.losses[-1])
            self._observe(epoch, after_epoch)
        return ""

    def _step(self, optimiser: torch.optim.Optimizer, index: Tensor) -> tuple[float, int, str]:
        """Make one step; give the loss before it, of how many answers, and what failed."""
        task, device = self.task, self.parameters[0].device
        lengths = None if task.lengths_train is None else task.lengths_train[index].to(device)
        optimiser.zero_grad(set_to_none=True)
        output = answers(self.model, task.x_train[index].to(device), lengths, kind=task.kind)
        self._check_output(output)
        loss, answered = mean_loss(output, task.y_train[index].to(device), lengths, kind=task.kind)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip or math.inf)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            return 0.0, 0, f"loss {loss:.3g}, gradient norm {norm:.3g}"
        optimiser.step()
        try:
            self._constrain()
        except ValueError as error:  # a step so long that a weight overflowed
            return 0.0, 0, str(error)
        return loss.item(), answered, ""

    def _constrain(self) -> None:
        config = self.config
        if config.constraint != "none":
            normalised(
                self.model,
                config.constraint,
                target=config.constraint_target,
                only_above=True,
                rng=config.seed,
            )

    def _observe(self, epoch: int, after_epoch: Observer | None) -> None:
        if after_epoch is None:
            return
        started = time.perf_counter()
        with seeded(self.model, self.config.seed), in_mode(self.model, training=False):
            after_epoch(epoch, self.model)
        self.observing += time.perf_counter() - started

    def _check_output(self, output: Tensor) -> None:
        """Refuse answers that no training can change, or that are too few."""
        if not output.requires_grad:
            raise ValueError(
                "the logits of model do not depend on its parameters; "
                "remove no_grad or detach from its forward pass"
            )
        if self.task.kind == "regression" and output.shape[1] != self.task.classes:
            raise ValueError(
                f"task asks for {self.task.classes} numbers, but model gives {output.shape[1]}; build the "
                f"model with classes={self.task.classes}"
            )
        if self.highest >= output.shape[-1]:
            raise ValueError(
                f"task holds the label {self.highest}, but model has {output.shape[-1]} logits; number the "
                "classes from 0, or build the model with more classes"
            )


def _check(model: Any, task: Any, config: Any) -> None:
    """Refuse what cannot be trained, before the first step."""
    for value, name, kind in (
        (model, "model", nn.Module),
        (task, "task", Task),
        (config, "config", TrainingConfig),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} is a {type(value).__name__}; expected a {kind.__name__}")
    check_structure(task)
    weight = next((p for p in model.parameters() if p.dtype.is_floating_point), None)
    for part in ("train", "test"):
        x = getattr(task, f"x_{part}")
        if weight is not None and x.dtype != weight.dtype:
            raise TypeError(
                f"task.x_{part} is {x.dtype}, and model has {weight.dtype} weights; convert one of them"
            )
