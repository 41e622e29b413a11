"""Tensors by name, read only when asked for: what every source of weights becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

ANY_ARRAY = "array"


class NotUnderstoodError(Exception):
    """The reason why an entry gives no matrix."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """One tensor that stays where it is until it is read.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        Type of its numbers, in torch's words: "float32", "bfloat16", "int8", "qint8".
    read : callable
        Takes nothing, gives the tensor on the CPU: dense, quantised numbers as floats. Raises
        `NotUnderstoodError` where that cannot be, ``ValueError`` where the file is damaged.
    where : str
        Where it stands, if its key does not say it.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Tensor]
    where: str = ""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """A flat table of tensors, and what is known about them.

    Attributes
    ----------
    origin : str
        Class of the module, or name of the file.
    entries : dict of str to Stored
        In order; keys have dots between module names.
    kinds : dict of str to str
        What a tensor is where its module or file tells: "linear" (out, in), "transposed linear" (in, out),
        "embedding" (words, dimensions), "convolution", "transposed convolution", "scale"; `ANY_ARRAY` where
        names are chosen freely; "! reason" where it is not read.
    unrecognised : list of (str, str)
        Entries that are no tensors of weights, each with the reason.
    config : mapping
        What the source says about its architecture: the ``config.json`` of a Hugging Face folder.
    """

    origin: str
    entries: dict[str, Stored]
    kinds: dict[str, str]
    unrecognised: list[tuple[str, str]]
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def stored_tensor(tensor: Tensor) -> Stored:
    """Give a tensor in memory as a `Stored` copy, so that later training does not change it.

    Parameters
    ----------
    tensor : Tensor
        Of any layout, on any device.

    Returns
    -------
    Stored
        A snapshot on the CPU in the same precision.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta:
        return Stored(tuple(tensor.shape), name, _no_values)
    with torch.inference_mode(False), torch.no_grad():
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # a sharded one
        copy = whole.detach().to("cpu", copy=True)
    return Stored(tuple(tensor.shape), name, lambda: _dense(copy))


def _dense(tensor: Tensor) -> Tensor:
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor.to_dense() if tensor.layout != torch.strided else tensor


def _no_values() -> Tensor:
    raise NotUnderstoodError("a meta tensor, which has a shape but no values; load the weights first")
