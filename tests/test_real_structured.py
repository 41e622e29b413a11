import warnings

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from strategies import SCALES, SEEDS, gaussian, squares, unitary

from spectra import AccuracyWarning, RealPseudospectrum, gallery, real_pseudospectrum, schur_form
from spectra.real_distance import perturbation, real_distances
from spectra.real_structured import _Search, real_distance_to_instability

POINTS = st.builds(complex, st.floats(-3, 3), st.floats(1e-3, 3))  # of the upper half-plane, off the axis
DYNAMICS = ("discrete", "continuous")
QUARTER_TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def at(A, *points):
    return real_distances(np.asarray(A, dtype=float), np.array(points, dtype=complex))


def stable(A, dynamics, margin=0.1):
    if dynamics == "discrete":
        return A * (1 - margin) / max(naive.spectral_radius(A), 0.1)
    return A - (naive.spectral_abscissa(A) + margin) * np.eye(len(A))


def boundary(A, dynamics, count):
    """Points of the upper half of the boundary, its real ones included."""
    if dynamics == "continuous":
        return 1j * np.linspace(0, 2 * naive.spectral_norm(A), count)
    return np.array([1, *np.exp(1j * np.linspace(0, np.pi, count)[1:-1]), -1])


# the distance at a point: `real_distances` behind every public function


@given(squares(least=2, is_complex=False), POINTS)
def test_the_distance_equals_the_definition(A, z):
    if naive.sigma_min(A, z) > 1e-3:
        found = at(A, z)
        assert found.distance[0] == pytest.approx(naive.real_distance(A, z), rel=1e-6)
        assert found.lower[0] <= found.distance[0] <= found.upper[0]


@pytest.mark.parametrize("seed", range(6))
def test_no_real_matrix_of_order_two_with_that_eigenvalue_is_nearer(seed):
    """All of them: trace 2x and determinant abs(z)^2 leave two parameters."""
    rng = np.random.default_rng(seed)
    A, x, y = rng.standard_normal((2, 2)), rng.standard_normal(), abs(rng.standard_normal())

    def norm(ab):
        a, b = ab
        with np.errstate(divide="ignore", over="ignore"):
            c = -(a * a + y * y) / np.float64(b)
        M = np.array([[x + a, b], [c, x - a]])
        return np.linalg.norm(M - A, 2) if np.isfinite(M).all() else 1e9

    best = min(
        minimize(norm, start, method="Nelder-Mead", options={"xatol": 1e-12, "fatol": 1e-13}).fun
        for start in rng.standard_normal((30, 2)) * 2
    )
    assert at(A, x + 1j * y).distance[0] == pytest.approx(best, rel=1e-7)


@pytest.mark.parametrize(
    "A", [gaussian(3, 3, is_complex=False, seed=5), np.diag([0, 0, 0.5]), np.diag([1, 2], 1)]
)
@pytest.mark.parametrize("z", [1.1 + 0.1j, 0.2 + 0.7j])
def test_no_pair_of_vectors_is_mapped_nearer(A, z):
    """E must send (p, q) to (Bp - yq, yp + Bq) for the eigenvector p + iq: search all such pairs."""
    B, rng = z.real * np.eye(3) - A, np.random.default_rng(0)

    def norm(pq):
        p, q = np.split(pq, 2)
        image = np.stack([B @ p - z.imag * q, z.imag * p + B @ q], axis=1)
        return np.linalg.norm(image @ np.linalg.pinv(np.stack([p, q], axis=1)), 2)

    options = {"maxiter": 4000, "maxfev": 4000, "fatol": 1e-12, "xatol": 1e-10, "adaptive": True}
    starts = rng.standard_normal((6, 6))
    best = min(minimize(norm, start, method="Nelder-Mead", options=options).fun for start in starts)
    assert at(A, z).upper[0] <= best * (1 + 1e-6)
    assert at(A, z).lower[0] == pytest.approx(best, rel=1e-3)  # the search stalls at kinks


