"""Rectangular pencils zB - A against singular value decompositions of the whole matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import sigma_min, sigma_min_of_pencil
from strategies import POINTS, SEEDS, SIZES, gaussian, unitary

from spectra import gallery, pencils
from spectra.rectangular import rectangular_pencil


def solved(pencil, z, **options):
    return pencil.smallest_singular_values(np.array(z, dtype=complex), rtol=1e-6, delta=1e-3, **options)


def circle(count=12):
    return 1.3 * np.exp(2j * np.pi * np.arange(count) / count) + 0.1


def check(found, truth):
    np.testing.assert_allclose(found.sigma_min, truth, rtol=0, atol=found.floor)
    assert np.all((found.lower <= truth) & (truth <= found.upper))
    assert np.all(found.upper - found.lower <= 2 * found.floor + 4e-16 * truth)


@given(SIZES, st.integers(0, 20), SEEDS, st.booleans(), st.lists(POINTS, min_size=1, max_size=4))
def test_equals_the_definition(n, more, seed, is_complex, z):
    A = gaussian(n + more, n, is_complex=is_complex, seed=seed)
    pencil = rectangular_pencil(A)
    check(solved(pencil, z), sigma_min_of_pencil(A, np.eye(n + more, n), z))
    assert len(pencil.T) <= 2 * n + (more < n) * more
    assert pencil.is_real == (not is_complex)
    assert len(pencil.eigenvalues) == 0


@given(SIZES, st.integers(0, 20), SEEDS, st.lists(POINTS, min_size=1, max_size=4))
def test_equals_the_definition_with_a_b(n, more, seed, z):
    A, B = (gaussian(n + more, n, is_complex=kind, seed=seed + kind) for kind in (False, True))
    check(solved(rectangular_pencil(A, B), z), sigma_min_of_pencil(A, B, z))


@pytest.mark.parametrize("shape", [(61, 60), (100, 40), (90, 40)])
def test_larger_ones(shape):
    A = gaussian(*shape, is_complex=False, seed=0) / np.sqrt(shape[1])
    pencil, z = rectangular_pencil(A), circle()
    check(solved(pencil, z), sigma_min_of_pencil(A, np.eye(*shape), z))
    assert pencil.sigma_min(z[1]) == pytest.approx(sigma_min_of_pencil(A, np.eye(*shape), z[1])[0], rel=1e-12)


@pytest.mark.parametrize("rows", [1, 30, 200])
def test_closed_form_of_a_square_matrix_above_a_multiple_of_an_isometry(rows):
    """||(zI - J)x||^2 + c^2 ||x||^2 is least where the first term is."""
    n, c = min(rows, 30), 0.25
    J, Q = (
        gallery.twisted_toeplitz(n) if n > 1 else np.array([[2.0]]),
        gaussian(rows, n, is_complex=True, seed=0),
    )
    below = c * np.linalg.qr(Q)[0]
    found = solved(rectangular_pencil(np.vstack([J, below])), z := circle())
    expected = np.hypot([sigma_min(J, at) for at in z], c)
    np.testing.assert_allclose(found.sigma_min, expected, rtol=1e-12)


def test_closed_form_of_one_column():
    found = solved(rectangular_pencil([[2.0], [3.0], [4.0]]), z := circle())
    np.testing.assert_allclose(found.sigma_min, np.sqrt(np.abs(z - 2) ** 2 + 25), rtol=1e-14)


@given(SIZES, SIZES, SEEDS, POINTS)
def test_a_row_more_and_a_column_less_never_lower_it(n, more, seed, z):
    A = gaussian(n + more, n, is_complex=False, seed=seed)
    whole = solved(rectangular_pencil(A), [z])
    assert whole.upper >= solved(rectangular_pencil(A[:-1]), [z]).lower
    if n > 1:
        assert solved(rectangular_pencil(A[:, :-1]), [z]).upper >= whole.lower


@given(SIZES, SIZES, SEEDS, POINTS)
def test_unitary_transformations_that_keep_the_identity(n, more, seed, z):
    A, Q = gaussian(n + more, n, is_complex=False, seed=seed), unitary(n, is_complex=True, seed=seed)
    B = A @ Q
    B[:n] = Q.conj().T @ B[:n]
    here, there = solved(rectangular_pencil(A), [z]), solved(rectangular_pencil(B), [z])
    np.testing.assert_allclose(here.sigma_min, there.sigma_min, rtol=0, atol=here.floor + 2 * there.floor)


@pytest.mark.parametrize("size", [2.0**1000, 2.0**-1000, 2.0**-1040])
def test_scales(size):
    A, z = gaussian(9, 3, is_complex=False, seed=0), circle()
    here, there = solved(rectangular_pencil(A), z), solved(rectangular_pencil(size * A), size * z)
    np.testing.assert_allclose(there.sigma_min, size * here.sigma_min, rtol=1e-12, atol=2.0**-1070)
    assert np.all(there.lower <= there.sigma_min)


def test_zeros_and_progress():
    seen = []
    found = solved(rectangular_pencil(np.zeros((3, 2))), [0, 1j], progress=lambda *at: seen.append(at))
    np.testing.assert_allclose(found.sigma_min, [0, 1])
    assert seen[-1] == (2, 2)
    assert len(solved(rectangular_pencil(np.zeros((3, 2))), []).sigma_min) == 0


def test_memory_is_refused_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(pencils, "grid_cost", lambda _: type("Cost", (), {"available_bytes": 10**5})())
    with pytest.raises(ValueError, match=r"^A pencil of shape .50, 40. needs .* take smaller matrices"):
        rectangular_pencil(np.ones((50, 40)))


def test_the_region_encloses_the_spectrum_of_the_top_rows():
    A = np.vstack([np.diag([5.0, 9.0]), np.ones((1, 2))])
    assert rectangular_pencil(A).region() == (3.0, 11.0, -2.0, 2.0)
    of_pencil = rectangular_pencil(A, np.vstack([np.diag([1.0, 0.0]), np.ones((1, 2))]))
    np.testing.assert_allclose(of_pencil.estimates, [5.0])


@pytest.mark.parametrize(
    ("A", "B", "error", "message"),
    [
        (
            np.ones((2, 3)),
            None,
            ValueError,
            "^A has shape .2, 3.: of fewer rows than columns every z is an eig",
        ),
        (
            np.ones((3, 2)),
            np.ones((2, 2)),
            ValueError,
            "^B has shape .2, 2., A has .3, 2.; expected one shape",
        ),
        (np.full((3, 2), np.inf), None, ValueError, "^A has a NaN or infinite"),
        (np.full((8, 2), 1e308), None, ValueError, "^the entries of A reach"),
        (np.ones((3, 2)), [["b"]], TypeError, "^B has dtype"),
        (np.ones(3), None, ValueError, "^A has shape"),
    ],
)
def test_refusals(A, B, error, message):
    with pytest.raises(error, match=message):
        rectangular_pencil(A, B)
