"""Threats: which perturbations are allowed, and how a candidate is brought among them."""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor

NORMS = ("linf", "l2", "l1")

FRAMES = ("all", "each", "worst")


@dataclasses.dataclass(frozen=True, slots=True)
class Threat:
    """What an attack may do: perturbations of at most `budget` in a norm, inside bounds.

    Attributes
    ----------
    norm : {"linf", "l2", "l1"}
        Largest entry, Euclidean length, or sum of the absolute values.
    budget : float
        Largest allowed norm, in the units of the input.
    bounds : tuple of float, or None
        Range of valid inputs.
    frames : {"all", "each"}
        What the norm is taken over: all dimensions but the first, or those of each frame (N, T, ...) alone,
        so that every frame may be moved by the whole budget.
    """

    norm: str
    budget: float
    bounds: tuple[float, float] | None
    frames: str = "all"

    def project(self, candidate: Tensor, x: Tensor, *, exact: bool = True) -> Tensor:
        """Move `candidate` into the allowed set around `x`.

        Parameters
        ----------
        candidate, x : Tensor, shape (N, ...)
            The perturbed and the clean inputs; `x` lies inside the bounds.
        exact : bool
            Whether the budget holds for the numbers as rounded. On the way of an attack, which the harness
            projects once more, that is not worth a third of the time.

        Returns
        -------
        Tensor, shape (N, ...)
            At most `budget` away from `x`, measured exactly (for l2 up to a relative 1e-6, for l1 1e-9).

        Notes
        -----
        The budget is rounded down to the precision of x. The sum x + δ rounds too, and for a small budget
        half a unit in the last place of x is not small beside δ: where the rounded step is longer than δ, the
        next number towards x is taken.

        In linf and l1 the result is the point of budget and bounds together that is nearest to `candidate`
        (l1: Croce and Hein 2021, section 2), in l2 that of the budget, then moved inside the bounds.
        """
        if self.norm == "linf" and not exact:
            largest = _at_most(self.budget, x.dtype)
            return self._bounded(candidate.clamp(x - largest, x + largest))
        base = self._rows(x)
        delta = self._rows(candidate) - base
        if self.norm == "linf":
            largest = _at_most(self.budget, delta.dtype)
            result = base + delta.clamp(-largest, largest)
            allowed: Tensor | float = self.budget
        elif self.norm == "l2":
            length = torch.linalg.vector_norm(delta, dim=1, keepdim=True, dtype=torch.float64)
            shrink = (self.budget / length.clamp_min(1e-300)).clamp_max(1.0)
            allowed = delta.double().abs() * shrink if exact else 0.0  # also for a subnormal delta
            result = base + delta * shrink.to(delta.dtype)
        else:
            allowed = _shortened(delta.double(), self._room(delta, base), self.budget)
            result = (base.double() + allowed * delta.sign()).to(base.dtype)
        result = self._bounded(result)
        if not exact:
            return result.view_as(x)
        too_far = (result.double() - base.double()).abs() > allowed
        return torch.where(too_far, torch.nextafter(result, base), result).view_as(x)

    def ascent(self, gradient: Tensor) -> Tensor:
        """Give a direction of unit norm along the gradient: sign(g), g / ‖g‖, or in l1 g / ‖g‖₁.

        Parameters
        ----------
        gradient : Tensor, shape (N, ...)
            One gradient per example.

        Returns
        -------
        Tensor, shape (N, ...)
            The directions; 0 where the gradient is 0.

        Notes
        -----
        In linf and l2 no other direction of unit norm promises more. In l1 that would be a single entry; g
        itself, as others take it too, moves many, and `project` keeps the most promising of a long step.
        """
        if self.norm == "linf":
            return gradient.sign()
        rows = self._rows(gradient)
        tiny = torch.finfo(rows.dtype).tiny
        rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(tiny)  # squares of tiny ones would underflow
        order = 2 if self.norm == "l2" else 1
        return (rows / torch.linalg.vector_norm(rows, order, 1, keepdim=True).clamp_min_(tiny)).view_as(
            gradient
        )

    def scatter(self, noise: Tensor, x: Tensor) -> Tensor:
        """Give a random allowed point: uniform in the cube, on the sphere, or on the surface of the l1 ball.

        Parameters
        ----------
        noise : Tensor, shape (N, ...)
            Independent standard normal numbers.
        x : Tensor, shape (N, ...)
            The clean inputs.

        Returns
        -------
        Tensor, shape (N, ...)
            The points.
        """
        if self.norm == "linf":
            unit = torch.erf(noise / math.sqrt(2.0))
        elif self.norm == "l2":
            unit = self.ascent(noise)
        else:  # exponential lengths over their sum are uniform on a simplex
            beyond = torch.erfc(noise.double().abs() / math.sqrt(2.0)).clamp_min(1e-300)
            unit = self.ascent((-beyond.log() * noise.sign()).to(noise.dtype))
        return self.project(x + self.budget * unit, x)

    def length(self, delta: Tensor) -> Tensor:
        """Give the norm of each perturbation; with frames "each" that of the largest frame.

        Parameters
        ----------
        delta : Tensor, shape (N, ...)
            The perturbations.

        Returns
        -------
        Tensor of float64, shape (N,)
            Their norms.
        """
        rows = self._rows(delta)
        if self.norm == "linf":
            norms = rows.abs().amax(1).double()
        else:
            order = {"l2": 2, "l1": 1}[self.norm]
            norms = torch.linalg.vector_norm(rows, ord=order, dim=1, dtype=torch.float64)
        return norms.view(len(delta), -1).amax(1) if self.frames == "each" else norms

    def slope(self, gradient: Tensor) -> Tensor:
        """Give the dual norm of each gradient: how much a unit of budget promises at most.

        Parameters
        ----------
        gradient : Tensor, shape (N, ...)
            One gradient per example.

        Returns
        -------
        Tensor of float64, shape (N,)
            The largest inner product with a perturbation of norm 1, bounds left aside.
        """
        rows = self._rows(gradient)
        if self.norm == "l1":
            norms = rows.abs().amax(1).double()
        else:
            order = {"linf": 1, "l2": 2}[self.norm]
            norms = torch.linalg.vector_norm(rows, ord=order, dim=1, dtype=torch.float64)
        return norms.view(len(gradient), -1).sum(1) if self.frames == "each" else norms

    def promise(self, gradient: Tensor, point: Tensor, x: Tensor) -> Tensor:
        """Give by how much a linear function can rise from allowed points: budget ‖g‖* - <g, point - x>.

        Parameters
        ----------
        gradient : Tensor, shape (N, ...)
            Its gradients g.
        point, x : Tensor, shape (N, ...)
            Allowed points, and the clean inputs.

        Returns
        -------
        Tensor of float64, shape (N,)
            At least 0, up to rounding; bounds are left aside.
        """
        gone = (gradient * (point - x)).flatten(1).sum(1, dtype=torch.float64)
        return self.budget * self.slope(gradient) - gone

    def _rows(self, values: Tensor) -> Tensor:
        """View a batch as one row for each thing that has a budget of its own."""
        return values.reshape(-1, math.prod(values.shape[2:])) if self.frames == "each" else values.flatten(1)

    def _bounded(self, values: Tensor) -> Tensor:
        if self.bounds is None:
            return values
        largest = torch.finfo(values.dtype).max  # bounds beyond it bind nothing
        return values.clamp(max(self.bounds[0], -largest), min(self.bounds[1], largest))

    def _room(self, delta: Tensor, base: Tensor) -> Tensor:
        """How far each entry may go in the direction of delta before it leaves the bounds."""
        if self.bounds is None:
            return torch.full_like(delta, math.inf, dtype=torch.float64)
        low, high = self.bounds
        return torch.where(delta > 0, high - base.double(), base.double() - low)


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """Give one number per example the dimensions of a batch, so that they multiply.

    Parameters
    ----------
    values : Tensor, shape (N,)
        The numbers.
    like : Tensor, shape (N, ...)
        The batch.

    Returns
    -------
    Tensor, shape (N, 1, ...)
        The same numbers.
    """
    return values.view(-1, *[1] * (like.ndim - 1))


