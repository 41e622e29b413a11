"""Rank correlations of measures with permuted outcomes, of many pairs and arrangements at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnn.study.blocks import Floats, Integers
from rnn.study.permutations import Permuted

_CACHED = 500_000  # entries of a working array that should stay in the processor's cache
_MOSTLY = 0.6  # share of the models with one and the same value


def permuted_spearman(x: Floats, y: Floats) -> Permuted:
    """Prepare Spearman's correlations of x with permuted y.

    Parameters
    ----------
    x, y : ndarray, shapes (n, p) and (n, q)
        Numbers without NaN.

    Returns
    -------
    callable
        From arrangements (m, n) to correlations (m, p, q); NaN for a constant column.

    Notes
    -----
    Twice the centred average ranks are whole numbers, and so are their inner products: ties between permuted
    correlations are exact.
    """
    ranks_x, ranks_y = whole_ranks(x), whole_ranks(y)
    return _products(ranks_x, ranks_y, np.sqrt((ranks_x**2).sum(axis=0)), np.sqrt((ranks_y**2).sum(axis=0)))


def permuted_kendall(x: Floats, y: Floats) -> Permuted:
    """Prepare Kendall's tau-b of x with permuted y.

    Parameters
    ----------
    x, y : ndarray, shapes (n, p) and (n, q)
        Numbers without NaN.

    Returns
    -------
    callable
        From arrangements (m, n) to correlations (m, p, q); NaN for a constant column.

    Notes
    -----
    The signs of all pairs of rows are added up, row by row: time grows with m n² p q / 2.
    """
    ranks_x, ranks_y = (whole_ranks(values).astype(np.float32) for values in (x, y))
    columns = np.ascontiguousarray(ranks_y.T)
    scale_x, scale_y = (np.sqrt(_untied(values)) for values in (x, y))

    def permuted(orders: Integers) -> Floats:
        found = np.empty((len(orders), x.shape[1], y.shape[1]))
        chunk = max(1, _CACHED // max(1, y.size))
        for start in range(0, len(orders), chunk):
            drawn = np.take(columns, orders[start : start + chunk], axis=1)  # (q, m, n)
            rows = drawn.reshape(-1, len(x))
            sums = np.zeros((len(rows), x.shape[1]))
            for i in range(len(x) - 1):
                later = np.clip(ranks_x[i + 1 :] - ranks_x[i], -1, 1)
                signs = rows[:, i + 1 :] - rows[:, i, None]
                sums += np.clip(signs, -1, 1, out=signs) @ later
            found[start : start + chunk] = sums.reshape(*drawn.shape[:2], -1).transpose(1, 2, 0)
        with np.errstate(invalid="ignore"):
            found /= scale_x[:, None] * scale_y
        return found

    return permuted


def lopsided(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Say for which pairs of columns more than 60 % of the rows have the same value, in both of them.

    Parameters
    ----------
    x, y : ndarray, shapes (n, p) and (n, q)
        Numbers without NaN.

    Returns
    -------
    ndarray of bool, shape (p, q)
        True where that is so.
    """
    most = [
        np.array([np.unique(column, return_counts=True)[1].max() for column in values.T]) / len(values)
        for values in (x, y)
    ]
    return np.asarray((most[0] > _MOSTLY)[:, None] & (most[1] > _MOSTLY))


def whole_ranks(values: Floats) -> Floats:
    """Give twice the average ranks of each column, less n + 1: whole numbers around 0.

    Parameters
    ----------
    values : ndarray, shape (n, columns)
        Finite numbers.

    Returns
    -------
    ndarray, shape (n, columns)
        The ranks.
    """
    ranks = np.empty(values.shape)
    for column, place in zip(values.T, ranks.T, strict=True):
        _, group, sizes = np.unique(column, return_inverse=True, return_counts=True)
        place[:] = (2 * np.cumsum(sizes) - sizes - len(column))[group]
    return ranks


def _products(left: Floats, right: Floats, scale_left: Floats, scale_right: Floats) -> Permuted:
    columns = np.ascontiguousarray(right.T)

    def permuted(orders: Integers) -> Floats:
        rows = np.take(columns, orders, axis=1)  # (q, m, n)
        found = (rows.reshape(-1, len(left)) @ left).reshape(len(columns), len(orders), -1)
        with np.errstate(invalid="ignore"):
            found /= scale_right[:, None, None] * scale_left
        return found.transpose(1, 2, 0)

    return permuted


def _untied(values: Floats) -> Floats:
    # How many pairs of rows differ, column by column.
    sizes = [np.unique(column, return_counts=True)[1] for column in values.T]
    return np.array([(len(values) ** 2 - (one.astype(np.float64) ** 2).sum()) / 2 for one in sizes])
