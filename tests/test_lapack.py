"""The Schur factorisation equals SciPy's own, and leaves Python free while it runs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

import spectra.lapack
from spectra import ConvergenceError
from spectra.lapack import eigenvalues, pencil_eigenvalues, schur_factor
from spectra.threads import interruptible

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("n", [1, 2, 30, 301])
def test_complex_factor_equals_scipys(n):
    rng = np.random.default_rng(n)
    A = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
    T, eigenvalues, info = schur_factor(A)
    expected = scipy.linalg.schur(A)[0]
    assert info == 0
    assert T.flags.c_contiguous
    np.testing.assert_allclose(np.abs(T), np.abs(expected), atol=1e-12 * n)
    assert np.array_equal(np.diag(T), eigenvalues)


@pytest.mark.parametrize("n", [1, 2, 30, 301])
def test_real_factor_holds_the_matrix_with_real_eigenvalues_first(n):
    A = np.random.default_rng(n).standard_normal((n, n))
    before = A.copy()
    T, eigenvalues, info = schur_factor(A)
    assert info in {0, n + 2}
    assert np.array_equal(A, before)
    np.testing.assert_allclose(
        np.linalg.svd(T, compute_uv=False), np.linalg.svd(A, compute_uv=False), atol=1e-12 * n
    )
    exact = np.linalg.eigvals(A)
    distance = np.abs(exact[:, None] - eigenvalues[None, :])
    assert distance.min(axis=0).max() < 1e-9
    assert distance.min(axis=1).max() < 1e-9
    real = eigenvalues.imag == 0
    assert not np.any(real[1:] & ~real[:-1])


@pytest.mark.parametrize("is_complex", [False, True])
def test_pencil_eigenvalues_solve_the_pencil(is_complex):
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 8, 8)) + (1j * rng.standard_normal((2, 8, 8)) if is_complex else 0)
    right[:, 0] = 0.0  # an infinite eigenvalue
    alpha, beta = pencil_eigenvalues(left, right)
    sizes = np.abs(alpha) + np.abs(beta)
    for a, b in zip(alpha / sizes, beta / sizes, strict=True):
        assert np.linalg.svd(b * left - a * right, compute_uv=False)[-1] < 1e-13
    assert np.count_nonzero(np.abs(beta) < 1e-13 * sizes) == 1


def test_a_pencil_that_qz_does_not_solve_is_turned():
    """A circle around the pseudospectrum of a permutation, on which the shifts of dhgeqz make no progress."""
    a, b = 1.5 + 3 * 2.0**-50, 2 + 3 * 2.0**-50
    P, eye, zero = 0.5 * np.roll(np.eye(4), 1, axis=0), np.eye(4), np.zeros((4, 4))
    left, right = np.block([[P, a * eye], [zero, b * eye]]), np.block([[b * eye, zero], [a * eye, P.T]])
    alpha, beta = pencil_eigenvalues(left, right)
    found = alpha / beta
    for value in found:
        assert np.linalg.svd(left - value * right, compute_uv=False)[-1] < 1e-13
    np.testing.assert_allclose(np.sort(np.abs(found)), np.sort(1 / np.abs(found)), rtol=1e-6)


@pytest.mark.parametrize("solve", [eigenvalues, lambda A: pencil_eigenvalues(A, A)])
def test_a_failed_iteration_says_so(solve, monkeypatch):
    def fails(*matrices, **options):
        raise np.linalg.LinAlgError("eig algorithm (geev) did not converge")

    monkeypatch.setattr(spectra.lapack, "eigvals", fails)
    with pytest.raises(ConvergenceError, match=r"LAPACK failed on eigenvalues of order 2 \(eig algorithm"):
        solve(np.eye(2))


@pytest.mark.parametrize("n", [1, 1000])
def test_errors_come_back_from_the_other_thread(n):
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, n)


def test_ctrl_c_is_heard_during_the_factorisation():
    script = (
        "import numpy as np\n"
        "from spectra import pseudospectrum\n"
        "A = np.random.default_rng(0).standard_normal((1500, 1500))\n"
        "print('go', flush=True)\n"
        "try:\n    pseudospectrum(A)\nexcept KeyboardInterrupt:\n    print('heard', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(1.0)
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "heard\n"
    assert time.perf_counter() - start < 1
    process.communicate(timeout=60)  # the factorisation runs on to its end
    assert process.returncode == 0
