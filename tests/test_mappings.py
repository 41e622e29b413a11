"""Dictionaries within dictionaries: names, what is listed, and structures that would never end."""

import argparse
import collections
import enum
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn.reading.archives import read_torch_archive
from rnn.reading.mappings import tensors_of_mapping
from rnn.reading.pickle_machine import Made, Refused
from rnn.reading.tensors import Stored, stored_tensor

W = torch.eye(2)
STATE = "state of an optimiser or scheduler, not weights"


def names(content: Any) -> list[str]:
    return list(tensors_of_mapping(content, "x").entries)


def test_tensors_arrays_and_stored_ones_are_leaves() -> None:
    stored = stored_tensor(W)
    table = tensors_of_mapping({"a": W, "b": np.eye(2), "c": stored, 3: nn.Parameter(W)}, "x")
    assert list(table.entries) == ["a", "b", "c", "3"]
    assert table.entries["c"] is stored
    assert torch.equal(table.entries["b"].read(), W.double())
    assert (table.origin, table.kinds, table.unrecognised) == ("x", {}, [])


def test_names_begin_with_the_path_unless_one_dictionary_holds_all() -> None:
    inner = {"weight": W, "bias": W[0]}
    assert names({"model": inner, "epoch": 3}) == ["weight", "bias"]
    assert names({"a": inner, "b": {"weight": W}}) == ["a.weight", "a.bias", "b.weight"]
    assert names({"a": {"b": {"weight": W}}}) == ["weight"]


def test_lone_numbers_beside_the_weights_do_not_lengthen_their_names() -> None:
    score = {"best": torch.tensor(0.5)}
    assert names({"state_dict": {"weight": W}, "callbacks": score}) == ["weight", "callbacks.best"]
    assert names({"m": {"callbacks.best": W}, "callbacks": score}) == ["m.callbacks.best", "callbacks.best"]
    assert names({"a": score, "b": score}) == ["a.best", "b.best"]
    assert names(score) == ["best"]


def test_modules_within_dictionaries_are_opened() -> None:
    table = tensors_of_mapping({"model": nn.Linear(2, 3), "epoch": 1}, "x")
    assert (list(table.entries), table.kinds) == (["weight", "bias"], {"weight": "linear"})
    table = tensors_of_mapping({"a": nn.Linear(2, 3), "b": nn.Embedding(2, 3)}, "x")
    assert table.kinds == {"a.weight": "linear", "b.weight": "embedding"}


def test_lists_of_dictionaries_and_modules_are_numbered() -> None:
    assert names({"nets": [{"weight": W}, nn.Linear(2, 2)]}) == [
        "nets.0.weight",
        "nets.1.weight",
        "nets.1.bias",
    ]
    assert names({"nets": [[[{"weight": W}]]]}) == ["weight"]


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        ({"optimizer": {"a": W}}, ("optimizer", STATE)),
        ({"optimizer_states": [{"state": {0: {"exp_avg": W}}}]}, ("optimizer_states", STATE)),
        ({"lr_schedulers": [{"last_epoch": 3}]}, ("lr_schedulers", STATE)),
        ({"adam": {"param_groups": [], "state": {0: W}}}, ("adam", STATE)),
        ({"adam": Made("torch.optim.Adam", state={"param_groups": []})}, ("adam", STATE)),
        ({"a": [W, W]}, ("a", "a list of tensors without names; pass them in a dictionary")),
        ({"a": (stored_tensor(W),)}, ("a", "a list of tensors without names; pass them in a dictionary")),
        ({"a": np.array(["x"])}, ("a", "an array of dtype <U1, not of numbers")),
        ({"a": {"b": Refused("out of reach")}}, ("a.b", "out of reach")),
        ({"a": Made("numpy.ndarray")}, ("a", "an array without its numbers; the file may be damaged")),
        (
            {"a": Made("os.system", ("x",), called=True)},
            ("a", "made by a call of os.system, which is not run"),
        ),
        ({"a": [Made("m.Odd", state={"x": 1})]}, ("a.0", "an object of class m.Odd without tensors")),
    ],
)
def test_what_gives_no_weights_is_listed(content: dict[str, Any], listed: tuple[str, str]) -> None:
    table = tensors_of_mapping(content | {"weight": W}, "x")
    assert (list(table.entries), table.unrecognised) == (["weight"], [listed])


