"""Losses equal their definitions, and what they say of their derivatives is what autograd finds."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rnn.attacking.losses import LOSSES, Aim, cross_entropy, log_odds, logits_ratio, margin, without

RANDOM = torch.Generator().manual_seed(0)
Z = 3 * torch.randn(40, 6, generator=RANDOM, dtype=torch.float64)
Y = torch.randint(0, 6, (40,), generator=RANDOM)
K = (Y + torch.randint(1, 6, (40,), generator=RANDOM)) % 6
ROWS = torch.arange(40)


def naive_ratio(z: Tensor, y: Tensor, k: Tensor | None) -> Tensor:
    values = []
    for i in range(len(z)):
        falling = z[i].sort(descending=True).values
        wrong = [j for j in range(z.shape[1]) if j != y[i]]
        lead = torch.stack([z[i, j] for j in wrong]).max() if k is None else z[i, k[i]]
        below = falling[2] if k is None else (falling[2] + falling[3]) / 2
        values.append((lead - z[i, y[i]]) / (falling[0] - below))
    return torch.stack(values)


CASES: dict[str, tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Callable[[Tensor], Tensor]]] = {
    "cross-entropy": (
        lambda z: cross_entropy(z, Y),
        lambda z: functional.cross_entropy(z, Y, reduction="none"),
    ),
    "log-odds": (lambda z: log_odds(z, Y), lambda z: -z.softmax(1)[ROWS, Y].logit()),
    "margin": (lambda z: margin(z, Aim.at(K, Y, z)), lambda z: z[ROWS, K] - z[ROWS, Y]),
    "ratio": (lambda z: logits_ratio(z, Y), lambda z: naive_ratio(z, Y, None)),
    "ratio towards a class": (lambda z: logits_ratio(z, Y, Aim.at(K, Y, z)), lambda z: naive_ratio(z, Y, K)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_the_definition_and_pulls_their_derivatives(name: str) -> None:
    ours, definition = CASES[name]
    at = Z.clone().requires_grad_()
    expected = definition(at)
    (slope,) = torch.autograd.grad(expected.sum(), at)
    value, pull = ours(Z)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(pull, slope)
    torch.testing.assert_close(pull.sum(1), torch.zeros(40).double())  # a shift of all scores moves nothing


def test_the_cross_entropy_is_that_of_torch_to_the_bit() -> None:
    """The signs of its gradient decide whether counts of FGSM equal those of others."""
    z = Z.float()
    at = z.clone().requires_grad_()
    expected = functional.cross_entropy(at, Y, reduction="none")
    value, pull = LOSSES["cross-entropy"](z, Y)
    assert torch.equal(value, expected.detach())
    assert torch.equal(pull, torch.autograd.grad(expected.sum(), at)[0])


def test_log_odds_do_not_saturate() -> None:
    z, y = torch.tensor([[200.0, 0.0, -5.0]]), torch.tensor([0])
    assert cross_entropy(z, y).pull.tolist() == [[0, 0, 0]]
    value, pull = log_odds(z, y)
    assert float(value) == pytest.approx(-200, abs=0.01)
    assert pull[0, 0] == -1
    assert float(pull.sum()) == pytest.approx(0, abs=1e-6)


def test_a_ratio_over_nothing_is_finite_and_pulls_as_the_margin() -> None:
    z, y, k = torch.zeros(1, 5), torch.tensor([0]), torch.tensor([3])
    value, pull = logits_ratio(z, y, Aim.at(k, y, z))
    assert value.tolist() == [0]
    assert pull.isfinite().all()
    assert (pull * torch.finfo(torch.float32).eps).tolist() == [[-1, 0, 0, 1, 0]]


@pytest.mark.parametrize(("classes", "rival"), [(2, None), (2, 1), (3, 2)])
def test_of_few_classes_the_ratio_is_the_margin(classes: int, rival: int | None) -> None:
    z, y = Z[:7, :classes], torch.zeros(7, dtype=torch.int64)
    aim = Aim.at(without(z, y).argmax(1) if rival is None else torch.full((7,), rival), y, z)
    found = logits_ratio(z, y, None if rival is None else aim)
    for one, other in zip(found, margin(z, aim), strict=True):
        assert torch.equal(one, other)
    assert without(z, y)[:, 0].tolist() == [-math.inf] * 7
