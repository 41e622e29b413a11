"""Jacobians equal finite differences in float64, and closed forms where there are any."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnn.dynamics import input_jacobian, mean_state_jacobian, state_jacobian, trajectory
from rnn.models import CELLS, ModelConfig, RecurrentClassifier, build_model
from rnn.motion.cells import unrolled_cells
from rnn.motion.drives import cell_drive, recorded_drives
from rnn.motion.jacobians import one_drive, state_jacobians
from spectra.errors import UnsupportedModelError

RECURRENT = ("tanh", "gru", "lstm")


def model_with_biases(cell: str, seed: int = 0) -> RecurrentClassifier:
    model = RecurrentClassifier(
        ModelConfig(cell, features=3, steps=6, hidden=5, classes=4, gain=1.3, seed=seed)
    )
    random = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=random)
    return model


def sequences(seed: int = 0) -> torch.Tensor:
    return torch.randn(7, 6, 3, generator=torch.Generator().manual_seed(seed))


def differences(function: object, point: torch.Tensor) -> np.ndarray:
    """Central differences in float64, column by column."""
    step = 1e-5
    columns = [
        (function(point + step * e) - function(point - step * e)) / (2 * step)
        for e in torch.eye(len(point)).double()
    ]
    return torch.stack(columns, dim=1).detach().numpy()


@pytest.mark.parametrize("cell", RECURRENT)
@given(seed=st.integers(0, 10_000))
def test_the_state_jacobian_equals_finite_differences(cell: str, seed: int) -> None:
    model = model_with_biases(cell, seed)
    random = torch.Generator().manual_seed(seed)
    state, x_t = (
        torch.randn(model.state_size, generator=random).double(),
        torch.randn(3, generator=random).double(),
    )
    twin = copy.deepcopy(model).double()
    expected = differences(lambda s: twin.step(x_t, s), state)
    ours = state_jacobian(model, state, x_t)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, expected, atol=2e-9)


def test_the_tanh_jacobian_is_its_closed_form() -> None:
    model = model_with_biases("tanh")
    state, x_t = torch.randn(5).double(), torch.randn(3).double()
    new = copy.deepcopy(model).double().step(x_t, state)
    expected = (1 - new[:, None] ** 2) * model.weight_hh_l0.double()
    np.testing.assert_allclose(state_jacobian(model, state, x_t), expected.detach().numpy(), rtol=1e-13)


def test_an_open_lstm_remembers() -> None:
    """With the forget gate wide open and the input gate shut, the cell state is handed on: dc'/dc = I."""
    model = model_with_biases("lstm")
    with torch.no_grad():
        model.bias_ih_l0.zero_()
        model.bias_ih_l0[:5], model.bias_ih_l0[5:10] = -1e3, 1e3
    J = state_jacobian(model, torch.zeros(10), torch.zeros(3))
    np.testing.assert_allclose(J[5:, 5:], np.eye(5), atol=1e-15)
    np.testing.assert_allclose(J[5:, :5], 0, atol=1e-15)


@pytest.mark.parametrize("cell", RECURRENT)
def test_the_trajectory_is_that_of_torch(cell: str) -> None:
    model, x = model_with_biases(cell), sequences()
    layer = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](3, 5, batch_first=True)
    layer.load_state_dict(
        {key: value for key, value in model.state_dict().items() if not key.startswith("head")}
    )
    states = trajectory(model, x)
    assert states.shape == (7, 6, model.state_size)
    assert states.dtype == torch.float64
    torch.testing.assert_close(states[..., :5], layer.double()(x.double())[0], atol=1e-14, rtol=0)


@pytest.mark.parametrize("cell", RECURRENT)
def test_the_mean_state_jacobian_is_at_the_mean_state_and_input(cell: str) -> None:
    model, x = model_with_biases(cell), sequences()
    twin, visited = copy.deepcopy(model).double(), []
    for sequence in x.double():
        state = torch.zeros(model.state_size).double()
        for x_t in sequence:
            state = twin.step(x_t, state)
            visited.append(state)
    mean_state, mean_input = torch.stack(visited).mean(0), x.double().reshape(-1, 3).mean(0)
    expected = differences(lambda s: twin.step(mean_input, s), mean_state)
    np.testing.assert_allclose(mean_state_jacobian(model, x), expected, atol=2e-9)


