"""The one door from a trained network (module, state_dict, file) to named matrices, gate by gate."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnn.models import FeedForward
from rnn.reading.attention import conv1d_names, fused_records, is_attention, is_fused
from rnn.reading.factors import Weight, whole_weights
from rnn.reading.gates import GATES, is_recurrent, leaky, recurrent_records
from rnn.reading.matrices import NamedMatrices, NamedMatrix
from rnn.reading.sources import read_source
from rnn.reading.tensors import ANY_ARRAY, NotUnderstoodError
from spectra.checks import one_of, positive
from spectra.errors import UnsupportedModelError

__all__ = ["GATES", "NamedMatrices", "NamedMatrix", "candidate_matrix", "named_matrices"]

_EMBEDDING = re.compile(r"embed|(?:^|_)emb$|^wte$|^wpe$", re.IGNORECASE)
_EXPERTS = re.compile(r"expert", re.IGNORECASE)
_MOST = 5  # dimensions of the largest convolution: channels and three of space
_UNKNOWN = {"", ANY_ARRAY}  # kinds that leave the reading to the name


def named_matrices(
    source: Any,
    *,
    recurrent: str | Sequence[str] | None = None,
    orientation: str | None = None,
    leak: float | None = None,
    dt: float | None = None,
) -> NamedMatrices:
    """Give every weight matrix of a trained network by name, recurrent ones gate by gate.

    Parameters
    ----------
    source : nn.Module, mapping, or path
        A module, a state_dict, a training checkpoint with nested dictionaries, or a path to a file or folder
        in one of the formats of `rnn.reading.sources`. Nothing in it is changed, no code of a file is run.
    recurrent : str or sequence of str, optional
        Names of square tensors that are recurrent matrices of ungated cells, where their names do not say so.
    orientation : {"out_in", "in_out"}, optional
        How arrays of ``.npz`` and ``.npy`` files are stored whose names follow no convention; left out,
        "out_in".
    leak : float, optional
        The ungated cells are leaky, h' = (1 - a) h + a f(W h + ...), with this a in (0, 1]: their recurrent
        matrices are given as the operator (1 - a) I + a W.
    dt : float, optional
        The ungated cells are Euler steps of this length of τ dh/dt = -h + f(W h + ...), with the time
        constant τ = dt / leak (leak 1 when left out): their recurrent matrices are given as the operator
        (W - I)/τ, with dynamics "continuous", in units of 1/dt.

    Returns
    -------
    NamedMatrices
        A sequence of `NamedMatrix`, with what was not understood in `unrecognised`.

    Raises
    ------
    UnsupportedModelError
        If the source is no model at all.
    ValueError
        If a file is damaged, an option is out of range, or nothing in the source uses it.
    TypeError
        If `leak` or `dt` is no number.
    FileNotFoundError
        If there is no file at the path.

    Notes
    -----
    Recurrent layers are found by torch's names (``weight_hh_l0``, ``weight_hh_l1_reverse``, of cells
    ``weight_hh``); the number of gates follows from the shape. An LSTM with ``proj_size`` feeds
    h = W_hr (o tanh c) back into its gates; in terms of h the square matrix of a gate is W_hr W_gate.
    Without the module, a ``weight`` with two dimensions is taken to be linear, (out, in), or an embedding if
    its layer is called so, and with more dimensions a convolution. Names of wrappers (``module.``,
    ``_orig_mod.``, ``_fsdp_wrapped_module.``) are left out.

    Weights that stand in several tensors are composed: see `rnn.reading.factors.whole_weights` for files, and
    `rnn.reading.modules.tensors_of_module` for live modules. For query, key and value see
    `rnn.reading.attention.fused_records`.

    Each tensor is read once, one after the other, in its own precision, to see that it is finite; nothing of
    a file is kept. `NamedMatrix.matrix` reads again. A module or mapping is copied as it is now.

    A live module is not asked whether its cell is leaky: `leak` and `dt` come from whoever trained it. The
    operators are those of the linearised cell with f' = 1.

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

    A leaky cell:

    >>> W = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> (cell,) = named_matrices({"weight_hh": W}, leak=0.25)
    >>> print(cell)
    NamedMatrix(0.75 I + 0.25 weight_hh, recurrent, 2 x 2)
    >>> cell.matrix.tolist()
    [[0.75, -0.25], [0.25, 0.75]]
    """
    _check_options(orientation, leak, dt)
    table = read_source(source)
    found, unrecognised = whole_weights(table)
    usable = _usable(found, unrecognised)
    transposed = {name for name, weight in usable.items() if weight.kind.startswith("transposed linear")}
    transposed |= conv1d_names(usable)
    named = _named_recurrent(usable, recurrent, table.origin)
    free = {name for name, weight in usable.items() if _is_free(weight)}
    free |= {name for name in named if usable[name].kind == ANY_ARRAY}
    if orientation is not None and not free:
        raise ValueError(
            f"orientation {orientation!r} has no use: source ({table.origin}) holds no array of an .npz or "
            ".npy file whose name follows no convention; leave it out"
        )
    transposed |= free if orientation == "in_out" else set()
    records: list[NamedMatrix] = []
    for name, weight in usable.items():
        try:
            if name in named:
                turned = name in transposed
                plain = _plain_records(usable, name, table.origin, transposed=turned, known=True)
                records += [dataclasses.replace(record, role="recurrent") for record in plain]
            elif is_recurrent(name):
                records += recurrent_records(usable, name, table.origin)
            elif is_fused(name) and len(weight.shape) == 2:
                records += fused_records(
                    usable, name, table.config, table.origin, transposed=name in transposed
                )
            else:
                records += _plain_records(usable, name, table.origin, transposed=name in transposed)
        except NotUnderstoodError as reason:
            unrecognised.append((weight.key, str(reason)))
    if leak is not None or dt is not None:
        records = _leaky(records, table.origin, leak, dt)
    return NamedMatrices(tuple(records), [*table.unrecognised, *unrecognised], table.origin)


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
    square = [record for record in found if record.role == "linear" and len(set(record.shape)) == 1]
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


def _check_options(orientation: str | None, leak: float | None, dt: float | None) -> None:
    if orientation is not None:
        one_of(orientation, "orientation", ("out_in", "in_out"))
    if leak is not None and positive(leak, "leak") > 1:
        raise ValueError(f"leak is {leak}; expected 0 < leak <= 1, the share of the state a step renews")
    if dt is not None:
        positive(dt, "dt")


def _named_recurrent(
    usable: dict[str, Weight], recurrent: str | Sequence[str] | None, origin: str
) -> set[str]:
    """Give the names that the caller says are recurrent."""
    named = {recurrent} if isinstance(recurrent, str) else set(recurrent or ())
    for name in named:
        if name not in usable:
            raise ValueError(
                f"recurrent names {name!r}, which source ({origin}) does not hold; it holds "
                f"{', '.join(usable)}"
            )
        shape = usable[name].shape
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(
                f"recurrent names {name!r} of shape {tuple(shape)}; expected a square matrix, of a cell "
                "without gates"
            )
    return named


def _usable(found: dict[str, Weight], unrecognised: list[tuple[str, str]]) -> dict[str, Weight]:
    """Give the weights of two or more dimensions that are finite real numbers; list the others."""
    usable = {}
    for name, weight in found.items():
        leaf = re.split(r"[./]", name)[-1]
        if len(weight.shape) < 2 or leaf.startswith("bias") or weight.kind == "scale":
            continue
        try:
            _check_values(weight)
        except NotUnderstoodError as reason:
            unrecognised.append((weight.key, str(reason)))
        else:
            usable[name] = weight
    return usable


def _check_values(weight: Weight) -> None:
    """Read the values once, and see that they are finite real numbers."""
    if weight.kind.startswith("!"):
        raise NotUnderstoodError(weight.kind.removeprefix("!").strip())
    values = weight.stored.read()
    if not values.dtype.is_floating_point:
        raise NotUnderstoodError(f"numbers of type {weight.stored.dtype}, not real weights")
    if values.numel() == 0:
        raise NotUnderstoodError(f"empty, shape {tuple(values.shape)}")
    try:
        finite = torch.isfinite(values.float() if values.element_size() == 1 else values)
    except NotImplementedError:
        raise NotUnderstoodError(f"numbers of type {weight.stored.dtype}, which torch cannot widen") from None
    if not finite.all():
        raise NotUnderstoodError(f"{int((~finite).sum())} NaN or infinite entries")


def _is_free(weight: Weight) -> bool:
    """Tell whether an array's name follows no convention, and nothing needs it to."""
    leaf = weight.name.rpartition(".")[2]
    named = leaf == "weight" or is_recurrent(weight.name) or is_fused(weight.name)
    return weight.kind == ANY_ARRAY and len(weight.shape) == 2 and not named


