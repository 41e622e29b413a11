"""Kicked trajectories equal naive runs of the network, and follow linear theory as far as it goes."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnn.models import ModelConfig, build_model
from rnn.motion.cells import unrolled_cells
from rnn.motion.drives import Drive, cell_drive, recorded_drives
from rnn.motion.jacobians import state_jacobians
from rnn.motion.kick_directions import drive_from
from rnn.motion.kicks import StateKicks, state_kicks
from rnn.motion.propagation import finite_time_growth
from spectra.errors import UnsupportedModelError
from spectra.stability import kreiss_constant
from spectra.transients import transient_growth

CELLS = ["tanh", "gru", "lstm"]


class Linear(nn.Module):
    """s_{t+1} = W s_t + x_t."""

    def __init__(self, W: np.ndarray) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.as_tensor(W))

    def initial_state(self, batch: int) -> Tensor:
        return self.W.new_zeros(batch, len(self.W))

    def step(self, x_t: Tensor, state: Tensor) -> Tensor:
        return state @ self.W.T + x_t


class Network(nn.Module):
    """A recurrent layer of torch, read out after the last step."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.drop = layer, nn.Dropout(0.5)
        self.head = nn.Linear(layer.proj_size or layer.hidden_size, 4)

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.layer(x if self.layer.batch_first else x.transpose(0, 1))[0]
        return self.head(self.drop(outputs[:, -1] if self.layer.batch_first else outputs[-1]))


