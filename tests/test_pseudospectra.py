"""The grid: against textbook SVDs and reference values, certificates, skipping, extremes, refusals."""

import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import cases
import mpmath
import naive
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import strategies as st

from spectra import Pseudospectrum, gallery, pseudospectrum, schur_form
from spectra.resolvent import smallest_singular_values
from spectra.threads import available_threads


def check_against_svd(A, result, points=60):
    rng = np.random.default_rng(0)
    scale = schur_form(A).scale
    for iy, ix in zip(
        rng.integers(0, len(result.y), points), rng.integers(0, len(result.x), points), strict=True
    ):
        z = complex(result.x[ix], result.y[iy])
        truth = naive.sigma_min(np.asarray(A) / scale, z / scale) * scale
        noise = result.floor
        assert result.lower[iy, ix] - noise <= truth <= result.upper[iy, ix] + noise
        if result.computed[iy, ix]:
            assert abs(result.sigma_min[iy, ix] - truth) <= result.rtol * truth + 2 * noise


def random_matrix(seed, n, kind):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    return {
        "real": A,
        "complex": A + 1j * rng.standard_normal((n, n)),
        "triangular": np.triu(A),
        "symmetric": A + A.T,
        "nilpotent": np.triu(A, 1),
        "repeated": np.kron(np.eye(2), A),
        "integer": rng.integers(-3, 4, (n, n)),
        "rank one": np.outer(A[0], A[-1]),
        "graded": A * np.logspace(0, -8, n),
    }[kind]


KINDS = [
    "real",
    "complex",
    "triangular",
    "symmetric",
    "nilpotent",
    "repeated",
    "integer",
    "rank one",
    "graded",
]


@given(seed=st.integers(0, 10**6), n=st.integers(1, 24), kind=st.sampled_from(KINDS))
def test_equals_the_textbook_definition(seed, n, kind):
    A = random_matrix(seed, n, kind)
    check_against_svd(A, pseudospectrum(A, shape=(9, 12), threads=1), points=12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [33, 70, 120])
def test_equals_the_textbook_definition_at_larger_orders(kind, n):
    for seed in range(3):
        A = random_matrix(seed, n, kind)
        check_against_svd(A, pseudospectrum(A, shape=(40, 40)), points=40)


@pytest.mark.parametrize("case", cases.reference("sigmin", kind="320-bit"))
def test_reference_values(case):
    found = smallest_singular_values(
        schur_form(case.A), np.array([case.z]), rtol=1e-10, delta=1e-3, threads=1
    )
    assert found.lower[0] <= case.value <= found.upper[0]
    assert abs(found.sigma_min[0] - case.value) <= 1e-8 * case.value + found.floor


@pytest.mark.parametrize("A", [np.zeros((3, 3)), np.eye(3), np.array([[2.0]]), np.array([[1j]])])
def test_normal_matrices_have_the_distance_to_the_spectrum(A):
    result = pseudospectrum(A, region=(-2, 2, -2, 2), shape=(21, 21))
    z = result.x + 1j * result.y[:, None]
    distance = np.abs(z[..., None] - np.linalg.eigvals(A)).min(axis=-1)
    np.testing.assert_allclose(result.sigma_min, distance, rtol=1e-6, atol=2 * result.floor)


def test_the_grid_has_the_shape_and_the_ends_asked_for():
    result = pseudospectrum(gallery.grcar(12), region=(-1, 3, -2.5, 4), shape=(13, 17))
    assert result.sigma_min.shape == result.lower.shape == result.computed.shape == (13, 17)
    assert (result.x[0], result.x[-1], result.y[0], result.y[-1]) == (-1, 3, -2.5, 4)
    assert result.computed.all()


@pytest.mark.parametrize("ny", [10, 11])
def test_mirrored_grid_equals_the_unmirrored_one(ny):
    A = gallery.grcar(20)
    mirrored = pseudospectrum(A, region=(-1, 3, -3, 3), shape=(ny, 9))
    plain = pseudospectrum(A.astype(complex), region=(-1, 3, -3, 3), shape=(ny, 9))
    np.testing.assert_allclose(mirrored.sigma_min, plain.sigma_min, rtol=1e-9, atol=mirrored.floor)
    assert np.array_equal(mirrored.sigma_min, mirrored.sigma_min[::-1])


