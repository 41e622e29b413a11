"""Brackets: what several attacks leave right, each alone and all together, above what is proven."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rnn.attacking.bracket_verdicts import TOGETHER, RobustnessBracket
from rnn.attacking.brackets import robustness_bracket
from rnn.bounds.certification import certified_accuracy
from rnn.harness import attack
from rnn.models import ModelConfig, build_model, logits
from spectra.errors import AccuracyWarning

BUDGETS = [0.1, 0.02, 0.05]


@pytest.fixture(scope="module")
def judged() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """An untrained network, its own predictions as labels but for two mistakes."""
    model = build_model(ModelConfig("tanh", features=3, steps=4, hidden=5, classes=4, gain=2.0)).eval()
    x = torch.rand(30, 4, 3, generator=torch.Generator().manual_seed(0))
    y = logits(model, x).argmax(1).detach()
    y[:2] = (y[:2] + 1) % 4
    return model, x, y


@pytest.fixture(scope="module")
def bracket(judged: tuple) -> RobustnessBracket:
    return robustness_bracket(
        *judged,
        methods={"fgsm": {}, "pgd": {"steps": 5}},
        norm="linf",
        budgets=BUDGETS,
        certify=True,
        bounds=(0, 1),
    )


def test_each_curve_is_what_the_harness_says(judged: tuple, bracket: RobustnessBracket) -> None:
    np.testing.assert_array_equal(bracket.budgets, [0.02, 0.05, 0.1])
    for name, options in (("fgsm", {}), ("pgd", {"steps": 5})):
        turned = np.zeros(30, dtype=bool)
        curve = bracket.curve(name)
        for place, budget in enumerate(bracket.budgets):
            one = attack(*judged, method=name, norm="linf", budget=float(budget), bounds=(0, 1), **options)
            turned |= one.success
            assert curve.accuracy[place] == (~turned).mean()
            assert curve.lower[place] <= curve.accuracy[place] <= curve.upper[place]
    assert bracket.clean_accuracy == curve.clean_accuracy == 28 / 30


def test_all_together_is_the_worst_and_above_what_is_proven(
    judged: tuple, bracket: RobustnessBracket
) -> None:
    together = bracket.curves[TOGETHER]
    np.testing.assert_array_equal(together.minimal_budget, bracket.minimal_budget.min(axis=0))
    for curve in bracket.curves.values():
        assert (together.accuracy <= curve.accuracy).all()
        assert (np.diff(curve.accuracy) <= 0).all()
    proven = certified_accuracy(*judged, norm="linf", budgets=BUDGETS, bounds=(0, 1))
    np.testing.assert_array_equal(bracket.certified, proven.certified)
    share, lower, upper = bracket.certified_interval
    np.testing.assert_array_equal(share, proven.accuracy)
    np.testing.assert_allclose([lower, upper], [proven.lower, proven.upper], atol=1e-12)
    assert (share <= together.accuracy).all()
    assert 0 < together.accuracy[-1] < together.accuracy[0], "nothing to see"
    turned = np.isfinite(bracket.minimal_budget.min(axis=0))
    assert not (bracket.certified & (bracket.minimal_budget.min(axis=0) <= bracket.budgets[:, None])).any()
    assert turned.any()


def test_the_inputs_found_are_wrong_and_within_their_budget(
    judged: tuple, bracket: RobustnessBracket
) -> None:
    model, x, y = judged
    smallest = bracket.minimal_budget.min(axis=0)
    found = torch.from_numpy(bracket.perturbed)
    wrong = (logits(model, found).argmax(1) != y).numpy()
    np.testing.assert_array_equal(wrong, np.isfinite(smallest))
    lengths = np.abs(bracket.perturbed - x.numpy()).reshape(30, -1).max(axis=1)
    assert (lengths[wrong] <= smallest[wrong] + 1e-6).all()
    assert (lengths[~wrong] == 0).all()
    assert (lengths[smallest == 0] == 0).all()


def test_rows_and_json_hold_plain_numbers(bracket: RobustnessBracket) -> None:
    rows = bracket.rows
    assert [row["method"] for row in rows[::3]] == ["fgsm", "pgd", TOGETHER]
    for row in rows:
        assert row["clean_correct"] == 28
        assert row["fooled"] == round((28 / 30 - row["robust_accuracy"]) * 30)
        assert row["fooling_rate"] == row["fooled"] / 28
        assert row["certified_accuracy"] <= row["robust_accuracy"]
    content = json.loads(bracket.to_json({"network": "mine"}))
    assert next(iter(content)) == "network"
    assert content["rows"] == rows
    assert content["minimal_budget"]["pgd"][:2] == [0.0, 0.0]
    assert None in content["minimal_budget"]["pgd"]


def test_a_bracket_is_a_record(bracket: RobustnessBracket, tmp_path: Path) -> None:
    bracket.save(tmp_path / "b.npz")
    again = RobustnessBracket.load(tmp_path / "b.npz")
    assert again.rows == bracket.rows
    np.testing.assert_array_equal(again.perturbed, bracket.perturbed)
    assert "certified: " in str(bracket)
    assert "\n" not in str(bracket)
    with pytest.raises(ValueError, match="method is 'fab'; expected one of 'fgsm', 'pgd'"):
        bracket.curve("fab")


def test_progress_counts_attacks_and_the_proof(judged: tuple) -> None:
    seen: list[tuple[int, int]] = []
    robustness_bracket(
        *judged, methods=["fgsm", "deepfool"], norm="l2", budgets=[0.1, 0.2], certify=True,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert [done for done, _ in seen] == [0, 1, 2, 2, 3, 3, 4, 4, 5]
    assert {total for _, total in seen} == {5}


def test_one_method_needs_no_other_name_and_no_proof_leaves_no_rows(judged: tuple) -> None:
    found = robustness_bracket(*judged, methods=["fgsm"], norm="l1", budgets=[0.0, 0.2])
    assert list(found.curves) == ["fgsm"]
    assert found.certified.shape == (0, 30)
    assert "certified_accuracy" not in found.rows[0]
    assert "certified" not in str(found)
    assert found.rows[0]["fooled"] == 0
    assert found.rows[0]["robust_accuracy"] == found.clean_accuracy


def test_repeats_can_only_find_more(judged: tuple) -> None:
    wanted = {"methods": ["noise-uniform"], "norm": "linf", "budgets": [0.2]}
    once, often = (robustness_bracket(*judged, **wanted, repeats=repeats) for repeats in (1, 6))
    assert (often.minimal_budget <= once.minimal_budget).all()
    assert often.queries.sum() > 3 * once.queries.sum()


def test_nothing_right_is_no_rate_of_nothing(judged: tuple) -> None:
    model, x, y = judged
    found = robustness_bracket(model, x, (y + 1) % 4, methods=["fgsm"], norm="l2", budgets=[0.1])
    wrong = found.minimal_budget[0] == 0
    assert wrong[2:].all()
    none = robustness_bracket(model, x[2:], (y[2:] + 1) % 4, methods=["fgsm"], norm="l2", budgets=[0.1])
    assert none.rows[0]["fooling_rate"] is None


class Rounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (4 * x.flatten(1)[:, :2]).round()


def test_weak_attacks_are_named_and_warned_of() -> None:
    x = torch.rand(20, 3, generator=torch.Generator().manual_seed(1))
    y = Rounded()(x).argmax(1)
    with pytest.warns(AccuracyWarning, match="may be weak"):
        found = robustness_bracket(Rounded(), x, y, methods=["pgd"], norm="linf", budgets=[0.05])
    assert any("pgd at linf 0.05: " in sign and "gradient" in sign for sign in found.signs)


class Cut(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach().flatten(1)[:, :2]


def test_a_method_that_was_replaced_is_named() -> None:
    x = torch.rand(8, 3, generator=torch.Generator().manual_seed(1))
    with pytest.warns(AccuracyWarning, match="'square' takes its place"):
        found = robustness_bracket(Cut(), x, Cut()(x).argmax(1), methods=["pgd"], norm="linf", budgets=[0.3])
    assert "pgd at linf 0.3: the model has no gradients, square took its place" in found.signs


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"methods": ["wish"]}, ValueError, "'wish'; expected one of"),
        ({"methods": "pgd"}, TypeError, "methods is 'pgd'"),
        ({"methods": {"fgsm": {"steps": 3}}}, TypeError, "steps is no option of method 'fgsm'"),
        ({"norm": "l7"}, ValueError, "norm is 'l7'"),
        ({"budgets": [-0.1]}, ValueError, "budget is -0.1"),
        ({"budgets": []}, ValueError, "budgets is empty"),
        ({"budgets": 0.1}, TypeError, "budgets is 0.1; expected a sequence"),
        ({"bounds": (0.5, 0.6)}, ValueError, "outside bounds"),
        ({"level": 2.0}, ValueError, "level is 2"),
        ({"frames": "some"}, ValueError, "frames is 'some'"),
        ({"certify": True, "norm": "l1"}, ValueError, "norm is 'l1'; expected one of 'linf', 'l2'"),
        ({"certify": True, "norm": "l2", "frames": "each"}, ValueError, "more than is certified"),
        ({"certify": True, "lengths": [4] * 30}, ValueError, "lengths is given, but certificates"),
        ({"repeats": 0}, ValueError, "repeats is 0"),
        ({"steps": 3}, TypeError, "steps"),
    ],
)
def test_bad_input_is_refused_before_the_first_attack(
    judged: tuple, options: dict, kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attacked(*_: object, **__: object) -> None:
        raise AssertionError("an attack was made")

    monkeypatch.setattr("rnn.attacking.brackets.attack", attacked)
    wanted = {"methods": ["fgsm"], "norm": "linf", "budgets": [0.1]} | options
    with pytest.raises(kind, match=words):
        robustness_bracket(*judged, **wanted)


def test_packed_sequences_are_refused_with_the_way_out(judged: tuple) -> None:
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 2)])
    with pytest.raises(TypeError, match="x is a PackedSequence; expected a tensor: padded sequences"):
        robustness_bracket(judged[0], packed, [0], methods=["fgsm"], norm="l2", budgets=[0.1])


def test_records_that_do_not_fit_together_are_not_loaded(bracket: RobustnessBracket, tmp_path: Path) -> None:
    import dataclasses

    for change in ({"queries": bracket.queries[:1]}, {"certified": bracket.certified[:1]}):
        dataclasses.replace(bracket, **change).save(tmp_path / "b.npz")
        with pytest.raises(ValueError, match=r"b\.npz"):
            RobustnessBracket.load(tmp_path / "b.npz")
