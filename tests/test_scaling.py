import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import squares

from spectra.scaling import refuse_overflow, rescaled, unit_scaled


@given(squares(), st.integers(-1000, 1000))
def test_the_scale_is_a_power_of_two_and_the_division_exact(A, exponent):
    matrix = np.ldexp(A.view(np.float64), exponent).view(A.dtype)
    scaled, scale = unit_scaled(matrix)
    assert scaled.dtype == matrix.dtype
    assert np.frexp(scale)[0] == 0.5
    assert 1 <= np.abs(scaled.view(np.float64)).max() < 2
    if np.abs(A).min() > 1e-3:  # what is far smaller than the rest may reach the subnormal numbers
        assert np.array_equal(scaled.view(np.float64) * scale, matrix.view(np.float64))


@pytest.mark.parametrize("largest", [np.finfo(float).max, np.finfo(float).tiny, 2.0**-1074, 1.0])
@pytest.mark.parametrize("unit", [1.0, 1j])
def test_the_ends_of_the_floats(largest, unit):
    scaled, scale = unit_scaled(np.array([[largest * unit, 0.0]]))
    assert 1 <= np.abs(scaled).max() < 2
    assert float(np.abs(scaled).max()) * scale == largest


def test_a_zero_matrix_keeps_its_scale():
    scaled, scale = unit_scaled(np.zeros((2, 2)))
    assert scale == 1.0
    assert not scaled.any()


def test_a_wide_range_underflows_without_a_warning():
    scaled, _ = unit_scaled(np.array([[1e300, 1e-300]]))
    assert scaled[0, 1] == 0.0


def test_a_smallest_unit_can_be_set():
    scaled, scale = unit_scaled(np.array([[2.0**-1074]]), smallest=2.0**-1021)
    assert (scaled[0, 0], scale) == (2.0**-53, 2.0**-1021)
    assert unit_scaled(np.array([[3.0]]), smallest=2.0**-1021)[1] == 2.0


def test_what_leaves_the_floats_is_refused():
    refuse_overflow(1e300, "A")
    for reach in (1e308, np.inf, np.nan):
        with pytest.raises(ValueError, match="A reach up to"):
            refuse_overflow(reach, "A")


def test_rescaling_treats_the_parts_apart():
    found = rescaled(np.array([1.5 + 0.25j, 1e-10 - 1.5j, -2.0 + 0j]), 2.0**1023)
    assert found[0] == complex(1.5 * 2.0**1023, 2.0**1021)
    assert found[1].imag == -1.5 * 2.0**1023
    assert found[2] == complex(-np.inf, 0)
    assert rescaled(np.array([1.0 + 0j, 0.25j]), 2.0**-1074).tolist() == [2.0**-1074, 0]
