"""Fixed points of networks whose fixed points are known, their kinds and errors; slow points; refusals."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch import nn

from rnn.dynamics import state_jacobian
from rnn.models import ModelConfig, build_model
from rnn.motion.cells import UnrolledCell, unrolled_cells
from rnn.motion.equilibria import FixedPoints, fixed_points
from spectra import pseudospectrum
from spectra.errors import UnsupportedModelError


def tanh_cell(W: object, bias: object = None) -> UnrolledCell:
    W = torch.as_tensor(np.array(W, dtype=float))
    weights = {"weight_ih": torch.ones(len(W), 1).double(), "weight_hh": W}
    if bias is not None:
        weights |= {"bias_ih": torch.tensor(bias).double(), "bias_hh": torch.zeros(len(W)).double()}
    return UnrolledCell("tanh", weights)


class Linear(nn.Module):
    """s_{t+1} = W s_t + x_t."""

    def __init__(self, W: object) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.tensor(W))

    def initial_state(self, batch: int) -> torch.Tensor:
        return self.W.new_zeros(batch, len(self.W))

    def step(self, x_t: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return state @ self.W.T + x_t


@pytest.mark.parametrize("w", [1.05, 1.5, 3.0])
def test_one_unit_rests_at_zero_and_at_the_roots(w: float) -> None:
    root = brentq(lambda h: np.tanh(w * h) - h, 1e-3, 1, xtol=1e-15)
    points = fixed_points(tanh_cell([[w]]))
    order = np.argsort(points.states[:, 0])
    np.testing.assert_allclose(points.states[order, 0], [-root, 0, root], atol=1e-14)
    assert points.kinds[order].tolist() == ["attractor", "repeller", "attractor"]
    slope = w * (1 - root**2)
    np.testing.assert_allclose(points.spectral_radii[order], [slope, w, slope], rtol=1e-12)
    assert (np.abs(points.states[order, 0] - [-root, 0, root]) <= points.errors[order] + 1e-15).all()


@settings(max_examples=20)
@given(w=st.floats(-0.98, 0.98))
def test_one_unit_that_contracts_has_one_fixed_point(w: float) -> None:
    points = fixed_points(tanh_cell([[w]]), count=8)
    assert points.kinds.tolist() == ["attractor"]
    assert abs(points.states[0, 0]) <= points.errors[0]
    assert points.found.tolist() == [8]


@pytest.mark.parametrize("w", [1.0, -1.0])
def test_a_unit_on_the_edge_is_marginal(w: float) -> None:
    """Of g(h) = tanh(h) - h, 0 is a triple root, of which rounding leaves a third of the digits."""
    points = fixed_points(tanh_cell([[w]]))
    assert points.kinds.tolist() == ["marginal"]
    assert abs(points.states[0, 0]) < 1e-4
    assert points.unstable_dimensions.tolist() == [0]
    assert np.isinf(points.errors[0]) == (w > 0)  # I - J is singular for +1 alone


@pytest.mark.parametrize(
    ("a", "b", "kinds"),
    [
        (3.0, 0.3, {"attractor": 4, "saddle": 4, "repeller": 1}),
        (2.0, 0.9, {"attractor": 2, "repeller": 1, "saddle": 2}),
        (0.0, 2.0, {"attractor": 2, "repeller": 1}),  # eigenvalues 2 and -2 at 0
    ],
)
def test_two_units_that_inhibit_each_other(a: float, b: float, kinds: dict[str, int]) -> None:
    """s1 = tanh(a s1 - b s2) and its mirror image: s2 follows from s1, and s1 from brentq on a fine grid."""
    W = np.array([[a, -b], [-b, a]])
    points = fixed_points(tanh_cell(W), count=300)
    second = lambda s: (a * s - np.arctanh(s)) / b  # noqa: E731
    gap = lambda s: np.tanh(a * second(s) - b * s) - second(s)  # noqa: E731
    # shifted by an irrational number, so that no root, 0 least of all, is a point of the grid
    grid = np.linspace(-1 + 1e-9, 1 - 1e-9, 200_000) + 1e-10 * np.pi
    values = gap(grid)
    places = np.flatnonzero(values[:-1] * values[1:] < 0)
    roots = [brentq(gap, grid[k], grid[k + 1], xtol=1e-15) for k in places]
    expected = np.array([[s, second(s)] for s in roots])
    assert len(points) == len(expected) == sum(kinds.values())
    assert {kind: points.kinds.tolist().count(kind) for kind in kinds} == kinds
    distances = np.linalg.norm(points.states[:, None] - expected[None], axis=2)
    assert sorted(distances.argmin(1).tolist()) == list(range(len(expected)))
    np.testing.assert_allclose(distances.min(1), 0, atol=1e-10)  # second() loses digits, ours has them


def test_a_network_that_remembers_patterns() -> None:
    """Orthogonal patterns, Hopfield's weights: sign times p is a fixed point with h = tanh(gain h) each."""
    patterns = np.array(
        [[1, 1, 1, 1, 1, 1, 1, 1], [1, -1, 1, -1, 1, -1, 1, -1], [1, 1, -1, -1, 1, 1, -1, -1]]
    )
    gain = 3.0
    cell = tanh_cell(gain * patterns.T @ patterns / 8)
    h = brentq(lambda h: np.tanh(gain * h) - h, 0.5, 1, xtol=1e-15)
    points = fixed_points(cell, count=200)
    attractors = points.states[points.kinds == "attractor"]
    for sign, pattern in itertools.product([1, -1], patterns):
        np.testing.assert_allclose(np.abs(attractors - sign * h * pattern).max(1).min(), 0, atol=1e-13)
    assert "repeller" not in points.kinds  # five directions are shut, so that 0 is a saddle
    zero = np.linalg.norm(points.states, axis=1).argmin()
    assert points.unstable_dimensions[zero] == 3


