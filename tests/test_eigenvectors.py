import naive
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, gaussian, normals, squares

from spectra import (
    ConvergenceError,
    Eigenmodes,
    eigenmodes,
    eigenvalue_condition_numbers,
    gallery,
    schur_form,
)


def check(A):
    n, size = len(A), naive.frobenius_norm(A)
    found, noise = eigenmodes(A), 1e-14 * len(A) * naive.frobenius_norm(A)
    X, Y, values = found.right, found.left, found.eigenvalues
    np.testing.assert_allclose(np.linalg.norm(X, axis=0), 1.0, rtol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(Y, axis=0), 1.0, rtol=1e-13)
    rest = np.hstack([A @ X - X * values, A.conj().T @ Y - Y * values.conj()])
    assert np.linalg.norm(rest, axis=0).max() <= found.residual + noise
    assert found.residual <= noise
    np.testing.assert_allclose(values, schur_form(A).eigenvalues, atol=noise)
    product = (Y.conj() * X).sum(axis=0)
    assert (product.real >= -1e-13 * n).all()
    assert np.abs(product.imag).max() <= 1e-13 * n
    plain = found.condition_numbers < 1e6
    np.testing.assert_allclose((1 / found.condition_numbers)[plain], product[plain].real, rtol=1e-6)
    largest = X[np.abs(X).argmax(axis=0), np.arange(n)]
    assert (largest.real > 0).all()
    assert np.abs(largest.imag).max() <= 1e-13
    assert size == 0 or found.condition_numbers.min() >= 1
    return found


@given(squares())
def test_the_vectors_are_what_they_say(A):
    check(A)


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.integers(1, 40), SEEDS, st.booleans(), st.sampled_from([1.0, 0.5, 0.0]))
def test_the_vectors_are_what_they_say_up_to_order_40(n, seed, is_complex, lower):
    A = gaussian(n, n, is_complex=is_complex, seed=seed)
    check(np.triu(A) + lower * np.tril(A, -1))


@given(squares())
def test_order_and_condition_numbers_are_those_of_the_other_functions(A):
    found, form = eigenmodes(A), schur_form(A)
    np.testing.assert_allclose(found.eigenvalues, form.eigenvalues, rtol=1e-12, atol=1e-13)
    expected = eigenvalue_condition_numbers(form)
    if expected.max() < 1e5:
        np.testing.assert_allclose(found.condition_numbers, expected, rtol=1e-8)


@given(squares())
def test_equals_the_definition_up_to_a_factor(A):
    found = eigenmodes(A)
    if found.condition_numbers.max() < 1e3:
        values, V = np.linalg.eig(A)
        nearest = np.abs(np.subtract.outer(found.eigenvalues, values)).argmin(axis=1)
        cosines = np.abs((V[:, nearest].conj() * found.right).sum(axis=0))
        np.testing.assert_allclose(cosines, 1.0, rtol=1e-6)


@given(squares(is_complex=False))
def test_of_a_real_matrix_they_are_real_or_conjugate(A):
    found = eigenmodes(A)
    real, above, below = (op(found.eigenvalues.imag, 0) for op in (np.equal, np.greater, np.less))
    for vectors in (found.right, found.left):
        assert (vectors[:, real].imag == 0).all()
        assert np.array_equal(vectors[:, below], vectors[:, above].conj())


def test_closed_form_of_a_triangular_pair():
    found = eigenmodes([[1.0, 4.0], [0.0, 3.0]])
    np.testing.assert_allclose(found.right, np.array([[1, 2], [0, 1]]) / [1, 5**0.5], rtol=1e-14)
    np.testing.assert_allclose(found.left, np.array([[1, 0], [-2, 1]]) / [5**0.5, 1], rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(found.condition_numbers, 5**0.5, rtol=1e-14)


@given(normals())
def test_of_a_normal_matrix_left_and_right_are_one_orthonormal_basis(A):
    found = eigenmodes(A)
    np.testing.assert_allclose(found.right, found.left, atol=1e-13)
    np.testing.assert_allclose(found.right.conj().T @ found.right, np.eye(len(A)), atol=1e-12)
    assert (found.condition_numbers == 1).all()


@pytest.mark.parametrize("n", [2, 5, 60])
@pytest.mark.parametrize("eigenvalue", [0.0, 2.0, 1j])
def test_a_jordan_block_has_one_direction_each(n, eigenvalue):
    A = gallery.jordan_block(n) + eigenvalue * np.eye(n)
    found = check(A)
    assert (found.condition_numbers == np.inf).all()
    np.testing.assert_allclose(found.right, np.eye(n)[:, [0] * n], atol=1e-12)
    np.testing.assert_allclose(np.abs(found.left), np.eye(n)[:, [-1] * n], atol=1e-12)
    assert f"{n} of defective eigenvalues" in str(found)


def test_only_the_defective_part_is_infinite():
    A = scipy.linalg.block_diag(gallery.jordan_block(3), [[1.0, 2.0], [-3.0, 1.0]])
    found = check(A)
    assert np.array_equal(np.isinf(found.condition_numbers), np.abs(found.eigenvalues) < 0.5)


@pytest.mark.parametrize("A", [np.zeros((3, 3)), [[0]], [[-5.0]], [[1j]], np.ones((4, 4))])
def test_small_and_singular_matrices(A):
    check(np.array(A))


@pytest.mark.parametrize("size", [1e300, 1e-300, 2.0**-1060])
def test_extreme_scales_need_no_warning(size):
    found = eigenmodes(np.array([[1.0, 4.0], [0.0, 3.0]]) * size)
    np.testing.assert_allclose(found.eigenvalues.real, [size, 3 * size], rtol=1e-14)
    np.testing.assert_allclose(found.condition_numbers, 5**0.5, rtol=1e-14)


@given(squares())
def test_a_schur_form_serves_as_well(A):
    found, again = eigenmodes(A), eigenmodes(schur_form(A))
    assert np.array_equal(found.right, again.right)
    assert np.array_equal(found.left, again.left)


def test_the_callers_matrix_is_not_changed():
    A = gallery.grcar(9)
    eigenmodes(A)
    assert np.array_equal(A, gallery.grcar(9))


def test_it_saves_and_prints(tmp_path):
    found = eigenmodes(gallery.grcar(7))
    found.save(tmp_path / "modes.npz")
    again = Eigenmodes.load(tmp_path / "modes.npz")
    assert str(again) == repr(found)
    assert str(found).startswith("Eigenmodes of order 7: condition numbers from 1.")
    assert np.array_equal(again.left, found.left)
    with np.load(tmp_path / "modes.npz") as archive:
        content = dict(archive)
    for name in ("left", "condition_numbers"):
        np.savez(tmp_path / "cut.npz", **(content | {name: content[name][:-1]}))
        with pytest.raises(ValueError, match="damaged"):
            Eigenmodes.load(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("A", "error"),
    [(np.ones((2, 3)), ValueError), ([[np.nan]], ValueError), ([], ValueError), ([[True]], TypeError)],
)
def test_refusals_name_the_argument(A, error):
    with pytest.raises(error, match=r"^A "):
        eigenmodes(A)


@pytest.mark.parametrize("A", [np.eye(2), 1j * np.eye(2)])
def test_a_failure_of_lapack_is_told(A, monkeypatch):
    n = len(A)
    result = (A, 0, np.ones(n), np.ones(n), A, np.ones(1), 1)
    monkeypatch.setattr("spectra.eigenvectors.get_lapack_funcs", lambda *_: lambda *_, **__: result)
    with pytest.raises(ConvergenceError, match=r"gees did not converge on A \(info = 1\)"):
        eigenmodes(A)
