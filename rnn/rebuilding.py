"""A network that can run, from its weights: our checkpoint, a user's factory, or one bare recurrent layer."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from rnn.numpy_files import read_numpy
from rnn.sources import read_source
from rnn.tasks import load_task
from rnn.tensors import Tensors
from rnn.training import is_checkpoint, load_checkpoint
from spectra.errors import UnsupportedModelError

_LAYER = re.compile(r"(?P<prefix>(?:.*\.)?)weight_hh_l(?P<layer>\d+)(?P<reverse>_reverse)?")
_CLASSES: dict[int, Callable[..., nn.RNNBase]] = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")


def rebuilt_model(path: str | os.PathLike[str], factory: str | None = None) -> nn.Module:
    """Give the network of a checkpoint, ready to run.

    Parameters
    ----------
    path : path-like
        The checkpoint.
    factory : str, optional
        ``"module:function"``: the function takes nothing and gives the untrained network. The module is
        imported from the current folder or the environment, that is, its code is run.

    Returns
    -------
    nn.Module
        In evaluation mode. Without a factory that of a checkpoint of ours; of other files the recurrent
        layer that they hold, alone (``nn.RNN`` with tanh where there is one gate).

    Raises
    ------
    UnsupportedModelError
        If a factory is needed and not given.
    ValueError
        If the factory cannot be used, or the weights do not fit.
    """
    if factory is not None:
        return _loaded(_made(factory), read_source(path), f"model {factory}")
    if is_checkpoint(path):
        return load_checkpoint(path).model
    return _bare_layer(read_source(path))


def read_data(text: str) -> Tensor:
    """Give data from a file, or the test inputs of a task.

    Parameters
    ----------
    text : str
        A ``.npy`` file of sequences (N, T, F) or token ids (N, T), or the name of a task.

    Returns
    -------
    Tensor
        The sequences; floats as float32.

    Raises
    ------
    ValueError
        If it is neither, or holds no such array.
    """
    path = Path(text)
    if not path.exists() and not path.suffix:
        return load_task(text).x_test
    if path.suffix.lower() != ".npy":
        raise ValueError(
            f"data is {text!r}; expected a .npy file of sequences (N, T, F), or the name of a task"
        )
    (stored,) = read_numpy(path).entries.values()
    values = stored.read()
    if values.ndim not in {2, 3} or values.numel() == 0:
        raise ValueError(
            f"data in {text} have shape {tuple(values.shape)}; expected (N, T, F), or token ids (N, T)"
        )
    if not values.isfinite().all():
        raise ValueError(f"data in {text} hold NaN or infinite entries; remove or replace them first")
    return values.float() if values.is_floating_point() else values.long()


def _made(factory: str) -> nn.Module:
    place, _, name = factory.partition(":")
    if not place or not name:
        raise ValueError(f"model is {factory!r}; expected module:function, such as my_models:build")
    sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(place), name)
        model = function()
    except Exception as error:  # the user's own code
        raise ValueError(f"model {factory} cannot be built ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(model, nn.Module):
        raise ValueError(f"model {factory} gives a {type(model).__name__}; expected a torch.nn.Module")
    return model


def _loaded(model: nn.Module, table: Tensors, what: str) -> nn.Module:
    state = {_WRAPPERS.sub("", key): stored.read() for key, stored in table.entries.items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ValueError(f"{what} does not fit the weights of {table.origin} ({first})") from None
    return model.eval()


def _bare_layer(table: Tensors) -> nn.Module:
    """Build the one recurrent layer of which a file holds the weights."""
    found = {key: match for key in table.entries if (match := _LAYER.fullmatch(key))}
    prefixes = {match["prefix"] for match in found.values()}
    if len(prefixes) != 1:
        raise UnsupportedModelError(
            f"{table.origin} holds the weights of {len(prefixes)} recurrent layers, not of one, so that it "
            "does not say how data pass through them; name a function that builds the network, "
            "module:function (--model)"
        )
    (prefix,) = prefixes
    own = {key: stored for key, stored in table.entries.items() if key.startswith(f"{prefix}weight_")}
    own |= {key: stored for key, stored in table.entries.items() if key.startswith(f"{prefix}bias_")}
    first, inputs = own[f"{prefix}weight_hh_l0"], own.get(f"{prefix}weight_ih_l0")
    back = own.get(f"{prefix}weight_hr_l0")
    hidden = first.shape[-1] if back is None else back.shape[-1]
    gates = first.shape[0] // max(hidden, 1)
    if inputs is None or gates not in _CLASSES:
        raise UnsupportedModelError(f"{table.origin} holds no whole recurrent layer {prefix or '(unnamed)'}")
    layer = _CLASSES[gates](
        inputs.shape[-1],
        hidden,
        num_layers=1 + max(int(match["layer"]) for match in found.values()),
        bias=f"{prefix}bias_hh_l0" in own,
        batch_first=True,
        bidirectional=any(match["reverse"] for match in found.values()),
        **({} if back is None else {"proj_size": back.shape[0]}),
    )
    part = Tensors(table.origin, {key.removeprefix(prefix): one for key, one in own.items()}, {}, [])
    return _loaded(layer, part, f"nn.{type(layer).__name__}")
