"""Threats: budgets are kept whatever the numbers, and steps go where the gradient promises most."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnn.attacking.threats import NORMS, Threat

BUDGETS = st.floats(1e-6, 10.0)
SEEDS = st.integers(0, 10_000)


def lengths(delta: torch.Tensor, norm: str) -> np.ndarray:
    flat = delta.double().flatten(1).numpy()
    return np.linalg.norm(flat, {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1)


def points(seed: int, scale: float, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(6, 4, 3, generator=random).to(dtype)
    return x, x + scale * torch.randn(6, 4, 3, generator=random).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", NORMS)
@given(budget=BUDGETS, scale=st.sampled_from([1e-7, 1e-3, 1.0, 1e3]), seed=SEEDS)
def test_projection_never_exceeds_the_budget(
    norm: str, bounds: tuple[float, float] | None, dtype: torch.dtype, budget: float, scale: float, seed: int
) -> None:
    x, candidate = points(seed, scale, dtype)
    result = Threat(norm, budget, bounds).project(candidate, x)
    slack = {torch.float64: 1e-15, torch.float32: 1e-6, torch.float16: 5e-3}[dtype] if norm == "l2" else 0
    slack = 1e-14 if norm == "l1" else slack
    assert (lengths(result.double() - x.double(), norm) <= budget * (1 + slack)).all()
    assert result.dtype == dtype
    if bounds is not None:
        assert result.min() >= 0
        assert result.max() <= 1


@pytest.mark.parametrize("norm", NORMS)
@given(seed=SEEDS, budget=st.floats(0.01, 1.0))
def test_projection_takes_the_nearest_allowed_point(norm: str, seed: int, budget: float) -> None:
    x, candidate = points(seed, 0.3, torch.float64)
    delta = candidate - x
    result = Threat(norm, budget, None).project(candidate, x)
    if norm == "linf":
        expected = x + delta.clamp(-budget, budget)
    elif norm == "l1":
        expected = x + nearest_in_l1(delta, torch.full_like(delta, torch.inf), budget)
    else:
        expected = x + delta * (budget / delta.flatten(1).norm(dim=1)).clamp(max=1)[:, None, None]
    torch.testing.assert_close(result, expected, atol=3e-15, rtol=1e-15)
    torch.testing.assert_close(Threat(norm, budget, None).project(result, x), result, atol=3e-15, rtol=0)


def nearest_in_l1(delta: torch.Tensor, room: torch.Tensor, budget: float) -> torch.Tensor:
    """Soft thresholding cut at the room, its threshold found by bisection, one example at a time."""
    rows = []
    for row, limit in zip(delta, room, strict=True):
        low, high = 0.0, float(row.abs().max())
        for _ in range(200):
            middle = (low + high) / 2
            total = torch.minimum((row.abs() - middle).clamp_min(0), limit).sum()
            low, high = (middle, high) if total > budget else (low, middle)
        rows.append(torch.minimum((row.abs() - high).clamp_min(0), limit) * row.sign())
    return torch.stack(rows)


@given(seed=SEEDS, budget=st.floats(0.0, 12.0), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_in_l1_the_nearest_point_of_ball_and_bounds_together_is_taken(
    seed: int, budget: float, scale: float
) -> None:
    x, candidate = points(seed, scale, torch.float64)
    x, candidate = x.round(decimals=1), candidate.round(decimals=1)  # ties, and entries at their bounds
    delta = candidate - x
    result = Threat("l1", budget, (0.0, 1.0)).project(candidate, x)
    expected = x + nearest_in_l1(delta, torch.where(delta > 0, 1 - x, x), budget)
    torch.testing.assert_close(result, expected, atol=1e-13, rtol=0)
    best = (result - candidate).flatten(1).norm(dim=1)
    for other in range(5):  # no allowed point is nearer
        noise = points(other, 1.0, torch.float64)[1] - 0.5
        inside = Threat("l1", budget, (0.0, 1.0)).project(x + noise, x)
        assert (best <= (inside - candidate).flatten(1).norm(dim=1) + 1e-12).all()


@pytest.mark.parametrize("norm", NORMS)
@given(seed=SEEDS, budget=st.floats(0.01, 3.0))
def test_a_budget_for_each_frame_is_that_of_each_frame_alone(norm: str, seed: int, budget: float) -> None:
    x, candidate = points(seed, 1.0)
    each, alone = Threat(norm, budget, (0.0, 1.0), "each"), Threat(norm, budget, (0.0, 1.0))
    result = each.project(candidate, x)
    for t in range(x.shape[1]):
        assert torch.equal(result[:, t], alone.project(candidate[:, t], x[:, t]))
        torch.testing.assert_close(each.ascent(candidate)[:, t], alone.ascent(candidate[:, t]))
        assert torch.equal(each.scatter(candidate, x)[:, t], alone.scatter(candidate[:, t], x[:, t]))
    frames = np.stack([lengths(candidate[:, t], norm) for t in range(x.shape[1])])
    np.testing.assert_allclose(each.length(candidate).numpy(), frames.max(0), rtol=1e-12)
    assert (each.length(result - x) <= budget * (1 + 1e-6)).all()


@pytest.mark.parametrize("frames", ["all", "each"])
@pytest.mark.parametrize("norm", NORMS)
@given(seed=SEEDS)
def test_the_slope_is_the_most_that_a_unit_of_budget_promises(norm: str, frames: str, seed: int) -> None:
    gradient, other = (points(s, 1.0, torch.float64)[1] - 0.5 for s in (seed, seed + 1))
    threat = Threat(norm, 1.0, None, frames)
    promised = threat.slope(gradient)
    far = threat.project(gradient * 1e9, torch.zeros_like(gradient))  # attains it, in l1 too
    torch.testing.assert_close((far * gradient).flatten(1).sum(1), promised, rtol=1e-6, atol=0)
    inner = (threat.project(other, torch.zeros_like(other)) * gradient).flatten(1).sum(1)
    assert (inner <= promised * (1 + 1e-12)).all()
    np.testing.assert_allclose(threat.length(threat.ascent(gradient)).numpy(), 1, rtol=1e-12)


@pytest.mark.parametrize("frames", ["all", "each"])
@pytest.mark.parametrize("norm", NORMS)
@given(seed=SEEDS)
def test_the_promise_is_what_a_linear_function_still_gains(norm: str, frames: str, seed: int) -> None:
    x, candidate = points(seed, 1.0, torch.float64)
    gradient, threat = points(seed + 1, 1.0, torch.float64)[1] - 0.5, Threat(norm, 0.3, None, frames)
    point = threat.project(candidate, x)
    best = threat.project(x + 1e9 * gradient, x)  # in linf, l2 and l1 the far end of the steepest way
    gain = ((best - point) * gradient).flatten(1).sum(1)
    torch.testing.assert_close(threat.promise(gradient, point, x), gain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=SEEDS, budget=BUDGETS, bounds=st.sampled_from([None, (0.0, 1.0)]))
def test_without_exactness_only_the_rounding_differs(
    norm: str, seed: int, budget: float, bounds: tuple[float, float] | None
) -> None:
    x, candidate = points(seed, 1.0)
    threat = Threat(norm, budget, bounds)
    rough = threat.project(candidate, x, exact=False)
    torch.testing.assert_close(rough, threat.project(candidate, x), atol=0, rtol=2.0**-22)


@pytest.mark.parametrize("norm", NORMS)
def test_no_budget_gives_the_input_back_to_the_bit(norm: str) -> None:
    x, candidate = points(0, 1.0)
    assert torch.equal(Threat(norm, 0.0, None).project(candidate, x), x)
    assert torch.equal(Threat(norm, 0.0, None).project(x, x), x)


@given(seed=SEEDS, exponent=st.integers(-150, 120))
def test_ascent_is_the_steepest_direction_of_unit_norm(seed: int, exponent: int) -> None:
    gradient = points(seed, 1.0, torch.float64)[1] - 0.5
    for norm, dual in (("linf", 1), ("l2", 2)):
        direction = Threat(norm, 1.0, None).ascent(gradient * 2.0**exponent)
        np.testing.assert_allclose(lengths(direction, norm), 1, rtol=1e-12)
        gain = (direction * gradient).flatten(1).sum(1)
        torch.testing.assert_close(gain, gradient.flatten(1).norm(p=dual, dim=1))


def test_ascent_survives_gradients_whose_squares_underflow() -> None:
    gradient = torch.full((1, 4), 1e-30)
    assert Threat("l2", 1.0, None).ascent(gradient).tolist() == [[0.5] * 4]
    for norm in NORMS:
        assert Threat(norm, 1.0, None).ascent(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_scattered_points_fill_the_cube_and_lie_on_the_sphere() -> None:
    noise = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    x = torch.zeros_like(noise)
    polytope = Threat("l1", 0.5, None).scatter(noise, x)
    np.testing.assert_allclose(lengths(polytope, "l1"), 0.5, rtol=1e-6)
    assert polytope.mean(0).abs().max() < 0.02
    shares = np.sort(polytope.abs().numpy()[:, 0] / 0.5)  # of three, uniform: P(share < s) = 1 - (1 - s)²
    assert np.abs(1 - (1 - shares) ** 2 - np.arange(4000) / 4000).max() < 0.03
    cube = Threat("linf", 0.5, None).scatter(noise, x).numpy()
    assert np.abs(cube).max() <= 0.5
    deciles = np.quantile(cube, np.arange(1, 10) / 10, axis=0)
    assert np.abs(deciles - (np.arange(1, 10) / 10 - 0.5)[:, None]).max() < 0.03  # uniform
    sphere = Threat("l2", 0.5, None).scatter(noise, x)
    np.testing.assert_allclose(lengths(sphere, "l2"), 0.5, rtol=1e-6)
    assert sphere.mean(0).abs().max() < 0.02
