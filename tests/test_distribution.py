import naive
import numpy as np
import pytest
import scipy.integrate
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCALES, gaussian, rectangles, squares, unitary

import spectra.norms
from spectra import ConvergenceError, SpectralDistribution, schur_form, singular_value_distribution
from spectra.distribution import marchenko_pastur_density, marchenko_pastur_distribution

RATIOS = [1e-3, 0.1, 0.5, 0.9, 1.0]


def noise(m, n, seed=0):
    return np.random.default_rng(seed).standard_normal((m, n))


def spiked(m, n, strength, seed=0):
    """Noise and a signal of rank one, `strength` times as large as the transition."""
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal(m), rng.standard_normal(n)
    size = strength * (m * n) ** 0.25
    return noise(m, n, seed + 1) + size * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))


@pytest.mark.parametrize("y", RATIOS)
@given(st.floats(0, 1))
def test_the_law_equals_the_integral_of_its_density(y, share):
    low, high = (1 - y**0.5) ** 2, (1 + y**0.5) ** 2
    x = low + share * (high - low)
    expected = naive.marchenko_pastur_distribution(x, y)
    assert marchenko_pastur_distribution(np.array(x), y, 1.0) == pytest.approx(expected, abs=1e-11)
    assert marchenko_pastur_distribution(np.array(9 * x), y, 9.0) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("y", RATIOS)
@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_the_density_has_the_moments_of_the_law(y, variance):
    """Mass 1, mean s², second moment s⁴ (1 + y), nothing outside the edges."""
    low, high = variance * (1 - y**0.5) ** 2, variance * (1 + y**0.5) ** 2

    def moment(k):
        def at(angle):
            x = (low + high) / 2 - np.cos(angle) * (high - low) / 2
            density = marchenko_pastur_density(np.array([x]), y, variance)[0]
            return x**k * density * np.sin(angle) * (high - low) / 2

        return scipy.integrate.quad(at, 1e-9, np.pi)[0]

    assert moment(0) == pytest.approx(1.0, rel=1e-6)
    assert moment(1) == pytest.approx(variance, rel=1e-6)
    assert moment(2) == pytest.approx(variance**2 * (1 + y), rel=1e-6)
    outside = np.array([high * 1.01, high + 1e3, *([low * 0.99] if low else [])])
    assert not marchenko_pastur_density(outside, y, variance).any()
    assert marchenko_pastur_distribution(np.array([0.0, high + 1]), y, variance) == pytest.approx([0.0, 1.0])


@given(rectangles())
def test_the_fields_equal_their_definitions(A):
    found = singular_value_distribution(A)
    M, N = sorted(A.shape)
    gram = np.linalg.eigvalsh(A @ A.conj().T if len(A) == M else A.conj().T @ A)[::-1] / N
    assert found.eigenvalues == pytest.approx(gram, rel=1e-12, abs=1e-13 * gram[0])
    assert (found.rows, found.columns, found.aspect_ratio) == (*A.shape, M / N)
    median = np.median(gram) / found.variance  # the law of variance 1 has half its mass below
    assert naive.marchenko_pastur_distribution(median, M / N) == pytest.approx(0.5, abs=1e-11)
    edges = [found.variance * (1 - (M / N) ** 0.5) ** 2, found.variance * (1 + (M / N) ** 0.5) ** 2]
    assert [found.lower_edge, found.upper_edge] == pytest.approx(edges, rel=1e-12)
    assert found.outliers == np.count_nonzero(gram > found.threshold)
    bulk = np.sort(gram[found.outliers :]) / found.variance
    law = np.array([naive.marchenko_pastur_distribution(x, M / N) for x in bulk])
    steps = np.arange(len(bulk) + 1) / len(bulk)
    distance = max(np.abs(steps[1:] - law).max(), np.abs(steps[:-1] - law).max())
    assert found.ks_distance == pytest.approx(distance, abs=1e-9)


@pytest.mark.parametrize(("m", "n"), [(400, 400), (400, 200), (150, 600), (800, 80)])
@pytest.mark.parametrize("is_complex", [False, True])
def test_gaussian_noise_follows_the_law(m, n, is_complex):
    A = 3 * gaussian(m, n, is_complex=is_complex, seed=4)
    found = singular_value_distribution(A)
    variance, y = 9 * (1 + is_complex), found.aspect_ratio
    assert found.variance == pytest.approx(variance, rel=0.03)
    assert found.upper_edge == pytest.approx(variance * (1 + y**0.5) ** 2, rel=0.03)
    assert found.eigenvalues[0] == pytest.approx(found.upper_edge, rel=0.07)
    assert found.outliers == 0
    assert found.ks_distance <= 6 / min(m, n)


def test_the_threshold_is_that_of_ma_and_johnstone():
    """With the constants of Ma (2012) and the 99.9% point of the Tracy-Widom law, for 100 x 50."""
    found = singular_value_distribution(noise(100, 50))
    roots = 99.5**0.5, 49.5**0.5
    centre, spread = sum(roots) ** 2, sum(roots) * (1 / roots[0] + 1 / roots[1]) ** (1 / 3)
    assert found.threshold == pytest.approx(found.variance * (centre + 3.2724 * spread) / 100, rel=1e-12)
    assert found.threshold > found.upper_edge


