"""Functions that an ONNX model defines for itself, put in place where they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_DEEPEST = 50  # calls within calls
_LONGEST = 10**6  # nodes in the end


def without_functions(model: Any) -> Any:
    """Give a model in which each call of a function of its own is the nodes of that function.

    Parameters
    ----------
    model : onnx.ModelProto
        The model; it is not changed.

    Returns
    -------
    onnx.ModelProto
        The same if it has no functions.

    Raises
    ------
    ValueError
        If the functions call each other without end, or would fill the memory with nodes.
    """
    import onnx.inliner

    if not model.functions:
        return model
    bodies = {(f.domain, f.name, f.overload): f.node for f in model.functions}
    counted: dict[tuple[str, str, str], int] = {}

    def size(nodes: Any, depth: int) -> int:
        if depth > _DEEPEST:
            raise ValueError(f"its functions call each other more than {_DEEPEST} deep")
        total = 0
        for node in _with_bodies(nodes):
            key = (node.domain, node.op_type, node.overload)
            if key in bodies and key not in counted:
                counted[key] = size(bodies[key], depth + 1)
            total += counted.get(key, 1)
        return total

    if size(model.graph.node, 0) > _LONGEST:
        raise ValueError(f"its functions stand for more than {_LONGEST} nodes")
    return onnx.inliner.inline_local_functions(model)


def _with_bodies(nodes: Any) -> Iterator[Any]:
    """Give nodes, and those in the bodies of loops and branches."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _with_bodies(body.node)
