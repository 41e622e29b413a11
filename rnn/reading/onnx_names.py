"""What a layer of an ONNX graph is called: as torch called it where that can be seen, else after its node."""

from __future__ import annotations

import re
from typing import Any

from rnn.reading.onnx_tensors import Constant

_TORCH_KEY = re.compile(r"(?:[\w\-]+\.)*(?:weight|weight_[ih]h(?:_l\d+(?:_reverse)?)?)")
_TORCH_RECURRENT = re.compile(r"(?P<stem>(?:[\w\-]+\.)*)weight_[ih]h_l(?P<layer>\d{1,9})(?:_reverse)?")
_NUMBERED = re.compile(r"(?:onnx::.*|val_\d+|node_.*|n\d+|_?\d+|)", re.IGNORECASE)
_SCOPES = "pkg.torch.onnx.name_scopes"


def layer_name(node: Any, constant: Constant) -> str:
    """Give the name of the layer that a node is, without dot at its end.

    Parameters
    ----------
    node : onnx.NodeProto
        The node.
    constant : Constant
        Its weights.

    Returns
    -------
    str
        The scope that torch's exporters write, the node's own name without its operator, the name of the
        tensor, or the name of the output: the first that says something. "" is the model itself.
    """
    scope = _scope(node)
    if scope is not None:
        return scope
    parts = node.name.strip("/").split("/")
    if parts[-1].lower().startswith(node.op_type.lower()):
        parts.pop()
        if parts or node.name.startswith("/"):
            return ".".join(parts)
    elif not _NUMBERED.fullmatch(node.name):
        return ".".join(parts)
    if not _NUMBERED.fullmatch(constant.source):
        return constant.source
    return str(node.name or node.output[0])


def torch_key(constant: Constant) -> str:
    """Give the name of a tensor if it is one of torch's and the constant is all of it.

    Parameters
    ----------
    constant : Constant
        Weights of a layer.

    Returns
    -------
    str
        Such as "encoder.0.weight", else "".
    """
    return constant.source if constant.whole and _TORCH_KEY.fullmatch(constant.source) else ""


def torch_layer(constant: Constant) -> tuple[str, int] | None:
    """Give stem and number of a recurrent layer, if its weights are made of a tensor with torch's name.

    Parameters
    ----------
    constant : Constant
        Weights of the layer.

    Returns
    -------
    (str, int) or None
        ("encoder", 1) for "encoder.weight_ih_l1".
    """
    match = _TORCH_RECURRENT.fullmatch(constant.source)
    return (match["stem"].rstrip("."), int(match["layer"])) if match else None


def _scope(node: Any) -> str | None:
    """Read the scopes that torch's exporter notes: "['', 'encoder', 'encoder.rnn', 'lstm']"."""
    for entry in node.metadata_props:
        names = re.findall(r"'([^']*)'", entry.value) if entry.key == _SCOPES else []
        if len(names) > 1:
            return str(names[-2])
    return None
