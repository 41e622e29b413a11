"""LAPACK where SciPy's calls do not suffice: Schur factors that leave Python's lock free, QZ that retries."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvals

from spectra.checks import Matrix
from spectra.errors import ConvergenceError
from spectra.threads import interruptible

Complexes = NDArray[np.complex128]

_NEGLIGIBLE = 2.0**-200  # share of the largest entry; QZ can fail beside entries below 2^-540


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
    return interruptible(lambda: _gees(A), len(A))


def eigenvalues(A: Matrix) -> Complexes:
    """Eigenvalues by LAPACK ``geev``.

    Parameters
    ----------
    A : ndarray, shape (n, n)
        A finite matrix.

    Returns
    -------
    ndarray of complex, shape (n,)
        The eigenvalues.

    Raises
    ------
    ConvergenceError
        If LAPACK's QR iteration fails.
    """
    try:
        return np.asarray(eigvals(A), dtype=np.complex128)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(_words(A, error)) from None


def pencil_eigenvalues(left: Matrix, right: Matrix) -> tuple[Complexes, Complexes]:
    """Eigenvalues α / β of left v = λ right v by LAPACK ``ggev``.

    Parameters
    ----------
    left, right : ndarray, shape (n, n)
        Finite matrices.

    Returns
    -------
    alpha, beta : ndarray of complex, shape (n,)
        Numerators and denominators, 0 where λ is infinite.

    Raises
    ------
    ConvergenceError
        If LAPACK's QZ iteration fails.

    Notes
    -----
    The shifts of QZ can run in a circle where the eigenvalues lie regularly, as for a permutation of order 4.
    Then `left` is turned by an angle, which breaks the symmetry, and the eigenvalues are turned back.
    """
    least = _NEGLIGIBLE * max(np.abs(left).max(), np.abs(right).max())
    left, right = (np.where(np.abs(part) < least, 0.0, part) for part in (left, right))
    try:
        alpha, beta = eigvals(left, right, homogeneous_eigvals=True)
    except np.linalg.LinAlgError:
        try:
            alpha, beta = eigvals(left * np.exp(1j), right, homogeneous_eigvals=True)
        except np.linalg.LinAlgError as error:
            raise ConvergenceError(_words(left, error)) from None
        alpha = alpha * np.exp(-1j)
    return np.asarray(alpha, dtype=np.complex128), np.asarray(beta, dtype=np.complex128)


def _words(A: Matrix, error: Exception) -> str:
    return f"LAPACK failed on eigenvalues of order {len(A)} ({error}); try A plus tiny noise"


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
