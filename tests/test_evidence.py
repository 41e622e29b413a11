import numpy as np
import pandas as pd
import pytest
import scipy.stats
from studies import measures_of, simulated_study

import rnn
from rnn.study.evidence import study_statistics
from rnn.study.evidence_tables import COLUMNS

TABLES = ("per_block", "pooled", "partial", "gains", "prediction", "granulated", "power", "left_out")


def evidence(frame, **options):
    given = {
        "measures": measures_of(frame),
        "outcomes": ["outcome"],
        "cluster": "configuration",
        "replicate": "seed",
        "axes": ["configuration"],
        "draws": 200,
        "permutations": 399,
    }
    return study_statistics(frame, **(given | options))


@pytest.fixture(scope="module")
def planted():
    return simulated_study(np.random.default_rng(0), effects=(0.6,), nulls=3, through=1.0, tau=0.1)


@pytest.fixture(scope="module")
def found(planted):
    return evidence(planted)


def rows(table, measure, block=None):
    chosen = table[table["measure"] == measure]
    return chosen if block is None else chosen[chosen["block"] == block]


# What is there is found, and what is not is not


def test_a_planted_effect_is_found_in_every_table(found):
    pooled = rows(found.pooled, "effect0").iloc[0]
    assert 0.3 < pooled["lower"] < pooled["spearman"] < pooled["upper"] < 0.9
    assert pooled["holm"] <= 0.05
    assert pooled["kendall_holm"] <= 0.05
    assert pooled["p_mean"] < 0.001
    partial = rows(found.partial, "effect0", "pooled").iloc[0]
    assert partial["lower"] > 0.3
    assert partial["holm"] <= 0.05
    gain = rows(found.gains, "effect0", "pooled").iloc[0]
    assert gain["lower"] > 0
    assert gain["holm"] < 0.05
    assert (rows(found.prediction, "effect0")["lower"] > 0).all()
    granulated = rows(found.granulated, "effect0").set_index("axis")
    assert granulated.loc["configuration", "lower"] > 0.2


def test_a_relation_by_way_of_the_accuracy_is_seen_as_that(found):
    for measure in ("null0", "null1", "null2"):
        assert rows(found.pooled, measure).iloc[0]["holm"] <= 0.05
        partial = rows(found.partial, measure, "pooled").iloc[0]
        assert abs(partial["partial"]) < 0.2
        assert partial["holm"] > 0.05
        assert (rows(found.prediction, measure)["lower"] < 0.01).all()


def test_opposite_signs_between_and_within_blocks_fool_nobody():
    # Simpson: within each block the outcome falls with the measure, over all models it rises.
    rng = np.random.default_rng(1)
    frame = simulated_study(rng, effects=(0.7,), nulls=0, level=0.0, configurations=6, seeds=2)
    height = frame.groupby(["task", "cell"]).ngroup() * 6.0
    frame["effect0"], frame["outcome"] = height - frame["effect0"], height + frame["outcome"]
    assert scipy.stats.spearmanr(frame["effect0"], frame["outcome"]).statistic > 0.9
    found = evidence(frame)
    assert (rows(found.per_block, "effect0")["spearman"] < 0).all()
    assert rows(found.pooled, "effect0").iloc[0]["upper"] < -0.3
    assert rows(found.partial, "effect0", "pooled").iloc[0]["upper"] < -0.3
    assert (rows(found.granulated, "effect0")["kendall"] < -0.2).all()
    predicted = rows(found.prediction, "effect0")
    assert (predicted["gain"] > 0.1).all()  # by the relation within blocks, of falling sign


# The tables


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_documented_and_there(found, name):
    table = getattr(found, name)
    assert list(table.columns) == list(COLUMNS[name])
    assert all(COLUMNS[name].values())


def test_sizes_and_text(found, planted):
    assert (len(found.per_block), len(found.pooled), len(found.partial)) == (54, 6, 60)
    assert len(found.gains) == 40  # four measures that are no baselines, in nine blocks and pooled
    assert len(found.prediction) == 8
    assert (found.models, found.blocks, found.clusters) == (315, 9, 63)
    assert (found.draws, found.permutations, found.confidence) == (200, 399, 0.95)
    assert found.left_out.empty
    assert str(found).startswith(
        "StudyStatistics: 315 models of 63 configurations in 9 blocks; 4 of 6 pooled"
    )
    assert "effect0 with outcome" in str(found)