@pytest.mark.parametrize(
    "plain",
    [3, "text", None, 0.5, b"x", [1, 2], ["a"], {"a": {}}, [], Made("argparse.Namespace", state={"rate": 1})],
)
def test_plain_data_is_not_listed(plain: Any) -> None:
    table = tensors_of_mapping({"plain": plain, "weight": W}, "x")
    assert (list(table.entries), table.unrecognised) == (["weight"], [])


def test_tensors_within_objects_are_found_under_their_attributes() -> None:
    inside = Made("m.Run", state=({"weights": {"weight": stored_tensor(W)}}, {"slot": stored_tensor(W)}))
    assert names({"run": inside}) == ["run.weights.weight", "run.slot"]
    filled = Made("m.Names", (), called=True, pairs={"weight": stored_tensor(W)})
    assert names({"run": filled}) == ["weight"]
    pairs = Made("collections.OrderedDict", ([["weight", stored_tensor(W)]],))
    assert names({"run": pairs}) == ["weight"]


def test_dictionaries_within_themselves_come_to_an_end() -> None:
    endless: dict[str, Any] = {"weight": W}
    endless["again"] = endless
    assert tensors_of_mapping(endless, "x").unrecognised == [
        ("again", "dictionaries within dictionaries without end")
    ]
    around: list[Any] = [{"weight": W}]
    around.append(around)
    assert tensors_of_mapping({"a": around}, "x").unrecognised == [
        ("a.1", "dictionaries within dictionaries without end")
    ]


@pytest.mark.parametrize("leaf", [W, 3, None])
def test_shared_dictionaries_that_double_at_each_level_come_to_an_end(leaf: Any) -> None:
    """Thirty levels of two references each name a billion leaves."""
    level: dict[str, Any] = {"weight": leaf}
    for _ in range(60):
        level = {"a": level, "b": level}
    begin = time.perf_counter()
    table = tensors_of_mapping({"m": level, "weight": W}, "x")
    assert time.perf_counter() - begin < 60
    assert "without end" in str(table.unrecognised[-1])


def test_names_stay_on_one_line() -> None:
    table = tensors_of_mapping({"a\nb": W, "c\x1b[2J": [W], "d" * 5000: W}, "x")
    assert [name[:5] for name in table.entries] == ["a\\nb", "ddddd"]
    assert max(map(len, table.entries)) < 1010
    assert table.unrecognised[0][0] == "c\\x1b[2J"


class Colour(enum.Enum):
    RED = 1


class Attributes(dict[str, Any]):
    """A dictionary with a name of its own, as frameworks keep their settings in."""


class Run:
    """What a script might save beside its weights."""

    def __init__(self) -> None:
        self.name, self.best = "run", {"weight": W}


def test_a_checkpoint_of_a_framework_is_read(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 2))
    optimiser = torch.optim.Adam(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimiser.step()
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": model.state_dict(),
        "optimizer_states": [optimiser.state_dict()],
        "lr_schedulers": [torch.optim.lr_scheduler.StepLR(optimiser, 3).state_dict()],
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5)}},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": collections.Counter(a=1)}},
        "hyper_parameters": Attributes(rate=0.1, colour=Colour.RED, device=torch.device("cpu")),
        "args": argparse.Namespace(path=tmp_path, sizes={3}),
    }
    torch.save(content, tmp_path / "a.ckpt")
    table = read_torch_archive(tmp_path / "a.ckpt")
    assert list(table.entries)[: len(model.state_dict())] == list(model.state_dict())
    assert [key for key, _ in table.unrecognised][:2] == ["optimizer_states", "lr_schedulers"]
    for key, value in model.state_dict().items():
        assert torch.equal(table.entries[key].read(), value)


def test_weights_within_an_object_of_a_file_are_read(tmp_path: Path) -> None:
    torch.save({"run": Run(), "epoch": 3}, tmp_path / "a.pt")
    table = read_torch_archive(tmp_path / "a.pt")
    assert (list(table.entries), table.unrecognised) == (["weight"], [])
    assert isinstance(table.entries["weight"], Stored)
