"""What do certified extremes cost, against one `eigvals` of order 2n and against plain optimisation?

One thread; the real matrix is the recurrent one of a trained network ("trained", scaled to spectral radius
0.95) or Gaussian. `eigvals` of a real matrix of order 2n runs in turn with the quantity. "width" is
(upper - lower) / value, "evaluations" are values of sigma_min. "optimised / ours" and "value lost" compare to
sampling 200 points and Nelder-Mead from the best three of them, on sigma_min by a dense SVD: no interval, and
perhaps a local extreme. n above 256 only where SPECTRA_LARGE is set.
"""

import functools
import os
import time

import numpy as np
import pytest
from matrices import gaussian, trained
from scipy.linalg import eigvals
from scipy.optimize import minimize

from spectra import (
    distance_to_instability,
    gallery,
    kreiss_constant,
    pseudospectral_abscissa,
    pseudospectral_radius,
)
from spectra.minima import Sampler

ORDERS = [32, 64, 128, 256, *([512, 1024] if os.environ.get("SPECTRA_LARGE") else [])]


@functools.cache
def contracted(name, n):
    A = {"trained": trained, "gaussian": gaussian}[name](n)
    return A * (0.95 / np.abs(np.linalg.eigvals(A)).max())


def seconds(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def sigma_min(A, z):
    return np.linalg.svd(z * np.eye(len(A)) - A, compute_uv=False)[-1]


def best_of_descents(merit, starts):
    """The least merit from the best three of many starting points."""
    starts = sorted(starts, key=merit)[:3]
    return min(
        minimize(merit, x, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}).fun for x in starts
    )


def optimised_kreiss(A):
    def merit(x):
        gain, angle = abs(x[0]), x[1]
        return sigma_min(A, (1 + gain) * np.exp(1j * angle)) / max(gain, 1e-12)

    starts = [np.array([g, t]) for g in (0.03, 0.1, 0.3, 1.0, 3.0) for t in np.linspace(0, np.pi, 40)]
    return max(1.0, 1 / best_of_descents(merit, starts))


def optimised_distance(A):
    starts = [np.array([t]) for t in np.linspace(0, np.pi, 200)]
    return best_of_descents(lambda x: sigma_min(A, np.exp(1j * x[0])), starts)


QUANTITIES = {
    "kreiss": (functools.partial(kreiss_constant, dynamics="discrete"), optimised_kreiss, 1),
    "distance": (functools.partial(distance_to_instability, dynamics="discrete"), optimised_distance, -1),
    **{
        f"radius {e:g}": (functools.partial(pseudospectral_radius, epsilon=e), None, 1)
        for e in (1e-1, 1e-2, 1e-3)
    },
    **{
        f"abscissa {e:g}": (functools.partial(pseudospectral_abscissa, epsilon=e), None, 1)
        for e in (1e-1, 1e-3)
    },
}


class Counter:
    """Counts the values of sigma_min that a quantity takes."""

    def __init__(self, monkeypatch):
        self.total, original = 0, Sampler.__call__

        def counted(sampler, z):
            self.total += len(z)
            return original(sampler, z)

        monkeypatch.setattr(Sampler, "__call__", counted)


def measured(benchmark, row, monkeypatch, A, name, label):
    n, peers = len(A), []
    quantity, optimised, sign = QUANTITIES[name]
    dense = np.random.default_rng(0).standard_normal((2 * n, 2 * n))
    counter = Counter(monkeypatch)
    quantity(A)
    evaluations = counter.total
    found = benchmark.pedantic(
        lambda: quantity(A),
        setup=lambda: peers.append(seconds(eigvals, dense)[0]),
        rounds=5 if n <= 256 else 2,
    )
    if not benchmark.stats:  # only checked to run
        return
    ours = benchmark.stats.stats.median
    entry = {
        "n": f"{n}",
        "matrix": label,
        "quantity": name,
        "seconds": ours,
        "/ eigvals(2n)": f"{ours / np.median(peers):.2f}",
        "method": found.method,
        "width": f"{(found.upper - found.lower) / found.value:.0e}",
        "evaluations": f"{evaluations}",
    }
    if optimised is not None and n <= 256:
        taken, value = seconds(optimised, A)
        entry |= {
            "optimised / ours": f"{taken / ours:.0f}",
            "value lost": f"{max(0.0, sign * (found.value - value) / found.value):.0e}",
        }
    row(entry)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("matrix", ["trained", "gaussian"])
@pytest.mark.parametrize("n", ORDERS)
def test_extremes(benchmark, row, monkeypatch, n, matrix, quantity):
    measured(benchmark, row, monkeypatch, contracted(matrix, n), quantity, matrix)


@pytest.mark.parametrize("quantity", ["radius 0.1", "radius 0.01", "radius 0.001"])
@pytest.mark.parametrize("n", [50, 100, 200])
def test_where_the_smallest_singular_value_is_tiny(benchmark, row, monkeypatch, n, quantity):
    measured(benchmark, row, monkeypatch, gallery.grcar(n), quantity, "grcar")
