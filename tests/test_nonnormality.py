import cases
import naive
import numpy as np
import pytest
from hypothesis import given
from strategies import SCALES, normals, squares, unitary

from spectra import (
    commutator_norm,
    eigenvector_condition_number,
    gallery,
    henrici_departure,
    schur_form,
    spectral_norm,
)

MEASURES = [henrici_departure, commutator_norm, eigenvector_condition_number]


@given(squares())
def test_henrici_departure_equals_the_definition(A):
    size = naive.frobenius_norm(A)
    assert henrici_departure(A) == pytest.approx(naive.henrici_departure(A), rel=1e-9, abs=1e-13 * size)
    assert henrici_departure(A, relative=True) == pytest.approx(henrici_departure(A) / size, rel=1e-12)
    squared = naive.henrici_formula(A) ** 2 if henrici_departure(A) > 1e-3 * size else 0.0
    if squared:
        assert henrici_departure(A) ** 2 == pytest.approx(squared, rel=1e-7)


@given(squares())
def test_commutator_norm_equals_the_definition(A):
    slack = 1e-13 * naive.frobenius_norm(A) ** 2
    assert commutator_norm(A) == pytest.approx(naive.commutator_norm(A), rel=1e-13, abs=slack)


@given(squares())
def test_eigenvector_condition_number_equals_the_definition(A):
    expected = naive.eigenvector_condition_number(A)
    if expected < 1e8:
        assert eigenvector_condition_number(A) == pytest.approx(expected, rel=1e-14 * max(expected, 100))


@pytest.mark.parametrize("case", cases.reference("henrici_schur_F") + cases.published("henrici_schur_F"))
def test_henrici_departure_has_the_reference_value(case):
    """Of the Godunov matrix the reference itself is right to 3e-6 only: the next test has the truth."""
    rel = 1e-5 if case.matrix == "godunov" else 1e-11
    assert henrici_departure(case.A) == pytest.approx(case.value, rel=rel)


def test_henrici_departure_of_integer_matrices_with_known_eigenvalues():
    assert henrici_departure(gallery.gallery5()) == pytest.approx(101035.36074068326, rel=1e-12)  # all 0
    assert henrici_departure(gallery.godunov()) == pytest.approx(6570.886545969272, rel=1e-5)  # -4 to 4


@pytest.mark.parametrize("case", cases.reference("commutator_F") + cases.published("commutator_F"))
def test_commutator_norm_has_the_reference_value(case):
    assert commutator_norm(case.A) == pytest.approx(case.value, rel=1e-14)


@pytest.mark.parametrize("case", cases.reference("kappaV_unitcols"))
def test_eigenvector_condition_number_has_the_reference_value(case):
    """Where it can be trusted: not for gallery5, godunov, riffle20 and twisted32."""
    found, noise = eigenvector_condition_number(case.A), len(case.A) * 2.0**-53
    if case.value < 1e10:
        assert found == pytest.approx(case.value, rel=max(noise * case.value, 1e-13))
    elif case.value < 1 / noise:
        assert found > 1e10
    else:
        assert found == np.inf


@pytest.mark.parametrize("k", [1.0, -0.01, 7j])
def test_closed_forms_of_a_triangular_pair(k):
    A = np.array([[1.0, k], [0.0, 3.0]])
    angle = abs(k) / np.sqrt(abs(k) ** 2 + 4)  # cosine between the eigenvectors
    assert henrici_departure(A) == pytest.approx(abs(k), rel=1e-14)
    assert commutator_norm(A) == pytest.approx(np.sqrt(2) * abs(k) * np.sqrt(abs(k) ** 2 + 4), rel=1e-13)
    assert eigenvector_condition_number(A) == pytest.approx(np.sqrt((1 + angle) / (1 - angle)), rel=1e-13)


def test_a_real_block_with_a_conjugate_pair_is_handled_exactly():
    A = np.array([[0.5, 9.0], [-4.0, 0.5]])  # ||A||_F^2 = 97.5, abs(lambda)^2 = 36.25
    assert henrici_departure(A) == 5.0
    B = np.block([[A, np.ones((2, 2))], [np.zeros((2, 2)), A]])
    assert henrici_departure(B) == pytest.approx(np.sqrt(25 + 25 + 4), rel=1e-13)


@given(normals())
def test_a_normal_matrix_has_departure_zero_and_condition_one(A):
    largest = np.abs(A).max() or 1.0  # also where squares underflow
    size = naive.frobenius_norm(A / largest) * largest
    assert henrici_departure(A) <= 1e-14 * size * len(A)
    assert commutator_norm(A) <= 1e-14 * size**2 * len(A)
    assert eigenvector_condition_number(A) == pytest.approx(1.0, abs=1e-8) or size == 0


@pytest.mark.parametrize(
    "A", [np.eye(5), np.ones((4, 4)), np.roll(np.eye(6), 1, axis=0), np.diag([1.0, 1.0, 2.0]), [[7.0]]]
)
def test_repeated_eigenvalues_of_a_normal_matrix_are_no_defect(A):
    assert eigenvector_condition_number(A) == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize("n", [2, 3, 8, 60])
@pytest.mark.parametrize("eigenvalue", [0.0, 1.0, -3.5])
def test_a_defective_matrix_has_an_infinite_condition_number(n, eigenvalue):
    J = gallery.jordan_block(n, eigenvalue)
    assert eigenvector_condition_number(J) == np.inf
    assert eigenvector_condition_number(1j * J) == np.inf
    assert eigenvector_condition_number(J.T) == np.inf


