"""Sparse pencils by LU: intervals from both sides, against dense decompositions and closed forms."""

import cases
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from naive import sigma_min_of_pencil
from strategies import POINTS, SEEDS, squares

from spectra import AccuracyWarning, gallery, kernels, pencils, sparse_pencils
from spectra.sparse_pencils import sparse_pencil

FORMATS = [sp.csr_array, sp.csc_matrix, sp.coo_array, sp.lil_matrix, sp.dia_array, sp.bsr_array, sp.dok_array]


def solved(pencil, z, rtol=1e-6, **options):
    return pencil.smallest_singular_values(np.array(z, dtype=complex), rtol=rtol, delta=1e-3, **options)


def check(found, truth):
    np.testing.assert_allclose(found.sigma_min, truth, rtol=1e-6, atol=2 * found.floor)
    assert np.all(found.lower <= truth + found.floor)
    assert np.all(truth <= found.upper + found.floor)
    assert np.all((found.lower <= found.sigma_min) & (found.sigma_min <= found.upper))


@given(squares(), SEEDS, st.booleans(), st.lists(POINTS, min_size=1, max_size=4))
def test_equals_the_definition(A, seed, with_B, z):
    rng = np.random.default_rng(seed)
    A = A * (rng.random(A.shape) < 0.5)
    B = rng.standard_normal(A.shape) * (rng.random(A.shape) < 0.5) if with_B else np.eye(len(A))
    pencil = sparse_pencil(sp.csr_array(A), sp.csr_array(B) if with_B else None)
    check(solved(pencil, z), sigma_min_of_pencil(A, B, z))
    assert pencil.is_real == (not np.iscomplexobj(A))


@pytest.mark.parametrize("case", cases.reference("sigmin", kind="320-bit"))
def test_reference_values_lie_in_the_intervals(case):
    found = solved(sparse_pencil(case.A), [case.z], rtol=1e-10)
    assert found.lower[0] <= case.value <= found.upper[0]
    if case.value > 1e8 * found.floor:
        assert found.sigma_min[0] == pytest.approx(case.value, rel=1e-8)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_taken_and_left_alone(kind):
    A = kind(gallery.grcar(30))
    before, z = A.toarray(), [0.5 + 1j, 3.0]
    check(solved(sparse_pencil(A), z), sigma_min_of_pencil(before, np.eye(30), z))
    assert np.array_equal(A.toarray(), before)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.complex64, np.longdouble, np.int64])
def test_every_number_type_is_taken(dtype):
    found = solved(sparse_pencil(sp.csr_array(np.array([[0, 1], [0, 0]], dtype=dtype))), [1.0])
    assert found.sigma_min[0] == pytest.approx(np.sqrt(1.25) - 0.5, rel=1e-14)


def test_duplicate_entries_count_together():
    A = sp.coo_array(([1.0, 2.0], ([0, 0], [0, 0])), shape=(1, 1))
    assert solved(sparse_pencil(A), [5.0]).sigma_min[0] == pytest.approx(2.0, rel=1e-15)


def test_grcar_of_order_2000_equals_a_dense_decomposition():
    """Computed once by a dense singular value decomposition, which takes 5 s a point."""
    A = sp.csr_array(gallery.grcar(2000))
    found = solved(sparse_pencil(A), [2.8 + 1j, 3.0, -1 + 0.5j])
    dense = np.array([1.5922628148791846e-09, 0.005490686751069619, 1.0303213222380525])
    np.testing.assert_allclose(found.sigma_min, dense, rtol=1e-10, atol=found.floor)
    assert np.all((found.lower <= dense) & (dense <= found.upper))
    assert np.all(found.lower >= 0.99 * found.upper)


def test_a_symmetric_matrix_of_order_5000_has_the_distance_to_its_eigenvalues():
    n = 5000
    A = sp.diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1])
    z = np.array([2.5, 1j, 2 + 0.5j])
    eigenvalues = 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))
    expected = np.abs(z[:, None] - eigenvalues).min(axis=1)
    found = solved(sparse_pencil(A), z, rtol=1e-2)
    np.testing.assert_allclose(found.sigma_min, expected, rtol=1e-4)
    assert np.all((found.lower <= expected) & (expected <= found.upper))


