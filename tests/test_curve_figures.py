"""The figure of a bracket shows the numbers of the record."""

import dataclasses

import numpy as np
import pytest

from rnn.attacking.bracket_verdicts import RobustnessBracket
from rnn.attacking.curve_figures import draw_robustness
from rnn.pages.images import figure_png


def bracket(budgets: list[float], methods: int = 2, certified: bool = True) -> RobustnessBracket:
    random = np.random.default_rng(0)
    sizes = np.array(budgets)
    minimal = random.choice([0.0, *budgets[1:], np.inf], size=(methods, 50))
    minimal[:, minimal[0] == 0] = 0
    minimal[1:][minimal[1:] == 0] = np.inf
    minimal[:, minimal[0] == 0] = 0
    proven = (minimal.min(axis=0) > sizes[:, None]) & (random.random(50) > 0.4)
    proven = np.logical_and.accumulate(proven, axis=0)
    return RobustnessBracket(
        budgets=sizes,
        methods=np.array([f"method {k}" for k in range(methods)]),
        minimal_budget=minimal,
        queries=np.ones((methods, 50), dtype=np.int64),
        gradients=np.ones((methods, 50), dtype=np.int64),
        certified=proven if certified else proven[:0],
        perturbed=np.zeros((50, 2), dtype=np.float32),
        signs=np.array([], dtype=np.str_),
        norm="linf",
        frames="each",
        level=0.9,
    )


def shown(axes: object) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def test_curves_are_the_numbers_of_the_record() -> None:
    record = bracket([0.0, 0.05, 0.1])
    figure = draw_robustness(record)
    (axes,) = figure.axes
    curves = shown(axes)
    for name, curve in record.curves.items():
        np.testing.assert_array_equal(curves[name], curve.accuracy)
    for line in [one for one in axes.lines if one.get_label().startswith("method")]:
        np.testing.assert_array_equal(line.get_xdata(), record.budgets)
    np.testing.assert_array_equal(curves["certified"], record.certified_interval[0])
    assert set(curves["clean"]) == {record.clean_accuracy}
    bars = axes.containers[1].lines[2][0].get_segments()
    curve = record.curve("method 1")
    np.testing.assert_allclose([one[:, 1] for one in bars], np.stack([curve.lower, curve.upper], axis=1))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "clean", "method 0", "method 1", "all together", "certified", "the truth lies here",
    ]  # fmt: skip
    assert "of each frame" in axes.get_xlabel()
    assert "90%" in axes.get_ylabel()


def test_one_method_without_proof_is_one_curve() -> None:
    figure = draw_robustness(bracket([0.1, 0.2], methods=1, certified=False))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["clean", "method 0"]


@pytest.mark.parametrize(
    ("budgets", "scale"),
    [
        ([0.1], "linear"),
        ([0.0], "linear"),
        ([0.0, 0.05, 0.1], "linear"),
        ([0.001, 0.01, 0.1], "log"),
        ([0.0, 0.001, 0.01, 0.1], "symlog"),
    ],
)
def test_every_budget_has_a_tick_and_a_place(budgets: list[float], scale: str) -> None:
    (axes,) = draw_robustness(bracket(budgets)).axes
    assert axes.get_xscale() == scale
    np.testing.assert_array_equal(axes.get_xticks(), budgets)
    low, high = axes.get_xlim()
    assert low < min(budgets)
    assert high > max(budgets)


def test_many_methods_can_be_told_apart() -> None:
    figure = draw_robustness(bracket([0.1, 0.2], methods=14))
    looks = {
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in figure.axes[0].lines
        if line.get_label().startswith("method")
    }
    assert len(looks) == 14
    assert figure_png(figure).startswith(b"\x89PNG")


def test_the_certified_curve_looks_like_no_other() -> None:
    (axes,) = draw_robustness(bracket([0.0, 0.1, 0.2], methods=14)).axes
    (own,) = [line for line in axes.lines if line.get_label() == "certified"]
    named = [line for line in axes.lines if line is not own and not line.get_label().startswith("_")]
    assert len(named) == 16
    assert own.get_color() not in {line.get_color() for line in named}
    assert own.get_marker() not in {line.get_marker() for line in named}
    assert own._dash_pattern not in [line._dash_pattern for line in named]


def test_intervals_of_all_curves_stand_apart() -> None:
    record = bracket([0.0, 0.1, 0.2])
    (axes,) = draw_robustness(record).axes
    bars = [container.lines[2][0].get_segments() for container in axes.containers]
    assert len(bars) == 4  # two methods, all together, certified
    assert len({segments[1][0, 0] for segments in bars}) == 4
    _, lower, upper = record.certified_interval
    np.testing.assert_allclose([one[:, 1] for one in bars[3]], np.stack([lower, upper], axis=1))


def test_a_curve_is_drawn_too() -> None:
    record = bracket([0.0, 0.05, 0.1])
    for curve, label in ((record.worst, "all together"), (record.curve("method 1"), "method 1")):
        figure = draw_robustness(curve)
        np.testing.assert_array_equal(shown(figure.axes[0])[label], curve.accuracy)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["clean", label]
        assert figure_png(figure).startswith(b"\x89PNG")


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="bracket is a dict; expected one of"):
        draw_robustness(bracket([0.1]).curves)
    assert dataclasses.is_dataclass(bracket([0.1]))
