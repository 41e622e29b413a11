"""Packed weights of torch.ao as a file describes them, as tensors by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rnn.pickle_machine import Made
from rnn.tensors import Stored

CUSTOM = "__torch__.torch.classes."
_LINEAR = re.compile(r"(?P<stem>.*?)_packed_params\.(?:_packed_params|_packed_weight)")
_CELL = re.compile(r"(?P<stem>(?:.*\.)?)_packed_(?P<name>weight_ih|weight_hh)")
_LAYER = re.compile(r"(?P<stem>(?:.*\.)?)_all_weight_values\.(?P<number>\d+)\.param")
_LAYERS = 1000


def is_packed(value: Any) -> bool:
    """Tell whether a note describes a packed value, of a pickle or of TorchScript.

    Parameters
    ----------
    value : object
        Anything that a pickle holds.

    Returns
    -------
    bool
        Whether it is one.
    """
    return isinstance(value, Made) and (value.maker == "torch.ScriptObject" or value.maker.startswith(CUSTOM))


def opened_notes(
    content: Mapping[Any, Any], directions: Mapping[str, int]
) -> tuple[dict[Any, Any], list[tuple[str, str]]]:
    """Replace the notes of packed weights by tensors under torch's usual names.

    Parameters
    ----------
    content : mapping
        What a dictionary of the file holds.
    directions : mapping
        How many directions (1 or 2) the recurrent layer has whose keys begin with the given text. For others
        it is read off the widths of the inputs.

    Returns
    -------
    content : dict
        Without packed values; biases, which are no matrices, are left out.
    unrecognised : list of (str, str)
        Packed values of other kinds, each with the reason.
    """
    opened: dict[Any, Any] = {}
    listed = []
    for key, value in content.items():
        if not is_packed(value):
            opened[key] = value
            continue
        name, weights = str(key), _weights(value)
        if (match := _LINEAR.fullmatch(name)) and len(weights) == 1:
            opened[f"{match['stem']}weight"] = weights[0]
        elif (match := _CELL.fullmatch(name)) and len(weights) == 1:
            opened[f"{match['stem']}{match['name']}"] = weights[0]
        elif (match := _LAYER.fullmatch(name)) and len(weights) == 2:
            ways = directions.get(match["stem"]) or _ways(content, match["stem"])
            if ways == 0 or len(match["number"]) > 3:
                listed.append((name, "one layer in two directions, or two layers: save the module itself"))
                continue
            layer, reverse = divmod(int(match["number"]), ways)
            suffix = f"l{layer}" + ("_reverse" if reverse else "")
            opened |= {
                f"{match['stem']}weight_{what}_{suffix}": w
                for what, w in zip(("ih", "hh"), weights, strict=True)
            }
        else:
            listed.append((name, "a packed value of a kind that is not read yet"))
    return opened, listed


def _state(value: Any) -> tuple[Any, ...]:
    """Give what a packed value is made of; a pickle has it beside the name of the class."""
    if not is_packed(value) or not isinstance(value.state, tuple) or not value.state:
        return ()
    inner = value.state[0] if value.maker == "torch.ScriptObject" else value.state
    return inner if isinstance(inner, tuple) else ()


def _weights(value: Any) -> list[Stored]:
    """Give the weight of a linear layer, those of input and state of a recurrent one, or none."""
    match _state(value):
        case (Stored() as weight, *_):
            return [weight]
        case (str(), list(), list(), list(), [of_input, of_state]):
            both = [_state(of_input)[:1], _state(of_state)[:1]]
            return [part[0] for part in both if part and isinstance(part[0], Stored)]
    return []


def _ways(content: Mapping[Any, Any], stem: str) -> int:
    """Tell one direction from two by what the last layer is fed, h numbers or 2h; 0 where both fit."""
    layers = [
        _weights(content[key])
        for n in range(_LAYERS)
        if (key := f"{stem}_all_weight_values.{n}.param") in content
    ]
    if len(layers) == 1:
        return 1
    if not all(
        len(layer) == 2 and all(len(w.shape) == 2 for w in layer) for layer in (layers[0], layers[-1])
    ):
        return 0
    width, h, last = layers[0][0].shape[1], layers[0][1].shape[1], layers[-1][0].shape[1]
    one_way, two_ways = last == h, last == (width if len(layers) == 2 else 2 * h)
    return 0 if one_way == two_ways else 1 if one_way else 2
