"""Curves and the smallest σ_min on them: geometry, proven bounds against dense sampling, polishing."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import gaussian, squares

from spectra import gallery, schur_form
from spectra.curves import CIRCLES, LINES, mirrored
from spectra.minima import Sampler, least_between, lowest, numerical_radius_bound, proven_lowest
from spectra.polish import on_curve, outermost, polished, steepest

FAMILIES = {"circles": CIRCLES, "lines": LINES}
some_curve = given(
    A=squares(),
    family=st.sampled_from(sorted(FAMILIES)),
    level=st.floats(0.1, 4.0),
    share=st.floats(0.0, 1.0),
)


def sampler_of(A):
    form = schur_form(A)
    return Sampler(form, 1.0, 10.0)


def dense_minimum(A, curves, level, count=4000):
    reach = 2 * naive.spectral_norm(A) + level
    place = np.linspace(-np.pi, np.pi, count) if curves is CIRCLES else np.linspace(-reach, reach, count)
    z = curves.point(level, place)
    values = np.linalg.svd(z[:, None, None] * np.eye(len(A)) - A, compute_uv=False)[:, -1]
    return float(values.min())


@pytest.mark.parametrize("curves", FAMILIES.values(), ids=FAMILIES)
def test_level_and_place_find_a_point(curves):
    z = curves.point(1.5, np.array([-0.3, 0.0, 2.0]))
    assert curves.level(z) == pytest.approx(1.5, rel=1e-15)
    assert curves.place(z) == pytest.approx([-0.3, 0.0, 2.0], rel=1e-15)
    further = z + 1e-3 * curves.outward(z)
    assert curves.level(further) == pytest.approx(1.501, rel=1e-12)
    assert curves.place(further) == pytest.approx([-0.3, 0.0, 2.0], rel=1e-12, abs=1e-12)


@some_curve
@settings(max_examples=150)
def test_two_samples_bound_what_is_between(A, family, level, share):
    """The concave and the Lipschitz bound hold at every point between two neighbours, for any gap."""
    curves, sampler = FAMILIES[family], sampler_of(A)
    for gap in (1.5, 0.3, 0.01):
        place = np.array([0.4, 0.4 + gap])
        exact = np.array([naive.sigma_min(A, complex(z)) for z in curves.point(level, place)])
        steps = np.diff(place)
        bend, length = curves.sag(level, steps, sampler.reach), curves.length(level, steps)
        bound = float(least_between(exact, bend, length)[0])
        between = naive.sigma_min(A, complex(curves.point(level, place[0] + share * gap)))
        assert bound <= between + 1e-12 * (1 + naive.spectral_norm(A))
        assert bound <= exact.min() + 1e-12 * (1 + naive.spectral_norm(A))
        assert bound >= (exact.sum() - length[0]) / 2


def test_the_bound_tightens_with_the_square_of_the_gap():
    """On this circle σ_min is constant, so that what the bound misses is its own error."""
    A, level = np.array([[0.0, 1.0], [0.0, 0.0]]), 1.0
    exact = np.full(2, np.sqrt(1.25) - 0.5)
    gaps = np.array([0.04, 0.02, 0.01])
    missed = [
        float((exact[0] - least_between(exact, CIRCLES.sag(level, g, 0.5), CIRCLES.length(level, g)))[0])
        for g in gaps[:, None]
    ]
    assert np.abs([naive.sigma_min(A, np.exp(1j * t)) for t in (0.1, 0.2)] - exact).max() < 1e-15
    assert missed[0] / missed[1] == pytest.approx(4.0, rel=1e-2)
    assert missed[1] / missed[2] == pytest.approx(4.0, rel=1e-2)


@some_curve
@settings(max_examples=25)
def test_the_smallest_value_lies_in_its_interval(A, family, level, share):
    curves, sampler = FAMILIES[family], sampler_of(A)
    rtol = 0.5 * 10.0 ** (-4 * share)
    found = lowest(sampler, curves, level, aim=lambda value: value * (1 - rtol), budget=20000)
    dense = dense_minimum(A, curves, level)
    assert found.lower <= dense * (1 + 1e-12) + 1e-13
    assert found.value >= found.lower
    assert found.value == pytest.approx(
        naive.sigma_min(A, complex(curves.point(level, found.place))), abs=1e-11
    )
    if found.settled:
        assert found.lower >= found.value * (1 - rtol)
        assert found.value <= dense / (1 - rtol) + 1e-13


@pytest.mark.parametrize("curves", FAMILIES.values(), ids=FAMILIES)
def test_eigenvalues_serve_where_samples_are_too_many(curves, monkeypatch):
    A = gallery.grcar(20) / 3
    sampler, other = sampler_of(A), sampler_of(A)
    monkeypatch.setattr(Sampler, "affordable", 0.0)
    found = proven_lowest(sampler, curves, 1.0, aim=lambda value: value * (1 - 1e-6))
    assert (found.settled, sampler.method) == (True, "eigenvalues")
    monkeypatch.setattr(Sampler, "affordable", np.inf)
    same = proven_lowest(other, curves, 1.0, aim=lambda value: value * (1 - 1e-6))
    assert (same.settled, other.method) == (True, "samples")
    assert found.value == pytest.approx(same.value, rel=2e-6)
    assert max(found.lower, same.lower) <= min(found.value, same.value)


def test_a_search_leaves_at_the_first_sample_below_its_aim():
    sampler = sampler_of(gallery.grcar(20))
    found = lowest(sampler, CIRCLES, 2.0, aim=lambda _: 0.5)
    assert found.value < 0.5
    assert not found.settled
    assert sampler.evaluations == 64


def test_a_search_ends_where_it_foresees_too_many_samples():
    sampler = sampler_of(gallery.grcar(40))
    found = lowest(sampler, CIRCLES, 2.0, aim=lambda value: value * (1 - 1e-8), budget=1000)
    assert not found.settled
    assert sampler.evaluations <= 1000 + 64
    assert found.lower <= dense_minimum(gallery.grcar(40), CIRCLES, 2.0, 400)


@given(A=squares())
@settings(max_examples=60)
def test_the_polygon_contains_the_numerical_range(A):
    angles = np.linspace(0, 2 * np.pi, 400)
    support = [naive.numerical_abscissa(A * np.exp(1j * t)) for t in angles]
    bound = numerical_radius_bound(Sampler(schur_form(A), 1.0, 1.0).form)
    assert max(support) <= bound * (1 + 1e-12)
    assert bound <= max(support) * 1.021 + 1e-12


@given(A=squares(), level=st.floats(0.5, 3.0))
@settings(max_examples=25)
def test_polishing_never_loses_and_ends_at_a_minimum(A, level):
    sampler = sampler_of(A)
    start = lowest(sampler, CIRCLES, level, aim=lambda value: value / 2, budget=2000)
    _, place, sigma = polished(sampler, CIRCLES, level, start.place, start.gap, on_curve(level))
    assert sigma <= start.value * (1 + 1e-12) + 1e-13
    assert sigma == pytest.approx(
        naive.sigma_min(A, complex(CIRCLES.point(level, place))), rel=1e-9, abs=1e-12
    )
    for step in (1e-3, -1e-3):
        beside = naive.sigma_min(A, complex(CIRCLES.point(level, place + step)))
        assert beside >= sigma * (1 - 1e-10) - 1e-12


def test_goals_reach_closed_forms():
    """σ_min = (r^2 + k^2/4)^(1/2) - k/2 at distance r from the eigenvalue of [[a, k], [0, a]]."""
    a, k, epsilon = 0.5, 2.0, 0.1
    sampler = sampler_of(np.array([[a, k], [0.0, a]]))
    level, _, sigma = polished(sampler, CIRCLES, 0.9, 0.1, 0.1, outermost(epsilon))
    assert level == pytest.approx(a + np.sqrt(epsilon * (epsilon + k)), rel=1e-12)
    assert sigma == pytest.approx(epsilon, rel=1e-10)
    level, place, sigma = polished(sampler, CIRCLES, 1.2, 0.1, 0.1, steepest(1.0, 0.0))
    assert (level - 1) / sigma == pytest.approx(1.25, rel=1e-12)
    assert place == 0.0


def test_a_step_without_a_minimum_goes_the_way_of_the_slope():
    assert steepest(1.0, 0.0).step(2.0, 1.0, 1.0, 0.5, -1.0) == np.inf
    assert steepest(1.0, 0.0).step(2.0, 1.0, 0.5, 1.0, -1.0) == -np.inf
    assert np.isnan(outermost(1.0).step(1.0, 1.0, 0.5, -1.0, 0.0))


def test_mirrored_points():
    assert mirrored(1 + 2j, is_real=True).tolist() == [1 + 2j, 1 - 2j]
    assert mirrored(1 + 2j, is_real=False).tolist() == [1 + 2j]
    assert mirrored(-1 + 1.2e-16j, is_real=True).tolist() == [-1]


def test_points_that_do_not_converge_are_solved_densely(monkeypatch):
    from spectra import kernels

    A = gaussian(6, 6, is_complex=True, seed=3)

    def gives_up(*arguments):
        arguments[-3][:] = -1.0

    monkeypatch.setattr(kernels, "solve_points", gives_up)
    found = sampler_of(A)(np.array([0.3 + 0.1j]))
    assert found.value[0] == pytest.approx(naive.sigma_min(A, 0.3 + 0.1j), rel=1e-12)
    assert found.lower[0] <= found.value[0] <= found.upper[0]
