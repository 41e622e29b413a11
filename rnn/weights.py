"""The one door from a trained network (module, state_dict, file) to named matrices, gate by gate."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rnn.models import FeedForward
from rnn.sources import read_source
from rnn.tensors import ANY_ARRAY, NotUnderstoodError, Stored, Tensors
from spectra.errors import UnsupportedModelError

GATES = {1: ("",), 3: ("r", "z", "n"), 4: ("i", "f", "g", "o")}  # in the order in which torch stacks them

_RECURRENT = re.compile(
    r"(?P<sort>weight|bias)_(?P<what>ih|hh|hr)(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?"
)
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NamedMatrix:
    """One matrix of a trained network, and where it stood.

    Attributes
    ----------
    name : str
        Key of the tensor without wrappers, with the gate in brackets: ``rnn.weight_hh_l0[n]``.
    layer : int
        Layer of a recurrent stack, else 0.
    direction : {"forward", "reverse"}
        Direction of a recurrent layer, else "forward".
    gate : {"i", "f", "g", "o", "r", "z", "n", ""}
        Gate of an LSTM (i, f, g, o) or GRU (r, z, n), else "".
    role : {"recurrent", "input", "linear", "embedding", "convolution", "attention", "projection"}
        What it does.
    matrix : ndarray of float64, shape (out, in)
        Its values; a convolution as (out channels, in channels x kernel), an embedding as (dimensions,
        words).
    origin : str
        Source, key and rows it was taken from.
    """

    name: str
    layer: int
    direction: str
    gate: str
    role: str
    matrix: NDArray[np.float64]
    origin: str

    def __repr__(self) -> str:
        """One line."""
        rows, columns = self.matrix.shape
        return f"NamedMatrix({self.name}, {self.role}, {rows} x {columns})"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NamedMatrices(Sequence[NamedMatrix]):
    """The matrices of a network in order, and what was not understood.

    Attributes
    ----------
    records : tuple of NamedMatrix
        The matrices.
    unrecognised : list of (str, str)
        Each entry that this package does not understand or cannot use, with the reason. Vectors (biases,
        scales, running statistics) and plain data are understood to be no matrices and are not listed.
    """

    records: tuple[NamedMatrix, ...]
    unrecognised: list[tuple[str, str]]

    @overload
    def __getitem__(self, index: int | str) -> NamedMatrix: ...
    @overload
    def __getitem__(self, index: slice) -> NamedMatrices: ...
    def __getitem__(self, index: int | str | slice) -> NamedMatrix | NamedMatrices:
        """Give one matrix, by place or name, or some of them.

        Returns
        -------
        NamedMatrix or NamedMatrices
            One for an int or a name, several for a slice.

        Raises
        ------
        KeyError
            If no matrix has this name.
        """
        if isinstance(index, str):
            found = [record for record in self.records if record.name == index]
            if not found:
                names = ", ".join(record.name for record in self.records)
                raise KeyError(f"no matrix is named {index!r}; there are {names}")
            return found[0]
        if isinstance(index, slice):
            return NamedMatrices(self.records[index], self.unrecognised)
        return self.records[index]

    def __len__(self) -> int:
        """Give the number of matrices."""
        return len(self.records)

    def __repr__(self) -> str:
        """One line for each matrix and each entry that was not understood."""
        noun = "matrix" if len(self.records) == 1 else "matrices"
        lines = [f"{len(self.records)} {noun}, {len(self.unrecognised)} entries not understood"]
        lines += [
            f"  {record.name}: {record.role}, {' x '.join(map(str, record.matrix.shape))}" for record in self
        ]
        lines += [f"  not understood: {key}: {reason}" for key, reason in self.unrecognised]
        return "\n".join(lines)


def named_matrices(source: Any) -> NamedMatrices:
    """Give every weight matrix of a trained network by name, recurrent ones gate by gate.

    Parameters
    ----------
    source : nn.Module, mapping, or path
        A module, a state_dict, a training checkpoint with nested dictionaries, or a path to a ``.pt``,
        ``.pth``, ``.npz`` or ``.npy`` file. Nothing in it is changed, no code of a file is run.

    Returns
    -------
    NamedMatrices
        A sequence of `NamedMatrix`, with what was not understood in `unrecognised`.

    Raises
    ------
    UnsupportedModelError
        If the source is no model at all.
    ValueError
        If a file is damaged.
    FileNotFoundError
        If there is no file at the path.

    Notes
    -----
    Recurrent layers are found by torch's names (``weight_hh_l0``, ``weight_hh_l1_reverse``, of cells
    ``weight_hh``); the number of gates follows from the shape. An LSTM with ``proj_size`` feeds
    h = W_hr (o tanh c) back into its gates; in terms of h the square matrix of a gate is W_hr W_gate.
    Without the module, a ``weight`` with two dimensions is taken to be linear, or an embedding if its layer
    is called so, and with more dimensions a convolution. Arrays of ``.npz`` and ``.npy`` files may have any
    name and are taken to be (out, in).

    Examples
    --------
    >>> from rnn import named_matrices
    >>> for record in named_matrices(torch.nn.GRU(3, 5)):
    ...     print(record)
    NamedMatrix(weight_ih_l0[r], input, 5 x 3)
    NamedMatrix(weight_ih_l0[z], input, 5 x 3)
    NamedMatrix(weight_ih_l0[n], input, 5 x 3)
    NamedMatrix(weight_hh_l0[r], recurrent, 5 x 5)
    NamedMatrix(weight_hh_l0[z], recurrent, 5 x 5)
    NamedMatrix(weight_hh_l0[n], recurrent, 5 x 5)

    By name:

    >>> gates = {record.name: record.matrix for record in named_matrices(torch.nn.GRU(3, 5))}
    >>> gates["weight_hh_l0[n]"].shape
    (5, 5)
    """
    table = read_source(source)
    usable, unrecognised = _usable_matrices(table)
    records: list[NamedMatrix] = []
    for name, entry in usable.items():
        try:
            if _RECURRENT.fullmatch(name.rpartition(".")[2]):
                records += _recurrent_records(usable, name, table.origin)
            else:
                records += _plain_records(name, entry, table.kinds.get(entry.key, ""), table.origin)
        except NotUnderstoodError as reason:
            unrecognised.append((entry.key, str(reason)))
    return NamedMatrices(tuple(records), unrecognised)


def candidate_matrix(model: nn.Module) -> NamedMatrix:
    """Give the matrix that carries the state of a network: W_hh, of a GRU gate n, of an LSTM gate g.

    Parameters
    ----------
    model : nn.Module
        A network with one recurrent layer in one direction, or, without any, with one square linear matrix
        (of `FeedForward` the hidden one).

    Returns
    -------
    NamedMatrix
        The matrix.

    Raises
    ------
    UnsupportedModelError
        If there is none, or more than one.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model
    >>> candidate_matrix(build_model(ModelConfig("lstm", features=3, steps=5)))
    NamedMatrix(weight_hh_l0[g], recurrent, 32 x 32)
    """
    found = named_matrices(model)
    recurrent = [record for record in found if record.role == "recurrent" and record.gate in {"", "n", "g"}]
    square = [record for record in found if record.role == "linear" and len(set(record.matrix.shape)) == 1]
    if isinstance(model, FeedForward):
        square = [record for record in square if record.name == "hidden.weight"]
    candidates = recurrent or square
    if len(candidates) != 1:
        names = ", ".join(record.name for record in candidates) or "none"
        raise UnsupportedModelError(
            f"model has {len(candidates)} matrices that carry its state ({names}); expected one: "
            "choose from rnn.named_matrices(model)"
        )
    return candidates[0]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    key: str
    values: NDArray[np.float64]


def _usable_matrices(table: Tensors) -> tuple[dict[str, _Entry], list[tuple[str, str]]]:
    """Give the tensors of two or more dimensions, by key without wrappers, and why others are of no use."""
    usable: dict[str, _Entry] = {}
    unrecognised = list(table.unrecognised)
    for key, stored in table.entries.items():
        leaf = key.rpartition(".")[2]
        if len(stored.shape) < 2 or leaf.startswith("bias") or table.kinds.get(key) == "scale":
            continue
        bare = _WRAPPERS.sub("", key)
        try:
            usable[key if bare in usable else bare] = _Entry(key, _float_values(stored))
        except NotUnderstoodError as reason:
            unrecognised.append((key, str(reason)))
    return usable, unrecognised


def _float_values(stored: Stored) -> NDArray[np.float64]:
    tensor = stored.read()
    if not tensor.dtype.is_floating_point:
        raise NotUnderstoodError(f"numbers of type {stored.dtype}, not real weights")
    if tensor.numel() == 0:
        raise NotUnderstoodError(f"empty, shape {tuple(tensor.shape)}")
    values = tensor.detach().to("cpu", torch.float64, copy=True).numpy()
    if not np.isfinite(values).all():
        raise NotUnderstoodError(f"{int((~np.isfinite(values)).sum())} NaN or infinite entries")
    return values


def _recurrent_records(usable: dict[str, _Entry], name: str, origin: str) -> list[NamedMatrix]:
    """Split one stacked tensor of a recurrent layer into its gates."""
    prefix, dot, leaf = name.rpartition(".")
    match = _RECURRENT.fullmatch(leaf)
    assert match is not None
    what, layer = match["what"], int(match["layer"] or 0)
    direction = "reverse" if match["reverse"] else "forward"
    stem, suffix = prefix + dot, leaf.removeprefix(f"weight_{what}")
    entry, back = usable[name], usable.get(f"{stem}weight_hr{suffix}")
    gates, h = _gates_and_width(usable.get(f"{stem}weight_hh{suffix}"), back)
    if entry.values.ndim != 2 or (what != "hr" and entry.values.shape[0] != len(gates) * h):
        raise NotUnderstoodError(f"shape {entry.values.shape} does not fit {len(gates)} gates of width {h}")
    if what == "hr":
        return [NamedMatrix(name, layer, direction, "", "projection", entry.values, f"{origin}: {entry.key}")]
    records = []
    for number, gate in enumerate(gates):
        rows, label = slice(number * h, (number + 1) * h), f"[{gate}]" if gate else ""
        matrix = np.ascontiguousarray(entry.values[rows])
        title, where = name + label, entry.key + (f"[{rows.start}:{rows.stop}]" if gate else "")
        if what == "hh" and back is not None:
            matrix = back.values @ matrix
            title, where = f"{stem}weight_hr{suffix} @ {title}", f"{back.key} @ {where}"
        role = "recurrent" if what == "hh" else "input"
        records.append(NamedMatrix(title, layer, direction, gate, role, matrix, f"{origin}: {where}"))
    return records


def _gates_and_width(hidden: _Entry | None, back: _Entry | None) -> tuple[tuple[str, ...], int]:
    """Read gates and width h off weight_hh: (gates x h, h), or (4 x h, p) beside weight_hr (p, h)."""
    if hidden is None:
        raise NotUnderstoodError(
            "weight_hh of the same layer is missing or unusable, so the gates are not known"
        )
    rows, columns = hidden.values.shape[0], hidden.values.shape[-1]
    h = columns if back is None else back.values.shape[-1]
    fits = hidden.values.ndim == 2 and rows % h == 0 and rows // h in GATES
    if back is not None:
        fits = fits and rows == 4 * h and back.values.shape == (columns, h)
    if not fits:
        raise NotUnderstoodError(
            f"weight_hh has shape {hidden.values.shape}, which is none of nn.RNN, nn.GRU or nn.LSTM"
        )
    return GATES[rows // h], h


def _plain_records(name: str, entry: _Entry, kind: str, origin: str) -> list[NamedMatrix]:
    """Name one tensor of a layer that is not recurrent."""
    layer, _, leaf = name.rpartition(".")
    values, where = entry.values, f"{origin}: {entry.key}"
    if kind.startswith("!"):
        raise NotUnderstoodError(kind.removeprefix("!").strip())
    if "parametrizations." in name or leaf.endswith(("_g", "_v")):
        raise NotUnderstoodError(
            "a factor of a parametrised weight; call torch.nn.utils.parametrize.remove_parametrizations first"
        )
    if leaf == "in_proj_weight" and values.ndim == 2 and values.shape[0] == 3 * values.shape[1]:
        parts = zip("qkv", np.split(values, 3), strict=True)
        return [
            NamedMatrix(f"{name}[{part}]", 0, "forward", "", "attention", m.copy(), where)
            for part, m in parts
        ]
    if leaf in {"q_proj_weight", "k_proj_weight", "v_proj_weight"} and values.ndim == 2:
        return [NamedMatrix(name, 0, "forward", "", "attention", values, where)]
    if leaf != "weight" and not (kind == ANY_ARRAY and values.ndim == 2):
        raise NotUnderstoodError(
            "its name follows no convention; pass {'weight_hh': W} or {'weight': W} to read it"
        )
    if values.ndim > 2:
        filters = values.swapaxes(0, 1) if kind == "transposed convolution" else values
        flat = np.ascontiguousarray(filters).reshape(len(filters), -1)
        return [NamedMatrix(name, 0, "forward", "", "convolution", flat, where)]
    if kind == "embedding" or (not kind and "embed" in layer.rpartition(".")[2].lower()):
        return [NamedMatrix(name, 0, "forward", "", "embedding", np.ascontiguousarray(values.T), where)]
    return [NamedMatrix(name, 0, "forward", "", "linear", values, where)]
