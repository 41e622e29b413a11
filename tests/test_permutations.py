import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rnn.study.partial import permuted_partial
from rnn.study.permutations import (
    Shuffle,
    arrangements,
    log_arrangements,
    permutation_test,
)
from rnn.study.permuted_ranks import lopsided, permuted_kendall, permuted_spearman

CLUSTERS = st.lists(st.integers(0, 4), min_size=1, max_size=12).map(np.array)


def tied(seed, n=9, p=3, q=2):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 6, (n, p)).astype(float), rng.standard_normal((n, q)), rng.standard_normal((n, 1))


# Arrangements


@given(CLUSTERS)
def test_whole_clusters_of_equal_size_are_exchanged_in_order(clusters):
    for strata in (None, clusters % 2):
        for order in arrangements(clusters, 20, np.random.default_rng(0), strata=strata):
            assert sorted(order) == list(range(len(clusters)))
            assert strata is None or (strata[order] == strata).all()
            for cluster in np.unique(clusters):
                own = np.flatnonzero(clusters == cluster)
                source = np.flatnonzero(clusters == clusters[order[own[0]]])
                assert list(order[own]) == list(source)


@pytest.mark.parametrize(
    ("clusters", "strata", "ways"),
    [
        ([0, 0, 1, 1, 2, 2, 3], None, 6),
        ([0, 1, 2, 3], None, 24),
        ([5, 5, 5], None, 1),
        ([3, 0, 1, 2, 4], [0, 1, 1, 1, 0], 12),
        ([0, 0, 1, 1, 2, 2, 3], [0, 0, 1, 1, 1, 1, 1], 2),
        ([0, 1, 2], [2, 0, 1], 1),
    ],
)
def test_every_arrangement_is_as_frequent_and_counted(clusters, strata, ways):
    clusters = np.array(clusters)
    strata = None if strata is None else np.array(strata)
    orders = arrangements(clusters, 6000, np.random.default_rng(1), strata=strata)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == ways
    assert np.exp(log_arrangements(clusters, strata=strata)) == pytest.approx(ways)
    assert ways == 1 or scipy.stats.chisquare(counts).pvalue > 0.001


# Equal to doing it one by one


@pytest.mark.parametrize(
    ("prepare", "correlate"),
    [(permuted_spearman, scipy.stats.spearmanr), (permuted_kendall, scipy.stats.kendalltau)],
)
def test_permuted_correlations_equal_scipy(prepare, correlate):
    x, y, _ = tied(0)
    orders = arrangements(np.arange(9), 15, np.random.default_rng(2))
    found = prepare(x, y)(orders)
    for m, i, j in np.ndindex(found.shape):
        assert found[m, i, j] == pytest.approx(correlate(x[:, i], y[orders[m], j]).statistic, abs=1e-12)


def test_permuted_partial_correlations_equal_freedman_and_lane_step_by_step():
    x, y, held = tied(1)
    orders = arrangements(np.arange(9), 15, np.random.default_rng(3))
    found = permuted_partial(x, y, held, np.arange(9))(orders)
    ranks_x, ranks_y, ranks_held = (scipy.stats.rankdata(v, axis=0) for v in (x, y, held))
    design = np.column_stack([np.ones(9), ranks_held])

    def fitted(values):
        return design @ np.linalg.lstsq(design, values, rcond=None)[0]

    for m, j in itertools.product(range(15), range(2)):
        fit = fitted(ranks_y[:, j])
        new = fit + (ranks_y[:, j] - fit)[orders[m]]
        for i in range(3):
            left = ranks_x[:, i] - fitted(ranks_x[:, i]), new - fitted(new)
            assert found[m, i, j] == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-12)


@pytest.mark.parametrize("prepare", [permuted_spearman, permuted_kendall])
def test_p_value_agrees_with_all_permutations(prepare):
    x, y, _ = tied(4, n=6, p=1, q=1)
    all_orders = np.array(list(itertools.permutations(range(6))))
    whole = prepare(x, y)(all_orders)[:, 0, 0]
    value = whole[0]
    truth = np.mean(np.abs(whole) >= abs(value) - 1e-12)
    tested = permutation_test(
        [[Shuffle(np.arange(6), [0], [0], prepare(x, y))]],
        np.full((1, 1, 1), value),
        np.ones((1, 1, 1)),
        20_000,
        np.random.default_rng(0),
    )
    assert tested.p[0, 0, 0] == pytest.approx(truth, abs=4 * np.sqrt(0.25 / 20_000))
    assert tested.pooled_p[0, 0] == tested.p[0, 0, 0]
    assert tested.deviation[0, 0, 0] == pytest.approx(whole.std(), abs=0.01)
    assert tested.least[0, 0, 0] == pytest.approx(1 / 720)


