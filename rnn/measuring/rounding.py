"""Rounding of real matrices to the number formats that weights are stored in."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, any_matrix, one_of
from spectra.scaling import UNIT_ROUNDOFF, unit_scaled

Floats = NDArray[np.float64]

NUMBER_FORMATS = ("float16", "bfloat16", "float8_e4m3fn", "int8_per_tensor", "int8_per_row")

_LARGEST_FLOAT8 = 448.0
_LARGEST_INT8 = 127.0


def rounded(W: ArrayLike, number_format: str) -> Floats:
    """Round a matrix to a number format and give it back in float64.

    Parameters
    ----------
    W : array_like, shape (m, n)
        Real matrix.
    number_format : {"float16", "bfloat16", "float8_e4m3fn", "int8_per_tensor", "int8_per_row"}
        The floats are torch's; float8_e4m3fn is cast without a scale and cut off at ±448. The integers are
        symmetric: scale · k for whole k from -127 to 127, scale = max abs(W) / 127, of the whole matrix or of
        each row.

    Returns
    -------
    ndarray of float64, shape (m, n)
        The rounded matrix.

    Raises
    ------
    TypeError
        If W is no array of real numbers.
    ValueError
        If W is not two-dimensional, is empty or holds NaN or inf, the format is unknown, or an entry
        overflows in float16 (beyond 65504) or bfloat16.

    Notes
    -----
    To the nearest number, ties to even. As in torch, a float64 entry goes to the smaller floats by way of
    float32. Scales are float64 here; where they are stored in float32, weights move by another 6e-8 of their
    size. The scale of a tensor that stacks several gates is that of its largest gate: round the stack.

    Examples
    --------
    >>> from rnn.measuring.rounding import rounded
    >>> rounded([[1.27, 0.014], [0.0, -0.3]], "int8_per_tensor")
    array([[ 1.27,  0.01],
           [ 0.  , -0.3 ]])
    """
    number_format = one_of(number_format, "number_format", NUMBER_FORMATS)
    values, beyond = nearest(real_matrix(W), number_format)
    if not np.isfinite(values).all():
        raise ValueError(
            f"W has {beyond} entries beyond the largest number of {number_format}; scale W, or use another "
            f"format: {', '.join(NUMBER_FORMATS)}"
        )
    return values


def real_matrix(W: ArrayLike) -> Floats:
    """Give W through the gate, as a real matrix.

    Parameters
    ----------
    W : array_like, shape (m, n)
        The weights.

    Returns
    -------
    ndarray of float64, shape (m, n)
        A copy.

    Raises
    ------
    TypeError
        If it is no array of real numbers.
    ValueError
        If it is not two-dimensional, is empty or holds NaN or inf.
    """
    matrix = any_matrix(W, "W")
    refuse_complex(matrix)
    return np.asarray(matrix, dtype=np.float64)


def refuse_complex(matrix: Matrix) -> None:
    """Let pass a real matrix.

    Parameters
    ----------
    matrix : ndarray
        Of float64 or complex128.

    Raises
    ------
    TypeError
        If it is complex.
    """
    if matrix.dtype != np.float64:
        raise TypeError("W is complex; expected real weights: number formats here are those of real numbers")


def nearest(W: Floats, number_format: str) -> tuple[Floats, int]:
    """Give a real matrix rounded, whatever overflows, and the number of entries that do.

    Parameters
    ----------
    W : ndarray of float64, shape (m, n)
        The matrix.
    number_format : str
        One of `NUMBER_FORMATS`.

    Returns
    -------
    values : ndarray of float64, shape (m, n)
        The rounded matrix; infinite where an entry overflows in float16 or bfloat16.
    beyond : int
        Number of entries beyond the largest number of the format.
    """
    cut = np.zeros(W.shape, dtype=bool)
    if number_format == "int8_per_tensor":
        values = _whole_steps(W)
    elif number_format == "int8_per_row":
        values = np.concatenate([_whole_steps(row[None]) for row in W])
    else:
        if number_format == "float8_e4m3fn":  # torch cuts off, but made NaN of them in older versions
            cut = np.abs(W) > _LARGEST_FLOAT8
            W = W.clip(-_LARGEST_FLOAT8, _LARGEST_FLOAT8)
        values = torch.from_numpy(W).to(getattr(torch, number_format)).to(torch.float64).numpy()
    return values, int((cut | ~np.isfinite(values)).sum())


def _whole_steps(W: Floats) -> Floats:
    """Round to whole multiples of the largest modulus / 127; what is one up to float64 rounding stays."""
    scaled, unit = unit_scaled(W)  # at unit size no step is too small for a float
    step = np.abs(scaled).max() / _LARGEST_INT8
    if step == 0:
        return W.copy()
    near = np.rint(scaled / step) * step
    near = np.where(np.abs(near - scaled) <= 4 * UNIT_ROUNDOFF * np.abs(scaled), scaled, near)
    with np.errstate(under="ignore"):
        return np.asarray(near * unit, dtype=np.float64)
