"""Losses of class scores: their values, and how they pull at the scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


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
    By autograd, so that a gradient has the signs that it has elsewhere: p from an exponential of our own
    would round otherwise.
    """
    z = scores.detach().requires_grad_()
    with torch.enable_grad():
        value = functional.cross_entropy(z, y, reduction="none")
        (pull,) = torch.autograd.grad(value.sum(), z)
    return Loss(value.detach(), pull)


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
    total = others.logsumexp(1, keepdim=True)
    value = (total - scores.gather(1, true))[:, 0]
    return Loss(value, (others - total).exp_().scatter_(1, true, -1.0))


def margin(scores: Tensor, y: Tensor, rival: Tensor) -> Loss:
    """Give z_k - z_y.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The logits z.
    y : Tensor, shape (N,)
        True labels.
    rival : Tensor of int64, shape (N,)
        Wrong classes k.

    Returns
    -------
    Loss
        Value and pull.
    """
    true, other = y[:, None], rival[:, None]
    value = (scores.gather(1, other) - scores.gather(1, true))[:, 0]
    return Loss(value, torch.zeros_like(scores).scatter_(1, other, 1.0).scatter_(1, true, -1.0))


def logits_ratio(scores: Tensor, y: Tensor, rival: Tensor | None = None) -> Loss:
    """Give the difference of logits ratio; see `Objective.logits_ratio`.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The logits z.
    y : Tensor, shape (N,)
        True labels.
    rival : Tensor of int64, shape (N,), optional
        Wrong classes; None takes the likeliest ones.

    Returns
    -------
    Loss
        Value and pull; the pull is that of the margin where a denominator is raised to the least one.
    """
    needed = 3 if rival is None else 4
    gap, pull = margin(scores, y, without(scores, y).argmax(1) if rival is None else rival)
    if scores.shape[1] < needed:
        return Loss(gap, pull)
    top, where = scores.topk(needed, dim=1)
    spread, least = top[:, :1] - top[:, 2:].mean(1, keepdim=True), torch.finfo(top.dtype).eps
    free, spread = spread >= least, spread.clamp_min(least)
    value = gap[:, None] / spread
    share = torch.full_like(top, 1 / (needed - 2))  # of z_(1), z_(2), z_(3), ... in the denominator
    share[:, 0], share[:, 1] = -1.0, 0.0
    return Loss(value[:, 0], pull.scatter_add_(1, where, value * free * share).div_(spread))


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
