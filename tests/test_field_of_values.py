import dataclasses

import cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import POINTS, SCALES, SEEDS, gaussian, normals, squares, unitary

from spectra import (
    AccuracyWarning,
    ConvergenceError,
    NumericalRange,
    gallery,
    numerical_abscissa,
    numerical_radius,
    numerical_range,
    schur_form,
    spectral_abscissa,
    spectral_norm,
)
from spectra import supporting_lines as lines


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


def turned(result, z):
    """Real parts of points z turned back by each angle, to be compared with the support: (angles, points)."""
    return (np.exp(-1j * result.angles)[:, None] * np.ravel(z)).real


def in_a_hurry(A, **options):
    """The range by few directions, for what holds however many there are."""
    return numerical_range(A, rtol=0.05, **options)


@given(squares())
def test_the_support_is_the_largest_real_part_of_the_turned_matrix(A):
    result = in_a_hurry(A)
    expected = naive.supports(A, result.angles)
    np.testing.assert_allclose(result.support, expected, atol=1e-13 * naive.spectral_norm(A))


def assert_between_its_polygons(result, A):
    slack = 2 * result.floor
    beyond = turned(result, result.inner) - result.support[:, None]
    assert beyond.max() <= slack, "the inner polygon is inside"
    assert np.abs(np.diag(beyond)).max() <= slack, "and touches each line"
    for corners in (result.outer, np.roll(result.outer, 1)):
        np.testing.assert_allclose(np.diag(turned(result, corners)), result.support, atol=slack)
    x = gaussian(len(A), 50, is_complex=True, seed=2)
    quotients = (x.conj() * (A @ x)).sum(axis=0) / (np.abs(x) ** 2).sum(axis=0)
    assert (turned(result, quotients) - result.support[:, None]).max() <= slack, "W(A) is inside the outer"


@given(squares())
def test_lies_between_its_polygons(A):
    result = in_a_hurry(A)
    assert_between_its_polygons(result, A)
    assert result.angles[0] == 0
    assert (np.diff(result.angles) > 0).all()
    assert result.angles[-1] < 2 * np.pi


@given(squares(), st.sampled_from([0.1, 1e-2, 1e-3]))
def test_the_polygons_are_as_near_as_asked_for(A, rtol):
    """The distance of each corner to the nearest edge, by brute force."""
    result = numerical_range(A, rtol=rtol)
    start, edge = result.inner, np.roll(result.inner, -1) - result.inner
    to = result.outer[:, None] - start
    share = np.clip((edge.conj() * to).real / np.where(edge == 0, 1, np.abs(edge) ** 2), 0, 1)
    distance = np.abs(to - share * edge).min(axis=1).max()
    assert distance <= result.gap + result.floor
    assert result.gap <= max(rtol * naive.spectral_norm(A), 2 * result.floor)


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.integers(1, 40), SEEDS, st.booleans(), st.sampled_from([0.0, 0.3, 1.0]))
def test_lies_between_its_polygons_at_any_order(n, seed, is_complex, lower):
    A = gaussian(n, n, is_complex=is_complex, seed=seed)
    A = np.triu(A) + lower * np.tril(A, -1)
    result = in_a_hurry(A)
    assert_between_its_polygons(result, A)
    assert result.gap <= max(0.05 * naive.spectral_norm(A), 2 * result.floor)
    assert result.support.max() <= numerical_radius(A).upper
    assert result.support[0] == pytest.approx(numerical_abscissa(A), abs=result.floor)


@given(normals())
def test_of_a_normal_matrix_is_the_convex_hull_of_the_eigenvalues(A):
    result = numerical_range(A)
    hull = turned(result, naive.eigenvalues(A)).max(axis=1)
    np.testing.assert_allclose(result.support, hull, atol=1e-12 * (1 + naive.spectral_norm(A)))
    assert result.gap <= 1e-3 * naive.spectral_norm(A)


def test_the_polygon_of_a_normal_matrix_comes_out_to_rounding():
    corners = np.exp(2j * np.pi * np.arange(7) / 7)
    result = numerical_range(np.roll(np.eye(7), 1, axis=0))  # the cyclic shift
    assert result.gap <= 1e-14
    assert len(result.angles) <= 16
    assert np.abs(corners[:, None] - result.inner).min(axis=1).max() <= 1e-14


