import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rnn.study.block_tables import rank_tables
from rnn.study.blocks import Block
from rnn.study.partial import partial_table
from rnn.study.prediction import moments
from rnn.study.resampled_ranks import ranked_block
from rnn.study.resampling import cluster_weights


def left(values, held):
    """Residuals of the average ranks in the regression on the average ranks of `held`."""
    ranks = scipy.stats.rankdata(values)
    design = np.column_stack([np.ones(len(ranks)), *map(scipy.stats.rankdata, held.T)])
    return ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]


def table(x, y, held, draws=20, clusters=None):
    clusters = np.arange(len(x)) if clusters is None else clusters
    block = Block("", (), x, y, held, clusters)
    labels = [
        [f"{letter}{k}" for k in range(part.shape[1])]
        for letter, part in zip("xyc", (x, y, held), strict=True)
    ]
    weights = cluster_weights(clusters, draws, np.random.default_rng(0))
    return partial_table(ranked_block(block, weights), *labels)


def test_columns_of_a_block_are_ranked_once_where_no_cell_is_empty():
    x, y, c = np.random.default_rng(4).standard_normal((3, 12, 2))
    ranked = ranked_block(Block("", (), x, y, c, np.arange(12)), np.ones((3, 12)), [1])
    names = ["a", "b"], ["y", "z"], ["c", "d"]
    rank_tables(ranked, names[0])
    partial_table(ranked, *names)
    moments(ranked, np.ones(12, dtype=np.bool_), [0], [0, 1], [1])
    assert len(ranked.kept) == 1
    x[3, 0] = np.nan
    again = ranked_block(ranked.block, ranked.weights[1:], [1])
    assert rank_tables(again, names[0])[0].n[:, 0].tolist() == [11, 12]
    partial_table(again, *names)
    assert len(again.kept) == 2


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_equals_regressing_the_ranks_of_each_resample(columns):
    rng = np.random.default_rng(columns)
    x, y = rng.integers(0, 9, (14, 2)).astype(float), rng.standard_normal((14, 2))
    held = rng.standard_normal((14, columns)) + x[:, :1]
    clusters = np.repeat(np.arange(7), 2)
    found = table(x, y, held, clusters=clusters).draws
    weights = cluster_weights(clusters, 20, np.random.default_rng(0))
    for draw, weight in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(14), weight)
        if len(np.unique(rows)) < 8:
            continue
        for i, j in np.ndindex(2, 2):
            truth = np.corrcoef(left(x[rows, i], held[rows]), left(y[rows, j], held[rows]))[0, 1]
            assert found[draw, i, j] == pytest.approx(truth, abs=1e-9)


def test_one_covariate_gives_the_textbook_formula():
    rng = np.random.default_rng(0)
    x, y, c = rng.standard_normal((3, 20, 1))
    xy, xc, yc = (scipy.stats.spearmanr(*pair).statistic for pair in ((x, y), (x, c), (y, c)))
    truth = (xy - xc * yc) / np.sqrt((1 - xc**2) * (1 - yc**2))
    assert table(x, y, c).value[0, 0] == pytest.approx(truth, abs=1e-12)


def test_what_runs_through_the_covariate_disappears():
    rng = np.random.default_rng(1)
    c = rng.standard_normal((400, 1))
    x, y = c + 0.5 * rng.standard_normal((400, 1)), c + 0.5 * rng.standard_normal((400, 1))
    found = table(x, y, c, draws=200)
    assert scipy.stats.spearmanr(x, y).statistic > 0.7
    assert abs(found.value[0, 0]) < 0.12


def test_notes_say_what_is_left_out_and_why():
    rng = np.random.default_rng(2)
    c = rng.standard_normal((12, 1))
    x = np.column_stack([np.exp(c), np.full(12, 3.0), rng.standard_normal((12, 1)), np.full(12, np.nan)])
    y = np.column_stack([rng.standard_normal(12), -c])
    found = table(x, y, c)
    assert found.note[0, 0] == "determined by c0"
    assert found.note[1, 0] == "constant: 3"
    assert found.note[2, 0] == ""
    assert found.note[2, 1] == "determined by c0"
    assert found.note[3, 0] == "not defined in this block"
    assert np.isnan(found.value).sum() == 7
    c[3], x[4, 2] = np.nan, np.inf
    assert table(x, y, c).n[2, 0] == 11
    assert table(x, y, c).note[2, 0] == "infinite in 1 of 11 models"
    c[3] = np.inf
    assert table(x[:, [0]], y[:, [0]], c).note[0, 0] == "c0 infinite in 1 of 12 models"


def test_a_constant_covariate_holds_nothing():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 15, 1))
    found = table(x, y, np.ones((15, 1)))
    assert found.value[0, 0] == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert np.isfinite(found.draws).all()


@given(st.integers(0, 10_000))
def test_rising_maps_change_nothing(seed):
    rng = np.random.default_rng(seed)
    x, y, c = rng.standard_normal((3, 10, 1))
    assert table(x, y, c).value == pytest.approx(table(np.exp(x), y**3, np.arctan(c)).value, abs=1e-12)
    assert table(x, y, c).value == pytest.approx(-table(-x, y, -c).value, abs=1e-12)
    assert table(x, y, c).value == pytest.approx(table(y, x, c).value, abs=1e-12)
