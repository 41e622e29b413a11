"""An attack that is too weak says so: masked or broken gradients, points missed, rounds that still help."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rnn.attacks
from rnn.attacking.strength import AttackStrength, lead
from rnn.attacking.verdicts import AttackResult, RobustnessCurve
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
        if self.kind == "NaN gradient":  # 0 times infinity, where x is 0
            return z + 0 * x.flatten(1)[:, :10].abs().sqrt()
        if self.kind == "noise":
            return z + 0.3 * torch.randn_like(z)
        if self.kind == "detached frames":
            return self.inner(torch.cat((x[:, :7].detach(), x[:, 7:]), 1))
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


@pytest.mark.parametrize("method", ["fgsm", "pgd", "apgd-ce", "fab"])
@pytest.mark.parametrize("kind", ["infinite gradient", "NaN gradient"])
def test_broken_gradients_are_taken_as_zero_and_noticed(kind: str, method: str) -> None:
    with pytest.warns(AccuracyWarning, match="met NaN or infinite gradients, taken as 0"):
        result = struck(kind, method)
    assert result.strength.broken > 0.5 * result.strength.resisted > 0
    assert result.perturbed.isfinite().all()


def test_gradients_cut_off_in_part_give_no_sign_but_square_finds_more() -> None:
    """A gradient that is exact for one frame and 0 for others looks like that of a network that is so."""
    weak = struck("detached frames", budget=0.1)
    strong = struck("detached frames", "square", budget=0.1, steps=200)
    assert 2 * weak.fooled.sum() < strong.fooled.sum() <= struck("none", budget=0.1).fooled.sum()


# Models that answer differently when asked again


@pytest.mark.parametrize("method", ["fgsm", "noise-gaussian"])
def test_a_model_that_draws_random_numbers_is_noticed(method: str) -> None:
    said = "80 clean inputs with different scores: it draws random numbers or remembers, so that the verdict"
    with pytest.warns(AccuracyWarning, match=said):
        result = struck("noise", method)
    assert result.unsteady.all()
    assert result.strength.unsteady == 80
    again = pytest.warns(AccuracyWarning, match=said)
    with again:
        np.testing.assert_array_equal(struck("noise", method).success, result.success)  # the seed draws it
    with pytest.warns(AccuracyWarning, match=said):
        curve = robustness(Defended("noise"), X, Y, methods=[method], norm="linf", budgets=[0.0, 0.05])
    assert curve.unsteady == 80


class Remembering(nn.Module):
    """Counts its calls, and lets the count into every fourth answer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MODEL
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        z = self.inner(x)
        return z + self.calls * 1e-2 * (torch.arange(len(x)) % 4 == 0)[:, None] * torch.eye(10)[0]


def test_a_model_that_remembers_is_noticed_example_by_example() -> None:
    with pytest.warns(AccuracyWarning, match="20 clean inputs with different scores"):
        result = attack(Remembering(), X, Y, method="fgsm", norm="linf", budget=0.02)
    np.testing.assert_array_equal(result.unsteady, np.arange(80) % 4 == 0)


def test_dropout_and_rounding_are_no_sign_of_it() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)).train()
    result = attack(model, X, Y, method="fgsm", norm="linf", budget=0.02, batch_size=7)
    assert not result.unsteady.any()


# Repeats


