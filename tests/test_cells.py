"""Unrolled cells and layers are those of torch, in every form that torch's layers have."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from rnn.motion.cells import UnrolledCell, unrolled_cells, unrolled_states
from rnn.motion.unrolled import UnrolledRNN
from spectra.errors import UnsupportedModelError

KINDS = ("tanh", "relu", "gru", "lstm")
FORMS = [
    (kind, layers, both, bias, batch_first, proj)
    for kind, layers, both, bias, batch_first, proj in itertools.product(
        KINDS, (1, 2, 3), (False, True), (False, True), (False, True), (0, 2)
    )
    if kind == "lstm" or not proj
]
LENGTHS = (4, 7, 1, 7, 5)


def torch_layer(kind: str, features: int = 3, hidden: int = 4, **options: object) -> nn.RNNBase:
    """A layer of torch with weights of its own seed, about as large as torch draws them."""
    classes = {"gru": nn.GRU, "lstm": nn.LSTM}
    if kind in {"tanh", "relu"}:
        layer = nn.RNN(features, hidden, nonlinearity=kind, **options)
    else:
        layer = classes[kind](features, hidden, **options)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=random))
    return layer


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def tensors(value: object) -> list[Tensor]:
    """Everything that a layer returns, flat."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, PackedSequence):
        return [part for part in value if part is not None]
    return [tensor for part in value for tensor in tensors(part)]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("kind", "layers", "both", "bias", "batch_first", "proj"), FORMS)
def test_unrolled_layers_are_those_of_torch(
    kind: str,
    layers: int,
    both: bool,
    bias: bool,
    batch_first: bool,
    proj: int,
    dtype: torch.dtype,
    error: float,
) -> None:
    options = {"num_layers": layers, "bidirectional": both, "bias": bias, "batch_first": batch_first}
    layer = torch_layer(kind, **options, **({"proj_size": proj} if proj else {})).to(dtype)
    twin = UnrolledRNN(layer)
    padded = normal(5, 7, 3, dtype=dtype) * 0.5
    usual = padded if batch_first else padded.transpose(0, 1)
    packed = pack_padded_sequence(padded, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    ordered = pack_sequence([padded[n, :length] for n, length in zip(range(5), (7, 7, 5, 4, 1), strict=True)])
    count = layers * (1 + both)
    h, c = normal(count, 5, proj or 4, seed=2, dtype=dtype), normal(count, 5, 4, seed=3, dtype=dtype)
    given = (h, c) if kind == "lstm" else h
    one = (h[:, 0], c[:, 0]) if kind == "lstm" else h[:, 0]
    for x, hx in itertools.product((usual, packed, ordered, padded[0]), (True, False)):
        initial = None if not hx else one if isinstance(x, Tensor) and x.ndim == 2 else given
        expected, found = tensors(layer(x, initial)), tensors(twin(x, initial))
        assert len(expected) == len(found)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            assert ours.dtype == theirs.dtype
            scale = max(1.0, float(theirs.detach().abs().max()))  # relu has no bound
            torch.testing.assert_close(ours, theirs, atol=error * scale, rtol=0)
    assert type(twin(packed)[0]) is PackedSequence
    assert torch.equal(pad_packed_sequence(twin(packed)[0])[1], torch.tensor(LENGTHS))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_cells_of_torch(kind: str, bias: bool) -> None:
    classes = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}
    cell = (
        classes[kind](3, 4, bias=bias) if kind in classes else nn.RNNCell(3, 4, bias=bias, nonlinearity=kind)
    )
    (ours,) = unrolled_cells(cell, "decoder.cell")
    assert (ours.name, ours.kind, ours.layer, ours.direction) == ("decoder.cell", kind, 0, "forward")
    x, state = normal(5, 3), normal(5, ours.state_size, seed=1)
    expected = cell(x, tuple(state.chunk(2, dim=1)) if kind == "lstm" else state)
    expected = torch.cat(expected, dim=1) if kind == "lstm" else expected
    torch.testing.assert_close(ours.step(x, state), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.step(x[0], state[0]), expected[0], atol=1e-6, rtol=0)


def test_names_and_sizes() -> None:
    layer = torch_layer("lstm", num_layers=2, bidirectional=True, proj_size=2)
    cells = unrolled_cells(layer, "encoder.rnn")
    assert [cell.name for cell in cells] == [
        f"encoder.rnn.{key}" for key in ("l0", "l0_reverse", "l1", "l1_reverse")
    ]
    assert [cell.name for cell in unrolled_cells(layer)] == ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert [(cell.layer, cell.direction) for cell in cells] == [
        (0, "forward"),
        (0, "reverse"),
        (1, "forward"),
        (1, "reverse"),
    ]
    assert [(cell.features, cell.output_size, cell.state_size) for cell in cells] == [(3, 2, 6)] * 2 + [
        (4, 2, 6)
    ] * 2
    assert cells[0].initial_state(7).shape == (7, 6)
    assert repr(cells[0]) == "UnrolledCell('encoder.rnn.l0', lstm, features=3, state_size=6)"


