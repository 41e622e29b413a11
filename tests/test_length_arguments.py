"""Lengths go to the argument that is for them, and to no other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from rnn.attacking.length_arguments import LengthArgument, length_argument
from rnn.attacking.universal import universal_perturbation
from rnn.attacking.weight_perturbations import weight_robustness
from rnn.harness import attack, robustness
from spectra.errors import AccuracyWarning

LENGTHS = torch.tensor([3, 6, 1, 5])
X = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))


class Tagger(nn.Module):
    """Logits of frames by a causal network; what else came is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.seen = nn.GRU(3, 4, batch_first=True), list[Any]()

    def tags(self, x: torch.Tensor, *seen: Any) -> torch.Tensor:
        self.seen.append(seen)
        return self.rnn(x)[0]


class Hidden(Tagger):
    def forward(self, x: torch.Tensor, return_hidden: bool = False) -> torch.Tensor:
        return self.tags(x, return_hidden)


class Masked(Tagger):
    def forward(self, x: torch.Tensor, mask: Any = None) -> torch.Tensor:
        return self.tags(x, mask)


class Started(Tagger):
    def forward(self, x: torch.Tensor, h0: Any = None, lengths: Any = None) -> torch.Tensor:
        return self.tags(x, h0, lengths)


class Keyword(Tagger):
    def forward(self, x: torch.Tensor, *, seq_lens: Any = None) -> torch.Tensor:
        return self.tags(x, seq_lens)


class Positional(Tagger):
    def forward(self, x: torch.Tensor, lens: Any, /) -> torch.Tensor:
        return self.tags(x, lens)


class Late(Tagger):
    def forward(self, x: torch.Tensor, h0: Any = None, lens: Any = None, /) -> torch.Tensor:
        return self.tags(x, h0, lens)


class Needed(Tagger):
    def forward(self, x: torch.Tensor, where: Any) -> torch.Tensor:
        return self.tags(x, where)


class Needing(Tagger):
    def forward(self, x: torch.Tensor, lens: Any) -> torch.Tensor:
        return self.tags(x, lens)


class Open(Tagger):
    def forward(self, x: torch.Tensor, *states: Any, **more: Any) -> torch.Tensor:
        return self.tags(x, *states, more.get("lengths"))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Hidden, [False]),
        (Masked, [None]),
        (Started, [None, "lengths"]),
        (Keyword, ["lengths"]),
        (Positional, ["lengths"]),
        (Late, [None, None]),
        (Needed, ["lengths"]),
        (Open, ["lengths"]),
    ],
)
def test_lengths_go_where_they_belong(kind: Callable[[], Tagger], wanted: list[Any]) -> None:
    model, y = kind(), torch.zeros(4, 6, dtype=torch.long)
    given = {"method": "fgsm", "norm": "linf", "budget": 0.0, "lengths": LENGTHS}
    attack(model, X, y, **given)
    assert model.seen
    for found, word in zip(model.seen[0], wanted, strict=True):
        assert torch.equal(found, LENGTHS) if word == "lengths" else found is word


@pytest.mark.parametrize("name", ["length", "lens", "seq_lengths", "x_lengths", "input_lengths", "sizes"])
def test_names_for_lengths_are_known(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def forward(x, h0=None, {name}=None): return x", space)
    model = nn.Identity()
    model.forward = space["forward"]  # type: ignore[method-assign]
    assert length_argument(model) == LengthArgument(name, required=False, certain=True)


def test_other_names_are_not_taken_for_lengths() -> None:
    for name in ("max_length", "max_len", "hidden_size", "length_penalty", "silence"):
        space: dict[str, Any] = {}
        exec(f"def forward(x, {name}=None): return x", space)
        model = nn.Identity()
        model.forward = space["forward"]  # type: ignore[method-assign]
        assert length_argument(model) is None


def test_wrappers_are_seen_through() -> None:
    assert length_argument(nn.DataParallel(Keyword())) == length_argument(Keyword())
    assert length_argument(nn.DataParallel(Hidden())) is None
    model = nn.Identity()
    model.forward = lambda *given: given[0]  # type: ignore[method-assign]
    assert length_argument(model) is None
    model.forward = type  # type: ignore[method-assign, assignment]
    assert length_argument(model) is None


# Padding that is seen by a model without lengths


class Backwards(nn.Module):
    """Logits of frames, or of the last one, of a GRU that reads one way or both."""

    def __init__(self, *, both: bool, last: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.rnn, self.last = nn.GRU(3, 4, batch_first=True, bidirectional=both), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.rnn(x)[0][..., -4:]  # of the direction back, if there is one
        return z[:, -1] if self.last else z


def ask(model: nn.Module, verb: str, y: torch.Tensor, **more: Any) -> None:
    given = {"lengths": LENGTHS, **more}
    if verb == "attack":
        attack(model, X, y, method="fgsm", norm="linf", budget=0.0, **given)
    elif verb == "robustness":
        robustness(model, X, y, methods=["fgsm"], norm="linf", budgets=[0.0], **given)
    elif verb == "universal":
        universal_perturbation(model, X, y, norm="linf", budget=0.0, starts=1, epochs=1, **given)
    else:
        weight_robustness(model, X, y, kinds=["bfloat16"], **given)


@pytest.mark.parametrize("verb", ["attack", "robustness", "universal", "weights"])
def test_padding_that_counts_is_noticed(verb: str) -> None:
    with pytest.warns(AccuracyWarning, match="padding changes the answers of this model"):
        ask(Backwards(both=True), verb, torch.zeros(4, 6, dtype=torch.long))


@pytest.mark.parametrize("kind", ["labels", "targets"])
def test_padding_that_does_not_count_is_not(kind: str) -> None:
    model, y = Backwards(both=False), torch.zeros(4, 6, dtype=torch.long)
    frames = {"labels": {"y": y}, "targets": {"y": torch.zeros(4, 6, 4), "tolerance": 2.0}}[kind]
    ask(model, "attack", **frames)  # a warning would be an error
    with pytest.warns(AccuracyWarning, match="padding changes"):
        ask(Backwards(both=True), "attack", **frames)
    last = Backwards(both=False, last=True)
    with pytest.warns(AccuracyWarning, match="padding changes"):
        ask(last, "attack", y[:, 0])
    ask(last, "attack", y[:, 0], lengths=torch.full((4,), 6))


def test_a_model_that_needs_lengths_says_so() -> None:
    y = torch.zeros(4, 6, dtype=torch.long)
    with pytest.raises(TypeError, match="forward wants lens; pass lengths=, in a file the array lengths"):
        ask(Needing(), "attack", y, lengths=None)
    with pytest.raises(TypeError, match="forward wants a second argument; pass lengths="):
        ask(Needed(), "robustness", y, lengths=None)
