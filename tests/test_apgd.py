"""APGD takes the steps of its paper, keeps its budget, and finds what a linear model hides."""

import math

import pytest
import torch
from torch import nn

from rnn.attacking.apgd import APGDCrossEntropy, APGDRatio, APGDTargeted, checkpoints, climb
from rnn.attacking.objectives import Objective
from rnn.attacking.threats import Threat
from rnn.harness import attack
from rnn.models import ModelConfig, build_model

KINDS = (APGDCrossEntropy, APGDRatio, APGDTargeted)


def problem(classes: int = 5, seed: int = 0) -> tuple[Objective, nn.Module, torch.Tensor, torch.Tensor]:
    model = build_model(
        ModelConfig("tanh", features=3, steps=4, hidden=8, classes=classes, seed=seed)
    ).double()
    x = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).clamp(-2, 2)
    clean = model(x).detach()
    y = clean.argmax(1)
    return Objective(model, y, clean), model, x, y


def naive_checkpoints(steps: int) -> list[int]:
    p = [0.0, 0.22]
    while p[-1] + max(p[-1] - p[-2] - 0.03, 0.06) <= 1 + 1e-9:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    return [math.ceil(round(share * steps, 9)) for share in p]


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 50, 100, 1000])
def test_checkpoints_follow_their_recursion(steps: int) -> None:
    assert checkpoints(steps) == naive_checkpoints(steps)


def textbook(model: nn.Module, x: torch.Tensor, y: int, start: torch.Tensor, threat: Threat, steps: int):
    """Algorithm 1 of the paper for one example: the best point, and the step size after each move."""

    def ask(point: torch.Tensor) -> tuple[float, torch.Tensor, bool]:
        at = point.clone().requires_grad_()
        z = model(at)
        f = nn.functional.cross_entropy(z, torch.tensor([y]))
        return float(f.detach()), torch.autograd.grad(f, at)[0], int(z.argmax()) != y

    looks = naive_checkpoints(steps)
    size, points, values, sizes = 2 * threat.budget, [start], [], []
    f, gradient, wrong = ask(start)
    values.append(f)
    best, best_f, best_gradient = start, f, gradient
    halved_before, best_before = False, f
    for k in range(steps):
        if wrong:
            return points[-1], sizes
        z = threat.project(points[-1] + size * threat.ascent(gradient), x)
        if k > 0:
            z = points[-1] + 0.75 * (z - points[-1]) + 0.25 * (points[-1] - points[-2])
            z = threat.project(z, x)
        points.append(z)
        f, gradient, wrong = ask(z)
        values.append(f)
        if f > best_f:
            best, best_f, best_gradient = z, f, gradient
        if not wrong and k + 1 in looks:
            since = looks[looks.index(k + 1) - 1]
            rises = sum(values[i + 1] > values[i] for i in range(since, k + 1))
            few = rises < 0.75 * (k + 1 - since)
            stuck = not halved_before and best_f == best_before
            halved_before, best_before = few or stuck, best_f
            if halved_before:
                size /= 2
                points[-1], values[-1], gradient = best, best_f, best_gradient
        sizes.append(size)
    return (points[-1] if wrong else best), sizes


