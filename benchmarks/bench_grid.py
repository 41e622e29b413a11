"""How much faster is a grid than a loop of SVDs, and than inverse Lanczos point by point?

Both sides in turn, one thread, Schur form included, 128 x 128 points of the automatic region, rtol 1e-6. The
peers run on a sample of the points and are scaled up. "one-sided" is the same region cut so that no half
mirrors the other. The error is the largest abs(difference from the SVD) over what is allowed, rtol sigma_min
+ floor. "of dgemm" counts 4 n^2 operations a step (8 n^2 for complex matrices) against numpy's product;
"limit" is the first ratio if all these operations ran at that rate and nothing else took time.
"""

import time

import numpy as np
import peers
import pytest
from matrices import MATRICES

from spectra import pseudospectrum

SHAPE = (128, 128)
POINTS = 128 * 128


def seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def dgemm_rate():
    A = np.random.default_rng(0).standard_normal((1000, 1000))
    return 2e9 / min(seconds(np.matmul, A, A)[0] for _ in range(3))


class Peers:
    """Seconds a grid point of each peer, and the rate of dgemm, measured once each time they are called."""

    def __init__(self, A, full):
        self.A, self.full, self.rng = A, full, np.random.default_rng(0)
        self.svd, self.lanczos, self.dgemm = [], [], []

    def points(self, count):
        return self.rng.choice(self.full.x, count) + 1j * self.rng.choice(self.full.y, count)

    def __call__(self):
        few, many = max(4, 20000 // len(self.A)), max(50, 20000 // len(self.A))
        self.svd.append(seconds(peers.svd_loop, self.A, self.points(few))[0] / few)
        schur, solver = seconds(peers.InverseLanczos, self.A)
        self.lanczos.append(seconds(solver, self.points(many))[0] / many + schur / POINTS)
        self.dgemm.append(dgemm_rate())


@pytest.mark.parametrize("region", ["mirrored", "one-sided"])
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("n", [50, 100, 200, 400, 800])
def test_grid(benchmark, row, n, name, region):
    A = MATRICES[name](n)
    full = pseudospectrum(A, shape=SHAPE, threads=1)
    (xmin, xmax), (ymin, ymax) = full.x[[0, -1]], full.y[[0, -1]]
    box = (xmin, xmax, ymin if region == "mirrored" else 0.999 * ymin, ymax)
    others = Peers(A, full)
    result = benchmark.pedantic(
        lambda: pseudospectrum(A, region=box, shape=SHAPE, threads=1),
        setup=others,
        rounds=5 if n <= 200 else 2 if n == 400 else 1,
    )
    if not benchmark.stats:  # only checked to run
        return
    ours = benchmark.stats.stats.median
    iy, ix = others.rng.integers(0, 128, (2, max(4, 4000 // n)))
    exact = peers.svd_loop(A, result.x[ix] + 1j * result.y[iy])
    error = np.abs(result.sigma_min[iy, ix] - exact) / (result.rtol * exact + result.floor)
    operations = (8 if np.iscomplexobj(A) else 4) * n**2 * result.iterations
    solved = POINTS if region == "one-sided" or np.iscomplexobj(A) else POINTS // 2
    row(
        {
            "n": f"{n}",
            "matrix": name,
            "region": region,
            "seconds": ours,
            "SVD loop / ours": f"{np.median(others.svd) * POINTS / ours:.0f}",
            "limit": f"{np.median(others.svd) * POINTS / (operations / np.median(others.dgemm)):.0f}",
            "ztrsv Lanczos / ours": f"{np.median(others.lanczos) * POINTS / ours:.1f}",
            "of dgemm": f"{operations / ours / np.median(others.dgemm):.0%}",
            "steps a point": f"{result.iterations / solved:.1f}",
            "error / allowed": f"{error.max():.0e}",
        }
    )
