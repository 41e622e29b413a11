"""Each gate matrix, put back into its equation, gives torch's own step; nothing is skipped in silence."""

import os
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.models import ModelConfig, build_model
from rnn.reading.sources import read_source
from rnn.reading.tensors import Stored, Tensors, stored_tensor
from rnn.tasks import load_task
from rnn.training import TrainingConfig, save_checkpoint, train
from rnn.weights import NamedMatrices, NamedMatrix, candidate_matrix, named_matrices
from spectra.errors import UnsupportedModelError

X = np.random.default_rng(0).normal(size=5)
H = np.random.default_rng(1).normal(size=4)
C = np.random.default_rng(2).normal(size=4)


def sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def gate_sums(
    found: NamedMatrices, biases: dict[str, np.ndarray], h: np.ndarray
) -> dict[str, tuple[Any, Any]]:
    """For each gate what comes from the input and what from the state, from the named matrices alone."""
    by_role = {(m.role, m.gate): m.matrix for m in found}
    gates = [m.gate for m in found if m.role == "input"]
    parts = {name: np.split(values, len(gates)) for name, values in biases.items()}
    return {
        gate: (
            by_role["input", gate] @ X + parts["ih"][k],
            by_role["recurrent", gate] @ h + parts["hh"][k],
        )
        for k, gate in enumerate(gates)
    }


def numpy_biases(layer: nn.Module) -> dict[str, np.ndarray]:
    state = layer.state_dict()
    return {
        what: next(v for k, v in state.items() if k.startswith(f"bias_{what}")).numpy()
        for what in ("ih", "hh")
    }


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array)[None] for array in arrays]


@pytest.mark.parametrize("layer", [nn.RNN(5, 4), nn.RNNCell(5, 4)], ids=["RNN", "RNNCell"])
def test_rnn_matrices_put_back_give_the_same_step(layer: nn.Module) -> None:
    layer = layer.double()
    sums = gate_sums(named_matrices(layer), numpy_biases(layer), H)
    x, h = tensors(X, H)
    theirs = layer(x, h)
    theirs = (theirs[0] if isinstance(theirs, tuple) else theirs).detach().numpy()
    np.testing.assert_allclose(np.tanh(sum(sums[""]))[None], theirs, rtol=1e-13)


@pytest.mark.parametrize("layer", [nn.GRU(5, 4), nn.GRUCell(5, 4)], ids=["GRU", "GRUCell"])
def test_gru_gates_put_back_give_the_same_step(layer: nn.Module) -> None:
    layer = layer.double()
    sums = gate_sums(named_matrices(layer), numpy_biases(layer), H)
    r, z = sigmoid(sum(sums["r"])), sigmoid(sum(sums["z"]))
    n = np.tanh(sums["n"][0] + r * sums["n"][1])
    x, h = tensors(X, H)
    theirs = layer(x, h)
    theirs = (theirs[0] if isinstance(theirs, tuple) else theirs).detach().numpy()
    np.testing.assert_allclose(((1 - z) * n + z * H)[None], theirs, rtol=1e-13)


@pytest.mark.parametrize("layer", [nn.LSTM(5, 4), nn.LSTMCell(5, 4)], ids=["LSTM", "LSTMCell"])
def test_lstm_gates_put_back_give_the_same_step(layer: nn.Module) -> None:
    layer = layer.double()
    sums = gate_sums(named_matrices(layer), numpy_biases(layer), H)
    i, f, o = (sigmoid(sum(sums[gate])) for gate in "ifo")
    c = f * C + i * np.tanh(sum(sums["g"]))
    x, h, cell = tensors(X, H, C)
    theirs = layer(x, (h, cell))
    theirs = theirs[0].detach().numpy()
    np.testing.assert_allclose((o * np.tanh(c))[None], theirs, rtol=1e-13)


