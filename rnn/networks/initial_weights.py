"""Weights drawn from a generator of their own, without touching the global one."""

from __future__ import annotations

import math

import torch
from torch import nn


def drawn(shape: tuple[int, int], scale: float, random: torch.Generator) -> nn.Parameter:
    """Give a matrix of independent normal entries with standard deviation `scale`."""
    return nn.Parameter(scale * torch.randn(shape, generator=random))


def recurrent_start(
    gates: int, hidden: int, *, gain: float, initialisation: str, random: torch.Generator
) -> nn.Parameter:
    """Give the initial recurrent matrices of all gates, stacked; see `ModelConfig.initialisation`."""
    stacked = drawn((gates * hidden, hidden), gain / math.sqrt(hidden), random)
    if initialisation == "orthogonal":
        with torch.no_grad():
            for matrix in stacked.split(hidden):
                Q, R = torch.linalg.qr(matrix.double())
                matrix.copy_(gain * Q * R.diagonal().sign())  # the signs make it uniform over all of them
    return stacked


def linear_layer(inputs: int, outputs: int, scale: float, random: torch.Generator) -> nn.Linear:
    """Give a linear layer with normal weights of standard deviation `scale` and bias 0."""
    layer = nn.utils.skip_init(  # nn.Linear itself would draw from the global generator
        nn.Linear, inputs, outputs
    )
    with torch.no_grad():
        layer.weight.copy_(drawn((outputs, inputs), scale, random))
        layer.bias.zero_()
    return layer
