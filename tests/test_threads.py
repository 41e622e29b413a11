"""BLAS is held to one thread inside a block, and has its own limits after the last."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from spectra import numerical_radius
from spectra.threads import one_blas_thread


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, "blas"):
        if 2 not in blas_threads():
            pytest.skip("a BLAS without threads")
        yield


def test_one_thread_inside_and_the_own_limit_after():
    before = blas_threads()
    with one_blas_thread():
        assert set(blas_threads()) == {1}
        with one_blas_thread():
            pass
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_the_limit_ends_with_an_error():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert blas_threads() == before


def test_blocks_of_two_threads_overlap():
    before, inside, leave = blas_threads(), threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        assert inside.wait(10)
    assert blas_threads() == before  # the other, still inside, found BLAS held and leaves it alone
    leave.set()
    thread.join()
    assert blas_threads() == before


def test_measures_in_two_threads_leave_the_limits_alone():
    before, A = blas_threads(), np.random.default_rng(0).standard_normal((12, 12))
    threads = [threading.Thread(target=lambda: [numerical_radius(A) for _ in range(5)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blas_threads() == before
