"""Whole modules in files give the names, tensors and kinds of the module itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnn.reading.archives import read_torch_archive
from rnn.reading.packed import unpacked
from rnn.reading.packed_notes import weights_of_note
from rnn.reading.pickle_machine import Made
from rnn.reading.pickled_modules import entries_of_module, is_module
from rnn.reading.tensors import Stored, Tensors, stored_tensor
from rnn.weights import named_matrices
from spectra.errors import UnsupportedModelError

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)


class Reader(nn.Module):
    """A bit of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.rnn = nn.LSTM(6, 4, num_layers=2, bidirectional=True, proj_size=2)
        self.conv = nn.Conv1d(6, 5, 3)
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
        self.tied = self.head[0]
        self.extra = nn.Parameter(torch.randn(3, 3))
        self.register_buffer("kept", torch.randn(2, 2))
        self.register_buffer("passing", torch.randn(2, 2), persistent=False)
        self.register_parameter("none", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.words(x))[0]) + self.extra.sum()


def check_state(table: Tensors, module: Any, *, order: bool = True) -> None:
    state = module.state_dict()
    assert list(table.entries) == list(state) if order else set(table.entries) >= set(state)
    for key, value in state.items():
        assert torch.equal(table.entries[key].read(), value)


KINDS = {
    "words.weight": "embedding",
    "conv.weight": "convolution",
    "norm.weight": "scale",
    "head.0.weight": "linear",
    "head.2.weight": "linear",
    "tied.weight": "linear",
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_module_is_read_as_its_state_dict(zipped: bool, tmp_path: Path) -> None:
    model, path = Reader(), tmp_path / "a.pt"
    torch.save(model, path, _use_new_zipfile_serialization=zipped)
    table = read_torch_archive(path)
    check_state(table, model)
    assert (table.kinds, table.unrecognised, table.origin) == (KINDS, [], "a.pt")
    torch.save({"net": model, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    check_state(read_torch_archive(path), model)


def test_modules_of_classes_that_cannot_be_imported_are_read(tmp_path: Path) -> None:
    script = (
        "import sys, torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.gru = torch.nn.GRU(3, 2)\n"
        "class Mine(torch.nn.Linear): pass\n"
        "net = Net(); net.mine = Mine(3, 2)\n"
        "torch.save(net, sys.argv[1]); torch.save(net.state_dict(), sys.argv[2])\n"
    )
    paths = [tmp_path / "whole.pt", tmp_path / "state.pt"]
    subprocess.run([sys.executable, "-c", script, *paths], check=True)
    whole, state = (named_matrices(path) for path in paths)
    assert [(m.name, m.role, m.matrix.tobytes()) for m in whole] == [
        (m.name, m.role, m.matrix.tobytes()) for m in state
    ]
    assert [m.name for m in whole if m.role == "recurrent"] == [f"gru.weight_hh_l0[{g}]" for g in "rzn"]


def test_torchscript_is_read_as_its_state_dict(tmp_path: Path) -> None:
    script = torch.jit.script(Reader())
    torch.jit.save(script, tmp_path / "a.pt")
    table = read_torch_archive(tmp_path / "a.pt")
    check_state(table, script, order=False)
    assert table.unrecognised == []
    assert table.kinds == KINDS
    traced = torch.jit.trace(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), torch.zeros(1, 3))
    torch.jit.save(traced, tmp_path / "b.pt")
    table = read_torch_archive(tmp_path / "b.pt")
    check_state(table, traced)
    assert table.kinds == {"0.weight": "linear", "1.weight": "linear"}


def test_constants_of_frozen_torchscript_are_listed(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    model = Net().eval()
    torch.jit.save(torch.jit.freeze(torch.jit.script(model)), tmp_path / "a.pt")
    table = read_torch_archive(tmp_path / "a.pt")
    assert set(table.entries) == {"CONSTANTS.c0", "CONSTANTS.c1"}
    assert any(torch.equal(stored.read(), model.inner.weight) for stored in table.entries.values())


class WithList(nn.Module):
    """Tensors that state_dict() does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ConvTranspose1d(4, 4, 2, groups=2)
        self.many = [torch.ones(2, 2)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.many[0].sum()


def test_what_torchscript_does_not_tell_is_listed(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(WithList()), tmp_path / "a.pt")
    found = named_matrices(tmp_path / "a.pt")
    assert dict(found.unrecognised) == {
        "many": "a list of tensors without names",
        "inner.weight": "the groups of a transposed convolution stand in the code of the file, which is "
        "not read",
    }


def test_wrappers_of_modules_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(torch.compile(nn.Linear(2, 3)), path)
    table = read_torch_archive(path)
    assert (list(table.entries), table.kinds) == (
        ["_orig_mod.weight", "_orig_mod.bias"],
        {"_orig_mod.weight": "linear"},
    )
    torch.save(nn.DataParallel(nn.Linear(2, 3)), path)
    assert [m.name for m in named_matrices(path)] == ["weight"]
    torch.save(torch.optim.swa_utils.AveragedModel(nn.Linear(2, 3)), path)
    assert [m.name for m in named_matrices(path)] == ["weight"]
    graph = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 3)))
    torch.save(graph, path)
    check_state(read_torch_archive(path), graph)


class Quantised(nn.Module):
    """Layers that dynamic quantisation packs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.lstm = nn.LSTM(4, 4)
        self.gru = nn.GRU(5, 4, 2, bidirectional=True)
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x)


def test_quantised_modules_are_read_in_every_form(tmp_path: Path) -> None:
    kinds: Any = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell}
    model = torch.ao.quantization.quantize_dynamic(Quantised(), kinds)
    live = {m.name: m.matrix.tobytes() for m in named_matrices(model)}
    assert len(live) == 1 + 8 + 24 + 8
    for name, save, value in [
        ("whole", torch.save, model),
        ("script", torch.jit.save, torch.jit.script(model)),
        ("state", torch.save, model.state_dict()),
    ]:
        save(value, tmp_path / f"{name}.pt")
        table = read_torch_archive(tmp_path / f"{name}.pt")
        assert table.entries["lstm.weight_hh_l0"].dtype == "qint8"
        assert {m.name: m.matrix.tobytes() for m in named_matrices(tmp_path / f"{name}.pt")} == live


def test_quantised_convolutions_are_read(tmp_path: Path) -> None:
    model: Any = nn.Sequential(torch.ao.quantization.QuantStub(), nn.Conv2d(3, 4, 3)).eval()
    model.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    prepared = torch.ao.quantization.prepare(model)
    prepared(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    quantised = torch.ao.quantization.convert(prepared)
    torch.save(quantised, tmp_path / "a.pt")
    stored = read_torch_archive(tmp_path / "a.pt").entries["1.weight"]
    assert torch.equal(stored.read(), quantised[1].weight().dequantize())


def test_quantised_layers_whose_directions_nothing_tells_are_listed(tmp_path: Path) -> None:
    two = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(4, 4, 2)), {nn.LSTM})
    torch.save(two.state_dict(), tmp_path / "state.pt")
    with pytest.raises(
        UnsupportedModelError, match="one layer in two directions, or two layers: pass or save the module"
    ):
        read_torch_archive(tmp_path / "state.pt")
    torch.save(two, tmp_path / "whole.pt")
    assert [name for name in read_torch_archive(tmp_path / "whole.pt").entries if "hh" in name] == [
        "0.weight_hh_l0",
        "0.weight_hh_l1",
    ]
    for layer in (nn.LSTM(4, 4, bidirectional=True), nn.LSTM(3, 4, 2), nn.GRU(8, 4, 3)):
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.LSTM, nn.GRU})
        torch.save(model.state_dict(), tmp_path / "state.pt")
        wanted = {f"0.{key}" for key in layer.state_dict() if key.startswith("weight")}
        if layer.input_size == layer.hidden_size:
            continue
        assert set(read_torch_archive(tmp_path / "state.pt").entries) == wanted


