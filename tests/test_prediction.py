import numpy as np
import pytest
import scipy.stats
from studies import measures_of, simulated_study

from rnn.study.block_tables import rank_tables
from rnn.study.blocks import Block, split_models
from rnn.study.prediction import PREDICTION_COLUMNS, RIDGE, left_out_errors, moments, prediction_frame
from rnn.study.resampled_ranks import ranked_block
from rnn.study.resampling import cluster_weights

KNOWN = ["spectral_radius", "spectral_norm"]


def predicted(frame, draws=100, rng=0, measures=None, covariates=("clean_accuracy",)):
    measures = measures or measures_of(frame)
    data = split_models(
        frame,
        measures=measures,
        outcomes=["outcome"],
        covariates=covariates,
        blocks=("task", "cell"),
        cluster=("configuration",),
    )
    source = np.random.default_rng(rng)
    beaten = [measures.index(name) for name in KNOWN]
    ranked = [
        ranked_block(block, cluster_weights(block.clusters, draws, source), beaten) for block in data.blocks
    ]
    tables = [rank_tables(one, measures)[0] for one in ranked]
    return prediction_frame(data, tables, ranked, beaten, 0.95)


def standardised(values):
    ranks = scipy.stats.rankdata(values) - (len(values) + 1) / 2
    return ranks / np.sqrt((ranks**2).sum()) if ranks.any() else ranks


def naive(frame, measure, column, with_measure):
    """Out-of-sample R2, fold by fold and model by model."""
    known = [*KNOWN, "clean_accuracy", *([measure] if with_measure else [])]
    ranked = frame.copy()
    for rows in frame.groupby(["task", "cell"]).indices.values():
        for name in [*known, "outcome"]:
            scale = np.sqrt(len(rows))
            ranked.loc[ranked.index[rows], name] = scale * standardised(frame[name].to_numpy()[rows])
    errors = squares = 0.0
    for value in frame[column].unique():
        train, test = ranked[frame[column] != value], ranked[frame[column] == value]
        X, y = train[known].to_numpy(), train["outcome"].to_numpy()
        coefficients = np.linalg.solve(X.T @ X + RIDGE * len(X) * np.eye(len(known)), X.T @ y)
        errors += ((test["outcome"] - test[known].to_numpy() @ coefficients) ** 2).sum()
        squares += (test["outcome"] ** 2).sum()
    return 1 - errors / squares


@pytest.mark.parametrize("column", ["task", "cell"])
def test_equals_a_ridge_regression_for_each_fold(column):
    frame = simulated_study(np.random.default_rng(0), effects=(0.5,), configurations=4, seeds=3, through=0.5)
    found = predicted(frame)
    assert list(found.columns) == list(PREDICTION_COLUMNS)
    assert set(found["measure"]) == {"effect0", "null0"}
    for row in found[found["leave_out"] == column].itertuples():
        assert row.r2_known == pytest.approx(naive(frame, row.measure, column, with_measure=False), abs=1e-12)
        assert row.r2_with == pytest.approx(naive(frame, row.measure, column, with_measure=True), abs=1e-12)
        assert row.gain == pytest.approx(row.r2_with - row.r2_known)
        assert (row.folds, row.n, row.clusters) == (3, 108, 36)


def test_a_planted_effect_predicts_and_noise_does_not():
    frame = simulated_study(np.random.default_rng(1), effects=(0.6,))
    found = predicted(frame, draws=300).set_index(["measure", "leave_out"])
    for column in ("task", "cell"):
        effect, null = found.loc[("effect0", column)], found.loc[("null0", column)]
        assert effect["lower"] > 0.1
        assert effect["helped"] == 3
        assert null["lower"] < 0.01
        assert null["gain"] < 0.05


def test_nothing_of_the_predicted_blocks_enters_the_fit():
    # The prediction for a block's outcome does not change when that outcome does: errors are quadratic in it
    # with the same coefficients, here found from three outcomes of the test block.
    rng = np.random.default_rng(2)
    known = rng.standard_normal((20, 1))
    every = np.ones(20, dtype=np.bool_)

    def once(x, y):
        block = Block("", (), x, y, known, np.arange(20))
        return moments(ranked_block(block, np.empty((0, 20))), every, [0, 1], [0], [])

    train = [once(rng.standard_normal((20, 2)), rng.standard_normal((20, 1)))]
    x = rng.standard_normal((20, 2))
    y, z = rng.permutation(20.0 * np.arange(20)), rng.permutation(np.arange(20.0))
    outcomes = (y, z, -y, -z)
    errors = [left_out_errors(train, [once(x, outcome[:, None])])[2][0, 0, 0] for outcome in outcomes]
    # |y - f|^2 + |-y - f|^2 = 2 |y|^2 + 2 |f|^2 for one and the same f.
    assert errors[0] + errors[2] == pytest.approx(errors[1] + errors[3], abs=1e-9)


def test_a_block_where_the_measure_is_constant_is_left_out_of_both_regressions():
    frame = simulated_study(np.random.default_rng(3), effects=(0.5,), configurations=4, seeds=3)
    flat = (frame["task"] == "mnist") & (frame["cell"] == "gru")
    frame.loc[flat, "effect0"] = 1.0
    found = predicted(frame).set_index(["measure", "leave_out"])
    without = predicted(frame[~flat], measures=["effect0", *KNOWN]).set_index(["measure", "leave_out"])
    for column in ("task", "cell"):
        one, other = found.loc[("effect0", column)], without.loc[("effect0", column)]
        assert (one["n"], one["r2_known"]) == (96, pytest.approx(other["r2_known"]))
        assert one["r2_with"] == pytest.approx(other["r2_with"])
        assert found.loc[("null0", column)]["n"] == 108


def test_a_single_task_cannot_be_left_out():
    frame = simulated_study(np.random.default_rng(4), tasks=("digits",), configurations=4, seeds=2)
    assert set(predicted(frame)["leave_out"]) == {"cell"}


def test_few_clusters_have_no_interval():
    frame = simulated_study(np.random.default_rng(5), configurations=3, seeds=4)
    found = predicted(frame)
    assert found["gain"].notna().all()
    assert found["lower"].isna().all()
