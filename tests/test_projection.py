"""Krylov projections bound σ_min from above; complete ones give it."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from naive import sigma_min
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from strategies import POINTS, normals, squares

from spectra import gallery, pencils, projection
from spectra.projection import projected_pencil
from spectra.rectangular import rectangular_pencil


def solved(pencil, z):
    return pencil.smallest_singular_values(np.array(z, dtype=complex), rtol=1e-6, delta=1e-3)


def truth(A, z):
    return np.array([sigma_min(A, at) for at in z])


def products(A, dtype=float):
    """An operator that knows nothing but how to multiply."""
    return LinearOperator(np.shape(A), matvec=lambda v: A @ v.ravel(), dtype=dtype)


@given(squares(), st.integers(1, 8), st.lists(POINTS, min_size=1, max_size=4))
def test_values_are_upper_bounds(A, k, z):
    pencil = projected_pencil(aslinearoperator(A), subspace=min(k, len(A)))
    found, exact = solved(pencil, z), truth(A, z)
    assert np.all(found.upper >= exact - found.floor)
    assert np.all((found.lower <= found.sigma_min) & (found.sigma_min <= found.upper))
    assert pencil.is_complete == (k >= len(A))
    assert pencil.is_complete or np.all(found.lower == 0)
    assert pencil.is_real == (not np.iscomplexobj(A))


@given(squares(), st.lists(POINTS, min_size=1, max_size=4))
def test_the_whole_space_gives_the_values(A, z):
    pencil = projected_pencil(aslinearoperator(A))
    found, exact = solved(pencil, z), truth(A, z)
    np.testing.assert_allclose(found.sigma_min, exact, rtol=0, atol=2 * found.floor)
    assert np.all(found.lower <= exact + found.floor)
    assert np.all(exact <= found.upper + found.floor)
    assert len(pencil.eigenvalues) == len(A)


@pytest.mark.parametrize(
    "A", [gallery.grcar(200), gallery.twisted_toeplitz(150), gallery.basor_morrison(150)]
)
def test_larger_subspaces_never_worsen_a_bound(A):
    z = 2.5 * np.exp(2j * np.pi * np.arange(12) / 12)
    before = np.full(12, np.inf)
    for k in (1, 5, 20, 60, len(A)):
        found = solved(projected_pencil(aslinearoperator(A), subspace=k), z)
        assert np.all(found.lower <= before)
        assert np.all(found.sigma_min <= before + found.floor)
        before = found.upper
    np.testing.assert_allclose(found.sigma_min, truth(A, z), rtol=1e-9, atol=2 * found.floor)


def test_it_is_the_singular_value_of_the_hessenberg_matrix_of_arnoldi():
    """Computed again from the plain recurrence, with the basis at hand."""
    A, k, z = gallery.grcar(30), 7, 0.5 + 1j
    v = np.random.default_rng(5).standard_normal(30)
    basis = np.linalg.qr(np.stack([np.linalg.matrix_power(A, j) @ v for j in range(k)], axis=1))[0]
    expected = np.linalg.svd(z * basis - A @ basis, compute_uv=False)[-1]
    found = projected_pencil(aslinearoperator(A), subspace=k, rng=5)
    assert found.sigma_min(z) == pytest.approx(expected, rel=1e-10)
    assert found.hessenberg.T.shape == (k + 1, k)
    assert np.all(np.tril(found.hessenberg.T, -2) == 0)


@pytest.mark.parametrize("unit", [1.0, 1j])
def test_an_invariant_subspace_ends_it(unit):
    """Every eigenvalue twice: the subspace holds one vector of each."""
    A = np.kron(np.eye(2), unit * np.diag([1.0, 2.0, -3.0]) + np.eye(3, k=1))
    pencil = projected_pencil(aslinearoperator(A))
    assert pencil.hessenberg.T.shape == (3, 3)
    assert not pencil.is_complete
    np.testing.assert_allclose(np.sort_complex(pencil.eigenvalues / unit), [-3, 1, 2], rtol=1e-12)


@given(normals(), POINTS)
def test_repeated_eigenvalues_of_normal_matrices(A, z):
    doubled = np.kron(np.eye(2), A)
    found = solved(projected_pencil(aslinearoperator(doubled)), [z])
    assert found.upper >= sigma_min(A, z) - found.floor


def test_the_identity_and_zeros_take_one_step():
    one, zero = projected_pencil(aslinearoperator(np.eye(50))), projected_pencil(products(np.zeros((50, 50))))
    assert one.hessenberg.n == zero.hessenberg.n == 1
    np.testing.assert_allclose(solved(one, [3.0, 1j]).sigma_min, [2.0, np.sqrt(2)], rtol=1e-14)
    np.testing.assert_allclose(solved(zero, [3.0, 1j]).sigma_min, [3.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(one.eigenvalues, [1.0], rtol=1e-14)


def test_outer_eigenvalues_of_a_large_operator_are_found():
    n = 20000
    diagonal = np.linspace(0, 1, n)
    diagonal[-3:] = 1.5, 2.0, -2.5j.imag
    pencil = projected_pencil(products(sp.diags_array(diagonal)))
    for eigenvalue in diagonal[-3:]:
        assert np.abs(pencil.eigenvalues - eigenvalue).min() < 1e-9
    assert len(pencil.eigenvalues) < 100
    found = solved(pencil, [2.25, -3.0])
    np.testing.assert_allclose(found.sigma_min, [0.25, 0.5], rtol=1e-9)
    xmin, xmax, _, _ = pencil.region()
    assert xmin < -2.5
    assert xmax > 2.0
    assert (pencil.n, pencil.slope) == (n, 1.0)
    assert pencil.norm_bound >= 2.5 * (1 - 1e-9)


def test_the_seed_decides_the_start():
    A = aslinearoperator(gallery.grcar(50))
    one, same, other = (
        projected_pencil(A, subspace=9, rng=seed) for seed in (1, np.random.default_rng(1), 2)
    )
    assert np.array_equal(one.hessenberg.T, same.hessenberg.T)
    assert not np.array_equal(one.hessenberg.T, other.hessenberg.T)


@pytest.mark.parametrize("size", [2.0**1000, 2.0**-1000])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_scales(size, unit):
    A, z = gallery.grcar(40) * unit, np.array([0.5 + 1j, 4.0]) * unit
    here = projected_pencil(products(A, np.asarray(A).dtype), subspace=10)
    there = projected_pencil(products(size * A, np.asarray(A).dtype), subspace=10)
    np.testing.assert_allclose(solved(there, size * z).upper, size * solved(here, z).upper, rtol=1e-12)
    np.testing.assert_allclose(there.ritz_values, size * here.ritz_values, rtol=1e-9)
    np.testing.assert_allclose(there.defect, size * here.defect, rtol=1e-9)


def test_an_operator_of_lower_precision_has_a_wider_floor():
    A = gallery.grcar(40).astype(np.float32)
    exact, found = (
        solved(projected_pencil(products(A, dtype)), [0.5 + 1j]) for dtype in (np.float64, np.float32)
    )
    assert found.floor > 1e6 * exact.floor
    assert found.lower <= exact.sigma_min <= found.upper


def test_integers_are_taken():
    found = projected_pencil(products(np.array([[0, 1], [0, 0]]), int))
    assert solved(found, [1.0]).sigma_min == pytest.approx(np.sqrt(1.25) - 0.5, rel=1e-14)


def test_memory_is_refused_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(pencils, "grid_cost", lambda _: type("Cost", (), {"available_bytes": 1000})())
    with pytest.raises(
        ValueError, match=r"^A basis of 20 vectors of length 50 needs .* take a smaller subspace"
    ):
        projected_pencil(aslinearoperator(np.eye(50)), subspace=20)


@pytest.mark.parametrize(
    ("A", "options", "error", "message"),
    [
        (
            aslinearoperator(np.ones((3, 2))),
            {},
            ValueError,
            "^A has shape .3, 2.; expected a square operator",
        ),
        (products(np.full((2, 2), np.nan)), {}, ValueError, "^A @ v has a NaN"),
        (products(np.diag([1.0, np.inf])), {}, ValueError, "^A @ v has a NaN or infinite"),
        (products(1j * np.eye(2)), {}, TypeError, "^A @ v is complex where A has dtype float64"),
        (
            LinearOperator((2, 2), matvec=lambda v: np.array(["a", "b"]), dtype=float),
            {},
            TypeError,
            "^A @ v has dtype",
        ),
        (products(np.diag([1e308, 1e-300]).dot([[1, 1], [1, -1]])), {}, ValueError, "^products A @ v reach"),
        (aslinearoperator(np.eye(2)), {"subspace": 3}, ValueError, "^subspace is 3; expected at most 2"),
        (aslinearoperator(np.eye(2)), {"subspace": 0}, ValueError, "^subspace is 0; expected at least 1"),
        (aslinearoperator(np.eye(2)), {"rng": None}, TypeError, "^rng is None"),
    ],
)
def test_refusals(A, options, error, message):
    with pytest.raises(error, match=message):
        projected_pencil(A, **options)


def test_the_default_subspace_is_a_hundred_at_the_most():
    assert projected_pencil(aslinearoperator(gallery.grcar(300))).hessenberg.n == projection._SUBSPACE == 100


def test_the_projection_is_a_rectangular_pencil():
    A = gallery.grcar(60)
    pencil = projected_pencil(aslinearoperator(A), subspace=12)
    again = rectangular_pencil(pencil.hessenberg.T * pencil.hessenberg.sizes.scale)
    np.testing.assert_allclose(solved(pencil, [2j]).sigma_min, solved(again, [2j]).sigma_min, rtol=1e-12)
