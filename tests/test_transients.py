import dataclasses
import warnings

import cases
import mpmath
import naive
import numpy as np
import pytest
import scipy.linalg
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import SCALES, gaussian, normals, squares, unitary

from spectra import (
    AccuracyWarning,
    Extremum,
    TransientGrowth,
    gallery,
    norm_curves,
    numerical_abscissa,
    schur_form,
    spectral_norm,
    transient_growth,
)
from spectra.growth import GrowthBounds, growth_bounds

DYNAMICS = ["discrete", "continuous"]
NAIVE = {"discrete": naive.power_norms, "continuous": naive.exponential_norms}


def stable(A, dynamics, margin=0.1):
    """Scale or shift a matrix so that it is stable with room to spare."""
    if dynamics == "discrete":
        return A * (1 - margin) / max(naive.spectral_radius(A), 1e-3)
    return A - (naive.spectral_abscissa(A) + margin) * np.eye(len(A))


def pair_norm(p, q):
    """The norm of [[p, q], [0, p]]."""
    return (abs(q) + np.sqrt(abs(q) ** 2 + 4 * abs(p) ** 2)) / 2


def quiet(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        return transient_growth(*args, **kwargs)


@given(squares(), st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True))
def test_norms_of_powers_equal_the_definition(A, steps):
    times = np.sort(steps)
    found = transient_growth(A, times, dynamics="discrete")
    expected = naive.power_norms(A, times)
    assert np.array_equal(found.times, times)
    assert np.allclose(found.norms, expected, rtol=1e-9, atol=0)


@given(squares(), st.lists(st.floats(0, 8), min_size=1, max_size=12, unique=True))
def test_norms_of_exponentials_equal_the_definition(A, times):
    times = np.sort(times)
    found = quiet(stable(A, "continuous"), times, dynamics="continuous")
    expected = naive.exponential_norms(stable(A, "continuous"), times)
    assert np.array_equal(found.times, times)
    assert np.allclose(found.norms, expected, rtol=1e-9, atol=1e-12)


def test_a_horizon_stands_for_all_times_up_to_it():
    A = [[0.5, 1.0], [0.0, 0.25]]
    assert np.array_equal(transient_growth(A, 7, dynamics="discrete").times, np.arange(8.0))
    assert np.array_equal(
        transient_growth(A, np.int64(7), dynamics="continuous").times, np.linspace(0.0, 7.0, 201)
    )
    uniform = transient_growth(A, 7.0, dynamics="continuous")
    assert np.allclose(uniform.norms, naive.exponential_norms(A, uniform.times), rtol=1e-13)


@pytest.mark.parametrize(("a", "c"), [(0.5, 4.0), (0.9, 1j), (-0.3, 7.0), (1.1, 1.0), (0.6 + 0.6j, 2.0)])
def test_closed_form_of_the_powers_of_a_pair(a, c):
    found = transient_growth([[a, c], [0.0, a]], 60, dynamics="discrete")
    k = found.times
    expected = pair_norm(abs(a) ** k, k * abs(a) ** (k - 1) * abs(c))
    assert np.allclose(found.norms, expected, rtol=1e-12)
    assert found.peak == pytest.approx(expected.max(), rel=1e-12)
    assert found.peak_time == np.argmax(expected)
    assert found.rate == pytest.approx(abs(a), rel=1e-15)


@pytest.mark.parametrize(("a", "c"), [(-0.5, 4.0), (-1.0, 3j), (-0.2 + 5j, 1.0)])
def test_closed_form_of_the_exponential_of_a_pair(a, c):
    found = transient_growth([[a, c], [0.0, a]], 40.0, dynamics="continuous")
    expected = pair_norm(np.exp(found.times * a.real), found.times * abs(c) * np.exp(found.times * a.real))
    assert np.allclose(found.norms, expected, rtol=1e-11)
    fine = np.linspace(0, 10, 200_001)
    peak = pair_norm(np.exp(fine * a.real), fine * abs(c) * np.exp(fine * a.real))
    assert found.peak == pytest.approx(peak.max(), rel=1e-9)
    assert found.peak_time == pytest.approx(fine[np.argmax(peak)], abs=1e-3)
    assert found.peak_lower <= found.peak <= found.peak_upper <= 1.0011 * found.peak


