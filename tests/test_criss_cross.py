"""Pseudospectral abscissa and radius: reference values, closed forms, invariants, refusals."""

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spectra.criss_cross
from spectra import (
    AccuracyWarning,
    ConvergenceError,
    gallery,
    numerical_abscissa,
    pseudospectral_abscissa,
    pseudospectral_radius,
    pseudospectrum,
    schur_form,
    spectral_norm,
    spectral_radius,
)

MEASURES = {"alpha_eps": pseudospectral_abscissa, "rho_eps": pseudospectral_radius}


@pytest.mark.parametrize("case", cases.reference("alpha_eps", "rho_eps", kind="320-bit"))
def test_reference_values(case):
    found = MEASURES[case.quantity](case.A, case.epsilon)
    assert abs(found.value - case.value) <= 1e-8 * abs(case.value)
    assert found.lower <= case.value <= found.upper


@pytest.mark.parametrize("case", cases.reference("alpha_eps", kind="320-bit"))
def test_radius_is_at_least_the_abscissa_to_the_last_bit(case):
    form = schur_form(case.A)
    assert (
        pseudospectral_radius(form, case.epsilon).value >= pseudospectral_abscissa(form, case.epsilon).value
    )


def test_published_values_of_grcar():
    form = schur_form(gallery.grcar(100))
    assert float(pseudospectral_abscissa(form, 1e-4)) == pytest.approx(2.412764923593, rel=1e-12)
    assert float(pseudospectral_radius(form, 1e-4)) == pytest.approx(2.852156096332, rel=1e-12)


@pytest.mark.parametrize("a", [-0.5, 0.3, 1.0 + 0.5j])
@pytest.mark.parametrize("k", [0.5, 20.0])
@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 3.0])
def test_closed_form_of_a_defective_pair(a, k, epsilon):
    """The pseudospectrum of [[a, k], [0, a]] is the disc abs(z - a)^2 <= epsilon (epsilon + k)."""
    A = np.array([[a, k], [0, a]])
    reach = np.sqrt(epsilon * (epsilon + k))
    assert float(pseudospectral_abscissa(A, epsilon)) == pytest.approx(
        np.real(a) + reach, rel=1e-12, abs=1e-12
    )
    assert float(pseudospectral_radius(A, epsilon)) == pytest.approx(abs(a) + reach, rel=1e-12)


def gaussian(seed, n, kind):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    return A + 1j * rng.standard_normal((n, n)) if kind == "complex" else A


some = given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 12),
    kind=st.sampled_from(["real", "complex"]),
    epsilon=st.sampled_from([1e-3, 1e-1, 2.0]),
)


@some
@settings(max_examples=40)
def test_normal_matrices_grow_by_epsilon(seed, n, kind, epsilon):
    Q, _ = np.linalg.qr(gaussian(seed, n, kind))
    d = np.random.default_rng(seed).standard_normal(n)
    A = Q @ np.diag(d) @ Q.conj().T
    assert float(pseudospectral_radius(A, epsilon)) == pytest.approx(np.abs(d).max() + epsilon, rel=1e-10)
    assert float(pseudospectral_abscissa(A, epsilon)) == pytest.approx(
        d.max() + epsilon, rel=1e-10, abs=1e-10
    )


@some
@settings(max_examples=40)
def test_invariants(seed, n, kind, epsilon):
    A = gaussian(seed, n, kind)
    U, _ = np.linalg.qr(gaussian(seed + 1, n, "complex"))
    abscissa, radius = pseudospectral_abscissa(A, epsilon), pseudospectral_radius(A, epsilon)
    turned = U @ A @ U.conj().T
    assert float(pseudospectral_abscissa(turned, epsilon)) == pytest.approx(
        abscissa.value, rel=1e-9, abs=1e-9
    )
    assert float(pseudospectral_radius(turned, epsilon)) == pytest.approx(radius.value, rel=1e-9)
    shifted = pseudospectral_abscissa(A + 0.7 * np.eye(n), epsilon)
    assert float(shifted) == pytest.approx(abscissa.value + 0.7, rel=1e-9, abs=1e-9)
    assert float(pseudospectral_abscissa(3 * A, 3 * epsilon)) == pytest.approx(
        3 * abscissa.value, rel=1e-9, abs=1e-9
    )
    assert float(pseudospectral_radius(-2 * A, 2 * epsilon)) == pytest.approx(2 * radius.value, rel=1e-9)
    assert float(pseudospectral_radius(A.conj().T, epsilon)) == pytest.approx(radius.value, rel=1e-9)
    assert spectral_radius(A) + epsilon <= radius.value * (1 + 1e-12)
    assert radius.value <= (spectral_norm(A) + epsilon) * (1 + 1e-12)
    assert abscissa.value <= numerical_abscissa(A) + epsilon + 1e-12 * spectral_norm(A)
    assert radius.value >= abscissa.value
    for found in (abscissa, radius):
        assert found.lower <= found.value <= found.upper
        assert found.upper - found.lower <= 1e-6 * (1 + abs(found.value))


