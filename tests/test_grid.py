"""Grids solved coarse to fine: what neighbours prove is true, and what is drawn is the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import sigma_min, sigma_min_grid
from strategies import POINTS, squares

import spectra.standard
from spectra import gallery, pseudospectrum
from spectra.grid import _windows, chord_bound, prolongation_bound

WANTED = [1e-3, 1e-2, 1e-1, 0.3]


def on_a_line(A, z, step, places):
    return np.array([sigma_min(A, z + place * step) for place in places])


@given(squares(), POINTS, POINTS)
def test_chords_lie_below_and_their_prolongations_above(A, z, step):
    before, here, after, _, beyond = on_a_line(A, z, step, (-1, 0, 1, 2, 3))
    noise = 1e-12 * (np.linalg.norm(A) + abs(z) + 3 * abs(step))
    chord = chord_bound(before, after, abs(step))
    assert chord <= here + noise
    # where the bound is near 0 its square is what holds the noise
    assert here**2 <= prolongation_bound(after, beyond, abs(step)) ** 2 + noise * (after + beyond + noise)


@given(POINTS, POINTS)
def test_for_a_matrix_of_order_one_the_bounds_are_equalities(z, step):
    # sigma is abs(z), and abs(z)^2 - abs(z)^2 = 0 is its own chord
    before, after, beyond = abs(z - step), abs(z + step), abs(z + 3 * step)
    noise = 1e-14 * (abs(z) + 3 * abs(step)) ** 2
    assert chord_bound(before, after, abs(step)) ** 2 == pytest.approx(abs(z) ** 2, abs=noise)
    assert prolongation_bound(after, beyond, abs(step)) ** 2 == pytest.approx(abs(z) ** 2, abs=noise)


def test_bounds_do_not_overflow():
    assert chord_bound(1e300, 1e300, 1e-300) == pytest.approx(1e300, rel=1e-14)
    assert prolongation_bound(1e300, 1e300, 1e-300) == pytest.approx(1e300, rel=1e-14)
    assert chord_bound(0.0, 0.0, 1.0) == 0.0
    assert prolongation_bound(np.inf, 0.0, 1.0) == np.inf


@pytest.mark.parametrize("along", [(0, 1), (1, 0), (1, 1), (1, -1), (2, 2), (4, -4), (0, 8)])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_windows_are_the_points_along_a_direction(along, count):
    places = np.array([[iy + 1j * ix for ix in range(9)] for iy in range(6)])
    views = _windows(places, along, count)
    assert len({view.shape for view in views}) == 1
    for k, view in enumerate(views):
        assert np.array_equal(view, views[0] + k * (along[0] + 1j * along[1]))
    expected = max(0, 6 - (count - 1) * along[0]) * max(0, 9 - (count - 1) * abs(along[1]))
    assert views[0].size == expected


def check_contours(A, region=None, shape=(40, 40)):
    full = pseudospectrum(A, region=region, shape=shape, threads=1)
    some = pseudospectrum(A, region=region, shape=shape, epsilons=WANTED, threads=1)
    for epsilon in WANTED:
        open_side = (full.lower <= epsilon) & (epsilon < full.upper)
        assert np.array_equal(
            (full.sigma_min <= epsilon)[~open_side], (some.sigma_min <= epsilon)[~open_side]
        )
    assert np.isfinite(some.upper).all()
    assert np.all(some.lower <= some.sigma_min)
    assert np.all(some.sigma_min <= some.upper)
    exact = sigma_min_grid(A, some.x[::4], some.y[::4])
    assert np.all(some.lower[::4, ::4] <= exact + some.floor)
    assert np.all(exact <= some.upper[::4, ::4] + some.floor)
    return full, some


@settings(max_examples=20)
@given(squares())
def test_contours_of_small_matrices(A):
    check_contours(A, shape=(17, 18))


@pytest.mark.slow
@settings(max_examples=300)
@given(squares(), st.tuples(POINTS, POINTS), st.integers(2, 30), st.integers(2, 30))
def test_contours_of_many_small_matrices_in_many_windows(A, corners, ny, nx):
    a, b = corners
    region = tuple(
        np.sort([a.real, b.real + 1.0])[[0, 1]].tolist() + np.sort([a.imag, b.imag + 1.0])[[0, 1]].tolist()
    )
    if region[0] < region[1] and region[2] < region[3]:
        check_contours(A, region, (ny, nx))


@pytest.mark.parametrize("name", ["grcar", "jordan_block", "kahan", "frank"])
def test_contours_of_classics(name):
    check_contours(getattr(gallery, name)(30))


def test_most_of_the_plane_needs_no_solve():
    full, some = check_contours(
        np.random.default_rng(3).standard_normal((60, 60)) / 60**0.5, shape=(128, 128)
    )
    assert some.iterations < 0.25 * full.iterations
    assert some.computed.mean() < 0.45


@pytest.mark.parametrize("error", [0.05, -0.05])
def test_values_that_bend_the_wrong_way_are_solved_again(error, monkeypatch):
    # the error is smaller than the distance of the points, so only the curvature gives it away
    honest = spectra.standard.smallest_singular_values

    def one_wrong(*args, **kwargs):
        found = honest(*args, **kwargs)
        for values in (found.sigma_min, found.lower, found.upper):
            values[210] += error
        return found

    A = np.diag([0.0, 0.1])
    monkeypatch.setattr(spectra.standard, "smallest_singular_values", one_wrong)
    result = pseudospectrum(A, region=(1, 2.9, 1, 2.9), shape=(20, 20))
    assert np.diff(result.x)[0] > abs(error)
    np.testing.assert_allclose(result.sigma_min, sigma_min_grid(A, result.x, result.y), rtol=1e-6)
