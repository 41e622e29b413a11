import cases
import naive
import numpy as np
import pytest
from hypothesis import given
from strategies import SCALES, SEEDS, gaussian, normals, squares, unitary

from spectra import gallery, numerical_abscissa, schur_form, spectral_abscissa, spectral_norm


@given(squares())
def test_equals_the_definition(A):
    assert numerical_abscissa(A) == pytest.approx(
        naive.numerical_abscissa(A), abs=1e-12 * naive.spectral_norm(A)
    )


@pytest.mark.parametrize(
    "case", cases.reference("numerical_abscissa") + cases.published("numerical_abscissa")
)
def test_has_the_reference_value(case):
    assert numerical_abscissa(case.A) == pytest.approx(case.value, rel=1e-8, abs=naive.noise_floor(case.A))
    assert numerical_abscissa(case.A) == pytest.approx(case.value, abs=5 * naive.noise_floor(case.A))


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_of_a_jordan_block_is_a_cosine(n):
    assert numerical_abscissa(gallery.jordan_block(n)) == pytest.approx(np.cos(np.pi / (n + 1)), abs=1e-15)


@given(squares(), SEEDS)
def test_no_rayleigh_quotient_is_larger(A, seed):
    x = gaussian(len(A), 1, is_complex=True, seed=seed)[:, 0]
    quotient = (x.conj() @ A @ x).real / (x.conj() @ x).real
    assert quotient <= numerical_abscissa(A) + 1e-13 * spectral_norm(A)


@given(squares())
def test_lies_between_the_spectral_abscissa_and_the_norm(A):
    slack = 1e-12 * spectral_norm(A)
    assert spectral_abscissa(A) - slack <= numerical_abscissa(A) <= spectral_norm(A) + slack


@given(normals())
def test_of_a_normal_matrix_is_the_spectral_abscissa(A):
    assert numerical_abscissa(A) == pytest.approx(spectral_abscissa(A), abs=1e-12 * (1 + spectral_norm(A)))


@given(squares(), SCALES)
def test_shift_scaling_conjugation_and_unitary_similarity(A, c):
    value, slack = numerical_abscissa(A), 1e-12 * (3 + spectral_norm(A))
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    assert numerical_abscissa(A + 3 * np.eye(len(A))) == pytest.approx(value + 3, abs=slack)
    assert numerical_abscissa(c * A) == pytest.approx(c * value, abs=c * slack)
    assert numerical_abscissa(A.conj()) == pytest.approx(value, abs=slack)
    assert numerical_abscissa(Q @ A @ Q.conj().T) == pytest.approx(value, abs=slack)


def test_is_the_growth_rate_at_time_zero():
    """The derivative of norm(exp(tA)) at 0, by a difference quotient of norm(I + tA + (tA)^2/2)."""
    A, t = gallery.grcar(12), 1e-6
    step = np.eye(12) + t * A + (t * A) @ (t * A) / 2
    assert (spectral_norm(step) - 1) / t == pytest.approx(numerical_abscissa(A), abs=1e-4)


@given(squares())
def test_a_schur_form_serves_as_well(A):
    assert numerical_abscissa(schur_form(A)) == numerical_abscissa(A)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1.7e308, 2.0**-1070])
def test_extreme_scales_need_no_warning(size):
    A = np.array([[0.0, 1.0], [0.0, 0.0]]) * size
    assert numerical_abscissa(A) == pytest.approx(size / 2, rel=1e-14)
    assert numerical_abscissa(1j * A) == pytest.approx(size / 2, rel=1e-14)


def test_what_leaves_the_floats_becomes_infinite():
    assert numerical_abscissa(np.full((3, 3), 1.7e308)) == np.inf
    assert numerical_abscissa(-0.9e308 * (np.ones((2, 2)) + 0.8 * np.eye(2))) == pytest.approx(-0.72e308)


def test_small_cases():
    assert numerical_abscissa([[-4]]) == -4.0
    assert numerical_abscissa([[3j]]) == 0.0
    assert numerical_abscissa(np.zeros((3, 3))) == 0.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint16, np.complex64])
def test_every_number_type_is_taken(dtype):
    assert numerical_abscissa(np.array([[0, 3], [1, 0]], dtype=dtype)) == pytest.approx(2.0, rel=1e-15)


@pytest.mark.parametrize(
    ("A", "error"),
    [
        (np.ones((2, 3)), ValueError),
        ([[np.inf]], ValueError),
        (np.ones((0, 0)), ValueError),
        (np.array([[1.0]], dtype=object), TypeError),
        (["1"], TypeError),
    ],
)
def test_refusals_name_the_argument(A, error):
    with pytest.raises(error, match=r"^A "):
        numerical_abscissa(A)