@pytest.mark.parametrize("layer", [nn.GRU(3, 6), nn.LSTM(3, 6)])
def test_gates_without_weights_forget_by_halves(layer: nn.Module) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    points = fixed_points(unrolled_cells(layer)[0])
    assert points.kinds.tolist() == ["attractor"]
    np.testing.assert_allclose(points.states, 0, atol=1e-15)
    np.testing.assert_allclose(points.spectral_radii, 0.5, rtol=1e-15)


def test_an_lstm_that_keeps_everything_is_marginal() -> None:
    cell = unrolled_cells(nn.LSTM(1, 2))[0]
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[2:4] = 100.0  # the forget gate is open: any c with h = tanh(c)/2 rests
    points = fixed_points(cell, count=10)
    assert set(points.kinds) == {"marginal"}
    assert len(points) == 10
    np.testing.assert_allclose(points.states[:, :2], np.tanh(points.states[:, 2:]) / 2, atol=1e-14)
    assert np.isinf(points.errors).all()


def test_a_linear_network_rests_where_it_must() -> None:
    W, x = np.array([[0.5, 2.0], [0.0, -0.25]]), np.array([1.0, 1.0])
    points = fixed_points(Linear(W), x_t=x)
    assert points.kinds.tolist() == ["attractor"]
    np.testing.assert_allclose(points.states[0], np.linalg.solve(np.eye(2) - W, x), rtol=1e-13)
    np.testing.assert_allclose(points.eigenvalues[0], [0.5, -0.25], rtol=1e-14)


def test_a_line_of_fixed_points_is_marginal_and_not_merged() -> None:
    points = fixed_points(Linear(np.diag([1.0, 0.5])), x_t=np.zeros(2), starts=[[k, 1.0] for k in range(7)])
    assert points.kinds.tolist() == ["marginal"] * 7
    np.testing.assert_allclose(points.states, [[k, 0] for k in range(7)], atol=1e-12)


def test_a_linear_network_without_rest_drifts_along_a_valley() -> None:
    """s1 grows by 1e-3 each step, wherever it is: no point of the line s2 = 0 is slower than another."""
    points = fixed_points(Linear(np.diag([1.0, 0.5])), x_t=np.array([1e-3, 0.0]), count=9)
    assert points.kinds.tolist() == ["slow"] * 9
    assert np.isinf(points.errors).all()
    np.testing.assert_allclose(points.speeds, 1e-3, rtol=1e-9)
    np.testing.assert_allclose(points.states[:, 1], 0, atol=1e-9)
    none = fixed_points(Linear(np.diag([1.0, 0.5])), x_t=np.array([1e-3, 0.0]), count=9, slow=1e-4)
    assert len(none) == 0
    assert none.too_fast == 9
    assert none.states.shape == (0, 2)
    assert repr(none) == "FixedPoints: none, from 9 starts (9 led to no point)"


