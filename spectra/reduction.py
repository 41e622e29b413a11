"""Reduction: which pencil zB - A serves for what the user hands in."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from spectra.checks import one_of
from spectra.pencils import Pencil
from spectra.projection import projected_pencil
from spectra.rectangular import rectangular_pencil
from spectra.schur import SchurForm, matrix_of, schur_form
from spectra.sparse_pencils import sparse_matrix, sparse_pencil
from spectra.square_pencils import square_pencil


def reduced(
    A: Any,
    *,
    B: Any = None,
    method: str | None = None,
    subspace: int | None = None,
    rng: int | np.random.Generator = 0,
) -> Pencil | SchurForm:
    """Reduce zB - A, or zI - A, once, so that its smallest singular value is cheap at many points z.

    Parameters
    ----------
    A : array_like, SchurForm, sparse matrix or LinearOperator
        The matrix; a dense one may have more rows than columns.
    B : array_like or sparse matrix, optional
        Matrix of the shape of A; the identity by default.
    method : {"lu", "arnoldi"}, optional
        For sparse A: "lu" (the default) factorises at each point and bounds values from both sides, "arnoldi"
        projects once and bounds them from above. A LinearOperator takes "arnoldi" only.
    subspace : int, optional
        Dimension of the Krylov subspace for a sparse A or a LinearOperator; 100 by default.
    rng : int or numpy.random.Generator
        Seed or generator of its first vector.

    Returns
    -------
    Pencil or SchurForm
        A `SchurForm` for dense square A without B.

    Raises
    ------
    TypeError
        If A or B is no matrix of numbers.
    ValueError
        If shapes do not fit, an entry is NaN or inf, an option does not go with A, or memory is short.
    ConvergenceError
        If LAPACK's QR or QZ iteration fails.
    """
    is_operator = isinstance(A, LinearOperator)
    if is_operator or issparse(A) or issparse(B):
        method = ("arnoldi" if is_operator else "lu") if method is None else method
        if one_of(method, "method", ("lu", "arnoldi")) == "lu":
            if is_operator:
                raise ValueError(
                    "method is 'lu', which needs the entries of A; pass a sparse matrix or \"arnoldi\""
                )
            return sparse_pencil(A, B, subspace=subspace, rng=rng)
        if B is not None:
            raise ValueError("method is 'arnoldi', which takes no B; pass sparse A and B, and method=\"lu\"")
        operator = A if is_operator else aslinearoperator(sparse_matrix(A, "A"))
        return projected_pencil(operator, subspace=subspace, rng=rng)
    if method is not None or subspace is not None:
        raise ValueError("method and subspace are for a sparse A or a LinearOperator; leave them out")
    if B is not None:
        matrix = matrix_of(A) if isinstance(A, SchurForm) else A
        return square_pencil(matrix, B) if _is_square(matrix) else rectangular_pencil(matrix, B)
    return schur_form(A) if isinstance(A, SchurForm) or _is_square(A) else rectangular_pencil(A)


def _is_square(A: Any) -> bool:
    """Whether it is not clearly a rectangle; the gates tell what else is wrong."""
    shape = np.shape(A)
    return len(shape) != 2 or shape[0] == shape[1]
