"""ONNX: the matrices of a node, put back into their equation, give the step that onnxruntime takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import A, constants, model_of, of, recurrent_model, run, saved

from rnn.reading.sources import read_source
from rnn.weights import named_matrices

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=5).astype(np.float32)
H = RANDOM.normal(size=4).astype(np.float32)
C = RANDOM.normal(size=4).astype(np.float32)


def sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def gate_sums(path: Path, direction: str, h: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each gate what comes from the input and what from the state, from what is read alone."""
    found, entries = named_matrices(path), read_source(path).entries
    by_role = {(m.role, m.gate): m.matrix for m in found if m.direction == direction}
    reverse = "_reverse" if direction == "reverse" else ""
    biases = {w: entries[f"my_layer.bias_{w}_l0{reverse}"].read().numpy() for w in ("ih", "hh")}
    gates = [gate for role, gate in by_role if role == "input"]
    parts = {what: np.split(values, len(gates)) for what, values in biases.items()}
    return {
        gate: (
            by_role["input", gate] @ X + parts["ih"][k],
            by_role["recurrent", gate] @ h + parts["hh"][k],
        )
        for k, gate in enumerate(gates)
    }


WAYS = [("forward", ["forward"]), ("reverse", ["reverse"]), ("bidirectional", ["forward", "reverse"])]


