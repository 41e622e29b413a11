"""ONNX graphs: exported models give the matrices of their modules; what is not understood is listed."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import A, Q, constants, model_of, of, recurrent_model, saved, whole
from torch import nn

from rnn.reading.onnx_graphs import read_onnx
from rnn.reading.sources import read_source
from rnn.weights import NamedMatrices, named_matrices
from spectra.errors import UnsupportedModelError

W = np.random.default_rng(3).normal(size=(3, 5)).astype(np.float32)

EXPORTERS = pytest.mark.parametrize(
    "dynamo", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["legacy", "dynamo"]
)


class Encoder(nn.Module):
    def __init__(self, rnn: nn.RNNBase) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[0]


class Text(nn.Module):
    """Words, a recurrent layer one module further down, and a head."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 5)
        self.encoder = Encoder(kind(5, 4, **options))
        self.head = nn.Linear(8 if options.get("bidirectional") else 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.words(x)))


def exported(path: Path, model: nn.Module, *x: Any, dynamo: bool, **options: Any) -> Path:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), x, path, dynamo=dynamo, verbose=False, **options)
    return path


@EXPORTERS
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
        (nn.LSTM, {"num_layers": 2, "bias": False}),
        (nn.GRU, {"num_layers": 3}),
        (nn.GRU, {"bidirectional": True, "batch_first": True}),
    ],
)
def test_exported_layers_have_the_names_and_matrices_of_the_module(
    kind: type[nn.RNNBase], options: dict[str, Any], dynamo: bool, tmp_path: Path
) -> None:
    model = Text(kind, **options)
    path = exported(tmp_path / "m.onnx", model, torch.zeros(6, 2, dtype=torch.long), dynamo=dynamo)
    ours, theirs = named_matrices(path), named_matrices(model)
    assert ours.unrecognised == []
    assert {m.name: (m.role, m.layer, m.direction, m.gate) for m in ours} == {
        m.name: (m.role, m.layer, m.direction, m.gate) for m in theirs
    }
    for record in theirs:
        np.testing.assert_array_equal(ours[record.name].matrix, record.matrix)
    entries = read_source(path).entries
    for name, bias in model.encoder.rnn.named_parameters():
        if name.startswith("bias"):
            assert torch.equal(entries[f"encoder.rnn.{name}"].read(), bias)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_recurrent_layer_of_the_legacy_exporter(nonlinearity: str, tmp_path: Path) -> None:
    model = nn.RNN(5, 4, num_layers=2, nonlinearity=nonlinearity)
    path = exported(tmp_path / "m.onnx", model, torch.zeros(6, 2, 5), dynamo=False)
    assert_same(named_matrices(path), named_matrices(model))


def assert_same(ours: NamedMatrices, theirs: NamedMatrices) -> None:
    assert ours.unrecognised == []
    assert {(m.name, m.role) for m in ours} == {(m.name, m.role) for m in theirs}
    for record in theirs:
        np.testing.assert_array_equal(ours[record.name].matrix, record.matrix)


@pytest.mark.slow
def test_an_unrolled_layer_of_the_new_exporter_gives_its_two_matrices_once(tmp_path: Path) -> None:
    model = Text(nn.RNN)
    path = exported(tmp_path / "m.onnx", model, torch.zeros(6, 2, dtype=torch.long), dynamo=True)
    found = [m for m in named_matrices(path) if m.name.startswith("encoder.rnn")]
    weights = model.encoder.rnn
    assert [m.role for m in found] == ["linear", "linear"]
    np.testing.assert_array_equal(found[0].matrix, weights.weight_ih_l0.detach().numpy())
    np.testing.assert_array_equal(found[1].matrix, weights.weight_hh_l0.detach().numpy())


@EXPORTERS
def test_cells_keep_torchs_names_and_order(dynamo: bool, tmp_path: Path) -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(5, 4)

        def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            return self.cell(x, (h, c))[0]

    model, states = Step(), (torch.zeros(2, 4), torch.zeros(2, 4))
    path = exported(tmp_path / "m.onnx", model, torch.zeros(2, 5), *states, dynamo=dynamo)
    assert_same(named_matrices(path), named_matrices(model))


