"""What a classifier returns, checked."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """Give the logits of any classifier, also of one that returns (logits, state).

    Parameters
    ----------
    model : nn.Module
        Maps a batch of inputs to logits (N, C), alone or first in a tuple.
    x : Tensor, shape (N, ...)
        The batch.

    Returns
    -------
    Tensor, shape (N, C)
        The logits.

    Raises
    ------
    TypeError
        If the model returns something else than a dense tensor of floats (first).
    ValueError
        If the logits are not of shape (N, C) with C at least 2.
    """
    output = model(x)
    found = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(found, Tensor):
        raise TypeError(
            f"model returns {type(found).__name__}; expected logits (N, C), or a tuple that begins with them"
        )
    if not found.is_floating_point() or found.layout != torch.strided:
        raise TypeError(
            f"model returns {found.dtype}, {found.layout}; expected a dense tensor of floats, the logits"
        )
    if found.ndim != 2 or found.shape[0] != x.shape[0] or found.shape[1] < 2:
        raise ValueError(
            f"model returns shape {tuple(found.shape)} for {x.shape[0]} inputs; expected logits (N, C) with "
            "C >= 2: wrap the model so that it returns one row of class scores per input"
        )
    return found
