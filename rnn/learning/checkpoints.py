"""Checkpoints: weights, configuration, task and training record in one file; no code of it is run."""

from __future__ import annotations

import dataclasses
import os
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from rnn.learning.records import TrainingConfig, TrainingRecord
from rnn.models import FeedForward, ModelConfig, RecurrentClassifier, build_model, cell_names
from rnn.tasks import Task
from spectra.errors import UnsupportedModelError
from spectra.results import replaced_file

_FORMAT = "spectra-rnn checkpoint 1"
_PLAIN = (str, int, float, bool, type(None))


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
        ``load_task(task, rng=task_seed, **task_options)`` gives the split it was trained on.
    record : TrainingRecord
        What training did.
    task_options : mapping of str to object
        The options of that task; empty where it had none.
    """

    model: RecurrentClassifier | FeedForward
    task: str
    task_seed: int
    record: TrainingRecord
    task_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


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
        What it was trained on; its name, seed and options are stored, not its data.
    record : TrainingRecord
        What training did.

    Raises
    ------
    TypeError
        If the model carries no configuration, or an option of the task is no string, number or None.
    """
    if not isinstance(getattr(model, "config", None), ModelConfig):
        raise TypeError(
            f"model is a {type(model).__name__} without a ModelConfig as attribute config; "
            "save other modules with torch.save(model.state_dict(), path)"
        )
    for key, value in task.options.items():
        if type(value) not in _PLAIN:
            raise TypeError(
                f"task.options has {key} = {value!r}, a {type(value).__name__}; expected strings, Python "
                "numbers or None, which a file can hold: load the task with such"
            )
    content = {
        "format": _FORMAT,
        "config": dataclasses.asdict(model.config),
        "state_dict": {key: value.detach().cpu() for key, value in model.state_dict().items()},
        "task": {"name": task.name, "seed": task.seed, "options": dict(task.options)},
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
    UnsupportedModelError
        If its cell was registered when it was trained, and is not now.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is no checkpoint of this package (no entry format = {_FORMAT!r}); "
            "rnn.named_matrices(path) reads the weights of other files"
        )
    cell = content["config"].get("cell") if isinstance(content.get("config"), dict) else None
    if isinstance(cell, str) and cell not in cell_names():
        raise UnsupportedModelError(
            f"{path} holds a network with the cell {cell!r}, which is not registered in this process; call "
            f"rnn.register_cell({cell!r}, ...) as when it was trained, then load it"
        )
    try:
        model = build_model(ModelConfig(**content["config"]))
        model.load_state_dict(content["state_dict"])
        stored = dict(content["record"])
        stored["config"] = TrainingConfig(**stored["config"])
        record = TrainingRecord(**stored)
        task = content["task"]
        options = dict(task.get("options", {}))  # older files have none
        return Checkpoint(model.eval(), str(task["name"]), int(task["seed"]), record, options)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
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
