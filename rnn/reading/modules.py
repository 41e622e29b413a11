"""The tensors of a live module by name, each a snapshot, with the kind of layer each belongs to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from rnn.reading.layer_kinds import kind_of_class
from rnn.reading.packed import unpacked
from rnn.reading.tensors import Stored, Tensors, stored_tensor
from spectra.errors import UnsupportedModelError


def tensors_of_module(model: nn.Module) -> Tensors:
    """Give the tensors of a live module, as its ``state_dict`` names them, parametrised weights whole.

    Parameters
    ----------
    model : nn.Module
        Any module; it comes back as it was.

    Returns
    -------
    Tensors
        Snapshots in the precision of the module. A weight that is computed from others (by a
        parametrisation, weight_norm, spectral_norm or pruning) stands under its own name with the value it
        has in evaluation mode, and its factors in `Stored.where`. `config` is that of a transformers model.

    Raises
    ------
    UnsupportedModelError
        If a hook or method of the caller's keeps the model from giving its state_dict.

    Notes
    -----
    A parametrisation is evaluated on a copy, so that power iterations and random draws leave no trace.
    """
    kinds, directions = {}, {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        kind = kind_of_class(type(module), groups=getattr(module, "groups", 1))
        if kind:
            kinds[f"{prefix}weight"] = kind
        if isinstance(getattr(module, "_all_weight_values", None), nn.ModuleList):
            directions[prefix] = 2 if module.bidirectional else 1
    with torch.no_grad():
        state, unrecognised = unpacked(_state_dict(model), directions)
        entries = _snapshots(state, unrecognised)
        for key, factors, compute in _computed_weights(model):
            _replace(entries, key, [factor for factor in factors if factor in entries], compute, unrecognised)
    unrecognised += _plain_tensors(model, kinds, entries)
    return Tensors(type(model).__name__, entries, kinds, unrecognised, _config(model))


def _state_dict(model: nn.Module) -> Mapping[str, Any]:
    try:
        return model.state_dict()
    except Exception as error:  # hooks and methods of the caller's
        first = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UnsupportedModelError(
            f"source ({type(model).__name__}) gives no state_dict ({first}); pass its weights as a dictionary"
        ) from error


def _plain_tensors(
    model: nn.Module, kinds: Mapping[str, str], entries: Mapping[str, Stored]
) -> Iterator[tuple[str, str]]:
    """Give the weights of layers that are no parameters and no buffers, which no state_dict holds."""
    layers = dict(model.named_modules())
    for key in kinds:
        name, _, leaf = key.rpartition(".")
        if key not in entries and isinstance(vars(layers[name]).get(leaf), Tensor):
            yield key, "a plain tensor, no parameter and no buffer; make it an nn.Parameter"


def _snapshots(state: Mapping[str, Any], unrecognised: list[tuple[str, str]]) -> dict[str, Stored]:
    entries = {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            continue
        if is_lazy(value):
            unrecognised.append((key, "not initialised yet; run the model once, then read it"))
            continue
        entries[key] = stored_tensor(value)
    return entries


def _replace(
    entries: dict[str, Stored],
    key: str,
    factors: list[str],
    compute: Callable[[], Tensor],
    unrecognised: list[tuple[str, str]],
) -> None:
    """Put the computed weight where its first factor stands, in place of all of them."""
    try:
        weight = stored_tensor(compute())
    except Exception as error:  # whatever a parametrisation of the caller raises
        for factor in factors:
            del entries[factor]
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        unrecognised.append((key, f"its parametrisation could not be evaluated ({reason})"))
        return
    if not factors:  # a hook of the caller on state_dict left them out
        entries[key] = weight
    whole = Stored(weight.shape, weight.dtype, weight.read, ", ".join(factors))
    before = list(entries.items())
    entries.clear()
    for name, stored in before:
        if name not in factors:
            entries[name] = stored
        elif name == factors[0]:
            entries[key] = whole


def _computed_weights(model: nn.Module) -> Iterator[tuple[str, list[str], Callable[[], Tensor]]]:
    """Give each weight that is computed from others: its key, theirs, and how to compute it."""
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        chains = module.parametrizations if parametrize.is_parametrized(module) else nn.ModuleDict()
        for weight, chain in chains.items():
            stem = f"{prefix}parametrizations.{weight}."
            yield f"{prefix}{weight}", [stem + key for key in chain.state_dict()], _evaluation(chain)
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, (WeightNorm, SpectralNorm, BasePruningMethod)):
                weight = hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name
                factors = [f"{prefix}{weight}_{part}" for part in ("g", "orig", "u", "v", "mask")]
                yield f"{prefix}{weight}", factors, _hooked(hook, module)


def _evaluation(chain: nn.Module) -> Callable[[], Tensor]:
    def evaluate() -> Tensor:
        devices = {value.device for value in chain.state_dict().values() if value.device.type == "cuda"}
        with torch.random.fork_rng(devices=list(devices)):
            return copy.deepcopy(chain).eval()()

    return evaluate


def _hooked(hook: Any, module: nn.Module) -> Callable[[], Tensor]:
    if isinstance(hook, BasePruningMethod):
        return lambda: hook.apply_mask(module)
    if isinstance(hook, SpectralNorm):
        return lambda: hook.compute_weight(module, do_power_iteration=False)
    return lambda: hook.compute_weight(module)


def _config(model: nn.Module) -> Mapping[str, Any]:
    """Give the configuration of a transformers model, below wrappers; nothing where several disagree."""
    found = [module.__dict__.get("config") for module in model.modules()]
    configs = [config.to_dict() for config in found if config and callable(getattr(config, "to_dict", None))]
    root: nn.Module = model
    while "config" not in root.__dict__ and len(children := list(root.children())) == 1:
        root = children[0]
    agree = bool(configs) and all(config == configs[0] for config in configs)
    return configs[0] if agree or (configs and "config" in root.__dict__) else {}
