"""Jacobians of networks in float64: of the state by the state before, and of the logits by the input."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import jacrev

from rnn.models import RecurrentClassifier, in_mode, logits
from spectra.errors import UnsupportedModelError

Floats = NDArray[np.float64]


def trajectory(model: RecurrentClassifier, x: Tensor) -> Tensor:
    """Give the states s_1, ..., s_T that a recurrent model passes through.

    Parameters
    ----------
    model : RecurrentClassifier
        Or any module with its methods `initial_state` and `step`.
    x : Tensor, shape (N, T, F)
        Input sequences.

    Returns
    -------
    Tensor of float64, shape (N, T, s)
        The states after each step; for an LSTM (h, c) in one vector.

    Raises
    ------
    UnsupportedModelError
        If the model has no `step`.
    ValueError
        If x is not of shape (N, T, F), or is empty.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model
    >>> model = build_model(ModelConfig("lstm", features=3, steps=5, hidden=4))
    >>> tuple(trajectory(model, torch.zeros(2, 5, 3)).shape)
    (2, 5, 8)
    """
    twin, x = recurrent_twin(model), _checked_sequences(x)
    with torch.no_grad():
        return _states(twin, x)


def state_jacobian(model: RecurrentClassifier, state: Tensor, x_t: Tensor) -> Floats:
    """Give the state Jacobian J = ∂s_{t+1}/∂s_t at one state and one input.

    Parameters
    ----------
    model : RecurrentClassifier
        Or any module with its methods `initial_state` and `step`.
    state : Tensor, shape (s,)
        The state s_t; for an LSTM (h, c) in one vector.
    x_t : Tensor, shape (F,)
        The input of the step.

    Returns
    -------
    ndarray of float64, shape (s, s)
        ``J[i, j]`` is the change of entry i of the new state per change of entry j of the old one.

    Raises
    ------
    UnsupportedModelError
        If the model has no `step`.
    ValueError
        If `state` or `x_t` is no vector.

    Notes
    -----
    Reverse-mode differentiation of a float64 copy of the model in evaluation mode; s backward passes at once.

    Examples
    --------
    At state 0 without input, a tanh cell without biases has the Jacobian W_hh:

    >>> from rnn import ModelConfig, build_model
    >>> model = build_model(ModelConfig("tanh", features=3, steps=5, hidden=4))
    >>> J = state_jacobian(model, torch.zeros(4), torch.zeros(3))
    >>> bool(np.allclose(J, model.weight_hh_l0.detach()))
    True
    """
    twin = recurrent_twin(model)
    for name, value in (("state", state), ("x_t", x_t)):
        if value.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; expected one vector")
    device = next(twin.parameters()).device
    step = jacrev(lambda s: twin.step(x_t.to(device, torch.float64), s))
    return step(state.to(device, torch.float64)).detach().cpu().numpy()


def mean_state_jacobian(model: RecurrentClassifier, x: Tensor) -> Floats:
    """Give the state Jacobian at the mean state and the mean input of a set of sequences.

    Parameters
    ----------
    model : RecurrentClassifier
        Or any module with its methods `initial_state` and `step`.
    x : Tensor, shape (N, T, F)
        Input sequences. The mean state is over s_1, ..., s_T of all of them (the zero start s_0 is left out),
        the mean input over all their steps.

    Returns
    -------
    ndarray of float64, shape (s, s)
        ∂s_{t+1}/∂s_t there.

    Raises
    ------
    UnsupportedModelError
        If the model has no `step`.
    ValueError
        If x is not of shape (N, T, F), or is empty.

    Notes
    -----
    One linearisation stands for all: it is neither the mean of the Jacobians along the trajectories nor their
    product over time.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model
    >>> model = build_model(ModelConfig("gru", features=3, steps=5, hidden=4))
    >>> mean_state_jacobian(model, torch.zeros(2, 5, 3)).shape
    (4, 4)
    """
    states = trajectory(model, x)
    return state_jacobian(model, states.mean((0, 1)), x.double().mean((0, 1)))


def input_jacobian(model: nn.Module, x: Tensor) -> Floats:
    """Give the Jacobian of the logits by the flattened input, ∂z/∂x, at the mean input.

    Parameters
    ----------
    model : nn.Module
        Any classifier that returns logits (N, C).
    x : Tensor, shape (N, ...)
        Inputs, of which the mean is taken.

    Returns
    -------
    ndarray of float64, shape (C, D)
        D is the number of entries of one input; for a sequence, T blocks of F columns.

    Raises
    ------
    ValueError
        If x is empty.

    Notes
    -----
    C backward passes through a float64 copy of the model in evaluation mode, cuDNN off.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model
    >>> model = build_model(ModelConfig("feedforward", features=3, steps=5, classes=4))
    >>> input_jacobian(model, torch.zeros(2, 5, 3)).shape
    (4, 15)
    """
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected at least one example, (N, ...) with N >= 1")
    twin = copy.deepcopy(model).double()
    point = x.double().mean(0, keepdim=True)
    weight = next(twin.parameters(), point)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False), in_mode(twin, training=False):
        jacobian = torch.autograd.functional.jacobian(
            lambda inputs: logits(twin, inputs)[0], point.to(weight.device), vectorize=False
        )
    return jacobian.flatten(1).detach().cpu().numpy()


def recurrent_twin(model: RecurrentClassifier) -> RecurrentClassifier:
    """Give a float64 copy of a recurrent model in evaluation mode, without parameter gradients.

    Parameters
    ----------
    model : RecurrentClassifier
        Or any module with its methods `initial_state` and `step`.

    Returns
    -------
    RecurrentClassifier
        The copy.

    Raises
    ------
    UnsupportedModelError
        If the model has no `step`.
    """
    if not (hasattr(model, "step") and hasattr(model, "initial_state")):
        raise UnsupportedModelError(
            f"model is a {type(model).__name__} without the methods step and initial_state, so it has no "
            "state Jacobian; load its weights into rnn.RecurrentClassifier, or use rnn.input_jacobian"
        )
    twin = copy.deepcopy(model).double().requires_grad_(False)
    for module in twin.modules():
        module.training = False
    return twin


def _checked_sequences(x: Tensor) -> Tensor:
    if x.ndim != 3 or x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (N, T, F) with N, T, F >= 1")
    return x.double()


def _states(twin: RecurrentClassifier, x: Tensor) -> Tensor:
    x = x.to(next(twin.parameters()).device)
    state, states = twin.initial_state(len(x)), []
    for x_t in x.unbind(1):
        state = twin.step(x_t, state)
        states.append(state)
    return torch.stack(states, dim=1)
