"""The demo: four families of small networks on digits, their spectra, and how easily they are fooled."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.dynamics import input_jacobian, mean_state_jacobian
from rnn.harness import attack
from rnn.measuring.measures import BASELINES, STUDIED, matrix_measures
from rnn.models import ModelConfig, RecurrentClassifier, build_model
from rnn.study.blocks import UNDEFINED
from rnn.study.demo_pages import checked_folder, demo_pages, write_folder
from rnn.study.engine import TrialResult, run_trials
from rnn.study.statistics import rank_correlations
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from rnn.weights import candidate_matrix, named_matrices
from spectra.checks import whole_number

if TYPE_CHECKING:
    import pandas as pd

TASK = "digits"
CELLS = ("tanh", "gru", "lstm", "feedforward")
METHODS = ("fgsm", "pgd")
BUDGETS = {"linf": (0.03, 0.06, 0.1), "l2": (0.2, 0.4, 0.7)}
OUTCOME = "fooling_pgd_linf_0.06"
GAINS = (0.25, 3.0)
EPOCHS = 20
HIDDEN = 32
NAMES = tuple(measure.name for measure in STUDIED)
GATES = ("r", "z", "n", "i", "f", "g", "o")


@dataclasses.dataclass(frozen=True, slots=True)
class DemoTrial:
    """What determines one network of the demo.

    Attributes
    ----------
    cell : str
        The family.
    seed : int
        Of the initial weights, the order of the examples, and the random starts of the attacks.
    gain : float
        Spectral scale of the initial square matrices.
    epochs : int
        Of the training.
    """

    cell: str
    seed: int
    gain: float
    epochs: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DemoResult:
    """What the demo wrote and found.

    Attributes
    ----------
    folder : Path
        Where the files are.
    paths : tuple of Path
        The files: the report, the tables, the figures.
    models : DataFrame
        One row per network, as in ``models.csv``.
    correlations : DataFrame
        As in ``correlations.csv``.
    summary : DataFrame
        A short table of text: measures by family, correlation with the fooling rate.
    failures : tuple of TrialResult
        Networks that failed, with their errors.
    seconds : float
        Wall time.
    """

    folder: Path
    paths: tuple[Path, ...]
    models: pd.DataFrame
    correlations: pd.DataFrame
    summary: pd.DataFrame
    failures: tuple[TrialResult, ...]
    seconds: float

    def __str__(self) -> str:
        return f"{self.summary.to_string(index=False)}\n" + "\n".join(map(str, self.paths))


def run_demo(
    out: str | os.PathLike[str],
    *,
    models_per_cell: int = 12,
    seed: int = 0,
    workers: int | None = None,
    epochs: int = EPOCHS,
    progress: Callable[[int, int, TrialResult], None] | None = None,
) -> DemoResult:
    """Train networks of four families on digits, attack them, and correlate spectra with attack success.

    Parameters
    ----------
    out : path-like
        Folder for ``report.html``, ``models.csv``, ``correlations.csv`` and the figures; made when missing.
        Files of these names are replaced, others left alone.
    models_per_cell : int
        Networks of each family; correlations need at least 5.
    seed : int
        Same seed, same numbers.
    workers : int, optional
        Worker processes; the number of usable processors if None. The numbers do not depend on it.
    epochs : int
        Passes over the training data.
    progress : callable, optional
        Called as ``progress(done, total, result)`` after every network.

    Returns
    -------
    DemoResult
        The tables and the paths.

    Raises
    ------
    TypeError
        If a number is no whole number.
    ValueError
        If a number is too small, or `out` cannot be a folder.
    RuntimeError
        If every network failed.

    Notes
    -----
    The files are written beside `out` and moved there when all are complete. A script that calls this needs
    ``if __name__ == "__main__":``, since worker processes import it.
    """
    start = time.perf_counter()
    trials = demo_trials(models_per_cell, seed=seed, epochs=epochs)
    folder = checked_folder(out)
    results = run_trials(demo_trial, trials, workers=workers, progress=progress)
    failures = tuple(result for result in results if result.error)
    networks = [result.value for result in results if not result.error]
    if not networks:
        raise RuntimeError(f"every network failed, the first with: {failures[0].error}")
    models, correlations = demo_tables(networks, seed=seed)
    matrices = {cell: networks[place].matrix for cell, place in nearest_to_unit_scale(models).items()}
    pages = demo_pages(
        models,
        correlations,
        matrices=matrices,
        outcome=OUTCOME,
        failures=failures,
        command=f"spectra demo --out {folder.name} --models {models_per_cell} --seed {seed}",
        seconds=time.perf_counter() - start,
    )
    return DemoResult(
        folder=folder,
        paths=write_folder(folder, pages.files),
        models=models,
        correlations=correlations,
        summary=pages.summary,
        failures=failures,
        seconds=time.perf_counter() - start,
    )


def demo_trials(models_per_cell: int, *, seed: int = 0, epochs: int = EPOCHS) -> list[DemoTrial]:
    """Give the networks of the demo: in each family the seed and the scale of the initialisation vary.

    Parameters
    ----------
    models_per_cell : int
        Networks of each family.
    seed : int
        The networks of a family have the seeds ``1000 * seed``, ``1000 * seed + 1``, ...
    epochs : int
        Passes over the training data.

    Returns
    -------
    list of DemoTrial
        The scales rise geometrically over `GAINS`, in each family alike.
    """
    count = whole_number(models_per_cell, "models_per_cell")
    first = 1000 * whole_number(seed, "seed", least=0)
    whole_number(epochs, "epochs")
    gains = np.geomspace(*GAINS, count).tolist() if count > 1 else [1.0]
    return [
        DemoTrial(cell, first + i, round(gain, 4), epochs) for i, gain in enumerate(gains) for cell in CELLS
    ]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Network:
    """What one trial of the demo gives.

    Attributes
    ----------
    row : dict
        Its row of ``models.csv``.
    matrix : ndarray, shape (h, h)
        Its candidate matrix.
    """

    row: dict[str, Any]
    matrix: NDArray[np.float64]


def demo_trial(trial: DemoTrial) -> Network:
    """Train one network, measure its matrices, and attack it.

    Parameters
    ----------
    trial : DemoTrial
        Which.

    Returns
    -------
    Network
        Its row and its matrix.
    """
    task = load_task(TASK)
    shape: dict[str, Any] = {
        "features": task.features,
        "steps": task.steps,
        "hidden": HIDDEN,
        "classes": task.classes,
    }
    model = build_model(ModelConfig(trial.cell, **shape, gain=trial.gain, seed=trial.seed))
    config = TrainingConfig(epochs=trial.epochs, seed=trial.seed)
    record = train(model, task, config=config)
    matrix = candidate_matrix(model).matrix
    row = {"task": TASK, "cell": trial.cell, "seed": trial.seed, "clean_accuracy": record.test_accuracy}
    row |= matrix_measures(matrix)
    for gate in named_matrices(model):
        if gate.gate and gate.role == "recurrent":
            row |= _prefixed(f"{gate.gate}_", matrix_measures(gate.matrix))
    if isinstance(model, RecurrentClassifier):
        jacobian = mean_state_jacobian(model, task.x_test)
    else:
        jacobian = input_jacobian(model, task.x_test)
    row |= _prefixed("jacobian_", matrix_measures(jacobian))
    for method in METHODS:
        for norm, budgets in BUDGETS.items():
            for budget in budgets:
                found = attack(
                    model,
                    task.x_test,
                    task.y_test,
                    method=method,
                    norm=norm,
                    budget=budget,
                    bounds=task.bounds,
                    rng=trial.seed,
                )
                row[f"success_{method}_{norm}_{budget:g}"] = found.success_rate
                row[f"fooling_{method}_{norm}_{budget:g}"] = found.fooling_rate
    row |= {
        "gain": trial.gain,
        "epochs": trial.epochs,
        "train_accuracy": record.train_accuracy,
        "test_examples": len(task.y_test),
        "clean_correct": int(found.clean_correct.sum()),
    }
    return Network(row, matrix)


def demo_tables(networks: Sequence[Network], *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the tables of models and of correlations.

    Parameters
    ----------
    networks : sequence of Network
        What the trials gave.
    seed : int
        Of the resampling.

    Returns
    -------
    models, correlations : DataFrame
        The latter for the fooling rates; without rows for gates that a family does not have.
    """
    import pandas as pd

    found = pd.DataFrame([network.row for network in networks])
    gated = [f"{gate}_{name}" for gate in GATES for name in NAMES if f"{gate}_{name}" in found]
    measures = [*NAMES, *gated, *(f"jacobian_{name}" for name in NAMES)]
    rates = [str(name) for name in found if str(name).startswith(("success_", "fooling_"))]
    first = ["task", "cell", "seed", "clean_accuracy"]
    ordered = [*first, *measures, *sorted(rates, key=lambda name: not name.startswith("success_"))]
    models = found.reindex(columns=[*ordered, *(name for name in found if name not in ordered)])
    outcomes = [name for name in rates if name.startswith("fooling_")]
    correlations = rank_correlations(
        models, measures=measures, outcomes=outcomes, baselines=BASELINES, rng=seed
    )
    absent = correlations["measure"].isin(gated) & (correlations["note"] == UNDEFINED)
    return models, correlations[~absent].reset_index(drop=True)


def nearest_to_unit_scale(models: pd.DataFrame) -> dict[str, int]:
    """Give for each family the row of the network whose initial scale is nearest to 1, the usual one.

    Parameters
    ----------
    models : DataFrame
        The networks.

    Returns
    -------
    dict of str to int
        Rows by family, in the order of `CELLS`.
    """
    distance = np.abs(np.log(models["gain"]))
    nearest = distance.groupby(models["cell"]).idxmin()
    return {cell: int(nearest[cell]) for cell in CELLS if cell in nearest}


def _prefixed(prefix: str, measures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in measures.items()}
