"""Named matrices of a trained network: records that read their values when asked, and their sequence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
    origin : str
        Source, key and rows it was taken from.
    dynamics : {"discrete", "continuous"}
        Whether the matrix is the map of one step, or the rate of change of the state.
    shape : tuple of int
        (out, in); a convolution as (out channels, in channels x kernel), an embedding as (dimensions,
        words).
    read : callable
        Takes nothing, gives the values as a tensor of this shape.
    derived : bool
        Whether it is made from what is stored: the operator of a leaky cell, or the product of two weights.
    """

    name: str
    layer: int
    direction: str
    gate: str
    role: str
    origin: str
    dynamics: str
    shape: tuple[int, int]
    read: Callable[[], Tensor]
    derived: bool = False

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Values as a fresh float64 array of shape (out, in), read from the source at each access.

        Raises
        ------
        ValueError
            If the file has changed since it was opened, or the values do not fit into float64.
        """
        with torch.inference_mode(False), torch.no_grad():
            values = self.read().detach().to("cpu", torch.float64, copy=True).contiguous().numpy()
        if values.shape != self.shape or not np.isfinite(values).all():
            raise ValueError(
                f"{self.name} from {self.origin} no longer holds {self.shape[0]} x {self.shape[1]} finite "
                "numbers in float64; if the file has changed, call rnn.named_matrices again"
            )
        return values

    def __repr__(self) -> str:
        """One line."""
        rows, columns = self.shape
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
    origin : str
        Class of the module, or name of the file.
    """

    records: tuple[NamedMatrix, ...]
    unrecognised: list[tuple[str, str]]
    origin: str

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
            return NamedMatrices(self.records[index], self.unrecognised, self.origin)
        return self.records[index]

    def __len__(self) -> int:
        """Give the number of matrices."""
        return len(self.records)

    def __repr__(self) -> str:
        """One line for each matrix and each entry that was not understood."""
        noun = "matrix" if len(self.records) == 1 else "matrices"
        lines = [f"{len(self.records)} {noun}, {len(self.unrecognised)} entries not understood"]
        lines += [f"  {record.name}: {record.role}, {' x '.join(map(str, record.shape))}" for record in self]
        lines += [f"  not understood: {key}: {reason}" for key, reason in self.unrecognised]
        return "\n".join(lines)
