"""Weights that stand in several tensors are those that torch computes from them, in modules and in files."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from rnn.reading.factors import whole_weights
from rnn.reading.tensors import Tensors, stored_tensor
from rnn.weights import NamedMatrices, named_matrices


def old_weight_norm(layer: nn.Module, name: str = "weight", dim: int | None = 0) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer, name, dim)


def random_mask(layer: nn.Module, name: str = "weight") -> nn.Module:
    return prune.random_unstructured(layer, name, 0.4)


def trained(layer: nn.Module) -> nn.Module:
    """A layer whose parameters have moved since it was split, and whose vectors have followed for a step."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=random)
    return layer


SPLITS: dict[str, Callable[..., nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "old weight_norm": old_weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "pruning": random_mask,
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(5, 3),
    "square": lambda: nn.Linear(4, 4),
    "convolution": lambda: nn.Conv2d(3, 4, 2),
    "transposed convolution": lambda: nn.ConvTranspose1d(3, 4, 2),
    "square transposed convolution": lambda: nn.ConvTranspose1d(4, 4, 2),
}


def effective(layer: nn.Module, name: str = "weight") -> torch.Tensor:
    """The weight in evaluation mode, by the module itself."""
    mode = layer.training
    layer.eval()
    for hook in layer._forward_pre_hooks.values():
        hook(layer, ())
    weight = getattr(layer, name).detach().clone()
    layer.train(mode)
    return weight


def as_matrix(weight: torch.Tensor, layer: nn.Module) -> np.ndarray:
    axis = 1 if isinstance(layer, nn.ConvTranspose1d) else 0
    return weight.movedim(axis, 0).flatten(1).double().numpy()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("layer", LAYERS)
def test_split_weights_are_those_of_evaluation_mode(split: str, layer: str) -> None:
    model = trained(SPLITS[split](LAYERS[layer]()))
    expected = as_matrix(effective(model), model)
    (live,) = named_matrices(model)
    assert live.name == "weight"
    np.testing.assert_array_equal(live.matrix, expected)
    factors = [key for key in model.state_dict() if "bias" not in key]
    assert live.origin.endswith(f": weight ({', '.join(factors)})")
    if layer == "linear":  # the others need the class of the layer
        state = model.state_dict()
        (record,) = named_matrices(state)
        assert record.name == "weight"
        np.testing.assert_array_equal(record.matrix, expected)
        assert all(key in record.origin for key in factors)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("layer", ["convolution", "transposed convolution", "square transposed convolution"])
def test_files_that_tell_the_layer_are_read_as_the_module(split: str, layer: str) -> None:
    model = trained(SPLITS[split](LAYERS[layer]()))
    entries = {key: stored_tensor(value) for key, value in model.state_dict().items()}
    kind = layer.removeprefix("square ")
    weights, unrecognised = whole_weights(Tensors("file", entries, {"weight": kind}, []))
    assert unrecognised == []
    assert weights["weight"].kind == kind
    assert torch.equal(weights["weight"].stored.read(), effective(model))


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, old_weight_norm])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_any_axis_of_weight_norm(norm: Callable[..., nn.Module], dim: int | None) -> None:
    model = trained(norm(nn.Linear(5, 3), "weight", dim))
    (record,) = named_matrices(model.state_dict())
    np.testing.assert_array_equal(record.matrix, effective(model).double().numpy())
    lengths = np.linalg.norm(record.matrix, axis={0: 1, 1: 0, None: None}[dim])
    g = next(value for key, value in model.state_dict().items() if key.endswith(("_g", "original0")))
    np.testing.assert_allclose(lengths, np.abs(g.numpy().squeeze()), rtol=1e-6)


CELLS = {
    "spectral_norm": lambda layer: parametrizations.spectral_norm(layer, "weight_hh_l0"),
    "weight_norm": lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
    "old weight_norm": lambda layer: old_weight_norm(layer, "weight_hh_l0"),
    "pruning": lambda layer: random_mask(layer, "weight_hh_l0"),
}


