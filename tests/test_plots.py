import dataclasses

import matplotlib.pyplot as plt
import naive
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet

from spectra import Pseudospectrum, gallery, pseudospectrum, real_pseudospectrum
from spectra.plots import plot_pseudospectrum, plot_real_pseudospectrum, portrait


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def record(A, region=(-1.5, 1.5, -1.5, 1.5), shape=(41, 43), epsilons=()):
    """A record by dense singular values."""
    A = np.asarray(A)
    x, y = np.linspace(*region[:2], shape[1]), np.linspace(*region[2:], shape[0])
    sigma = naive.sigma_min_grid(A, x, y)
    return Pseudospectrum(
        x=x,
        y=y,
        sigma_min=sigma,
        lower=sigma,
        upper=sigma,
        computed=np.ones(shape, dtype=bool),
        eigenvalues=naive.eigenvalues(A),
        epsilons=np.array(epsilons, dtype=float),
        floor=naive.noise_floor(A, max(np.abs(x).max(), np.abs(y).max())),
        storage_floor=0.0,
        rtol=1e-6,
        delta=0.0,
        iterations=0,
    )


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def contour_lines(ax):
    (lines,) = (child for child in ax.get_children() if isinstance(child, ContourSet) and not child.filled)
    return lines


def line(ax, label):
    (found,) = (candidate for candidate in ax.lines if candidate.get_label() == label)
    return found


def test_draws_on_a_figure_of_its_own_or_on_the_given_axes():
    result = record(gallery.grcar(6), shape=(12, 12))
    ax = plot_pseudospectrum(result)
    assert isinstance(ax, Axes)
    _, given = plt.subplots()
    before = plt.get_fignums()
    assert plot_pseudospectrum(result, given) is given
    assert plot_pseudospectrum(result, ax=given) is given
    assert plt.get_fignums() == before


def test_the_axes_show_the_region_in_equal_units():
    ax = plot_pseudospectrum(record(gallery.grcar(6), region=(-1, 3, -2, 2.5)))
    ax.figure.canvas.draw()
    assert ax.get_xlim() == (-1, 3)
    assert ax.get_ylim() == (-2, 2.5)
    assert ax.get_aspect() == 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Re z", "Im z")


def test_the_eigenvalues_are_where_they_are():
    result = record(gallery.grcar(9))
    drawn = line(plot_pseudospectrum(result), "eigenvalues")
    assert np.array_equal(drawn.get_xdata(), result.eigenvalues.real)
    assert np.array_equal(drawn.get_ydata(), result.eigenvalues.imag)
    assert drawn.get_linestyle() == "None"


def test_the_unit_circle_is_drawn_where_the_region_meets_it():
    ax = plot_pseudospectrum(record(gallery.grcar(5)))
    circle = line(ax, "unit circle")
    np.testing.assert_allclose(np.hypot(circle.get_xdata(), circle.get_ydata()), 1.0)
    assert circle.is_dashed()
    for region in ((2, 3, 2, 3), (-0.5, 0.5, -0.5, 0.5)):
        ax = plot_pseudospectrum(record(gallery.grcar(5), region=region))
        assert "unit circle" not in legend_texts(ax)


def test_a_contour_lies_where_sigma_min_has_its_level():
    """For A = 0 the contour at epsilon is the circle of that radius."""
    ax = plot_pseudospectrum(record([[0.0]], epsilons=[0.25, 0.5, 1.0], shape=(81, 81)))
    lines = contour_lines(ax)
    np.testing.assert_allclose(lines.levels, np.log10([0.25, 0.5, 1.0]))
    for level, segments in zip(lines.levels, lines.allsegs, strict=True):
        points = np.concatenate(segments)
        np.testing.assert_allclose(np.hypot(*points.T), 10**level, atol=2e-3)


def test_only_wanted_levels_are_drawn_and_those_outside_the_region_left_out():
    ax = plot_pseudospectrum(record([[0.0]], epsilons=[1e-9, 0.25, 1.0, 40.0], shape=(40, 40)))
    np.testing.assert_allclose(contour_lines(ax).levels, np.log10([0.25, 1.0]))
    ax = plot_pseudospectrum(record([[0.0]], region=(1, 2, 1, 2), epsilons=[0.1]))
    assert not any(isinstance(child, ContourSet) for child in ax.get_children())
    assert legend_texts(ax) == ["eigenvalues"]


