import matplotlib.pyplot as plt
import numpy as np
import pytest

from spectra import power_law_fit, singular_value_distribution
from spectra.plots import plot_power_law, plot_spectral_distribution


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def spiked():
    A = np.random.default_rng(0).standard_normal((120, 60))
    A[:, :2] *= 6
    return singular_value_distribution(A)


def line(ax, start):
    (found,) = (drawn for drawn in ax.lines if drawn.get_label().startswith(start))
    return found


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("plot", "result"), [(plot_spectral_distribution, spiked()), (plot_power_law, power_law_fit(spiked()))]
)
def test_draws_on_a_figure_of_its_own_or_on_the_given_axes(plot, result):
    own = plot(result)
    assert plt.get_fignums() == [own.figure.number]
    _, given = plt.subplots()
    assert plot(result, given) is given
    assert plot(result, ax=given) is given
    own.figure.canvas.draw()


def test_histogram_and_law_cover_the_share_of_the_bulk():
    result = spiked()
    ax = plot_spectral_distribution(result)
    (patch,) = ax.patches
    values, edges, _ = patch.get_data()
    assert (values * np.diff(edges)).sum() == pytest.approx(58 / 60, rel=1e-12)
    law = line(ax, "Marchenko-Pastur")
    assert np.trapezoid(law.get_ydata(), law.get_xdata()) == pytest.approx(58 / 60, rel=1e-3)
    assert law.get_xdata()[[0, -1]] == pytest.approx(
        np.sqrt([result.lower_edge, result.upper_edge]), rel=1e-3
    )
    assert (ax.get_xlabel(), ax.get_ylim()[0]) == (r"$\sqrt{\lambda} = \sigma / \sqrt{N}$", 0)


def test_outliers_are_where_they_are():
    result = spiked()
    ax = plot_spectral_distribution(result)
    marks = line(ax, "2 outliers")
    assert np.array_equal(marks.get_xdata(), result.singular_values[:2] / np.sqrt(120))
    assert legend_texts(ax) == ["bulk, 58 eigenvalues", "Marchenko-Pastur law", "2 outliers"]


def test_without_noise_there_is_no_law_and_one_outlier_is_one():
    ax = plot_spectral_distribution(singular_value_distribution(np.ones((6, 4))))
    assert legend_texts(ax) == ["bulk, 3 eigenvalues", "1 outlier"]
    ax = plot_spectral_distribution(singular_value_distribution(np.zeros((2, 2))))
    assert legend_texts(ax) == ["bulk, 2 eigenvalues"]
    ax.figure.canvas.draw()


def test_the_power_law_is_a_line_through_the_tail():
    fit = power_law_fit(spiked())
    ax = plot_power_law(fit)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    points, law = line(ax, "60 values"), line(ax, r"$\alpha")
    assert points.get_xdata() == pytest.approx(np.exp(fit.logarithms), rel=1e-14)
    assert points.get_ydata()[[0, -1]] == pytest.approx([1.0, 1 / 60], rel=1e-12)
    (x0, x1), (y0, y1) = law.get_xdata(), law.get_ydata()
    assert (x0, y0) == (pytest.approx(fit.xmin, rel=1e-12), pytest.approx(fit.tail_size / 60, rel=1e-12))
    assert np.log(y1 / y0) / np.log(x1 / x0) == pytest.approx(1 - fit.alpha, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plot_spectral_distribution(np.eye(3)), TypeError, "^result is a ndarray"),
        (lambda: plot_power_law(spiked()), TypeError, "^result is a SpectralDistribution"),
        (lambda: plot_spectral_distribution(spiked(), 3), TypeError, "^ax is a int"),
        (lambda: plot_power_law(power_law_fit(spiked()), "ax"), TypeError, "^ax is a str"),
        (
            lambda: plot_spectral_distribution(singular_value_distribution(np.diag([1e300, 2e300]))),
            ValueError,
            "^result has eigenvalues beyond the floats",
        ),
        (
            lambda: plot_spectral_distribution(singular_value_distribution([[2.0**-1074]])),
            ValueError,
            "^result has eigenvalues beyond the floats",
        ),
        (
            lambda: plot_power_law(power_law_fit(singular_value_distribution(np.diag([1e-300, 2e-300])))),
            ValueError,
            "^result has values beyond the floats",
        ),
    ],
)
def test_refusals_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
