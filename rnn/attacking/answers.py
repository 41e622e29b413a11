"""Answers: how a model is asked about sequences of any length, and how its output becomes class scores."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnn.attacking.length_arguments import length_argument
from rnn.models import logits


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """What is asked about each example, and when the answer counts as wrong.

    Attributes
    ----------
    y : Tensor
        Labels (N,), labels of frames (N, T), or with a `tolerance` targets (N, ...).
    tolerance : float, or None
        Regression: an answer is wrong when any of its entries is further than this from the target.
    wrong_share : float
        Labels of frames: an answer is wrong when more than this share of its frames is.
    lengths : Tensor of int64, shape (N,), or None
        Frames of each sequence; those behind are padding.
    packed : bool
        Whether the model takes a ``PackedSequence``.
    """

    y: Tensor
    tolerance: float | None = None
    wrong_share: float = 0.0
    lengths: Tensor | None = None
    packed: bool = False

    @property
    def truth(self) -> Tensor:
        """The column that is right in the scores of each example, shape (N,)."""
        plain = self.tolerance is None and self.y.ndim == 1
        return self.y if plain else torch.zeros(len(self.y), dtype=torch.int64, device=self.y.device)

    def rows(self, index: Tensor | slice, device: torch.device) -> Questions:
        """Give the questions about some examples.

        Parameters
        ----------
        index : Tensor of int64, shape (n,), or slice
            Which.
        device : torch.device
            Where their tensors go.

        Returns
        -------
        Questions
            About these.
        """
        lengths = None if self.lengths is None else self.lengths[index].to(device)
        return Questions(self.y[index].to(device), self.tolerance, self.wrong_share, lengths, self.packed)

    def ask(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give class scores of each example, and whether the answer is right.

        Parameters
        ----------
        model : nn.Module
            Is called with x, with x and lengths where its forward takes these (see `length_argument`), or
            with a packed x.
        x : Tensor, shape (n, ...)
            One input for each question.

        Returns
        -------
        scores : Tensor, shape (n, C)
            The answer is right where the column `truth` leads.
        right : Tensor of bool, shape (n,)
            Whether it is.

        Raises
        ------
        ValueError
            If the output does not fit the questions.

        Notes
        -----
        Labels of frames: the scores are the logits of one frame, the true class first, the others in order.
        It is the frame with the m-th largest lead of a wrong class, when m wrong frames make a wrong answer.
        Regression: the scores are `tolerance`, and for each output its error with either sign, at the frame
        where it is largest. With lengths, targets and outputs (N, T, ...) with the T of x are for the frames,
        and those of padding are not looked at; any others are for the whole sequence.
        Ties are decided by the output itself, in its own precision: the first largest logit. The scores have
        the precision of x.
        """
        scores, right = self._answered(
            model, x.clone()
        )  # what a model writes into its input is its own affair
        return scores.to(x.dtype), right

    def _answered(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.tolerance is None and self.y.ndim == 1 and self.lengths is None:
            scores = logits(model, x)
            return scores, scores.argmax(1) == self.y
        output = self.output(model, x)
        if self.tolerance is not None:
            return self._errors(output, x.shape[1])
        if self.y.ndim == 2:
            return self._frames(output)
        if output.ndim != 2 or len(output) != len(x) or output.shape[1] < 2:
            raise ValueError(
                f"model returns shape {tuple(output.shape)} for {len(x)} sequences with one label each; "
                "expected logits (N, C) with C >= 2"
            )
        return output, output.argmax(1) == self.y

    def output(self, model: nn.Module, x: Tensor) -> Tensor:
        """Give what the model returns, or the first of it.

        Parameters
        ----------
        model : nn.Module
            See `ask`.
        x : Tensor, shape (n, ...)
            One input for each question.

        Returns
        -------
        Tensor
            Floats; of packed ones padded.

        Raises
        ------
        TypeError
            If it returns anything else.
        """
        if self.lengths is None:
            output = model(x)
        elif self.packed:
            output = model(
                pack_padded_sequence(x, self.lengths.cpu(), batch_first=True, enforce_sorted=False)
            )
        else:
            takes = length_argument(model)
            output = model(x) if takes is None else takes.call(model, x, self.lengths)
        if isinstance(output, (tuple, list)) and output and not isinstance(output, PackedSequence):
            output = output[0]
        if isinstance(output, PackedSequence):
            output = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])[0]
        if not isinstance(output, Tensor) or not output.is_floating_point():
            kind = output.dtype if isinstance(output, Tensor) else type(output).__name__
            raise TypeError(
                f"model returns {kind}; expected a tensor of floats, or a tuple that begins with it"
            )
        return output

    def valid(self, frames: int) -> Tensor:
        """Say which frames are no padding.

        Parameters
        ----------
        frames : int
            Frames of the padded sequences.

        Returns
        -------
        Tensor of bool, shape (n, frames)
            True for these.
        """
        if self.lengths is None:
            return torch.ones(len(self.y), frames, dtype=torch.bool, device=self.y.device)
        return torch.arange(frames, device=self.y.device) < self.lengths[:, None]

    def timed(self, frames: int) -> bool:
        """Say whether there is a row of targets for each frame.

        Parameters
        ----------
        frames : int
            Frames of the padded sequences.

        Returns
        -------
        bool
            Whether; without lengths nothing is padding, and targets of three or more dimensions are taken so.
        """
        return self.y.ndim > 2 if self.lengths is None else self.y.ndim > 1 and self.y.shape[1] == frames

    def _frames(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if z.shape[:2] != self.y.shape or z.ndim != 3 or z.shape[2] < 2:
            raise ValueError(
                f"model returns shape {tuple(z.shape)} for labels {tuple(self.y.shape)}; expected logits "
                "(N, T, C) with C >= 2, one row of class scores for each frame"
            )
        if int(self.y.max()) >= z.shape[2]:
            raise ValueError(
                f"y holds the label {int(self.y.max())}, but model has {z.shape[2]} logits; expected "
                f"labels from 0 to {z.shape[2] - 1}: number the classes from 0"
            )
        valid, true = self.valid(z.shape[1]), self.y[..., None]
        wrong = (z.argmax(2) != self.y) & valid
        allowed = (self.wrong_share * valid.sum(1)).floor().long()  # so many wrong frames are still right
        others = torch.arange(z.shape[2] - 1, device=z.device).expand(*z.shape[:2], -1)
        ordered = z.gather(2, torch.cat((true, others + (others >= true)), 2))
        lead = (ordered[..., 1:].amax(2) - ordered[..., 0]).detach().masked_fill(~valid, -math.inf)
        ranks = lead.argsort(1, descending=True)
        frame = ranks.gather(1, allowed.clamp_max(z.shape[1] - 1)[:, None])
        scores = ordered.gather(1, frame[..., None].expand(-1, -1, z.shape[2]))[:, 0]
        return scores, wrong.sum(1) <= allowed

    def _errors(self, output: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        wide, wanted = ([n for n in shape[1:] if n != 1] for shape in (output.shape, self.y.shape))
        if len(output) != len(self.y) or wide != wanted:
            raise ValueError(
                f"model returns shape {tuple(output.shape)} for targets {tuple(self.y.shape)}; expected the "
                "same shape, dimensions of size 1 aside"
            )
        error = output.reshape(self.y.shape) - self.y
        timed = self.timed(frames)
        error = error.flatten(2) if timed else error.reshape(len(error), 1, -1)
        tiny = error.abs() <= 1e-3 * (self.tolerance or 0.0)  # where the gradients of both signs would cancel
        below = torch.where(tiny, -error - (self.tolerance or 1.0), -error)
        signed = torch.cat((error, below), 2)
        if timed:
            signed = signed.masked_fill(~self.valid(error.shape[1])[..., None], -math.inf)
        worst = signed.amax(1)
        tolerance = torch.full_like(worst[:, :1], self.tolerance or 0.0)
        return torch.cat((tolerance, worst), 1), (worst <= tolerance).all(1)


def all_finite(values: Tensor) -> bool:
    """Say whether no entry is NaN or infinite; in most cases the sum of all tells."""
    return math.isfinite(float(values.detach().sum())) or bool(values.isfinite().all())
