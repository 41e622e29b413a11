"""One perturbation for all inputs: closed forms, kept budgets, stronger than chance, and judged on others."""

import copy
import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnn.attacking.universal import universal_perturbation
from rnn.attacking.universal_verdicts import UniversalPerturbation
from rnn.models import ModelConfig, build_model
from rnn.study.statistics import wilson_interval
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from spectra.errors import AccuracyWarning

DIGITS = load_task("digits")
X, Y = DIGITS.x_train[:200], DIGITS.y_train[:200]
BUDGETS = {"linf": 0.15, "l2": 0.8, "l1": 3.0}
ORDERS = {"linf": math.inf, "l2": 2, "l1": 1}


@functools.cache
def trained(cell: str = "tanh") -> nn.Module:
    model = build_model(ModelConfig(cell, features=8, steps=8, hidden=24))
    train(model, DIGITS, config=TrainingConfig(epochs=10, learning_rate=1e-2))
    return model


def found(norm: str = "linf", cell: str = "tanh", **changes: Any) -> UniversalPerturbation:
    chosen = {
        "budget": BUDGETS[norm],
        "x_test": DIGITS.x_test,
        "y_test": DIGITS.y_test,
        "bounds": DIGITS.bounds,
        "epochs": 5,
        **changes,
    }
    return universal_perturbation(trained(cell), X, Y, norm=norm, **chosen)


def wrong(delta: Tensor, x: Tensor, y: Tensor, cell: str = "tanh") -> np.ndarray:
    """Whom x + δ turns, by the definition."""
    with torch.no_grad():
        model = copy.deepcopy(trained(cell)).eval()
        clean = model(x).argmax(1) == y
        moved = model((x + delta).clamp(*DIGITS.bounds)).argmax(1) != y
    return (clean & moved).numpy()


quiet = pytest.mark.filterwarnings("ignore:the universal perturbation")  # one start may lead by far


