"""Reader of ``.onnx`` files: the weights of the layers in a graph, under the names that torch gives them."""

from __future__ import annotations

import collections
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnn.extra import require
from rnn.reading.onnx_folding import FOLDED, fold
from rnn.reading.onnx_functions import without_functions
from rnn.reading.onnx_layers import LAYERS, RECURRENT, Piece, peculiarities
from rnn.reading.onnx_names import torch_layer
from rnn.reading.onnx_tensors import Constant, stored_constant
from rnn.reading.tensors import NotUnderstoodError, Stored, Tensors

_LARGEST = 2**31 - 1  # bytes of a message of protobuf
_OURS = {"", "ai.onnx"}
_SCALES = {"LayerNormalization", "BatchNormalization", "InstanceNormalization", "GroupNormalization"}

_TYPES: dict[str, tuple[type, bool]] = {  # of the attributes that are looked at, and whether it is a list
    **dict.fromkeys(("activations",), (str, True)),
    **dict.fromkeys(("perm", "axes", "split", "starts", "ends"), (int, True)),
    **dict.fromkeys(
        ("axis", "transA", "transB", "group", "hidden_size", "linear_before_reset"), (int, False)
    ),
    **dict.fromkeys(("input_forget", "to", "allowzero", "block_size"), (int, False)),
    **dict.fromkeys(("alpha", "clip"), (float, False)),
    "direction": (str, False),
}


def read_onnx(path: Path) -> Tensors:
    """Read the graph of an ONNX model and find the weights of its layers.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file; external data must lie in its folder.

    Returns
    -------
    Tensors
        Recurrent layers as ``<layer>.weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0`` with
        ``_reverse`` for the other direction, gates in torch's order; other layers as ``<layer>.weight``,
        turned to (out, in). Weights of other operators are listed with the reason.

    Raises
    ------
    ValueError
        If the file is damaged, or holds no graph.

    Notes
    -----
    The operators of `rnn.reading.onnx_layers.LAYERS` are understood, and between a tensor and its layer those
    of `rnn.reading.onnx_folding.FOLDED`. Bodies of loops and branches are searched, but not read. Held in
    memory: the file itself, of which protobuf cannot open a part; of external data only the tensor that is
    being read.
    """
    require("onnx", what="reading .onnx files")
    import onnx

    try:
        if os.path.getsize(path) > _LARGEST:
            raise ValueError("it is larger than the 2 GiB that the format allows in one file")
        model = onnx.load(os.fspath(path), format="protobuf", load_external_data=False)
        model = without_functions(model)
        if not model.HasField("graph") or not model.graph.node:
            raise ValueError("it holds no graph")
        reading = _Reading(path.parent)
        reading.read(model.graph)
    except Exception as error:  # protobuf, its strings and the inliner have errors of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"source {path} is no readable .onnx file ({reason:.200}); export the model again"
        ) from None
    return Tensors(path.name, reading.entries, reading.kinds, reading.unrecognised)