@given(normals(), st.sampled_from(DYNAMICS))
def test_norms_of_a_normal_matrix_are_those_of_its_eigenvalues(A, dynamics):
    A = stable(A, dynamics)
    found = transient_growth(A, [0, 1, 2, 5, 20], dynamics=dynamics)
    level = naive.spectral_radius(A) if dynamics == "discrete" else np.exp(naive.spectral_abscissa(A))
    assert np.allclose(found.norms, level**found.times, rtol=1e-9, atol=1e-15)
    assert (found.peak, found.peak_time, found.peak_lower) == (1.0, 0.0, 1.0)
    assert found.peak_upper == pytest.approx(1.0, rel=1e-9)


def test_a_skew_hermitian_matrix_and_a_permutation_never_grow():
    S = np.array([[0.0, 2.0, -1.0], [-2.0, 0.0, 0.5], [1.0, -0.5, 0.0]])
    for A, dynamics in (
        (S, "continuous"),
        (1j * (S @ S), "continuous"),
        (np.roll(np.eye(4), 1, axis=0), "discrete"),
    ):
        found = transient_growth(A, 30, dynamics=dynamics)
        assert np.allclose(found.norms, 1.0, rtol=1e-12)
        assert (found.peak, found.peak_time, found.peak_lower, found.peak_upper) == (1.0, 0.0, 1.0, 1.0)


def exact_power_norms(A, times):
    """In integers, the norm in 60 digits."""
    with mpmath.workdps(60):
        powers = [np.linalg.matrix_power(A.astype(int).astype(object), k) for k in times]
        return [mpmath.svd_r(mpmath.matrix(P.tolist()), compute_uv=False)[0] for P in powers]


@pytest.mark.parametrize(
    "A", [gallery.gallery5(), gallery.godunov(), gallery.grcar(8), gallery.frank(6)], ids=len
)
def test_errors_of_powers_bound_the_rounding(A):
    times = np.arange(1, 13)
    found = transient_growth(A, times, dynamics="discrete")
    doubled = transient_growth(A, [3, 12], dynamics="discrete")
    for norm, error, exact in zip(found.norms, found.errors, exact_power_norms(A, times), strict=True):
        assert abs(norm - exact) <= error
    for norm, error, exact in zip(doubled.norms, doubled.errors, exact_power_norms(A, [3, 12]), strict=True):
        assert abs(norm - exact) <= error


@pytest.mark.parametrize(
    "A", [gallery.demmel(5), gallery.jordan_block(6, -0.5), gallery.convection_diffusion(6)], ids=len
)
def test_errors_of_exponentials_bound_the_rounding(A):
    times = np.linspace(0, 3, 13)
    for chosen in (times, times[[1, 2, 5, 11]]):
        found = quiet(A, chosen, dynamics="continuous")
        with mpmath.workdps(50):
            for t, norm, error in zip(chosen, found.norms, found.errors, strict=True):
                exact = mpmath.svd_r(mpmath.expm(mpmath.matrix(A.tolist()) * t), compute_uv=False)[0]
                assert abs(norm - exact) <= error
        assert found.errors.max() < 1e-4 * found.peak


def test_a_nilpotent_matrix_in_disguise_grows_and_vanishes():
    """Its computed eigenvalues are far from 0, and no lower bound trusts them."""
    found = transient_growth(gallery.gallery5(), 10, dynamics="discrete")
    assert (found.lower[5:] <= found.errors[5:]).all()
    assert found.peak == pytest.approx(float(exact_power_norms(gallery.gallery5(), [3])[0]), rel=1e-10)
    assert found.peak_upper == pytest.approx(found.peak, rel=1e-3)


@pytest.mark.parametrize("case", cases.reference("kreiss_disc", "kreiss_cont"))
def test_the_reference_kreiss_constant_bounds_the_peak(case):
    dynamics = "discrete" if case.quantity == "kreiss_disc" else "continuous"
    found = quiet(case.A, 60, dynamics=dynamics)
    assert found.kreiss_lower <= case.value * (1 + 1e-9)
    assert case.value <= found.kreiss_upper * (1 + 1e-9)
    assert case.value <= found.peak_upper
    assert found.peak_lower <= np.e * len(case.A) * case.value
    late = quiet(case.A, [60, 10_000], dynamics=dynamics)
    assert late.lower_until[-1] == pytest.approx(case.value, rel=1e-3)


