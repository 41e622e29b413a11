"""Lipschitz bounds of single layers in the 2-norm, proven for evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.padding import _ConstantPadNd

from rnn.bounds.recurrent_bounds import norm_above
from spectra.convolution import convolution_norm_bounds

Floats = NDArray[np.float64]
Shape = tuple[int, ...]

# the largest slopes, rounded up
GELU = 1.1289041452  # at 2^(1/2)
GELU_TANH = 1.1289930687  # of its approximation by tanh
SILU = 1.0998393202  # where x tanh(x/2) = 2
MISH = 1.0884981613
SELU = 1.7580993409  # scale times alpha
HARDSIGMOID = 0.1666666717  # torch has 1/6 in single precision

_SMOOTH = 20.0  # torch's own threshold of a softplus, beyond which log(1 + e^t) is t but for 2e-9
_SAMPLES = 16  # frequencies for each entry of a kernel


class NotLipschitzError(Exception):
    """The reason why a layer has no Lipschitz bound."""


def layer_bound(layer: nn.Module, shape: Shape | None) -> float:
    """Bound the Lipschitz constant of one layer that is not recurrent, in the 2-norm.

    Parameters
    ----------
    layer : nn.Module
        The layer; it is taken in evaluation mode.
    shape : tuple of int or None
        Shape of its input, batch first, where it is known.

    Returns
    -------
    float
        A proven upper bound.

    Raises
    ------
    NotLipschitzError
        If there is none, or none is known here; the message says why.

    Notes
    -----
    * Linear: ‖W‖, by a singular value decomposition, rounded up.
    * Convolution with zero padding, whatever its padding, stride, dilation and groups: it is a part of the
      same convolution on a larger torus, so that its norm is at most max ‖K(θ)‖ over the frequencies θ of
      that torus (with a stride those that look alike together); dilation spreads the kernel by zeros, groups
      are separate blocks. Along each axis u* K(θ) v is a trigonometric polynomial of degree (k − 1)/2, after
      a shift, so that by M. Riesz's lemma its maximum is at most 1/cos(π (k − 1) / (2N)) times that on N
      points, here N ≈ 16 k: 0.5% more for each axis. Images smaller than that have their own torus. Other
      paddings: times the square root of how often they show one entry. In three dimensions: the sum of the
      norms of the entries of the kernel.
    * BatchNorm: max |γ| / (σ² + ε)^½ of the stored variance. LayerNorm, GroupNorm, RMSNorm and normalisation
      by the statistics of an instance: the Jacobian of z / (mean z² + ε)^½ is symmetric with the eigenvalues
      1/(v + ε)^½ and ε/(v + ε)^(3/2) for the variance v, so that the bound is max |γ| / ε^½, reached at
      constant inputs.
    * Activations: the largest slope; that of softplus itself, whatever torch leaves out above its threshold
      (from 20 on at most 2e-9; below it is refused); softmax 1/2, and log-softmax n^½ for n entries:
      ‖I − 1 pᵀ‖ is convex in p and so largest at a unit vector.
    * Pooling: by maxima, the square root of how many windows hold one entry; by means, (‖A‖₁ ‖A‖_∞)^½ of the
      matrix A of the means.
    """
    refuse_changes(layer)
    for kinds, rule in _RULES:
        if isinstance(layer, kinds):
            return rule(layer, shape)
    raise NotLipschitzError(f"a {type(layer).__name__} is not understood")


def refuse_changes(layer: nn.Module) -> None:
    """Refuse a layer that does not compute what its class in torch does.

    Parameters
    ----------
    layer : nn.Module
        The layer.

    Raises
    ------
    NotLipschitzError
        If its forward, or another method, is the user's own, or it has hooks.
    """
    kind = type(layer)
    replaced = sorted(name for name in vars(layer) if callable(getattr(kind, name, None)))
    if not kind.forward.__module__.startswith("torch.") or "forward" in replaced:
        raise NotLipschitzError(f"a {kind.__name__} is not understood: it has a forward of its own")
    if replaced:
        raise NotLipschitzError(f"a {kind.__name__} is not understood: its {replaced[0]} was replaced")
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise NotLipschitzError("it has forward hooks, which may change what it computes")


def _constant(value: float) -> Callable[[Any, Shape | None], float]:
    return lambda layer, shape: value


def _refused(reason: str) -> Callable[[Any, Shape | None], float]:
    def refuse(layer: Any, shape: Shape | None) -> float:
        raise NotLipschitzError(reason)

    return refuse


def _values(weight: Any) -> Floats:
    if weight.is_complex():
        raise NotLipschitzError("its weights are complex; bounds are for real ones")
    return np.asarray(weight.detach().cpu().double().numpy())


def _largest(weight: Any) -> float:
    return 1.0 if weight is None else float(weight.detach().abs().max())


def _linear(layer: nn.Linear, shape: Shape | None) -> float:
    return norm_above(_values(layer.weight))


def _convolution(layer: Any, shape: Shape | None) -> float:
    kernel = _values(layer.weight)
    axes = kernel.ndim - 2
    if axes == 3:
        return _taps(kernel, layer)
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    padded = transposed or layer.padding_mode != "zeros"
    image = shape[-axes:] if shape is not None and not padded else None
    kernel = _spread(kernel, layer.dilation)
    stride = math.gcd(*layer.stride)  # outputs at multiples of it include those at the strides themselves
    torus, slack = [], 1.0
    for axis, k in enumerate(kernel.shape[2:]):
        n = stride * max(2, -(-_SAMPLES * k // stride))
        own = stride * -(-(image[axis] + k - 1) // stride) if image is not None else n + 1
        slack *= 1.0 if own <= n else 1 / math.cos(math.pi * (k - 1) / (2 * n))
        torus.append(min(n, own))
    norms = [
        convolution_norm_bounds(part, shape=torus, padding="circular", stride=stride).upper
        for part in np.split(kernel, layer.groups)
    ]
    return max(norms) * slack * (1 + 1e-12) * _repeats(layer, axes)


def _taps(kernel: Floats, layer: Any) -> float:
    """Bound a convolution by the sum of the norms of its taps, each a matrix on shifted images."""
    flat = kernel.reshape(*kernel.shape[:2], -1)
    parts = np.split(flat, layer.groups)
    total = max(sum(norm_above(part[:, :, tap]) for tap in range(flat.shape[2])) for part in parts)
    return total * (1 + 1e-12) * _repeats(layer, 3)


def _spread(kernel: Floats, dilation: tuple[int, ...]) -> Floats:
    sizes = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    spread = np.zeros((*kernel.shape[:2], *sizes))
    spread[:, :, *(slice(None, None, d) for d in dilation)] = kernel
    return spread


def _repeats(layer: Any, axes: int) -> float:
    """How much padding other than by zeros can lengthen an image: at most so often it shows one entry."""
    if layer.padding_mode == "zeros":
        return 1.0
    pads = layer._reversed_padding_repeated_twice
    pairs = [(pads[2 * axis], pads[2 * axis + 1]) for axis in range(axes)]
    most = [1 + sum(pair) if layer.padding_mode == "replicate" else _shown(pair) for pair in pairs]
    return math.sqrt(math.prod(most))


def _shown(pair: tuple[int, int]) -> int:
    """Reflections and circular padding show an entry once more for each side that is padded, at most."""
    return 1 + (pair[0] > 0) + (pair[1] > 0)


def _padding(layer: Any, shape: Shape | None) -> float:
    pads = layer.padding
    pairs = list(zip(pads[::2], pads[1::2], strict=True))
    if min(pads) < 0:
        raise NotLipschitzError("negative padding is not understood")
    replicated = "Replication" in type(layer).__name__
    return math.sqrt(math.prod(1 + sum(pair) if replicated else _shown(pair) for pair in pairs))


def _batch_norm(layer: Any, shape: Shape | None) -> float:
    if layer.running_var is None:
        raise NotLipschitzError("it normalises by the batch, so that one example depends on the others")
    scale = np.ones(1) if layer.weight is None else np.abs(_values(layer.weight))
    return float((scale / np.sqrt(_values(layer.running_var) + layer.eps)).max()) * (1 + 1e-12)


def _instance_norm(layer: Any, shape: Shape | None) -> float:
    return _normalisation(layer, shape) if layer.running_var is None else _batch_norm(layer, shape)


def _normalisation(layer: Any, shape: Shape | None) -> float:
    eps = layer.eps
    if eps is None:  # nn.RMSNorm: that of the type of its input, and so at least that of float64
        eps = float(torch.finfo(torch.float64).eps)
    if eps == 0:
        raise NotLipschitzError("its eps is 0, so that its slope has no bound near constant inputs")
    return _largest(layer.weight) / math.sqrt(eps) * (1 + 1e-12)


def _log_softmax(layer: Any, shape: Shape | None) -> float:
    if shape is None:
        raise NotLipschitzError("its bound n^(1/2) needs the number of entries; pass x")
    return math.sqrt(shape[-1 if layer.dim is None else layer.dim]) * (1 + 1e-12)


def _celu(layer: nn.CELU, shape: Shape | None) -> float:
    if layer.alpha < 0:
        raise NotLipschitzError("its alpha is below 0, so that it grows like an exponential")
    return 1.0


def _softplus(layer: nn.Softplus, shape: Shape | None) -> float:
    if layer.threshold < _SMOOTH:
        raise NotLipschitzError(f"it jumps at its threshold {layer.threshold:g}, which is below {_SMOOTH:g}")
    return 1.0


def _relu_with_slope(layer: Any, shape: Shape | None) -> float:
    return max(1.0, abs(layer.negative_slope))


def _max_pool(layer: Any, shape: Shape | None) -> float:
    _refuse_places(layer)
    widths, strides, spreads = (
        _each(value, _axes(layer)) for value in (layer.kernel_size, layer.stride, layer.dilation)
    )
    held = [min(k, -(-((k - 1) * d + 1) // s)) for k, s, d in zip(widths, strides, spreads, strict=True)]
    return math.sqrt(math.prod(held)) * (1 + 1e-15)


def _mean_pool(layer: Any, shape: Shape | None) -> float:
    """Rows of means sum to 1; an entry lies in ceil(k/s) windows, with 1/k each unless they are cut off."""
    axes = _axes(layer)
    widths, strides, pads = (_each(value, axes) for value in (layer.kernel_size, layer.stride, layer.padding))
    cut = layer.ceil_mode or (any(pads) and not layer.count_include_pad)
    divisor = getattr(layer, "divisor_override", None)
    if divisor:  # any window has at most all entries, and each has the weight 1/divisor
        held = math.prod(-(-k // s) for k, s in zip(widths, strides, strict=True))
        return math.sqrt(math.prod(widths) * held) / abs(divisor) * (1 + 1e-12)
    columns = [-(-k // s) / (1 if cut else k) for k, s in zip(widths, strides, strict=True)]
    return math.sqrt(math.prod(columns)) * (1 + 1e-12)


def _adaptive_pool(layer: Any, shape: Shape | None) -> float:
    _refuse_places(layer)
    axes = _axes(layer)
    wanted = _each(layer.output_size, axes)
    if shape is None:
        if all(m == 1 for m in wanted):
            return 1.0
        raise NotLipschitzError("its windows depend on the size of the image; pass x")
    product = 1.0
    for n, m in zip(shape[-axes:], wanted, strict=True):
        windows = np.zeros((n if m is None else m, n))
        for i, row in enumerate(windows):
            first, behind = i * n // len(windows), -(-(i + 1) * n // len(windows))
            row[first:behind] = 1.0 if "Max" in type(layer).__name__ else 1 / (behind - first)
        maxima = "Max" in type(layer).__name__
        product *= math.sqrt(windows.sum(0).max()) if maxima else norm_above(windows)
    return product * (1 + 1e-12)


def _refuse_places(layer: Any) -> None:
    if getattr(layer, "return_indices", False):
        raise NotLipschitzError("it returns places beside the maxima, and places jump")


def _axes(layer: nn.Module) -> int:
    return int(type(layer).__name__[-2])


def _each(value: Any, axes: int) -> tuple[Any, ...]:
    return tuple(value) * (axes if len(value) == 1 else 1) if isinstance(value, tuple) else (value,) * axes


ATTENTION = "attention is not Lipschitz: its slope has no bound (Kim, Papamakarios and Mnih 2021)"

_RULES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Any, Shape | None], float]], ...] = (
    (
        (nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder),
        _refused(ATTENTION),
    ),
    ((nn.TransformerEncoderLayer, nn.TransformerDecoderLayer), _refused(ATTENTION)),
    ((nn.Linear,), _linear),
    ((nn.Bilinear, nn.GLU), _refused("a product of two signals is not Lipschitz")),
    (
        (nn.Embedding, nn.EmbeddingBag),
        _refused("it takes words, not vectors; the bound begins at its output"),
    ),
    ((nn.modules.conv._ConvNd,), _convolution),
    ((nn.modules.instancenorm._InstanceNorm,), _instance_norm),
    ((nn.modules.batchnorm._BatchNorm,), _batch_norm),
    ((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), _normalisation),
    ((nn.LeakyReLU,), _relu_with_slope),
    ((nn.PReLU,), lambda layer, shape: max(1.0, _largest(layer.weight))),
    ((nn.ELU,), lambda layer, shape: max(1.0, abs(layer.alpha))),
    ((nn.SELU,), _constant(SELU)),
    ((nn.RReLU,), lambda layer, shape: max(1.0, abs(layer.lower + layer.upper) / 2)),
    ((nn.GELU,), lambda layer, shape: GELU if layer.approximate == "none" else GELU_TANH),
    ((nn.SiLU,), _constant(SILU)),
    ((nn.Mish,), _constant(MISH)),
    ((nn.Hardswish,), _constant(1.5)),
    ((nn.Sigmoid,), _constant(0.25)),
    ((nn.Hardsigmoid,), _constant(HARDSIGMOID)),
    ((nn.Softmax, nn.Softmin, nn.Softmax2d), _constant(0.5)),
    ((nn.LogSoftmax,), _log_softmax),
    ((nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.Softsign), _constant(1.0)),
    ((nn.CELU,), _celu),
    ((nn.Softplus,), _softplus),
    ((nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink), _constant(1.0)),
    ((nn.Threshold, nn.Hardshrink), _refused("it jumps, so that no slope bounds it")),
    ((nn.Identity, nn.Flatten, nn.Unflatten, nn.ChannelShuffle), _constant(1.0)),
    ((nn.PixelShuffle, nn.PixelUnshuffle), _constant(1.0)),
    ((nn.modules.dropout._DropoutNd,), _constant(1.0)),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    ((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _mean_pool),
    ((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_pool),
    ((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _adaptive_pool),
    ((_ConstantPadNd,), _constant(1.0)),
    ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), _padding),
    ((nn.modules.padding._CircularPadNd,), _padding),
)
