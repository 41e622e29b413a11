"""One step of a recurrent cell, in plain operations, from the sums over its input and over its state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, Tensor], Tensor]


def tanh_step(from_input: Tensor, from_hidden: Tensor, _: Tensor) -> Tensor:
    """Give h' = tanh(U x + W h + b)."""
    return torch.tanh(from_input + from_hidden)


def relu_step(from_input: Tensor, from_hidden: Tensor, _: Tensor) -> Tensor:
    """Give h' = max(0, U x + W h + b)."""
    return torch.relu(from_input + from_hidden)


def gru_step(from_input: Tensor, from_hidden: Tensor, h: Tensor) -> Tensor:
    """Give the next h of a GRU from the sums of its gates, as ``nn.GRU`` does, and the present h."""
    r_x, z_x, n_x = from_input.chunk(3, dim=-1)
    r_h, z_h, n_h = from_hidden.chunk(3, dim=-1)
    z = torch.sigmoid(z_x + z_h)
    n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
    return n + z * (h - n)


def lstm_step(from_input: Tensor, from_hidden: Tensor, state: Tensor) -> Tensor:
    """Give the next (h, c) of an LSTM from the sums of its gates and the present (h, c)."""
    i, f, g, o = (from_input + from_hidden).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state.chunk(2, dim=-1)[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.cat((torch.sigmoid(o) * torch.tanh(c), c), dim=-1)


STEPS: dict[str, Step] = {"tanh": tanh_step, "relu": relu_step, "gru": gru_step, "lstm": lstm_step}
