"""A trial gives what its parts give, whatever else runs, and its checkpoint is the network of its row."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rnn.harness import robustness
from rnn.models import ModelConfig, build_model
from rnn.study.experiment import ALONG, run_trial
from rnn.study.network_rows import matrix_columns
from rnn.study.trials import Trial, TrialOutcome, plain_row
from rnn.tasks import load_task
from rnn.training import load_checkpoint

SMALL = {"hidden": 8, "epochs": 3, "examples": 25, "trajectories": 4, "methods": ("fgsm", "pgd")}
NAMES = ("none", "radius", "norm-during")


def trial(normalisation: str = "none", **changes: object) -> Trial:
    return Trial("digits", "tanh", normalisation=normalisation, **{**SMALL, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, TrialOutcome]:
    return {name: run_trial(trial(name)) for name in NAMES}


def test_same_trial_same_numbers(outcomes: dict[str, TrialOutcome]) -> None:
    again = run_trial(trial())
    assert again.row == outcomes["none"].row
    assert all(np.array_equal(value, again.arrays[name]) for name, value in outcomes["none"].arrays.items())


def test_every_column_can_be_stored(outcomes: dict[str, TrialOutcome]) -> None:
    for outcome in outcomes.values():
        assert plain_row(outcome.row) == outcome.row
        assert {"spectral_norm", "fooling_all_linf_0.1", "clean_accuracy"} <= set(outcome.row)


def test_the_start_is_that_of_the_untrained_network(outcomes: dict[str, TrialOutcome]) -> None:
    untrained = matrix_columns(build_model(ModelConfig("tanh", features=8, steps=8, hidden=8, seed=0)))
    row, arrays = outcomes["none"].row, outcomes["none"].arrays
    for name in ALONG:
        assert row[f"initial_{name}"] == untrained[name] == arrays[f"along_{name}"][0]
        assert row[name] == arrays[f"along_{name}"][-1]
    assert arrays["along_epochs"].tolist() == [0, 1, 2, 3]


def test_normalisations_reach_their_target(outcomes: dict[str, TrialOutcome]) -> None:
    after, during = outcomes["radius"], outcomes["norm-during"]
    assert after.row["spectral_radius"] == pytest.approx(1, abs=1e-5)
    assert after.row["normalised_from"] == pytest.approx(outcomes["none"].row["spectral_radius"], rel=1e-6)
    assert after.row["test_accuracy"] == outcomes["none"].row["test_accuracy"]  # of before it was normalised
    assert during.row["spectral_norm"] <= 1 + 1e-6
    assert (during.arrays["along_spectral_norm"] <= 1 + 1e-6).all()
    assert "normalised_from" not in during.row


def test_the_checkpoint_is_the_network_of_the_row(outcomes: dict[str, TrialOutcome], tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(outcomes["radius"].weights or b"")
    found = load_checkpoint(path)
    assert (found.task, found.task_seed) == ("digits", 0)
    assert matrix_columns(found.model)["henrici_departure"] == outcomes["radius"].row["henrici_departure"]
    task = load_task("digits")
    chosen = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(360)[:25]))
    curve = robustness(
        found.model,
        task.x_test[chosen],
        task.y_test[chosen],
        methods=["fgsm"],
        norm="linf",
        budgets=(0.02, 0.05, 0.1),
        bounds=(0, 1),
    )
    assert np.array_equal(curve.minimal_budget, outcomes["radius"].arrays["minimal_fgsm_linf"])


def test_the_reference_is_the_worst_at_the_middle_budget(outcomes: dict[str, TrialOutcome]) -> None:
    row = outcomes["none"].row
    assert row["fooling_reference"] == row["fooling_all_linf_0.05"] >= row["fooling_pgd_linf_0.05"]


@pytest.mark.filterwarnings("ignore:.*may be weak")  # of an untrained network
def test_other_kinds_of_tasks(tmp_path: Path) -> None:
    options = (("steps", 6), ("test_size", 20), ("train_size", 40))
    adding = run_trial(Trial("adding", "gru", options=options, **SMALL))  # type: ignore[arg-type]
    assert adding.row["attacked_examples"] == 20
    assert "margin" not in adding.row
    with pytest.raises(ValueError, match="mnist"):
        run_trial(Trial("mnist", "gru", data_root=str(tmp_path), **SMALL))  # type: ignore[arg-type]


def test_modules_are_imported_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_task.py").write_text(
        "import dataclasses, rnn.tasks\n"
        "def mine(seed, data_root, **options):\n"
        "    return dataclasses.replace(rnn.tasks.load_task('digits', rng=seed), name='mine')\n"
        "rnn.tasks.register_task('mine', mine)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = run_trial(Trial("mine", "tanh", modules=("my_own_task",), **SMALL))  # type: ignore[arg-type]
    assert found.row == run_trial(trial()).row
