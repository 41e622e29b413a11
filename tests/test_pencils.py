"""Square pencils zB - A by QZ, and what all pencils share: units and regions."""

import cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import sigma_min_of_pencil
from strategies import POINTS, SEEDS, gaussian, squares, unitary

from spectra import ConvergenceError, gallery, kernels, pencils, pseudospectrum, square_pencils
from spectra.pencils import region_around
from spectra.square_pencils import square_pencil


def solved(pencil, z, rtol=1e-6, **options):
    return pencil.smallest_singular_values(np.array(z, dtype=complex), rtol=rtol, delta=1e-3, **options)


def check_intervals(found, truth):
    """A dense decomposition is itself right to the floor only."""
    assert np.all(found.lower <= truth + found.floor)
    assert np.all(truth <= found.upper + found.floor)
    assert np.all((found.lower <= found.sigma_min) & (found.sigma_min <= found.upper))


def circle(radius=1.3, count=24):
    return radius * np.exp(2j * np.pi * np.arange(count) / count) + 0.1


@given(squares(), SEEDS, st.booleans(), st.lists(POINTS, min_size=1, max_size=5))
def test_equals_the_definition(A, seed, is_complex, z):
    B = gaussian(len(A), len(A), is_complex=is_complex, seed=seed)
    found, truth = solved(square_pencil(A, B), z), sigma_min_of_pencil(A, B, z)
    np.testing.assert_allclose(found.sigma_min, truth, rtol=1e-6, atol=2 * found.floor)
    check_intervals(found, truth)


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 65, 120])
@pytest.mark.parametrize("is_complex", [False, True])
def test_equals_the_definition_beyond_one_block(n, is_complex):
    A, B = (gaussian(n, n, is_complex=is_complex, seed=seed) / np.sqrt(n) for seed in (1, 2))
    pencil, z = square_pencil(A, B), circle()
    found, truth = solved(pencil, z), sigma_min_of_pencil(A, B, z)
    np.testing.assert_allclose(found.sigma_min, truth, rtol=1e-9)
    check_intervals(found, truth)
    assert np.all(found.lower >= 0.99 * found.upper)
    assert pencil.sigma_min(z[3]) == pytest.approx(truth[3], rel=1e-12)
    assert pencil.is_real == (not is_complex)


@pytest.mark.parametrize("A", [gallery.grcar(40), gallery.twisted_toeplitz(30), gallery.basor_morrison(25)])
def test_with_the_identity_it_is_the_pseudospectrum(A):
    result = pseudospectrum(A, shape=(8, 9))
    z = (result.x[None, :] + 1j * result.y[:, None]).ravel()
    found = solved(square_pencil(A, np.eye(len(A))), z)
    assert np.all(found.lower <= result.upper.ravel())
    assert np.all(result.lower.ravel() <= found.upper)
    np.testing.assert_allclose(
        found.sigma_min, result.sigma_min.ravel(), rtol=1e-6, atol=found.floor + result.floor
    )


@pytest.mark.parametrize("case", cases.reference("sigmin", kind="320-bit"))
def test_reference_values_lie_in_the_intervals(case):
    found = solved(square_pencil(case.A, np.eye(len(case.A))), [case.z], rtol=1e-10)
    assert found.lower[0] <= case.value <= found.upper[0]
    if case.value > 1e8 * found.floor:
        assert found.sigma_min[0] == pytest.approx(case.value, rel=1e-8)


def test_closed_form_of_a_rotated_jordan_block():
    Q = unitary(2, is_complex=True, seed=3)
    found = solved(square_pencil(Q @ np.array([[0.0, 1.0], [0.0, 0.0]]), Q), z := circle())
    np.testing.assert_allclose(found.sigma_min, np.sqrt(np.abs(z) ** 2 + 0.25) - 0.5, rtol=1e-13)


@given(squares(), SEEDS)
def test_generalised_eigenvalues_have_value_zero(A, seed):
    pencil = square_pencil(A, gaussian(len(A), len(A), is_complex=False, seed=seed))
    found = solved(pencil, pencil.eigenvalues)
    assert np.all(found.sigma_min <= found.floor)
    assert np.all(found.lower == 0)


@given(squares(), SEEDS, POINTS)
def test_unitary_equivalence_and_mirror_change_nothing(A, seed, z):
    n = len(A)
    B = gaussian(n, n, is_complex=False, seed=seed)
    Q, Z = unitary(n, is_complex=True, seed=seed), unitary(n, is_complex=True, seed=seed + 1)
    here, there = solved(square_pencil(A, B), [z]), solved(square_pencil(Q @ A @ Z, Q @ B @ Z), [z])
    np.testing.assert_allclose(here.sigma_min, there.sigma_min, rtol=1e-6, atol=10 * here.floor)
    mirrored = solved(square_pencil(A.conj(), B), [np.conj(z)])
    np.testing.assert_allclose(here.sigma_min, mirrored.sigma_min, rtol=1e-6, atol=2 * here.floor)