@pytest.mark.parametrize("split", CELLS)
@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_gates_of_split_recurrent_weights(split: str, cell: type[nn.Module]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cuDNN's advice about contiguous weights
        model = CELLS[split](cell(3, 4))
        weight = effective(model, "weight_hh_l0").double().numpy()
        for source in (model, model.state_dict()):
            found = named_matrices(source)
            recurrent = [record for record in found if record.role == "recurrent"]
            assert len(recurrent) == {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}[cell]
            np.testing.assert_array_equal(np.vstack([record.matrix for record in recurrent]), weight)
            assert found.unrecognised == []
            assert "weight_hh_l0" in recurrent[0].origin.partition("(")[2]


def test_dropped_connections_stand_under_raw() -> None:
    """fastai keeps weight_hh_l0_raw in the wrapper, and the rest in the layer inside."""
    state = nn.LSTM(3, 4).state_dict()
    moved = {f"rnn.module.{key}": value for key, value in state.items() if key != "weight_hh_l0"}
    found = named_matrices({"rnn.weight_hh_l0_raw": state["weight_hh_l0"]} | moved)
    assert found.unrecognised == []
    matrices = {record.name: record.matrix for record in found}
    for record in named_matrices(state):
        np.testing.assert_array_equal(matrices[f"rnn.{record.name}"], record.matrix)
    both = named_matrices({**state, "weight_hh_l0_raw": 2 * state["weight_hh_l0"]})
    assert both.unrecognised == [
        ("weight_hh_l0", "stands beside weight_hh_l0_raw, from which it is computed")
    ]
    np.testing.assert_array_equal(both["weight_hh_l0[o]"].matrix, 2 * matrices["rnn.weight_hh_l0[o]"])


REASON = "a factor of a parametrised weight, which needs its partners or its module"


def test_what_needs_its_module_is_listed_without_it() -> None:
    model = parametrizations.orthogonal(nn.Linear(4, 3))
    (live,) = named_matrices(model)
    np.testing.assert_allclose(live.matrix @ live.matrix.T, np.eye(3), atol=1e-6)
    found = named_matrices(model.state_dict() | {"head.weight": torch.eye(2)})
    assert [record.name for record in found] == ["head.weight"]
    assert [key for key, _ in found.unrecognised] == [
        "parametrizations.weight.original",
        "parametrizations.weight.0.base",
    ]
    assert all(reason.startswith(REASON) for _, reason in found.unrecognised)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"a.weight_v": (3, 2)}, REASON),
        ({"a.weight_g": (3, 1)}, REASON),
        ({"a.weight_orig": (3, 2)}, REASON),
        ({"a.weight_orig": (3, 2), "a.weight_u": (3,)}, REASON),
        ({"a.weight_orig": (3, 2), "a.weight_mask": (2, 2)}, REASON),
        ({"a.parametrizations.weight.original": (3, 2)}, REASON),
        ({"a.parametrizations.weight.original0": (3, 2)}, REASON),
        ({"a.parametrizations.weight.original": (3, 2), "a.parametrizations.weight.1._u": (3,)}, REASON),
        ({"a.weight_g": (2, 1), "a.weight_v": (3, 2)}, r"shapes \(2, 1\) and \(3, 2\) are not those of wei"),
        (
            {"a.weight_orig": (3, 2), "a.weight_u": (3,), "a.weight_v": (3,)},
            r"shapes \(3, 2\), \(3,\) and \(3,\) are not those of spectral_norm",
        ),
    ],
)
def test_factors_without_partners_are_listed(state: dict[str, tuple[int, ...]], reason: str) -> None:
    found = named_matrices(
        {key: torch.ones(shape) for key, shape in state.items()} | {"weight": torch.eye(2)}
    )
    assert [record.name for record in found] == ["weight"]
    assert [key for key, _ in found.unrecognised] == [key for key, shape in state.items() if len(shape) > 1]
    for _, why in found.unrecognised:
        with pytest.raises(ValueError, match=reason):
            raise ValueError(why)


def test_a_factor_of_integers_is_listed() -> None:
    state = {"weight_g": torch.ones(2, 1, dtype=torch.int32), "weight_v": torch.ones(2, 2)}
    assert named_matrices(state).unrecognised == [("weight", "its factor weight_g has numbers of type int32")]


def test_a_zero_direction_is_no_matrix() -> None:
    found = named_matrices({"weight_g": torch.ones(2, 1), "weight_v": torch.zeros(2, 2)})
    assert found.unrecognised == [("weight", "4 NaN or infinite entries")]


def test_names_that_only_look_like_factors_stay_as_they_are() -> None:
    found = named_matrices({"attn_mask": torch.eye(2), "W_v": torch.eye(2), "table_raw": torch.eye(2)})
    assert [key for key, _ in found.unrecognised] == ["attn_mask", "W_v", "table_raw"]
    assert all("its name follows no convention" in reason for _, reason in found.unrecognised)


class Symmetric(nn.Module):
    def forward(self, W: torch.Tensor) -> torch.Tensor:
        return W.triu() + W.triu(1).T


class Noisy(nn.Module):
    def forward(self, W: torch.Tensor) -> torch.Tensor:
        return W + torch.randn_like(W)


