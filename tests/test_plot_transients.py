import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from spectra import gallery, transient_growth
from spectra.plots import plot_transient_growth


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def line(ax, label):
    (found,) = (candidate for candidate in ax.lines if label in candidate.get_label())
    return found


def record(dynamics="discrete", horizon=60):
    return transient_growth(gallery.transient(12), horizon, dynamics=dynamics)


@pytest.mark.parametrize("dynamics", ["discrete", "continuous"])
def test_the_lines_are_those_of_the_record(dynamics):
    result = record(dynamics)
    ax = plot_transient_growth(result)
    ax.figure.canvas.draw()
    assert np.array_equal(line(ax, r"\|").get_ydata(), result.norms)
    assert np.array_equal(line(ax, "so far").get_ydata(), result.lower_until)
    asymptote = line(ax, "rho" if dynamics == "discrete" else "alpha")
    factor = result.rate if dynamics == "discrete" else np.exp(result.rate)
    assert np.allclose(asymptote.get_ydata(), factor**result.times)
    assert asymptote.get_linestyle() == "--"
    peak = line(ax, "peak")
    assert (peak.get_xdata()[0], peak.get_ydata()[0]) == (result.peak_time, result.peak)
    assert [text.get_text() for text in ax.texts] == [f"{result.peak:.4g}"]
    assert ax.get_xlabel() == ("step k" if dynamics == "discrete" else "time t")


def test_a_few_steps_are_marked_one_by_one_and_numbered_by_integers():
    ax = plot_transient_growth(record(horizon=7))
    assert line(ax, r"\|").get_marker() == "o"
    ax.figure.canvas.draw()
    assert all(tick == round(tick) for tick in ax.get_xticks())
    assert line(plot_transient_growth(record(horizon=100)), r"\|").get_marker() == "None"


def test_the_axis_is_logarithmic_past_two_decades_and_the_peak_in_sight():
    for A, scale in (([[0.5, 4.0], [0.0, 0.5]], "log"), ([[1.0, 1.0], [0.0, 1.0]], "linear")):
        result = transient_growth(A, 20, dynamics="discrete")
        ax = plot_transient_growth(result)
        low, high = ax.get_ylim()
        assert ax.get_yscale() == scale
        assert low <= result.norms.min()
        assert result.peak < high


def test_the_shading_holds_the_curve_within_the_frame():
    result = record()
    ax = plot_transient_growth(result)
    (shading,) = ax.collections
    corners = shading.get_paths()[0].vertices
    low, high = ax.get_ylim()
    assert corners[:, 1].min() >= low * (1 - 1e-12)
    assert corners[:, 1].max() <= high * (1 + 1e-12)
    for t, norm in zip(result.times, result.norms, strict=True):
        column = corners[corners[:, 0] == t][:, 1]
        assert column.min() <= norm * (1 + 1e-9)
        assert norm <= column.max() * (1 + 1e-9)


def test_norms_beyond_all_bounds_are_left_out():
    result = transient_growth([[1.5, 10.0], [0.0, 0.5]], 3000, dynamics="discrete")
    assert np.isinf(result.peak)
    ax = plot_transient_growth(result)
    ax.figure.canvas.draw()
    assert np.isfinite(ax.get_ylim()).all()
    assert "peak" not in [text.get_label() for text in ax.lines]


def test_vanished_norms_and_single_times_can_be_drawn():
    for result in (
        transient_growth(np.zeros((2, 2)), 5, dynamics="discrete"),
        transient_growth(gallery.jordan_block(3, 0.0) * 50, 8, dynamics="discrete"),
        transient_growth([[0.5]], [3], dynamics="discrete"),
    ):
        plot_transient_growth(result).figure.canvas.draw()


def test_draws_on_the_given_axes_and_leaves_the_record_alone():
    result = record()
    before = {field.name: np.copy(getattr(result, field.name)) for field in dataclasses.fields(result)}
    _, given = plt.subplots()
    assert plot_transient_growth(result, given) is given
    assert isinstance(plot_transient_growth(result), Axes)
    for name, value in before.items():
        assert np.array_equal(value, getattr(result, name)), name


def test_refusals():
    with pytest.raises(TypeError, match=r"result is a list; expected what spectra\.transient_growth returns"):
        plot_transient_growth([1.0])
    with pytest.raises(TypeError, match="ax is a str"):
        plot_transient_growth(record(), "here")
