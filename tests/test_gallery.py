import inspect

import cases
import naive
import numpy as np
import pytest

from spectra import gallery

REFERENCE = {  # every reference matrix whose generator is known, and that generator
    "grcar100": lambda: gallery.grcar(100),
    "kahan20": lambda: gallery.kahan(20),
    "demmel10": lambda: gallery.demmel(10),
    "convdiff20": lambda: gallery.convection_diffusion(19),
    "basor20": lambda: gallery.basor_morrison(20),
    "frank10": lambda: gallery.frank(10),
    "godunov": gallery.godunov,
    "gallery5": gallery.gallery5,
    "transient20": lambda: gallery.transient(20),
    "twisted32": lambda: gallery.twisted_toeplitz(32),
    "riffle20": lambda: gallery.riffle_shuffle(20),
    "jordan8": lambda: gallery.jordan_block(8),
    "toep32": lambda: gallery.tridiagonal_toeplitz(32),
}
NO_GENERATOR = {"chebfun4", "quizA2"}
PUBLIC = [
    f for name, f in inspect.getmembers(gallery, inspect.isfunction) if f.__module__ == gallery.__name__
]
SIZED = [f for f in PUBLIC if f.__name__[0] != "_" and "n" in inspect.signature(f).parameters]
LEAST = {"kahan": 2, "demmel": 2, "transient": 2, "twisted_toeplitz": 3}
RANDOM = [f for f in SIZED if "rng" in inspect.signature(f).parameters]


@pytest.mark.skipif(not cases.reference_matrices(), reason="no folder of reference matrices")
@pytest.mark.parametrize("name", REFERENCE)
def test_reproduces_the_reference_matrix(name):
    expected, found = cases.reference_matrices()[name], REFERENCE[name]()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


@pytest.mark.skipif(not cases.reference_matrices(), reason="no folder of reference matrices")
def test_every_reference_matrix_is_accounted_for():
    assert set(cases.reference_matrices()) == set(REFERENCE) | NO_GENERATOR


@pytest.mark.parametrize("f", SIZED, ids=lambda f: f.__name__)
def test_the_order_is_what_was_asked_for(f):
    for n in range(LEAST.get(f.__name__, 1), 8):
        assert f(n).shape == (n, n)
        assert np.isfinite(f(n)).all()


@pytest.mark.parametrize("f", SIZED, ids=lambda f: f.__name__)
def test_sizes_are_whole_numbers_and_large_enough(f):
    with pytest.raises(TypeError, match=r"^n is 2\.5; expected a whole number"):
        f(2.5)
    with pytest.raises(ValueError, match=rf"^n is .*; expected at least {LEAST.get(f.__name__, 1)}"):
        f(LEAST.get(f.__name__, 1) - 1)


@pytest.mark.parametrize("f", RANDOM, ids=lambda f: f.__name__)
def test_the_same_seed_gives_the_same_matrix_and_another_another(f):
    assert np.array_equal(f(5, rng=3), f(5, rng=np.random.default_rng(3)))
    assert not np.array_equal(f(5, rng=3), f(5, rng=4))
    with pytest.raises(TypeError, match=r"^rng is"):
        f(5, rng="3")


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: gallery.grcar(5, -1), ValueError, "k"),
        (lambda: gallery.jordan_block(2, np.nan), ValueError, "eigenvalue"),
        (lambda: gallery.tridiagonal_toeplitz(2, upper="1"), TypeError, "upper"),
        (lambda: gallery.convection_diffusion(2, 0.0), ValueError, "viscosity"),
        (lambda: gallery.hatano_nelson(2, np.inf), ValueError, "asymmetry"),
        (lambda: gallery.hatano_nelson(2, -701.0), ValueError, "asymmetry"),
        (lambda: gallery.convection_diffusion(9, 1e201), ValueError, "viscosity"),
    ],
)
def test_options_are_checked_by_name(call, error, word):
    with pytest.raises(error, match=f"^{word} is"):
        call()


def test_grcar_bands():
    A = gallery.grcar(7, 2)
    assert [set(np.diag(A, k)) for k in range(-2, 4)] == [{0.0}, {-1.0}, {1.0}, {1.0}, {1.0}, {0.0}]
    assert np.array_equal(gallery.grcar(3, 9), np.triu(np.ones((3, 3))) - np.eye(3, k=-1))


def test_tridiagonal_toeplitz_has_the_classical_eigenvalues():
    A = gallery.tridiagonal_toeplitz(6, lower=0.5, diagonal=1.0, upper=2.0)
    found = np.sort(naive.eigenvalues(A).real)
    np.testing.assert_allclose(found, np.sort(1 + 2 * np.cos(np.arange(1, 7) * np.pi / 7)), atol=1e-13)


def test_kahan_is_a_diagonal_times_a_unit_triangle():
    A = gallery.kahan(12)
    s = A[1, 1]
    assert s**11 == pytest.approx(0.1, rel=1e-14)
    np.testing.assert_allclose(np.diag(A), s ** np.arange(12), rtol=1e-14)
    np.testing.assert_allclose(A[3, 4:] / A[3, 3], -np.sqrt(1 - s * s), rtol=1e-14)
    assert np.array_equal(A, np.triu(A))


