"""Square needs no gradients, keeps its budget, and draws for each example alone."""

import math

import pytest
import torch
from torch import nn

from rnn.attacking.objectives import Objective
from rnn.attacking.square import Square, _Dice, _share_at, _window
from rnn.attacking.threats import Threat
from rnn.harness import attack
from rnn.models import ModelConfig, build_model


class Stepwise(torch.autograd.Function):
    """Passes its input on, and refuses to be differentiated."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a gradient was asked for")


class NoBackward(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Stepwise.apply(self.inner(x))


def problem() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    model = build_model(ModelConfig("tanh", features=5, steps=6, hidden=8, classes=4))
    x = torch.rand(12, 6, 5, generator=torch.Generator().manual_seed(0))
    return model, x, model(x).argmax(1)


def proposed(x: torch.Tensor, threat: Threat, steps: int = 40, seed: int = 0) -> torch.Tensor:
    model, _, y = problem()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    objective = Objective(NoBackward(model), y, model(x).detach())
    return Square(steps=steps).perturb(objective, x, threat, noise=noise, turn=0)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_it_keeps_the_budget_and_never_differentiates(norm: str) -> None:
    _, x, _ = problem()
    threat = Threat(norm, 0.1, (0.0, 1.0))
    result = proposed(x, threat)
    assert (threat.length(result - x) <= 0.1 * (1 + 1e-5)).all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.05), ("l2", 0.2), ("l1", 0.8)])
def test_more_queries_never_lower_the_margin_and_raise_it(norm: str, budget: float) -> None:
    model, x, y = problem()
    seen, threat = Objective(model, y, model(x).detach()), Threat(norm, budget, None)
    few, many = (seen.excess(proposed(x, threat, steps))[0] for steps in (1, 200))
    wrong = seen.excess(proposed(x, threat, 1))[1]
    assert (many >= few)[~wrong].all()
    assert (many - few)[~wrong].mean() > 0.02


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_turns_a_linear_model_beyond_its_margin_and_never_before(norm: str, classes: int) -> None:
    model = nn.Linear(12, classes).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(classes, 12, generator=torch.Generator().manual_seed(1)))
    x = torch.randn(2, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z, weight = model(x).detach(), model.weight.detach()
    y = z.argmax(1)
    dual = (weight[None] - weight[y][:, None]).norm(p=1 if norm == "linf" else 2, dim=2)
    margins = ((z.gather(1, y[:, None]) - z) / dual).masked_fill(dual == 0, math.inf).amin(1)
    for i, margin in enumerate(margins.tolist()):
        one = (x[i : i + 1], y[i : i + 1])
        for factor, fooled in ((0.99, False), (1.5, True)):
            judged = attack(model, *one, method="square", norm=norm, budget=factor * margin, steps=300)
            assert bool(judged.success[0]) == fooled


def test_vectors_images_and_single_features() -> None:
    for shape in ((4, 9), (4, 1), (4, 3, 6, 5), (4, 7, 1), (4, 1, 7)):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3))
        seen = Objective(model, model(x).argmax(1), model(x).detach())
        for norm in ("linf", "l2"):
            threat = Threat(norm, 1e-3, None)
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
            result = Square(steps=30).perturb(seen, x, threat, noise=noise, turn=0)
            assert result.shape == x.shape
            assert (threat.length(result - x) <= 1e-3 * (1 + 1e-5)).all()
            assert (threat.length(result - x) >= 0.9e-3).all()  # the budget is used


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_batch_size_changes_nothing_and_the_seed_something(norm: str) -> None:
    model, x, y = problem()
    whole, parts, other = (
        attack(model, x, y, method="square", norm=norm, budget=0.02, batch_size=size, rng=seed, steps=30)
        for size, seed in ((None, 0), (5, 0), (None, 1))
    )
    assert torch.equal(whole.perturbed, parts.perturbed)
    assert not torch.equal(whole.perturbed, other.perturbed)


def test_random_numbers_belong_to_examples_and_are_uniform() -> None:
    seeds = torch.arange(2000)
    one = _Dice(seeds)
    first, second = one.uniform(3), one.uniform(3)
    late = _Dice(seeds)
    late.uniform(3)
    assert torch.equal(late.rows(seeds % 7 == 3).uniform(3), second[seeds % 7 == 3])
    values = torch.cat([first, second], 1)
    assert values.min() >= 0
    assert values.max() < 1
    assert (values.mean(0) - 0.5).abs().max() < 5 / math.sqrt(12 * 2000)
    assert torch.corrcoef(values.T).fill_diagonal_(0).abs().max() < 5 / math.sqrt(2000)
    # splitmix64 of seed 0: the first numbers that its authors' program gives
    assert int(_Dice(torch.zeros(1, dtype=torch.int64)).uniform(1)[0, 0] * 2**53) == 0xE220A8397B1DCDAF >> 11


def test_windows_shrink_with_the_queries() -> None:
    shares = [_share_at(0.8, step, 10000) for step in range(10000)]
    assert [shares[i] for i in (0, 10, 11, 51, 201, 9999)] == [0.8, 0.8, 0.4, 0.2, 0.1, 0.8 / 2**9]
    assert _share_at(0.8, 99, 100) == 0.8 / 2**9
    for frames, features in ((8, 8), (100, 3), (1, 50), (7, 1)):
        sizes = [_window(share, torch.Size([frames, features])) for share in (0.8, 0.4, 0.1, 0.001)]
        assert all(1 <= h <= frames and 1 <= w <= features for h, w in sizes)
        assert abs(math.prod(sizes[0]) / (frames * features) - 0.8) < 0.2
        assert [math.prod(size) for size in sizes] == sorted(
            (math.prod(size) for size in sizes), reverse=True
        )
        assert sizes[-1] == (1, 1)


def test_options() -> None:
    assert (Square().rounds, Square(rounds=2).rounds) == (1, 2)
    with pytest.raises(ValueError, match="steps is 0"):
        Square(steps=0)
    with pytest.raises(ValueError, match=r"share is 1\.5; expected a share of the entries"):
        Square(share=1.5)
