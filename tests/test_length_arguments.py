"""Lengths go to the argument that is for them, and to no other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from rnn.attacking.length_arguments import LengthArgument, length_argument
from rnn.harness import attack

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