def test_eigenvalues_have_value_zero():
    A = sp.diags_array([1.0, 2.0, 3.0 + 1j])
    pencil = sparse_pencil(A)
    found = solved(pencil, [1.0, 2.0, 3.0 + 1j])  # exactly singular: SuperLU refuses them
    assert np.all(found.sigma_min <= found.floor)
    assert np.all(found.lower == 0)
    assert np.all(found.upper < 1e-13)
    np.testing.assert_allclose(np.sort_complex(pencil.eigenvalues), [1, 2, 3 + 1j], rtol=1e-13)


def test_singular_pencils_and_zeros():
    A, B = sp.diags_array([1.0, 0.0, 2.0]), sp.diags_array([1.0, 0.0, 0.0])
    found = solved(sparse_pencil(A, B), [0.5, 7.0])
    assert np.all(found.upper < 1e-13)
    zero = sp.csr_array((3, 3))
    np.testing.assert_allclose(solved(sparse_pencil(zero), [0.0, 2j]).sigma_min, [0, 2], atol=1e-14)
    assert np.all(solved(sparse_pencil(zero, zero), [2j]).upper == 0)
    np.testing.assert_allclose(solved(sparse_pencil(zero, sp.eye_array(3)), [2j]).sigma_min, 2)


def test_a_backward_error_that_is_measured_widens_the_interval(monkeypatch):
    """As factors of little accuracy would."""
    A, z = gallery.grcar(40), [3.0]
    truth = sigma_min_of_pencil(A, np.eye(40), z)
    exact = sparse_pencils.splu
    monkeypatch.setattr(sparse_pencils, "splu", lambda M: exact((M + 1e-5 * sp.eye_array(40)).tocsc()))
    found = solved(sparse_pencil(sp.csr_array(A)), z)
    assert abs(found.sigma_min - truth) > 1e-7
    assert found.floor > 5e-6
    assert found.lower <= truth <= found.upper


@pytest.mark.parametrize("size", [2.0**1000, 2.0**-1000])
def test_scales(size):
    A, z = sp.csr_array(gallery.grcar(30)), np.array([0.5 + 1j, 3.0])
    here, there = solved(sparse_pencil(A), z), solved(sparse_pencil(size * A), size * z)
    np.testing.assert_allclose(there.sigma_min, size * here.sigma_min, rtol=1e-12)
    np.testing.assert_allclose(there.lower, size * here.lower, rtol=1e-9)
    B = solved(sparse_pencil(A, size * sp.eye_array(30)), z / size)
    np.testing.assert_allclose(B.sigma_min, here.sigma_min, rtol=1e-12)


def test_values_do_not_depend_on_threads():
    pencil, z = sparse_pencil(sp.csr_array(gallery.grcar(100))), np.linspace(-1, 3, 20) + 0.5j
    seen = []
    one, two = (
        solved(pencil, z, threads=1),
        solved(pencil, z, threads=2, progress=lambda *at: seen.append(at)),
    )
    assert np.array_equal(one.sigma_min, two.sigma_min)
    assert np.array_equal(one.lower, two.lower)
    assert seen[-1] == (20, 20)


def test_as_many_threads_as_memory_bears(monkeypatch):
    pencil = sparse_pencil(sp.csr_array(gallery.grcar(100)))
    seen, solve = [], sparse_pencils.solve_batches

    def spy(*arguments, threads, **options):
        seen.append(threads)
        return solve(*arguments, threads=threads, **options)

    monkeypatch.setattr(sparse_pencils, "solve_batches", spy)
    for factors in (0, 2, 9):
        free = int(pencil.factor_bytes * (factors + 0.5))
        monkeypatch.setattr(
            sparse_pencils, "grid_cost", lambda _, free=free: type("Cost", (), {"available_bytes": free})()
        )
        solved(pencil, [3.0], threads=4)
    assert seen == [1, 2, 4]