LAYERS = {
    "tanh": nn.RNN(3, 4, batch_first=True),
    "relu": nn.RNN(3, 4, batch_first=True, nonlinearity="relu"),
    "gru": nn.GRU(3, 4, batch_first=True),
    "lstm": nn.LSTM(3, 4, batch_first=True),
    "lstm with projection": nn.LSTM(3, 4, batch_first=True, proj_size=2),
    "lstm cell": nn.LSTMCell(3, 4),
}


def random_layer(kind: str) -> nn.Module:
    layer = copy.deepcopy(LAYERS[kind])
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=random))
    return layer


@pytest.mark.parametrize("kind", LAYERS)
def test_the_jacobians_along_trajectories_equal_finite_differences(kind: str) -> None:
    (cell,) = unrolled_cells(random_layer(kind), "rnn")
    initial = torch.randn(7, cell.state_size, generator=torch.Generator().manual_seed(4)).double()
    drive = cell_drive(cell, sequences(), initial=initial)
    J = state_jacobians(drive)
    assert J.shape == (7, 6, cell.state_size, cell.state_size)
    assert J.dtype == np.float64
    for n, t in ((0, 0), (2, 3), (6, 5)):
        expected = differences(lambda s, n=n, t=t: drive.cell.step(drive.inputs[n, t], s), drive.before[n, t])
        np.testing.assert_allclose(J[n, t], expected, atol=2e-9)
    whole = differences(
        lambda s: trajectory(cell_drive(cell, sequences()[:1], initial=s[None]))[0, -1], initial[0]
    )
    np.testing.assert_allclose(np.linalg.multi_dot(J[0, ::-1]), whole, atol=2e-8)


def test_the_jacobians_of_tanh_are_their_closed_form() -> None:
    layer = random_layer("tanh")
    h = trajectory(layer, sequences())
    expected = (1 - h[..., None] ** 2) * layer.weight_hh_l0.detach().double()
    np.testing.assert_allclose(state_jacobians(layer, sequences()), expected, rtol=1e-13, atol=1e-16)


def test_small_pieces_of_memory_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = random_layer("gru")
    whole = state_jacobians(layer, sequences())
    for entries in (1, 40, 16 * 7 * 2):
        monkeypatch.setattr("rnn.motion.jacobians._AT_ONCE", entries)
        np.testing.assert_allclose(state_jacobians(layer, sequences()), whole, rtol=1e-13, atol=1e-15)


def test_behind_the_end_of_a_sequence_the_jacobian_is_the_identity() -> None:
    (cell,) = unrolled_cells(random_layer("gru"), "rnn")
    drive = cell_drive(cell, sequences(), lengths=[6, 2, 1, 3, 4, 5, 6])
    J, whole = state_jacobians(drive), state_jacobians(cell, sequences())
    taken = drive.taken.numpy()
    np.testing.assert_allclose(J[taken], whole[taken], rtol=1e-13, atol=1e-15)
    assert (J[~taken] == np.eye(4)).all()
    mean = differences(
        lambda s: drive.cell.step(drive.inputs[drive.taken].mean(0), s), drive.states[drive.taken].mean(0)
    )
    np.testing.assert_allclose(mean_state_jacobian(drive), mean, atol=2e-9)


def test_networks_with_one_layer_of_torch_are_taken_as_they_are() -> None:
    layer = random_layer("lstm")
    network = nn.Sequential(nn.Linear(2, 3), layer)
    x = torch.randn(5, 6, 2, generator=torch.Generator().manual_seed(1))
    inputs = copy.deepcopy(network[0]).double()(x.double()).detach()
    (cell,) = unrolled_cells(layer)
    for measure in (trajectory, mean_state_jacobian, state_jacobians):
        np.testing.assert_allclose(measure(network, x), measure(cell, inputs), atol=1e-13)
    state, x_t = torch.ones(8), torch.ones(3)
    np.testing.assert_array_equal(state_jacobian(network, state, x_t), state_jacobian(cell, state, x_t))
    assert one_drive(recorded_drives(network, x)[0]).name == "1.l0"


class Kinked(nn.Module):
    """A step whose derivative is infinite at 0."""

    def initial_state(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 1)

    def step(self, x_t: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(state.abs()) + 0 * x_t


def test_jacobians_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="a state Jacobian of Kinked is NaN or infinite"):
        state_jacobians(Kinked(), torch.zeros(1, 2, 1))