@pytest.mark.parametrize(("way", "directions"), WAYS)
def test_lstm_gates_put_back_give_the_step_of_onnxruntime(
    way: str, directions: list[str], tmp_path: Path
) -> None:
    path = saved(tmp_path / "m.onnx", recurrent_model("LSTM", len(directions), direction=way))
    states = np.broadcast_to(H, (len(directions), 1, 4)), np.broadcast_to(C, (len(directions), 1, 4))
    _, last, cell = run(path, x=X[None, None], h=states[0], c=states[1])
    for place, direction in enumerate(directions):
        sums = gate_sums(path, direction, H)
        i, f, o = (sigmoid(sum(sums[gate])) for gate in "ifo")
        c = f * C + i * np.tanh(sum(sums["g"]))
        np.testing.assert_allclose(c, cell[place, 0], rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(o * np.tanh(c), last[place, 0], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize(("way", "directions"), WAYS)
def test_gru_gates_put_back_give_the_step_of_onnxruntime(
    way: str, directions: list[str], before: int, tmp_path: Path
) -> None:
    model = recurrent_model("GRU", len(directions), direction=way, linear_before_reset=before)
    path = saved(tmp_path / "m.onnx", model)
    _, last = run(path, x=X[None, None], h=np.broadcast_to(H, (len(directions), 1, 4)))
    for place, direction in enumerate(directions):
        sums = gate_sums(path, direction, H)
        r, z = sigmoid(sum(sums["r"])), sigmoid(sum(sums["z"]))
        inner = r * sums["n"][1] if before else gate_sums(path, direction, r * H)["n"][1]
        n = np.tanh(sums["n"][0] + inner)
        np.testing.assert_allclose((1 - z) * n + z * H, last[place, 0], rtol=2e-5, atol=2e-6)
    notes = [reason for key, reason in named_matrices(path).unrecognised if key == "my_layer"]
    assert bool(notes) == (before == 0)


@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
@pytest.mark.parametrize(("way", "directions"), WAYS)
def test_rnn_matrices_put_back_give_the_step_of_onnxruntime(
    way: str, directions: list[str], activation: str, tmp_path: Path
) -> None:
    count = len(directions)
    model = recurrent_model("RNN", count, direction=way, activations=[activation] * count)
    path = saved(tmp_path / "m.onnx", model)
    _, last = run(path, x=X[None, None], h=np.broadcast_to(H, (count, 1, 4)))
    for place, direction in enumerate(directions):
        total = sum(gate_sums(path, direction, H)[""])
        ours = np.tanh(total) if activation == "Tanh" else np.maximum(total, 0)
        np.testing.assert_allclose(ours, last[place, 0], rtol=2e-5, atol=2e-6)
    assert named_matrices(path).unrecognised == []


def test_each_tensor_says_where_it_stood_and_in_which_order(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", recurrent_model("LSTM"))
    entries = read_source(path).entries
    assert list(entries) == [f"my_layer.{w}_l0" for w in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    assert entries["my_layer.weight_hh_l0"].where == (
        "LSTM 'my_layer', tensor 'R', gates stored as i, o, f, c"
    )
    assert read_source(path).origin == "m.onnx"


@pytest.mark.parametrize(
    ("op", "attributes", "reason"),
    [
        ("LSTM", {"clip": 3.0}, "sums are cut off at 3"),
        ("LSTM", {"input_forget": 1}, "gate f is 1 - i"),
        (
            "LSTM",
            {"activations": ["Sigmoid", "Relu", "Tanh"]},
            "activations relu, sigmoid, tanh, which torch's",
        ),
        ("RNN", {"activations": ["Softsign"]}, "activations softsign"),
        ("GRU", {}, r"gate r acts on h before the matrix of gate n, in torch behind it"),
    ],
)
def test_what_differs_from_torch_beyond_the_matrices_is_listed(
    op: str, attributes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    found = named_matrices(saved(tmp_path / "m.onnx", recurrent_model(op, **attributes)))
    assert len(found) == 2 * {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    ((name, why),) = found.unrecognised
    assert name == "my_layer"
    assert why.startswith(reason)


def test_peepholes_are_listed(tmp_path: Path) -> None:
    model = recurrent_model("LSTM")
    model.graph.initializer.extend(constants(P=np.ones((1, 12), np.float32)))
    model.graph.node[0].input.append("P")
    ((_, why),) = named_matrices(saved(tmp_path / "m.onnx", model)).unrecognised
    assert "peepholes" in why


W = RANDOM.normal(size=(3, 5)).astype(np.float32)


def test_gemm_gives_the_matrix_that_acts_on_its_input(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(5, 1)).astype(np.float32)
    for turned in (0, 1):
        for other in (0, 1):
            for side in (0, 1):
                names = ["W", "x"] if side == 0 else ["x", "W"]
                turns = {"transA": turned, "transB": other}
                stored = W.T if (turned if side == 0 else not other) else W
                fed = {0: x.T if other else x, 1: x if turned else x.T}[side]
                node = helper.make_node("Gemm", names, ["y"], name="layer", alpha=-0.75, **turns)
                model = model_of([node], constants(W=stored), inputs={"x": list(fed.shape)})
                path = saved(tmp_path / "m.onnx", model)
                (found,) = named_matrices(path)
                assert (found.name, found.role, found.matrix.shape) == ("layer.weight", "linear", (3, 5))
                (theirs,) = run(path, x=fed)
                np.testing.assert_allclose(found.matrix @ x[:, 0], theirs.ravel(), rtol=1e-5, atol=1e-6)
    assert read_source(path).entries["layer.weight"].where.endswith("times alpha = -0.75")


@pytest.mark.parametrize("side", [0, 1])
def test_matmul_gives_the_matrix_that_acts_on_its_input(side: int, tmp_path: Path) -> None:
    x = RANDOM.normal(size=(5, 1)).astype(np.float32)
    fed, stored = (x, W) if side == 0 else (x.T, W.T)
    node = helper.make_node("MatMul", ["W", "x"] if side == 0 else ["x", "W"], ["y"])
    path = saved(tmp_path / "m.onnx", model_of([node], constants(W=stored), inputs={"x": list(fed.shape)}))
    (found,) = named_matrices(path)
    assert found.name == "W.weight"
    np.testing.assert_allclose(found.matrix @ x[:, 0], run(path, x=fed)[0].ravel(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolutions_in_groups_act_as_onnxruntime_says(op: str, groups: int, tmp_path: Path) -> None:
    """One column in, all of the kernel out (transposed); one patch in, one column out (plain)."""
    inside, outside, kernel = 6, 12, 2
    shape = (outside, inside // groups, kernel) if op == "Conv" else (inside, outside // groups, kernel)
    weights = RANDOM.normal(size=shape).astype(np.float32)
    x = RANDOM.normal(size=(1, inside, kernel if op == "Conv" else 1)).astype(np.float32)
    node = helper.make_node(op, ["x", "W"], ["y"], name="conv", group=groups)
    path = saved(tmp_path / "m.onnx", model_of([node], constants(W=weights), inputs={"x": list(x.shape)}))
    (found,) = named_matrices(path)
    assert (found.role, found.matrix.shape) == ("convolution", (outside, inside // groups * kernel))
    spread = found.matrix.reshape(groups, outside // groups, inside // groups, kernel)
    parts = x.reshape(groups, inside // groups, -1)
    how = "goik,gik->go" if op == "Conv" else "goik,gij->gok"
    ours = np.einsum(how, spread, parts).reshape(outside, -1)
    np.testing.assert_allclose(ours, run(path, x=x)[0][0], rtol=1e-5, atol=1e-5)


NO_LAYERS = {
    "two constants": (
        of("MatMul", "A", "B", outputs=("y",)),
        {"A": A, "B": A.T},
        "both factors are constants",
    ),
    "too flat": (
        of("Conv", "x", "A", outputs=("y",)),
        {"A": A},
        "a convolution with weights of shape (4, 6)",
    ),
    "groups": (
        of("ConvTranspose", "x", "A", outputs=("y",), group=3),
        {"A": A[:, :, None]},
        "weights of shape (4, 6, 1) in 3 groups",
    ),
    "no groups": (
        of("ConvTranspose", "x", "A", outputs=("y",), group=0),
        {"A": A[:, :, None]},
        "weights of shape (4, 6, 1) in 0 groups",
    ),
}


@pytest.mark.parametrize(("node", "arrays", "reason"), NO_LAYERS.values(), ids=NO_LAYERS)
def test_what_is_no_layer_is_listed_and_the_rest_is_read(
    node: Any, arrays: dict[str, np.ndarray], reason: str, tmp_path: Path
) -> None:
    model = model_of([node, of("MatMul", "x", "good", outputs=("z",))], constants(good=A, **arrays))
    found = named_matrices(saved(tmp_path / "m.onnx", model))
    assert [m.name for m in found] == ["good.weight"]
    assert ("A", reason) in found.unrecognised


def test_of_two_constants_the_one_with_torchs_name_is_the_weight(tmp_path: Path) -> None:
    """As a cell is exported whose first state is zero."""
    tensors = constants(**{"cell.weight": A, "state": np.zeros((1, 6), np.float32)})
    node = of("Gemm", "state", "cell.weight", outputs=("y",), transB=1)
    found = named_matrices(saved(tmp_path / "m.onnx", model_of([node], tensors)))
    assert [m.name for m in found] == ["cell.weight"]
    np.testing.assert_array_equal(found[0].matrix, A)


NAMES = [
    ("/encoder/layer.0/dense/MatMul", "onnx::MatMul_7", "", "encoder.layer.0.dense.weight"),
    ("/MatMul_3", "onnx::MatMul_7", "", "weight"),
    ("model/dense/MatMul", "model/dense/MatMul/ReadVariableOp:0", "", "model.dense.weight"),
    ("my layer", "W", "", "my layer.weight"),
    ("MatMul_12", "W", "", "W.weight"),
    ("", "W", "", "W.weight"),
    ("", "", "", "y.weight"),
    ("node_MatMul_4", "val_3", "['', 'head', 'head.out', 'linear']", "head.out.weight"),
    ("node_MatMul_4", "val_3", "['', 'linear']", "weight"),
    ("node_MatMul_4", "val_3", "((((", "node_MatMul_4.weight"),
    ("/head/MatMul", "head.weight", "", "head.weight"),
]


@pytest.mark.parametrize(("node_name", "tensor_name", "scopes", "expected"), NAMES)
def test_layers_are_named_as_the_user_knows_them(
    node_name: str, tensor_name: str, scopes: str, expected: str, tmp_path: Path
) -> None:
    tensor = tensor_name or "val_1"
    node = of("MatMul", "x", tensor, outputs=("y",), name=node_name)
    if scopes:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    (found,) = named_matrices(saved(tmp_path / "m.onnx", model_of([node], constants(**{tensor: A}))))
    assert found.name == expected