def test_one_point_by_itself():
    A = gallery.grcar(50)
    truth = sigma_min_of_pencil(A, np.eye(50), 3.0)[0]
    assert sparse_pencil(sp.csr_array(A)).sigma_min(3.0) == pytest.approx(truth, rel=1e-11)


def test_no_convergence_gives_wide_but_true_intervals_and_says_so(monkeypatch):
    A, z = gallery.grcar(60), [3.0, -1.0]
    pencil = sparse_pencil(sp.csr_array(A))
    monkeypatch.setattr(kernels, "MAX_STEPS", 2)
    with pytest.warns(
        AccuracyWarning, match=r"^inverse Lanczos did not converge at 2 of 2 points, such as z"
    ):
        found = solved(pencil, z, rtol=1e-12)
    truth = sigma_min_of_pencil(A, np.eye(60), z)
    assert np.all((found.lower <= truth) & (truth <= found.upper))
    assert np.all(found.lower < 0.9 * found.upper)


def test_region_and_sizes():
    pencil = sparse_pencil(sp.diags_array([5.0, 9.0]))
    np.testing.assert_allclose(pencil.region(), [3, 11, -2, 2], rtol=1e-12)
    assert (pencil.n, pencil.norm_bound, pencil.slope) == (2, 9.0, 1.0)
    with_B = sparse_pencil(sp.eye_array(2), 3 * sp.eye_array(2))
    assert len(with_B.eigenvalues) == 0
    assert with_B.slope == 3.0
    with pytest.raises(ValueError, match=r"^region is not known"):
        with_B.region()


@pytest.mark.parametrize("n", [1, 2, 50])
def test_bandwidth_is_that_of_the_best_order(n):
    rng = np.random.default_rng(0)
    order = rng.permutation(n)
    A = sp.csr_array(np.eye(n) + np.eye(n, k=1))[order][:, order]
    assert sparse_pencils._bandwidth(sparse_pencils.sparse_matrix(A, "A"), sp.eye_array(n).tocsc()) == min(
        n - 1, 1
    )


def test_memory_is_refused_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(pencils, "grid_cost", lambda _: type("Cost", (), {"available_bytes": 10**6})())
    sparse_pencil(sp.eye_array(2000), subspace=2)
    dense = sp.random_array((2000, 2000), density=0.01, rng=0)
    with pytest.raises(
        ValueError,
        match=r"^A sparse LU factorisation of order 2000 needs .* take scipy.sparse.linalg.aslinearoperator",
    ):
        sparse_pencil(dense)


@pytest.mark.parametrize(
    ("A", "B", "error", "message"),
    [
        (sp.csr_array((2, 3)), None, ValueError, "^A has shape .2, 3.; expected a square sparse matrix"),
        (sp.csr_array((0, 0)), None, ValueError, "^A has shape .0, 0.; expected a square"),
        (sp.coo_array(np.ones(3)), None, ValueError, "^A has shape .3,.; expected a square"),
        (sp.csr_array([[np.nan]]), None, ValueError, "^A has a NaN"),
        (sp.csr_array([[1.0]]), sp.csr_array([[np.inf]]), ValueError, "^B has a NaN"),
        (sp.csr_array([[True]]), None, TypeError, "^A has dtype bool"),
        (sp.csr_array((2, 2), dtype=bool), None, TypeError, "^A has dtype bool"),
        (sp.eye_array(2), np.eye(3), ValueError, "^B has shape .3, 3., A has .2, 2.; expected one shape"),
        (sp.eye_array(2), "B", TypeError, "^B has dtype"),
        (sp.diags_array([1e308, 1.7e308]), None, ValueError, "^the entries of A reach"),
        (sp.eye_array(2), sp.diags_array([1e308, 1.7e308]), ValueError, "^the entries of B reach"),
    ],
)
def test_refusals(A, B, error, message):
    with pytest.raises(error, match=message):
        sparse_pencil(A, B)
