import naive
import numpy as np
from hypothesis import given
from strategies import SEEDS, gaussian, squares

from spectra import schur_form
from spectra.rotations import complex_triangle, rotate


@given(squares())
def test_the_triangle_is_similar_to_the_factor_and_keeps_its_eigenvalues(A):
    form = schur_form(A)
    triangle, basis = complex_triangle(form.T)
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(len(A)), atol=1e-14)
    np.testing.assert_allclose(basis.conj().T @ form.T @ basis, triangle, atol=1e-14 * len(A))
    assert not np.tril(triangle, -1).any()
    size = naive.frobenius_norm(A)
    np.testing.assert_allclose(
        np.diag(triangle) * form.scale, form.eigenvalues, rtol=1e-14, atol=1e-15 * size
    )


@given(squares(), SEEDS)
def test_a_given_basis_is_turned_along(A, seed):
    form, Q = schur_form(A), gaussian(len(A), len(A), is_complex=True, seed=seed)
    np.testing.assert_allclose(complex_triangle(form.T, Q)[1], Q @ complex_triangle(form.T)[1], atol=1e-13)


def test_rotations_act_in_their_planes_alone():
    B = np.arange(25.0).reshape(5, 5).astype(complex)
    G = np.eye(5, dtype=complex)
    c, s = 0.6, 0.8j
    G[np.ix_([0, 3], [0, 3])] = G[np.ix_([1, 2], [1, 2])] = [[c, 0.8j], [s, c]]
    rotated, basis = B.copy(), np.eye(5, dtype=complex)
    rotate(rotated, basis, np.array([0, 1]), np.array([3, 2]), np.array([[c, c], [s, s]]))
    np.testing.assert_allclose(basis, G, atol=1e-15)
    np.testing.assert_allclose(rotated, G.conj().T @ B @ G, atol=1e-13)
    assert rotated[4, 4] == B[4, 4]
