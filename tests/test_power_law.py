import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SCALES, SEEDS

from spectra import PowerLawFit, power_law_fit, power_law_p_value, singular_value_distribution

EXPONENTS = st.floats(1.2, 8)


def pareto(n, alpha, seed, start=1.0):
    return start * np.random.default_rng(seed).random(n) ** (-1 / (alpha - 1))


@st.composite
def samples(draw):
    """Positive numbers, some of them repeated, heavy-tailed or not."""
    rng, n = np.random.default_rng(draw(SEEDS)), draw(st.integers(2, 60))
    x = draw(st.sampled_from([rng.random(n) + 0.1, rng.pareto(2, n) + 1, rng.lognormal(0, 2, n)]))
    return np.round(x, 1) + 0.1 if draw(st.booleans()) else x


def check(x):
    if np.ptp(x) == 0:
        return
    found, (alpha, xmin, distance) = power_law_fit(x), naive.power_law(x)
    assert found.ks_distance == pytest.approx(distance, abs=1e-11)
    if found.xmin == pytest.approx(xmin, rel=1e-12):  # two tails can fit equally well, to rounding
        assert found.alpha == pytest.approx(alpha, rel=1e-9)
        assert found.tail_size == np.count_nonzero(x >= xmin)
        assert found.standard_error == pytest.approx((alpha - 1) / found.tail_size**0.5, rel=1e-9)
    else:
        tail = x[x >= found.xmin * (1 - 1e-12)]
        assert found.alpha == pytest.approx(1 + len(tail) / np.log(tail / tail.min()).sum(), rel=1e-9)
    assert np.array_equal(found.logarithms, np.log(np.sort(x)))


@given(samples())
def test_the_fit_equals_the_definition(x):
    check(x)


@pytest.mark.slow
@settings(max_examples=1000)
@given(samples())
def test_the_fit_equals_the_definition_of_many(x):
    check(x)


@pytest.mark.parametrize("alpha", [1.5, 2.5, 4.0])
def test_the_exponent_of_pareto_samples_is_found(alpha):
    found = [power_law_fit(pareto(1000, alpha, seed)) for seed in range(20)]
    errors = [(fit.alpha - alpha) / fit.standard_error for fit in found]
    assert np.median(np.abs(errors)) < 1.5
    assert abs(np.mean([fit.alpha for fit in found]) - alpha) < 0.1 * (alpha - 1)


def test_the_start_of_the_tail_is_found():
    """Uniform below 10, the quantiles of a power law beyond."""
    shares = (np.arange(500) + 0.5) / 500
    found = power_law_fit(np.concatenate([1 + 9 * shares, 10 * (1 - shares) ** (-1 / 1.5)]))
    assert found.xmin == pytest.approx(10, rel=0.02)
    assert found.alpha == pytest.approx(2.5, abs=0.05)


def test_two_values_have_their_closed_form():
    found = power_law_fit([1.0, np.e])
    assert (found.alpha, found.xmin, found.tail_size) == (3.0, 1.0, 2)
    assert found.ks_distance == pytest.approx(0.5 - np.exp(-2.0), rel=1e-14)
    assert found.standard_error == pytest.approx(2**0.5, rel=1e-14)


@pytest.mark.parametrize(
    ("shape", "degrees", "alpha", "distance", "size"),
    [
        ((300, 200), None, 6.5021253346006, 0.13231365247926, 25),
        ((400, 300), 3, 6.9656056279197, 0.07100319225293, 15),
        ((200, 200), 1, 1.4491568365967, 0.05941726043088, 91),
    ],
)
def test_the_package_powerlaw_finds_the_same(shape, degrees, alpha, distance, size):
    """Version 2.0.0 of Alstott's package, on the same eigenvalues, with its bound alpha <= 3 lifted."""
    rng = np.random.default_rng(3)
    matrices = {None: rng.standard_normal((300, 200)), 3: rng.standard_t(3, (400, 300))}
    matrices[1] = rng.standard_t(1, (200, 200))
    assert matrices[degrees].shape == shape
    found = power_law_fit(singular_value_distribution(matrices[degrees]))
    assert found.alpha == pytest.approx(alpha, rel=1e-12)
    assert found.ks_distance == pytest.approx(distance, rel=1e-12)
    assert found.tail_size == size


@given(samples(), SCALES, EXPONENTS)
def test_scaling_and_powers(x, c, power):
    """Of x ** p the exponent less 1 is that of x divided by p, and the distance is the same."""
    if np.ptp(x) == 0:
        return
    found = power_law_fit(x)
    for other, factor in ((power_law_fit(c * x), 1.0), (power_law_fit(x**power), power)):
        assert other.ks_distance == pytest.approx(found.ks_distance, abs=1e-9)
        if other.tail_size == found.tail_size:
            assert other.alpha - 1 == pytest.approx((found.alpha - 1) / factor, rel=1e-7)
    shuffled = np.random.default_rng(0).permutation(x)
    assert power_law_fit(shuffled).alpha == found.alpha