@pytest.mark.parametrize("eigenvalue", [10.0, 1e4, -1e8])
def test_a_weak_defect_beside_another_block_is_seen_where_the_condition_number_is_not_huge(eigenvalue):
    """LAPACK splits the eigenvalue by u times its modulus, which leaves V with 2 / (u abs(eigenvalue))."""
    J = gallery.jordan_block(2, eigenvalue)
    A = np.block([[J, np.zeros((2, 2))], [np.zeros((2, 2)), -J]])
    assert naive.eigenvector_condition_number(A) < 1e15
    assert eigenvector_condition_number(A) == np.inf


def test_a_strong_coupling_of_distinct_eigenvalues_is_no_defect():
    A = np.array([[0.0, 1e8], [0.0, 1.0]])
    assert eigenvector_condition_number(A) == pytest.approx(2e8, rel=1e-8)


def test_a_repeated_eigenvalue_with_two_eigenvectors_is_no_defect():
    """As where a unit of a network is dead: rows of zeros."""
    A = np.array([[0.5, 2.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert 1 < eigenvector_condition_number(A) < 20


@given(squares(), SCALES)
def test_scaling(A, c):
    assert henrici_departure(c * A) == pytest.approx(c * henrici_departure(A), rel=1e-8, abs=1e-13 * c)
    assert commutator_norm(c * A) == pytest.approx(c * c * commutator_norm(A), rel=1e-9, abs=1e-12 * c * c)
    assert henrici_departure(c * A, relative=True) == pytest.approx(
        henrici_departure(A, relative=True), rel=1e-8, abs=1e-14 * len(A)
    )


@given(squares())
def test_unitary_similarity_shift_and_adjoint_change_neither_departure_nor_commutator(A):
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    slack = 1e-12 * (1 + naive.frobenius_norm(A)) ** 2
    for B in (Q @ A @ Q.conj().T, A + 2 * np.eye(len(A)), A.conj().T, A.conj()):
        assert henrici_departure(B) == pytest.approx(henrici_departure(A), rel=1e-8, abs=slack)
        assert commutator_norm(B) == pytest.approx(commutator_norm(A), rel=1e-8, abs=10 * slack)


@given(squares())
def test_unitary_similarity_and_scaling_do_not_change_the_condition_number(A):
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    before = eigenvector_condition_number(A)
    if before < 1e6:
        assert eigenvector_condition_number(Q @ A @ Q.conj().T) == pytest.approx(before, rel=1e-5)
        assert eigenvector_condition_number(-3 * A) == pytest.approx(before, rel=1e-5)


@given(squares())
def test_bounds_between_the_measures(A):
    """Elsner and Paardekooper's lower and Henrici's upper bound of the departure by the commutator norm."""
    n, size = len(A), naive.frobenius_norm(A)
    departure, commutator = henrici_departure(A), commutator_norm(A)
    assert departure <= size * (1 + 1e-14)
    assert departure**2 <= np.sqrt((n**3 - n) / 12) * commutator + 1e-12 * size**2
    assert commutator <= 4 * spectral_norm(A) * departure + 1e-12 * size**2
    assert eigenvector_condition_number(A) >= 1 - 1e-13
    assert 0 <= henrici_departure(A, relative=True) <= 1


@given(squares())
def test_bauer_and_fike(A):
    """Every point where the resolvent norm is 1/epsilon lies within epsilon kappa of an eigenvalue."""
    kappa = eigenvector_condition_number(A)
    for z in (0.3 + 0.1j, -2.0, 1j):
        distance = np.abs(z - naive.eigenvalues(A)).min()
        assert distance <= kappa * naive.sigma_min(A, z) * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("measure", MEASURES)
@given(A=squares())
def test_a_schur_form_serves_as_well(measure, A):
    assert measure(schur_form(A)) == measure(A)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1.7e308, 2.0**-1070])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_extreme_scales_need_no_warning(size, unit):
    A = np.array([[-0.25, 1.0], [0.0, -0.5]]) * size * unit
    assert henrici_departure(A) == pytest.approx(size, rel=1e-14)
    assert henrici_departure(A, relative=True) == pytest.approx(1 / np.sqrt(1.3125), rel=1e-14)
    assert eigenvector_condition_number(A) == pytest.approx(4 + np.sqrt(17), rel=1e-13)
    assert commutator_norm(A) == (np.inf if size > 1 else 0.0)


def test_the_commutator_norm_reaches_to_the_ends_of_the_floats():
    A = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert commutator_norm(2.0**511 * A) == pytest.approx(np.sqrt(2) * 2.0**1022, rel=1e-14)
    assert commutator_norm(2.0**-511 * A) == pytest.approx(np.sqrt(2) * 2.0**-1022, rel=1e-14)


def test_zero_and_scalar_matrices_are_normal():
    for A in (np.zeros((3, 3)), [[0]], [[5.0]], [[1j]]):
        assert henrici_departure(A) == henrici_departure(A, relative=True) == commutator_norm(A) == 0.0
        assert eigenvector_condition_number(A) == 1.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.complex64])
def test_every_number_type_is_taken(dtype):
    A = np.array([[-1, 5], [0, -2]], dtype=dtype)
    assert henrici_departure(A) == 5.0
    assert commutator_norm(A) == pytest.approx(np.sqrt(1300), rel=1e-15)
    assert eigenvector_condition_number(A) == pytest.approx(10.099019513592784, rel=1e-14)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("A", "error"),
    [
        (np.ones((2, 3)), ValueError),
        ([[np.nan]], ValueError),
        ([], ValueError),
        ([["a"]], TypeError),
        ([[True]], TypeError),
        (None, TypeError),
    ],
)
def test_refusals_name_the_argument(measure, A, error):
    with pytest.raises(error, match=r"^A "):
        measure(A)


def test_relative_is_true_or_false():
    with pytest.raises(TypeError, match="relative is 'yes'; expected True or False"):
        henrici_departure([[1.0]], relative="yes")