@EXPORTERS
def test_exported_convolutions_and_linear_layers_are_those_of_the_module(
    dynamo: bool, tmp_path: Path
) -> None:
    model = nn.Sequential(
        nn.Conv1d(4, 6, 3, groups=2),
        nn.ReLU(),
        nn.ConvTranspose1d(6, 5, 2),
        nn.LayerNorm(7),
        nn.Linear(7, 2),
        nn.Flatten(),
        nn.Linear(10, 3),
    )
    path = exported(tmp_path / "m.onnx", model, torch.zeros(1, 4, 8), dynamo=dynamo)
    assert_same(named_matrices(path), named_matrices(model))


def test_the_new_exporter_says_the_scopes_of_its_nodes(tmp_path: Path) -> None:
    model = nn.Sequential(Encoder(nn.GRU(5, 4)), nn.Linear(4, 3))
    path = exported(tmp_path / "m.onnx", model, torch.zeros(6, 2, 5), dynamo=True)
    assert_same(named_matrices(path), named_matrices(model))


def test_weights_of_other_operators_are_listed(tmp_path: Path) -> None:
    nodes = [
        of("Add", "x", "position", outputs=("a",), name="plus"),
        of("Einsum", "a", "E", outputs=("b",), equation="ij,jk->ik"),
        of("MatMulInteger", "a", "I", outputs=("c",), name="ints"),
        of("FusedMatMul", "a", "F", outputs=("d",), domain="com.microsoft"),
        of("MatMul", "a", "stack", outputs=("e",)),
        of("Gather", "side", "i", outputs=("f",), axis=1),
        of("Conv", "kernel", "x", outputs=("g",), name="turned"),
        of("LayerNormalization", "a", "scale", outputs=("h",), axis=-2),
        of("Gemm", "x", "good", "offset", outputs=("y",)),
    ]
    tensors = {
        "position": A, "E": A, "I": Q, "F": A, "stack": np.stack([A, A]), "side": A, "kernel": A[None],
        "scale": A, "good": A, "offset": A, "unused": A, "result": A, "vector": A[0], "steps": whole(1, 2),
    }  # fmt: skip
    model = model_of(nodes, constants(**tensors), inputs={"x": None, "i": None}, outputs=["y", "result"])
    found = named_matrices(saved(tmp_path / "m.onnx", model))
    assert [m.name for m in found] == ["good.weight"]
    assert dict(found.unrecognised) == {
        "position": "used by Add 'plus', which is not understood",
        "E": "used by Einsum 'b', which is not understood",
        "I": "used by MatMulInteger 'ints', which is not understood",
        "F": "used by com.microsoft.FusedMatMul 'd', which is not understood",
        "stack": "a stack of matrices, shape (2, 4, 6); expected one",
        "side": "rows chosen along axis 1 of shape (4, 6), no embedding",
        "kernel": "used by Conv 'turned' as an input, not as weights",
        "unused": "used by no node",
        "result": "an output of the graph",
    }


def body(name: str) -> Any:
    nodes = [
        of("MatMul", "x", "outer", outputs=(f"{name}_a",)),
        of("GRU", "x", "W", "R", outputs=(f"{name}_b",), name="cell"),
    ]
    nodes.append(helper.make_node("Constant", [], [f"{name}_c"], value=numpy_helper.from_array(A, "c")))
    return helper.make_graph(
        nodes, name, [], [helper.make_tensor_value_info(f"{name}_a", TensorProto.FLOAT, None)],
        initializer=constants(**{f"{name}_inner": A}),
    )  # fmt: skip


def test_bodies_of_branches_and_loops_are_searched_and_listed(tmp_path: Path) -> None:
    inner = helper.make_node(
        "If", ["p"], ["q"], name="choice", then_branch=body("deep"), else_branch=body("low")
    )
    loop = body("loop")
    loop.node.append(inner)
    nodes = [
        helper.make_node("Loop", ["n", "p"], ["y"], name="repeat", body=loop),
        of("MatMul", "x", "good", outputs=("z",)),
    ]
    model = model_of(nodes, constants(outer=A, W=np.ones((1, 3, 2), np.float32), good=A))
    found = named_matrices(saved(tmp_path / "m.onnx", model))
    assert [m.name for m in found] == ["good.weight"]
    listed = [
        key for key, why in found.unrecognised if why == "inside the body of Loop 'repeat', which is not read"
    ]
    assert len(listed) == len(found.unrecognised)
    inside = {f"{name}_{what}" for name in ("deep", "low", "loop") for what in ("c", "inner")}
    assert set(listed) == {"outer", "W", "cell"} | inside