def test_the_indexing_is_row_for_y():
    """The contour of a single eigenvalue at 1 + 0.5i is centred there, not at its mirror image."""
    ax = plot_pseudospectrum(record([[1 + 0.5j]], region=(-1, 2, -2, 1), epsilons=[0.25], shape=(61, 61)))
    points = np.concatenate(contour_lines(ax).allsegs[0])
    np.testing.assert_allclose(np.abs(points @ [1, 1j] - (1 + 0.5j)), 0.25, atol=0.01)


@pytest.mark.parametrize(
    ("A", "region", "expected"),
    [
        (gallery.grcar(60), (-1, 3, -3, 3), [1e-8, 1e-6, 1e-4, 1e-2, 1]),
        (gallery.jordan_block(8), (-1.5, 1.5, -1.5, 1.5), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]),
        (gallery.random_orthogonal(30), (-1.5, 1.5, -1.5, 1.5), [0.03, 0.1, 0.3, 1.0]),
        ([[0.0]], (0, 1, 0, 1), [0.1, 0.2, 0.5, 1]),
        ([[0.0]], (1, 3, 1, 3), [2, 3, 4]),
    ],
)
def test_automatic_levels_are_round_and_visible(A, region, expected):
    np.testing.assert_allclose(portrait._levels(record(A, region)), expected)


def test_automatic_levels_of_a_narrow_range_are_spread_evenly():
    found = portrait._levels(record([[0.0]], (3, 3.1, 3, 3.1)))  # from 4.24 to 4.38
    assert found.size == 4
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(found[1] / found[0]))
    assert 3 * 2**0.5 < found[0] < found[-1] < 3.1 * 2**0.5


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (1.0, "$1$"),
        (10.0, "$10$"),
        (0.1, "$10^{-1}$"),
        (1e-2, "$10^{-2}$"),
        (10.0**-13, "$10^{-13}$"),
        (1e300, "$10^{300}$"),
        (0.2, "$0.2$"),
        (0.05, "$0.05$"),
        (3e-3, r"$3\cdot10^{-3}$"),
        (2.5e7, r"$2.5\cdot10^{7}$"),
    ],
)
def test_level_names(level, name):
    assert portrait._name(level) == name


def test_every_level_is_named_once_on_its_line_or_in_the_legend():
    result = record(gallery.random_orthogonal(12), epsilons=[0.05, 0.2, 0.5])
    ax = plot_pseudospectrum(result)
    on_lines = [text.get_text() for text in ax.texts]
    in_legend = [text.rpartition(" ")[2] for text in legend_texts(ax) if text.startswith(r"$\varepsilon")]
    assert sorted(on_lines + in_legend) == sorted(map(portrait._name, result.epsilons))
    assert on_lines
    assert in_legend


def test_labels_lie_on_the_lines_inside_the_frame():
    result = record(gallery.grcar(20), region=(-1, 3, -3, 3))
    ax = plot_pseudospectrum(result)
    assert len(ax.texts) >= 3
    for text in ax.texts:
        x, y = text.get_position()
        assert result.x[0] < x < result.x[-1]
        assert result.y[0] < y < result.y[-1]
        level = naive.sigma_min(gallery.grcar(20), complex(x, y))
        nearest = min(portrait._levels(result), key=lambda epsilon: abs(np.log(epsilon / level)))
        assert text.get_text() == portrait._name(nearest)
        assert level == pytest.approx(nearest, rel=0.3)


@pytest.mark.parametrize("region", [(-1.5, 1.5, -1.5, 1.5), (-3, 3, -0.5, 0.5), (-0.5, 0.5, -3, 3)])
def test_the_legend_covers_neither_the_data_nor_the_name_of_the_axis(region):
    ax = plot_pseudospectrum(record(gallery.jordan_block(20), region=region))
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert not legend.overlaps(ax.get_window_extent())
    assert not legend.overlaps(ax.xaxis.label.get_window_extent())
    assert legend.y0 >= 0


def test_rounding_noise_is_marked_where_it_is_visible():
    noisy = plot_pseudospectrum(record(gallery.jordan_block(30)))
    assert legend_texts(noisy)[-1].startswith("rounding noise, below ")
    hatched = [child for child in noisy.get_children() if isinstance(child, ContourSet) and child.hatches[0]]
    assert len(hatched) == 1
    clean = plot_pseudospectrum(record(gallery.jordan_block(3)))
    assert not any("noise" in text for text in legend_texts(clean))