def test_values_within_blocks_are_those_of_scipy(found, planted):
    for (task, cell), models in planted.groupby(["task", "cell"]):
        row = rows(found.per_block, "effect0", f"{task} / {cell}").iloc[0]
        pair = models["effect0"], models["outcome"]
        assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(*pair).statistic)
        assert row["kendall"] == pytest.approx(scipy.stats.kendalltau(*pair).statistic)
        assert (row["n"], row["clusters"]) == (35, 7)
        assert row["lower"] < row["spearman"] < row["upper"]


def test_mean_and_random_effects_mean_are_those_of_the_blocks(found):
    blocks, pooled = rows(found.per_block, "effect0"), rows(found.pooled, "effect0").iloc[0]
    assert pooled["mean"] == pytest.approx(blocks["spearman"].mean())
    assert pooled["kendall_mean"] == pytest.approx(blocks["kendall"].mean())
    z = np.arctanh(blocks["spearman"])
    assert np.arctanh(pooled["spearman"]) == pytest.approx(z.mean(), abs=0.1)
    assert pooled["new_lower"] < pooled["lower"]
    assert pooled["upper"] < pooled["new_upper"]


def test_the_order_of_the_rows_does_not_matter(planted, found):
    shuffled = evidence(planted.sample(frac=1, random_state=0))
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(shuffled, name))


def test_the_table_and_the_global_state_are_untouched():
    frame = simulated_study(np.random.default_rng(2), configurations=4, seeds=2)
    copy, before = frame.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    once, again = evidence(frame, rng=1), evidence(frame, rng=np.random.default_rng(1))
    pd.testing.assert_frame_equal(frame, copy)
    pd.testing.assert_frame_equal(once.pooled, again.pooled)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


# What is left out


def test_what_is_left_out_is_listed_with_its_reason():
    frame = simulated_study(np.random.default_rng(3), configurations=4, seeds=3, nulls=3)
    gru = frame["cell"] == "gru"
    frame.loc[gru, "null0"] = 1.0
    frame.loc[gru & (frame["seed"] == 0) & (frame["task"] == "mnist"), "null1"] = np.inf
    frame.loc[~gru, "null2"] = np.nan
    frame["second"] = np.where(frame["task"] == "digits", 0.5, frame["outcome"])
    found = evidence(frame, outcomes=["outcome", "second"])
    listed = found.left_out[found.left_out["analysis"] == "correlation"]
    said = {tuple(row) for row in listed[["block", "measure", "outcome", "reason"]].itertuples(index=False)}
    assert ("mnist / gru", "null0", "", "constant: 1") in said
    assert ("mnist / gru", "null1", "", "infinite in 4 of 12 models") in said
    assert ("mnist / tanh", "null2", "", "not defined in this block") in said
    assert ("digits / tanh", "", "second", "outcome constant: 0.5") in said
    assert not any(measure == "null0" and "gru" not in block for block, measure, _, _ in said)
    pooled = found.pooled.set_index(["measure", "outcome"])
    assert (pooled.loc[("null0", "outcome"), "blocks"], pooled.loc[("null0", "outcome"), "n"]) == (6, 72)
    assert pooled.loc[("null0", "second"), "blocks"] == 4
    assert pooled.loc[("null1", "outcome"), "blocks"] == 8
    within = rows(found.per_block, "null0", "mnist / gru").iloc[0]
    assert np.isnan(within["spearman"])
    assert np.isnan(within["holm"])
    predictions = found.left_out[found.left_out["analysis"] == "prediction"]
    assert set(predictions["block"]) == {"cell"}  # null2 is there for one cell only
    assert set(predictions["measure"]) == {"null2"}
    assert not found.per_block["note"].str.contains("nan").any()


def test_one_block_alone():
    frame = simulated_study(
        np.random.default_rng(4), tasks=("digits",), cells=("gru",), configurations=6, seeds=2
    )
    found = evidence(frame, covariates=(), baselines=())
    assert found.pooled.empty
    assert found.partial.empty
    assert found.gains.empty
    assert found.prediction.empty
    assert list(found.power["block"]) == ["digits / gru"]
    assert set(found.left_out["reason"]) == {
        "in fewer than two of the 1 values of task there is a correlation",
        "in fewer than two of the 1 values of cell there is a correlation",
    }
    assert "correlations with Holm's p" in str(found)


