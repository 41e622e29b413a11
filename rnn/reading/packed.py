"""Quantised layers of torch.ao, which keep weight and bias in one packed value, as tensors by name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rnn.reading.tensors import NotUnderstoodError, Stored

_LINEAR = re.compile(r"(?P<stem>.*?)_packed_params\.(?:_packed_params|_packed_weight)")
_CELL = re.compile(r"(?P<stem>(?:.*\.)?)_packed_(?P<name>weight_ih|weight_hh)")
_LAYER = re.compile(r"(?P<stem>(?:.*\.)?)_all_weight_values\.(?P<number>\d{1,3})\.param")

Listed = list[tuple[str, str]]
Weights = list[Any]  # tensors, or notes of them: one of a linear layer, two of a recurrent one


def weights_of_value(key: str, value: Any) -> Weights | None:
    """Give the weights in a packed value of a live layer.

    Parameters
    ----------
    key : str
        Its key in the state dictionary.
    value : object
        Anything.

    Returns
    -------
    list of Tensor, or None
        One of a linear layer or cell, those of input and state of a recurrent layer, none if the value is of
        another kind; None if it is not packed.

    Raises
    ------
    NotUnderstoodError
        If it could not be opened.
    """
    if isinstance(value, (tuple, Tensor)) and _LINEAR.fullmatch(key):
        return list(value[:1]) if isinstance(value, tuple) else [value]
    if not isinstance(value, torch.ScriptObject):
        return None
    try:
        return weights_of_state(value, _state)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise NotUnderstoodError(f"a packed weight that could not be opened ({error})") from None


def weights_of_state(value: Any, state_of: Callable[[Any], Any]) -> Weights:
    """Find the weights in what a packed value is made of.

    Parameters
    ----------
    value : object
        The packed value.
    state_of : callable
        Gives what a packed value is made of.

    Returns
    -------
    list of Tensor or Stored
        As for `weights_of_value`.
    """
    match state_of(value):
        case (Tensor() | Stored() as weight, *_):
            return [weight]
        case (str(), list(), list(), list(), [of_input, of_state]):
            firsts = [one for part in (of_input, of_state) for one in state_of(part)[:1]]
            return [one for one in firsts if isinstance(one, (Tensor, Stored))]
    return []


def unpacked(
    content: Mapping[Any, Any],
    directions: Mapping[str, int] | None = None,
    *,
    weights_of: Callable[[str, Any], Weights | None] = weights_of_value,
) -> tuple[Mapping[Any, Any], Listed]:
    """Replace the packed weights of a state dictionary by tensors under torch's usual names.

    Parameters
    ----------
    content : mapping
        A state dictionary, or any other mapping.
    directions : mapping, optional
        How many directions (1 or 2) the recurrent layer has whose keys begin with the given text.
    weights_of : callable
        Gives the weights of a value under its key, as `weights_of_value` does.

    Returns
    -------
    content : mapping
        The same object if nothing in it is packed.
    unrecognised : list of (str, str)
        Packed values that could not be opened, each with the reason; they are left out of `content`.

    Notes
    -----
    Linear and embedding layers give ``weight``, cells ``weight_ih`` and ``weight_hh``, recurrent layers
    ``weight_ih_l0``, ``weight_hh_l0_reverse`` and so on. Unless `directions` tells, how many
    there are is read off the widths of the inputs. Biases are left out: they are no matrices.
    """
    packed: dict[Any, Weights] = {}
    listed: dict[Any, str] = {}
    for key, value in content.items():
        try:
            weights = weights_of(str(key), value)
        except NotUnderstoodError as reason:
            listed[key] = str(reason)
        else:
            if weights is not None:
                packed[key] = weights
    if not packed and not listed:
        return content, []
    opened: dict[Any, Any] = {}
    ways = dict(directions or {})
    by_name = {str(key): weights for key, weights in packed.items()}
    for key, value in content.items():
        try:
            if key in packed:
                opened |= _named(str(key), by_name, ways)
            elif key not in listed:
                opened[key] = value
        except NotUnderstoodError as reason:
            listed[key] = str(reason)
    return opened, [(str(key), listed[key]) for key in content if key in listed]


def _named(key: str, packed: Mapping[str, Weights], ways: dict[str, int]) -> dict[str, Any]:
    """Give the weights of one packed value by name; `ways` remembers the directions of layers."""
    weights = packed[key]
    if (match := _LINEAR.fullmatch(key)) and len(weights) == 1:
        return {f"{match['stem']}weight": weights[0]}
    if (match := _CELL.fullmatch(key)) and len(weights) == 1:
        return {f"{match['stem']}{match['name']}": weights[0]}
    if (match := _LAYER.fullmatch(key)) and len(weights) == 2:
        stem = match["stem"]
        if stem not in ways:
            ways[stem] = _ways(packed, stem)
        if not ways[stem]:
            raise NotUnderstoodError(
                "one layer in two directions, or two layers: pass or save the module itself"
            )
        layer, reverse = divmod(int(match["number"]), ways[stem])
        suffix = f"l{layer}" + ("_reverse" if reverse else "")
        return {f"{stem}weight_{what}_{suffix}": w for what, w in zip(("ih", "hh"), weights, strict=True)}
    raise NotUnderstoodError("a packed value of a kind that is not read yet")


def _state(packed: Any) -> Any:
    return packed.__getstate__()[0]


def _ways(packed: Mapping[str, Weights], stem: str) -> int:
    """Tell one direction from two by what the last layer is fed, h numbers or 2h; 0 where both fit."""
    keys = (f"{stem}_all_weight_values.{n}.param" for n in itertools.count())
    layers = [packed[key] for key in itertools.takewhile(packed.__contains__, keys)]
    if len(layers) == 1:
        return 1
    shapes = [tuple(weight.shape) for layer in (layers[:1] + layers[-1:]) for weight in layer]
    if len(shapes) != 4 or any(len(shape) != 2 for shape in shapes):
        return 0
    width, h, last = shapes[0][1], shapes[1][1], shapes[2][1]
    one_way, two_ways = last == h, last == (width if len(layers) == 2 else 2 * h)
    return 0 if one_way == two_ways else 1 if one_way else 2