@pytest.mark.parametrize("k", [1.0, 2j, 1e3])
def test_of_a_nilpotent_matrix_is_a_disc(k):
    result = numerical_range([[0, k], [0, 0]], rtol=1e-4)
    np.testing.assert_allclose(result.support, abs(k) / 2, rtol=1e-15)
    np.testing.assert_allclose(np.abs(result.inner), abs(k) / 2, rtol=1e-15)
    assert np.abs(result.outer).max() - abs(k) / 2 <= result.gap <= 1e-4 * abs(k) / 2


@given(SEEDS)
def test_of_order_two_is_an_ellipse(seed):
    """The foci are the eigenvalues, and the squared minor axis is norm_F(A)^2 - abs(l1)^2 - abs(l2)^2."""
    A = gaussian(2, 2, is_complex=True, seed=seed)
    foci, result = naive.eigenvalues(A), numerical_range(A)
    minor = np.sqrt(naive.frobenius_norm(A) ** 2 - (np.abs(foci) ** 2).sum())
    major = np.hypot(minor, abs(foci[0] - foci[1]))
    distances = np.abs(result.inner[:, None] - foci).sum(axis=1)
    np.testing.assert_allclose(distances, major, rtol=1e-12)
    across = np.exp(-1j * result.angles) * (foci[1] - foci[0]) / 2
    expected = np.sqrt(minor**2 / 4 + across.real**2)
    middle = turned(result, foci.mean())[:, 0]
    np.testing.assert_allclose(result.support, expected + middle, atol=1e-12)


@given(squares(), POINTS, SEEDS)
def test_a_shift_moves_it_and_a_unitary_similarity_does_not(A, c, seed):
    n = len(A)
    result, slack = in_a_hurry(A), 1e-13 * n * (1 + naive.spectral_norm(A) + abs(c))
    moved = naive.supports(A + c * np.eye(n), result.angles)
    np.testing.assert_allclose(moved, result.support + turned(result, c)[:, 0], atol=slack)
    shifted = in_a_hurry(A + c * np.eye(n))
    np.testing.assert_allclose(
        shifted.support, naive.supports(A, shifted.angles) + turned(shifted, c)[:, 0], atol=slack
    )
    Q = unitary(n, is_complex=True, seed=seed)
    similar = in_a_hurry(Q.conj().T @ A @ Q)
    np.testing.assert_allclose(similar.support, naive.supports(A, similar.angles), atol=slack)


@given(squares(is_complex=False))
def test_of_a_real_matrix_is_symmetric_in_the_real_axis(A):
    result = in_a_hurry(A)
    mirrored = np.append(result.inner[:1], result.inner[:0:-1]).conj()
    np.testing.assert_array_equal(result.inner, mirrored)
    np.testing.assert_array_equal(result.outer, result.outer[::-1].conj())
    np.testing.assert_array_equal(result.support[1:], result.support[:0:-1])
    complex_result = in_a_hurry(A.astype(complex))
    expected = naive.supports(A, complex_result.angles)
    np.testing.assert_allclose(complex_result.support, expected, atol=1e-13 * naive.spectral_norm(A))


@pytest.mark.parametrize("c", [0, 5, -2.5, 2 + 3j])
@pytest.mark.parametrize("n", [1, 4])
def test_of_a_multiple_of_the_identity_is_a_point(n, c):
    result = numerical_range(c * np.eye(n))
    np.testing.assert_allclose(result.inner, c, rtol=1e-15)
    np.testing.assert_allclose(result.outer, c, rtol=1e-15)
    assert result.gap <= 1e-15 * abs(c)


@pytest.mark.parametrize(("direction", "middle"), [(1, 0), (1j, 0), (np.exp(1j), 2 + 1j)])
def test_of_a_turned_hermitian_matrix_is_a_segment(direction, middle):
    result = numerical_range(direction * np.diag([1.0, -2.0, 4.0, 0.0]) + middle * np.eye(4))
    along = (result.inner - middle) / direction
    assert along.real.min() == pytest.approx(-2, abs=1e-14)
    assert along.real.max() == pytest.approx(4, abs=1e-14)
    assert np.abs(along.imag).max() <= 1e-14
    assert result.gap <= 1e-14
    assert len(result.angles) <= 10