@given(squares(), st.sampled_from(DYNAMICS))
def test_bounds_hold_the_curve(A, dynamics):
    A = stable(A, dynamics) if dynamics == "continuous" else A
    found = quiet(A, 25, dynamics=dynamics)
    assert found.norms[0] == 1.0
    assert found.errors[0] <= 1e-13
    assert (found.lower <= found.norms + found.errors).all()
    assert (found.norms - found.errors <= found.upper).all()
    assert (found.lower_until <= np.maximum.accumulate(found.norms + found.errors)).all() or (
        dynamics == "continuous" and found.lower_until[-1] <= found.peak_upper
    )
    assert (np.diff(found.lower_until) >= 0).all()
    assert (found.norms <= found.peak * (1 + 1e-11)).all()
    assert found.peak_lower <= found.peak * (1 + 1e-12) <= found.peak_upper * (1 + 2e-12)


@given(squares(), st.sampled_from(DYNAMICS), st.integers(1, 40))
def test_the_supremum_over_all_times_lies_in_the_interval(A, dynamics, horizon):
    """Whatever the horizon: the true curve is sampled far beyond it, and finely within."""
    A = stable(A, dynamics)
    found = quiet(A, horizon / 4 if dynamics == "continuous" else horizon, dynamics=dynamics)
    times = np.linspace(0, 30, 601) if dynamics == "continuous" else np.arange(150)
    assert NAIVE[dynamics](A, times).max() <= found.peak_upper * (1 + 1e-9)
    assert found.peak_lower <= found.peak * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", DYNAMICS)
@settings(max_examples=500)
@given(st.integers(2, 40), st.integers(0, 2**20), st.floats(0.0, 1.0), st.booleans(), st.floats(0.02, 0.5))
def test_all_bounds_of_larger_matrices(dynamics, n, seed, lower, is_complex, margin):
    A = gaussian(n, n, is_complex=is_complex, seed=seed) / np.sqrt(n)
    A = stable(np.triu(A) + lower * np.tril(A, -1), dynamics, margin)
    found = quiet(A, 40, dynamics=dynamics)
    times = np.linspace(0, 60, 181) if dynamics == "continuous" else np.arange(0, 200, 3)
    assert NAIVE[dynamics](A, times).max() <= found.peak_upper * (1 + 1e-9)
    assert np.allclose(found.norms, NAIVE[dynamics](A, found.times), rtol=1e-7, atol=1e-9 * found.peak**2)
    assert (found.lower <= found.norms + found.errors).all()
    assert (found.norms - found.errors <= found.upper).all()
    assert found.lower_until[-1] <= found.peak_upper * (1 + 1e-9)
    assert found.kreiss_lower <= found.peak_upper


@given(squares(least=2), st.sampled_from(DYNAMICS))
def test_a_long_horizon_leaves_a_narrow_interval(A, dynamics):
    A = stable(A, dynamics)
    assume(naive.eigenvector_condition_number(A) < 1e4)
    found = transient_growth(A, 150, dynamics=dynamics)
    assert found.peak_upper <= 1.0011 * found.peak
    assert found.peak - found.peak_lower <= 1e-6 * found.peak


@given(squares(), st.sampled_from(DYNAMICS))
def test_the_states_of_the_peak(A, dynamics):
    A = stable(A, dynamics)
    found = quiet(A, 20, dynamics=dynamics)
    exponential = dynamics == "continuous"
    P = (
        scipy.linalg.expm(found.peak_time * A)
        if exponential
        else np.linalg.matrix_power(A, int(found.peak_time))
    )
    x, y = found.initial_state, found.final_state
    assert np.allclose(P @ x, found.peak * y, atol=1e-9 * found.peak)
    assert np.linalg.norm(x) == pytest.approx(1.0, rel=1e-13)
    assert np.linalg.norm(y) == pytest.approx(1.0, rel=1e-13)
    assert x.dtype == y.dtype == A.dtype
    assert x[np.argmax(np.abs(x))].real > 0