class _Reading:
    """What has been found so far on the way through a graph, node by node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.constants: dict[str, Constant] = {}
        self.spread: dict[str, str] = {}
        self.used: set[str] = set()
        self.stacks: collections.Counter[str] = collections.Counter()
        self.seen: set[tuple[Any, ...]] = set()
        self.room = 0
        self.entries: dict[str, Stored] = {}
        self.kinds: dict[str, str] = {}
        self.unrecognised: list[tuple[str, str]] = []

    def read(self, graph: Any) -> None:
        self.store(graph)
        for node in graph.node:
            self.used |= set(node.input)
            try:
                self.visit(node)
            except NotUnderstoodError as error:
                self.list_weights(node, str(error))
                if node.op_type in RECURRENT:
                    self.unrecognised.append((_name(node), str(error)))
        for name in {value.name for value in graph.output} - self.used:
            self.list_constant(name, "an output of the graph")
            self.used.add(name)
        for name in self.constants.keys() - self.used:
            self.list_constant(name, "used by no node")

    def store(self, graph: Any) -> None:
        """Describe the tensors that a graph stores."""
        for tensor in graph.initializer:
            self.add(tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            self.unrecognised.append((sparse.values.name, "a sparse tensor, which is not read"))

    def add(self, name: str, tensor: Any) -> None:
        try:
            constant = stored_constant(tensor, self.folder)
        except NotUnderstoodError as reason:
            self.unrecognised.append((name, str(reason)))
            return
        self.constants[name] = dataclasses.replace(constant, source=name)
        self.room += constant.count

    def visit(self, node: Any) -> None:
        """Take in one node: a constant, an operator on constants, a layer, or something else."""
        import onnx

        op = node.op_type if node.domain in _OURS else f"{node.domain}.{node.op_type}"
        attributes = _attributes(node)
        inputs = [self.constants.get(name) for name in node.input]
        bodies = [body for value in attributes.values() for body in _graphs(value)]
        if op == "Constant":
            if isinstance(attributes.get("value"), onnx.TensorProto):
                self.add(node.output[0], attributes["value"])
            elif "sparse_value" in attributes:
                self.unrecognised.append((node.output[0], "a sparse tensor, which is not read"))
        elif op in FOLDED and _all_constant(node, inputs):
            room = max(self.room, 1)
            results = fold(op, attributes, inputs, outputs=len(node.output), room=room)
            same = op == "Identity" and inputs[0] is not None
            self.constants |= dict(zip(node.output, [inputs[0]] if same else results, strict=True))
        elif bodies:
            for body in bodies:
                self.search(body, f"inside the body of {op} {_name(node)!r}, which is not read")
        elif op == "Expand":  # how initial states are made
            self.spread[node.output[0]] = node.input[0]
        elif op in LAYERS:
            self.take(node, attributes, inputs)
        elif op not in _SCALES:
            self.list_weights(node, f"used by {op} {_name(node)!r}, which is not understood")

    def take(self, node: Any, attributes: dict[str, Any], inputs: list[Constant | None]) -> None:
        """Add the tensors of a layer, once."""
        pieces = list(LAYERS[node.op_type](node, attributes, inputs))
        marks = {(piece.constant, piece.kind, piece.order, piece.factor) for piece in pieces}
        read = {id(piece.constant) for piece in pieces}
        for name in node.input:
            constant = self.constants.get(self.spread.get(name, name))
            past = 4 if node.op_type in RECURRENT else 2  # initial states and biases are no weights
            if constant and id(constant) not in read and list(node.input).index(name) < past:
                self.list_constant(
                    name, f"used by {node.op_type} {_name(node)!r} as an input, not as weights"
                )
        if marks <= self.seen:
            return
        self.seen |= marks
        if node.op_type in RECURRENT:
            pieces = self.numbered(pieces)
            self.unrecognised += [(_name(node), text) for text in peculiarities(node, attributes, inputs)]
        for piece in pieces:
            key = piece.key
            if key in self.entries:
                key = f"{piece.layer}.{node.output[0]}.{piece.key.rpartition('.')[2]}"
            self.entries[key] = _stored(piece)
            if piece.kind:
                self.kinds[key] = piece.kind

    def numbered(self, pieces: list[Piece]) -> list[Piece]:
        """Give nodes of one layer their numbers: torch writes one node for each layer of a stack."""
        first = pieces[0]
        if torch_layer(first.constant):
            return pieces
        number = self.stacks[first.layer]
        self.stacks[first.layer] += 1
        stems = [piece.key.rpartition("_l0") for piece in pieces]
        return [
            dataclasses.replace(piece, key=f"{stem}_l{number}{rest}")
            for piece, (stem, _, rest) in zip(pieces, stems, strict=True)
        ]

    def search(self, graph: Any, where: str) -> None:
        """List the weights and recurrent layers in a body that is not read."""
        inner = _Reading(self.folder)
        inner.store(graph)
        for node in graph.node:
            self.used |= set(node.input)
            self.list_weights(node, where)
            if node.op_type in RECURRENT:
                self.unrecognised.append((_name(node), where))
            attributes = _attributes(node)
            if node.op_type == "Constant" and "value" in attributes:
                inner.add(node.output[0], attributes["value"])
            for body in (body for value in attributes.values() for body in _graphs(value)):
                self.search(body, where)
        for name in inner.constants:
            inner.list_constant(name, where)
        self.unrecognised += inner.unrecognised

    def list_weights(self, node: Any, reason: str) -> None:
        for name in node.input:
            self.list_constant(name, reason)

    def list_constant(self, name: str, reason: str) -> None:
        constant = self.constants.get(self.spread.get(name, name))
        if constant and constant.is_matrix and (constant.source, reason) not in self.unrecognised:
            self.unrecognised.append((constant.source, reason))


def _name(node: Any) -> str:
    return str(node.name or next(iter(node.output), node.op_type))


def _attributes(node: Any) -> dict[str, Any]:
    """Give the attributes of a node, text as str."""
    import onnx

    try:
        found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    except ValueError as error:
        raise NotUnderstoodError(f"an attribute of {node.op_type} is not readable ({error})") from None
    attributes = {name: _text(value) for name, value in found.items()}
    for name in attributes.keys() & _TYPES.keys():
        parts = attributes[name] if isinstance(attributes[name], list) else [attributes[name]]
        sort, several = _TYPES[name]
        if several is not isinstance(attributes[name], list) or not all(isinstance(p, sort) for p in parts):
            raise NotUnderstoodError(f"attribute {name} of {node.op_type} is {attributes[name]!r:.80}")
    return attributes


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return [_text(part) for part in value] if isinstance(value, list) else value


def _graphs(value: Any) -> list[Any]:
    import onnx

    parts = value if isinstance(value, list) else [value]
    return [part for part in parts if isinstance(part, onnx.GraphProto)]


def _all_constant(node: Any, inputs: list[Constant | None]) -> bool:
    named = [constant for name, constant in zip(node.input, inputs, strict=True) if name]
    return bool(named) and None not in named and inputs[0] is not None


def _stored(piece: Piece) -> Stored:
    blank = np.broadcast_to(np.zeros((), np.int8), piece.constant.shape)
    return Stored(
        piece.change(blank).shape, piece.constant.dtype, lambda: _tensor(piece), piece.where + piece.order
    )


def _tensor(piece: Piece) -> Tensor:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and listed as such
            values = piece.change(piece.constant.read())
            values = values if piece.factor == 1 else values * np.float64(piece.factor)
        return torch.from_numpy(np.require(values, requirements=["C", "W"]))
    except (ValueError, TypeError, IndexError, OSError, RuntimeError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NotUnderstoodError(f"cannot be read ({reason:.150})") from None