class Loop(nn.Module):
    """A cell of torch in a loop."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for x_t in x.unbind(1):
            state = self.cell(x_t, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def classifier(cell: str, gain: float = 2.0) -> nn.Module:
    return build_model(ModelConfig(cell, features=3, steps=9, hidden=6, classes=4, gain=gain, seed=2))


def inputs(count: int = 5) -> Tensor:
    return torch.randn(count, 9, 3, generator=torch.Generator().manual_seed(1))


def seeded(make: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def at_worst(kicks: StateKicks) -> tuple[np.ndarray, np.ndarray]:
    """Growth of the worst kicks at their worst steps, and what is predicted."""
    (growth,) = kicks.growth[kicks.directions == "worst"]
    n = np.arange(len(growth))
    return growth[n, kicks.worst_steps], kicks.norms[n, kicks.worst_steps]


def test_a_linear_network_does_what_linear_theory_says() -> None:
    W = np.random.default_rng(0).standard_normal((5, 5)) / 3 + 2 * np.eye(5, k=1)
    x = torch.as_tensor(np.random.default_rng(1).standard_normal((3, 8, 5)))
    kicks = state_kicks(Linear(W), x, size=7.0, at=2)
    powers = [np.linalg.matrix_power(W, t) for t in range(7)]
    norms = [np.linalg.norm(P, 2) for P in powers]
    np.testing.assert_allclose(kicks.norms, [norms] * 3, rtol=1e-12)
    np.testing.assert_allclose(kicks.of_mean_jacobian, norms, rtol=1e-12)
    np.testing.assert_allclose(kicks.distances, kicks.linear, rtol=1e-9)
    np.testing.assert_allclose(*at_worst(kicks), rtol=1e-10)
    assert kicks.directions.tolist() == ["random"] * 10 + ["worst", "mean-jacobian"]
    np.testing.assert_allclose(kicks.growth[-1], kicks.growth[-2], rtol=1e-9)
    assert (kicks.growth <= kicks.norms * (1 + 1e-9)).all()
    v = np.linalg.svd(powers[kicks.worst_steps[0]])[2][0]
    expected = [7 * np.linalg.norm(P @ v) for P in powers]
    np.testing.assert_allclose(kicks.distances[-2], [expected] * 3, rtol=1e-9)


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize("cell", CELLS)
def test_the_worst_small_kick_grows_as_predicted_up_to_its_size(cell: str, at: int) -> None:
    errors = []
    for size in (1e-3, 1e-4):
        kicks = state_kicks(classifier(cell), inputs(), size=size, at=at)
        found, predicted = at_worst(kicks)
        errors.append(np.abs(found / predicted - 1).max())
        assert (kicks.growth <= kicks.norms * (1 + 100 * size)).all()
        np.testing.assert_allclose(kicks.distances, kicks.linear, atol=300 * size**2)
    assert errors[0] < 0.05
    assert 3 < errors[0] / errors[1] < 120  # the first neglected term is linear in the size, or quadratic
    assert (predicted > 1).any()


@pytest.mark.parametrize("cell", CELLS)
def test_of_contractions_too_the_worst_direction_is_that_of_the_largest_product(cell: str) -> None:
    model = classifier(cell, gain=0.3)
    if cell == "lstm":
        with torch.no_grad():
            model.bias_ih_l0.fill_(-2.0)
    drive = drive_from(cell_drive(model, inputs()), 1)
    growth = finite_time_growth(drive)
    kicks = state_kicks(model, inputs(), size=1e-6, at=1)
    assert (growth.peak_steps == 0).any()
    for n, J in enumerate(state_jacobians(drive)):
        products = [J[0]]
        for later in J[1:]:
            products.append(later @ products[-1])
        norms = [np.linalg.norm(P, 2) for P in products]
        assert kicks.worst_steps[n] == np.argmax(norms) + 1
    np.testing.assert_allclose(*at_worst(kicks), rtol=1e-4)


def test_large_kicks_saturate() -> None:
    kicks = state_kicks(classifier("tanh"), inputs(), size=50.0)
    assert (kicks.distances[:, :, 1:] <= 2 * np.sqrt(6)).all()
    assert (kicks.linear[kicks.directions == "worst"][0, :, 1] > 50).all()
    assert kicks.changed.max() > 0


@pytest.mark.parametrize("cell", CELLS)
def test_a_kick_of_size_zero_gives_zero(cell: str) -> None:
    kicks = state_kicks(classifier(cell), inputs(), size=0, at=3)
    assert (kicks.distances == 0).all()
    assert (kicks.linear == 0).all()
    assert (kicks.changed == 0).all()
    assert kicks.norms.min() > 0
    with pytest.raises(ValueError, match="growth is undefined"):
        _ = kicks.growth


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_kicks_equal_a_naive_run_of_torch(kind: type[nn.RNNBase], batch_first: bool) -> None:
    """The layer is stopped after seven steps, kicked, and goes on."""
    model = seeded(lambda: Network(kind(3, 5, batch_first=batch_first))).eval()
    with torch.no_grad():
        for parameter in model.layer.parameters():
            parameter.mul_(3)
    x, at, size = inputs(40), 7, 3.0
    kicks = state_kicks(model, x, size=size, at=at, directions=["worst"])
    drive = recorded_drives(model, x)[0]
    J = state_jacobians(drive_from(drive, at))
    twin = copy.deepcopy(model).double()
    kept, distances, changed = [], [], 0
    for n in range(len(x)):
        product = np.linalg.multi_dot([*J[n, : kicks.worst_steps[n]][::-1], np.eye(J.shape[-1])])
        v = np.linalg.svd(product)[2][0]
        v *= np.sign(v[np.abs(v).argmax()])
        start = drive.before[n, at].numpy() + size * v
        states = [torch.as_tensor(part)[None, None] for part in np.split(start, len(start) // 5)]
        with torch.no_grad():
            sequence = x[n : n + 1, at:].double()
            hx = tuple(states) if kind is nn.LSTM else states[0]
            output, _ = twin.layer(sequence if batch_first else sequence.transpose(0, 1), hx)
            h = output.reshape(-1, 5)
            changed += int(twin.head(h[-1]).argmax() != twin(x[n : n + 1].double()).argmax())
        kept.append(h.numpy())
        distances.append(np.linalg.norm(kept[-1] - drive.states[n, at:, :5].numpy(), axis=1))
    if kind is not nn.LSTM:
        np.testing.assert_allclose(kicks.distances[0, :, 1:], distances, rtol=1e-7, atol=1e-9)
    else:
        assert (kicks.distances[0, :, 1:] >= np.array(distances) - 1e-9).all()
    np.testing.assert_allclose(kicks.distances[0, :, 0], size, rtol=1e-12)
    assert kicks.changed.tolist() == [changed / 40]
    assert changed > 0


@pytest.mark.parametrize("cell", CELLS)
def test_predictions_of_a_classifier_with_steps(cell: str) -> None:
    model, x = classifier(cell), inputs(30)
    kicks = state_kicks(model, x, size=3.0, at=5, directions=["mean-jacobian"])
    twin = copy.deepcopy(model).double()
    drive = cell_drive(model, x)
    powers = transient_growth(_mean_jacobian(drive), np.arange(5.0), dynamics="discrete")
    v = powers.initial_state
    with torch.no_grad():
        state = drive.before[:, 5] + 3.0 * torch.as_tensor(v)
        for x_t in x[:, 5:].double().unbind(1):
            state = twin.step(x_t, state)
        labels, clean = twin.head(state[:, :6]).argmax(1), twin(x.double()).argmax(1)
    assert powers.peak_time > 0
    assert kicks.changed.tolist() == [float((labels != clean).double().mean())]
    np.testing.assert_allclose(
        kicks.distances[0, :, -1], (state - drive.states[:, -1]).norm(dim=1).numpy(), rtol=1e-9
    )


def _mean_jacobian(drive: Drive) -> np.ndarray:
    state, x_t = drive.states.mean((0, 1)), drive.inputs.mean((0, 1))
    return torch.func.jacrev(drive.cell.step, argnums=1)(x_t, state).detach().numpy()


def test_the_mean_jacobian_and_its_bounds_are_those_of_theory() -> None:
    model = classifier("gru")
    kicks = state_kicks(model, inputs(), size=0.1, at=2)
    M = _mean_jacobian(cell_drive(model, inputs()))
    norms = [np.linalg.norm(np.linalg.matrix_power(M, t), 2) for t in range(8)]
    np.testing.assert_allclose(kicks.of_mean_jacobian, norms, rtol=1e-10)
    assert (kicks.mean_lower <= np.maximum.accumulate(norms) * (1 + 1e-12)).all()
    assert kicks.kreiss_lower == pytest.approx(kreiss_constant(M, dynamics="discrete").lower)


@pytest.mark.parametrize("kind", [nn.GRUCell, nn.LSTMCell])
def test_cells_in_a_loop_are_read_out(kind: type[nn.RNNCellBase]) -> None:
    model = seeded(lambda: Loop(kind(3, 5)))
    kicks = state_kicks(model, inputs(), size=100.0, at=8, directions=["random"], draws=4)
    assert kicks.unjudged == ""
    assert kicks.changed.shape == (4,)
    assert kicks.changed.max() > 0
    assert (state_kicks(model, inputs(), size=0, at=8).changed == 0).all()


class Twice(nn.Module):
    """The layer runs twice, on the sequence and on its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x)[0])[0][:, -1]


