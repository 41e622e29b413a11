"""Training is deterministic, reaches what it should, leaves nothing behind; files hold all or fail."""

import copy
import dataclasses
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import rnn.learning.checkpoints
from rnn.constraints import normalised
from rnn.models import CELLS, ModelConfig, build_model
from rnn.tasks import Task, load_task
from rnn.training import (
    Checkpoint,
    TrainingConfig,
    TrainingRecord,
    load_checkpoint,
    read_torch_file,
    save_checkpoint,
    train,
)
from spectra.errors import ConvergenceError, UnsupportedModelError

DIGITS = load_task("digits")
SHORT = TrainingConfig(epochs=2)


def small_task() -> Task:
    return dataclasses.replace(DIGITS, x_train=DIGITS.x_train[:200], y_train=DIGITS.y_train[:200])


FIRST = ("tanh", "gru", "lstm", "feedforward")


@pytest.mark.parametrize("cell", FIRST)
def test_the_defaults_reach_a_high_accuracy_on_digits(cell: str) -> None:
    record = train(build_model(ModelConfig(cell, features=8, steps=8)), DIGITS)
    assert record.test_accuracy > 0.92
    assert record.train_accuracy > 0.97
    assert len(record.losses) == 30
    assert record.losses[-1] < 0.1 < record.losses[0]
    assert record.seconds > 0


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in FIRST])
def test_the_other_cells_learn_too(cell: str) -> None:
    config = TrainingConfig(epochs=10, learning_rate=2e-2)
    record = train(build_model(ModelConfig(cell, features=8, steps=8)), DIGITS, config=config)
    assert record.test_accuracy > 0.75
    assert record.test_balanced_accuracy == pytest.approx(record.test_accuracy, abs=0.02)


def test_training_is_adam_on_shuffled_batches() -> None:
    task, config = (
        small_task(),
        TrainingConfig(epochs=2, batch_size=64, learning_rate=2e-3, weight_decay=0.1, seed=3),
    )
    model = build_model(ModelConfig("gru", features=8, steps=8))
    twin = copy.deepcopy(model)
    record = train(model, task, config=config)
    optimiser = torch.optim.AdamW(twin.parameters(), lr=2e-3, weight_decay=0.1)
    order, losses = torch.Generator().manual_seed(3), []
    for _ in range(2):
        sums = []
        for index in torch.randperm(200, generator=order).split(64):
            optimiser.zero_grad()
            loss = cross_entropy(twin(task.x_train[index]), task.y_train[index])
            loss.backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
            optimiser.step()
            sums.append(loss.item() * len(index))
        losses.append(sum(sums) / 200)
    assert record.losses == pytest.approx(losses, rel=1e-6)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    right = (model.eval()(DIGITS.x_test).argmax(1) == DIGITS.y_test).double().mean().item()
    assert record.test_accuracy == right


