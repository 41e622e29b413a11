"""How long does a new process take to import, to compile, and to its first grid?

Each figure is the median over new processes; "compiled from nothing" has an empty cache.
"""

import os
import subprocess
import sys

import numpy as np

SCRIPT = """
import time; start = time.perf_counter()
import numpy, scipy.linalg; libraries = time.perf_counter()
import spectra; ours = time.perf_counter()
A = numpy.random.default_rng(0).standard_normal((50, 50))
spectra.pseudospectrum(A); first = time.perf_counter()
print(ours - libraries, first - ours)
"""


def process(cache):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(number) for number in done.stdout.split()]


def test_startup(benchmark, row, tmp_path):
    cold = process(tmp_path)
    warm = []
    benchmark.pedantic(lambda: warm.append(process(tmp_path)), rounds=5)
    imports, first = np.median(warm, axis=0)
    row({"step": "import spectra, after numpy and scipy", "seconds": imports})
    row({"step": "first grid, compiled before", "seconds": first})
    row({"step": "first grid, compiled from nothing", "seconds": cold[1]})
