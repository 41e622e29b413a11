import dataclasses
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from rnn.figures import CELL_LABELS, draw_correlations, draw_portraits, draw_success
from rnn.pages.images import figure_png
from rnn.study.statistics import POOLED, rank_correlations, wilson_interval
from spectra.gallery import grcar
from spectra.pseudospectra import pseudospectrum

OUTCOME = "fooling_pgd_linf_0.1"
MEASURES = ["spectral_norm", "eigenvector_condition_number", "jacobian_spectral_norm", "stable_rank"]


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    rows = [
        {
            "cell": cell,
            "clean_correct": 300,
            OUTCOME: rng.integers(10, 290) / 300,
            "spectral_norm": rng.uniform(1, 2),
            "eigenvector_condition_number": np.exp(rng.uniform(1, 6)),
            "jacobian_spectral_norm": rng.uniform(1, 2),
            "stable_rank": 1.0 if cell == "gru" else rng.uniform(1, 2),
        }
        for cell in ("tanh", "gru", "feedforward")
        for _ in range(6)
    ]
    models = pd.DataFrame(rows)
    models.loc[models["cell"] == "feedforward", "jacobian_spectral_norm"] = np.nan
    return models, rank_correlations(models, measures=MEASURES, outcomes=[OUTCOME], draws=200)


def texts(figure):
    return [
        text.get_text() for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)
    ]


def overlapping(figure):
    """Give pairs of tick labels or titles of one panel that overlap when drawn."""
    figure.canvas.draw()
    found = []
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_xticklabels(minor=True), axes.get_yticklabels()):
            boxes = [
                label.get_window_extent() for label in labels if label.get_text() and label.get_visible()
            ]
            found += [(a, b) for a, b in itertools.pairwise(boxes) if a.overlaps(b)]
    return found


def test_points_and_error_bars_are_the_numbers_of_the_table(tables):
    models, correlations = tables
    figure = draw_success(models, correlations, outcome=OUTCOME, measures=MEASURES)
    panel = figure.axes[0]
    part = models[models["cell"] == "tanh"]
    points, _, (bars,) = panel.containers[0]
    np.testing.assert_array_equal(points.get_xdata(), part["spectral_norm"])
    np.testing.assert_array_equal(points.get_ydata(), part[OUTCOME])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    lower, upper = wilson_interval(np.round(part[OUTCOME] * 300), part["clean_correct"])
    np.testing.assert_allclose(ends, np.column_stack([lower, upper]), rtol=1e-12)


def test_panels_are_labelled_and_headed_by_the_mean_correlation(tables):
    models, correlations = tables
    figure = draw_success(models, correlations, outcome=OUTCOME, measures=MEASURES)
    row = correlations[(correlations["measure"] == MEASURES[0]) & (correlations["block"] == POOLED)].iloc[0]
    assert (
        f"Spearman, mean of families:\n{row['spearman']:+.2f} [{row['lower']:+.2f}, {row['upper']:+.2f}]"
        in texts(figure)
    )
    assert "fooling rate, PGD, L∞ 0.1" in texts(figure)
    assert "spectral norm" in texts(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["tanh", "GRU", "feed-forward"]
    assert figure.axes[1].get_xscale() == "log"
    assert figure.axes[0].get_xscale() == "linear"
    assert overlapping(figure) == []


def test_families_differ_in_colour_and_marker(tables):
    models, correlations = tables
    panel = draw_success(models, correlations, outcome=OUTCOME, measures=MEASURES).axes[0]
    lines = [container[0] for container in panel.containers]
    assert len({to_hex(line.get_color()) for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3


def test_forest_shows_every_interval_and_marks_what_is_missing(tables):
    _, correlations = tables
    figure = draw_correlations(correlations, outcome=OUTCOME, measures=MEASURES)
    heads = [axes.get_title() for axes in figure.axes]
    assert heads == [CELL_LABELS[name] for name in (POOLED, "tanh", "gru", "feedforward")]
    assert next(label.get_text() for label in figure.axes[0].get_yticklabels()) == "spectral norm"
    for axes, block in zip(figure.axes, (POOLED, "tanh", "gru", "feedforward"), strict=True):
        rows = correlations[correlations["block"] == block].set_index("measure").reindex(MEASURES)
        known = rows[rows["spearman"].notna()]
        segments = np.array([s[:, 0] for s in axes.collections[0].get_segments()])
        np.testing.assert_allclose(segments, known[["lower", "upper"]], rtol=1e-12)
        filled, open_, dashes = (line.get_ydata() for line in axes.lines[:3])
        clear = (known["lower"] > 0) | (known["upper"] < 0)
        assert (len(filled), len(open_), len(dashes)) == (clear.sum(), (~clear).sum(), len(rows) - len(known))
    assert len(figure.axes[2].lines[2].get_ydata()) == 1  # constant in this family
    assert overlapping(figure) == []


def test_portraits_have_titles_one_legend_and_equal_scales():
    A = grcar(12)
    results = {
        name: pseudospectrum(A, epsilons=(0.1, 0.5), shape=(31, 31)) for name in ("one", "two", "three")
    }
    figure = draw_portraits(results)
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "three", ""]
    assert all(axes.get_aspect() == 1.0 for axes in figure.axes[:3])
    assert not figure.axes[3].axison
    assert len(figure.legends) == 1
    assert all(axes.get_legend() is None for axes in figure.axes)
    assert overlapping(figure) == []


def test_the_shared_legend_explains_noise_and_levels_that_have_no_label():
    A = np.diag([0.2, 0.8]).astype(np.float32)
    coarse = pseudospectrum(A, region=(-1, 1, -1, 1), epsilons=(0.02, 0.5), shape=(101, 101))
    noisy = dataclasses.replace(coarse, floor=0.1, storage_floor=0.3)
    (legend,) = draw_portraits({"coarse": coarse, "noisy": noisy}).legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels.count("eigenvalues") == labels.count("unit circle") == 1
    assert r"$\varepsilon =$ $0.02$" in labels
    hatches = {label: handle.get_hatch() for label, handle in zip(labels, legend.legend_handles, strict=True)
               if label.split(",")[0] in {"rounding noise", "digits not stored"}}  # fmt: skip
    assert hatches == {"rounding noise, below 1e-01": "////", "digits not stored, below 3e-01": ".."}


def test_png_is_an_image(tables):
    models, correlations = tables
    png = figure_png(draw_success(models, correlations, outcome=OUTCOME, measures=MEASURES[:1]))
    assert png.startswith(b"\x89PNG")
    assert imread(io.BytesIO(png)).std() > 0.01
    again = figure_png(draw_success(models, correlations, outcome=OUTCOME, measures=MEASURES[:1]))
    assert png == again


def test_figures_without_correlations_say_so(tables):
    models, _correlations = tables
    few = rank_correlations(models.groupby("cell").head(2), measures=MEASURES, outcomes=[OUTCOME], draws=10)
    figure = draw_success(models, few, outcome=OUTCOME, measures=MEASURES[:2])
    assert texts(figure).count("no correlation") == 2
    assert len(draw_correlations(few, outcome=OUTCOME, measures=MEASURES).axes) == 3


@pytest.mark.parametrize("title", ["$x_{$.npy", "a$b$.npy", r"\frac{.npy"])
def test_titles_are_no_formulas(title):
    assert figure_png(draw_portraits({title: pseudospectrum(grcar(5), shape=(5, 5))}))[1:4] == b"PNG"
