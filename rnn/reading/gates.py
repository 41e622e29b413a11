"""Recurrent tensors, which torch stacks gate over gate, as one matrix for each gate; leaky cells."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from rnn.reading.factors import Weight
from rnn.reading.matrices import NamedMatrix
from rnn.reading.tensors import NotUnderstoodError

GATES = {1: ("",), 3: ("r", "z", "n"), 4: ("i", "f", "g", "o")}  # in the order in which torch stacks them

_NAME = re.compile(r"(?P<sort>weight|bias)_(?P<what>ih|hh|hr)(?:_l(?P<layer>\d{1,9})(?P<reverse>_reverse)?)?")


def is_recurrent(name: str) -> bool:
    """Tell whether a key is one that torch gives to tensors of recurrent layers.

    Parameters
    ----------
    name : str
        Key, without the names of wrappers.

    Returns
    -------
    bool
        True for ``rnn.weight_hh_l0``, ``weight_ih`` and the like.
    """
    return _NAME.fullmatch(name.rpartition(".")[2]) is not None


def recurrent_records(weights: Mapping[str, Weight], name: str, origin: str) -> list[NamedMatrix]:
    """Split one stacked tensor of a recurrent layer into its gates.

    Parameters
    ----------
    weights : mapping of str to Weight
        All usable weights of the network: the gates are told from ``weight_hh`` of the same layer.
    name : str
        The one to split.
    origin : str
        Name of the source.

    Returns
    -------
    list of NamedMatrix
        One for each gate; ``weight_hr`` is one matrix.

    Raises
    ------
    NotUnderstoodError
        If the shapes are not those of ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``.
    """
    prefix, dot, leaf = name.rpartition(".")
    match = _NAME.fullmatch(leaf)
    assert match is not None
    what, layer = match["what"], int(match["layer"] or 0)
    direction = "reverse" if match["reverse"] else "forward"
    stem, suffix = prefix + dot, leaf.removeprefix(f"weight_{what}")
    entry, back = weights[name], weights.get(f"{stem}weight_hr{suffix}")
    gates, h = _gates_and_width(weights.get(f"{stem}weight_hh{suffix}"), back)
    if len(entry.shape) != 2 or (what != "hr" and entry.shape[0] != len(gates) * h):
        raise NotUnderstoodError(f"shape {entry.shape} does not fit {len(gates)} gates of width {h}")
    rows, columns = entry.shape
    if what == "hr":
        cited = entry.cite(origin)
        return [
            NamedMatrix(
                name,
                layer,
                direction,
                "",
                "projection",
                cited,
                "discrete",
                (rows, columns),
                entry.stored.read,
            )
        ]
    role, records = "recurrent" if what == "hh" else "input", []
    for number, gate in enumerate(gates):
        part = slice(number * h, (number + 1) * h)
        title, place = (f"{name}[{gate}]", f"[{part.start}:{part.stop}]") if gate else (name, "")
        cited, read, height = entry.cite(origin, place), functools.partial(_rows, entry, part), h
        if what == "hh" and back is not None:
            title, height = f"{stem}weight_hr{suffix} @ {title}", back.shape[0]
            cited = f"{origin}: {back.key} @ {entry.cite(origin, place).removeprefix(f'{origin}: ')}"
            read = functools.partial(_projected, back, entry, part)
        shape = (height, columns)
        made = what == "hh" and back is not None
        records.append(NamedMatrix(title, layer, direction, gate, role, cited, "discrete", shape, read, made))
    return records


def leaky(record: NamedMatrix, leak: float, dt: float | None) -> NamedMatrix:
    """Give the operator of a leaky cell whose recurrent matrix is W.

    Parameters
    ----------
    record : NamedMatrix
        W, square.
    leak : float
        a, the share of the state that a step renews.
    dt : float or None
        Time of a step, where the cell is the Euler step of a continuous-time one.

    Returns
    -------
    NamedMatrix
        (1 - a) I + a W with dynamics "discrete"; with `dt`, (W - I)/τ with τ = dt / a and "continuous".
    """
    if dt is None:
        title, dynamics = f"{1 - leak:.6g} I + {leak:.6g} {record.name}", "discrete"
        said = f"leak {leak!r}"
    else:
        tau = dt / leak
        title, dynamics = f"({record.name} - I) / {tau:.6g}", "continuous"
        said = f"dt {dt!r}, leak {leak!r}"

    def read() -> Tensor:
        W = record.read().to(torch.float64)
        eye = torch.eye(len(W), dtype=torch.float64)
        return (1 - leak) * eye + leak * W if dt is None else (W - eye) / (dt / leak)

    origin = f"{record.origin}, {said}"
    return dataclasses.replace(record, name=title, origin=origin, dynamics=dynamics, read=read, derived=True)


def _rows(weight: Weight, rows: slice) -> Tensor:
    return weight.stored.read()[rows]


def _projected(back: Weight, weight: Weight, rows: slice) -> Tensor:
    return back.stored.read().to(torch.float64) @ weight.stored.read()[rows].to(torch.float64)


def _gates_and_width(hidden: Weight | None, back: Weight | None) -> tuple[tuple[str, ...], int]:
    """Read gates and width h off weight_hh: (gates x h, h), or (4 x h, p) beside weight_hr (p, h)."""
    if hidden is None:
        raise NotUnderstoodError(
            "weight_hh of the same layer is missing or unusable, so the gates are not known"
        )
    rows, columns = hidden.shape[0], hidden.shape[-1]
    h = columns if back is None else back.shape[-1]
    fits = len(hidden.shape) == 2 and rows % h == 0 and rows // h in GATES
    if back is not None:
        fits = fits and rows == 4 * h and back.shape == (columns, h)
    if not fits:
        raise NotUnderstoodError(
            f"weight_hh has shape {hidden.shape}, which is none of nn.RNN, nn.GRU or nn.LSTM"
        )
    return GATES[rows // h], h
