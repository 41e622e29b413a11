"""Perturbed weights: naive twins of each kind, closed forms of the worst case, and a model left as it was."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_padded_sequence

from rnn.attacking.extremal_perturbations import pseudospectral_perturbation
from rnn.attacking.weight_perturbations import WEIGHT_PERTURBATIONS, weight_robustness
from rnn.attacking.weight_slots import plain_twin, shifted, weight_slots
from rnn.attacking.weight_verdicts import WeightRobustness
from rnn.measuring.rounding import NUMBER_FORMATS, rounded
from rnn.models import ModelConfig, build_model
from rnn.study.statistics import wilson_interval
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError

SIZES = [0.05, 0.2, 0.6]


def network(cell: str = "tanh", **options: object) -> nn.Module:
    return build_model(ModelConfig(cell, features=3, steps=6, hidden=7, classes=4, seed=1, **options))


def data(model: nn.Module, count: int = 60) -> tuple[Tensor, Tensor]:
    """Inputs, and as labels what the model says of them."""
    x = torch.randn(count, 6, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return x, model(x).argmax(1)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((model(x.to(next(model.parameters()))).argmax(1) == y).double().mean())


def with_matrices(model: nn.Module, changed: dict[str, np.ndarray]) -> nn.Module:
    """A float64 copy with other values of some parameters."""
    twin = copy.deepcopy(model).double()
    with torch.no_grad():
        for name, values in changed.items():
            twin.get_parameter(name).copy_(torch.as_tensor(values))
    return twin


@pytest.mark.parametrize("kind", ["gaussian", "gradient", "pseudospectral", "pruning"])
@pytest.mark.parametrize("cell", ["gru", "feedforward"])
def test_size_zero_gives_the_clean_accuracy(kind: str, cell: str) -> None:
    model = network(cell)
    x, y = data(model)
    y[:6] = (y[:6] + 1) % 4
    matrices = ["hidden.weight"] if cell == "feedforward" else None
    found = weight_robustness(model, x, y, kinds=[kind], sizes=[0], shares=[0], matrices=matrices, steps=2)
    assert found.accuracy.tolist() == [found.clean_accuracy] == [0.9]
    assert found.relative_norms.tolist() == [0]
    np.testing.assert_allclose(found.loss, found.clean_loss)


def test_pseudospectral_perturbations_are_put_into_the_weights() -> None:
    model = network("lstm")
    x, y = data(model)
    found = weight_robustness(model, x, y, kinds=["pseudospectral"], sizes=SIZES)
    for size, measured, relative in zip(SIZES, found.accuracy, found.relative_norms, strict=True):
        gates = [record.matrix for record in named_matrices(model) if record.role == "recurrent"]
        moved = [
            W + pseudospectral_perturbation(W, size * np.linalg.norm(W, 2), dynamics="discrete").scaled
            for W in gates
        ]
        assert accuracy(with_matrices(model, {"weight_hh_l0": np.concatenate(moved)}), x, y) == measured
        assert relative == pytest.approx(size, rel=1e-12)
    assert found.accuracy[-1] < 1
    assert found.matrices.tolist() == [f"weight_hh_l0[{gate}]" for gate in "ifgo"]


def test_the_worst_direction_is_worse_than_the_others_and_never_rises() -> None:
    model = network("gru")
    x, y = data(model)
    kinds = ["gradient", "gaussian", "pseudospectral"]
    found = weight_robustness(model, x, y, kinds=kinds, sizes=SIZES, draws=5, steps=10)
    gradient, gaussian, pseudospectral = (found.curve(kind)[1] for kind in kinds)
    assert (np.diff(gradient) <= 0).all()
    assert (gradient <= found.lowest[3:6]).all()
    assert (gradient <= pseudospectral).all()
    assert gradient[-1] < min(pseudospectral[-1], gaussian[-1])
    assert (found.relative_norms <= found.sizes * (1 + 1e-11)).all()
    np.testing.assert_allclose(found.relative_norms[3:], found.sizes[3:], rtol=1e-11)


@pytest.mark.parametrize("past", [-0.01, 0.01])
def test_the_worst_case_of_a_linear_classifier(past: float) -> None:
    """The margin (w_1 - w_2)ᵀx changes by at most √2 ε ‖x‖: over that ratio the prediction turns."""
    random = torch.Generator().manual_seed(0)
    layer = nn.Linear(5, 2, bias=False).double()
    x = torch.randn(1, 5, generator=random, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(2, 5, generator=random))
        scores = layer(x)[0].sort(descending=True).values
        needed = float(
            (scores[0] - scores[1]) / (2**0.5 * x.norm() * torch.linalg.matrix_norm(layer.weight, 2))
        )
    y = layer(x).argmax(1)
    found = weight_robustness(layer, x, y, kinds=["gradient"], sizes=[needed * (1 + past)])
    assert found.accuracy.tolist() == [float(past < 0)]


def test_pruning_is_that_of_torch() -> None:
    model = network("tanh")
    x, y = data(model)
    found = weight_robustness(model, x, y, kinds=["pruning"], shares=[0.9, 0.5, 1.0])
    assert found.sizes.tolist() == [0.5, 0.9, 1.0]
    for share, measured in zip(found.sizes, found.accuracy, strict=True):
        twin = copy.deepcopy(model).double()
        prune.l1_unstructured(twin, "weight_hh_l0", amount=float(share))
        assert accuracy(twin, x, y) == measured
    assert found.relative_norms[2] == pytest.approx(1)


def test_number_formats_round_the_stored_tensor() -> None:
    model = network("gru", gain=3.0)
    x, y = data(model, 200)
    found = weight_robustness(model, x, y, kinds=NUMBER_FORMATS)
    assert found.kinds.tolist() == list(NUMBER_FORMATS)
    W = model.weight_hh_l0.detach().double().numpy()
    for kind, measured, size in zip(NUMBER_FORMATS, found.accuracy, found.sizes, strict=True):
        values = rounded(W, kind)
        assert accuracy(with_matrices(model, {"weight_hh_l0": values}), x, y) == measured
        ratios = [
            np.linalg.norm(a - b, 2) / np.linalg.norm(b, 2)
            for a, b in zip(np.split(values, 3), np.split(W, 3), strict=True)
        ]
        assert size == pytest.approx(max(ratios), rel=1e-12)
    only = weight_robustness(model, x, y, kinds=["int8_per_tensor"], matrices=["weight_hh_l0[n]"])
    values = np.concatenate([W[:14], rounded(W, "int8_per_tensor")[14:]])
    assert only.accuracy[0] == accuracy(with_matrices(model, {"weight_hh_l0": values}), x, y)


def test_noise_has_its_intervals_and_the_same_seed_gives_the_same() -> None:
    model = network("tanh")
    x, y = data(model)
    options = {"kinds": ["gaussian"], "sizes": [0.3], "draws": 7, "level": 0.9}
    found = weight_robustness(model, x, y, rng=3, **options)
    random, W = np.random.default_rng(3), model.weight_hh_l0.detach().double().numpy()
    values = []
    for _ in range(7):
        G = random.standard_normal(W.shape)
        E = 0.3 * np.linalg.norm(W, 2) * G / np.linalg.norm(G, 2)
        values.append(accuracy(with_matrices(model, {"weight_hh_l0": W + E}), x, y))
    assert len(set(values)) > 1
    np.testing.assert_allclose(
        [found.accuracy[0], found.lowest[0], found.highest[0]], [np.mean(values), min(values), max(values)]
    )
    expected = stats.t.interval(0.9, 6, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose([found.draws_lower[0], found.draws_upper[0]], expected, rtol=1e-10)
    expected = wilson_interval(60 * np.mean(values), 60, confidence=0.9)
    np.testing.assert_allclose([found.lower[0], found.upper[0]], np.ravel(expected), rtol=1e-12)
    again = weight_robustness(model, x, y, rng=3, batch_size=11, **options)
    np.testing.assert_array_equal(again.accuracy, found.accuracy)
    other = weight_robustness(model, x, y, rng=4, **options)
    assert other.loss[0] != found.loss[0]


def test_batches_change_nothing_in_the_ascent() -> None:
    model = network("tanh")
    x, y = data(model)
    whole = weight_robustness(model, x, y, kinds=["gradient"], sizes=SIZES, steps=5)
    parts = weight_robustness(model, x, y, kinds=["gradient"], sizes=SIZES, steps=5, batch_size=20)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-6)


class Network(nn.Module):
    """A layer of torch with dropout, batch norm and a head."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm1d(layer.proj_size or layer.hidden_size)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(self.norm.num_features, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.norm(self.layer(x)[0][:, -1])))