def test_repeats_are_runs_of_their_own_and_count_together() -> None:
    given = {"budget": 0.06, "steps": 3, "rounds": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        alone, three = struck("none", **given), struck("none", repeats=3, **given)
        assert "repeats" not in str(alone)
        assert str(three).endswith(
            f"repeats alone leave {', '.join(map(str, three.robust_counts))} right, "
            f"together {(~three.success).sum()}"
        )
    assert three.robust_counts[0] == alone.robust_counts[0] == (~alone.success).sum()
    assert (~three.success).sum() <= three.robust_counts.min()
    assert len({*three.robust_counts}) > 1  # they differ
    np.testing.assert_array_equal(three.fooled, three.times > 0)
    np.testing.assert_array_equal(alone.times, alone.fooled)
    assert three.times.sum() == 3 * alone.clean_correct.sum() - (three.robust_counts).sum()
    assert three.success[alone.success].all()
    assert torch.equal(three.perturbed[alone.fooled], alone.perturbed[alone.fooled])
    assert three.strength.repeats == 3
    assert three.strength.once == (three.times == 1).sum()
    with torch.no_grad():
        np.testing.assert_array_equal((MODEL(three.perturbed).argmax(1) != Y).numpy(), three.success)


def test_repeats_of_what_draws_nothing_agree() -> None:
    once, result = struck("none", "fgsm"), struck("none", "fgsm", repeats=2)
    np.testing.assert_array_equal(result.queries, 2 * once.queries)
    assert len({*result.robust_counts}) == 1
    assert set(result.times) == {0, 2}
    assert result.strength.once == 0
    with pytest.raises(ValueError, match="repeats"):
        struck("none", "fgsm", repeats=0)


def test_repeats_that_find_others_say_that_more_would() -> None:
    with pytest.warns(AccuracyWarning, match="were turned by only one of 2 repeats, so that one more may"):
        result = struck("none", "noise-uniform", budget=0.3, repeats=2, rounds=1)
    assert result.strength.once > 0.04 * result.strength.attacked


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
        assert ("try method='square' (--method square)" in sign) == (name == "flat")
    assert dataclasses.replace(none, unsteady=2).signs == ()
    assert "answers 3 clean inputs" in dataclasses.replace(none, unsteady=3).signs[0]
    assert dataclasses.replace(none, once=8, repeats=4).signs == ()
    (sign,) = dataclasses.replace(none, once=9, repeats=3).signs
    assert "9 examples were turned by only one of 3 repeats, so that one more may turn about 3 others" in sign
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
    resisted = ~rounds.success
    assert (rounds.queries[resisted] == rounds.gradients[resisted] + 3).all()  # a last look in each round
    assert rounds.gradients[resisted].min() >= 3 * 2  # who is hopeless leaves from the second step on
    assert rounds.gradients[resisted].max() == 3 * 4
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


def test_a_curve_carries_its_signs_by_method_and_budget(tmp_path: Path) -> None:
    given = {"norm": "linf", "bounds": DIGITS.bounds, "budgets": [0.0, 0.04, 0.08]}
    with pytest.warns(AccuracyWarning, match="gradient of exactly 0"):
        curve = robustness(Defended("quantised logits"), X, Y, methods=["fgsm", "pgd"], **given)
    attacked = int((curve.minimal_budget > 0).sum())
    assert curve.rounds.tolist() == [1, 5]
    assert curve.turned.shape == curve.last.shape == (3, 2)
    assert (curve.last <= curve.turned).all()
    for b, size in enumerate(curve.budgets):
        assert curve.turned[b].sum() == (curve.minimal_budget == size).sum() * (size > 0)
        assert curve.strengths[b].resisted == (curve.minimal_budget > size).sum()
        assert curve.strengths[b].attacked == attacked
    assert curve.strengths[0].signs == ()
    assert curve.strengths[2].flat > 0.5 * curve.strengths[2].resisted > 0
    curve.save(tmp_path / "curve.npz")
    assert RobustnessCurve.load(tmp_path / "curve.npz").strengths == curve.strengths
    with np.load(tmp_path / "curve.npz", allow_pickle=False) as file:
        np.savez(tmp_path / "older.npz", **{name: file[name] for name in file.files if name != "flat"})
    assert RobustnessCurve.load(tmp_path / "older.npz").strengths == ()


def test_a_curve_says_whose_last_round_still_turned_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rnn.attacks.ATTACKS, "pgd", Late)
    given = {"norm": "linf", "bounds": DIGITS.bounds, "budgets": [0.05]}
    with pytest.warns(AccuracyWarning, match="the last of 5 rounds still turned"):
        curve = robustness(MODEL, X, Y, methods=["noise-uniform", "pgd"], **given)
    assert curve.strengths[0].last == curve.last[0, 1] == curve.turned[0, 1] > 3


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


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_later_frame_that_cannot_move_earlier_answers_is_no_flat_gradient(scale: float) -> None:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(scale * x)[0]  # a large scale saturates the gates

    x = torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = Tagger()(x).argmax(2)
    given: dict[str, Any] = {"method": "pgd", "norm": "linf", "budget": 1e-4, "frames": "worst"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = attack(Tagger(), x, y, **given)
        curve = robustness(
            Tagger(), x, y, methods=["pgd"], norm="linf", budgets=[1e-4], frames="worst"
        ).strengths[0]
    assert found.strength.resisted > 6
    assert found.strength.flat == curve.flat
    flat = "met a gradient of exactly 0"
    assert (flat in str(found.strength)) == (scale > 1)
    assert any(flat in str(one.message) for one in caught) == (scale > 1)


def test_apgd_on_one_loss_is_weak_in_l1() -> None:
    given: dict[str, Any] = {"norm": "l1", "bounds": DIGITS.bounds}
    with pytest.warns(AccuracyWarning, match="met APGD on one loss only, which is weak in l1: take 'pgd'"):
        found = attack(MODEL, X[:20], Y[:20], method="apgd-ce", budget=0.01, steps=2, **given)
    assert found.strength.sparse == found.strength.resisted > 0
    options = {"apgd-ce": {"steps": 2}, "apgd-dlr": {"steps": 2}}
    with pytest.warns(AccuracyWarning, match="weak in l1"):
        curve = robustness(MODEL, X[:20], Y[:20], methods=options, budgets=[0.0, 0.01], **given)
    assert [one.sparse > 0 for one in curve.strengths] == [False, True]
    curve = robustness(MODEL, X[:20], Y[:20], methods=options | {"pgd": {}}, budgets=[0.01], **given)
    assert curve.strengths[0].sparse == 0
    assert attack(MODEL, X[:20], Y[:20], method="apgd-ce", budget=0.0, **given).strength.sparse == 0
