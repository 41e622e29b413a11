"""A matrix on disk: read from a ``.npy`` file, checked, never unpickled."""

from __future__ import annotations

import os
import tokenize

import numpy as np

from spectra.checks import Matrix, square_matrix


def read_matrix(path: str | os.PathLike[str]) -> Matrix:
    """Read the square matrix that ``numpy.save`` wrote.

    Parameters
    ----------
    path : path-like
        The ``.npy`` file.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix, float64 or complex128.

    Raises
    ------
    TypeError
        If the file holds no numbers (objects are refused: to read them would run code of the file).
    ValueError
        If it is no ``.npy`` file, is damaged, or holds no finite square matrix.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    ...     np.save(file.name, np.eye(2))
    ...     read_matrix(file.name)
    array([[1., 0.],
           [0., 1.]])
    """
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, tokenize.TokenError) as error:
        if "allow_pickle" in str(error):
            raise TypeError(
                f"{path} holds Python objects, which are not read; save an array of floats"
            ) from None
        raise ValueError(
            f"{path} is no readable .npy file ({error}); write it with numpy.save(path, A)"
        ) from None
    return square_matrix(array, str(path))