class Parabola(Linear):
    """x' = 1 - 1.4 x^2 + y, y' = 0.3 x, the map of Henon: it throws most states to infinity."""

    def step(self, x_t: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        x, y = state[..., 0], state[..., 1]
        return torch.stack((1 - 1.4 * x**2 + y, 0.3 * x), dim=-1)


def test_where_floats_end_there_is_no_fixed_point() -> None:
    starts = [[0.5, 0.1], [-1.0, -0.3], [1e200, 1.0], [-3e246, -5e122]]  # a residual of inf, a level of inf
    points = fixed_points(Parabola(np.eye(2)), x_t=np.zeros(2), starts=starts)
    roots = (-0.7 + np.array([1, -1]) * np.sqrt(0.7**2 + 4 * 1.4)) / 2.8
    np.testing.assert_allclose(np.sort(points.states[:, 0]), np.sort(roots), rtol=1e-12)
    assert points.kinds.tolist() == ["saddle", "saddle"]
    assert points.too_fast + points.unfinished == 4 - points.found.sum()


def test_descents_that_stand_still_are_given_up_without_losing_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    W = 3 * np.random.default_rng(0).standard_normal((32, 32)) / np.sqrt(32)
    found, work = [], []
    for fast in (10.0, np.inf):
        monkeypatch.setattr("rnn.motion.equilibria._FAST", fast)
        left: list[int] = []

        def tell(done: int, total: int, left: list[int] = left) -> None:
            left.append(total - done)

        found.append(fixed_points(tanh_cell(W), count=40, progress=tell))
        work.append(sum(left))
    assert work[0] < work[1]
    np.testing.assert_array_equal(found[0].states, found[1].states)
    assert found[0].too_fast >= found[1].too_fast > 0


@pytest.mark.parametrize(("units", "kind"), [(32, "slow"), (64, "marginal")])
def test_a_ring_is_found_all_along(units: int, kind: str) -> None:
    """With few units the ring has a grain: a valley of slow points, their speed exponentially small."""
    angles = 2 * np.pi * np.arange(units) / units
    points = fixed_points(tanh_cell(2 * (2 / units) * np.cos(angles[:, None] - angles)), count=60)
    at_zero = np.linalg.norm(points.states, axis=1) < 1e-12
    assert points.kinds[at_zero].tolist() == ["saddle"]
    assert points.unstable_dimensions[at_zero].tolist() == [2]
    ring = points.kinds == kind
    assert ring.sum() > 10
    assert (points.unstable_dimensions[ring] <= (kind == "slow")).all()
    np.testing.assert_allclose(points.spectral_radii[ring], 1, atol=1e-4)
    phase = points.states[ring] @ np.exp(1j * angles)
    np.testing.assert_allclose(np.abs(phase), np.abs(phase[0]), rtol=1e-4)
    assert np.ptp(np.angle(phase)) > np.pi
    assert points.unfinished == 0


def test_a_ghost_of_two_points_that_met_is_slow() -> None:
    """h = tanh(w h + b) past the fold: the speed is least where w (1 - h^2) = 1 at that preactivation."""
    w, fold = 1.2, np.sqrt(1 - 1 / 1.2)
    b = (fold * w - np.arctanh(fold)) + 0.002
    ghost = np.tanh(np.arctanh(-fold))  # tanh'(a) = 1/w
    expected = (np.arctanh(-fold) - b) / w
    speed = abs(ghost - expected)
    points = fixed_points(tanh_cell([[w]], [b]))
    assert points.kinds.tolist() == ["attractor", "slow"]
    np.testing.assert_allclose(points.states[1], expected, rtol=1e-9)
    np.testing.assert_allclose(points.speeds[1], speed, rtol=1e-9)
    np.testing.assert_allclose(points.spectral_radii[1], 1, rtol=1e-9)
    assert fixed_points(tanh_cell([[w]], [b]), slow=0.9 * speed).kinds.tolist() == ["attractor"]


def test_two_points_close_together_stay_two() -> None:
    w, fold = 1.2, np.sqrt(1 - 1 / 1.2)
    b = (fold * w - np.arctanh(fold)) - 1e-10
    points = fixed_points(tanh_cell([[w]], [b]), starts=np.linspace(-1, 1, 41)[:, None])
    close = np.sort(points.states[:, 0])[:2]
    assert len(points) == 3
    assert 1e-6 < close[1] - close[0] < 1e-4


def test_a_corner_is_no_attractor() -> None:
    cell = UnrolledCell(
        "relu", {"weight_ih": torch.ones(2, 1), "weight_hh": torch.tensor([[0.5, 3], [-3, 0.5]])}
    )
    points = fixed_points(cell)
    assert points.kinds.tolist() == ["kink"]
    smooth = fixed_points(cell, x_t=[1.0])
    np.testing.assert_allclose(smooth.states, [[2, 0]], rtol=1e-14)  # 2 = 0.5 * 2 + 1, and -3 * 2 + 1 < 0
    assert smooth.kinds.tolist() == ["attractor"]
    np.testing.assert_allclose(smooth.eigenvalues, [[0.5, 0]])


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_what_is_found_rests_and_the_error_holds(cell: str, seed: int) -> None:
    model = build_model(ModelConfig(cell, features=2, steps=3, hidden=4, gain=2.0, seed=seed))
    x = torch.randn(2, generator=torch.Generator().manual_seed(seed))
    points = fixed_points(model, x_t=x, count=10, rng=seed)
    twin = copy.deepcopy(model).double()
    assert points.found.sum() + points.too_fast + points.unfinished == points.starts == 10
    for k, state in enumerate(points.states):
        after = twin.step(x.double(), torch.tensor(state)).detach().numpy()
        np.testing.assert_allclose(np.linalg.norm(after - state), points.speeds[k], atol=1e-14)
        J = state_jacobian(model, torch.tensor(state), x)
        np.testing.assert_allclose(points.jacobians[k], J, atol=1e-14)
        np.testing.assert_allclose(
            np.sort(np.abs(points.eigenvalues[k])), np.sort(np.abs(np.linalg.eigvals(J))), atol=1e-6
        )
        if points.kinds[k] == "attractor" and points.spectral_radii[k] < 0.9:
            rest = torch.tensor(state)
            for _ in range(1000):
                rest = twin.step(x.double(), rest)
            assert np.linalg.norm(rest.detach().numpy() - state) <= points.errors[k]


def test_starts_of_the_user_progress_and_reproducibility() -> None:
    model = build_model(ModelConfig("tanh", features=2, steps=3, hidden=6, gain=1.5))
    seen: list[tuple[int, int]] = []
    states = np.random.default_rng(0).standard_normal((3, 5, 6))
    first = fixed_points(model, starts=states, progress=lambda done, total: seen.append((done, total)))
    assert first.starts == 15
    assert seen[-1] == (15, 15)
    assert seen == sorted(seen)
    for given_starts in (torch.tensor(states), torch.tensor(states, requires_grad=True)):
        np.testing.assert_array_equal(fixed_points(model, starts=given_starts).states, first.states)
    np.testing.assert_array_equal(fixed_points(model, rng=3).states, fixed_points(model, rng=3).states)


def test_an_interrupt_comes_through_and_the_model_stays_as_it_was() -> None:
    model = build_model(ModelConfig("gru", features=2, steps=3, hidden=6))
    before, random = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fixed_points(model, progress=stop)
    with torch.inference_mode():
        fixed_points(model, count=3)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())


