"""Jacobians of networks in float64: of the state by the state before, and of the logits by the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import jacrev

from rnn.attacking.weight_slots import plain_twin
from rnn.models import logits
from rnn.motion.cells import unrolled_cells
from rnn.motion.drives import Drive
from rnn.motion.jacobians import one_drive
from rnn.motion.twins import float64_twin, is_stepped
from spectra.errors import UnsupportedModelError

Floats = NDArray[np.float64]


def trajectory(model: nn.Module | Drive, x: Any = None) -> Tensor:
    """Give the states s_1, ..., s_T that a recurrent model passes through.

    Parameters
    ----------
    model : nn.Module or Drive
        A module with the methods `initial_state` and `step`, a network with one of torch's recurrent layers
        in one direction, or one of `recorded_drives`.
    x : Tensor, shape (N, T, F)
        Input sequences, or whatever the network takes; None for a drive.

    Returns
    -------
    Tensor of float64, shape (N, T, s)
        The states after each step; for an LSTM (h, c) in one vector. After the end of a packed sequence its
        last state is repeated.

    Raises
    ------
    UnsupportedModelError
        If the model ran no recurrent layer, or more than one.
    ValueError
        If x does not fit, or is given beside a drive.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model
    >>> model = build_model(ModelConfig("lstm", features=3, steps=5, hidden=4))
    >>> tuple(trajectory(model, torch.zeros(2, 5, 3)).shape)
    (2, 5, 8)
    """
    return one_drive(model, x).states


def state_jacobian(model: nn.Module, state: Tensor, x_t: Tensor) -> Floats:
    """Give the state Jacobian J = ∂s_{t+1}/∂s_t at one state and one input.

    Parameters
    ----------
    model : nn.Module
        A module with the methods `initial_state` and `step`, or a network with one of torch's recurrent
        layers in one direction.
    state : Tensor, shape (s,)
        The state s_t; for an LSTM (h, c) in one vector.
    x_t : Tensor, shape (F,)
        The input of the step, as the recurrent layer sees it.

    Returns
    -------
    ndarray of float64, shape (s, s)
        ``J[i, j]`` is the change of entry i of the new state per change of entry j of the old one.

    Raises
    ------
    UnsupportedModelError
        If the model has no recurrent layer, or more than one.
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
    device = next((parameter.device for parameter in twin.parameters()), state.device)
    step = jacrev(lambda s: twin.step(x_t.to(device, torch.float64), s))
    return step(state.to(device, torch.float64)).detach().cpu().numpy()


def mean_state_jacobian(model: nn.Module | Drive, x: Any = None) -> Floats:
    """Give the state Jacobian at the mean state and the mean input of a set of sequences.

    Parameters
    ----------
    model : nn.Module or Drive
        A module with the methods `initial_state` and `step`, a network with one of torch's recurrent layers
        in one direction, or one of `recorded_drives`.
    x : Tensor, shape (N, T, F)
        Input sequences, or whatever the network takes; None for a drive. The mean state is over s_1, ...,
        s_T of all of them (the start s_0 is left out), the mean input over all steps of the recurrent layer.

    Returns
    -------
    ndarray of float64, shape (s, s)
        ∂s_{t+1}/∂s_t there.

    Raises
    ------
    UnsupportedModelError
        If the model ran no recurrent layer, or more than one.
    ValueError
        If x does not fit, or is given beside a drive.

    Notes
    -----
    One linearisation stands for all: it is neither the mean of the Jacobians along the trajectories nor their
    product over time (`rnn.finite_time_growth`).

    Examples
    --------
    >>> from rnn import ModelConfig, build_model
    >>> model = build_model(ModelConfig("gru", features=3, steps=5, hidden=4))
    >>> mean_state_jacobian(model, torch.zeros(2, 5, 3)).shape
    (4, 4)
    """
    drive = one_drive(model, x)
    return state_jacobian(drive.cell, drive.states[drive.taken].mean(0), drive.inputs[drive.taken].mean(0))


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
    twin = float64_twin(model)
    point = x.double().mean(0, keepdim=True)
    weight = next(twin.parameters(), point)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        jacobian = torch.autograd.functional.jacobian(
            lambda inputs: logits(twin, inputs)[0], point.to(weight.device), vectorize=False
        )
    return jacobian.flatten(1).detach().cpu().numpy()


def recurrent_twin(model: nn.Module) -> Any:
    """Give a float64 copy of a recurrent model in evaluation mode, without parameter gradients.

    Parameters
    ----------
    model : nn.Module
        A module with the methods `initial_state` and `step`, or a network with one of torch's recurrent
        layers in one direction.

    Returns
    -------
    nn.Module
        The copy; of a network with a layer of torch its `UnrolledCell`.

    Raises
    ------
    UnsupportedModelError
        If the model has no recurrent layer, or more than one.
    """
    twin = float64_twin(model)
    if is_stepped(twin):
        return plain_twin(twin)
    cells = [
        cell
        for name, module in twin.named_modules()
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase))
        for cell in unrolled_cells(module, name)
    ]
    if len(cells) != 1:
        names = ", ".join(cell.name for cell in cells) or "none"
        raise UnsupportedModelError(
            f"model ({type(twin).__name__}) has {len(cells)} recurrent layers and directions ({names}) and "
            "no methods step and initial_state; expected one: pass the cell of one of "
            "rnn.recorded_drives(model, x)"
        )
    return cells[0]
