"""Models that answer differently when asked again are found out, at no pass more where that will do."""

import copy

import pytest
import torch
from torch import nn

from rnn.attacking.repeats import Traces
from rnn.harness import attack
from rnn.models import ModelConfig, build_model

MODEL = build_model(ModelConfig("gru", features=3, steps=4, hidden=8, classes=5))
X = torch.randn(40, 4, 3, generator=torch.Generator().manual_seed(0))
Y = MODEL(X).argmax(1)
MISTAKEN = (Y + (torch.arange(40) < 4)) % 5  # four labels that the model does not give


class Wavering(nn.Module):
    """Answers that differ from pass to pass, in some rows, for one reason or another."""

    def __init__(self, reason: str, rows: slice) -> None:
        super().__init__()
        self.inner, self.reason, self.rows, self.calls = copy.deepcopy(MODEL), reason, rows, 0
        self.own = torch.Generator().manual_seed(0)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z, noise = self.inner(x), torch.zeros(len(x), 5)
        if self.reason == "torch":
            noise = torch.randn(len(x), 5)
        elif self.reason == "its own generator":
            noise = torch.randn(len(x), 5, generator=self.own)
        elif self.reason == "a buffer":
            self.seen += 1
            noise = noise + self.seen
        elif self.reason == "a number":
            self.calls += 1
            noise = noise + self.calls
        shown = torch.zeros(len(x), 1)
        shown[self.rows] = 1e-2
        return z + shown * noise * torch.eye(5)[0]


def wavering(reason: str, rows: slice, y: torch.Tensor) -> torch.Tensor:
    model = Wavering(reason, rows)
    result = attack(model, X, y, method="fgsm", norm="linf", budget=1e-3)
    return torch.from_numpy(result.unsteady)


@pytest.mark.parametrize("y", [Y, MISTAKEN])
@pytest.mark.parametrize("reason", ["torch", "its own generator", "a buffer", "a number"])
def test_who_wavers_everywhere_is_noticed(reason: str, y: torch.Tensor) -> None:
    with pytest.warns(match="40 clean inputs with different scores"):
        assert wavering(reason, slice(None), y).all()


@pytest.mark.parametrize("y", [Y, MISTAKEN])
@pytest.mark.parametrize("reason", ["torch", "a buffer"])
def test_who_draws_from_torch_or_writes_is_noticed_if_it_shows_in_two_rows(
    reason: str, y: torch.Tensor
) -> None:
    with pytest.warns(match="2 clean inputs with different scores"):
        assert wavering(reason, slice(30, 32), y).nonzero()[:, 0].tolist() == [30, 31]


def test_what_is_drawn_and_written_but_does_not_show_is_no_sign() -> None:
    for reason in ("torch", "a buffer", "nothing"):
        assert not wavering(reason, slice(0), MISTAKEN).any()


@pytest.mark.parametrize(("y", "passes"), [(MISTAKEN, 2), (Y, 3)])
def test_clean_mistakes_spare_a_pass(y: torch.Tensor, passes: int) -> None:
    model, sizes = copy.deepcopy(MODEL), []
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    attack(model, X, y, method="fgsm", norm="linf", budget=1e-3)
    assert len(sizes) == passes
    assert sizes[:2] == [40, 40]


def test_traces_tell_what_happened() -> None:
    model = nn.BatchNorm1d(3)
    with torch.random.fork_rng():
        before = Traces.of(model)
        model.eval()(torch.zeros(2, 3))
        assert before.same(Traces.of(model))
        torch.rand(1)
        assert not before.same(Traces.of(model))
    assert before.same(Traces.of(model))
    model.train()(torch.ones(2, 3))
    assert not before.same(Traces.of(model))
