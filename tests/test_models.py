"""The cells agree with torch's layers, are determined by their configuration, and work under torch.func."""

import dataclasses
import functools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from rnn.models import (
    CELLS,
    FeedForward,
    ModelConfig,
    RecurrentClassifier,
    build_model,
    in_mode,
    logits,
    seeded,
)

RECURRENT = tuple(cell for cell in CELLS if cell != "feedforward")
LAYERS = {
    "tanh": nn.RNN,
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "relu": functools.partial(nn.RNN, nonlinearity="relu"),
    "orthogonal": nn.RNN,
    "nnrnn": nn.RNN,
}


def disturbed(config: ModelConfig) -> RecurrentClassifier:
    """A model whose every parameter, biases included, is non-zero."""
    model = RecurrentClassifier(config)
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=random)
    return model


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("hidden", [1, 7, 32])
def test_cells_agree_with_torch(cell: str, hidden: int) -> None:
    model = disturbed(ModelConfig(cell, features=5, steps=9, hidden=hidden, classes=4))
    layer = LAYERS[cell](5, hidden, batch_first=True)
    with torch.no_grad():
        layer.load_state_dict({key: getattr(model, key) for key in layer.state_dict()})
    x = torch.randn(11, 9, 5, generator=torch.Generator().manual_seed(1))
    state = model.initial_state(11)
    output, final = layer(x)
    for t in range(9):
        state = model.step(x[:, t], state)
        torch.testing.assert_close(state[:, :hidden], output[:, t], atol=2e-6, rtol=2e-6)
    if cell == "lstm":
        torch.testing.assert_close(state[:, hidden:], final[1][0], atol=4e-6, rtol=0)
    torch.testing.assert_close(model(x), model.head(output[:, -1]), atol=2e-6 * hidden, rtol=2e-6)


def test_the_feed_forward_net_is_what_its_docstring_says() -> None:
    model = build_model(ModelConfig("feedforward", features=3, steps=4, hidden=6, classes=5, seed=2))
    x = torch.randn(7, 4, 3)
    first = torch.clamp(x.reshape(7, 12) @ model.embed.weight.T + model.embed.bias, min=0)
    second = torch.clamp(first @ model.hidden.weight.T + model.hidden.bias, min=0)
    torch.testing.assert_close(model(x), second @ model.head.weight.T + model.head.bias)
    assert model.hidden.weight.shape == (6, 6)


@pytest.mark.parametrize("cell", CELLS)
def test_a_configuration_determines_the_weights_and_nothing_global(cell: str) -> None:
    config = ModelConfig(cell, features=8, steps=8, seed=3)
    before = torch.random.get_rng_state()
    first = build_model(config).state_dict()
    torch.manual_seed(1234)
    second = build_model(config).state_dict()
    torch.random.set_rng_state(before)
    other = build_model(dataclasses.replace(config, seed=4)).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert build_model(config).config == config


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm", "feedforward"])
def test_gain_scales_the_square_matrices_only(cell: str) -> None:
    config = ModelConfig(cell, features=8, steps=8, hidden=300, gain=1.0)
    one, two = (build_model(dataclasses.replace(config, gain=g)).state_dict() for g in (1.0, 2.0))
    square = "hidden.weight" if cell == "feedforward" else "weight_hh_l0"
    for key in one:
        torch.testing.assert_close(two[key], one[key] * (2 if key == square else 1))
    radius = torch.linalg.eigvals(two[square][-300:]).abs().max().item()
    assert 1.8 < radius < 2.3  # circular law: the radius tends to the gain


def test_the_forget_gate_starts_open() -> None:
    bias = build_model(ModelConfig("lstm", features=2, steps=2, hidden=3)).bias_ih_l0
    assert bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6


@pytest.mark.parametrize("cell", CELLS)
def test_models_work_under_vmap_and_jacrev(cell: str) -> None:
    model = build_model(ModelConfig(cell, features=3, steps=4, hidden=5)).requires_grad_(False)
    x = torch.randn(6, 4, 3)
    jacobians = vmap(jacrev(lambda sequence: model(sequence[None])[0]))(x)
    assert jacobians.shape == (6, 10, 4, 3)
    nudged = x.clone()
    nudged[2, 1, 0] += 1e-3
    slope = (model(nudged) - model(x))[2] / 1e-3
    torch.testing.assert_close(jacobians[2, :, 1, 0], slope, atol=2e-3, rtol=0)


