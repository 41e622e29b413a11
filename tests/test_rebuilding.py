import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.models import ModelConfig, build_model
from rnn.reading.rebuilding import read_data, rebuilt_model
from rnn.tasks import load_task
from rnn.training import TrainingConfig, save_checkpoint, train
from spectra.errors import UnsupportedModelError

FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)
    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])

def build():
    return Net()

def broken():
    raise RuntimeError("no")

number = lambda: 3

def exits():
    raise SystemExit("bye")

def moves():
    import os, sys
    sys.path.remove(os.getcwd())
    os.chdir("/")
    return Net()

class Stubborn(Net):
    def load_state_dict(self, *_):
        raise KeyError("no")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    return tmp_path / name


def test_our_checkpoints_rebuild_themselves(tmp_path: Path) -> None:
    task, model = load_task("digits"), build_model(ModelConfig("gru", features=8, steps=8, hidden=4))
    record = train(model, task, config=TrainingConfig(epochs=0))
    save_checkpoint(tmp_path / "m.pt", model, task=task, record=record)
    again = rebuilt_model(tmp_path / "m.pt")
    assert torch.equal(again(task.x_test), model.eval()(task.x_test))


def saved_net(here: Path) -> Any:
    """Save the weights of the factory's network as net.pt, and give it."""
    sys.path.insert(0, str(here.parent))
    net = importlib.import_module(here.name).build()
    sys.path.remove(str(here.parent))
    torch.save(net.state_dict(), "net.pt")
    return net


def test_a_factory_is_filled_with_the_weights(here: Path) -> None:
    net = saved_net(here)
    torch.save({f"module.{key}": value for key, value in net.state_dict().items()}, "net.pt")
    again = rebuilt_model("net.pt", f"{here.name}:build")
    x = torch.randn(2, 5, 3)
    assert not again.training
    assert torch.equal(again(x), net.eval()(x))
    assert str(here.parent) not in sys.path
    for factory, words in {
        "nocolon": "expected module:function",
        f"{here.name}:nothing": "cannot be built",
        f".{here.name}:build": "expected module:function",
        f"{here.name}:broken": r"RuntimeError: no\); try it alone: python -c",
        f"{here.name}:exits": "SystemExit: bye",
        f"{here.name}:number": "gives a int",
    }.items():
        with pytest.raises(ValueError, match=words):
            rebuilt_model("net.pt", factory)
    torch.save(nn.Linear(2, 2).state_dict(), "other.pt")
    with pytest.raises(ValueError, match=r"does not fit the weights of other\.pt"):
        rebuilt_model("other.pt", f"{here.name}:build")


def test_what_a_factory_does_to_the_process_is_borne(here: Path) -> None:
    net = saved_net(here)
    assert torch.equal(
        rebuilt_model(here.parent / "net.pt", f"{here.name}:moves").head.weight, net.head.weight
    )
    assert str(here.parent) not in sys.path
    with pytest.raises(ValueError, match=r"does not fit the weights of net\.pt \('no'\); build the network"):
        rebuilt_model(here.parent / "net.pt", f"{here.name}:Stubborn")


def test_weights_that_cannot_be_read_are_named(here: Path) -> None:
    net = saved_net(here)
    torch.save(net.state_dict() | {"head.bias": torch.empty(2, device="meta")}, "net.pt")
    with pytest.raises(ValueError, match=r"head\.bias of net\.pt cannot be read \(.*meta"):
        rebuilt_model("net.pt", f"{here.name}:build")


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(
    "layer",
    [
        nn.RNN(3, 4),
        nn.GRU(3, 4, num_layers=2, bidirectional=True),
        nn.LSTM(3, 4, proj_size=2, bias=False),
        nn.LSTM(3, 4, num_layers=3),
    ],
    ids=["rnn", "gru", "projected", "deep"],
)
def test_a_bare_layer_is_built_from_its_weights(layer: nn.RNNBase, tmp_path: Path) -> None:
    state = {f"encoder.{key}": value for key, value in layer.state_dict().items()}
    torch.save(state | {"head.weight": torch.eye(4)}, tmp_path / "net.pt")
    again = rebuilt_model(tmp_path / "net.pt")
    x = torch.randn(5, 6, 3)
    layer.batch_first = True
    torch.testing.assert_close(again(x)[0], layer(x)[0])


def test_several_layers_need_a_factory(tmp_path: Path) -> None:
    net = nn.ModuleDict({"a": nn.GRU(3, 4), "b": nn.GRU(4, 4)})
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(UnsupportedModelError, match=r"weights of 2 recurrent layers.*--model"):
        rebuilt_model(tmp_path / "net.pt")
    eye = torch.eye(3)
    for half in (
        {"weight_hh_l0": eye},
        {"weight_hh_l1": eye, "weight_ih_l1": eye},
        {"weight_hh_l0": eye, "weight_ih_l0": eye, "weight_hh_l9999": eye},
        {"weight_hh_l0": eye, "weight_ih_l0": torch.tensor(1.0)},
        {"weight_hh_l0": torch.ones(6, 3), "weight_ih_l0": torch.ones(6, 3)},
    ):
        torch.save(half, tmp_path / "half.pt")
        with pytest.raises(UnsupportedModelError, match=r"no whole recurrent layer.*--model"):
            rebuilt_model(tmp_path / "half.pt")


def test_data_come_from_a_file_or_a_task(tmp_path: Path) -> None:
    sequences = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.save(tmp_path / "x.npy", sequences)
    np.save(tmp_path / "ids.npy", np.arange(6).reshape(2, 3))
    found = read_data(str(tmp_path / "x.npy"))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), sequences, rtol=1e-6)
    assert read_data(str(tmp_path / "ids.npy")).dtype == torch.int64
    assert torch.equal(read_data("digits"), load_task("digits").x_test)
    np.save(tmp_path / "flat.npy", np.ones(3))
    np.save(tmp_path / "nan.npy", np.full((1, 2, 2), np.nan))
    for name, words in {
        "flat.npy": "have shape",
        "nan.npy": "NaN",
        "x.csv": r"expected a \.npy file",
    }.items():
        with pytest.raises(ValueError, match=words):
            read_data(str(tmp_path / name))
    np.save(tmp_path / "complex.npy", np.full((1, 2, 2), 1j))
    os.mkfifo(tmp_path / "pipe.npy")
    for name, words in {"complex.npy": "are complex", "pipe.npy": "no regular file"}.items():
        with pytest.raises(ValueError, match=words):
            read_data(str(tmp_path / name))
    with pytest.raises(ValueError, match=r"data is 'moons'; expected .*: digits"):
        read_data("moons")
    with pytest.raises(FileNotFoundError):
        read_data(str(tmp_path / "missing.npy"))
