import cases
import naive
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from scipy.sparse.linalg import aslinearoperator
from strategies import SCALES, gaussian, rectangles, unitary

from spectra import AccuracyWarning, gallery, spectral_norm, spectral_norm_bounds
from spectra.lanczos import largest_singular_value
from spectra.operators import linear_map


def second_difference(n):
    return scipy.sparse.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)).tocsr()


def check(A, found, rtol=1e-6):
    norm, slack = naive.spectral_norm(A), 1e-13 * naive.spectral_norm(A)
    assert found.lower - slack <= norm <= found.upper + slack
    assert found.lower <= found.value <= found.upper <= found.lower * (1 + rtol)
    assert np.linalg.norm(found.points) == pytest.approx(1.0, rel=1e-14)
    assert np.linalg.norm(A @ found.points) == pytest.approx(found.value, rel=1e-13)
    left = A.conj().T @ (A @ found.points) - found.value**2 * found.points
    assert np.linalg.norm(left) / found.value == pytest.approx(found.residual, abs=1e-13 * found.value)


@given(rectangles())
def test_the_interval_holds_the_norm_of_the_definition(A):
    check(A, spectral_norm_bounds(A))
    check(A, spectral_norm_bounds(aslinearoperator(A)))


@pytest.mark.slow
@settings(max_examples=1000)
@given(rectangles(), SCALES)
def test_the_interval_holds_the_norm_of_many(A, c):
    B = np.kron(A, gaussian(5, 4, is_complex=False, seed=1)) * c
    check(B, spectral_norm_bounds(aslinearoperator(B), rtol=1e-5), 1e-5)


@pytest.mark.parametrize("case", cases.reference("norm2") + cases.published("norm2"))
def test_the_interval_holds_the_reference_value(case):
    found = spectral_norm_bounds(case.A, rtol=1e-10)
    assert found.lower <= case.value <= found.upper


@pytest.mark.parametrize("n", [2, 50, 333])
def test_the_second_difference_has_its_closed_form(n):
    found = spectral_norm_bounds(aslinearoperator(second_difference(n)), rtol=1e-5)
    assert found.lower <= 4 * np.cos(np.pi / (2 * n + 2)) ** 2 <= found.upper


@pytest.mark.parametrize(("m", "n"), [(500, 300), (300, 500)])
@pytest.mark.parametrize("is_complex", [False, True])
def test_a_larger_matrix_takes_few_steps_from_either_side(m, n, is_complex):
    A = gaussian(m, n, is_complex=is_complex, seed=2)
    found = spectral_norm_bounds(A)
    check(A, found)
    assert found.steps < 100


@pytest.mark.parametrize("delta", [0.5, 0.1])
@pytest.mark.parametrize("is_complex", [False, True])
def test_the_upper_end_fails_no_more_often_than_delta(delta, is_complex):
    """Few steps, and a singular value far above the others that a bad start does not see."""
    A = np.diag(np.r_[2.0, np.linspace(1, 0, 11)]) + (0j if is_complex else 0.0)
    found = linear_map(aslinearoperator(A), np.random.default_rng(0))
    for steps in (1, 2, 3):
        results = [
            largest_singular_value(
                found, rtol=1e-3, delta=delta, rng=np.random.default_rng(seed), most_steps=steps
            )
            for seed in range(400)
        ]
        failures = np.mean([result.upper < 2 for result in results])
        assert failures <= delta + 3 * np.sqrt(delta / 400)
        assert all(result.lower <= 2 for result in results)


def test_the_upper_end_is_not_wider_than_it_must_be():
    """A bound that fails never would be of no use: with delta = 0.9 it does fail now and then."""
    A = np.diag(np.r_[1.5, np.linspace(1, 0, 400)])
    found = linear_map(aslinearoperator(A), np.random.default_rng(0))
    seeds = map(np.random.default_rng, range(200))
    results = [largest_singular_value(found, rtol=1e-3, delta=0.9, rng=rng, most_steps=2) for rng in seeds]
    assert 0 < np.mean([result.upper < 1.5 for result in results]) <= 0.9


