"""Corruptions of sequences: frames that are lost, stand still, or come early or late."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rnn.attacking.objectives import Objective
from rnn.attacking.threats import Threat
from spectra.checks import whole_number


@dataclasses.dataclass(frozen=True, slots=True)
class FramesDropped:
    """Some random frames of each sequence are lost: their features become 0.

    Attributes
    ----------
    count : int
        How many frames of each sequence, along the first dimension after the batch.
    rounds : int
        Independent draws; 1 measures the corruption, more look for an unlucky one.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.

    Notes
    -----
    A corruption knows no budget: it proposes all of its frames, and the harness projects the proposal. Below
    the norm of the whole corruption only a part of it is left; give a budget beyond it to have all.
    """

    count: int = 1
    rounds: int = 1

    def __post_init__(self) -> None:
        """Check the options."""
        _check(self.count, self.rounds)

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give corrupted inputs; the model is not asked."""
        del objective, threat, turn
        return _replaced(x, torch.zeros_like(x), noise, self.count, first=0)


@dataclasses.dataclass(frozen=True, slots=True)
class FramesRepeated:
    """Some random frames of each sequence repeat the frame before them, as of a stuck sensor.

    Attributes
    ----------
    count : int
        How many frames of each sequence; the first has none before it and stays.
    rounds : int
        Independent draws; 1 measures the corruption, more look for an unlucky one.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.

    Notes
    -----
    As of `FramesDropped`, the budget cuts the proposal only in the harness.
    """

    count: int = 1
    rounds: int = 1

    def __post_init__(self) -> None:
        """Check the options."""
        _check(self.count, self.rounds)

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give corrupted inputs; the model is not asked."""
        del objective, threat, turn
        return _replaced(x, x.roll(1, dims=1), noise, self.count, first=1)


@dataclasses.dataclass(frozen=True, slots=True)
class FramesShifted:
    """Each sequence comes some frames late, then some early; the frame at the edge stands still.

    Attributes
    ----------
    count : int
        By how many frames.

    Raises
    ------
    TypeError
        If the option is of the wrong kind.
    ValueError
        If the option is out of range.

    Notes
    -----
    As of `FramesDropped`, the budget cuts the proposal only in the harness.
    """

    count: int = 1

    def __post_init__(self) -> None:
        """Check the option."""
        whole_number(self.count, "count")

    @property
    def rounds(self) -> int:
        """Two: late and early."""
        return 2

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give shifted inputs; the model is not asked."""
        del objective, threat, noise
        steps = _frames_of(x, self.count, first=1)
        moved = torch.arange(steps, device=x.device) + (-self.count if turn == 0 else self.count)
        return x[:, moved.clamp(0, steps - 1)]


def _check(count: int, rounds: int) -> None:
    whole_number(count, "count")
    whole_number(rounds, "rounds")


def _frames_of(x: Tensor, count: int, *, first: int) -> int:
    steps = x.shape[1]
    if count > steps - first:
        raise ValueError(
            f"count is {count}; expected at most {steps - first}, for x has shape {tuple(x.shape)} and so "
            f"{steps} frames; take fewer"
        )
    return steps


def _replaced(x: Tensor, other: Tensor, noise: Tensor, count: int, *, first: int) -> Tensor:
    """Take random frames from `other`, from number `first` on."""
    steps = _frames_of(x, count, first=first)
    draw = noise.reshape(len(x), steps, -1).sum(2)[:, first:]
    chosen = first + draw.topk(count, dim=1).indices
    mask = torch.zeros(len(x), steps, dtype=torch.bool, device=x.device).scatter(1, chosen, True)
    return torch.where(mask.view(len(x), steps, *[1] * (x.ndim - 2)), other, x)