@pytest.mark.slow
@given(seed=st.integers(0, 10**6), n=st.integers(2, 40), kind=st.sampled_from(["real", "complex"]))
@settings(max_examples=60)
def test_no_grid_point_lies_beyond(seed, n, kind):
    A = gaussian(seed, n, kind) / np.sqrt(n)
    epsilon = 0.1
    grid = pseudospectrum(A, shape=(60, 60))
    z = grid.x + 1j * grid.y[:, None]
    inside = z[grid.upper <= epsilon]
    if inside.size:
        assert inside.real.max() <= pseudospectral_abscissa(A, epsilon).upper
        assert np.abs(inside).max() <= pseudospectral_radius(A, epsilon).upper


def test_the_points_attain_the_value():
    A = gallery.grcar(30)
    found = pseudospectral_radius(A, 1e-2)
    assert len(found.points) == 2
    assert found.points[0] == found.points[1].conjugate()
    for z in found.points:
        sigma = np.linalg.svd(z * np.eye(30) - A, compute_uv=False)[-1]
        assert sigma == pytest.approx(1e-2, rel=1e-10)
        assert abs(z) == pytest.approx(found.value, rel=1e-15)


@pytest.mark.parametrize("excess", [0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-4, -1e-5])
@pytest.mark.parametrize("angle", [0.7, 2.0, np.pi])
def test_of_two_extremes_that_are_all_but_equal_the_larger_is_found(excess, angle):
    """Blocks [[a, k], [0, a]], turned, in a matrix so large that samples serve."""
    a, k, epsilon = 0.8, 3.0, 0.05
    A = np.zeros((40, 40), dtype=complex)
    A[:2, :2], A[2:4, 2:4] = [[a, k], [0, a]], np.exp(1j * angle) * np.array([[a, k * (1 + excess)], [0, a]])
    found = pseudospectral_radius(A, epsilon)
    k *= max(1.0, 1 + excess)
    assert found.method == "samples"
    assert found.value == pytest.approx(a + np.sqrt(epsilon * (epsilon + k)), rel=1e-10)


@pytest.mark.parametrize("measure", MEASURES.values())
@pytest.mark.parametrize("n", [30, 70])
@pytest.mark.parametrize("seed", range(3))
def test_samples_and_eigenvalues_agree(measure, n, seed, monkeypatch):
    A = gaussian(seed, n, ["real", "complex"][seed % 2]) / np.sqrt(n)
    for epsilon in (0.5, 1e-2, 1e-4):
        fast = measure(A, epsilon)
        with monkeypatch.context() as patch:
            patch.setattr(spectra.criss_cross, "_SMALL", 1000)
            slow = measure(A, epsilon)
        assert (fast.method, slow.method) == ("samples", "eigenvalues")
        assert fast.value == pytest.approx(slow.value, rel=1e-11)
        assert fast.lower <= slow.upper
        assert slow.lower <= fast.upper
        assert fast.upper - fast.lower <= 4e-7 * fast.value


def test_a_tiny_level_of_a_very_nonnormal_matrix_goes_to_eigenvalues():
    assert pseudospectral_radius(gallery.grcar(100), 1e-6).method == "eigenvalues"
    assert pseudospectral_radius(gallery.grcar(100), 1e-2).method == "samples"


def test_epsilon_zero_is_the_plain_spectrum():
    A = np.array([[1.0, 5.0], [0.0, -3.0]])
    assert float(pseudospectral_abscissa(A, 0)) == 1.0
    assert float(pseudospectral_radius(A, 0)) == 3.0


@pytest.mark.parametrize("measure", MEASURES.values())
def test_zero_one_by_one_and_extreme_scales(measure):
    assert float(measure(np.zeros((3, 3)), 0.25)) == pytest.approx(0.25, rel=1e-14)
    assert float(measure([[2.0]], 0.25)) == pytest.approx(2.25, rel=1e-14)
    assert float(measure(1e300 * np.eye(2), 1e299)) == pytest.approx(1.1e300, rel=1e-12)
    assert float(measure(1e-300 * np.eye(2), 1e-301)) == pytest.approx(1.1e-300, rel=1e-12)
    assert float(measure(np.eye(2), 1e300)) == pytest.approx(1e300, rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES.values())
@pytest.mark.parametrize("size", [0.0, 2.0**-1074, 1e-320, 1e-310])
@pytest.mark.parametrize("epsilon", [2.0**-1074, 1e-310, 1e-300, 0.1])
def test_subnormal_numbers(measure, size, epsilon):
    found = measure(size * np.eye(2), epsilon)
    assert found.lower <= found.value <= found.upper
    assert found.value == pytest.approx(size + epsilon, rel=1e-12, abs=2.0**-1072)


@pytest.mark.parametrize("measure", MEASURES.values())
@pytest.mark.parametrize("size", [2.0**-540, 2.0**-700, 2.0**-1022])
def test_a_matrix_that_is_nothing_beside_the_level(measure, size):
    """LAPACK's QZ can fail beside entries this small."""
    for seed in range(6):
        found = measure(size * gaussian(seed, 4, "real"), 1.0)
        assert found.value == pytest.approx(1.0, rel=1e-15)
        assert found.lower <= 1.0 <= found.upper


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("signs", [[1, 1, 1, 1], [-1, -1, -1, -1], [1, -1, 1, 1]])
def test_radius_of_a_permutation_of_order_four(epsilon, signs):
    """LAPACK's QZ runs in a circle for some of these."""
    found = pseudospectral_radius(np.roll(np.diag(signs), 1, axis=0), epsilon)
    assert found.value == pytest.approx(1 + epsilon, rel=1e-14)
    assert found.lower <= 1 + epsilon <= found.upper


@pytest.mark.parametrize("measure", MEASURES.values())
def test_entries_of_very_different_sizes(measure):
    a, b, c = -3.1498320853799246e42 + 1.0304269866071895e82j, 6.912252053249979e235j, 7.483145500582097e109
    with pytest.warns(AccuracyWarning, match="rounding level"):
        found = measure([[a, 0.0, 1.3512910496660151e181j], [0.0, b, 0.0], [0.0, 0.0, c]], 1e-2)
    assert found.lower <= (abs(b) if measure is pseudospectral_radius else c) <= found.upper


@pytest.mark.parametrize("measure", MEASURES.values())
@pytest.mark.parametrize("epsilon", [0, 0.1])
def test_sums_beyond_the_floats_are_refused(measure, epsilon):
    with pytest.raises(ValueError, match=r"A and epsilon reach up to .* divide them by a power of two"):
        measure(np.full((2, 2), 1.7e308), epsilon)


@pytest.mark.parametrize("n", range(2, 14))
@pytest.mark.parametrize("epsilon", [1.0301857131358738e-05, 1e-3, 0.1, 0.5])
def test_the_radius_is_never_below_the_abscissa(n, epsilon):
    ring = np.roll(np.eye(n), 1, axis=0)  # the radius is attained n times, once on the positive real axis
    assert pseudospectral_radius(ring, epsilon).value >= pseudospectral_abscissa(ring, epsilon).value


@pytest.mark.parametrize("measure", MEASURES.values())
def test_below_the_noise_it_warns_and_widens(measure):
    with pytest.warns(AccuracyWarning, match="rounding level"):
        found = measure(np.eye(5) + np.eye(5, k=1), 1e-300)
    assert found.lower <= 1.0 <= found.upper


@pytest.mark.parametrize("measure", MEASURES.values())
@pytest.mark.parametrize(
    ("epsilon", "error"), [(-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("0.1", TypeError)]
)
def test_bad_levels_are_refused(measure, epsilon, error):
    with pytest.raises(error, match="epsilon"):
        measure(np.eye(2), epsilon)


def test_a_search_that_does_not_settle_gives_its_best(monkeypatch):
    monkeypatch.setattr(spectra.criss_cross, "_MOST_STEPS", 0)
    with pytest.raises(ConvergenceError, match="did not settle") as caught:
        pseudospectral_abscissa(gallery.grcar(10), 1e-2)
    assert caught.value.best.lower <= caught.value.best.value
