"""Operators between a tensor and its layer: folded as onnxruntime computes them, or listed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import A, Q, constants, model_of, of, run, saved, whole

from rnn.reading.sources import read_source
from rnn.weights import named_matrices

RANDOM = np.random.default_rng(2)
W = RANDOM.normal(size=(3, 5)).astype(np.float32)


def chain(path: Path, steps: list[Any], tensors: list[TensorProto], *, last: str = "v") -> Path:
    """A graph whose value `last` is both an output and the right factor of a product."""
    keep = helper.make_node("Identity", [last], ["kept"])
    layer = helper.make_node("MatMul", ["x", last], ["y"], name="layer")
    return saved(
        path, model_of([*steps, keep, layer], tensors, outputs=["y", "kept"], inputs={"x": [1, None]})
    )


FOLDS: dict[str, tuple[list[Any], dict[str, np.ndarray]]] = {
    "identity": ([of("Identity", "A")], {"A": A}),
    "transpose": ([of("Transpose", "A")], {"A": A}),
    "permutation": ([of("Transpose", "A", perm=[1, 0])], {"A": A}),
    "cast up": ([of("Cast", "A", to=TensorProto.FLOAT)], {"A": A.astype(np.float16)}),
    "cast down and up": (
        [of("Cast", "A", outputs=("h",), to=TensorProto.FLOAT16), of("Cast", "h", to=TensorProto.FLOAT)],
        {"A": A},
    ),
    "cast of whole numbers": ([of("Cast", "A", to=TensorProto.FLOAT)], {"A": Q}),
    "reshape": ([of("Reshape", "A", "s")], {"A": A, "s": whole(-1, 8)}),
    "reshape that keeps": ([of("Reshape", "A", "s")], {"A": A.reshape(4, 3, 2), "s": whole(0, -1)}),
    "squeeze": ([of("Squeeze", "A", "s")], {"A": A[None, :, None], "s": whole(0, -2)}),
    "squeeze all": ([of("Squeeze", "A")], {"A": A[None, :, None]}),
    "unsqueeze": (
        [of("Unsqueeze", "A", "s", outputs=("u",)), of("Squeeze", "u", "s")],
        {"A": A, "s": whole(0, -1)},
    ),
    "slice": ([of("Slice", "A", "a", "b", "c")], {"A": A, "a": whole(1), "b": whole(99), "c": whole(-1)}),
    "slice in steps": (
        [of("Slice", "A", "a", "b", "c", "d")],
        {"A": A, "a": whole(-1, 0), "b": whole(-99, 5), "c": whole(0, 1), "d": whole(-1, 2)},
    ),
    "concat": ([of("Concat", "A", "B", axis=-1)], {"A": A[:, :2], "B": A[:, 2:]}),
    "split": ([of("Split", "A", "s", outputs=("u", "v"), axis=1)], {"A": A, "s": whole(2, 4)}),
    "split in parts": ([of("Split", "A", outputs=("u", "v"), axis=0, num_outputs=2)], {"A": A[:3]}),
    "scale for all": (
        [of("DequantizeLinear", "A", "s", "z")],
        {"A": Q, "s": np.float32(0.1), "z": np.int8(3)},
    ),
    "scale without zero": ([of("DequantizeLinear", "A", "s")], {"A": Q, "s": np.float32(0.1)}),
    "scales of columns": (
        [of("DequantizeLinear", "A", "s", "z", axis=-1)],
        {"A": Q, "s": np.linspace(0.1, 1, 6, dtype=np.float32), "z": np.arange(6, dtype=np.int8)},
    ),
    "scales of rows": (
        [of("DequantizeLinear", "A", "s", axis=0)],
        {"A": Q, "s": np.linspace(0.1, 1, 4, dtype=np.float32)},
    ),
    "scales of blocks": (
        [of("DequantizeLinear", "A", "s", "z", axis=1, block_size=2)],
        {
            "A": Q,
            "s": RANDOM.uniform(0.1, 1, size=(4, 3)).astype(np.float32),
            "z": np.arange(12, dtype=np.int8).reshape(4, 3),
        },
    ),
    "gates put in order": (
        [
            of("Slice", "A", "zero", "two", "zero", outputs=("a",)),
            of("Slice", "A", "two", "four", "zero", outputs=("b",)),
            of("Concat", "b", "a", axis=0),
        ],
        {"A": A, "zero": whole(0), "two": whole(2), "four": whole(4)},
    ),
}


@pytest.mark.parametrize(("steps", "arrays"), FOLDS.values(), ids=FOLDS)
def test_operators_before_a_weight_are_folded_as_onnxruntime_computes_them(
    steps: list[Any], arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = chain(tmp_path / "m.onnx", steps, constants(**arrays))
    found = named_matrices(path)
    assert found[0].name == "layer.weight"
    kept = run(path, x=np.zeros((1, found[0].matrix.shape[1]), np.float32))[1]
    np.testing.assert_allclose(found[0].matrix.T, kept, rtol=1e-6)
    (stored,) = read_source(path).entries.values()
    assert stored.shape == kept.shape[::-1]
    assert {key for key, _ in found.unrecognised} <= {"A"}  # a part that is not used, an output


def test_a_constant_node_is_a_tensor_too(tmp_path: Path) -> None:
    node = helper.make_node("Constant", [], ["v"], value=numpy_helper.from_array(A, "inner"))
    (found,) = (m for m in named_matrices(chain(tmp_path / "m.onnx", [node], [])))
    np.testing.assert_array_equal(found.matrix, A.T)


BAD_FOLDS = {
    "reshape": ([of("Reshape", "A", "s")], {"A": A, "s": whole(5, 5)}, "Reshape does not fit its inputs"),
    "concat": ([of("Concat", "A", "B", axis=0)], {"A": A, "B": A[:, :2]}, "Concat does not fit its inputs"),
    "scales": (
        [of("DequantizeLinear", "A", "s")],
        {"A": Q, "s": np.ones(5, np.float32)},
        "DequantizeLinear does not fit",
    ),
    "split": (
        [of("Split", "A", "s", outputs=("u", "v"), axis=1)],
        {"A": A, "s": whole(2, 2)},
        "Split does not",
    ),
    "axes": ([of("Transpose", "A", perm=[0, 0])], {"A": A}, "Transpose does not fit"),
    "attribute": ([of("Transpose", "A", perm=["a"])], {"A": A}, "attribute perm of Transpose is"),
    "type": ([of("Cast", "A", to=TensorProto.STRING)], {"A": A}, "Cast to string, not to numbers"),
    "no type": ([of("Cast", "A", to=0)], {"A": A}, "Cast to undefined, not to numbers"),
    "new type": ([of("Cast", "A", to=99)], {"A": A}, "Cast does not fit its inputs"),
    "long": ([of("Reshape", "A", "s")], {"A": A, "s": np.ones(65, np.int64)}, "are not a few whole numbers"),
    "growth": (
        [of("Concat", *["A"] * 30, outputs=("u",), axis=0), of("Concat", *["u"] * 30, axis=0)],
        {"A": A},
        "would make more of it than the file holds",
    ),
    "depth": (
        [of("Transpose", "A", outputs=("a0",))]
        + [of("Transpose", f"a{k}", outputs=(f"a{k + 1}",)) for k in range(60)]
        + [of("Transpose", "a60")],
        {"A": A},
        "more than 50 operators lie between",
    ),
}


@pytest.mark.parametrize(("steps", "arrays", "reason"), BAD_FOLDS.values(), ids=BAD_FOLDS)
def test_what_cannot_be_folded_is_listed_and_the_rest_is_read(
    steps: list[Any], arrays: dict[str, np.ndarray], reason: str, tmp_path: Path
) -> None:
    last = helper.make_node("MatMul", ["x", "W"], ["w"], name="good")
    model = model_of([*steps, of("MatMul", "x", "v", outputs=("y",)), last], constants(W=W.T, **arrays))
    found = named_matrices(saved(tmp_path / "m.onnx", model))
    assert [m.name for m in found] == ["good.weight"]
    assert {key for key, why in found.unrecognised if reason in why} == arrays.keys() - {"s"}


def test_a_cast_that_overflows_is_listed(tmp_path: Path) -> None:
    steps = [of("Cast", "A", to=TensorProto.FLOAT16), of("MatMul", "x", "B", outputs=("w",), name="good")]
    path = chain(tmp_path / "m.onnx", steps, constants(A=np.full((4, 6), 1e6, np.float32), B=A))
    found = named_matrices(path)
    assert [m.name for m in found] == ["good.weight"]
    assert ("layer.weight", "24 NaN or infinite entries") in found.unrecognised
