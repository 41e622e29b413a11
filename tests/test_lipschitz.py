"""Bounds of whole networks: what the graph says, above every slope found, no more than what is proven."""

import copy
import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rnn.bounds.lipschitz import LipschitzBounds, lipschitz_bounds
from rnn.bounds.slopes import LocalLipschitz, local_lipschitz
from rnn.harness import attack
from rnn.models import CELLS, ModelConfig, RecurrentClassifier, build_model
from rnn.networks import cell_kinds
from spectra.errors import UnsupportedModelError


class Made(nn.Module):
    """A network whose forward is a function of itself and its input."""

    def __init__(self, forward: Callable[..., object], **parts: object) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.call = forward

    def forward(self, x: Tensor) -> object:
        return self.call(self, x)


def diagonal(*entries: float) -> nn.Linear:
    layer = nn.Linear(len(entries), len(entries))
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor(entries)))
    return layer


X = torch.zeros(4, 3)
A, B = diagonal(1, 2, 3), diagonal(5, 1, 1)

GRAPHS = [
    ("a chain", Made(lambda m, x: m.b(torch.relu(m.a(x))), a=A, b=B), 15),
    ("a residual block", Made(lambda m, x: x + m.a(x), a=A), 4),
    ("a difference", Made(lambda m, x: torch.sub(m.a(x), m.b(x), alpha=2), a=A, b=B), 13),
    ("side by side", Made(lambda m, x: torch.cat((m.a(x), m.b(x), x), dim=1), a=A, b=B), math.sqrt(35)),
    ("a layer used twice", Made(lambda m, x: m.a(m.a(x)), a=A), 9),
    ("a number", Made(lambda m, x: m.a(x) * 3 / 2 - 1, a=A), 4.5),
    ("a number before", Made(lambda m, x: 1 - 2 * x), 2),
    ("a parameter", Made(lambda m, x: x * m.p + m.p, p=nn.Parameter(torch.tensor([1.0, -7.0, 2.0]))), 7),
    ("a division", Made(lambda m, x: x / m.p, p=nn.Parameter(torch.tensor([1.0, -0.5, 2.0]))), 2),
    ("a functional layer", Made(lambda m, x: F.linear(x, m.a.weight, m.a.bias), a=A), 3),
    ("functions", Made(lambda m, x: F.leaky_relu(F.elu(m.a(x), alpha=2.0), 0.1).sigmoid(), a=A), 1.5),
    ("dropout", Made(lambda m, x: F.dropout(m.a(x), 0.5, m.training), a=A), 3),
    ("shapes", Made(lambda m, x: m.a(x.view(x.size(0), -1)).reshape(x.shape[0], -1), a=A), 3),
    ("repeated", Made(lambda m, x: x[:, :1] + m.a(x), a=A), 3 + math.sqrt(3)),
    ("a mean", Made(lambda m, x: m.a(x).mean(1), a=A), math.sqrt(3)),
    ("a sum", Made(lambda m, x: m.a(x).sum(dim=1, keepdim=True), a=A), 3 * math.sqrt(3)),
    ("parts", Made(lambda m, x: torch.stack(x.chunk(3, dim=1)[:1])), 1),
    ("repeated, by name", Made(lambda m, x: torch.add(x[:, :1], other=m.p), p=nn.Parameter(X)), math.sqrt(3)),
    ("repeated, a method", Made(lambda m, x: x[:, 2:].sub(other=m.a(x)), a=A), 3 + math.sqrt(3)),
    ("in place", Made(lambda m, x: m.a(x).add_(x), a=A), 4),
    ("in place, a shortcut", Made(lambda m, x: plus(m.b(m.r(m.a(x))), x), a=A, b=B, r=nn.ReLU(True)), 16),
    ("more than one output", Made(lambda m, x: (m.a(x), m.b(x)), a=A, b=B), 3),
    ("a dictionary", Made(lambda m, x: {"logits": m.a(x), "state": x * x}, a=A), 3),
    ("a constant", Made(lambda m, x: m.p * 2, p=nn.Parameter(torch.ones(4, 3))), 0),
    ("a factor that is computed", Made(lambda m, x: x * (m.p * 2), p=nn.Parameter(torch.ones(3))), 2),
    ("precision", Made(lambda m, x: m.a(x).to(torch.float64), a=A), 3),
    ("a sequence", nn.Sequential(A, nn.Sequential(nn.Tanh(), B), nn.Softmax(1)), 7.5),
    ("a layer alone", A, 3),
]