@given(rectangles())
def test_with_delta_zero_the_upper_end_is_the_proven_bound(A):
    found = spectral_norm_bounds(A, delta=0)
    size = np.abs(A)
    proven = min(np.sqrt(size.sum(axis=0).max() * size.sum(axis=1).max()), naive.frobenius_norm(A))
    assert found.upper == pytest.approx(proven, rel=1e-13)
    assert found.value == pytest.approx(naive.spectral_norm(A), rel=1e-6)


@given(rectangles())
def test_adjoint_scaling_and_unitary_factors(A):
    found = spectral_norm_bounds(A)
    U = unitary(len(A), is_complex=True, seed=1)
    for B in (A.conj().T, -A, U @ A):
        other = spectral_norm_bounds(B)
        assert other.lower <= found.upper
        assert found.lower <= other.upper
    assert spectral_norm_bounds(4 * A).upper == 4 * found.upper or found.upper < 1e-300


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array, aslinearoperator])
def test_special_matrices(form):
    zero = spectral_norm_bounds(form(np.zeros((2, 3))))
    assert (zero.value, zero.lower, zero.upper, zero.residual) == (0.0, 0.0, 0.0, 0.0)
    for A in (
        np.eye(7),
        np.array([[-3.0]]),
        np.ones((1, 4)),
        gallery.jordan_block(9),
        np.diag([1.0, 1.0, 0.5]),
    ):
        found = spectral_norm_bounds(form(A))
        assert found.lower <= spectral_norm(A) <= found.upper
        assert found.upper == pytest.approx(found.lower, rel=1e-6)


def test_what_leaves_the_floats_has_an_infinite_upper_end():
    found = spectral_norm_bounds(np.full((3, 3), 1.7e308))
    assert found.value == found.upper == np.inf
    assert found.lower == np.finfo(float).max


def test_the_seed_decides_and_nothing_else():
    A = gaussian(30, 30, is_complex=False, seed=2)
    first, again = spectral_norm_bounds(A, rng=5), spectral_norm_bounds(A, rng=np.random.default_rng(5))
    assert (first.value, first.upper) == (again.value, again.upper)
    assert not np.allclose(
        np.abs(spectral_norm_bounds(A, rng=6).points), np.abs(first.points), rtol=0, atol=1e-14
    )


def test_an_interval_that_stays_wide_is_announced():
    A = aslinearoperator(second_difference(5000))
    with pytest.warns(AccuracyWarning, match=r"bracketed to .* after 300 steps"):
        found = spectral_norm_bounds(A, rtol=1e-9)
    assert found.lower <= 4 * np.cos(np.pi / 10002) ** 2 <= found.upper < 4.01


def test_the_smallest_width_ends():
    with pytest.warns(AccuracyWarning, match="bracketed"):
        found = spectral_norm_bounds(np.diag([1.0, 2.0]), rtol=2.0**-1074)
    assert found.lower <= 2.0 <= found.upper <= 2.0 * (1 + 1e-14)


def test_the_smallest_floats_are_bracketed_from_zero():
    with pytest.warns(AccuracyWarning, match="bracketed to inf after 1 steps"):
        found = spectral_norm_bounds([[2.0**-1074]])
    assert (found.lower, found.value) == (0.0, 2.0**-1074)
    assert found.value <= found.upper <= 2.0**-1072


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rtol": 0}, ValueError, "^rtol is 0"),
        ({"rtol": 1e308}, ValueError, "^rtol is 1e.308; expected a relative width of at most 1"),
        ({"delta": 1}, ValueError, "^delta is 1"),
        ({"delta": -0.1}, ValueError, "^delta is -0.1"),
        ({"rng": None}, TypeError, "^rng is None"),
        ({"delta": 0}, ValueError, "^delta is 0, but nothing bounds a LinearOperator"),
    ],
)
def test_refusals_name_the_option(options, error, words):
    with pytest.raises(error, match=words):
        spectral_norm_bounds(aslinearoperator(np.eye(2)), **options)