def test_a_singular_b_leaves_infinite_eigenvalues_out():
    A, B = gaussian(6, 6, is_complex=False, seed=0), np.diag([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    pencil, z = square_pencil(A, B), circle()
    assert len(pencil.eigenvalues) == 4
    check_intervals(solved(pencil, z), sigma_min_of_pencil(A, B, z))
    assert np.all(np.isfinite(pencil.region()))


def test_b_of_zeros_leaves_a_alone_and_has_a_region():
    A = gaussian(4, 4, is_complex=True, seed=0)
    pencil = square_pencil(A, np.zeros((4, 4)))
    expected = np.linalg.svd(A, compute_uv=False)[-1]
    np.testing.assert_allclose(solved(pencil, [0.0, 1e300, 3j]).sigma_min, expected, rtol=1e-12)
    assert len(pencil.eigenvalues) == 0
    assert pencil.region() == (-1.0, 1.0, -1.0, 1.0)


def test_a_singular_pencil_is_zero_everywhere():
    A, B = gaussian(5, 5, is_complex=False, seed=0), gaussian(5, 5, is_complex=False, seed=1)
    A[:, 2], B[:, 2] = A[:, 1], B[:, 1]
    found = solved(square_pencil(A, B), circle())
    assert np.all(found.sigma_min <= found.floor)
    assert np.all(found.lower == 0)
    assert np.all(solved(square_pencil(np.zeros((3, 3)), np.zeros((3, 3))), circle()).upper == 0)


@pytest.mark.parametrize(
    ("a", "b"), [(1000, 500), (1000, 1010), (1000, 0), (0, 900), (0, -900), (-1000, -1010), (-1000, -500)]
)
def test_scales(a, b):
    of_A, of_B = 2.0**a, 2.0**b
    A, B = gaussian(7, 7, is_complex=False, seed=0), gaussian(7, 7, is_complex=False, seed=1)
    plain, scaled = square_pencil(A, B), square_pencil(of_A * A, of_B * B)
    factor, z = of_A / of_B, circle()
    here, there = solved(plain, z), solved(scaled, z * factor)
    for name in ("sigma_min", "lower", "upper", "floor"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name) * of_A, rtol=1e-12)
    np.testing.assert_allclose(scaled.eigenvalues, plain.eigenvalues * factor, rtol=1e-12)


def test_eigenvalues_beyond_the_floats_are_left_out_and_leave_no_region():
    pencil = square_pencil(1e200 * np.eye(2), 1e-200 * np.eye(2))
    assert len(pencil.eigenvalues) == 0
    with pytest.raises(ValueError, match=r"^the entries of A over those of B reach up to inf"):
        pencil.region()


def test_values_do_not_depend_on_threads_or_neighbours():
    pencil, z = square_pencil(gallery.grcar(40), gaussian(40, 40, is_complex=False, seed=1)), circle(count=70)
    one, two = solved(pencil, z, threads=1), solved(pencil, z, threads=3)
    np.testing.assert_allclose(two.sigma_min, one.sigma_min, rtol=1e-10)
    assert np.array_equal(one.steps, two.steps)


def test_progress_reaches_the_end():
    seen = []
    solved(
        square_pencil(np.eye(3), np.eye(3)), circle(), progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (24, 24)


def test_points_that_do_not_converge_go_to_a_dense_decomposition(monkeypatch):
    monkeypatch.setattr(kernels, "MAX_STEPS", 1)
    A, B, z = gallery.grcar(12), gaussian(12, 12, is_complex=False, seed=1), circle()
    found = solved(square_pencil(A, B), z)
    np.testing.assert_allclose(found.sigma_min, sigma_min_of_pencil(A, B, z), rtol=1e-12)


def test_qz_that_fails_says_so(monkeypatch):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("Something in LAPACK gges")

    monkeypatch.setattr(square_pencils, "qz", fail)
    with pytest.raises(ConvergenceError, match="LAPACK gges did not converge"):
        square_pencil(np.eye(2), np.eye(2))


@pytest.mark.parametrize(
    ("A", "B", "error", "message"),
    [
        (np.ones((2, 3)), np.eye(2), ValueError, "^A has shape"),
        (np.eye(2), np.ones((2, 3)), ValueError, "^B has shape"),
        (np.eye(2), np.eye(3), ValueError, r"^B has shape \(3, 3\), A has \(2, 2\); expected one shape"),
        (np.eye(2), [[np.nan, 0], [0, 1]], ValueError, "^B has a NaN"),
        (np.eye(2), [["a"]], TypeError, "^B has dtype"),
        (np.full((4, 4), 1e308), np.eye(4), ValueError, "^the entries of A reach"),
        (np.eye(4), np.full((4, 4), 1e308), ValueError, "^the entries of B reach"),
    ],
)
def test_refusals(A, B, error, message):
    with pytest.raises(error, match=message):
        square_pencil(A, B)


def test_memory_is_refused_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(pencils, "grid_cost", lambda _: type("Cost", (), {"available_bytes": 10**5})())
    with pytest.raises(ValueError, match=r"^A pencil of order 50 needs .* take smaller matrices"):
        square_pencil(np.eye(50), np.eye(50))


def test_points_too_far_for_the_floats_are_refused():
    with pytest.raises(ValueError, match=r"^A and zB reach up to inf"):
        solved(square_pencil(np.eye(2), 1e200 * np.eye(2)), [1e200])


def test_regions_enclose_their_points():
    points = np.array([3.0 + 10j, -4.0 + 2j, 8.0])
    assert region_around(points, 1.0, is_real=False) == (-10.0, 14.0, -6.0, 16.0)
    assert region_around(points, 1.0, is_real=True) == (-10.0, 14.0, -16.0, 16.0)
    assert region_around(points[:0], 7.0, is_real=True) == (-7.0, 7.0, -7.0, 7.0)
    assert region_around(np.zeros(1, complex), 0.0, is_real=True) == (-1.0, 1.0, -1.0, 1.0)
    xmin, _, _, ymax = region_around(
        np.array([0.5, 0.6], complex), 1.0, is_real=True
    )  # shows the unit circle
    assert xmin <= -1.1
    assert ymax >= 1.1
