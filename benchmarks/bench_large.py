"""What does a 200 x 200 grid of a matrix of order 2048 take?

All cores; the SVD loop is timed at two points and scaled up. Set SPECTRA_LARGE=1 to run it (some minutes).
"""

import os
import resource

import numpy as np
import peers
import pytest
from bench_grid import seconds
from matrices import gaussian

from spectra import grid_cost, pseudospectrum


@pytest.mark.skipif("SPECTRA_LARGE" not in os.environ, reason="some minutes; set SPECTRA_LARGE=1")
def test_large(benchmark, row):
    A = gaussian(2048)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predicted = grid_cost(2048, shape=(200, 200))
    result = benchmark.pedantic(lambda: pseudospectrum(A, shape=(200, 200)), rounds=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ix, iy = np.array([40, 150]), np.array([120, 170])
    svd, exact = seconds(peers.svd_loop, A, result.x[ix] + 1j * result.y[iy])
    ours = benchmark.stats.stats.median if benchmark.stats else np.nan
    error = np.abs(result.sigma_min[iy, ix] - exact) / (1e-6 * exact + result.floor)
    row(
        {
            "seconds": ours,
            "predicted": f"{predicted.seconds:.0f} s, {predicted.bytes / 2**20:.0f} MiB",
            "peak memory": f"{peak / 1024:.0f} MiB ({before / 1024:.0f} before)",
            "SVD loop / ours": f"{svd / 2 * 40000 / ours:.0f}",
            "error / allowed": f"{error.max():.0e}",
        }
    )
