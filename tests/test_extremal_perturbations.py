"""The perturbation reaches the end of the pseudospectrum, none of its norm goes farther, and closed forms."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import SEEDS, Square, squares, unitary

from rnn.attacking.extremal_perturbations import PseudospectralPerturbation, pseudospectral_perturbation
from spectra.gallery import grcar

DYNAMICS = st.sampled_from(["discrete", "continuous"])
EPSILONS = st.floats(1e-6, 3.0)


def reach(matrices: Square, dynamics: str) -> np.ndarray:
    eigenvalues = np.linalg.eigvals(matrices)
    return (np.abs(eigenvalues) if dynamics == "discrete" else eigenvalues.real).max(axis=-1)


def rounding(A: Square, found: PseudospectralPerturbation) -> float:
    """How far rounding can move a computed eigenvalue of A + E, to first order."""
    u = np.finfo(float).eps / 2
    return found.condition * (found.residual + 20 * len(A) * u * (np.linalg.norm(A, 2) + found.norm))


@given(squares(), EPSILONS, DYNAMICS)
def test_a_complex_perturbation_has_the_norm_and_lands(A: Square, epsilon: float, dynamics: str) -> None:
    found = pseudospectral_perturbation(A, epsilon, dynamics=dynamics, real=False)
    E = found.perturbation
    np.testing.assert_allclose([np.linalg.norm(E, 2), found.norm], epsilon, rtol=1e-12)
    np.testing.assert_allclose(found.scaled, E, rtol=1e-12)
    nearest = np.abs(np.linalg.eigvals(A + E) - found.z).min()
    assert nearest <= rounding(A, found)
    assert found.landing <= found.tolerance
    assert found.lands
    level = abs(found.z) if dynamics == "discrete" else found.z.real
    np.testing.assert_allclose(level, found.predicted, rtol=1e-9, atol=1e-9 * epsilon)
    assert abs(found.reached - found.predicted) <= rounding(A, found) + 1e-9 * (
        abs(found.predicted) + epsilon
    )


@given(squares(is_complex=False), EPSILONS, DYNAMICS)
def test_a_real_perturbation_lands_at_the_price_of_a_larger_norm(
    A: Square, epsilon: float, dynamics: str
) -> None:
    found = pseudospectral_perturbation(A, epsilon, dynamics=dynamics)
    assert found.perturbation.dtype == found.scaled.dtype == np.float64
    assume(found.norm < 1e3 * epsilon)  # near the real axis the norm grows without bound
    assert found.lands
    assert np.abs(np.linalg.eigvals(A + found.perturbation) - found.z).min() <= rounding(A, found)
    assert found.norm >= epsilon * (1 - 1e-12)
    if found.z.imag == 0:
        np.testing.assert_allclose(found.norm, epsilon, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.scaled, 2), epsilon, rtol=1e-12)
    assert found.scaled_reach <= found.predicted_upper + rounding(A, found)


@pytest.mark.parametrize("dynamics", ["discrete", "continuous"])
@pytest.mark.parametrize("is_complex", [False, True])
def test_none_of_a_thousand_draws_goes_farther(dynamics: str, is_complex: bool) -> None:
    rng = np.random.default_rng(0)
    for A in (grcar(6), rng.standard_normal((7, 7)), np.triu(rng.standard_normal((5, 5)))):
        found = pseudospectral_perturbation(A, 0.3, dynamics=dynamics, real=False)
        for rank in (1, len(A)):
            sides = rng.standard_normal((2, 2, 1000, len(A), rank))
            left, right = sides[0] + (1j * sides[1] if is_complex else 0)
            E = left @ right.swapaxes(-1, -2)
            E *= 0.3 / np.linalg.norm(E, 2, axis=(1, 2))[:, None, None]
            assert reach(A + E, dynamics).max() <= found.reached


@given(st.integers(2, 6), EPSILONS, SEEDS)
def test_a_normal_matrix_moves_as_far_as_it_is_perturbed(n: int, epsilon: float, seed: int) -> None:
    Q = unitary(n, is_complex=False, seed=seed)
    A = Q @ np.diag(np.linspace(0.1, 0.9, n)) @ Q.T
    found = pseudospectral_perturbation(A, epsilon)
    np.testing.assert_allclose([found.reached, found.scaled_reach], 0.9 + epsilon, rtol=1e-12)
    np.testing.assert_allclose(found.norm, epsilon, rtol=1e-12)
    assert found.before == pytest.approx(0.9)
    right = pseudospectral_perturbation(-A, epsilon, dynamics="continuous")
    np.testing.assert_allclose(right.reached, epsilon - 0.1, atol=1e-12)


@pytest.mark.parametrize("epsilon", [1e-6, 0.01, 0.5])
def test_jordan_blocks_of_order_two(epsilon: float) -> None:
    """For [[a, c], [0, a]] and real z = a + t: sigma_min = ε where t² = ε (ε + c)."""
    a, c = 0.3, 2.0
    found = pseudospectral_perturbation([[a, c], [0.0, a]], epsilon)
    expected = a + np.sqrt(epsilon * (epsilon + c))
    np.testing.assert_allclose([found.predicted, found.reached, found.scaled_reach], expected, rtol=1e-9)
    np.testing.assert_allclose(found.norm, epsilon, rtol=1e-12)
    assert found.z.imag == 0


@pytest.mark.parametrize("dynamics", ["discrete", "continuous"])
def test_a_rotation_takes_a_real_perturbation_of_the_least_norm(dynamics: str) -> None:
    """The whole matrix is stretched, or the identity added, and both eigenvalues move."""
    A = np.array([[0.6, -0.7], [0.7, 0.6]])
    found = pseudospectral_perturbation(A, 0.25, dynamics=dynamics)
    expected = A * 0.25 / np.hypot(0.6, 0.7) if dynamics == "discrete" else 0.25 * np.eye(2)
    np.testing.assert_allclose(found.perturbation, expected, atol=1e-12)
    np.testing.assert_allclose(found.norm, 0.25, rtol=1e-12)


@pytest.mark.parametrize("A", [np.zeros((2, 2)), np.eye(3), np.eye(5, k=1), np.diag([1.0, -1.0])])
def test_where_all_directions_are_as_far_a_real_one_is_taken(A: Square) -> None:
    found = pseudospectral_perturbation(A, 0.5)
    assert found.z.imag == 0
    np.testing.assert_allclose(found.norm, 0.5, rtol=1e-12)
    np.testing.assert_allclose(found.reached, found.predicted, rtol=1e-12)
    assert found.lands


def test_epsilon_zero_changes_nothing() -> None:
    A = grcar(8)
    for real in (True, False):
        found = pseudospectral_perturbation(A, 0.0, real=real)
        assert (found.perturbation == 0).all()
        assert found.before == found.predicted
        assert found.reached == pytest.approx(found.before, rel=1e-13)  # of E = 0 + 0i in complex arithmetic
        assert found.norm == found.residual == 0


def test_a_real_perturbation_of_larger_norm_is_also_given_at_epsilon() -> None:
    found = pseudospectral_perturbation(grcar(20), 0.1)
    assert found.z.imag != 0
    assert found.norm > 0.1
    assert found.before < found.scaled_reach < found.reached
    assert found.reached == pytest.approx(found.predicted, rel=1e-9)
    np.testing.assert_allclose(found.scaled * found.norm / 0.1, found.perturbation, rtol=1e-12)


def test_records_are_saved_and_read(tmp_path: object) -> None:
    found = pseudospectral_perturbation(grcar(5), 0.1, real=False)
    found.save(tmp_path / "found.npz")
    again = PseudospectralPerturbation.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(again.perturbation, found.perturbation)
    assert str(again) == str(found)
    assert str(found).startswith("PseudospectralPerturbation of norm 0.1 at epsilon 0.1: spectral radius")
    assert "abscissa" in str(dataclasses.replace(found, dynamics="continuous"))
    dataclasses.replace(found, scaled=np.zeros((2, 2))).save(tmp_path / "damaged.npz")
    with pytest.raises(ValueError, match="no saved result"):
        PseudospectralPerturbation.load(tmp_path / "damaged.npz")


def test_refusals() -> None:
    with pytest.raises(TypeError, match="A is complex; pass real=False"):
        pseudospectral_perturbation(1j * np.eye(2), 0.1)
    with pytest.raises(ValueError, match="epsilon"):
        pseudospectral_perturbation(np.eye(2), -0.1)
    with pytest.raises(ValueError, match="dynamics"):
        pseudospectral_perturbation(np.eye(2), 0.1, dynamics="both")
    with pytest.raises(ValueError, match="square"):
        pseudospectral_perturbation(np.ones((2, 3)), 0.1)