def overwritten(x: Tensor) -> Tensor:
    x[0] = x[1] * 100
    return x


def plus(left: Tensor, right: Tensor) -> Tensor:
    left += right
    return left


@pytest.mark.parametrize(("name", "model", "expected"), GRAPHS, ids=[name for name, _, _ in GRAPHS])
def test_graphs_are_bounded_as_they_are_written(name: str, model: nn.Module, expected: float) -> None:
    found = lipschitz_bounds(model, X)
    assert found.certified, found.reason
    assert found.bound == pytest.approx(expected, rel=1e-9)
    assert float(found) == found.bound >= expected * (1 - 1e-15)
    x, y = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    twin = copy.deepcopy(model).double().eval()

    def first(value: object) -> Tensor:
        while isinstance(value, (tuple, dict)):
            value = next(iter(value.values())) if isinstance(value, dict) else value[0]
        return value

    with torch.no_grad():
        assert (first(twin(x)) - first(twin(y))).norm() <= found.bound * (x - y).norm()


NOT_CERTIFIED = [
    (Made(lambda m, x: m.a(x) if x.sum() > 0 else x, a=A), "cannot trace the network .TraceError"),
    (Made(lambda m, x: m.a(x) * x, a=A), "mul: a product of two signals"),
    (Made(lambda m, x: x @ x.T), "is not understood"),
    (Made(lambda m, x: torch.matmul(x, m.a(x)), a=A), "matmul: a product of two signals"),
    (Made(lambda m, x: 1 / m.a(x), a=A), "a quotient by a signal"),
    (Made(lambda m, x: x / (m.p - m.p), p=nn.Parameter(torch.ones(3))), "a divisor has no value"),
    (Made(lambda m, x: F.scaled_dot_product_attention(x, x, x)), "attention is not Lipschitz"),
    (Made(lambda m, x: nn.functional.linear(x, x)), "a product of two signals"),
    (Made(lambda m, x: torch.fft.fft(x)), "the operation fft_fft is not understood"),
    (Made(lambda m, x: F.dropout(x, 0.1)), "it drops entries in evaluation as well"),
    (Made(lambda m, x: x[torch.tensor([0, 0, 0])]), "may repeat entries"),
    (Made(lambda m, x: x.T), "the attribute T is not understood"),
    (Made(lambda m, x: x.to(torch.int64)), "a conversion to whole numbers jumps"),
    (Made(lambda m, x: x.to(m.p), p=torch.zeros(1, dtype=torch.int64)), "type of another tensor"),
    (Made(lambda m, x: x.sum(1, dtype=torch.int64)), "a conversion to whole numbers jumps"),
    (Made(lambda m, x: F.softplus(x, 1.0, 2.0)), "it jumps at its threshold 2"),
    (Made(lambda m, x: F.softmax(x, m.a(x)), a=A), "its arguments are not understood"),
    (Made(lambda m, x: x.add_(m.a(x)) + x, a=A), "may overwrite a tensor"),
    (Made(lambda m, x: overwritten(m.a(x)), a=A), "does not support item assignment"),
    (Made(lambda m, x: torch.div(x, 2, rounding_mode="floor")), "rounded jumps"),
    (Made(lambda m, x: x.view(torch.int32)), "the bits of a tensor"),
    (Made(lambda m, x: torch.add(input=x, other=x)), "its arguments are not understood"),
    (Made(lambda m, x: torch.selu_(x) + x), "selu_: it may overwrite"),
    (Made(lambda m, x: F.selu(x, inplace=True) + x), "selu: it may overwrite"),
    (Made(lambda m, x: m.s(m.y(x)) + x, s=nn.SELU(inplace=True), y=nn.Identity()), "may overwrite a tensor"),
    (Made(lambda m, x: m.a(x) + m.g(x), a=A, g=nn.GLU()), "g: a product of two signals"),
    (Made(lambda m, x: m.g(x, x[:1])[1], g=nn.GRU(3, 3)), "called with more than its input"),
    (Made(lambda m, x: m.g(x)[2:], g=nn.GRU(3, 3)), "of a recurrent layer is not understood"),
    (nn.Sequential(A, nn.Hardshrink()), "it jumps"),
]


@pytest.mark.parametrize(("model", "reason"), NOT_CERTIFIED, ids=[reason for _, reason in NOT_CERTIFIED])
def test_what_is_not_proven_is_not_certified(model: nn.Module, reason: str) -> None:
    found = lipschitz_bounds(model, steps=4)  # some of them cannot be run at all
    assert not found.certified
    assert re.search(reason, found.reason)
    assert str(found).endswith(f"(not certified: {found.reason})")


