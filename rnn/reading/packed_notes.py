"""Packed weights of torch.ao as a file describes them."""

from __future__ import annotations

from typing import Any

from rnn.reading.packed import Weights, weights_of_state, weights_of_value
from rnn.reading.pickle_machine import Made

CUSTOM = "__torch__.torch.classes."


def is_packed(value: Any) -> bool:
    """Tell whether a note describes a packed value, of a pickle or of TorchScript.

    Parameters
    ----------
    value : object
        Anything that a pickle holds.

    Returns
    -------
    bool
        Whether it is one.
    """
    return isinstance(value, Made) and (value.maker == "torch.ScriptObject" or value.maker.startswith(CUSTOM))


def weights_of_note(key: str, value: Any) -> Weights | None:
    """Give the weights in a packed value, be it a note or live.

    Parameters
    ----------
    key : str
        Its key in the state dictionary.
    value : object
        Anything.

    Returns
    -------
    list of Stored or Tensor, or None
        As for `rnn.reading.packed.weights_of_value`.
    """
    return weights_of_state(value, _state) if is_packed(value) else weights_of_value(key, value)


def _state(value: Any) -> tuple[Any, ...]:
    """Give what a packed value is made of; a pickle has it beside the name of the class."""
    if not is_packed(value) or not isinstance(value.state, tuple) or not value.state:
        return ()
    inner = value.state[0] if value.maker == "torch.ScriptObject" else value.state
    return inner if isinstance(inner, tuple) else ()