def test_points_print_save_and_lead_to_pseudospectra(tmp_path: object) -> None:
    points = fixed_points(tanh_cell([[3.0, -0.3], [-0.3, 3.0]]), count=300)
    assert repr(points) == (
        "FixedPoints: 4 attractor, 4 saddle, 1 repeller, from 300 starts (0 led to no point)"
    )
    points.save(tmp_path / "points.npz")
    again = FixedPoints.load(tmp_path / "points.npz")
    np.testing.assert_array_equal(again.jacobians, points.jacobians)
    assert again.kinds.tolist() == points.kinds.tolist()
    assert repr(again) == repr(points)
    portrait = pseudospectrum(points.jacobians[0], shape=(5, 5))
    np.testing.assert_allclose(
        np.sort_complex(portrait.eigenvalues), np.sort_complex(points.eigenvalues[0]), atol=1e-14
    )
    content = dict(np.load(tmp_path / "points.npz"))
    np.savez(tmp_path / "wrong.npz", **(content | {"speeds": content["speeds"][:2]}))
    with pytest.raises(ValueError, match="no saved result"):
        FixedPoints.load(tmp_path / "wrong.npz")


def test_what_explodes_is_counted() -> None:
    points = fixed_points(Linear([[2.0]]), x_t=[0.0], starts=[[1e200], [1.0]])
    assert points.starts == 2
    assert points.unfinished + points.too_fast + points.found.sum() == 2


def test_refusals() -> None:
    cell = tanh_cell(np.eye(2))
    with pytest.raises(UnsupportedModelError, match="methods step and initial_state"):
        fixed_points(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="x_t is None, and the model does not say how long its input is"):
        fixed_points(Linear(np.eye(2)))
    with pytest.raises(ValueError, match=r"x_t has shape \(2,\); expected one vector of 1 features"):
        fixed_points(cell, x_t=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"x_t has a NaN"):
        fixed_points(cell, x_t=[np.nan])
    with pytest.raises(TypeError, match="x_t is complex"):
        fixed_points(cell, x_t=[1j])
    with pytest.raises(ValueError, match=r"starts has shape \(3,\); expected \(..., 2\)"):
        fixed_points(cell, starts=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"slow is 0\.0"):
        fixed_points(cell, slow=0.0)
    with pytest.raises(ValueError, match="count is 0"):
        fixed_points(cell, count=0)
    with pytest.raises(TypeError, match="rng is 'a'"):
        fixed_points(cell, rng="a")
    with pytest.raises(TypeError, match="progress is 3"):
        fixed_points(cell, progress=3)
