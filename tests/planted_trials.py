"""Trials that train nothing: rows as of `rnn.study.experiment.run_trial`, with a known relation in them."""

import hashlib

import numpy as np

from rnn.study.experiment import ALONG
from rnn.study.trials import TrialOutcome

BEFORE = ("spectral_radius", "spectral_norm", "henrici_departure_relative")
EVIL = '<script>alert("x")</script>'


def planted(trial):
    """The fooling rate follows the relative Henrici departure, and nothing else."""
    digest = hashlib.sha256(
        f"{trial.task} {trial.cell} {trial.seed} {trial.normalisation}".encode()
    ).hexdigest()
    rng = np.random.default_rng(int(digest[:12], 16))
    strength = rng.uniform()
    initial = {name: 1 + rng.uniform() for name in ALONG}
    row = {f"initial_{name}": value for name, value in initial.items()}
    row |= {"spectral_radius": rng.uniform(0.5, 2), "spectral_norm": rng.uniform(2, 4)}
    row |= {"henrici_departure_relative": strength, "eigenvector_condition_number": 10 ** rng.uniform(0, 4)}
    row |= {"kreiss_constant_scaled": 1 + rng.uniform(), "matrices": 1, "growth_end": rng.normal()}
    row |= {"lyapunov_exponent": rng.normal() - 0.1, "kick_end_worst": 10 ** rng.normal()}
    row |= {"constant": 1.0, "clean_accuracy": rng.uniform(0.9, 1), "clean_correct": 50, "loss": 0.1}
    rate = 0.2 + 0.6 * strength + 0.02 * rng.normal()
    row |= {"fooling_pgd_linf_0.05": rate, "fooling_all_linf_0.05": rate, "fooling_reference": rate}
    row |= {"minimal_l2": 0.5 + rng.uniform(), "word": trial.cell}
    row |= {"fooling_worst_linf_0.05": rate + 0.01} if trial.audited else {}
    epochs = np.array([0, 1, 4])
    arrays = {f"along_{name}": initial[name] + epochs for name in ALONG} | {"along_epochs": epochs}
    return TrialOutcome(row, arrays)


def troubled(trial):
    """Like `planted`, but one network cannot be trained."""
    if (trial.cell, trial.normalisation, trial.seed) == ("gru", "norm", 2):
        raise RuntimeError(f"diverged {EVIL}")
    return planted(trial)


def hopeless(trial):
    """Nothing works."""
    raise RuntimeError("no")


def fed_forward(trial):
    """One cell has no trajectories."""
    found = planted(trial)
    row = {
        name: value for name, value in found.row.items() if name != "lyapunov_exponent" or trial.cell == "gru"
    }
    return TrialOutcome(row, found.arrays)
