"""Whether padding, which nobody judges, changes the answers of a model that is not told lengths."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from rnn.attacking.answers import Questions
from rnn.attacking.bench import Bench
from rnn.attacking.length_arguments import length_argument
from spectra.errors import AccuracyWarning

_ASKED = 16  # examples; what sees padding mostly does so in all of them
_AGREEMENT = 1e-4  # relative, of the outputs; far above rounding in float32


def warn_of_padding(bench: Bench) -> None:
    """Ask a model that does not take lengths about other padding, and warn if its answers change.

    Parameters
    ----------
    bench : Bench
        Model and examples; inside `undisturbed`.

    Warns
    -----
    AccuracyWarning
        If they do: then the model is judged on the padding too.

    Notes
    -----
    Two passes over up to 16 padded examples, with the padding as it is and with the frames of the sequence
    over and over in its place. Nothing is asked of a model that has an argument for lengths, or takes packed
    sequences; a model that draws random numbers is noticed elsewhere, and let be.
    """
    if bench.lengths is None or bench.packed:
        return
    takes = length_argument(bench.model)
    if takes is not None and takes.certain:
        return
    padded = (bench.lengths < bench.x.shape[1]).nonzero()[: min(_ASKED, bench.batch), 0]
    if len(padded) == 0 or (takes is not None and takes.required):
        return
    questions = bench.questions.rows(padded, bench.device)
    x, lengths = bench.x[padded].to(bench.device), bench.lengths[padded].to(bench.device)
    time = torch.arange(x.shape[1], device=x.device) % lengths[:, None]
    other = x[torch.arange(len(x), device=x.device)[:, None], time]
    with torch.no_grad():
        before, after = _judged(questions, bench, x), _judged(questions, bench, other)
        if _agree(before, after) or not _agree(before, _judged(questions, bench, x)):
            return
    warnings.warn(
        "padding changes the answers of this model, which takes no lengths; give its forward an argument "
        "lengths, or it a PackedSequence, or judge sequences of one length at a time",
        AccuracyWarning,
        stacklevel=3,
    )


def _judged(questions: Questions, bench: Bench, x: Tensor) -> Tensor:
    """Give the part of the output that is judged, one row for each example."""
    output = questions.output(bench.model, x.clone())
    if questions.tolerance is not None:
        output = output.reshape(questions.y.shape)
    if questions.timed(x.shape[1]):
        valid = questions.valid(output.shape[1])
        output = output * valid.reshape(*valid.shape, *[1] * (output.ndim - 2))
    return output.flatten(1)


def _agree(first: Tensor, second: Tensor) -> bool:
    scale = torch.maximum(first.abs().amax(1), second.abs().amax(1))
    return bool(((first - second).abs().amax(1) <= _AGREEMENT * scale).all())
