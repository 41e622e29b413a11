import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rnn.study.block_tables import rank_tables
from rnn.study.blocks import LEAST_MODELS, Block
from rnn.study.correlation_tables import CORRELATION_COLUMNS
from rnn.study.resampled_ranks import ranked_block
from rnn.study.resampling import cluster_weights
from rnn.study.statistics import POOLED, rank_correlations, spearman, wilson_interval

TIED = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=LEAST_MODELS, max_size=30)


def frame(n=12, blocks=("a", "b"), effect=1.0, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for label in blocks:
        size = rng.standard_normal(n)
        parts.append(
            pd.DataFrame(
                {
                    "cell": label,
                    "size": size,
                    "noise": rng.standard_normal(n),
                    "base": rng.standard_normal(n),
                    "outcome": effect * size + 0.3 * rng.standard_normal(n),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def cell(table, measure, outcome, block):
    rows = table[(table["measure"] == measure) & (table["outcome"] == outcome) & (table["block"] == block)]
    assert len(rows) == 1
    return rows.iloc[0]


# Equal to the textbook


@given(TIED)
def test_spearman_equals_scipy_with_ties(pairs):
    x, y = np.array(pairs).T
    found = spearman(x, y, draws=10)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert found.value is None
        assert "constant" in found.note
        return
    truth = scipy.stats.spearmanr(x, y)
    assert found.value == pytest.approx(truth.statistic, abs=1e-12)
    if abs(truth.statistic) < 1 - 1e-9:
        assert found.p == pytest.approx(truth.pvalue, rel=1e-6, abs=1e-12)


def test_resamples_equal_ranking_each_resample_anew():
    rng = np.random.default_rng(3)
    X, Y = rng.integers(0, 8, (12, 3)).astype(float), rng.standard_normal((12, 2))
    clusters = np.array([3, 0, 1, 6, 1, 2, 0, 4, 1, 5, 4, 6])
    weights = cluster_weights(clusters, 50, np.random.default_rng(7))
    block = Block("", (), X, Y, np.empty((12, 0)), clusters)
    tables = rank_tables(ranked_block(block, weights), ["a", "b", "c"])
    for draw, weight in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(12), weight)
        for i, j in np.ndindex(3, 2):
            pair = X[rows, i], Y[rows, j]
            if np.ptp(pair[0]) == 0 or np.ptp(pair[1]) == 0:
                assert np.isnan(tables[0].draws[draw, i, j])
                continue
            truth = scipy.stats.spearmanr(*pair).statistic, scipy.stats.kendalltau(*pair).statistic
            for table, value in zip(tables, truth, strict=True):
                assert table.draws[draw, i, j] == pytest.approx(value, abs=1e-12)


def test_whole_clusters_are_resampled():
    clusters = np.array([2, 0, 1, 1, 0, 1])
    weights = cluster_weights(clusters, 4000, np.random.default_rng(0))
    for cluster in range(3):
        own = weights[:, clusters == cluster]
        assert (own == own[:, :1]).all()
    counts = weights[:, [1, 2, 0]]  # a row of each cluster
    assert (counts.sum(axis=1) == 3).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.05)


def test_interval_agrees_with_the_bootstrap_of_scipy():
    rng = np.random.default_rng(5)
    x = rng.standard_normal(12)
    y = x + rng.standard_normal(12)
    found = spearman(x, y, draws=20_000)
    truth = scipy.stats.bootstrap(
        (x, y),
        lambda a, b: scipy.stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.lower == pytest.approx(truth.low, abs=0.04)
    assert found.upper == pytest.approx(truth.high, abs=0.04)


def test_wilson_interval_solves_its_equation():
    successes, trials = np.array([3, 17, 50]), np.array([10, 20, 300])
    z = scipy.stats.norm.ppf(0.95)
    for end in wilson_interval(successes, trials, confidence=0.9):
        gap = np.abs(successes / trials - end)
        np.testing.assert_allclose(gap, z * np.sqrt(end * (1 - end) / trials), rtol=1e-12)


def test_wilson_interval_at_the_ends():
    lower, upper = wilson_interval([0, 7, 0], [7, 7, 0])
    assert lower[0] == 0.0
    assert upper[1] == 1.0
    assert (lower[2], upper[2]) == (0.0, 1.0)
    reference = scipy.stats.binomtest(0, 7).proportion_ci(method="wilson")
    assert upper[0] == pytest.approx(reference.high, rel=1e-12)


# The table


def test_a_planted_effect_is_found_and_noise_is_not():
    table = rank_correlations(frame(), measures=["size", "noise"], outcomes=["outcome"])
    assert list(table.columns) == list(CORRELATION_COLUMNS)
    for block in ("a", "b", POOLED):
        found = cell(table, "size", "outcome", block)
        assert 0 < found["lower"] <= found["spearman"] <= found["upper"]
        assert found["q"] < 0.01
        none = cell(table, "noise", "outcome", block)
        assert none["lower"] < 0 < none["upper"]
        assert none["q"] > 0.05
    assert cell(table, "size", "outcome", POOLED)["n"] == 24


def test_blocks_guard_against_simpsons_paradox():
    # Within each block the outcome falls with the measure; between the blocks it rises.
    x = np.arange(12.0)
    rows = [
        pd.DataFrame({"cell": label, "m": x + shift, "o": 2 * shift - x + 0.1 * (x % 2)})
        for label, shift in (("a", 0), ("b", 20), ("c", 40))
    ]
    models = pd.concat(rows)
    assert scipy.stats.spearmanr(models["m"], models["o"]).statistic > 0.5
    table = rank_correlations(models, measures=["m"], outcomes=["o"])
    assert (table["spearman"] < -0.9).all()


def test_pooled_value_is_the_weighted_mean_and_says_so():
    models = pd.concat([frame(n=8, blocks=("a",)), frame(n=16, blocks=("b",), seed=1)])
    table = rank_correlations(models, measures=["noise"], outcomes=["outcome"])
    a, b = (cell(table, "noise", "outcome", label)["spearman"] for label in "ab")
    pooled = cell(table, "noise", "outcome", POOLED)
    assert pooled["spearman"] == pytest.approx((8 * a + 16 * b) / 24)
    assert pooled["note"] == "mean of the correlations within a, b, weighted by n"


def test_one_block_is_not_pooled():
    table = rank_correlations(frame(blocks=("a",)), measures=["noise"], outcomes=["outcome"])
    assert set(table["block"]) == {"a"}


def test_rows_without_a_correlation_say_why_and_are_empty_in_csv(tmp_path):
    models = frame(n=6)
    a = models["cell"] == "a"
    models["constant"] = 2.5
    models["infinite"] = np.where(a & (models.index == 3), np.inf, models["noise"])
    models["elsewhere"] = np.where(a, np.nan, models["size"])
    models["few"] = np.where(models.index % 6 < 4, models["noise"], np.nan)
    models["copy"] = models["noise"]
    models["flat"] = 0.25
    names = ["noise", "constant", "infinite", "elsewhere", "few", "copy"]
    table = rank_correlations(models, measures=names, outcomes=["outcome", "flat"])
    notes = {name: cell(table, name, "outcome", "a")["note"] for name in names}
    assert notes == {
        "noise": "",
        "constant": "constant: 2.5",
        "infinite": "infinite in 1 of 6 models",
        "elsewhere": "not defined in this block",
        "few": "only 4 models, at least 5 are needed",
        "copy": "the same numbers as noise",
    }
    assert cell(table, "noise", "flat", "a")["note"] == "outcome constant: 0.25"
    assert cell(table, "elsewhere", "outcome", "b")["n"] == 6
    assert POOLED not in set(table.loc[table["measure"] == "elsewhere", "block"])
    table.to_csv(tmp_path / "table.csv", index=False)
    text = (tmp_path / "table.csv").read_text().lower()
    assert "nan" not in text
    assert f"constant,outcome,a,6,6{17 * ','}constant: 2.5" in text


def test_a_missing_cell_is_left_out_pair_by_pair():
    models = frame(n=12, blocks=("a",))
    models.loc[4, "noise"] = np.nan
    table = rank_correlations(models, measures=["size", "noise"], outcomes=["outcome"])
    assert cell(table, "size", "outcome", "a")["n"] == 12
    short = models.drop(index=4)
    found = cell(table, "noise", "outcome", "a")
    assert found["n"] == 11
    assert found["spearman"] == pytest.approx(
        scipy.stats.spearmanr(short["noise"], short["outcome"]).statistic
    )


def test_gain_is_over_the_best_baseline():
    table = rank_correlations(
        frame(n=30), measures=["size", "noise", "base"], outcomes=["outcome"], baselines=["noise", "base"]
    )
    row = cell(table, "size", "outcome", "a")
    best = max(abs(cell(table, name, "outcome", "a")["spearman"]) for name in ("noise", "base"))
    assert row["gain"] == pytest.approx(abs(row["spearman"]) - best)
    assert 0 < row["gain_lower"] <= row["gain"] <= row["gain_upper"] + 0.2
    assert np.isnan(cell(table, "base", "outcome", "a")["gain"])


def test_perfect_agreement_and_ties_are_remarked():
    assert spearman(range(8), range(8)).note == "perfect agreement of ranks: the true interval is wider"
    found = spearman(range(8), [0, 0, 0, 0, 0, 0, 0, 1])
    assert found.note.startswith("3")  # (7/8)^8 = 34 % of resamples without the last
    assert "had no variation" in found.note
    assert np.isfinite(found.lower)


def test_same_seed_same_numbers_and_the_global_state_is_untouched():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    arguments = {"measures": ["size", "noise"], "outcomes": ["outcome"]}
    models = frame()
    once, again = rank_correlations(models, **arguments, rng=3), rank_correlations(models, **arguments, rng=3)
    other = rank_correlations(models, **arguments, rng=4)
    pd.testing.assert_frame_equal(once, again)
    assert not np.array_equal(once["lower"], other["lower"])
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    pd.testing.assert_frame_equal(models, frame())


def test_large_tables_are_worked_through_in_parts(monkeypatch):
    models = frame(n=15)
    arguments = {"measures": ["size", "noise", "base"], "outcomes": ["outcome"], "permutations": 99}
    whole = rank_correlations(models, **arguments)
    for room in ("resampling", "resampled_ranks"):
        monkeypatch.setattr(f"rnn.study.{room}._ENTRIES", 500)
    monkeypatch.setattr("rnn.study.resampled_ranks._CACHED", 100)
    pd.testing.assert_frame_equal(rank_correlations(models, **arguments), whole)


def test_kendall_gets_fewer_permutations_where_blocks_are_large(monkeypatch):
    monkeypatch.setattr("rnn.study.correlation_tables._PRODUCTS", 1)
    table = rank_correlations(frame(n=15), measures=["size", "noise"], outcomes=["outcome"], permutations=999)
    effect, noise = (cell(table, name, "outcome", POOLED) for name in ("size", "noise"))
    assert effect["p"] == 1 / 1000
    assert 0 < effect["kendall_p"] < 1 / 1000  # a tail
    assert noise["kendall_p"] * 200 == pytest.approx(round(noise["kendall_p"] * 200))
    assert noise["kendall_p"] > 0.05


# Invariants


@given(TIED.filter(lambda pairs: all(len(set(side)) > 1 for side in zip(*pairs, strict=True))))
def test_spearman_does_not_change_under_rising_maps_and_turns_sign_under_falling_ones(pairs):
    x, y = np.array(pairs, dtype=float).T
    found, mapped, turned = (spearman(a, y, draws=40) for a in (x, np.exp(x), -x))
    assert (found.value, found.lower) == (mapped.value, mapped.lower)
    assert turned.value == pytest.approx(-found.value, abs=1e-12)
    assert turned.lower == pytest.approx(-found.upper, abs=1e-12)
    assert -1 <= found.lower <= found.upper <= 1


@given(st.integers(0, 50), st.integers(0, 50))
def test_wilson_interval_holds_the_rate_and_mirrors(successes, failures):
    trials = successes + failures
    lower, upper = wilson_interval(successes, trials)
    assert 0 <= lower <= (successes / trials if trials else 0.5) <= upper <= 1
    mirrored = wilson_interval(failures, trials)
    assert mirrored[0] == pytest.approx(1 - upper, abs=1e-12)


# Refusals


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([1, 2, 3], [1, 2], {}, "y has 2 entries and x 3"),
        ([1, 2, np.nan], [1, 2, 3], {}, "x holds NaN at 2"),
        (["a", "b"], [1, 2], {}, "expected a vector of real numbers"),
        ([[1, 2]], [1, 2], {}, "expected a vector"),
        ([1, 2], [1, 2], {"confidence": 1.0}, "between 0 and 1"),
        ([1, 2], [1, 2], {"draws": 0}, "draws"),
    ],
)
def test_spearman_refuses(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        spearman(x, y, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measures": ["absent"]}, "no column 'absent'"),
        ({"measures": []}, "at least one column"),
        ({"measures": ["size", "size"]}, "names a column twice"),
        ({"measures": ["cell"]}, "column 'cell' has dtype"),
        ({"blocks": "word"}, "row without"),
        ({"cluster": "word"}, "row without"),
        ({"blocks": []}, "at least one column"),
        ({"baselines": ["base"]}, "not among the measures"),
    ],
)
def test_rank_correlations_refuses(change, message):
    models = frame()
    models["word"] = None
    with pytest.raises(ValueError, match=message):
        rank_correlations(models, **({"measures": ["size"], "outcomes": ["outcome"]} | change))


def test_counts_are_checked():
    with pytest.raises(ValueError, match="counts, not rates"):
        wilson_interval(3, 2)


# Coverage: the reason for the percentile interval


def coverage(truth, samples, n=12):
    """Give the share of simulated intervals that hold the truth, ours and Bonett and Wright's."""
    rng = np.random.default_rng(11)
    rho = 2 * np.sin(np.pi / 6 * truth)
    hits, yardstick, excluded = 0, 0, 0
    for _ in range(samples):
        x = rng.standard_normal(n)
        y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(n)
        found = spearman(x, y, draws=1000, rng=rng)
        hits += found.lower <= truth <= found.upper
        excluded += found.lower > 0 or found.upper < 0
        value = np.clip(found.value, -1 + 1e-12, 1 - 1e-12)
        half = 1.959964 * np.sqrt((1 + value**2 / 2) / (n - 3))
        yardstick += abs(np.arctanh(value) - np.arctanh(truth)) <= half
    return hits / samples, yardstick / samples, excluded / samples


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.0, 0.3, 0.6, 0.8, 0.95])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(truth):
    ours, yardstick, excluded = coverage(truth, 2000)
    assert ours >= 0.935  # 0.95 less three standard errors of the simulation
    assert ours >= yardstick - 0.025
    if truth == 0.0:
        assert excluded <= 0.065
    if truth == 0.8:
        assert excluded >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.0, 0.3, 0.6])
