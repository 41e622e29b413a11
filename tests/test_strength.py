"""An attack that is too weak says so: masked or broken gradients, points missed, rounds that still help."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rnn.attacks
from rnn.attacking.strength import AttackStrength, lead
from rnn.attacking.verdicts import AttackResult
from rnn.attacks import FGSM, PGD
from rnn.harness import attack, robustness
from rnn.models import ModelConfig, build_model
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from spectra.errors import AccuracyWarning

DIGITS = load_task("digits")
X, Y = DIGITS.x_test[:80], DIGITS.y_test[:80]
MODEL = build_model(ModelConfig("tanh", features=8, steps=8))
train(MODEL, DIGITS, config=TrainingConfig(epochs=8, learning_rate=1e-2))


class Defended(nn.Module):
    """The same predictions behind a defence that hides the gradient."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = MODEL, kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "rounded inputs":
            return self.inner((x * 16).round() / 16)
        z = self.inner(x)
        if self.kind == "quantised logits":
            return z.mul(8).round() / 8
        if self.kind == "saturated logits":
            return z * 1e4
        if self.kind == "reversed gradient":
            return 2 * z.detach() - z
        if self.kind == "infinite gradient":
            return z + 1e-3 * x.flatten(1)[:, :10].abs().sqrt()  # steep where x is 0
        return z


def struck(kind: str, method: str = "pgd", **changes: Any) -> AttackResult:
    chosen = {"norm": "linf", "budget": 0.05, "bounds": DIGITS.bounds, **changes}
    return attack(Defended(kind), X, Y, method=method, **chosen)


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
@pytest.mark.parametrize("kind", ["rounded inputs", "quantised logits", "saturated logits"])
def test_masked_gradients_are_noticed(kind: str, method: str) -> None:
    with pytest.warns(AccuracyWarning, match=rf"{method} at linf 0.05 may be weak: .* gradient of exactly 0"):
        result = struck(kind, method)
    assert result.strength.flat > 0.5 * result.strength.resisted > 0


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_plain_model_raises_no_suspicion(method: str, norm: str) -> None:
    budget = {"linf": 0.05, "l2": 0.3, "l1": 1.0}[norm]
    result = struck("none", method, norm=norm, budget=budget)  # a warning would be an error
    assert result.strength.signs == ()
    assert str(result.strength) == "no sign of weakness"
    assert result.strength.resisted == (~result.success).sum() > 0
    assert struck("none", method, budget=0.0).strength.signs == ()


def test_a_gradient_that_points_downhill_is_noticed() -> None:
    with pytest.warns(AccuracyWarning, match="the loss never rose, although the gradient promised it"):
        result = struck("reversed gradient", steps=3, rounds=1)
    assert result.strength.stuck > 0.5 * result.strength.resisted


def test_infinite_gradients_are_taken_as_zero_and_noticed() -> None:
    with pytest.warns(AccuracyWarning, match="met NaN or infinite gradients, taken as 0"):
        result = struck("infinite gradient")
    assert result.strength.broken > 0
    assert result.perturbed.isfinite().all()


class Idle(PGD):
    def perturb(self, objective: Any, x: torch.Tensor, threat: Any, **_: Any) -> torch.Tensor:
        return x


class Late(PGD):
    """Finds nothing before its last round."""

    def perturb(self, objective: Any, x: torch.Tensor, threat: Any, **more: Any) -> torch.Tensor:
        return x if more["turn"] < 4 else FGSM().perturb(objective, x, threat, **more)


@pytest.mark.parametrize(
    ("kind", "message"),
    [(Idle, "are turned by one step along the log-odds"), (Late, "the last of 5 rounds still turned")],
)
def test_what_was_missed_or_found_last_is_noticed(
    kind: type, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rnn.attacks.ATTACKS, "pgd", kind)
    with pytest.warns(AccuracyWarning, match=message):
        result = struck("none")
    plain = struck("none", "fgsm")
    found = result.strength.missed if kind is Idle else result.strength.last
    assert found == plain.fooled.sum() > 3