def test_points_on_eigenvalues_are_zero():
    result = pseudospectrum(np.diag([1.0, 2.0, 3.0]), region=(1, 3, -1, 1), shape=(3, 3))
    assert np.array_equal(result.sigma_min[1], [0.0, 0.0, 0.0])
    assert np.all(result.lower[1] == 0.0)


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_extreme_scales(factor):
    A = gallery.grcar(10)
    region = np.array([-1.0, 3.0, -3.0, 3.0])
    unit = pseudospectrum(A, shape=(8, 8), region=region)
    scaled = pseudospectrum(factor * A, shape=(8, 8), region=factor * region)
    np.testing.assert_allclose(scaled.sigma_min / factor, unit.sigma_min, rtol=2e-6, atol=2 * unit.floor)


def test_a_region_far_from_the_spectrum():
    result = pseudospectrum(np.eye(2, k=1), region=(1e200, 2e200, 0, 1e200), shape=(2, 2))
    np.testing.assert_allclose(result.sigma_min, np.abs(result.x + 1j * result.y[:, None]), rtol=1e-6)


@pytest.mark.parametrize("rtol", [1e-2, 1e-4, 1e-6])
def test_values_far_from_the_spectrum_keep_the_promise(rtol):
    # there all singular values of zI - A are nearly equal: small residuals come before the smallest of them
    for seed in range(8):
        A = random_matrix(seed, 60, "real") + 50
        for far in (1e4, 1e6, 1e8):
            result = pseudospectrum(A, region=(-far, far, 1, far), shape=(6, 6), rtol=rtol)
            check_against_svd(A, result, 36)


def test_subnormal_entries():
    tiny = 2.0**-1074
    result = pseudospectrum([[8 * tiny, 0.0], [0.0, -8 * tiny]], shape=(5, 5))
    assert np.all((result.lower <= result.sigma_min) & (result.sigma_min <= result.upper))
    near = pseudospectrum([[8 * tiny, 0.0], [0.0, -8 * tiny]], region=(-1, 1, -1, 1), shape=(3, 3))
    assert near.sigma_min[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize("epsilons", [None, [1e-312]])
@pytest.mark.parametrize("size", [1e-310, 1e-316, 2.0**-1073])
def test_intervals_of_subnormal_numbers_hold_what_rounding_leaves(size, epsilons):
    A, up = gallery.ginibre(4, rng=0) * size, 2.0**1000
    result = pseudospectrum(A, shape=(7, 6), epsilons=epsilons)
    truth = naive.sigma_min_grid(A * up, result.x * up, result.y * up)
    assert np.all(result.lower * up <= truth * (1 + 1e-13))
    assert np.all(truth * (1 - 1e-13) <= result.upper * up)


@pytest.mark.parametrize("region", [None, (-1, 1, -1, 1)])
def test_sums_beyond_the_floats_are_refused(region):
    with pytest.raises(ValueError, match=r"entries of A reach up to .* divide them by a power of two"):
        pseudospectrum(np.full((2, 2), 1.7e308), region=region)


def test_regions_beyond_the_floats_are_refused():
    with pytest.raises(ValueError, match="A and region reach up to"):
        pseudospectrum(np.eye(2), region=(1.5e308, 1.7e308, 0, 1))


@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (9, 2), (3, 3)])
@pytest.mark.parametrize("region", [None, (-1, 3, -3, 3), (-1, 3, 0.5, 3)])
def test_wanted_levels_on_the_smallest_grids(shape, region):
    A = gallery.grcar(10)
    plain = pseudospectrum(A, shape=shape, region=region)
    wanted = pseudospectrum(A, shape=shape, region=region, epsilons=[0.1])
    assert np.all((wanted.lower <= plain.upper) & (plain.lower <= wanted.upper))
    solved = wanted.computed
    np.testing.assert_allclose(wanted.sigma_min[solved], plain.sigma_min[solved], rtol=2e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.complex64])
def test_narrow_types_are_widened(dtype):
    A = np.array([[1, 2], [3, 4]], dtype=dtype)
    wide = pseudospectrum(A.astype(complex if dtype is np.complex64 else float), shape=(5, 5))
    assert np.array_equal(pseudospectrum(A, shape=(5, 5)).sigma_min, wide.sigma_min)


