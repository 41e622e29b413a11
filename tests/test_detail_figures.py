import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from rnn.pages.detail_figures import distribution_png, growth_png, portrait_png, thumbnail_png
from spectra.distribution import singular_value_distribution
from spectra.pseudospectra import pseudospectrum
from spectra.transients import transient_growth

LEVELS = (0.001, 0.01, 0.1)


def image(png):
    return Image.open(io.BytesIO(png))


def portrait(A):
    return pseudospectrum(A, epsilons=LEVELS, shape=(60, 60))


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(0).standard_normal((64, 64)) / 8


def test_images_are_small_in_bytes_and_large_enough_to_read(gaussian):
    for png, most in (
        (portrait_png(portrait(gaussian)), 40_000),
        (growth_png(transient_growth(gaussian, 30, dynamics="discrete")), 20_000),
        (distribution_png(singular_value_distribution(gaussian)), 20_000),
    ):
        assert image(png).mode == "P"
        assert image(png).width == 624
        assert len(png) < most


def test_a_thumbnail_shows_where_the_eigenvalues_are():
    region = (-1.5, 1.5, -1.5, 1.5)
    A = np.diag([0.75, -0.5])
    result = pseudospectrum(A, epsilons=(0.1, 0.2), region=region, shape=(61, 61))
    png = thumbnail_png(result)
    pixels = np.asarray(image(png).convert("L"), dtype=float)
    assert pixels.shape == (144, 144)
    assert len(png) < 4_000

    def shade(z):
        column, row = (z.real + 1.5) / 3 * 144, (1.5 - z.imag) / 3 * 144
        return pixels[int(row) - 1 : int(row) + 2, int(column) - 1 : int(column) + 2].min()

    assert shade(0.75 + 0j) < 60
    assert shade(-0.5 + 0j) < 60
    assert shade(0.1 + 0j) == 255  # further from both than the largest level
    assert shade(1.3 + 1.3j) == 255
    assert min(shade(np.exp(1j * angle)) for angle in np.linspace(1, 2, 20)) < 100  # dashes of the circle


def test_a_thumbnail_has_no_frame_and_no_words(gaussian):
    edge = np.asarray(image(thumbnail_png(portrait(0.3 * gaussian))).convert("L"))
    for side in (edge[0], edge[-1], edge[:, 0], edge[:, -1]):
        assert side.min() == 255


@pytest.mark.parametrize("A", [np.zeros((3, 3)), np.eye(1), 0.5 * np.eye(4), np.triu(np.ones((5, 5)), 1)])
def test_degenerate_matrices_are_drawn(A):
    result, growth = portrait(A), transient_growth(A, 10, dynamics="discrete")
    for png in (
        portrait_png(result),
        thumbnail_png(result),
        growth_png(growth),
        distribution_png(singular_value_distribution(A)),
    ):
        assert image(png).width > 100


def test_values_beyond_the_floats_are_refused():
    with pytest.raises(ValueError, match="scale the matrix"):
        distribution_png(singular_value_distribution(np.diag([1e200, 2e200, 3e200])))


def test_remarks_are_drawn_and_no_figure_stays_open(gaussian):
    before = plt.get_fignums()
    result = portrait(gaussian)
    plain, remarked = portrait_png(result), portrait_png(result, [("here", 0.5 + 0j, 1 + 1j)])
    thumbnail_png(result)
    assert plt.get_fignums() == before
    assert image(plain).size == image(remarked).size
    assert plain != remarked


def test_in_continuous_time_the_limit_is_the_imaginary_axis(monkeypatch):
    import rnn.pages.detail_figures

    drawn = []
    monkeypatch.setattr(rnn.pages.detail_figures, "_png", lambda axes: drawn.append(axes) or b"")
    A = np.array([[-1.0, 2.0], [0.0, -0.5]])
    result = pseudospectrum(A, epsilons=[0.1], shape=(20, 20))
    portrait_png(result, dynamics="continuous")
    portrait_png(result)
    labels = [[line.get_label() for line in axes.lines] for axes in drawn]
    assert "imaginary axis" in labels[0]
    assert "unit circle" not in labels[0]
    assert "unit circle" in labels[1]
    texts = [text.get_text() for text in drawn[0].get_legend().get_texts()]
    assert "imaginary axis" in texts
    assert "unit circle" not in texts
