"""Noise: random perturbations whose norm is the budget."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from rnn.attacking.objectives import Objective
from rnn.attacking.threats import Threat, per_example
from spectra.checks import positive, whole_number


@dataclasses.dataclass(frozen=True, slots=True)
class GaussianNoise:
    """Normal noise, scaled so that its norm is the budget: in L2 a uniform point of the sphere.

    Attributes
    ----------
    rounds : int
        Independent draws; 1 measures noise, more look for unlucky noise.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.
    """

    rounds: int = 1

    def __post_init__(self) -> None:
        """Check the option."""
        whole_number(self.rounds, "rounds")

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give noisy inputs; the model is not asked."""
        del objective, turn
        return _scaled(noise, x, threat)


@dataclasses.dataclass(frozen=True, slots=True)
class UniformNoise:
    """Noise with entries uniform in (-1, 1), scaled so that its norm is the budget.

    Attributes
    ----------
    rounds : int
        Independent draws; 1 measures noise, more look for unlucky noise.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.
    """

    rounds: int = 1

    def __post_init__(self) -> None:
        """Check the option."""
        whole_number(self.rounds, "rounds")

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give noisy inputs; the model is not asked."""
        del objective, turn
        return _scaled(torch.erf(noise / math.sqrt(2.0)), x, threat)


@dataclasses.dataclass(frozen=True, slots=True)
class SaltNoise:
    """Salt and pepper: a share of the entries moves up or down by one length, so that the norm is the budget.

    Attributes
    ----------
    share : float
        Share of the entries that move, at most 1; at least one entry does.
    rounds : int
        Independent draws; 1 measures noise, more look for unlucky noise.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.
    """

    share: float = 0.1
    rounds: int = 1

    def __post_init__(self) -> None:
        """Check the options."""
        if positive(self.share, "share") > 1:
            raise ValueError(f"share is {self.share}; expected a share of the entries, above 0 and at most 1")
        whole_number(self.rounds, "rounds")

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give noisy inputs; the model is not asked."""
        del objective, turn
        flat = noise.flatten(1)
        chosen = flat.abs().topk(max(1, round(self.share * flat.shape[1])), dim=1).indices
        signs = flat.sign().gather(1, chosen)
        return _scaled(torch.zeros_like(flat).scatter(1, chosen, signs).view_as(noise), x, threat)


def _scaled(noise: Tensor, x: Tensor, threat: Threat) -> Tensor:
    scale = (threat.budget / threat.length(noise).clamp_min(1e-300)).to(noise.dtype)
    return x + noise * per_example(scale, noise)