def test_stored_precision_is_told():
    A = gallery.kahan(10)
    assert pseudospectrum(A, shape=(3, 3)).storage_floor == 0.0
    narrow = pseudospectrum(A.astype(np.float32), shape=(3, 3))
    assert narrow.storage_floor == pytest.approx(2**-24 * 3, rel=0.5)
    assert pseudospectrum(np.eye(3, dtype=np.int32), shape=(3, 3)).storage_floor == 0.0
    assert schur_form(A.astype(np.complex64)).entry_roundoff == 2**-24
    assert schur_form(A.astype(np.float16)).entry_roundoff == 2**-11


def test_a_schur_form_serves_in_place_of_the_matrix():
    A = gallery.grcar(15)
    assert np.array_equal(pseudospectrum(schur_form(A)).sigma_min, pseudospectrum(A).sigma_min)


def test_same_call_same_numbers_whatever_the_threads():
    A = np.random.default_rng(1).standard_normal((40, 40))
    one, two = pseudospectrum(A, threads=1), pseudospectrum(A, threads=2)
    assert np.array_equal(one.sigma_min, two.sigma_min)
    assert np.array_equal(one.lower, two.lower)


@pytest.mark.parametrize("seed", range(4))
def test_skipping_keeps_the_contours_and_the_certificates(seed):
    A = np.random.default_rng(seed).standard_normal((48, 48)) / 7
    wanted = [1e-3, 1e-2, 1e-1]
    full, some = pseudospectrum(A), pseudospectrum(A, epsilons=wanted)
    assert some.iterations < 0.4 * full.iterations
    assert not some.computed.all()
    for epsilon in wanted:
        assert np.array_equal(full.sigma_min <= epsilon, some.sigma_min <= epsilon)
    assert np.all(some.lower <= some.sigma_min)
    assert np.all(some.sigma_min <= some.upper)
    assert np.all(some.lower <= full.upper)
    assert np.all(full.lower <= some.upper)
    # a cell that a contour crosses has four solved corners, so the drawn contours are the same
    for epsilon in wanted:
        inside = full.sigma_min <= epsilon
        corners = np.stack([inside[:-1, :-1], inside[1:, :-1], inside[:-1, 1:], inside[1:, 1:]])
        solved = np.stack(
            [some.computed[:-1, :-1], some.computed[1:, :-1], some.computed[:-1, 1:], some.computed[1:, 1:]]
        )
        crossed = corners.any(axis=0) & ~corners.all(axis=0)
        assert solved.all(axis=0)[crossed].all()


@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
def test_intervals_narrow_with_rtol(rtol):
    result = pseudospectrum(gallery.grcar(24), rtol=rtol)
    widening = np.sqrt(result.sigma_min.size / result.delta)
    width = result.upper - result.lower - 2 * result.floor
    assert np.all(width <= 5 * widening * rtol * result.sigma_min)


def test_contradictions_are_solved_again(monkeypatch):
    import spectra.standard as room

    A = np.random.default_rng(7).standard_normal((10, 10))
    honest = room.smallest_singular_values

    def one_wrong(*args, **kwargs):
        found = honest(*args, **kwargs)
        for values in (found.sigma_min, found.lower, found.upper):
            values[37] += 5.0  # as if the solve had converged to another singular value
        return found

    monkeypatch.setattr(room, "smallest_singular_values", one_wrong)
    result = pseudospectrum(A, region=(-1, 1, 0.1, 1), shape=(10, 10))
    check_against_svd(A, result, points=300)


@pytest.mark.parametrize("epsilons", [None, [1e-2]])
def test_progress_reaches_the_end(epsilons):
    seen = []
    note = lambda done, total: seen.append((done, total))  # noqa: E731
    pseudospectrum(gallery.grcar(20), shape=(30, 30), epsilons=epsilons, progress=note)
    assert seen[-1][0] == seen[-1][1]
    assert all(first[0] <= second[0] for first, second in itertools.pairwise(seen))


def test_saved_and_loaded(tmp_path):
    result = pseudospectrum(gallery.grcar(8), shape=(5, 6), epsilons=[0.1])
    result.save(tmp_path / "grid.npz")
    again = Pseudospectrum.load(tmp_path / "grid.npz")
    assert np.array_equal(again.sigma_min, result.sigma_min)
    assert np.array_equal(again.epsilons, [0.1])
    assert again.floor == result.floor


