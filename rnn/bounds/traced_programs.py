"""From a classifier to its straight program: the project's own networks, and others through their graph."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from rnn.bounds.layer_bounds import NotLipschitzError, refuse_changes
from rnn.bounds.network_graphs import traced
from rnn.bounds.straight_programs import StraightProgram
from rnn.models import FeedForward, RecurrentClassifier
from rnn.motion.cells import unrolled_cells
from rnn.motion.twins import float64_twin, unwrapped
from spectra.errors import UnsupportedModelError

_ACTIVATIONS: dict[Any, str] = {
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.ReLU: "relu",
    torch.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    torch.relu: "relu",
    functional.relu: "relu",
    functional.tanh: "tanh",
    functional.sigmoid: "sigmoid",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "relu": "relu",
}
_VIEWS: tuple[Any, ...] = (
    torch.flatten,
    torch.cat,
    torch.stack,
    torch.transpose,
    torch.permute,
    torch.reshape,
)
_VIEWS = (*_VIEWS, torch.squeeze, torch.unsqueeze, torch.unbind, torch.chunk, torch.split, torch.select)
_VIEW_METHODS = {view.__name__ for view in _VIEWS} | {"view", "contiguous", "size", "narrow", "dim", "clone"}
_SHAPES = (operator.mul, operator.floordiv, operator.sub)  # of numbers alone
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ProgramOfModel:
    """What a classifier computes, as a straight program.

    Attributes
    ----------
    program : StraightProgram
        The operations; the first ones are the parts of the input.
    inputs : int
        How many parts there are: one for each step if x has more than two dimensions, or else one.
    logits : int
        The operation that gives the logits.
    """

    program: StraightProgram
    inputs: int
    logits: int


def program_of(model: nn.Module, x: Tensor) -> ProgramOfModel:
    """Write a classifier out as a straight program.

    Parameters
    ----------
    model : nn.Module
        `RecurrentClassifier`, `FeedForward`, or a module that ``torch.fx`` can trace and that is made of
        ``nn.RNN``, ``nn.GRU``, ``nn.LSTM``, ``nn.Linear``, tanh, ReLU, sigmoid, sums and slices.
    x : Tensor, shape (N, ...)
        A batch of inputs; its shape and precision count.

    Returns
    -------
    ProgramOfModel
        The program, with the weights as evaluation mode uses them.

    Raises
    ------
    UnsupportedModelError
        If an operation or layer is not understood; the message names it.

    Notes
    -----
    The constrained matrix of a `RecurrentClassifier` is the one that it computes in its own precision, now.
    """
    twin = float64_twin(model)
    own = parametrize.type_before_parametrizations(twin) is RecurrentClassifier
    _refuse_unclear_weights(twin, x.dtype, known={"", "drift"} if own else set())
    program = StraightProgram(x.device)
    widths = [x[0, 0].numel()] * x.shape[1] if x.ndim > 2 else [x[0].numel()]
    frames = [program.input(width) for width in widths]
    if own:
        assert isinstance(twin, RecurrentClassifier)
        if twin.config.readout != "last":
            raise UnsupportedModelError(
                "model gives a row of logits after each step (readout 'each'); bounds are known for one row"
            )
        (cell,) = unrolled_cells(unwrapped(model))
        h = program.states(cell.double(), frames)[-1][: twin.config.hidden]
        output = program.affine([(h, twin.head.weight)], twin.head.bias)
    elif type(twin) is FeedForward:
        h = torch.cat(frames)
        for layer in (twin.embed, twin.hidden):
            h = program.elementwise("relu", program.affine([(h, layer.weight)], layer.bias))
        output = program.affine([(h, twin.head.weight)], twin.head.bias)
    else:
        output = _through_graph(twin, program, torch.cat(frames).view(1, *x.shape[1:]))
    return ProgramOfModel(program, len(frames), program.operation_of(output))


def _refuse_unclear_weights(twin: nn.Module, dtype: torch.dtype, known: set[str]) -> None:
    for name, module in twin.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            raise UnsupportedModelError(
                f"model has hooks at {name or 'its root'}, which may change what it computes; remove them "
                "(weight_norm and spectral_norm of torch.nn.utils: remove_weight_norm, remove_spectral_norm)"
            )
        if parametrize.is_parametrized(module) and dtype != torch.float64 and name not in known:
            raise UnsupportedModelError(
                f"model computes the weights of {name or 'its root'} anew in {dtype}, with errors that are "
                "not known here; fix them: torch.nn.utils.parametrize.remove_parametrizations on a copy"
            )


def _through_graph(twin: nn.Module, program: StraightProgram, x: Tensor) -> Tensor:
    """Follow the graph of a network with indices in place of values."""
    try:
        graph = traced(twin)
    except NotLipschitzError as reason:
        raise UnsupportedModelError(f"model is not understood: {reason}") from None
    values: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        try:
            arguments = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = _node_value(node, *arguments, graph, program, x)
        except (NotLipschitzError, RuntimeError, ValueError, TypeError, IndexError) as reason:
            if isinstance(reason, UnsupportedModelError):
                raise
            text = str(reason).partition("\n")[0]
            raise UnsupportedModelError(
                f"model is not understood at {node.name}: {text}; bounds are known for recurrent layers from "
                "the state zero, nn.Linear, tanh, ReLU, sigmoid, sums, slices and flatten"
            ) from None
        if node.op == "output":
            output = values[node]
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        raise UnsupportedModelError("model is not understood: its output is no row of logits for each input")
    return output[0]


def _node_value(
    node: fx.Node,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    graph: fx.GraphModule,
    program: StraightProgram,
    x: Tensor,
) -> Any:
    if node.op == "placeholder":
        return x
    if node.op == "output":
        return args[0]
    args = tuple(value for value in args if value is not None)
    overwrites = kwargs.get("inplace") or any(value is True for value in args[1:])
    if node.op == "call_module":
        overwrites = getattr(graph.get_submodule(str(node.target)), "inplace", False)
    if overwrites and len(node.all_input_nodes[0].users) > 1:
        raise ValueError("it overwrites a tensor that is used elsewhere; pass inplace=False")
    if node.op == "call_module":
        if len(args) != 1 or any(value is not None for value in kwargs.values()):
            raise ValueError("it is called with more than its input, such as a starting state")
        return _layer_value(graph.get_submodule(str(node.target)), args[0], program)
    if node.op == "get_attr":
        raise ValueError("it uses a tensor of its own outside a layer")
    target: Any = node.target
    if target in _ACTIVATIONS:
        return _rows(args[0], lambda row: program.elementwise(_ACTIVATIONS[target], row))
    if target is operator.getitem or (target is getattr and args[1] == "shape"):
        return target(*args)
    if (node.op == "call_function" and target in _VIEWS) or (
        node.op == "call_method" and target in _VIEW_METHODS
    ):
        view = target if callable(target) else getattr(torch.Tensor, target)
        return view(*args, **kwargs)
    tensors = [isinstance(value, Tensor) for value in args]
    if target in _SHAPES and not any(tensors):
        return target(*args)
    if target in (operator.add, torch.add, "add") and len(args) == 2 and all(tensors) and not kwargs:
        return _sum(*args, program)
    raise ValueError(f"the operation {getattr(target, '__name__', target)} has no bounds")


def _layer_value(layer: nn.Module, value: Tensor, program: StraightProgram) -> Any:
    refuse_changes(layer)
    if isinstance(layer, nn.RNNBase):
        return _recurrent(layer, value, program)
    if isinstance(layer, nn.Linear):
        return _rows(value, lambda row: program.affine([(row, layer.weight)], layer.bias))
    if type(layer) in _ACTIVATIONS:
        return _rows(value, lambda row: program.elementwise(_ACTIVATIONS[type(layer)], row))
    if isinstance(layer, nn.Flatten):
        return layer(value)
    if isinstance(layer, _DROPOUTS):
        return value
    raise ValueError(f"a {type(layer).__name__} has no bounds")


def _rows(value: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a change to each vector along the last dimension."""
    rows = [change(row) for row in value.reshape(-1, value.shape[-1])]
    return torch.stack(rows).view(*value.shape[:-1], -1)


