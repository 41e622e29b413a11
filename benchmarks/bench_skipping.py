"""How many solves does a grid save when only three contours are wanted?

100 x 100 points of the automatic region, epsilons 1e-3, 1e-2, 1e-1. The contours must be the same: the error
is the number of grid points that lie on another side of one.
"""

import numpy as np
import pytest
from matrices import MATRICES

from spectra import pseudospectrum

WANTED = [1e-3, 1e-2, 1e-1]


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("n", [64, 256])
def test_skipping(benchmark, row, n, name):
    A = MATRICES[name](n)
    full = pseudospectrum(A, threads=1)
    some = benchmark.pedantic(lambda: pseudospectrum(A, epsilons=WANTED, threads=1), rounds=3)
    moved = sum(int(((full.sigma_min <= e) != (some.sigma_min <= e)).sum()) for e in WANTED)
    assert moved == 0
    row(
        {
            "n": f"{n}",
            "matrix": name,
            "solves saved, times": f"{full.computed.sum() / some.computed.sum():.2f}",
            "steps saved, times": f"{full.iterations / some.iterations:.2f}",
            "points moved": f"{moved}",
        }
    )
    assert np.isfinite(some.sigma_min).all()