@pytest.mark.parametrize(
    "A", [gallery.grcar(12), np.eye(6, k=1), np.random.default_rng(0).standard_normal((30, 30))]
)
def test_automatic_region_holds_the_spectrum(A):
    result = pseudospectrum(A, shape=(4, 4))
    e = result.eigenvalues
    assert result.x[0] < e.real.min() <= e.real.max() < result.x[-1]
    assert result.y[0] == -result.y[-1]
    assert result.y[-1] > e.imag.max()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"region": (1, 0, 0, 1)}, ValueError, "region"),
        ({"region": (0, 1, 0)}, ValueError, "region"),
        ({"region": "everywhere"}, TypeError, "region"),
        ({"region": (0, 1, 0, np.nan)}, ValueError, "region"),
        ({"shape": (1, 5)}, ValueError, "shape"),
        ({"shape": 5}, TypeError, "shape"),
        ({"shape": (2.5, 3)}, TypeError, "shape"),
        ({"epsilons": [0.1, -1]}, ValueError, "epsilons"),
        ({"epsilons": []}, ValueError, "epsilons"),
        ({"epsilons": "small"}, TypeError, "epsilons"),
        ({"rtol": 0}, ValueError, "rtol"),
        ({"rtol": 1e-15}, ValueError, "rtol"),
        ({"rtol": "tight"}, TypeError, "rtol"),
        ({"threads": 0}, ValueError, "threads"),
        ({"threads": 1.5}, TypeError, "threads"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        pseudospectrum(np.eye(2), **options)


@pytest.mark.parametrize(
    ("A", "error"),
    [
        (np.zeros((2, 3)), ValueError),
        (np.zeros((0, 0)), ValueError),
        (np.array([[np.nan]]), ValueError),
        (np.array([["a"]]), TypeError),
        (np.array([[None]]), TypeError),
        (np.array([[True]]), TypeError),
        (np.zeros(3), ValueError),
    ],
)
def test_bad_matrices_are_refused(A, error):
    with pytest.raises(error, match="A "):
        pseudospectrum(A)


def test_threads_default_to_the_cores_at_hand():
    assert available_threads(None) >= 1
    assert available_threads(3) == 3


ILL_CONDITIONED = {
    "kahan": gallery.kahan(12),
    "frank": gallery.frank(10),
    "grcar": gallery.grcar(14),
    "gallery5": gallery.gallery5(),
    "godunov": gallery.godunov(),
    "demmel": gallery.demmel(6),
    "jordan": gallery.jordan_block(9, eigenvalue=0.5),
    "riffle": gallery.riffle_shuffle(10),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ILL_CONDITIONED)
def test_intervals_hold_the_truth_in_sixty_digits(name):
    A = np.asarray(ILL_CONDITIONED[name], dtype=float)
    result = pseudospectrum(A, shape=(12, 13))
    rng = np.random.default_rng(0)
    for iy, ix in zip(rng.integers(0, 12, 12), rng.integers(0, 13, 12), strict=True):
        with mpmath.workdps(60):
            shifted = mpmath.mpc(result.x[ix], result.y[iy]) * mpmath.eye(len(A)) - mpmath.matrix(A.tolist())
            truth = float(mpmath.svd_c(shifted, compute_uv=False)[len(A) - 1])
        assert result.lower[iy, ix] <= truth <= result.upper[iy, ix]
        assert abs(result.sigma_min[iy, ix] - truth) <= result.rtol * truth + result.floor


@pytest.mark.parametrize("name", sorted(ILL_CONDITIONED))
def test_gallery_against_the_textbook(name):
    A = np.asarray(ILL_CONDITIONED[name], dtype=float)
    check_against_svd(A, pseudospectrum(A, shape=(15, 15)), points=80)


def test_two_python_threads_may_call_at_once():
    matrices = [random_matrix(seed, 40, "real") for seed in range(6)]
    alone = [pseudospectrum(A, shape=(30, 30)).sigma_min for A in matrices]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda A: pseudospectrum(A, shape=(30, 30), threads=2).sigma_min, matrices))
    assert all(map(np.array_equal, alone, together))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_inside_process_pools(method):
    matrices = [gallery.grcar(n) for n in (10, 20)]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(pool.map(pseudospectrum, matrices))
    for A, result in zip(matrices, results, strict=True):
        assert np.array_equal(result.sigma_min, pseudospectrum(A).sigma_min)


