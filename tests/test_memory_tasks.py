"""The memory tasks ask what they say, and depend on the seed alone."""

import pytest
import torch

from rnn.tasks import load_task


@pytest.mark.parametrize("steps", [2, 7, 50])
def test_adding_asks_for_the_sum_of_the_two_marked_numbers(steps: int) -> None:
    task = load_task("adding", steps=steps, train_size=300, test_size=40)
    assert (task.kind, task.classes, task.tolerance, task.bounds) == ("regression", 1, 0.04, (0.0, 1.0))
    for x, y in ((task.x_train, task.y_train), (task.x_test, task.y_test)):
        numbers, marks = x[..., 0], x[..., 1]
        assert set(marks.unique().tolist()) <= {0.0, 1.0}
        assert (marks[:, : steps // 2].sum(1) == 1).all()
        assert (marks[:, steps // 2 :].sum(1) == 1).all()
        torch.testing.assert_close((numbers * marks).sum(1, keepdim=True), y)
    assert task.x_train.shape == (300, steps, 2)
    assert load_task("adding", tolerance=0.1).tolerance == 0.1


def test_the_error_of_always_answering_one_is_a_sixth() -> None:
    y = load_task("adding", steps=2, train_size=100_000).y_train
    assert float((y - 1).square().mean()) == pytest.approx(1 / 6, rel=0.02)


@pytest.mark.parametrize("steps", [1, 20])
def test_copy_asks_for_the_ten_symbols_in_order(steps: int) -> None:
    task = load_task("copy", steps=steps, train_size=300, test_size=40)
    assert (task.kind, task.classes, task.bounds, task.tolerance) == ("labelling", 9, (0.0, 1.0), None)
    assert task.x_train.shape == (300, steps + 20, 10)
    assert (task.x_train.sum(2) == 1).all()
    shown = task.x_train.argmax(2)
    assert torch.equal(task.y_train[:, -10:], shown[:, :10])
    assert set(shown[:, :10].unique().tolist()) == {*range(8)}
    assert (task.y_train[:, :-10] == 8).all()
    assert (shown[:, 10:-11] == 8).all()
    assert (shown[:, -11] == 9).all()
    assert (shown[:, -10:] == 8).all()


@pytest.mark.parametrize("name", ["adding", "copy"])
def test_the_seed_determines_the_examples(name: str) -> None:
    one, again, other = (load_task(name, rng=seed, train_size=50, test_size=50) for seed in (0, 0, 1))
    assert torch.equal(one.x_train, again.x_train)
    assert torch.equal(one.y_test, again.y_test)
    assert not torch.equal(one.x_train, other.x_train)
    assert not torch.equal(one.x_train, one.x_test)
    assert torch.equal(load_task(name, train_size=80, test_size=50).x_test, one.x_test)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="steps is 1; expected at least 2"):
        load_task("adding", steps=1)
    with pytest.raises(ValueError, match="tolerance is 0"):
        load_task("adding", tolerance=0.0)
    with pytest.raises(ValueError, match="steps is 0"):
        load_task("copy", steps=0)
    with pytest.raises(TypeError, match=r"train_size is 2\.5; expected a whole number"):
        load_task("copy", train_size=2.5)
    with pytest.raises(ValueError, match=r"test_size is 1000000000, which makes .* use fewer examples"):
        load_task("copy", test_size=10**9)
    with pytest.raises(ValueError, match="train_size is 2000, which makes"):
        load_task("adding", steps=10**12)
