"""Growth along trajectories equals naive products, and closed forms where there are any."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnn.motion.cells import unrolled_cells
from rnn.motion.drives import Drive, cell_drive
from rnn.motion.jacobians import state_jacobians
from rnn.motion.propagation import FiniteTimeGrowth, finite_time_growth
from spectra.errors import UnsupportedModelError


class Product(nn.Module):
    """A linear step with the matrix that it is shown: s_{t+1} = X_t s_t."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, self.size, dtype=torch.float64)

    def step(self, x_t: Tensor, state: Tensor) -> Tensor:
        return (x_t.unflatten(-1, (self.size, self.size)) @ state[..., None])[..., 0]


def drive_of(matrices: np.ndarray) -> Drive:
    """The drive of products of matrices (N, T, s, s)."""
    return cell_drive(Product(matrices.shape[-1]), torch.as_tensor(matrices).flatten(2))


def trained(kind: type[nn.RNNBase], *, lengths: list[int] | None = None) -> Drive:
    layer = kind(3, 5)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.9 * torch.randn(parameter.shape, generator=random))
    (cell,) = unrolled_cells(layer, "rnn")
    return cell_drive(cell, torch.randn(6, 8, 3, generator=random), lengths=lengths)


def product(matrices: np.ndarray) -> np.ndarray:
    """J_t ... J_1, of J_1, ..., J_t."""
    return functools.reduce(lambda left, J: J @ left, matrices)


@pytest.mark.parametrize("lengths", [None, [8, 1, 3, 8, 5, 2]])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_norms_are_those_of_naive_products(kind: type[nn.RNNBase], lengths: list[int] | None) -> None:
    drive = trained(kind, lengths=lengths)
    growth, J = finite_time_growth(drive), state_jacobians(drive)
    ends = lengths or [8] * 6
    for n in range(6):
        forward = [np.linalg.norm(product(J[n, : min(t, ends[n])]), 2) for t in range(1, 9)]
        backward = [np.linalg.norm(product(J[n, t : ends[n]]), 2) if t < ends[n] else 1.0 for t in range(8)]
        np.testing.assert_allclose(growth.norms[n], forward, rtol=1e-12)
        np.testing.assert_allclose(10 ** growth.log10_norms[n], forward, rtol=1e-12)
        np.testing.assert_allclose(10 ** growth.log10_to_last[n], backward, rtol=1e-12)
        peak = max([1.0, *forward])
        step = [1.0, *forward].index(peak)
        np.testing.assert_allclose(10 ** growth.log10_peaks[n], peak, rtol=1e-12)
        assert growth.peak_steps[n] == step
        if step:
            v, w = growth.initial_directions[n], growth.final_directions[n]
            np.testing.assert_allclose(product(J[n, :step]) @ v, peak * w, atol=1e-10 * peak)
    np.testing.assert_allclose(growth.log10_mean, growth.log10_norms.mean(0), rtol=1e-14)
    np.testing.assert_array_equal(growth.log10_largest, growth.log10_norms.max(0))
    np.testing.assert_array_equal(growth.lengths, ends)
    for directions in (growth.initial_directions, growth.final_directions):
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-13)


def test_small_pieces_of_memory_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    drive = trained(nn.GRU)
    whole = finite_time_growth(drive)
    for entries in (1, 25 * 4, 25 * 6 * 3):
        monkeypatch.setattr("rnn.motion.jacobians._AT_ONCE", entries)
        parts = finite_time_growth(drive)
        for field in ("log10_norms", "log10_to_last", "log10_peaks", "peak_steps", "initial_directions"):
            np.testing.assert_allclose(getattr(parts, field), getattr(whole, field), atol=1e-12)


def test_orthogonal_steps_neither_grow_nor_shrink() -> None:
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 300, 6, 6)))[0]
    growth = finite_time_growth(drive_of(Q))
    np.testing.assert_allclose(growth.norms, 1, atol=1e-12)
    np.testing.assert_allclose(growth.log10_to_last, 0, atol=1e-12)
    np.testing.assert_allclose(growth.log10_peaks, 0, atol=1e-12)


