"""How a network is called on padded sequences whose lengths a file gives."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from rnn.reading.labelled_examples import LabelledInputs


def call_arguments(network: nn.Module, examples: LabelledInputs) -> Any:
    """Give what a network takes: sequences, with their lengths where it is told them.

    Parameters
    ----------
    network : nn.Module
        The network.
    examples : LabelledInputs
        Sequences, and perhaps lengths.

    Returns
    -------
    Tensor, PackedSequence, tuple or dict
        x where all frames count; a packed sequence for one of torch's recurrent layers alone; else x and
        lengths as a tuple, or by their names in ``forward``.

    Raises
    ------
    ValueError
        If the lengths do not fit x, or differ and the network takes x alone, or is unrolled by its `step`.
    """
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence

    from rnn.attacking.length_arguments import length_argument
    from rnn.attacking.question_checks import checked_lengths
    from rnn.motion.twins import is_stepped

    x = examples.x
    if examples.lengths is None:
        return x
    lengths = checked_lengths(examples.lengths, x)
    if is_stepped(network) and bool((lengths < x.shape[1]).any()):
        raise ValueError(
            f"data in {examples.name} hold lengths that differ, but a {type(network).__name__} is unrolled "
            "by its step over all frames; use sequences of one length without lengths"
        )
    found = None if is_stepped(network) else length_argument(network)
    if found is not None and not found.name:
        return x, lengths
    if found is not None:
        inner = network
        while next(iter(inspect.signature(inner.forward).parameters.values())).kind.name == "VAR_POSITIONAL":
            (inner,) = inner.children()
        return {next(iter(inspect.signature(inner.forward).parameters)): x, found.name: lengths}
    if x.ndim > 1 and bool((lengths == x.shape[1]).all()):
        return x
    if isinstance(network, nn.RNNBase) and network.batch_first:
        return pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    raise ValueError(
        f"data in {examples.name} hold lengths, but the forward of a {type(network).__name__} takes x alone; "
        "give it an argument lengths, or save sequences of one length without lengths"
    )