def test_a_point_on_an_eigenvalue_needs_no_warning():
    result = record(np.diag([0.0, 0.5, -0.5]), region=(-1, 1, -1, 1), shape=(21, 21))
    assert (result.sigma_min == 0).sum() == 3
    ax = plot_pseudospectrum(result)
    ax.figure.canvas.draw()
    assert contour_lines(ax).levels.size >= 3


@pytest.mark.parametrize("size", [1e150, 1e-150])
def test_extreme_scales_need_no_warning(size):
    result = record(size * gallery.jordan_block(3), region=(-size, size, -size, size), shape=(21, 21))
    ax = plot_pseudospectrum(result)
    ax.figure.canvas.draw()
    assert contour_lines(ax).levels.size >= 3


def test_a_constant_record_and_a_floor_of_zero_are_drawn():
    flat = dataclasses.replace(record([[0.0]], shape=(2, 2)), sigma_min=np.ones((2, 2)), floor=0.0)
    plot_pseudospectrum(flat).figure.canvas.draw()
    zero = dataclasses.replace(flat, sigma_min=np.zeros((2, 2)))
    plot_pseudospectrum(zero).figure.canvas.draw()
    assert portrait._levels(flat).size == portrait._levels(zero).size == 0


def test_values_that_differ_by_rounding_are_a_constant():
    values = 1.0 + np.array([[0.0, 2.0**-52], [0.0, 2.0**-52]])
    flat = dataclasses.replace(record([[0.0]], shape=(2, 2)), sigma_min=values)
    plot_pseudospectrum(flat).figure.canvas.draw()
    assert portrait._levels(flat).size == 0


def test_levels_far_below_the_noise_are_left_out():
    result = record(np.diag([0.0, 0.5]), shape=(21, 21), epsilons=(1e-30, 0.1))
    assert result.sigma_min.min() == 0
    plot_pseudospectrum(result).figure.canvas.draw()
    assert portrait._levels(result).tolist() == [0.1]


@pytest.mark.parametrize("shape", [(2, 2), (5, 5)])
@pytest.mark.parametrize(
    "A", [np.zeros((1, 1)), np.diag([1e200, 1.0]), 1e8 * np.eye(2) + 1e-8 * np.eye(2, k=1)]
)
def test_whatever_the_matrix_a_coarse_grid_is_drawn(A, shape):
    for B in (None, np.eye(len(A)), np.zeros_like(A)):
        result = pseudospectrum(A, B=B, shape=shape, region=None if B is None else (-1, 1, -1, 1))
        plot_pseudospectrum(result).figure.canvas.draw()


def test_many_eigenvalues_get_smaller_dots():
    few, many = record(np.eye(3), shape=(3, 3)), record(np.diag(np.linspace(0, 1, 150)), shape=(3, 3))
    sizes = [line(plot_pseudospectrum(result), "eigenvalues").get_markersize() for result in (few, many)]
    assert sizes[0] > sizes[1]


def test_the_figure_can_be_saved(tmp_path):
    path = tmp_path / "figure.png"
    plot_pseudospectrum(record(gallery.grcar(6))).figure.savefig(path)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones((3, 3)),), r"^result is a ndarray; expected what spectra\.pseudospectrum returns"),
        ((record([[0.0]], shape=(2, 2)), "axes"), "^ax is a str; expected a matplotlib Axes"),
    ],
)
def test_refusals_name_the_argument(arguments, words):
    with pytest.raises(TypeError, match=words):
        plot_pseudospectrum(*arguments)
    assert plt.get_fignums() == []


def test_digits_not_stored_are_dotted():
    result = pseudospectrum(gallery.kahan(40).astype(np.float32), shape=(40, 40))
    assert any("digits not stored" in text for text in legend_texts(plot_pseudospectrum(result)))
    wide = pseudospectrum(gallery.kahan(40), shape=(40, 40))
    assert not any("digits not stored" in text for text in legend_texts(plot_pseudospectrum(wide)))


def test_real_pseudospectra_are_drawn_alike():
    ax = plot_real_pseudospectrum(real_pseudospectrum(gallery.ginibre(6, rng=1), shape=(15, 15)))
    assert any("$E$ real" in text.get_text() for text in ax.get_legend().get_texts())
    scalar = plot_real_pseudospectrum(real_pseudospectrum([[0.5]], region=(-1, 1, -1, 1), shape=(5, 5)))
    assert scalar.get_xlim() == (-1, 1)


def test_real_pseudospectra_are_not_taken_for_others():
    with pytest.raises(TypeError, match=r"what spectra\.real_pseudospectrum returns"):
        plot_real_pseudospectrum(pseudospectrum(np.eye(2), shape=(3, 3)))
