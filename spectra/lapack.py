"""LAPACK's Schur factorisation, called so that Python's lock is free meanwhile."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.checks import Matrix
from spectra.threads import interruptible

_LONG = 300  # order from which a factorisation is worth a thread


def schur_factor(A: Matrix) -> tuple[Matrix, NDArray[np.complex128], int]:
    """Schur factor and eigenvalues by LAPACK ``gees``, real eigenvalues first where A is real.

    Parameters
    ----------
    A : ndarray, shape (n, n)
        A finite matrix, float64 or complex128.

    Returns
    -------
    T : ndarray, shape (n, n)
        The factor, in C order.
    eigenvalues : ndarray of complex, shape (n,)
        In the order of the diagonal of T.
    info : int
        0, or LAPACK's word on what went wrong.

    Notes
    -----
    The same call as SciPy's own wrapper, which holds Python's lock all the while: some 10 s at order 2000.
    """
    return _gees(A) if len(A) < _LONG else interruptible(lambda: _gees(A))


def _gees(A: Matrix) -> tuple[Matrix, NDArray[np.complex128], int]:
    n, real = len(A), A.dtype == np.float64
    T: NDArray[Any] = np.array(A, order="F")
    parts: list[NDArray[Any]] = [np.zeros(n), np.zeros(n)] if real else [np.zeros(n, dtype=complex)]
    scratch: list[NDArray[Any]] = [] if real else [np.zeros(n)]
    vectors, logical = np.zeros(1, dtype=T.dtype), np.zeros(n, dtype=np.int32)
    order, one = ctypes.byref(ctypes.c_int(n)), ctypes.byref(ctypes.c_int(1))
    count, info = ctypes.c_int(0), ctypes.c_int(0)
    gees = _routine("dgees" if real else "zgees")

    def call(work: NDArray[Any], size: int) -> None:
        gees(
            b"N",
            b"S" if real else b"N",
            _IS_REAL,
            order,
            T.ctypes,
            order,
            ctypes.byref(count),
            *[array.ctypes for array in (*parts, vectors)],
            one,
            work.ctypes,
            ctypes.byref(ctypes.c_int(size)),
            *[array.ctypes for array in (*scratch, logical)],
            ctypes.byref(info),
        )

    best = np.zeros(1, dtype=T.dtype)
    call(best, -1)
    size = int(best[0].real)
    call(np.zeros(size, dtype=T.dtype), size)
    eigenvalues = parts[0] + 1j * parts[1] if real else parts[0]
    return np.ascontiguousarray(T), np.asarray(eigenvalues), info.value


_SELECT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_double))
_IS_REAL = _SELECT(lambda _, imaginary: int(imaginary[0] == 0.0))


def _routine(name: str) -> Callable[..., None]:
    """Give a routine of the LAPACK that SciPy brings, from the table it publishes for compiled callers."""
    from scipy.linalg import cython_lapack

    table: dict[str, Any] = vars(cython_lapack)["__pyx_capi__"]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = api.PyCapsule_GetPointer(table[name], api.PyCapsule_GetName(table[name]))
    return ctypes.CFUNCTYPE(None)(address)
