"""Whatever a model does while it is judged, it comes back as it was, and so does what it draws from."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from rnn.attacking.bench import undisturbed
from rnn.harness import attack
from spectra.errors import AccuracyWarning

X = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))


class Untidy(nn.Module):
    """Counts its calls beside a sparse buffer, registers buffers, draws from every global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sparse", torch.eye(2).to_sparse())
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("empty", None)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.sparse.mul_(2)
        self.empty = torch.ones(1)
        self.register_buffer("cache", torch.ones(2))
        shift = np.random.rand() + random.random()  # noqa: NPY002
        return self.head(x.flatten(1)) + 0.01 * shift


def state(model: Untidy) -> tuple[object, ...]:
    entries = [(name, entry is None) for name, entry in model._buffers.items()]
    drawn = (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    return entries, float(model.count), model.sparse.to_dense().tolist(), id(model.sparse), drawn


def test_buffers_of_any_kind_and_random_states_come_back() -> None:
    model = Untidy()
    before = state(model)
    y = torch.zeros(5, dtype=torch.long)
    with pytest.warns(AccuracyWarning, match="asked twice"):
        attack(model, X, y, method="noise-gaussian", norm="l2", budget=0.1)
    assert state(model) == before


def test_they_come_back_after_an_error() -> None:
    model = Untidy()
    before = state(model)

    def interrupted() -> None:
        with undisturbed(model, np.random.default_rng(0)):
            model(X)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert state(model) == before


def test_a_buffer_that_cannot_be_written_to_comes_back_as_a_copy() -> None:
    model = Untidy()
    model.register_buffer("wide", torch.ones(1).expand(4))  # one number seen four times
    with undisturbed(model, np.random.default_rng(0)):
        model.wide.as_strided((1,), (1,)).fill_(7)
        model(X)
    assert model.wide.tolist() == [1.0] * 4
    assert float(model.count) == 0


def test_only_the_switch_of_cudnn_is_touched() -> None:
    model = nn.GRU(2, 3, batch_first=True)
    precision = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # torch refuses to read the older flag after this
    try:
        with undisturbed(model, np.random.default_rng(0)):
            assert not torch.backends.cudnn.enabled
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.conv.fp32_precision = precision
