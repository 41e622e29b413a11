"""Distance to instability and Kreiss constant: reference values, closed forms, invariants, refusals."""

import functools
import warnings

import cases
import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import gaussian, normals, squares, unitary

import spectra.three_circles
from spectra import (
    AccuracyWarning,
    distance_to_instability,
    gallery,
    henrici_departure,
    kreiss_constant,
    numerical_radius,
    schur_form,
    spectral_norm,
)

DYNAMICS = ("discrete", "continuous")
SHORT = {"disc": "discrete", "cont": "continuous"}

either = pytest.mark.parametrize("dynamics", DYNAMICS)
both = pytest.mark.parametrize("measure", [distance_to_instability, kreiss_constant])


def stable(A, dynamics, margin=0.05):
    """A made stable: spectral radius at most 1 - margin, or spectral abscissa -margin."""
    if dynamics == "continuous":
        return A - (naive.spectral_abscissa(A) + margin) * np.eye(len(A))
    return A * min(1.0, (1 - margin) / max(naive.spectral_radius(A), 1e-300))


def random_stable(seed, n, dynamics, margin=0.05):
    rng = np.random.default_rng(seed)
    A = gaussian(n, n, is_complex=bool(rng.integers(2)), seed=seed) / np.sqrt(n)
    return stable(np.triu(A) + rng.choice([0.0, 0.5, 1.0]) * np.tril(A, -1), dynamics, margin)


# ------------------------------------------------------------------------------- published values


@pytest.mark.parametrize("case", cases.reference("dist_instab_disc", "dist_instab_cont", kind="320-bit"))
def test_reference_distances(case):
    found = distance_to_instability(case.A, dynamics=SHORT[case.quantity[-4:]])
    assert abs(found.value - case.value) <= 1e-8 * case.value
    assert found.lower <= case.value <= found.upper
    assert found.upper - found.lower <= 2e-6 * case.value + 1e-9 * naive.spectral_norm(case.A)


@pytest.mark.parametrize("case", cases.reference("kreiss_disc", "kreiss_cont", kind="320-bit"))
def test_reference_kreiss_constants(case):
    found = kreiss_constant(case.A, dynamics=SHORT[case.quantity[-4:]])
    assert abs(found.value - case.value) <= 1e-8 * case.value
    assert found.lower <= case.value <= found.upper <= 1.001 * found.lower * (1 + 1e-9)


@pytest.mark.parametrize("case", cases.reference("kreiss_disc", "kreiss_cont", kind="320-bit"))
@pytest.mark.parametrize("rtol", [0.3, 1e-5])
def test_the_interval_is_as_wide_as_asked_for(case, rtol):
    found = kreiss_constant(case.A, dynamics=SHORT[case.quantity[-4:]], rtol=rtol)
    assert found.lower <= case.value <= found.upper <= (1 + rtol) * found.lower * (1 + 1e-9)
    assert abs(found.value - case.value) <= 1e-8 * case.value


@either
@pytest.mark.parametrize("gap", [0.03, 0.5, 0.9])
@pytest.mark.parametrize("k", [0.1, 1.0, 30.0, 1e4])
def test_closed_forms_of_a_defective_pair(dynamics, gap, k):
    """sigma_min at distance r from the eigenvalue is (r^2 + k^2/4)^(1/2) - k/2; K follows by calculus."""
    a = 1 - gap if dynamics == "discrete" else -gap
    A = np.array([[a, k], [0.0, a]])
    K = k / (4 * gap) + gap / k if k > 2 * gap else 1.0
    distance = gap**2 / (np.hypot(gap, k / 2) + k / 2)
    found = kreiss_constant(A, dynamics=dynamics)
    assert found.value == pytest.approx(K, rel=1e-9)
    assert found.lower <= K * (1 + 1e-14)
    assert found.upper >= K * (1 - 1e-14)
    assert found.upper <= found.lower * (1.001 + 1e-9)
    nearest = distance_to_instability(A, dynamics=dynamics)
    assert nearest.value == pytest.approx(distance, rel=1e-9, abs=1e-14 * k)
    assert nearest.lower <= distance <= nearest.upper


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_nilpotent_jordan_block(n):
    """Powers of norm 1 and a numerical range in the unit disc: K = 1 exactly."""
    found = kreiss_constant(gallery.jordan_block(n), dynamics="discrete")
    assert (found.value, found.lower, found.upper) == (1.0, 1.0, 1.0)


def test_numerical_radius_one_means_kreiss_constant_one():
    """w(A) = 1 although the norm is 2."""
    found = kreiss_constant([[0.0, 2.0], [0.0, 0.0]], dynamics="discrete")
    assert (found.value, found.upper) == (1.0, 1.0)


