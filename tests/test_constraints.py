"""Recurrent matrices scaled to a radius or norm: what comes out, what stays, what the power method does."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from rnn.constraints import KINDS, NormalisedMatrix, normalised
from rnn.models import CELLS, ModelConfig, build_model
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError
from spectra.stability import kreiss_constant

SCALABLE = tuple(cell for cell in CELLS if cell != "orthogonal")


def model_of(cell: str, hidden: int = 12, seed: int = 0, **options: float) -> nn.Module:
    return build_model(ModelConfig(cell, features=3, steps=5, hidden=hidden, seed=seed, **options))


def layer_of(matrix: Tensor) -> nn.RNN:
    layer = nn.RNN(2, len(matrix))
    with torch.no_grad():
        layer.weight_hh_l0.copy_(matrix)
    return layer


def recurrent(model: nn.Module) -> dict[str, np.ndarray]:
    found = {record.name: record for record in named_matrices(model)}
    wanted = [name for name, record in found.items() if record.role == "recurrent" or name == "hidden.weight"]
    return {name: found[name].matrix for name in wanted}


def radius(W: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(W)).max())


def norm(W: np.ndarray) -> float:
    return float(np.linalg.norm(W, 2))


@pytest.mark.parametrize("target", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("kind", ["radius", "norm"])
@pytest.mark.parametrize("cell", SCALABLE)
def test_every_matrix_gets_the_target(cell: str, kind: str, target: float) -> None:
    model = model_of(cell)
    before = recurrent(model)
    found = normalised(model, kind, target=target)
    after = recurrent(model)
    assert [record.name for record in found] == list(after)
    measure = radius if kind == "radius" else norm
    for record in found:
        W, old = after[record.name], before[record.name]
        assert target * (1 - 1e-6) <= measure(W) <= target
        assert (record.kind, record.target, record.converged) == (kind, target, True)
        measured = (radius(old), radius(W), norm(old), norm(W))
        stated = (record.radius_before, record.radius_after, record.norm_before, record.norm_after)
        assert stated == pytest.approx(measured, rel=1e-6)
        assert record.estimate == pytest.approx(measure(old), rel=1e-6)
        if cell not in {"antisymmetric", "lipschitz"}:
            np.testing.assert_allclose(W, record.factor * old, rtol=2e-5, atol=1e-7)
            assert record.factor == pytest.approx(target / measure(old), rel=1e-5)


@pytest.mark.parametrize("cell", SCALABLE)
def test_nothing_else_changes(cell: str) -> None:
    model = model_of(cell)
    before = copy.deepcopy(model.state_dict())
    normalised(model, "norm", target=0.4)
    free = {"nnrnn": ("original", "moduli"), "feedforward": ("hidden.weight",)}
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    allowed = free.get(cell, ("weight_hh_l0", "parametrizations.weight_hh_l0.original"))
    assert changed
    assert all(key.endswith(allowed) for key in changed)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_constrained_matrices_keep_their_form() -> None:
    model = model_of("antisymmetric", gamma=0.25)
    normalised(model, "norm", target=1.0)
    W = model.weight_hh_l0.detach()
    torch.testing.assert_close(W + W.T, -0.5 * torch.eye(12), atol=1e-6, rtol=0)
    model = model_of("lipschitz", gamma=0.2)
    drift = model.drift.weight.detach().clone()
    normalised(model, "radius", target=0.7)
    assert torch.equal(model.drift.weight, drift)


def test_a_constraint_projects_only_what_is_above() -> None:
    for kind in KINDS:
        model = layer_of(torch.diag(torch.tensor([0.5, 0.2])))
        before = model.weight_hh_l0.clone()
        (record,) = normalised(model, kind, target=1.0, only_above=True)
        assert torch.equal(model.weight_hh_l0, before)
        assert record.factor == 1.0
        assert (record.radius_after, record.norm_after) == (record.radius_before, record.norm_before)
        (record,) = normalised(model, kind, target=0.25, only_above=True)
        assert record.factor == pytest.approx(0.5, rel=1e-5)
        (record,) = normalised(model, kind, target=1.0)
        assert record.factor == pytest.approx(4.0, rel=1e-5)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 20), kind=st.sampled_from(["radius", "norm"]))
@settings(max_examples=30, deadline=None)
def test_it_is_a_projection_and_ignores_the_scale(seed: int, n: int, kind: str) -> None:
    W = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    one, other = layer_of(W).double(), layer_of(W).double()
    with torch.no_grad():
        one.weight_hh_l0.copy_(W)
        other.weight_hh_l0.copy_(16 * W)
    normalised(one, kind, target=0.7)
    normalised(other, kind, target=0.7)
    torch.testing.assert_close(one.weight_hh_l0, other.weight_hh_l0, rtol=1e-6, atol=1e-12)
    again = normalised(one, kind, target=0.7)
    assert [record.factor for record in again] == [1.0]


def test_norm_one_means_no_transient_growth_and_radius_one_does_not() -> None:
    W = torch.randn(12, 12, generator=torch.Generator().manual_seed(1)).triu()
    by_norm, by_radius = layer_of(W), layer_of(W)
    normalised(by_norm, "norm")
    normalised(by_radius, "radius")
    K = kreiss_constant(by_norm.weight_hh_l0.detach().numpy(), dynamics="discrete")
    assert float(K) == pytest.approx(1, abs=1e-3)
    K = kreiss_constant(by_radius.weight_hh_l0.detach().numpy(), dynamics="discrete")
    assert 2 < float(K) < np.inf  # finite, since the radius ends below 1


@pytest.mark.parametrize("kind", ["radius-power", "radius-rayleigh"])
def test_the_power_method_finds_a_dominant_real_eigenvalue(kind: str) -> None:
    W = torch.tensor([[-2.0, 1.0, 0.0], [0.0, 0.5, 3.0], [0.0, 0.0, 0.25]])
    model = layer_of(W)
    (record,) = normalised(model, kind)
    assert record.converged
    assert record.estimate == pytest.approx(2, rel=1e-6)
    assert record.radius_after == pytest.approx(1, rel=2e-6)


def test_it_takes_the_number_of_steps_and_the_start_that_it_is_given() -> None:
    W = torch.diag(torch.tensor([1.0, 0.9]))
    start = np.random.default_rng(3).standard_normal(2)
    for steps in (1, 2, 7):
        v = np.linalg.matrix_power(np.diag([1.0, 0.9]), steps - 1) @ start
        v /= np.linalg.norm(v)
        image = W.numpy() @ v
        for kind, expected in (("radius-power", np.linalg.norm(image)), ("radius-rayleigh", v @ image)):
            (record,) = normalised(layer_of(W), kind, iterations=steps, rng=3)
            assert record.estimate == pytest.approx(expected, rel=1e-6)
            assert not record.converged
    same = [normalised(layer_of(W), "radius-power", iterations=2, rng=rng)[0].estimate for rng in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_a_complex_pair_turns_for_ever_and_the_record_says_so() -> None:
    W = torch.tensor([[0.6, -4.0], [0.16, 0.6]])  # eigenvalues 0.6 +- 0.8i, on the unit circle, not normal
    found = {
        (kind, steps): normalised(layer_of(W), kind, iterations=steps)[0]
        for kind in ("radius-power", "radius-rayleigh")
        for steps in (100, 101, 102)
    }
    assert not any(record.converged for record in found.values())
    assert all(record.radius_before == pytest.approx(1, rel=1e-6) for record in found.values())
    estimates = [found["radius-power", steps].estimate for steps in (100, 101, 102)]
    assert max(estimates) > 2 * min(estimates)
    assert max(abs(record.radius_after - 1) for record in found.values()) > 0.3
    (record,) = normalised(layer_of(W), "radius")
    assert record.radius_after == pytest.approx(1, rel=2e-6)
    assert "not converged" in str(found["radius-power", 100])


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_layers_of_torch_gate_by_gate(layer: type[nn.RNNBase]) -> None:
    model = nn.Sequential(layer(3, 5, num_layers=2, bidirectional=True))
    found = normalised(model, "norm", target=0.5)
    after = recurrent(model)
    assert [record.name for record in found] == list(after)
    assert all(norm(W) == pytest.approx(0.5, rel=2e-6) for W in after.values())
    for wrapped in (nn.DataParallel(layer(3, 5)), nn.ModuleDict({"_orig_mod": layer(3, 5)})):
        assert normalised(wrapped, "radius")[0].name.startswith("weight_hh_l0")
    assert normalised(nn.DataParallel(model_of("feedforward")), "norm")[0].name == "hidden.weight"


def test_two_gates_of_a_cell_of_ones_own() -> None:
    cell = nn.RNNCell(3, 4)
    cell.weight_hh = nn.Parameter(torch.randn(8, 4))
    assert [record.name for record in normalised(cell, "norm")] == ["weight_hh[0]", "weight_hh[1]"]


def test_it_may_follow_each_step_of_training() -> None:
    model = model_of("nnrnn", hidden=8)
    optimiser = torch.optim.SGD(model.parameters(), lr=5.0)
    x = torch.randn(16, 5, 3, generator=torch.Generator().manual_seed(0))
    clipped = 0
    for _ in range(5):
        optimiser.zero_grad()
        model(x).logsumexp(1).sum().backward()
        optimiser.step()
        (record,) = normalised(model, "norm", target=1.0, only_above=True)
        clipped += record.factor < 1
        assert record.norm_after <= 1
    assert clipped > 0


def test_half_precision_is_scaled_as_far_as_it_goes() -> None:
    model = layer_of(torch.randn(6, 6, generator=torch.Generator().manual_seed(0))).to(torch.bfloat16)
    (record,) = normalised(model, "norm")
    assert record.norm_after == pytest.approx(1, rel=0.02)


def test_records_print_as_one_line_and_are_plain_values() -> None:
    (record,) = normalised(layer_of(torch.diag(torch.tensor([2.0, 1.0]))), "norm")
    assert isinstance(record, NormalisedMatrix)
    assert str(record) == ("NormalisedMatrix(weight_hh_l0: norm 2, times 0.5; radius 2 -> 1, norm 2 -> 1)")
    assert all(isinstance(value, (str, float, bool)) for value in dataclasses.astuple(record))


def test_orthogonal_and_unknown_constraints_are_refused_before_anything_changes() -> None:
    model = nn.ModuleDict({"free": nn.RNN(2, 3), "bound": model_of("orthogonal")})
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UnsupportedModelError, match="Orthogonal, which has radius and norm 1 whatever"):
        normalised(model, "norm", target=0.5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    normed = parametrizations.weight_norm(nn.RNN(2, 3), "weight_hh_l0")
    with pytest.raises(UnsupportedModelError, match="computed by _WeightNorm, which is not understood"):
        normalised(normed, "norm")
    with pytest.raises(UnsupportedModelError, match="projection weight_hr"):
        normalised(nn.LSTM(2, 4, proj_size=3), "norm")
    with pytest.raises(UnsupportedModelError, match="has no recurrent matrix"):
        normalised(nn.Linear(2, 2), "norm")


def test_bad_input_is_refused() -> None:
    model = model_of("tanh")
    with pytest.raises(TypeError, match=r"model is a dict; expected a torch\.nn\.Module"):
        normalised({}, "norm")
    with pytest.raises(ValueError, match="kind is 'rho'; expected one of 'radius', 'radius-power'"):
        normalised(model, "rho")
    with pytest.raises(ValueError, match="target is 0"):
        normalised(model, "norm", target=0)
    with pytest.raises(ValueError, match="iterations is 0"):
        normalised(model, "radius-power", iterations=0)
    with pytest.raises(TypeError, match="rng is 'seed'"):
        normalised(model, "norm", rng="seed")
    with torch.no_grad():
        model.weight_hh_l0[0, 0] = float("nan")
    with pytest.raises(ValueError, match="weight_hh_l0 has NaN or infinite entries"):
        normalised(model, "norm")


def test_what_cannot_be_scaled_is_refused_before_anything_changes() -> None:
    model = nn.GRU(2, 3)
    with torch.no_grad():
        model.weight_hh_l0[3:6] = torch.tensor([[0.0, 1, 2], [0, 0, 3], [0, 0, 0]])
    before = model.weight_hh_l0.clone()
    with pytest.raises(ValueError, match=r"weight_hh_l0\[z\] has radius 0, so that no scaling gives it 1"):
        normalised(model, "radius")
    assert torch.equal(model.weight_hh_l0, before)
    normalised(model, "radius", only_above=True)
    tiny = layer_of(torch.full((2, 2), 1e-38))
    with pytest.raises(ValueError, match="no scaling gives it"):
        normalised(tiny, "norm", target=1e300)
    with pytest.raises(ValueError, match=r"holds the fixed part -0\.5 I \(gamma\)"):
        normalised(model_of("antisymmetric", gamma=0.5), "norm", target=0.4)
