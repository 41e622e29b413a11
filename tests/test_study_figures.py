"""Figures of a study's report show the numbers of their tables, and nothing in them overlaps."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from rnn.study.criteria import stable
from rnn.study.study_columns import study_label
from rnn.study.study_figures import (
    draw_along_training,
    draw_forest,
    draw_gains,
    draw_scatter_matrix,
    draw_triangle,
)

MEASURES = ["spectral_radius", "henrici_departure", "jacobian_eigenvector_condition_number", "margin"]
BASELINES = ["spectral_radius"]
OUTCOMES = ["fooling_reference", "minimal_l2"]
TASKS, CELLS = ("digits", "japanese-vowels"), ("gru", "tanh", "mine")
KINDS = ("none", "norm", "radius-during")


@pytest.fixture(scope="module")
def central():
    random, rows = np.random.default_rng(0), []
    for outcome in OUTCOMES:
        for place, measure in enumerate(MEASURES):
            value = random.uniform(-0.6, 0.6)
            row = {"measure": measure, "outcome": outcome}
            for name in ("", "gain_", "partial_"):
                row |= {
                    f"{name}lower": value - 0.2,
                    f"{name}upper": value + 0.3,
                    f"{name}holm": 0.01 + place / 20,
                }
            rows.append(row | {"spearman": value, "gain": value / 2, "partial": value / 3})
    frame = pd.DataFrame(rows)
    frame.loc[frame["measure"] == "margin", ["spearman", "lower", "upper", "holm"]] = np.nan
    frame.loc[frame["measure"] == "spectral_radius", ["gain", "gain_lower", "gain_upper", "gain_holm"]] = (
        np.nan
    )
    return frame


@pytest.fixture(scope="module")
def within():
    random = np.random.default_rng(1)
    pairs = itertools.product(MEASURES[:3], OUTCOMES, ("a / gru", "a / tanh", "b / gru"))
    return pd.DataFrame(
        [(*pair, random.uniform(-1, 1)) for pair in pairs],
        columns=["measure", "outcome", "block", "spearman"],
    )


@pytest.fixture(scope="module")
def rows():
    random, found = np.random.default_rng(2), []
    for task, cell, kind, seed in itertools.product(TASKS, CELLS, KINDS, range(4)):
        row = {"task": task, "cell": cell, "normalisation": kind, "seed": seed}
        row |= {"clean_accuracy": random.uniform(0.8, 1), "fooling_reference": random.uniform(0, 1)}
        row |= {"lyapunov_exponent": random.normal(), "kick_end_worst": 10 ** random.normal()}
        row |= {"spectral_radius": random.uniform(0.5, 2), "henrici_departure": 10 ** random.uniform(-2, 2)}
        found.append(row | {"minimal_l2": np.inf if seed == 3 else 0.1 * 100 ** random.uniform()})
    return pd.DataFrame(found)


@pytest.fixture(scope="module")
def curves():
    random, found = np.random.default_rng(3), []
    measures = ("spectral_radius", "eigenvector_condition_number", "kreiss_constant_scaled")
    for task, cell, seed, measure in itertools.product(TASKS, CELLS, range(5), measures):
        for epoch in (0, 1, 2, 4, 8, 10):
            value = np.nan if (seed, measure) == (4, "kreiss_constant_scaled") else 10 ** random.uniform(0, 3)
            found.append((task, cell, seed, f"{task}{cell}{seed}", measure, epoch, value))
    return pd.DataFrame(found, columns=["task", "cell", "seed", "key", "measure", "epoch", "value"])


def points(axes, *, filled=None, marker="o", size=6):
    found = []
    for line in axes.lines:
        if line.get_marker() == marker and line.get_markersize() == size:
            solid = to_hex(line.get_markerfacecolor()) != "#ffffff"
            if filled is None or solid == filled:
                found += list(zip(line.get_xdata(), line.get_ydata(), strict=True))
    return found


def no_overlap(figure):
    """Words of a figure lie inside it, and none upon another."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    texts = []
    for axes in figure.axes:
        shown = [axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts += [text for text in shown if text.get_visible() and text.get_text()]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    texts += [text for text in (figure._supxlabel, figure._supylabel) if text is not None]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    whole = figure.bbox
    for text, box in boxes:
        assert box.x0 >= whole.x0 - 1, text
        assert box.x1 <= whole.x1 + 1, text
        assert box.y0 >= whole.y0 - 1, text
        assert box.y1 <= whole.y1 + 1, text
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        high = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert wide <= 1 or high <= 1, (one, other)


def test_the_forest_shows_values_intervals_blocks_and_baselines(central, within):
    figure = draw_forest(central, within, outcomes=OUTCOMES, baselines=BASELINES)
    assert [axes.get_title() for axes in figure.axes] == [study_label(name) for name in OUTCOMES]
    for axes, outcome in zip(figure.axes, OUTCOMES, strict=True):
        part = central[central["outcome"] == outcome].reset_index(drop=True)
        known = part[part["spearman"].notna()]
        sure = known[known["holm"] < 0.05]
        assert points(axes, filled=True) == list(zip(sure["spearman"], sure.index, strict=True))
        rest = known[known["holm"] >= 0.05]
        assert points(axes, filled=False) == list(zip(rest["spearman"], rest.index, strict=True))
        assert points(axes, marker="_", size=9) == [(0, 3)]
        (lines,) = axes.collections
        ends = [(*segment[:, 0], segment[0, 1]) for segment in lines.get_segments()]
        np.testing.assert_allclose(ends, np.c_[known["lower"], known["upper"], known.index])
        dots = points(axes, size=3.2)
        own = within[within["outcome"] == outcome]
        assert [x for x, _ in dots] == own["spearman"].tolist()
        assert {int(y) for _, y in dots} == {0, 1, 2}
        assert len(axes.patches) == len(BASELINES)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["spectral radius (baseline)", *map(study_label, MEASURES[1:])]
    no_overlap(figure)


def test_names_may_hold_dollars(central, within, rows):
    """Matplotlib would read them as formulas, and these are none."""
    name, sign = r"$\bad{$", {"spectral_radius": r"$\bad{$", "gru": r"$\bad{$", "digits": r"$\bad{$ too"}
    for figure in (
        draw_forest(central.replace(sign), within.replace(sign), outcomes=OUTCOMES, baselines=[name]),
        draw_scatter_matrix(rows.replace(sign), measures=["henrici_departure"], outcomes=OUTCOMES),
    ):
        FigureCanvasAgg(figure).draw()


def test_gains_and_partial_correlations_share_their_lines(central):
    figure = draw_gains(central, outcome=OUTCOMES[1], baselines=BASELINES)
    part = central[central["outcome"] == OUTCOMES[1]].reset_index(drop=True)
    for axes, name in zip(figure.axes, ("gain", "partial"), strict=True):
        known = part[part[name].notna()]
        shown = sorted(points(axes), key=lambda point: point[1])
        assert shown == list(zip(known[name], known.index, strict=True))
    assert points(figure.axes[0], marker="_", size=9) == [(0, 0)]
    no_overlap(figure)


def test_the_scatter_matrix_holds_every_network_in_its_colour_and_marker(rows):
    measures = ["henrici_departure", "spectral_radius"]
    outcomes = ["fooling_reference", "minimal_l2"]
    figure = draw_scatter_matrix(rows, measures=measures, outcomes=outcomes)
    panels = np.array(figure.axes).reshape(2, 2)
    for (i, outcome), (j, measure) in itertools.product(enumerate(outcomes), enumerate(measures)):
        lines = panels[i, j].lines
        finite = rows[np.isfinite(rows[outcome])]
        shown = np.concatenate([np.c_[line.get_xdata(), line.get_ydata()] for line in lines])
        expected = finite[[measure, outcome]].to_numpy()
        np.testing.assert_array_equal(np.sort(shown, axis=0), np.sort(expected, axis=0))
        looks = {(line.get_color(), line.get_marker()) for line in lines}
        assert len(looks) == len(TASKS) * len(CELLS)
        assert len({colour for colour, _ in looks}) == len(CELLS)
    assert panels[1, 0].get_xscale() == "log"
    assert panels[1, 1].get_xscale() == "linear"
    assert panels[0, 0].get_yscale() == "linear"  # a share
    assert panels[1, 0].get_yscale() == "log"
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"GRU", "tanh", "mine", *TASKS}
    no_overlap(figure)