def test_without_clusters_replicates_and_axes():
    frame = simulated_study(np.random.default_rng(5), tasks=("digits",), configurations=12, seeds=1)
    found = evidence(frame, cluster=None, replicate=None, axes=())
    assert found.clusters == found.models == 36
    assert found.granulated.empty
    assert len(found.pooled) == 3


def test_strata_change_p_values_and_nothing_else(planted, found):
    apart = planted.assign(kind=np.where(planted["configuration"] < 4, "one", "other"), same=1)
    same = evidence(apart, strata="same")
    strata = evidence(apart, strata=["same", "kind"])
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(same, name), getattr(found, name))
        if name not in ("per_block", "pooled", "partial", "power"):
            pd.testing.assert_frame_equal(getattr(strata, name), getattr(found, name))
    assert strata.per_block["least_p"].to_numpy() == pytest.approx(1 / 144)
    assert found.per_block["least_p"].to_numpy() == pytest.approx(1 / 400)
    tested = [name for name in found.per_block if name.endswith(("p", "holm", "q"))]
    assert not strata.per_block[tested].equals(found.per_block[tested])
    pd.testing.assert_frame_equal(strata.per_block.drop(columns=tested), found.per_block.drop(columns=tested))
    for name in ("spearman", "lower", "upper", "detectable"):  # deviations come from other draws
        np.testing.assert_allclose(strata.pooled[name], found.pooled[name], atol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": ["absent"]}, "no column 'absent'"),
        ({"covariates": ["word"]}, "column 'word' has dtype"),
        ({"cluster": "absent"}, "no column 'absent'"),
        ({"strata": "absent"}, "no column 'absent'"),
        ({"strata": "hole"}, "row without 'hole'"),
        ({"strata": "seed"}, "strata differ among the models of a cluster in block digits / gru"),
        ({"strata": ["word", "word"]}, "strata names a column twice"),
        ({"replicate": "absent"}, "no column 'absent'"),
        ({"blocks": "hole"}, "row without 'hole'"),
        ({"baselines": ["clean_accuracy"]}, "not among the measures"),
        ({"axes": ["seed"]}, "are blocks or the replicate"),
        ({"blocks": ["task", "task"]}, "blocks names a column twice"),
        ({"confidence": 1.5}, "between 0 and 1"),
        ({"draws": 0}, "draws"),
        ({"permutations": 0}, "permutations"),
    ],
)
def test_refuses(planted, options, message):
    frame = planted.assign(word="a", hole=np.nan)
    with pytest.raises(ValueError, match=message):
        evidence(frame, **options)


def test_the_front_door():
    assert rnn.study_statistics is study_statistics
    assert rnn.StudyStatistics.__name__ == "StudyStatistics"


# Simulated studies without effect, and with one


def binomial_bound(rate, tests):
    return rate + 3.5 * np.sqrt(rate * (1 - rate) / tests)


def studied(design, studies, seed):
    rng = np.random.default_rng(seed)
    found = {"per_block": [], "pooled": [], "partial": [], "gains": [], "prediction": [], "granulated": []}
    for _ in range(studies):
        frame = simulated_study(rng, **design)
        one = evidence(frame, draws=200, permutations=199, rng=rng)
        for name, tables in found.items():
            table = getattr(one, name)
            tables.append(table[~table["measure"].str.startswith("spectral")])
    return {name: pd.concat(tables) for name, tables in found.items()}


def leaves_out(table, value=0.0, prefix=""):
    return (table[f"{prefix}lower"] > value) | (table[f"{prefix}upper"] < value)


