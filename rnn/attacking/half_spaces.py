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
    gap : Tensor, shape (..., N)
        Heights over the boundary; N boundaries, each for any number of points.
    normal : Tensor, shape (N, ...)
        Their gradients.
    point : Tensor, shape (..., N, ...)
        Points inside the bounds.
    threat : Threat
        Its norm and bounds.

    Returns
    -------
    Tensor, shape (..., N, ...)
        The steps; as far as the bounds let them go where the boundary lies beyond, 0 where normal is 0.
        Always finite: where normal is so small that λ would exceed the root of the largest number, that is λ.

    Notes
    -----
    Without bounds δ = λ d with the direction d that `Threat.ascent` gives and λ = -gap / <normal, d>. Bounds
    cut entries off, and the others go further: λ solves a piecewise linear equation, by Newton's method
    exactly after at most one pass for each entry that is cut off. In l1 the steepest entries go as far as the
    bounds let them, one after the other. With a budget for each frame δ is shortest in linf, and without
    bounds in l2.
    """
    tiny, largest = torch.finfo(normal.dtype).tiny, torch.finfo(normal.dtype).max
    w, need, towards = normal.flatten(1), gap.abs().clamp_max(largest)[..., None], -gap.sign()[..., None]
    flat, farthest = point.reshape(*gap.shape, -1), largest**0.5
    lowest, highest = (-math.inf, math.inf) if threat.bounds is None else threat.bounds
    if threat.norm == "l1" and threat.frames == "all":
        heading = towards * w.sign()
        room = torch.where(heading > 0, highest - flat, flat - lowest)
        return (heading * _greedy(need, w.abs(), room)).view_as(point)
    way = threat.ascent(normal).flatten(1)
    gain = w * way  # what an entry contributes for λ = 1, at least 0
    length = (need / gain.sum(1, keepdim=True).clamp_min(tiny)).clamp_max(farthest)
    heading = towards * way
    if threat.bounds is None:
        return (heading * length).view_as(point)
    least, most, uncut = lowest - flat, highest - flat, -1
    while True:
        step = heading * length
        inside = step.clamp(least, most)
        free = inside == step
        if (total := int(free.sum())) == uncut:
            return inside.view_as(point)
        uncut = total
        lacking = need - towards * (w * inside).sum(-1, keepdim=True)
        further = lacking / (free * gain).sum(-1, keepdim=True).clamp_min(tiny)
        length = (length + further.clamp_min(0)).clamp_max(farthest)


def _greedy(need: Tensor, weight: Tensor, room: Tensor) -> Tensor:
    """Give the lengths of least sum with <weight, lengths> = need and none beyond its room."""
    sizes, order = weight.sort(dim=1, descending=True)
    tiny, farthest = torch.finfo(weight.dtype).tiny, torch.finfo(weight.dtype).max ** 0.5
    order = order.expand_as(room)
    gains = (sizes * room.gather(-1, order)).nan_to_num(0.0)  # 0 times no bound
    before = torch.cat([torch.zeros_like(gains[..., :1]), gains[..., :-1].cumsum(-1)], -1)
    taken = ((need - before).clamp_min(0) / sizes.clamp_min(tiny)).clamp_max(farthest)
    taken = taken.masked_fill(sizes == 0, 0)
    return torch.minimum(torch.zeros_like(room).scatter(-1, order, taken), room)
