"""Where the numbers of a training go: functions and TensorBoard writers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Sink = Callable[[int, dict[str, float]], Any]


def sinks(to: Any) -> list[Sink]:
    """Give the functions that numbers go to.

    Parameters
    ----------
    to : callable, writer, or several of them, or None
        As for `SpectralCallback`.

    Returns
    -------
    list of callable
        Each takes the step and the numbers by name.

    Raises
    ------
    TypeError
        If something in it is neither.
    """
    places = to if isinstance(to, (list, tuple)) else [] if to is None else [to]
    return [_sink(place) for place in places]


def _sink(place: Any) -> Sink:
    if callable(getattr(place, "add_scalar", None)):
        return lambda step, numbers: _write_scalars(place, step, numbers)
    if callable(place):
        return place
    raise TypeError(
        f"to is a {type(place).__name__}; expected a function of (step, numbers), a TensorBoard "
        "SummaryWriter, or a list of them"
    )


def _write_scalars(writer: Any, step: int, numbers: dict[str, float]) -> None:
    for name, value in numbers.items():
        if math.isfinite(value):
            writer.add_scalar(f"spectra/{name}", value, step)
