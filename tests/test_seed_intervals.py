"""Intervals over networks that share a seed: closed forms, copies tell nothing new, the truth is covered."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from rnn.study.seed_intervals import mean_interval, share_interval
from rnn.study.statistics import wilson_interval


def networks(copies: int = 1, *, tasks: str = "abc", cells: str = "xyz", seeds: int = 5) -> pd.DataFrame:
    grid = itertools.product(tasks, cells, range(seeds), range(copies))
    return pd.DataFrame(grid, columns=["task", "cell", "seed", "copy"])


def test_one_network_a_seed_gives_students_interval() -> None:
    rows = networks(tasks="a", cells="x", seeds=7)
    values = np.random.default_rng(0).normal(size=7)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(rows, values) == pytest.approx((values.mean(), expected.low, expected.high))


def test_two_tasks_give_welchs_degrees_of_freedom() -> None:
    rows = pd.DataFrame({"task": list("aaaabbbbbb"), "cell": "x", "seed": [*range(4), *range(6)]})
    values = np.random.default_rng(1).normal(size=10) * np.repeat([1, 3], [4, 6])
    welch = scipy.stats.ttest_ind(values[:4], -values[4:], equal_var=False).confidence_interval(0.95)
    mean, lower, upper = mean_interval(rows, values)
    assert 2 * np.array([lower, upper]) == pytest.approx([welch.low, welch.high])
    assert mean == pytest.approx((values[:4].mean() + values[4:].mean()) / 2)


def test_copies_of_a_network_tell_nothing_new() -> None:
    rows, values = networks(), np.random.default_rng(2).normal(size=45)
    twice = networks(4)
    assert mean_interval(twice, values.repeat(4)) == pytest.approx(mean_interval(rows, values))
    alike = (np.random.default_rng(3).random((3, 1, 5)) < 0.5).repeat(3, 1).ravel()  # by task and seed
    assert share_interval(twice, alike.repeat(4)) == pytest.approx(share_interval(rows, alike))


def test_shares_are_never_told_better_than_of_independent_networks() -> None:
    rows = networks()
    hits = rows["seed"] < 2  # every seed of every task alike
    hits = hits.to_numpy() ^ (rows["cell"] == "x").to_numpy()
    share, lower, upper = share_interval(rows, hits)
    low, high = wilson_interval(hits.sum(), 45)
    assert share == hits.mean()
    assert lower <= low
    assert upper >= high
    spread = (rows["seed"] == rows["cell"].map({"x": 0, "y": 1, "z": 2})).to_numpy()  # seeds hardly differ
    independent = wilson_interval(spread.sum(), 45)
    assert share_interval(rows, spread)[1:] == pytest.approx([float(end) for end in independent])


def test_where_all_agree_or_one_seed_is_there_each_cluster_counts_once() -> None:
    for hits, rows in ((np.ones(180), networks(4)), (np.arange(9) < 6, networks(seeds=1))):
        clusters = rows.groupby(["task", "seed"]).ngroups
        expected = wilson_interval(hits.mean() * clusters, clusters)
        assert share_interval(rows, hits)[1:] == pytest.approx([float(end) for end in expected])
    mean, lower, upper = mean_interval(networks(seeds=1), np.arange(9.0))
    assert (mean, np.isnan(lower), np.isnan(upper)) == (4.0, True, True)


def test_the_truth_is_covered_where_networks_of_a_seed_are_alike() -> None:
    # As if independent, four networks a seed and block would be covered in 55 % (means) and 71 % (shares).
    random, rows = np.random.default_rng(4), networks(4)
    task, block = rows.groupby("task").ngroup(), rows.groupby(["task", "cell"]).ngroup()
    level = np.linspace(-0.6, 0.6, 9)
    covered = np.zeros(2)
    for _ in range(300):
        shared = (
            random.normal(size=(3, 5))[task, rows["seed"]] + random.normal(size=(9, 5))[block, rows["seed"]]
        )
        values = level[block] + shared + random.normal(size=len(rows))
        _, lower, upper = mean_interval(rows, values)
        _, low, high = share_interval(rows, values > 0)
        covered += [lower <= 0 <= upper, low <= 0.5 <= high]
    assert (covered / 300 > 0.915).all()  # 0.95 less 2.8 standard errors
    assert covered[0] / 300 < 0.985
