"""The bench on which attacks are judged: checked inputs, predictions, and a model that is left as it was."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnn.models import in_mode, logits, seeded
from spectra.checks import real_number, whole_number


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The checked inputs of one judgement.

    Attributes
    ----------
    model : nn.Module
        The classifier.
    x : Tensor, shape (N, ...)
        Clean inputs, on the caller's device.
    y : Tensor of int64, shape (N,)
        True labels, on the same device.
    batch : int
        Examples at a time.
    device : torch.device
        Where the model is, and where batches go.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    batch: int
    device: torch.device

    @torch.no_grad()
    def judge(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Give the logits at `inputs`, and whether each prediction is right.

        Parameters
        ----------
        inputs : Tensor, shape (N, ...)
            One input for each label.

        Returns
        -------
        scores : Tensor, shape (N, C)
            The logits.
        correct : Tensor of bool, shape (N,)
            Whether the largest is that of the label.

        Raises
        ------
        ValueError
            If a logit is NaN or infinite, or a label has no logit.
        """
        scores = torch.cat(
            [logits(self.model, part.to(self.device)).to(self.x.device) for part in inputs.split(self.batch)]
        )
        bad = ~scores.isfinite().all(1)
        if bad.any():
            raise ValueError(
                f"model gives NaN or infinite logits for {int(bad.sum())} of {len(scores)} inputs (first: "
                f"number {int(bad.nonzero()[0, 0])}); check its weights, or train it with gradient_clip"
            )
        if int(self.y.max()) >= scores.shape[1]:
            raise ValueError(
                f"y holds the label {int(self.y.max())}, but model has {scores.shape[1]} logits; expected "
                f"labels from 0 to {scores.shape[1] - 1}: number the classes from 0"
            )
        return scores, scores.argmax(1) == self.y


@contextlib.contextmanager
def undisturbed(model: nn.Module, random: np.random.Generator) -> Iterator[None]:
    """Hold a model in evaluation mode without parameter gradients; afterwards it is bit-identical.

    Parameters
    ----------
    model : nn.Module
        The model; its modes, requires_grad flags, gradients and buffers come back, as does torch's random
        state, whatever is raised inside. During the call no other thread should use it.
    random : numpy.random.Generator
        Seeds what a model draws in its forward pass.

    Yields
    ------
    None
        Nothing.

    Notes
    -----
    cuDNN is off for models with recurrent layers: it cannot differentiate them in evaluation mode.
    """
    wanted = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    cudnn = torch.backends.cudnn.flags(enabled=False) if recurrent else contextlib.nullcontext()
    try:
        with (
            torch.inference_mode(False),
            seeded(model, int(random.integers(2**31))),
            in_mode(model, training=False),
            cudnn,
        ):
            for parameter, _, _ in wanted:
                parameter.requires_grad_(False)
            yield
    finally:
        for parameter, flag, gradient in wanted:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
        for module, name, buffer, content in buffers:
            module._buffers[name] = buffer
            if not torch.equal(buffer, content):
                buffer.copy_(content)


def checked_bounds(bounds: Any) -> tuple[float, float] | None:
    """Give `bounds` as two floats, or None.

    Parameters
    ----------
    bounds : tuple of float, or None
        Lowest and highest valid input.

    Returns
    -------
    tuple of float, or None
        The same, checked.

    Raises
    ------
    TypeError
        If `bounds` is no pair of numbers.
    ValueError
        If the range is empty.
    """
    if bounds is None:
        return None
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(
            f"bounds is {bounds!r}; expected two numbers (lowest, highest), or None for no clipping"
        )
    low, high = real_number(bounds[0], "bounds"), real_number(bounds[1], "bounds")
    if low >= high:
        raise ValueError(f"bounds is {(low, high)}; expected lowest < highest")
    return low, high


def checked_bench(
    model: Any, x: Any, y: Any, bounds: tuple[float, float] | None, batch_size: int | None
) -> Bench:
    """Check what is to be judged, and copy it.

    Parameters
    ----------
    model : nn.Module
        The classifier.
    x : Tensor of floats, shape (N, ...)
        Clean inputs.
    y : Tensor or array_like of int, shape (N,)
        True labels.
    bounds : tuple of float, or None
        Range in which x must lie.
    batch_size : int, or None
        Examples at a time; None for all.

    Returns
    -------
    Bench
        The checked inputs.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or x and the model differ in precision.
    ValueError
        If x is empty, holds NaN or inf, or lies outside the bounds, or y does not fit.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module that returns logits")
    if not isinstance(x, Tensor) or not x.dtype.is_floating_point:
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"x is {kind}; expected a torch tensor of floats: torch.as_tensor(x, dtype=torch.float32)"
        )
    weight = next((p for p in model.parameters() if p.dtype.is_floating_point), None)
    if weight is not None and weight.dtype != x.dtype:
        raise TypeError(f"x is {x.dtype} and model has {weight.dtype} weights; pass x.to({weight.dtype})")
    if x.layout != torch.strided or x.is_meta:
        raise TypeError(f"x is a tensor of layout {x.layout} on {x.device}; expected a dense one with values")
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected at least one example, (N, ...) with N >= 1")
    with torch.inference_mode(False):
        inputs, labels = x.detach().clone(), _checked_labels(y, len(x)).to(x.device)
    if not inputs.isfinite().all():
        where = tuple(inputs.isfinite().logical_not().nonzero()[0].tolist())
        raise ValueError(f"x has a NaN or infinite entry at {where}; remove or replace it first")
    if bounds is not None and not (inputs.min() >= bounds[0] and inputs.max() <= bounds[1]):
        raise ValueError(
            f"x spans {inputs.min().item():.6g} to {inputs.max().item():.6g}, outside bounds {bounds}; "
            "widen bounds, rescale x, or pass bounds=None"
        )
    batch = len(x) if batch_size is None else whole_number(batch_size, "batch_size")
    return Bench(model, inputs, labels, batch, x.device if weight is None else weight.device)


def _checked_labels(y: Any, count: int) -> Tensor:
    try:
        labels = torch.as_tensor(y if isinstance(y, Tensor) else np.array(y))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"y is a {type(y).__name__} ({error}); expected {count} whole numbers, the true labels"
        ) from None
    if labels.layout != torch.strided or labels.is_meta:
        raise TypeError(f"y is a tensor of layout {labels.layout} on {labels.device}; expected a dense one")
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(f"y has dtype {labels.dtype}; expected whole numbers, the true labels: y.long()")
    if labels.shape != (count,):
        raise ValueError(
            f"y has shape {tuple(labels.shape)}; expected ({count},), one label for each row of x"
        )
    labels = labels.detach().clone().long()  # from uint64 a label beyond int64 becomes negative
    if labels.min() < 0:
        raise ValueError(f"y holds the label {int(labels.min())}; expected labels from 0 to C - 1")
    return labels
