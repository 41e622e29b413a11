"""The kinds of recurrent cells by name: what a step does, how its matrix is constrained, how it starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from rnn.networks.cell_steps import STEPS, Step, tanh_step
from rnn.networks.parametrizations import Orthogonal, SchurFactors, SkewMixture

Initialise = Callable[[Any, torch.Generator], None]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CellKind:
    """A kind of recurrent cell.

    Attributes
    ----------
    step : callable
        ``step(from_input, from_hidden, state)`` gives the next state, or, where there is a step size eta, its
        rate of change, from U x + b and W h + c, each (..., gates x h), and the present state.
    gates : int
        How many matrices are stacked in W and U.
    states : int
        How many vectors of length h the state holds; the first is read out.
    initialise : callable or None
        ``initialise(model, random)`` changes the drawn weights of a model in place and puts constraints on
        them; the generator `random` is the only randomness it may use.
    hyperparameters : mapping of str to float
        Those of eta, gamma, beta that it has, with their defaults.
    own_start : bool
        Whether `initialise` sets the recurrent matrix, whatever was drawn.
    no_gain : str
        Why it takes no gain; empty where it takes one.
    """

    step: Step
    gates: int = 1
    states: int = 1
    initialise: Initialise | None = None
    hyperparameters: Mapping[str, float] = dataclasses.field(default_factory=dict)
    own_start: bool = False
    no_gain: str = ""


def _open_forget_gate(model: Any, _: torch.Generator) -> None:
    model.bias_ih_l0[model.config.hidden : 2 * model.config.hidden] = 1.0


def _identity(model: Any, _: torch.Generator) -> None:
    nn.init.eye_(model.weight_hh_l0).mul_(model.config.gain)


def _orthogonal(model: Any, random: torch.Generator) -> None:
    base = nn.init.orthogonal_(model.weight_hh_l0, generator=random).clone()
    model.weight_hh_l0.zero_()
    register_parametrization(model, "weight_hh_l0", Orthogonal(base))


def _antisymmetric(model: Any, _: torch.Generator) -> None:
    register_parametrization(model, "weight_hh_l0", SkewMixture(1.0, model.config.gamma))


def _lipschitz(model: Any, random: torch.Generator) -> None:
    config, h = model.config, model.config.hidden
    model.drift = nn.utils.skip_init(nn.Linear, h, h, bias=False)
    model.drift.weight.normal_(0.0, config.gain / math.sqrt(h), generator=random)
    for module, name in ((model, "weight_hh_l0"), (model.drift, "weight")):
        register_parametrization(module, name, SkewMixture(config.beta, config.gamma))


def _schur(model: Any, random: torch.Generator) -> None:
    h = model.config.hidden
    base = nn.init.orthogonal_(model.weight_hh_l0, generator=random).clone()
    angles = 2 * math.pi * torch.rand(h // 2, generator=random)
    moduli = torch.full((h - h // 2,), model.config.gain)
    model.weight_hh_l0.zero_()
    register_parametrization(model, "weight_hh_l0", SchurFactors(base, moduli, angles))


# beta and gamma of the Lipschitz cell are those with which its authors' code runs pixel MNIST. The rest is
# ours: papers step by 0.01 to 1 (antisymmetric) and 0.03 (Lipschitz) over 784 frames, ours have tens
CELL_KINDS: dict[str, CellKind] = {
    "tanh": CellKind(STEPS["tanh"]),
    "gru": CellKind(STEPS["gru"], gates=3),
    "lstm": CellKind(STEPS["lstm"], gates=4, states=2, initialise=_open_forget_gate),
    "relu": CellKind(STEPS["relu"], initialise=_identity, own_start=True),
    "orthogonal": CellKind(
        tanh_step, initialise=_orthogonal, own_start=True, no_gain="its recurrent matrix is orthogonal"
    ),
    "antisymmetric": CellKind(
        tanh_step, initialise=_antisymmetric, hyperparameters={"eta": 0.3, "gamma": 0.01}
    ),
    "lipschitz": CellKind(
        tanh_step, initialise=_lipschitz, hyperparameters={"eta": 0.3, "gamma": 0.001, "beta": 0.75}
    ),
    "nnrnn": CellKind(tanh_step, initialise=_schur, own_start=True),
}

FEEDFORWARD = "feedforward"  # a family, but no recurrent cell

CELLS = (*CELL_KINDS, FEEDFORWARD)

_REGISTERED: dict[str, CellKind] = {}


def cell_names() -> tuple[str, ...]:
    """Give the names that ``ModelConfig.cell`` may have: ours, then those registered."""
    return (*CELLS, *_REGISTERED)


def cell_kind(name: str) -> CellKind:
    """Give the kind of a recurrent cell by its name.

    Parameters
    ----------
    name : str
        One of `cell_names`, but not "feedforward".

    Returns
    -------
    CellKind
        The kind.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    kind = (CELL_KINDS.get(name) or _REGISTERED.get(name)) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(
            f"cell is {name!r}; expected one of {', '.join(map(repr, cell_names()))}, or a name that was "
            "given to rnn.register_cell in this process"
        )
    return kind


def add_kind(name: str, kind: CellKind) -> None:
    """Enter a kind of a user's under its name, for this process."""
    _REGISTERED[name] = kind


def remove_kind(name: str) -> None:
    """Forget a kind of a user's."""
    del _REGISTERED[name]
