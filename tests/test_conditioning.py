import cases
import naive
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SCALES, SEEDS, gaussian, normals, squares, unitary

from spectra import (
    bauer_fike_radius,
    eigenvalue_condition_numbers,
    eigenvector_condition_number,
    gallery,
    schur_form,
)

DEFECTIVE = [
    gallery.jordan_block(2),
    gallery.jordan_block(3, 1.0).T,
    gallery.jordan_block(8, 10.0),
    1j * gallery.jordan_block(5, -3.5),
    gallery.jordan_block(60),
]


def agree(A, found, rel=1e-9):
    """The condition numbers belong to the eigenvalues of the Schur form, one by one."""
    values, expected = naive.eigenvalue_condition_numbers(A)
    if expected.max() < 1e5:
        nearest = np.abs(np.subtract.outer(schur_form(A).eigenvalues, values)).argmin(axis=1)
        np.testing.assert_allclose(found, expected[nearest], rtol=rel * expected.max())


@given(squares())
def test_equals_the_definition_in_the_order_of_the_schur_form(A):
    agree(A, eigenvalue_condition_numbers(A))


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.integers(1, 40), SEEDS, st.booleans(), st.sampled_from([1.0, 0.5, 0.0]))
def test_equals_the_definition_up_to_order_40(n, seed, is_complex, lower):
    A = gaussian(n, n, is_complex=is_complex, seed=seed)
    A = np.triu(A) + lower * np.tril(A, -1)
    found = eigenvalue_condition_numbers(A)
    agree(A, found)
    assert (found >= 1).all()
    assert found.max() <= eigenvector_condition_number(A) * (1 + 1e-6)


@pytest.mark.parametrize("k", [1.0, -0.01, 7j, 1e8])
def test_closed_form_of_a_triangular_pair(k):
    A = np.array([[1.0, k], [0.0, 3.0]])
    np.testing.assert_allclose(
        eigenvalue_condition_numbers(A), [np.sqrt(1 + abs(k) ** 2 / 4)] * 2, rtol=1e-14
    )


def test_closed_form_of_a_conjugate_pair():
    """[[a, b], [c, a]] has the vectors (sqrt(b), ±i sqrt(-c)) and left (sqrt(-c), ±i sqrt(b))."""
    found = eigenvalue_condition_numbers([[0.5, 9.0], [-4.0, 0.5]])
    np.testing.assert_allclose(found, [13 / 12] * 2, rtol=1e-14)
    assert found[0] == found[1]


def test_closed_form_of_the_scaled_toeplitz_matrix():
    """D^-1 S D of a symmetric S with D = diag(2^j): 1 / |y* x| = norm(D v) norm(D^-1 v) for unit v of S."""
    n = 12
    A = gallery.tridiagonal_toeplitz(n, lower=0.25, upper=1.0)
    j = np.arange(1, n + 1)
    V = np.sqrt(2 / (n + 1)) * np.sin(np.outer(j, j) * np.pi / (n + 1))
    scales = 2.0 ** j[:, None]
    expected = np.linalg.norm(V * scales, axis=0) * np.linalg.norm(V / scales, axis=0)
    order = np.argsort(-schur_form(A).eigenvalues.real)
    np.testing.assert_allclose(eigenvalue_condition_numbers(A)[order], expected, rtol=1e-10)


@pytest.mark.parametrize("case", cases.reference("kappaV_unitcols"))
def test_bounds_the_reference_value_of_the_eigenvector_condition_number(case):
    """max κ <= κ(V) <= sqrt(n sum κ²), where the reference can be trusted."""
    found = eigenvalue_condition_numbers(case.A)
    if case.value < 1e10:
        slack = max(case.value * 1e-14, 1e-12)
        assert found.max() <= case.value * (1 + slack)
        assert np.sqrt(len(found) * (found**2).sum()) >= case.value * (1 - slack)
    else:
        assert np.sqrt(len(found) * (found**2).sum()) >= 1e10


@pytest.mark.parametrize("A", DEFECTIVE)
def test_a_defective_eigenvalue_has_an_infinite_condition_number(A):
    assert (eigenvalue_condition_numbers(A) == np.inf).all()
    assert bauer_fike_radius(A, 1e-8) == np.inf
    assert bauer_fike_radius(A, 0) == 0.0


def test_only_the_defective_eigenvalues_of_a_matrix_are_infinite():
    A = scipy.linalg.block_diag(gallery.jordan_block(3, 10.0), [[5.0]], [[0.0, 4.0], [-1.0, 0.0]])
    form = schur_form(A)
    found = eigenvalue_condition_numbers(form)
    assert np.array_equal(np.isinf(found), np.abs(form.eigenvalues - 10) < 1)
    assert found[np.abs(form.eigenvalues - 5) < 1e-9] == 1.0
    np.testing.assert_allclose(found[form.eigenvalues.imag != 0], 1.25, rtol=1e-14)


