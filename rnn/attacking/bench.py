"""The bench on which attacks are judged: checked inputs, predictions, and a model that is left as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random as python_random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnn.attacking.answers import Questions, all_finite
from rnn.attacking.length_arguments import length_argument
from rnn.attacking.question_checks import checked_labels, checked_lengths, checked_share, checked_targets
from rnn.models import in_mode, seeded
from spectra.checks import non_negative, real_number, whole_number


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The checked inputs of one judgement.

    Attributes
    ----------
    model : nn.Module
        The classifier.
    x : Tensor, shape (N, ...)
        Clean inputs, on the caller's device.
    y : Tensor
        True labels (N,), labels of frames (N, T), or targets, on the same device.
    batch : int
        Examples at a time.
    device : torch.device
        Where the model is, and where batches go.
    lengths, packed, tolerance, wrong_share
        See `Questions`.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    batch: int
    device: torch.device
    lengths: Tensor | None = None
    packed: bool = False
    tolerance: float | None = None
    wrong_share: float = 0.0

    @property
    def questions(self) -> Questions:
        """What is asked about the examples."""
        return Questions(self.y, self.tolerance, self.wrong_share, self.lengths, self.packed)

    @property
    def truth(self) -> Tensor:
        """The column that is right in the scores of each example, shape (N,)."""
        return self.questions.truth

    def batches(self) -> list[slice]:
        """Give the rows of each batch.

        Returns
        -------
        list of slice
            All examples in order, `batch` at a time.
        """
        return [slice(start, start + self.batch) for start in range(0, len(self.x), self.batch)]

    def movable(self, frame: int | None = None) -> Tensor | None:
        """Say which frames of each example may be moved.

        Parameters
        ----------
        frame : int, optional
            Only this one; None all but the padding.

        Returns
        -------
        Tensor of bool, shape (N, T), or None
            True where a frame may be moved; None says all.
        """
        lengths = self.lengths
        if lengths is None and frame is None:
            return None
        time = torch.arange(self.x.shape[1], device=self.x.device).expand(*self.x.shape[:2])
        inside = time < (self.x.shape[1] if lengths is None else lengths[:, None])
        return inside if frame is None else inside & (time == frame)

    @torch.no_grad()
    def judge(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Give the scores at `inputs`, and whether each answer is right.

        Parameters
        ----------
        inputs : Tensor, shape (N, ...)
            One input for each question.

        Returns
        -------
        scores : Tensor, shape (N, C)
            The logits, or what stands for them (see `Questions.ask`).
        right : Tensor of bool, shape (N,)
            Whether the answer is.

        Raises
        ------
        ValueError
            If a score is NaN or infinite, or a label has no logit.
        """
        answers = []
        for rows in self.batches():
            shown = inputs[rows].to(self.device, copy=True)  # what a model does to it is its own affair
            part = self.questions.rows(rows, self.device).ask(self.model, shown)
            answers.append([values.to(self.x.device) for values in part])
        scores, right = (torch.cat(parts) for parts in zip(*answers, strict=True))
        self.check(scores)
        return scores, right

    def sound(self, scores: Tensor) -> bool:
        """Say whether scores are finite, and have a column for each label.

        Parameters
        ----------
        scores : Tensor, shape (n, C)
            The scores of some examples.

        Returns
        -------
        bool
            Whether `check` accepts them.
        """
        return all_finite(scores) and int(self.truth.max()) < scores.shape[1]

    def check(self, scores: Tensor) -> None:
        """Refuse scores that are not finite, and labels without a score.

        Parameters
        ----------
        scores : Tensor, shape (N, C)
            The scores of all examples.

        Raises
        ------
        ValueError
            If a score is NaN or infinite, or a label has no logit.
        """
        if self.sound(scores):
            return
        bad = ~scores.isfinite().all(1)
        if bad.any():
            raise ValueError(
                f"model gives NaN or infinite logits for {int(bad.sum())} of {len(scores)} inputs (first: "
                f"number {int(bad.nonzero()[0, 0])}); check its weights, or train it with gradient_clip"
            )
        raise ValueError(
            f"y holds the label {int(self.truth.max())}, but model has {scores.shape[1]} logits; expected "
            f"labels from 0 to {scores.shape[1] - 1}: number the classes from 0"
        )


@contextlib.contextmanager
def undisturbed(model: nn.Module, random: np.random.Generator) -> Iterator[None]:
    """Hold a model in evaluation mode without parameter gradients; afterwards it is bit-identical.

    Parameters
    ----------
    model : nn.Module
        The model; its modes, requires_grad flags, gradients and buffers come back, as do the random states
        of torch, NumPy and Python, whatever is raised inside. During the call no other thread should use it.
    random : numpy.random.Generator
        Seeds what a model draws from torch in its forward pass.

    Yields
    ------
    None
        Nothing.

    Notes
    -----
    cuDNN is off for models with recurrent layers: it cannot differentiate them in evaluation mode.
    """
    wanted = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    buffers = [(module, dict(module._buffers), _copies(module)) for module in model.modules()]
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    drawn, cudnn = (np.random.get_state(), python_random.getstate()), torch.backends.cudnn.enabled  # noqa: NPY002
    seed = int(random.integers(2**31))
    try:
        with torch.inference_mode(False), seeded(model, seed), in_mode(model, training=False):
            torch.backends.cudnn.enabled = cudnn and not recurrent
            for parameter, _, _ in wanted:
                parameter.requires_grad_(False)
            yield
    finally:
        torch.backends.cudnn.enabled = cudnn
        np.random.set_state(drawn[0])  # noqa: NPY002
        python_random.setstate(drawn[1])
        for parameter, flag, gradient in wanted:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
        _restore(buffers)


