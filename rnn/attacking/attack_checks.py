"""What an attack is asked to do, checked at the door: methods, options, norms, budgets, precisions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnn.attacking.bench import checked_bounds
from rnn.attacking.threats import FRAMES, NORMS, Threat
from rnn.attacks import ATTACKS, Attack
from spectra.checks import non_negative, one_of


def threat_of(norm: str, budget: float, bounds: object, frames: str) -> Threat:
    """Give the threat of the arguments of an attack."""
    one_of(frames, "frames", FRAMES)
    return Threat(
        one_of(norm, "norm", NORMS),
        non_negative(budget, "budget"),
        checked_bounds(bounds),
        "each" if frames == "each" else "all",
    )


def check_for_attacks(model: object, x: object, frames: str, budget: float) -> None:
    """Refuse precisions, budgets and shapes that no attack can work with."""
    tensors = [*model.parameters()] if isinstance(model, nn.Module) else []
    for tensor in [*tensors, x]:
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.itemsize < 4:
            raise TypeError(
                f"{'x' if tensor is x else 'model'} holds {tensor.dtype}, too coarse for budgets and "
                "gradients; attack the same weights in float32: copy.deepcopy(model).float() and x.float()"
            )
    values = x.data if isinstance(x, PackedSequence) else x
    if (
        isinstance(values, Tensor)
        and values.is_floating_point()
        and budget > (most := torch.finfo(values.dtype).max ** 0.5)
    ):
        raise ValueError(
            f"budget is {budget:g}; expected at most {most:.3g}, beyond which squares overflow in "
            f"{values.dtype}; rescale x, or take a smaller budget"
        )
    if frames != "all" and isinstance(x, Tensor) and x.ndim < 3:
        raise ValueError(
            f"frames is {frames!r}, but x of shape {tuple(x.shape)} has no frames; expected (N, T, ...)"
        )


def built_attack(method: str, options: Mapping[str, Any]) -> Attack:
    """Give the attack of a name, its options checked."""
    kind = ATTACKS[one_of(method, "method", tuple(ATTACKS))]
    if not isinstance(options, Mapping):
        raise TypeError(
            f"methods gives {method!r} the options {options!r}; expected a mapping such as {{'steps': 20}}"
        )
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = [name for name in options if name not in known]
    if unknown:
        offered = f"it takes {', '.join(known)}" if known else "it takes none"
        raise TypeError(f"{unknown[0]} is no option of method {method!r}; {offered}")
    return kind(**options)


def named_options(methods: object) -> dict[str, Mapping[str, Any]]:
    """Give the options of each method that was named."""
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise TypeError(f"methods is {methods!r}; expected a sequence of names such as ['fgsm', 'pgd']")
    named: dict[str, Mapping[str, Any]] = dict(methods) if isinstance(methods, Mapping) else {}
    for name in methods:
        named.setdefault(one_of(name, "methods", tuple(ATTACKS)), {})
    if not named:
        raise ValueError(f"methods is empty; expected at least one of {', '.join(ATTACKS)}")
    return named


def checked_budgets(budgets: object) -> list[float]:
    """Give the budgets in increasing order, equal ones once."""
    if isinstance(budgets, str) or not isinstance(budgets, Iterable):
        raise TypeError(f"budgets is {budgets!r}; expected a sequence of numbers >= 0 such as [0.05, 0.1]")
    sizes = sorted({non_negative(size, "budgets") for size in budgets})
    if not sizes:
        raise ValueError("budgets is empty; expected at least one number >= 0")
    return sizes