def two_blocks(k, other, angle):
    """Defective pairs at 0.9 and at an angle from it, each with its own K and distance (gap 0.1)."""
    A = np.zeros((4, 4), dtype=complex)
    A[:2, :2], A[2:, 2:] = [[0.9, k], [0, 0.9]], np.exp(1j * angle) * np.array([[0.9, other], [0, 0.9]])
    return A


@pytest.mark.parametrize("angle", [0.7, 2.0, np.pi, -1.3])
@pytest.mark.parametrize("excess", [0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, -1e-5])
def test_of_two_maxima_that_are_all_but_equal_the_larger_is_found(angle, excess):
    """Far closer than the interval is wide."""
    k = 3.0
    A, largest = two_blocks(k, k * (1 + excess), angle), k * max(1.0, 1 + excess)
    K, distance = largest / 0.4 + 0.1 / largest, 0.01 / (np.hypot(0.1, largest / 2) + largest / 2)
    assert kreiss_constant(A, dynamics="discrete").value == pytest.approx(K, rel=1e-8)
    assert distance_to_instability(A, dynamics="discrete").value == pytest.approx(distance, rel=1e-8)


def test_a_second_peak_in_a_valley_already_climbed_is_found():
    """Its place is next to that of the peak nearest to the boundary, but its level is twice as high."""
    A = random_stable(25, 25, "continuous", 0.002)
    found, finer = (kreiss_constant(A, dynamics="continuous", rtol=rtol) for rtol in (1e-3, 1e-5))
    assert found.value == pytest.approx(697.742107748, rel=1e-9)
    assert finer.lower <= found.value <= finer.upper <= finer.lower * (1 + 1.1e-5)


# ------------------------------------------------------------------------------- naive definitions


@either
@given(A=squares())
@settings(max_examples=25)
def test_distance_against_dense_samples(dynamics, A):
    A = stable(A, dynamics)
    found = distance_to_instability(A, dynamics=dynamics)
    assert found.value <= naive.boundary_distance(A, dynamics) * (1 + 1e-12) + 1e-13
    for z in found.points:
        assert naive.sigma_min(A, complex(z)) == pytest.approx(found.value, rel=1e-9, abs=1e-13)
        assert (abs(z) if dynamics == "discrete" else z.real + 1) == pytest.approx(1.0, rel=1e-15)


@either
@given(A=squares())
@settings(max_examples=15)
def test_kreiss_constant_against_dense_samples(dynamics, A):
    A = stable(A, dynamics)
    found = kreiss_constant(A, dynamics=dynamics)
    assert naive.kreiss_samples(A, dynamics) <= found.value * (1 + 1e-9)
    for z in found.points:
        gain = abs(z) - 1 if dynamics == "discrete" else z.real
        assert gain / naive.sigma_min(A, complex(z)) == pytest.approx(found.value, rel=1e-9)


# ------------------------------------------------------------------------------------- invariants


def check_distance(A, dynamics, seed):
    found = distance_to_instability(A, dynamics=dynamics)
    noise = 1e-12 * (1 + naive.spectral_norm(A))
    n = len(A)
    assert 0 < found.lower <= found.value <= found.upper
    assert found.upper - found.lower <= 1.1e-6 * found.value + noise
    margin = 1 - naive.spectral_radius(A) if dynamics == "discrete" else -naive.spectral_abscissa(A)
    assert found.value <= margin + noise
    U = unitary(n, is_complex=True, seed=seed)
    turned = distance_to_instability(U @ A @ U.conj().T, dynamics=dynamics)
    assert turned.value == pytest.approx(found.value, rel=1e-8, abs=noise)
    adjoint = distance_to_instability(A.conj().T, dynamics=dynamics)
    assert adjoint.value == pytest.approx(found.value, rel=1e-8, abs=noise)
    angle = np.random.default_rng(seed).uniform(-np.pi, np.pi)
    point = np.exp(1j * angle) if dynamics == "discrete" else 1j * angle * naive.spectral_norm(A)
    assert found.lower <= naive.sigma_min(A, point) + noise
    z = complex(found.points[0])
    left, _, right = np.linalg.svd(z * np.eye(n) - A)
    E = found.value * np.outer(left[:, -1], right[-1])  # the worst perturbation puts an eigenvalue on z
    assert naive.sigma_min(A + E, z) <= 1e-8 * found.value + noise
    if dynamics == "continuous":
        scaled = distance_to_instability(3.0 * A, dynamics=dynamics)
        assert scaled.value == pytest.approx(3 * found.value, rel=1e-8, abs=noise)
    else:  # not free of scale: what is left to the unit circle is at least the share of 1
        half = distance_to_instability(0.5 * A, dynamics=dynamics)
        assert half.value >= 0.5 * found.value
        assert half.value >= 1 - 0.5 * naive.spectral_norm(A) - noise


def check_kreiss(A, dynamics, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = kreiss_constant(A, dynamics=dynamics)
    n = len(A)
    assert 1 <= found.lower <= found.value <= found.upper <= found.lower * (1.001 + 1e-6)
    U = unitary(n, is_complex=True, seed=seed)
    turned = kreiss_constant(U @ A @ U.conj().T, dynamics=dynamics)
    assert turned.value == pytest.approx(found.value, rel=1e-7)
    assert kreiss_constant(A.conj().T, dynamics=dynamics).value == pytest.approx(found.value, rel=1e-7)
    distance = distance_to_instability(A, dynamics=dynamics)
    if dynamics == "continuous":
        assert kreiss_constant(5.0 * A, dynamics=dynamics).value == pytest.approx(found.value, rel=1e-7)
        return
    powers = naive.power_norms(A, range(200))
    assert found.lower <= powers.max() * (1 + 1e-12)
    assert powers.max() <= np.e * n * found.upper
    for epsilon in (0.5 * distance.value, 2 * distance.value, 1.0):  # K = sup (rho_eps - 1) / eps
        radius = spectra.pseudospectral_radius(A, epsilon).lower
        assert (radius - 1) / epsilon <= found.upper


@either
@given(seed=st.integers(0, 10**6), n=st.integers(1, 10))
@settings(max_examples=30)
def test_invariants_of_the_distance(dynamics, seed, n):
    check_distance(random_stable(seed, n, dynamics), dynamics, seed)


@either
@given(seed=st.integers(0, 10**6), n=st.integers(1, 10))
@settings(max_examples=30)
def test_invariants_of_the_kreiss_constant(dynamics, seed, n):
    check_kreiss(random_stable(seed, n, dynamics), dynamics, seed)


@pytest.mark.slow
@either
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), margin=st.sampled_from([0.3, 0.05, 0.002]))
@settings(max_examples=200)
def test_invariants_of_larger_matrices(dynamics, seed, n, margin):
    A = random_stable(seed, n, dynamics, margin)
    check_distance(A, dynamics, seed)
    check_kreiss(A, dynamics, seed)


@given(A=normals())
@settings(max_examples=40)
def test_normal_matrices(A):
    """K = 1 and the distance is that of the outermost eigenvalue, also right on the boundary."""
    rho = naive.spectral_radius(A)
    assume(rho > 1e-3)
    for radius in (0.7, 1.0):
        assert kreiss_constant(A * (radius / rho), dynamics="discrete").value == 1.0
    near = distance_to_instability(A * (0.7 / rho), dynamics="discrete")
    assert near.value == pytest.approx(0.3, rel=1e-8)
    shifted = A - (naive.spectral_abscissa(A) + 0.5 * rho) * np.eye(len(A))
    assert kreiss_constant(shifted, dynamics="continuous").value == 1.0
    assert distance_to_instability(shifted, dynamics="continuous").value == pytest.approx(0.5 * rho, rel=1e-8)


@either
@given(A=squares(), excess=st.floats(0.01, 5.0))
@settings(max_examples=30)
def test_unstable_matrices(dynamics, A, excess):
    if dynamics == "discrete":
        rho = naive.spectral_radius(A)
        assume(rho > 1e-2)
        A = A * ((1 + excess) / rho)
    else:
        A = A + (excess - naive.spectral_abscissa(A)) * np.eye(len(A))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)  # where rounding could hide it
        found = kreiss_constant(A, dynamics=dynamics)
    assert (found.value, found.upper) == (np.inf, np.inf)
    distance = distance_to_instability(A, dynamics=dynamics)
    assert distance.value == distance.lower == 0.0
    assert distance.upper <= 1e-13 * (1 + naive.spectral_norm(A)) * len(A)
    assert len(distance.points) >= 1


@given(seed=st.integers(0, 10**6), n=st.integers(2, 8))
@settings(max_examples=30)
def test_small_norm_or_numerical_radius_means_one(seed, n):
    A = gaussian(n, n, is_complex=bool(seed % 2), seed=seed)
    assert kreiss_constant(A / (1.001 * spectral_norm(A)), dynamics="discrete").value == 1.0
    just = kreiss_constant(A / (1.0001 * numerical_radius(A).value), dynamics="discrete")
    assert (just.value, just.upper) == (1.0, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_a_schur_form_serves_as_well(seed):
    A = random_stable(seed, 6, "discrete")
    for measure in (kreiss_constant, distance_to_instability):
        first, second = measure(A, dynamics="discrete"), measure(schur_form(A), dynamics="discrete")
        assert (first.value, first.lower, first.upper) == (second.value, second.lower, second.upper)


# ------------------------------------------------------------------------- limits of the arithmetic


@pytest.mark.parametrize("entry", [1.0, -1.0, 1j])
def test_one_by_one_on_the_boundary(entry):
    found = kreiss_constant([[entry]], dynamics="discrete")
    assert (found.value, found.upper) == (1.0, 1.0)
    distance = distance_to_instability([[entry]], dynamics="discrete")
    assert distance.value == 0.0
    assert distance.upper <= 1e-14


def test_one_by_one_inside_and_outside():
    assert kreiss_constant([[0.5]], dynamics="discrete").upper == 1.0
    assert kreiss_constant([[2]], dynamics="discrete").lower == np.inf
    assert kreiss_constant([[-2]], dynamics="continuous").upper == 1.0
    assert kreiss_constant([[0.0]], dynamics="continuous").upper == 1.0
    assert float(distance_to_instability([[0.5j]], dynamics="discrete")) == pytest.approx(0.5, rel=1e-12)
    assert float(distance_to_instability([[-3.0]], dynamics="continuous")) == pytest.approx(3.0, rel=1e-12)
    assert distance_to_instability([[2.0]], dynamics="discrete").upper == 0.0


def test_matrices_on_the_boundary_that_contract():
    ring = np.roll(np.eye(5), 1, axis=0)
    for A in (ring, np.eye(4), [[0.0, 1.0], [-1.0, 0.0]], np.diag([1.0, 0.3])):
        assert kreiss_constant(A, dynamics="discrete").value == 1.0
    assert kreiss_constant([[0.0, 1.0], [-1.0, 0.0]], dynamics="continuous").upper == 1.0
    blocks = np.zeros((3, 3))
    blocks[0, 0], blocks[1, 2] = 1.0, 2.0  # an eigenvalue 1 beside a block of norm 2, w(A) = 1
    assert kreiss_constant(blocks, dynamics="discrete").value == 1.0


@pytest.mark.parametrize(
    ("A", "limit"), [([[1.0, 5.0], [0.0, 0.5]], 101**0.5), ([[1, 1], [0, -1.0]], 1.25**0.5)]
)
def test_a_simple_eigenvalue_on_the_boundary_gives_its_condition_number_and_no_upper_bound(A, limit):
    with pytest.warns(AccuracyWarning, match="boundary of stability up to rounding"):
        found = kreiss_constant(A, dynamics="discrete")
    assert found.upper == np.inf
    assert found.value >= limit * (1 - 1e-5)
    assert found.lower <= found.value


@either
def test_a_defective_eigenvalue_on_the_boundary_has_a_large_lower_bound(dynamics):
    a = 1.0 if dynamics == "discrete" else 0.0
    with pytest.warns(AccuracyWarning, match="no upper bound"):
        found = kreiss_constant([[a, 1.0], [0.0, a]], dynamics=dynamics)
    assert found.lower > 1e5
    assert found.upper == np.inf


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_close_to_the_boundary(gap):
    found = kreiss_constant([[1 - gap, 5.0], [0.0, 0.5]], dynamics="discrete")
    assert found.upper <= found.lower * (1.001 + 1e-6)
    assert found.value == pytest.approx(101**0.5, rel=3 * gap**0.5)


def test_too_many_curves_leave_the_interval_as_it_is(monkeypatch):
    monkeypatch.setattr(spectra.three_circles, "_MOST_CURVES", 6)
    A = [[0.999, 5.0], [0.0, 0.5]]
    with pytest.warns(AccuracyWarning, match="not bounded to rtol"):
        found = kreiss_constant(A, dynamics="discrete")
    assert found.lower <= 9.21216077 <= found.upper < np.inf


def test_a_distance_below_the_noise_says_so():
    A = np.array([[0.5, 1e10], [0.0, 0.5]])  # the distance is 2.5e-11, one rounding of A is 1e-6
    with pytest.warns(AccuracyWarning, match="rounding level"):
        found = distance_to_instability(A, dynamics="discrete")
    assert found.lower <= 2.5e-11 <= found.upper


@pytest.mark.parametrize("size", [1e300, 1e-300])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_extreme_scales(size, unit):
    A = np.array([[-1.0, 5.0], [0.0, -0.5]], dtype=complex if unit == 1j else float)
    plain = distance_to_instability(A, dynamics="continuous")
    scaled = distance_to_instability(size * A, dynamics="continuous")
    assert scaled.value / size == pytest.approx(plain.value, rel=1e-8)
    K = kreiss_constant(A, dynamics="continuous")
    assert kreiss_constant(size * A, dynamics="continuous").value == pytest.approx(K.value, rel=1e-8)
    discrete = kreiss_constant(unit * size * A, dynamics="discrete")
    distance = distance_to_instability(unit * size * A, dynamics="discrete")
    if size > 1:
        assert (discrete.lower, distance.upper) == (np.inf, 0.0)
    else:
        assert discrete.upper == 1.0
        assert distance.value == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.complex64])
