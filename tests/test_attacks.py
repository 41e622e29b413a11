"""Attacks differentiate what they say, and step as they say."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rnn.attacking.threats import NORMS, Threat
from rnn.attacks import ATTACKS, FGSM, PGD, Objective
from rnn.models import ModelConfig, build_model


def points(seed: int, scale: float, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(6, 4, 3, generator=random).to(dtype)
    return x, x + scale * torch.randn(6, 4, 3, generator=random).to(dtype)


def objective(seed: int = 0) -> tuple[Objective, nn.Module, torch.Tensor, torch.Tensor]:
    model = build_model(ModelConfig("tanh", features=3, steps=4, hidden=8, classes=5, seed=seed)).double()
    x = points(seed, 1.0, torch.float64)[1]
    y = torch.arange(6) % 5
    return Objective(model, y, model(x).detach()), model, x, y


def test_objectives_differentiate_what_they_say() -> None:
    seen, model, x, y = objective()
    probabilities = model(x).softmax(1)
    rows = torch.arange(6)

    def gradient(value: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(value, at)[0]

    at = x.clone().requires_grad_()
    p = model(at).softmax(1)[rows, y]
    torch.testing.assert_close(seen.cross_entropy(x).gradient, gradient(-p.log().sum(), at))
    at = x.clone().requires_grad_()
    p = model(at).softmax(1)[rows, y]
    torch.testing.assert_close(seen.log_odds(x).gradient, gradient(((1 - p) / p).log().sum(), at))
    wrong_first = [
        [k for k in row.argsort(descending=True).tolist() if k != label]
        for row, label in zip(probabilities, y.tolist(), strict=True)
    ]
    assert seen.rivals == 4
    for rival in range(4):
        at = x.clone().requires_grad_()
        scores = model(at)
        margin = sum(scores[i, wrong_first[i][rival]] - scores[i, y[i]] for i in range(6))
        torch.testing.assert_close(seen.margin(x, rival=rival).gradient, gradient(margin, at))
    assert torch.equal(seen.margin(x, rival=0).wrong, model(x).argmax(1) != y)


def test_the_log_odds_point_where_the_cross_entropy_points_and_do_not_saturate() -> None:
    seen, _, x, _ = objective()
    threat = Threat("l2", 1.0, None)
    torch.testing.assert_close(
        threat.ascent(seen.log_odds(x).gradient), threat.ascent(seen.cross_entropy(x).gradient)
    )
    sure = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        sure.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    x, y = torch.tensor([[60.0, -60.0]]), torch.tensor([0])  # p_y rounds to 1
    seen = Objective(sure, y, sure(x).detach())
    assert seen.cross_entropy(x).gradient[0, 0] == 0
    assert seen.log_odds(x).gradient.tolist() == [[-1.0, 1.0]]


def test_fgsm_is_one_step_along_the_gradient() -> None:
    seen, model, x, y = objective()
    at = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(model(at), y), at)
    noise = torch.zeros_like(x)
    linf = FGSM().perturb(seen, x, Threat("linf", 0.1, None), noise=noise, turn=0)
    torch.testing.assert_close(linf, x + 0.1 * g.sign())
    l2 = FGSM().perturb(seen, x, Threat("l2", 0.1, None), noise=noise, turn=0)
    torch.testing.assert_close(l2, x + 0.1 * g / g.flatten(1).norm(dim=1)[:, None, None])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("turn", [0, 1, 9])
def test_pgd_is_its_textbook_loop(norm: str, turn: int) -> None:
    seen, model, x, y = objective(3)
    threat, noise = Threat(norm, 0.05, (-3.0, 3.0)), torch.randn(x.shape, dtype=torch.float64)
    x = x.clamp(-3, 3)
    ours = PGD(steps=4, step_size=1.5, rounds=10).perturb(seen, x, threat, noise=noise, turn=turn)
    for i in range(len(x)):
        row, label = x[i : i + 1], int(y[i])
        one = Objective(model, y[i : i + 1], model(points(3, 1.0, torch.float64)[1])[i : i + 1].detach())
        if turn == 0:
            point, steps = FGSM().perturb(one, row, threat, noise=noise[i : i + 1], turn=0), (1, 2, 3)
        else:
            point, steps = threat.scatter(noise[i : i + 1], row), (0, 1, 2, 3)
        for k in steps:
            if int(model(point).argmax()) != label:
                break
            slope = one.log_odds(point) if turn == 0 else one.margin(point, rival=(turn - 1) % 4)
            if k >= 2 and float(slope.value + 4 * threat.promise(slope.gradient, point, row)) < 0:
                break  # hopeless
            length = 0.05 * 1.5 * 0.5 * (1 + math.cos(math.pi * k / 4))
            point = threat.project(point + length * threat.ascent(slope.gradient), row)
        torch.testing.assert_close(ours[i : i + 1], point)


def test_one_step_of_pgd_is_fgsm() -> None:
    seen, _, x, _ = objective()
    threat, noise = Threat("linf", 0.2, None), torch.randn(x.shape)
    one = PGD(steps=1, rounds=1).perturb(seen, x, threat, noise=noise, turn=0)
    assert torch.equal(one, FGSM().perturb(seen, x, threat, noise=noise, turn=0))


@pytest.mark.parametrize(("norm", "first"), [("linf", 2.0), ("l2", 2.0), ("l1", 16.0)])
def test_the_first_step_is_2_budgets_long_and_in_l1_16(norm: str, first: float) -> None:
    _, model, x, _ = objective()
    clean = model(x).detach()
    seen, threat = Objective(model, clean.argmax(1), clean), Threat(norm, 0.01, None)
    noise = torch.randn(x.shape, dtype=torch.float64)
    default, given, other = (
        PGD(steps=3, step_size=size).perturb(seen, x, threat, noise=noise, turn=1)
        for size in (None, first, 0.9 * first)
    )
    assert torch.equal(default, given)
    assert not torch.equal(default, other)


def test_rounds_and_options() -> None:
    assert ATTACKS["fgsm"] is FGSM
    assert ATTACKS["pgd"] is PGD
    assert (FGSM().rounds, PGD().rounds, PGD(rounds=3).rounds) == (1, 5, 3)
    for name, bad in (("steps", 0), ("step_size", 0.0), ("rounds", 0)):
        with pytest.raises(ValueError, match=f"{name} is {bad}"):
            PGD(**{name: bad})
        with pytest.raises(TypeError, match=f"{name} is 'x'"):
            PGD(**{name: "x"})


class Broken(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.weight = kind, nn.Parameter(torch.ones(2, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "detached":
            return x.detach() @ self.weight
        if self.kind == "no_grad":
            with torch.no_grad():
                return x @ self.weight
        return x.sqrt() @ self.weight  # infinitely steep at 0


@pytest.mark.parametrize("kind", ["detached", "no_grad"])
def test_models_without_a_gradient_are_refused(kind: str) -> None:
    x, y = torch.ones(3, 2), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="logits of model do not depend differentiably on x"):
        Objective(Broken(kind), y, torch.zeros(3, 2)).cross_entropy(x)


def test_infinite_gradients_are_refused() -> None:
    x, y = torch.ones(3, 2), torch.zeros(3, dtype=torch.long)
    x[1] = 0
    with pytest.raises(ValueError, match="gradient of model with respect to x is NaN or infinite"):
        Objective(Broken("root"), y, torch.zeros(3, 2)).cross_entropy(x)