@pytest.mark.parametrize(("n", "most"), [(30, 0.04), (100, 0.02)])
def test_noise_has_an_outlier_about_once_in_a_hundred(n, most):
    shares = [singular_value_distribution(noise(n, n, seed)).outliers > 0 for seed in range(400)]
    assert np.mean(shares) <= most


@pytest.mark.parametrize(("m", "n"), [(400, 200), (300, 300), (100, 500)])
def test_a_spike_is_an_outlier_only_beyond_the_transition(m, n):
    for seed in range(5):
        assert singular_value_distribution(spiked(m, n, 2.0, seed)).outliers == 1
        assert singular_value_distribution(spiked(m, n, 0.7, seed)).outliers == 0


def test_spikes_do_not_move_the_variance():
    A = noise(400, 200)
    A[:, :5] *= 10
    found = singular_value_distribution(A)
    assert found.outliers == 5
    assert found.variance == pytest.approx(1.0, rel=0.06)
    assert naive.frobenius_norm(A) ** 2 / A.size > 3  # the plain estimate


def test_heavy_tails_are_far_from_the_law():
    rng = np.random.default_rng(1)
    plain = singular_value_distribution(noise(300, 200)).ks_distance
    for degrees, least in ((1, 0.2), (2, 0.04)):
        heavy = singular_value_distribution(rng.standard_t(degrees, (300, 200)))
        assert heavy.ks_distance > max(least, 2 * plain)
        assert heavy.outliers > 5


@given(rectangles(), SCALES)
def test_transposition_scaling_and_unitary_factors(A, c):
    found = singular_value_distribution(A)
    U = unitary(len(A), is_complex=True, seed=1)
    for B, factor in ((A.T, 1.0), (c * A, c * c), (U @ A, 1.0)):
        other = singular_value_distribution(B)
        assert other.variance == pytest.approx(factor * found.variance, rel=1e-9, abs=1e-13 * factor)
        assert other.ks_distance == pytest.approx(found.ks_distance, abs=1e-7)
        assert other.outliers == found.outliers


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_extreme_scales_change_neither_counts_nor_distances(size):
    A = spiked(60, 40, 3.0)
    found, plain = singular_value_distribution(size * A), singular_value_distribution(A)
    assert found.singular_values == pytest.approx(size * plain.singular_values, rel=1e-13)
    assert found.outliers == plain.outliers == 1
    assert found.ks_distance == pytest.approx(plain.ks_distance, rel=1e-9)
    squared = np.inf if size > 1 else 0.0
    assert found.variance == found.threshold == found.eigenvalues[0] == squared
    assert singular_value_distribution(size * noise(9, 9)).lower_edge == 0.0


@pytest.mark.parametrize(
    ("A", "outliers"), [(np.zeros((3, 4)), 0), (np.ones((6, 4)), 1), (np.eye(9) * ([1] + [0] * 8), 1)]
)
def test_without_noise_all_that_is_not_zero_is_an_outlier(A, outliers):
    found = singular_value_distribution(A)
    assert (found.variance, found.threshold, found.ks_distance) == (0.0, 0.0, 0.0)
    assert found.outliers == outliers


def test_one_entry_is_its_own_median():
    found = singular_value_distribution([[-2.0]])
    assert found.eigenvalues == [4.0]
    assert found.outliers == 0
    assert found.ks_distance == pytest.approx(0.5, abs=1e-9)


@given(squares())
def test_a_schur_form_serves_as_well(A):
    assert singular_value_distribution(schur_form(A)).variance == singular_value_distribution(A).variance


def test_the_record_prints_one_line_and_loads_again(tmp_path):
    found = singular_value_distribution(spiked(60, 40, 3.0))
    assert str(found).startswith("Singular values of a 60 x 40 matrix: noise of variance")
    assert "1 outliers" in repr(found)
    found.save(tmp_path / "found.npz")
    loaded = SpectralDistribution.load(tmp_path / "found.npz")
    assert np.array_equal(loaded.singular_values, found.singular_values)
    assert (loaded.variance, loaded.outliers) == (found.variance, found.outliers)


def test_a_record_with_another_number_of_values_is_refused(tmp_path):
    found = singular_value_distribution(noise(6, 4))
    fields = {name: getattr(found, name) for name in found.__slots__} | {"columns": 5}
    SpectralDistribution(**fields).save(tmp_path / "found.npz")
    with pytest.raises(ValueError, match="no saved result"):
        SpectralDistribution.load(tmp_path / "found.npz")


@pytest.mark.parametrize(
    ("A", "error", "words"),
    [
        (np.ones(3), ValueError, "^A has shape"),
        ([[np.nan]], ValueError, "^A has a NaN"),
        ([["1"]], TypeError, "^A has dtype"),
        (np.ones((0, 2)), ValueError, "^A is empty"),
    ],
)
def test_refusals_name_the_argument(A, error, words):
    with pytest.raises(error, match=words):
        singular_value_distribution(A)


def test_a_failed_iteration_says_so(monkeypatch):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(spectra.norms.np.linalg, "svd", fail)
    with pytest.raises(ConvergenceError, match="gesdd failed"):
        singular_value_distribution([[1.0]])
