"""Quantised layers of torch.ao, which keep weight and bias in one packed value, as tensors by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_LINEAR = re.compile(r"(?P<stem>.*?)_packed_params\.(?:_packed_params|_packed_weight)")
_CELL = re.compile(r"(?P<stem>(?:.*\.)?)_packed_(?P<name>weight_ih|weight_hh)")
_LAYER = re.compile(r"(?P<stem>(?:.*\.)?)_all_weight_values\.(?P<number>\d+)\.param")

Listed = list[tuple[str, str]]


def unpacked(
    content: Mapping[Any, Any], directions: Mapping[str, int] | None = None
) -> tuple[Mapping[Any, Any], Listed]:
    """Replace the packed weights of a state dictionary by tensors under torch's usual names.

    Parameters
    ----------
    content : mapping
        A state dictionary, or any other mapping.
    directions : mapping, optional
        How many directions (1 or 2) the recurrent layer has whose keys begin with the given text.

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
    packed = {str(key): value for key, value in content.items() if _is_packed(str(key), value)}
    if not packed:
        return content, []
    opened, unrecognised = {}, []
    directions = _directions(packed) | dict(directions or {})
    for key, value in content.items():
        if key not in packed:
            opened[key] = value
            continue
        try:
            opened |= _opened(str(key), value, directions)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            unrecognised.append((str(key), f"a packed weight that could not be opened ({error})"))
    return opened, unrecognised


def _is_packed(key: str, value: Any) -> bool:
    if isinstance(value, torch.ScriptObject):
        return True
    return _LINEAR.fullmatch(key) is not None and isinstance(value, (tuple, Tensor))


def _opened(key: str, value: Any, directions: dict[str, int]) -> dict[str, Tensor]:
    if match := _LINEAR.fullmatch(key):
        return {f"{match['stem']}weight": value[0] if isinstance(value, tuple) else value}
    if match := _CELL.fullmatch(key):
        return {f"{match['stem']}{match['name']}": _weight(value)}
    if match := _LAYER.fullmatch(key):
        ways = directions[match["stem"]]
        if not ways:
            raise ValueError("one layer in two directions, or two layers: pass the module itself")
        layer, reverse = divmod(int(match["number"]), ways)
        suffix = f"l{layer}" + ("_reverse" if reverse else "")
        weights = _cell_weights(value)
        return {
            f"{match['stem']}weight_{what}_{suffix}": w for what, w in zip(("ih", "hh"), weights, strict=True)
        }
    raise ValueError("no layer of torch.ao.nn.quantized keeps a value under this name")


def _weight(packed: Any) -> Tensor:
    return packed.__getstate__()[0][0]


def _cell_weights(packed: Any) -> tuple[Tensor, Tensor]:
    of_input, of_state = packed.__getstate__()[0][4]
    return _weight(of_input), _weight(of_state)


def _directions(packed: Mapping[str, Any]) -> dict[str, int]:
    """Tell one direction from two by what the last layer is fed, h numbers or 2h; 0 where both fit."""
    found: dict[str, int] = {}
    for key, value in packed.items():
        match = _LAYER.fullmatch(key)
        if match is None or match["number"] != "0":
            continue
        stem = match["stem"]
        numbers = [k for k in packed if (other := _LAYER.fullmatch(k)) and other["stem"] == stem]
        of_input, of_state = _cell_weights(value)
        width, h = of_input.shape[1], of_state.shape[1]
        if len(numbers) == 1:
            found[stem] = 1
        else:
            last = _cell_weights(packed[f"{stem}_all_weight_values.{len(numbers) - 1}.param"])[0].shape[1]
            one_way = last == h
            two_ways = last == (width if len(numbers) == 2 else 2 * h)
            found[stem] = 0 if one_way and two_ways else 1 if one_way else 2
    return found
