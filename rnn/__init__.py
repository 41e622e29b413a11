"""Networks, their training, weights, dynamics and attacks, by torch; a name loads its room at first use."""

from __future__ import annotations

import importlib
from typing import Any

_ROOM_OF = {
    "ModelConfig": "models",
    "RecurrentClassifier": "models",
    "FeedForward": "models",
    "build_model": "models",
    "Task": "tasks",
    "load_task": "tasks",
    "TrainingConfig": "training",
    "TrainingRecord": "training",
    "Checkpoint": "training",
    "train": "training",
    "save_checkpoint": "training",
    "load_checkpoint": "training",
    "NamedMatrix": "weights",
    "NamedMatrices": "weights",
    "named_matrices": "weights",
    "candidate_matrix": "weights",
    "UnrolledCell": "cells",
    "unrolled_cells": "cells",
    "UnrolledRNN": "unrolled",
    "Drive": "drives",
    "Drives": "drives",
    "recorded_drives": "drives",
    "cell_drive": "drives",
    "trajectory": "dynamics",
    "state_jacobian": "dynamics",
    "mean_state_jacobian": "dynamics",
    "state_jacobians": "jacobians",
    "input_jacobian": "dynamics",
    "FixedPoints": "equilibria",
    "fixed_points": "equilibria",
    "LayerBound": "lipschitz",
    "LipschitzBounds": "lipschitz",
    "lipschitz_bounds": "lipschitz",
    "LocalLipschitz": "slopes",
    "local_lipschitz": "slopes",
    "LyapunovSpectrum": "lyapunov",
    "lyapunov_spectrum": "lyapunov",
    "FiniteTimeGrowth": "propagation",
    "finite_time_growth": "propagation",
    "StateKicks": "kicks",
    "state_kicks": "kicks",
    "draw_kicks": "kick_figures",
    "matrix_measures": "measures",
    "RoundingEffect": "number_formats",
    "rounded": "rounding",
    "rounding_effect": "number_formats",
    "rounding_effects": "number_formats",
    "PseudospectralPerturbation": "extremal_perturbations",
    "pseudospectral_perturbation": "extremal_perturbations",
    "SpectralCallback": "callbacks",
    "TrainingMeasures": "training_measures",
    "lightning_callback": "lightning_adapter",
    "draw_training_measures": "training_figures",
    "MatrixDetail": "details",
    "Finding": "findings",
    "LayerDynamics": "layer_dynamics",
    "Diagnosis": "diagnosis",
    "diagnose": "examination",
    "Comparison": "comparison",
    "compare": "comparison",
    "AttackResult": "verdicts",
    "RobustnessCurve": "verdicts",
    "attack": "harness",
    "robustness": "harness",
    "CertifiedCurve": "certification",
    "CertifiedRadii": "certification",
    "certified_accuracy": "certification",
    "certified_radius": "certification",
    "WeightRobustness": "weight_verdicts",
    "weight_robustness": "weight_perturbations",
    "Correlation": "study.statistics",
    "spearman": "study.statistics",
    "correlate": "study.statistics",
    "run_trials": "study.engine",
    "TrialResult": "study.engine",
    "run_demo": "study.demo",
    "DemoResult": "study.demo",
}

__all__ = [*_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        try:
            return getattr(importlib.import_module(f"rnn.{_ROOM_OF[name]}"), name)
        except ModuleNotFoundError as error:
            extra = importlib.import_module("rnn.extra")
            if error.name not in extra.PACKAGES:
                raise
            raise ModuleNotFoundError(extra.advice(f"rnn.{name}", [error.name]), name=error.name) from None
    raise AttributeError(f"module 'rnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
