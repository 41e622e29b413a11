"""Whole recurrent layers of torch, several layers and directions, made of unrolled cells."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnn.motion.cells import UnrolledCell, unrolled_cells, unrolled_states
from spectra.errors import UnsupportedModelError


class UnrolledRNN(nn.Module):
    """A whole recurrent layer of torch, several layers and directions, made of `UnrolledCell`.

    It computes what ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM`` compute in evaluation mode (so without dropout),
    takes what they take (batches, one sequence alone, packed sequences, initial states) and returns what
    they return.

    Parameters
    ----------
    layer : nn.RNN, nn.GRU or nn.LSTM
        Its weights are copied.

    Attributes
    ----------
    cells : tuple of UnrolledCell
        In torch's order, forward before reverse.

    Raises
    ------
    UnsupportedModelError
        If it is another module.

    Notes
    -----
    It agrees with the layer to rounding: 1e-6 in float32 and 1e-12 in float64 for states of order 1.

    Examples
    --------
    >>> layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    >>> x = torch.ones(5, 2, 3)
    >>> bool(torch.allclose(UnrolledRNN(layer)(x)[0], layer(x)[0], atol=1e-6))
    True
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        if not isinstance(layer, nn.RNNBase):
            raise UnsupportedModelError(
                f"layer is a {type(layer).__name__}; expected nn.RNN, nn.GRU or nn.LSTM (a single cell: "
                "rnn.motion.cells.unrolled_cells)"
            )
        self.stack = nn.ModuleList(unrolled_cells(layer))
        self.batch_first = layer.batch_first
        self.directions = 1 + layer.bidirectional

    @property
    def cells(self) -> tuple[UnrolledCell, ...]:
        """In torch's order, forward before reverse."""
        return tuple(cell for cell in self.stack if isinstance(cell, UnrolledCell))

    def forward(self, x: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Give output and final states as torch's layer does.

        Parameters
        ----------
        x : Tensor or PackedSequence
            (T, N, F), or (N, T, F) with batch_first; (T, F) for one sequence; or packed.
        hx : Tensor or (Tensor, Tensor), optional
            Initial states (layers x directions, N, h); for an LSTM the pair (h, c).

        Returns
        -------
        output : Tensor or PackedSequence
            Outputs of the last layer, both directions beside each other.
        final : Tensor or (Tensor, Tensor)
            Final states (layers x directions, N, h); for an LSTM the pair (h, c).
        """
        inputs, lengths = padded_batch(x, self.batch_first)
        initial = initial_states(self.cells, hx, inputs)
        finals = []
        for first in range(0, len(self.cells), self.directions):
            outputs = []
            for number in range(first, first + self.directions):
                cell = self.cells[number]
                states = unrolled_states(cell, own_order(inputs, cell, lengths), initial[number], lengths)
                finals.append(states[:, -1])
                outputs.append(own_order(states[..., : cell.output_size], cell, lengths))
            inputs = torch.cat(outputs, dim=-1)
        return self._like(inputs, x), self._final(finals, x)

    def _like(self, output: Tensor, x: Tensor | PackedSequence) -> Tensor | PackedSequence:
        """Give the outputs (N, T, ...) in the form of the inputs."""
        if isinstance(x, Tensor):
            return output[0] if x.ndim == 2 else output if self.batch_first else output.transpose(0, 1)
        order = x.sorted_indices
        lengths = pad_packed_sequence(x)[1]
        if order is not None:
            output, lengths = output[order], lengths[order.cpu()]
        packed = pack_padded_sequence(output, lengths, batch_first=True)
        return PackedSequence(packed.data, packed.batch_sizes, order, x.unsorted_indices)

    def _final(self, states: list[Tensor], x: Tensor | PackedSequence) -> Tensor | tuple[Tensor, Tensor]:
        cell = self.cells[0]
        final = torch.stack(states)
        if isinstance(x, Tensor) and x.ndim == 2:
            final = final[:, 0]
        h, c = final.split((cell.output_size, cell.state_size - cell.output_size), dim=-1)
        return (h, c) if cell.kind == "lstm" else h


def padded_batch(x: Tensor | PackedSequence, batch_first: bool) -> tuple[Tensor, Tensor | None]:
    """Give what a layer was given as (N, T, F), with the lengths where it was packed.

    Parameters
    ----------
    x : Tensor or PackedSequence
        As torch's recurrent layers take it.
    batch_first : bool
        Whether N comes first in it.

    Returns
    -------
    inputs : Tensor, shape (N, T, F)
        In the order in which the sequences were before they were packed.
    lengths : Tensor of int, shape (N,), or None
        Number of steps of each, on the device of the inputs.
    """
    if isinstance(x, PackedSequence):
        inputs, lengths = pad_packed_sequence(x, batch_first=True)
        return inputs, lengths.to(inputs.device)
    if x.ndim == 2:
        return x[None], None
    return (x if batch_first else x.transpose(0, 1)), None


def initial_states(cells: tuple[UnrolledCell, ...], hx: Any, inputs: Tensor) -> list[Tensor]:
    """Give the initial state (N, s) of each cell, from what torch's layer was given as `hx`.

    Parameters
    ----------
    cells : tuple of UnrolledCell
        All of the layer.
    hx : Tensor, (Tensor, Tensor) or None
        (layers x directions, N, h), or without N for one sequence; zeros if None.
    inputs : Tensor, shape (N, T, F)
        The batch.

    Returns
    -------
    list of Tensor
        One for each cell.
    """
    if hx is None:
        return [cell.initial_state(len(inputs)).to(inputs) for cell in cells]
    parts = hx if isinstance(hx, (tuple, list)) else (hx,)
    whole = torch.cat([part if part.ndim == 3 else part[:, None] for part in parts], dim=-1)
    return list(whole.unbind(0))


def own_order(values: Tensor, cell: UnrolledCell, lengths: Tensor | None) -> Tensor:
    """Turn sequences into the order of time of a cell, or back: a reverse one goes from the last step on.

    Parameters
    ----------
    values : Tensor, shape (N, T, ...)
        Sequences.
    cell : UnrolledCell
        Its direction counts.
    lengths : Tensor of int, shape (N,), or None
        Number of steps of each; what is behind them stays where it is.

    Returns
    -------
    Tensor, shape (N, T, ...)
        As they are for a forward cell.
    """
    if cell.direction == "forward":
        return values
    if lengths is None:
        return values.flip(1)
    t = torch.arange(values.shape[1], device=values.device)
    turned = lengths[:, None] - 1 - t
    index = torch.where(turned < 0, t, turned)
    return values.gather(1, index[..., None].expand_as(values))