@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.05), ("l2", 0.2), ("linf", 0.5), ("l2", 1.5)])
def test_apgd_is_its_textbook_loop(norm: str, budget: float) -> None:
    seen, model, x, y = problem()
    threat = Threat(norm, budget, (-2.0, 2.0))
    start = threat.scatter(torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double(), x)
    ours = climb(seen, Objective.log_odds, x, threat, start=start, steps=25)
    halvings = []
    for i in range(len(x)):
        expected, sizes = textbook(model, x[i : i + 1], int(y[i]), start[i : i + 1], threat, 25)
        torch.testing.assert_close(ours[i : i + 1], expected, atol=1e-8, rtol=0)
        halvings.append(len(set(sizes)) - 1)
    assert (max(halvings) >= 2) == (budget < 0.5)  # the schedule is at work where examples resist


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("kind", KINDS)
def test_proposals_keep_budget_and_bounds(kind: type, norm: str) -> None:
    seen, _, x, _ = problem()
    threat = Threat(norm, 0.3, (-2.0, 2.0))
    result = kind(steps=12).perturb(seen, x, threat, noise=torch.randn(x.shape).double(), turn=0)
    assert (threat.length(result - x) <= 0.3 * (1 + 1e-6)).all()
    assert result.abs().max() <= 2


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("method", "classes"),
    [("apgd-ce", 2), ("apgd-dlr", 2), ("apgd-t", 2), ("apgd-t", 3), ("apgd-t", 4), ("apgd-t", 5)],
)
def test_it_fools_a_linear_model_just_beyond_its_margin(method: str, norm: str, classes: int) -> None:
    model = nn.Linear(6, classes).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(classes, 6, generator=torch.Generator().manual_seed(5)))
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    z = model(x).detach()
    y = z.argmax(1)
    normals = model.weight.detach()[None] - model.weight.detach()[y][:, None]
    gaps = z.gather(1, y[:, None]) - z
    dual = normals.norm(p=1 if norm == "linf" else 2, dim=2)
    margins = (gaps / dual).masked_fill(dual == 0, math.inf).amin(1)
    for i in range(len(x)):
        one = (x[i : i + 1], y[i : i + 1])
        for factor, fooled in ((0.99, False), (1.02, True)):
            result = attack(
                model, *one, method=method, norm=norm, budget=factor * float(margins[i]), steps=30
            )
            assert bool(result.success[0]) == fooled


def test_the_ratio_does_not_feel_a_scale_and_is_what_it_says() -> None:
    seen, model, x, y = problem()
    z = model(x).detach()
    top = z.sort(1, descending=True).values
    own = z.gather(1, y[:, None])[:, 0]
    lead = top[:, 1]  # all predictions are right
    torch.testing.assert_close(seen.logits_ratio(x).value, (lead - own) / (top[:, 0] - top[:, 2]))
    second = z.argsort(1, descending=True)[:, 2]  # wrong class number 1
    expected = (z.gather(1, second[:, None])[:, 0] - own) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2)
    torch.testing.assert_close(seen.logits_ratio(x, rival=1).value, expected)
    with torch.no_grad():
        model.head.weight.mul_(1e3)
        model.head.bias.mul_(1e3)
    torch.testing.assert_close(seen.logits_ratio(x, rival=1).value, expected)


def test_few_classes() -> None:
    for classes in (2, 3):
        seen, model, x, y = problem(classes)
        z = model(x).detach()
        own, order = z.gather(1, y[:, None])[:, 0], z.sort(1, descending=True).values
        spread = 1.0 if classes == 2 else order[:, 0] - order[:, 2]
        torch.testing.assert_close(seen.logits_ratio(x).value, (order[:, 1] - own) / spread)
        torch.testing.assert_close(seen.logits_ratio(x, rival=0).value, order[:, 1] - own)
        assert (seen.logits_ratio(x, rival=classes - 2).gradient != 0).any()
        last = APGDTargeted(steps=3)
        threat = Threat("linf", 0.1, None)
        assert torch.equal(last.perturb(seen, x, threat, noise=x, turn=classes - 1), x)  # no class is left


@pytest.mark.parametrize("method", ["apgd-ce", "apgd-dlr", "apgd-t"])
def test_the_batch_size_changes_nothing(method: str) -> None:
    _, model, x, y = problem()
    whole, parts = (
        attack(model, x, y, method=method, norm="l2", budget=0.6, batch_size=size, steps=10)
        for size in (None, 3)
    )
    torch.testing.assert_close(whole.perturbed, parts.perturbed, atol=1e-13, rtol=0)


def test_options() -> None:
    assert (APGDCrossEntropy().rounds, APGDRatio(rounds=3).rounds, APGDTargeted().rounds) == (1, 3, 9)
    for kind, name in ((APGDCrossEntropy, "rounds"), (APGDRatio, "steps"), (APGDTargeted, "classes")):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            kind(**{name: 0})
        with pytest.raises(TypeError, match=f"{name} is 'x'"):
            kind(**{name: "x"})