def test_every_number_type_is_taken(dtype):
    A = np.array([[0, 2], [0, 0]], dtype=dtype)
    assert kreiss_constant(A, dynamics="discrete").value == 1.0
    assert distance_to_instability(A, dynamics="discrete").value == pytest.approx(2**0.5 - 1, rel=1e-12)


def test_zero_matrices():
    zero = np.zeros((3, 3))
    assert kreiss_constant(zero, dynamics="discrete").upper == 1.0
    assert kreiss_constant(zero, dynamics="continuous").upper == 1.0
    assert distance_to_instability(zero, dynamics="discrete").value == pytest.approx(1.0, rel=1e-12)
    assert distance_to_instability(zero, dynamics="continuous").value == 0.0


def test_departure_grows_the_constant():
    values = []
    for k in (0.0, 1.0, 3.0, 9.0):
        A = np.array([[0.5, k], [0.0, -0.3]])
        values.append((henrici_departure(A), kreiss_constant(A, dynamics="discrete").value))
    assert values == sorted(values)
    assert values[0][1] == 1.0


# --------------------------------------------------------------------------------------- refusals


@both
@pytest.mark.parametrize("dynamics", ["circle", None, 1])
def test_dynamics_is_one_of_two_words(measure, dynamics):
    with pytest.raises(ValueError, match=r"dynamics is .*; expected one of 'discrete', 'continuous'"):
        measure([[0.5]], dynamics=dynamics)


@both
def test_dynamics_has_no_default(measure):
    with pytest.raises(TypeError, match="dynamics"):
        measure([[0.5]])


def test_perturbation_is_one_of_two_words():
    with pytest.raises(ValueError, match="perturbation is 'structured'; expected one of 'complex', 'real'"):
        distance_to_instability([[0.5]], dynamics="discrete", perturbation="structured")


def test_real_perturbations_of_a_real_matrix_are_no_smaller():
    A = random_stable(4, 5, "discrete").real
    A = stable(A, "discrete")
    free = distance_to_instability(A, dynamics="discrete")
    real = distance_to_instability(A, dynamics="discrete", perturbation="real")
    assert real.upper >= free.lower


def test_real_perturbations_are_for_real_matrices():
    with pytest.raises(TypeError, match="A is complex"):
        distance_to_instability([[0.5j]], dynamics="discrete", perturbation="real")


@pytest.mark.parametrize("rtol", [0.0, -1.0, 1e-9, 0.6, np.nan])
def test_rtol_has_a_range(rtol):
    with pytest.raises(ValueError, match="rtol"):
        kreiss_constant([[0.5]], dynamics="discrete", rtol=rtol)


def test_rtol_is_a_number():
    with pytest.raises(TypeError, match="rtol"):
        kreiss_constant([[0.5]], dynamics="discrete", rtol="fine")


@both
@pytest.mark.parametrize(
    ("A", "error"),
    [(np.ones((2, 3)), ValueError), ([[np.nan]], ValueError), ([], ValueError), ([["a"]], TypeError)],
)
def test_bad_matrices_are_refused(measure, A, error):
    with pytest.raises(error, match=r"^A "):
        measure(A, dynamics="discrete")


@both
def test_entries_near_the_largest_float_are_refused(measure):
    with pytest.raises(ValueError, match="divide them by a power of two"):
        measure(np.full((2, 2), 1.7e308), dynamics="continuous")


@pytest.mark.parametrize("measure", [distance_to_instability, functools.partial(kreiss_constant, rtol=1e-2)])
def test_the_matrix_comes_back_untouched(measure):
    A = random_stable(0, 5, "discrete")
    before = A.copy()
    measure(A, dynamics="discrete")
    assert np.array_equal(A, before)
