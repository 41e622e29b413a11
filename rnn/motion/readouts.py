"""What a classifier says of states that are not its own: its recurrent layer replaced by given states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rnn.models import in_mode, logits, seeded
from rnn.motion.drives import Drive
from rnn.motion.recordings import _default_float64
from rnn.motion.twins import float64_twin, is_stepped
from rnn.reading.tensors import NotUnderstoodError

_AGREEMENT = 1e-8  # relative, of the logits of the network itself and of its own states read out


class Readout:
    """A float64 copy of a classifier that is given the states of its one recurrent layer.

    Parameters
    ----------
    model : nn.Module
        A classifier with one recurrent layer in one direction.
    x : Tensor, shape (N, ...)
        What it takes.
    drive : Drive
        The drive of that layer on x.

    Attributes
    ----------
    clean : Tensor of int64, shape (N,)
        Its predictions on x.

    Raises
    ------
    NotUnderstoodError
        If it returns no logits, one for each sequence, or other ones than its own states give.
    """

    def __init__(self, model: nn.Module, x: Any, drive: Drive) -> None:
        if not isinstance(x, Tensor) or drive.runs != 1 or len(x) != len(drive.inputs):
            raise NotUnderstoodError("the sequences of its recurrent layer are not the rows of one tensor x")
        self._twin: Any = float64_twin(model)
        self._x = (x.detach().double() if x.is_floating_point() else x.detach()).to(drive.states.device)
        wanted = self._logits()
        self.clean = wanted.argmax(1)
        self._states, self._calls = drive.states, 0
        self._replace(drive)
        found = self._read(drive.states)
        scale = max(1.0, float(wanted.abs().max()))
        if not (found - wanted).abs().max() <= _AGREEMENT * scale:
            raise NotUnderstoodError("its logits are not those that the states of its recurrent layer give")

    def predictions(self, states: Tensor) -> Tensor:
        """Give the predictions for states of the recurrent layer.

        Parameters
        ----------
        states : Tensor of float64, shape (N, T, s)
            The states s_1, ..., s_T.

        Returns
        -------
        Tensor of int64, shape (N,)
            The predicted classes.
        """
        return self._read(states).argmax(1)

    def _read(self, states: Tensor) -> Tensor:
        self._states, self._calls = states, 0
        found = self._logits()
        if self._calls not in {1, states.shape[1]}:
            raise NotUnderstoodError(f"it ran its recurrent layer {self._calls} times")
        return found

    def _logits(self) -> Tensor:
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.backends.cudnn.flags(enabled=False),
            in_mode(self._twin, training=False),
            seeded(self._twin, 0),
            _default_float64(),
        ):
            try:
                return logits(self._twin, self._x)
            except (TypeError, ValueError, RuntimeError) as error:
                raise NotUnderstoodError(str(error).partition("\n")[0]) from None

    def _replace(self, drive: Drive) -> None:
        """Let the recurrent layer of the copy give the states that are set."""
        if is_stepped(self._twin):
            self._twin.step = lambda x_t, state: self._next()
            return
        layers = [m for m in self._twin.modules() if isinstance(m, (nn.RNNBase, nn.RNNCellBase))]
        if len(layers) != 1:
            raise NotUnderstoodError(f"it has {len(layers)} of torch's recurrent layers; expected one")
        layers[0].register_forward_hook(lambda module, _, output: self._output(module, drive, output))

    def _next(self) -> Tensor:
        self._calls += 1
        return self._states[:, min(self._calls, self._states.shape[1]) - 1]

    def _output(self, layer: Any, drive: Drive, output: Any) -> Any:
        """Give what a layer of torch returns, made from the states."""
        width = drive.cell.output_size
        if isinstance(layer, nn.RNNCellBase):
            state = self._next()
            return (state[:, :width], state[:, width:]) if isinstance(output, tuple) else state
        if not isinstance(output[0], Tensor) or output[0].ndim != 3:
            raise NotUnderstoodError("its recurrent layer was shown something else than one batch")
        self._calls += 1
        h, c = self._states[..., :width], self._states[..., width:]
        sequence = h if layer.batch_first else h.transpose(0, 1)
        final = h[:, -1][None]
        return sequence, (final, c[:, -1][None]) if isinstance(output[1], tuple) else final
