"""The data are what they are said to be, and the split depends on the seed alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import rnn.tasks
from rnn.tasks import TASKS, Task, load_task, register_task, task_names


def test_digits_are_the_digits() -> None:
    task, data = load_task("digits"), load_digits()
    assert task.x_train.shape == (1437, 8, 8)
    assert task.x_test.shape == (360, 8, 8)
    assert (task.steps, task.features, task.classes, task.bounds, task.name) == (
        8,
        8,
        10,
        (0.0, 1.0),
        "digits",
    )
    assert task.x_train.dtype == torch.float32
    assert task.y_train.dtype == torch.int64
    ours = sorted(
        (int(y), *(16 * x).int().flatten().tolist())
        for x, y in zip(
            torch.cat((task.x_train, task.x_test)), torch.cat((task.y_train, task.y_test)), strict=True
        )
    )
    theirs = sorted(
        (int(y), *x.astype(int).flatten().tolist()) for x, y in zip(data.images, data.target, strict=True)
    )
    assert ours == theirs  # every example once, in train or test, with its own label, rows in order


def test_the_split_is_stratified() -> None:
    task = load_task("digits")
    test, whole = (
        np.bincount(y, minlength=10) for y in (task.y_test, torch.cat((task.y_train, task.y_test)))
    )
    assert np.abs(test - whole * 360 / 1797).max() < 1


def test_the_seed_determines_the_split() -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    one, again, other = load_task("digits"), load_task("digits", rng=0), load_task("digits", rng=1)
    assert torch.equal(one.x_test, again.x_test)
    assert not torch.equal(one.x_test, other.x_test)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize("rng", [5, np.random.default_rng(5), np.int64(7), 2**40])
def test_a_task_carries_the_seed_that_gives_it_again(rng: int | np.random.Generator) -> None:
    task = load_task("digits", rng=rng)
    assert torch.equal(load_task("digits", rng=task.seed).x_train, task.x_train)
    assert load_task("digits", rng=task.seed).seed == task.seed


def test_names_and_options_are_checked() -> None:
    assert TASKS == ("digits", "mnist", "japanese-vowels", "ecg5000", "adding", "copy")
    with pytest.raises(ValueError, match="name is 'cifar'; expected one of 'digits', 'mnist'"):
        load_task("cifar")
    with pytest.raises(ValueError, match=r"name is \['digits'\]; expected one of"):
        load_task(["digits"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rng is -1"):
        load_task("digits", rng=-1)
    with pytest.raises(TypeError, match="task 'digits' has no option size, steps; expected no options"):
        load_task("digits", steps=3, size=5)
    with pytest.raises(TypeError, match="has no option size; expected steps, train_size, test_size"):
        load_task("copy", size=5)


def test_a_task_prints_as_one_line() -> None:
    assert repr(load_task("digits")) == (
        "Task 'digits': 1437 training and 360 test sequences, 8 steps of 8 features, 10 classes"
    )
    assert repr(load_task("adding")).endswith("50 steps of 2 features, 1 output")
    assert repr(load_task("copy")).endswith("40 steps of 10 features, 9 classes a frame")
    varied = dataclasses.replace(load_task("adding"), lengths_test=torch.full((500,), 3), classes=2)
    assert repr(varied).endswith("up to 50 steps of 2 features, 2 outputs")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what a test registers."""
    monkeypatch.setattr(rnn.tasks, "_registered", {})


def mine(seed: int, data_root: object, *, shift: float = 0.0) -> Task:
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(20, 4, 3, generator=random) + shift
    y = (x.sum((1, 2)) > 6 + 12 * shift).long()
    return Task("whatever", x[:12], y[:12], x[12:], y[12:], classes=2, bounds=None)


