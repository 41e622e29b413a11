"""Checks of what is asked about examples: labels, labels of frames, targets, lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectra.checks import non_negative


def checked_lengths(lengths: Any, x: Tensor) -> Tensor:
    """Give the lengths of sequences as whole numbers.

    Parameters
    ----------
    lengths : array_like of int, shape (N,)
        Frames of each sequence.
    x : Tensor, shape (N, T, ...)
        The padded sequences.

    Returns
    -------
    Tensor of int64, shape (N,)
        A copy on the device of x.

    Raises
    ------
    TypeError
        If they are no whole numbers.
    ValueError
        If there is not one from 1 to T for each sequence.
    """
    try:
        found = torch.as_tensor(lengths if isinstance(lengths, Tensor) else np.array(lengths))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"lengths is a {type(lengths).__name__} ({error}); expected {len(x)} whole numbers, the frames "
            "of each row of x"
        ) from None
    if found.dtype.is_floating_point or found.dtype.is_complex or found.dtype == torch.bool:
        raise TypeError(
            f"lengths has dtype {found.dtype}; expected whole numbers, the frames of each row of x"
        )
    if found.shape != (len(x),):
        raise ValueError(
            f"lengths has shape {tuple(found.shape)}; expected ({len(x)},), one for each row of x"
        )
    if x.ndim < 3 or int(found.min()) < 1 or int(found.max()) > x.shape[1]:
        raise ValueError(
            f"lengths spans {int(found.min())} to {int(found.max())} for x of shape {tuple(x.shape)}; "
            "expected x of shape (N, T, ...) and lengths from 1 to T"
        )
    return found.detach().clone().long().to(x.device)


def checked_targets(y: Any, x: Tensor) -> Tensor:
    """Give the targets of a regression in the precision of x.

    Parameters
    ----------
    y : Tensor or array_like, shape (N, ...)
        The targets.
    x : Tensor, shape (N, ...)
        The inputs.

    Returns
    -------
    Tensor, shape (N, ...)
        A copy on the device of x.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they do not fit x, or are not finite.
    """
    if y is None:  # which NumPy takes for NaN
        raise TypeError(f"y is None; expected {len(x)} targets, floats")
    try:
        targets = torch.as_tensor(y if isinstance(y, Tensor) else np.array(y, dtype=float))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"y is a {type(y).__name__} ({error}); expected {len(x)} targets, floats") from None
    if targets.layout != torch.strided or targets.is_meta or targets.dtype.is_complex:
        raise TypeError(
            f"y is a tensor of {targets.dtype}, layout {targets.layout} on {targets.device}; expected floats"
        )
    targets = targets.detach().clone().to(x)
    if targets.ndim < 1 or len(targets) != len(x) or targets.numel() == 0:
        raise ValueError(
            f"y has shape {tuple(targets.shape)}; expected ({len(x)}, ...), one target a row of x"
        )
    if not targets.isfinite().all():
        raise ValueError("y has a NaN or infinite entry; remove or replace it first")
    return targets


def checked_labels(y: Any, x: Tensor, lengths: Tensor | None, *, sequences: bool) -> Tensor:
    """Give labels as whole numbers.

    Parameters
    ----------
    y : Tensor or array_like of int, shape (N,) or (N, T)
        The labels.
    x : Tensor, shape (N, ...)
        The inputs.
    lengths : Tensor of int64, shape (N,), or None
        Frames of each sequence; labels behind are not looked at.
    sequences : bool
        Whether there may be a label for each frame.

    Returns
    -------
    Tensor of int64
        A copy on the device of x.

    Raises
    ------
    TypeError
        If they are no whole numbers.
    ValueError
        If they do not fit x, or one is negative.
    """
    try:
        labels = torch.as_tensor(y if isinstance(y, Tensor) else np.array(y))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"y is a {type(y).__name__} ({error}); expected {len(x)} whole numbers, the true labels"
        ) from None
    if labels.layout != torch.strided or labels.is_meta:
        raise TypeError(f"y is a tensor of layout {labels.layout} on {labels.device}; expected a dense one")
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise TypeError(
            f"y has dtype {labels.dtype}; expected whole numbers, the true labels: y.long()"
            + (", or for regression pass tolerance= (--tolerance)" if sequences else "")
        )
    framed = sequences and x.ndim > 2
    if labels.shape != (len(x),) and not (framed and labels.shape == x.shape[:2]):
        frames = f", or {tuple(x.shape[:2])}, one for each frame" if framed else ""
        raise ValueError(
            f"y has shape {tuple(labels.shape)}; expected ({len(x)},), one label for each row of x{frames}"
        )
    labels = labels.detach().clone().long().to(x.device)  # from uint64 one beyond int64 becomes negative
    if labels.ndim == 2 and lengths is not None:
        labels[torch.arange(x.shape[1], device=x.device) >= lengths[:, None]] = 0  # padding, never looked at
    if labels.min() < 0:
        raise ValueError(f"y holds the label {int(labels.min())}; expected labels from 0 to C - 1")
    return labels


def checked_share(wrong_share: Any, *, labelled: bool) -> float:
    """Give the share of wrong frames that is still right.

    Parameters
    ----------
    wrong_share : float
        At least 0 and below 1.
    labelled : bool
        Whether there is a label for each frame.

    Returns
    -------
    float
        The same, checked.

    Raises
    ------
    ValueError
        If it is out of range, or there are no labels of frames.
    """
    share = non_negative(wrong_share, "wrong_share")
    if share >= 1:
        raise ValueError(f"wrong_share is {share}; expected a share of the frames, at least 0 and below 1")
    if share > 0 and not labelled:
        raise ValueError("wrong_share is for labels of frames, y of shape (N, T); leave it out")
    return share
