"""Linear relaxation: lines on the right side, never looser than intervals, exact where nothing bends."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnn.bounds.interval_bounds import Intervals, Region, interval_bounds, least_margins
from rnn.bounds.linear_relaxation import backward_bounds, linear_bounds, linear_margins, relaxed
from rnn.bounds.straight_programs import ELEMENTWISE
from rnn.bounds.traced_programs import ProgramOfModel, program_of
from rnn.models import CELLS, ModelConfig, build_model

NORMS = ["linf", "l2"]
ENDS = st.floats(-30, 30)
FUNCTIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "product": lambda a, b: a * b,
    "blend": lambda z, h, n, d: n + z * d,
}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def found(
    cell: str, norm: str, radius: float, steps: int = 4
) -> tuple[nn.Module, torch.Tensor, ProgramOfModel, Intervals, Intervals]:
    model = build_model(ModelConfig(cell, features=3, steps=steps, hidden=6, classes=4)).double().eval()
    x = drawn(8, steps, 3)
    network = program_of(model, x)
    region = Region.around(
        x, torch.full((8,), radius, dtype=torch.float64), norm=norm, bounds=None, parts=network.inputs
    )
    wide = interval_bounds(network.program, region, network.logits)
    return model, x, network, wide, linear_bounds(network.program, region, network.logits)


@given(st.sampled_from(sorted(ELEMENTWISE)), st.lists(st.tuples(ENDS, ENDS), min_size=4, max_size=4))
def test_the_lines_are_on_their_sides(kind: str, ends: list[tuple[float, float]]) -> None:
    count = ELEMENTWISE[kind]
    low = [torch.tensor([[min(pair)]], dtype=torch.float64) for pair in ends[:count]]
    high = [torch.tensor([[max(pair)]], dtype=torch.float64) for pair in ends[:count]]
    lines = relaxed(kind, low, high)
    share = torch.rand(count, 400, generator=torch.Generator().manual_seed(0)).double()
    share[:, :2] = torch.tensor([0.0, 1.0])
    points = [a[0] + t * (b - a)[0] for a, b, t in zip(low, high, share, strict=True)]
    value = FUNCTIONS[kind](*points)
    below = sum(s[0] * p for s, p in zip(lines.lower, points, strict=True)) + lines.lower_constant[0]
    above = sum(s[0] * p for s, p in zip(lines.upper, points, strict=True)) + lines.upper_constant[0]
    slack = 1e-13 * (1 + sum(p.abs().max() for p in points)) ** 2  # of this test's own sums
    assert (below <= value + slack).all()
    assert (value <= above + slack).all()


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "relu"])
def test_the_line_above_is_the_least_at_the_middle(kind: str) -> None:
    """The least concave function above, from the points of the graph."""
    for low, high in ((-2.0, 1.0), (-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0), (-0.5, 4.0)):
        lines = relaxed(kind, *([torch.tensor([[end]], dtype=torch.float64)] for end in (low, high)))
        middle = (low + high) / 2
        t = torch.linspace(low, high, 801, dtype=torch.float64)
        value = FUNCTIONS[kind](t)
        left, right = t < middle, t > middle
        share = (middle - t[left])[:, None] / (t[right] - t[left][:, None])
        hull = (value[left][:, None] + share * (value[right] - value[left][:, None])).max()
        hull = max(hull, FUNCTIONS[kind](torch.tensor(middle, dtype=torch.float64)))
        assert float(lines.upper[0] * middle + lines.upper_constant) == pytest.approx(float(hull), abs=1e-4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("cell", CELLS)
def test_never_looser_than_intervals_and_true(cell: str, norm: str) -> None:
    model, x, network, wide, tight = found(cell, norm, 0.1)
    assert set(wide.lower) == set(tight.lower)
    for number, low in tight.lower.items():
        assert (low >= wide.lower[number] - 1e-12).all()
        assert (tight.upper[number] <= wide.upper[number] + 1e-12).all()
    rows = (torch.eye(4)[0] - torch.eye(4)).double().expand(8, -1, -1)
    bound, loose = linear_margins(tight, network.logits, rows), least_margins(wide, network.logits, rows)
    assert (bound >= loose - 1e-12).all()
    assert (bound[:, 1:] > loose[:, 1:] + 1e-3).any()
    for seed in range(300):
        noise = drawn(*x.shape, seed=seed).flatten(1)
        unit = noise.sign() if norm == "linf" else noise / noise.norm(dim=1, keepdim=True)
        z = model(x + 0.1 * (1 - 1e-12) * unit.view_as(x)).detach()
        assert (z[:, :1] - z >= bound).all()
        assert (z >= tight.lower[network.logits]).all()
        assert (z <= tight.upper[network.logits]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_bounds_meet_the_truth_for_small_radii(norm: str) -> None:
    """To first order the least margin is the margin minus the dual norm of its gradient."""
    radius = 1e-4
    model, x, network, _, tight = found("tanh", norm, radius)
    rows = (torch.eye(4)[0] - torch.eye(4)[1]).double().expand(8, 1, -1)
    bound = backward_bounds(tight, network.logits, rows)[:, 0]
    x.requires_grad_()
    z = model(x)
    margin = z[:, 0] - z[:, 1]
    (gradient,) = torch.autograd.grad(margin.sum(), x)
    length = gradient.flatten(1).norm(p=1 if norm == "linf" else 2, dim=1)
    torch.testing.assert_close(bound, (margin - radius * length).detach(), rtol=0, atol=3e-5 * radius**0.5)


@pytest.mark.parametrize("norm", NORMS)
def test_exact_for_linear_networks(norm: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)).double()
    x = drawn(4, 2, 3)
    network = program_of(model, x)
    region = Region.around(
        x, torch.full((4,), 0.7, dtype=torch.float64), norm=norm, bounds=None, parts=network.inputs
    )
    tight = linear_bounds(network.program, region, network.logits)
    rows = torch.eye(3).double().expand(4, -1, -1)
    W = model[3].weight @ model[2].weight @ model[1].weight
    length = 0.7 * torch.linalg.vector_norm(W, ord=1 if norm == "linf" else 2, dim=1)
    found = backward_bounds(tight, network.logits, rows)
    torch.testing.assert_close(found, (model(x) - length).detach(), rtol=0, atol=1e-11)
    assert (found <= model(x) - length).all()
