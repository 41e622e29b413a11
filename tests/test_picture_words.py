import re

import numpy as np

from rnn.details import matrix_detail
from rnn.pages.picture_words import distribution_words, growth_words, portrait_words
from spectra.gallery import grcar


def test_alt_texts_hold_the_numbers_of_the_pictures():
    detail = matrix_detail("A", grcar(20) / 3, epsilon=0.1)
    text = portrait_words(detail.portrait, dynamics="discrete")
    assert "Order 20" in text
    assert "0 of them outside the unit circle" in text
    reach = float(re.search(r"ε = 0.1 to \|z\| = ([\d.]+\d)", text)[1])
    assert 0 <= detail.values["pseudospectral_radius"] - reach < 0.06  # within a cell of the grid
    text = portrait_words(detail.portrait, dynamics="continuous")
    assert f"to {np.real(detail.portrait.eigenvalues).max():.3g}, 20 of them right of" in text
    text = growth_words(detail.growth)
    assert f"{detail.growth.peak:.4g} at k = {detail.growth.peak_time:.4g}" in text
    text = distribution_words(detail.distribution)
    assert f"to {detail.values['spectral_norm']:.4g}" in text
    assert f"{detail.distribution.outliers} outliers" in text
