import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnn.study.random_effects import pooled_correlations, random_effects

# Kacker's (2004) data; the results are those of R's metafor, rma(y, v, method="DL", test="knha").
KACKER = (
    [61.0, 61.4, 62.21, 62.3, 62.34, 62.6, 62.7, 62.84, 65.9],
    [0.2025, 1.2100, 0.0900, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225],
)


def test_equals_metafor():
    found = random_effects(*KACKER)
    assert found.mean == pytest.approx(62.3901386044504, abs=1e-10)
    assert found.error == pytest.approx(0.29477605699879, abs=1e-10)
    assert found.lower == pytest.approx(61.710383798052, abs=1e-10)
    assert found.upper == pytest.approx(63.0698934108488, abs=1e-10)
    assert found.p == pytest.approx(2.77938607433693e-16, rel=1e-6)
    assert found.tau2 == pytest.approx(0.288049246973751, abs=1e-10)
    assert found.i2 == pytest.approx(0.67744403741711, abs=1e-10)
    assert str(found).startswith("RandomEffects: 62.4 [61.7, 63.1] over 9 blocks")


def test_the_interval_of_a_new_block_is_that_of_higgins_thompson_and_spiegelhalter():
    found = random_effects(*KACKER)
    half = 2.364624251592785 * np.sqrt(0.288049246973751 + 0.29477605699879**2)  # Student's t, 7 degrees
    assert found.new_upper - found.mean == pytest.approx(half, rel=1e-9)
    assert found.mean - found.new_lower == pytest.approx(half, rel=1e-9)


def test_equal_variances_give_the_interval_of_student():
    y = np.array([0.1, 0.4, 0.35, 0.2])
    found = random_effects(y, np.full(4, 0.01))
    half = 3.182446305284263 * y.std(ddof=1) / 2
    assert found.mean == pytest.approx(y.mean())
    assert found.upper == pytest.approx(y.mean() + half)


@pytest.mark.parametrize("y", [[0.3, 0.3], [0.3, 0.301, 0.3]])
def test_blocks_that_agree_by_chance_do_not_shorten_the_interval(y):
    found = random_effects(y, np.full(len(y), 0.04))
    assert found.error == pytest.approx(0.2 / np.sqrt(len(y)))
    assert found.lower < found.mean - 0.2


def test_empty_blocks_are_left_out_and_one_block_is_not_pooled():
    y = np.array([[0.1, 0.1, np.nan], [0.5, np.nan, np.nan], [0.2, np.nan, np.nan], [np.nan] * 3])
    found = random_effects(y, np.where(np.isnan(y), np.nan, 0.02))
    alone = random_effects([0.1, 0.5, 0.2], [0.02] * 3)
    assert found.mean[0] == alone.mean
    assert found.new_upper[0] == alone.new_upper
    assert list(found.blocks) == [3, 1, 0]
    assert np.isnan(found.mean[1:]).all()
    assert np.isnan(random_effects([0.1, 0.2], [0.02, 0.03]).new_lower)
    assert "3 quantities in at most 3 blocks" in str(found)


@given(arrays(float, 5, elements=st.floats(-3, 3)), st.floats(0.1, 10), st.floats(-5, 5))
def test_scales_and_shifts(y, scale, shift):
    v = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    found, moved = random_effects(y, v), random_effects(scale * y + shift, scale**2 * v)
    assert moved.mean == pytest.approx(scale * found.mean + shift, abs=1e-8)
    assert moved.error == pytest.approx(scale * found.error, abs=1e-8)
    assert moved.tau2 == pytest.approx(scale**2 * found.tau2, abs=1e-7)
    assert found.tau2 >= 0
    assert 0 <= found.i2 < 1
    assert found.lower <= found.mean <= found.upper
    assert found.new_lower <= found.lower
    assert found.upper <= found.new_upper


def test_correlations_are_pooled_on_fishers_scale():
    values = np.array([0.5, 0.7, 1.0])[:, None, None]
    n = np.full(values.shape, 20)
    found = pooled_correlations(values, np.full(values.shape, 0.3), n, least=1 / (n - 3.0))
    z = np.arctanh([0.5, 0.7, 1 - 6 / (20**3 - 20)])
    plain = random_effects(z, np.full(3, 0.09))
    assert found.mean[0, 0] == pytest.approx(np.tanh(plain.mean))
    assert found.upper[0, 0] == pytest.approx(np.tanh(plain.upper))
    assert found.tau2[0, 0] == pytest.approx(plain.tau2)
    narrow = pooled_correlations(values, np.zeros(values.shape), n, least=1 / (n - 3.0))
    assert narrow.tau2[0, 0] == pytest.approx(random_effects(z, np.full(3, 1 / 17)).tau2)


@pytest.mark.parametrize(
    ("values", "variances", "message"),
    [
        ([1.0, 2.0], [1.0], "values have shape"),
        (1.0, 1.0, "values have shape"),
        ([1.0, 2.0], [1.0, 0.0], "variances must be above 0"),
        ([1.0, np.inf], [1.0, 1.0], "infinite"),
    ],
)
def test_refuses(values, variances, message):
    with pytest.raises(ValueError, match=message):
        random_effects(values, variances)


def test_confidence_is_a_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_effects([1.0, 2.0], [1.0, 1.0], confidence=95)
