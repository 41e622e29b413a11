"""Layers in an ONNX graph: the weights of a node, turned to (out, in) and to torch's order of gates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rnn.reading.onnx_names import layer_name, torch_key, torch_layer
from rnn.reading.onnx_tensors import Array, Constant
from rnn.reading.tensors import NotUnderstoodError


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One tensor of a layer, in the order and orientation of torch.

    Attributes
    ----------
    key : str
        Torch's name for it, or the layer's own name and ".weight".
    kind : str
        As in `rnn.reading.tensors.Tensors`, "" for recurrent layers.
    constant : Constant
        Where its numbers come from.
    change : callable
        Array to array: what is done to them. It computes nothing.
    where : str
        Node and tensor.
    order : str
        The order or orientation that they had, if another.
    factor : float
        What they are multiplied by.
    layer : str
        Name of the layer: nodes of one layer are numbered, and two keys that are the same are told apart.
    """

    key: str
    kind: str
    constant: Constant
    change: Callable[[Array], Array]
    where: str
    order: str = ""
    factor: float = 1.0
    layer: str = ""


Inputs = Sequence[Constant | None]
Attributes = Mapping[str, Any]
Layer = Callable[[Any, Attributes, Inputs], Iterator[Piece]]

# Place of torch's gates (i f g o; r z n) in the order of ONNX (operators LSTM and GRU: i o f c; z r h).
RECURRENT: dict[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_ORDER = {"LSTM": ", gates stored as i, o, f, c", "GRU": ", gates stored as z, r, h", "RNN": ""}
_USUAL = {"LSTM": ({"sigmoid", "tanh"},), "GRU": ({"sigmoid", "tanh"},), "RNN": ({"tanh"}, {"relu"})}


def _matmul(node: Any, _: Attributes, inputs: Inputs) -> Iterator[Piece]:
    """Y = A B: a constant B is (in, out), a constant A is (out, in)."""
    left, right = _factors(inputs)
    constant = right or left
    if constant is not None and len(constant.shape) > 1:
        yield _linear(node, constant, turned=right is not None)


def _gemm(node: Any, attributes: Attributes, inputs: Inputs) -> Iterator[Piece]:
    """Y = alpha A' B' + beta C: a constant B' is (in, out), a constant A' is (out, in)."""
    left, right = _factors(inputs)
    alpha = float(attributes.get("alpha", 1.0))
    if right is not None:
        yield _linear(node, right, turned=not attributes.get("transB", 0), factor=alpha)
    elif left is not None:
        yield _linear(node, left, turned=bool(attributes.get("transA", 0)), factor=alpha)


def _factors(inputs: Inputs) -> tuple[Constant | None, Constant | None]:
    """Give the factor that is weights, of two constants the one that torch calls so: the other is a state."""
    left, right = (*inputs, None, None)[:2]
    if left is None or right is None:
        return left, right
    if bool(torch_key(left)) == bool(torch_key(right)):
        raise NotUnderstoodError("both factors are constants")
    return (left, None) if torch_key(left) else (None, right)


def _linear(node: Any, constant: Constant, *, turned: bool, factor: float = 1.0) -> Piece:
    if any(length != 1 for length in constant.shape[:-2]):
        raise NotUnderstoodError(f"a stack of matrices, shape {constant.shape}; expected one")

    def change(values: Array) -> Array:
        matrix = values.reshape(values.shape[-2:])
        return matrix.T if turned else matrix

    note = (", stored as (in, out)" if turned else "") + (
        f", times alpha = {factor:g}" if factor != 1 else ""
    )
    return _plain(node, constant, "linear", change, note, factor)


def _convolution(node: Any, _: Attributes, inputs: Inputs) -> Iterator[Piece]:
    weights = (*inputs, None, None)[1]
    if weights is not None:
        if len(weights.shape) < 3:
            raise NotUnderstoodError(f"a convolution with weights of shape {weights.shape}")
        yield _plain(node, weights, "convolution", _as_it_is, "")


def _transposed_convolution(node: Any, attributes: Attributes, inputs: Inputs) -> Iterator[Piece]:
    """Turn (in, out / groups, kernel) to (out, in / groups, kernel), group by group."""
    weights, groups = (*inputs, None, None)[1], int(attributes.get("group", 1))
    if weights is None:
        return
    if len(weights.shape) < 3 or groups < 1 or weights.shape[0] % groups:
        raise NotUnderstoodError(f"weights of shape {weights.shape} in {groups} groups")

    def change(values: Array) -> Array:
        channels, outputs, *kernel = values.shape
        parts = values.reshape(groups, channels // groups, outputs, *kernel).swapaxes(1, 2)
        return parts.reshape(groups * outputs, channels // groups, *kernel)

    yield _plain(node, weights, "convolution", change, f", stored as (in, out / {groups}, kernel)")


def _embedding(node: Any, attributes: Attributes, inputs: Inputs) -> Iterator[Piece]:
    table = (*inputs, None)[0]
    if table is not None and table.is_matrix:
        if attributes.get("axis", 0) != 0 or len(table.shape) != 2:
            raise NotUnderstoodError(
                f"rows chosen along axis {attributes.get('axis', 0)} of shape {table.shape}, no embedding"
            )
        yield _plain(node, table, "embedding", _as_it_is, "")


def _plain(
    node: Any, constant: Constant, kind: str, change: Callable[[Array], Array], note: str, factor: float = 1.0
) -> Piece:
    name = layer_name(node, constant)
    key = torch_key(constant) or (f"{name}.weight" if name else "weight")
    return Piece(key, kind, constant, change, _where(node, constant), note, factor, name)


def _recurrent(node: Any, attributes: Attributes, inputs: Inputs) -> Iterator[Piece]:
    """W (directions, gates h, in), R (directions, gates h, h), B (directions, 2 gates h)."""
    _, weights, recurrence, biases = (*inputs, None, None, None, None)[:4]
    order = RECURRENT[node.op_type]
    if weights is None or recurrence is None:
        raise NotUnderstoodError("its weights are computed while the network runs, or are not readable")
    directions = {"forward": ("",), "reverse": ("_reverse",), "bidirectional": ("", "_reverse")}.get(
        attributes.get("direction", "forward")
    )
    rows, h = recurrence.shape[-2:] if len(recurrence.shape) == 3 else (0, 0)
    if (
        directions is None
        or rows != len(order) * h
        or h != attributes.get("hidden_size", h)
        or recurrence.shape[0] != len(directions)
        or len(weights.shape) != 3
        or weights.shape[:2] != recurrence.shape[:2]
        or (biases is not None and biases.shape != (len(directions), 2 * rows))
    ):
        raise NotUnderstoodError(
            f"W of shape {weights.shape} and R of shape {recurrence.shape} do not fit {node.op_type}"
        )
    base, number = torch_layer(weights) or (layer_name(node, weights), 0)
    for place, reverse in enumerate(directions):
        for what, constant in (("weight_ih", weights), ("weight_hh", recurrence)):
            change = _gates_of(place, len(order), order)
            yield _recurrent_piece(node, constant, base, f"{what}_l{number}{reverse}", change)
        for half, what in enumerate(("bias_ih", "bias_hh") if biases is not None else ()):
            change = _gates_of(place, 2 * len(order), tuple(half * len(order) + gate for gate in order))
            assert biases is not None
            yield _recurrent_piece(node, biases, base, f"{what}_l{number}{reverse}", change)


def _gates_of(direction: int, blocks: int, order: tuple[int, ...]) -> Callable[[Array], Array]:
    def change(values: Array) -> Array:
        stacked = values[direction]
        parts = stacked.reshape(blocks, stacked.shape[0] // blocks, *stacked.shape[1:])
        return parts[list(order)].reshape(-1, *stacked.shape[1:])

    return change


def _recurrent_piece(
    node: Any, constant: Constant, base: str, leaf: str, change: Callable[[Array], Array]
) -> Piece:
    key = f"{base}.{leaf}" if base else leaf
    return Piece(key, "", constant, change, _where(node, constant), _ORDER[node.op_type], layer=base)


def peculiarities(node: Any, attributes: Attributes, inputs: Inputs) -> list[str]:
    """Say in what a recurrent node differs from torch's layer of the same name, beyond its matrices.

    Parameters
    ----------
    node : onnx.NodeProto
        The node.
    attributes : mapping
        Its attributes.
    inputs : sequence of Constant or None
        Its inputs.

    Returns
    -------
    list of str
        Empty where torch's layer with these weights does the same.
    """
    found = []
    given = {str(name).lower() for name in attributes.get("activations", [])}
    if given and given not in _USUAL[node.op_type]:
        found.append(f"activations {', '.join(sorted(given))}, which torch's layer does not have")
    if node.op_type == "GRU" and not attributes.get("linear_before_reset", 0):
        found.append(
            "gate r acts on h before the matrix of gate n, in torch behind it (linear_before_reset = 0)"
        )
    if attributes.get("clip"):
        found.append(f"sums are cut off at {attributes['clip']:g}")
    if attributes.get("input_forget"):
        found.append("gate f is 1 - i")
    if len(node.input) > 7 and node.input[7] and node.op_type == "LSTM":
        found.append("gates see the cell state too, by diagonal matrices (peepholes), which are not read")
    return found


def _as_it_is(values: Array) -> Array:
    return values


def _where(node: Any, constant: Constant) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}, tensor {constant.source!r}"


LAYERS: dict[str, Layer] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gather": _embedding,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
}