def test_the_lstm_state_is_output_first_then_memory() -> None:
    layer = torch_layer("lstm", proj_size=2)
    x = normal(7, 5, 3)
    (cell,) = unrolled_cells(layer)
    states = unrolled_states(cell, x.transpose(0, 1), cell.initial_state(5))
    output, (_, memory) = layer(x)
    torch.testing.assert_close(states[..., :2], output.transpose(0, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(states[:, -1, 2:], memory[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_work_under_transforms(kind: str) -> None:
    (cell,) = unrolled_cells(torch_layer(kind).double())
    x, state = normal(5, 3, dtype=torch.float64), normal(5, cell.state_size, seed=1, dtype=torch.float64)
    batched = vmap(jacrev(cell.step, argnums=1))(x, state)
    alone = torch.stack([jacrev(cell.step, argnums=1)(x[n], state[n]) for n in range(5)])
    torch.testing.assert_close(batched, alone, atol=1e-14, rtol=0)


@pytest.mark.parametrize("norm", ["spectral", "weight", "old spectral", "old weight"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_parametrised_weights_are_the_effective_ones(kind: str, norm: str) -> None:
    layer = torch_layer(kind).double()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(0)
        apply = {
            "spectral": parametrizations.spectral_norm,
            "weight": parametrizations.weight_norm,
            "old spectral": nn.utils.spectral_norm,
            "old weight": nn.utils.weight_norm,
        }[norm]
        apply(layer, "weight_hh_l0")
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.endswith(("original0", "_g", "bias_hh_l0")):
                parameter *= 0.3
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    twin = UnrolledRNN(layer)
    assert layer.training
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    x = normal(7, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(twin(x)[0], layer.eval()(x)[0], atol=1e-12, rtol=0)


def test_weights_are_copied_and_need_no_gradient() -> None:
    layer = torch_layer("gru")
    (cell,) = unrolled_cells(layer)
    before = cell.weight_hh.clone()
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    assert torch.equal(cell.weight_hh, before)
    assert not any(parameter.requires_grad for parameter in cell.parameters())
    assert all(parameter.requires_grad for parameter in layer.parameters())


def test_states_stay_after_the_last_step() -> None:
    (cell,) = unrolled_cells(torch_layer("gru"))
    x, lengths = normal(3, 6, 3), torch.tensor([6, 2, 4])
    states = unrolled_states(cell, x, cell.initial_state(3), lengths)
    whole = unrolled_states(cell, x, cell.initial_state(3))
    for n, length in enumerate(lengths):
        assert torch.equal(states[n, :length], whole[n, :length])
        assert torch.equal(states[n, length:], whole[n, length - 1].expand(6 - int(length), -1))


def test_refusals() -> None:
    with pytest.raises(UnsupportedModelError, match=r"layer is a Linear; expected nn.RNN, nn.GRU, nn.LSTM"):
        unrolled_cells(nn.Linear(2, 2))
    with pytest.raises(
        UnsupportedModelError, match=r"layer is a GRUCell; expected nn.RNN, nn.GRU or nn.LSTM"
    ):
        UnrolledRNN(nn.GRUCell(2, 2))
    good = {"weight_ih": torch.zeros(12, 3), "weight_hh": torch.zeros(12, 4)}
    assert UnrolledCell("gru", good).state_size == 4
    with pytest.raises(ValueError, match="kind is 'elman'"):
        UnrolledCell("elman", good)
    with pytest.raises(ValueError, match="direction is 'both'"):
        UnrolledCell("gru", good, direction="both")
    wrong: list[tuple[str, dict[str, tuple[int, ...]]]] = [
        ("gru", {"weight_ih": (12, 3)}),
        ("lstm", {"weight_ih": (12, 3), "weight_hh": (12, 4)}),
        ("gru", {"weight_ih": (9, 3), "weight_hh": (12, 4)}),
        ("gru", {"weight_ih": (12, 3), "weight_hh": (12, 4), "bias_ih": (12,)}),
        ("gru", {"weight_ih": (12, 3), "weight_hh": (12, 4), "weight_hr": (4, 4)}),
        ("lstm", {"weight_ih": (16, 3), "weight_hh": (16, 2), "weight_hr": (3, 4)}),
        ("tanh", {"weight_ih": (4, 3), "weight_hh": (4, 4), "bias": (4,)}),
    ]
    for kind, shapes in wrong:
        with pytest.raises(ValueError, match="weights have the shapes"):
            UnrolledCell(kind, {key: torch.zeros(shape) for key, shape in shapes.items()})


def test_a_closed_form() -> None:
    cell = UnrolledCell("lstm", {"weight_ih": torch.zeros(4, 1), "weight_hh": torch.zeros(4, 1)}).double()
    state = cell.step(torch.zeros(1).double(), torch.tensor([0.3, 0.8], dtype=torch.float64))
    np.testing.assert_allclose(state, [0.5 * np.tanh(0.4), 0.4], rtol=1e-15)


@pytest.mark.parametrize(("kind", "eta"), [("tanh", 0.1), ("euler", None)])
def test_the_step_size_belongs_to_euler_steps(kind: str, eta: float | None) -> None:
    weights = {"weight_ih": torch.eye(2), "weight_hh": torch.eye(2)}
    with pytest.raises(ValueError, match=f"eta is {eta} for kind '{kind}'; the step size belongs to 'euler'"):
        UnrolledCell(kind, weights, eta=eta)
    with pytest.raises(ValueError, match="eta is 0"):
        UnrolledCell("euler", weights, eta=0)
    drift = weights | {"weight_drift": torch.eye(2)}
    with pytest.raises(ValueError, match="weights have the shapes"):
        UnrolledCell("tanh", drift)
    with pytest.raises(ValueError, match="weights have the shapes"):
        UnrolledCell("euler", drift | {"weight_drift": torch.eye(3)}, eta=0.1)
    found = UnrolledCell("euler", drift, eta=0.5).step(torch.zeros(2), torch.ones(2))
    torch.testing.assert_close(found, torch.full((2,), 1 + 0.5 * (1 + math.tanh(1))))
