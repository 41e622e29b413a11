import numpy as np
import pytest
import scipy.stats
from studies import measures_of, simulated_study, spearman_to_pearson

from rnn.study.evidence import study_statistics
from rnn.study.power import POWER_COLUMNS, detectable
from rnn.study.statistics import rank_correlations

BY = {"outcomes": ["outcome"], "blocks": ("task", "cell")}


@pytest.mark.parametrize(("models", "blocks", "level"), [(35, 1, 0.05), (12, 4, 0.005), (300, 9, 0.001)])
def test_the_formula_agrees_with_simulated_normal_pairs(models, blocks, level):
    error = np.array(1 / np.sqrt(blocks * (models - 1)))
    effect = float(detectable(error, level, blocks=blocks))
    rng, studies = np.random.default_rng(0), 2000
    x, e = rng.standard_normal((2, studies * blocks, models))
    r = spearman_to_pearson(effect)
    y = r * x + np.sqrt(1 - r**2) * e
    ranks = (np.argsort(np.argsort(part, axis=1), axis=1) - (models - 1) / 2 for part in (x, y))
    values = np.prod([*ranks], axis=0).sum(axis=1) * 12 / (models**3 - models)
    critical = scipy.stats.norm.ppf(1 - level / 2) * error
    found = np.mean(values.reshape(studies, blocks).mean(axis=1) > critical)
    assert found == pytest.approx(0.8, abs=0.04)


def test_the_smallest_correlation_grows_with_the_error_and_with_the_number_of_tests():
    errors = np.linspace(0.01, 0.3, 9)
    assert (np.diff(detectable(errors, 0.01)) > 0).all()
    assert (detectable(errors, 0.001) > detectable(errors, 0.01)).all()
    assert np.isnan(detectable(np.array(0.4), 0.001))


def test_the_table_says_what_was_tested():
    frame = simulated_study(np.random.default_rng(0), configurations=6, seeds=2, nulls=2)
    found = study_statistics(
        frame,
        measures=measures_of(frame),
        outcomes=["outcome"],
        cluster="configuration",
        draws=20,
        permutations=400,
    ).power
    assert list(found.columns) == list(POWER_COLUMNS)
    assert list(found["block"])[-1] == "pooled"
    assert len(found) == 10
    pooled, block = found.iloc[-1], found.iloc[0]
    assert (pooled["n"], pooled["clusters"], pooled["tests"]) == (108, 54, 4)
    assert (block["n"], block["clusters"], block["tests"]) == (12, 6, 36)
    assert pooled["level"] == 0.05 / 4
    assert pooled["smallest_best"] <= pooled["smallest"] <= pooled["smallest_worst"]
    assert pooled["smallest_alone"] < pooled["smallest"] < block["smallest_alone"]
    # 36 tests ask for 0.0014, and of the 720 arrangements of 6 clusters one has p = 0.0014.
    assert block["note"] == "for 4 of them no correlation, however strong, is found with probability 0.8"
    assert np.isnan(block["smallest"])


def share_found(design, tests, studies, seed):
    """Plant the correlation that the table of power names; give the share of studies that find it."""
    rng = np.random.default_rng(seed)
    options = {"cluster": "configuration", "draws": 2, "permutations": int(4 * tests / 0.05), "rng": rng}
    effects = []
    for _ in range(5):
        frame = simulated_study(rng, nulls=tests - 2, **design)
        pilot = study_statistics(frame, measures=measures_of(frame), outcomes=["outcome"], **options)
        effects.append(pilot.power.iloc[-1]["smallest"])
    hits = 0
    for _ in range(studies):
        frame = simulated_study(rng, effects=(np.median(effects),), nulls=tests - 3, **design)
        table = rank_correlations(frame, measures=measures_of(frame), **options, **BY)
        row = table[(table["measure"] == "effect0") & (table["block"] == "pooled")].iloc[0]
        hits += row["holm"] <= 0.05
    return hits / studies


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        {"configurations": 7, "seeds": 5, "within": 0.5},
        {"configurations": 12, "seeds": 1, "tasks": ("a", "b"), "cells": ("c", "d")},
    ],
)
def test_a_correlation_that_can_be_seen_is_seen_in_four_studies_of_five(design):
    assert share_found(design, tests=10, studies=250, seed=1) == pytest.approx(0.8, abs=0.075)


def test_without_any_spread_every_correlation_is_found():
    assert detectable(np.zeros(1), 0.05)[0] < 1e-6