def test_the_pooled_interval_holds_the_truth_about_as_often_as_it_says(truth):
    rng = np.random.default_rng(12)
    rho = 2 * np.sin(np.pi / 6 * truth)
    hits, samples = 0, 400
    for _ in range(samples):
        x = rng.standard_normal(48)
        y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(48)
        models = pd.DataFrame({"cell": np.repeat(list("abcd"), 12), "x": x, "y": y})
        table = rank_correlations(models, measures=["x"], outcomes=["y"], draws=500, permutations=9, rng=rng)
        row = cell(table, "x", "y", POOLED)
        hits += row["lower"] <= truth <= row["upper"]
    assert hits / samples >= 0.92  # 0.95 less three standard errors of the simulation


@pytest.mark.slow
def test_gain_is_not_seen_where_there_is_none():
    # Measure and baselines are equally good: the interval of the gain should lie above 0 in at most 2.5 %.
    rng = np.random.default_rng(2)
    seen, samples = 0, 300
    for _ in range(samples):
        outcome = rng.standard_normal(48)
        columns = {name: outcome + rng.standard_normal(48) for name in ("m", "r", "s")}
        models = pd.DataFrame({"cell": np.repeat(list("abcd"), 12), "o": outcome, **columns})
        table = rank_correlations(
            models,
            measures=["m", "r", "s"],
            outcomes=["o"],
            baselines=["r", "s"],
            draws=500,
            permutations=9,
            rng=rng,
        )
        seen += cell(table, "m", "o", POOLED)["gain_lower"] > 0
    assert seen / samples <= 0.045


@pytest.mark.slow
def test_false_discoveries_stay_rare_among_many_measures():
    rng = np.random.default_rng(8)
    called = []
    for _ in range(60):
        models = pd.DataFrame(rng.standard_normal((24, 22)), columns=[f"c{k}" for k in range(22)])
        models["cell"] = np.repeat(["a", "b"], 12)
        names = [f"c{k}" for k in range(22)]
        table = rank_correlations(models, measures=names[:20], outcomes=names[20:], draws=50, rng=rng)
        called.append((table.loc[table["block"] != POOLED, "q"] < 0.05).any())
    assert np.mean(called) <= 0.15