@given(squares(), st.sampled_from(DYNAMICS))
def test_unitary_similarity_and_the_adjoint_change_no_norm(A, dynamics):
    A = stable(A, dynamics)
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    times = [0, 1, 2, 3, 7]
    before = quiet(A, times, dynamics=dynamics)
    for B in (Q @ A @ Q.conj().T, A.conj().T, A.conj()):
        after = quiet(B, times, dynamics=dynamics)
        assert np.allclose(after.norms, before.norms, rtol=1e-8, atol=1e-12 * before.peak**2)
        assert after.peak == pytest.approx(before.peak, rel=1e-8)


@given(squares(), SCALES)
def test_faster_dynamics_in_less_time(A, c):
    A, times = stable(A, "continuous"), np.linspace(0, 5, 11)
    before, after = (quiet(B, t, dynamics="continuous") for B, t in ((A, times), (c * A, times / c)))
    assert np.allclose(after.norms, before.norms, rtol=1e-9, atol=1e-14)
    assert after.peak == pytest.approx(before.peak, rel=1e-9)
    assert after.rate == pytest.approx(c * before.rate, rel=1e-6, abs=1e-9 * c)


@given(squares(), st.integers(1, 10), st.integers(1, 10))
def test_submultiplicative(A, j, k):
    found = transient_growth(A, j + k, dynamics="discrete")
    assert found.norms[j + k] <= found.norms[j] * found.norms[k] * (1 + 1e-12)


@given(squares())
def test_the_first_slope_is_the_numerical_abscissa(A):
    t = 1e-6 / (1 + spectral_norm(A))
    found = quiet(A, [0.0, t], dynamics="continuous")
    assert np.log(found.norms[1]) / t == pytest.approx(
        numerical_abscissa(A), abs=3e-6 * (1 + spectral_norm(A))
    )


def bounds_at(A, z, dynamics, constants=(), rates=()):
    """The lower bounds by one point, with the exact σ_min there."""
    return GrowthBounds(
        discrete=dynamics == "discrete",
        constants=np.array(constants),
        rates=np.array(rates),
        levels=np.array([abs(z) if dynamics == "discrete" else z.real]),
        residuals=np.array([naive.sigma_min(A, z) * (1 + 1e-10) + 1e-13]),
        kreiss=Extremum(1.0, 1.0, np.inf, np.zeros(0, dtype=complex), 0.0, 0),
    )


@given(squares(), st.sampled_from(DYNAMICS), st.complex_numbers(max_magnitude=3, allow_subnormal=False))
def test_every_point_of_the_plane_gives_lower_bounds(A, dynamics, z):
    A = A / (1 + naive.spectral_norm(A)) * 2
    times = np.arange(13.0) if dynamics == "discrete" else np.linspace(0, 6, 121)
    exact = NAIVE[dynamics](A, times)
    growth = naive.spectral_norm(A) if dynamics == "discrete" else naive.numerical_abscissa(A)
    bounds = bounds_at(A, z, dynamics, [1.0], [growth * (1 + 1e-12) + 1e-12])
    assert (bounds.lower(times) <= exact * (1 + 1e-9) + 1e-12).all()
    largest = np.maximum.accumulate(exact) * (1 if dynamics == "discrete" else 1.05)
    assert (bounds.lower_until(times) <= largest * (1 + 1e-9)).all()


def test_the_lower_bounds_are_sharp_where_they_can_be():
    """At an eigenvalue of a normal matrix; and far out, where the resolvent knows only the first power."""
    A, times = np.diag([0.9, 0.2]), np.arange(8.0)
    bounds = bounds_at(A, 0.9, "discrete", [1.0], [0.9])
    assert np.allclose(bounds.lower(times), 0.9**times, rtol=1e-11)
    N = np.array([[0.0, 50.0], [0.0, 0.0]])
    exact = 1 / naive.sigma_min(N, 2.0)
    assert bounds_at(N, 2.0, "discrete").lower_until(np.array([1e3]))[0] == pytest.approx(exact, rel=2e-9)
    assert bounds_at(N, 0.0 + 0j, "discrete").lower_until(times).max() <= 50