def test_a_nilpotent_step_grows_and_ends() -> None:
    N = 10 * np.eye(4, k=1)
    growth = finite_time_growth(drive_of(np.broadcast_to(N, (2, 6, 4, 4)).copy()))
    np.testing.assert_allclose(growth.norms, [[10, 100, 1000, 0, 0, 0]] * 2, rtol=1e-14)
    assert (growth.log10_norms[:, 3:] == -np.inf).all()
    np.testing.assert_array_equal(growth.peak_steps, [3, 3])
    np.testing.assert_allclose(growth.initial_directions[0], [0, 0, 0, 1], atol=1e-14)
    np.testing.assert_allclose(growth.final_directions[0], [1, 0, 0, 0], atol=1e-14)
    np.testing.assert_allclose(growth.log10_to_last[0, 3:], [3, 2, 1], rtol=1e-14)
    np.testing.assert_allclose(growth.log10_of_mean_jacobian[:3], [1, 2, 3], rtol=1e-12)
    assert (growth.log10_of_mean_jacobian[3:] == -np.inf).all()


def test_zero_steps_and_contractions_have_no_peak() -> None:
    zero = finite_time_growth(drive_of(np.zeros((2, 4, 3, 3))))
    assert (zero.norms == 0).all()
    assert (zero.log10_to_last == -np.inf).all()
    small = finite_time_growth(drive_of(0.5 * np.broadcast_to(np.eye(3), (2, 4, 3, 3))))
    for growth in (zero, small):
        assert (growth.log10_peaks == 0).all()
        assert (growth.peak_steps == 0).all()
        np.testing.assert_array_equal(growth.initial_directions, [[1, 0, 0]] * 2)
        np.testing.assert_array_equal(growth.final_directions, [[1, 0, 0]] * 2)
    np.testing.assert_allclose(small.norms, [[0.5, 0.25, 0.125, 0.0625]] * 2)


def test_nothing_over_or_underflows() -> None:
    A = np.diag([1e150, 1e-150])
    growth = finite_time_growth(drive_of(np.broadcast_to(A, (1, 8, 2, 2)).copy()))
    np.testing.assert_allclose(growth.log10_norms[0], 150 * np.arange(1, 9), rtol=1e-14)
    np.testing.assert_array_equal(growth.norms[0, 2:], np.inf)
    assert np.isfinite(growth.log10_peaks).all()
    shrinking = finite_time_growth(drive_of(np.broadcast_to(A / 1e300, (1, 8, 2, 2)).copy()))
    np.testing.assert_allclose(shrinking.log10_norms[0], -150 * np.arange(1, 9), rtol=1e-14)
    assert shrinking.norms[0, -1] == 0


def test_the_mean_jacobian_is_the_naive_prediction() -> None:
    """Of two steps that turn and stretch, the mean is another matrix than the product."""
    J = np.array([[[[0.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [3.0, 0.0]]]])
    growth = finite_time_growth(drive_of(J))
    np.testing.assert_allclose(growth.norms, [[3, 9]])
    np.testing.assert_allclose(10**growth.log10_of_mean_jacobian, [1.5, 2.25])


def test_records_are_saved_and_read(tmp_path: object) -> None:
    growth = finite_time_growth(trained(nn.RNN))
    growth.save(tmp_path / "growth.npz")
    again = FiniteTimeGrowth.load(tmp_path / "growth.npz")
    np.testing.assert_array_equal(again.log10_norms, growth.log10_norms)
    assert again.peak_steps.dtype == np.int64
    assert str(again) == str(growth)
    assert str(growth).startswith("FiniteTimeGrowth of rnn.l0: largest 10^")
    for field in ("log10_to_last", "final_directions"):
        dataclasses.replace(growth, **{field: np.zeros((2, 2))}).save(tmp_path / "damaged.npz")
        with pytest.raises(ValueError, match="no saved result"):
            FiniteTimeGrowth.load(tmp_path / "damaged.npz")


def test_refusals() -> None:
    x = torch.zeros(2, 5, 3)
    with pytest.raises(UnsupportedModelError, match="has 2 recurrent layers and directions"):
        finite_time_growth(nn.GRU(3, 4, bidirectional=True), x)
    with pytest.raises(ValueError, match="x is missing"):
        finite_time_growth(nn.GRU(3, 4))
    with pytest.raises(ValueError, match="x is given beside a drive"):
        finite_time_growth(trained(nn.GRU), x)