@pytest.mark.parametrize("cell", RECURRENT)
def test_recurrent_models_take_sequences_of_any_length(cell: str) -> None:
    model = build_model(ModelConfig(cell, features=3, steps=4))
    assert model(torch.zeros(2, 9, 3)).shape == (2, 10)


def test_configurations_are_checked() -> None:
    with pytest.raises(ValueError, match="cell is 'rnn'; expected one of 'tanh'"):
        ModelConfig("rnn", features=8, steps=8)
    for name in ("features", "steps", "hidden"):
        with pytest.raises(ValueError, match=f"{name} is 0; expected at least 1"):
            ModelConfig(**{"cell": "tanh", "features": 8, "steps": 8, name: 0})
    with pytest.raises(ValueError, match="classes is 0; expected at least 1"):
        ModelConfig("tanh", features=8, steps=8, classes=0)
    with pytest.raises(ValueError, match="readout is 'all'; expected one of 'last', 'each'"):
        ModelConfig("tanh", features=8, steps=8, readout="all")
    with pytest.raises(ValueError, match="cell 'feedforward' takes no steps; expected 'last'"):
        ModelConfig("feedforward", features=8, steps=8, readout="each")
    with pytest.raises(ValueError, match=r"cell is \['tanh'\]; expected one of"):
        ModelConfig(["tanh"], features=8, steps=8)
    with pytest.raises(TypeError, match=r"seed is 0\.5; expected a whole number"):
        ModelConfig("tanh", features=8, steps=8, seed=0.5)
    with pytest.raises(ValueError, match=r"gain is 0\.0; expected a number > 0"):
        ModelConfig("tanh", features=8, steps=8, gain=0)


def test_each_class_takes_its_own_cells() -> None:
    with pytest.raises(ValueError, match="cell is 'feedforward'"):
        RecurrentClassifier(ModelConfig("feedforward", features=8, steps=8))
    with pytest.raises(ValueError, match="cell is 'gru'"):
        FeedForward(ModelConfig("gru", features=8, steps=8))


@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 7), (2, 0, 8), (2, 3, 8, 8)])
@pytest.mark.parametrize("cell", CELLS)
def test_inputs_of_another_shape_are_refused(cell: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="x has shape"):
        build_model(ModelConfig(cell, features=8, steps=8))(torch.zeros(shape))


def test_the_feed_forward_net_refuses_another_length() -> None:
    with pytest.raises(ValueError, match="x has 9 steps; this feed-forward model was built for 8"):
        build_model(ModelConfig("feedforward", features=8, steps=8))(torch.zeros(2, 9, 8))


class Returns(nn.Module):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> object:
        return self.value


def test_logits_come_alone_or_first_in_a_tuple() -> None:
    x, scores = torch.zeros(4, 3), torch.rand(4, 2)
    assert logits(Returns(scores), x) is scores
    assert logits(Returns((scores, "state")), x) is scores
    with pytest.raises(TypeError, match="model returns str; expected logits"):
        logits(Returns("scores"), x)
    for bad in (scores[:3], scores[:, :1], scores[:, 0]):
        with pytest.raises(ValueError, match=r"expected logits \(N, C\)"):
            logits(Returns(bad), x)


def test_modes_come_back_one_by_one_without_calling_train() -> None:
    class Merging(nn.Linear):
        def train(self, mode: bool = True) -> "Merging":
            raise AssertionError("a train() with side effects was called")

    model = nn.Sequential(nn.Dropout(), Merging(2, 2), nn.Sequential(nn.Dropout()))
    model[2].training = False
    before = [module.training for module in model.modules()]

    def interrupted() -> None:
        with in_mode(model, training=False):
            assert not any(module.training for module in model.modules())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [module.training for module in model.modules()] == before


