import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from spectra import gallery, numerical_range
from spectra.plots import plot_numerical_range
from spectra.plots.canvas import BLUE


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def line(ax, label):
    (found,) = (candidate for candidate in ax.lines if candidate.get_label() == label)
    return found


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def vertices(drawn):
    return drawn.get_xdata() + 1j * drawn.get_ydata()


def test_draws_on_a_figure_of_its_own_or_on_the_given_axes():
    result = numerical_range(gallery.grcar(6))
    assert isinstance(plot_numerical_range(result), Axes)
    _, given = plt.subplots()
    before = plt.get_fignums()
    assert plot_numerical_range(result, given) is given
    assert plot_numerical_range(result, ax=given) is given
    assert plt.get_fignums() == before


def test_the_boundary_is_a_closed_polygon_filled_lightly():
    result = numerical_range(gallery.grcar(6))
    ax = plot_numerical_range(result)
    drawn = vertices(line(ax, "numerical range"))
    np.testing.assert_array_equal(drawn, np.append(result.inner, result.inner[0]))
    (area,) = ax.patches
    corners = area.get_xy() @ [1, 1j]
    np.testing.assert_array_equal(corners[: len(result.inner)], result.inner)
    assert area.get_facecolor() == to_rgba(BLUE, 0.15)


def test_the_eigenvalues_are_where_they_are():
    result = numerical_range(gallery.grcar(9))
    drawn = line(plot_numerical_range(result), "eigenvalues")
    np.testing.assert_array_equal(vertices(drawn), result.eigenvalues)


def test_the_outer_polygon_is_drawn_only_where_it_differs():
    fine, coarse = (numerical_range(gallery.grcar(9), rtol=rtol) for rtol in (1e-3, 0.3))
    assert legend_texts(plot_numerical_range(fine)) == ["eigenvalues", "unit circle", "numerical range"]
    ax = plot_numerical_range(coarse)
    outside = line(ax, "from outside")
    np.testing.assert_array_equal(vertices(outside), np.append(coarse.outer, coarse.outer[0]))
    assert outside.is_dashed()
    assert not line(ax, "numerical range, from inside").is_dashed()
    assert legend_texts(ax)[2:] == ["numerical range, from inside", "from outside"]


def test_the_unit_circle_is_drawn_where_it_is_in_sight():
    for shift, seen in ((0, True), (9, False)):
        ax = plot_numerical_range(numerical_range(gallery.jordan_block(5) + shift * np.eye(5)))
        assert ("unit circle" in legend_texts(ax)) == seen


@pytest.mark.parametrize(
    "A",
    [
        gallery.grcar(20),
        np.diag([1.0, 2.0, 4.0]),
        1j * np.diag([1.0, 2.0, 4.0]),
        3 * np.eye(2),
        np.zeros((2, 2)),
        1e300 * gallery.grcar(5),
        1e8 * np.eye(2) + 1e-8 * np.eye(2, k=1),
    ],
)
def test_all_is_in_sight_in_equal_units_and_flat_ranges_have_room(A):
    result = numerical_range(A)
    ax = plot_numerical_range(result)
    ax.figure.canvas.draw()
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    points = np.append(result.outer, result.eigenvalues)
    assert left < points.real.min() <= points.real.max() < right
    assert bottom < points.imag.min() <= points.imag.max() < top
    assert 0.2 <= (top - bottom) / (right - left) <= 5
    assert ax.get_aspect() == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Re z", "Im z")


def test_the_legend_is_below_the_axis():
    ax = plot_numerical_range(numerical_range(gallery.grcar(9)))
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert legend.y1 <= ax.xaxis.get_tightbbox().y0
    assert legend.y0 >= 0


def test_refusals_name_the_argument():
    with pytest.raises(TypeError, match=r"result is a list; expected what spectra.numerical_range returns"):
        plot_numerical_range([1, 2])
    with pytest.raises(TypeError, match=r"ax is a str"):
        plot_numerical_range(numerical_range(np.eye(2)), "axes")
