"""Bounds of layers: above every slope that is found, equal to the true constant where that is known."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rnn.bounds import layer_bounds
from rnn.bounds.layer_bounds import NotLipschitzError, layer_bound
from rnn.bounds.recurrent_bounds import norm_above, recurrent_bound


def drawn(layer: nn.Module, seed: int = 0, scale: float = 0.5) -> nn.Module:
    """The layer in float64 and evaluation mode, with normal weights and positive variances."""
    random = torch.Generator().manual_seed(seed)
    layer = layer.double().eval().requires_grad_(False)
    for tensor in layer.parameters():
        tensor.copy_(scale * torch.randn(tensor.shape, generator=random))
    for name, tensor in layer.named_buffers():
        if name.endswith("running_var"):
            tensor.copy_(0.1 + torch.rand(tensor.shape, generator=random))
    return layer


def steepness(function: Callable[[Tensor], Tensor], point: Tensor) -> float:
    jacobian = torch.autograd.functional.jacobian(function, point)
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, point.numel()), 2))


def normal(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


LINEAR = [  # layer, shape of an input, how much larger the bound may be than the norm
    (nn.Linear(5, 3), (2, 5), 1.0),
    (nn.Conv1d(2, 3, 3, padding=1), (1, 2, 40), 1.01),
    (nn.Conv1d(2, 3, 4), (1, 2, 40), 1.02),
    (nn.Conv1d(2, 2, 3, padding=7, dilation=2), (1, 2, 90), 1.02),
    (nn.Conv1d(4, 6, 5, stride=3, groups=2, padding=2), (1, 4, 60), 1.15),
    (nn.Conv1d(2, 3, 3, padding="same"), (1, 2, 9), 1.15),
    (nn.Conv2d(2, 3, 3, padding=1), (1, 2, 16, 16), 1.1),
    (nn.Conv2d(2, 3, (3, 2), stride=(2, 4), padding=(0, 1)), (1, 2, 12, 12), 3.0),
    (nn.Conv2d(3, 3, 3, groups=3, dilation=(1, 2)), (1, 3, 12, 12), 1.2),
    (nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 1, 8, 8), 4.0),
    (nn.Conv2d(1, 2, 3, padding=2, padding_mode="reflect"), (1, 1, 6, 6), 4.0),
    (nn.Conv1d(1, 2, 3, padding=4, padding_mode="replicate"), (1, 1, 6), 4.0),
    (nn.Conv1d(1, 2, 3, padding=6, padding_mode="circular"), (1, 1, 6), 4.0),
    (nn.Conv3d(1, 2, 2, padding=1), (1, 1, 4, 4, 4), 3.0),
    (nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1), (1, 2, 30), 1.05),
    (nn.ConvTranspose2d(2, 4, 3, groups=2), (1, 2, 10, 10), 1.1),
    (nn.BatchNorm1d(4), (2, 4), 1.0),
    (nn.BatchNorm2d(3, affine=False), (1, 3, 2, 2), 1.0),
    (nn.InstanceNorm1d(3, track_running_stats=True), (1, 3, 5), 1.0),
    (nn.AvgPool1d(3), (1, 1, 9), 1.0),
    (nn.AvgPool1d(3, stride=1, padding=1), (1, 1, 30), 1.01),
    (nn.AvgPool1d(3, stride=2, padding=1, count_include_pad=False), (1, 2, 7), 2.0),
    (nn.AvgPool1d(4, stride=3, ceil_mode=True), (1, 1, 6), 3.0),
    (nn.AvgPool2d((2, 3), stride=2), (1, 1, 6, 7), 1.5),
    (nn.AvgPool2d(2, divisor_override=3), (1, 1, 4, 4), 1.0),
    (nn.AvgPool3d(2), (1, 1, 4, 4, 4), 1.0),
    (nn.AdaptiveAvgPool1d(3), (1, 1, 7), 1.0),
    (nn.AdaptiveAvgPool2d((None, 5)), (1, 2, 4, 3), 1.0),
    (nn.AdaptiveAvgPool2d(1), (1, 2, 4, 3), 1.0),
    (nn.ReflectionPad1d(3), (1, 1, 4), 1.0),
    (nn.ReflectionPad2d((0, 2, 1, 0)), (1, 1, 4, 4), 1.0),
    (nn.ReplicationPad1d((1, 3)), (1, 1, 4), 1.2),
    (nn.CircularPad1d((3, 3)), (1, 1, 4), 1.0),
    (nn.ZeroPad2d(2), (1, 1, 3, 3), 1.0),
    (nn.ConstantPad1d(2, 1.5), (1, 1, 3), 1.0),
    (nn.Flatten(), (2, 3, 4), 1.0),
    (nn.Unflatten(1, (2, 2)), (3, 4), 1.0),
    (nn.PixelShuffle(2), (1, 4, 3, 3), 1.0),
    (nn.Dropout(0.5), (3, 4), 1.0),
    (nn.Identity(), (3, 4), 1.0),
]


@pytest.mark.parametrize(("layer", "shape", "slack"), LINEAR, ids=lambda value: str(value)[:60])
def test_linear_layers_are_bounded_closely(layer: nn.Module, shape: tuple[int, ...], slack: float) -> None:
    layer = drawn(layer)
    norm = steepness(layer, normal(shape))
    for known in (shape, None):
        if known is None and isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d):
            continue
        bound = layer_bound(layer, known)
        assert norm <= bound * (1 + 1e-13)
    assert layer_bound(layer, shape) <= slack * norm * (1 + 1e-9)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 6), stride=st.integers(1, 4))
def test_between_the_sampled_frequencies_a_convolution_is_not_larger(seed: int, k: int, stride: int) -> None:
    layer = drawn(nn.Conv1d(2, 2, k, stride=stride), seed)
    shape = (1, 2, 40 * stride + k)
    norm = steepness(layer, normal(shape))
    assert norm <= layer_bound(layer, None)
    assert norm <= layer_bound(layer, shape)


SLOPES = [
    nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-2, 3), nn.Tanh(), nn.CELU(1.5), nn.Softplus(3.0), nn.Softsign(),
    nn.LogSigmoid(), nn.Tanhshrink(), nn.Softshrink(0.3), nn.LeakyReLU(0.2), nn.LeakyReLU(-3.0), nn.ELU(0.5),
    nn.ELU(2.0), nn.SELU(), nn.RReLU(1.0, 4.0), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(),
    nn.Hardswish(), nn.Sigmoid(), nn.Hardsigmoid(), nn.PReLU(init=-2.5), nn.PReLU(),
]  # fmt: skip


@pytest.mark.parametrize("layer", SLOPES, ids=str)
def test_activations_have_exactly_that_slope(layer: nn.Module) -> None:
    layer = layer.double().eval().requires_grad_(False)
    near = torch.linspace(-20, 20, 400_001, dtype=torch.float64)  # step 1e-4
    points = torch.cat((near, torch.tensor([-800.0, 800.0]).double())).requires_grad_()
    (slopes,) = torch.autograd.grad(layer(points).sum(), points)
    bound, largest = layer_bound(layer, None), float(slopes.abs().max())
    assert largest <= bound
    assert bound <= largest * (1 + (3e-3 if isinstance(layer, nn.Tanhshrink | nn.Softsign) else 1e-7))


def test_softmax_and_its_logarithm_reach_their_bounds() -> None:
    even = torch.tensor([[3.0, 3.0, -60.0, -60.0]]).double()
    assert layer_bound(nn.Softmax(1), None) == 0.5
    assert math.isclose(steepness(nn.Softmax(1), even), 0.5, rel_tol=1e-12)
    sure = torch.tensor([[60.0, 0.0, 0.0, 0.0]]).double()
    bound = layer_bound(nn.LogSoftmax(1), (1, 4))
    assert math.isclose(steepness(nn.LogSoftmax(1), sure), bound, rel_tol=1e-10)
    with pytest.raises(NotLipschitzError, match="pass x"):
        layer_bound(nn.LogSoftmax(1), None)


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-4, 10))
def test_softmax_is_never_steeper(seed: int, scale: float) -> None:
    point = scale * normal((1, 5), seed)
    for layer in (nn.Softmax(1), nn.Softmin(1), nn.LogSoftmax(1)):
        assert steepness(layer, point) <= layer_bound(layer, (1, 5)) * (1 + 1e-12)


NORMALISATIONS = [
    (nn.LayerNorm(4, eps=1e-3), (2, 4)),
    (nn.LayerNorm((2, 3), eps=1e-2, elementwise_affine=False), (1, 2, 3)),
    (nn.GroupNorm(2, 4, eps=1e-3), (1, 4, 3)),
    (nn.RMSNorm(4, eps=1e-3), (2, 4)),
    (nn.InstanceNorm1d(3, eps=1e-2), (1, 3, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), NORMALISATIONS, ids=str)
def test_normalisations_are_steepest_at_constants(layer: nn.Module, shape: tuple[int, ...]) -> None:
    layer = drawn(layer)
    bound = layer_bound(layer, shape)
    for seed, scale in ((1, 1e-3), (2, 0.03), (3, 1.0)):
        assert steepness(layer, scale * normal(shape, seed)) <= bound
    for tensor in layer.parameters():
        tensor.fill_(2.0)
    assert math.isclose(
        steepness(layer, torch.zeros(shape).double()), layer_bound(layer, shape), rel_tol=1e-9
    )


def test_an_rms_norm_without_eps_uses_that_of_the_type() -> None:
    layer = nn.RMSNorm(3).double()
    slope = steepness(layer, torch.zeros(1, 3).double())
    assert math.isclose(slope, layer_bound(layer, None), rel_tol=1e-9)


POOLS = [
    (nn.MaxPool1d(2), (1, 1, 8)),
    (nn.MaxPool1d(3, stride=1), (1, 2, 9)),
    (nn.MaxPool1d(3, stride=1, dilation=2), (1, 1, 9)),
    (nn.MaxPool2d(3, stride=2, padding=1), (1, 1, 6, 6)),
    (nn.MaxPool3d(2, stride=1), (1, 1, 3, 3, 3)),
    (nn.AdaptiveMaxPool1d(3), (1, 1, 7)),
    (nn.AdaptiveMaxPool2d((2, None)), (1, 1, 5, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), POOLS, ids=str)
def test_maxima_are_as_steep_as_windows_overlap(layer: nn.Module, shape: tuple[int, ...]) -> None:
    bound = layer_bound(layer, shape)
    assert all(steepness(layer, normal(shape, seed)) <= bound for seed in range(5))
    slopes = []
    for place in range(math.prod(shape)):  # one entry that is the maximum of all its windows
        peak = torch.zeros(shape).double()
        peak.view(-1)[place] = 1.0
        slopes.append(float((layer(peak) - layer(torch.zeros(shape).double())).norm()))
    assert math.isclose(max(slopes), bound, rel_tol=1e-9)


REFUSED = [
    (nn.MultiheadAttention(4, 2), "attention is not Lipschitz"),
    (nn.TransformerEncoderLayer(4, 2, batch_first=True), "attention is not Lipschitz"),
    (nn.Bilinear(2, 3, 4), "a product of two signals"),
    (nn.GLU(), "a product of two signals"),
    (nn.Embedding(3, 4), "it takes words"),
    (nn.BatchNorm1d(3, track_running_stats=False), "by the batch"),
    (nn.LayerNorm(3, eps=0.0), "its eps is 0"),
    (nn.Hardshrink(), "it jumps"),
    (nn.Threshold(0.5, 0.0), "it jumps"),
    (nn.Softplus(threshold=1.0), "it jumps at its threshold 1"),
    (nn.CELU(-1.0), "its alpha is below 0"),
    (nn.MaxPool1d(2, return_indices=True), "places jump"),
    (nn.AdaptiveAvgPool1d(3), "pass x"),
    (nn.ReflectionPad1d((-1, 2)), "negative padding"),
    (nn.LPPool1d(2, 2), "a LPPool1d is not understood"),
]


@pytest.mark.parametrize(("layer", "reason"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_has_no_bound_says_why(layer: nn.Module, reason: str) -> None:
    with pytest.raises(NotLipschitzError, match=reason):
        layer_bound(layer, None)


def test_layers_with_a_forward_of_their_own_or_hooks_are_not_trusted() -> None:
    class Cubic(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) ** 3

    with pytest.raises(NotLipschitzError, match="a Cubic is not understood: it has a forward of its own"):
        layer_bound(Cubic(2, 2), None)
    patched = nn.Linear(2, 2)
    patched.forward = lambda x: 100 * x
    with pytest.raises(NotLipschitzError, match="a Linear is not understood: it has a forward of its own"):
        layer_bound(patched, None)
    convolution = nn.Conv1d(1, 1, 1)
    convolution._conv_forward = lambda x, weight, bias: 100 * x
    with pytest.raises(NotLipschitzError, match="its _conv_forward was replaced"):
        layer_bound(convolution, None)
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda module, args, output: output**3)
    with pytest.raises(NotLipschitzError, match="it has forward hooks"):
        layer_bound(hooked, None)


def test_the_constants_are_rounded_up_in_the_last_digit() -> None:
    for name in ("GELU", "GELU_TANH", "SILU", "MISH", "SELU"):
        assert getattr(layer_bounds, name) == round(getattr(layer_bounds, name), 10)


RECURRENT = [
    nn.RNN(3, 4, batch_first=True),
    nn.RNN(3, 4, num_layers=2, bidirectional=True, nonlinearity="relu", batch_first=True),
    nn.GRU(3, 4, batch_first=True),
    nn.GRU(3, 4, num_layers=2, bias=False, batch_first=True),
    nn.LSTM(3, 4, batch_first=True),
    nn.LSTM(3, 4, bidirectional=True, batch_first=True),
    nn.LSTM(3, 4, num_layers=2, proj_size=2, batch_first=True),
]


@pytest.mark.parametrize("layer", RECURRENT, ids=str)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.1, 0.5, 2.0]), steps=st.integers(1, 5))
def test_recurrent_layers_stay_below(layer: nn.Module, seed: int, scale: float, steps: int) -> None:
    layer = drawn(layer, seed, scale)
    bound = recurrent_bound(layer, steps)
    x = scale * normal((1, steps, 3), seed)
    several = layer.bidirectional
    maps = [
        (bound.output, lambda x: layer(x)[0]),
        (bound.last, (lambda x: layer(x)[0][:, -1]) if not several else (lambda x: 0 * x)),
    ]
    state = (lambda x: layer(x)[1][0]) if isinstance(layer, nn.LSTM) else (lambda x: layer(x)[1])
    maps.append((bound.hidden, state))
    if isinstance(layer, nn.LSTM):
        maps.append((bound.cell, lambda x: layer(x)[1][1]))
    for value, function in maps:
        assert steepness(function, x) <= value * (1 + 1e-12)
        y = x + normal(x.shape, seed + 1)
        assert (function(x) - function(y)).norm() <= value * (x - y).norm() * (1 + 1e-12)


def test_a_linear_recurrence_reaches_its_bounds() -> None:
    layer = drawn(nn.RNN(1, 1, nonlinearity="relu", batch_first=True))
    for name, value in (
        ("weight_ih_l0", 2.0),
        ("weight_hh_l0", 0.9),
        ("bias_ih_l0", 9.0),
        ("bias_hh_l0", 9.0),
    ):
        getattr(layer, name).fill_(value)
    bound, x = recurrent_bound(layer, 7), normal((1, 7, 1)) / 10
    assert math.isclose(bound.output, steepness(lambda x: layer(x)[0], x), rel_tol=1e-12)
    assert math.isclose(bound.last, steepness(lambda x: layer(x)[1], x), rel_tol=1e-12)
    assert math.isclose(bound.last, 2 * math.sqrt(sum(0.9 ** (2 * k) for k in range(7))), rel_tol=1e-12)
    assert bound.cell == 0


@pytest.mark.parametrize("layer", [nn.RNN(2, 3), nn.GRU(2, 3), nn.LSTM(2, 3)], ids=str)
def test_bounds_grow_with_the_steps_until_they_are_infinite(layer: nn.Module) -> None:
    layer = drawn(layer, scale=1.5)
    bounds = [recurrent_bound(layer, steps) for steps in (1, 2, 10, 5000)]
    assert all(a.output < b.output and a.last < b.last for a, b in itertools.pairwise(bounds))
    assert bounds[-1].output == bounds[-1].hidden == math.inf


def test_long_sequences_have_a_bound_from_sums() -> None:
    layer = drawn(nn.RNN(2, 3), scale=0.1)
    short, long = recurrent_bound(layer, 512), recurrent_bound(layer, 513)
    limit = norm_above(layer.weight_ih_l0.numpy()) / (1 - norm_above(layer.weight_hh_l0.numpy()))
    assert short.output <= long.output <= limit * (1 + 1e-9)


def test_norms_are_rounded_up() -> None:
    A = np.random.default_rng(0).standard_normal((30, 20))
    assert 0 < norm_above(A) / np.linalg.norm(A, 2) - 1 < 1e-12
