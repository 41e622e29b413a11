"""Intervals hold whatever the network gives, in exact arithmetic and as computed."""

import math

import pytest
import torch
from torch import nn

from rnn.bounds.interval_bounds import Region, interval_bounds, least_margins
from rnn.bounds.straight_programs import StraightProgram, sources
from rnn.bounds.traced_programs import program_of
from rnn.models import CELLS, ModelConfig, build_model
from rnn.motion.cells import unrolled_cells
from spectra.errors import UnsupportedModelError

NORMS = ["linf", "l2"]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def around(x: torch.Tensor, radius: float, norm: str, parts: int, bounds: tuple | None = None) -> Region:
    return Region.around(
        x, torch.full((len(x),), radius, dtype=torch.float64), norm=norm, bounds=bounds, parts=parts
    )


def perturbed(x: torch.Tensor, radius: float, norm: str, seed: int) -> torch.Tensor:
    """Give points of the region, half of them on its edge."""
    noise = drawn(*x.shape, seed=seed).flatten(1)
    unit = noise.sign() if norm == "linf" else noise / noise.norm(dim=1, keepdim=True)
    share = torch.rand(len(x), 1, generator=torch.Generator().manual_seed(seed)).mul(2).clamp_max(1 - 1e-6)
    return x + (radius * share * unit).view_as(x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_bounds_hold_at_thousands_of_points(cell: str, norm: str) -> None:
    model = build_model(ModelConfig(cell, features=3, steps=4, hidden=6, classes=4)).eval()
    x, radius = drawn(10, 4, 3), 0.1
    network = program_of(model, x)
    bounds = interval_bounds(network.program, around(x, radius, norm, network.inputs), network.logits)
    low, high = bounds.lower[network.logits], bounds.upper[network.logits]
    closest = math.inf
    for seed in range(300):
        with torch.no_grad():
            z = model(perturbed(x, radius, norm, seed)).double()
        assert (low <= z).all()
        assert (z <= high).all()
        closest = min(closest, float(((high - z) / (high - low)).min()))
    assert closest < 0.6  # the bounds are not idle


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", CELLS)
def test_at_radius_zero_the_bounds_are_rounding_alone(cell: str, dtype: torch.dtype) -> None:
    model = build_model(ModelConfig(cell, features=3, steps=3, hidden=6, classes=4)).to(dtype)
    x = drawn(50, 3, 3).to(dtype)
    network = program_of(model, x)
    bounds = interval_bounds(network.program, around(x, 0.0, "linf", network.inputs), network.logits)
    low, high = bounds.lower[network.logits], bounds.upper[network.logits]
    z = model(x).double()
    assert ((low <= z) & (z <= high)).all()
    assert float((high - low).max()) < 2e5 * torch.finfo(dtype).eps


@pytest.mark.parametrize("norm", NORMS)
def test_one_unit_and_one_step_is_the_closed_form(norm: str) -> None:
    model = build_model(ModelConfig("tanh", features=2, steps=1, hidden=1, classes=2)).double()
    x = drawn(5, 1, 2).double()
    network = program_of(model, x)
    bounds = interval_bounds(network.program, around(x, 0.3, norm, network.inputs), network.logits)
    w, v, b = model.weight_ih_l0[0], model.head.weight[:, 0], model.head.bias
    z, reach = x[:, 0] @ w, 0.3 * (w.abs().sum() if norm == "linf" else w.norm())
    ends = torch.stack([v * torch.tanh(z + s * reach)[:, None] + b for s in (-1, 1)])
    torch.testing.assert_close(bounds.lower[network.logits], ends.amin(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(bounds.upper[network.logits], ends.amax(0), rtol=0, atol=1e-12)


def test_the_range_of_inputs_is_kept() -> None:
    model = nn.Linear(3, 2).double()
    x = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)
    for norm, allowed in (("linf", 0.2), ("l2", 5.0)):
        network = program_of(model, x)
        region = around(x, allowed, norm, 1, bounds=(0.0, 1.0))
        bounds = interval_bounds(network.program, region, network.logits)
        low, high = (x - allowed).clamp_min(0), (x + allowed).clamp_max(1)
        W = model.weight
        expected = W.clamp_min(0) @ high[0] + W.clamp_max(0) @ low[0] + model.bias
        torch.testing.assert_close(bounds.upper[network.logits][0], expected, rtol=0, atol=1e-12)


def test_differences_are_bounded_as_one_function() -> None:
    model = build_model(ModelConfig("tanh", features=2, steps=2, hidden=4, classes=3)).double()
    x = drawn(6, 2, 2).double()
    network = program_of(model, x)
    bounds = interval_bounds(network.program, around(x, 0.1, "linf", network.inputs), network.logits)
    rows = torch.tensor([[1.0, -1.0, 0.0]], dtype=torch.float64).expand(6, 1, 3)
    found = least_margins(bounds, network.logits, rows)[:, 0]
    apart = bounds.lower[network.logits][:, 0] - bounds.upper[network.logits][:, 1]
    assert (found > apart + 1e-3).all()
    low = min(
        float((z[:, 0] - z[:, 1] - found).min())
        for z in (model(perturbed(x, 0.1, "linf", seed)).detach() for seed in range(200))
    )
    assert 0 <= low < 0.5


# Straight programs


class Reader(nn.Module):
    """A recurrent layer of torch, read out at its last step or state, with a sum and a flatten on the way."""

    def __init__(self, layer: nn.RNNBase, way: str) -> None:
        super().__init__()
        self.layer, self.way = layer, way
        width = (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(width * (3 if way == "all" else 1), 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, int]:
        output, final = self.layer(x if self.layer.batch_first else x.transpose(0, 1))
        if not self.layer.batch_first:
            output = output.transpose(0, 1)
        if self.way == "all":
            return self.head(torch.tanh(output).flatten(1)), 0
        h = final[0] if isinstance(self.layer, nn.LSTM) else final
        end = h[-1] if self.way == "state" else output[:, -1]
        return self.head(end + self.inner(end)), 0


LAYERS = [
    (nn.RNN(2, 5, num_layers=2, batch_first=True, dropout=0.5), "last"),
    (nn.RNN(2, 5, nonlinearity="relu", bias=False), "state"),
    (nn.GRU(2, 5, num_layers=2, bidirectional=True, batch_first=True), "all"),
    (nn.LSTM(2, 5, num_layers=2, proj_size=3), "state"),
    (nn.LSTM(2, 5, batch_first=True), "last"),
]


@pytest.mark.parametrize(("layer", "way"), LAYERS)
def test_a_traced_program_computes_what_the_model_computes(layer: nn.RNNBase, way: str) -> None:
    model = Reader(layer, way).double().eval()
    x = drawn(7, 3, 2).double()
    network = program_of(model, x)
    bounds = interval_bounds(network.program, around(x, 0.0, "linf", 3), network.logits)
    low, high = bounds.lower[network.logits], bounds.upper[network.logits]
    z = model(x)[0]
    assert ((low <= z) & (z <= high)).all()
    assert float((high - low).max().detach()) < 1e-9


def test_a_program_takes_apart_and_joins() -> None:
    program = StraightProgram()
    a, b = program.input(2), program.input(3)
    mixed = torch.stack([b[1], a[0], b[1]])
    out = program.elementwise("tanh", program.affine([(mixed, torch.ones(2, 3))], torch.ones(2)))
    number = program.operation_of(out)
    x = drawn(4, 5).double()
    region = around(x[:, :4].repeat(1, 1), 0.0, "linf", 2)
    assert len(region.parts) == 2
    last = Region(
        (x[:, :2], x[:, 2:]), (x[:, :2], x[:, 2:]), (x[:, :2], x[:, 2:]), torch.zeros(4), "linf", 2**-53
    )
    bounds = interval_bounds(program, last, number)
    expected = torch.tanh(2 * x[:, 3] + x[:, 0] + 1)[:, None].expand(-1, 2)
    torch.testing.assert_close(bounds.lower[number], expected, rtol=0, atol=1e-12)
    assert program.operation_of(out) == number  # nothing was added
    assert sources(program.operations[0]) == ()
    assert program.behind(number) == set(range(4))


def test_the_steps_of_a_cell_are_those_of_the_cell() -> None:
    (cell,) = unrolled_cells(nn.GRU(2, 3).double())
    program = StraightProgram()
    states = program.states(cell, [program.input(2)])
    x = drawn(5, 2).double()
    number = program.operation_of(states[0])
    bounds = interval_bounds(program, around(x, 0.0, "linf", 1), number)
    torch.testing.assert_close(bounds.upper[number], cell.step(x, cell.initial_state(5)), rtol=0, atol=1e-12)


class Odd(nn.Module):
    """A network that does something that is not understood."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.layer, self.head = what, nn.GRU(2, 3, batch_first=True), nn.Linear(3, 2)
        self.scale, self.norm, self.over = nn.Parameter(torch.ones(2)), nn.LayerNorm(2), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.what == "branch" and x.sum() > 0:
            return x[:, 0]
        z = self.head(self.layer(x, x.transpose(0, 1) if self.what == "state" else None)[0][:, -1])
        if self.what == "product":
            return z * z
        if self.what == "own":
            return z + self.scale
        if self.what == "layer":
            return self.norm(z)
        if self.what == "overwritten":
            return z + self.over(z)
        return z[0] if self.what == "row" else z


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("branch", "torch.fx cannot trace"),
        ("state", "more than its input, such as a starting state"),
        ("product", "mul has no bounds"),
        ("own", "a tensor of its own outside a layer"),
        ("layer", "a LayerNorm has no bounds"),
        ("overwritten", "pass inplace=False"),
        ("row", "no row of logits"),
    ],
)
def test_what_is_not_understood_is_refused(what: str, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        program_of(Odd(what), drawn(5, 4, 2))


def test_a_recurrent_layer_needs_a_batch_of_sequences() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.RNN(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)[0]

    with pytest.raises(UnsupportedModelError, match="something else than a batch of sequences"):
        program_of(Flat(), drawn(5, 2))


def test_weights_that_are_made_anew_are_refused_in_single_precision() -> None:
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)))
    with pytest.raises(UnsupportedModelError, match="remove_parametrizations"):
        program_of(model, drawn(3, 2))
    assert program_of(model.double(), drawn(3, 2).double()).inputs == 1


def test_hooks_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedModelError, match="hooks at 0"):
        program_of(model, drawn(3, 2))
