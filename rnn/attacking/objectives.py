"""Objectives: what an attack may ask about the model on a batch of inputs, gradients or logits alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnn.attacking.answers import all_finite
from rnn.attacking.losses import LOSSES, Aim, Loss, logits_ratio, margin, without
from rnn.models import logits


class Slope(NamedTuple):
    """An objective and its gradient at a batch of inputs, and where the prediction is wrong already.

    Attributes
    ----------
    gradient : Tensor, shape (N, ...)
        One gradient per example.
    wrong : Tensor of bool, shape (N,)
        Whether the prediction at the input is wrong.
    value : Tensor, shape (N,)
        The objective.
    """

    gradient: Tensor
    wrong: Tensor
    value: Tensor


class Boundaries(NamedTuple):
    """The decision boundaries around a batch of inputs, to first order: gap_k + <normal_k, δ> = 0.

    Attributes
    ----------
    gaps : Tensor, shape (N, K)
        z_k - z_y for K wrong classes; negative on the right side.
    normals : Tensor, shape (N, K, ...)
        Their gradients.
    wrong : Tensor of bool, shape (N,)
        Whether the prediction at the input is wrong.
    """

    gaps: Tensor
    normals: Tensor
    wrong: Tensor


class Objective:
    """What an attack may ask about the model on a batch: gradients of what it wants to increase, or logits.

    Parameters
    ----------
    model : nn.Module
        Gives logits.
    y : Tensor, shape (N,)
        True labels.
    clean : Tensor, shape (N, C)
        Logits at the clean inputs.
    """

    def __init__(self, model: nn.Module, y: Tensor, clean: Tensor) -> None:
        self._model = model
        self._y = y
        self._clean = clean
        self._ranks: Tensor | None = None
        self._aims: dict[int, Aim] = {}

    @property
    def rivals(self) -> int:
        """Number of wrong classes."""
        return int(self._clean.shape[1]) - 1

    @property
    def _rivals(self) -> Tensor:
        """Wrong classes, those that are likeliest when clean first, shape (N, C - 1)."""
        if self._ranks is None:
            self._ranks = without(self._clean, self._y).argsort(1, descending=True)[:, :-1]
        return self._ranks

    def rows(self, index: Tensor) -> Objective:
        """Give the objective of some of the examples.

        Parameters
        ----------
        index : Tensor of int64 or bool
            Which.

        Returns
        -------
        Objective
            The same questions, about these.
        """
        part = copy.copy(self)
        part._y, part._clean = self._y[index], self._clean[index]
        part._ranks, part._aims = None if self._ranks is None else self._ranks[index], {}
        return part

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Give the logits, without gradients.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Where.

        Returns
        -------
        Tensor, shape (N, C)
            The logits.
        """
        return self._asked(x)[0]

    @torch.no_grad()
    def excess(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give max over wrong classes k of z_k - z_y, and whether the prediction is wrong; no gradients.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Where.

        Returns
        -------
        value : Tensor, shape (N,)
            By how much the likeliest wrong class leads.
        wrong : Tensor of bool, shape (N,)
            Whether the prediction is wrong.
        """
        z, wrong = self._asked(x)
        return without(z, self._y).amax(1) - z.gather(1, self._y[:, None])[:, 0], wrong

    def cross_entropy(self, x: Tensor) -> Slope:
        """Differentiate the cross-entropy, -log p_y.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Where.

        Returns
        -------
        Slope
            Gradients.
        """
        return self._slope(x, lambda z: LOSSES["cross-entropy"](z, self._y), "cross-entropy")

    def log_odds(self, x: Tensor) -> Slope:
        """Differentiate the log-odds of a wrong class, log((1 - p_y) / p_y).

        They rise where the cross-entropy rises and their gradient points where its gradient points, but they
        do not vanish when p_y rounds to 1.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Where.

        Returns
        -------
        Slope
            Gradients.
        """
        return self._slope(x, lambda z: LOSSES["log-odds"](z, self._y), "log-odds")

    def margin(self, x: Tensor, *, rival: int) -> Slope:
        """Differentiate z_k - z_y for the wrong class k that is the `rival`-th most likely when clean.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Where.
        rival : int
            From 0 to `rivals` - 1.

        Returns
        -------
        Slope
            Gradients.
        """
        aim = self._aim(rival)
        return self._slope(x, lambda z: margin(z, aim))

    def logits_ratio(self, x: Tensor, *, rival: int | None = None) -> Slope:
        """Differentiate the difference of logits ratio; shift and scale of the logits do not move it.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Where.
        rival : int, optional
            A wrong class by its rank when clean; None takes the likeliest wrong class at x.

        Returns
        -------
        Slope
            Gradients.

        Notes
        -----
        With z_(1) >= z_(2) >= ... the sorted logits at x, it is (max_k z_k - z_y) / (z_(1) - z_(3)), and
        towards class t (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2). The former needs 3 classes and the latter
        4 (of 3 classes, the ratio towards the least likely one would be -1 everywhere); with fewer the
        denominator is 1, and what remains is the margin.

        References
        ----------
        F. Croce and M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020.
        """
        aim = None if rival is None else self._aim(rival)
        return self._slope(x, lambda z: logits_ratio(z, self._y, aim))

    def boundaries(self, x: Tensor, *, classes: int) -> Boundaries:
        """Linearise the boundaries to the wrong classes that are most likely when clean.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Where.
        classes : int
            How many classes K; at most `rivals` are there. One forward pass and K backward passes.

        Returns
        -------
        Boundaries
            Gaps and normals.
        """
        x = x.detach().requires_grad_()
        scores, wrong = self._asked(x)
        z, classes = scores.detach(), min(classes, self.rivals)
        losses = [margin(z, self._aim(rival)) for rival in range(classes)]
        normals = [self._gradient(scores, loss.pull, x, keep=loss is not losses[-1]) for loss in losses]
        return Boundaries(torch.stack([loss.value for loss in losses], 1), torch.stack(normals, 1), wrong)

    def _aim(self, rival: int) -> Aim:
        if rival not in self._aims:
            self._aims[rival] = Aim.at(self._rivals[:, rival], self._y, self._clean)
        return self._aims[rival]

    def _asked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Ask the model: its scores, and where the answer is wrong."""
        scores = logits(self._model, x)
        return scores, scores.argmax(1) != self._y

    def _slope(self, x: Tensor, loss: Callable[[Tensor], Loss], name: str = "") -> Slope:
        del name  # of the loss, for those who remember its gradient
        x = x.detach().requires_grad_()
        scores, wrong = self._asked(x)
        value, pull = loss(scores.detach())
        return Slope(self._gradient(scores, pull, x), wrong, value)

    def _gradient(self, scores: Tensor, pull: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
        gradient = gradient_of(scores, pull, x, keep=keep)
        if not all_finite(gradient):
            raise ValueError(
                "the gradient of model with respect to x is NaN or infinite near the inputs; look for a "
                "square root, norm or division at 0 in its forward pass"
            )
        return gradient


def gradient_of(scores: Tensor, pull: Tensor, x: Tensor, *, keep: bool = False) -> Tensor:
    """Differentiate a loss by the chain rule, from the scores on.

    Parameters
    ----------
    scores : Tensor, shape (N, C)
        The scores at x; each row depends on its own example only.
    pull : Tensor, shape (N, C)
        Derivatives of the loss with respect to the scores.
    x : Tensor, shape (N, ...)
        What they depend on.
    keep : bool
        Whether another gradient of the same forward pass will be asked for.

    Returns
    -------
    Tensor, shape (N, ...)
        The gradients, as they come.

    Raises
    ------
    ValueError
        If the scores do not depend differentiably on x.
    """
    gradient = None
    if scores.requires_grad:
        (gradient,) = torch.autograd.grad(scores, x, pull, allow_unused=True, retain_graph=keep)
    if gradient is None:
        raise ValueError(
            "the logits of model do not depend differentiably on x; remove no_grad, detach, argmax or "
            'rounding from its forward pass to attack it by gradients, or take method="square"'
        )
    return gradient
