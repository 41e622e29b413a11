import numpy as np
import pytest

import spectra
from rnn.details import matrix_detail
from rnn.measuring.measures import MEASURES


def gaussian(m, n, seed=0):
    return np.random.default_rng(seed).standard_normal((m, n))


def test_a_square_matrix_has_everything():
    A = gaussian(6, 6) / 4
    found = matrix_detail("W", A, epsilon=0.05, rounding=True)
    assert list(found.values) == [measure.name for measure in MEASURES]
    assert found.failures == ()
    assert found.values["kreiss_constant"] == float(spectra.kreiss_constant(A, dynamics="discrete"))
    low, high = found.interval("numerical_radius")
    exact = spectra.numerical_radius(A)
    assert (low, high) == pytest.approx((exact.lower, exact.upper), rel=1e-12)
    assert found.interval("marchenko_pastur_distance") == (found.values["marchenko_pastur_distance"],) * 2
    assert found.portrait.sigma_min.shape == (60, 60)
    assert found.growth.norms[found.growth.times == 10][0] == pytest.approx(
        np.linalg.norm(np.linalg.matrix_power(A, 10), 2)
    )
    assert {effect.number_format for effect in found.rounding} >= {"float16", "bfloat16"}
    assert set(found.seconds) >= {"Schur form", "measures", "portrait", "growth", "rounding"}


def test_singular_values_of_a_rectangular_matrix():
    A = gaussian(4, 9)
    found = matrix_detail("W", A, epsilon=0.1)
    singular = np.linalg.svd(A, compute_uv=False)
    assert found.values["spectral_norm"] == pytest.approx(singular[0])
    assert found.values["stable_rank"] == pytest.approx((singular**2).sum() / singular[0] ** 2)
    assert found.values["condition_number"] == pytest.approx(singular[0] / singular[-1])
    assert set(found.values) == {measure.name for measure in MEASURES if not measure.square}
    assert (found.measures, found.portrait, found.growth) == (None, None, None)


def test_zero_and_singular_matrices_have_honest_values():
    zero = matrix_detail("W", np.zeros((3, 3)), epsilon=0.1)
    assert zero.values["spectral_norm"] == zero.values["stable_rank"] == 0
    assert zero.values["distance_to_instability"] == pytest.approx(1, rel=1e-14)
    assert zero.values["condition_number"] == np.inf
    jordan = matrix_detail("W", np.diag([1.0, 1.0], 1), epsilon=0.1)
    assert jordan.values["eigenvector_condition_number"] == np.inf
    assert jordan.values["henrici_departure_relative"] == pytest.approx(1)


def test_continuous_growth_is_that_of_the_exponential():
    from scipy.linalg import expm

    A = gaussian(4, 4) / 3 - np.eye(4)
    found = matrix_detail("W", A, dynamics="continuous", epsilon=0.1)
    time = found.growth.times[60]
    assert found.growth.norms[60] == pytest.approx(np.linalg.norm(expm(time * A), 2), rel=1e-9)
    assert found.growth.times[-1] == pytest.approx(20 / np.linalg.norm(A, 2))


def test_what_is_near_the_largest_float_fails_part_by_part():
    found = matrix_detail("W", np.full((3, 3), 1.7e308), epsilon=0.1)
    assert "spectral_norm" not in found.values
    assert any("beyond the largest float" in failure for failure in found.failures)
    assert any("measures not computed" in failure for failure in found.failures)
