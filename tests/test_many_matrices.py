"""Scalar measures of many random matrices of order up to 40 (slow), and of ill-conditioned classics."""

import mpmath
import naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, gaussian, unitary

import spectra
from spectra import gallery

DIRECT = {
    "spectral_radius": naive.spectral_radius,
    "spectral_abscissa": naive.spectral_abscissa,
    "spectral_norm": naive.spectral_norm,
    "stable_rank": naive.stable_rank,
    "henrici_departure": naive.henrici_departure,
    "commutator_norm": naive.commutator_norm,
    "numerical_abscissa": naive.numerical_abscissa,
    "condition_number": lambda A: np.linalg.cond(A),
}
FROM_EIGENVALUES = {"spectral_radius", "spectral_abscissa", "henrici_departure"}


@st.composite
def larger(draw):
    """Matrices of order up to 40, dense to triangular, over twelve decades of scale."""
    n, seed, kind = draw(st.integers(1, 40)), draw(SEEDS), draw(st.booleans())
    matrix = gaussian(n, n, is_complex=kind, seed=seed) / n**0.5
    below = draw(st.sampled_from([1.0, 0.3, 0.0]))
    return (np.triu(matrix) + below * np.tril(matrix, -1)) * draw(st.sampled_from([1e-6, 1.0, 1e6]))


@pytest.mark.slow
@pytest.mark.parametrize("name", DIRECT)
@settings(max_examples=1000)
@given(larger(), SEEDS)
def test_direct_formulas(name, A, seed):
    measure = getattr(spectra, name)
    value, expected = measure(A), DIRECT[name](A)
    size = 1.0 if name in {"stable_rank", "condition_number"} else np.linalg.norm(A)
    if name == "commutator_norm":
        size = size**2
    # ill-conditioned eigenvalues move with rounding; a condition number in proportion to itself
    eigen = naive.eigenvector_condition_number(A) if name in FROM_EIGENVALUES else 1.0
    assume(eigen < 1e8)
    slack = 1e-12 * eigen * size + 1e-10 * abs(expected)
    if name == "condition_number":
        assume(expected < 1e12)
        slack = 1e-14 * expected**2 + 1e-12 * expected
    assert value == pytest.approx(expected, abs=slack)
    U = unitary(len(A), is_complex=True, seed=seed)
    assert measure(U.conj().T @ A @ U) == pytest.approx(value, abs=100 * slack)
    power = {"stable_rank": 0, "condition_number": 0, "commutator_norm": 2}.get(name, 1)
    assert measure(2.0**40 * A) == pytest.approx(value * 2.0 ** (40 * power), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pseudospectral_radius", "pseudospectral_abscissa"])
@settings(max_examples=200)
@given(larger(), st.sampled_from([1e-4, 1e-2, 0.3]), SEEDS)
def test_pseudospectral_extremes(name, A, level, seed):
    measure = getattr(spectra, name)
    epsilon = level * float(np.linalg.norm(A, 2))
    assume(epsilon > 0)
    found = measure(A, epsilon)
    floor = 10 * len(A) * 2.0**-53 * float(np.linalg.norm(A))
    assert found.lower <= found.value <= found.upper
    for z in found.points:  # attained
        assert naive.sigma_min(A, z) == pytest.approx(epsilon, abs=1e-7 * epsilon + floor)
    # beyond the interval nothing is within epsilon
    beyond = found.upper + 1e-9 * abs(found.upper) + floor
    reach = 4.0 * np.linalg.norm(A, 2) + epsilon
    for t in np.linspace(-1.0, 1.0, 41):
        z = beyond * np.exp(1j * np.pi * t) if name == "pseudospectral_radius" else beyond + 1j * reach * t
        assert naive.sigma_min(A, z) >= epsilon - floor
    U = unitary(len(A), is_complex=True, seed=seed)
    turned = measure(U.conj().T @ A @ U, epsilon)
    assert max(turned.lower, found.lower) <= min(turned.upper, found.upper) + floor / level
    # what perturbations of norm epsilon do is never more
    E = gaussian(len(A), len(A), is_complex=True, seed=seed)
    moved = np.linalg.eigvals(A + E * (epsilon / np.linalg.norm(E, 2)))
    reached = np.abs(moved).max() if name == "pseudospectral_radius" else moved.real.max()
    assert reached <= found.upper + 1e3 * floor


GRADES = 10.0 ** np.arange(4, -5, -1)
CLASSICS = {
    "frank12": gallery.frank(12),
    "godunov": gallery.godunov(),
    "gallery5": gallery.gallery5(),
    "graded": GRADES[:, None] * gaussian(9, 9, is_complex=False, seed=1) / GRADES,
    "jordan": 0.5 * np.eye(12) + np.eye(12, k=1),
}


def exact_sigma_min(A, z):
    with mpmath.workdps(60):
        M = mpmath.matrix(A.tolist()) * -1
        for i in range(len(A)):
            M[i, i] += mpmath.mpc(z)
        return min(mpmath.svd_c(M, compute_uv=False))


@pytest.mark.parametrize("matrix", CLASSICS)
@pytest.mark.parametrize("level", [1e-3, 1e-9])
def test_extremes_of_ill_conditioned_classics(matrix, level):
    A = CLASSICS[matrix]
    epsilon = level * float(np.linalg.norm(A, 2))
    for name, outward in (("pseudospectral_radius", None), ("pseudospectral_abscissa", 1.0)):
        found = getattr(spectra, name)(A, epsilon)
        assert found.lower <= found.value <= found.upper
        z = complex(found.points[0])
        direction = (z / abs(z)) if outward is None else outward
        # in 60 digits: inside at `lower`, and outside in this direction at `upper`
        noise = 1e-7 * epsilon
        assert exact_sigma_min(A, z - (found.value - found.lower) * direction) <= epsilon + noise
        assert exact_sigma_min(A, z + (found.upper - found.value) * direction) >= epsilon - noise
