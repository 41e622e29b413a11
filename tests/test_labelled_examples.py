"""A network and what it is judged on, from files: read or refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rnn.models import ModelConfig, build_model
from rnn.reading.labelled_examples import model_and_examples, read_examples
from rnn.tasks import load_task
from rnn.training import TrainingConfig, save_checkpoint, train
from spectra.errors import UnsupportedModelError

X, Y = np.zeros((4, 3, 2)), np.array([0, 1, 0, 1])


def written(folder: Path, **arrays: object) -> str:
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    task = load_task("digits")
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=3))
    record = train(model, task, config=TrainingConfig(epochs=0))
    save_checkpoint(tmp_path / "m.pt", model, task=task, record=record)
    return tmp_path / "m.pt"


def test_a_checkpoint_of_ours_brings_its_test_set(checkpoint: Path) -> None:
    model, found = model_and_examples(checkpoint)
    task = load_task("digits")
    assert torch.equal(found.x, task.x_test)
    assert torch.equal(found.y, task.y_test)
    assert (found.bounds, found.name, model.training) == ((0.0, 1.0), "the test set of digits", False)
    assert torch.equal(model_and_examples(checkpoint, count=7)[1].y, task.y_test[:7])
    assert torch.equal(model_and_examples(checkpoint, data="digits")[1].x, task.x_test)


def test_arrays_come_in_the_precision_of_the_network(checkpoint: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((5, 8, 8))
    data = written(tmp_path, x=x, y=np.arange(5), lengths=np.full(5, 8))
    found = model_and_examples(checkpoint, data=data, count=3)[1]
    np.testing.assert_array_equal(found.x.numpy(), x[:3].astype(np.float32))
    np.testing.assert_array_equal(found.y.numpy(), [0, 1, 2])
    np.testing.assert_array_equal(found.lengths.numpy(), [8, 8, 8])
    assert found.bounds is None


def test_inputs_alone_will_do_where_no_labels_are_needed(checkpoint: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 8, 8)))
    for data in (str(tmp_path / "x.npy"), written(tmp_path, x=np.ones((2, 8, 8)))):
        found = model_and_examples(checkpoint, data=data, labelled=False)[1]
        assert found.x.shape == (2, 8, 8)
        assert len(found.y) == 0


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "hold x; expected x, y, lengths"),
        ({"y": Y}, "hold y; expected x, y, lengths"),
        ({"x": X, "y": Y, "mask": X}, "hold x, y, mask; expected"),
        ({"x": X, "y": Y[:3]}, r"y has shape \(3,\) beside x of shape \(4, 3, 2\)"),
        ({"x": X, "y": np.array(1)}, r"y has shape \(\)"),
        ({"x": X[:0], "y": Y[:0]}, "at least one example"),
        ({"x": X, "y": np.array(["a"] * 4)}, "y is not understood"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_examples(written(tmp_path, **arrays))


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04no")
    (tmp_path / "folder.npz").mkdir()
    for name, words in (
        ("x.npy", "inputs without labels; expected a .npz file"),
        ("data.csv", "expected a .npz file"),
        ("bad.npz", "bad.npz is no readable .npz file"),
        ("folder.npz", "expected a .npz file"),
    ):
        with pytest.raises(ValueError, match=words):
            read_examples(str(tmp_path / name))
    with pytest.raises(ValueError, match="data is 'moons'"):
        read_examples("moons")
    with pytest.raises(FileNotFoundError):
        read_examples(str(tmp_path / "none.npz"))


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    path = Path(written(tmp_path, x=np.arange(3000.0).reshape(10, 300), y=np.arange(10)))
    content = bytearray(path.read_bytes())
    content[2000:2010] = b"0123456789"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.npz"):
        read_examples(str(path))


def test_what_does_not_fit_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="examples is 1000"):
        model_and_examples(checkpoint, count=1000)
    with pytest.raises(ValueError, match="--model is only used with --data"):
        model_and_examples(checkpoint, factory="a:b")
    torch.save(nn.GRU(2, 3).state_dict(), tmp_path / "gru.pt")
    with pytest.raises(ValueError, match=r"gru\.pt is no checkpoint of `spectra train`.*--data FILE.npz"):
        model_and_examples(tmp_path / "gru.pt")


BREAKING = """
import torch
from torch import nn

class Breaking(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 3)
    def forward(self, x):
        return {}["no\\nkey"]
"""


def test_what_a_network_raises_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "breaking_networks.py").write_text(BREAKING)
    torch.save({f"rnn.{key}": value for key, value in nn.GRU(2, 3).state_dict().items()}, "m.pt")
    with pytest.raises(ValueError, match="the network cannot run on x of shape") as caught:
        model_and_examples("m.pt", factory="breaking_networks:Breaking", data=written(tmp_path, x=X, y=Y))
    assert "KeyError" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_head_is_never_left_aside_in_silence(tmp_path: Path) -> None:
    """The states of a bare layer would be taken for logits."""
    gru = {f"rnn.{key}": value for key, value in nn.GRU(2, 3).state_dict().items()}
    torch.save(gru | {"head.weight": torch.eye(3), "head.bias": torch.ones(3)}, tmp_path / "m.pt")
    data = written(tmp_path, x=X, y=np.zeros((4, 3), dtype=int))
    with pytest.raises(
        UnsupportedModelError, match=r"also holds head\.weight, head\.bias beside.*--model module:"
    ):
        model_and_examples(tmp_path / "m.pt", data=data)
    assert len(model_and_examples(tmp_path / "m.pt", data=data, labelled=False)[1].x) == 4  # no predictions
    many = {f"head.{i}": torch.eye(3) for i in range(5)}
    torch.save(gru | many, tmp_path / "m.pt")
    with pytest.raises(UnsupportedModelError, match=r"head\.2 and 2 more beside"):
        model_and_examples(tmp_path / "m.pt", data=data)
    torch.save(gru, tmp_path / "m.pt")  # a layer alone may be what is meant
    assert isinstance(model_and_examples(tmp_path / "m.pt", data=data)[0], nn.GRU)
    with pytest.raises(ValueError, match=r"by --data, or name the whole network by --model"):
        model_and_examples(tmp_path / "m.pt", data=written(tmp_path, x=np.zeros((4, 3, 5)), y=Y))
    with pytest.raises(ValueError, match=r"wrap the model .*, or name the whole network by --model module:"):
        model_and_examples(tmp_path / "m.pt", data=written(tmp_path, x=X, y=Y))