def test_curves_are_medians_with_quartiles(curves):
    figure = draw_along_training(curves)
    panels = np.array(figure.axes).reshape(len(TASKS), 3)
    for (i, task), (j, measure) in itertools.product(
        enumerate(TASKS), enumerate(dict.fromkeys(curves["measure"]))
    ):
        axes = panels[i, j]
        part = curves[(curves["task"] == task) & (curves["measure"] == measure)].dropna()
        medians = part.groupby(["cell", "epoch"])["value"].median()
        shown = sorted(line.get_ydata().tolist() for line in axes.lines)
        np.testing.assert_allclose(shown, sorted(medians[cell].tolist() for cell in CELLS))
        assert axes.get_yscale() == ("linear" if measure == "spectral_radius" else "log")
        assert len(axes.collections) == len(CELLS)
        heights = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in axes.collections])
        low, high = (part.groupby(["cell", "epoch"])["value"].quantile(share) for share in (0.25, 0.75))
        assert heights.min() == pytest.approx(low.min())
        assert heights.max() == pytest.approx(high.max())
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "2", "4", "10"]
    no_overlap(figure)


def test_the_triangle_fills_what_is_stable_and_arrows_join_the_means(rows):
    figure = draw_triangle(rows)
    panels = np.array(figure.axes).reshape(len(TASKS), len(CELLS))
    quiet = stable(rows)
    cells = ["tanh", "gru", "mine"]
    for (i, task), (j, cell) in itertools.product(enumerate(TASKS), enumerate(cells)):
        axes = panels[i, j]
        here = (rows["task"] == task) & (rows["cell"] == cell)
        filled = [line for line in axes.lines if to_hex(line.get_markerfacecolor()) != "#ffffff"]
        hollow = [line for line in axes.lines if line not in filled]
        for lines, which in ((filled, quiet), (hollow, ~quiet)):
            shown = np.concatenate([np.c_[line.get_xdata(), line.get_ydata()] for line in lines])
            expected = np.c_[rows["clean_accuracy"], 1 - rows["fooling_reference"]][here & which]
            np.testing.assert_allclose(np.sort(shown, axis=0), np.sort(expected, axis=0))
        means = rows[here].groupby("normalisation")[["clean_accuracy", "fooling_reference"]].mean()
        ends = {tuple(np.round(note.xy, 9)) for note in axes.texts}
        assert ends == {
            (round(row["clean_accuracy"], 9), round(1 - row["fooling_reference"], 9))
            for kind, row in means.iterrows()
            if kind != "none"
        }
        starts = {tuple(np.round(note.xyann, 9)) for note in axes.texts}
        plain = means.loc["none"]
        assert starts == {(round(plain["clean_accuracy"], 9), round(1 - plain["fooling_reference"], 9))}
    no_overlap(figure)


def test_without_a_start_there_are_no_arrows_and_many_kinds_look_different(rows):
    others = rows[rows["normalisation"] != "none"]
    figure = draw_triangle(others[others["cell"] == "gru"])
    assert all(len(axes.texts) == 0 for axes in figure.axes)
    kinds = [f"kind{number}" for number in range(9)]
    many = pd.concat([others.head(8).assign(normalisation=kind) for kind in ["none", *kinds]])
    (legend,) = draw_triangle(many).legends
    looks = [(line.get_color(), line.get_marker()) for line in legend.get_lines()]
    assert len(set(looks[:10])) == 10


def test_one_task_one_cell_one_outcome(central, within, rows, curves):
    small = rows[(rows["task"] == "digits") & (rows["cell"] == "gru")]
    no_overlap(draw_triangle(small))
    no_overlap(draw_scatter_matrix(small, measures=["spectral_radius"], outcomes=["fooling_reference"]))
    no_overlap(draw_along_training(curves[(curves["task"] == "digits") & (curves["cell"] == "gru")]))
    one = central[central["outcome"] == OUTCOMES[0]]
    no_overlap(draw_forest(one, within, outcomes=OUTCOMES[:1], baselines=[]))
