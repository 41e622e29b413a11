"""Rounding is torch's and the nearest number; what it does to a spectrum stays below what it could do."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import squares

from rnn.measuring.number_formats import RoundingEffect, rounding_effect, rounding_effects
from rnn.measuring.rounding import NUMBER_FORMATS, rounded
from spectra.extremes import pseudospectral_abscissa, pseudospectral_radius
from spectra.schur import schur_form
from spectra.spectrum import spectral_abscissa, spectral_radius

FLOATS = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn}


def weights(n: int = 20, *, size: float = 1.0, seed: int = 0) -> np.ndarray:
    """Weights as torch holds them: float32 numbers, in float64."""
    values = size * np.random.default_rng(seed).standard_normal((n, n)) / math.sqrt(n)
    return values.astype(np.float32).astype(np.float64)


def all_numbers(dtype: torch.dtype) -> np.ndarray:
    """Every finite number of a float format, from its bits."""
    bits = torch.arange(256, dtype=torch.uint8) if dtype.itemsize == 1 else torch.arange(-(2**15), 2**15)
    narrow = bits.to(torch.uint8 if dtype.itemsize == 1 else torch.int16).view(dtype)
    values = narrow.to(torch.float64).numpy()
    return np.unique(values[np.isfinite(values)])


@pytest.mark.parametrize("number_format", FLOATS)
@pytest.mark.parametrize("size", [1.0, 1e-5, 100.0])
def test_floats_go_to_the_nearest_number_of_the_format(number_format: str, size: float) -> None:
    W = weights(size=size)
    known = all_numbers(FLOATS[number_format])
    nearest = known[np.abs(W[:, :, None] - known).argmin(-1)] if len(known) < 300 else None
    found = rounded(W, number_format)
    if nearest is None:
        above = np.searchsorted(known, W)
        below, up = known[above - 1], known[above]
        assert np.all(np.abs(found - W) <= np.minimum(W - below, up - W))
        assert np.isin(found, known).all()
    else:
        np.testing.assert_array_equal(np.abs(found - W), np.abs(nearest - W))  # either one in a tie


@pytest.mark.parametrize("number_format", FLOATS)
def test_floats_are_those_of_torch_and_of_numpy(number_format: str) -> None:
    W = weights()
    theirs = torch.from_numpy(W).float().to(FLOATS[number_format]).double().numpy()
    np.testing.assert_array_equal(rounded(W, number_format), theirs)
    if number_format == "float16":
        np.testing.assert_array_equal(rounded(W, number_format), W.astype(np.float16).astype(float))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("number_format", ["int8_per_tensor", "int8_per_row"])
@pytest.mark.parametrize("seed", range(3))
def test_integers_are_those_of_torch(number_format: str, seed: int) -> None:
    W = weights(seed=seed)
    tensor = torch.from_numpy(W).float()
    if number_format == "int8_per_tensor":
        steps = np.full((len(W), 1), np.abs(W).max() / 127)
        codes = torch.quantize_per_tensor(tensor, float(steps[0, 0]), 0, torch.qint8)
    else:
        steps = np.abs(W).max(1, keepdims=True) / 127
        zeros = torch.zeros(len(W), dtype=torch.int64)
        codes = torch.quantize_per_channel(tensor, torch.from_numpy(steps[:, 0]), zeros, 0, torch.qint8)
    from_tie = np.abs(np.abs(W / steps) % 1 - 0.5)
    clear = from_tie > 1e-4  # torch divides in float32
    assert clear.mean() > 0.99
    ours = rounded(W, number_format) / steps
    np.testing.assert_allclose(ours, np.rint(ours), atol=1e-11)
    np.testing.assert_array_equal(np.rint(ours)[clear], codes.int_repr().numpy()[clear])


def test_a_row_alone_is_rounded_as_a_tensor() -> None:
    W = weights()
    rows = [rounded(row[None], "int8_per_tensor") for row in W]
    np.testing.assert_array_equal(rounded(W, "int8_per_row"), np.concatenate(rows))


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_rounding_twice_is_rounding_once(number_format: str) -> None:
    once = rounded(weights(), number_format)
    np.testing.assert_array_equal(rounded(once, number_format), once)


@pytest.mark.parametrize("number_format", ["int8_per_tensor", "int8_per_row"])
@pytest.mark.parametrize("size", [1e-300, 2.0**-1060, 1e300])
def test_integer_steps_may_be_of_any_size(number_format: str, size: float) -> None:
    W = size * np.array([[127.0, 3.2], [0.0, -63.6]])
    codes = rounded(W, number_format) / size
    last = -64.0 if number_format == "int8_per_tensor" else -63.6
    np.testing.assert_allclose(codes, [[127.0, 3.0], [0.0, last]], rtol=1e-3)


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
@pytest.mark.parametrize("dynamics", ["discrete", "continuous"])
def test_the_zero_matrix_stays_zero(number_format: str, dynamics: str) -> None:
    np.testing.assert_array_equal(rounded(np.zeros((3, 3)), number_format), np.zeros((3, 3)))
    found = rounding_effect(np.zeros((3, 3)), number_format, dynamics=dynamics)
    assert (found.epsilon, found.relative, found.before, found.after, found.worst) == (0, 0, 0, 0, 0)
    expected = "stable whatever the rounding" if dynamics == "discrete" else "unstable before"
    assert found.verdict == expected


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_numbers_of_the_format_are_not_perturbed(number_format: str) -> None:
    W = rounded(weights(30), number_format)
    found = rounding_effect(W, number_format)
    assert found.epsilon == 0
    assert found.after == found.before == spectral_radius(W)
    assert found.worst == found.worst_lower == found.worst_upper == found.before


@pytest.mark.parametrize(("dynamics", "offset"), [("discrete", 0.0), ("continuous", 1.5)])
def test_the_parts_are_what_they_are_called(dynamics: str, offset: float) -> None:
    W = weights(30, size=0.9) - offset * np.eye(30)
    reach = spectral_radius if dynamics == "discrete" else spectral_abscissa
    farthest = pseudospectral_radius if dynamics == "discrete" else pseudospectral_abscissa
    for name, effect in rounding_effects(W, dynamics=dynamics).items():
        error = W - rounded(W, name)
        assert (effect.number_format, effect.dynamics, effect.order) == (name, dynamics, 30)
        assert effect.epsilon == pytest.approx(np.linalg.norm(error, 2), rel=1e-13)
        assert effect.relative == pytest.approx(effect.epsilon / np.linalg.norm(W, 2), rel=1e-13)
        assert effect.before == reach(W)
        assert effect.after == pytest.approx(reach(W - error), rel=1e-13)
        worst = farthest(W, effect.epsilon)
        assert (effect.worst, effect.worst_lower, effect.worst_upper) == pytest.approx(
            (worst.value, worst.lower, worst.upper), rel=1e-10
        )


def test_for_a_normal_matrix_the_worst_is_the_radius_and_epsilon() -> None:
    for effect in rounding_effects(np.diag([0.61, -0.3, 0.123])).values():
        assert effect.worst == pytest.approx(0.61 + effect.epsilon, rel=1e-9)


def test_a_jordan_block_against_its_closed_form() -> None:
    """[[a, c], [0, a]] has sigma_min(zI - A) = epsilon at abs(z - a) = sqrt(epsilon^2 + c epsilon)."""
    effect = rounding_effect([[0.9, 5.0], [0.0, 0.9]], "float8_e4m3fn")
    assert (effect.after, effect.epsilon) == (0.875, pytest.approx(0.025, rel=1e-13))
    assert effect.worst == pytest.approx(0.9 + math.sqrt(0.025**2 + 5 * 0.025), rel=1e-7)


@given(
    squares(is_complex=False), st.sampled_from(NUMBER_FORMATS), st.sampled_from(["discrete", "continuous"])
)
def test_no_rounding_goes_beyond_the_worst(W: np.ndarray, number_format: str, dynamics: str) -> None:
    effect = rounding_effect(W, number_format, dynamics=dynamics)
    assert effect.after <= effect.worst_upper
    assert effect.before <= effect.worst_upper
    assert effect.worst_lower <= effect.worst <= effect.worst_upper


@pytest.mark.parametrize(
    ("W", "number_format", "dynamics", "verdict"),
    [
        ([[0.5, 0.0], [0.0, 0.3]], "bfloat16", "discrete", "stable whatever the rounding"),
        ([[0.9, 5.0], [0.0, 0.9]], "float8_e4m3fn", "discrete", "this rounding keeps it stable"),
        ([[0.97, 0.0], [0.0, 0.2]], "float8_e4m3fn", "discrete", "becomes unstable"),
        ([[1.0, 0.0], [0.0, 0.2]], "float16", "discrete", "unstable before"),
        ([[-0.5, 0.0], [0.0, -0.3]], "bfloat16", "continuous", "stable whatever the rounding"),
        ([[-0.9, 0.0], [0.0, -0.003]], "int8_per_tensor", "continuous", "becomes unstable"),
        ([[0.0, 1.0], [0.0, -0.2]], "float16", "continuous", "unstable before"),
        ([[1e5, 0.0], [0.0, 0.2]], "float16", "discrete", "overflows"),
    ],
)
def test_verdicts(W: list[list[float]], number_format: str, dynamics: str, verdict: str) -> None:
    effect = rounding_effect(W, number_format, dynamics=dynamics)
    assert effect.verdict == verdict
    assert verdict in str(effect)


def test_overflow_is_said_and_no_number_is_made_up() -> None:
    W = np.array([[7e4, 1.0], [0.0, -65519.0]])  # the second rounds to 65504, the largest
    effect = rounding_effect(W, "float16")
    assert (effect.verdict, effect.beyond) == ("overflows", 1)
    assert effect.epsilon == effect.relative == effect.after == effect.worst_upper == math.inf
    assert effect.before == pytest.approx(7e4)
    with pytest.raises(ValueError, match=r"W has 1 entries beyond the largest number of float16; scale W"):
        rounded(W, "float16")
    with pytest.raises(ValueError, match="beyond the largest number of bfloat16"):
        rounded([[1e39]], "bfloat16")


def test_float8_is_cut_off_and_says_so() -> None:
    effect = rounding_effect([[500.0, 0.0], [0.0, -1e300]], "float8_e4m3fn")
    assert effect.beyond == 2
    assert effect.after == 448
    assert effect.epsilon == pytest.approx(1e300)
    assert rounding_effect([[448.0]], "float8_e4m3fn").beyond == 0


def test_a_schur_form_serves_in_place_of_the_matrix() -> None:
    W = weights(30)
    direct, shared = rounding_effects(W), rounding_effects(schur_form(W))
    assert list(direct) == list(NUMBER_FORMATS)
    for name in NUMBER_FORMATS:
        assert str(direct[name]) == str(shared[name])
        assert direct[name].worst == shared[name].worst


def test_threads_change_nothing() -> None:
    W = weights(40)
    one, many = rounding_effects(W, threads=1), rounding_effects(W, threads=3)
    assert {k: v.worst for k, v in one.items()} == {k: v.worst for k, v in many.items()}


def test_each_format_is_looked_at_once_in_the_order_asked_for() -> None:
    found = rounding_effects(weights(4), formats=iter(["bfloat16", "float16", "bfloat16"]))
    assert list(found) == ["bfloat16", "float16"]


def test_the_matrix_comes_back_untouched() -> None:
    W = weights(6)
    before = W.copy()
    for name in NUMBER_FORMATS:
        assert rounded(W, name) is not W
    rounding_effects(W)
    np.testing.assert_array_equal(W, before)
    zero = np.zeros((2, 2))
    assert rounded(zero, "int8_per_tensor") is not zero


def test_a_perturbation_below_rounding_warns_and_keeps_its_interval() -> None:
    W = np.array([[0.5, 1e-20], [0.0, 0.25]])  # 1e-20 is no float16
    with pytest.warns(UserWarning, match="below the rounding level"):
        effect = rounding_effect(W, "float16")
    assert effect.worst_lower <= 0.5 <= effect.worst_upper


def test_saved_and_loaded(tmp_path) -> None:
    effect = rounding_effect(weights(5), "bfloat16")
    effect.save(tmp_path / "effect.npz")
    again = RoundingEffect.load(tmp_path / "effect.npz")
    assert str(again) == str(effect)
    assert again.worst_upper == effect.worst_upper
    assert "verdict" in effect._repr_html_()


@pytest.mark.parametrize(
    ("W", "number_format", "error", "words"),
    [
        (np.eye(2), "float12", ValueError, "number_format is 'float12'; expected one of 'float16'"),
        (1j * np.eye(2), "float16", TypeError, "W is complex; expected real weights"),
        (np.array([[np.nan]]), "float16", ValueError, "NaN or infinite entry"),
        (np.ones(3), "float16", ValueError, "expected two dimensions"),
    ],
)
def test_refusals_of_rounded(W: np.ndarray, number_format: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        rounded(W, number_format)


@pytest.mark.parametrize(
    ("A", "options", "error", "words"),
    [
        (np.ones((2, 3)), {}, ValueError, "expected a square matrix"),
        (1j * np.eye(2), {}, TypeError, "W is complex"),
        (schur_form(1j * np.eye(2)), {}, TypeError, "W is complex"),
        (np.eye(2), {"dynamics": "delayed"}, ValueError, "dynamics is 'delayed'"),
        (np.eye(2), {"formats": "float16"}, TypeError, r"expected several: \['float16'\]"),
        (np.eye(2), {"formats": []}, ValueError, "formats is empty; expected some of float16"),
        (np.eye(2), {"formats": ["int4"]}, ValueError, "formats is 'int4'"),
        (np.eye(2), {"threads": 0}, ValueError, "threads is 0"),
    ],
)
def test_refusals_of_effects(A: object, options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        rounding_effects(A, **options)


def test_an_unsettled_search_says_so(monkeypatch) -> None:
    from rnn.measuring import number_formats
    from spectra.errors import ConvergenceError

    def unsettled(*_: object) -> None:
        raise ConvergenceError("did not settle")

    monkeypatch.setattr(number_formats, "pseudospectral_radius", unsettled)
    with pytest.raises(ConvergenceError, match="did not settle"):
        rounding_effect(weights(4), "float16")