class Linear(nn.Module):
    """Two classes: the first where wᵀx > 0."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.w
        return torch.stack((z, torch.zeros_like(z)), 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("past", [-0.01, 0.01])
def test_the_best_one_for_a_linear_classifier(norm: str, past: float) -> None:
    """All examples of one class with margins wᵀx <= m are turned by δ = -budget w/‖w‖ from m/‖w‖ on."""
    w = torch.tensor([3.0, -1.0, 2.0, 0.5], dtype=torch.float64)
    margins = torch.linspace(0.2, 1.0, 9, dtype=torch.float64)
    x = margins[:, None] * w / w.norm() ** 2
    dual = float(w.abs().sum() if norm == "linf" else w.norm())
    budget = 0.6 / dual * (1 + past)  # of nine margins the fifth is 0.6
    given = {"norm": norm, "budget": budget, "held_out": 0.0}
    result = universal_perturbation(Linear(w), x, torch.zeros(9, dtype=torch.int64), **given)
    assert result.fooled.sum() == (4 if past < 0 else 5)
    direction = w.sign() if norm == "linf" else w / w.norm()
    torch.testing.assert_close(result.delta, -budget * direction)


@quiet
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_record_is_what_the_definition_says(norm: str) -> None:
    result = found(norm)
    assert result.delta.shape == X.shape[1:]
    assert float(torch.linalg.vector_norm(result.delta.double(), ord=ORDERS[norm])) <= BUDGETS[norm] * (
        1 + 1e-6
    )
    np.testing.assert_array_equal(result.fooled, wrong(result.delta, X, Y))
    np.testing.assert_array_equal(result.test_fooled, wrong(result.delta, DIGITS.x_test, DIGITS.y_test))
    for rate, interval, part, right in (
        (result.fooling_rate, result.interval, result.fooled, result.clean_correct),
        (result.test_fooling_rate, result.test_interval, result.test_fooled, result.test_clean_correct),
    ):
        assert rate == part.sum() / right.sum()
        np.testing.assert_allclose(interval, np.ravel(wilson_interval(part.sum(), right.sum())))
        assert interval[0] < rate < interval[1]
    assert result.found.max() == result.fooled.sum()
    assert len(result.found) == 4
    assert result.climbed


@quiet
@pytest.mark.parametrize("cell", ["tanh", "gru"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_it_is_stronger_than_chance_and_than_the_mean_gradient(norm: str, cell: str) -> None:
    result, budget = found(norm, cell), BUDGETS[norm]
    random = torch.Generator().manual_seed(5)
    fit, test = [], []
    for _ in range(20):
        noise = torch.randn(X.shape[1:], generator=random)
        unit = noise.sign() if norm == "linf" else noise / noise.norm(p=ORDERS[norm])
        fit.append(wrong(budget * unit, X, Y, cell).sum())
        test.append(wrong(budget * unit, DIGITS.x_test, DIGITS.y_test, cell).mean())
    assert result.fooled.sum() > 2 * max(fit)
    assert result.test_fooled.mean() > 2 * max(test)
    assert result.random_rate < result.test_interval[0]
    x = X.clone().requires_grad_()
    scores = trained(cell)(x)
    true = scores.gather(1, Y[:, None])[:, 0]
    lead = scores.scatter(1, Y[:, None], -math.inf).logsumexp(1) - true
    right = (scores.argmax(1) == Y).float()
    (g,) = torch.autograd.grad((lead * right).sum(), x)
    mean = g.mean(0)
    unit = mean.sign() if norm == "linf" else mean / mean.norm(p=ORDERS[norm])
    step = wrong(budget * unit, X, Y, cell).sum()
    assert result.fooled.sum() >= step > 0
    assert norm != "linf" or result.fooled.sum() > step


@quiet
def test_larger_budgets_fool_more_and_budget_zero_nobody() -> None:
    counts = [found(budget=budget).test_fooled.sum() for budget in (0.0, 0.05, 0.15, 0.4)]
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert not found(budget=0.0).delta.any()


@quiet
def test_the_same_seed_gives_the_same_whatever_the_batch_size() -> None:
    first, again, parts, other = (
        found(**changes) for changes in ({}, {}, {"batch_size": 13}, {"rng": np.random.default_rng(9)})
    )
    assert torch.equal(first.delta, again.delta)
    assert (first.delta - parts.delta).abs().max() <= 1e-5
    np.testing.assert_array_equal(first.fooled, parts.fooled)
    assert not torch.equal(first.delta, other.delta)


def test_some_examples_are_held_out_if_none_are_given() -> None:
    given = {"norm": "linf", "budget": 0.1, "bounds": DIGITS.bounds, "epochs": 2, "starts": 1}
    result = universal_perturbation(trained(), X, Y, **given)
    assert (len(result.fooled), len(result.test_fooled), len(result.held_out)) == (150, 50, 50)
    rest = np.setdiff1d(np.arange(200), result.held_out)
    np.testing.assert_array_equal(result.fooled, wrong(result.delta, X[rest], Y[rest]))
    np.testing.assert_array_equal(
        result.test_fooled, wrong(result.delta, X[result.held_out], Y[result.held_out])
    )
    # the held-out ones have no say: with other labels there the same perturbation comes out
    labels = Y.clone()
    labels[result.held_out] = (labels[result.held_out] + 1) % 10
    assert torch.equal(universal_perturbation(trained(), X, labels, **given).delta, result.delta)
    none = universal_perturbation(trained(), X, Y, held_out=0.0, **given)
    assert (len(none.fooled), len(none.test_fooled)) == (200, 0)
    assert none.test_interval.tolist() == [0, 1]
    with pytest.raises(ValueError, match="test_fooling_rate is undefined: no examples were held out"):
        _ = none.test_fooling_rate
    assert "held out" not in str(none)


@quiet
def test_bounds_and_frames_bind() -> None:
    bright = found("l2", frames="each", budget=0.3)
    norms = bright.delta.double().norm(dim=1)
    assert (norms <= 0.3 * (1 + 1e-6)).all()
    assert (norms > 0.2).sum() > 4
    assert bright.fooled.sum() > found("l2", budget=0.3).fooled.sum()
    assert str(bright).startswith("UniversalPerturbation of l2 0.3 in each frame: fools ")
    # a box that the data fill leaves nothing outwards, so that the pull goes inwards
    x = torch.tensor([[1.0, 0.4], [1.0, 0.5]], dtype=torch.float64)
    model = Linear(torch.tensor([-1.0, 2.0], dtype=torch.float64))
    given = {"norm": "l2", "budget": 0.5, "bounds": (0.0, 1.0), "held_out": 0.0}
    result = universal_perturbation(model, x, torch.tensor([1, 1]), **given)
    assert result.clean_correct.tolist() == [True, False]
    assert result.fooled.tolist() == [True, False]


class Longest(nn.Module):
    """Logits after the last frame of each sequence, packed or padded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x: Any, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(self.layer(x)[1][0])


