"""Ando's bound of the numerical radius."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import squares

from spectra import gallery
from spectra.ando import ando_bound


@given(squares(), st.floats(0.1, 3.0))
def test_is_a_bound_whatever_the_target(A, share):
    w = naive.numerical_radius(A)
    assert ando_bound(A, share * w) >= w * (1 - 1e-14)


@given(squares(), st.sampled_from([1e-3, 1e-6, 1e-9, 1e-11]))
def test_is_as_near_as_the_target_above_the_radius_and_none_below(A, margin):
    w = naive.numerical_radius(A)
    assert ando_bound(A, w * (1 + margin)) == pytest.approx(w * (1 + margin), rel=2e-11)
    assert ando_bound(A, w * (1 - margin)) == np.inf


@pytest.mark.parametrize("n", [2, 7, 64])
def test_of_a_jordan_block(n):
    """Cyclic reduction meets the zero matrix after log2 n steps."""
    w = np.cos(np.pi / (n + 1))
    assert ando_bound(gallery.jordan_block(n), w * (1 + 1e-13)) == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize("target", [0.5, 1.0, 2.0])
def test_by_hand_for_order_one(target):
    """x + 1/x = 2 target has a positive solution from target 1 on."""
    bound = ando_bound(np.array([[1j]]), target)
    assert bound == (np.inf if target < 1 else pytest.approx(target, rel=1e-14))


def test_far_below_the_radius_nothing_overflows():
    assert ando_bound(gallery.grcar(20), 1e-200) == np.inf
