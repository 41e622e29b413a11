"""Networks as straight programs: a list of affine and elementwise operations, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from rnn.motion.cells import KINDS, UnrolledCell

ELEMENTWISE = {"tanh": 1, "sigmoid": 1, "relu": 1, "product": 2, "blend": 4}  # and how many arguments


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Input:
    """A part of the input, such as one step of a sequence.

    Attributes
    ----------
    width : int
        How many numbers.
    """

    width: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """The sum of W a over earlier values a, plus a bias.

    Attributes
    ----------
    width : int
        How many numbers.
    parts : tuple of (int, Tensor)
        Numbers of earlier operations, and the matrices W (width, width of a), float64; of a diagonal one the
        diagonal alone.
    bias : Tensor, shape (width,)
        The bias, float64.
    """

    width: int
    parts: tuple[tuple[int, Tensor], ...]
    bias: Tensor


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Elementwise:
    """A function of earlier values of the same width, entry by entry.

    Attributes
    ----------
    width : int
        How many numbers.
    kind : {"tanh", "sigmoid", "relu", "product", "blend"}
        The function; "product" is a b, "blend" is n + z d of (z, h, n, d), where d = h − n and 0 ≤ z ≤ 1.
    arguments : tuple of int
        Numbers of earlier operations.
    """

    width: int
    kind: str
    arguments: tuple[int, ...]


Operation = Input | Affine | Elementwise


class StraightProgram:
    """A network written out, operation by operation; each makes a vector from those before it.

    A single number of a vector is named by an index that counts through all vectors. Tensors of such indices
    say where a value of the network comes from: to slice, flatten or join values is to do so with them.

    Parameters
    ----------
    device : torch.device, optional
        Where the matrices are to be.

    Attributes
    ----------
    operations : list of Operation
        In order.

    Examples
    --------
    >>> program = StraightProgram()
    >>> x = program.input(2)
    >>> program.elementwise("tanh", program.affine([(x, torch.ones(3, 2))]))
    tensor([5, 6, 7])
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.operations: list[Operation] = []
        self._offsets: list[int] = [0]
        self._device = device

    def input(self, width: int) -> Tensor:
        """Add a part of the input.

        Parameters
        ----------
        width : int
            How many numbers.

        Returns
        -------
        Tensor of int64, shape (width,)
            Their indices.
        """
        return self._added(Input(width))

    def affine(self, parts: Sequence[tuple[Tensor, Tensor]], bias: Tensor | None = None) -> Tensor:
        """Add the sum of W a, plus a bias.

        Parameters
        ----------
        parts : sequence of (Tensor, Tensor)
            The indices of a, shape (n,), and W, shape (width, n), or its diagonal.
        bias : Tensor, shape (width,), optional
            The bias; 0 without it. There is one, or a part.

        Returns
        -------
        Tensor of int64, shape (width,)
            The indices of the result.
        """
        width = len(bias) if bias is not None else len(parts[0][1])
        matrices: dict[int, Tensor] = {}
        for indices, weight in parts:
            for number, part in self._by_operation(indices, weight.detach().to(self._device, torch.float64)):
                if number in matrices:  # as matrices, of which one may be a diagonal
                    matrices[number] = _matrix(matrices[number]) + _matrix(part)
                else:
                    matrices[number] = part
        offset = torch.zeros(width) if bias is None else bias.detach()
        return self._added(
            Affine(width, tuple(matrices.items()), offset.to(device=self._device, dtype=torch.float64))
        )

    def elementwise(self, kind: str, *arguments: Tensor) -> Tensor:
        """Add a function of one or more vectors, entry by entry.

        Parameters
        ----------
        kind : str
            A name of `ELEMENTWISE`.
        *arguments : Tensor of int64, shape (width,)
            Indices of what it is applied to.

        Returns
        -------
        Tensor of int64, shape (width,)
            The indices of the result.
        """
        whole = tuple(self.operation_of(indices) for indices in arguments)
        return self._added(Elementwise(len(arguments[0]), kind, whole))

    def operation_of(self, indices: Tensor) -> int:
        """Give the operation that makes exactly these numbers in this order; one is added if there is none.

        Parameters
        ----------
        indices : Tensor of int64, shape (n,)
            Any indices.

        Returns
        -------
        int
            Its number.
        """
        number = int(self._numbers(indices)[0])
        first = self._offsets[number]
        if indices.tolist() != list(range(first, self._offsets[number + 1])):
            indices = self.affine([(indices, torch.ones(len(indices)))])
            number = int(self._numbers(indices)[0])
        return number

    def step(self, cell: UnrolledCell, x_t: Tensor, state: Tensor) -> Tensor:
        """Add one step of a recurrent cell.

        Parameters
        ----------
        cell : UnrolledCell
            The cell.
        x_t : Tensor of int64, shape (F,)
            Indices of its input.
        state : Tensor of int64, shape (s,)
            Indices of its state.

        Returns
        -------
        Tensor of int64, shape (s,)
            Indices of the state after it.
        """
        h, c = state[: cell.output_size], state[cell.output_size :]
        rows = KINDS[cell.kind]
        i, w = cell.weight_ih.chunk(rows), cell.weight_hh.chunk(rows)
        zero = torch.zeros(len(cell.weight_ih)).to(cell.weight_ih)
        b = (zero if cell.bias_ih is None else cell.bias_ih).double().chunk(rows)
        k = (zero if cell.bias_hh is None else cell.bias_hh).double().chunk(rows)

        def gate(number: int, kind: str) -> Tensor:
            parts = [(x_t, i[number]), (h, w[number])]
            return self.elementwise(kind, self.affine(parts, b[number] + k[number]))

        if cell.kind in ("tanh", "relu"):
            return gate(0, cell.kind)
        eye = torch.ones(len(i[0]))
        if cell.kind == "euler":  # rounded where the cell rounds: the sum of the rates, then the step
            rate = gate(0, "tanh")
            if cell.weight_drift is not None:
                rate = self.affine([(h, cell.weight_drift), (rate, eye)])
            return self.affine([(h, eye), (rate, cell.eta * eye.double())])
        if cell.kind == "gru":
            r, z = gate(0, "sigmoid"), gate(1, "sigmoid")
            carried = self.elementwise("product", r, self.affine([(h, w[2])], k[2]))
            n = self.elementwise("tanh", self.affine([(x_t, i[2]), (carried, eye)], b[2]))
            return self.elementwise("blend", z, h, n, self.affine([(h, eye), (n, -eye)]))
        kept = self.elementwise("product", gate(1, "sigmoid"), c)
        written = self.elementwise("product", gate(0, "sigmoid"), gate(2, "tanh"))
        c = self.affine([(kept, eye), (written, eye)])
        h = self.elementwise("product", gate(3, "sigmoid"), self.elementwise("tanh", c))
        return torch.cat((h if cell.weight_hr is None else self.affine([(h, cell.weight_hr)]), c))

    def states(self, cell: UnrolledCell, frames: Sequence[Tensor]) -> list[Tensor]:
        """Add all steps of a cell from the state zero, in the order in which the frames are given.

        Parameters
        ----------
        cell : UnrolledCell
            The cell.
        frames : sequence of Tensor of int64, shape (F,)
            Indices of its inputs.

        Returns
        -------
        list of Tensor of int64, shape (s,)
            Indices of the state after each step.
        """
        h = self.affine([], torch.zeros(cell.output_size))
        rest = cell.state_size - cell.output_size
        state, found = torch.cat((h, self.affine([], torch.zeros(rest)))) if rest else h, []
        for x_t in frames:
            state = self.step(cell, x_t, state)
            found.append(state)
        return found

    def behind(self, last: int) -> set[int]:
        """Give the operations that an operation depends on, and itself.

        Parameters
        ----------
        last : int
            Its number.

        Returns
        -------
        set of int
            Their numbers.
        """
        found = {last}
        for number in range(last, -1, -1):
            if number in found:
                found |= set(sources(self.operations[number]))
        return found

    def _added(self, operation: Operation) -> Tensor:
        first = self._offsets[-1]
        self.operations.append(operation)
        self._offsets.append(first + operation.width)
        return torch.arange(first, first + operation.width)

    def _numbers(self, indices: Tensor) -> Tensor:
        return torch.searchsorted(torch.tensor(self._offsets), indices, right=True) - 1

    def _by_operation(self, indices: Tensor, weight: Tensor) -> list[tuple[int, Tensor]]:
        """Split a matrix by the operations that its columns belong to."""
        numbers, found = self._numbers(indices), []
        first = self._offsets[int(numbers[0])]
        if indices.tolist() == list(range(first, first + self.operations[int(numbers[0])].width)):
            return [(int(numbers[0]), weight)]
        weight = _matrix(weight)
        for number in numbers.unique().tolist():
            columns = (numbers == number).nonzero()[:, 0]
            units = indices[columns] - self._offsets[number]
            matrix = weight.new_zeros(len(weight), self.operations[number].width)
            matrix.index_add_(1, units.to(weight.device), weight[:, columns.to(weight.device)])
            found.append((number, matrix))
        return found


def _matrix(weight: Tensor) -> Tensor:
    return weight.diag() if weight.ndim == 1 else weight


def sources(operation: Operation) -> tuple[int, ...]:
    """Give the operations that one takes its values from.

    Parameters
    ----------
    operation : Operation
        Any.

    Returns
    -------
    tuple of int
        Their numbers.
    """
    if isinstance(operation, Affine):
        return tuple(number for number, _ in operation.parts)
    return operation.arguments if isinstance(operation, Elementwise) else ()
