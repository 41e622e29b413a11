"""How much faster are two threads than one?

128 x 128 points of the automatic region; both in turn. The error is the largest difference, which must be 0.
"""

import numpy as np
import pytest
from bench_grid import SHAPE, seconds
from matrices import MATRICES

from spectra import pseudospectrum, schur_form


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("n", [50, 200, 400])
def test_two_threads(benchmark, row, n, name):
    form = schur_form(MATRICES[name](n))
    one = []

    def single():
        one.append(seconds(lambda: pseudospectrum(form, shape=SHAPE, threads=1)))

    two = benchmark.pedantic(
        lambda: pseudospectrum(form, shape=SHAPE, threads=2), setup=single, rounds=7 if n < 400 else 3
    )
    if not benchmark.stats:
        return
    row(
        {
            "n": f"{n}",
            "matrix": name,
            "one / two threads": f"{np.median([t for t, _ in one]) / benchmark.stats.stats.median:.2f}",
            "largest difference": f"{np.abs(two.sigma_min - one[0][1].sigma_min).max():.0e}",
        }
    )