def test_randomness_is_fixed_inside_and_untouched_outside() -> None:
    model, before = nn.Linear(1, 1), torch.random.get_rng_state()
    with seeded(model, 7):
        first = torch.rand(3)

    def interrupted() -> None:
        with seeded(model, 7):
            assert torch.equal(torch.rand(3), first)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_initial_states_follow_the_weights() -> None:
    model = build_model(ModelConfig("lstm", features=2, steps=2, hidden=3)).double()
    state = model.initial_state(4)
    assert state.shape == (4, 6)
    assert state.dtype == torch.float64
    assert math.isclose(state.abs().sum().item(), 0)


@pytest.mark.parametrize("hidden", [2**40, 2**62, 2**70])
@pytest.mark.parametrize("cell", CELLS)
def test_models_beyond_memory_are_refused(cell: str, hidden: int) -> None:
    with pytest.raises(ValueError, match=f"{hidden} hidden units .* use a smaller hidden"):
        build_model(ModelConfig(cell, features=8, steps=8, hidden=hidden))


def test_seeds_beyond_the_generator_are_refused() -> None:
    with pytest.raises(ValueError, match=r"seed is .*; expected at most"):
        ModelConfig("gru", features=8, steps=8, seed=2**63)


@pytest.mark.parametrize("change", [Tensor.long, Tensor.cfloat, Tensor.to_sparse])
def test_logits_are_dense_floats(change: Callable[[Tensor], Tensor]) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return change(x)

    with pytest.raises(TypeError, match=r"model returns torch\..*; expected a dense tensor of floats"):
        logits(Odd(), torch.ones(3, 4))


@pytest.mark.parametrize(("cell", "gates"), [("tanh", 1), ("gru", 3), ("lstm", 4)])
def test_the_first_cells_start_as_they_always_did(cell: str, gates: int) -> None:
    """Bit by bit, so that an old seed still means the same network."""
    h, features, gain = 16, 8, 1.3
    random = torch.Generator().manual_seed(7)
    drawn = {
        "weight_ih_l0": 1 / math.sqrt(features) * torch.randn((gates * h, features), generator=random),
        "weight_hh_l0": gain / math.sqrt(h) * torch.randn((gates * h, h), generator=random),
        "head.weight": 1 / math.sqrt(h) * torch.randn((10, h), generator=random),
    }
    old = {"cell": cell, "features": 8, "steps": 8, "hidden": h, "classes": 10, "gain": gain, "seed": 7}
    found = build_model(ModelConfig(**old)).state_dict()
    assert list(found) == [
        *("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "head.weight", "head.bias")
    ]
    assert all(torch.equal(found[key], value) for key, value in drawn.items())


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm", "antisymmetric"])
def test_an_orthogonal_start_is_gain_times_an_orthogonal_matrix(cell: str) -> None:
    config = ModelConfig(cell, features=3, steps=4, hidden=6, gain=0.5, initialisation="orthogonal", seed=7)
    model = build_model(config)
    weights = dict(model.named_parameters())
    stacked = weights.get("weight_hh_l0", weights.get("parametrizations.weight_hh_l0.original"))
    assert stacked is not None
    matrices = stacked.detach().split(6)
    for matrix in matrices:
        assert torch.allclose(matrix @ matrix.T, 0.25 * torch.eye(6), atol=1e-6)
    assert len({matrix.numpy().tobytes() for matrix in matrices}) == len(matrices)
    plain = build_model(dataclasses.replace(config, initialisation="gaussian"))
    assert torch.equal(model.weight_ih_l0, plain.weight_ih_l0)
    assert torch.equal(model.head.weight, plain.head.weight)


@pytest.mark.parametrize("cell", ["relu", "orthogonal", "nnrnn", "feedforward"])
def test_cells_that_start_in_a_way_of_their_own_take_no_initialisation(cell: str) -> None:
    with pytest.raises(ValueError, match="starts in a way of its own"):
        ModelConfig(cell, features=3, steps=4, initialisation="orthogonal")
    with pytest.raises(ValueError, match="initialisation"):
        ModelConfig("tanh", features=3, steps=4, initialisation="zeros")
