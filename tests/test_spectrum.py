import naive
import numpy as np
import pytest
from hypothesis import given
from strategies import SCALES, squares, unitary

from spectra import gallery, schur_form, spectral_abscissa, spectral_norm, spectral_radius

MEASURES = [spectral_radius, spectral_abscissa]


@given(squares())
def test_equal_the_definition(A):
    size = naive.spectral_norm(A)
    assert spectral_radius(A) == pytest.approx(naive.spectral_radius(A), rel=1e-9, abs=1e-9 * size)
    assert spectral_abscissa(A) == pytest.approx(naive.spectral_abscissa(A), rel=1e-9, abs=1e-9 * size)


def test_a_tridiagonal_toeplitz_matrix_has_the_classical_eigenvalues():
    A = gallery.tridiagonal_toeplitz(9, lower=0.5, diagonal=-1.0, upper=2.0)
    outermost = 2 * np.cos(np.pi / 10)
    assert spectral_abscissa(A) == pytest.approx(-1 + outermost, rel=1e-14)
    assert spectral_radius(A) == pytest.approx(1 + outermost, rel=1e-14)


def test_the_transient_demo_is_stable_in_both_times():
    """Its eigenvalues are the 20 roots of ((z + 0.5) / 0.4)^20 = 2."""
    roots = 0.4 * 2 ** (1 / 20) * np.exp(2j * np.pi * np.arange(20) / 20) - 0.5
    A = gallery.transient(20)
    assert spectral_abscissa(A) == pytest.approx(roots.real.max(), rel=1e-12)
    assert spectral_radius(A) == pytest.approx(np.abs(roots).max(), rel=1e-12)


@given(squares(), SCALES)
def test_scale_with_the_matrix(A, c):
    for measure in MEASURES:
        assert measure(c * A) == pytest.approx(c * measure(A), rel=1e-8, abs=1e-8 * c)


@given(squares())
def test_do_not_see_conjugation_or_transposition(A):
    for measure in MEASURES:
        assert measure(A.conj()) == pytest.approx(measure(A), rel=1e-8, abs=1e-8)
        assert measure(A.T) == pytest.approx(measure(A), rel=1e-8, abs=1e-8)


@given(squares())
def test_do_not_see_a_unitary_similarity(A):
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    for measure in MEASURES:
        assert measure(Q @ A @ Q.conj().T) == pytest.approx(measure(A), rel=1e-8, abs=1e-8)


@given(squares())
def test_a_shift_moves_the_abscissa(A):
    assert spectral_abscissa(A + 3 * np.eye(len(A))) == pytest.approx(spectral_abscissa(A) + 3, rel=1e-8)


@given(squares())
def test_stay_below_the_norm(A):
    bound = spectral_norm(A) * (1 + 1e-13)
    assert abs(spectral_abscissa(A)) <= spectral_radius(A) * (1 + 1e-13) <= bound * (1 + 1e-13)


@pytest.mark.parametrize("measure", MEASURES)
@given(A=squares())
def test_a_schur_form_serves_as_well(measure, A):
    assert measure(schur_form(A)) == measure(A)


@pytest.mark.parametrize("size", [1e300, 1e-300, 2.0**-1074 * 64])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_extreme_scales_need_no_warning(size, unit):
    A = np.array([[0.0, 4.0], [-1.0, 0.0]]) * size * unit  # eigenvalues 2i and -2i times size * unit
    assert spectral_radius(A) == pytest.approx(2 * size, rel=1e-14)
    assert spectral_abscissa(A) == pytest.approx(abs((2j * unit).real) * size, rel=1e-14, abs=1e-15 * size)


@pytest.mark.parametrize("entry", [1.7e308, 1.7e308j, 1.7e308 + 1.7e308j, -1.7e308])
def test_a_radius_beyond_the_floats_is_inf(entry):
    assert spectral_radius(np.full((3, 3), entry)) == np.inf


def test_an_abscissa_beyond_the_floats_is_inf():
    assert spectral_abscissa(np.full((3, 3), 1.7e308)) == np.inf
    A = -0.8e308 * (np.ones((2, 2)) + np.eye(2))  # eigenvalues -0.8e308 and -2.4e308
    assert spectral_abscissa(A) == pytest.approx(-0.8e308)
    assert spectral_radius(A) == np.inf


def test_small_and_defective_cases():
    assert spectral_radius([[-3]]) == 3.0
    assert spectral_abscissa([[-3]]) == -3.0
    assert spectral_radius(np.zeros((4, 4))) == spectral_abscissa(np.zeros((4, 4))) == 0.0
    assert spectral_radius(gallery.jordan_block(6)) == 0.0
    assert spectral_abscissa(gallery.jordan_block(6, -2.0)) == -2.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint16, np.complex64, np.longdouble])
def test_every_number_type_is_taken(dtype):
    A = np.array([[0, 4], [1, 0]], dtype=dtype)
    assert spectral_radius(A) == pytest.approx(2.0, rel=1e-15)
    assert spectral_abscissa(A) == pytest.approx(2.0, rel=1e-15)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("A", "error", "words"),
    [
        (np.ones((2, 3)), ValueError, "square"),
        (np.ones(4), ValueError, "two dimensions"),
        ([[np.nan]], ValueError, "NaN or infinite"),
        ([["a"]], TypeError, "real or complex"),
        ([[True]], TypeError, "bool"),
        ([], ValueError, "empty"),
    ],
)
def test_refuse_what_has_no_spectrum(measure, A, error, words):
    with pytest.raises(error, match=rf"^A .*{words}"):
        measure(A)