@quiet
def test_sequences_of_any_length_packed_or_padded() -> None:
    torch.manual_seed(0)
    model, x = Longest(), torch.rand(40, 6, 8)
    lengths = torch.arange(40) % 5 + 2
    with torch.no_grad():
        y = model(x, lengths).argmax(1)
    given = {"norm": "linf", "budget": 0.3, "held_out": 0.0, "epochs": 4}
    padded = universal_perturbation(model, x, y, lengths=lengths, **given)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    again = universal_perturbation(model, packed, y, **given)
    torch.testing.assert_close(padded.delta, again.delta)
    with torch.no_grad():
        moved = model(x + padded.delta, lengths).argmax(1) != y
    np.testing.assert_array_equal(padded.fooled, moved.numpy())
    assert padded.fooled.sum() > 3
    late = x.clone()
    late[torch.arange(6) >= lengths[:, None]] = 50.0  # padding has no say
    other = universal_perturbation(model, late, y, lengths=lengths, **given)
    torch.testing.assert_close(other.delta, padded.delta)
    test = universal_perturbation(
        model, x, y, lengths=lengths, x_test=x, y_test=y, lengths_test=lengths,
        **{**given, "held_out": None},
    )  # fmt: skip
    np.testing.assert_array_equal(test.test_fooled, test.fooled)


def test_labels_of_frames_and_regression() -> None:
    torch.manual_seed(0)
    layer = nn.GRU(3, 4, batch_first=True)
    x = torch.randn(60, 5, 3)
    with torch.no_grad():
        y = layer(x)[0]
    given = {"norm": "l2", "budget": 1.5, "held_out": 0.0, "epochs": 3, "starts": 1}
    frames = universal_perturbation(layer, x, y.argmax(2), **given)
    with torch.no_grad():
        turned = (layer(x + frames.delta)[0].argmax(2) != y.argmax(2)).any(1)
    np.testing.assert_array_equal(frames.fooled, turned.numpy())
    most = universal_perturbation(layer, x, y.argmax(2), wrong_share=0.5, **given)
    assert 0 < most.fooled.sum() < frames.fooled.sum()
    numbers = universal_perturbation(layer, x, y, tolerance=0.3, **given)
    with torch.no_grad():
        far = ((layer(x + numbers.delta)[0] - y).abs() > 0.3).flatten(1).any(1)
    np.testing.assert_array_equal(numbers.fooled, far.numpy())
    assert numbers.fooled.sum() > 5


class Masked(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = trained(), kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "detached":
            return self.inner(x.detach())
        if self.kind == "rounded":
            return self.inner((x * 8).round() / 8)
        z = self.inner(x)
        if self.kind == "infinite":
            return z + 1e-3 * x.flatten(1)[:, :10].abs().sqrt()
        return 2 * z.detach() - z


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("rounded", "met a gradient of exactly 0: something saturates or is rounded"),
        ("infinite", "met NaN or infinite gradients, taken as 0"),
        ("reversed", "nothing that gradients found beats a random perturbation"),
    ],
)
def test_masked_gradients_are_noticed(kind: str, said: str) -> None:
    given = {"norm": "linf", "budget": 0.25, "bounds": DIGITS.bounds, "epochs": 2, "starts": 2}
    with pytest.warns(
        AccuracyWarning, match=f"the universal perturbation of linf 0.25 may be weak: .*{said}"
    ):
        result = universal_perturbation(Masked(kind), X, Y, **given)
    assert result.climbed == (kind != "reversed")
    assert result.delta.isfinite().all()
    assert result.fooled.sum() >= (kind != "rounded")