@pytest.mark.parametrize(
    ("A", "z", "value"),
    [
        (np.zeros((2, 2)), 3 + 4j, 5.0),
        (np.zeros((20, 20)), 0.1j, 0.1),
        (0.5 * np.eye(5), 1 + 1j, 1.25**0.5),
        (QUARTER_TURN, 0.5 + 1j, 0.5),  # of the same kind as E
        (np.kron(np.eye(8), QUARTER_TURN), 3j, 2.0),
        ([[0, 1], [0, 0]], 1j, (5**0.5 - 1) / 2),
        ([[1, 0], [0, -1]], 1j, 2**0.5),
        ([[1, 0], [0, -1]], 1 + 1e-9j, 2**0.5),  # the nearest double real eigenvalue 1, by symmetry
    ],
)
def test_closed_forms(A, z, value):
    found = at(A, z)
    assert found.distance[0] == pytest.approx(value, rel=1e-7)
    assert found.lower[0] <= value * (1 + 1e-15)
    assert found.upper[0] == pytest.approx(value, rel=1e-6)


def test_the_distance_jumps_at_the_real_axis():
    A = np.diag([1.0, -1.0])
    assert at(A, 1.0).distance[0] == 0.0
    assert at(A, 1 + 1e-12j).lower[0] > 1.41
    assert at(A, 1 + 1e-200j).distance[0] == pytest.approx(2**0.5, rel=1e-6)


def test_a_scalar_has_no_real_perturbation_off_the_axis():
    found = at([[2.0]], 1.5, 2j)
    assert found.distance.tolist() == [0.5, np.inf]
    assert found.lower[1] == found.upper[1] == np.inf


@given(squares(least=2, is_complex=False), st.floats(-3, 3), st.sampled_from([0.0, 1e-9, 1e-3, 0.3, 2.0]))
def test_the_real_perturbation_attains_its_bound(A, x, y):
    z = complex(x, y)
    found = at(A, z)
    E = perturbation(A, z, found, 0)
    size = naive.spectral_norm(A) + abs(z)
    assert E.dtype == np.float64
    assert naive.spectral_norm(E) <= found.upper[0] * (1 + 1e-12) + 1e-14 * size
    rank = np.linalg.matrix_rank(E, tol=1e-9 * size)
    assert rank <= 2
    assert naive.sigma_min(A + E, z) <= 1e-13 * (size + found.upper[0])


@pytest.mark.parametrize("n", [2, 5, 12, 13, 30, 60])
@pytest.mark.parametrize(
    "kind", ["gaussian", "triangular", "symmetric", "orthogonal", "repeated", "companion"]
)
def test_intervals_are_narrow(n, kind):
    A = gaussian(n, n, is_complex=False, seed=n) / np.sqrt(n)
    A = {
        "gaussian": A,
        "triangular": np.triu(A, 1) / 2 + np.diag(np.linspace(-1, 1, n)),
        "symmetric": A + A.T,
        "orthogonal": unitary(n, is_complex=False, seed=n),
        "repeated": np.diag(np.repeat([0.0, 0.5, 1.0], n)[::3][:n]),
        "companion": np.diag(np.ones(n - 1), -1)
        + np.eye(n)[:, -1:] * np.linspace(0.1, 0.2, n)[:, None] @ np.eye(n)[-1:],
    }[kind]
    z = np.array([0.3, 0.3 + 0.01j, 0.5j, 1.2 + 0.2j, -1 + 1j, 0.9 + 1e-6j])
    found = real_distances(A, z)
    chosen = found.distance > 1e-4
    assert chosen.sum() >= 3
    assert ((found.upper - found.lower)[chosen] <= 2e-6 * found.distance[chosen]).all()


@settings(max_examples=50)
@given(squares(least=2, is_complex=False), POINTS)
def test_scalings_prove_the_lower_bound(A, z):
    found = at(A, z)
    K = np.block([[z.real * np.eye(len(A)) - A, -(z.imag**2) / found.t[0] * np.eye(len(A))],
                  [found.t[0] * np.eye(len(A)), z.real * np.eye(len(A)) - A]])  # fmt: skip
    assert found.lower[0] <= np.linalg.svd(K, compute_uv=False)[-2] <= found.upper[0] * (1 + 1e-12)


@settings(max_examples=50)
@given(squares(least=2, is_complex=False), POINTS, SEEDS)
def test_invariants(A, z, seed):
    """Orthogonal similarity, transposition, shift; and the complex distance is no larger."""
    found, Q = at(A, z), unitary(len(A), is_complex=False, seed=seed)
    slack = 1e-12 * (1 + naive.spectral_norm(A))
    assert found.distance[0] >= naive.sigma_min(A, z) - slack
    for B, w in ((Q @ A @ Q.T, z), (A.T, z), (A + 2 * np.eye(len(A)), z + 2)):
        other = at(B, w)
        assert other.lower[0] <= found.upper[0] + slack
        assert found.lower[0] <= other.upper[0] + slack
        assert other.distance[0] == pytest.approx(found.distance[0], rel=1e-6, abs=1e-6 * slack + slack)