@given(normals())
def test_a_normal_matrix_has_only_ones(A):
    assert (eigenvalue_condition_numbers(A) == 1.0).all()
    assert bauer_fike_radius(A, 0.25) == 0.25


@given(squares(), SCALES)
def test_scaling_shift_adjoint_and_unitary_similarity_change_nothing(A, c):
    found = np.sort(eigenvalue_condition_numbers(A))
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    if found[-1] < 1e4:
        for B in (c * A, A - 2 * np.eye(len(A)), A.conj().T, A.conj(), Q @ A @ Q.conj().T):
            np.testing.assert_allclose(np.sort(eigenvalue_condition_numbers(B)), found, rtol=1e-5)


@given(squares(is_complex=False))
def test_conjugate_eigenvalues_of_a_real_matrix_are_alike(A):
    form = schur_form(A)
    found = eigenvalue_condition_numbers(form)
    above = form.eigenvalues.imag > 0
    assert np.array_equal(found[above], found[form.eigenvalues.imag < 0])


@given(squares(), SEEDS)
def test_first_order_movement_of_the_eigenvalues(A, seed):
    """|dλ| <= κ ε to first order: the second-order term is that of the gap."""
    form = schur_form(A)
    found = eigenvalue_condition_numbers(form)
    gaps = np.abs(np.subtract.outer(form.eigenvalues, form.eigenvalues)) + 1e9 * np.eye(len(A))
    E = gaussian(len(A), len(A), is_complex=True, seed=seed)
    E *= 1e-6 / np.linalg.norm(E, 2)
    if found.max() ** 2 * len(A) * 1e-6 < 1e-2 * gaps.min():
        moved = np.abs(np.subtract.outer(naive.eigenvalues(A + E), form.eigenvalues)).min(axis=0)
        assert (moved <= 1.1e-6 * found + 1e-12).all()


@given(squares(), SEEDS, st.sampled_from([1e-3, 0.1, 2.0]))
def test_the_discs_of_bauer_and_fike_hold_the_perturbed_eigenvalues(A, seed, epsilon):
    E = gaussian(len(A), len(A), is_complex=True, seed=seed)
    E *= epsilon / np.linalg.norm(E, 2)
    distances = np.abs(np.subtract.outer(naive.eigenvalues(A + E), naive.eigenvalues(A))).min(axis=1)
    assert distances.max() <= bauer_fike_radius(A, epsilon) * (1 + 1e-6) + 1e-10


def test_bauer_fike_radius_is_epsilon_times_the_condition_number():
    assert bauer_fike_radius([[-1.0, 5.0], [0.0, -2.0]], 0.1) == pytest.approx(1.0099019513592784, rel=1e-14)
    A = gallery.grcar(12)
    assert bauer_fike_radius(A, 0.5) == pytest.approx(0.5 * naive.eigenvector_condition_number(A), rel=1e-11)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1.7e308, 2.0**-1070])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_extreme_scales_need_no_warning(size, unit):
    A = np.array([[-0.25, 1.0], [0.0, -0.5]]) * size * unit
    np.testing.assert_allclose(eigenvalue_condition_numbers(A), np.sqrt(17), rtol=1e-13)
    assert bauer_fike_radius(A, 1e-5) == pytest.approx(1e-5 * (4 + np.sqrt(17)), rel=1e-13)
    assert bauer_fike_radius(A, 1.7e308) == np.inf


def test_zero_and_scalar_matrices_have_ones():
    for A in (np.zeros((3, 3)), [[0]], [[5.0]], [[1j]], np.ones((4, 4))):
        assert (eigenvalue_condition_numbers(A) == 1.0).all()


@pytest.mark.parametrize("measure", [eigenvalue_condition_numbers, lambda A: bauer_fike_radius(A, 0.1)])
@given(A=squares())
def test_a_schur_form_serves_as_well(measure, A):
    assert np.array_equal(measure(schur_form(A)), measure(A))


@pytest.mark.parametrize("measure", [eigenvalue_condition_numbers, lambda A: bauer_fike_radius(A, 0.1)])
@pytest.mark.parametrize(
    ("A", "error"),
    [(np.ones((2, 3)), ValueError), ([[np.nan]], ValueError), ([], ValueError), ([[True]], TypeError)],
)
def test_refusals_name_the_argument(measure, A, error):
    with pytest.raises(error, match=r"^A "):
        measure(A)


@pytest.mark.parametrize(
    ("epsilon", "error"), [(-1e-9, ValueError), (np.nan, ValueError), ("1", TypeError), (1j, TypeError)]
)
def test_epsilon_is_a_real_number_from_0(epsilon, error):
    with pytest.raises(error, match=r"^epsilon is "):
        bauer_fike_radius(np.eye(2), epsilon)
