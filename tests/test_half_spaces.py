"""Steps to a hyperplane are those of a linear or quadratic programme."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from rnn.attacking.half_spaces import to_boundary
from rnn.attacking.threats import Threat

ORDERS = {"linf": math.inf, "l2": 2, "l1": 1}


@given(seed=st.integers(0, 10_000), norm=st.sampled_from(["linf", "l1"]))
def test_the_step_to_a_boundary_within_bounds_is_shortest(seed: int, norm: str) -> None:
    random = np.random.default_rng(seed)
    w, point = random.standard_normal(5), random.random(5)
    room = np.where(w > 0, 1 - point, point)
    gap = -random.random() * (np.abs(w) * room).sum()
    step = to_boundary(
        torch.tensor([gap]), torch.tensor(w)[None], torch.tensor(point)[None], Threat(norm, 1, (0.0, 1.0))
    )[0].numpy()
    assert gap + w @ step == pytest.approx(0, abs=1e-12)
    assert (point + step).min() >= -1e-15
    assert (point + step).max() <= 1 + 1e-15
    # min t or Σt with -t <= δ <= t, by a linear programme
    t = 1 if norm == "linf" else 5
    ones = np.ones((5, 1)) if norm == "linf" else np.eye(5)
    programme = linprog(
        np.r_[np.zeros(5), np.ones(t)],
        A_ub=np.block([[np.eye(5), -ones], [-np.eye(5), -ones]]),
        b_ub=np.zeros(10),
        A_eq=[np.r_[w, np.zeros(t)]],
        b_eq=[-gap],
        bounds=[*zip(-point, 1 - point, strict=True), *[(0, None)] * t],
    )
    assert np.linalg.norm(step, ORDERS[norm]) == pytest.approx(programme.fun, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_step_to_a_boundary_within_bounds_is_shortest_in_l2(seed: int) -> None:
    random = np.random.default_rng(seed)
    w, point = random.standard_normal(5), random.random(5)
    gap = -0.8 * (np.abs(w) * np.where(w > 0, 1 - point, point)).sum()
    step = to_boundary(
        torch.tensor([gap]), torch.tensor(w)[None], torch.tensor(point)[None], Threat("l2", 1, (0.0, 1.0))
    )[0].numpy()
    solved = minimize(
        lambda d: d @ d,
        np.zeros(5),
        jac=lambda d: 2 * d,
        bounds=list(zip(-point, 1 - point, strict=True)),
        constraints={"type": "eq", "fun": lambda d: gap + w @ d, "jac": lambda _: w},
        options={"ftol": 1e-14},
    )
    assert gap + w @ step == pytest.approx(0, abs=1e-12)
    assert (point + step).min() >= -1e-15
    assert (point + step).max() <= 1 + 1e-15
    assert np.linalg.norm(step) <= np.linalg.norm(solved.x) * (1 + 1e-9)  # the solver is off by about 1e-10
    np.testing.assert_allclose(step, solved.x, atol=1e-6)


def test_a_boundary_out_of_reach_is_approached_and_a_flat_model_left_alone() -> None:
    threat = Threat("l2", 1, (0.0, 1.0))
    point = torch.full((2, 3), 0.5, dtype=torch.float64)
    normal = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    step = to_boundary(torch.tensor([-100.0, -1.0]).double(), normal, point, threat)
    assert step.tolist() == [[0.5, 0.5, -0.5], [0, 0, 0]]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_without_bounds_its_length_is_the_gap_over_the_dual_norm(norm: str) -> None:
    random = torch.Generator().manual_seed(0)
    gap, normal = torch.randn(20, generator=random).double(), torch.randn(20, 3, 2, generator=random).double()
    threat = Threat(norm, 1, None)
    step = to_boundary(gap, normal, torch.zeros_like(normal), threat)
    torch.testing.assert_close((normal * step).flatten(1).sum(1), -gap)
    torch.testing.assert_close(threat.length(step), gap.abs() / threat.slope(normal))
    each = Threat(norm, 1, None, "each")
    if norm != "l1":
        step = to_boundary(gap, normal, torch.zeros_like(normal), each)
        torch.testing.assert_close((normal * step).flatten(1).sum(1), -gap)
        torch.testing.assert_close(each.length(step), gap.abs() / each.slope(normal))


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0), (-1e39, 1e39)])
@pytest.mark.parametrize("frames", ["all", "each"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_steps_are_finite_however_small_the_gradient(
    norm: str, frames: str, bounds: tuple[float, float] | None
) -> None:
    sizes = torch.tensor([0.0, 1e-45, 1e-41, 1e-38, 1e-30, 1.0])
    shape = torch.tensor([[1.0, -2.0], [0.0, 3.0], [0.0, 0.0]])
    threat = Threat(norm, 1, bounds, frames)
    for gap in (-3e38, -100.0, 0.0, 1e6, float("inf")):
        gaps = torch.full((len(sizes),), gap)
        normal = sizes.view(-1, 1, 1) * shape
        point = torch.full((2, len(sizes), 3, 2), 0.5)
        step = to_boundary(gaps.expand(2, -1), normal, point, threat)
        assert step.isfinite().all()
        assert (step[:, 0] == 0).all()
        assert (step[:, :, 2] == 0).all()
        assert bool((step[:, -1] != 0).any()) == (gap != 0)
        alone = to_boundary(gaps[-1:].expand(2, -1), normal[-1:], point[:, -1:], threat)
        assert torch.equal(step[:, -1:], alone)  # the others do not disturb it
