"""Whatever a model does while it is judged, it comes back as it was, and so does what it draws from."""

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from rnn.attacking.bench import representable, undisturbed
from rnn.bounds.certification import certified_accuracy
from rnn.harness import attack, robustness
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


@pytest.mark.parametrize("frames", ["all", "each", "worst"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_bounds_hold_for_the_numbers_as_rounded(norm: str, frames: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    y = torch.zeros(5, dtype=torch.long)  # 0.1 and 0.7 in float32 lie above and below those numbers
    given = {"norm": norm, "bounds": (-0.1, 0.7), "frames": frames}
    inside = attack(model, X.clamp(-0.05, 0.6), y, method="noise-gaussian", budget=9.0, **given)
    curve = robustness(model, X.clamp(-0.05, 0.6), y, methods=["noise-gaussian"], budgets=[9.0], **given)
    assert inside.perturbed.double().min() >= -0.1
    assert inside.perturbed.double().max() <= 0.7
    assert ((curve.minimal_budget == 9) == inside.fooled).all()


def test_bounds_are_rounded_inwards_as_far_as_the_inputs_allow() -> None:
    x = torch.tensor([[0.05]])
    for dtype in (torch.float32, torch.float64):
        low, high = representable((-0.1, 0.1), x.to(dtype)) or (0, 0)
        ends = torch.tensor([low, high], dtype=dtype)
        assert (low, high) == tuple(ends.tolist())  # are of this precision
        assert low >= -0.1
        assert high <= 0.1
        assert float(torch.nextafter(ends[1], torch.tensor(1.0, dtype=dtype))) > 0.1 or high == 0.1
    assert representable((-1e39, 1e39), x) == (torch.finfo(x.dtype).min, torch.finfo(x.dtype).max)
    beyond = torch.tensor([[0.1]])  # a little above 0.1, as only rounding makes it
    assert representable((0.0, 0.1), beyond) == (0.0, float(beyond))
    assert representable(None, x) is None


def test_what_is_proven_covers_inputs_at_the_bounds_as_rounded() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[0] = 1.0
        model[1].bias.copy_(torch.tensor([0.0, 0.6 - 1e-9, 0.0]))
    x, y = torch.full((1, 3, 2), 0.1), torch.tensor([0])
    proof = certified_accuracy(model, x, y, norm="linf", budgets=[0.0, 0.1], bounds=(0.1, 1.0))
    with torch.no_grad():
        assert proof.accuracy.max() <= float((model(x).argmax(1) == y).double().mean())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_budgets_beyond_the_precision_are_refused_and_those_below_are_served(norm: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    y = torch.zeros(5, dtype=torch.long)
    packed = pack_sequence(list(X))
    for x in (X, packed):
        with pytest.raises(
            ValueError, match=r"budget is 1e\+39; expected at most 1\.84e\+19, .* torch.float32"
        ):
            attack(model, x, y, method="fgsm", norm=norm, budget=1e39)
    with pytest.raises(ValueError, match=r"budget is 1e\+20"):
        robustness(model, X, y, methods=["fgsm"], norm=norm, budgets=[0.1, 1e20])
    with pytest.raises(ValueError, match=r"budget is 1e\+200; .* torch.float64"):
        attack(model.double(), X.double(), y, method="fgsm", norm=norm, budget=1e200)
    for method in ("fgsm", "pgd", "square", "noise-salt", "deepfool", "fab"):
        options = {"steps": 3} if method in ("pgd", "square", "deepfool", "fab") else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AccuracyWarning)
            found = attack(model.float(), X, y, method=method, norm=norm, budget=1e18, **options)
        assert found.perturbed.isfinite().all()
