"""Lipschitz bounds of the operations in the graph of a network."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from rnn.bounds.layer_bounds import ATTENTION, NotLipschitzError, layer_bound
from rnn.bounds.recurrent_bounds import RecurrentBound, norm_above

Bound = Any  # a float; or a tuple of them, or a RecurrentBound, for a node that gives several tensors

_PRODUCT = "a product of two signals is not Lipschitz"


def times(a: float, b: float) -> float:
    """Multiply two bounds; what does not change stays so, however steep what follows.

    Parameters
    ----------
    a, b : float
        The bounds.

    Returns
    -------
    float
        Their product; 0 if one of them is 0.
    """
    return 0.0 if a == 0 or b == 0 else a * b


def single_bound(value: Any, found: dict[fx.Node, Bound]) -> float:
    """Give the bound of an argument: 0 for a number; of several tensors that of the first.

    Parameters
    ----------
    value : object
        The argument.
    found : dict of Node to Bound
        Bounds of the nodes before.

    Returns
    -------
    float
        The bound.
    """
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
    bound = single_bound(value, found)
    if bound == 0:
        return 0.0
    both = (*node.args[:2], *(node.kwargs[name] for name in ("other",) if name in node.kwargs))
    operands = [other for other in both if not isinstance(other, (int, float))]
    if len(operands) < 2:
        return bound
    before, after = _shape(value), _shape(node)
    if before is None or after is None:
        raise NotLipschitzError("whether one operand is repeated depends on the shapes; pass x")
    return bound * math.sqrt(math.prod(after) / max(1, math.prod(before)))


def _product(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    left, right = node.args[0], node.args[1]
    if single_bound(left, found) == 0:
        left, right = right, left
    if single_bound(right, found) != 0:
        raise NotLipschitzError(_PRODUCT)
    return times(_spread(left, node, found), _number(right))


def _quotient(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    if node.kwargs.get("rounding_mode") is not None:
        raise NotLipschitzError("a quotient that is rounded jumps")
    if single_bound(node.args[1], found) != 0:
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
    return math.hypot(*(single_bound(part, found) for part in parts))


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
    if any(isinstance(value, fx.Node) for value in (*node.args[1:], *node.kwargs.values())):
        raise NotLipschitzError("a conversion to the type of another tensor is not understood")
    _refuse_whole_numbers(node)
    return _kept(node, found)


def _refuse_whole_numbers(node: fx.Node) -> None:
    types = [value for value in (*node.args[1:], *node.kwargs.values()) if isinstance(value, torch.dtype)]
    if not all(kind.is_floating_point for kind in types):
        raise NotLipschitzError("a conversion to whole numbers jumps")


def _kept(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    return single_bound(node.args[0] if node.args else node.kwargs.get("input"), found)


def _shrunk(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    """Bound a mean over n entries: n^(-1/2), or 1 where n is not known."""
    before, after = _shape(node.args[0]), _shape(node)
    known = before is not None and after is not None
    factor = math.sqrt(math.prod(after) / math.prod(before)) if known else 1.0  # type: ignore[arg-type]
    return _kept(node, found) * factor * (1 + 1e-15)


def _total(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    _refuse_whole_numbers(node)
    before, after = _shape(node.args[0]), _shape(node)
    if before is None or after is None:
        raise NotLipschitzError("the bound of a sum needs the number of entries; pass x")
    return _kept(node, found) * math.sqrt(math.prod(before) / math.prod(after)) * (1 + 1e-15)


def _affine(node: fx.Node, found: dict[fx.Node, Bound]) -> float:
    weight = _argument(node, 1, "weight", None)
    constant = weight.meta.get("constant") if isinstance(weight, fx.Node) else None
    if not isinstance(constant, Tensor) or single_bound(_argument(node, 2, "bias", None), found) != 0:
        raise NotLipschitzError(_PRODUCT)
    return times(_kept(node, found), norm_above(constant.detach().cpu().double().numpy()))


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
        _refuse_whole_numbers(node)
        given = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
        for unused in ("input", "inplace", "_stacklevel", "dtype"):
            given.pop(unused, None)
        if len(node.args) - 1 > len(names) or any(isinstance(value, fx.Node) for value in given.values()):
            raise NotLipschitzError("its arguments are not understood")
        return times(_kept(node, found), layer_bound(kind(**given), _shape(node.args[0])))

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

IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
VIEWS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)
NEW = (operator.add, operator.sub, operator.mul, torch.add, torch.sub, torch.mul, torch.cat, *IN_PLACE[:3])

OPERATIONS: dict[Any, Callable[[fx.Node, dict[fx.Node, Bound]], Bound]] = {
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
    OPERATIONS |= dict.fromkeys([getattr(operator, _name), getattr(torch, _name), f".{_name}"], _sum)
OPERATIONS |= dict.fromkeys([operator.iadd, operator.isub, ".add_", ".sub_"], _sum)
OPERATIONS |= dict.fromkeys([operator.mul, operator.imul, torch.mul, ".mul", ".mul_"], _product)
OPERATIONS |= dict.fromkeys([operator.truediv, torch.div, ".div", ".div_"], _quotient)
OPERATIONS |= dict.fromkeys([torch.cat, torch.concat, torch.stack], _side_by_side)
OPERATIONS |= dict.fromkeys(
    [operator.matmul, torch.matmul, torch.bmm, torch.einsum, ".matmul", ".bmm"], _refused(_PRODUCT)
)
OPERATIONS |= dict.fromkeys([torch.mean, ".mean"], _shrunk) | dict.fromkeys([torch.sum, ".sum"], _total)
for _name in ("flatten", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "clone", "abs", "neg"):
    OPERATIONS |= dict.fromkeys([getattr(torch, _name), f".{_name}"], _kept)
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
    OPERATIONS |= dict.fromkeys([getattr(torch, _name), f".{_name}"], _kept)
OPERATIONS |= dict.fromkeys([".contiguous", ".float", ".double", ".T", ".detach", operator.neg], _kept)
for _name, _kind, _names in _LAYERS:
    for _home in (functional, torch):
        if hasattr(_home, _name):
            OPERATIONS[getattr(_home, _name)] = _as_layer(_kind, *_names)
    OPERATIONS[f".{_name}"] = _as_layer(_kind, *_names)
