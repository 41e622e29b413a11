"""Training of a model on a task, and checkpoints that hold weights and configuration together."""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rnn.models import FeedForward, ModelConfig, RecurrentClassifier, build_model, in_mode, logits, seeded
from rnn.tasks import Task
from spectra.checks import non_negative, positive, whole_number
from spectra.errors import ConvergenceError
from spectra.results import replaced_file

_FORMAT = "spectra-rnn checkpoint 1"


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train: Adam on the cross-entropy of shuffled batches.

    Attributes
    ----------
    epochs : int
        Passes over the training data; 0 leaves the model as it is.
    batch_size : int
        Examples per step.
    learning_rate : float
        Adam's step size.
    weight_decay : float
        Decoupled weight decay (AdamW).
    gradient_clip : float
        Largest 2-norm of the gradient of all parameters together; 0 does not clip.
    seed : int
        Determines the order of the examples (and dropout, where a model has it).

    Raises
    ------
    TypeError
        If a field is of the wrong kind.
    ValueError
        If a field is out of range.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        whole_number(self.epochs, "epochs", least=0)
        whole_number(self.batch_size, "batch_size")
        whole_number(self.seed, "seed", least=0, most=2**63 - 1)
        positive(self.learning_rate, "learning_rate")
        non_negative(self.weight_decay, "weight_decay")
        non_negative(self.gradient_clip, "gradient_clip")


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training did.

    Attributes
    ----------
    losses : tuple of float
        Mean cross-entropy over each epoch, in nats.
    train_accuracy, test_accuracy : float
        Share of correct predictions after training, in evaluation mode.
    seconds : float
        Wall time.
    config : TrainingConfig
        How it was done.
    """

    losses: tuple[float, ...]
    train_accuracy: float
    test_accuracy: float
    seconds: float
    config: TrainingConfig


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A trained model as it came from a file.

    Attributes
    ----------
    model : RecurrentClassifier or FeedForward
        With the trained weights, in evaluation mode, on the CPU.
    task : str
        Name of the task it was trained on.
    task_seed : int
        ``load_task(task, rng=task_seed)`` gives the split it was trained on.
    record : TrainingRecord
        What training did.
    """

    model: RecurrentClassifier | FeedForward
    task: str
    task_seed: int
    record: TrainingRecord


