import naive
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from strategies import gaussian, rectangles

from spectra import AccuracyWarning, schur_form, spectral_norm, spectral_norm_bounds
from spectra.operators import linear_map

FORMS = [np.asarray, scipy.sparse.csr_array, scipy.sparse.coo_matrix, aslinearoperator]


@pytest.mark.parametrize("form", FORMS)
@given(A=rectangles())
def test_the_products_are_those_of_the_matrix(form, A):
    rng = np.random.default_rng(0)
    found = linear_map(form(A), rng)
    x, y = rng.standard_normal(A.shape[1]), rng.standard_normal(A.shape[0])
    assert found.shape == A.shape
    assert found.is_complex == np.iscomplexobj(A)
    assert np.allclose(found.scale * found.apply(x), A @ x, rtol=0, atol=1e-13)
    assert np.allclose(found.scale * found.adjoint(y), A.conj().T @ y, rtol=0, atol=1e-13)
    assert found.bound * found.scale >= naive.spectral_norm(A) * (1 - 1e-14)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1e300, 1e-300, 1.0])
def test_every_form_gives_the_same_norm_at_every_scale(form, size):
    A = size * gaussian(30, 20, is_complex=True, seed=3)
    found = spectral_norm_bounds(form(A))
    assert found.lower <= spectral_norm(A) <= found.upper
    assert found.upper <= found.lower * (1 + 1e-6)


def test_a_schur_form_and_narrow_types_serve_as_well():
    A = gaussian(6, 6, is_complex=False, seed=3)
    assert spectral_norm_bounds(schur_form(A)).value == spectral_norm_bounds(A).value
    for narrow in (
        scipy.sparse.csr_array(A.astype(np.float32)),
        scipy.sparse.csc_array(np.rint(A).astype(int)),
    ):
        assert spectral_norm_bounds(narrow).value == pytest.approx(spectral_norm(narrow.toarray()), rel=1e-9)


def test_products_in_single_precision_widen_the_interval():
    A = gaussian(40, 40, is_complex=False, seed=3).astype(np.float32)
    found = spectral_norm_bounds(aslinearoperator(A), rtol=1e-4)
    assert found.lower <= spectral_norm(A) <= found.upper
    assert found.upper >= found.value * (1 + 40 * 2.0**-24)


def test_entries_given_twice_are_added_and_the_matrix_stays_as_it_was():
    A = scipy.sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(2, 2))
    assert spectral_norm_bounds(A).value == pytest.approx(3.0, rel=1e-14)
    B = scipy.sparse.csr_array(np.array([[0.0, 3e200], [0.0, 0.0]]))
    spectral_norm_bounds(B)
    assert A.nnz == 2
    assert B.data[0] == 3e200


def test_an_operator_near_the_least_floats_is_not_taken_for_a_wrong_one():
    """There the neighbours of a float differ by more than rtol, which is said."""
    with pytest.warns(AccuracyWarning, match="bracketed to 0.0001"):
        found = spectral_norm_bounds(aslinearoperator(np.array([[2.0**-1060, 0.0], [0.0, 2.0**-1061]])))
    assert found.lower <= 2.0**-1060 <= found.upper


def operator(forth, back=None, *, shape=(3, 3), dtype=float):
    return LinearOperator(shape, matvec=forth, rmatvec=back, dtype=dtype)


SHIFT = np.diag([1.0, 2.0], 1)


@pytest.mark.parametrize(
    ("A", "error", "words"),
    [
        (scipy.sparse.csr_array((0, 3)), ValueError, "^A is empty"),
        (scipy.sparse.csr_array(np.array([[np.nan]])), ValueError, "^A has a NaN"),
        (scipy.sparse.csr_array(np.array([[True]])), TypeError, "^A has dtype bool"),
        (scipy.sparse.coo_array(np.ones(3)), ValueError, "^A has shape .*two dimensions"),
        (np.ones(3), ValueError, "^A has shape .*two dimensions"),
        ([[None]], TypeError, "^A has dtype object"),
        (operator(lambda x: x), TypeError, "^A is a LinearOperator without rmatvec"),
        (operator(lambda x: SHIFT @ x, lambda y: SHIFT @ y), ValueError, "^A.rmatvec is not the adjoint"),
        (operator(lambda x: x, lambda y: 2 * y), ValueError, "^A.rmatvec is not the adjoint"),
        (operator(lambda x: x, lambda y: y + SHIFT @ y), ValueError, "^A.rmatvec is not the adjoint"),
        (operator(lambda x: 0 * x, lambda y: y), ValueError, "^A.rmatvec is not the adjoint"),
        (operator(lambda x: 1j * x, lambda y: 1j * y, dtype=complex), ValueError, "^A.rmatvec is not"),
        (operator(lambda x: 1j * x, lambda y: -1j * y), TypeError, "^A has dtype float64, but its matvec"),
        (operator(lambda x: x * np.nan, lambda y: y), ValueError, "^A.matvec gives NaN or inf"),
        (operator(lambda x: x, lambda y: y / 0.0 * 0), ValueError, "^A.rmatvec gives NaN or inf"),
        (operator(lambda x: x, lambda y: y, dtype=object), TypeError, "^A has dtype object"),
        (operator(lambda x: x, lambda y: y, shape=(0, 0)), ValueError, "^A is empty"),
    ],
)
def test_refusals_say_what_is_wrong(A, error, words):
    with np.errstate(all="ignore"), pytest.raises(error, match=words):
        spectral_norm_bounds(A)