def test_what_cannot_be_traced_gives_the_product_of_the_layers() -> None:
    model = Made(lambda m, x: m.b(m.a(x)) if x.sum() >= 0 else x, a=A, b=B)
    found = lipschitz_bounds(model, X)
    assert found.bound == pytest.approx(15, rel=1e-9)
    assert not found.certified
    assert [layer.name for layer in found.layers] == ["a", "b"]
    attention = lipschitz_bounds(nn.TransformerEncoderLayer(4, 2, batch_first=True))
    assert attention.bound == math.inf
    assert "Kim, Papamakarios and Mnih" in attention.reason
    assert len(attention.layers) == 1


def test_without_shapes_sums_of_tensors_are_not_certified() -> None:
    residual = Made(lambda m, x: x + m.a(x), a=A)
    assert lipschitz_bounds(residual, X).certified
    found = lipschitz_bounds(residual)
    assert not found.certified
    assert "pass x" in found.reason
    scaled = Made(lambda m, x: x * x.size(1))
    assert lipschitz_bounds(scaled, X).bound == pytest.approx(3)
    assert "pass x" in lipschitz_bounds(scaled).reason
    divided = Made(lambda m, x: x / x.size(1))
    assert lipschitz_bounds(divided, X).bound == pytest.approx(1 / 3)
    assert "a divisor has no value that is known, or is 0; pass x" in lipschitz_bounds(divided).reason
    added = Made(lambda m, x: x.sum(1))
    assert "needs the number of entries; pass x" in lipschitz_bounds(added).reason


def test_pooling_by_functions_is_that_of_layers() -> None:
    image = torch.zeros(2, 3, 8, 8)
    conv = nn.Conv2d(3, 4, 3, padding=1)
    by_function = Made(
        lambda m, x: F.adaptive_avg_pool2d(F.max_pool2d(m.c(x), 3, 2, 1), 2).flatten(1), c=conv
    )
    by_layer = nn.Sequential(conv, nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    assert lipschitz_bounds(by_function, image).bound == lipschitz_bounds(by_layer, image).bound
    assert lipschitz_bounds(by_layer, image).certified


@pytest.mark.parametrize("kind", CELLS)
def test_our_own_models_are_certified(kind: str) -> None:
    model = build_model(ModelConfig(kind, features=2, steps=4, hidden=5, classes=3))
    x = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))
    found = lipschitz_bounds(model, x)
    assert found.certified
    assert local_lipschitz(model, x).largest <= found.bound
    recurrent = {"RNN", "GRU", "LSTM", "UnrolledCell"}
    assert [layer.steps for layer in found.layers if layer.kind in recurrent] == (
        [4] if kind != "feedforward" else []
    )


def test_a_readout_after_each_step_is_bounded_for_all_of_them() -> None:
    config = ModelConfig("antisymmetric", features=2, steps=4, hidden=5, classes=3)
    each = dataclasses.replace(config, readout="each")
    x = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))
    found, last = lipschitz_bounds(build_model(each), x), lipschitz_bounds(build_model(config), x)
    assert found.certified
    assert found.bound > last.bound


@pytest.mark.parametrize("cell", ["antisymmetric", "lipschitz"])
def test_euler_steps_are_bounded_by_their_own_jacobian(cell: str) -> None:
    model = build_model(ModelConfig(cell, features=2, steps=1, hidden=5, classes=3, eta=0.2)).double()
    x = torch.zeros(1, 1, 2, dtype=torch.float64)  # one step from the state zero: h = eta tanh(U x)
    head, U = model.head.weight.detach().numpy(), model.weight_ih_l0.detach().numpy()
    expected = 0.2 * np.linalg.norm(head, 2) * np.linalg.norm(U, 2)
    assert lipschitz_bounds(model, x).bound == pytest.approx(expected, rel=1e-9)


def test_cells_of_users_are_not_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cell_kinds._REGISTERED, "mine", cell_kinds.CellKind(lambda u, w, h: torch.sin(u + w)))
    found = lipschitz_bounds(build_model(ModelConfig("mine", features=2, steps=4)), torch.zeros(1, 4, 2))
    assert not found.certified
    assert found.bound == math.inf