def train(
    model: nn.Module,
    task: Task,
    *,
    config: TrainingConfig | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainingRecord:
    """Train a model in place by Adam on the cross-entropy; same seed, same weights.

    Parameters
    ----------
    model : nn.Module
        Any classifier that returns logits; its weights are changed. Mode and global random state are not.
    task : Task
        The data.
    config : TrainingConfig, optional
        How to train; None is ``TrainingConfig()``.
    progress : callable, optional
        Called after each epoch with (epochs done, epochs in all, mean loss).

    Returns
    -------
    TrainingRecord
        Losses, accuracies, time.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or model and data differ in precision.
    ValueError
        If the model has nothing to train, or an example has no label or the model no logit for one.
    ConvergenceError
        If the loss or its gradient becomes NaN or infinite; `best` is the record so far, and the model keeps
        the weights from before that step.

    Notes
    -----
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
    started = time.perf_counter()
    losses: list[float] = []
    try:
        with seeded(model, config.seed), in_mode(model, training=True):
            failure = _run_epochs(model, task, config, parameters, losses, progress)
    finally:
        model.zero_grad(set_to_none=True)
    record = TrainingRecord(
        losses=tuple(losses),
        train_accuracy=_accuracy(model, task.x_train, task.y_train),
        test_accuracy=_accuracy(model, task.x_test, task.y_test),
        seconds=time.perf_counter() - started,
        config=config,
    )
    if failure:
        raise ConvergenceError(f"{failure}; use a smaller learning_rate or gain, or a gradient_clip", record)
    return record


def save_checkpoint(
    path: str | os.PathLike[str],
    model: RecurrentClassifier | FeedForward,
    *,
    task: Task,
    record: TrainingRecord,
) -> None:
    """Write weights, configuration, task name and training record to one file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Where to write (``.pt``); an existing file is replaced in one step.
    model : RecurrentClassifier or FeedForward
        From `build_model`.
    task : Task
        What it was trained on; its name and seed are stored, not its data.
    record : TrainingRecord
        What training did.

    Raises
    ------
    TypeError
        If the model carries no configuration.
    """
    if not isinstance(getattr(model, "config", None), ModelConfig):
        raise TypeError(
            f"model is a {type(model).__name__} without a ModelConfig as attribute config; "
            "save other modules with torch.save(model.state_dict(), path)"
        )
    content = {
        "format": _FORMAT,
        "config": dataclasses.asdict(model.config),
        "state_dict": {key: value.detach().cpu() for key, value in model.state_dict().items()},
        "task": {"name": task.name, "seed": task.seed},
        "record": dataclasses.asdict(record),
    }
    with replaced_file(path) as file:
        torch.save(content, file)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote; no code of the file is run.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Checkpoint
        The model in evaluation mode, with its task and record.

    Raises
    ------
    ValueError
        If the file is damaged, or no checkpoint of this package.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is no checkpoint of this package (no entry format = {_FORMAT!r}); "
            "rnn.named_matrices(path) reads the weights of other files"
        )
    try:
        model = build_model(ModelConfig(**content["config"]))
        model.load_state_dict(content["state_dict"])
        stored = dict(content["record"])
        stored["config"] = TrainingConfig(**stored["config"])
        record = TrainingRecord(**stored)
        return Checkpoint(model.eval(), str(content["task"]["name"]), int(content["task"]["seed"]), record)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"{path} is a damaged checkpoint ({first}); train and save it again") from None


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a checkpoint that `save_checkpoint` wrote.

    Parameters
    ----------
    path : path-like
        Any file.

    Returns
    -------
    bool
        False also where it cannot be read.
    """
    try:
        content = read_torch_file(path)
    except (ValueError, OSError):
        return False
    return isinstance(content, dict) and content.get("format") == _FORMAT


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """Read tensors and plain containers that ``torch.save`` wrote onto the CPU; no code of the file is run.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    object
        Tensors, numbers, strings, and lists and dictionaries of them.

    Raises
    ------
    ValueError
        If the file is damaged, or holds anything else.
    """
    with open(path, "rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's remarks on pickle protocols and storages
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise ValueError(
                f"{path} is damaged, or holds more than tensors (a whole pickled module, say), which is "
                "not read because that would run code of the file; save model.state_dict() instead"
            ) from None
        except Exception as error:  # a damaged archive fails in a dozen ways
            first = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
            first = first if isinstance(error, RuntimeError) else "damaged, or of another kind"
            raise ValueError(
                f"{path} is no readable torch file ({first}); save model.state_dict() again"
            ) from None


def _check(model: Any, task: Any, config: Any) -> None:
    """Refuse what cannot be trained, before the first step."""
    for value, name, kind in (
        (model, "model", nn.Module),
        (task, "task", Task),
        (config, "config", TrainingConfig),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} is a {type(value).__name__}; expected a {kind.__name__}")
    weight = next((p for p in model.parameters() if p.dtype.is_floating_point), None)
    for part in ("train", "test"):
        x, y = getattr(task, f"x_{part}"), getattr(task, f"y_{part}")
        if weight is not None and x.dtype != weight.dtype:
            raise TypeError(
                f"task.x_{part} is {x.dtype}, and model has {weight.dtype} weights; convert one of them"
            )
        if y.dtype != torch.int64:
            raise TypeError(f"task.y_{part} is {y.dtype}; expected whole numbers: task.y_{part}.long()")
        if len(x) == 0 or y.shape != (len(x),):
            raise ValueError(
                f"task has {len(x)} examples in x_{part} and y_{part} of shape {tuple(y.shape)}; expected at "
                "least one, and one label for each"
            )
        if y.min() < 0:
            raise ValueError(f"task.y_{part} holds the label {int(y.min())}; expected labels from 0 on")


def _check_scores(scores: Tensor, task: Task) -> None:
    """Refuse logits that no training can change, or that are too few."""
    if not scores.requires_grad:
        raise ValueError(
            "the logits of model do not depend on its parameters; "
            "remove no_grad or detach from its forward pass"
        )
    highest = int(torch.maximum(task.y_train.max(), task.y_test.max()))
    if highest >= scores.shape[1]:
        raise ValueError(
            f"task holds the label {highest}, but model has {scores.shape[1]} logits; number the classes "
            "from 0, or build the model with more classes"
        )


def _run_epochs(
    model: nn.Module,
    task: Task,
    config: TrainingConfig,
    parameters: list[nn.Parameter],
    losses: list[float],
    progress: Callable[[int, int, float], None] | None,
) -> str:
    """Append to `losses`; give what failed, or the empty string."""
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    order = torch.Generator().manual_seed(config.seed)
    device = parameters[0].device
    for epoch in range(config.epochs):
        total = 0.0
        for index in torch.randperm(len(task.y_train), generator=order).split(config.batch_size):
            optimiser.zero_grad(set_to_none=True)
            scores = logits(model, task.x_train[index].to(device))
            _check_scores(scores, task)
            loss = cross_entropy(scores, task.y_train[index].to(device))
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, config.gradient_clip or math.inf)
            if not (torch.isfinite(loss) and torch.isfinite(norm)):
                return f"training stopped in epoch {epoch + 1}: loss {loss:.3g}, gradient norm {norm:.3g}"
            optimiser.step()
            total += loss.item() * len(index)
        losses.append(total / len(task.y_train))
        if progress is not None:
            progress(epoch + 1, config.epochs, losses[-1])
    return ""


@torch.no_grad()
def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with in_mode(model, training=False):
        scores = logits(model, x.to(next(model.parameters()).device)).cpu()
    return float(((scores.argmax(1) == y) & scores.isfinite().all(1)).double().mean())
