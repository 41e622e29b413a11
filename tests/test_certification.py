"""Certified accuracy: below what any attack leaves, above nothing but what is proven."""

import copy
import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.bounds.certification import CertifiedCurve, CertifiedRadii, certified_accuracy, certified_radius
from rnn.bounds.traced_programs import program_of
from rnn.harness import attack
from rnn.models import CELLS, ModelConfig, RecurrentClassifier, build_model
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from spectra.errors import UnsupportedModelError

DIGITS = load_task("digits")
X, Y, BOUNDS = DIGITS.x_test[:20], DIGITS.y_test[:20], DIGITS.bounds
BUDGETS = [0.0, 0.003, 0.01]
LAYER = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@functools.cache
def trained(cell: str) -> nn.Module:
    model = build_model(ModelConfig(cell, features=8, steps=8, hidden=8))
    train(model, DIGITS, config=TrainingConfig(epochs=15, learning_rate=1e-2))
    return model.train()


def curve(cell: str, norm: str = "linf", method: str = "linear") -> CertifiedCurve:
    return _curve(cell, norm, method)


@functools.cache
def _curve(cell: str, norm: str, method: str) -> CertifiedCurve:
    return certified_accuracy(trained(cell), X, Y, norm=norm, budgets=BUDGETS, bounds=BOUNDS, method=method)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("cell", CELLS)
def test_no_attack_succeeds_where_it_is_proven_not_to(cell: str, norm: str) -> None:
    found = curve(cell, norm)
    for budget, certified in zip(BUDGETS, found.certified, strict=True):
        attacked = attack(trained(cell), X, Y, method="pgd", norm=norm, budget=budget, bounds=BOUNDS)
        assert not (attacked.success & certified).any()
    assert 0.1 < found.accuracy[1] <= found.clean_accuracy


@pytest.mark.parametrize("method", ["linear", "interval"])
@pytest.mark.parametrize("cell", CELLS)
def test_curves_begin_at_the_clean_accuracy_and_never_rise(cell: str, method: str) -> None:
    found = curve(cell, method=method)
    with torch.no_grad():
        right = copy.deepcopy(trained(cell)).eval()(X).argmax(1) == Y
    np.testing.assert_array_equal(found.certified[0], right.numpy())
    np.testing.assert_array_equal(found.clean_correct, right.numpy())
    assert (np.diff(found.accuracy) <= 0).all()
    assert not (found.certified[1:] & ~found.certified[:-1]).any()
    np.testing.assert_array_equal(found.accuracy, found.certified.mean(1))
    assert (found.lower <= found.accuracy).all()
    assert (found.accuracy <= found.upper).all()


@pytest.mark.parametrize("cell", CELLS)
def test_linear_proves_all_that_intervals_prove(cell: str) -> None:
    linear, interval = curve(cell), curve(cell, method="interval")
    assert not (interval.certified & ~linear.certified).any()
    assert (linear.certified & ~interval.certified).any()


def test_the_batch_size_changes_nothing() -> None:
    found = certified_accuracy(
        trained("tanh"), X, Y, norm="linf", budgets=BUDGETS, bounds=BOUNDS, batch_size=7
    )
    np.testing.assert_array_equal(found.certified, curve("tanh").certified)


def test_torch_and_the_project_are_proven_alike() -> None:
    own = trained("tanh")
    assert isinstance(own, RecurrentClassifier)

    class Torch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.RNN(8, 8, batch_first=True), own.head
            self.layer.load_state_dict(dict(own.named_parameters(recurse=False)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(x)[0][:, -1])

    found = certified_accuracy(Torch(), X, Y, norm="linf", budgets=BUDGETS, bounds=BOUNDS)
    np.testing.assert_array_equal(found.certified, curve("tanh").certified)


def test_one_unit_and_one_step_is_the_closed_form() -> None:
    model = build_model(ModelConfig("tanh", features=1, steps=1, hidden=1, classes=2)).double()
    with torch.no_grad():
        model.weight_ih_l0.fill_(2.0)
        model.head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model.head.bias.copy_(torch.tensor([-0.5, 0.0]))
    x = torch.tensor([[[0.1]], [[0.3]], [[1.0]]], dtype=torch.float64)
    edge = np.arctanh(0.25) / 2  # where 2 tanh(2 x) = 0.5
    y = (x[:, 0, 0] < edge).long()
    for norm in ("linf", "l2"):
        found = certified_radius(model, x, y, norm=norm, rtol=1e-6)
        expected = np.abs(x[:, 0, 0].numpy() - edge)
        np.testing.assert_allclose(found.radius, expected, rtol=2e-5)
        assert (found.radius < expected).all()


def test_radii_agree_with_the_curve() -> None:
    found = certified_radius(trained("tanh"), X, Y, norm="linf", bounds=BOUNDS, largest=0.5)
    np.testing.assert_array_equal(found.radius > 0, found.clean_correct)
    for budget, certified in list(zip(BUDGETS, curve("tanh").certified, strict=True))[1:]:
        clear = np.abs(found.radius / budget - 1) > 0.011
        np.testing.assert_array_equal((found.radius > budget)[clear], certified[clear])
    assert clear.any()


def test_radii_stop_at_the_largest() -> None:
    found = certified_radius(trained("tanh"), X, Y, norm="linf", largest=1e-4)
    assert set(found.radius) == {0.0, 1e-4}
    np.testing.assert_array_equal(found.radius > 0, found.clean_correct)


def test_ties_and_wrong_predictions_are_not_proven() -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.ones(2, 2))
        model.bias.zero_()
    found = certified_accuracy(model, torch.ones(2, 2), [0, 1], norm="l2", budgets=[0, 1e-6])
    np.testing.assert_array_equal(found.certified, [[True, False], [False, False]])
    radii = certified_radius(model, torch.ones(2, 2), [0, 1], norm="l2")
    np.testing.assert_array_equal(radii.radius, [0, 0])


