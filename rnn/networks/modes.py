"""Modes and random states that hold for a while and come back as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Within it, every module of the model is in training or evaluation mode; afterwards each as it was.

    Parameters
    ----------
    model : nn.Module
        The model. Its modes are set directly, so that a ``train()`` with side effects is not called.
    training : bool
        The mode.

    Yields
    ------
    None
        Nothing.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = training
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextlib.contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Within it, torch's generators of the CPU and the model's devices are seeded; afterwards as before.

    Parameters
    ----------
    model : nn.Module
        The model that may draw from them (dropout, say).
    seed : int
        The seed.

    Yields
    ------
    None
        Nothing.
    """
    devices = sorted({p.device.index for p in model.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch every other device too
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield
