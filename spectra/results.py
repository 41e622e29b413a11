"""Frozen records: what the measures return, with certificates, and how they are saved and loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@contextlib.contextmanager
def replaced_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file whole or not at all: under a temporary name beside it, then renamed.

    Parameters
    ----------
    path : path-like
        Where to write; an existing file is replaced in one step, and a link to one stays a link.

    Yields
    ------
    binary file
        To be written to.

    Raises
    ------
    ValueError
        If there is something that is neither a file nor a folder, such as a device.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        raise ValueError(f"{path} is no regular file, and would be destroyed; name a file to write")
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class Record:
    """A frozen result that saves to a ``.npz`` file and loads from it, without pickling."""

    __slots__ = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record to `path` (a ``.npz`` file), whole or not at all.

        Parameters
        ----------
        path : path-like
            Where to write; an existing file is replaced in one step.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        with replaced_file(path) as file:
            np.savez_compressed(file, record=type(self).__name__, **fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record that `save` wrote.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        Record
            A record of the class it was saved from.

        Raises
        ------
        ValueError
            If the file is no saved record of this class, or is damaged.
        """
        stored = Path(path).read_bytes()
        try:
            with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
                content = dict(archive)
            name = str(content["record"])
            known: list[type[Any]] = [
                cls,
                *reversed(Record.__subclasses__()),
            ]  # with slots the class is made anew
            kind = next(found for found in known if found.__name__ == name)
            fields = {field.name: field.type for field in dataclasses.fields(kind)}
            stored_fields = [name for name in fields if name in content]  # an older file may lack the newest
            record = kind(**{name: _restored(content[name], str(fields[name])) for name in stored_fields})
            record._check_shapes()
        except Exception:  # a damaged archive fails in a dozen ways
            raise ValueError(
                f"{path} is no saved result of this package, or it is damaged; save it again"
            ) from None
        if not isinstance(record, cls):
            raise ValueError(
                f"{path} holds a record {kind.__name__}, no {cls.__name__}; use {kind.__name__}.load"
            )
        return record

    def _check_shapes(self) -> None:
        """Raise ValueError where the fields of a record that was loaded do not fit each other."""

    def _repr_html_(self) -> str:
        return _html_table(str(self), self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        rows = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            small = not isinstance(value, np.ndarray) or value.size <= 4
            rows.append((field.name, str(value) if small else f"array {value.shape} {value.dtype}"))
        return rows


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pseudospectrum(Record):
    """Smallest singular value of zI - A on a grid of points z = x + iy, each value with its interval.

    Attributes
    ----------
    x, y : ndarray
        Real and imaginary parts of the grid points.
    sigma_min : ndarray, shape (len(y), len(x))
        σ_min(zI - A) at ``x[ix] + 1j * y[iy]``, indexed ``[iy, ix]``.
    lower, upper : ndarray, shape (len(y), len(x))
        The interval that holds the true value: `upper` is proven up to `floor` (which it includes); `lower`
        holds with probability at least 1 - `delta` for all points together.
    computed : ndarray of bool, shape (len(y), len(x))
        False where a point was skipped: there neighbours prove on which side of the wanted contours it
        lies, and `sigma_min` is some value inside the interval.
    eigenvalues : ndarray
        Eigenvalues of A.
    epsilons : ndarray
        The levels asked for, empty when all were.
    floor : float
        Below this a value is rounding noise: the largest backward error of the computation.
    storage_floor : float
        Below this a value depends on digits that the type of A's entries did not keep, u ‖A‖ with its unit
        roundoff u: 0 for float64 and integers, about 6e-8 ‖A‖ for weights stored in float32.
    rtol : float
        The relative error asked for: Lanczos residuals are below this share of their Ritz value.
    delta : float
        Bound on the probability that any `lower` on the grid fails (over the random starting vectors).
    iterations : int
        Lanczos steps taken over all points.
    """

    x: Floats
    y: Floats
    sigma_min: Floats
    lower: Floats
    upper: Floats
    computed: NDArray[np.bool_]
    eigenvalues: NDArray[np.complex128]
    epsilons: Floats
    floor: float
    storage_floor: float
    rtol: float
    delta: float
    iterations: int

    def _check_shapes(self) -> None:
        shape = (*self.y.shape, *self.x.shape)
        grids = (self.sigma_min, self.lower, self.upper, self.computed)
        if len(shape) != 2 or any(grid.shape != shape for grid in grids):
            raise ValueError("grids of another shape than x and y")

    def __str__(self) -> str:
        """One line."""
        ny, nx = self.sigma_min.shape
        low, high = float(self.sigma_min.min()), float(self.sigma_min.max())
        return (
            f"Pseudospectrum on a {ny} x {nx} grid, {len(self.eigenvalues)} eigenvalues, "
            f"sigma_min from {low:.3g} to {high:.3g}, floor {self.floor:.1g}, "
            f"{self.computed.mean():.0%} computed"
        )

    __repr__ = __str__


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Extremum(Record):
    """An extreme value with its certificate; ``float(r) == r.value``.

    Attributes
    ----------
    value : float
        The value found.
    lower, upper : float
        Interval that holds the truth; the function that made it says how far it is proven.
    points : ndarray of complex
        Where the value is attained.
    residual : float
        What is left over there (each function says of which equation).
    steps : int
        Outer iterations taken.
    method : str
        How the value was found and certified, where there is a choice: "samples" (σ_min at many points of a
        curve) or "eigenvalues" (of a matrix of order 2n); empty for a direct formula.
    """

    value: float
    lower: float
    upper: float
    points: NDArray[np.complex128]
    residual: float
    steps: int
    method: str = ""

    def __float__(self) -> float:
        """Give the value."""
        return self.value

    def __str__(self) -> str:
        """One line."""
        return f"{self.value:.12g} in [{self.lower:.12g}, {self.upper:.12g}], residual {self.residual:.1g}"

    def __repr__(self) -> str:
        """One line with the class."""
        return f"Extremum({self})"


_SCALARS = {"float": "iuf", "int": "iu", "str": "U", "bool": "b"}  # NumPy's kinds of what is stored for them
_ARRAYS = {"complex128": "c", "bool": "b", "Bools": "b", "Floats": "f", "Tensor": "f", "str_": "U"}


def _restored(stored: NDArray[Any], annotation: str) -> Any:
    kinds = _SCALARS.get(annotation) or next(
        (_ARRAYS[word] for word in _ARRAYS if word in annotation), "iufcbU"
    )
    if stored.dtype.kind not in kinds or (annotation in _SCALARS and stored.ndim):
        raise ValueError(f"a field of dtype {stored.dtype} and shape {stored.shape} for {annotation}")
    return stored.item() if annotation in _SCALARS else stored


def _html_table(title: str, rows: list[tuple[str, str]]) -> str:
    from html import escape

    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<p>{escape(title)}</p><table>{body}</table>"