@settings(max_examples=30)
@given(squares(least=2, is_complex=False), st.floats(-2, 2), st.floats(0.2, 2))
def test_the_distance_is_continuous_off_the_axis(A, x, y):
    """Along x it changes by no more than x does; along y by at most the change of y over gamma."""
    found = at(A, complex(x, y), complex(x + 0.01, y), complex(x, y + 0.01))
    assert abs(found.distance[1] - found.distance[0]) <= 0.01 + 1e-6 * found.distance[0]
    steepest = (found.t[[0, 2]] / [y, y + 0.01]).max()
    assert abs(found.distance[2] - found.distance[0]) <= 0.01 * steepest + 1e-6 * found.distance[0]


# the grid


def test_a_grid_equals_the_definition():
    A = gallery.grcar(6)
    result = real_pseudospectrum(A, region=(-1, 3, -2, 3), shape=(6, 5))
    assert result.distance.shape == (len(result.y), len(result.x)) == (6, 5)
    assert (result.x[0], result.x[-1], result.y[0], result.y[-1]) == (-1, 3, -2, 3)
    for iy, y in enumerate(result.y):
        for ix, x in enumerate(result.x):
            expected = naive.real_distance(A, complex(x, abs(y)))
            assert result.distance[iy, ix] == pytest.approx(expected, rel=1e-6)
    assert (result.lower <= result.distance).all()
    assert (result.distance <= result.upper).all()
    assert (result.distance >= naive.sigma_min_grid(A, result.x, result.y) - 1e-12).all()


