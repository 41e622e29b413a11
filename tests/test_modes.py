import cases
import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import POINTS, SEEDS, gaussian, squares, unitary

from spectra import ConvergenceError, Pseudomode, gallery, pseudomode, resolvent_norm, schur_form


def check(A, z):
    """Everything that the record says of itself, and that a perturbation of norm sigma is what it takes."""
    A = np.asarray(A)
    n = len(A)
    found, noise = pseudomode(A, z), 20 * naive.noise_floor(A, z) + 1e-15 * (abs(z) + np.abs(A).max())
    u, v, E, sigma = found.left_vector, found.vector, found.perturbation, found.sigma
    shifted = z * np.eye(n) - A
    assert found.z == z
    assert np.linalg.norm(u) == pytest.approx(1, rel=1e-12)
    assert np.linalg.norm(v) == pytest.approx(1, rel=1e-12)
    assert sigma == pytest.approx(naive.sigma_min(A, z), abs=noise)
    assert np.linalg.norm(shifted @ v - sigma * u) <= noise
    assert np.linalg.norm(u.conj() @ shifted - sigma * v.conj()) <= noise
    assert np.linalg.norm(E, 2) == pytest.approx(sigma, rel=1e-12)
    assert np.linalg.matrix_rank(E) == (sigma > 0)
    assert np.linalg.norm((A + E) @ v - z * v) <= noise
    assert found.residual <= noise
    assert naive.sigma_min(A + E, z) <= noise
    assert found.landing == pytest.approx(np.abs(naive.eigenvalues(A + E) - z).min(), rel=1e-3, abs=1e-6)
    condition = 1 / max(abs(np.vdot(u, v)), 1e-300)
    if condition**2 * noise < 1e-6:
        assert found.landing <= max(1e3 * condition, 10) * noise + 1e-7 * (n > 1) * (condition > 1e3)
    return found


@given(squares(), POINTS)
def test_the_perturbation_brings_an_eigenvalue_to_the_point(A, z):
    check(A, z)


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.integers(1, 40), SEEDS, st.booleans(), POINTS)
def test_the_perturbation_brings_an_eigenvalue_to_the_point_up_to_order_40(n, seed, is_complex, z):
    check(gaussian(n, n, is_complex=is_complex, seed=seed), z)


@given(squares(least=2, is_complex=False), POINTS)
def test_of_a_real_matrix_the_admissible_perturbation_is_real_and_does_the_same(A, z):
    found = pseudomode(A, z)
    v, real = found.vector, found.admissible
    assert real.dtype == np.float64
    assert found.admissible_norm == pytest.approx(np.linalg.norm(real, 2), rel=1e-9, abs=1e-14)
    independent = np.linalg.svd(np.column_stack([v.real, v.imag]), compute_uv=False)[-1]
    if z.imag == 0:
        np.testing.assert_allclose(real, found.perturbation, atol=1e-13 * (1 + found.sigma))
        assert found.admissible_landing == pytest.approx(found.landing, abs=1e-5)
    elif independent > 1e-3:
        assert found.admissible_norm >= found.sigma * (1 - 1e-12)
        slack = 1e-12 * (np.abs(A).max() + abs(z)) / independent
        assert np.linalg.norm((A + real) @ v - z * v) <= slack
        assert naive.sigma_min(A + real, z) <= slack


@given(squares(is_complex=True), POINTS)
def test_of_a_complex_matrix_the_admissible_perturbation_is_the_smallest(A, z):
    found = pseudomode(A, z)
    assert np.array_equal(found.admissible, found.perturbation)
    assert found.admissible_norm == pytest.approx(found.sigma, rel=1e-12)
    assert found.admissible_landing == found.landing


@pytest.mark.parametrize("case", cases.reference("sigmin"))
def test_sigma_has_the_reference_value(case):
    found = pseudomode(case.A, case.z)
    assert found.sigma == pytest.approx(case.value, rel=1e-8, abs=20 * found.floor)


def test_a_jordan_block_in_closed_form():
    """σ_min of [[z, -1], [0, z]] is (z² + 1/4)^(1/2) - 1/2."""
    found = check(gallery.jordan_block(2), 0.75)
    assert found.sigma == pytest.approx(0.8125**0.5 - 0.5, rel=1e-14)
    assert found.landing < 1e-14


def test_pseudomodes_of_grcar_land_though_eigenvalues_are_ill_conditioned():
    A = gallery.grcar(100)
    found = check(A, 1.5 + 1.5j)
    assert found.sigma == pytest.approx(4.379e-9, rel=1e-3)
    assert found.sigma < found.admissible_norm < 1.5 * found.sigma
    assert found.landing < 1e-9
    assert found.admissible_landing < 1e-9


@pytest.mark.parametrize("z", [2.0, 1.0 + 0j])
def test_on_an_eigenvalue_it_is_the_eigenvector_and_nothing_is_added(z):
    A = np.diag([1.0, 2.0, 5.0]) + np.diag([3.0, 0.5], 1)
    found = check(A, z)
    assert found.sigma == found.admissible_norm == 0.0
    assert not found.perturbation.any()
    assert not found.admissible.any()
    np.testing.assert_allclose(A @ found.vector, z * found.vector, atol=1e-14)
    assert found.landing < 1e-14