def _shortened(delta: Tensor, room: Tensor, budget: float) -> Tensor:
    """Shorten each row to min(max(|δ| - λ, 0), room), with the least λ that meets the budget."""
    # The sum falls in λ and is linear between the knots |δ| and |δ| - room: going down from the largest knot,
    # an entry begins to grow at the former and stops at the latter.
    size = delta.abs()
    room = torch.minimum(room, size)
    knots, order = torch.cat((size, size - room), 1).sort(1, descending=True)
    ones = torch.ones_like(size)
    growing = torch.cat((ones, -ones), 1).gather(1, order).cumsum(1)
    total = torch.zeros_like(knots)  # at each knot
    total[:, 1:] = (growing[:, :-1] * -knots.diff(dim=1)).cumsum(1)
    last = ((total <= budget).cumprod(1).sum(1, keepdim=True) - 1).clamp_min(
        0
    )  # knot before the budget is met
    excess = knots.gather(1, last) - (budget - total.gather(1, last)) / growing.gather(1, last).clamp_min(1)
    within = room.sum(1, keepdim=True) <= budget
    result = torch.minimum((size - torch.where(within, 0.0, excess)).clamp_min(0), room)
    return result * (budget / result.sum(1, keepdim=True).clamp_min(1e-300)).clamp_max(1)  # λ was rounded


@functools.cache
def _at_most(budget: float, dtype: torch.dtype) -> float:
    """Round a budget to a number of lower precision that does not exceed it."""
    rounded = torch.tensor(budget, dtype=dtype)
    return float(rounded if float(rounded) <= budget else torch.nextafter(rounded, torch.zeros_like(rounded)))
