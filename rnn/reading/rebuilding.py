"""A network that can run, from its weights: our checkpoint, a user's factory, or one bare recurrent layer."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from rnn.reading.numpy_files import read_numpy
from rnn.reading.sources import read_source
from rnn.reading.tensors import NotUnderstoodError, Stored, Tensors
from rnn.tasks import TASKS, load_task
from rnn.training import is_checkpoint, load_checkpoint
from spectra.errors import UnsupportedModelError

_LAYER = re.compile(r"(?P<prefix>(?:.*\.)?)weight_hh_l(?P<layer>\d{1,4})(?P<reverse>_reverse)?")
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


def unused_entries(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Name the tensors of a file that `rebuilt_model` leaves aside, without a factory.

    Parameters
    ----------
    path : path-like
        The checkpoint.

    Returns
    -------
    tuple of str
        What is beside the one recurrent layer, such as a head; nothing of a checkpoint of ours.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    if is_checkpoint(path):
        return ()
    keys = [*read_source(path).entries]
    prefixes = {match["prefix"] for key in keys if (match := _LAYER.fullmatch(key))}
    own = tuple(f"{prefix}{part}_" for prefix in prefixes for part in ("weight", "bias"))
    return tuple(key for key in keys if not key.startswith(own))


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
        if text not in TASKS:
            raise ValueError(
                f"data is {text!r}; expected a .npy file, or the name of a task: {', '.join(TASKS)}"
            )
        return load_task(text).x_test
    if path.suffix.lower() != ".npy":
        raise ValueError(
            f"data is {text!r}; expected a .npy file of sequences (N, T, F), or the name of a task: "
            f"{', '.join(TASKS)}"
        )
    if path.exists() and not path.is_file():
        raise ValueError(f"data is {text!r}, which is no regular file; pass a .npy file")
    (stored,) = read_numpy(path).entries.values()
    values = _values(stored, f"data in {text}")
    if values.ndim not in {2, 3} or values.numel() == 0:
        raise ValueError(
            f"data in {text} have shape {tuple(values.shape)}; expected (N, T, F), or token ids (N, T)"
        )
    if values.is_complex():
        raise ValueError(f"data in {text} are complex; expected real numbers: save real and imaginary parts")
    if not values.isfinite().all():
        raise ValueError(f"data in {text} hold NaN or infinite entries; remove or replace them first")
    return values.float() if values.is_floating_point() else values.long()


def _made(factory: str) -> nn.Module:
    place, _, name = factory.partition(":")
    if not place or not name or place.startswith("."):
        raise ValueError(f"model is {factory!r}; expected module:function, such as my_models:build")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(place), name)
        model = function()
    except (Exception, SystemExit) as error:  # the user's own code
        first = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(
            f"model {factory} cannot be built ({first}); try it alone: "
            f'python -c "from {place} import {name}; {name}()"'
        ) from error
    finally:
        with contextlib.suppress(ValueError):  # the user's code may have removed it
            sys.path.remove(folder)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model {factory} gives a {type(model).__name__}; expected a torch.nn.Module")
    return model


def _loaded(model: nn.Module, table: Tensors, what: str) -> nn.Module:
    state = {
        _WRAPPERS.sub("", key): _values(stored, f"{key} of {table.origin}")
        for key, stored in table.entries.items()
    }
    try:
        model.load_state_dict(state)
    except Exception as error:  # RuntimeError of torch, or whatever a method of the user's raises
        first = " ".join(f"{error}".split())[:300] or type(error).__name__
        raise ValueError(
            f"{what} does not fit the weights of {table.origin} ({first}); build the network as it was "
            "when they were saved"
        ) from error
    return model.eval()


def _values(stored: Stored, what: str) -> Tensor:
    try:
        return stored.read()
    except NotUnderstoodError as reason:
        raise ValueError(
            f"{what} cannot be read ({reason}); save the numbers again, or fewer of them"
        ) from None


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
    layers = {int(match["layer"]) for match in found.values()}
    first, inputs, back = (own.get(f"{prefix}weight_{part}_l0") for part in ("hh", "ih", "hr"))
    if first is None or inputs is None or layers != set(range(len(layers))):
        raise UnsupportedModelError(_no_whole_layer(table, prefix))
    if {len(part.shape) for part in (first, inputs, back or first)} != {2}:
        raise UnsupportedModelError(_no_whole_layer(table, prefix))
    hidden = first.shape[-1] if back is None else back.shape[-1]
    gates = first.shape[0] // max(hidden, 1)
    if gates not in _CLASSES:
        raise UnsupportedModelError(_no_whole_layer(table, prefix))
    layer = _CLASSES[gates](
        inputs.shape[-1],
        hidden,
        num_layers=len(layers),
        bias=f"{prefix}bias_hh_l0" in own,
        batch_first=True,
        bidirectional=any(match["reverse"] for match in found.values()),
        **({} if back is None else {"proj_size": back.shape[0]}),
    )
    part = Tensors(table.origin, {key.removeprefix(prefix): one for key, one in own.items()}, {}, [])
    return _loaded(layer, part, f"nn.{type(layer).__name__}")


def _no_whole_layer(table: Tensors, prefix: str) -> str:
    return (
        f"{table.origin} holds no whole recurrent layer {prefix or '(unnamed)'}: weight_ih_l0 and "
        "weight_hh_l0 of 1, 3 or 4 gates, and so on for every layer; name a function that builds the "
        "network, module:function (--model)"
    )
