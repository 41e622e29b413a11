"""The Schur factorisation equals SciPy's own, and leaves Python free while it runs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from spectra.lapack import schur_factor
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


def test_errors_come_back_from_the_other_thread():
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_ctrl_c_is_heard_during_the_factorisation():
    script = (
        "import numpy as np\n"
        "from spectra import pseudospectrum\n"
        "A = np.random.default_rng(0).standard_normal((2000, 2000))\n"
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
    process.communicate(timeout=20)
    assert process.returncode == 0
