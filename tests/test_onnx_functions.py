"""Functions of an ONNX model: put in place, unless they never end."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import A, constants, model_of, of, saved

from rnn.reading.onnx_functions import without_functions
from rnn.weights import named_matrices

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]


def function(name: str, *nodes: Any) -> onnx.FunctionProto:
    return helper.make_function("mine", name, ["a", "b"], ["c"], list(nodes), OPSETS)


def call(name: str, *inputs: str, output: str) -> Any:
    return of(name, *inputs, outputs=(output,), domain="mine")


def model_with(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    model = model_of([call(functions[0].name, "x", "W", output="y")], constants(W=A))
    model.functions.extend(functions)
    return model


def test_weights_are_found_through_functions_within_functions(tmp_path: Path) -> None:
    outer = function("Outer", call("Inner", "a", "b", output="c"))
    inner = function("Inner", of("MatMul", "a", "b", outputs=("c",)))
    (found,) = named_matrices(saved(tmp_path / "m.onnx", model_with(outer, inner)))
    assert found.role == "linear"
    np.testing.assert_array_equal(found.matrix, A.T)


def test_a_model_without_functions_stays_as_it_is() -> None:
    model = model_of([of("MatMul", "x", "W", outputs=("y",))], constants(W=A))
    assert without_functions(model) is model


@pytest.mark.parametrize("within", [False, True])
def test_functions_that_call_themselves_are_refused(within: bool, tmp_path: Path) -> None:
    again = call("Again", "a", "b", output="c")
    if within:
        body = helper.make_graph([again], "body", [], [])
        again = of("If", "a", outputs=("c",), then_branch=body, else_branch=body)
    path = saved(tmp_path / "m.onnx", model_with(function("Again", again)))
    with pytest.raises(ValueError, match=r"m\.onnx is no readable .* more than 50 deep"):
        named_matrices(path)


def test_functions_that_stand_for_endless_nodes_are_refused() -> None:
    chain = [
        function(f"F{k}", call(f"F{k + 1}", "a", "b", output="d"), call(f"F{k + 1}", "d", "b", output="c"))
        for k in range(40)
    ]
    last = function("F40", of("MatMul", "a", "b", outputs=("c",)))
    with pytest.raises(ValueError, match="more than 1000000 nodes"):
        without_functions(model_with(*chain, last))
