import naive
import numpy as np
import pytest
from hypothesis import given
from strategies import squares

import spectra.schur
from spectra import ConvergenceError, SchurForm, gallery, schur_form


@given(squares())
def test_the_factor_is_unitarily_similar_to_the_matrix(A):
    """Without Q: the same singular values at several shifts, norm, and eigenvalues on the diagonal."""
    F = schur_form(A)
    slack = 1e-13 * naive.frobenius_norm(A)
    assert F.scale * np.linalg.norm(F.T) == pytest.approx(naive.frobenius_norm(A), rel=1e-13)
    for z in (0.0, 1.0, 0.5 + 2j):
        assert naive.sigma_min(F.scale * F.T, z) == pytest.approx(naive.sigma_min(A, z), abs=slack + 1e-14)


@given(squares(is_complex=True))
def test_a_complex_factor_is_triangular(A):
    F = schur_form(A)
    assert not F.is_real
    assert not np.tril(F.T, -1).any()
    assert np.array_equal(np.diag(F.T) * F.scale, F.eigenvalues)


@given(squares(is_complex=False))
def test_a_real_factor_is_quasi_triangular_with_standardised_blocks(A):
    F = schur_form(A)
    assert F.is_real
    assert F.T.dtype == np.float64
    assert not np.tril(F.T, -2).any()
    blocks = np.flatnonzero(np.diag(F.T, -1))
    assert not (np.diff(blocks) == 1).any(), "blocks overlap"
    for i in blocks:
        (a, b), (c, d) = F.T[i : i + 2, i : i + 2]
        assert a == d
        assert b * c < 0
        assert F.eigenvalues[i] == F.eigenvalues[i + 1].conjugate()
        assert F.eigenvalues[i] / F.scale == pytest.approx(
            a + 1j * np.sqrt(abs(b)) * np.sqrt(abs(c)), rel=1e-12
        )


@given(squares())
def test_the_form_describes_itself(A):
    F = schur_form(A)
    assert schur_form(F) is F
    assert F.n == len(A)
    assert F.T.flags.c_contiguous
    assert F.A.flags.c_contiguous
    assert np.array_equal(F.A, A)
    assert repr(F) == f"SchurForm of a {'real' if F.is_real else 'complex'} matrix of order {F.n}"


def test_the_callers_matrix_is_copied_and_left_alone():
    A = np.asfortranarray(gallery.grcar(6))
    before = A.copy()
    F = schur_form(A)
    assert np.array_equal(A, before)
    A[0, 0] = 99.0
    assert F.A[0, 0] == 1.0


@pytest.mark.parametrize("size", [1.7e308, 1e300, 1.0, 1e-300, 2.0**-1020])
@pytest.mark.parametrize("unit", [1.0, 1j, 1 + 1j])
def test_the_scale_is_a_power_of_two_that_keeps_the_factor_at_unit_size(size, unit):
    F = schur_form(np.array([[1.0, 0.5], [0.25, 1.0]]) * size * unit)
    assert np.frexp(F.scale)[0] == 0.5
    assert 1 <= np.maximum(np.abs(F.T.real), np.abs(F.T.imag)).max() < 4


def test_eigenvalues_beyond_the_floats_are_infinite_in_that_part_only():
    F = schur_form(np.array([[1.7e308 + 1e300j, 1.7e308], [1.7e308, 1.7e308 + 1e300j]]))
    largest = F.eigenvalues[np.argmax(F.eigenvalues.real)]
    assert largest.real == np.inf
    assert largest.imag == pytest.approx(1e300, rel=1e-6)


def test_zero_one_by_one_and_subnormal_matrices():
    assert schur_form(np.zeros((3, 3))).scale == 1.0
    assert not schur_form(np.zeros((3, 3))).eigenvalues.any()
    assert schur_form([[3 - 4j]]).eigenvalues[0] == 3 - 4j
    tiny = 2.0**-1074
    assert np.isfinite(1 / schur_form([[tiny]]).scale)
    assert schur_form([[tiny, 0.0], [0.0, -3 * tiny]]).eigenvalues.tolist() == [tiny, -3 * tiny]
    assert schur_form([[1j * tiny]]).eigenvalues[0] == 1j * tiny


def test_a_form_is_frozen():
    with pytest.raises(AttributeError):
        schur_form([[1.0]]).scale = 2.0


@pytest.mark.parametrize(
    ("A", "error", "words"),
    [
        (np.ones((2, 3)), ValueError, "^A has shape .2, 3.; expected a square matrix"),
        (np.ones((2, 2, 2)), ValueError, "two dimensions"),
        (np.zeros((0, 0)), ValueError, "empty"),
        ([[1.0, np.inf], [0.0, 1.0]], ValueError, r"infinite entry at \(0, 1\)"),
        ([[1.0, 2.0], [3.0]], TypeError, "no array of numbers"),
        (np.array([[object()]]), TypeError, "dtype object"),
        (np.array([["1"]]), TypeError, "dtype <U1"),
        (np.array([[True]]), TypeError, "dtype bool"),
    ],
)
def test_refusals_name_the_argument(A, error, words):
    with pytest.raises(error, match=words):
        schur_form(A)
    with pytest.raises(error, match=words):
        spectra.schur.matrix_of(A)


def test_matrix_of_opens_a_form_and_checks_an_array():
    F = schur_form([[1, 2], [3, 4]])
    assert spectra.schur.matrix_of(F) is F.A
    assert spectra.schur.matrix_of([[1, 2], [3, 4]]).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_failed_iteration_says_so(monkeypatch):
    monkeypatch.setattr(spectra.schur, "schur_factor", lambda A: (A, np.zeros(len(A), dtype=complex), 1))
    with pytest.raises(ConvergenceError, match=r"gees did not converge on A \(info = 1\)"):
        schur_form([[1.0]])


def test_the_class_is_public():
    assert isinstance(schur_form([[1.0]]), SchurForm)
