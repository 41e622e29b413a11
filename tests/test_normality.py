import naive
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SCALES, SEEDS, gaussian, normals, squares, unitary

from spectra import commutator_norm, distance_to_normality, gallery, henrici_departure, schur_form
from spectra.normality import _rounds


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_the_least_of_many_descents(n, seed):
    """Both descend; neither is far above the other, and the bound is below both."""
    A = gaussian(n, n, is_complex=seed == 1, seed=seed)
    found, expected = distance_to_normality(A), naive.distance_to_normality(A)
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert found.lower <= expected * (1 + 1e-9)


@pytest.mark.parametrize("n", [2, 3, 4, 9, 40])
@pytest.mark.parametrize("eigenvalue", [0.0, 2.5, -1j])
def test_a_jordan_block_is_at_its_known_distance(n, eigenvalue):
    """That of the circulant with 1 - 1/n on its cycle, and the departure over the root of n is the same."""
    A = gallery.jordan_block(n) + eigenvalue * np.eye(n)
    found = distance_to_normality(A)
    circulant = (1 - 1 / n) * np.roll(np.eye(n), 1, axis=1) + eigenvalue * np.eye(n)
    assert np.linalg.norm(A - circulant) == pytest.approx(np.sqrt(1 - 1 / n), rel=1e-13)
    assert found.value == pytest.approx(np.sqrt(1 - 1 / n), rel=1e-6)
    assert found.lower == pytest.approx(np.sqrt(1 - 1 / n), rel=1e-11)


@given(squares(least=2))
def test_of_order_2_it_is_the_departure_over_the_root_of_2(A):
    B = A[:2, :2]
    size = naive.frobenius_norm(B)
    found = distance_to_normality(B)
    assert found.value == pytest.approx(henrici_departure(B) / np.sqrt(2), rel=1e-8, abs=1e-14 * size)
    assert found.lower == pytest.approx(found.value, rel=1e-8, abs=1e-14 * size)


def test_a_block_beside_distant_normal_ones_counts_alone():
    A = scipy.linalg.block_diag([[0.0, 1.0], [0.0, 0.0]], np.diag(np.arange(3.0, 12.0)))
    found = distance_to_normality(A)
    assert found.value == pytest.approx(np.sqrt(0.5), rel=1e-12)
    assert found.lower >= 0.999 * np.sqrt(0.5)


def certify(A):
    n, size = len(A), naive.frobenius_norm(A)
    found, departure, noise = distance_to_normality(A), naive.henrici_departure(A), 1e-13 * n * size
    assert 0 <= found.lower <= found.value <= found.upper
    assert found.value <= departure + noise
    assert found.lower >= departure / np.sqrt(n) - noise
    assert found.residual <= noise
    # commutator: with N = A - D, A*A - AA* = N*D + D*N - ND* - DN* + D*D - DD*
    assert (
        naive.commutator_norm(A) <= 4 * np.linalg.norm(A, 2) * found.upper + 2 * found.upper**2 + noise * size
    )
    # the eigenvalues are those of a normal matrix at that distance
    off = size**2 - (np.abs(found.points) ** 2).sum()
    assert found.value**2 == pytest.approx(off, rel=1e-6, abs=1e-11 * size**2)
    assert found.points.sum() == pytest.approx(np.trace(A), rel=1e-9, abs=1e-12 * n * size)
    return found


@given(squares())
def test_certificate(A):
    certify(A)


@pytest.mark.slow
@settings(max_examples=300)  # 25 s
@given(st.integers(1, 40), SEEDS, st.booleans(), st.sampled_from([1.0, 0.1, 0.0]))
def test_certificate_up_to_order_40(n, seed, is_complex, lower):
    A = gaussian(n, n, is_complex=is_complex, seed=seed)
    certify(np.triu(A) + lower * np.tril(A, -1))


@given(squares(least=2), SEEDS)
def test_no_normal_matrix_is_nearer_than_the_lower_bound(A, seed):
    """Neither random ones nor those with the eigenbasis of a part, product or polar factor of A."""
    found, n = distance_to_normality(A), len(A)
    U, _, Vh = np.linalg.svd(A)
    noise = gaussian(n, n, is_complex=True, seed=seed)
    for part in (A + A.conj().T, 1j * (A - A.conj().T), A.conj().T @ A, U @ Vh, A + 0.1 * noise):
        Q = scipy.linalg.schur(part, output="complex")[1]
        B = Q.conj().T @ A @ Q
        distance = np.linalg.norm(B - np.diag(np.diag(B)))
        assert found.lower <= distance * (1 + 1e-12) + 1e-12