def test_a_projected_lstm_put_back_gives_the_same_step() -> None:
    """With h = W_hr (o tanh c), the gates see W_hh h; the named square matrices are W_hr W_hh[gate]."""
    layer = nn.LSTM(5, 4, proj_size=3).double()
    found, biases = named_matrices(layer), numpy_biases(layer)
    into = {m.gate: m.matrix for m in found if m.role == "input"}
    (back,) = (m.matrix for m in found if m.role == "projection")
    square = {m.gate: m.matrix for m in found if m.role == "recurrent"}
    raw = dict(zip("ifgo", np.split(layer.weight_hh_l0.detach().numpy(), 4), strict=True))
    gates = {}
    for k, gate in enumerate("ifgo"):
        np.testing.assert_array_equal(square[gate], back @ raw[gate])
        bias = biases["ih"][4 * k : 4 * k + 4] + biases["hh"][4 * k : 4 * k + 4]
        gates[gate] = into[gate] @ X + raw[gate] @ H[:3] + bias
    c = sigmoid(gates["f"]) * C + sigmoid(gates["i"]) * np.tanh(gates["g"])
    x, h, cell = tensors(X, H[:3], C)
    theirs = layer(x, (h, cell))[0].detach().numpy()
    np.testing.assert_allclose((back @ (sigmoid(gates["o"]) * np.tanh(c)))[None], theirs, rtol=1e-12)


def test_projected_lstm_gives_the_square_matrix_of_each_gate() -> None:
    layer = nn.LSTM(5, 4, proj_size=3).double()
    found = named_matrices(layer)
    weights = {key: value.detach().numpy() for key, value in layer.named_parameters()}
    recurrent = [m for m in found if m.role == "recurrent"]
    assert [m.gate for m in recurrent] == list("ifgo")
    assert recurrent[2].name == "weight_hr_l0 @ weight_hh_l0[g]"
    assert recurrent[2].origin == "LSTM: weight_hr_l0 @ weight_hh_l0[8:12]"
    np.testing.assert_array_equal(
        recurrent[2].matrix, weights["weight_hr_l0"] @ weights["weight_hh_l0"][8:12]
    )
    (projection,) = (m for m in found if m.role == "projection")
    np.testing.assert_array_equal(projection.matrix, weights["weight_hr_l0"])
    # The derivative of h -> W_hr tanh(W_hh[g] h) at 0, by differences:
    step = 1e-6
    response = weights["weight_hr_l0"] @ np.tanh(weights["weight_hh_l0"][8:12] @ (step * np.eye(3))) / step
    np.testing.assert_allclose(recurrent[2].matrix, response, atol=1e-10)


def test_stacked_and_bidirectional_layers_are_told_apart() -> None:
    layer = nn.GRU(5, 4, num_layers=2, bidirectional=True)
    recurrent = [m for m in named_matrices(layer) if m.role == "recurrent"]
    places = [(m.layer, m.direction, m.gate) for m in recurrent]
    assert places == [(k, d, g) for k in (0, 1) for d in ("forward", "reverse") for g in "rzn"]
    assert recurrent[-1].name == "weight_hh_l1_reverse[n]"
    assert recurrent[-1].origin == "GRU: weight_hh_l1_reverse[8:12]"
    np.testing.assert_array_equal(recurrent[-1].matrix, layer.weight_hh_l1_reverse.detach().numpy()[8:])
    (wide,) = (m for m in named_matrices(layer) if m.name == "weight_ih_l1_reverse[z]")
    assert wide.matrix.shape == (4, 8)