def test_what_overflows_is_not_proven() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1e300], [-1e300]], dtype=torch.float64))
    x = torch.zeros(1, 1, dtype=torch.float64)
    y = model(x).argmax(1)
    assert certified_accuracy(model, x, y, norm="linf", budgets=[1e20]).accuracy == 0


def test_the_model_comes_back_untouched() -> None:
    model = trained("gru")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    certified_accuracy(model, X[:3], Y[:3], norm="l2", budgets=[0.01])
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_records_say_what_they_hold_and_are_saved(tmp_path: Any) -> None:
    found = curve("tanh")
    assert str(found).startswith("Certified accuracy (linf, linear): ")
    assert repr(found) == str(found)
    found.save(tmp_path / "curve.npz")
    np.testing.assert_array_equal(CertifiedCurve.load(tmp_path / "curve.npz").certified, found.certified)
    radii = certified_radius(nn.Linear(1, 2), torch.ones(1, 1), [0], norm="l2")
    other = certified_radius(nn.Linear(1, 2), torch.ones(1, 1), [0], norm="l2")
    assert str(radii).startswith("Certified radii (l2, linear): ")
    assert {len(radii.radius), len(other.radius)} == {1}
    radii.save(tmp_path / "radii.npz")
    np.testing.assert_array_equal(CertifiedRadii.load(tmp_path / "radii.npz").radius, radii.radius)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"budgets": []}, ValueError, "budgets is empty"),
        ({"budgets": 0.1}, TypeError, "expected a sequence"),
        ({"budgets": "0.1"}, TypeError, "expected a sequence"),
        ({"budgets": [-0.1]}, ValueError, "budgets is -0.1"),
        ({"norm": "l7"}, ValueError, "norm"),
        ({"method": "guess"}, ValueError, "method"),
        ({"level": 1.0}, ValueError, "level is 1.0"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"bounds": (0.4, 0.5)}, ValueError, "outside bounds"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    chosen = {"norm": "linf", "budgets": [0.1], **changes}
    with pytest.raises(error, match=message):
        certified_accuracy(trained("tanh"), X, Y, **chosen)


@pytest.mark.parametrize("option", ["largest", "rtol"])
def test_radii_need_positive_options(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        certified_radius(trained("tanh"), X, Y, norm="linf", **{option: 0.0})


def test_radii_finer_than_the_bounds_round_are_refused() -> None:
    with pytest.raises(ValueError, match="rtol is 1e-300; expected at least 1e-06"):
        certified_radius(trained("tanh"), X, Y, norm="linf", rtol=1e-300)


def test_half_precision_is_refused() -> None:
    with pytest.raises(TypeError, match=r"certify model.float\(\)"):
        certified_accuracy(nn.Linear(2, 2).half(), torch.ones(1, 2).half(), [0], norm="l2", budgets=[0.1])


def test_a_model_that_was_misread_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="other logits than it gives itself"):
        certified_accuracy(Misread(), torch.ones(1, 2), [0], norm="l2", budgets=[0.1])


class Misread(nn.Module):
    """Computes something else while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.head(x)
        return z + z if isinstance(x, torch.Tensor) else z


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_page_on_other_verifiers_exports_what_it_says(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    page = (Path(__file__).resolve().parents[1] / "docs" / "verifiers.md").read_text("utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    exec(snippet.replace("nn.LSTM(", f"nn.{kind}("), names)  # the document is ours
    used = {node.op_type for node in onnx.load("unrolled.onnx").graph.node}
    slicing = {"Concat", "ConstantOfShape", "Gather", "Slice", "Split", "Squeeze", "Unsqueeze", "Constant"}
    assert used - slicing <= set(re.findall(r"`([A-Z][a-z]+)`", page))
    x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    (found,) = runtime.InferenceSession("unrolled.onnx").run(None, {"x": x.numpy()})
    expected = names["head"](names["layer"](x)[0][:, -1]).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_one_row_of_logits_is_certified_not_one_for_each_step() -> None:
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=8, readout="each"))
    with pytest.raises((UnsupportedModelError, ValueError)):
        certified_accuracy(model, X, Y, norm="linf", budgets=BUDGETS, bounds=BOUNDS)
    with pytest.raises(UnsupportedModelError, match="readout 'each'"):
        program_of(model, X)


def test_a_constrained_matrix_is_the_one_that_the_model_computes() -> None:
    model, plain = trained("nnrnn"), build_model(ModelConfig("tanh", features=8, steps=8, hidden=8))
    with torch.no_grad():
        plain.load_state_dict(
            {key: getattr(model, key) for key in LAYER}
            | {f"head.{key}": value for key, value in model.head.state_dict().items()}
        )
    found = certified_accuracy(plain, X, Y, norm="linf", budgets=BUDGETS, bounds=BOUNDS)
    np.testing.assert_array_equal(found.certified, curve("nnrnn").certified)
