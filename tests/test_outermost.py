"""The numerical radius: the outermost point of the numerical range, and its proof."""

import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag
from strategies import POINTS, SEEDS, gaussian, normals, squares, unitary

from spectra import (
    Extremum,
    gallery,
    numerical_abscissa,
    numerical_radius,
    numerical_range,
    outermost,
    schur_form,
)


def assert_proven(found, A, width=1e-12):
    """What every certificate promises."""
    noise = 4 * (len(A) + 3) * 2.0**-53 * found.value
    assert found.lower <= found.value <= found.upper
    assert found.value - found.lower <= noise
    assert found.upper - found.value <= width * found.value + noise
    np.testing.assert_allclose(np.abs(found.points), found.value, rtol=1e-15)
    lines = naive.supports(A, np.angle(found.points))
    np.testing.assert_allclose(lines, found.value, rtol=1e-13)
    assert 0 <= found.residual <= 1e-7 * found.value


@given(squares())
def test_equals_the_definition(A):
    found = numerical_radius(A)
    assert_proven(found, A)
    assert found.value == pytest.approx(naive.numerical_radius(A), rel=1e-10)
    assert naive.numerical_radius(A) <= found.upper


@pytest.mark.parametrize("case", cases.reference("numerical_radius") + cases.published("numerical_radius"))
def test_has_the_reference_value(case):
    found = numerical_radius(case.A)
    assert found.lower <= case.value <= found.upper
    assert found.value == pytest.approx(case.value, rel=1e-12)
    assert_proven(found, case.A)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.integers(1, 40), SEEDS, st.booleans(), st.sampled_from([0.0, 0.3, 1.0]), POINTS)
def test_is_proven_at_any_order(n, seed, is_complex, lower, shift):
    A = gaussian(n, n, is_complex=is_complex, seed=seed)
    A = np.triu(A) + lower * np.tril(A, -1) + (shift if is_complex else shift.real) * np.eye(n)
    found = numerical_radius(A)
    assert_proven(found, A)
    angles = 2 * np.pi * np.arange(100) / 100
    assert naive.supports(A, angles).max() <= found.upper
    assert numerical_range(A, rtol=0.1).support.max() <= found.upper


@pytest.mark.parametrize("n", [2, 3, 5, 20, 60])
def test_of_a_jordan_block_is_a_cosine_at_all_angles(n):
    found = numerical_radius(gallery.jordan_block(n))
    assert found.value == pytest.approx(np.cos(np.pi / (n + 1)), abs=1e-15)
    assert_proven(found, gallery.jordan_block(n))


@pytest.mark.parametrize("weight", [1.0, -3j, 1e-5])
def test_of_a_weighted_shift_is_attained_at_all_angles(weight):
    """A circulant of modulus weight but for one entry: numerical range a disc."""
    A = np.diag([1.0, 2.0, 0.5, 3.0], 1) * weight
    found = numerical_radius(A)
    assert found.value == pytest.approx(naive.supports(A, 0.3)[0], rel=1e-14)
    assert_proven(found, A)


@given(squares())
def test_lies_between_the_spectral_radius_and_the_norm(A):
    found, norm = numerical_radius(A), naive.spectral_norm(A)
    assert naive.spectral_radius(A) <= found.upper + 1e-6 * norm
    assert found.lower <= norm * (1 + 1e-14)
    assert norm <= 2 * found.upper * (1 + 1e-14)
    assert abs(numerical_abscissa(A)) <= found.upper


@given(normals())
def test_of_a_normal_matrix_is_the_spectral_radius(A):
    assert numerical_radius(A).value == pytest.approx(naive.spectral_radius(A), rel=1e-12, abs=1e-300)


@given(squares(), SEEDS)
def test_unitary_similarity_turning_adjoint_and_powers(A, seed):
    found = numerical_radius(A)
    Q = unitary(len(A), is_complex=True, seed=seed)
    for B in (Q.conj().T @ A @ Q, np.exp(0.1j * seed) * A, A.conj().T, A.conj()):
        assert numerical_radius(B).value == pytest.approx(found.value, rel=2e-12)
    assert numerical_radius(A @ A).lower <= found.upper**2 * (1 + 1e-13)  # Berger's power inequality


@given(squares(), st.sampled_from([2.0, -0.25, 3j, 1e6]))
def test_scaling(A, c):
    assert numerical_radius(c * A).value == pytest.approx(abs(c) * numerical_radius(A).value, rel=2e-12)


@given(squares(is_complex=False))
def test_of_a_real_matrix_has_a_conjugate_pair_of_points(A):
    points = numerical_radius(A).points
    assert len(points) == (1 if points[0].imag == 0 else 2)
    np.testing.assert_array_equal(np.sort_complex(points), np.sort_complex(points.conj()))


