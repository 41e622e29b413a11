"""Predicted cost of a grid: grows as it should, is near the truth, and refuses what does not fit."""

import time
import tracemalloc

import numpy as np
import pytest

import spectra.cost
from spectra import grid_cost, pseudospectrum


def test_grows_with_the_work():
    small, large = grid_cost(50, threads=1), grid_cost(400, threads=1)
    assert large.seconds > 10 * small.seconds
    assert large.bytes > 10 * small.bytes
    assert grid_cost(100, is_real=False, threads=1).seconds > 2 * grid_cost(100, threads=1).seconds
    assert "available" in str(small)


def test_bytes_bound_the_peak_within_a_factor():
    A = np.random.default_rng(0).standard_normal((300, 300))
    pseudospectrum(A, shape=(4, 4), threads=1)
    tracemalloc.start()
    pseudospectrum(A, shape=(20, 20), threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    predicted = grid_cost(300, shape=(20, 20), threads=1).bytes
    assert peak <= predicted <= 3 * peak


@pytest.mark.slow
def test_seconds_are_near_the_truth():
    A = np.random.default_rng(0).standard_normal((400, 400)) / 20
    start = time.perf_counter()
    pseudospectrum(A, threads=1)
    taken = time.perf_counter() - start
    assert taken / 4 <= grid_cost(400, threads=1).seconds <= 4 * taken


def test_what_does_not_fit_is_refused_with_the_number(monkeypatch):
    monkeypatch.setattr(spectra.cost, "_available_bytes", lambda: 2**20)
    assert not grid_cost(300).fits
    with pytest.raises(ValueError, match=r"GiB of memory.*coarser"):
        pseudospectrum(np.eye(300))


@pytest.mark.parametrize("n", [0, -3, 2.5, "many", 10**50])
def test_bad_orders_are_refused(n):
    with pytest.raises((TypeError, ValueError), match="n is"):
        grid_cost(n)


def test_without_proc_the_whole_memory_counts(monkeypatch):
    def missing(*_, **__):
        raise OSError

    monkeypatch.setattr(spectra.cost.Path, "read_text", missing)
    assert grid_cost(10).available_bytes > 0