def test_a_recurrent_layer_with_computed_weights_is_listed(tmp_path: Path) -> None:
    model = recurrent_model("LSTM")
    model.graph.node.insert(0, of("Mul", "R", "h", outputs=("computed",)))
    model.graph.node[1].input[2] = "computed"
    reasons = dict(read_onnx(saved(tmp_path / "m.onnx", model)).unrecognised)
    assert reasons.keys() == {"R", "W", "my_layer"}
    assert reasons["R"] == "used by Mul 'computed', which is not understood"
    assert "computed while the network runs" in reasons["my_layer"]


@pytest.mark.parametrize(
    "change",
    [
        {"W": np.ones((1, 16, 5, 1))},
        {"R": np.ones((1, 12, 4))},
        {"R": np.ones((2, 16, 4))},
        {"B": np.ones((1, 16))},
        {"W": np.ones((1, 12, 5)), "R": np.ones((1, 12, 4))},
    ],
)
def test_recurrent_weights_that_do_not_fit_are_listed(change: dict[str, np.ndarray], tmp_path: Path) -> None:
    model = recurrent_model("LSTM")
    for tensor in model.graph.initializer:
        if tensor.name in change:
            tensor.CopyFrom(numpy_helper.from_array(change[tensor.name].astype(np.float32), tensor.name))
    with pytest.raises(UnsupportedModelError, match=r"holds no tensors \(.*do not fit LSTM"):
        named_matrices(saved(tmp_path / "m.onnx", model))


def test_a_tensor_that_two_layers_share_is_named_for_each_use(tmp_path: Path) -> None:
    nodes = [
        of("Gather", "words", "i", outputs=("a",), name="embed"),
        of("Transpose", "words", outputs=("t",)),
        of("MatMul", "a", "t", outputs=("y",), name="head"),
        of("MatMul", "x", "W", outputs=("b",), name="first"),
        of("MatMul", "b", "W", outputs=("c",), name="second"),
        of("Gemm", "c", "W", outputs=("d",), name="third", transB=1),
    ]
    model = model_of(nodes, constants(words=A, W=A[:, :4]), inputs={"x": None, "i": None})
    found = named_matrices(saved(tmp_path / "m.onnx", model))
    assert [(m.name, m.role) for m in found] == [
        ("embed.weight", "embedding"),
        ("head.weight", "linear"),
        ("first.weight", "linear"),
        ("third.weight", "linear"),
    ]
    np.testing.assert_array_equal(found[0].matrix, A.T)
    np.testing.assert_array_equal(found[1].matrix, A)
    np.testing.assert_array_equal(found[2].matrix, found[3].matrix.T)


def test_two_layers_of_one_name_are_both_read(tmp_path: Path) -> None:
    nodes = [of("MatMul", "x", name, outputs=(f"y{name}",), name="layer") for name in ("V", "W")]
    found = named_matrices(saved(tmp_path / "m.onnx", model_of(nodes, constants(V=A, W=2 * A))))
    assert [m.name for m in found] == ["layer.weight", "layer.yW.weight"]
    np.testing.assert_array_equal(found[1].matrix, 2 * A.T)


@pytest.mark.slow
def test_an_export_with_its_weights_beside_it_is_read(tmp_path: Path) -> None:
    model, options = nn.Sequential(Encoder(nn.GRU(64, 64))), {"external_data": True}
    path = exported(tmp_path / "m.onnx", model, torch.zeros(6, 2, 64), dynamo=True, **options)
    assert (tmp_path / "m.onnx.data").stat().st_size > 64 * 64 * 4 * 6
    assert_same(named_matrices(path), named_matrices(model))