class Dropped(nn.Module):
    """A model that draws from torch's global generator when it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build_model(ModelConfig("tanh", features=8, steps=8))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.dropout(x))


def test_same_seed_same_weights_and_the_world_as_before() -> None:
    models = [Dropped().eval() for _ in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        train(model, small_task(), config=dataclasses.replace(SHORT, seed=seed))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert not any(module.training for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())
    one, two, three = ([*model.parameters()] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, three, strict=True))


def test_no_epochs_leave_the_model_as_it_is() -> None:
    model = build_model(ModelConfig("tanh", features=8, steps=8))
    before = copy.deepcopy(model.state_dict())
    record = train(model, DIGITS, config=TrainingConfig(epochs=0))
    assert record.losses == ()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert record.test_accuracy < 0.4


@pytest.mark.parametrize(
    ("config", "maker"),
    [
        ({"optimiser": "adam", "weight_decay": 0.1}, lambda p: torch.optim.Adam(p, 1e-3, weight_decay=0.1)),
        (
            {"optimiser": "sgd", "momentum": 0.9, "weight_decay": 0.1},
            lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9, weight_decay=0.1),
        ),
        ({"optimiser": "rmsprop", "momentum": 0.5}, lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.5)),
    ],
)
def test_the_optimisers_are_those_of_torch(
    config: dict[str, Any], maker: Callable[..., torch.optim.Optimizer]
) -> None:
    task = small_task()
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=8))
    twin = copy.deepcopy(model)
    train(model, task, config=TrainingConfig(epochs=1, learning_rate=1e-3, seed=3, **config))
    optimiser = maker(twin.parameters())
    for index in torch.randperm(200, generator=torch.Generator().manual_seed(3)).split(64):
        optimiser.zero_grad()
        cross_entropy(twin(task.x_train[index]), task.y_train[index]).backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimiser.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_every_frame_is_learned_where_every_frame_is_asked() -> None:
    """The largest of three entries of the frame, in sequences of different lengths."""
    x = torch.rand(300, 6, 3, generator=torch.Generator().manual_seed(0))
    y, lengths = x.argmax(2), torch.arange(300) % 6 + 1
    wrong = torch.where(torch.arange(6) < lengths[:, None], y, 2 - y)  # behind the end, where nobody asks
    task = dataclasses.replace(
        Task("largest", x, wrong, x, wrong, 3, (0.0, 1.0), kind="labelling"),
        lengths_train=lengths,
        lengths_test=lengths,
    )
    model = build_model(ModelConfig("tanh", features=3, steps=6, hidden=16, classes=3, readout="each"))
    record = train(model, task, config=TrainingConfig(epochs=30, learning_rate=2e-2))
    assert record.train_accuracy > 0.9
    assert record.losses[-1] < 0.4 < record.losses[0]
    shares = [(model(x).argmax(2) == wrong)[n, : lengths[n]] for n in range(300)]
    assert record.test_accuracy == torch.cat(shares).double().mean().item()


def test_numbers_are_learned_where_numbers_are_asked() -> None:
    x = torch.rand(300, 4, 1, generator=torch.Generator().manual_seed(0))
    y = x.mean(1)
    task = Task("mean", x, y, x, y, 1, (0.0, 1.0), kind="regression", tolerance=0.05)
    model = build_model(ModelConfig("tanh", features=1, steps=4, hidden=8, classes=1))
    record = train(model, task, config=TrainingConfig(epochs=30))
    assert record.test_accuracy > 0.9
    assert record.test_balanced_accuracy is None
    assert record.losses[-1] < 1e-3 < record.losses[0]
    wide = build_model(ModelConfig("tanh", features=1, steps=4, hidden=8, classes=2))
    with pytest.raises(ValueError, match=r"task asks for 1 numbers, but model gives 2; .* classes=1"):
        train(wide, task)


def radius_and_norm(model: nn.Module) -> tuple[float, float]:
    W = model.weight_hh_l0.detach().double()  # type: ignore[operator, union-attr]
    return float(torch.linalg.eigvals(W).abs().max()), float(torch.linalg.matrix_norm(W, 2))


@pytest.mark.parametrize(("kind", "place"), [("radius", 0), ("norm", 1)])
def test_a_constraint_holds_at_every_step(kind: str, place: int) -> None:
    heard = []
    config = TrainingConfig(epochs=5, batch_size=200, constraint=kind, constraint_target=0.8)
    model = build_model(ModelConfig("tanh", features=8, steps=8, gain=2.0))
    train(
        model, small_task(), config=config, after_epoch=lambda *args: heard.append(radius_and_norm(args[1]))
    )
    assert len(heard) == 6  # one step an epoch, and the start
    assert all(values[place] <= 0.8 for values in heard)
    assert heard[-1][place] > 0.7
    free = build_model(ModelConfig("tanh", features=8, steps=8, gain=2.0))
    train(free, small_task(), config=dataclasses.replace(config, constraint="none", constraint_target=1.0))
    assert radius_and_norm(free)[place] > 1.5


@pytest.mark.parametrize("kind", ["radius-power", "radius-rayleigh"])
def test_the_other_constraints_are_applied_as_they_are(kind: str) -> None:
    config = TrainingConfig(epochs=0, constraint=kind, constraint_target=0.5, seed=4)
    model = build_model(ModelConfig("gru", features=8, steps=8, gain=2.0))
    twin = copy.deepcopy(model)
    normalised(twin, kind, target=0.5, only_above=True, rng=4)
    train(model, small_task(), config=config)
    assert torch.equal(model.weight_hh_l0, twin.weight_hh_l0)


def test_a_constraint_that_cannot_be_kept_stops_before_the_first_step() -> None:
    model = build_model(ModelConfig("orthogonal", features=8, steps=8, hidden=6))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UnsupportedModelError, match="radius and norm 1 whatever its weights"):
        train(model, small_task(), config=TrainingConfig(constraint="radius"))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=6))
    config = TrainingConfig(optimiser="sgd", learning_rate=3e38, weight_decay=1e3, constraint="norm")
    with pytest.raises(ConvergenceError, match="stopped in epoch 1: weight_hh_l0 has NaN or infinite"):
        train(model, small_task(), config=config)


def test_after_each_epoch_the_model_can_be_measured() -> None:
    models = [Dropped(), Dropped()]
    heard, before = [], torch.random.get_rng_state()

    def measure(epoch: int, model: nn.Module) -> None:
        heard.append((epoch, model.training, torch.rand(1).item()))
        time.sleep(0.1)

    started = time.perf_counter()
    record = train(models[0], small_task(), config=SHORT, after_epoch=measure)
    assert record.seconds < time.perf_counter() - started - 0.29
    assert [entry[:2] for entry in heard] == [(0, False), (1, False), (2, False)]
    assert models[0].training
    assert train(models[1], small_task(), config=SHORT).losses == record.losses
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_gradient_is_clipped_where_asked() -> None:
    task, start = small_task(), build_model(ModelConfig("tanh", features=8, steps=8))
    results = []
    for clip in (0.0, 1e6, 1e-12):  # Adam's epsilon of 1e-8 shows when gradients are clipped to 1e-12
        model = copy.deepcopy(start)
        train(model, task, config=TrainingConfig(epochs=1, gradient_clip=clip))
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    origin = torch.cat([p.detach().flatten() for p in start.parameters()])
    assert torch.equal(results[0], results[1])
    assert (results[2] - origin).norm() < 0.01 * (results[0] - origin).norm()


def test_progress_hears_of_each_epoch() -> None:
    heard: list[tuple[int, int, float]] = []
    model = build_model(ModelConfig("tanh", features=8, steps=8))
    record = train(model, small_task(), config=SHORT, progress=lambda *args: heard.append(args))
    assert heard == [(1, 2, record.losses[0]), (2, 2, record.losses[1])]


def test_an_interrupt_leaves_cleanly() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model, before = Dropped(), torch.random.get_rng_state()
    model.inner.eval()
    with pytest.raises(KeyboardInterrupt):
        train(model, small_task(), config=SHORT, progress=interrupt)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (model.training, model.inner.training, model.dropout.training) == (True, False, True)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_divergence_raises_and_keeps_what_was_there() -> None:
    task = small_task()
    poisoned = task.x_train.clone()
    poisoned[5, 0, 0] = torch.inf
    model = build_model(ModelConfig("feedforward", features=8, steps=8))
    with pytest.raises(
        ConvergenceError, match=r"stopped in epoch 1: loss .*; use a smaller learning_rate"
    ) as caught:
        train(model, dataclasses.replace(task, x_train=poisoned), config=SHORT)
    assert isinstance(caught.value.best, TrainingRecord)
    assert caught.value.best.losses == ()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_model_without_parameters_is_refused() -> None:
    model = build_model(ModelConfig("tanh", features=8, steps=8)).requires_grad_(False)
    with pytest.raises(ValueError, match="model has no parameter that requires a gradient"):
        train(model, small_task())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", -1),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("weight_decay", -0.1),
        ("gradient_clip", -1.0),
        ("seed", -1),
        ("momentum", -0.1),
        ("constraint_target", 0.0),
    ],
)
def test_training_configurations_are_checked(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        TrainingConfig(**{field: value})
    with pytest.raises(TypeError, match=field):
        TrainingConfig(**{field: "many"})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"optimiser": "lion"}, "optimiser is 'lion'; expected one of 'adamw', 'adam', 'sgd', 'rmsprop'"),
        ({"constraint": "unit"}, "constraint is 'unit'; expected one of 'none', 'radius'"),
        ({"optimiser": "sgd", "momentum": 1.0}, r"momentum is 1.0; expected a number in \[0, 1\)"),
        ({"momentum": 0.9}, "momentum is 0.9, but optimiser 'adamw' takes none"),
        ({"constraint_target": 0.5}, "constraint_target is 0.5, but constraint is 'none'"),
    ],
)
def test_settings_without_effect_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainingConfig(**fields)


def saved(path: Path, cell: str = "lstm") -> tuple[nn.Module, TrainingRecord]:
    task = load_task("digits", rng=4)
    gain = 1.0 if cell == "orthogonal" else 1.5
    model = build_model(ModelConfig(cell, features=8, steps=8, hidden=5, gain=gain, seed=9))
    record = train(model, task, config=TrainingConfig(epochs=1))
    save_checkpoint(path, model, task=task, record=record)
    return model, record


@pytest.mark.parametrize("cell", CELLS)
def test_a_checkpoint_holds_everything(cell: str, tmp_path: Path) -> None:
    model, record = saved(tmp_path / "model.pt", cell)
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert isinstance(loaded, Checkpoint)
    assert loaded.model.config == model.config
    assert loaded.record == record
    assert (loaded.task, loaded.task_seed) == ("digits", 4)
    assert not loaded.model.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value)
    assert os.listdir(tmp_path) == ["model.pt"]


def test_a_checkpoint_holds_the_options_of_its_task(tmp_path: Path) -> None:
    task = load_task("copy", rng=3, steps=2, train_size=30, test_size=10)
    config = ModelConfig("tanh", task.features, task.steps, hidden=4, classes=task.classes, readout="each")
    model = build_model(config)
    record = train(model, task, config=TrainingConfig(epochs=1))
    save_checkpoint(tmp_path / "m.pt", model, task=task, record=record)
    loaded = load_checkpoint(tmp_path / "m.pt")
    assert (loaded.task, loaded.task_seed) == ("copy", 3)
    again = load_task(loaded.task, rng=loaded.task_seed, **loaded.task_options)
    assert torch.equal(again.x_test, task.x_test)
    strange = dataclasses.replace(task, options={"steps": np.int64(2)})
    with pytest.raises(
        TypeError, match=r"task\.options has steps = .*, a int64; expected strings, Python num"
    ):
        save_checkpoint(tmp_path / "m.pt", model, task=strange, record=record)


def test_a_checkpoint_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    model, record = saved(path)
    content = torch.load(path, weights_only=True)
    del content["task"]["options"], content["record"]["test_balanced_accuracy"]
    for name in ("optimiser", "momentum", "constraint", "constraint_target"):
        del content["record"]["config"][name]
    for name in ("readout", "eta", "gamma", "beta"):
        content["config"].pop(name, None)
    torch.save(content, path)
    loaded = load_checkpoint(path)
    assert loaded.record == dataclasses.replace(record, test_balanced_accuracy=None)
    assert loaded.task_options == {}
    assert loaded.model.config == model.config


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    model, record = saved(path)
    old = path.read_bytes()

    def interrupted(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(rnn.learning.checkpoints.torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, model, task=DIGITS, record=record)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["model.pt"]


def test_only_models_with_a_configuration_are_saved(tmp_path: Path) -> None:
    record = TrainingRecord((), 0.0, 0.0, 0.0, SHORT)
    with pytest.raises(
        TypeError, match=r"model is a Linear without a ModelConfig .* torch\.save\(model\.state_dict"
    ):
        save_checkpoint(tmp_path / "m.pt", nn.Linear(2, 2), task=DIGITS, record=record)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.95, -1])
def test_truncated_checkpoints_are_refused(keep: float, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    saved(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=r"model\.pt is .*; save|model\.pt is damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"not a model", b"PK\x03\x04 almost a zip", b"\x80\x04]\x94.", b"{}"])
def test_foreign_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt is"):
        load_checkpoint(path)


def test_other_torch_files_are_no_checkpoint(tmp_path: Path) -> None:
    for number, content in enumerate((nn.GRU(2, 2).state_dict(), torch.zeros(3), {"format": "other"})):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        with pytest.raises(
            ValueError, match=r"is no checkpoint of this package .* rnn\.named_matrices\(path\)"
        ):
            load_checkpoint(path)


class Hostile:
    """Unpickled, it would leave a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_hostile_file_does_nothing(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    torch.save({"state_dict": Hostile(mark)}, path)
    with pytest.raises(ValueError, match=r"holds more than tensors .* save model\.state_dict"):
        read_torch_file(path)
    assert not mark.exists()


def test_a_pickled_module_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"whole pickled module.*save model\.state_dict\(\) instead"):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "damage",
    [
        {"config": {"cell": "tanh"}},
        {"config": {"cell": "tanh", "features": 8, "steps": 0}},
        {"state_dict": {}},
        {"record": {}},
        {"task": {}},
        {"task": "digits"},
    ],
)
def test_a_checkpoint_with_a_wrong_part_is_damaged(damage: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    saved(path)
    torch.save(torch.load(path, weights_only=True) | damage, path)
    with pytest.raises(ValueError, match=r"is a damaged checkpoint \(.*\); train and save it again"):
        load_checkpoint(path)


def test_a_cell_that_is_not_registered_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    saved(path)
    config = {"cell": "mine", "features": 8, "steps": 8}
    torch.save(torch.load(path, weights_only=True) | {"config": config}, path)
    with pytest.raises(UnsupportedModelError, match=r"cell 'mine', which is not registered .*register_cell"):
        load_checkpoint(path)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        load_checkpoint(tmp_path / "absent.pt")


def test_what_cannot_be_trained_is_refused_before_the_first_step() -> None:
    task = small_task()
    model = build_model(ModelConfig("tanh", task.features, task.steps, hidden=4))
    change = dataclasses.replace
    for bad, error, words in (
        (change(task, y_train=task.y_train[:5]), ValueError, r"y_train of shape \(5,\)"),
        (change(task, x_train=task.x_train[:0], y_train=task.y_train[:0]), ValueError, "0 examples"),
        (change(task, y_test=task.y_test - 9), ValueError, "y_test holds the label -"),
        (change(task, y_test=task.y_test + 9), ValueError, "but model has 10 logits"),
        (change(task, y_train=task.y_train.float()), TypeError, "y_train is torch.float32"),
        (change(task, x_train=task.x_train.double()), TypeError, "x_train is torch.float64"),
        (None, TypeError, "task is a NoneType"),
    ):
        with pytest.raises(error, match=words):
            train(model, bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config is a dict"):
        train(model, task, config={"epochs": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model is a function"):
        train(lambda x: x, task)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"seed is .*; expected at most"):
        TrainingConfig(seed=2**63)


def test_logits_without_the_parameters_are_refused() -> None:
    class Constant(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(1)).detach()

    task = small_task()
    with pytest.raises(ValueError, match="do not depend on its parameters"):
        train(Constant(64, 10), task, config=TrainingConfig(epochs=1))


def test_torch_says_nothing_of_its_own_about_a_foreign_pickle(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(Path, protocol=4))
    with pytest.raises(ValueError, match="damaged, or holds more than tensors"):
        load_checkpoint(path)
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match="damaged, or of another kind"):
        load_checkpoint(path)
    assert len(recwarn) == 0