def test_a_distribution_is_fitted_by_its_eigenvalues_at_every_scale():
    A = np.random.default_rng(0).standard_t(2, (60, 40))
    A[:, 0] = A[:, 1]  # an eigenvalue that is 0 to rounding, and is left out
    found = power_law_fit(singular_value_distribution(A))
    plain = power_law_fit(singular_value_distribution(A).eigenvalues[:-1])
    assert len(found.logarithms) == 39
    assert (found.tail_size, found.alpha) == (plain.tail_size, pytest.approx(plain.alpha, rel=1e-9))
    for size, xmin in ((1e300, np.inf), (1e-300, 0.0)):
        other = power_law_fit(singular_value_distribution(size * A))
        assert other.alpha == pytest.approx(found.alpha, rel=1e-9)
        assert other.xmin == xmin
        assert power_law_p_value(other, bootstraps=20) == power_law_p_value(found, bootstraps=20)


def test_p_values_of_power_laws_are_spread_and_of_others_small():
    fits = [power_law_fit(pareto(200, 2.5, seed)) for seed in range(30)]
    values = [power_law_p_value(fit, bootstraps=50) for fit in fits]
    assert np.mean(np.array(values) <= 0.1) <= 0.3
    assert 0.3 <= np.mean(values) <= 0.7
    assert power_law_p_value(power_law_fit(np.linspace(1, 2, 200))) <= 0.1
    noise = singular_value_distribution(np.random.default_rng(1).standard_normal((400, 400)))
    assert power_law_p_value(power_law_fit(noise)) <= 0.1


def test_the_seed_decides_and_nothing_else():
    fit = power_law_fit(pareto(100, 2.5, 0))
    assert power_law_p_value(fit, rng=3) == power_law_p_value(fit, rng=np.random.default_rng(3))
    assert 0 <= power_law_p_value(fit, bootstraps=1) <= 1


def test_a_p_value_with_a_tail_that_is_the_whole_sample():
    fit = power_law_fit([1.0, 2.0])
    assert fit.tail_size == 2
    assert 0 <= power_law_p_value(fit, bootstraps=200) <= 1


def test_the_record_prints_one_line_and_loads_again(tmp_path):
    found = power_law_fit([1.0, np.e])
    assert repr(found) == "PowerLawFit(alpha = 3 +- 1.4 beyond 1 (2 of 2 values), KS distance 0.365)"
    found.save(tmp_path / "fit.npz")
    loaded = PowerLawFit.load(tmp_path / "fit.npz")
    assert (str(loaded), loaded.alpha) == (str(found), 3.0)
    PowerLawFit(3.0, 1.0, 1.0, 3, 0.1, np.zeros(2)).save(tmp_path / "fit.npz")
    with pytest.raises(ValueError, match="no saved result"):
        PowerLawFit.load(tmp_path / "fit.npz")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: power_law_fit([[1.0, 2.0]]), ValueError, "^sample has shape"),
        (lambda: power_law_fit([1.0, 0.0]), ValueError, "^sample holds 0.0; expected numbers > 0"),
        (lambda: power_law_fit([1.0, -2.0]), ValueError, "^sample holds -2.0"),
        (lambda: power_law_fit([1.0, 2j]), TypeError, "^sample is complex"),
        (lambda: power_law_fit([1.0, np.nan]), ValueError, "^sample has a NaN"),
        (lambda: power_law_fit([]), ValueError, "^sample is empty"),
        (lambda: power_law_fit([2.0, 2.0]), ValueError, "^sample holds only 2.0"),
        (lambda: power_law_fit("12"), TypeError, "^sample has dtype"),
        (
            lambda: power_law_fit(singular_value_distribution(np.zeros((3, 3)))),
            ValueError,
            "^sample is Singular",
        ),
        (
            lambda: power_law_fit(singular_value_distribution(np.ones((3, 3)))),
            ValueError,
            "^sample is Singular",
        ),
        (lambda: power_law_p_value([1.0]), TypeError, "^fit is a list"),
        (lambda: power_law_p_value(power_law_fit([1.0, 2.0]), bootstraps=0), ValueError, "^bootstraps is 0"),
        (lambda: power_law_p_value(power_law_fit([1.0, 2.0]), rng=-1), TypeError, "^rng is -1"),
    ],
)
def test_refusals_name_the_argument(call, error, words):
    with pytest.raises(error, match=words):
        call()
