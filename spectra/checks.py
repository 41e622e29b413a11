"""The gates at the door: what comes in is checked here once, and never again further in."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64] | NDArray[np.complex128]

_NO_NUMBERS = (bool, np.bool_, np.timedelta64)  # although Python and NumPy count them among the integers


def numeric_array(value: Any, name: str) -> Matrix:
    """Give `value` as a C-ordered float64 or complex128 array of finite numbers.

    Raises
    ------
    TypeError
        If `value` is no array of real or complex numbers (object, string, bool, sparse, ragged).
    ValueError
        If it is empty or holds NaN or inf.
    """
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a sparse matrix; pass a dense array: {name}.toarray()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(f"{name} is an array with masked entries; fill them first: {name}.filled(...)")
    if type(value).__module__.partition(".")[0] == "torch":
        raise TypeError(f"{name} is a torch tensor; pass {name}.detach().cpu().numpy()")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name} is no array of numbers ({error}); pass a NumPy array of floats") from None
    if array.dtype.kind not in "iufc":
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected real or complex numbers: convert with .astype(float)"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty (shape {array.shape}); expected at least one entry")
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes inf and is refused below
        array = np.array(array, dtype=np.complex128 if array.dtype.kind == "c" else np.float64, order="C")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} has a NaN or infinite entry at {where}; remove or replace it first")
    return array


def square_matrix(value: Any, name: str = "A") -> Matrix:
    """Give `value` as a fresh square matrix, float64 or complex128, C order.

    Raises
    ------
    TypeError
        If `value` is no array of numbers.
    ValueError
        If it is not square, is empty, or holds NaN or inf.
    """
    array = any_matrix(value, name)
    if array.shape[0] != array.shape[1]:
        raise ValueError(
            f"{name} has shape {array.shape}; expected a square matrix (some functions take others)"
        )
    return array


def any_matrix(value: Any, name: str = "A") -> Matrix:
    """Give `value` as a fresh two-dimensional float64 or complex128 array, C order.

    Raises
    ------
    TypeError
        If `value` is no array of numbers.
    ValueError
        If it is not two-dimensional, is empty, or holds NaN or inf.
    """
    array = numeric_array(value, name)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; expected two dimensions: reshape it to a matrix")
    return array


def real_number(value: Any, name: str) -> float:
    """Give `value` as a finite float.

    Raises
    ------
    TypeError
        If `value` is no real number.
    ValueError
        If it is NaN or infinite.
    """
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, (numbers.Real, np.integer, np.floating)):
        raise TypeError(f"{name} is {value!r}; expected a real number")
    try:
        number = float(value)
    except OverflowError:  # a Python int or fraction beyond the floats
        number = np.inf
    if not np.isfinite(number):
        raise ValueError(f"{name} is {number}; expected a finite number")
    return number


def non_negative(value: Any, name: str) -> float:
    """Give `value` as a finite float that is at least zero.

    Raises
    ------
    ValueError
        If it is negative, NaN or infinite.
    """
    number = real_number(value, name)
    if number < 0:
        raise ValueError(f"{name} is {number}; expected a number >= 0")
    return number


def positive(value: Any, name: str) -> float:
    """Give `value` as a finite float above zero.

    Raises
    ------
    ValueError
        If it is zero, negative, NaN or infinite.
    """
    number = real_number(value, name)
    if number <= 0:
        raise ValueError(f"{name} is {number}; expected a number > 0")
    return number


def whole_number(value: Any, name: str, least: int = 1, most: int | None = None) -> int:
    """Give `value` as an int that is at least `least`, and at most `most` where that is given.

    Raises
    ------
    TypeError
        If `value` is no whole number.
    ValueError
        If it is below `least` or above `most`.
    """
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}; expected a whole number")
    if value < least:
        raise ValueError(f"{name} is {value}; expected at least {least}")
    if most is not None and value > most:
        raise ValueError(f"{name} is {value}; expected at most {most}")
    return int(value)


def complex_number(value: Any, name: str) -> complex:
    """Give `value` as a finite complex number.

    Raises
    ------
    TypeError
        If `value` is no number.
    ValueError
        If it is NaN or infinite.
    """
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, (numbers.Complex, np.number)):
        raise TypeError(f"{name} is {value!r}; expected a complex number")
    try:
        number = complex(value)
    except OverflowError:  # a Python int or fraction beyond the floats
        number = complex(np.inf)
    if not np.isfinite(number):
        raise ValueError(f"{name} is {number}; expected a finite number")
    return number


def levels(values: Any, name: str = "epsilons") -> NDArray[np.float64]:
    """Give pseudospectral levels as a sorted float64 vector of distinct positive numbers.

    Raises
    ------
    TypeError
        If `values` is no sequence of real numbers.
    ValueError
        If it is empty or a level is zero, negative, NaN or infinite.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r}; expected a sequence of positive numbers such as [1e-3, 1e-2]")
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise TypeError(f"{name} has shape {values.shape}; expected one dimension: pass {name}.ravel()")
    found = sorted({positive(value, name) for value in values})
    if not found:
        raise ValueError(f"{name} is empty; expected at least one positive number, or None for all")
    return np.array(found)