def test_a_start_that_leads_by_far_is_a_sign_from_two_percent_on() -> None:
    result = found(epochs=1, starts=1, budget=0.1)
    assert result.signs == ()
    count, best = int(result.clean_correct.sum()), int(result.fooled.sum())
    few = int(0.02 * count)
    assert dataclasses.replace(result, found=np.array([best, best - few])).signs == ()
    (sign,) = dataclasses.replace(result, found=np.array([best - few - 1, best])).signs
    assert sign == f"one of 2 starts fools {few + 1} more than any other, take more"


def test_where_no_prediction_is_right_there_is_nothing_to_fool() -> None:
    with torch.no_grad():
        y = (trained()(X).argmax(1) + 1) % 10
    result = universal_perturbation(trained(), X, y, norm="linf", budget=0.1)
    assert not result.fooled.any()
    assert not result.delta.any()
    for name in ("fooling_rate", "test_fooling_rate"):
        with pytest.raises(ValueError, match=f"{name} is undefined: none of the examples"):
            getattr(result, name)


@pytest.mark.parametrize("failing", [False, True])
def test_the_model_comes_back_untouched(failing: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Dropout(0.5), nn.Linear(20, 10)
    )
    model[1].weight.requires_grad_(False)
    model[1].bias.grad = torch.ones(20)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x, random = X.clone(), torch.random.get_rng_state()
    given = {"norm": "l2", "budget": 0.3, "epochs": 1}
    if failing:
        with pytest.raises(ValueError, match="y holds the label 10"):
            universal_perturbation(model, X, torch.full_like(Y, 10), **given)
    else:
        universal_perturbation(model, X, Y, starts=1, **given)
    assert torch.equal(X, x)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model[1].parameters()] == [False, True]
    assert torch.equal(model[1].bias.grad, torch.ones(20))


def test_records_are_saved_and_read(tmp_path: Path) -> None:
    result = found(epochs=1, starts=1, budget=0.1)
    result.save(tmp_path / "found.npz")
    again = UniversalPerturbation.load(tmp_path / "found.npz")
    assert torch.equal(again.delta, result.delta)
    assert str(again) == str(result)
    assert f"held out {result.test_fooled.sum()} of {result.test_clean_correct.sum()}" in str(result)
    for changes in (
        {"fooled": np.zeros(3, bool)}, {"test_fooled": np.zeros(3, bool)}, {"interval": np.zeros(3)},
    ):  # fmt: skip
        dataclasses.replace(result, **changes).save(tmp_path / "damaged.npz")
        with pytest.raises(ValueError, match="no saved result"):
            UniversalPerturbation.load(tmp_path / "damaged.npz")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"norm": "l3"}, ValueError, "norm"),
        ({"budget": -1}, ValueError, "budget"),
        ({"frames": "worst"}, ValueError, "frames"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"starts": 0}, ValueError, "starts"),
        ({"minibatch": 0.5}, TypeError, "minibatch"),
        ({"level": 1.0}, ValueError, "level is 1.0; expected a coverage"),
        ({"bounds": (0.2, 1.0)}, ValueError, "outside bounds"),
        ({"held_out": 1.0}, ValueError, "held_out is 1.0; expected a share"),
        ({"held_out": 0.001}, ValueError, "held_out is 0.001, of 200 examples 0; expected some on both"),
        ({"held_out": 0.999}, ValueError, "of 200 examples 200"),
        ({"x_test": X}, ValueError, "x_test and y_test belong together"),
        ({"lengths_test": [3]}, ValueError, "lengths_test to them"),
        ({"x_test": X, "y_test": Y, "held_out": 0.1}, ValueError, "held_out is given beside x_test"),
        ({"x_test": X[:, :4], "y_test": Y}, ValueError, r"shape \(4, 8\) and \(\), x and y of \(8, 8\)"),
        ({"x": X.half()}, TypeError, "x holds torch.float16"),
        ({"model": Masked("detached")}, ValueError, "no gradient leads to a universal perturbation"),
    ],
)
def test_refusals(changes: dict[str, Any], error: type[Exception], said: str) -> None:
    chosen = {"model": trained(), "x": X, "y": Y, "norm": "linf", "budget": 0.1, **changes}
    with pytest.raises(error, match=said):
        universal_perturbation(chosen.pop("model"), chosen.pop("x"), chosen.pop("y"), **chosen)
