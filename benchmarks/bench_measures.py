"""What do all scalar measures of a matrix take together, which of them how much, and how does it grow?

A recurrent matrix after training, scaled to spectral radius 0.95, one thread; against one LAPACK ``eigvals``
of order n in the same run. Memory is the peak beyond the matrix. Orders above 256 where SPECTRA_LARGE is set.
"""

import os
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
from bench_grid import seconds
from matrices import trained
from threadpoolctl import threadpool_limits

from spectra import measures, spectral_radius

LARGE = "SPECTRA_LARGE" in os.environ


def measured(benchmark, n):
    A = trained(n)
    A = A * (0.95 / spectral_radius(A))
    with threadpool_limits(1):
        measures(A[:8, :8] / 4, dynamics="discrete")  # compiled before the clock starts
        found = benchmark.pedantic(lambda: measures(A, dynamics="discrete"), rounds=1)
        unit = np.median([seconds(scipy.linalg.eigvals, A)[0] for _ in range(3)])
    return A, found, unit


@pytest.mark.parametrize("n", [50, *([512] if LARGE else [])])
def test_which_of_them(benchmark, row, n):
    _, found, unit = measured(benchmark, n)
    with np.errstate(invalid="ignore"):
        width = (found.upper - found.lower) / np.abs(found.values)
    for name, time, interval in [
        ("schur_form", found.schur_seconds, 0.0),
        *zip(found, found.seconds, width, strict=True),
    ]:
        row(
            {
                "n": f"{n}",
                "measure": name,
                "seconds": time,
                "of one eigvals": f"{time / unit:.2f}",
                "interval, relative": f"{interval:.0e}" if interval > 0 else "",
            }
        )


@pytest.mark.parametrize("n", [32, 64, 128, 256, *([512, 1024] if LARGE else [])])
def test_growth(benchmark, row, n):
    A, found, unit = measured(benchmark, n)
    tracemalloc.start()
    measures(A, dynamics="discrete")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    total = found.schur_seconds + float(found.seconds.sum())
    row(
        {
            "n": f"{n}",
            "all measures": total,
            "of one eigvals": f"{total / unit:.0f}",
            "peak memory": f"{peak / 2**20:.1f} MiB, {peak / A.nbytes:.0f} matrices",
        }
    )
