"""What is known about the clean inputs is asked once, and remembered as it was told."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rnn.attacking.bench import checked_bench
from rnn.attacking.first_looks import first_look
from rnn.attacking.losses import LOSSES
from rnn.attacking.strength import Watch, Watched, WatchedObjective, lead
from rnn.harness import attack, robustness
from rnn.models import ModelConfig, build_model

MODEL = build_model(ModelConfig("gru", features=3, steps=4, hidden=8, classes=5)).requires_grad_(False)
X = torch.randn(12, 4, 3, generator=torch.Generator().manual_seed(0))
Y = MODEL(X).argmax(1)
Y[:2] = (Y[:2] + 1) % 5  # two clean mistakes


@pytest.mark.parametrize("batch_size", [None, 1, 5, 12])
def test_it_tells_scores_and_gradients(batch_size: int | None) -> None:
    first = first_look(checked_bench(MODEL, X, Y, None, batch_size), ["cross-entropy", "log-odds"])
    at = X.clone().requires_grad_()
    z = MODEL(at)
    torch.testing.assert_close(first.scores, z.detach())
    assert first.right.tolist() == [False, False] + [True] * 10
    p = z.softmax(1).gather(1, Y[:, None])[:, 0]
    for name, value in (
        ("cross-entropy", cross_entropy(z, Y, reduction="sum")),
        ("log-odds", p.logit().neg().sum()),
    ):
        (expected,) = torch.autograd.grad(value, at, retain_graph=True)
        torch.testing.assert_close(first.gradients[name], expected, atol=1e-5, rtol=1e-4)
    assert first_look(checked_bench(MODEL, X, Y, None, batch_size), []).gradients == {}


class Rounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach().flatten(1)[:, :5] @ torch.eye(5).requires_grad_()


def test_where_nothing_depends_on_the_input_there_is_no_gradient() -> None:
    first = first_look(checked_bench(Rounded(), X, Y, None, None), list(LOSSES))
    assert first.gradients == {}
    assert first.scores.shape == (12, 5)


def objective(masked: bool) -> tuple[WatchedObjective, Watch, list[int]]:
    """The model as attacks see it, and how many examples each of its forward passes has."""
    bench, sizes = checked_bench(copy.deepcopy(MODEL), X, Y, None, None), []
    first, index = first_look(bench, list(LOSSES)), torch.arange(2, 12)
    bench.model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    watch, x = Watch(lead(first.scores, Y)), X[index]
    fixed = ((torch.arange(4) == 2).expand(10, 4)[..., None], x) if masked else None
    questions = bench.questions.rows(index, X.device)
    seen = Watched(bench.model, questions, index, watch, fixed, first.rows(index, x))
    return WatchedObjective(seen, first.scores[index]), watch, sizes


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", ["cross_entropy", "log_odds"])
def test_what_is_remembered_is_what_would_be_told_and_counts(loss: str, masked: bool) -> None:
    x = X[2:]
    (seen, watch, sizes), (asked, counted, asks) = objective(masked), objective(masked)
    asked.model.first = None
    remembered, told = getattr(seen, loss)(x.clone()), getattr(asked, loss)(x.clone())
    for one, other in zip(remembered, told, strict=True):
        torch.testing.assert_close(one, other)
    assert (sizes, asks) == ([], [10])
    for name in ("queries", "gradients", "flat", "broken"):
        assert torch.equal(getattr(watch, name), getattr(counted, name))
    assert watch.queries.tolist() == [0, 0] + [1] * 10
    getattr(seen, loss)(x + 1e-6)  # elsewhere, and of some: asked anew
    seen.rows(torch.arange(3)).log_odds(x[:3])
    assert sizes == [10, 3]


def test_one_step_costs_one_gradient_and_a_curve_no_more() -> None:
    model, passes = copy.deepcopy(MODEL), []
    model.register_forward_pre_hook(lambda _, given: passes.append((len(given[0]), given[0].requires_grad)))
    attack(model, X, Y, method="fgsm", norm="linf", budget=0.1)
    one = len(passes)
    assert passes.count((12, True)) == 1  # the first look
    assert passes[-1] == (12, False)  # the judgement of all
    passes.clear()
    robustness(model, X, Y, methods=["fgsm"], norm="linf", budgets=[0.01, 0.02, 0.1])
    assert passes.count((12, True)) == 1
    assert len(passes) <= one + 2
    passes.clear()
    attack(model, X, Y, method="noise-uniform", norm="linf", budget=0.1)
    assert not any(asked for _, asked in passes)