def module(children: dict[str, Any] | None = None, **tensors: Stored) -> Made:
    state = {"_parameters": tensors, "_buffers": {}, "_modules": children or {}}
    return Made("m.Net", state=state)


def test_modules_within_themselves_come_to_an_end() -> None:
    made = module(weight=stored_tensor(torch.eye(2)))
    made.state["_modules"]["again"] = made
    entries, _, listed = entries_of_module(made)
    assert (list(entries), listed) == (["weight"], [("again", "modules within modules without end")])
    level = module()
    for _ in range(60):
        level = module({"a": level, "b": level})
    _, _, listed = entries_of_module(level)
    assert listed[-1][1] == "more than 100000 modules; the rest is not read"


def test_what_is_no_module_is_none() -> None:
    assert not is_module({"_parameters": {}, "_modules": {}})
    assert not is_module(Made("m.Net", state={"_parameters": None, "_modules": {}}))
    assert not is_module(Made("__torch__.torch.classes.rnn.CellParamsBase", state={}))
    entries, _, listed = entries_of_module(module({"odd": Made("m.Odd", state=(1, 2))}))
    assert (entries, listed) == (
        {},
        [("odd", "the layer m.Odd keeps its weights in a way that is not read yet")],
    )


def test_packed_values_of_other_kinds_are_listed() -> None:
    packed = Made("torch.ScriptObject", state=((1, 2), "__torch__.torch.classes.other.Params"))
    made = module()
    made.state["thing"] = packed
    assert entries_of_module(made)[2] == [("thing", "a packed value of a kind that is not read yet")]


def test_packed_values_without_their_parts_are_listed() -> None:
    kind = "__torch__.torch.classes.rnn.CellParamsBase"
    empty, odd = (
        Made(kind),
        Made(kind, state=("quantized_dynamic", [], [], [], [Made("m.Odd"), Made("m.Odd")])),
    )
    flat = [Made(f"{kind[:24]}.LinearPackedParamsBase", state=(stored_tensor(torch.ones(4)), None))] * 2
    layer = Made(kind, state=("quantized_dynamic", [], [], [], flat))
    values = {f"_all_weight_values.{n}.param": one for n, one in enumerate((empty, odd, layer, layer))}
    opened, listed = unpacked(values, weights_of=weights_of_note)
    assert opened == {}
    assert [reason.partition(",")[0] for _, reason in listed] == [
        "a packed value of a kind that is not read yet",
        "a packed value of a kind that is not read yet",
        "one layer in two directions",
        "one layer in two directions",
    ]