def test_rounding_makes_no_lower_bound_of_late_times():
    """Where almost nothing of a power is certain, and its factor is huge."""
    A, times = gallery.transient(20), np.array([10.0, 100.0, 1e4, 1e7, 1e12])
    for dynamics in DYNAMICS:
        bounds = growth_bounds(schur_form(A), dynamics)
        lower = bounds.lower(times)
        level = naive.spectral_radius(A) if dynamics == "discrete" else np.exp(naive.spectral_abscissa(A))
        assert (lower <= NAIVE[dynamics](A, times[:2]).max()).all()
        assert (lower[2:] <= 1e3 * level ** times[2:]).all()
        assert (bounds.lower_until(times) <= bounds.kreiss.upper * 4).all()


@given(squares(), st.floats(0.1, 4), st.floats(1e-8, 1e-2), st.integers(0, 2**20))
def test_a_perturbed_exponential_is_as_near_as_is_claimed(A, t, size, seed):
    A = stable(A, "continuous")
    E = gaussian(len(A), len(A), is_complex=True, seed=seed)
    E *= size / np.linalg.norm(E, 2)
    moved = np.linalg.norm(scipy.linalg.expm(t * A + E) - scipy.linalg.expm(t * A), 2)
    assert moved <= growth_bounds(schur_form(A), "continuous").perturbation(t, size) * (1 + 1e-6)


@given(squares(), st.sampled_from(DYNAMICS))
def test_each_upper_bound_holds_on_its_own(A, dynamics):
    A = stable(A, dynamics) * (0.5 if dynamics == "discrete" else 1.0)
    bounds = growth_bounds(schur_form(A), dynamics)
    times = np.arange(8.0)
    exact = NAIVE[dynamics](A, times)
    for i in range(len(bounds.rates)):
        one = dataclasses.replace(bounds, constants=bounds.constants[[i]], rates=bounds.rates[[i]])
        assert (exact <= one.upper(times) * (1 + 1e-9) + 1e-12).all()
        assert exact.max() <= one.upper_within(7.0) * (1 + 1e-9)
        assert exact[3:].max() <= one.upper_from(3.0) * (1 + 1e-9) + 1e-12


def test_the_interval_narrows_with_the_horizon():
    A = gallery.transient(20)
    widths = []
    for horizon in (5, 21, 100):
        found = transient_growth(A, horizon, dynamics="discrete")
        assert found.peak_lower <= 20.722347439 <= found.peak_upper * (1 + 1e-9)
        widths.append(found.peak_upper - found.peak_lower)
    assert widths[0] > widths[1] > 1
    assert widths[2] < 1e-8


def test_times_left_out_widen_the_interval_by_what_may_lie_between_them():
    A = gallery.transient(12)
    full = transient_growth(A, 100, dynamics="discrete")
    sparse = transient_growth(A, [3, 40, 100], dynamics="discrete")
    assert sparse.peak == full.norms[3]
    assert sparse.peak_lower <= full.peak <= sparse.peak_upper
    assert np.allclose(sparse.norms, full.norms[[3, 40, 100]], rtol=1e-12)


def test_a_peak_between_the_times_is_found():
    A = [[-0.5, 4.0], [0.0, -0.5]]
    fine = transient_growth(A, 20.0, dynamics="continuous")
    for times in ([0.0, 20.0], [20.0], [1.0, 5.0, 20.0]):
        found = transient_growth(A, times, dynamics="continuous")
        assert found.peak == pytest.approx(fine.peak, rel=1e-8)
        assert found.peak_upper <= 1.0011 * found.peak


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_an_unstable_matrix_has_no_bound_over_all_times(dynamics):
    found = transient_growth([[1.5, 10.0], [0.0, 0.5]], 20, dynamics=dynamics)
    assert found.peak_upper == found.kreiss_upper == np.inf
    assert found.peak == found.norms[-1]
    assert found.peak_time == 20
    late = transient_growth([[1.5, 10.0], [0.0, 0.5]], [1, 5000], dynamics=dynamics)
    assert late.norms[-1] == late.peak == np.inf
    assert late.peak_lower < np.inf
    assert np.isfinite(late.initial_state).all()


