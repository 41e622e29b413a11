"""The first look at a model: scores and gradients at the clean inputs, for which nobody need ask again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from rnn.attacking.bench import Bench
from rnn.attacking.objectives import LOSSES


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FirstLook:
    """What a model says about clean inputs.

    Attributes
    ----------
    x : Tensor, shape (N, ...)
        The inputs.
    scores : Tensor, shape (N, C)
        The scores there.
    right : Tensor of bool, shape (N,)
        Whether the answers are.
    gradients : dict of str to Tensor, shape (N, ...)
        Gradients of losses with respect to x, as they come; none where they were not asked for, or where the
        scores do not depend differentiably on x.
    """

    x: Tensor
    scores: Tensor
    right: Tensor
    gradients: dict[str, Tensor]

    def rows(self, index: Tensor, device: torch.device) -> FirstLook:
        """Give what was said about some examples.

        Parameters
        ----------
        index : Tensor of int64, shape (n,)
            Which.
        device : torch.device
            Where the tensors go.

        Returns
        -------
        FirstLook
            About these.
        """
        x, scores, right = (values[index].to(device) for values in (self.x, self.scores, self.right))
        gradients = {name: values[index].to(device) for name, values in self.gradients.items()}
        return FirstLook(x, scores, right, gradients)


def first_look(bench: Bench, losses: Sequence[str]) -> FirstLook:
    """Judge the clean inputs, and differentiate losses there.

    Parameters
    ----------
    bench : Bench
        Model and examples.
    losses : sequence of str
        Names from `LOSSES`; with none it is `Bench.judge`.

    Returns
    -------
    FirstLook
        Scores and gradients, on the device of the inputs.

    Notes
    -----
    One forward pass, and one backward pass for each loss.
    """
    if not losses:
        scores, right = bench.judge(bench.x)
        return FirstLook(bench.x, scores, right, {})
    parts = []
    for index in torch.arange(len(bench.x), device=bench.x.device).split(bench.batch):
        with torch.enable_grad():
            parts.append(_asked(bench, index, losses))
    scores, right = torch.cat([part.scores for part in parts]), torch.cat([part.right for part in parts])
    bench.check(scores)
    known = [name for name in losses if all(name in part.gradients for part in parts)]
    gradients = {name: torch.cat([part.gradients[name] for part in parts]) for name in known}
    return FirstLook(bench.x, scores, right, gradients)


def _asked(bench: Bench, index: Tensor, losses: Sequence[str]) -> FirstLook:
    questions, home = bench.questions.rows(index, bench.device), bench.x.device
    x = bench.x[index].to(bench.device).requires_grad_()
    scores, right = questions.ask(bench.model, x)
    gradients: dict[str, Tensor] = {}
    for name in losses if scores.requires_grad and bench.sound(scores) else ():
        value, keep = LOSSES[name](scores, questions.truth).sum(), name != losses[-1]
        gradient = torch.autograd.grad(value, x, allow_unused=True, retain_graph=keep)[0]
        if gradient is not None:
            gradients[name] = gradient.to(home)
    return FirstLook(x.detach(), scores.detach().to(home), right.to(home), gradients)
