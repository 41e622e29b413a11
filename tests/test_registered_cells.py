"""Cells of one's own: registered by name, then like any other."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from rnn.attacking.weight_perturbations import weight_robustness
from rnn.bounds.certification import certified_accuracy
from rnn.models import CELLS, ModelConfig, build_model, cell_names, register_cell
from rnn.motion.cells import unrolled_cells
from rnn.motion.jacobians import state_jacobians
from rnn.networks import cell_kinds
from rnn.tasks import load_task
from rnn.training import TrainingConfig, load_checkpoint, save_checkpoint, train
from spectra.errors import UnsupportedModelError

CONFIG = {"features": 3, "steps": 5, "hidden": 4}


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_kinds, "_REGISTERED", {})


def minimal_gated(from_input: Tensor, from_hidden: Tensor, h: Tensor) -> Tensor:
    (f_x, n_x), (f_h, n_h) = from_input.chunk(2, -1), from_hidden.chunk(2, -1)
    f = torch.sigmoid(f_x + f_h)
    return (1 - f) * h + f * torch.tanh(n_x + n_h)


def plain_tanh(from_input: Tensor, from_hidden: Tensor, _: Tensor) -> Tensor:
    return torch.tanh(from_input + from_hidden)


def test_a_registered_twin_of_tanh_is_tanh() -> None:
    register_cell("twin", plain_tanh)
    assert cell_names() == (*CELLS, "twin")
    ours, theirs = (build_model(ModelConfig(cell, **CONFIG)) for cell in ("tanh", "twin"))
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), theirs(x))
    np.testing.assert_array_equal(state_jacobians(ours, x), state_jacobians(theirs, x))


def test_gates_states_and_starts() -> None:
    def initialise(model: nn.Module, random: torch.Generator) -> None:
        model.weight_hh_l0.fill_(0.5)
        model.bias_ih_l0.normal_(generator=random)

    def remembers(from_input: Tensor, from_hidden: Tensor, state: Tensor) -> Tensor:
        h, before = state.chunk(2, -1)
        return torch.cat((torch.tanh(from_input + from_hidden + before), h), -1)

    register_cell("gated", minimal_gated, gates=2)
    register_cell("delayed", remembers, states=2, initialise=initialise)
    gated, delayed = (build_model(ModelConfig(cell, **CONFIG)) for cell in ("gated", "delayed"))
    assert tuple(gated.weight_hh_l0.shape) == (8, 4)
    assert (gated.state_size, delayed.state_size) == (4, 8)
    assert (delayed.weight_hh_l0 == 0.5).all()
    again = build_model(ModelConfig("delayed", **CONFIG))
    assert torch.equal(again.bias_ih_l0, delayed.bias_ih_l0)
    other = build_model(ModelConfig("delayed", seed=1, **CONFIG))
    assert not torch.equal(other.bias_ih_l0, delayed.bias_ih_l0)
    assert state_jacobians(delayed, torch.zeros(2, 5, 3)).shape == (2, 5, 8, 8)


def test_a_start_may_put_a_constraint_on() -> None:
    class Symmetric(nn.Module):
        def forward(self, free: Tensor) -> Tensor:
            return free + free.mT

    register_cell(
        "symmetric",
        plain_tanh,
        initialise=lambda model, random: register_parametrization(model, "weight_hh_l0", Symmetric()),
    )
    W = build_model(ModelConfig("symmetric", **CONFIG)).weight_hh_l0
    assert torch.equal(W, W.T)


def test_names_and_functions_are_checked() -> None:
    register_cell("mine", plain_tanh)
    for taken in (*CELLS, "mine"):
        with pytest.raises(ValueError, match=f"name is '{taken}', which is taken"):
            register_cell(taken, plain_tanh)
    for bad in ("", "2gates", "a b", None):
        with pytest.raises(ValueError, match="expected letters, digits"):
            register_cell(bad, plain_tanh)
    with pytest.raises(TypeError, match="step is 'tanh'; expected a function"):
        register_cell("other", "tanh")
    with pytest.raises(TypeError, match="initialise is 1; expected a function"):
        register_cell("other", plain_tanh, initialise=1)
    with pytest.raises(ValueError, match="gates is 0; expected at least 1"):
        register_cell("other", plain_tanh, gates=0)
    with pytest.raises(ValueError, match=r"cannot be built or stepped \(ValueError: not enough values"):
        register_cell("other", fails)
    with pytest.raises(ValueError, match=r"step gives \(5, 6\) for a state of shape \(5, 3\)"):
        register_cell("other", plain_tanh, gates=2)
    with pytest.raises(ValueError, match="step gives tuple for a state"):
        register_cell("other", lambda u, w, h: (u, w))
    assert cell_names() == (*CELLS, "mine")  # what failed is not entered


def fails(_: Tensor, __: Tensor, ___: Tensor) -> Tensor:
    raise ValueError("not enough values")


def test_what_needs_to_understand_a_cell_says_that_it_does_not() -> None:
    register_cell("sine", lambda u, w, h: torch.sin(u + w))
    model, x = build_model(ModelConfig("sine", **CONFIG)), torch.zeros(2, 5, 3)
    with pytest.raises(UnsupportedModelError, match="has the cell 'sine', which was registered"):
        unrolled_cells(model)
    with pytest.raises(UnsupportedModelError, match="has the cell 'sine', which was registered"):
        certified_accuracy(model, x, torch.tensor([0, 1]), norm="linf", budgets=[0.1], bounds=None)
    weight_robustness(model, x, torch.tensor([0, 1]), sizes=[0.1], shares=[0.5], draws=2, steps=2)


def test_unknown_names_are_refused_with_the_next_step() -> None:
    with pytest.raises(ValueError, match=r"cell is 'mine'; expected .* given to rnn\.register_cell"):
        ModelConfig("mine", **CONFIG)
    register_cell("mine", plain_tanh)
    config = ModelConfig("mine", **CONFIG)
    assert dataclasses.asdict(config)["cell"] == "mine"


def test_checkpoints_need_the_cell_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_cell("gated", minimal_gated, gates=2)
    task = load_task("digits")
    model = build_model(ModelConfig("gated", features=8, steps=8, hidden=4))
    record = train(model, task, config=TrainingConfig(epochs=0))
    save_checkpoint(tmp_path / "model.pt", model, task=task, record=record)
    loaded = load_checkpoint(tmp_path / "model.pt").model
    assert torch.equal(loaded(task.x_test[:3]), model(task.x_test[:3]))
    monkeypatch.setattr(cell_kinds, "_REGISTERED", {})
    with pytest.raises(UnsupportedModelError, match=r"cell 'gated', which is not registered") as refusal:
        load_checkpoint(tmp_path / "model.pt")
    assert str(refusal.value).endswith(
        "call rnn.register_cell('gated', ...) as when it was trained, then load it"
    )
    assert "\n" not in str(refusal.value)