class Reader(nn.Module):
    """A bit of everything that a classifier of text has."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.conv = nn.Conv1d(6, 5, 3)
        self.deconv = nn.ConvTranspose1d(5, 7, 2)
        self.norm = nn.LayerNorm((2, 3))
        self.batch = nn.BatchNorm1d(5)
        self.attention = nn.MultiheadAttention(6, 2)
        self.rnn = nn.LSTM(6, 4)
        self.head = nn.Linear(4, 3)


def test_every_kind_of_layer_has_its_role() -> None:
    model = Reader()
    found = named_matrices(model)
    assert found.unrecognised == []
    roles = {m.name: (m.role, m.matrix.shape) for m in found if "rnn" not in m.name}
    assert roles == {
        "words.weight": ("embedding", (6, 11)),
        "conv.weight": ("convolution", (5, 18)),
        "deconv.weight": ("convolution", (7, 10)),
        "attention.in_proj_weight[q]": ("attention", (6, 6)),
        "attention.in_proj_weight[k]": ("attention", (6, 6)),
        "attention.in_proj_weight[v]": ("attention", (6, 6)),
        "attention.out_proj.weight": ("attention", (6, 6)),
        "head.weight": ("linear", (3, 4)),
    }
    by_name = {m.name: m for m in found}
    one_hot = torch.zeros(11).index_fill(0, torch.tensor(3), 1)
    np.testing.assert_array_equal(
        by_name["words.weight"].matrix @ one_hot.numpy(), model.words(torch.tensor(3)).detach().numpy()
    )
    patch = torch.randn(1, 6, 3)
    ours = by_name["conv.weight"].matrix @ patch.flatten().numpy() + model.conv.bias.detach().numpy()
    np.testing.assert_allclose(ours, model.conv(patch).detach().numpy().ravel(), atol=1e-6)
    column = torch.randn(1, 5, 1)
    spread = by_name["deconv.weight"].matrix.reshape(7, 5, 2)  # (out, in, kernel)
    ours = (
        np.einsum("oik,i->ok", spread, column.flatten().numpy()) + model.deconv.bias.detach().numpy()[:, None]
    )
    np.testing.assert_allclose(ours, model.deconv(column).detach().numpy()[0], atol=1e-6)
    np.testing.assert_array_equal(
        by_name["attention.in_proj_weight[k]"].matrix, model.attention.in_proj_weight.detach().numpy()[6:12]
    )


def test_attention_of_unequal_widths_has_three_matrices() -> None:
    found = named_matrices(nn.MultiheadAttention(4, 2, kdim=3, vdim=5))
    assert [(m.name, m.role) for m in found][:3] == [(f"{p}_proj_weight", "attention") for p in "qkv"]
    assert [m.matrix.shape for m in found][:3] == [(4, 4), (4, 3), (4, 5)]
    assert found.unrecognised == []


def summary(found: NamedMatrices) -> list[tuple[Any, ...]]:
    return [(m.name, m.layer, m.direction, m.gate, m.role, m.matrix.tobytes()) for m in found]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_do_not_change_names(prefix: str) -> None:
    state = nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 2)).state_dict()
    wrapped = named_matrices({f"{prefix}{key}": value for key, value in state.items()})
    assert summary(wrapped) == summary(named_matrices(state))
    assert wrapped[0].origin == f"state_dict: {prefix}0.weight"


def test_inner_compiled_modules_lose_their_wrapper_too() -> None:
    state = {f"encoder._orig_mod.{key}": value for key, value in nn.GRU(4, 2).state_dict().items()}
    assert named_matrices(state)[0].name == "encoder.weight_ih_l0[r]"


def test_two_keys_that_differ_by_a_wrapper_are_both_read() -> None:
    W = torch.eye(2)
    found = named_matrices({"a.weight": W, "module.a.weight": 2 * W})
    assert [(m.name, m.matrix[0, 0]) for m in found] == [("a.weight", 1.0), ("module.a.weight", 2.0)]


def test_modules_state_dicts_and_files_agree(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 2, num_layers=2, bidirectional=True, proj_size=1))
    expected = summary(named_matrices(model))
    assert summary(named_matrices(model.state_dict())) == expected
    torch.save(model.state_dict(), tmp_path / "a.pt")
    optimiser = torch.optim.Adam(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimiser.step()
    model.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))
    nested = {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer": optimiser.state_dict(),
        "loss": 0.5,
    }
    torch.save(nested, tmp_path / "b.pth")
    np.savez(tmp_path / "c.npz", **{key: value.numpy() for key, value in model.state_dict().items()})
    for name in ("a.pt", "b.pth", "c.npz"):
        assert summary(named_matrices(tmp_path / name)) == expected
        assert summary(named_matrices(str(tmp_path / name))) == expected
    assert named_matrices(tmp_path / "a.pt").unrecognised == []
    assert named_matrices(tmp_path / "b.pth").unrecognised == [
        ("optimizer", "state of an optimiser or scheduler, not weights")
    ]
    assert named_matrices(tmp_path / "a.pt")[0].origin == "a.pt: 0.weight"


def test_our_own_checkpoints_are_read(tmp_path: Path) -> None:
    task, model = load_task("digits"), build_model(ModelConfig("gru", features=8, steps=8, hidden=4))
    record = train(model, task, config=TrainingConfig(epochs=0))
    save_checkpoint(tmp_path / "m.pt", model, task=task, record=record)
    found = named_matrices(tmp_path / "m.pt")
    assert summary(found) == summary(named_matrices(model))
    assert found.unrecognised == []


def test_several_networks_in_one_file_keep_their_names() -> None:
    parts = {"generator": nn.Linear(2, 3).state_dict(), "critic": {"net": nn.Linear(3, 1).state_dict()}}
    assert [m.name for m in named_matrices(parts)] == ["generator.weight", "critic.net.weight"]


def test_lone_arrays_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "W.npy", np.eye(3, dtype=np.float32))
    torch.save(torch.eye(2), tmp_path / "weight.pt")
    np.savez(tmp_path / "many.npz", kernel=np.ones((2, 3)), bias=np.ones(3), cube=np.ones((2, 2, 2)))
    (W,) = named_matrices(tmp_path / "W.npy")
    assert (W.name, W.role, W.matrix.dtype) == ("W", "linear", np.float64)
    assert W.origin == "W.npy: W, taken as (out, in)"
    (weight,) = named_matrices(tmp_path / "weight.pt")
    assert weight.matrix.shape == (2, 2)
    many = named_matrices(tmp_path / "many.npz")
    assert [m.name for m in many] == ["kernel"]
    assert [key for key, _ in many.unrecognised] == ["cube"]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_other_precisions_are_widened_exactly(dtype: torch.dtype) -> None:
    W = torch.randn(3, 3).to(dtype)
    (found,) = named_matrices({"weight_hh": W})
    assert found.matrix.dtype == np.float64
    np.testing.assert_array_equal(found.matrix, W.double().numpy())


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("weight", torch.tensor([[1.0, torch.nan], [0, 0]]), "1 NaN or infinite entries"),
        ("weight", torch.zeros(0, 3), r"empty, shape \(0, 3\)"),
        ("weight", torch.zeros(2, 2, dtype=torch.int8), "numbers of type int8, not real weights"),
        ("weight", torch.full((2, 2), torch.nan).to(torch.float8_e4m3fn), "4 NaN or infinite entries"),
        (
            "weight",
            torch.zeros(2, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
            "numbers of type float4_e2m1fn_x2, which torch cannot widen",
        ),
        ("weight", torch.zeros(1, 1, 1, 1, 1, 1), "is not that of one matrix; pass its slices"),
        ("mask", torch.zeros(2, 2, dtype=torch.bool), "numbers of type bool"),
        ("weight", torch.zeros(2, 2, dtype=torch.complex64), "numbers of type complex64"),
        ("weight", torch.zeros(2, 2, device="meta"), "meta"),
        ("W", torch.zeros(2, 2), "its name follows no convention; pass {'weight_hh': W}"),
        ("weight_hh_l0", torch.zeros(5, 3), r"weight_hh has shape \(5, 3\), which is none of nn\.RNN"),
        ("weight_hh_l0", torch.zeros(6, 3), r"weight_hh has shape \(6, 3\)"),
        ("weight_hh_l0", torch.zeros(3, 3, 3), r"weight_hh has shape \(3, 3, 3\)"),
        ("weight_ih_l0", torch.zeros(3, 3), "weight_hh of the same layer is missing or unusable"),
        ("a", [torch.zeros(2, 2)], "a list of tensors without names"),
        ("a", np.array(["x"]), "an array of dtype <U1, not of numbers"),
    ],
)
def test_what_is_not_understood_is_listed_with_its_reason(key: str, value: object, reason: str) -> None:
    found = named_matrices({key: value, "head.weight": torch.eye(2)})
    assert [m.name for m in found] == ["head.weight"]
    ((listed, why),) = found.unrecognised
    assert listed == key
    with pytest.raises(ValueError, match=reason):
        raise ValueError(why)


def test_layers_that_do_not_fit_together_are_listed() -> None:
    state = nn.LSTM(5, 4, proj_size=3).state_dict()
    wrong = state | {"weight_hr_l0": torch.zeros(2, 4)}
    assert len(named_matrices(wrong)) == 0
    assert [key for key, _ in named_matrices(wrong).unrecognised] == [
        "weight_ih_l0",
        "weight_hh_l0",
        "weight_hr_l0",
    ]
    wrong = nn.GRU(5, 4).state_dict() | {"weight_ih_l0": torch.zeros(4, 5)}
    assert named_matrices(wrong).unrecognised == [
        ("weight_ih_l0", "shape (4, 5) does not fit 3 gates of width 4")
    ]


def test_modules_that_are_no_matrices_are_listed() -> None:
    model = nn.Sequential(nn.Bilinear(2, 3, 4), nn.ConvTranspose1d(4, 4, 2, groups=2))
    assert named_matrices(model).unrecognised == [
        ("0.weight", "a bilinear form is no matrix"),
        ("1.weight", "a transposed convolution in groups is not read yet"),
    ]


def test_every_tensor_of_two_dimensions_is_read_or_listed() -> None:
    model = nn.ModuleList(
        [Reader(), nn.GRU(3, 3, bidirectional=True), nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))]
    )
    found = named_matrices(model)
    keys = {key for key, value in model.state_dict().items() if value.ndim > 1} - {
        "0.norm.weight",
        "0.norm.bias",
    }
    read = {key for key in keys if any(re.search(rf"\b{re.escape(key)}\b", m.origin) for m in found)}
    assert read | {key for key, _ in found.unrecognised} == keys
    assert not read & {key for key, _ in found.unrecognised}


def test_the_source_comes_back_untouched() -> None:
    model = nn.GRU(3, 3).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for record in named_matrices(model):
        record.matrix[:] = 7.0  # ours to change, not a view of the model
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training


def test_a_collection_is_a_sequence_that_prints() -> None:
    found = named_matrices(nn.GRU(2, 2).state_dict() | {"W": torch.zeros(2, 2)})
    assert isinstance(found[0], NamedMatrix)
    assert [m.gate for m in found[3:]] == list("rzn")
    assert isinstance(found[3:], NamedMatrices)
    assert found[3:].unrecognised == found.unrecognised
    lines = repr(found).splitlines()
    assert lines[0] == "6 matrices, 1 entries not understood"
    assert lines[4] == "  weight_hh_l0[r]: recurrent, 2 x 2"
    assert lines[-1].startswith("  not understood: W: ")
    assert repr(found[0]) == "NamedMatrix(weight_ih_l0[r], input, 2 x 2)"


@pytest.mark.parametrize("source", [3, None, [torch.eye(2)], torch.eye(2), np.eye(2)])
def test_what_is_no_model_is_refused(source: object) -> None:
    with pytest.raises(UnsupportedModelError, match=r"source is a .*; expected a torch\.nn\.Module"):
        named_matrices(source)


@pytest.mark.parametrize("source", [{}, {"epoch": 3, "name": "run"}, nn.ReLU()])
def test_what_holds_no_tensor_is_refused(source: object) -> None:
    with pytest.raises(UnsupportedModelError, match="holds no tensors"):
        named_matrices(source)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"x")
    with pytest.raises(
        UnsupportedModelError, match=r"suffix '\.h5'; expected one of \.pt, \.pth, \.npz, \.npy"
    ):
        named_matrices(tmp_path / "model.h5")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UnsupportedModelError, match="holds a list; expected a state_dict"):
        named_matrices(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError):
        named_matrices(tmp_path / "absent.npy")


@pytest.mark.parametrize("name", ["W.npy", "W.npz", "W.pt"])
@pytest.mark.parametrize("keep", [0, 5, 60, -10])
def test_damaged_files_are_refused(name: str, keep: int, tmp_path: Path) -> None:
    path = tmp_path / name
    {"W.npy": np.save, "W.npz": np.savez}.get(name, lambda p, _: torch.save({"weight": torch.eye(9)}, p))(
        path, np.eye(9)
    )
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=str(name)):
        named_matrices(path)


@pytest.mark.parametrize("name", ["W.npy", "W.npz", "W.pt"])
def test_files_with_wrong_bytes_are_refused_or_read(name: str, tmp_path: Path) -> None:
    path, random = tmp_path / name, np.random.default_rng(0)
    {"W.npy": np.save, "W.npz": np.savez_compressed}.get(
        name, lambda p, _: torch.save({"weight": torch.eye(9)}, p)
    )(path, np.eye(9))
    whole, refused = path.read_bytes(), 0
    for _ in range(150):
        content = bytearray(whole)
        for place in random.integers(len(whole), size=3):
            content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            named_matrices(path)
        except (ValueError, UnsupportedModelError):
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("name", ["W.npy", "W.npz"])
def test_pickled_arrays_are_refused(name: str, tmp_path: Path) -> None:
    array = np.array([{"a": 1}], dtype=object)
    (np.save if name == "W.npy" else np.savez)(tmp_path / name, array)
    with pytest.raises(ValueError, match=r"is no readable \.np. file of numbers"):
        named_matrices(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("tanh", "weight_hh_l0"),
        ("gru", "weight_hh_l0[n]"),
        ("lstm", "weight_hh_l0[g]"),
        ("feedforward", "hidden.weight"),
    ],
)
def test_the_candidate_is_the_matrix_that_carries_the_state(cell: str, name: str) -> None:
    model = build_model(
        ModelConfig(cell, features=8, steps=4, hidden=32)
    )  # 8 * 4 = 32: embed is square as well
    assert candidate_matrix(model).name == name


def test_candidates_of_other_models() -> None:
    assert candidate_matrix(nn.Sequential(nn.Linear(3, 4), nn.GRU(4, 2))).name == "1.weight_hh_l0[n]"
    assert candidate_matrix(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))).name == "1.weight"
    with pytest.raises(
        UnsupportedModelError, match=r"model has 2 matrices .*weight_hh_l0, weight_hh_l1.*choose from"
    ):
        candidate_matrix(nn.RNN(3, 3, num_layers=2))
    with pytest.raises(UnsupportedModelError, match=r"model has 0 matrices that carry its state \(none\)"):
        candidate_matrix(nn.Linear(3, 4))


def test_sources_know_where_they_come_from() -> None:
    table = read_source(nn.Linear(2, 3))
    assert table.origin == "Linear"
    assert table.kinds == {"weight": "linear"}
    assert list(table.entries) == ["weight", "bias"]


def test_a_matrix_is_found_by_name() -> None:
    found = named_matrices(nn.GRU(3, 4))
    assert found["weight_hh_l0[n]"] is next(m for m in found if m.gate == "n" and m.role == "recurrent")
    with pytest.raises(KeyError, match=r"no matrix is named 'weight'; there are weight_ih_l0"):
        found["weight"]


def test_dictionaries_that_hold_themselves_come_to_an_end():
    endless = {"weight": torch.eye(2)}
    endless["again"] = endless
    deep = {"weight": torch.eye(2)}
    for _ in range(3000):
        deep = {"m": deep}
    assert named_matrices(endless).unrecognised == [("again", "dictionaries within dictionaries without end")]
    with pytest.raises(UnsupportedModelError, match="holds no tensors"):
        named_matrices(deep)


def test_an_archive_with_objects_gives_no_bad_advice(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([None]))
    with pytest.raises(ValueError, match="it holds Python objects, or is damaged") as caught:
        named_matrices(tmp_path / "a.npz")
    assert "allow_pickle" not in str(caught.value)


def steps_of_a_leaky_cell(W: np.ndarray, leak: float, h: np.ndarray) -> np.ndarray:
    return (1 - leak) * h + leak * W @ h


@pytest.mark.parametrize("leak", [0.1, 0.7, 1.0])
def test_leaky_cells_give_the_operator_of_their_linear_step(leak: float) -> None:
    layer = nn.RNN(5, 4, num_layers=2, bidirectional=True).double()
    plain, found = named_matrices(layer), named_matrices(layer, leak=leak)
    assert [(m.role, m.layer, m.direction) for m in found] == [(m.role, m.layer, m.direction) for m in plain]
    for ours, W in zip(found, plain, strict=True):
        assert ours.dynamics == "discrete"
        if W.role != "recurrent":
            assert (ours.name, ours.origin) == (W.name, W.origin)
            continue
        assert ours.name == f"{1 - leak:.6g} I + {leak:.6g} {W.name}"
        assert ours.origin == f"{W.origin}, leak {leak}"
        expected = steps_of_a_leaky_cell(W.matrix, leak, H)
        np.testing.assert_allclose(ours.matrix @ H, expected, rtol=1e-13)
        at_zero = np.linalg.eigvals(ours.matrix)
        shifted = 1 - leak + leak * np.linalg.eigvals(W.matrix)
        np.testing.assert_allclose(np.sort_complex(at_zero), np.sort_complex(shifted), atol=1e-12)


@pytest.mark.parametrize("leak", [None, 0.2])
def test_euler_steps_give_the_rate_of_change(leak: float | None) -> None:
    W = np.random.default_rng(0).normal(size=(4, 4))
    (found,) = named_matrices({"weight_hh": W}, dt=0.01, leak=leak)
    tau = 0.01 / (leak or 1.0)
    assert found.dynamics == "continuous"
    assert found.name == f"(weight_hh - I) / {tau:g}"
    assert found.origin == f"state_dict: weight_hh, dt 0.01, leak {leak or 1.0}"
    np.testing.assert_array_equal(found.matrix, (W - np.eye(4)) / tau)
    step = steps_of_a_leaky_cell(W, leak or 1.0, H)  # h + dt A h
    np.testing.assert_allclose(H + 0.01 * found.matrix @ H, step, rtol=1e-12)


def test_gated_layers_beside_a_leaky_cell_stay_as_they_are() -> None:
    model = nn.Sequential(nn.RNN(3, 4), nn.GRU(4, 2))
    found = named_matrices(model, leak=0.5)
    assert [m.name for m in found if m.role == "recurrent"] == [
        "0.5 I + 0.5 0.weight_hh_l0",
        *(f"1.weight_hh_l0[{gate}]" for gate in "rzn"),
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"leak": 0}, "leak is 0.*expected a number > 0"),
        ({"leak": -0.5}, "leak is -0.5; expected a number > 0"),
        ({"leak": 1.5}, "leak is 1.5; expected 0 < leak <= 1"),
        ({"leak": np.nan}, "leak"),
        ({"dt": 0.0}, "dt is 0.0; expected a number > 0"),
        ({"dt": np.inf}, "dt"),
        (
            {"dt": 1e-320},
            r"dt is 1e-320: \(weight_hh_l0 - I\) / .* overflows float64; measure time in smaller",
        ),
        ({"orientation": "rows"}, "orientation"),
        (
            {"orientation": "out_in"},
            r"orientation 'out_in' has no use: source \(RNN\) holds no array of an .npz",
        ),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        named_matrices(nn.RNN(3, 4), **options)
    with pytest.raises(TypeError, match=r"leak"):
        named_matrices(nn.RNN(3, 4), leak="much")  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["leak", "dt"])
@pytest.mark.parametrize("source", [nn.GRU(3, 4), nn.Linear(3, 3), {"W": np.eye(2)}], ids=type)
def test_options_without_an_ungated_cell_are_refused(option: str, source: Any) -> None:
    with pytest.raises(ValueError, match=rf"{option} has no use: .* the one that is meant by recurrent="):
        named_matrices(source, **{option: 0.5})


def test_arrays_are_turned_where_their_orientation_is_told(tmp_path: Path) -> None:
    W, named = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    np.savez(tmp_path / "a.npz", kernel=W, **{"fc.weight": named}, weight_hh=np.eye(2))
    plain = named_matrices(tmp_path / "a.npz")
    told = named_matrices(tmp_path / "a.npz", orientation="out_in")
    turned = named_matrices(tmp_path / "a.npz", orientation="in_out")
    assert summary(plain) == summary(told)
    np.testing.assert_array_equal(turned["kernel"].matrix, W.T)
    assert turned["kernel"].shape == (3, 2)
    assert turned["fc.weight"].shape == (2, 3)
    assert plain["kernel"].origin == told["kernel"].origin == "a.npz: kernel, taken as (out, in)"
    assert turned["kernel"].origin == "a.npz: kernel, taken as (in, out)"
    assert plain["fc.weight"].origin == "a.npz: fc.weight"
    with pytest.raises(ValueError, match="has no use"):
        named_matrices({"W": W}, orientation="in_out")


def test_kinds_of_a_source_tell_the_orientation(monkeypatch: pytest.MonkeyPatch) -> None:
    W = torch.arange(6.0).reshape(2, 3)
    kinds = {"a.weight": "transposed linear", "b.weight": "embedding", "c.weight": "linear"}
    table = Tensors("file", {key: stored_tensor(W) for key in kinds}, kinds, [])
    monkeypatch.setattr("rnn.weights.read_source", lambda _: table)
    found = named_matrices("file")
    assert [(m.role, m.shape) for m in found] == [
        ("linear", (3, 2)),
        ("embedding", (3, 2)),
        ("linear", (2, 3)),
    ]
    np.testing.assert_array_equal(found[0].matrix, W.T)
    assert all(m.matrix.shape == m.shape and m.matrix.flags.c_contiguous for m in found)


def test_tensors_are_read_one_after_the_other_and_again_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    living, reads = weakref.WeakSet(), []

    def stored(name: str) -> Stored:
        def read() -> torch.Tensor:
            assert not living, "the tensor before is still held"
            reads.append(name)
            tensor = torch.ones(6, 2)
            living.add(tensor)
            return tensor

        return Stored((6, 2), "float32", read, "part 1 of 2")

    names = ["weight_hh_l0", "weight_ih_l0", "head.weight"]
    table = Tensors("file", {name: stored(name) for name in names}, {}, [])
    monkeypatch.setattr("rnn.weights.read_source", lambda _: table)
    found = named_matrices("file")
    assert reads == names
    assert (len(found), repr(found)[:10], found[1].shape) == (7, "7 matrices", (2, 2))
    assert reads == names
    first, second = found[1].matrix, found[1].matrix
    assert reads == [*names, "weight_hh_l0", "weight_hh_l0"]
    assert not np.shares_memory(first, second)
    assert found[1].origin == "file: weight_hh_l0[2:4] (part 1 of 2)"


def test_files_that_change_after_they_were_opened_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [torch.eye(2)]
    table = Tensors("W.npy", {"weight": Stored((2, 2), "float32", lambda: now[0])}, {}, [])
    monkeypatch.setattr("rnn.weights.read_source", lambda _: table)
    (record,) = named_matrices("W.npy")
    for changed in (torch.eye(3), torch.full((2, 2), torch.nan)):
        now[0] = changed
        with pytest.raises(
            ValueError, match=r"weight from W\.npy: weight no longer holds 2 x 2 finite numbers"
        ):
            _ = record.matrix


def test_embeddings_are_known_by_their_names() -> None:
    W = torch.ones(5, 2)
    found = named_matrices(
        {"wte.weight": W, "word_embeddings.weight": W, "tok_emb.weight": W, "member.weight": W}
    )
    assert [m.role for m in found] == ["embedding", "embedding", "embedding", "linear"]


def test_the_caller_says_which_arrays_are_recurrent(tmp_path: Path) -> None:
    W, other = np.arange(4.0).reshape(2, 2), np.ones((2, 3))
    np.savez(tmp_path / "rates.npz", W_rec=W, W_in=other)
    found = named_matrices(tmp_path / "rates.npz", recurrent="W_rec", orientation="in_out")
    assert [(m.name, m.role) for m in found] == [("W_rec", "recurrent"), ("W_in", "linear")]
    np.testing.assert_array_equal(found["W_rec"].matrix, W.T)
    leaky = named_matrices(tmp_path / "rates.npz", recurrent=["W_rec"], leak=0.5)
    np.testing.assert_array_equal(leaky[0].matrix, 0.5 * np.eye(2) + 0.5 * W)
    assert named_matrices({"J": torch.eye(2)}, recurrent="J")[0].role == "recurrent"
    np.savez(tmp_path / "torch.npz", weight_hh=W)
    turned = named_matrices(tmp_path / "torch.npz", recurrent="weight_hh", orientation="in_out")
    np.testing.assert_array_equal(turned[0].matrix, W.T)
    for name, words in {
        "missing": "does not hold; it holds W_rec, W_in",
        "W_in": "expected a square matrix",
    }.items():
        with pytest.raises(ValueError, match=words):
            named_matrices(tmp_path / "rates.npz", recurrent=name)


def test_biases_between_slashes_are_biases(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", **{"gru/kernel": np.ones((3, 2)), "gru/bias": np.zeros((2, 6))})
    assert [m.name for m in named_matrices(tmp_path / "k.npz")] == ["gru/kernel"]
