"""Corruptions do to frames what they say, and the harness keeps them to the budget."""

import pytest
import torch
from torch import nn

from rnn.attacking.corruptions import FramesDropped, FramesRepeated, FramesShifted
from rnn.attacking.objectives import Objective
from rnn.attacking.threats import Threat
from rnn.harness import attack, robustness

THREAT = Threat("l2", 0.1, None)


def frames(count: int = 200) -> torch.Tensor:
    return 1 + torch.rand(count, 6, 3, generator=torch.Generator().manual_seed(0))


def corrupted(kind: type, x: torch.Tensor, turn: int = 0, seed: int = 1, **options: int) -> torch.Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    unasked = Objective(nn.Identity(), torch.zeros(len(x), dtype=torch.long), torch.zeros(len(x), 2))
    return kind(**options).perturb(unasked, x, THREAT, noise=noise, turn=turn)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_dropped_frames_are_zero_and_the_others_as_they_were(count: int) -> None:
    x = frames()
    result = corrupted(FramesDropped, x, count=count)
    gone = (result == 0).all(2)
    assert gone.sum(1).eq(count).all()
    assert torch.equal(result[~gone], x[~gone])
    assert (gone.double().mean(0) - count / 6).abs().max() < 0.12  # every frame alike


@pytest.mark.parametrize("count", [1, 3, 5])
def test_repeated_frames_are_those_before_them(count: int) -> None:
    x = frames()
    result = corrupted(FramesRepeated, x, count=count)
    changed = (result != x).any(2)
    assert changed.sum(1).eq(count).all()
    assert not changed[:, 0].any()
    assert torch.equal(result[:, 1:][changed[:, 1:]], x[:, :-1][changed[:, 1:]])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shifted_sequences_come_late_then_early(count: int) -> None:
    x = frames()
    late, early = (corrupted(FramesShifted, x, turn=turn, count=count) for turn in (0, 1))
    assert torch.equal(late[:, count:], x[:, :-count])
    assert torch.equal(early[:, :-count], x[:, count:])
    for t in range(count):
        assert torch.equal(late[:, t], x[:, 0])
        assert torch.equal(early[:, 5 - t], x[:, 5])


def test_sequences_of_numbers_are_frames_too() -> None:
    x = frames()[:, :, 0]
    assert (corrupted(FramesDropped, x, count=2) == 0).sum(1).eq(2).all()
    assert torch.equal(corrupted(FramesShifted, x)[:, 1:], x[:, :-1])


@pytest.mark.parametrize("method", ["frames-dropped", "frames-repeated", "frames-shifted"])
def test_the_budget_cuts_what_is_beyond_it(method: str) -> None:
    x = frames(20)
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))
    y = model(x).argmax(1)
    small, whole, parts = (
        attack(model, x, y, method=method, norm="l2", budget=budget, batch_size=size)
        for budget, size in ((0.1, None), (100.0, None), (100.0, 7))
    )
    assert small.distances.max() <= 0.1 * (1 + 1e-5)
    assert whole.distances.max() > 0.2
    assert torch.equal(whole.perturbed, parts.perturbed)


@pytest.mark.parametrize("method", ["frames-dropped", "frames-repeated", "frames-shifted"])
def test_how_many_frames_is_told_beside_what_the_budget_is_for(method: str) -> None:
    x = frames(20)
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))
    y = model(x).argmax(1)
    for over in ("all", "each"):
        result = attack(model, x, y, method=method, norm="l2", budget=100.0, frames=over, count=3)
        moved = (result.perturbed != x).any(2).sum(1)
        assert moved.min() >= (5 if method == "frames-shifted" else 3)
        curve = robustness(model, x, y, methods={method: {"count": 3}}, norm="l2", budgets=[100], frames=over)
        assert ((curve.minimal_budget == 100) == result.fooled).all()


def test_options_and_too_many_frames() -> None:
    assert (FramesDropped(rounds=4).rounds, FramesRepeated().rounds, FramesShifted().rounds) == (4, 1, 2)
    for kind, most in ((FramesDropped, 6), (FramesRepeated, 5), (FramesShifted, 5)):
        with pytest.raises(ValueError, match="count is 0"):
            kind(count=0)
        with pytest.raises(ValueError, match=f"count is 7; expected at most {most}, for x has shape"):
            corrupted(kind, frames(), count=7)
    with pytest.raises(ValueError, match="rounds is 0"):
        FramesDropped(rounds=0)