@pytest.mark.parametrize("failing", [False, True])
def test_the_model_comes_back_untouched(failing: bool) -> None:
    torch.manual_seed(0)
    layer = parametrizations.weight_norm(nn.GRU(3, 5, batch_first=True), "weight_hh_l0")
    model = Network(layer).train()
    model.head.weight.requires_grad_(False)
    model.head.bias.grad = torch.ones(4)
    x, y = data(model.eval())
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kind, random = type(layer), torch.random.get_rng_state()
    if failing:
        with pytest.raises(ValueError, match="holds the label 9"):
            weight_robustness(model, x, y + 9 - y)
    else:
        found = weight_robustness(model, x, y, sizes=[0.1], draws=2, steps=2)
        assert found.clean_accuracy == 1
        assert found.matrices.tolist() == [f"layer.weight_hh_l0[{gate}]" for gate in "rzn"]
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [p.requires_grad for p in model.head.parameters()] == [False, True]
    assert torch.equal(model.head.bias.grad, torch.ones(4))
    assert type(layer) is kind
    assert layer.weight_hh_l0.grad_fn is not None


def test_slots_have_the_names_and_values_of_named_matrices() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(3, 4, num_layers=2, bidirectional=True),
            "cell": nn.GRUCell(2, 3),
            "head": nn.Sequential(nn.Linear(4, 5), nn.Conv1d(2, 3, 4)),
        }
    )
    named = {record.name: record.matrix for record in named_matrices(model)}
    twin = plain_twin(model)
    slots = {slot.name: slot.matrix.numpy() for slot in weight_slots(twin, list(named))}
    assert slots.keys() == named.keys()
    for name, matrix in named.items():
        np.testing.assert_array_equal(slots[name], matrix)
    assert all(slot.is_recurrent for slot in weight_slots(twin))
    assert len(weight_slots(twin)) == 4 * 4 + 3


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated", "ignore:.*spectral_norm.*")
def test_composed_weights_become_plain_ones() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(5, 5) for _ in range(4)))
    nn.utils.weight_norm(model[0])
    nn.utils.spectral_norm(model[1])
    prune.random_unstructured(model[2], "weight", 0.5)
    parametrizations.orthogonal(model[3])
    x = torch.randn(4, 5)
    model(x)
    model.eval()
    twin = plain_twin(model)
    assert list(dict(twin.named_parameters())).count("3.weight") == 1
    np.testing.assert_allclose(twin(x.double()).numpy(), model(x).detach().numpy(), atol=1e-6)
    slots = weight_slots(twin)
    assert sorted(slot.name for slot in slots) == [f"{k}.weight" for k in range(4)]
    clean = twin(x.double())
    with shifted(slots, [torch.ones_like(slot.matrix) for slot in slots]):
        assert not torch.equal(twin(x.double()), clean)
    assert torch.equal(twin(x.double()), clean)
    with pytest.raises(ValueError, match="shorter"), shifted(slots, [torch.ones(5, 5, dtype=torch.float64)]):
        pass
    assert torch.equal(twin(x.double()), clean)