def test_a_horizon_too_short_leaves_theory():
    A = gallery.transient(20)
    found = transient_growth(A, 2, dynamics="discrete")
    assert found.peak < found.kreiss_lower  # which says that more is to come
    assert 20.72 < found.peak_upper <= np.e * 20 * found.kreiss_upper


@pytest.mark.parametrize("n", [1, 3])
def test_zero_identity_and_scalar_matrices(n):
    for dynamics, A, norms in (
        ("discrete", np.zeros((n, n)), [1, 0, 0, 0]),
        ("discrete", np.eye(n), [1, 1, 1, 1]),
        ("discrete", 0.5 * np.eye(n), [1, 0.5, 0.25, 0.125]),
        ("continuous", np.zeros((n, n)), [1, 1, 1, 1]),
        ("continuous", -np.log(2) * np.eye(n), [1, 0.5, 0.25, 0.125]),
    ):
        found = transient_growth(A, [0, 1, 2, 3], dynamics=dynamics)
        assert np.allclose(found.norms, norms, rtol=1e-14)
        assert (found.peak, found.peak_time, found.peak_upper) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("size", [1e300, 1e-300])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_extreme_scales_need_no_warning(size, unit):
    A = np.array([[0.5, 1.0], [0.0, 0.5]])
    first, *_, last = transient_growth(A * size * unit, 8, dynamics="discrete").norms[1:]
    assert first == pytest.approx(size * pair_norm(0.5, 1.0), rel=1e-14)
    assert last == (np.inf if size > 1 else 0.0)
    B = np.array([[-0.5, 4.0], [0.0, -0.5]])
    usual = transient_growth(B, 20.0, dynamics="continuous")
    found = transient_growth(B * size, 20.0 / size, dynamics="continuous")
    assert np.allclose(found.norms, usual.norms, rtol=1e-12)
    assert found.peak == pytest.approx(usual.peak, rel=1e-10)
    assert found.peak_upper == pytest.approx(usual.peak_upper, rel=1e-2)
    assert found.peak_time * size == pytest.approx(usual.peak_time, rel=1e-4)
    assert found.rate / size == pytest.approx(-0.5)


def test_powers_and_times_far_apart():
    A = np.array([[1.0, 1.0], [0.0, 1.0]])
    found = transient_growth(A, [2**40, 2**50], dynamics="discrete")
    assert np.allclose(found.norms, [2.0**40, 2.0**50], rtol=1e-9)
    decayed = transient_growth(0.5 * A, [1, 2**50], dynamics="discrete")
    assert decayed.norms[1] == 0.0
    assert transient_growth(2 * A, [1, 2**50], dynamics="discrete").norms[1] == np.inf


def test_times_too_small_to_tell_apart():
    A = 2.0**-3 * np.array([[-1.0, 4.0], [0.0, -1.0]])
    found = transient_growth(A, [0.0, 5e-324, 1e-323, 1.0], dynamics="continuous")
    assert np.allclose(found.norms, naive.exponential_norms(A, found.times), rtol=1e-14)


