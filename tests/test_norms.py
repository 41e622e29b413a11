import cases
import naive
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from strategies import POINTS, SCALES, normals, rectangles, squares, unitary

import spectra.norms
from spectra import (
    ConvergenceError,
    condition_number,
    gallery,
    resolvent_norm,
    schur_form,
    spectral_norm,
    spectral_radius,
    stable_rank,
)


@given(rectangles())
def test_spectral_norm_equals_the_definition(A):
    assert spectral_norm(A) == pytest.approx(naive.spectral_norm(A), rel=1e-13)


@given(rectangles())
def test_stable_rank_equals_the_definition(A):
    assert stable_rank(A) == pytest.approx(naive.stable_rank(A), rel=1e-13)


@given(squares(), POINTS)
def test_resolvent_norm_equals_the_definition(A, z):
    close = naive.sigma_min(A, z) / naive.noise_floor(A, z)
    if close > 1e6:  # nearer to an eigenvalue the inverse of the definition is the less accurate
        assert resolvent_norm(A, z) == pytest.approx(naive.resolvent_norm(A, z), rel=1e-5)
        assert resolvent_norm(A, z) == pytest.approx(1 / naive.sigma_min(A, z), rel=10 / close)


@pytest.mark.parametrize("case", cases.reference("norm2") + cases.published("norm2"))
def test_spectral_norm_has_the_reference_value(case):
    assert spectral_norm(case.A) == pytest.approx(case.value, rel=1e-14)


@pytest.mark.parametrize("case", cases.reference("sigmin"))
def test_resolvent_norm_has_the_reference_value(case):
    """In terms of sigma_min, which has an absolute floor; to 1e-8 wherever it is far enough above that."""
    found = 1 / resolvent_norm(case.A, case.z)
    assert abs(found - case.value) <= naive.noise_floor(case.A, case.z)
    if case.value > 1e8 * naive.noise_floor(case.A, case.z):
        assert found == pytest.approx(case.value, rel=1e-8)


@given(rectangles())
def test_condition_number_equals_the_definition(A):
    expected = naive.condition_number(A)
    assert condition_number(A) == pytest.approx(expected, rel=1e-14 * max(expected, 10))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_condition_number_of_the_second_difference(n):
    """cot²(π / (2n + 2)), from its eigenvalues 4 sin²(k π / (2n + 2))."""
    A = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    assert condition_number(A) == pytest.approx(1 / np.tan(np.pi / (2 * n + 2)) ** 2, rel=1e-13)


def test_condition_number_of_hilbert_has_the_known_value():
    """4.7660725024e5 for order 5, as MATLAB's manual has it to five digits."""
    assert condition_number(scipy.linalg.hilbert(5)) == pytest.approx(4.7660725024e5, rel=1e-9)


@given(squares(), SCALES)
def test_condition_number_under_scaling_adjoint_inverse_and_unitary_factors(A, c):
    found = condition_number(A)
    if found < 1e6:
        slack = 1e-14 * max(found, 10)
        U = unitary(len(A), is_complex=True, seed=1)
        for B in (c * A, A.conj().T, U @ A, np.linalg.inv(A)):
            assert condition_number(B) == pytest.approx(found, rel=10 * slack)
    assert found >= 1


@pytest.mark.parametrize("A", [np.zeros((2, 3)), np.ones((4, 4)), np.ones((2, 5)), gallery.jordan_block(4)])
def test_condition_number_of_a_singular_matrix_is_infinite(A):
    assert condition_number(A) == np.inf
    assert condition_number(A.T * 1e-300) == np.inf