_Buffers = list[tuple[nn.Module, dict[str, Tensor | None], dict[str, Tensor]]]


def _copies(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module._buffers.items() if buffer is not None}


def _restore(buffers: _Buffers) -> None:
    """Give each module its buffers of before, and those alone, whatever one of them does."""
    for module, before, contents in buffers:
        module._buffers.clear()
        module._buffers.update(before)
        for name, content in contents.items():
            buffer = module._buffers[name]
            assert buffer is not None
            try:
                with torch.no_grad():
                    if buffer.layout != torch.strided or not torch.equal(buffer, content):
                        buffer.copy_(content)
            except RuntimeError:  # an unusual kind of tensor that cannot be written to
                module._buffers[name] = content


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


def representable(bounds: tuple[float, float] | None, x: Tensor) -> tuple[float, float] | None:
    """Round bounds inwards to the precision of the inputs.

    Parameters
    ----------
    bounds : tuple of float, or None
        Lowest and highest valid input.
    x : Tensor
        Checked inputs; what lies beyond by rounding (0.1 in float32 is above 0.1) stays inside.

    Returns
    -------
    tuple of float, or None
        The least and the largest number of that precision between them, or of `x`.
    """
    if bounds is None:
        return None
    wanted = torch.tensor(bounds, dtype=torch.float64)
    ends = wanted.to(x.dtype).cpu()
    far = torch.tensor([math.inf, -math.inf], dtype=x.dtype)
    outside = (ends.double() - wanted) * torch.tensor([-1.0, 1.0], dtype=torch.float64) > 0
    low, high = torch.where(outside, torch.nextafter(ends, far), ends).tolist()
    return min(low, float(x.min())), max(high, float(x.max()))


def checked_bench(
    model: Any,
    x: Any,
    y: Any,
    bounds: tuple[float, float] | None,
    batch_size: int | None,
    *,
    sequences: bool = False,
    lengths: Any = None,
    tolerance: Any = None,
    wrong_share: Any = 0.0,
) -> Bench:
    """Check what is to be judged, and copy it.

    Parameters
    ----------
    model : nn.Module
        The model.
    x : Tensor of floats, shape (N, ...), or PackedSequence
        Clean inputs.
    y : Tensor or array_like
        True labels or targets.
    bounds : tuple of float, or None
        Range in which x must lie.
    batch_size : int, or None
        Examples at a time; None for all.
    sequences : bool
        Whether x may be packed and y hold labels of frames.
    lengths : array_like of int, shape (N,), or None
        Frames of each sequence.
    tolerance : float, or None
        Largest error that is right; None for labels.
    wrong_share : float
        Share of wrong frames that is still right.

    Returns
    -------
    Bench
        The checked inputs.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or x and the model differ in precision.
    ValueError
        If x is empty, holds NaN or inf, or lies outside the bounds, or y or lengths do not fit.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module that returns logits")
    packed = sequences and isinstance(x, PackedSequence)
    if packed and lengths is not None:
        raise TypeError("lengths is given beside a PackedSequence, which has its own; leave it out")
    if packed:
        padding = 0.0 if bounds is None else min(max(0.0, bounds[0]), bounds[1])
        x, lengths = pad_packed_sequence(x, batch_first=True, padding_value=padding)
    takes = length_argument(model)
    if lengths is None and takes is not None and takes.required:
        raise TypeError(
            "model cannot be called with x alone: its forward wants "
            f"{takes.name or 'a second argument'}; pass lengths=, in a file the array lengths: the frames of "
            "each row of x"
        )
    weight = next((p for p in model.parameters() if p.dtype.is_floating_point), None)
    inputs = _checked_inputs(x, weight, bounds)
    batch = len(inputs) if batch_size is None else whole_number(batch_size, "batch_size")
    with torch.inference_mode(False):
        frames = None if lengths is None else checked_lengths(lengths, inputs)
        if tolerance is None:
            targets = checked_labels(y, inputs, frames, sequences=sequences)
        else:
            targets = checked_targets(y, inputs)
    return Bench(
        model,
        inputs,
        targets,
        batch,
        inputs.device if weight is None else weight.device,
        frames,
        packed,
        None if tolerance is None else non_negative(tolerance, "tolerance"),
        checked_share(wrong_share, labelled=tolerance is None and targets.ndim == 2),
    )


def _checked_inputs(x: Any, weight: Tensor | None, bounds: tuple[float, float] | None) -> Tensor:
    if not isinstance(x, Tensor) or not x.dtype.is_floating_point:
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"x is {kind}; expected a torch tensor of floats: torch.as_tensor(x, dtype=torch.float32)"
        )
    if weight is not None and weight.dtype != x.dtype:
        raise TypeError(f"x is {x.dtype} and model has {weight.dtype} weights; pass x.to({weight.dtype})")
    if x.layout != torch.strided or x.is_meta:
        raise TypeError(f"x is a tensor of layout {x.layout} on {x.device}; expected a dense one with values")
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected at least one example, (N, ...) with N >= 1")
    with torch.inference_mode(False):
        inputs = x.detach().clone()
    if not all_finite(inputs):
        where = tuple(inputs.isfinite().logical_not().nonzero()[0].tolist())
        raise ValueError(f"x has a NaN or infinite entry at {where}; remove or replace it first")
    if bounds is not None and not (inputs.min() >= bounds[0] and inputs.max() <= bounds[1]):
        raise ValueError(
            f"x spans {inputs.min().item():.6g} to {inputs.max().item():.6g}, outside bounds {bounds}; "
            "widen bounds, rescale x, or pass bounds=None"
        )
    return inputs