@pytest.mark.parametrize("beyond", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("angle", [0.0, 1.234, -2.5])
@pytest.mark.parametrize("n", [2, 30])
def test_a_point_that_hardly_leaves_a_disc_is_found(beyond, angle, n):
    """It shows in a window of angles of width sqrt(2 beyond), which samples miss."""
    point = (1 + beyond) * np.exp(1j * angle)
    A = block_diag(gallery.jordan_block(n) / np.cos(np.pi / (n + 1)), [[point]])
    found = numerical_radius(A)
    assert found.value == pytest.approx(1 + beyond, rel=1e-14)
    assert found.points[0] == pytest.approx(point, rel=1e-12)
    assert_proven(found, A)


@pytest.mark.parametrize("amount", [1e-3, 1e-6, 1e-9, 1e-12])
def test_nearly_circular_ranges_are_proven(amount):
    for seed in range(5):
        A = gallery.jordan_block(10) + amount * gaussian(10, 10, is_complex=True, seed=seed)
        found = numerical_radius(A)
        assert_proven(found, A)
        assert naive.numerical_radius(A) <= found.upper


@pytest.mark.parametrize("shift", [0.0, 0.5, 1e-3])
@pytest.mark.parametrize("noise", [0.0, 1e-10, 1e-5])
def test_nearly_orthogonal_matrices_are_proven(shift, noise):
    Q = unitary(40, is_complex=False, seed=1)
    A = Q + shift * np.eye(40) + noise * gaussian(40, 40, is_complex=False, seed=2)
    assert_proven(numerical_radius(A), A, width=1e-11)


def test_where_the_first_bounds_fail_the_interval_is_wider_and_still_holds(monkeypatch):
    """Bounds that are 1e-7 too large."""
    A, true = gallery.jordan_block(12), outermost.ando_bound
    monkeypatch.setattr(outermost, "ando_bound", lambda A, target: true(A, target) * (1 + 1e-7))
    found = numerical_radius(A)
    assert found.value == pytest.approx(naive.numerical_radius(A), rel=1e-12)
    assert 1e-7 * found.value < found.upper - found.value < 1e-5 * found.value


def test_the_arcs_above_a_level_are_those_of_the_level_set():
    """W is the hull of two discs of radius 1 around 3 and 3i: the support is 1 + 3 max(cos, sin)."""
    disc = 2 * gallery.jordan_block(2)
    A = block_diag(disc + 3 * np.eye(2), disc + 3j * np.eye(2))
    arcs = outermost._arcs_above(A, 3.9)
    width = np.arccos(2.9 / 3)
    expected = [[-width, width], [np.pi / 2 - width, np.pi / 2 + width]]
    np.testing.assert_allclose(arcs[np.argsort(arcs[:, 0])], expected, atol=1e-7)
    assert outermost._arcs_above(A, 4.1).shape == (0, 2)


@given(squares())
def test_a_schur_form_serves_as_well(A):
    assert str(numerical_radius(schur_form(A))) == str(numerical_radius(A))


@pytest.mark.parametrize("size", [1e300, 1e-300])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_extreme_scales_need_no_warning(size, unit):
    A, plain = gallery.grcar(6), numerical_radius(gallery.grcar(6))
    found = numerical_radius(unit * size * A)
    for scaled, expected in (
        (found.value, plain.value),
        (found.lower, plain.lower),
        (found.upper, plain.upper),
    ):
        assert scaled / size == pytest.approx(expected, rel=2e-12)
    assert found.lower <= found.value <= found.upper
    np.testing.assert_allclose(np.abs(found.points) / size, plain.value, rtol=2e-12)


def test_what_leaves_the_floats_becomes_infinite():
    found = numerical_radius(np.full((3, 3), 1.7e308))
    assert (found.value, found.upper) == (np.inf, np.inf)


@pytest.mark.parametrize("c", [0, 3, -2.5, 3j, 3 + 4j])
@pytest.mark.parametrize("n", [1, 4])
def test_of_a_multiple_of_the_identity_is_its_modulus(c, n):
    found = numerical_radius(c * np.eye(n))
    assert float(found) == pytest.approx(abs(c), rel=1e-15)
    np.testing.assert_allclose(found.points, c, rtol=1e-15)
    assert found.upper - found.lower <= 8 * (n + 3) * 2.0**-53 * abs(c)


def test_the_result_is_an_extremum_that_saves(tmp_path):
    found = numerical_radius([[0, 3], [1, 0]])
    assert found.value == pytest.approx(2.0, rel=1e-15)
    found.save(tmp_path / "radius.npz")
    assert str(Extremum.load(tmp_path / "radius.npz")) == str(found)


@pytest.mark.parametrize(
    ("A", "error"),
    [
        (np.ones((2, 3)), ValueError),
        ([[np.nan]], ValueError),
        (np.ones((0, 0)), ValueError),
        (np.array([[1.0]], dtype=object), TypeError),
        ([[True]], TypeError),
    ],
)
def test_refusals_name_the_argument(A, error):
    with pytest.raises(error, match=r"^A "):
        numerical_radius(A)
