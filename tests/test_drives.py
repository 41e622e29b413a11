"""What a network shows its recurrent layers is heard as it was, and the network comes back untouched."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnn.models import ModelConfig, build_model
from rnn.motion.cells import unrolled_cells
from rnn.motion.drives import Drive, cell_drive, recorded_drives
from spectra.errors import UnsupportedModelError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Tagger(nn.Module):
    """Words in, an embedding, dropout, a bidirectional stack, a decision at each step."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, **options: object) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 3)
        self.rnn = kind(3, 4, num_layers=2, bidirectional=True, dropout=0.4, batch_first=True, **options)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(2 * (self.rnn.proj_size or 4), 2)

    def forward(self, words: Tensor, lengths: Tensor | None = None) -> Tensor:
        h = self.drop(self.words(words))
        if lengths is not None:
            h = pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.rnn(h)
        return output if isinstance(output, PackedSequence) else self.head(output)


class Decoder(nn.Module):
    """A cell in a loop, started from the summary of another layer."""

    def __init__(self, kind: str = "lstm", *, normed: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.encoder = nn.GRU(3, 4)
        self.cell = nn.LSTMCell(4, 4) if kind == "lstm" else nn.GRUCell(4, 4)
        self.norm = nn.LayerNorm(4) if normed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        _, h = self.encoder(x.transpose(0, 1))
        h, c, y = h[0], torch.zeros_like(h[0]), h[0]
        for _ in range(5):
            if self.kind == "lstm":
                h, c = self.cell(y, (h, c))
            else:
                h = self.norm(self.cell(y, h))
            y = torch.tanh(h)
        return y


TOKENS = torch.randint(0, 11, (5, 7), generator=torch.Generator().manual_seed(3))
LENGTHS = torch.tensor([4, 7, 1, 7, 5])


@pytest.mark.parametrize("options", [{}, {"proj_size": 2}])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_bidirectional_stack_on_words(options: dict[str, int], lengths: Tensor | None) -> None:
    model = Tagger(**options)
    x = {"words": TOKENS} if lengths is None else (TOKENS, lengths)
    drives = recorded_drives(model, x)
    assert [drive.name for drive in drives] == ["rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse"]
    assert drives.unrecognised == []
    twin = copy.deepcopy(model).double().eval()
    embedded = twin.words(TOKENS).detach()
    output, final = twin.rnn(
        embedded
        if lengths is None
        else pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
    )
    ends = torch.full((5,), 7) if lengths is None else lengths
    for number, drive in enumerate(drives):
        size = drive.cell.output_size
        assert torch.equal(drive.lengths, ends)
        assert drive.states.dtype == torch.float64
        last = drive.states[torch.arange(5), ends - 1]
        assert torch.equal(last, drive.states[:, -1])
        torch.testing.assert_close(last[:, :size], final[0][number], atol=1e-12, rtol=0)
        torch.testing.assert_close(last[:, size:], final[1][number], atol=1e-12, rtol=0)
    assert torch.equal(drives[0].inputs[drives[0].taken], embedded[drives[0].taken])
    for n in range(5):
        assert torch.equal(drives[1].inputs[n, : ends[n]], embedded[n, : ends[n]].flip(0))
    if lengths is None:
        size = output.shape[-1] // 2
        torch.testing.assert_close(
            drives[3].states.flip(1)[..., :size], output[..., size:], atol=1e-12, rtol=0
        )


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_cell_in_a_loop_is_one_sequence(kind: str) -> None:
    model, x = Decoder(kind), normal(6, 9, 3)
    encoder, cell = recorded_drives(model, x)
    assert repr(encoder) == "Drive(encoder.l0, N=6, T=9, state_size=4, runs=1)"
    assert repr(cell) == f"Drive(cell, N=6, T=5, state_size={8 if kind == 'lstm' else 4}, runs=1)"
    torch.testing.assert_close(cell.initial[:, :4], encoder.states[:, -1], atol=1e-14, rtol=0)
    expected = copy.deepcopy(model).double()(x.double())
    torch.testing.assert_close(torch.tanh(cell.states[:, -1, :4]), expected, atol=1e-12, rtol=0)


def test_a_state_that_is_changed_between_calls_gives_single_steps() -> None:
    cell = recorded_drives(Decoder("gru", normed=True), normal(6, 9, 3))[1]
    assert repr(cell) == "Drive(cell, N=30, T=1, state_size=4, runs=5)"


class Twice(nn.Module):
    """One layer on two sequences of different lengths, and a second one that is never asked."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.GRU(3, 4, batch_first=True)
        self.idle = nn.LSTM(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, h = self.shared(x[:, :3])
        second, _ = self.shared(x[:, 3:], h)  # goes on
        other, _ = self.shared(x[:, :2] + 1)  # starts anew
        return first.sum() + second.sum() + other.sum()


def test_runs_of_a_shared_layer_and_layers_that_never_ran() -> None:
    model, x = Twice(), normal(4, 7, 3)
    drives = recorded_drives(model, x)
    assert repr(drives).splitlines() == [
        "1 drive, not understood: 1",
        "  Drive(shared.l0, N=8, T=2 to 7, state_size=4, runs=2)",
        "  not understood: idle: it did not run on x",
    ]
    (drive,) = drives
    layer = copy.deepcopy(model.shared).double()
    torch.testing.assert_close(drive.states[:4], layer(x.double())[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(drive.states[4:, :2], layer(x[:, :2].double() + 1)[0], atol=1e-12, rtol=0)
    assert torch.equal(drive.states[4:, 2:], drive.states[4:, 1:2].expand(-1, 5, -1))
    assert drive.lengths.tolist() == [7] * 4 + [2] * 4
    assert torch.equal(drive.before[:, 1:], drive.states[:, :-1])
    assert drives[:1][0] is drive


class Habits(nn.Module):
    """What many networks do in their forward: float32 on the way, zeros and noise as initial states."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True)
        self.register_buffer("seen", torch.zeros(()))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        h = torch.zeros(1, len(x), 4)
        output, _ = self.rnn(x.float(), (h, torch.randn(1, len(x), 4)))
        return self.norm(output[:, -1])


def state_of(model: nn.Module) -> tuple[object, ...]:
    """Everything that must come back."""
    return (
        [(key, value.clone(), value.dtype) for key, value in model.state_dict().items()],
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [parameter.grad for parameter in model.parameters()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        torch.random.get_rng_state(),
        torch.get_default_dtype(),
        torch.backends.cudnn.enabled,
    )


def assert_same(before: tuple[object, ...], after: tuple[object, ...]) -> None:
    for (key, old, dtype), (name, new, other) in zip(before[0], after[0], strict=True):
        assert (key, dtype) == (name, other)
        assert torch.equal(old, new)
    assert before[1:5] == after[1:5]
    assert torch.equal(before[5], after[5])
    assert before[6:] == after[6:]


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_the_model_comes_back_untouched(mode: type) -> None:
    model = Habits()
    model.norm.eval()
    model.rnn.weight_hh_l0.requires_grad_(False)
    before = state_of(model)
    with mode():
        (first,) = recorded_drives(model, normal(5, 7, 3))
        (again,) = recorded_drives(model, normal(5, 7, 3))
    assert_same(before, state_of(model))
    assert torch.equal(first.states, again.states)
    assert first.initial[:, :4].abs().max() == 0 < first.initial[:, 4:].abs().min()


def test_the_model_comes_back_untouched_after_its_own_exception() -> None:
    model, tagger = Habits(), Tagger()
    before = state_of(model)
    with pytest.raises(RuntimeError, match="got 2"):
        recorded_drives(model, normal(5, 7, 2))
    with pytest.raises(IndexError):
        recorded_drives(tagger, (TOKENS + 11,))
    assert_same(before, state_of(model))


def test_wrapped_and_packed_and_arrays() -> None:
    layer = nn.GRU(3, 4, batch_first=True)
    x = normal(5, 7, 3)
    (expected,) = recorded_drives(layer, x)
    compiled = copy.deepcopy(layer)
    compiled.compile(backend="eager")
    for model in (
        compiled,
        nn.Sequential(compiled),
        nn.DataParallel(layer),
        torch.compile(layer, backend="eager"),
        nn.Sequential(torch.compile(layer, backend="eager")),
    ):
        (drive,) = recorded_drives(model, x)
        assert torch.equal(drive.states, expected.states)
    (drive,) = recorded_drives(layer, x.numpy())
    assert torch.equal(drive.states, expected.states)
    (drive,) = recorded_drives(layer, pack_padded_sequence(x, [7, 6, 4, 4, 1], batch_first=True))
    torch.testing.assert_close(drive.states[1, :6], expected.states[1, :6], atol=1e-14, rtol=0)
    (drive,) = recorded_drives(layer, x[0])
    torch.testing.assert_close(drive.states[0], expected.states[0], atol=1e-14, rtol=0)


def test_effective_weights_and_graphs_of_an_earlier_step() -> None:
    model = Tagger(nn.GRU).double()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        parametrizations.spectral_norm(model.rnn, "weight_hh_l0")
        nn.utils.weight_norm(model.rnn, "weight_hh_l1")
        model(TOKENS).sum().backward()  # leaves non-leaf tensors in the layer, which deepcopy refuses
    expected = model.eval().rnn(model.words(TOKENS))[0].detach()
    drives = recorded_drives(model.train(), TOKENS)
    torch.testing.assert_close(drives[2].states, expected[..., :4], atol=1e-12, rtol=0)
    assert len(drives) == 4


class Clipped(nn.GRU):
    """A subclass that does something else with the same weights."""

    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, h = super().forward(x, hx)
        return output.clamp(-0.05, 0.05), h


class Renamed(nn.LSTM):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


class MyLSTM(nn.Module):
    """Written by hand: nothing that could be unrolled."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight(x)


def test_what_is_not_understood_is_said() -> None:
    model = nn.Sequential(MyLSTM(), Renamed(3, 3), Clipped(3, 3))
    with pytest.raises(UnsupportedModelError, match="ran no recurrent layer that can be unrolled") as caught:
        recorded_drives(model, normal(5, 7, 3))
    assert "0: a MyLSTM is none of torch's recurrent layers, and has no method step" in str(caught.value)
    assert "1: its forward takes or returns other things than torch's Renamed" in str(caught.value)
    assert "from what its weights give; its forward does something else" in str(caught.value)
    partly = recorded_drives(nn.Sequential(MyLSTM(), nn.GRU(3, 4)), normal(5, 7, 3))
    assert [name for name, _ in partly.unrecognised] == ["0"]


def test_models_that_can_be_stepped() -> None:
    model = build_model(ModelConfig("lstm", features=3, steps=6, hidden=4))
    x = normal(5, 6, 3)
    (drive,) = recorded_drives(model, x)
    assert drive.name == "RecurrentClassifier"
    layer = nn.LSTM(3, 4, batch_first=True).double()
    layer.load_state_dict({k: v for k, v in model.state_dict().items() if "head" not in k})
    torch.testing.assert_close(drive.states[..., :4], layer(x.double())[0], atol=1e-13, rtol=0)
    (nested,) = recorded_drives(nn.Sequential(model, nn.Linear(10, 2)), x)
    assert nested.name == "0"
    assert torch.equal(nested.states, drive.states)


def test_cell_drives_begin_and_end_where_they_are_told() -> None:
    (cell,) = unrolled_cells(nn.GRU(3, 4), "rnn")
    x, initial = normal(3, 6, 3), normal(3, 4, seed=1)
    drive = cell_drive(cell, x, initial=initial, lengths=[6, 1, 3])
    assert isinstance(drive, Drive)
    assert drive.name == "rnn.l0"
    torch.testing.assert_close(drive.initial, initial.double(), atol=0, rtol=0)
    alone = cell_drive(cell, x[2:, :3], initial=initial[2:])
    torch.testing.assert_close(drive.states[2:, :3], alone.states, atol=1e-15, rtol=0)
    assert torch.equal(drive.states[2, 3:], drive.states[2, 2:3].expand(3, -1))
    assert drive.taken.sum(1).tolist() == [6, 1, 3]


def test_refusals() -> None:
    cell, x = unrolled_cells(nn.GRU(3, 4))[0], normal(3, 6, 3)
    with pytest.raises(
        UnsupportedModelError, match=r"model \(Linear\) ran no recurrent layer .* \(it has none\)"
    ):
        recorded_drives(nn.Linear(3, 2), x)
    with pytest.raises(UnsupportedModelError, match=r"model is a dict; expected a torch\.nn\.Module"):
        recorded_drives({}, x)
    with pytest.raises(UnsupportedModelError, match="without the methods step and initial_state"):
        cell_drive(nn.GRU(3, 4), x)
    with pytest.raises(UnsupportedModelError, match=r"model \(LazyLinear\) has lazy layers without weights"):
        recorded_drives(nn.LazyLinear(3), x)
    uncopied = nn.GRU(3, 4)
    uncopied.iterator = (n for n in range(3))
    with pytest.raises(UnsupportedModelError, match=r"model \(GRU\) cannot be copied \(TypeError"):
        recorded_drives(uncopied, x)
    with pytest.raises(ValueError, match=r"x has shape \(6, 3\); expected \(N, T, F\)"):
        cell_drive(cell, x[0])
    with pytest.raises(ValueError, match=r"x is a ndarray; expected \(N, T, F\)"):
        cell_drive(cell, np.zeros((3, 6, 3)))
    with pytest.raises(ValueError, match=r"initial has shape \(4,\); expected \(N, s\) = \(3, 4\)"):
        cell_drive(cell, x, initial=torch.zeros(4))
    for lengths in ([6, 6], [0, 1, 2], [7, 1, 1], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="expected 3 whole numbers from 1 to T = 6"):
            cell_drive(cell, x, lengths=lengths)
    with pytest.raises(ValueError, match="the states of l0 are NaN or infinite on x"):
        cell_drive(cell, x / 0)