def test_a_sign_counts_from_two_percent_on() -> None:
    none = AttackStrength(attacked=100, resisted=50, flat=0, broken=0, stuck=0, missed=0, rounds=2, last=0)
    for name in ("flat", "broken", "stuck", "missed", "last"):
        assert dataclasses.replace(none, **{name: 2}).signs == ()
        (sign,) = dataclasses.replace(none, **{name: 3}).signs
        assert " 3 " in f" {sign} "
    few = dataclasses.replace(none, attacked=10)
    assert dataclasses.replace(few, last=1).signs == ()
    assert len(dataclasses.replace(few, missed=1).signs) == len(dataclasses.replace(few, last=2).signs) == 1


@pytest.mark.parametrize("batch_size", [None, 7])
def test_queries_are_counted_example_by_example(batch_size: int | None) -> None:
    result = struck("none", "fgsm", batch_size=batch_size)
    np.testing.assert_array_equal(result.queries, 2 * result.clean_correct)  # a gradient, and a last look
    np.testing.assert_array_equal(result.gradients, 1 * result.clean_correct)
    assert result.turned.tolist() == [result.fooled.sum()]
    rounds = struck("none", "pgd", steps=4, rounds=3, batch_size=batch_size)
    assert rounds.turned.sum() == rounds.fooled.sum()
    assert (rounds.queries[~rounds.success] == 3 * 5).all()
    assert (rounds.gradients[~rounds.success] == 3 * 4).all()
    assert (rounds.queries[rounds.fooled] >= 2).all()


def test_queries_of_a_curve_are_those_of_its_attacks() -> None:
    given = {"norm": "linf", "bounds": DIGITS.bounds}
    curve = robustness(MODEL, X, Y, methods=["fgsm"], budgets=[0.0, 0.02, 0.05], **given)
    tried = (curve.minimal_budget > 0).astype(int) + (curve.minimal_budget > 0.02)
    np.testing.assert_array_equal(curve.queries, 2 * tried)


@pytest.mark.parametrize("kind", ["rounded inputs", "quantised logits", "saturated logits"])
def test_the_ensemble_notices_masked_gradients(kind: str) -> None:
    with pytest.warns(AccuracyWarning, match="worst at linf 0.03 may be weak: .* gradient of exactly 0"):
        struck(kind, "worst", budget=0.03, steps=5, classes=3)


@pytest.mark.parametrize("methods", [["fgsm"], ["fgsm", "pgd"]])
def test_a_curve_of_weak_attacks_says_so_once(methods: list[str]) -> None:
    given = {"norm": "linf", "bounds": DIGITS.bounds, "budgets": [0.0, 0.02, 0.05]}
    pattern = f"the worst of {', '.join(methods)} at linf 0.02 may be weak: .* gradient of exactly 0"
    with pytest.warns(AccuracyWarning, match=pattern) as seen:
        robustness(Defended("quantised logits"), X, Y, methods=methods, **given)
    assert len(seen) == 1
    robustness(MODEL, X, Y, methods=methods, **given)  # a warning would be an error


def test_strength_is_saved_and_an_older_file_has_none(tmp_path: Path) -> None:
    with pytest.warns(AccuracyWarning):
        result = struck("quantised logits")
    result.save(tmp_path / "result.npz")
    loaded = AttackResult.load(tmp_path / "result.npz")
    assert loaded.strength == result.strength
    np.testing.assert_array_equal(loaded.queries, result.queries)
    with np.load(tmp_path / "result.npz", allow_pickle=False) as file:
        older = {
            name: file[name] for name in file.files if name not in {"queries", "flat", "missed", "turned"}
        }
    np.savez(tmp_path / "older.npz", **older)
    assert AttackResult.load(tmp_path / "older.npz").strength.flat == 0


def test_the_lead_is_that_of_the_likeliest_wrong_class() -> None:
    scores = torch.tensor([[1.0, 4.0, 2.0], [5.0, 4.0, 2.0], [1.0, 1.0, 0.0]])
    assert lead(scores, torch.tensor([1, 1, 0])).tolist() == [-2.0, 1.0, 0.0]