@pytest.mark.parametrize("ny", [4, 5, 51])
def test_rows_mirror_each_other_and_the_middle_one_is_real(ny):
    A = gaussian(5, 5, is_complex=False, seed=3)
    result = real_pseudospectrum(A, region=(-0.3, 2, -1.7, 1.7), shape=(ny, 3))
    for name in ("distance", "lower", "upper", "gamma"):
        assert np.array_equal(getattr(result, name), getattr(result, name)[::-1])
    if ny % 2:
        assert result.y[ny // 2] == 0.0
        assert (result.gamma[ny // 2] == 1.0).all()
        expected = naive.sigma_min_grid(A, result.x, [0.0])[0]
        assert result.distance[ny // 2] == pytest.approx(expected, rel=1e-12)


def test_a_row_that_rounding_moves_off_the_axis_is_real():
    result = real_pseudospectrum(np.diag([1.0, -1.0]), region=(1, 2, -0.3, 0.6), shape=(4, 2))
    assert result.y[1] == 0.0
    assert result.distance[1, 0] == 0.0


def test_gamma_proves_the_lower_bound():
    A = gallery.grcar(5)
    result = real_pseudospectrum(A, region=(0, 2, 0.1, 2), shape=(3, 3))
    for iy, y in enumerate(result.y):
        for ix, x in enumerate(result.x):
            g, B = result.gamma[iy, ix], x * np.eye(5) - A
            K = np.block([[B, -g * y * np.eye(5)], [y / g * np.eye(5), B]])
            assert 0 < g <= 1
            assert result.lower[iy, ix] <= np.linalg.svd(K, compute_uv=False)[-2]


def test_a_scalar_on_a_grid():
    result = real_pseudospectrum([[2.0]], region=(1, 3, -1, 1), shape=(3, 3))
    assert result.distance.tolist() == [[np.inf] * 3, [1, 0, 1], [np.inf] * 3]
    assert result.gamma.tolist() == [[0.0] * 3, [1.0] * 3, [0.0] * 3]


@pytest.mark.parametrize(
    "A", [gallery.grcar(7), np.zeros((3, 3)), [[1e5]], 0.9 * QUARTER_TURN, [[1, 1e9], [0, 1]]]
)
def test_the_default_region_shows_the_spectrum(A):
    result = real_pseudospectrum(A, shape=(2, 3))
    e = result.eigenvalues
    assert result.x[0] < e.real.min()
    assert e.real.max() < result.x[-1]
    assert result.y[0] == -result.y[-1] < -np.abs(e.imag).max()
    if 0.25 <= np.abs(e).max() <= 4:
        assert max(result.x[0], result.y[0]) < -1
        assert min(result.x[-1], result.y[-1]) > 1


def test_schur_form_threads_and_progress_change_nothing():
    A = gaussian(14, 14, is_complex=False, seed=1)
    calls = []
    first = real_pseudospectrum(A, shape=(9, 8), threads=1)
    second = real_pseudospectrum(schur_form(A), shape=(9, 8), threads=3, progress=lambda *c: calls.append(c))
    for name in ("x", "y", "distance", "lower", "upper", "gamma", "eigenvalues"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert calls[-1] == (40, 40)


def test_an_error_in_progress_ends_the_work():
    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        real_pseudospectrum(gallery.grcar(30), shape=(60, 60), progress=fail)
    stopped = real_distances(gallery.grcar(3), np.array([1j]), np.ones(1, dtype=np.uint8))
    assert stopped.upper[0] == np.inf


@given(squares(is_complex=False), SCALES)
def test_a_grid_scales_with_its_matrix(A, c):
    one = real_pseudospectrum(A, region=(-2, 2, -1, 1), shape=(3, 3))
    other = real_pseudospectrum(c * A, region=(-2 * c, 2 * c, -c, c), shape=(3, 3))
    with np.errstate(invalid="ignore"):
        assert other.distance == pytest.approx(c * one.distance, rel=1e-6, abs=1e-12 * c * (1 + len(A)))


@pytest.mark.parametrize("power", [-1000, 1000])
def test_extreme_scales_need_no_warning_and_give_the_same_digits(power):
    A, c = gallery.grcar(4), 2.0**power
    one = real_pseudospectrum(A, region=(-1, 2, -1, 1), shape=(3, 3))
    other = real_pseudospectrum(c * A, region=(-c, 2 * c, -c, c), shape=(3, 3))
    assert np.array_equal(other.distance, c * one.distance)
    assert np.array_equal(other.gamma, one.gamma)


def test_the_record_says_what_it_is_and_saves(tmp_path):
    result = real_pseudospectrum([[2.0]], region=(1, 3, -1, 1), shape=(3, 4))
    assert str(result).startswith(
        "RealPseudospectrum of order 1: 3 x 4 grid, distance from 0.333 to inf, floor"
    )
    assert repr(result) == str(result)
    result.save(tmp_path / "r.npz")
    loaded = RealPseudospectrum.load(tmp_path / "r.npz")
    assert np.array_equal(loaded.distance, result.distance)
    assert loaded.floor == result.floor
    broken = RealPseudospectrum(
        result.x[:2], *(getattr(result, name) for name in RealPseudospectrum.__slots__[1:])
    )
    broken.save(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="damaged"):
        RealPseudospectrum.load(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("A", "options", "error", "words"),
    [
        ([[1j]], {}, TypeError, "A is complex; expected a real matrix"),
        (schur_form([[1j]]), {}, TypeError, "A is complex"),
        (np.ones((2, 3)), {}, ValueError, "A has shape"),
        ([[np.nan]], {}, ValueError, "A has a NaN"),
        ([["a"]], {}, TypeError, "A has dtype"),
        ([[1.0]], {"shape": (1, 2)}, ValueError, "shape is 1"),
        ([[1.0]], {"shape": 5}, TypeError, "shape is 5"),
        ([[1.0]], {"region": (1, 1, 0, 1)}, ValueError, "region is"),
        ([[1.0]], {"threads": 0}, ValueError, "threads is 0"),
        ([[1.0]], {"shape": (10**7, 10**7)}, ValueError, "GiB of memory"),
        ([[1e308, 1e308], [1e308, 1e308]], {}, ValueError, "the entries of A"),
        ([[1.0]], {"region": (-1e308, 0, 0, 1)}, ValueError, "A and region"),
    ],
)
def test_refusals(A, options, error, words):
    with pytest.raises(error, match=words):
        real_pseudospectrum(A, **options)


# the distance to instability


@pytest.mark.parametrize("dynamics", DYNAMICS)
@settings(max_examples=10)
@given(A=squares(is_complex=False))
def test_the_distance_to_instability_is_the_least_on_the_boundary(dynamics, A):
    A = stable(A, dynamics)
    found = real_distance_to_instability(schur_form(A), dynamics)
    z = boundary(A, dynamics, 40)
    scan = real_distances(A, z)
    i = scan.upper.argmin()
    assert found.lower <= found.value <= found.upper
    assert found.value - found.lower <= 0.0011 * found.value
    assert found.value <= scan.upper[i] * (1 + 0.0011)
    assert found.lower <= scan.upper[i]
    assert found.upper >= min(naive.sigma_min(A, w) for w in found.points) * (1 - 1e-9)


@pytest.mark.parametrize("discrete", [True, False])
@settings(max_examples=20)
@given(A=squares(least=2, is_complex=False), start=st.floats(0, 0.9), width=st.floats(1e-3, 0.1))
def test_one_scaling_bounds_the_distance_on_a_whole_piece_of_the_boundary(discrete, A, start, width):
    search = _Search(A, 1.0 if discrete else 3.0, discrete)
    a, b = np.array([start]), np.array([start + width])
    y = search.points((a + b) / 2).imag
    for t in (real_distances(A, search.points((a + b) / 2)).t, y, 2 * y, 30 * y):
        fall = search.change(a, b, t)
        middle = search.second_smallest(search.points((a + b) / 2), t)
        z = search.points(a + np.linspace(0, 1, 21)[1:] * (b - a))
        kept = search.second_smallest(z, np.full(20, t[0]))
        proportional = search.second_smallest(z, t * z.imag / y)
        assert np.maximum(kept, proportional).min() >= middle - fall - 1e-12
        assert fall > 0


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("seed", range(5))
def test_a_real_perturbation_of_that_size_and_no_smaller_one_reaches_the_boundary(dynamics, seed):
    """Against the least over all real E with an eigenvalue on the boundary of A + E, by descent on E."""
    A = stable(gaussian(3, 3, is_complex=False, seed=seed), dynamics)
    found = real_distance_to_instability(schur_form(A), dynamics)
    best = real_distances(A, found.points[:1].real + 1j * np.abs(found.points[:1].imag))
    E = perturbation(A, complex(found.points[0]), best, 0)
    level = naive.spectral_radius if dynamics == "discrete" else naive.spectral_abscissa
    edge = 1.0 if dynamics == "discrete" else 0.0
    assert naive.spectral_norm(E) == pytest.approx(found.value, rel=1e-6)
    assert level(A + E) == pytest.approx(edge, abs=1e-7)
    assert found.residual <= 1e-7
    rng = np.random.default_rng(seed)
    for _ in range(300):
        D = rng.standard_normal((3, 3))
        assert level(A + D * found.lower / naive.spectral_norm(D) * (1 - 1e-12)) < edge


@pytest.mark.parametrize(
    ("A", "dynamics", "value", "points"),
    [
        ([[0.25]], "discrete", 0.75, [1.0]),
        ([[-0.25]], "discrete", 0.75, [-1.0]),
        ([[-3.0]], "continuous", 3.0, [0.0]),
        (np.diag([0.5, -0.75]), "discrete", 0.25, [-1.0]),  # symmetric: as for complex perturbations
        (np.diag([-1.0, -2.0, -4.0]), "continuous", 1.0, [0.0]),
        (0.9 * QUARTER_TURN, "discrete", 0.1, [1j, -1j]),
        (2 * QUARTER_TURN - np.eye(2), "continuous", 1.0, [2j, -2j]),
        ([[0.0, 1.0], [0.0, 0.0]], "discrete", (5**0.5 - 1) / 2, None),
    ],
)
def test_known_distances(A, dynamics, value, points):
    found = real_distance_to_instability(schur_form(A), dynamics)
    assert found.value == pytest.approx(value, rel=1e-8)
    assert found.lower <= value <= found.upper + 1e-15
    assert float(found) == found.value
    assert found.steps > 0
    if points is not None:
        assert found.points == pytest.approx(np.array(points), abs=1e-6)


def test_real_perturbations_can_be_much_farther_than_complex_ones():
    """A real E has to change the trace, so that 0.1 I is the smallest."""
    A = np.array([[-0.1, -1.0], [100.0, -0.1]])
    found = real_distance_to_instability(schur_form(A), "continuous")
    assert found.value == pytest.approx(0.1, rel=1e-8)
    assert found.points == pytest.approx(np.array([10j, -10j]), rel=1e-2)
    assert min(naive.sigma_min(A, 1j * y) for y in np.linspace(9, 11, 40)) < 0.025


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_distances_scale_and_do_not_depend_on_the_real_basis(dynamics):
    A, Q = stable(gaussian(6, 6, is_complex=False, seed=2), dynamics), unitary(6, is_complex=False, seed=4)
    one = real_distance_to_instability(schur_form(A), dynamics)
    other = real_distance_to_instability(schur_form(Q @ A @ Q.T), dynamics)
    assert other.value == pytest.approx(one.value, rel=1e-7)
    assert real_distance_to_instability(schur_form(A.T), dynamics).value == pytest.approx(one.value, rel=1e-7)


@pytest.mark.parametrize("power", [-1000, 1000])
def test_continuous_distances_at_extreme_scales(power):
    A, c = np.array([[-1.0, 5.0], [0.0, -2.0]]), 2.0**power
    one = real_distance_to_instability(schur_form(A), "continuous")
    other = real_distance_to_instability(schur_form(c * A), "continuous")
    assert other.value == c * one.value
    assert other.lower == c * one.lower


@pytest.mark.parametrize("A", [1e-300 * np.ones((2, 2)), np.zeros((2, 2)), [[5e-324]]])
def test_tiny_matrices_are_a_unit_away_from_the_circle(A):
    assert real_distance_to_instability(schur_form(A), "discrete").value == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("A", "dynamics"),
    [(np.diag([2.0, 0.1]), "discrete"), (np.diag([0.5, -3.0]), "continuous"), ([[0]], "continuous")],
)
def test_unstable_matrices_have_distance_zero(A, dynamics):
    found = real_distance_to_instability(schur_form(A), dynamics)
    assert found.value == found.lower == 0.0
    assert 0 < found.upper < 1e-13 or not np.any(A)
    assert found.points.tolist() == [np.max(A)]


def test_a_distance_at_the_rounding_level_warns():
    with pytest.warns(AccuracyWarning, match="is proven to be at least 0 only"):
        found = real_distance_to_instability(schur_form((1 - 1e-15) * QUARTER_TURN), "discrete")
    assert found.lower == 0.0
    assert found.upper < 1e-13


def test_work_that_does_not_suffice_warns(monkeypatch):
    monkeypatch.setattr("spectra.real_structured._WORK", 0.0)
    A = 0.9 * unitary(4, is_complex=False, seed=0)
    with pytest.warns(AccuracyWarning, match="is proven to be at least"):
        found = real_distance_to_instability(schur_form(A), "discrete")
    assert found.lower < 0.099
    assert found.value == pytest.approx(0.1, rel=1e-6)


def test_distances_refuse_complex_matrices_and_other_dynamics():
    with pytest.raises(TypeError, match="A is complex; expected a real matrix"):
        real_distance_to_instability(schur_form([[0.5j]]), "discrete")
    with pytest.raises(ValueError, match="dynamics is 'hybrid'; expected one of 'discrete', 'continuous'"):
        real_distance_to_instability(schur_form([[0.5]]), "hybrid")


@pytest.mark.slow
@settings(max_examples=1000)
@given(seed=SEEDS, n=st.integers(2, 40), z=POINTS, lower=st.sampled_from([1.0, 0.3, 0.0]))
def test_intervals_hold_the_definition_on_many_matrices(seed, n, z, lower):
    A = gaussian(n, n, is_complex=False, seed=seed) / np.sqrt(n)
    A = np.triu(A) + lower * np.tril(A, -1)
    if naive.sigma_min(A, z) > 1e-6:
        found = at(A, z)
        expected = naive.real_distance(A, z)
        assert found.lower[0] <= expected * (1 + 1e-8)
        assert expected <= found.upper[0] * (1 + 1e-6)
        assert found.upper[0] - found.lower[0] <= 1e-5 * expected


@pytest.mark.slow
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_larger_distances_are_certified(dynamics):
    for n in (20, 50, 100):
        A = stable(gaussian(n, n, is_complex=False, seed=n) / np.sqrt(n), dynamics)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = real_distance_to_instability(schur_form(A), dynamics)
        assert found.value - found.lower <= 0.0011 * found.value
        assert found.value <= real_distances(A, boundary(A, dynamics, 40)).upper.min() * 1.0011
