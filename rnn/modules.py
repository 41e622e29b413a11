"""The tensors of a live module by name, each a snapshot, with the kind of layer each belongs to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnn.layer_kinds import kind_of_class
from rnn.tensors import Tensors, stored_tensor


def tensors_of_module(model: nn.Module) -> Tensors:
    """Give the tensors of a live module, as its ``state_dict`` names them.

    Parameters
    ----------
    model : nn.Module
        Any module.

    Returns
    -------
    Tensors
        Snapshots in the precision of the module.
    """
    kinds = {}
    for name, module in model.named_modules():
        kind = kind_of_class(type(module), groups=getattr(module, "groups", 1))
        if kind:
            kinds[f"{name}.weight" if name else "weight"] = kind
    with torch.no_grad():
        state = {
            key: stored_tensor(value)
            for key, value in model.state_dict().items()
            if isinstance(value, Tensor)
        }
    return Tensors(type(model).__name__, state, kinds, [])
