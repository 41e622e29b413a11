"""Lipschitz bounds through the graph of a network, operation by operation."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from rnn.layer_bounds import ATTENTION, NotLipschitzError, layer_bound
from rnn.recurrent_bounds import RecurrentBound, norm_above

_PRODUCT = "a product of two signals is not Lipschitz"

Bound = Any  # a float; or a tuple of them, or a RecurrentBound, for a node that gives several tensors


def traced(model: nn.Module) -> fx.GraphModule:
    """Give the graph of a network by ``torch.fx``, its layers of ``torch.nn`` as leaves.

    Parameters
    ----------
    model : nn.Module
        A copy of the network in evaluation mode: its forward is run with placeholders.

    Returns
    -------
    GraphModule
        The graph.

        The network is its submodule ``network``, and called with its first argument alone.

    Raises
    ------
    NotLipschitzError
        If its forward depends on its input other than by operations on tensors.
    """
    try:
        return fx.symbolic_trace(OneInput(model))
    except Exception as error:  # whatever its forward does with a placeholder
        text = str(error).strip().partition("\n")[0]
        raise NotLipschitzError(
            f"torch.fx cannot trace the network ({type(error).__name__}: {text})"
        ) from None


class OneInput(nn.Module):
    """A network as a function of its first argument, the others at their defaults.

    Parameters
    ----------
    network : nn.Module
        The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        """Give what the network gives.

        Parameters
        ----------
        x : object
            Its first argument.

        Returns
        -------
        object
            Its output.
        """
        return self.network(x)


