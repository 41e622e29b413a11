"""A task whose parts do not fit together is refused, with the part that does not."""

import dataclasses
from typing import Any

import pytest
import torch

from rnn.data.task import IGNORED, Task, asked_frames, check_structure, check_values

X = torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])
FRAMES = torch.tensor([[0, 1, 2, 1, 0]] * 6)
LENGTHS = torch.tensor([1, 2, 3, 4, 5, 5])

GOOD = {
    "classification": Task("a", X, CLASSES, X, CLASSES, 3, (0.0, 1.0)),
    "labelling": Task("a", X, FRAMES, X, FRAMES, 3, None, kind="labelling"),
    "regression": Task(
        "a", X, torch.rand(6, 2), X, torch.rand(6, 2), 2, None, kind="regression", tolerance=0.1
    ),
}


def check(task: Task) -> None:
    check_structure(task)
    check_values(task)


@pytest.mark.parametrize("kind", GOOD)
def test_good_tasks_pass(kind: str) -> None:
    check(GOOD[kind])
    check(dataclasses.replace(GOOD[kind], lengths_train=LENGTHS, lengths_test=LENGTHS))


def with_entry(tensor: torch.Tensor, place: tuple[int, ...], value: float) -> torch.Tensor:
    changed = tensor.clone()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("kind", "change", "error", "words"),
    [
        ("classification", {"kind": "ranking"}, ValueError, "task.kind is 'ranking'; expected one of"),
        ("classification", {"classes": 0}, ValueError, "task.classes is 0"),
        ("classification", {"tolerance": 0.1}, ValueError, "task.tolerance is 0.1 for classification"),
        ("regression", {"tolerance": None}, ValueError, "task.tolerance is None for regression"),
        ("regression", {"tolerance": -1.0}, ValueError, "task.tolerance is -1.0"),
        ("classification", {"x_test": X.numpy()}, TypeError, "x_test is a ndarray; expected a tensor"),
        (
            "classification",
            {"y_train": CLASSES.float()},
            TypeError,
            r"y_train is torch.float32; .*\.long\(\)",
        ),
        ("regression", {"y_test": CLASSES}, TypeError, r"y_test is torch.int64; .*\.float\(\)"),
        (
            "classification",
            {"y_train": CLASSES[:5]},
            ValueError,
            "6 examples .*one label for each: shape .6,",
        ),
        ("labelling", {"y_train": CLASSES}, ValueError, "one label a frame for each: shape .6, 5"),
        ("regression", {"y_train": torch.rand(6)}, ValueError, "one row of numbers for each: shape .6, 2"),
        ("classification", {"x_train": X[:0], "y_train": CLASSES[:0]}, ValueError, "0 examples"),
        ("classification", {"y_test": CLASSES - 1}, ValueError, "y_test holds the label -1; .* from 0 on"),
        ("classification", {"y_test": CLASSES + 1}, ValueError, "y_test holds the label 3; expected 0 to cl"),
        ("classification", {"y_test": CLASSES + IGNORED}, ValueError, "y_test holds the label -100"),
        ("labelling", {"y_test": FRAMES + 1}, ValueError, "y_test holds the label 3"),
        ("labelling", {"y_test": FRAMES - 1}, ValueError, "y_test holds the label -1"),
        ("labelling", {"y_test": torch.full_like(FRAMES, IGNORED)}, ValueError, "no frame of example 0"),
        ("classification", {"lengths_train": [1] * 6}, TypeError, "lengths_train is list; expected an int64"),
        ("classification", {"lengths_test": LENGTHS.int()}, TypeError, "lengths_test is torch.int32"),
        ("classification", {"lengths_test": LENGTHS[:2]}, ValueError, r"lengths_test has shape \(2,\)"),
        ("classification", {"lengths_test": LENGTHS - 1}, ValueError, "runs from 0 to 4; expected .* 1 to 5"),
        ("classification", {"lengths_test": LENGTHS + 1}, ValueError, "runs from 2 to 6; expected"),
        ("classification", {"x_train": X.double()}, TypeError, r"x_train is torch.float64; .*\.float\(\)"),
        (
            "classification",
            {"x_train": X[..., 0]},
            ValueError,
            r"shapes \(6, 5\) and .* expected \(N, T, F\)",
        ),
        ("classification", {"x_train": X[:, :3]}, ValueError, r"shapes \(6, 3, 2\) and \(6, 5, 2\); .* pad"),
        (
            "regression",
            {"x_test": with_entry(X, (2, 1, 0), torch.nan)},
            ValueError,
            r"x_test .* at \(2, 1, 0",
        ),
        ("regression", {"y_test": with_entry(X[:, 0], (3, 1), torch.inf)}, ValueError, r"y_test .* \(3, 1\)"),
        ("classification", {"bounds": (0.0, 0.5)}, ValueError, "bounds are .0, 0.5., but inputs run from"),
        ("classification", {"bounds": (0.5, 1.0)}, ValueError, "bounds are .0.5, 1., but inputs run from"),
        ("classification", {"bounds": 1.0}, TypeError, "bounds is 1.0; expected two numbers"),
        ("classification", {"bounds": (0.0, torch.nan)}, ValueError, "bounds is nan"),
    ],
)
def test_parts_that_do_not_fit(kind: str, change: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        check(dataclasses.replace(GOOD[kind], **change))


def test_a_frame_counts_within_its_sequence_and_where_it_has_a_label() -> None:
    labels = with_entry(FRAMES, (4, 0), IGNORED)
    asked = asked_frames(labels, LENGTHS)
    assert asked.sum(1).tolist() == [1, 2, 3, 4, 4, 5]
    assert not asked[4, 0]
    assert asked_frames(labels, None).sum() == 29
    only_late = with_entry(torch.full_like(FRAMES, IGNORED), (slice(None), 4), 1)  # type: ignore[arg-type]
    task = dataclasses.replace(GOOD["labelling"], y_train=only_late, lengths_train=LENGTHS)
    with pytest.raises(ValueError, match="y_train asks for no frame of example 0"):
        check(task)
