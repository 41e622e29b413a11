"""Torch's recurrent layers in plain operations: cells that can be stepped, differentiated and certified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from rnn.models import STEPS, RecurrentClassifier, in_mode, lstm_step
from spectra.checks import one_of, positive
from spectra.errors import UnsupportedModelError

# and how many gates are stacked in their weights
KINDS = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4, "euler": 1}

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "weight_drift")


class UnrolledCell(nn.Module):
    """One layer and direction of a recurrent network, s_{t+1} = F(x_t, s_t), in plain operations.

    Parameters
    ----------
    kind : {"tanh", "relu", "gru", "lstm", "euler"}
        What it computes, with the formulas of ``nn.RNN``, ``nn.GRU`` and ``nn.LSTM``; "euler" steps
        h + η (A h + tanh(W h + U x + b)).
    weights : mapping of str to Tensor
        ``weight_ih`` (gates x h, F) and ``weight_hh`` (gates x h, output); ``bias_ih`` and ``bias_hh``
        (gates x h) or neither; for an LSTM with projection ``weight_hr`` (p, h); for "euler" ``weight_drift``
        (h, h), the matrix A, or none. They are copied.
    name : str, optional
        Name of the cell.
    layer : int, optional
        Its layer in a stack.
    direction : {"forward", "reverse"}, optional
        The direction in which the network shows it a sequence. The cell itself always goes forward through
        what it is given.
    eta : float, optional
        Step size η of "euler"; others have none.

    Attributes
    ----------
    features : int
        Length F of an input.
    output_size : int
        How many of the first entries of the state are its output: h, or p with a projection.
    state_size : int
        Length s of the state: h; for an LSTM h + h, or p + h with a projection, since its state is (h, c)
        in one vector.

    Raises
    ------
    ValueError
        If a word is not one of those above, a weight has a shape that does not fit the others, or there is a
        step size for a kind that has none, or none for the one that has.

    Examples
    --------
    >>> cell = UnrolledCell("tanh", {"weight_ih": torch.zeros(1, 1), "weight_hh": torch.full((1, 1), 0.5)})
    >>> cell.step(torch.zeros(1), torch.ones(1))
    tensor([0.4621])
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None
    weight_drift: Tensor | None

    batch_first = True  # what `forward` takes

    def __init__(
        self,
        kind: str,
        weights: Mapping[str, Tensor],
        *,
        name: str = "",
        layer: int = 0,
        direction: str = "forward",
        eta: float | None = None,
    ) -> None:
        super().__init__()
        self.kind = one_of(kind, "kind", tuple(KINDS))
        if (eta is None) == (kind == "euler"):
            raise ValueError(f"eta is {eta} for kind {kind!r}; the step size belongs to 'euler' alone")
        self.eta = 1.0 if eta is None else positive(eta, "eta")
        self.direction = one_of(direction, "direction", ("forward", "reverse"))
        self.name, self.layer = name, layer
        _check_shapes(kind, weights)
        for key in _WEIGHTS:
            copy = weights[key].detach().clone() if key in weights else None
            self.register_parameter(key, None if copy is None else nn.Parameter(copy, requires_grad=False))
        self.features = weights["weight_ih"].shape[1]
        self.output_size = weights["weight_hh"].shape[1]
        width = weights["weight_hh"].shape[0] // KINDS[kind]
        self.state_size = self.output_size + (width if kind == "lstm" else 0)

    def extra_repr(self) -> str:
        """Give what stands between the brackets.

        Returns
        -------
        str
            Name, kind and sizes.
        """
        return f"{self.name!r}, {self.kind}, features={self.features}, state_size={self.state_size}"

    def initial_state(self, batch: int) -> Tensor:
        """Give the state before the first step: zeros of shape (batch, s).

        Parameters
        ----------
        batch : int
            Number of sequences.

        Returns
        -------
        Tensor, shape (batch, s)
            On the device and in the precision of the weights.
        """
        return self.weight_hh.new_zeros(batch, self.state_size)

    def step(self, x_t: Tensor, state: Tensor) -> Tensor:
        """Give the state after one step.

        Parameters
        ----------
        x_t : Tensor, shape (..., F)
            Input of this step.
        state : Tensor, shape (..., s)
            State before it.

        Returns
        -------
        Tensor, shape (..., s)
            State after it.
        """
        h = state[..., : self.output_size]
        from_input = linear(x_t, self.weight_ih, self.bias_ih)
        from_hidden = linear(h, self.weight_hh, self.bias_hh)
        if self.kind == "euler":
            rate = torch.tanh(from_input + from_hidden)
            rate = rate if self.weight_drift is None else linear(h, self.weight_drift) + rate
            return state + self.eta * rate
        if self.weight_hr is None:
            return STEPS[self.kind](from_input, from_hidden, state)
        c = state[..., self.output_size :]
        h, c = lstm_step(from_input, from_hidden, torch.cat((c, c), dim=-1)).chunk(2, dim=-1)
        return torch.cat((linear(h, self.weight_hr), c), dim=-1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give outputs and last states along sequences, from the state zero.

        Parameters
        ----------
        x : Tensor, shape (N, T, F)
            The sequences.

        Returns
        -------
        outputs : Tensor, shape (N, T, output_size)
            The outputs.
        last : Tensor, shape (N, s)
            The last states.
        """
        states = unrolled_states(self, x, self.initial_state(len(x)))
        return states[..., : self.output_size], states[:, -1]


def unrolled_states(cell: Any, x: Tensor, initial: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Give the states s_1, ..., s_T along sequences, in the order of time in which they are given.

    Parameters
    ----------
    cell : nn.Module
        With the method `step`.
    x : Tensor, shape (N, T, F)
        The sequences.
    initial : Tensor, shape (N, s)
        The states s_0.
    lengths : Tensor of int, shape (N,), optional
        How many steps each sequence has; after its last step the state stays as it is.

    Returns
    -------
    Tensor, shape (N, T, s)
        The states.
    """
    state, found = initial, []
    for t, x_t in enumerate(x.unbind(1)):
        after = cell.step(x_t, state)
        state = after if lengths is None else torch.where((t < lengths)[:, None], after, state)
        found.append(state)
    return torch.stack(found, dim=1)


def unrolled_cells(layer: nn.Module, name: str = "") -> tuple[UnrolledCell, ...]:
    """Give the cells of one of torch's recurrent modules or of ours, one for each layer and direction.

    Parameters
    ----------
    layer : nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell, nn.LSTMCell or RecurrentClassifier
        Also with parametrised weights, of which the effective ones are taken as in evaluation mode.
    name : str, optional
        Name of the module: its cells are called ``name.l0``, ``name.l0_reverse``, ``name.l1`` and so on, the
        cell of an ``nn.GRUCell`` as the module itself.

    Returns
    -------
    tuple of UnrolledCell
        In torch's order, forward before reverse, with copies of the weights in their precision, without
        gradients.

    Raises
    ------
    UnsupportedModelError
        If it is another module, or has a cell given to `register_cell`.

    Examples
    --------
    >>> [cell.name for cell in unrolled_cells(nn.GRU(3, 4, num_layers=2, bidirectional=True), "rnn")]
    ['rnn.l0', 'rnn.l0_reverse', 'rnn.l1', 'rnn.l1_reverse']
    """
    if type_before_parametrizations(layer) is RecurrentClassifier:
        return (_own_cell(layer, name),)
    kind = _kind(layer)
    with torch.no_grad(), in_mode(layer, training=False):
        if isinstance(layer, nn.RNNCellBase):
            return (UnrolledCell(kind, _weights(layer, ""), name=name),)
        assert isinstance(layer, nn.RNNBase)
        return tuple(
            UnrolledCell(
                kind,
                _weights(layer, suffix),
                name=".".join(part for part in (name, suffix.removeprefix("_")) if part),
                layer=number,
                direction="reverse" if suffix.endswith("reverse") else "forward",
            )
            for number in range(layer.num_layers)
            for suffix in (f"_l{number}", f"_l{number}_reverse")[: 1 + layer.bidirectional]
        )


def _own_cell(model: Any, name: str) -> UnrolledCell:
    """Give the cell of one of our models, with the weights that it uses."""
    kind = next((kind for kind, step in STEPS.items() if model.kind.step is step), None)
    if kind is None:
        raise UnsupportedModelError(
            f"model has the cell {model.config.cell!r}, which was registered and is not understood; use its "
            "own methods step and initial_state"
        )
    with torch.no_grad(), in_mode(model, training=False):
        weights = {key: getattr(model, f"{key}_l0") for key in _WEIGHTS[:4]}
        if model.drift is not None:
            weights["weight_drift"] = model.drift.weight
        eta = model.config.eta
        return UnrolledCell(kind if eta is None else "euler", weights, name=name, eta=eta)


def _kind(layer: nn.Module) -> str:
    if isinstance(layer, (nn.GRU, nn.GRUCell)):
        return "gru"
    if isinstance(layer, (nn.LSTM, nn.LSTMCell)):
        return "lstm"
    if isinstance(layer, (nn.RNN, nn.RNNCell)):
        return str(layer.nonlinearity)
    raise UnsupportedModelError(
        f"layer is a {type(layer).__name__}; expected nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell or "
        "nn.LSTMCell (the layers inside a model: rnn.recorded_drives)"
    )


def _weights(layer: nn.Module, suffix: str) -> dict[str, Tensor]:
    """Give the effective weights, by name without the suffix of layer and direction."""
    normed = {  # by the older hooks of torch.nn.utils, which write the weight only when the layer runs
        hook.name: hook
        for hook in layer._forward_pre_hooks.values()
        if isinstance(hook, (WeightNorm, SpectralNorm))
    }
    found = {}
    for key in _WEIGHTS:
        name = key + suffix
        hook = normed.get(name)
        if isinstance(hook, WeightNorm):
            found[key] = hook.compute_weight(layer)
        elif isinstance(hook, SpectralNorm):
            found[key] = hook.compute_weight(layer, do_power_iteration=False)
        elif isinstance(getattr(layer, name, None), Tensor):
            found[key] = getattr(layer, name)
    return found


def _check_shapes(kind: str, weights: Mapping[str, Tensor]) -> None:
    shapes = {key: tuple(weight.shape) for key, weight in weights.items()}
    inputs, hidden = shapes.get("weight_ih", ()), shapes.get("weight_hh", ())
    back = shapes.get("weight_hr")
    fits = len(inputs) == len(hidden) == 2 and set(shapes) <= set(_WEIGHTS) and min(inputs + hidden) > 0
    if fits:
        rows, output = hidden
        h = output if back is None else back[-1]
        fits = inputs[0] == rows == KINDS[kind] * h
        fits = fits and back in {None, (output, h)} and (back is None or kind == "lstm")
        fits = fits and {shapes.get("bias_ih"), shapes.get("bias_hh")} in ({(rows,)}, {None})
        drift = shapes.get("weight_drift")
        fits = fits and (drift is None or (kind == "euler" and drift == (rows, rows)))
    if not fits:
        raise ValueError(
            f"weights have the shapes {shapes}; expected weight_ih ({KINDS[kind]} h, F) and weight_hh "
            f"({KINDS[kind]} h, h) of a {kind} cell, both biases or none, for a projection weight_hr, "
            "for euler perhaps weight_drift (h, h)"
        )
