"""One perturbation for all inputs: projected ascent of the mean truncated log-odds over mini-batches."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from rnn.attacking.bench import Bench
from rnn.attacking.strength import Watch, Watched, WatchedObjective
from rnn.attacking.threats import Threat


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class UniversalStage:
    """Where one perturbation meets the examples of a bench.

    Attributes
    ----------
    bench : Bench
        Model and examples.
    scores : Tensor, shape (N, C)
        Scores at the clean inputs.
    alive : Tensor of int64
        The examples to be turned: those predicted correctly when clean.
    threat : Threat
        Norm, budget, bounds.
    random : numpy.random.Generator
        Draws starting points and the order of the examples.
    watch : Watch
        Notes queries.
    """

    bench: Bench
    scores: Tensor
    alive: Tensor
    threat: Threat
    random: np.random.Generator
    watch: Watch

    @property
    def _free(self) -> Threat:
        """The budget without bounds, which are those of the inputs."""
        return dataclasses.replace(self.threat, bounds=None)

    def moved(self, delta: Tensor, index: Tensor) -> Tensor:
        """Give x + δ, without what is padding, projected onto budget and bounds.

        Parameters
        ----------
        delta : Tensor, shape (...)
            The perturbation.
        index : Tensor of int64, shape (n,)
            The examples.

        Returns
        -------
        Tensor, shape (n, ...)
            The inputs, on the device of x.
        """
        x, movable = self.bench.x[index], self.bench.movable()
        shift = delta.expand_as(x)
        if movable is not None:
            where = movable[index]
            shift = torch.where(where.view(*where.shape, *[1] * (x.ndim - 2)), shift, 0.0)
        return self.threat.project(x + shift, x)

    def fooled(self, delta: Tensor) -> Tensor:
        """Judge a perturbation by a fresh forward pass over all examples.

        Parameters
        ----------
        delta : Tensor, shape (...)
            The perturbation.

        Returns
        -------
        Tensor of bool, shape (N,)
            Whose right prediction it turns.
        """
        right = torch.zeros(len(self.bench.x), dtype=torch.bool, device=self.bench.x.device)
        right[self.alive] = True
        everyone = torch.arange(len(right), device=right.device)
        return right & ~self.bench.judge(self.moved(delta, everyone))[1]

    def random_point(self) -> Tensor:
        """Draw a perturbation of full norm: a corner of the cube, or a point on the sphere or the l1 ball.

        Returns
        -------
        Tensor, shape (...)
            The perturbation.
        """
        zero = torch.zeros_like(self.bench.x[:1])
        noise = torch.from_numpy(self.random.standard_normal(zero.shape)).to(zero)
        if self.threat.norm == "linf":
            noise = noise.sign() * 1e9  # scatter takes large ones to the faces
        return self._free.scatter(noise, zero)[0]

    def step(self, delta: Tensor, index: Tensor, length: float, cap: float) -> Tensor:
        """Climb the mean truncated log-odds of some examples, and come back into the budget.

        Parameters
        ----------
        delta : Tensor, shape (...)
            The perturbation so far.
        index : Tensor of int64, shape (n,)
            The examples.
        length : float
            Of the step.
        cap : float
            Log-odds of a wrong class at which an example counts as turned for good.

        Returns
        -------
        Tensor, shape (...)
            The next one.
        """
        total = torch.zeros_like(self.bench.x[:1])
        for part in index.split(self.bench.batch):
            slope = self._objective(part).log_odds(self.moved(delta, part).to(self.bench.device))
            gradient, below = slope.gradient.to(total), (slope.value < cap).to(total.device)
            pulls = torch.where(below.view(-1, *[1] * (total.ndim - 1)), gradient, 0.0)
            total += self._inside(pulls, delta, part).sum(0, keepdim=True)
        zero = torch.zeros_like(total)
        return self._free.project(delta + length * self.threat.ascent(total), zero)[0]

    def climbed(self, start: Tensor, *, epochs: int, minibatch: int) -> tuple[Tensor, int]:
        """Climb from a point.

        Parameters
        ----------
        start : Tensor, shape (...)
            The point.
        epochs, minibatch : int
            Passes over the examples, and how many of them a gradient takes.

        Returns
        -------
        delta : Tensor, shape (...)
            Of the points after each pass that which fools most; of equal ones the first.
        count : int
            How many it fools.
        """
        cap, best, count, point = self.cap, start, -1, start
        parts = -(-len(self.alive) // minibatch)
        for epoch in range(epochs):
            order = torch.from_numpy(self.random.permutation(len(self.alive))).to(self.alive.device)
            for turn, index in enumerate(self.alive[order].tensor_split(parts)):
                share = (epoch + turn / parts) / epochs
                length = self.threat.budget * (1 + math.cos(math.pi * share)) / 2
                point = self.step(point, index, length, cap)
            turned = int(self.fooled(point).sum())
            if turned > count:
                best, count = point, turned
        return best, count

    @property
    def cap(self) -> float:
        """Median log-odds of the true class at the clean inputs: an example turned as far is let alone."""
        with torch.no_grad():
            scores, y = self.scores[self.alive].double(), self.bench.truth[self.alive][:, None]
            others = scores.scatter(1, y, -math.inf).logsumexp(1)
            return float((scores.gather(1, y)[:, 0] - others).median().clamp_min(0))

    def _inside(self, pulls: Tensor, delta: Tensor, index: Tensor) -> Tensor:
        """Leave out where an input is at its bounds and would be pulled beyond, to no effect."""
        if self.threat.bounds is None:
            return pulls
        low, high = self.threat.bounds
        there = self.bench.x[index] + delta
        return torch.where(((there >= high) & (pulls > 0)) | ((there <= low) & (pulls < 0)), 0.0, pulls)

    def _objective(self, index: Tensor) -> WatchedObjective:
        bench, movable = self.bench, self.bench.movable()
        x, fixed = bench.x[index].to(bench.device), None
        if movable is not None:
            where = movable[index].to(bench.device)
            fixed = (where.view(*where.shape, *[1] * (x.ndim - 2)), x)
        questions = bench.questions.rows(index, bench.device)
        watched = Watched(bench.model, questions, index, self.watch, fixed)
        return WatchedObjective(watched, self.scores[index].to(bench.device))
