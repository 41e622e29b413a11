"""What do all scalar measures of a matrix of order 512 take together, and which of them how much?

A trained recurrent matrix scaled to spectral radius 0.95, one thread; against one LAPACK
``eigvals`` of order n in the same run.
"""

import numpy as np
import pytest
import scipy.linalg
from bench_grid import seconds
from matrices import trained
from threadpoolctl import threadpool_limits

from spectra import measures, spectral_radius


@pytest.mark.parametrize("n", [64, 512])
def test_measures(benchmark, row, n):
    A = trained(n)
    A = A * (0.95 / spectral_radius(A))
    with threadpool_limits(1):
        found = benchmark.pedantic(lambda: measures(A, dynamics="discrete"), rounds=1)
        unit = np.median([seconds(scipy.linalg.eigvals, A)[0] for _ in range(3)])
    parts = [("schur_form", found.schur_seconds, 0.0)]
    width = (found.upper - found.lower) / np.abs(found.values)
    parts += list(zip(found, found.seconds, width, strict=True))
    total = sum(part[1] for part in parts)
    parts.append(("together", total, 0.0))
    for name, time, interval in parts:
        row(
            {
                "n": f"{n}",
                "measure": name,
                "seconds": time,
                "of one eigvals": f"{time / unit:.2f}",
                "interval, relative": f"{interval:.0e}" if interval > 0 else "",
            }
        )