class Packing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(3, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(pack_padded_sequence(x, [9, 8, 7, 6, 5], batch_first=True))[1][0]


class Peeking(nn.Module):
    """Logits from a second run of the same cell, which nobody kicks."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.spare = nn.GRU(3, 3, batch_first=True), nn.GRU(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0][:, -1]


class Halved(nn.Module):
    """A step that the forward does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def initial_state(self, batch: int) -> Tensor:
        return self.layer.weight.new_zeros(batch, 3)

    def step(self, x_t: Tensor, state: Tensor) -> Tensor:
        return torch.tanh(self.layer(x_t) + state)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, -1])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Twice, "not the rows of one tensor"),
        (Packing, "something else than one batch"),
        (Halved, "ran its recurrent layer 0 times"),
        (lambda: nn.GRU(3, 4, batch_first=True), "expected logits"),
        (lambda: classifier("tanh"), ""),
    ],
)
def test_where_there_are_no_predictions_the_record_says_why(make: object, said: str) -> None:
    kicks = state_kicks(seeded(make), inputs(), size=0.1, directions=["worst"])
    assert said in kicks.unjudged
    assert (kicks.unjudged == "") == (said == "")
    assert len(kicks.changed) == (said == "")
    assert ("of predictions changed" in str(kicks)) == (said == "")


def test_a_spare_layer_leaves_no_single_drive() -> None:
    with pytest.raises(UnsupportedModelError, match="2 recurrent layers"):
        state_kicks(seeded(Peeking), inputs(), size=0.1)


def test_after_the_end_of_a_sequence_the_distance_stays() -> None:
    (cell,) = unrolled_cells(seeded(lambda: nn.GRU(3, 5)), "rnn")
    drive = cell_drive(cell, inputs(), lengths=[9, 4, 6, 9, 3])
    kicks = state_kicks(drive, size=0.5, at=2, draws=3)
    for n, length in enumerate([9, 4, 6, 9, 3]):
        ending = kicks.distances[:, n, length - 2 :]
        np.testing.assert_array_equal(ending, ending[:, :1].repeat(ending.shape[1], axis=1))
        alone = cell_drive(cell, inputs()[n : n + 1, :length])
        single = state_kicks(alone, size=0.5, at=2, directions=["worst"])
        np.testing.assert_allclose(
            kicks.distances[3, n, : length - 1], single.distances[0, 0], rtol=1e-9, atol=1e-12
        )
    assert kicks.unjudged.startswith("a drive has no predictions")
    with pytest.raises(ValueError, match="at is 3, but a sequence has 3 steps; expected 0 to 2"):
        state_kicks(drive, size=0.5, at=3)


def test_a_kick_on_the_way_is_a_kick_of_the_rest() -> None:
    drive = cell_drive(classifier("lstm"), inputs())
    late = state_kicks(drive, size=0.3, at=4, directions=["random", "worst"])
    rest = state_kicks(drive_from(drive, 4), size=0.3, directions=["random", "worst"])
    for field in ("distances", "linear", "norms", "worst_steps"):
        np.testing.assert_array_equal(getattr(late, field), getattr(rest, field))


