import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from spectra import gallery, pseudomode
from spectra.plots import plot_pseudomode


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_draws_on_a_figure_of_its_own_or_on_the_given_axes():
    result = pseudomode(gallery.grcar(12), 1 + 1j)
    assert isinstance(plot_pseudomode(result), Axes)
    _, given = plt.subplots()
    before = plt.get_fignums()
    assert plot_pseudomode(result, given) is given
    assert plt.get_fignums() == before


def test_the_lines_are_the_entries():
    result = pseudomode(gallery.grcar(50), 1.5 + 1.5j)
    ax = plot_pseudomode(result)
    above, real, below, _ = (
        line.get_ydata() for line in (ax.lines[0], ax.lines[2], ax.lines[1], ax.lines[3])
    )
    np.testing.assert_array_equal(above, np.abs(result.vector))
    np.testing.assert_array_equal(below, -np.abs(result.vector))
    np.testing.assert_array_equal(real, result.vector.real)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(1, 51))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("index $j$", "entry $v_j$")
    (decay,) = (other for other in ax.figure.axes if other is not ax)
    assert decay.get_yscale() == "log"
    np.testing.assert_array_equal(decay.lines[0].get_ydata(), np.abs(result.vector))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [r"$\pm|v_j|$", "Re $v_j$", "$|v_j|$, right axis"]


@pytest.mark.parametrize(
    ("A", "z", "words"),
    [
        (gallery.grcar(100), 1.5 + 1.5j, r"$z = 1.5 + 1.5i$,  $\sigma_{\min}(zI - A) = 4.4 \cdot 10^{-9}$"),
        ([[1.0, 0.0], [0.0, 1.0]], 1 - 2j, r"$z = 1 - 2i$,  $\sigma_{\min}(zI - A) = 2$"),
        ([[1.0]], 3, r"$z = 3$,  $\sigma_{\min}(zI - A) = 2$"),
        ([[1.0]], 1, r"$z = 1$,  $\sigma_{\min}(zI - A) \leq 0$"),
    ],
)
def test_the_title_says_where_and_how_small(A, z, words):
    ax = plot_pseudomode(pseudomode(A, z))
    assert ax.get_title() == words
    ax.figure.canvas.draw()


def test_noise_is_named_with_its_level():
    result = pseudomode(gallery.jordan_block(60), 0.3)
    ax = plot_pseudomode(result)
    assert r"\leq 8.7 \cdot 10^{-15}" in ax.get_title()
    assert ax.figure.axes[1].lines[0].get_ydata().min() == 2.0**-53


def test_few_entries_are_marked():
    few, many = (plot_pseudomode(pseudomode(gallery.grcar(n), 1j)).lines[2].get_marker() for n in (10, 90))
    assert (few, many) == ("o", "")


def test_nothing_overlaps():
    ax = plot_pseudomode(pseudomode(gallery.grcar(30), 1j))
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert not legend.overlaps(ax.get_window_extent())
    assert not legend.overlaps(ax.xaxis.label.get_window_extent())
    assert legend.y0 >= 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones(3),), r"^result is a ndarray; expected what spectra\.pseudomode returns"),
        ((pseudomode([[0.0]], 1), "axes"), "^ax is a str; expected a matplotlib Axes"),
    ],
)
def test_refusals_name_the_argument(arguments, words):
    with pytest.raises(TypeError, match=words):
        plot_pseudomode(*arguments)
    assert plt.get_fignums() == []
