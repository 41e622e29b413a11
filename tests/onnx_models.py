"""Small ONNX graphs by hand, and what onnxruntime makes of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RANDOM = np.random.default_rng(0)
A = RANDOM.normal(size=(4, 6)).astype(np.float32)
Q = RANDOM.integers(-128, 127, size=(4, 6)).astype(np.int8)


def constants(**arrays: np.ndarray) -> list[TensorProto]:
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def model_of(
    nodes: Sequence[Any],
    tensors: Sequence[TensorProto],
    *,
    inputs: dict[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 21,
    **options: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (inputs or {"x": None}).items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializer=list(tensors),
        **options,
    )
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def run(path: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def recurrent_model(op: str, directions: int = 1, **attributes: Any) -> onnx.ModelProto:
    """One recurrent node with random weights, in ONNX's own order."""
    random, gates = np.random.default_rng(7), {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    tensors = constants(
        W=random.normal(size=(directions, gates * 4, 5)).astype(np.float32),
        R=random.normal(size=(directions, gates * 4, 4)).astype(np.float32),
        B=random.normal(size=(directions, 2 * gates * 4)).astype(np.float32),
    )
    states = {"h": [directions, 1, 4]} | ({"c": [directions, 1, 4]} if op == "LSTM" else {})
    outputs = ["y", "last"] + (["cell"] if op == "LSTM" else [])
    node = helper.make_node(
        op, ["x", "W", "R", "B", "", *states], outputs, name="my_layer", hidden_size=4, **attributes
    )
    return model_of([node], tensors, inputs={"x": [1, 1, 5]} | states, outputs=outputs)


def of(op: str, *inputs: str, outputs: tuple[str, ...] = ("v",), **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), list(outputs), **attributes)


def whole(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)
