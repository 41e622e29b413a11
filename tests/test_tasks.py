"""The data are what they are said to be, and the split depends on the seed alone."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from rnn.tasks import TASKS, load_task


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


def test_refusals() -> None:
    assert TASKS == ("digits",)
    with pytest.raises(ValueError, match="name is 'mnist'; expected one of 'digits'"):
        load_task("mnist")
    with pytest.raises(TypeError, match="rng is -1"):
        load_task("digits", rng=-1)


def test_a_task_prints_as_one_line() -> None:
    assert repr(load_task("digits")).startswith(
        "Task 'digits': 1437 training and 360 test sequences, 8 steps of 8"
    )