def test_condition_number_takes_rectangles_extreme_scales_and_schur_forms():
    A = np.array([[4.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    for size in (1.0, 1e300, 1e-300, 1j):
        assert condition_number(size * A) == pytest.approx(8.0, rel=1e-14)
    assert condition_number(schur_form(A[:, ::2])) == 8.0
    with pytest.raises(ValueError, match=r"^A has shape"):
        condition_number(np.ones(3))


@given(rectangles())
def test_spectral_norm_is_a_unitarily_invariant_norm(A):
    m, n = A.shape
    U, V = unitary(m, is_complex=True, seed=1), unitary(n, is_complex=True, seed=2)
    assert spectral_norm(U @ A @ V) == pytest.approx(spectral_norm(A), rel=1e-13)
    assert spectral_norm(A.conj().T) == pytest.approx(spectral_norm(A), rel=1e-13)
    assert spectral_norm(-2 * A) == 2 * spectral_norm(A)
    assert spectral_norm(A) <= naive.frobenius_norm(A) * (1 + 1e-14)


@given(rectangles())
def test_stable_rank_lies_between_one_and_the_rank(A):
    assert 1 <= stable_rank(A) <= min(A.shape) * (1 + 1e-14)
    assert stable_rank(1e-150 * A) == pytest.approx(stable_rank(A), rel=1e-13)


@given(squares(), POINTS)
def test_resolvent_norm_is_at_least_one_over_the_distance(A, z):
    distance = np.abs(z - np.linalg.eigvals(A)).min()
    size = naive.spectral_norm(A) + abs(z)
    assert 1 / resolvent_norm(A, z) <= distance + 1e-7 * size


@given(normals(), POINTS)
def test_resolvent_norm_of_a_normal_matrix_is_one_over_the_distance(A, z):
    distance = np.abs(z - np.linalg.eigvals(A)).min()
    assert 1 / resolvent_norm(A, z) == pytest.approx(
        distance, abs=1e-12 * (1 + abs(z) + naive.spectral_norm(A))
    )


@given(squares(), POINTS, SCALES)
def test_resolvent_norm_under_shift_scaling_and_conjugation(A, z, c):
    smallest, slack = 1 / resolvent_norm(A, z), 10 * naive.noise_floor(A, z)
    moved = A + 2 * np.eye(len(A))
    assert 1 / resolvent_norm(moved, z + 2) == pytest.approx(smallest, abs=slack + 1e-13)
    assert 1 / resolvent_norm(c * A, c * z) == pytest.approx(c * smallest, abs=c * slack)
    assert 1 / resolvent_norm(A.conj(), z.conjugate()) == pytest.approx(smallest, abs=slack)


@given(squares())
def test_a_schur_form_serves_as_well(A):
    F = schur_form(A)
    assert spectral_norm(F) == spectral_norm(A)
    assert stable_rank(F) == stable_rank(A)
    assert resolvent_norm(F, 1 + 1j) == resolvent_norm(A, 1 + 1j)


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_resolvent_norm_is_infinite_on_an_eigenvalue(n):
    assert resolvent_norm(gallery.jordan_block(n, 0.5), 0.5) == np.inf
    assert resolvent_norm(np.zeros((n, n)), 0) == np.inf
    Q = gallery.random_orthogonal(n)
    A = Q @ np.diag(np.arange(float(n))) @ Q.T
    assert resolvent_norm(A, spectral_radius(A)) == np.inf


def test_resolvent_norm_is_infinite_on_an_eigenvalue_that_the_svd_misses():
    """Here LAPACK computes a smallest singular value of 1.8e-16 instead of 0."""
    assert resolvent_norm([[0.0, 1.0], [-1.0, 0.0]], 1j) == np.inf


def test_resolvent_norm_of_a_jordan_block_grows_like_a_power():
    assert resolvent_norm(gallery.jordan_block(3), 1e-4) == pytest.approx(1e12, rel=1e-7)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1.7e308, 2.0**-1070])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_extreme_scales_need_no_warning(size, unit):
    A = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -0.5]]) * size * unit
    assert spectral_norm(A) == pytest.approx(size, rel=1e-14)
    assert stable_rank(A) == pytest.approx(1.25, rel=1e-14)
    B = A[:2, :2]
    assert resolvent_norm(B, -unit * size) == pytest.approx(1 / float(size), rel=1e-14)


def test_what_leaves_the_floats_becomes_infinite_or_zero():
    assert spectral_norm(np.full((3, 3), 1.7e308)) == np.inf
    assert resolvent_norm([[0.0]], 2.0**-1074) == np.inf
    assert resolvent_norm([[-1.7e308 + 0j, 0], [0, 0]], 1.7e308) == pytest.approx(1 / 1.7e308)


def test_a_point_may_be_far_larger_or_smaller_than_the_matrix():
    assert resolvent_norm([[1.0, 1.0], [0.0, 1.0]], 1e300) == pytest.approx(1e-300, rel=1e-14)
    assert resolvent_norm([[1e300, 0.0], [0.0, 1e300]], 1e-300) == pytest.approx(1e-300, rel=1e-14)


def test_the_zero_matrix_has_norm_and_stable_rank_zero():
    assert spectral_norm(np.zeros((2, 3))) == 0.0
    assert stable_rank(np.zeros((2, 3))) == 0.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint16, np.complex64])
def test_every_number_type_is_taken(dtype):
    A = np.array([[3, 0, 0], [0, 0, 4]], dtype=dtype)
    assert spectral_norm(A) == 4.0
    assert stable_rank(A) == 25 / 16
    assert resolvent_norm(A[:, :2], dtype(1)) == 1.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: spectral_norm(np.ones(3)), ValueError, "^A has shape"),
        (lambda: spectral_norm([[np.inf]]), ValueError, "^A has a NaN"),
        (lambda: stable_rank([[None]]), TypeError, "^A has dtype object"),
        (lambda: resolvent_norm(np.ones((2, 3)), 0), ValueError, "^A .*square"),
        (lambda: resolvent_norm([[1.0]], np.nan), ValueError, r"^z is \(nan"),
        (lambda: resolvent_norm([[1.0]], "1"), TypeError, "^z is '1'"),
        (lambda: resolvent_norm([[1.0]], np.ones(2)), TypeError, "^z is"),
    ],
)
def test_refusals_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_failed_iteration_says_so(monkeypatch):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(spectra.norms.np.linalg, "svd", fail)
    with pytest.raises(ConvergenceError, match="gesdd failed on a matrix of shape"):
        spectral_norm([[1.0]])