@given(squares(), POINTS)
def test_sigma_is_the_reciprocal_of_the_resolvent_norm(A, z):
    sigma, norm = pseudomode(A, z).sigma, resolvent_norm(A, z)
    assert (sigma == 0) == np.isinf(norm)
    if sigma > 0:
        assert sigma * norm == pytest.approx(1, rel=1e-10 + 1e-14 * norm * (1 + np.abs(A).max() + abs(z)))


@given(squares(), POINTS)
def test_no_smaller_perturbation_has_the_eigenvalue(A, z):
    sigma = pseudomode(A, z).sigma
    E = gaussian(len(A), len(A), is_complex=True, seed=1)
    E *= 0.5 * sigma / np.linalg.norm(E, 2)
    assert naive.sigma_min(A + E, z) >= 0.5 * sigma - 1e-12


@given(squares(least=2), POINTS, st.sampled_from([0.25, 8.0, -2.0]))
def test_shift_scaling_and_unitary_similarity(A, z, c):
    found = pseudomode(A, z)
    gap = np.diff(np.linalg.svd(z * np.eye(len(A)) - A, compute_uv=False))[-1]
    assume(abs(gap) > 1e-3)
    Q = unitary(len(A), is_complex=np.iscomplexobj(A), seed=1)
    for B, w, factor, basis in (
        (c * A, c * z, abs(c), np.eye(len(A))),
        (A + np.eye(len(A)), z + 1, 1, np.eye(len(A))),
        (Q @ A @ Q.conj().T, z, 1, Q),
    ):
        other = pseudomode(B, w)
        assert other.sigma == pytest.approx(factor * found.sigma, rel=1e-8, abs=1e-11 * factor)
        assert abs(np.vdot(other.vector, basis @ found.vector)) == pytest.approx(1, rel=1e-8)


def test_a_symmetric_matrix_has_no_real_perturbation_by_its_pseudomode_and_the_record_says_so():
    found = check(np.diag([1.0, 2.0, 4.0]), 1.25 + 0.5j)
    assert found.landing < 1e-14
    assert found.admissible_landing > 0.4


@pytest.mark.parametrize(("A", "z"), [([[2.0]], 1j), ([[2.0]], 3.0), ([[1j]], 0), (np.zeros((2, 2)), 0)])
def test_order_one_and_zero(A, z):
    found = check(A, z)
    assert found.sigma == pytest.approx(abs(z - np.asarray(A)[0, 0]), rel=1e-14)


@pytest.mark.parametrize("size", [1e300, 1e-300, 2.0**-1060])
def test_extreme_scales_need_no_warning(size):
    found, plain = pseudomode(gallery.grcar(6) * size, (1 + 1j) * size), pseudomode(gallery.grcar(6), 1 + 1j)
    assert found.sigma / size == pytest.approx(plain.sigma, rel=1e-3 if size < 1e-310 else 1e-13)
    assert found.admissible_norm / size == pytest.approx(plain.admissible_norm, rel=1e-3)


def test_what_leaves_the_floats_is_refused():
    with pytest.raises(ValueError, match=r"^A and z reach up to"):
        pseudomode(gallery.grcar(6) * 1.7e308, 1)
    with pytest.raises(ValueError, match=r"^A and z reach up to"):
        pseudomode(np.eye(2), 1.7e308)


@given(squares(), POINTS)
def test_a_schur_form_serves_as_well(A, z):
    assert np.array_equal(pseudomode(schur_form(A), z).perturbation, pseudomode(A, z).perturbation)


@pytest.mark.parametrize("A", [gallery.grcar(6), 1j * gallery.grcar(6)])
def test_it_saves_and_prints(tmp_path, A):
    found = pseudomode(A, 1 + 0.5j)
    found.save(tmp_path / "mode.npz")
    again = Pseudomode.load(tmp_path / "mode.npz")
    assert str(again) == repr(found)
    assert again.z == 1 + 0.5j
    assert np.array_equal(again.admissible, found.admissible)
    assert str(found).startswith("Pseudomode of order 6 at z = 1+0.5j: sigma ")
    with np.load(tmp_path / "mode.npz") as archive:
        content = dict(archive)
    for name in ("left_vector", "admissible"):
        np.savez(tmp_path / "cut.npz", **(content | {name: content[name][:-1]}))
        with pytest.raises(ValueError, match="damaged"):
            Pseudomode.load(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("A", "error"),
    [(np.ones((2, 3)), ValueError), ([[np.nan]], ValueError), ([], ValueError), ([[True]], TypeError)],
)
def test_refusals_name_the_argument(A, error):
    with pytest.raises(error, match=r"^A "):
        pseudomode(A, 1)


@pytest.mark.parametrize(("z", "error"), [(np.nan, ValueError), (np.inf, ValueError), ("1", TypeError)])
def test_z_is_a_finite_number(z, error):
    with pytest.raises(error, match=r"^z is "):
        pseudomode(np.eye(2), z)


@pytest.mark.parametrize(("routine", "name"), [("svd", "gesdd"), ("eigvals", "geev")])
def test_a_failure_of_lapack_is_told(routine, name, monkeypatch):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("no")

    monkeypatch.setattr(np.linalg, routine, fail)
    with pytest.raises(ConvergenceError, match=f"LAPACK {name} failed on .*move z a little"):
        pseudomode(np.eye(2), 2)