def test_demmel_has_a_toeplitz_inverse_with_two_diagonals():
    """-A = (I - bN)^-1 for the shift N."""
    A = gallery.demmel(5)
    np.testing.assert_allclose(np.linalg.inv(-A), np.eye(5) - 10 * np.eye(5, k=1), atol=1e-12)


def test_frank_has_determinant_one_and_reciprocal_eigenvalues():
    A = gallery.frank(7)
    assert np.linalg.det(A) == pytest.approx(1.0, rel=1e-9)
    values = np.sort(naive.eigenvalues(A).real)
    np.testing.assert_allclose(values * values[::-1], 1.0, rtol=1e-8)


def test_godunov_has_its_integer_eigenvalues():
    """The traces of its powers, in exact arithmetic, determine them (Newton's identities)."""
    A = gallery.godunov().astype(int).astype(object)  # Python integers
    traces, power = [], A
    for _ in range(7):
        traces.append(int(np.trace(power)))
        power = power.dot(A)
    assert traces == [sum(value**k for value in (-4, -2, -1, 0, 1, 2, 4)) for k in range(1, 8)]


def test_gallery5_is_nilpotent_of_full_index():
    A = gallery.gallery5()
    assert not np.linalg.matrix_power(A, 5).any()
    assert np.linalg.matrix_power(A, 4).any()


def test_riffle_shuffle_has_the_eigenvalues_of_bayer_and_diaconis():
    found = np.sort(np.abs(naive.eigenvalues(gallery.riffle_shuffle(6))))[::-1]
    np.testing.assert_allclose(found, [*(2.0 ** -np.arange(1, 6)), 0.0], atol=1e-9)


def test_riffle_shuffle_of_many_cards_is_still_finite():
    A = gallery.riffle_shuffle(52)
    assert np.isfinite(A).all()
    np.testing.assert_allclose(A.sum(axis=1), 0.0, atol=1e-14)


def test_chebyshev_differentiation_is_exact_for_polynomials():
    n = 9
    x = np.cos(np.arange(1, n + 1) * np.pi / n)
    D = gallery.chebyshev_differentiation(n)
    for k in range(1, n + 1):
        np.testing.assert_allclose(D @ (1 - x) ** k, -k * (1 - x) ** (k - 1), atol=1e-11 * 2**k)
    assert naive.spectral_abscissa(D) < 0


def test_convection_diffusion_has_the_eigenvalues_of_the_operator():
    """-1/(4 v) - v (k pi / 2)^2 on an interval of length 2."""
    v = 0.25
    found = np.sort(naive.eigenvalues(gallery.convection_diffusion(30, v)).real)[::-1][:4]
    np.testing.assert_allclose(found, -1 / (4 * v) - v * (np.arange(1, 5) * np.pi / 2) ** 2, rtol=1e-9)


def test_hatano_nelson_is_similar_to_a_symmetric_matrix():
    g, n = 0.7, 8
    A = gallery.hatano_nelson(n, g, rng=2)
    d = np.exp(g * np.arange(n))
    S = d[:, None] * A / d
    np.testing.assert_allclose(S, S.T, atol=1e-13)
    assert np.abs(np.diag(A)).max() <= 1.5


def test_random_matrices_are_what_they_are_called():
    Q = gallery.random_orthogonal(20, rng=1)
    np.testing.assert_allclose(Q.T @ Q, np.eye(20), atol=1e-14)
    G = gallery.ginibre(300, rng=1)
    assert naive.spectral_norm(G) == pytest.approx(2.0, abs=0.1)
    assert naive.spectral_radius(G) == pytest.approx(1.0, abs=0.1)
    assert np.array_equal(gallery.random_triangular(20, rng=1), np.triu(gallery.ginibre(20, rng=1)))


def test_limacon_and_twisted_toeplitz_bands():
    A = gallery.limacon(6)
    assert [set(np.diag(A, k)) for k in range(-1, 4)] == [{0.0}, {0.0}, {1.0}, {1.0}, {0.0}]
    B = gallery.twisted_toeplitz(6)
    assert B[0, -1] == -1.0
    assert B[-1, 0] == 1.0
    np.testing.assert_allclose(B + B.T, np.diag(4 * np.sin(np.arange(6) * np.pi / 3)), atol=1e-15)


def test_basor_morrison_is_toeplitz_with_the_fourier_coefficients_of_its_definition():
    A = gallery.basor_morrison(5)
    assert all(len(set(np.diag(A, k))) == 1 for k in range(-4, 5))
    assert np.diag(A, -1)[0] == np.pi
    assert np.diag(A, -3)[0] == 0.5j
    assert np.diag(A, 2)[0] == -1j / 3


def test_transient_has_a_known_characteristic_polynomial():
    """With z = 0.4 w - 0.5 it is w^n - 2."""
    w = (naive.eigenvalues(gallery.transient(12)) + 0.5) / 0.4
    np.testing.assert_allclose(w**12, 2.0, atol=1e-10)


def test_the_largest_options_leave_floats():
    assert gallery.grcar(3, 10**50).tolist() == [[1, 1, 1], [-1, 1, 1], [0, -1, 1]]
    assert np.isfinite(gallery.hatano_nelson(3, 700.0)).all()
    assert np.isfinite(gallery.convection_diffusion(50, 1e200)).all()