class Longest(nn.Module):
    """Logits after the last frame of each sequence, packed or padded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: object, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.head(self.layer(x)[1][0])


def test_sequences_of_any_length_packed_or_padded() -> None:
    torch.manual_seed(0)
    model, x, lengths = Longest(), torch.randn(40, 6, 3), torch.arange(40) % 5 + 2
    with torch.no_grad():
        y = model(x, lengths).argmax(1)
    given = {"kinds": ["gradient", "pruning"], "sizes": [0.3], "shares": [0.9], "steps": 5}
    padded = weight_robustness(model, x, y, lengths=lengths, **given)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    again = weight_robustness(model, packed, y, **given)
    np.testing.assert_array_equal(again.accuracy, padded.accuracy)
    np.testing.assert_allclose(again.loss, padded.loss, rtol=1e-9)
    gates = [record.matrix for record in named_matrices(model) if record.role == "recurrent"]
    kept = [np.where(np.abs(W) >= np.sort(np.abs(W), axis=None)[round(0.9 * W.size)], W, 0) for W in gates]
    twin = with_matrices(model, {"layer.weight_hh_l0": np.concatenate(kept)})
    with torch.no_grad():
        naive = (twin(x.double(), lengths).argmax(1) == y).double().mean()
    assert padded.accuracy[1] == float(naive) < 1
    assert padded.accuracy[0] < padded.clean_accuracy == 1


def test_labels_of_frames_and_regression() -> None:
    torch.manual_seed(0)
    layer, x = nn.GRU(3, 4, batch_first=True), torch.randn(30, 5, 3)
    with torch.no_grad():
        y = layer.double()(x.double())[0].float()
    layer.float()
    given = {"kinds": ["pruning"], "shares": [1.0]}
    with torch.no_grad():
        moved = with_matrices(layer, {"weight_hh_l0": np.zeros((12, 4))})(x.double())[0]
    frames = weight_robustness(layer, x, y.argmax(2), **given)
    right = (moved.argmax(2) == y.argmax(2)).all(1).double().mean()
    assert frames.accuracy[0] == float(right) < frames.clean_accuracy == 1
    most = weight_robustness(layer, x, y.argmax(2), wrong_share=0.5, **given)
    assert most.accuracy[0] > frames.accuracy[0]
    numbers = weight_robustness(layer, x, y, tolerance=0.3, **given)
    near = ((moved - y).abs() <= 0.3).flatten(1).all(1).double().mean()
    assert numbers.accuracy[0] == pytest.approx(float(near))
    assert 0 < numbers.accuracy[0] < 1


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projections_are_perturbed_as_they_are_stored() -> None:
    torch.manual_seed(0)
    model = Network(nn.LSTM(3, 5, proj_size=2, batch_first=True)).eval()
    x, y = data(model)
    found = weight_robustness(model, x, y, kinds=["gaussian", "gradient"], sizes=[0.1], steps=2, draws=2)
    assert len(found.matrices) == 4
    with pytest.raises(ValueError, match=r"layer.weight_hh_l0\[i\] is 5 x 2; expected square"):
        weight_robustness(model, x, y, kinds=["pseudospectral"])


def test_a_matrix_of_zeros_stays() -> None:
    model = network("tanh")
    with torch.no_grad():
        model.weight_hh_l0.zero_()
    x, y = data(model)
    found = weight_robustness(model, x, y, sizes=[0.5], steps=2, draws=2)
    assert set(found.kinds) == set(WEIGHT_PERTURBATIONS)
    assert (found.accuracy == 1).all()
    assert (found.relative_norms == 0).all()


def test_records_are_saved_and_read(tmp_path: object) -> None:
    model = network("tanh")
    x, y = data(model)
    found = weight_robustness(model, x, y, kinds=["gaussian", "pruning"], sizes=[0.3], draws=2)
    found.save(tmp_path / "found.npz")
    again = WeightRobustness.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(again.accuracy, found.accuracy)
    assert str(again) == str(found)
    assert str(found).startswith("WeightRobustness of 1 matrix on 60 examples: clean accuracy 100.0%, lowest")
    assert [values.tolist() for values in found.curve("gaussian")] == [[0.3], [found.accuracy[0]]]
    with pytest.raises(ValueError, match="kind"):
        found.curve("gradient")
    dataclasses.replace(found, loss=np.zeros(9)).save(tmp_path / "damaged.npz")
    with pytest.raises(ValueError, match="no saved result"):
        WeightRobustness.load(tmp_path / "damaged.npz")


def test_by_default_what_applies_is_done_and_the_rest_is_said(tmp_path: object) -> None:
    few = {"sizes": [0.1], "draws": 2, "steps": 2}
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    mlp = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4))
    y = mlp(x).argmax(1)
    found = weight_robustness(mlp, x, y, **few)
    assert set(found.kinds) == {*WEIGHT_PERTURBATIONS} - {"pseudospectral"}
    assert found.left_out.tolist() == ["pseudospectral: 0.weight is 5 x 3, not square"]
    assert str(found).endswith("; left out pseudospectral: 0.weight is 5 x 3, not square")
    found.save(tmp_path / "found.npz")
    assert WeightRobustness.load(tmp_path / "found.npz").left_out.tolist() == found.left_out.tolist()
    with pytest.raises(ValueError, match="weight is 5 x 3; expected square matrices"):
        weight_robustness(mlp, x, y, kinds=WEIGHT_PERTURBATIONS, **few)
    with torch.no_grad():
        mlp[0].weight.mul_(1e6)
    left_out = weight_robustness(mlp, x, mlp(x).argmax(1), **few).left_out.tolist()
    assert "float16: 0.weight lies in a tensor with entries beyond the largest number of float16" in left_out
    square = weight_robustness(network(), *data(network(), 10), **few)
    assert set(square.kinds) == {*WEIGHT_PERTURBATIONS}
    assert square.left_out.tolist() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    model = network()
    x, y = data(model, 10)
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "weight_hh" in name)[0, 0] = value
    with pytest.raises(ValueError, match=r"model has a NaN or infinite entry in .*weight_hh"):
        weight_robustness(model, x, y, kinds=["gaussian"], sizes=[0.1], draws=2)


def test_refusals() -> None:
    model = network("tanh")
    x, y = data(model)
    for options, error, said in (
        ({"kinds": "gaussian"}, TypeError, "kinds is 'gaussian'; expected several"),
        ({"kinds": []}, ValueError, "kinds is empty"),
        ({"kinds": ["noise"]}, ValueError, "kinds"),
        ({"sizes": 0.1}, TypeError, "sizes is 0.1; expected several"),
        ({"sizes": [-1]}, ValueError, "sizes"),
        ({"shares": [1.5]}, ValueError, "shares holds 1.5"),
        ({"draws": 1}, ValueError, "draws"),
        ({"steps": 0}, ValueError, "steps"),
        ({"level": 1}, ValueError, "level is 1"),
        ({"matrices": "weight_hh_l0"}, TypeError, "matrices is 'weight_hh_l0'; expected several"),
        ({"matrices": []}, ValueError, "matrices is empty"),
        (
            {"matrices": ["head"]},
            ValueError,
            "matrices holds 'head'; expected some of weight_ih_l0, weight_hh_l0",
        ),
    ):
        with pytest.raises(error, match=said):
            weight_robustness(model, x, y, **options)
    with pytest.raises(UnsupportedModelError, match="has no weight matrix"):
        weight_robustness(nn.Flatten(), x, y)
    with pytest.raises(TypeError, match="x is"):
        weight_robustness(model, [1.0], y)
    large = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        large.weight.fill_(1e5)
    x, y = torch.ones(1, 2), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="weight lies in a tensor with 4 entries beyond the largest number"):
        weight_robustness(large, x, y, kinds=["float16"])
    with pytest.raises(ValueError, match="perturbed model are NaN or infinite; use smaller sizes"):
        weight_robustness(Overflowing(), x, y, kinds=["gradient"], sizes=[0.1])


class Overflowing(nn.Module):
    """Finite logits, but an infinite slope."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.layer(x)
        return scores + (scores - scores.detach()).abs().sqrt()