def test_flat_parts_and_corners_take_few_directions():
    """The disc of radius 1 and the point 3, a corner up to the normals of its tangents to the disc."""
    A = np.zeros((3, 3))
    A[0, 1], A[2, 2] = 2.0, 3.0
    result = numerical_range(A, rtol=1e-5)
    tangent = np.arccos(1 / 3)
    assert len(result.angles) > 500
    assert np.count_nonzero(result.angles < tangent) == 1
    expected = np.maximum(1, 3 * np.cos(result.angles))
    np.testing.assert_allclose(result.support, expected, atol=result.floor)


@given(squares())
def test_a_schur_form_gives_the_same_range(A):
    result, other = in_a_hurry(A), in_a_hurry(schur_form(A))
    np.testing.assert_array_equal(result.outer, other.outer)
    np.testing.assert_array_equal(result.eigenvalues, schur_form(A).eigenvalues)


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_the_range_scales_to_the_ends_of_the_floats(size):
    A = gallery.grcar(5)
    result, plain = numerical_range(A * size), numerical_range(A)
    np.testing.assert_allclose(result.support / size, naive.supports(A, result.angles), atol=1e-14)
    assert result.gap / size <= 2 * plain.gap
    assert np.abs(result.outer / size).max() == pytest.approx(np.abs(plain.outer).max(), rel=1e-2)


def test_too_few_angles_are_told_of():
    with pytest.warns(AccuracyWarning, match="20 angles leave the polygons .* rtol = 1e-06") as record:
        result = numerical_range(gallery.grcar(10), rtol=1e-6, angles=20)
    assert record[0].filename == __file__
    assert 15 <= len(result.angles) <= 20
    assert_between_its_polygons(result, gallery.grcar(10))
    with pytest.warns(AccuracyWarning):
        result = numerical_range(1j * gallery.grcar(10), rtol=1e-6, angles=4)
    assert len(result.angles) == 4


def test_a_range_is_saved_and_loaded(tmp_path):
    result = in_a_hurry(gallery.grcar(6))
    result.save(tmp_path / "range.npz")
    loaded = NumericalRange.load(tmp_path / "range.npz")
    np.testing.assert_array_equal(loaded.outer, result.outer)
    assert str(loaded) == str(result)
    assert repr(result).startswith("NumericalRange(Numerical range of order 6: ")
    assert "\n" not in str(result)
    dataclasses.replace(result, support=result.support[1:]).save(tmp_path / "damaged.npz")
    with pytest.raises(ValueError, match="damaged"):
        NumericalRange.load(tmp_path / "damaged.npz")


@pytest.mark.parametrize(
    ("A", "options", "error", "words"),
    [
        (np.ones((2, 3)), {}, ValueError, "A has shape"),
        ([[np.inf]], {}, ValueError, "A has a NaN"),
        ([["1"]], {}, TypeError, "A has dtype"),
        (np.full((2, 2), 1.7e308), {}, ValueError, "the entries of A reach up to"),
        (np.eye(2), {"rtol": 0}, ValueError, "rtol is 0"),
        (np.eye(2), {"rtol": "1"}, TypeError, "rtol is '1'"),
        (np.eye(2), {"angles": 3}, ValueError, "angles is 3; expected at least 4"),
        (np.eye(2), {"angles": 8.0}, TypeError, "angles is 8.0"),
    ],
)
def test_a_range_refuses_by_name(A, options, error, words):
    with pytest.raises(error, match=words):
        numerical_range(A, **options)


def test_a_failure_of_lapack_is_a_convergence_error(monkeypatch):
    def fails(*_, **__):
        raise np.linalg.LinAlgError("The algorithm failed to converge")

    monkeypatch.setattr(lines, "eigh", fails)
    for measure in (numerical_range, numerical_radius):
        with pytest.raises(ConvergenceError, match="heevr failed"):
            measure(np.eye(2))


def test_a_schur_form_remembers_its_numerical_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    form = schur_form(np.random.default_rng(0).normal(size=(6, 6)))
    first = numerical_radius(form)
    assert first.value == numerical_radius(form.A).value
    monkeypatch.setattr("spectra.field_of_values.outermost_point", None)
    first.points[:] = 0  # what a caller does with a result changes no later one
    again = numerical_radius(form)
    assert again.value == first.value
    assert again.points.any()
    with pytest.raises(TypeError):
        numerical_radius(form.A)