def check_false_positives(found, studies):
    within = found["partial"]["block"] != "pooled"
    partial, partial_within = found["partial"][~within], found["partial"][within]
    gains = found["gains"][found["gains"]["block"] == "pooled"]
    pooled, blocks = found["pooled"], found["per_block"]
    rates = {
        "p within blocks": (blocks["p"] <= 0.05, 0.05),
        "Kendall's p within blocks": (blocks["kendall_p"] <= 0.05, 0.05),
        "interval within blocks": (leaves_out(blocks), 0.05),
        "Kendall's interval within blocks": (leaves_out(blocks, prefix="kendall_"), 0.05),
        "p": (pooled["p"] <= 0.05, 0.05),
        "Kendall's p": (pooled["kendall_p"] <= 0.05, 0.05),
        "p of the random-effects mean": (pooled["p_mean"] <= 0.05, 0.05),
        "interval of the random-effects mean": (leaves_out(pooled), 0.05),
        "interval of the mean": (leaves_out(pooled, prefix="mean_"), 0.05),
        "interval of Kendall's mean": (leaves_out(pooled, prefix="kendall_mean_"), 0.05),
        "partial p within blocks": (partial_within["p"] <= 0.05, 0.06),
        "partial interval within blocks": (leaves_out(partial_within), 0.05),
        "partial p": (partial["p"] <= 0.05, 0.06),
        "partial p of the random-effects mean": (partial["p_mean"] <= 0.05, 0.05),
        "partial interval of the mean": (leaves_out(partial, prefix="mean_"), 0.05),
        "gain": (gains["lower"] > 0, 0.025),
        "p of the gain": (gains["p"] <= 0.05, 0.05),
        "gain of the prediction": (found["prediction"]["lower"] > 0, 0.025),
    }
    for what, (hits, rate) in rates.items():
        assert len(hits) >= studies
        assert hits.mean() <= binomial_bound(rate, len(hits)), what
    for what in ("p within blocks", "p", "p of the random-effects mean"):
        hits, rate = rates[what]
        assert hits.mean() >= rate - 3.5 * np.sqrt(rate * (1 - rate) / len(hits)), what


def test_few_simulated_studies_without_effect():
    design = {"tasks": ("a", "b"), "cells": ("c", "d"), "configurations": 5, "seeds": 3}
    check_false_positives(studied(design, 12, seed=0), 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [
        {"within": 0.5},
        {"within": 0.0, "configurations": 12, "seeds": 1, "cells": ("c", "d")},
    ],
)
def test_the_false_positive_rate_is_the_nominal_one(design):
    found = studied(design, 150, seed=1)
    check_false_positives(found, 150)
    if design["within"] == 0.0:  # else the configurations at hand differ, and other seeds confirm it
        assert leaves_out(found["granulated"]).mean() <= binomial_bound(0.05, 150)


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.3, 0.6])
def test_intervals_hold_a_known_truth(effect):
    design = {"effects": (effect,), "nulls": 0, "within": 0.5, "tasks": ("a", "b"), "cells": ("c", "d", "e")}
    found = studied(design, 100, seed=2)
    pooled, blocks = found["pooled"], found["per_block"]
    assert leaves_out(blocks, effect).mean() <= binomial_bound(0.05, len(blocks))
    for prefix in ("", "mean_"):
        assert leaves_out(pooled, effect, prefix).mean() <= binomial_bound(0.06, len(pooled)), prefix


@pytest.mark.slow
def test_the_random_effects_interval_holds_the_mean_of_blocks_that_differ():
    design = {"effects": (0.4,), "nulls": 0, "tau": 0.3, "within": 0.5}
    pooled = studied(design, 100, seed=3)["pooled"]
    assert leaves_out(pooled, 0.4).mean() <= binomial_bound(0.06, len(pooled))
    rng = np.random.default_rng(4)
    new = np.tanh(np.arctanh(0.4) + 0.3 * rng.standard_normal(len(pooled)))
    assert leaves_out(pooled, new, "new_").mean() <= binomial_bound(0.1, len(pooled))


@pytest.mark.slow
def test_configurations_of_one_training_are_not_exchanged_with_others():
    design = {"configurations": 10, "shared": 5, "training": 0.8, "shift": 1.0, "effects": (0.6,)}
    quick = {"covariates": (), "baselines": (), "axes": (), "draws": 4, "permutations": 199}
    rng, found = np.random.default_rng(5), []
    for _ in range(120):
        frame = simulated_study(rng, **design)
        for strata in (None, "together"):
            one = evidence(frame, strata=strata, **quick, rng=rng).pooled
            found.append(one.assign(strata=str(strata)))
    table = pd.concat(found)
    nulls = table[table["measure"] == "null0"].set_index("strata")
    bound = binomial_bound(0.05, 120)
    for name in ("p", "kendall_p"):
        assert (nulls.loc["together", name] <= 0.05).mean() <= bound
        assert (nulls.loc["None", name] <= 0.05).mean() > bound  # exchanged with all: too many
    planted = table[(table["measure"] == "effect0") & (table["strata"] == "together")]
    assert (planted["p"] <= 0.01).all()