def test_a_rise_too_steep_for_the_times_is_said(monkeypatch):
    steep = transient_growth(gallery.demmel(10), 20.0, dynamics="continuous")
    assert steep.peak_upper <= 1.0011 * steep.peak
    monkeypatch.setattr(norm_curves, "_HALVINGS", (50, 100))
    with pytest.warns(AccuracyWarning, match="the supremum is only known to lie from") as caught:
        found = transient_growth(gallery.demmel(10), 20.0, dynamics="continuous")
    assert caught[0].filename == __file__
    assert found.peak_lower <= steep.peak <= found.peak_upper < np.inf


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_schur_form_serves_as_well(dynamics):
    A = gallery.transient(8)
    one, other = (transient_growth(B, 30, dynamics=dynamics) for B in (A, schur_form(A)))
    for field in dataclasses.fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_the_inputs_come_back_untouched_and_every_number_type_is_taken():
    A, times = np.array([[0, 1], [0, 0]], dtype=np.int8), np.array([0, 1, 2], dtype=np.int32)
    found = transient_growth(A, times, dynamics="discrete")
    assert found.norms.tolist() == [1.0, 1.0, 0.0]
    assert A.dtype == np.int8
    assert times.tolist() == [0, 1, 2]
    assert transient_growth(A.astype(np.float32), times.astype(float), dynamics="discrete").peak == 1.0


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_progress_counts_times(dynamics):
    seen = []
    transient_growth(
        [[0.5, 1.0], [0.0, 0.5]],
        np.arange(5),
        dynamics=dynamics,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, 5) for i in range(1, 6)]
    seen.clear()
    transient_growth([[0.5]], [3, 5], dynamics=dynamics, progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("A", [gallery.transient(6), gallery.grcar(4) / 4 - np.eye(4)])
def test_a_record_is_saved_and_loaded(tmp_path, A, dynamics):
    found = transient_growth(A, 30, dynamics=dynamics)
    found.save(tmp_path / "growth.npz")
    loaded = TransientGrowth.load(tmp_path / "growth.npz")
    for field in dataclasses.fields(found):
        one, other = getattr(found, field.name), getattr(loaded, field.name)
        assert np.array_equal(one, other), field.name
        assert type(one) is type(other), field.name


@pytest.mark.parametrize("damage", [{"norms": np.ones(3)}, {"final_state": np.ones(3)}])
def test_a_record_whose_fields_do_not_fit_is_refused(tmp_path, damage):
    found = transient_growth([[0.5]], 5, dynamics="discrete")
    dataclasses.replace(found, **damage).save(tmp_path / "growth.npz")
    with pytest.raises(ValueError, match="no saved result"):
        TransientGrowth.load(tmp_path / "growth.npz")


def test_a_record_reads_as_one_line():
    found = transient_growth([[0.5, 4.0], [0.0, 0.5]], 9, dynamics="discrete")
    assert str(found) == repr(found)
    assert str(found).startswith("TransientGrowth of order 2: largest norm of A^k 4.06155 at k = 1, over all")
    assert "exp(tA)" in str(transient_growth([[-1.0]], 9, dynamics="continuous"))
    assert "peak_time" in found._repr_html_()


@pytest.mark.parametrize(
    ("times", "dynamics", "error", "message"),
    [
        (0, "discrete", ValueError, "times is 0; expected at least 1"),
        (2.5, "discrete", TypeError, r"times is 2\.5; expected a whole number"),
        (10**7, "discrete", ValueError, "times is 10000000; expected at most 1000000"),
        (-1.0, "continuous", ValueError, r"times is -1\.0; expected a number > 0"),
        (np.nan, "continuous", ValueError, "times is nan"),
        ("soon", "continuous", TypeError, "times is 'soon'"),
        (True, "discrete", TypeError, "times is True"),
        (None, "discrete", TypeError, "times is None"),
        ([], "discrete", ValueError, "times is empty"),
        ([0.0, np.inf], "continuous", ValueError, "times has a NaN or infinite"),
        ([1j], "continuous", TypeError, "times are complex"),
        ([[0, 1]], "discrete", ValueError, r"times has shape \(1, 2\)"),
        ([1, 0], "discrete", ValueError, "times do not rise"),
        ([1, 1], "continuous", ValueError, "times do not rise"),
        ([-1, 0], "continuous", ValueError, "times do not rise from 0 or above"),
        ([0, 0.5], "discrete", ValueError, "times are no integers"),
        ([2.0**60], "discrete", ValueError, "times are no integers up to"),
        (1e17, "continuous", ValueError, r"times reach 1e\+17, where rounding"),
        (3, "both", ValueError, "dynamics is 'both'; expected one of 'discrete', 'continuous'"),
        (3, None, ValueError, "dynamics is None"),
    ],
)
def test_refusals_name_the_argument(times, dynamics, error, message):
    with pytest.raises(error, match=message):
        transient_growth([[0.5]], times, dynamics=dynamics)


@pytest.mark.parametrize(
    ("A", "error"), [(np.ones((2, 3)), ValueError), ([[np.nan]], ValueError), ([["a"]], TypeError)]
)
def test_matrices_that_are_none_are_refused(A, error):
    with pytest.raises(error, match=r"^A "):
        transient_growth(A, 5, dynamics="discrete")


def test_entries_near_the_largest_float_are_refused():
    with pytest.raises(ValueError, match="the entries of A"):
        transient_growth([[1.7e308, 0.0], [0.0, 1.0]], 5, dynamics="discrete")
