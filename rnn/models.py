"""The door to the networks studied: recurrent cells, free, constrained or your own; a feed-forward net."""

from __future__ import annotations

import re
from typing import Any

import torch

from rnn.networks.cell_kinds import (
    CELLS,
    FEEDFORWARD,
    CellKind,
    Initialise,
    add_kind,
    cell_names,
    remove_kind,
)
from rnn.networks.cell_steps import STEPS, Step, lstm_step
from rnn.networks.configurations import ModelConfig
from rnn.networks.feed_forward import FeedForward
from rnn.networks.modes import in_mode, seeded
from rnn.networks.outputs import logits
from rnn.networks.recurrent import RecurrentClassifier
from spectra.checks import whole_number

__all__ = [
    "CELLS",
    "STEPS",
    "FeedForward",
    "ModelConfig",
    "RecurrentClassifier",
    "build_model",
    "cell_names",
    "in_mode",
    "logits",
    "lstm_step",
    "register_cell",
    "seeded",
]


def build_model(config: ModelConfig) -> RecurrentClassifier | FeedForward:
    """Build the untrained model of a configuration; same configuration, same weights.

    Parameters
    ----------
    config : ModelConfig
        What to build.

    Returns
    -------
    RecurrentClassifier or FeedForward
        On the CPU, float32, in training mode, with the configuration as attribute `config`. Global random
        state is neither read nor changed.

    Raises
    ------
    ValueError
        If it does not fit into memory.

    Examples
    --------
    >>> model = build_model(ModelConfig("gru", features=8, steps=8, hidden=16))
    >>> tuple(model.weight_hh_l0.shape)
    (48, 16)

    A constrained matrix is used like any other:

    >>> W = build_model(ModelConfig("orthogonal", features=8, steps=8)).weight_hh_l0
    >>> bool(torch.allclose(W @ W.T, torch.eye(32), atol=1e-6))
    True
    """
    try:
        return FeedForward(config) if config.cell == FEEDFORWARD else RecurrentClassifier(config)
    except (RuntimeError, TypeError, OverflowError):  # torch's many ways to say that there is no room
        raise ValueError(
            f"config asks for {config.hidden} hidden units on {config.features} features and {config.steps} "
            "steps, more than memory holds; use a smaller hidden"
        ) from None


def register_cell(
    name: str, step: Step, *, gates: int = 1, states: int = 1, initialise: Initialise | None = None
) -> None:
    """Make a recurrent cell of one's own available as ``ModelConfig(name, ...)``, in this process.

    Parameters
    ----------
    name : str
        Its name: letters, digits, ``_`` and ``-``, a letter first.
    step : callable
        ``step(from_input, from_hidden, state)`` gives the next state, of the shape of `state`
        (..., states x h), from U x + b and W h + c, each of shape (..., gates x h). W multiplies the first h
        entries of the state, which are also read out. In plain operations of torch, if ``torch.func`` and so
        `state_jacobians` are to work.
    gates : int, optional
        How many matrices (h, h) are stacked in W, and (h, F) in U.
    states : int, optional
        How many vectors of length h the state holds.
    initialise : callable, optional
        ``initialise(model, random)`` changes the weights of a new `RecurrentClassifier` in place, without
        gradients: ``model.weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, ``head``. They
        are drawn before, W with standard deviation gain/√h. It may put a constraint on one by
        ``torch.nn.utils.parametrize``. Its only randomness is the ``torch.Generator`` `random`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If the name is taken or no name, a number is below 1, or a small model with this cell cannot be built
        or stepped; the message says why.

    Notes
    -----
    A checkpoint holds the name, not the functions: register the cell before it is loaded, and in every
    process of a study (at the top of a module that they import).

    Examples
    --------
    A minimal gated unit:

    >>> def step(from_input, from_hidden, h):
    ...     (f_x, n_x), (f_h, n_h) = from_input.chunk(2, -1), from_hidden.chunk(2, -1)
    ...     f = torch.sigmoid(f_x + f_h)
    ...     return (1 - f) * h + f * torch.tanh(n_x + n_h)
    >>> register_cell("minimal-gated", step, gates=2)
    >>> model = build_model(ModelConfig("minimal-gated", features=3, steps=5, hidden=4))
    >>> model(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 10])
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise ValueError(f"name is {name!r}; expected letters, digits, _ and -, a letter first")
    if name in cell_names():
        raise ValueError(f"name is {name!r}, which is taken; choose another one")
    for value, what in ((step, "step"), (initialise, "initialise")):
        if not callable(value) and not (value is None and what == "initialise"):
            raise TypeError(f"{what} is {value!r}; expected a function")
    kind = CellKind(step, whole_number(gates, "gates"), whole_number(states, "states"), initialise)
    add_kind(name, kind)
    try:
        _try_cell(name)
    except BaseException:
        remove_kind(name)
        raise


def _try_cell(name: str) -> None:
    """Build a small model with a cell and step it."""
    try:
        model = RecurrentClassifier(ModelConfig(name, features=2, steps=1, hidden=3))
        state = model.initial_state(5)
        found: Any = model.step(torch.zeros(5, 2), state)
    except Exception as error:  # of the user's functions
        first = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(
            f"a small model with the cell {name!r} cannot be built or stepped ({first}); mend step, gates or "
            "initialise"
        ) from error
    shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if shape != tuple(state.shape):
        raise ValueError(
            f"step gives {shape} for a state of shape {tuple(state.shape)}; expected the next state, of the "
            "same shape"
        )
