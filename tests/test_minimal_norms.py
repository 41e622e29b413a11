"""FAB and DeepFool find exactly the nearest misclassified point of linear models, and near ones of others."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from rnn.attacking.minimal_norms import FAB, DeepFool, FABTargeted
from rnn.attacking.objectives import Objective
from rnn.attacking.threats import Threat
from rnn.harness import attack
from rnn.models import ModelConfig, build_model

ORDERS = {"linf": math.inf, "l2": 2, "l1": 1}
DUALS = {"linf": 1, "l2": 2, "l1": math.inf}


def linear(classes: int = 4, seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    model = nn.Linear(6, classes).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(classes, 6, generator=random))
    x = torch.randn(9, 6, generator=random, dtype=torch.float64)
    return model, x, model(x).argmax(1)


def exact_distances(model: nn.Linear, x: torch.Tensor, y: torch.Tensor, norm: str) -> torch.Tensor:
    z, weight = model(x).detach(), model.weight.detach()
    dual = (weight[None] - weight[y][:, None]).norm(p=DUALS[norm], dim=2)
    return ((z.gather(1, y[:, None]) - z) / dual).masked_fill(dual == 0, math.inf).amin(1)


def objective_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Objective:
    return Objective(model, y, model(x).detach())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_fab_gives_the_nearest_point_of_a_linear_model(norm: str) -> None:
    model, x, y = linear()
    result = FAB().perturb(objective_of(model, x, y), x, Threat(norm, 1.0, None), noise=x, turn=0)
    assert (model(result).argmax(1) != y).all()
    lengths = (result - x).norm(p=ORDERS[norm], dim=1)
    torch.testing.assert_close(lengths, exact_distances(model, x, y, norm), rtol=1e-4, atol=0)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_deepfool_gives_it_times_the_overshoot(norm: str) -> None:
    model, x, y = linear()
    seen, exact = objective_of(model, x, y), exact_distances(model, x, y, norm)
    for budget, least in ((100.0, 1.001 - 1e-9), (1.01 * float(exact.max()), 1.0)):  # long and short steps
        threat = Threat(norm, budget, None)
        result = DeepFool(overshoot=1e-3).perturb(seen, x, threat, noise=x, turn=0)
        assert (model(result).argmax(1) != y).all()
        ratios = threat.length(result - x) / exact
        assert ratios.min() >= least
        assert ratios.max() <= 1.001 + 1e-9


def nearest_plane(
    model: nn.Module, point: torch.Tensor, y: int, norm: str
) -> tuple[bool, float, torch.Tensor, torch.Tensor]:
    """Whether one example is wrong, gap and normal of its nearest boundary, and the steepest unit step."""
    at = point.clone().requires_grad_()
    z = model(at)[0]
    planes = []
    for k in set(range(len(z))) - {y}:
        (w,) = torch.autograd.grad(z[k] - z[y], at, retain_graph=True)
        planes.append((float((z[k] - z[y]).detach()), w))
    gap, w = min(planes, key=lambda plane: abs(plane[0]) / float(plane[1].norm(p=DUALS[norm])))
    units = {"linf": w.sign(), "l2": w / w.norm(), "l1": w.sign() * (w.abs() == w.abs().max())}
    return int(z.argmax()) != y, gap, w, units[norm]


def textbook(model: nn.Module, x: torch.Tensor, y: int, norm: str) -> torch.Tensor:
    """DeepFool as published (algorithm 2, and its steps in other norms), one example, no bounds."""
    total = torch.zeros_like(x)
    while True:
        wrong, gap, w, unit = nearest_plane(model, x + 1.02 * total, y, norm)
        if wrong:
            return x + 1.02 * total
        total = total - gap / float((w * unit).sum()) * unit


def textbook_fab(
    model: nn.Module, x: torch.Tensor, y: int, norm: str, budget: float, steps: int
) -> torch.Tensor:
    """FAB as its docstring has it, one example, no bounds, without the search at the end."""
    point, nearest, least = x, x, math.inf
    for _ in range(steps + 1):
        wrong, gap, w, unit = nearest_plane(model, point, y, norm)
        length = float((point - x).norm(p=ORDERS[norm]))
        if wrong and length < least:
            nearest, least = point, length
        here = 0.9 * point + 0.1 * x if wrong else point
        ways = [-(gap + float((w * (at - point)).sum())) / float((w * unit).sum()) for at in (here, x)]
        alpha = min(abs(ways[0]) / (abs(ways[0]) + abs(ways[1])), 0.1)
        new = (1 - alpha) * (here + 1.05 * ways[0] * unit) + alpha * (x + 1.05 * ways[1] * unit)
        move = new - point
        point = point + min(1.0, budget / 4 / float(move.norm(p=ORDERS[norm]))) * move
    return nearest


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_fab_is_its_textbook_loop(norm: str) -> None:
    model, x, y = curved()
    threat = Threat(norm, 0.05, None)
    ours = FAB(steps=30, refine=False).perturb(objective_of(model, x, y), x, threat, noise=x, turn=0)
    beyond = threat.length(ours - x) > 0.05  # the others leave when they are within
    assert beyond.sum() >= len(x) / 2
    for i in beyond.nonzero()[:, 0].tolist():
        expected = textbook_fab(model, x[i : i + 1], int(y[i]), norm, 0.05, 30)
        torch.testing.assert_close(ours[i : i + 1], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_deepfool_is_its_textbook_loop_when_the_budget_is_large(norm: str) -> None:
    model, x, y = curved()
    seen = objective_of(model, x, y)
    ours = DeepFool().perturb(seen, x, Threat(norm, 100.0, None), noise=x, turn=0)
    for i in range(len(x)):
        expected = textbook(model, x[i : i + 1], int(y[i]), norm)
        torch.testing.assert_close(ours[i : i + 1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_deepfool_leaves_off_beyond_the_budget(norm: str) -> None:
    model, x, y = curved()
    seen, threat, calls = objective_of(model, x, y), Threat(norm, 1e-3, None), []
    model.register_forward_hook(lambda *_: calls.append(1))
    found = DeepFool().perturb(seen, x, threat, noise=x, turn=0)
    assert len(calls) <= 5  # of 50; steps are a quarter of the budget long
    assert (threat.length(found - x) > 1e-3).all()
    assert (threat.length(found - x) < 1.3e-3).all()


@pytest.mark.parametrize("method", [DeepFool(steps=1), FAB(steps=1, refine=False)])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_step_is_no_longer_than_a_quarter_of_the_budget(norm: str, method: DeepFool | FAB) -> None:
    model, x, y = curved()
    seen, exact = objective_of(model, x, y), Threat(norm, 1.0, (0.0, 1.0))
    asked: list[torch.Tensor] = []
    model.register_forward_hook(lambda _, given, __: asked.append(given[0].detach()))
    for budget in (1e-3, 1e-2):
        asked.clear()
        found = method.perturb(seen, x, Threat(norm, budget, (0.0, 1.0)), noise=x, turn=0)
        last = found if isinstance(method, DeepFool) else asked[1]
        overshoot = method.overshoot if isinstance(method, DeepFool) else 0.0
        np.testing.assert_allclose(exact.length(last - x), (1 + overshoot) * budget / 4, rtol=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_towards_classes_reaches_it_in_one_of_its_rounds(norm: str) -> None:
    model, x, y = linear()
    rounds = [
        FABTargeted(classes=3).perturb(
            objective_of(model, x, y), x, Threat(norm, 1.0, None), noise=x, turn=turn
        )
        for turn in range(4)
    ]
    assert torch.equal(rounds[3], x)  # no class is left
    lengths = torch.stack([(r - x).norm(p=ORDERS[norm], dim=1) for r in rounds[:3]]).amin(0)
    torch.testing.assert_close(lengths, exact_distances(model, x, y, norm), rtol=1e-4, atol=0)


@pytest.mark.parametrize("method", ["fab", "fab-t", "deepfool"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_proposal_beyond_the_budget_fails_and_one_within_succeeds(method: str, norm: str) -> None:
    model, x, y = linear()
    for i, distance in enumerate(exact_distances(model, x[:3], y[:3], norm).tolist()):
        for factor, fooled in ((0.99, False), (1.03, True)):
            one = (x[i : i + 1], y[i : i + 1])
            result = attack(model, *one, method=method, norm=norm, budget=factor * distance, steps=20)
            assert bool(result.success[0]) == fooled
            assert result.distances[0] <= factor * distance * (1 + 1e-6)


def curved() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    model = build_model(ModelConfig("gru", features=3, steps=4, hidden=8, classes=5, seed=2)).double()
    x = torch.rand(12, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_fab_comes_nearer_than_deepfool_and_stays_inside_the_bounds(norm: str) -> None:
    model, x, y = curved()
    seen, threat = objective_of(model, x, y), Threat(norm, 0.5, (0.0, 1.0))
    near, first = (a.perturb(seen, x, threat, noise=x, turn=0) for a in (FAB(), DeepFool()))
    both = (model(near).argmax(1) != y) & (model(first).argmax(1) != y)
    assert both.sum() > len(x) / 2
    assert (threat.length(near - x)[both] <= 1.001 * threat.length(first - x)[both]).all()
    for found in (near, first):
        assert found.min() >= 0
        assert found.max() <= 1


def test_without_refinement_fab_stops_at_the_first_point_within_the_budget() -> None:
    model, x, y = curved()
    seen, threat, calls = objective_of(model, x, y), Threat("l2", 2.0, (0.0, 1.0)), []
    model.register_forward_hook(lambda *_: calls.append(1))
    quick = FAB(refine=False).perturb(seen, x, threat, noise=x, turn=0)
    few, calls[:] = len(calls), []
    slow = FAB().perturb(seen, x, threat, noise=x, turn=0)
    assert few < len(calls)
    wrong = model(quick).argmax(1) != y
    assert (threat.length(slow - x) <= threat.length(quick - x) * (1 + 1e-9))[wrong].all()


def test_later_rounds_of_fab_start_elsewhere() -> None:
    model, x, y = curved()
    seen, threat = objective_of(model, x, y), Threat("l2", 0.5, None)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, two = (FAB(steps=3).perturb(seen, x, threat, noise=noise, turn=turn) for turn in (0, 1))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("method", ["fab", "fab-t", "deepfool"])
def test_the_batch_size_changes_nothing(method: str) -> None:
    model, x, y = curved()
    whole, parts = (
        attack(model, x, y, method=method, norm="l2", budget=0.6, batch_size=size, steps=5)
        for size in (None, 5)
    )
    np.testing.assert_array_equal(whole.success, parts.success)
    torch.testing.assert_close(whole.perturbed, parts.perturbed, atol=1e-13, rtol=0)


def test_options() -> None:
    assert (FAB().rounds, FAB(rounds=4).rounds, FABTargeted().rounds, DeepFool().rounds) == (1, 4, 9, 1)
    for kind, name in ((FAB, "steps"), (FABTargeted, "classes"), (DeepFool, "steps")):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            kind(**{name: 0})
    for kind in (FAB, FABTargeted):
        with pytest.raises(TypeError, match="refine is 1; expected True or False"):
            kind(refine=1)
    with pytest.raises(ValueError, match="overshoot is -1"):
        DeepFool(overshoot=-1)
