"""Batches of sequences, all of one length or filled up to it, checked at the door of a network."""

from __future__ import annotations

import torch
from torch import Tensor


def checked_sequences(x: Tensor, lengths: Tensor | None, features: int) -> tuple[Tensor, Tensor | None]:
    """Give sequences whose frames past their end are 0, and their lengths on the same device.

    Parameters
    ----------
    x : Tensor, shape (N, T, features)
        The sequences.
    lengths : Tensor of int, shape (N,), or None
        How many frames of each belong to it; None where all T do.
    features : int
        Entries of a frame.

    Returns
    -------
    x : Tensor, shape (N, T, features)
        As it came, where there are no lengths.
    lengths : Tensor of int, shape (N,), or None
        The lengths.

    Raises
    ------
    TypeError
        If `lengths` is no tensor of whole numbers.
    ValueError
        If a shape does not fit, or a length is below 1 or above T.
    """
    if x.ndim != 3 or x.shape[2] != features or x.shape[1] == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; expected (N, T, {features}): N sequences of T >= 1 "
            f"vectors of {features} features (one sequence alone: x[None])"
        )
    if lengths is None:
        return x, None
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(
            f"lengths is {lengths!r}; expected a tensor of whole numbers, such as torch.tensor([3])"
        )
    count, steps = x.shape[:2]
    if lengths.shape != (count,):
        raise ValueError(
            f"lengths has shape {tuple(lengths.shape)}; expected ({count},), one for each sequence"
        )
    if count and (lengths.min() < 1 or lengths.max() > steps):
        raise ValueError(
            f"lengths run from {int(lengths.min())} to {int(lengths.max())}; expected 1 to T = {steps}"
        )
    lengths = lengths.to(x.device)
    inside = torch.arange(steps, device=x.device) < lengths[:, None]
    return torch.where(inside[..., None], x, 0.0), lengths
