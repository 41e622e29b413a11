"""What a network is asked for by each kind of task: its answers, their loss, and which are right."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from rnn.data.task import asked_frames
from rnn.models import in_mode
from rnn.tasks import IGNORED, Task

_BATCH = 10_000  # sequences judged at a time

_EXPECTED = {
    "classification": "logits (N, C) with C >= 2: one row of class scores per input",
    "labelling": "logits (N, T, C) with C >= 2: one row of class scores per frame (readout='each')",
    "regression": "numbers (N, C): one row per input, classes=C",
}


def answers(model: nn.Module, x: Tensor, lengths: Tensor | None, *, kind: str) -> Tensor:
    """Give what a model answers, checked for its shape.

    Parameters
    ----------
    model : nn.Module
        Returns its answers, alone or first in a tuple.
    x : Tensor, shape (N, T, F)
        The sequences.
    lengths : Tensor or None, shape (N,)
        Their lengths, handed to the model as keyword `lengths` where there are any.
    kind : {"classification", "labelling", "regression"}
        What is asked.

    Returns
    -------
    Tensor, shape (N, C) or (N, T, C)
        The answers.

    Raises
    ------
    TypeError
        If the model returns something else than a dense tensor of floats (first).
    ValueError
        If they have another shape, or the model takes no lengths where sequences have different ones.
    """
    output = model(x) if lengths is None else _with_lengths(model, x, lengths)
    found = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.layout != torch.strided:
        what = f"{found.dtype}, {found.layout}" if isinstance(found, Tensor) else type(found).__name__
        raise TypeError(f"model returns {what}; expected {_EXPECTED[kind]}, alone or first in a tuple")
    leading = x.shape[:2] if kind == "labelling" else x.shape[:1]
    fewest = 1 if kind == "regression" else 2
    if found.ndim != len(leading) + 1 or found.shape[:-1] != leading or found.shape[-1] < fewest:
        raise ValueError(
            f"model returns shape {tuple(found.shape)} for inputs of shape {tuple(x.shape)}; expected "
            f"{_EXPECTED[kind]}"
        )
    return found


def mean_loss(output: Tensor, y: Tensor, lengths: Tensor | None, *, kind: str) -> tuple[Tensor, int]:
    """Give the mean loss of a batch and the number of answers it is a mean of.

    Parameters
    ----------
    output : Tensor
        From `answers`.
    y : Tensor
        What is right, on the same device.
    lengths : Tensor or None
        Lengths of the sequences.
    kind : {"classification", "labelling", "regression"}
        Cross-entropy, in nats; that of the frames that are asked; squared error.

    Returns
    -------
    Tensor, int
        The mean, and of how many sequences or frames.
    """
    if kind == "regression":
        return mse_loss(output, y), len(y)
    if kind == "classification":
        return cross_entropy(output, y), len(y)
    asked = asked_frames(y, lengths)
    labels = y.masked_fill(~asked, IGNORED)
    loss = cross_entropy(output.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    return loss, int(asked.sum())


@torch.no_grad()
def accuracies(model: nn.Module, task: Task, part: str) -> tuple[float, float | None]:
    """Give the share of right answers, and its mean over the classes.

    Parameters
    ----------
    model : nn.Module
        Asked in evaluation mode; its modes come back.
    task : Task
        What is asked.
    part : {"train", "test"}
        On which examples.

    Returns
    -------
    accuracy : float
        Share of sequences or frames whose largest logit is that of their label, or of numbers within the
        tolerance. An answer with NaN or infinite entries is wrong.
    balanced : float or None
        Mean of the shares of each class that occurs; None for regression.
    """
    x, y, lengths = (getattr(task, f"{name}_{part}") for name in ("x", "y", "lengths"))
    device = next(model.parameters()).device
    found = []
    with in_mode(model, training=False):
        for rows in torch.arange(len(x)).split(_BATCH):
            short = None if lengths is None else lengths[rows].to(device)
            found.append(answers(model, x[rows].to(device), short, kind=task.kind).cpu())
    output = torch.cat(found)
    finite = output.isfinite().all(-1)
    if task.kind == "regression":
        off = (output - y).abs().max(1).values
        return float(((off <= task.tolerance) & finite).double().mean()), None
    right, labels = (output.argmax(-1) == y) & finite, y
    if task.kind == "labelling":
        asked = asked_frames(y, lengths)
        right, labels = right[asked], y[asked]
    shares = [right[labels == label].double().mean() for label in labels.unique()]
    return float(right.double().mean()), float(torch.stack(shares).mean())


def _with_lengths(model: nn.Module, x: Tensor, lengths: Tensor) -> object:
    parameters = inspect.signature(model.forward).parameters
    if "lengths" not in parameters and not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        raise ValueError(
            "the sequences of task have different lengths, and model takes none; give its forward a keyword "
            "lengths, the number of frames of each sequence that count"
        )
    return model(x, lengths=lengths)