def _leaky(
    records: list[NamedMatrix], origin: str, leak: float | None, dt: float | None
) -> list[NamedMatrix]:
    if not any(record.role == "recurrent" and not record.gate for record in records):
        raise ValueError(
            f"{'leak' if dt is None else 'dt'} has no use: source ({origin}) holds no recurrent matrix "
            "without gates; name the one that is meant by recurrent= (--recurrent)"
        )
    changed = []
    for record in records:
        if record.role == "recurrent" and not record.gate:
            record = leaky(record, 1.0 if leak is None else leak, dt)
            if dt is not None and not torch.isfinite(record.read()).all():
                raise ValueError(
                    f"dt is {dt}: {record.name} overflows float64; measure time in smaller units"
                )
        changed.append(record)
    return changed


def _plain_records(
    weights: dict[str, Weight], name: str, origin: str, *, transposed: bool, known: bool = False
) -> list[NamedMatrix]:
    """Name one tensor of a layer that is neither recurrent nor fused; `known` where the caller names it."""
    weight, leaf = weights[name], name.rpartition(".")[2]
    layer, free = name.rpartition(".")[0], _is_free(weights[name])
    attention = is_attention(name, weights.keys())
    if len(weight.shape) > 2 and not (leaf == "weight" and _may_be_convolution(weight)):
        raise NotUnderstoodError(
            f"shape {weight.shape} is not that of one matrix; pass its slices one by one, {{'weight': W[0]}}"
        )
    if leaf != "weight" and not free and not attention and not known:
        raise NotUnderstoodError(
            "its name follows no convention; pass {'weight_hh': W} or {'weight': W} to read it"
        )
    shape, cited = weight.shape, weight.cite(origin)
    if len(shape) > 2:
        axis = 1 if weight.kind.startswith("transposed") else 0
        flat = (shape[axis], math.prod(shape) // shape[axis])
        whole = functools.partial(_flattened, weight, axis)
        return [NamedMatrix(name, 0, "forward", "", "convolution", cited, "discrete", flat, whole)]
    role = "attention" if attention else "linear"
    if weight.kind == "embedding" or (
        weight.kind in _UNKNOWN and _EMBEDDING.search(layer.rpartition(".")[2])
    ):
        role, transposed = "embedding", True
    elif free:
        cited += ", taken as (in, out)" if transposed else ", taken as (out, in)"
    rows, columns = shape[::-1] if transposed else shape
    read = functools.partial(_turned, weight) if transposed else weight.stored.read
    return [NamedMatrix(name, 0, "forward", "", role, cited, "discrete", (rows, columns), read)]


def _may_be_convolution(weight: Weight) -> bool:
    if weight.kind in _UNKNOWN:
        return len(weight.shape) <= _MOST and not _EXPERTS.search(weight.name)
    return weight.kind in {"convolution", "transposed convolution"}


def _flattened(weight: Weight, axis: int) -> Tensor:
    return weight.stored.read().movedim(axis, 0).flatten(1)


def _turned(weight: Weight) -> Tensor:
    return weight.stored.read().T
