"""The matrices of a network in training that are looked at again and again: chosen once, read cheaply."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rnn.weights import NamedMatrices, NamedMatrix, named_matrices
from spectra.errors import UnsupportedModelError

Matrices = dict[str, NDArray[np.float64]]


def tracked_matrices(model: nn.Module, names: Iterable[str] | None) -> Sequence[NamedMatrix]:
    """Choose square matrices of a network by name; by default all that are recurrent.

    Parameters
    ----------
    model : nn.Module
        The network.
    names : iterable of str or None
        Names that `named_matrices` gives.

    Returns
    -------
    sequence of NamedMatrix
        The matrices, each once.

    Raises
    ------
    TypeError
        If `names` is one string.
    ValueError
        If a name is unknown, its matrix is not square, or there is no name.
    UnsupportedModelError
        If no name is given and the model has no recurrent matrix.
    """
    if isinstance(names, str):
        raise TypeError(f"matrices is {names!r}; expected several names: [{names!r}]")
    found = named_matrices(model)
    square = {record.name: record for record in found if len(set(record.matrix.shape)) == 1}
    if names is None:
        chosen = [record for record in square.values() if record.role == "recurrent"]
        if not chosen:
            raise UnsupportedModelError(
                "model has no recurrent matrix; choose some with matrices=[...] from "
                f"{_listed(found, square)}"
            )
        return chosen
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in square:
            raise ValueError(f"matrices holds {name!r}; expected some of {_listed(found, square)}")
    if not wanted:
        raise ValueError(f"matrices is empty; expected some of {_listed(found, square)}, or None")
    return [square[name] for name in wanted]


def matrix_reader(model: nn.Module, chosen: Sequence[NamedMatrix]) -> Callable[[], tuple[Matrices, str]]:
    """Give a function that reads the present values of chosen matrices, and no others where that can be.

    Parameters
    ----------
    model : nn.Module
        The network.
    chosen : sequence of NamedMatrix
        What to read.

    Returns
    -------
    callable
        Takes nothing; gives the matrices by name, without those that cannot be read now, and for these the
        reasons in one line.
    """
    keys = {key for record in chosen for key in _keys(record)}

    def some() -> tuple[Matrices, str]:
        parameters = dict(model.named_parameters(remove_duplicate=False))
        return _by_name(named_matrices({key: parameters[key] for key in keys}), chosen)

    def all_of_them() -> tuple[Matrices, str]:
        return _by_name(named_matrices(model), chosen)

    try:
        tried, _ = some()
    except (KeyError, ValueError, UnsupportedModelError):  # computed weights, buffers
        return all_of_them
    same = all(
        record.name in tried and np.array_equal(tried[record.name], record.matrix) for record in chosen
    )
    return some if same else all_of_them


def _keys(record: NamedMatrix) -> list[str]:
    """Give the tensors that a matrix comes from, off its origin: ``GRU: weight_hh_l0[0:5]``."""
    return [re.sub(r"\[[\d:]*\]$", "", part) for part in record.origin.partition(": ")[2].split(" @ ")]


def _by_name(found: NamedMatrices, chosen: Sequence[NamedMatrix]) -> tuple[Matrices, str]:
    present = {record.name: record.matrix for record in found}
    reasons = "; ".join(f"{key}: {reason}" for key, reason in found.unrecognised)
    return {record.name: present[record.name] for record in chosen if record.name in present}, reasons


def _listed(found: NamedMatrices, square: dict[str, NamedMatrix]) -> str:
    not_read = [f"{key} (not read: {reason})" for key, reason in found.unrecognised]
    return ", ".join([*square, *not_read]) or "none: it has no square matrix"
