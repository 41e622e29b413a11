"""Lipschitz bounds through the graph of a network, operation by operation."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from rnn.bounds.graph_operations import IN_PLACE, NEW, OPERATIONS, VIEWS, Bound, single_bound, times
from rnn.bounds.layer_bounds import NotLipschitzError
from rnn.bounds.recurrent_bounds import RecurrentBound
from rnn.motion.cells import UnrolledCell


def traced(model: nn.Module) -> fx.GraphModule:
    """Give the graph of a network by ``torch.fx``, its layers of ``torch.nn`` as leaves.

    Parameters
    ----------
    model : nn.Module
        A copy of the network in evaluation mode: its forward is run with placeholders.

    Returns
    -------
    GraphModule
        The graph; the network is its submodule ``network``, called with its first argument alone.

    Raises
    ------
    NotLipschitzError
        If its forward depends on its input other than by operations on tensors.
    """
    try:
        tracer = _Tracer()
        graph = tracer.trace(OneInput(model))
        return fx.GraphModule(tracer.root, graph)
    except Exception as error:  # whatever its forward does with a placeholder
        text = str(error).strip().partition("\n")[0]
        raise NotLipschitzError(
            f"torch.fx cannot trace the network ({type(error).__name__}: {text})"
        ) from None


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, UnrolledCell) or super().is_leaf_module(m, module_qualified_name)


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
    return single_bound(output, found)


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
    rule = OPERATIONS.get(node.target if node.op == "call_function" else f".{node.target}")
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
    into = single_bound(node.all_input_nodes[0], found)
    if not isinstance(bound, RecurrentBound):
        return times(into, bound)
    node.meta["batch_first"] = getattr(layer, "batch_first", False)
    return RecurrentBound(
        *(times(into, value) for value in (bound.output, bound.last, bound.hidden, bound.cell))
    )


def _refuse_overwriting(node: fx.Node, graph: fx.GraphModule, layers: dict[str, Any]) -> None:
    """Refuse to write into a tensor that other operations see, whose bounds would not know."""
    if node.op == "call_module":
        layer = graph.get_submodule(str(node.target))
        if str(node.target) not in layers:  # a box of layers such as nn.ModuleDict, called like a layer
            raise NotLipschitzError(f"a {type(layer).__name__} does not say how data pass through it")
        bound = layers[str(node.target)]
        # what shrinks no less than before leaves the bound of what it overwrites true
        overwrites = getattr(layer, "inplace", False) and not (isinstance(bound, float) and bound <= 1)
    else:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        overwrites = node.op != "output" and (name.endswith("_") and not name.endswith("__"))
        overwrites = overwrites or node.target in IN_PLACE or bool(node.kwargs.get("inplace"))
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
        return not isinstance(layer, VIEWS)
    return value.op == "call_function" and value.target in NEW