class _Shapes(fx.Interpreter):
    """Run the graph and note shapes, numbers, and the values of what does not depend on the input."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        n.meta["shape"] = tuple(value.shape) if isinstance(value, Tensor) else None
        constant = n.op != "placeholder" and all("constant" in source.meta for source in n.all_input_nodes)
        if constant or not isinstance(value, Tensor):
            n.meta["constant"] = value
        return value


def graph_bound(
    graph: fx.GraphModule, layers: dict[str, float | RecurrentBound | str], x: Tensor | None
) -> float:
    """Bound the Lipschitz constant of a network by its graph, from its input to its first output.

    Parameters
    ----------
    graph : GraphModule
        From `traced`.
    layers : dict of str to float, RecurrentBound or str
        Bounds of its layers, by name; or the reason why one has none.
    x : Tensor or None
        An example input, which tells the shapes.

    Returns
    -------
    float
        The bound.

    Raises
    ------
    NotLipschitzError
        If an operation has no bound, or none is known here; the message names it.

    Notes
    -----
    Each node gets a bound for the map from the input of the network: chains multiply, sums add, what is put
    side by side adds in squares. What does not depend on the input has the bound 0.
    """
    if x is not None:
        with torch.no_grad():
            _Shapes(graph).run(x)
    last = next(node for node in graph.graph.nodes if node.op == "output")
    output = _first(last.args[0])
    needed = _behind(output)
    found: dict[fx.Node, Bound] = {}
    for node in graph.graph.nodes:
        try:
            _refuse_overwriting(node, graph, layers)
            if node in needed:
                found[node] = _node_bound(node, found, graph, layers)
        except NotLipschitzError as reason:
            raise NotLipschitzError(f"{node.name}: {reason}") from None
    return _single(output, found)


def _first(value: Any) -> Any:
    """Give the first of several outputs."""
    while isinstance(value, (tuple, list, dict)) and value:
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return value


def _behind(output: Any) -> set[fx.Node]:
    """Give the nodes that a node depends on, and itself."""
    found: set[fx.Node] = set()
    waiting = [output] if isinstance(output, fx.Node) else []
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _node_bound(
    node: fx.Node, found: dict[fx.Node, Bound], graph: fx.GraphModule, layers: dict[str, Any]
) -> Bound:
    if node.op == "placeholder":
        return 1.0
    if node.op == "get_attr":
        node.meta["constant"] = operator.attrgetter(str(node.target))(graph)
        return 0.0
    sources = [found[source] for source in node.all_input_nodes]
    if all(isinstance(bound, float) and bound == 0 for bound in sources):
        return 0.0
    if node.op == "call_module":
        return _call_layer(node, found, graph, layers)
    rule = _OPERATIONS.get(node.target if node.op == "call_function" else f".{node.target}")
    if rule is None:
        name = getattr(node.target, "__name__", str(node.target))
        raise NotLipschitzError(f"the operation {name} is not understood")
    try:
        return rule(node, found)
    except (IndexError, KeyError, TypeError):  # arguments given in a way that the rule does not know
        raise NotLipschitzError("its arguments are not understood") from None


def _call_layer(
    node: fx.Node, found: dict[fx.Node, Bound], graph: fx.GraphModule, layers: dict[str, Any]
) -> Bound:
    bound = layers[str(node.target)]
    layer = graph.get_submodule(str(node.target))
    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        return 1.0  # the input of the network begins here
    if isinstance(bound, str):
        raise NotLipschitzError(bound)
    if len(node.args) + len(node.kwargs) != 1:
        raise NotLipschitzError("it is called with more than its input, such as a starting state")
    into = _single(node.all_input_nodes[0], found)
    if not isinstance(bound, RecurrentBound):
        return _times(into, bound)
    node.meta["batch_first"] = getattr(layer, "batch_first", False)
    return RecurrentBound(
        *(_times(into, value) for value in (bound.output, bound.last, bound.hidden, bound.cell))
    )


def _refuse_overwriting(node: fx.Node, graph: fx.GraphModule, layers: dict[str, Any]) -> None:
    """Refuse to write into a tensor that other operations see, whose bounds would not know."""
    if node.op == "call_module":
        layer, bound = graph.get_submodule(str(node.target)), layers[str(node.target)]
        # what shrinks no less than before leaves the bound of what it overwrites true
        overwrites = getattr(layer, "inplace", False) and not (isinstance(bound, float) and bound <= 1)
    else:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        overwrites = node.op != "output" and (name.endswith("_") and not name.endswith("__"))
        overwrites = overwrites or node.target in _IN_PLACE or bool(node.kwargs.get("inplace"))
        overwrites = overwrites or "out" in node.kwargs
    if overwrites and not (node.args and _is_fresh(node.args[0], graph)):
        raise NotLipschitzError("it may overwrite a tensor that is used elsewhere")


def _is_fresh(value: Any, graph: fx.GraphModule) -> bool:
    """Say whether a tensor was made by an operation that returns a new one, for one user alone."""
    if not isinstance(value, fx.Node) or len(value.users) > 1:
        return False
    if value.op == "call_module":
        layer = graph.get_submodule(str(value.target))
        if getattr(layer, "inplace", False):
            return _is_fresh(value.args[0], graph)
        return not isinstance(layer, _VIEWS)
    return value.op == "call_function" and value.target in _NEW


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _single(value: Any, found: dict[fx.Node, Bound]) -> float:
    """Give the bound of an argument: 0 for a number; of several tensors that of the first."""
    if not isinstance(value, fx.Node):
        return 0.0
    bound = found[value]
    if isinstance(bound, RecurrentBound):
        return bound.output
    while isinstance(bound, tuple):
        bound = bound[0]
    return float(bound)


def _shape(value: Any) -> tuple[int, ...] | None:
    return value.meta.get("shape") if isinstance(value, fx.Node) else None


def _number(value: Any) -> float:
    """Give the largest modulus of a factor that does not depend on the input."""
    value = value.meta["constant"] if isinstance(value, fx.Node) else value
    return float(value.detach().abs().max()) if isinstance(value, Tensor) else abs(float(value))


def _argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _sum(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    left, right = node.args[0], _argument(node, 1, "other", None)
    scale = abs(float(node.kwargs.get("alpha", 1)))  # type: ignore[arg-type]
    return _spread(left, node, found) + scale * _spread(right, node, found)


def _spread(value: Any, node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    """Bound an operand after broadcasting, which repeats entries."""
    bound = _single(value, found)
    if bound == 0:
        return 0.0
    operands = [other for other in node.args[:2] if not isinstance(other, (int, float))]
    if len(operands) < 2:
        return bound
    before, after = _shape(value), _shape(node)
    if before is None or after is None:
        raise NotLipschitzError("whether one operand is repeated depends on the shapes; pass x")
    return bound * math.sqrt(math.prod(after) / max(1, math.prod(before)))


def _product(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    left, right = node.args[0], node.args[1]
    if _single(left, found) == 0:
        left, right = right, left
    if _single(right, found) != 0:
        raise NotLipschitzError(_PRODUCT)
    return _times(_spread(left, node, found), _number(right))


def _quotient(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    if node.kwargs.get("rounding_mode") is not None:
        raise NotLipschitzError("a quotient that is rounded jumps")
    if _single(node.args[1], found) != 0:
        raise NotLipschitzError("a quotient by a signal is not Lipschitz")
    value = node.args[1]
    if isinstance(value, fx.Node):
        value = value.meta.get("constant")
    least = value.detach().abs().min().item() if isinstance(value, Tensor) else value
    if not isinstance(least, (int, float)) or least == 0:
        raise NotLipschitzError("a divisor has no value that is known, or is 0; pass x")
    return _spread(node.args[0], node, found) / abs(least)


def _side_by_side(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    parts = node.args[0] if isinstance(node.args[0], (tuple, list)) else [node.args[0]]
    return math.hypot(*(_single(part, found) for part in parts))


def _part(node: fx.Node, found: dict[fx.Node, Bound]) -> Bound:
    """Bound what an index takes out: an entry of a tuple, or a part of a tensor."""
    source, index = node.args[0], node.args[1]
    assert isinstance(source, fx.Node)
    bound = found[source]
    if isinstance(bound, RecurrentBound):
        if not isinstance(index, int) or index not in {0, 1}:
            raise NotLipschitzError(f"the index {index} of a recurrent layer is not understood")
        node.meta["sequence"] = bound if index == 0 else None
        node.meta["batch_first"] = source.meta.get("batch_first", False)
        return bound.output if index == 0 else (bound.hidden, bound.cell) if bound.cell else bound.hidden
    if isinstance(bound, tuple) and isinstance(index, int):
        return bound[index]
    steps = index if isinstance(index, tuple) else (index,)
    if not all(step is None or step is Ellipsis or isinstance(step, (int, slice)) for step in steps):
        raise NotLipschitzError("an index other than by whole numbers and slices may repeat entries")
    sequence = source.meta.get("sequence")
    if sequence is not None and _takes_last_step(steps, source):
        return min(float(bound), sequence.last)
    return bound[0] if isinstance(bound, tuple) else bound


def _takes_last_step(steps: tuple[Any, ...], source: fx.Node) -> bool:
    if not source.meta["batch_first"]:
        return steps[0] == -1
    return len(_shape(source) or ()) == 3 and list(steps[:2]) == [slice(None), -1]


def _told(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    """Bound an attribute: what a tensor is like does not depend on its values."""
    name = node.args[1] if len(node.args) > 1 else ""
    if name not in {"shape", "ndim", "dtype", "device"}:
        raise NotLipschitzError(f"the attribute {name} is not understood")
    return 0.0


def _reshaped(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    if any(isinstance(value, torch.dtype) for value in (*node.args, *node.kwargs.values())):
        raise NotLipschitzError("the bits of a tensor read as another type are not understood")
    return _kept(node, found)


def _converted(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    types = [value for value in (*node.args[1:], *node.kwargs.values()) if isinstance(value, torch.dtype)]
    if not all(kind.is_floating_point for kind in types):
        raise NotLipschitzError("a conversion to whole numbers jumps")
    return _kept(node, found)


def _kept(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    return _single(node.args[0] if node.args else node.kwargs.get("input"), found)


def _shrunk(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    """Bound a mean over n entries: n^(-1/2), or 1 where n is not known."""
    before, after = _shape(node.args[0]), _shape(node)
    known = before is not None and after is not None
    factor = math.sqrt(math.prod(after) / math.prod(before)) if known else 1.0  # type: ignore[arg-type]
    return _kept(node, found) * factor * (1 + 1e-15)


def _total(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    before, after = _shape(node.args[0]), _shape(node)
    if before is None or after is None:
        raise NotLipschitzError("the bound of a sum needs the number of entries; pass x")
    return _kept(node, found) * math.sqrt(math.prod(before) / math.prod(after)) * (1 + 1e-15)


def _affine(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    weight = _argument(node, 1, "weight", None)
    constant = weight.meta.get("constant") if isinstance(weight, fx.Node) else None
    if not isinstance(constant, Tensor) or _single(_argument(node, 2, "bias", None), found) != 0:
        raise NotLipschitzError(_PRODUCT)
    return _times(_kept(node, found), norm_above(constant.detach().cpu().double().numpy()))


def _dropout(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    if _argument(node, 2, "training", True) is not False:
        raise NotLipschitzError("it drops entries in evaluation as well; pass training=self.training")
    return _kept(node, found)


def _refused(reason: str) -> Callable[[fx.Node, dict[fx.Node, Bound]], Bound]:
    def refuse(node: fx.Node, found: dict[fx.Node, Bound]) -> Bound:
        raise NotLipschitzError(reason)

    return refuse


def _as_layer(kind: type[nn.Module], *names: str) -> Callable[[fx.Node, dict[fx.Node, Bound]], float]:
    """Give the rule of a function that computes what a layer does, with arguments of these names."""

    def rule(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
        given = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
        for unused in ("input", "inplace", "_stacklevel", "dtype"):
            given.pop(unused, None)
        if len(node.args) - 1 > len(names) or any(isinstance(value, fx.Node) for value in given.values()):
            raise NotLipschitzError("its arguments are not understood")
        return _times(_kept(node, found), layer_bound(kind(**given), _shape(node.args[0])))

    return rule


_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_MEANS = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_LAYERS: tuple[tuple[str, type[nn.Module], tuple[str, ...]], ...] = (
    ("relu", nn.ReLU, ()),
    ("relu6", nn.ReLU6, ()),
    ("tanh", nn.Tanh, ()),
    ("sigmoid", nn.Sigmoid, ()),
    ("gelu", nn.GELU, ()),
    ("silu", nn.SiLU, ()),
    ("mish", nn.Mish, ()),
    ("elu", nn.ELU, ("alpha",)),
    ("selu", nn.SELU, ()),
    ("leaky_relu", nn.LeakyReLU, ("negative_slope",)),
    ("softplus", nn.Softplus, ("beta", "threshold")),
    ("hardtanh", nn.Hardtanh, ("min_val", "max_val")),
    ("hardswish", nn.Hardswish, ()),
    ("hardsigmoid", nn.Hardsigmoid, ()),
    ("logsigmoid", nn.LogSigmoid, ()),
    ("softmax", nn.Softmax, ("dim",)),
    ("log_softmax", nn.LogSoftmax, ("dim",)),
    ("max_pool1d", nn.MaxPool1d, _POOL),
    ("max_pool2d", nn.MaxPool2d, _POOL),
    ("avg_pool1d", nn.AvgPool1d, _MEANS[:5]),
    ("avg_pool2d", nn.AvgPool2d, _MEANS),
    ("adaptive_avg_pool1d", nn.AdaptiveAvgPool1d, ("output_size",)),
    ("adaptive_avg_pool2d", nn.AdaptiveAvgPool2d, ("output_size",)),
    ("adaptive_max_pool2d", nn.AdaptiveMaxPool2d, ("output_size",)),
)

_IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
_VIEWS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)
_NEW = (operator.add, operator.sub, operator.mul, torch.add, torch.sub, torch.mul, torch.cat, *_IN_PLACE[:3])

_OPERATIONS: dict[Any, Callable[[fx.Node, dict[fx.Node, Bound]], Bound]] = {
    operator.getitem: _part,
    getattr: _told,
    ".size": lambda node, found: 0.0,
    ".dim": lambda node, found: 0.0,
    ".to": _converted,
    ".view": _reshaped,
    functional.linear: _affine,
    functional.dropout: _dropout,
    functional.scaled_dot_product_attention: _refused(ATTENTION),
}
for _name in ("add", "sub"):
    _OPERATIONS |= dict.fromkeys([getattr(operator, _name), getattr(torch, _name), f".{_name}"], _sum)
_OPERATIONS |= dict.fromkeys([operator.iadd, operator.isub, ".add_", ".sub_"], _sum)
_OPERATIONS |= dict.fromkeys([operator.mul, operator.imul, torch.mul, ".mul", ".mul_"], _product)
_OPERATIONS |= dict.fromkeys([operator.truediv, torch.div, ".div", ".div_"], _quotient)
_OPERATIONS |= dict.fromkeys([torch.cat, torch.concat, torch.stack], _side_by_side)
_OPERATIONS |= dict.fromkeys(
    [operator.matmul, torch.matmul, torch.bmm, torch.einsum, ".matmul", ".bmm"], _refused(_PRODUCT)
)
_OPERATIONS |= dict.fromkeys([torch.mean, ".mean"], _shrunk) | dict.fromkeys([torch.sum, ".sum"], _total)
for _name in ("flatten", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "clone", "abs", "neg"):
    _OPERATIONS |= dict.fromkeys([getattr(torch, _name), f".{_name}"], _kept)
for _name in (
    "chunk",
    "split",
    "unbind",
    "tanh",
    "relu",
    "sigmoid",
    "narrow",
    "select",
    "flip",
    "roll",
    "amax",
):
    _OPERATIONS |= dict.fromkeys([getattr(torch, _name), f".{_name}"], _kept)
_OPERATIONS |= dict.fromkeys([".contiguous", ".float", ".double", ".T", ".detach", operator.neg], _kept)
for _name, _kind, _names in _LAYERS:
    for _home in (functional, torch):
        if hasattr(_home, _name):
            _OPERATIONS[getattr(_home, _name)] = _as_layer(_kind, *_names)
    _OPERATIONS[f".{_name}"] = _as_layer(_kind, *_names)
