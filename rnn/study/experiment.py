"""One trial of a study, from its configuration to its row: train, normalise, measure, attack."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rnn.constraints import NormalisedMatrix, normalised
from rnn.learning.checkpoints import save_checkpoint
from rnn.learning.records import TrainingRecord
from rnn.models import FeedForward, ModelConfig, RecurrentClassifier, build_model
from rnn.study.network_rows import AttackPlan, matrix_columns, network_row
from rnn.study.trials import Trial, TrialOutcome
from rnn.tasks import Task, load_task
from rnn.training import TrainingConfig, train

DURING = "-during"
ALONG = (
    "spectral_radius",
    "spectral_norm",
    "henrici_departure_relative",
    "eigenvector_condition_number",
    "kreiss_constant_scaled",
)
"""Measures that are followed along training; before it they are columns too, ``initial_...``."""


def run_trial(trial: Trial) -> TrialOutcome:
    """Train a network, normalise it, measure it, attack it.

    Parameters
    ----------
    trial : Trial
        What determines it all.

    Returns
    -------
    TrialOutcome
        The row of `rnn.study.network_rows.network_row` with what training and normalisation did:
        ``train_accuracy``, ``test_accuracy``, ``loss``, ``initial_<measure>`` for the measures `ALONG`,
        ``normalised_from`` (what the matrix had before, by the way it was normalised), ``normalised_radius``
        (the spectral radius it ended with), and ``fooling_reference``, the worst of the attacks at the middle
        budget of the first norm. Arrays: the smallest budgets, and ``along_<measure>`` at the epochs
        ``along_epochs``. Weights: a checkpoint for `rnn.load_checkpoint`.

    Raises
    ------
    ValueError
        If the data are missing, or the networks cannot be normalised so.
    ConvergenceError
        If the training diverges.

    Notes
    -----
    The same numbers come out for the same trial, machine, number of threads and versions of libraries.
    """
    for module in trial.modules:
        importlib.import_module(module)
    task = load_task(trial.task, data_root=trial.data_root or None, rng=trial.seed, **dict(trial.options))
    model = build_model(_model_config(trial, task))
    along: dict[int, dict[str, float]] = {}
    wanted = _looks(trial.epochs)

    def look(epoch: int, network: nn.Module) -> None:
        if epoch in wanted:
            along[epoch] = matrix_columns(network)

    record = train(model, task, config=_training_config(trial), after_epoch=look)
    row: dict[str, Any] = {
        "train_accuracy": record.train_accuracy,
        "test_accuracy": record.test_accuracy,
        "loss": record.losses[-1] if record.losses else None,
    }
    row |= {f"initial_{name}": along[0].get(name) for name in ALONG}
    if trial.normalisation != "none" and not trial.normalisation.endswith(DURING):
        row |= _scaled_columns(normalised(model, trial.normalisation, target=trial.target, rng=trial.seed))
    chosen = _chosen(task, trial)
    found = network_row(
        model,
        task.x_test[chosen],
        task.y_test[chosen],
        plan=AttackPlan(
            trial.methods, trial.budgets, trial.minimal, trial.audited, trial.trajectories, trial.kick
        ),
        bounds=task.bounds,
        lengths=None if task.lengths_test is None else task.lengths_test[chosen],
        tolerance=task.tolerance,
        rng=trial.seed,
    )
    row |= found.values
    norm, budgets = trial.budgets[0]
    row["fooling_reference"] = row.get(f"fooling_all_{norm}_{budgets[len(budgets) // 2]:g}")
    arrays: dict[str, NDArray[Any]] = dict(found.arrays) | {"along_epochs": np.array(list(along))}
    arrays |= {
        f"along_{name}": np.array([columns.get(name, np.nan) for columns in along.values()]) for name in ALONG
    }
    return TrialOutcome(row, arrays, _checkpoint(model, task, record))


def _model_config(trial: Trial, task: Task) -> ModelConfig:
    return ModelConfig(
        trial.cell,
        features=task.features,
        steps=task.steps,
        hidden=trial.hidden,
        classes=task.classes,
        gain=trial.gain,
        initialisation=trial.initialisation,
        seed=trial.seed,
        readout="each" if task.kind == "labelling" else "last",
    )


def _training_config(trial: Trial) -> TrainingConfig:
    during = trial.normalisation.endswith(DURING)
    return TrainingConfig(
        epochs=trial.epochs,
        batch_size=trial.batch_size,
        learning_rate=trial.learning_rate,
        weight_decay=trial.weight_decay,
        gradient_clip=trial.gradient_clip,
        seed=trial.seed,
        optimiser=trial.optimiser,
        constraint=trial.normalisation.removesuffix(DURING) if during else "none",
        constraint_target=trial.target if during else 1.0,
    )


def _looks(epochs: int) -> set[int]:
    """Give the epochs at which the matrices are measured: 0, 1, 2, 4, ... and the last."""
    return {0, epochs, *(2**k for k in range(epochs.bit_length()) if 2**k <= epochs)}


def _chosen(task: Task, trial: Trial) -> torch.Tensor:
    """Draw the examples that are attacked: files may hold them class by class."""
    order = np.random.default_rng(trial.seed).permutation(len(task.y_test))
    return torch.from_numpy(np.sort(order[: trial.examples]))


def _scaled_columns(matrices: tuple[NormalisedMatrix, ...]) -> dict[str, Any]:
    return {
        "normalised_from": max(matrix.estimate for matrix in matrices),
        "normalised_radius": max(matrix.radius_after for matrix in matrices),
        "normalised_converged": sum(matrix.converged for matrix in matrices) / len(matrices),
    }


def _checkpoint(model: RecurrentClassifier | FeedForward, task: Task, record: TrainingRecord) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        save_checkpoint(path, model, task=task, record=record)
        return path.read_bytes()
