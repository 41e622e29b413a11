"""SchurForm: the Schur factor of a matrix, computed once and accepted by every measure in place of A."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, square_matrix
from spectra.errors import ConvergenceError
from spectra.lapack import schur_factor
from spectra.scaling import SMALLEST_UNIT, rescaled, unit_scaled

Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SchurForm:
    """Schur factor T of A, with A = scale * Q T Q* for a unitary Q that is not kept.

    Attributes
    ----------
    A : ndarray, shape (n, n)
        The matrix, float64 or complex128.
    T : ndarray, shape (n, n)
        Upper triangular (complex A), or upper quasi-triangular with standardised 2 x 2 blocks (real A), in
        C order and in units of `scale`.
    scale : float
        A power of two near the largest entry of A, so that T neither overflows nor underflows; 1 for A = 0,
        and 2^-1021, whose reciprocal is a float, where the entries are smaller still.
    eigenvalues : ndarray of complex, shape (n,)
        Eigenvalues of A in the order of T's diagonal, in the units of A (a part beyond the floats is inf).
    entry_roundoff : float
        Relative rounding of the entries as they were handed in: 2^-24 for float32 and complex64, 2^-11 for
        float16, 0 for wider types and integers.
    """

    A: Matrix
    T: Matrix
    scale: float
    eigenvalues: NDArray[np.complex128]
    entry_roundoff: float = 0.0
    _found: dict[str, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @property
    def n(self) -> int:
        """Order of A."""
        return int(self.A.shape[0])

    @property
    def is_real(self) -> bool:
        """Whether A is real, so that everything about it is symmetric in the real axis."""
        return self.A.dtype == np.float64

    def once(self, name: str, compute: Callable[[], Found]) -> Found:
        """Give what `compute` gives; it is computed at the first call with this name only.

        Parameters
        ----------
        name : str
            What is computed: something about A that costs much and that several measures ask for.
        compute : callable
            Takes nothing; what it gives must not be changed later.

        Returns
        -------
        object
            What it gave.
        """
        if name not in self._found:
            self._found[name] = compute()
        found: Found = self._found[name]
        return found

    def __repr__(self) -> str:
        """One line."""
        kind = "real" if self.is_real else "complex"
        return f"SchurForm of a {kind} matrix of order {self.n}"


def schur_form(A: ArrayLike | SchurForm) -> SchurForm:
    """Schur form of a square matrix, A = scale * Q T Q*, for use in place of A in every measure.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix; a `SchurForm` is given back as it is.

    Returns
    -------
    SchurForm
        The factor T (real Schur form for real A), without Q.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf.
    ConvergenceError
        If LAPACK's QR iteration fails.

    Notes
    -----
    LAPACK ``gees`` on A divided by a power of two. About 10 n³ operations; T is exact for a matrix within
    a modest multiple of n u ‖A‖ of A.

    Examples
    --------
    >>> from spectra import schur_form
    >>> schur_form([[0.0, 1.0], [-1.0, 0.0]]).eigenvalues
    array([0.+1.j, 0.-1.j])
    """
    if isinstance(A, SchurForm):
        return A
    matrix = square_matrix(A)
    scaled, scale = unit_scaled(matrix, smallest=SMALLEST_UNIT)
    # real eigenvalues first: for the grid kernel 2 x 2 blocks are then aligned in pairs of rows
    T, eigenvalues, info = schur_factor(scaled)
    n = len(scaled)
    if info not in {0, n + 1, n + 2}:  # beyond n only the order is affected
        raise ConvergenceError(
            f"LAPACK gees did not converge on A (info = {info}); try A plus tiny noise, or A in another basis"
        )
    return SchurForm(
        A=matrix,
        T=T,
        scale=scale,
        eigenvalues=rescaled(eigenvalues, scale),
        entry_roundoff=entry_roundoff(np.asarray(A).dtype),
    )


def entry_roundoff(dtype: np.dtype[Any]) -> float:
    """Give the relative rounding of numbers of a type, 0 where they are exact in double precision.

    Parameters
    ----------
    dtype : numpy.dtype
        The type.

    Returns
    -------
    float
        Its unit roundoff.
    """
    narrow = dtype.kind in "fc" and np.finfo(dtype).bits < 64
    return float(np.finfo(dtype).eps) / 2 if narrow else 0.0


def matrix_of(A: ArrayLike | SchurForm) -> Matrix:
    """Give the matrix behind a `SchurForm`, or `A` through the gate: for measures that need no Schur factor.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix, float64 or complex128, in C order.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf.
    """
    return A.A if isinstance(A, SchurForm) else square_matrix(A)
