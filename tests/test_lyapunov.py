"""Lyapunov exponents equal closed forms within their errors, and the errors hold what they say."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor, nn

from rnn.models import ModelConfig, build_model
from rnn.motion.cells import UnrolledCell, unrolled_cells
from rnn.motion.drives import cell_drive, recorded_drives
from rnn.motion.jacobians import state_jacobians
from rnn.motion.lyapunov import LyapunovSpectrum, lyapunov_spectrum
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


def spectrum_of(matrices: np.ndarray, **options: object) -> LyapunovSpectrum:
    """The spectrum of products of matrices (N, T, s, s)."""
    drive = cell_drive(Product(matrices.shape[-1]), torch.as_tensor(matrices).flatten(2))
    return lyapunov_spectrum(drive, **options)


def powers(A: np.ndarray, trajectories: int, steps: int) -> np.ndarray:
    return np.broadcast_to(A, (trajectories, steps, *A.shape)).copy()


def logarithms(A: np.ndarray) -> np.ndarray:
    return np.sort(np.log(np.abs(np.linalg.eigvals(A))))[::-1]


def chaotic(gain: float = 3.0, size: int = 40, steps: int = 400, trajectories: int = 3) -> object:
    """A tanh network without input on its attractor."""
    random = np.random.default_rng(0)
    W = torch.as_tensor(gain * random.standard_normal((size, size)) / np.sqrt(size))
    cell = UnrolledCell("tanh", {"weight_ih": torch.zeros(size, 1), "weight_hh": W}, name="chaos")
    initial = torch.as_tensor(random.standard_normal((trajectories, size)))
    return cell_drive(cell, torch.zeros(trajectories, steps, 1), initial=initial)


def test_real_eigenvalues_are_found_to_rounding() -> None:
    V = np.random.default_rng(0).standard_normal((4, 4))
    A = V @ np.diag([1.5, -0.9, 0.4, 0.1]) @ np.linalg.inv(V)
    spectrum = spectrum_of(powers(A, 2, 400), skip=150)
    np.testing.assert_allclose(spectrum.exponents, np.log([1.5, 0.9, 0.4, 0.1]), atol=1e-12)
    assert spectrum.errors.max() < 1e-12
    assert spectrum.kolmogorov_sinai == pytest.approx(np.log(1.5), rel=1e-10)
    assert spectrum.kaplan_yorke == pytest.approx(2 + np.log(1.5 * 0.9) / -np.log(0.4), rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_complex_pairs_are_found_within_their_errors(seed: int) -> None:
    A = np.random.default_rng(seed).standard_normal((5, 5)) / np.sqrt(5)
    spectrum = spectrum_of(powers(A, 10, 200))
    assert (np.abs(spectrum.exponents - logarithms(A)) <= spectrum.errors).mean() >= 0.8
    assert spectrum.errors.max() < 0.1


def test_a_relu_layer_with_positive_dynamics_is_linear() -> None:
    random = np.random.default_rng(1)
    layer = nn.RNN(1, 4, nonlinearity="relu", batch_first=True)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.as_tensor(random.uniform(0.05, 0.4, (4, 4))))
        layer.bias_hh_l0.fill_(2.0)
    spectrum = lyapunov_spectrum(layer, torch.zeros(8, 120, 1))
    expected = logarithms(layer.weight_hh_l0.detach().double().numpy())
    assert (np.abs(spectrum.exponents - expected) <= spectrum.errors).all()
    assert spectrum.errors[0] < 1e-9
    assert spectrum.name == "l0"


def test_products_of_gaussian_matrices_have_the_exponents_of_newman() -> None:
    """C. M. Newman, Comm. Math. Phys. 103, 1986: (log 2 + psi((s - i + 1) / 2)) / 2."""
    matrices = np.random.default_rng(0).standard_normal((12, 150, 5, 5))
    spectrum = spectrum_of(matrices)
    expected = (np.log(2) + digamma((5 - np.arange(5)) / 2)) / 2
    assert (np.abs(spectrum.exponents - expected) <= spectrum.errors).all()
    assert spectrum.errors.max() < 0.2


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_the_sum_is_the_mean_logarithm_of_the_determinant(kind: str) -> None:
    model = build_model(ModelConfig(kind, features=2, steps=9, hidden=4, gain=1.5))
    drive = cell_drive(model, torch.randn(5, 9, 2, generator=torch.Generator().manual_seed(0)))
    spectrum = lyapunov_spectrum(drive, skip=3)
    determinants = np.linalg.slogdet(state_jacobians(drive)[:, 3:])[1]
    np.testing.assert_allclose(spectrum.exponents.sum(), determinants.mean(), rtol=1e-10)
    assert (np.diff(spectrum.exponents) <= 0).all()
    assert (spectrum.steps, spectrum.trajectories, spectrum.skip) == (30, 5, 3)


def test_a_chaotic_network_diverges_at_the_leading_rate() -> None:
    drive = chaotic()
    spectrum = lyapunov_spectrum(drive)
    assert spectrum.exponents[0] - spectrum.errors[0] > 0
    near = 1e-9 * torch.as_tensor(np.random.default_rng(2).standard_normal((3, 40)))
    start, rates = drive.states[:, 99], []
    for _ in range(60):  # Benettin's two trajectories: apart, back to a small distance, on
        a = cell_drive(drive.cell, torch.zeros(3, 5, 1), initial=start).states[:, -1]
        b = cell_drive(drive.cell, torch.zeros(3, 5, 1), initial=start + near).states[:, -1]
        growth = (b - a).norm(dim=1, keepdim=True) / near.norm(dim=1, keepdim=True)
        start, near = a, (b - a) / growth
        rates.append(np.log(growth.numpy()) / 5)
    assert np.mean(rates) == pytest.approx(spectrum.exponents[0], abs=2 * spectrum.errors[0])
    assert 1 < spectrum.kaplan_yorke < 40


def test_the_leading_exponents_alone_are_the_same() -> None:
    drive = chaotic(trajectories=2, steps=200)
    whole, leading = lyapunov_spectrum(drive), lyapunov_spectrum(drive, exponents=3)
    assert len(leading.exponents) == 3
    assert leading.state_size == 40
    tolerance = leading.errors + whole.errors[:3]
    assert (np.abs(leading.exponents - whole.exponents[:3]) <= tolerance).all()
    assert lyapunov_spectrum(drive, exponents=1).kaplan_yorke == 1.0  # a lower bound


def test_the_seed_decides_and_the_global_state_does_not() -> None:
    drive = chaotic(steps=20)
    first, second, other = (lyapunov_spectrum(drive, rng=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.exponents, second.exponents)
    assert (first.exponents != other.exponents).any()


def test_lost_directions_are_minus_infinity() -> None:
    dead = lyapunov_spectrum(nn.RNN(1, 4, nonlinearity="relu"), torch.zeros(9, 2, 1) - 1e3)
    zero = spectrum_of(np.zeros((2, 10, 3, 3)))
    assert (zero.exponents == -np.inf).all()
    assert (zero.errors == 0).all()
    assert (zero.kaplan_yorke, zero.kolmogorov_sinai) == (0.0, 0.0)
    assert not np.isnan(dead.exponents).any()
    assert not np.isnan(dead.errors).any()
    random = np.random.default_rng(0)
    low = random.standard_normal((4, 50, 5, 2)) @ random.standard_normal((4, 50, 2, 5))
    spectrum = spectrum_of(low)
    assert np.isfinite(spectrum.exponents[:2]).all()
    assert (spectrum.exponents[2:] == -np.inf).all()
    assert np.isfinite(spectrum.kaplan_yorke)
    tiny = spectrum_of(powers(np.diag([1.0, 1e-20]), 2, 60))
    np.testing.assert_allclose(tiny.exponents, [0, np.log(1e-20)], atol=1e-8)
    huge = spectrum_of(powers(np.diag([1e200, 1e-100]), 2, 60))
    np.testing.assert_allclose(huge.exponents, [200 * np.log(10), -100 * np.log(10)], rtol=1e-12)


def test_short_sequences_have_wide_errors() -> None:
    random = np.random.default_rng(5)
    expected = (np.log(2) + digamma((3 - np.arange(3)) / 2)) / 2
    matrices = random.standard_normal((1, 400, 3, 3))
    short, long = spectrum_of(matrices[:, :8]), spectrum_of(matrices)
    assert (np.abs(short.exponents - expected) <= short.errors).all()
    assert (short.errors > 3 * long.errors).all()
    single = spectrum_of(matrices[:, :2], skip=1)
    assert (single.errors == np.inf).all()
    assert np.isfinite(single.exponents).all()
    many = np.tile(matrices[:, :4], (50, 1, 1, 1))  # enough trajectories, none long enough
    assert (spectrum_of(many[:, :3], skip=0).errors == np.inf).all()
    assert np.isfinite(spectrum_of(many, skip=0).errors).all()


def test_only_the_steps_of_each_sequence_count() -> None:
    (cell,) = unrolled_cells(nn.GRU(2, 3), "rnn")
    x = torch.randn(3, 9, 2, generator=torch.Generator().manual_seed(0))
    drive = cell_drive(cell, x, lengths=[9, 5, 2])
    spectrum = lyapunov_spectrum(drive, skip=2)
    determinants = np.linalg.slogdet(state_jacobians(cell, x))[1]
    expected = np.concatenate([determinants[0, 2:], determinants[1, 2:5]]).mean()
    np.testing.assert_allclose(spectrum.exponents.sum(), expected, rtol=1e-10)
    assert (spectrum.steps, spectrum.trajectories) == (10, 2)


def test_records_are_saved_and_read(tmp_path: object) -> None:
    spectrum = lyapunov_spectrum(chaotic(steps=20))
    spectrum.save(tmp_path / "spectrum.npz")
    again = LyapunovSpectrum.load(tmp_path / "spectrum.npz")
    np.testing.assert_array_equal(again.exponents, spectrum.exponents)
    assert str(again) == str(spectrum)
    assert str(spectrum).startswith("LyapunovSpectrum of chaos: largest ")
    dataclasses.replace(spectrum, errors=np.zeros(2)).save(tmp_path / "damaged.npz")
    with pytest.raises(ValueError, match="no saved result"):
        LyapunovSpectrum.load(tmp_path / "damaged.npz")


def test_refusals() -> None:
    x = torch.zeros(2, 5, 3)
    with pytest.raises(UnsupportedModelError, match="has 2 recurrent layers and directions"):
        lyapunov_spectrum(nn.GRU(3, 4, num_layers=2), x)
    with pytest.raises(ValueError, match="x is given beside a drive"):
        lyapunov_spectrum(recorded_drives(nn.GRU(3, 4), x)[0], x)
    with pytest.raises(ValueError, match="exponents is 5; expected at most 4"):
        lyapunov_spectrum(nn.GRU(3, 4), x, exponents=5)
    with pytest.raises(ValueError, match=r"skip is 5, and the longest .* 5 steps; skip fewer"):
        lyapunov_spectrum(nn.GRU(3, 4, batch_first=True), x, skip=5)
    with pytest.raises(TypeError, match=r"skip is 0\.5"):
        lyapunov_spectrum(nn.GRU(3, 4), x, skip=0.5)
    with pytest.raises(TypeError, match="rng is 'a'"):
        lyapunov_spectrum(nn.GRU(3, 4), x, rng="a")


@pytest.mark.slow
@pytest.mark.parametrize(("trajectories", "steps"), [(1, 8), (1, 200), (4, 30), (10, 50), (20, 15)])
def test_the_errors_cover_the_truth(trajectories: int, steps: int) -> None:
    """95 % intervals are estimates: over 200 draws at least 90 % must hold the truth, of each exponent."""
    fixed, drawn = [], []
    expected = (np.log(2) + digamma((4 - np.arange(4)) / 2)) / 2
    for seed in range(200):
        random = np.random.default_rng(seed)
        A = random.standard_normal((4, 4)) / 2
        spectrum = spectrum_of(powers(A, trajectories, steps), rng=seed)
        fixed.append(np.abs(spectrum.exponents - logarithms(A)) <= spectrum.errors)
        spectrum = spectrum_of(random.standard_normal((trajectories, steps, 4, 4)), rng=seed)
        drawn.append(np.abs(spectrum.exponents - expected) <= spectrum.errors)
    assert np.mean(fixed, axis=0).min() >= 0.9
    assert np.mean(drawn, axis=0).min() >= 0.9


@pytest.mark.slow
def test_the_error_of_a_chaotic_network_covers_a_long_run() -> None:
    truth = lyapunov_spectrum(chaotic(steps=3000, trajectories=8), exponents=2)
    held = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        cell = chaotic(steps=1).cell
        initial = torch.as_tensor(random.standard_normal((6, 40)))
        drive = cell_drive(cell, torch.zeros(6, 150, 1), initial=initial)
        spectrum = lyapunov_spectrum(drive, exponents=2, rng=seed)
        held.append(np.abs(spectrum.exponents - truth.exponents) <= spectrum.errors + truth.errors)
    assert np.mean(held, axis=0).min() >= 0.9
