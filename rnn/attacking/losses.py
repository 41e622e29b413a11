"""Losses of class scores: their values, and how they pull at the scores."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_backward = torch.ops.aten._log_softmax_backward_data


class Loss(NamedTuple):
    """A number per example that an attack wants to increase.

    Attributes
    ----------
    value : Tensor, shape (N,)
        The numbers.
    pull : Tensor, shape (N, C)
        Their derivatives with respect to the scores.
    """

    value: Tensor
    pull: Tensor


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """Two classes per example: one that is to gain, and one that is to lose.

    Attributes
    ----------
    pair : Tensor of int64, shape (N, 2)
        The classes.
    pull : Tensor, shape (N, C)
        1 for the one, -1 for the other, else 0.
    """

    pair: Tensor
    pull: Tensor

    @classmethod
    def at(cls, gaining: Tensor, losing: Tensor, like: Tensor) -> Aim:
        """Aim at classes.

        Parameters
        ----------
        gaining, losing : Tensor of int64, shape (N,)
            The classes.
        like : Tensor, shape (N, C)
            Scores.

        Returns
        -------
        Aim
            In the precision of the scores.
        """
        pair = torch.stack((gaining, losing), 1)
        signs = like.new_tensor([1.0, -1.0]).expand(len(pair), 2)
        return cls(pair, torch.zeros_like(like).scatter_(1, pair, signs))


def cross_entropy(scores: Tensor, y: Tensor) -> Loss:
    """Give -log p_y, and p - e_y.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The logits z.
    y : Tensor, shape (N,)
        True labels.

    Returns
    -------
    Loss
        Value and pull.

    Notes
    -----
    The pull is taken from torch's own derivative of the log-softmax, so that a gradient has the signs that it
    has elsewhere: p from an exponential of our own would round otherwise.
    """
    logs, true = scores.log_softmax(1), y[:, None]
    down = torch.zeros_like(logs).scatter_(1, true, -1.0)
    return Loss(-logs.gather(1, true)[:, 0], _backward(down, logs, 1, logs.dtype))


def log_odds(scores: Tensor, y: Tensor) -> Loss:
    """Give log((1 - p_y) / p_y), which does not vanish when p_y rounds to 1.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The logits z.
    y : Tensor, shape (N,)
        True labels.

    Returns
    -------
    Loss
        Value and pull.
    """
    others, true = without(scores, y), y[:, None]
    largest = others.amax(1, keepdim=True)
    shares = (others - largest).exp_()
    total = shares.sum(1, keepdim=True)
    value = (largest - scores.gather(1, true)).add_(total.log())[:, 0]
    return Loss(value, shares.div_(total).scatter_(1, true, -1.0))


def margin(scores: Tensor, aim: Aim) -> Loss:
    """Give z_k - z_y.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The logits z.
    aim : Aim
        The classes k and y.

    Returns
    -------
    Loss
        Value and pull; the latter belongs to `aim`.
    """
    gaining, losing = scores.gather(1, aim.pair).unbind(1)
    return Loss(gaining - losing, aim.pull)


def logits_ratio(scores: Tensor, y: Tensor, aim: Aim | None = None) -> Loss:
    """Give the difference of logits ratio; see `Objective.logits_ratio`.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The logits z.
    y : Tensor, shape (N,)
        True labels.
    aim : Aim, optional
        Wrong classes, and the true ones; None takes the likeliest wrong ones.

    Returns
    -------
    Loss
        Value and pull; the pull is that of the margin where a denominator is raised to the least one.
    """
    needed = 3 if aim is None else 4
    gap, pull = margin(scores, Aim.at(without(scores, y).argmax(1), y, scores) if aim is None else aim)
    if scores.shape[1] < needed:
        return Loss(gap, pull)
    top, where = scores.topk(needed, dim=1)
    shares = top.new_tensor([1.0, 0.0, -1.0] if aim is None else [1.0, 0.0, -0.5, -0.5])
    least = torch.finfo(top.dtype).eps
    spread = top @ shares
    scale = spread.clamp_min(least).reciprocal_()
    value = gap * scale
    fall = torch.outer(torch.where(spread >= least, -value, 0.0), shares)
    return Loss(value, pull.scatter_add(1, where, fall).mul_(scale[:, None]))


def without(scores: Tensor, y: Tensor) -> Tensor:
    """Give the scores with -inf for the true class.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The scores.
    y : Tensor, shape (N,)
        True labels.

    Returns
    -------
    Tensor, shape (N, C)
        A copy.
    """
    return scores.scatter(1, y[:, None], -math.inf)


LOSSES: dict[str, Callable[[Tensor, Tensor], Loss]] = {"cross-entropy": cross_entropy, "log-odds": log_odds}