class Broken(nn.Module):
    def forward(self, W: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such weight")


def everything_of(model: nn.Module) -> list[Any]:
    return [
        {key: value.clone() for key, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [list(module._forward_pre_hooks) for module in model.modules()],
        torch.get_rng_state(),
    ]


@pytest.mark.parametrize("training", [True, False])
def test_live_modules_come_back_bit_identical(training: bool) -> None:
    model = nn.Sequential(
        *(split(nn.Linear(4, 4)) for split in SPLITS.values()),
        parametrizations.spectral_norm(parametrizations.orthogonal(nn.Linear(4, 4))),
        parametrize.register_parametrization(nn.Linear(4, 4), "weight", Noisy()),
        nn.Dropout(),
    ).train(training)
    model[0].bias.requires_grad_(False)
    before = everything_of(model)
    found = named_matrices(model)
    after = everything_of(model)
    assert [record.name for record in found] == [f"{k}.weight" for k in range(7)]
    for value, old in zip(after[0].values(), before[0].values(), strict=True):
        assert torch.equal(value, old)
    assert after[1:4] == before[1:4]
    assert torch.equal(after[4], before[4])


def test_custom_and_chained_parametrisations_are_evaluated() -> None:
    layer = nn.Linear(4, 4)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrizations.spectral_norm(layer)
    (record,) = named_matrices(layer)
    np.testing.assert_array_equal(record.matrix, effective(layer).double().numpy())
    np.testing.assert_array_equal(record.matrix, record.matrix.T)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(RuntimeError):
        parametrize.register_parametrization(model[1], "weight", Broken())
    parametrize.register_parametrization(model[1], "weight", Broken(), unsafe=True)
    found = named_matrices(model)
    assert [record.name for record in found] == ["0.weight"]
    assert found.unrecognised == [("1.weight", "its parametrisation could not be evaluated (no such weight)")]


def test_a_weight_that_a_forward_pass_has_set_is_read_afresh() -> None:
    layer = old_weight_norm(nn.Linear(3, 3))
    layer(torch.ones(1, 3))
    with torch.no_grad():
        layer.weight_g *= 2
    (record,) = named_matrices(layer)
    np.testing.assert_array_equal(record.matrix, effective(layer).double().numpy())


def test_int8_of_bitsandbytes() -> None:
    W = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    largest = W.abs().amax(1)
    codes = (W / largest[:, None] * 127).round().to(torch.int8)
    state = {"fc.weight": codes, "fc.SCB": largest, "fc.weight_format": torch.tensor(0, dtype=torch.uint8)}
    (record,) = named_matrices(state)
    assert (record.name, record.role) == ("fc.weight", "linear")
    assert "fc.SCB" in record.origin
    steps = largest.double().numpy()[:, None] / 127
    np.testing.assert_allclose(record.matrix, codes.double().numpy() * steps, rtol=1e-6)
    assert (np.abs(record.matrix - W.double().numpy()) <= 0.5001 * steps).all()
    ((key, reason),) = named_matrices(state | {"fc.weight_format": torch.tensor(2)}).unrecognised
    assert key == "fc.weight"
    assert "layout of the GPU" in reason


@pytest.mark.parametrize("shape", [(), (1,), (6,), (6, 1), (1, 4), (3, 2), (6, 4)])
@pytest.mark.parametrize("name", ["weight_scale", "weight_scale_inv", "scale", "scale_weight"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_small_numbers_beside_scales(shape: tuple[int, ...], name: str, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    codes = torch.randint(-9, 9, (6, 4), generator=random).to(dtype)
    scale = torch.rand(shape, generator=random) + 0.5
    (record,) = named_matrices({"fc.weight": codes, f"fc.{name}": scale})
    full = scale.numpy().reshape(-1, 1) if shape == (6,) else scale.numpy()
    full = np.kron(full, np.ones((2, 2))) if shape == (3, 2) else full
    np.testing.assert_allclose(record.matrix, codes.double().numpy() * full, rtol=1e-6)


def test_zero_points_are_taken_off() -> None:
    codes = torch.tensor([[3, 5], [250, 0]], dtype=torch.uint8)
    state = {
        "weight": codes,
        "weight_scale": torch.tensor([0.5, 2.0]),
        "weight_zero_point": torch.tensor([3, 10]),
    }
    np.testing.assert_array_equal(named_matrices(state)[0].matrix, [[0, 1], [480, -20]])


def test_scales_that_do_not_fit_and_integers_without_are_listed() -> None:
    codes = torch.ones(6, 4, dtype=torch.int8)
    assert named_matrices({"weight": codes, "scale": torch.ones(4)}).unrecognised == [
        ("weight", "scales of shape (4,) do not fit weights of shape (6, 4)")
    ]
    assert named_matrices({"weight": codes}).unrecognised == [
        ("weight", "numbers of type int8, not real weights")
    ]


def test_gates_of_int8_recurrent_weights() -> None:
    codes = torch.randint(-9, 9, (12, 4), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    found: NamedMatrices = named_matrices(
        {"weight_hh_l0": codes, "weight_hh_l0_scale": torch.full((12,), 0.5)}
    )
    assert [record.gate for record in found] == list("rzn")
    np.testing.assert_array_equal(found[2].matrix, codes[8:].double().numpy() / 2)