def test_our_own_models_with_changes_are_not_taken_for_what_they_were() -> None:
    class Louder(RecurrentClassifier):
        def forward(self, x: Tensor) -> Tensor:
            return 100 * super().forward(x)

    config = ModelConfig("tanh", features=2, steps=4, hidden=5, classes=3)
    hooked, replaced = build_model(config), build_model(config)
    hooked.register_forward_hook(lambda module, args, output: 100 * output)
    replaced.forward = lambda x: 100 * RecurrentClassifier.forward(replaced, x)
    for model in (Louder(config), hooked, replaced):
        found = lipschitz_bounds(model)  # the hook and the method are those of the float32 model
        assert not found.certified
        assert found.bound == math.inf  # the recurrent weights are those of no layer


class Outputs(nn.Module):
    """The outputs of a recurrent layer, all of them in one vector."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0].flatten(1)


class Reader(nn.Module):
    """A network as users write them: an embedding or not, a recurrent layer, and a head on its last step."""

    def __init__(self, layer: nn.Module, how: str, words: int = 0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 3) if words else None
        self.layer, self.how = layer, how
        self.head = nn.Linear(layer.hidden_size * (1 + layer.bidirectional), 2)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:
            raise NotImplementedError
        x = x if self.embedding is None else self.embedding(x)
        output, state = self.layer(x)
        state = state[0] if isinstance(self.layer, nn.LSTM) else state
        last = (
            output[:, -1] if self.how == "output" else output[:, -1, :] if self.how == "rows" else state[-1]
        )
        return self.head(last)


@pytest.mark.parametrize("how", ["output", "rows", "state"])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_last_step_has_a_closer_bound_than_all(kind: type[nn.Module], how: str) -> None:
    model = Reader(kind(3, 4, batch_first=True), how)
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    found = lipschitz_bounds(model, x)
    assert found.certified
    assert found.bound < found.layers[0].bound * found.layers[1].bound
    assert found.layers[0].steps == 6
    assert local_lipschitz(model, x).largest <= found.bound
    by_steps = lipschitz_bounds(model, steps=6)
    assert by_steps.certified
    assert by_steps.bound >= found.bound * (1 - 1e-15)  # without shapes [:, -1] may be another axis
    assert "pass x or steps" in lipschitz_bounds(model).reason


def test_both_directions_have_no_closer_bound_for_the_last_step() -> None:
    model = Reader(nn.GRU(3, 4, batch_first=True, bidirectional=True), "output")
    found = lipschitz_bounds(model, torch.zeros(5, 6, 3))
    product = found.layers[0].bound * found.layers[1].bound
    assert found.bound == pytest.approx(product, rel=1e-9)


def test_words_are_no_vectors() -> None:
    model = Reader(nn.LSTM(3, 4, batch_first=True), "output", words=7)
    found = lipschitz_bounds(model, torch.randint(7, (5, 6), generator=torch.Generator().manual_seed(0)))
    assert found.certified
    assert found.layers[0].bound == math.inf
    assert "takes words" in found.layers[0].reason
    assert any("embeddings" in text for text in found.assumptions)
    model.embedding = None
    assert lipschitz_bounds(model, torch.zeros(5, 6, 3)).bound == found.bound


PIECES = [
    lambda: nn.Linear(6, 6), lambda: nn.ReLU(), lambda: nn.GELU(), lambda: nn.SiLU(), lambda: nn.Softmax(1),
    lambda: nn.LayerNorm(6, eps=0.1), lambda: nn.BatchNorm1d(6), lambda: nn.LogSoftmax(1), lambda: nn.Mish(),
    lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 2, 3, padding=1), nn.Flatten()),
    lambda: nn.Sequential(nn.Unflatten(1, (1, 6)), nn.AvgPool1d(3, 1, 1), nn.Flatten()),
    lambda: nn.Sequential(nn.Unflatten(1, (1, 6)), nn.MaxPool1d(3, 1, 1), nn.Flatten()),
    lambda: nn.Sequential(nn.Unflatten(1, (3, 2)), Outputs(nn.GRU(2, 2, batch_first=True))),
    lambda: nn.Sequential(nn.Unflatten(1, (3, 2)), Outputs(nn.LSTM(2, 2, batch_first=True))),
    lambda: Made(lambda m, x: x + m.a(x), a=nn.Linear(6, 6)),
    lambda: Made(lambda m, x: torch.cat((m.a(x), x[:, 3:]), 1), a=nn.Linear(6, 3)),
]  # fmt: skip


@settings(max_examples=60)
@given(pieces=st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=6), seed=st.integers(0, 10_000))
def test_random_networks_are_never_steeper_than_their_bound(pieces: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    model = nn.Sequential(*(PIECES[number]() for number in pieces)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=random))
    x, y = torch.randn(2, 8, 6, generator=random).double()
    found = lipschitz_bounds(model, x)
    assert found.certified, found.reason
    assert local_lipschitz(model, x).largest <= found.bound * (1 + 1e-12)
    with torch.no_grad():
        ways = (model(x) - model(y)).norm(dim=1) / (x - y).norm(dim=1)
    assert float(ways.max()) <= found.bound * (1 + 1e-12)


def test_attacks_do_not_go_beyond_the_bound() -> None:
    model = build_model(ModelConfig("tanh", features=2, steps=4, hidden=5, classes=3))
    random = torch.Generator().manual_seed(0)
    x, labels = torch.randn(20, 4, 2, generator=random), torch.arange(20) % 3
    bound = lipschitz_bounds(model, x).bound
    moved = attack(model, x, labels, method="pgd", norm="l2", budget=0.5).perturbed
    twin = copy.deepcopy(model).double()
    with torch.no_grad():
        ways = (twin(moved.double()) - twin(x.double())).norm(dim=1)
    size = (moved.double() - x.double()).flatten(1).norm(dim=1)
    assert (size > 0.1).any()
    assert (ways <= bound * size * (1 + 1e-12)).all()


def test_the_table_and_the_line_read_well() -> None:
    found = lipschitz_bounds(nn.Sequential(A, nn.ReLU(), nn.LSTM(3, 2)))
    assert isinstance(found, LipschitzBounds)
    table = found.table
    assert isinstance(table, pd.DataFrame)
    assert table.columns.tolist() == ["name", "kind", "bound", "steps", "reason"]
    assert table["kind"].tolist() == ["Linear", "ReLU", "LSTM"]
    assert table["bound"].tolist()[1:] == [1, math.inf]
    assert repr(found).startswith("LipschitzBounds: inf over 3 layers (not certified: network_2: its bound")


def test_bounds_beyond_floats_are_infinite_and_not_certified() -> None:
    layer = nn.RNN(2, 2, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1e3)
    found = lipschitz_bounds(Reader(layer, "output"), torch.zeros(1, 300, 2 + 1)[:, :, :2])
    assert found.bound == math.inf
    assert not found.certified
    assert found.reason == "the bound exceeds the largest float"
    assert found.layers[0].reason == "it exceeds the largest float"


def test_local_norms_are_those_of_jacobians() -> None:
    model = Reader(nn.GRU(3, 4, batch_first=True), "output")
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    found = local_lipschitz(model, x)
    twin = copy.deepcopy(model).double().eval()
    for k, one in enumerate(x.double()):
        J = torch.autograd.functional.jacobian(lambda x: twin(x[None])[0], one).reshape(2, -1)
        assert found.values[k] == pytest.approx(float(torch.linalg.matrix_norm(J, 2)), rel=1e-12)
    assert found.exact
    assert found.largest == float(found) == found.values.max() == found.values[found.place]
    np.testing.assert_allclose(found.quantiles((0.0, 1.0)), [found.values.min(), found.largest])


def test_many_outputs_are_bounded_from_below() -> None:
    model = nn.Sequential(nn.Linear(10, 80), nn.Tanh(), nn.Linear(80, 90))
    x = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[int, int]] = []
    found = local_lipschitz(model, x, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)
    assert not found.exact
    assert "all from below" in str(found)
    twin = copy.deepcopy(model).double()
    norms = [
        float(torch.linalg.matrix_norm(torch.autograd.functional.jacobian(twin, one), 2))
        for one in x.double()
    ]
    assert (found.values <= np.array(norms) * (1 + 1e-12)).all()
    assert (found.values >= 0.9 * np.array(norms)).all()


def test_local_results_save_and_print(tmp_path: object) -> None:
    found = local_lipschitz(diagonal(3, 4), torch.zeros(5, 2))
    assert repr(found) == "LocalLipschitz: 4 at example 0 of 5, median 4"
    found.save(tmp_path / "local.npz")
    again = LocalLipschitz.load(tmp_path / "local.npz")
    np.testing.assert_array_equal(again.values, found.values)
    assert again.exact is True


def test_a_constant_network_is_flat() -> None:
    assert local_lipschitz(Made(lambda m, x: x.detach()), torch.ones(3, 2)).largest == 0
    assert local_lipschitz(Made(lambda m, x: torch.ones(len(x), 100)), torch.ones(3, 2)).largest == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_models_come_back_untouched(mode: type) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[0].weight.requires_grad_(False)
    before, random = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    with mode():
        x = torch.ones(4, 3)
        lipschitz_bounds(model, x)
        local_lipschitz(model, x)
        assert not x.requires_grad
    with pytest.raises(KeyboardInterrupt):
        local_lipschitz(model, torch.ones(4, 3), progress=interrupt)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_refusals_of_bounds() -> None:
    with pytest.raises(TypeError, match=r"model is a dict; expected a torch\.nn\.Module"):
        lipschitz_bounds({})
    with pytest.raises(TypeError, match="x is a tuple; expected a tensor"):
        lipschitz_bounds(A, (4, 3))
    with pytest.raises(ValueError, match="x and steps are both given"):
        lipschitz_bounds(A, X, steps=3)
    with pytest.raises(ValueError, match="steps is 0"):
        lipschitz_bounds(A, steps=0)
    with pytest.raises(ValueError, match=r"model cannot be called with x of shape \(4, 2\)"):
        lipschitz_bounds(A, X[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        lipschitz_bounds(diagonal(1, math.nan))


def test_refusals_of_local_norms() -> None:
    with pytest.raises(TypeError, match=r"model is a dict; expected a torch\.nn\.Module"):
        local_lipschitz({}, X)
    with pytest.raises(TypeError, match=r"x is torch\.int64; expected a tensor of floats"):
        local_lipschitz(A, torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(TypeError, match="x is list; expected"):
        local_lipschitz(A, [[1.0]])
    with pytest.raises(ValueError, match=r"x has shape \(0, 3\)"):
        local_lipschitz(A, X[:0])
    with pytest.raises(ValueError, match="all entries finite"):
        local_lipschitz(A, X / 0)
    with pytest.raises(TypeError, match="progress is 3"):
        local_lipschitz(A, X, progress=3)
    with pytest.raises(TypeError, match="model returns dict; expected a tensor"):
        local_lipschitz(Made(lambda m, x: {"a": x}), X)
    with pytest.raises(ValueError, match=r"model returns shape \(3,\) for 4 examples"):
        local_lipschitz(Made(lambda m, x: x.sum(0)), X)
    with pytest.raises(ValueError, match="model returns NaN or infinite outputs"):
        local_lipschitz(Made(lambda m, x: x / 0), X)
    with pytest.raises(ValueError, match="the outputs of one example of x depend on others"):
        local_lipschitz(nn.LSTM(3, 2), torch.ones(5, 2, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile itself imports
@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_networks_have_the_bounds_of_their_own(wrap) -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(5, 3)
    assert lipschitz_bounds(wrap(model), x).bound == lipschitz_bounds(model, x).bound
    np.testing.assert_array_equal(local_lipschitz(wrap(model), x).values, local_lipschitz(model, x).values)


def test_a_spectral_norm_by_hooks_in_training_is_copied_and_stays_as_it_is() -> None:
    model, x = nn.utils.spectral_norm(nn.Linear(3, 2, bias=False)), torch.randn(5, 3)
    model(x)
    before = copy.deepcopy(model.state_dict())
    found = local_lipschitz(model, x)
    u, v, W = (before[f"weight_{part}"].double() for part in ("u", "v", "orig"))
    np.testing.assert_allclose(found.values, float(torch.linalg.matrix_norm(W, 2) / (u @ W @ v)), rtol=1e-12)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_networks_of_torchscript_are_refused() -> None:
    script = torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3))
    for found in (lambda: lipschitz_bounds(script), lambda: local_lipschitz(script, torch.zeros(1, 3))):
        with pytest.raises(UnsupportedModelError, match="not compiled by TorchScript"):
            found()


@pytest.mark.parametrize("box", [nn.ModuleList([nn.Linear(3, 3)]), nn.ModuleDict({"a": nn.Linear(3, 3)})])
def test_boxes_without_a_forward_are_not_certified(box: nn.Module) -> None:
    found = lipschitz_bounds(box)
    assert not found.certified
    assert f"a {type(box).__name__} does not say how data pass through it" in found.reason


def test_complex_layers_are_not_certified() -> None:
    layer = nn.Linear(3, 3, dtype=torch.complex64)
    found = lipschitz_bounds(nn.Sequential(layer))
    assert not found.certified
    assert "complex" in found.reason
