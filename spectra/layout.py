"""The Schur factor as the solvers want it: padded to a multiple, aligned, with random starting vectors."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectra.checks import Matrix
from spectra.schur import SchurForm

_STARTS = 64  # random starting vectors that the points share
_PAD = -1e8 * np.pi  # diagonal entry of a padding row: far from every point, coupled to nothing


class Accuracy(NamedTuple):
    """When a point is done, and how far its lower bound reaches.

    Attributes
    ----------
    widening : float
        sqrt((n - 1) / delta): factor from residual to interval that a random start justifies.
    rtol : float
        Share of the Ritz value that the residual must sink to.
    floor : float
        Level of rounding noise, in the units of the factor.
    """

    widening: float
    rtol: float
    floor: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PaddedFactor:
    """The Schur factor with uncoupled rows added, so that no 2 x 2 block straddles an even row.

    Attributes
    ----------
    T : ndarray, shape (N, N)
        The factor, in the units asked for.
    roots : ndarray of complex, shape (N,)
        Its eigenvalues in order.
    starts : ndarray, shape (s, N, 2)
        Random unit vectors, real and imaginary parts, 0 in the rows added.
    """

    T: Matrix
    roots: NDArray[np.complex128]
    starts: NDArray[np.float64]


def padded_factor(form: SchurForm, unit: float, multiple: int) -> PaddedFactor:
    """Pad the factor to a multiple of rows.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    unit : float
        The unit of the result, in the units of A.
    multiple : int
        An even number that shall divide the order.

    Returns
    -------
    PaddedFactor
        The same for the same form, unit and multiple.
    """
    order = _padded_order(form, multiple)
    kept = order >= 0
    n = len(order)
    T: Matrix = np.zeros((n, n)) if form.is_real else np.zeros((n, n), dtype=np.complex128)
    T[np.ix_(kept, kept)] = form.T[np.ix_(order[kept], order[kept])] * (form.scale / unit)
    T[~kept, ~kept] = _PAD
    roots = np.full(n, _PAD, dtype=np.complex128)
    roots[kept] = form.eigenvalues[order[kept]] / unit
    starts = np.zeros((_STARTS, n, 2))
    starts[:, kept] = np.random.default_rng(0).standard_normal((_STARTS, form.n, 2))
    starts /= np.linalg.norm(starts.reshape(_STARTS, -1), axis=1)[:, None, None]
    return PaddedFactor(T, roots, starts)


def _padded_order(form: SchurForm, multiple: int) -> NDArray[np.int64]:
    """Rows of T in order, -1 for a row added."""
    double = np.zeros(form.n + 1, dtype=bool)
    if form.is_real:
        double[: form.n - 1] = np.diagonal(form.T, -1) != 0
    order: list[int] = []
    for i in range(form.n):
        if double[i] and len(order) % 2:
            order.append(-1)
        order.append(i)
    order += [-1] * (-len(order) % multiple)
    return np.array(order)