def _sum(a: Tensor, b: Tensor, program: StraightProgram) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    eye = torch.ones(a.shape[-1])
    rows = zip(a.reshape(-1, a.shape[-1]), b.reshape(-1, a.shape[-1]), strict=True)
    return torch.stack([program.affine([(one, eye), (other, eye)]) for one, other in rows]).view(a.shape)


def _recurrent(layer: nn.RNNBase, value: Tensor, program: StraightProgram) -> tuple[Tensor, Any]:
    time, batch = (1, 0) if layer.batch_first else (0, 1)
    if value.ndim != 3 or value.shape[batch] != 1:
        raise ValueError("a recurrent layer is given something else than a batch of sequences")
    cells, directions = unrolled_cells(layer), 1 + layer.bidirectional
    frames, finals = list(value.transpose(0, time)[:, 0].unbind(0)), []
    for first in range(0, len(cells), directions):
        outputs = []
        for cell in cells[first : first + directions]:
            turn = 1 if cell.direction == "forward" else -1
            states = program.states(cell, frames[::turn])
            finals.append(states[-1])
            outputs.append([state[: cell.output_size] for state in states[::turn]])
        frames = [torch.cat(parts) for parts in zip(*outputs, strict=True)]
    final = torch.stack(finals)[:, None]
    h, c = final[..., : cells[0].output_size], final[..., cells[0].output_size :]
    return torch.stack(frames).unsqueeze(batch), (h, c) if cells[0].kind == "lstm" else h