def box(value: Any, name: str = "region") -> tuple[float, float, float, float]:
    """Give a region of the complex plane as (xmin, xmax, ymin, ymax).

    Raises
    ------
    TypeError
        If `value` is no sequence of four real numbers.
    ValueError
        If it has not four numbers, or a range is empty.
    """
    if isinstance(value, (Set, Mapping)):
        raise TypeError(f"{name} is {value!r}, without order; expected four numbers (xmin, xmax, ymin, ymax)")
    try:
        numbers_ = tuple(real_number(entry, name) for entry in value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; expected four numbers (xmin, xmax, ymin, ymax)") from None
    if len(numbers_) != 4:
        raise ValueError(f"{name} has {len(numbers_)} numbers; expected four: (xmin, xmax, ymin, ymax)")
    xmin, xmax, ymin, ymax = numbers_
    if not (0 < xmax - xmin < np.inf and 0 < ymax - ymin < np.inf):
        raise ValueError(f"{name} is {numbers_}; expected xmin < xmax and ymin < ymax, at a finite distance")
    return xmin, xmax, ymin, ymax


def grid_shape(value: Any, name: str = "shape") -> tuple[int, int]:
    """Give a grid shape (len(y), len(x)), each at least 2.

    Raises
    ------
    TypeError
        If `value` is no pair of whole numbers.
    ValueError
        If one of them is below 2.
    """
    scalar = isinstance(value, (str, bytes, Set, Mapping)) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    )
    if scalar or not isinstance(value, Iterable):
        raise TypeError(f"{name} is {value!r}; expected two whole numbers (len(y), len(x))")
    sizes = tuple(whole_number(entry, name, least=2) for entry in value)
    if len(sizes) != 2:
        raise TypeError(f"{name} has {len(sizes)} entries; expected two whole numbers (len(y), len(x))")
    return sizes


def one_of(value: Any, name: str, allowed: tuple[str, ...]) -> str:
    """Give `value` if it is one of the `allowed` words.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, allowed))}")
    return str(value)


def generator(value: Any, name: str = "rng") -> np.random.Generator:
    """Give a random generator from a seed or a generator.

    Raises
    ------
    TypeError
        If `value` is neither a ``numpy.random.Generator`` nor a whole number >= 0.
    """
    if isinstance(value, np.random.Generator):
        return value
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, (int, np.integer)) or value < 0:
        raise TypeError(f"{name} is {value!r}; expected a numpy.random.Generator or a seed >= 0")
    return np.random.default_rng(value)


def callback(value: Any, name: str = "progress") -> None:
    """Let pass None and what can be called.

    Raises
    ------
    TypeError
        If `value` is neither.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{name} is {value!r}; expected a function of (done, total), or None")
