import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rnn.study.corrections import adjusted, benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@given(P_VALUES)
def test_benjamini_hochberg_equals_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), scipy.stats.false_discovery_control(p), atol=1e-12)


@given(P_VALUES, st.floats(0.001, 0.999))
def test_holm_calls_what_stepping_down_calls(p, level):
    # The textbook: from the smallest on, reject while p_(i) <= level / (m - i + 1).
    called = np.zeros(len(p), dtype=bool)
    for step, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] * (len(p) - step) > level:
            break
        called[place] = True
    np.testing.assert_array_equal(holm(p) <= level, called)


@given(P_VALUES)
def test_the_corrections_are_ordered(p):
    raw, q, family_wise = np.array(p), benjamini_hochberg(p), holm(p)
    bonferroni = np.minimum(raw * len(p), 1.0)
    assert (raw <= q + 1e-12).all()
    assert (q <= family_wise + 1e-12).all()
    assert (family_wise <= bonferroni + 1e-12).all()


def test_what_was_not_tested_is_left_out():
    p = np.array([[0.01, np.nan], [0.5, 0.02]])
    family_wise, q = adjusted(p)
    np.testing.assert_allclose(family_wise, [[0.03, np.nan], [0.5, 0.04]])
    np.testing.assert_allclose(q, [[0.03, np.nan], [0.5, 0.03]])
    assert holm([]).shape == benjamini_hochberg([]).shape == (0,)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
@pytest.mark.parametrize("p", [[0.1, 1.2], [-0.1], [np.nan]])
def test_only_p_values_are_taken(correct, p):
    with pytest.raises(ValueError, match="p-values"):
        correct(p)
