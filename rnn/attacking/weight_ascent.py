"""The worst change of weights that gradients find: projected ascent in balls of the spectral norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnn.attacking.bench import Bench
from rnn.attacking.weight_slots import WeightSlot, shifted

Loss = Callable[[Tensor, Tensor], Tensor]

_RANK = 1e-12  # singular values below this share of the largest are noise, and their vectors too


def ascended(
    bench: Bench, slots: Sequence[WeightSlot], limits: Sequence[float], start: Sequence[Tensor], *, steps: int
) -> list[Tensor]:
    """Change matrices together so that as many predictions as possible are wrong.

    Parameters
    ----------
    bench : Bench
        The examples, and the network that the slots belong to.
    slots : sequence of WeightSlot
        The matrices.
    limits : sequence of float
        Largest spectral norm of the change of each.
    start : sequence of Tensor
        Changes to begin with, within the limits.
    steps : int
        Gradients of each of the two losses.

    Returns
    -------
    list of Tensor
        The changes with the lowest accuracy on the way (of several, those with the largest cross-entropy);
        never worse than `start`.

    Raises
    ------
    ValueError
        If logits or gradients become NaN or infinite.

    Notes
    -----
    A step goes along U Vᵀ of the gradient U Σ Vᵀ, the direction of steepest ascent in the spectral norm, and
    back into the ball by cutting singular values off at its radius; its length falls from twice the radius
    to nothing along a cosine. First the cross-entropy is climbed, then, from the best point, the mean
    probability of the wrong classes, which gains nothing from examples that are lost already. Where no
    prediction is right any more, there is nothing left to lose.
    """
    best, point = _Best(), list(start)
    for loss in (cross_entropy, _wrong_probability):
        for step in range(steps):
            correct, entropy, slopes = _slopes(bench, slots, point, loss)
            best.take(correct, entropy, point)
            if correct == 0:
                return best.point
            length = 1 + math.cos(math.pi * step / steps)
            point = [
                _cut(change + length * limit * _polar(slope), limit)
                for change, slope, limit in zip(point, slopes, limits, strict=True)
            ]
        correct, entropy, _ = _slopes(bench, slots, point, None)
        best.take(correct, entropy, point)
        point = best.point
    return best.point


class _Best:
    """The point with the fewest correct predictions so far, of several the one with the largest loss."""

    def __init__(self) -> None:
        self.rank: tuple[int, float] | None = None
        self.point: list[Tensor] = []

    def take(self, correct: int, entropy: float, point: list[Tensor]) -> None:
        rank = (-correct, entropy)
        if self.rank is None or rank > self.rank:
            self.rank, self.point = rank, list(point)


def _slopes(
    bench: Bench, slots: Sequence[WeightSlot], point: Sequence[Tensor], loss: Loss | None
) -> tuple[int, float, list[Tensor]]:
    """Give how many predictions are right, the summed cross-entropy, and the gradient of a summed loss."""
    parameters = list(dict.fromkeys(slot.parameter for slot in slots)) if loss is not None else []
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    correct, entropy = 0, 0.0
    with shifted(slots, point), torch.set_grad_enabled(loss is not None):
        for parameter in parameters:
            parameter.requires_grad_(True)
        try:
            for index in torch.arange(len(bench.x), device=bench.x.device).split(bench.batch):
                questions = bench.questions.rows(index, bench.device)
                scores, right = questions.ask(bench.model, bench.x[index].to(bench.device))
                labels = questions.truth
                correct += int(right.sum())
                entropy += float(cross_entropy(scores.detach(), labels, reduction="sum"))
                if loss is not None:
                    summed = loss(scores, labels) * len(labels)
                    for total, slope in zip(totals, torch.autograd.grad(summed, parameters), strict=True):
                        total += slope
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
    if not math.isfinite(entropy) or not all(total.isfinite().all() for total in totals):
        raise ValueError("logits or gradients of the perturbed model are NaN or infinite; use smaller sizes")
    of = dict(zip(parameters, totals, strict=True))
    return correct, entropy, [of[slot.parameter].flatten(1)[slot.rows] for slot in slots if of]


def _wrong_probability(scores: Tensor, y: Tensor) -> Tensor:
    return 1 - scores.softmax(1).gather(1, y[:, None]).mean()


def _polar(gradient: Tensor) -> Tensor:
    """Give U Vᵀ of U Σ Vᵀ; 0 for a gradient of 0."""
    U, values, Vh = torch.linalg.svd(gradient, full_matrices=False)
    return (U * (values > _RANK * values[0])) @ Vh


def _cut(change: Tensor, limit: float) -> Tensor:
    """Give the nearest matrix of spectral norm at most `limit`."""
    U, values, Vh = torch.linalg.svd(change, full_matrices=False)
    return (U * values.clamp_max(limit)) @ Vh
