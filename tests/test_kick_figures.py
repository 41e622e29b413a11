"""The figure of kicks shows the numbers of the records, and nothing overlaps."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from rnn.models import ModelConfig, build_model
from rnn.motion.kick_figures import draw_kicks
from rnn.motion.kicks import StateKicks, state_kicks


@pytest.fixture(scope="module")
def kicks() -> list[StateKicks]:
    model = build_model(ModelConfig("gru", features=3, steps=9, hidden=6, classes=4, gain=2.0))
    x = torch.randn(8, 9, 3, generator=torch.Generator().manual_seed(0))
    return [state_kicks(model, x, size=size, at=1, draws=3) for size in (0.01, 0.5, 4.0)]


def lines(axes: object) -> dict[str, object]:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_lines_are_the_numbers_of_the_record(kicks: list[StateKicks]) -> None:
    figure = draw_kicks(kicks)
    assert len(figure.axes) == 3
    for axes, found in zip(figure.axes, kicks, strict=True):
        shown = lines(axes)
        growth = found.growth
        expected = {
            "random kicks: median": np.median(growth[:3], axis=(0, 1)),
            "worst kick: median": np.median(growth[3], axis=0),
            "worst kick: linear theory": np.median(found.linear[3], axis=0) / found.size,
            "kick of mean Jacobian: median": np.median(growth[4], axis=0),
            "kick of mean Jacobian: linear theory": np.median(found.linear[4], axis=0) / found.size,
            "largest linear growth: median": np.median(found.norms, axis=0),
            r"powers of mean Jacobian, $\Vert M^t\Vert$": found.of_mean_jacobian,
            r"lower bound of max$_{j \leq t} \Vert M^j\Vert$": found.mean_lower,
        }
        assert shown.keys() == expected.keys()
        for label, values in expected.items():
            np.testing.assert_allclose(shown[label].get_ydata(), values, rtol=1e-12)
            np.testing.assert_array_equal(shown[label].get_xdata(), np.arange(9))
        (band,) = axes.collections
        heights = band.get_paths()[0].vertices[:, 1]
        low, high = np.percentile(growth[:3].reshape(-1, 9), (5, 95), axis=0)
        assert heights.min() == pytest.approx(low.min())
        assert heights.max() == pytest.approx(high.max())
        assert axes.get_yscale() == "log"
        looks = {(to_hex(line.get_color()), line.get_linestyle()) for line in shown.values()}
        assert len(looks) == 8
        markers = [shown[f"{kind}: median"].get_marker() for kind in ("worst kick", "kick of mean Jacobian")]
        assert len({*markers, "None"}) == 3  # told apart without colour too
        (one,) = set(axes.lines) - set(shown.values())
        assert one.get_ydata() == [1, 1]


def test_titles_say_size_place_and_predictions(kicks: list[StateKicks]) -> None:
    axes = draw_kicks(kicks).axes[2]
    shares = [kicks[2].changed[kicks[2].directions == kind].mean() for kind in ("random", "worst")]
    head, second = axes.get_title().split("\n")
    assert head.endswith("= 4, before step 1")
    assert second == "answers changed: random {:.1%}, worst {:.1%}".format(*shares)
    unjudged = dataclasses.replace(kicks[0], changed=np.empty(0), unjudged="none", at=0)
    assert draw_kicks(unjudged).axes[0].get_title().endswith("= 0.01")
    assert "\n" not in draw_kicks(unjudged).axes[0].get_title()
    named = draw_kicks({"GRU": kicks[:2], "its twin": kicks[2]}).axes
    for axes, name in zip(named, ("GRU", "GRU", "its twin"), strict=False):
        assert axes.get_title().startswith(f"{name}: $")
    named[0].figure.draw_without_rendering()
    assert all("$" not in label.get_text() for label in named[0].get_yticklabels())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_nothing_overlaps_and_there_is_one_legend(kicks: list[StateKicks], count: int) -> None:
    widest = [dataclasses.replace(found, changed=np.ones_like(found.changed)) for found in kicks]
    figure = draw_kicks({"a tanh network": (widest * 2)[:count]})
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 9
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert len(boxes) == count
    boxes += [axes.get_window_extent() for axes in figure.axes] + [legend.get_window_extent()]
    for axes in figure.axes[:count]:
        if axes.get_xlabel():
            boxes.append(axes.xaxis.label.get_window_extent())
    overlaps = [(str(a), str(b)) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    assert overlaps == []
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_a_prediction_far_above_does_not_set_the_scale(kicks: list[StateKicks]) -> None:
    far = dataclasses.replace(
        kicks[0], of_mean_jacobian=np.logspace(0, 300, 9), mean_lower=np.full(9, np.inf)
    )
    low, high = draw_kicks(far).axes[0].get_ylim()
    largest = max(kicks[0].growth.max(), np.median(kicks[0].norms, axis=0).max())
    assert largest < high < 15 * largest
    assert low >= largest * 1e-9


def test_a_kick_below_another_shows_at_its_edges(kicks: list[StateKicks]) -> None:
    shown = lines(draw_kicks(kicks[0]).axes[0])
    below, above = shown["kick of mean Jacobian: median"], shown["worst kick: median"]
    order = list(shown)
    assert order.index(below.get_label()) < order.index(above.get_label())
    assert below.get_linewidth() > 2 * above.get_linewidth()
    assert below.get_markersize() > 2 * above.get_markersize()


def test_random_kicks_that_die_out_do_not_set_the_scale(kicks: list[StateKicks]) -> None:
    found = kicks[0]
    distances = found.distances.copy()
    distances[:1, :, 1:] *= 1e-6
    dying = dataclasses.replace(found, distances=distances)
    low, _ = draw_kicks(dying).axes[0].get_ylim()
    medians = [np.median(dying.growth[:3], axis=(0, 1)).min(), np.median(dying.growth[3:], axis=1).min()]
    assert low > min(*medians, np.median(found.norms, axis=0).min()) / 5


def test_kinds_that_were_not_asked_for_are_left_out(kicks: list[StateKicks]) -> None:
    found = kicks[1]
    part = dataclasses.replace(
        found,
        directions=found.directions[3:4],
        distances=found.distances[3:4],
        linear=found.linear[3:4],
        changed=found.changed[3:4],
    )
    axes = draw_kicks(part).axes[0]
    assert len(lines(axes)) == 5
    assert not axes.collections
    assert axes.get_title().endswith(f"answers changed: worst {found.changed[3]:.1%}")


def test_refusals(kicks: list[StateKicks]) -> None:
    for empty in ([], {}, {"GRU": []}):
        with pytest.raises(ValueError, match="kicks is empty"):
            draw_kicks(empty)
    with pytest.raises(ValueError, match="size 0"):
        draw_kicks([kicks[0], dataclasses.replace(kicks[0], size=0.0)])
    for wrong in (3, [3], {"a": 3}):
        with pytest.raises(TypeError, match="kicks holds a int; expected StateKicks"):
            draw_kicks(wrong)
