"""The first look at a model: scores and gradients at the clean inputs, for which nobody need ask again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from rnn.attacking.bench import Bench
from rnn.attacking.losses import LOSSES
from rnn.attacking.objectives import Slope


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
    values : dict of str to Tensor, shape (N,)
        These losses.
    """

    x: Tensor
    scores: Tensor
    right: Tensor
    gradients: dict[str, Tensor]
    values: dict[str, Tensor]

    def rows(self, index: Tensor, x: Tensor) -> FirstLook:
        """Give what was said about some examples.

        Parameters
        ----------
        index : Tensor of int64, shape (n,)
            Which.
        x : Tensor, shape (n, ...)
            Their inputs, on the device where the other tensors go.

        Returns
        -------
        FirstLook
            About these.
        """
        scores, right = (found[index].to(x.device) for found in (self.scores, self.right))
        gradients, values = (
            {name: entry[index].to(x.device) for name, entry in found.items()}
            for found in (self.gradients, self.values)
        )
        return FirstLook(x, scores, right, gradients, values)

    def recalled(self, name: str) -> Slope | None:
        """Give what is known of a loss.

        Parameters
        ----------
        name : str
            The loss.

        Returns
        -------
        Slope or None
            Its gradient, who is wrong, its value; None where nobody asked.
        """
        if name not in self.gradients:
            return None
        return Slope(self.gradients[name], ~self.right, self.values[name])


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
        return FirstLook(bench.x, scores, right, {}, {})
    with torch.enable_grad():
        parts = [_asked(bench, rows, losses) for rows in bench.batches()]
    scores, right = torch.cat([part.scores for part in parts]), torch.cat([part.right for part in parts])
    known = [name for name in losses if all(name in part.gradients for part in parts)]
    if not known:  # else all scores were found sound before
        bench.check(scores)
    gradients = {name: torch.cat([part.gradients[name] for part in parts]) for name in known}
    values = {name: torch.cat([part.values[name] for part in parts]) for name in known}
    return FirstLook(bench.x, scores, right, gradients, values)


def _asked(bench: Bench, rows: slice, losses: Sequence[str]) -> FirstLook:
    questions, home = bench.questions.rows(rows, bench.device), bench.x.device
    x = bench.x[rows].to(bench.device, copy=True).requires_grad_()
    scores, right = questions.ask(bench.model, x)
    z = scores.detach()
    found = FirstLook(bench.x[rows], z.to(home), right.to(home), {}, {})
    for name in losses if scores.requires_grad and bench.sound(z) else ():
        value, pull = LOSSES[name](z, questions.truth)
        keep = name != losses[-1]
        gradient = torch.autograd.grad(scores, x, pull, allow_unused=True, retain_graph=keep)[0]
        if gradient is not None:
            found.gradients[name], found.values[name] = gradient.to(home), value.to(home)
    return found
