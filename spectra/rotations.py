"""Plane rotations, many disjoint ones at once, and the complex triangle they make of a real Schur factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.checks import Matrix

Complex = NDArray[np.complex128]


def rotate(B: Complex, basis: Complex, p: NDArray[Any], q: NDArray[Any], first: Complex) -> None:
    """Replace B by G*BG and the basis by its product with G, which rotates in disjoint planes.

    Parameters
    ----------
    B, basis : ndarray of complex, shape (n, n)
        Changed in place.
    p, q : ndarray of int, shape (k,)
        Row and column numbers, 2k different ones: the rotations are in the planes (p, q).
    first : ndarray of complex, shape (2, k)
        Unit vectors of the planes, the first entries real: the first columns of the rotations.
    """
    c, s = first
    for X in (B, basis):
        X[:, p], X[:, q] = X[:, p] * c + X[:, q] * s, X[:, q] * c - X[:, p] * s.conj()
    c, s = c[:, None], s[:, None]
    B[p], B[q] = c * B[p] + s.conj() * B[q], c * B[q] - s * B[p]


def complex_triangle(T: Matrix, basis: Matrix | None = None) -> tuple[Complex, Complex]:
    """Make a Schur factor upper triangular, where it is that of a real matrix.

    Parameters
    ----------
    T : ndarray, shape (n, n)
        Upper triangular, or real and quasi-triangular with blocks [[a, b], [c, a]], bc < 0.
    basis : ndarray, shape (n, n), optional
        The Schur vectors; the identity by default.

    Returns
    -------
    triangle : ndarray of complex, shape (n, n)
        Unitarily similar to T; of two conjugate eigenvalues that above the real axis comes first.
    basis : ndarray of complex, shape (n, n)
        The Schur vectors that belong to it.
    """
    triangle = T.astype(np.complex128)
    vectors = (np.eye(len(T)) if basis is None else basis).astype(np.complex128)
    p = np.flatnonzero(np.diag(T, -1)) if T.dtype == np.float64 else np.zeros(0, dtype=int)
    b, c = np.diag(T, 1)[p].real, np.diag(T, -1)[p].real
    size = np.sqrt(np.abs(b)), 1j * np.sign(b) * np.sqrt(np.abs(c))
    rotate(triangle, vectors, p, p + 1, np.array(size) / np.sqrt(np.abs(b) + np.abs(c)))
    return np.triu(triangle), vectors