@pytest.mark.usefixtures("fresh")
def test_a_task_of_the_user() -> None:
    register_task("mine", mine)
    assert task_names() == (*TASKS, "mine")
    task = load_task("mine", rng=np.random.default_rng(0), shift=0.5)
    assert (task.name, task.options) == ("mine", {"shift": 0.5})
    again = load_task("mine", rng=task.seed, **task.options)
    assert torch.equal(task.x_test, again.x_test)
    assert task.x_train.min() > 0.5
    with pytest.raises(TypeError, match="task 'mine' has no option scale; expected shift"):
        load_task("mine", scale=2)


@pytest.mark.usefixtures("fresh")
def test_a_loader_may_take_any_option_and_the_folder(tmp_path: Path) -> None:
    heard = []

    def loader(seed: int, data_root: object, **options: object) -> Task:
        heard.append((seed, data_root, options))
        return mine(seed, data_root)

    register_task("open", loader)
    load_task("open", rng=7, data_root=tmp_path, anything=1)
    assert heard == [(7, tmp_path, {"anything": 1})]


@pytest.mark.usefixtures("fresh")
def test_registrations_are_checked() -> None:
    register_task("mine", mine)
    for taken in ("mine", "digits"):
        with pytest.raises(ValueError, match=f"name is '{taken}', which is taken .*; choose another"):
            register_task(taken, mine)
    with pytest.raises(ValueError, match="name is ' '; expected a name that is not blank"):
        register_task(" ", mine)
    with pytest.raises(TypeError, match="name is 3; expected a string"):
        register_task(3, mine)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loader is 5; expected a function"):
        register_task("five", 5)  # type: ignore[arg-type]


@pytest.mark.usefixtures("fresh")
def test_what_a_loader_gives_is_checked() -> None:
    register_task("nothing", lambda seed, data_root: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match=r"loader of task 'nothing' returns NoneType; expected an rnn\.Task"):
        load_task("nothing")
    register_task("one-class", lambda seed, data_root: dataclasses.replace(mine(seed, None), classes=1))
    with pytest.raises(ValueError, match="y_train holds the label 1; expected 0 to classes - 1, which is 0"):
        load_task("one-class")
    register_task("torn", lambda seed, data_root: dataclasses.replace(mine(0, None), y_test=torch.ones(3)))
    with pytest.raises(TypeError, match=r"y_test is torch\.float32"):
        load_task("torn")


PLUGIN = """
import dataclasses
import rnn

def build(seed, data_root, *, size=10):
    task = rnn.load_task("digits", rng=seed)
    return dataclasses.replace(task, x_train=task.x_train[:size], y_train=task.y_train[:size])

constant = 5
"""


def install(folder: Path, name: str, points: str) -> None:
    """Put an installed package on the path: its module and the notes that importlib.metadata reads."""
    (folder / f"{name}_tasks.py").write_text(PLUGIN)
    notes = folder / f"{name}-1.0.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (notes / "entry_points.txt").write_text(f"[spectra.tasks]\n{points}\n")


@pytest.mark.usefixtures("fresh")
def test_tasks_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path,
        "alpha",
        "alpha = alpha_tasks:build\nbroken = alpha_tasks:absent\nfive = alpha_tasks:constant",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert task_names() == (*TASKS, "alpha", "broken", "five")
    task = load_task("alpha", size=7)
    assert (task.name, len(task.y_train)) == ("alpha", 7)
    with pytest.raises(ValueError, match="name is 'alpha', which is taken"):
        register_task("alpha", mine)
    with pytest.raises(ValueError, match=r"'broken', alpha_tasks:absent of alpha, cannot be imported .*Att"):
        load_task("broken")
    with pytest.raises(TypeError, match="task 'five': alpha_tasks:constant is no function"):
        load_task("five")


@pytest.mark.usefixtures("fresh")
def test_a_name_that_two_offer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "beta", "shared = beta_tasks:build\ndigits = beta_tasks:build")
    install(tmp_path, "gamma", "shared = gamma_tasks:build")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ValueError, match=r"more than once: beta_tasks:build of beta, gamma_tasks:build of gam"
    ):
        load_task("shared")
    with pytest.raises(ValueError, match=r"more than once: here, and by beta_tasks:build of beta; uninstall"):
        load_task("digits")
