"""The shortest step to a hyperplane inside bounds, in any of the norms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rnn.attacking.threats import Threat


def to_boundary(gap: Tensor, normal: Tensor, point: Tensor, threat: Threat) -> Tensor:
    """Give the shortest δ with gap + <normal, δ> = 0 and point + δ inside the bounds.

    Parameters
    ----------
    gap : Tensor, shape (N,)
        Heights over the boundary.
    normal : Tensor, shape (N, ...)
        Their gradients.
    point : Tensor, shape (N, ...)
        Points inside the bounds.
    threat : Threat
        Its norm and bounds.

    Returns
    -------
    Tensor, shape (N, ...)
        The steps; as far as the bounds let them go where the boundary lies beyond, 0 where normal is 0.

    Notes
    -----
    Without bounds δ = λ d with the direction d that `Threat.ascent` gives and λ = -gap / <normal, d>. Bounds
    cut entries off, and the others go further: λ solves a piecewise linear equation, exactly after at most
    one pass for each entry that is cut off. In l1 the steepest entries go as far as the bounds let them, one
    after the other. With a budget for each frame δ is shortest in linf, and without bounds in l2.
    """
    w, need, tiny = normal.flatten(1), gap.abs()[:, None], torch.finfo(normal.dtype).tiny
    weight, towards = w.abs(), -gap.sign()[:, None]
    flat = point.flatten(1)
    lowest, highest = (-math.inf, math.inf) if threat.bounds is None else threat.bounds
    if threat.norm == "l1" and threat.frames == "all":
        heading = towards * w.sign()
        room = torch.where(heading > 0, highest - flat, flat - lowest)
        return (heading * _greedy(need, weight, room)).view_as(normal)
    heading = towards * threat.ascent(normal).flatten(1)
    gain = weight * heading.abs()  # what an entry contributes for λ = 1
    length = need / gain.sum(1, keepdim=True).clamp_min(tiny)
    step, cuts = heading * length, 0
    while threat.bounds is not None:
        inside = step.clamp(lowest - flat, highest - flat)
        cut = inside != step
        if (total := int(cut.sum())) == cuts:
            return inside.view_as(normal)
        cuts = total
        reached = (weight * inside.abs()).masked_fill(~cut, 0).sum(1, keepdim=True)
        slope = gain.masked_fill(cut, 0).sum(1, keepdim=True)
        length = torch.maximum(length, (need - reached) / slope.clamp_min(tiny))
        step = heading * length.clamp_max(torch.finfo(w.dtype).max ** 0.5)
    return step.view_as(normal)


def _greedy(need: Tensor, weight: Tensor, room: Tensor) -> Tensor:
    """Give the lengths of least sum with <weight, lengths> = need and none beyond its room."""
    sizes, order = weight.sort(dim=1, descending=True)
    tiny = torch.finfo(weight.dtype).tiny
    gains = (sizes * room.gather(1, order)).nan_to_num(0.0)  # 0 times no bound
    before = torch.cat([torch.zeros_like(gains[:, :1]), gains[:, :-1].cumsum(1)], 1)
    taken = ((need - before).clamp_min(0) / sizes.clamp_min(tiny)).masked_fill(sizes == 0, 0)
    return torch.minimum(torch.zeros_like(weight).scatter(1, order, taken), room)
