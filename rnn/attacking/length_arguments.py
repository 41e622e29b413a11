"""How a model is told the lengths of sequences: by an argument of its forward, or not at all."""

from __future__ import annotations

import dataclasses
import inspect
import re

from torch import Tensor, nn

_NAME = re.compile(
    r"((seq|sequence|x|input|inputs|src|source|text|token|frame|audio|feature|valid|true)_?)?"
    r"(lengths?|lens?)(_x)?|sizes|n_frames|num_frames"
)
_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclasses.dataclass(frozen=True, slots=True)
class LengthArgument:
    """The argument by which a forward takes lengths.

    Attributes
    ----------
    name : str
        Its name; empty where lengths are passed as the second argument.
    required : bool
        Whether the model cannot be called without it.
    certain : bool
        Whether its name says that it is for lengths.
    """

    name: str
    required: bool
    certain: bool

    def call(self, model: nn.Module, x: Tensor, lengths: Tensor) -> object:
        """Call a model with sequences and their lengths.

        Parameters
        ----------
        model : nn.Module
            The model.
        x : Tensor, shape (N, T, ...)
            Padded sequences.
        lengths : Tensor of int64, shape (N,)
            Frames of each.

        Returns
        -------
        object
            What it returns.
        """
        return model(x, **{self.name: lengths}) if self.name else model(x, lengths)


def length_argument(model: nn.Module) -> LengthArgument | None:
    """Find out how a model is told the lengths of its sequences.

    Parameters
    ----------
    model : nn.Module
        The model. Of a wrapper whose forward says nothing (``*args``) and that holds one module, that one
        is asked.

    Returns
    -------
    LengthArgument or None
        The argument after the first that is named lengths, length, lens, seq_lens, seq_lengths, x_lengths,
        input_lengths, sizes or alike; else a second argument that the model cannot do without; else
        ``lengths=`` where it takes any keyword; None where it takes x alone.

    Examples
    --------
    >>> class Last(nn.Module):
    ...     def forward(self, x, h0=None, *, seq_lens=None):
    ...         return x
    >>> length_argument(Last())
    LengthArgument(name='seq_lens', required=False, certain=True)
    >>> length_argument(nn.Sequential()) is None
    True
    """
    try:
        found = [*inspect.signature(model.forward).parameters.values()]
    except (TypeError, ValueError):
        return None
    inner = [*model.children()]
    if found and found[0].kind == inspect.Parameter.VAR_POSITIONAL:
        return length_argument(inner[0]) if len(inner) == 1 else None
    for place, one in enumerate(found[1:], start=1):
        if one.kind in _ANY or not _NAME.fullmatch(one.name.lower()):
            continue
        alone = one.kind == inspect.Parameter.POSITIONAL_ONLY
        if not alone or place == 1:
            return LengthArgument("" if alone else one.name, one.default is one.empty, certain=True)
    needed = [
        one for one in found[1:2] if one.kind not in (*_ANY, one.KEYWORD_ONLY) and one.default is one.empty
    ]
    if needed:
        return LengthArgument("", required=True, certain=False)
    if any(one.kind == inspect.Parameter.VAR_KEYWORD for one in found):
        return LengthArgument("lengths", required=False, certain=False)
    return None
