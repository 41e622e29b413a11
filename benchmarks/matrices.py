"""The matrices that the benchmarks of the grid share."""

import functools

import numpy as np

from rnn import ModelConfig, TrainingConfig, build_model, candidate_matrix, load_task, train
from spectra import gallery


@functools.cache
def trained(n, cell="tanh"):
    """Recurrent matrix of a network of hidden size n after three passes over the digits."""
    task = load_task("digits")
    model = build_model(ModelConfig(cell, task.features, task.steps, hidden=n))
    train(model, task, config=TrainingConfig(epochs=3))
    return candidate_matrix(model).matrix


def gaussian(n):
    return np.random.default_rng(n).standard_normal((n, n)) / np.sqrt(n)


def complex_gaussian(n):
    rng = np.random.default_rng(n)
    return (rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))) / np.sqrt(2 * n)


MATRICES = {
    "gaussian": gaussian,
    "grcar": gallery.grcar,
    "trained tanh": trained,
    "complex": complex_gaussian,
}
