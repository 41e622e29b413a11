"""The lines of a figure are the numbers of the record, and each matrix can be told from the others."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.image import imread

from rnn.watching.training_figures import draw_training_measures
from rnn.watching.training_measures import TrainingMeasures

MEASURES = ["spectral_radius", "spectral_norm", "henrici_departure_relative", "kreiss_constant"]
LSTM = [f"encoder.rnn.weight_hh_l{layer}[{gate}]" for layer in range(4) for gate in "ifgo"]


def record(matrices, measures, *, steps=30):
    rng = np.random.default_rng(0)
    values = rng.uniform(0.4, 1.2, size=(steps, len(matrices), len(measures)))
    return TrainingMeasures(
        steps=100 * np.arange(1, steps + 1),
        seconds=np.arange(steps, dtype=float),
        matrices=np.array(matrices),
        measures=np.array(measures),
        values=values,
        failures=np.array([], dtype=np.str_),
        every=100,
        share=0.05,
        training_seconds=30.0,
        measuring_seconds=1.0,
        setup_seconds=0.1,
        due=steps,
        put_off=0,
    )


def panels(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def looks(figure):
    """Colour, marker and dashes of the entries of the legend."""
    return [
        (line.get_color(), line.get_marker(), str(line.get_linestyle()), str(line._dash_pattern))
        for line in figure.legends[0].get_lines()
    ]


@pytest.mark.parametrize("matrices", [["weight_hh_l0"], LSTM], ids=len)
def test_lines_are_the_numbers_of_the_record(matrices):
    made = record(matrices, MEASURES)
    figure = draw_training_measures(made)
    assert [axes.get_title() for axes in panels(figure)] == [
        "spectral radius",
        "spectral norm",
        "Henrici departure, relative",
        "Kreiss constant",
    ]
    for panel, axes in enumerate(panels(figure)):
        for k in range(len(matrices)):
            line = axes.get_lines()[k]
            np.testing.assert_array_equal(line.get_xdata(), made.steps)
            np.testing.assert_array_equal(line.get_ydata(), made.values[:, k, panel])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == matrices


@pytest.mark.parametrize("count", [1, 6, 16, 24])
def test_every_matrix_has_a_look_of_its_own(count):
    figure = draw_training_measures(record([f"m{k}.weight" for k in range(count)], MEASURES[:1]))
    assert len(set(looks(figure))) == count
    for line, entry in zip(figure.axes[0].get_lines(), figure.legends[0].get_lines(), strict=False):
        assert line.get_color() == entry.get_color()
        assert line.get_marker() == entry.get_marker()
        assert line.get_linestyle() == entry.get_linestyle()


def test_gates_share_a_colour_and_layers_their_dashes():
    found = looks(draw_training_measures(record(LSTM, MEASURES[:1])))
    assert len(set(found)) == 16
    assert all(found[k][:2] == found[k + 4][:2] for k in range(12))
    assert all(found[4 * k][2:] == found[4 * k + 3][2:] for k in range(4))


def test_where_stability_ends_there_is_a_line_in_sight():
    names = ["spectral_radius", "pseudospectral_radius", "spectral_abscissa", "spectral_norm"]
    made = record(["weight_hh_l0"], names)
    figure = draw_training_measures(made)
    ends = [
        [line.get_ydata()[0] for line in axes.get_lines() if line.get_color() == "black"]
        for axes in panels(figure)
    ]
    assert ends == [[1.0], [1.0], [0.0], []]
    low, high = panels(figure)[2].get_ylim()
    assert low <= 0 <= high


def test_what_is_no_finite_number_is_marked_and_said():
    made = record(["a", "b"], MEASURES[:2])
    made.values[4:7, 0, 0] = np.inf
    made.values[9:, 1, 1] = np.nan
    figure = draw_training_measures(made)
    marks = [
        (panel, line.get_marker(), list(line.get_xdata()))
        for panel, axes in enumerate(panels(figure))
        for line in axes.get_lines()
        if line.get_linestyle() == "None" and len(line.get_xdata())
    ]
    assert marks == [(0, "^", [500, 600, 700]), (1, "x", list(made.steps[9:]))]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "a",
        "b",
        "infinite",
        "not measured",
    ]
    figure.draw_without_rendering()


def test_widely_spread_values_have_a_logarithmic_axis():
    made = record(["a"], ["kreiss_constant", "spectral_norm"])
    made.values[3, 0, 0] = 1e4
    first, second = panels(draw_training_measures(made))
    assert (first.get_yscale(), second.get_yscale()) == ("log", "linear")


def test_some_of_it_in_the_order_asked_for():
    made = record(["a", "b", "c"], MEASURES)
    figure = draw_training_measures(made, measures=["kreiss_constant", "spectral_norm"], matrices=["c", "a"])
    assert [axes.get_title() for axes in panels(figure)] == ["Kreiss constant", "spectral norm"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["c", "a"]
    np.testing.assert_array_equal(panels(figure)[0].get_lines()[0].get_ydata(), made.values[:, 2, 3])


@pytest.mark.parametrize("names", [["_rnn.weight_hh_l0", "a$b$c"], ["x" * 90, "y" * 90, "z"]], ids=len)
def test_any_name_is_drawn_as_it_is(names):
    figure = draw_training_measures(record(names, MEASURES[:1]))
    figure.draw_without_rendering()
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts] == names
    assert not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize("steps", [1, 30])
@pytest.mark.parametrize("matrices", [["weight_hh_l0"], LSTM], ids=len)
def test_it_is_legible(matrices, steps):
    figure = draw_training_measures(record(matrices, MEASURES, steps=steps))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    buffer.seek(0)
    picture = imread(buffer)
    assert picture[..., :3].std() > 0.02
    figure.draw_without_rendering()
    (legend,) = figure.legends
    frame = figure.get_window_extent()
    texts = [text.get_window_extent() for text in legend.get_texts()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(texts, 2))
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in texts)
    box = legend.get_window_extent()
    for axes in panels(figure):
        assert not box.overlaps(axes.get_tightbbox())
        assert axes.get_window_extent().height > figure.dpi * 2.9 * 0.6


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"measures": ["norm"]}, ValueError, "measures holds 'norm'; expected some of spectral_radius"),
        ({"measures": []}, ValueError, "measures is empty"),
        ({"matrices": "a"}, TypeError, r"matrices is 'a'; expected several names: \['a'\]"),
        ({"matrices": ["c"]}, ValueError, "matrices holds 'c'; expected some of a, b"),
    ],
)
def test_refusals(options, error, words):
    with pytest.raises(error, match=words):
        draw_training_measures(record(["a", "b"], MEASURES), **options)


def test_what_is_no_record_or_holds_nothing_is_refused():
    with pytest.raises(TypeError, match=r"record is a dict; expected a TrainingMeasures: callback.record"):
        draw_training_measures({})
    with pytest.raises(ValueError, match="record holds no measurement yet"):
        draw_training_measures(record(["a"], MEASURES, steps=0))