def test_values_lie_in_their_intervals_where_a_neighbour_narrows_them():
    for seed in range(20):
        A = random_matrix(seed, 50, "symmetric")
        size = np.linalg.norm(A, 2)
        result = pseudospectrum(
            A, region=(-size, size, -size, size), shape=(6, 7), rtol=0.05, epsilons=[size / 10]
        )
        assert np.all(result.lower <= result.sigma_min)
        assert np.all(result.sigma_min <= result.upper)


@pytest.mark.parametrize("rtol", [1e-8, 1e-11, 1e-13])
def test_upper_bounds_hold_where_singular_values_nearly_coincide(rtol):
    A = np.random.default_rng(0).standard_normal((50, 50))
    A -= A.T
    eigenvalues = 1j * np.linalg.eigvalsh(-1j * A)
    result = pseudospectrum(A, region=(1e5, 1e7, -30, 30), shape=(5, 5), rtol=rtol)
    z = result.x + 1j * result.y[:, None]
    truth = np.abs(z[..., None] - eigenvalues).min(axis=-1)  # A is normal
    assert np.all(truth <= result.upper + result.floor)
    assert np.all(np.abs(result.sigma_min - truth) <= rtol * truth + 2 * result.floor)


def check_intervals(result, exact, lower=True):
    z = result.x[None, :] + 1j * result.y[:, None]
    truth = np.vectorize(exact)(z)
    assert np.all(truth <= result.upper + result.floor)
    if lower:
        assert np.all(result.lower - result.floor <= truth)
        assert np.all(np.abs(result.sigma_min - truth) <= result.rtol * truth + 2 * result.floor)


@pytest.mark.parametrize("epsilons", [None, [0.1, 0.5]])
@pytest.mark.parametrize("kind", ["pencil", "singular", "rectangular", "rectangular pencil", "sparse"])
def test_other_kinds_of_pencils(kind, epsilons):
    rng = np.random.default_rng(4)
    rows = 13 if "rectangular" in kind else 9
    A, B = rng.standard_normal((rows, 9)), np.eye(rows, 9)
    given = {}
    if "pencil" in kind or kind == "singular":
        B = 0.3 * rng.standard_normal((rows, 9)) + B
        given = {"B": B}
    if kind == "singular":
        B[:, 0] = 0.0
    matrix = scipy.sparse.csr_array(A) if kind == "sparse" else A
    result = pseudospectrum(matrix, **given, shape=(12, 14), epsilons=epsilons)
    exact = lambda z: np.linalg.svd(z * B - A, compute_uv=False)[-1]  # noqa: E731
    if epsilons is None:
        check_intervals(result, exact)
        return
    z = result.x[None, :] + 1j * result.y[:, None]
    truth = np.vectorize(exact)(z)
    assert np.all((result.lower - result.floor <= truth) & (truth <= result.upper + result.floor))


def test_linear_operators_give_upper_bounds():
    A = gallery.grcar(80)
    result = pseudospectrum(scipy.sparse.linalg.aslinearoperator(A), shape=(8, 8), subspace=30)
    assert np.all(result.lower == 0)
    check_intervals(result, lambda z: np.linalg.svd(z * np.eye(80) - A, compute_uv=False)[-1], lower=False)
    whole = pseudospectrum(scipy.sparse.linalg.aslinearoperator(A[:20, :20]), shape=(8, 8), subspace=20)
    plain = pseudospectrum(
        A[:20, :20], shape=(8, 8), region=tuple(whole.x[[0, -1]]) + tuple(whole.y[[0, -1]])
    )
    np.testing.assert_allclose(whole.sigma_min, plain.sigma_min, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("A", "options", "words"),
    [
        (np.ones((2, 3)), {}, r"shape \(2, 3\)"),
        (np.eye(3), {"B": np.eye(2)}, "shape"),
        (np.eye(3), {"subspace": 2}, "subspace is for sparse matrices and linear operators"),
        (np.ones((3, 2)), {"device": "cpu"}, "only a dense square A without B can be solved on a device"),
        (scipy.sparse.eye_array(3), {"device": "cpu"}, "only a dense square A"),
        (scipy.sparse.linalg.aslinearoperator(np.eye(3)), {"B": np.eye(3)}, "B is not possible"),
    ],
)
def test_what_does_not_go_together_is_refused(A, options, words):
    with pytest.raises(ValueError, match=words):
        pseudospectrum(A, **options)
