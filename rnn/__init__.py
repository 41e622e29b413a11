"""Networks, their training, weights, dynamics and attacks, by torch; a name loads its room at first use."""

from __future__ import annotations

import importlib
from typing import Any

_ROOM_OF = {
    "ModelConfig": "models",
    "RecurrentClassifier": "models",
    "FeedForward": "models",
    "build_model": "models",
    "register_cell": "models",
    "NormalisedMatrix": "constraints",
    "normalised": "constraints",
    "Task": "tasks",
    "load_task": "tasks",
    "register_task": "tasks",
    "task_names": "tasks",
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
    "UnrolledCell": "motion.cells",
    "unrolled_cells": "motion.cells",
    "UnrolledRNN": "motion.unrolled",
    "Drive": "motion.drives",
    "Drives": "motion.drives",
    "recorded_drives": "motion.drives",
    "cell_drive": "motion.drives",
    "trajectory": "dynamics",
    "state_jacobian": "dynamics",
    "mean_state_jacobian": "dynamics",
    "state_jacobians": "motion.jacobians",
    "input_jacobian": "dynamics",
    "FixedPoints": "motion.equilibria",
    "fixed_points": "motion.equilibria",
    "LayerBound": "bounds.lipschitz",
    "LipschitzBounds": "bounds.lipschitz",
    "lipschitz_bounds": "bounds.lipschitz",
    "LocalLipschitz": "bounds.slopes",
    "local_lipschitz": "bounds.slopes",
    "LyapunovSpectrum": "motion.lyapunov",
    "lyapunov_spectrum": "motion.lyapunov",
    "FiniteTimeGrowth": "motion.propagation",
    "finite_time_growth": "motion.propagation",
    "StateKicks": "motion.kicks",
    "state_kicks": "motion.kicks",
    "draw_kicks": "motion.kick_figures",
    "matrix_measures": "measuring.measures",
    "RoundingEffect": "measuring.number_formats",
    "rounded": "measuring.rounding",
    "rounding_effect": "measuring.number_formats",
    "rounding_effects": "measuring.number_formats",
    "PseudospectralPerturbation": "attacking.extremal_perturbations",
    "pseudospectral_perturbation": "attacking.extremal_perturbations",
    "SpectralCallback": "watching.callbacks",
    "TrainingMeasures": "watching.training_measures",
    "lightning_callback": "watching.lightning_adapter",
    "draw_training_measures": "watching.training_figures",
    "MatrixDetail": "details",
    "Finding": "findings",
    "LayerDynamics": "motion.layer_dynamics",
    "Diagnosis": "diagnosis",
    "diagnose": "examination",
    "Comparison": "comparison",
    "compare": "comparison",
    "AttackResult": "attacking.verdicts",
    "RobustnessCurve": "attacking.verdicts",
    "attack": "harness",
    "robustness": "harness",
    "RobustnessBracket": "attacking.bracket_verdicts",
    "robustness_bracket": "attacking.brackets",
    "draw_robustness": "attacking.curve_figures",
    "CertifiedCurve": "bounds.certification",
    "CertifiedRadii": "bounds.certification",
    "certified_accuracy": "bounds.certification",
    "certified_radius": "bounds.certification",
    "UniversalPerturbation": "attacking.universal_verdicts",
    "universal_perturbation": "attacking.universal",
    "WeightRobustness": "attacking.weight_verdicts",
    "weight_robustness": "attacking.weight_perturbations",
    "Correlation": "study.statistics",
    "spearman": "study.statistics",
    "rank_correlations": "study.statistics",
    "StudyStatistics": "study.evidence",
    "study_statistics": "study.evidence",
    "run_trials": "study.engine",
    "TrialResult": "study.workers",
    "Trial": "study.trials",
    "TrialOutcome": "study.trials",
    "StudyConfig": "study.configuration",
    "read_study": "study.configuration",
    "run_study": "study.runs",
    "resume_study": "study.runs",
    "restore_study": "study.runs",
    "StudyStatus": "study.status",
    "study_status": "study.status",
    "study_rows": "study.tables",
    "export_study": "study.tables",
    "trial_arrays": "study.tables",
    "trial_weights": "study.tables",
    "StudySummary": "study.summary",
    "study_summary": "study.summary",
    "StudyReport": "study.study_report",
    "study_report": "study.study_report",
    "AttackPlan": "study.network_rows",
    "ModelCorrelations": "study.model_correlations",
    "correlate": "study.own_models",
    "correlate_checkpoints": "study.checkpoint_folder",
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
