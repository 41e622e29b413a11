"""Losses and shares of right answers equal their definitions; answers of the wrong shape are refused."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from rnn.learning.objectives import accuracies, answers, mean_loss
from rnn.tasks import IGNORED, Task

RANDOM = torch.Generator().manual_seed(0)
X = torch.rand(6, 5, 3, generator=RANDOM)
LENGTHS = torch.tensor([1, 2, 3, 4, 5, 5])
FRAMES = torch.tensor([[0, 1, 2, IGNORED, 0], [2, 1, 0, 1, 2]] * 3)
CLASSES = torch.tensor([0, 1, 2, 0, 0, 0])


class Fixed(nn.Module):
    """Answers what it was given, by the first entry of an input, which is its number."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        return self.output[x[:, 0, 0].long()]


def numbered(task: Task) -> Task:
    x = task.x_test.clone()
    x[:, 0, 0] = torch.arange(len(x))
    return dataclasses.replace(task, x_test=x)


def test_the_loss_of_a_labelling_is_the_mean_over_the_frames_that_are_asked() -> None:
    output = torch.randn(6, 5, 3, generator=RANDOM)
    for lengths in (LENGTHS, None):
        terms = [
            -output[n, t].log_softmax(0)[FRAMES[n, t]]
            for n in range(6)
            for t in range(5)
            if FRAMES[n, t] != IGNORED and (lengths is None or t < lengths[n])
        ]
        loss, count = mean_loss(output, FRAMES, lengths, kind="labelling")
        assert count == len(terms)
        torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_the_loss_of_the_other_kinds() -> None:
    output = torch.randn(6, 3, generator=RANDOM)
    terms = [-output[n].log_softmax(0)[CLASSES[n]] for n in range(6)]
    loss, count = mean_loss(output, CLASSES, None, kind="classification")
    assert count == 6
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    wanted = torch.randn(6, 3, generator=RANDOM)
    loss, count = mean_loss(output, wanted, None, kind="regression")
    assert count == 6
    torch.testing.assert_close(loss, ((output - wanted) ** 2).sum() / 18)


def test_accuracies_of_a_classification() -> None:
    task = numbered(Task("a", X, CLASSES, X, CLASSES, 3, None))
    logits = nn.functional.one_hot(torch.tensor([0, 1, 0, 0, 1, 0]), 3).float()
    assert accuracies(Fixed(logits), task, "test") == pytest.approx((4 / 6, (3 / 4 + 1 + 0) / 3))
    logits[1, 1] = math.inf  # no answer
    assert accuracies(Fixed(logits), task, "test") == pytest.approx((3 / 6, (3 / 4 + 0 + 0) / 3))


def test_accuracies_of_a_labelling() -> None:
    task = numbered(Task("a", X, FRAMES, X, FRAMES, 3, None, kind="labelling"))
    shown = FRAMES.clamp(min=0)
    shown[1, 0], shown[0, 2] = 0, 1  # wrong: label 2 taken for 0, and label 2 for 1
    logits = nn.functional.one_hot(shown, 3).float()
    asked = [5 if n % 2 else 4 for n in range(6)]
    right, labels = sum(asked) - 2, FRAMES[FRAMES >= 0]
    twos = int((labels == 2).sum())
    expected = right / sum(asked), (2 + (twos - 2) / twos) / 3
    assert accuracies(Fixed(logits), task, "test") == pytest.approx(expected)
    short = dataclasses.replace(task, lengths_test=LENGTHS)
    # Of frame 2 of sequence 0, and of all frames behind an end, nobody asks.
    accuracy, _ = accuracies(Fixed(logits), short, "test")
    assert accuracy == pytest.approx(1 - 1 / (1 + 2 + 3 + 4 + 4 + 5))


def test_accuracies_of_a_regression() -> None:
    wanted = torch.zeros(6, 2)
    task = numbered(Task("a", X, wanted, X, wanted, 2, None, kind="regression", tolerance=0.1))
    output = torch.tensor([[0.0, 0.05], [-0.09, 0.0], [0.0, 0.2], [-0.2, 0.0], [math.nan, 0.0], [0.0, 0.0]])
    assert accuracies(Fixed(output), task, "test") == (0.5, None)


def test_a_model_is_judged_in_evaluation_mode_and_keeps_its_own() -> None:
    task = numbered(Task("a", X, CLASSES, X, CLASSES, 3, None))
    model = nn.Sequential(Fixed(nn.functional.one_hot(CLASSES, 3).float()), nn.Dropout(0.9))
    assert accuracies(model, task, "test") == (1.0, 1.0)
    assert model[1].training


class Lengthy(nn.Module):
    """Means over the frames that count."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> tuple[torch.Tensor, str]:
        assert lengths is not None
        inside = torch.arange(x.shape[1]) < lengths[:, None]
        return self.head((x * inside[..., None]).sum(1) / lengths[:, None]), "state"


def test_lengths_reach_the_model() -> None:
    model = Lengthy()
    found = answers(model, X, LENGTHS, kind="classification")
    for n in range(6):
        torch.testing.assert_close(found[n], model.head(X[n, : LENGTHS[n]].mean(0)))

    class Open(nn.Module):
        def forward(self, *args: Any, **further: Any) -> Any:
            return model(*args, **further)

    assert torch.equal(answers(Open(), X, LENGTHS, kind="classification"), found)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(15, 3))
    answers(plain, X, None, kind="classification")
    with pytest.raises(ValueError, match="different lengths, and model takes none; give its forward"):
        answers(plain, X, LENGTHS, kind="classification")


class Giving(nn.Module):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> object:
        return self.value


@pytest.mark.parametrize(
    ("kind", "value", "error", "words"),
    [
        ("classification", None, TypeError, r"model returns NoneType; expected logits \(N, C\) with C >= 2"),
        ("classification", torch.zeros(6, 3).long(), TypeError, "model returns torch.int64, torch.strided"),
        ("classification", torch.zeros(6, 3).to_sparse(), TypeError, "torch.float32, torch.sparse_coo"),
        ("classification", torch.zeros(6, 1), ValueError, r"shape \(6, 1\) for inputs of shape \(6, 5, 3\)"),
        ("classification", torch.zeros(5, 3), ValueError, r"shape \(5, 3\)"),
        ("classification", torch.zeros(6, 5, 3), ValueError, "one row of class scores per input"),
        ("labelling", torch.zeros(6, 3), ValueError, r"per frame \(readout='each'\)"),
        ("labelling", torch.zeros(6, 4, 3), ValueError, r"shape \(6, 4, 3\)"),
        ("labelling", torch.zeros(6, 5, 1), ValueError, r"shape \(6, 5, 1\)"),
        ("regression", torch.zeros(6), ValueError, r"shape \(6,\) .*; expected numbers \(N, C\)"),
        ("regression", torch.zeros(6, 5, 1), ValueError, r"shape \(6, 5, 1\)"),
    ],
)
def test_wrong_answers_are_refused(kind: str, value: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        answers(Giving(value), X, None, kind=kind)


def test_answers_may_come_first_in_a_tuple() -> None:
    one = torch.zeros(6, 1)
    assert answers(Giving((one, "state")), X, None, kind="regression") is one