def test_with_strata_p_counts_permutations_within_them_and_the_deviation_is_that_of_all():
    x, y, _ = tied(9, n=7, p=1, q=1)
    x[:3] += 4
    y[:3] += 2
    strata = np.array([1, 1, 1, 0, 0, 0, 0])
    orders = np.array(list(itertools.permutations(range(7))))
    permuted = permuted_spearman(x, y)
    whole = permuted(orders)[:, 0, 0]
    within = whole[(strata[orders] == strata).all(axis=1)]
    assert len(within) == 6 * 24
    tested = permutation_test(
        [[Shuffle(np.arange(7), [0], [0], permuted, strata=strata)]],
        np.full((1, 1, 1), whole[0]),
        np.ones((1, 1, 1)),
        20_000,
        np.random.default_rng(0),
    )
    truth = np.mean(np.abs(within) >= abs(whole[0]) - 1e-12)
    free = np.mean(np.abs(whole) >= abs(whole[0]) - 1e-12)
    assert truth > free + 0.1
    assert tested.p[0, 0, 0] == tested.pooled_p[0, 0] == pytest.approx(truth, abs=0.015)
    assert tested.least[0, 0, 0] == pytest.approx(1 / 144)
    assert tested.deviation[0, 0, 0] == pytest.approx(whole.std(), rel=0.07)


def test_p_is_never_zero_and_no_arrangement_means_one():
    x = np.arange(8.0)[:, None]
    free, tied_up = np.arange(8), np.array([0, 1, 1, 2, 2, 2, 2, 2])
    parts = [[Shuffle(clusters, [0], [0], permuted_spearman(x, x))] for clusters in (free, tied_up)]
    tested = permutation_test(
        parts, np.ones((2, 1, 1)), np.full((2, 1, 1), 0.5), 99, np.random.default_rng(0)
    )
    assert tested.p[0, 0, 0] == pytest.approx(0.01)
    assert tested.p[1, 0, 0] == 1.0
    assert tested.least.ravel() == pytest.approx([0.01, 1.0])


def test_what_has_no_correlation_is_not_tested():
    x, y, _ = tied(5)
    values = np.full((1, 3, 2), np.nan)
    values[0, 0, 0] = 0.3
    tested = permutation_test(
        [[Shuffle(np.arange(9), [0, 1, 2], [0, 1], permuted_spearman(x, y))]],
        values,
        np.where(np.isnan(values), 0.0, 1.0),
        50,
        np.random.default_rng(0),
    )
    assert np.isnan(tested.p).sum() == 5
    assert np.isnan(tested.pooled_p).sum() == 5


# Tails


def few_permutations(x, y, value, wanted, skew=False, clusters=None):
    """Test one pair of columns by 99 permutations."""
    clusters = np.arange(len(x)) if clusters is None else clusters
    return permutation_test(
        [[Shuffle(clusters, [0], [0], permuted_kendall(x[:, None], y[:, None]), skew)]],
        np.full((1, 1, 1), value),
        np.ones((1, 1, 1)),
        99,
        np.random.default_rng(0),
        wanted=wanted,
    )


def test_tails_are_extended_beyond_the_last_permuted_value_only():
    x, y = np.random.default_rng(6).standard_normal((2, 40))
    far, near = (few_permutations(x, y, value, wanted=5000) for value in (0.6, 0.05))
    deviation = far.deviation[0, 0, 0]
    assert far.p[0, 0, 0] == pytest.approx(2 * scipy.stats.t.sf(0.6 / deviation, 99))
    assert far.pooled_p[0, 0] == pytest.approx(far.p[0, 0, 0])
    assert near.p[0, 0, 0] == few_permutations(x, y, 0.05, wanted=99).p[0, 0, 0] > 0.3
    assert few_permutations(x, y, 0.6, wanted=99).p[0, 0, 0] == 0.01
    skew = few_permutations(x, y, 0.6, wanted=5000, skew=True)
    assert (skew.p[0, 0, 0], skew.pooled_p[0, 0], skew.least[0, 0, 0]) == (0.01, 0.01, 0.01)


def test_a_tail_does_not_pass_the_number_of_arrangements():
    clusters = np.repeat(np.arange(5), 8)
    x, y = np.random.default_rng(7).standard_normal((2, 40))
    assert few_permutations(x, y, 0.99, wanted=5000, clusters=clusters).p[0, 0, 0] == pytest.approx(1 / 120)


def test_columns_that_hardly_vary_are_lopsided():
    x = np.repeat([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 9.0]], 5, axis=0)
    assert lopsided(x, x).tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize("rounded", [False, True])
def test_tails_keep_the_error_rate_where_nothing_is_to_be_found(rounded):
    # 40 clusters of 2; deviations of 199 arrangements each, held against all 19 900 others.
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(40), 2)
    x, y = rng.standard_normal((2, 80, 3)) + rng.standard_normal((2, 40, 3))[:, clusters]
    x, y = (np.round(part) for part in (x, y)) if rounded else (x, y)
    drawn = permuted_kendall(x, y)(arrangements(clusters, 19_900, rng)).reshape(100, 199, 9)
    deviations = np.sqrt((drawn**2).mean(axis=1))
    for level in (0.01, 0.001):
        bound = scipy.stats.t.isf(level / 2, 199) * deviations
        rate = np.mean([(np.abs(drawn) >= one).mean() for one in bound])
        assert level / 5 < rate < 1.2 * level
