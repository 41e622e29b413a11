"""Operators of ONNX between a stored tensor and the layer that uses it: what they make of a constant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnn.reading.onnx_tensors import Array, Constant, cast, type_word
from rnn.reading.tensors import NotUnderstoodError

_DEEPEST = 50  # operators in a row that are followed
_LONGEST = 64  # numbers in an input that says how: axes, shapes, indices

Attributes = dict[str, Any]


def fold(
    op: str, attributes: Attributes, inputs: Sequence[Constant | None], *, outputs: int, room: int
) -> list[Constant]:
    """Give the outputs of an operator whose inputs are constants; nothing large is read.

    Parameters
    ----------
    op : str
        One of `FOLDED`.
    attributes : dict of str to object
        Of the node.
    inputs : sequence of Constant or None
        None where an optional one is left out.
    outputs : int
        How many outputs the node has.
    room : int
        Numbers that an output may have at most: as many as the file holds.

    Returns
    -------
    list of Constant
        One for each output.

    Raises
    ------
    NotUnderstoodError
        If the inputs do not fit the operator, or the result is too large or too far from its source.

    Notes
    -----
    The shape is that of the same operation on an array of zeros without memory (all strides zero).
    """
    data = [part for part in inputs if part is not None]
    rest = () if op in {"Concat", "DequantizeLinear"} else tuple(_small(part) for part in inputs[1:])
    depth = max(part.depth for part in data) + 1
    if depth > _DEEPEST:
        raise NotUnderstoodError(f"more than {_DEEPEST} operators lie between the tensor and its use")
    try:
        shapes = _shapes(op, attributes, inputs, rest, outputs)
    except (ValueError, IndexError, TypeError, KeyError, OverflowError) as error:
        raise NotUnderstoodError(
            f"{op} does not fit its inputs ({str(error).splitlines()[0]:.100})"
        ) from None
    if len(shapes) < outputs or any(math.prod(shape) > room for shape in shapes):
        raise NotUnderstoodError(f"{op} would make more of it than the file holds")

    def values(place: int) -> Array:
        if op == "Concat":
            return np.concatenate([part.read() for part in data], axis=attributes["axis"])
        if op == "DequantizeLinear":
            return _dequantised(attributes, *(part.read() if part else None for part in inputs))
        return FOLDED[op](attributes, outputs, data[0].read(), *rest)[place]

    first = data[0]
    whole = first.whole and op in _KEEP_ALL
    dtype = "float32" if op == "DequantizeLinear" else first.dtype
    dtype = type_word(attributes["to"]) if op == "Cast" else dtype
    return [
        Constant(shape, dtype, lambda place=place: values(place), first.source, whole, depth)  # type: ignore[misc]
        for place, shape in enumerate(shapes[:outputs])
    ]


def _shapes(
    op: str, attributes: Attributes, inputs: Sequence[Constant | None], rest: tuple[Any, ...], outputs: int
) -> list[tuple[int, ...]]:
    blanks = [np.broadcast_to(np.zeros((), np.int8), part.shape) for part in inputs if part is not None]
    if op == "Concat":
        axis = range(blanks[0].ndim)[attributes["axis"]]
        around = {(*blank.shape[:axis], *blank.shape[axis + 1 :]) for blank in blanks}
        if len(around) > 1 or len({blank.ndim for blank in blanks}) > 1:
            raise ValueError("shapes differ")
        length = sum(blank.shape[axis] for blank in blanks)
        return [(*blanks[0].shape[:axis], length, *blanks[0].shape[axis + 1 :])]
    if op == "Cast":
        if type_word(attributes["to"]) in {"string", "undefined"}:
            raise NotUnderstoodError(f"a Cast to {type_word(attributes['to'])}, not to numbers")
        return [blanks[0].shape]
    if op == "DequantizeLinear":
        scale = _scale_shape(attributes, blanks[0].shape, blanks[1].shape)
        np.broadcast_shapes(blanks[0].shape, scale)
        return [blanks[0].shape]
    return [part.shape for part in FOLDED[op](attributes, outputs, blanks[0], *rest)]


def _small(part: Constant | None) -> list[int] | None:
    if part is None:
        return None
    if part.count > _LONGEST or part.dtype not in {"int64", "int32"}:
        raise NotUnderstoodError("its axes or indices are not a few whole numbers")
    return [int(value) for value in part.read().ravel()]


def _same(_: Attributes, __: int, x: Array) -> list[Array]:
    return [x]


def _transpose(attributes: Attributes, _: int, x: Array) -> list[Array]:
    return [x.transpose(attributes.get("perm"))]


def _reshape(attributes: Attributes, _: int, x: Array, shape: list[int]) -> list[Array]:
    keep = not attributes.get("allowzero", 0)
    return [x.reshape([x.shape[k] if length == 0 and keep else length for k, length in enumerate(shape)])]


def _squeeze(attributes: Attributes, _: int, x: Array, axes: list[int] | None = None) -> list[Array]:
    chosen = axes if axes is not None else attributes.get("axes")
    return [np.squeeze(x, axis=None if chosen is None else tuple(chosen))]


def _unsqueeze(attributes: Attributes, _: int, x: Array, axes: list[int] | None = None) -> list[Array]:
    return [np.expand_dims(x, tuple(axes if axes is not None else attributes["axes"]))]


def _slice(
    attributes: Attributes,
    _: int,
    x: Array,
    starts: list[int] | None = None,
    ends: list[int] | None = None,
    axes: list[int] | None = None,
    steps: list[int] | None = None,
) -> list[Array]:
    if starts is None or ends is None:  # before version 10 of the operator
        starts, ends, axes = attributes["starts"], attributes["ends"], attributes.get("axes")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return [x[tuple(cut)]]


def _split(attributes: Attributes, outputs: int, x: Array, lengths: list[int] | None = None) -> list[Array]:
    axis = attributes.get("axis", 0)
    lengths = lengths if lengths is not None else attributes.get("split")
    if lengths is None:
        size = -(-x.shape[axis] // outputs)
        places = [size * k for k in range(1, outputs)]
    else:
        if sum(lengths) != x.shape[axis] or min(lengths) < 0:
            raise ValueError("lengths do not add up")
        places = [int(place) for place in np.cumsum(lengths)[:-1]]
    return np.split(x, places, axis=axis)


def _dequantised(
    attributes: Attributes, x: Array | None, scale: Array | None, zero: Array | None = None
) -> Array:
    """(x - zero) * scale, with one scale for all, for each place of an axis, or for each block of it."""
    assert x is not None
    assert scale is not None
    wide, shape = x.astype(np.float64), _scale_shape(attributes, x.shape, scale.shape)
    block = attributes.get("block_size", 0)
    axis = attributes.get("axis", 1)

    def spread(values: Array) -> Array:
        if block and values.ndim == x.ndim:
            return np.repeat(values, block, axis=axis).take(range(x.shape[axis]), axis=axis)
        return values.reshape(shape)

    shifted = wide if zero is None else wide - spread(zero.astype(np.float64))
    return (shifted * spread(scale.astype(np.float64))).astype(np.float32)


def _scale_shape(attributes: Attributes, shape: tuple[int, ...], scale: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(scale) == 1:
        return (1,) * len(shape)
    block, axis = attributes.get("block_size", 0), range(len(shape))[attributes.get("axis", 1)]
    if block and len(scale) == len(shape):
        blocks = [length if k != axis else -(-length // block) for k, length in enumerate(shape)]
        if list(scale) != blocks:
            raise ValueError(f"scales of shape {scale}")
        return shape
    if scale != (shape[axis],):
        raise ValueError(f"scales of shape {scale}")
    return tuple(length if k == axis else 1 for k, length in enumerate(shape))


FOLDED: dict[str, Callable[..., list[Array]]] = {
    "Identity": _same,
    "Cast": lambda attributes, _, x: [cast(x, attributes["to"])],
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Concat": _same,
    "DequantizeLinear": _same,
}
_KEEP_ALL = {"Identity", "Cast", "Transpose", "Squeeze", "Unsqueeze", "DequantizeLinear"}
