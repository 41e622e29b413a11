"""How much faster is a grid than a loop of SVDs, and than inverse Lanczos point by point?

Both sides in turn, one thread, Schur form included, 128 x 128 points of the automatic region, rtol 1e-6. The
peers run on a sample of the points and are scaled up. The error is the largest abs(difference from the SVD)
over what is allowed, rtol * sigma_min + floor.
"""

import time

import numpy as np
import peers
import pytest

from rnn import ModelConfig, TrainingConfig, build_model, load_task, train
from rnn.weights import candidate_matrix
from spectra import gallery, pseudospectrum

SHAPE = (128, 128)


def trained(n):
    """Recurrent matrix of a tanh network of hidden size n after one epoch on the digits."""
    task = load_task("digits", rng=0)
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=n, classes=10, gain=1.0, seed=0))
    train(model, task, config=TrainingConfig(epochs=3))
    return candidate_matrix(model).matrix


def gaussian(n):
    return np.random.default_rng(n).standard_normal((n, n)) / np.sqrt(n)


def complex_gaussian(n):
    rng = np.random.default_rng(n)
    return (rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))) / np.sqrt(2 * n)


MATRICES = {
    "gaussian": gaussian,
    "grcar": gallery.grcar,
    "trained tanh": trained,
    "complex": complex_gaussian,
}


def seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def dgemm_rate():
    A = np.random.default_rng(0).standard_normal((1000, 1000))
    return 2e9 / min(seconds(np.matmul, A, A)[0] for _ in range(3))


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("n", [50, 100, 200, 400, 800])
@pytest.mark.parametrize("region", ["mirrored", "one-sided"])
def test_grid(benchmark, row, name, n, region):
    A = MATRICES[name](n)
    full = pseudospectrum(A, shape=SHAPE, threads=1)
    (xmin, xmax), (ymin, ymax) = full.x[[0, -1]], full.y[[0, -1]]
    box = (xmin, xmax, ymin if region == "mirrored" else ymin * 0.999, ymax)
    rng = np.random.default_rng(0)
    samples = {"svd": max(4, 20000 // n), "lanczos": max(20, 20000 // n)}
    times = {"svd": [], "lanczos": [], "dgemm": []}
    truth = {}

    def measure_peers():
        points = full.x[rng.integers(0, 128, 2000)] + 1j * rng.uniform(ymin, ymax, 2000)
        once, values = seconds(peers.svd_loop, A, points[: samples["svd"]])
        times["svd"].append(once / samples["svd"])
        truth.update(zip(points, values, strict=False))
        schur, lanczos = seconds(peers.InverseLanczos, A)
        once, _ = seconds(lanczos, points[: samples["lanczos"]])
        times["lanczos"].append(once / samples["lanczos"] + schur / np.prod(SHAPE))
        times["dgemm"].append(dgemm_rate())

    result = benchmark.pedantic(
        lambda: pseudospectrum(A, region=box, shape=SHAPE, threads=1),
        setup=measure_peers,
        rounds=3 if n < 800 else 1,
    )
    ours = benchmark.stats.stats.median if benchmark.stats else np.inf
    points = np.prod(SHAPE)
    flops = 4 * n**2 * result.iterations * (2 if np.iscomplexobj(A) else 1)
    iy, ix = rng.integers(0, 128, (2, 20))
    exact = peers.svd_loop(A, result.x[ix] + 1j * result.y[iy])
    error = np.abs(result.sigma_min[iy, ix] - exact) / (1e-6 * exact + result.floor)
    row(
        {
            "n": f"{n}",
            "matrix": name,
            "region": region,
            "seconds": ours,
            "SVDs / ours": np.median(times["svd"]) * points / ours,
            "Lanczos by ztrsv / ours": np.median(times["lanczos"]) * points / ours,
            "of dgemm": f"{flops / ours / np.median(times['dgemm']):.0%}",
            "steps a point": result.iterations
            / (points / 2 if region == "mirrored" and name != "complex" else points),
            "error / allowed": error.max(),
        }
    )
