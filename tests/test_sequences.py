"""Sequences of several lengths: what is behind the end of one changes nothing, bit by bit."""

import pytest
import torch
from torch import Tensor

from rnn.models import CELLS, ModelConfig, build_model

RECURRENT = tuple(cell for cell in CELLS if cell != "feedforward")
LENGTHS = torch.tensor([5, 1, 3, 4])


def sequences() -> Tensor:
    return torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))


def filled(value: float, steps: int = 5) -> Tensor:
    """The sequences, cut to their lengths and filled up with a value."""
    x = torch.full((4, steps, 3), value)
    for n, length in enumerate(LENGTHS):
        x[n, :length] = sequences()[n, :length]
    return x


@pytest.mark.parametrize("readout", ["last", "each"])
@pytest.mark.parametrize("cell", RECURRENT)
def test_padding_changes_nothing_at_all(cell: str, readout: str) -> None:
    model = build_model(ModelConfig(cell, features=3, steps=5, hidden=7, readout=readout))
    wanted = model(filled(0.0), LENGTHS)
    for value in (1.0, -1e30, float("inf"), float("nan")):
        assert torch.equal(model(filled(value), LENGTHS), wanted)
    longer = model(filled(7.0, 9), LENGTHS)
    assert torch.equal(longer if readout == "last" else longer[:, :5], wanted)
    assert torch.equal(
        longer if readout == "last" else longer[:, -1], wanted if readout == "last" else wanted[:, -1]
    )


@pytest.mark.parametrize("cell", RECURRENT)
def test_each_sequence_is_read_at_its_own_end(cell: str) -> None:
    config = {"features": 3, "steps": 5, "hidden": 7, "seed": 1}
    last, each = (build_model(ModelConfig(cell, readout=how, **config)) for how in ("last", "each"))
    found, every = last(sequences(), LENGTHS), each(sequences(), LENGTHS)
    assert every.shape == (4, 5, 10)
    for n, length in enumerate(LENGTHS.tolist()):
        alone = last(sequences()[n : n + 1, :length])[0]
        torch.testing.assert_close(found[n], alone, atol=1e-6, rtol=1e-6)
        for t in range(5):
            prefix = last(sequences()[n : n + 1, : min(t + 1, length)])[0]
            torch.testing.assert_close(every[n, t], prefix, atol=1e-6, rtol=1e-6)
    assert torch.equal(last(sequences(), torch.full((4,), 5)), last(sequences()))


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_do_not_see_the_padding(cell: str) -> None:
    model = build_model(ModelConfig(cell, features=3, steps=5, hidden=7))
    x = filled(float("nan")).requires_grad_()
    model(x, LENGTHS).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    behind = torch.arange(5) >= LENGTHS[:, None]
    assert (x.grad[behind] == 0).all()
    assert (x.grad[~behind] != 0).any()


def test_the_feed_forward_net_sees_zeros_behind_the_end() -> None:
    model = build_model(ModelConfig("feedforward", features=3, steps=5))
    assert torch.equal(model(filled(float("nan")), LENGTHS), model(filled(0.0)))


def test_one_class_is_regression() -> None:
    for cell in CELLS:
        model = build_model(ModelConfig(cell, features=3, steps=5, classes=1))
        assert model(sequences()).shape == (4, 1)


@pytest.mark.parametrize("cell", ["gru", "feedforward"])
def test_lengths_are_checked(cell: str) -> None:
    model, x = build_model(ModelConfig(cell, features=3, steps=5)), sequences()
    for bad in ([5, 1, 3, 4], LENGTHS.double(), LENGTHS > 2):
        with pytest.raises(TypeError, match=r"lengths is .*; expected a tensor of whole numbers"):
            model(x, bad)
    with pytest.raises(ValueError, match=r"lengths has shape \(3,\); expected \(4,\)"):
        model(x, LENGTHS[:3])
    for bad in (LENGTHS - 1, LENGTHS + 1):
        with pytest.raises(ValueError, match=r"lengths run from \d to \d; expected 1 to T = 5"):
            model(x, bad)
