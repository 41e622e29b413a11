"""Threats: which perturbations are allowed, and how a candidate is brought among them."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

NORMS = ("linf", "l2")


@dataclasses.dataclass(frozen=True, slots=True)
class Threat:
    """What an attack may do: perturbations of at most `budget` in a norm, inside bounds.

    Attributes
    ----------
    norm : {"linf", "l2"}
        Largest entry, or Euclidean length over all dimensions but the first.
    budget : float
        Largest allowed norm, in the units of the input.
    bounds : tuple of float, or None
        Range of valid inputs.
    """

    norm: str
    budget: float
    bounds: tuple[float, float] | None

    def project(self, candidate: Tensor, x: Tensor) -> Tensor:
        """Move `candidate` into the allowed set around `x`.

        Parameters
        ----------
        candidate, x : Tensor, shape (N, ...)
            The perturbed and the clean inputs; `x` lies inside the bounds.

        Returns
        -------
        Tensor, shape (N, ...)
            At most `budget` away from `x`, measured exactly (for l2 up to a relative 1e-6).

        Notes
        -----
        The budget is rounded down to the precision of x. The sum x + δ rounds too, and for a small budget
        half a unit in the last place of x is not small beside δ: where the rounded step is longer than δ, the
        next number towards x is taken.
        """
        delta = candidate - x
        if self.norm == "linf":
            largest = _at_most(self.budget, delta.dtype)
            delta = delta.clamp(-largest, largest)
            allowed = torch.full_like(delta, self.budget, dtype=torch.float64)
        else:
            length = torch.linalg.vector_norm(delta.flatten(1), dim=1, dtype=torch.float64)
            shrink = (self.budget / length.clamp_min(1e-300)).clamp_max(1.0)
            allowed = delta.double().abs() * per_example(shrink, delta)  # also for a subnormal delta
            delta = delta * per_example(shrink, delta).to(delta.dtype)
        result = x + delta
        if self.bounds is not None:
            largest_float = torch.finfo(result.dtype).max  # bounds beyond it bind nothing
            result = result.clamp(max(self.bounds[0], -largest_float), min(self.bounds[1], largest_float))
        too_far = (result.double() - x.double()).abs() > allowed
        return torch.where(too_far, torch.nextafter(result, x), result)

    def ascent(self, gradient: Tensor) -> Tensor:
        """Give the direction of unit norm along which the gradient promises most: sign(g), or g / ‖g‖.

        Parameters
        ----------
        gradient : Tensor, shape (N, ...)
            One gradient per example.

        Returns
        -------
        Tensor, shape (N, ...)
            The directions; 0 where the gradient is 0.
        """
        if self.norm == "linf":
            return gradient.sign()
        flat = gradient.flatten(1)
        tiny = torch.finfo(flat.dtype).tiny
        flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(
            tiny
        )  # squares of tiny entries would underflow
        return (flat / flat.norm(dim=1, keepdim=True).clamp_min(tiny)).view_as(gradient)

    def scatter(self, noise: Tensor, x: Tensor) -> Tensor:
        """Give a random point of the allowed set: uniform in the cube, or on the sphere.

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
        unit = torch.erf(noise / math.sqrt(2.0)) if self.norm == "linf" else self.ascent(noise)
        return self.project(x + self.budget * unit, x)


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


def _at_most(budget: float, dtype: torch.dtype) -> float:
    """Round a budget to a number of lower precision that does not exceed it."""
    rounded = torch.tensor(budget, dtype=dtype)
    return float(rounded if float(rounded) <= budget else torch.nextafter(rounded, torch.zeros_like(rounded)))