@given(normals())
def test_a_normal_matrix_is_at_distance_zero(A):
    size = len(A) * np.abs(A).max()
    found = distance_to_normality(A)
    assert found.lower == 0.0
    assert found.upper <= 1e-13 * len(A) * size
    assert commutator_norm(A) <= 1e-13 * len(A) * size**2


@given(squares(), SEEDS)
def test_the_distance_is_no_larger_than_that_to_a_normal_matrix_nearby(A, seed):
    n = len(A)
    Q = unitary(n, is_complex=True, seed=seed)
    N = (Q * np.diag(A)) @ Q.conj().T
    E = 1e-3 * gaussian(n, n, is_complex=True, seed=seed)
    assert distance_to_normality(N + E).lower <= np.linalg.norm(E) * (1 + 1e-10)


@given(squares(), SCALES)
def test_scaling_shift_adjoint_and_unitary_similarity(A, c):
    """The interval may move, the truth does not: intervals of the same truth meet."""
    found = distance_to_normality(A)
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    for B, factor in ((c * A, c), (A + 3 * np.eye(len(A)), 1), (A.conj().T, 1), (Q @ A @ Q.conj().T, 1)):
        other = distance_to_normality(B)
        assert other.lower / factor <= found.upper + 1e-12
        assert other.upper / factor >= found.lower - 1e-12


@pytest.mark.parametrize("exponent", [-1020, -300, 300, 1000])
def test_powers_of_two_change_no_digit(exponent):
    A = gallery.grcar(9)
    found, other = distance_to_normality(A), distance_to_normality(2.0**exponent * A)
    for name in ("value", "lower", "upper"):
        assert getattr(other, name) == 2.0**exponent * getattr(found, name)
    assert np.array_equal(other.points, 2.0**exponent * found.points)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1.7e308, 2.0**-1060])
def test_extreme_scales_need_no_warning(size):
    found = distance_to_normality(np.array([[-0.25, 1.0], [0.0, -0.5]]) * size)
    assert found.value == pytest.approx(size / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("A", [np.zeros((3, 3)), [[0]], [[5.0]], [[1j]]])
def test_zero_and_scalar_matrices_are_normal(A):
    found = distance_to_normality(A)
    assert found.value == found.lower == found.residual == 0.0
    assert np.array_equal(found.points, np.diag(A))


@pytest.mark.parametrize("n", [2, 3, 7, 8])
def test_the_rounds_meet_each_pair_once_and_are_disjoint(n):
    rounds = _rounds(n)
    pairs = [tuple(pair) for found in rounds for pair in found.T.tolist()]
    assert sorted(pairs) == [(i, j) for i in range(n) for j in range(i + 1, n)]
    assert all(len(set(found.ravel().tolist())) == found.size for found in rounds)


def test_it_saves_and_prints(tmp_path):
    found = distance_to_normality(gallery.jordan_block(4))
    found.save(tmp_path / "d.npz")
    again = type(found).load(tmp_path / "d.npz")
    assert float(again) == found.value
    assert str(again) == str(found)


def test_the_interval_of_random_and_structured_matrices_is_narrow():
    for A in (gallery.grcar(40), gallery.kahan(20), gallery.frank(10), gallery.ginibre(30)):
        found = distance_to_normality(A)
        assert found.upper <= 1.4 * found.lower


@given(squares())
def test_a_schur_form_serves_as_well(A):
    found, again = distance_to_normality(A), distance_to_normality(schur_form(A))
    assert (found.lower, found.value, found.upper) == (again.lower, again.value, again.upper)


@pytest.mark.parametrize(
    ("A", "error"),
    [(np.ones((2, 3)), ValueError), ([[np.nan]], ValueError), ([], ValueError), ([[True]], TypeError)],
)
def test_refusals_name_the_argument(A, error):
    with pytest.raises(error, match=r"^A "):
        distance_to_normality(A)
