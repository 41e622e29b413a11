"""The grid kernel itself: lanes compiled and interpreted, one answer however the points are grouped."""

import os
import subprocess
import sys

import naive
import numpy as np
import pytest

from spectra import kernels, schur_form
from spectra.resolvent import smallest_singular_values

POINTS = np.array([0.3 + 0.4j, 1.2j, -2.0, 0.05 - 0.1j, 3.0 + 3.0j])

INTERPRETED = """
import sys, numpy as np
from spectra import schur_form
from spectra.resolvent import smallest_singular_values
from numba import config
assert config.DISABLE_JIT
with np.load(sys.argv[1]) as data, np.errstate(all="ignore"):
    for name in sys.argv[3:]:
        found = smallest_singular_values(schur_form(data[name]), data["z"], rtol=1e-8, delta=1e-3, threads=1)
        np.savez(sys.argv[2] + name, sigma_min=found.sigma_min, lower=found.lower, steps=found.steps)
"""


def matrices(rng):
    real = rng.standard_normal((11, 11))
    return {
        "real": real,
        "complex": real + 1j * rng.standard_normal((11, 11)),
        "jordan": np.eye(6, k=1),
        "triangular": np.triu(real),
        "symmetric": real + real.T,
    }


def test_interpreted_kernel_gives_what_the_compiled_one_gives(tmp_path):
    cases = matrices(np.random.default_rng(5))
    np.savez(tmp_path / "cases.npz", z=POINTS, **cases)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run(
        [sys.executable, "-c", INTERPRETED, str(tmp_path / "cases.npz"), f"{tmp_path}/", *cases],
        env=environment,
        check=True,
    )
    for name, A in cases.items():
        compiled = smallest_singular_values(schur_form(A), POINTS, rtol=1e-8, delta=1e-3, threads=1)
        with np.load(tmp_path / f"{name}.npz") as interpreted:
            assert np.array_equal(interpreted["steps"], compiled.steps)
            np.testing.assert_allclose(interpreted["sigma_min"], compiled.sigma_min, rtol=1e-12)
            np.testing.assert_allclose(interpreted["lower"], compiled.lower, rtol=1e-10)


@pytest.mark.slow
def test_without_wide_registers_the_values_are_the_same(tmp_path):
    """As on a processor with AVX2 and no AVX-512: four lanes in place of sixteen."""
    cases = matrices(np.random.default_rng(6))
    np.savez(tmp_path / "cases.npz", z=POINTS, **cases)
    script = INTERPRETED.replace(
        "assert config.DISABLE_JIT", "from spectra.kernels import LANES; assert LANES == 4"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cases.npz"), f"{tmp_path}/", *cases],
        env={**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,-avx512f"},
        check=True,
    )
    for name, A in cases.items():
        here = smallest_singular_values(schur_form(A), POINTS, rtol=1e-8, delta=1e-3, threads=1)
        with np.load(tmp_path / f"{name}.npz") as there:
            np.testing.assert_allclose(there["sigma_min"], here.sigma_min, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 130])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_every_order_around_panels_and_tiles(n, kind):
    rng = np.random.default_rng(n)
    A = rng.standard_normal((n, n)) / np.sqrt(n)
    if kind == "complex":
        A = A + 1j * rng.standard_normal((n, n)) / np.sqrt(n)
    z = rng.standard_normal(40) + 1j * rng.standard_normal(40)
    found = smallest_singular_values(schur_form(A), z, rtol=1e-6, delta=1e-3, threads=1)
    truth = np.array([naive.sigma_min(A, point) for point in z])
    assert np.all(found.lower - found.floor <= truth)
    assert np.all(truth <= found.upper + found.floor)
    assert np.all(np.abs(found.sigma_min - truth) <= 1e-6 * truth + 2 * found.floor)


def test_the_company_of_a_point_changes_nothing():
    form = schur_form(np.random.default_rng(2).standard_normal((30, 30)))
    z = np.linspace(-6, 6, 500) + 0.3j
    together = smallest_singular_values(form, z, rtol=1e-6, delta=1e-3, threads=1)
    two_threads = smallest_singular_values(form, z, rtol=1e-6, delta=1e-3, threads=2)
    assert np.array_equal(together.sigma_min, two_threads.sigma_min)
    assert np.array_equal(together.lower, two_threads.lower)


def test_unsolved_points_go_to_a_dense_svd(monkeypatch):
    A = np.random.default_rng(3).standard_normal((12, 12))
    z = np.array([0.5 + 0.2j, 1.0])

    def gives_up(*arguments):
        arguments[-3][:], arguments[-2][:] = -1.0, -1.0

    monkeypatch.setattr(kernels, "solve_points", gives_up)
    found = smallest_singular_values(schur_form(A), z, rtol=1e-6, delta=1e-3, threads=1)
    np.testing.assert_allclose(found.sigma_min, [naive.sigma_min(A, point) for point in z], rtol=1e-12)


def test_a_missed_singular_vector_is_what_delta_says():
    """Starts without the wanted direction converge to the second value; random ones must not."""
    n, trials = 40, 300
    A = np.diag(np.concatenate([[1.0], np.linspace(1.5, 9.0, n - 1)]))
    z = np.zeros(trials, dtype=complex) + 1e-3
    found = smallest_singular_values(schur_form(A), z, rtol=1e-6, delta=1e-3, threads=1)
    assert np.all(found.lower <= 1.0 - 1e-3)
    assert np.all(found.upper >= 1.0 - 1e-3)


def test_far_below_the_floor_is_zero_without_overflow():
    form = schur_form(np.eye(200, k=1))
    found = smallest_singular_values(form, np.array([1e-3 + 0j, 1e-2j, 0j]), rtol=1e-6, delta=1e-3, threads=1)
    assert np.all(found.lower == 0.0)
    assert np.all(found.upper <= 2 * found.floor)


def test_interrupt_leaves_the_kernel():
    form = schur_form(np.random.default_rng(4).standard_normal((60, 60)))

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smallest_singular_values(
            form, np.linspace(-1, 1, 3000) + 0j, rtol=1e-6, delta=1e-3, progress=interrupt
        )


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("k", [1, 2, 3, 10, 40, 60])
def test_ritz_values_of_clusters_and_of_vectors_that_sit_anywhere(k, spread):
    """Clusters defeat a Newton step; where a trailing block has the same top, its polynomial is noise."""
    rng = np.random.default_rng(k)
    width = 8 * kernels.LANES
    near, off = rng.standard_normal((k, width)), np.abs(rng.standard_normal((k, width)))
    off[-1] = 0.0
    alpha, beta = np.abs(1 + spread * near), spread * off
    before = np.vstack([np.zeros((1, width)), beta[:-1]])
    high = (1 + 1e-14) * (alpha + beta + before).max(axis=0, keepdims=True)
    theta, first2, last2 = np.zeros((1, width)), np.zeros((1, width)), np.zeros((1, width))
    kernels.ritz_values(alpha, beta, high, theta, first2, last2)
    diagonal = np.arange(k)
    T = np.zeros((width, k, k))
    T[:, diagonal, diagonal] = (alpha.T - 1) / spread
    T[:, diagonal[1:], diagonal[:-1]] = T[:, diagonal[:-1], diagonal[1:]] = off[:-1].T
    truth = 1 + spread * np.linalg.eigvalsh(T)[:, -1]
    np.testing.assert_allclose(theta[0], truth, rtol=1e-14)