class Packed(nn.Module):
    """A classifier around torch's own layer, with dropout and a state beside the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 5, num_layers=2, batch_first=True, dropout=0.5)
        self.head = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output, _ = self.rnn(x)
        return self.head(output[:, -1]), output


@pytest.mark.parametrize("kind", [*CELLS, "packed"])
def test_the_input_jacobian_equals_finite_differences(kind: str) -> None:
    model = (
        Packed()
        if kind == "packed"
        else build_model(ModelConfig(kind, features=3, steps=6, hidden=5, classes=4))
    )
    x = sequences()
    twin = copy.deepcopy(model).double().eval()

    def scores(flat: torch.Tensor) -> torch.Tensor:
        output = twin(flat.reshape(1, 6, 3))
        return (output[0] if isinstance(output, tuple) else output)[0]

    J = input_jacobian(model, x)
    assert J.shape == (4, 18)
    assert J.dtype == np.float64
    np.testing.assert_allclose(J, differences(scores, x.double().mean(0).flatten()), atol=2e-9)


def test_a_linear_model_is_its_own_jacobian() -> None:
    model = nn.Linear(6, 3)
    np.testing.assert_array_equal(
        input_jacobian(model, torch.randn(4, 6)), model.weight.detach().double().numpy()
    )


def test_a_spectral_norm_in_training_mode_does_not_move() -> None:
    model = Packed()
    nn.utils.parametrizations.spectral_norm(model.rnn, "weight_hh_l0")
    with torch.no_grad():  # other weights than those that the norm was found for: each read would move it
        original = model.rnn.parametrizations.weight_hh_l0.original
        original.copy_(torch.arange(100.0).reshape(20, 5).cos())
    expected = input_jacobian(model.eval(), sequences())
    before = copy.deepcopy(model.state_dict())
    np.testing.assert_array_equal(input_jacobian(model.train(), sequences()), expected)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_models_come_back_untouched_in_any_gradient_mode(mode: type) -> None:
    model, packed = model_with_biases("gru"), Packed()
    before = copy.deepcopy(packed.state_dict())
    with mode():
        mean_state_jacobian(model, sequences())
        input_jacobian(packed, sequences())
    assert packed.training
    assert packed.rnn.training
    assert all(
        value.dtype == torch.float32 and torch.equal(value, before[key])
        for key, value in packed.state_dict().items()
    )
    assert all(p.requires_grad and p.grad is None for m in (model, packed) for p in m.parameters())


def test_refusals() -> None:
    model = model_with_biases("tanh")
    with pytest.raises(
        UnsupportedModelError,
        match=r"model \(Packed\) has 2 recurrent layers and directions \(rnn\.l0, rnn\.l1\); expected one",
    ):
        mean_state_jacobian(Packed(), sequences())
    with pytest.raises(
        UnsupportedModelError, match=r"has 2 recurrent layers and directions \(rnn\.l0, rnn\.l1\)"
    ):
        state_jacobian(Packed(), torch.zeros(5), torch.zeros(3))
    with pytest.raises(UnsupportedModelError, match=r"has 0 recurrent layers and directions \(none\)"):
        state_jacobian(nn.Linear(2, 2), torch.zeros(5), torch.zeros(3))
    with pytest.raises(ValueError, match="x is missing; pass the sequences"):
        trajectory(model)
    with pytest.raises(ValueError, match="x is given beside a drive"):
        trajectory(cell_drive(model, sequences()), sequences())
    with pytest.raises(ValueError, match=r"x has shape \(6, 3\); expected \(N, T, F\)"):
        trajectory(model, sequences()[0])
    with pytest.raises(ValueError, match=r"x has shape \(0, 6, 3\)"):
        mean_state_jacobian(model, sequences()[:0])
    with pytest.raises(ValueError, match=r"state has shape \(1, 5\); expected one vector"):
        state_jacobian(model, torch.zeros(1, 5), torch.zeros(3))
    with pytest.raises(ValueError, match=r"x_t has shape \(6, 3\); expected one vector"):
        state_jacobian(model, torch.zeros(5), sequences()[0])
    with pytest.raises(ValueError, match=r"x has shape \(0, 6, 3\); expected at least one example"):
        input_jacobian(model, sequences()[:0])
