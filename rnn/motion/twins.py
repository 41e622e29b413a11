"""Float64 copies of networks in evaluation mode, without wrappers, on which everything is computed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rnn.models import in_mode
from spectra.errors import UnsupportedModelError


def is_stepped(module: Any) -> bool:
    """Tell whether a module has the methods `step` and `initial_state`.

    Parameters
    ----------
    module : nn.Module
        Any module.

    Returns
    -------
    bool
        Whether it can be stepped by itself.
    """
    return callable(getattr(module, "step", None)) and callable(getattr(module, "initial_state", None))


def float64_twin(model: nn.Module) -> nn.Module:
    """Give a float64 copy of a module in evaluation mode, without its wrappers and without gradients.

    Parameters
    ----------
    model : nn.Module
        Any module, also compiled or in ``DataParallel``.

    Returns
    -------
    nn.Module
        The copy.

    Raises
    ------
    UnsupportedModelError
        If it is no module, is one of TorchScript, has lazy layers that never ran, or cannot be copied.
    """
    bare = unwrapped(model)
    if not isinstance(bare, nn.Module) or isinstance(bare, torch.jit.ScriptModule):
        raise UnsupportedModelError(
            f"model is a {type(bare).__name__}; expected a torch.nn.Module (not compiled by TorchScript)"
        )
    tensors = [*bare.parameters(), *bare.buffers()]
    if any(map(nn.parameter.is_lazy, tensors)):
        raise UnsupportedModelError(
            f"model ({type(bare).__name__}) has lazy layers without weights yet; run it once on a batch"
        )
    # a spectral norm in training mode moves whenever its weight is read: also while it is copied
    with torch.inference_mode(False), torch.no_grad(), in_mode(bare, training=False):
        try:
            twin = copy.deepcopy(bare, {id(t): t.detach().clone() for t in _tensors_with_history(bare)})
        except Exception as error:  # whatever a user's object raises when it is copied
            raise UnsupportedModelError(
                f"model ({type(bare).__name__}) cannot be copied ({type(error).__name__}: {error}); pass the "
                "part of it that computes"
            ) from None
        for module in list(twin.modules()):
            for name, child in module.named_children():
                if unwrapped(child) is not child:
                    setattr(module, name, unwrapped(child))
        twin.double().requires_grad_(False)
    for module in twin.modules():
        module._compiled_call_impl = None  # of module.compile(): it would call the original
    return twin


def unwrapped(model: Any) -> Any:
    """Give what torch.compile, DataParallel and DistributedDataParallel wrap."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, parallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            return model


def _tensors_with_history(model: nn.Module) -> Iterator[Tensor]:
    """Give the attributes that are results of differentiable operations, which torch does not copy."""
    for module in model.modules():
        for value in vars(module).values():
            for entry in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(entry, Tensor) and entry.grad_fn is not None:
                    yield entry
