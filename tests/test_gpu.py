"""The grid on a torch device, here the CPU, against the compiled kernel."""

import cases
import numpy as np
import pytest
import torch

from spectra import gallery, gpu, pseudospectrum, schur_form
from spectra.resolvent import smallest_singular_values

torch.set_num_threads(1)


def gaussian(n, kind):
    rng = np.random.default_rng(n)
    A = rng.standard_normal((n, n)) / np.sqrt(n)
    return A + 1j * rng.standard_normal((n, n)) / np.sqrt(n) if kind == "complex" else A


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("n", [1, 2, 31, 33, 70])
def test_agrees_with_the_kernel(n, kind):
    A = gaussian(n, kind)
    here, there = pseudospectrum(A, shape=(16, 16)), pseudospectrum(A, shape=(16, 16), device="cpu")
    np.testing.assert_allclose(there.sigma_min, here.sigma_min, rtol=1e-8, atol=here.floor)
    np.testing.assert_allclose(there.lower, here.lower, rtol=1e-2, atol=here.floor)
    assert abs(there.iterations - here.iterations) <= 0.02 * here.iterations + 16


@pytest.mark.parametrize("A", [np.zeros((3, 3)), np.eye(40, k=1), np.diag([1.0, 2.0]), gallery.grcar(60)])
def test_special_matrices(A):
    here, there = pseudospectrum(A, shape=(9, 9)), pseudospectrum(A, shape=(9, 9), device="cpu")
    np.testing.assert_allclose(there.sigma_min, here.sigma_min, rtol=1e-6, atol=2 * here.floor)
    assert np.isfinite(there.sigma_min).all()


@pytest.mark.parametrize("case", cases.reference("sigmin", kind="320-bit"))
def test_reference_values(case):
    z = np.array([case.z])
    found = smallest_singular_values(schur_form(case.A), z, rtol=1e-10, delta=1e-3, device="cpu")
    assert found.lower[0] <= case.value <= found.upper[0]


def test_batches_and_progress(monkeypatch):
    monkeypatch.setattr(gpu, "_SHARE", 1e-9)  # the least size, 16 points
    seen = []
    A = gaussian(20, "real")
    there = pseudospectrum(
        A, shape=(10, 10), device="cpu", progress=lambda done, total: seen.append((done, total))
    )
    np.testing.assert_allclose(there.sigma_min, pseudospectrum(A, shape=(10, 10)).sigma_min, rtol=1e-8)
    assert len(seen) == 4
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ValueError, match="leave device out"):
        pseudospectrum(np.eye(2), device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    A = gaussian(300, "real")
    here, there = pseudospectrum(A, shape=(32, 32)), pseudospectrum(A, shape=(32, 32), device="cuda")
    np.testing.assert_allclose(there.sigma_min, here.sigma_min, rtol=1e-8, atol=here.floor)


def test_a_device_without_values_is_refused():
    with pytest.raises(ValueError, match="device 'meta' cannot be used"):
        pseudospectrum(np.eye(2), shape=(3, 3), device="meta")