def test_the_same_seed_gives_the_same_and_directions_are_even() -> None:
    model, x = classifier("tanh"), inputs()
    first, again, other = (state_kicks(model, x, size=0.1, rng=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.distances, again.distances)
    assert (first.distances[0, :, 1] != other.distances[0, :, 1]).all()
    np.testing.assert_array_equal(first.distances[10:], other.distances[10:])
    # of a linear map the mean of squares over all directions is the squared Frobenius norm by the order
    W = np.diag([3.0, 1.0, 0.0])
    many = state_kicks(Linear(W), torch.zeros(2000, 1, 3), size=1.0, directions=["random"])
    assert (many.growth[:, :, 1] ** 2).mean() == pytest.approx(10 / 3, rel=0.03)


@pytest.mark.parametrize("failing", [False, True])
def test_the_model_comes_back_untouched(failing: bool) -> None:
    model = seeded(lambda: Network(nn.GRU(3, 5, batch_first=True))).train()
    model.head.weight.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    x = inputs()
    if failing:
        with pytest.raises(ValueError, match="at is 9"):
            state_kicks(model, x, size=0.1, at=9)
    else:
        assert state_kicks(model, x, size=0.1).unjudged == ""
    assert torch.equal(x, inputs())
    assert torch.equal(random, torch.random.get_rng_state())
    assert torch.get_default_dtype() == dtype
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.head.parameters()] == [False, True]
    assert not model.layer._forward_hooks
    assert "step" not in vars(model)


@pytest.mark.parametrize("cell", CELLS)
def test_the_kicks_of_a_record_give_its_distances_again(cell: str) -> None:
    model, at = classifier(cell), 2
    found = state_kicks(model, inputs(), size=0.5, at=at, draws=3, rng=1)
    drive = drive_from(cell_drive(model, inputs()), at)
    assert found.kicks.shape == (5, *drive.initial.shape)
    np.testing.assert_allclose(np.linalg.norm(found.kicks, axis=-1), 0.5)
    for d, kick in enumerate(found.kicks):
        state = drive.initial + torch.as_tensor(kick)
        for t in range(drive.inputs.shape[1]):
            with torch.no_grad():
                state = drive.cell.step(drive.inputs[:, t], state)
            gap = torch.linalg.vector_norm(state - drive.states[:, t], dim=-1)
            np.testing.assert_allclose(found.distances[d, :, t + 1], gap, atol=1e-12)


def test_records_are_saved_and_read(tmp_path: object) -> None:
    kicks = state_kicks(classifier("gru"), inputs(), size=0.1, at=1, draws=2)
    kicks.save(tmp_path / "kicks.npz")
    again = StateKicks.load(tmp_path / "kicks.npz")
    np.testing.assert_array_equal(again.distances, kicks.distances)
    assert str(again) == str(kicks)
    assert str(kicks).startswith(
        "StateKicks of RecurrentClassifier: size 0.1 before step 1, 5 trajectories, 8 s"
    )
    np.testing.assert_array_equal(again.kicks, kicks.kicks)
    dataclasses.replace(kicks, kicks=np.zeros((0, 0, 0))).save(tmp_path / "older.npz")
    assert StateKicks.load(tmp_path / "older.npz").kicks.shape == (0, 0, 0)
    for field in ("linear", "of_mean_jacobian", "kicks"):
        dataclasses.replace(kicks, **{field: np.zeros((2, 2))}).save(tmp_path / "damaged.npz")
        with pytest.raises(ValueError, match="no saved result"):
            StateKicks.load(tmp_path / "damaged.npz")


def test_refusals() -> None:
    model, x = classifier("tanh"), inputs()
    for options, error, said in (
        ({"size": -1}, ValueError, "size"),
        ({"size": "large"}, TypeError, "size"),
        ({"size": 1, "at": -1}, ValueError, "at"),
        ({"size": 1, "directions": "worst"}, TypeError, "directions is 'worst'; expected several"),
        ({"size": 1, "directions": []}, ValueError, "directions is empty"),
        ({"size": 1, "directions": ["best"]}, ValueError, "directions"),
        ({"size": 1, "draws": 0}, ValueError, "draws"),
        ({"size": 1e-30, "at": 3}, ValueError, "size is 1e-30, which rounding loses"),
        (
            {"size": 1e300},
            ValueError,
            "size is 1e\\+300, whose square overflows; expected a size below 1e\\+150",
        ),
        ({"size": 1e-300}, ValueError, "size is 1e-300, which rounding loses"),
    ):
        with pytest.raises(error, match=said):
            state_kicks(model, x, **options)
    with pytest.raises(ValueError, match="x is missing"):
        state_kicks(model, size=1)
    with pytest.raises(ValueError, match="NaN or infinite after the kick; use a smaller size"):
        state_kicks(Linear(np.diag([1e200, 1.0])), torch.zeros(1, 2, 2), size=1e140, directions=["random"])
    with pytest.raises(ValueError, match="distances of them, become NaN or infinite after the kick"):
        state_kicks(Linear(np.diag([1e60, 1.0])), torch.zeros(1, 2, 2), size=1e100, directions=["random"])
