"""Permutation tests of many rank correlations at once, within blocks, whole configurations together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from rnn.study.blocks import Floats, Integers
from rnn.study.resampling import pair_signs

Permuted = Callable[[Integers], Floats]

_CACHED = 500_000  # entries of a working array that should stay in the processor's cache
_TIE = 1e-9  # correlations closer than this are equal


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Shuffle:
    """The permuted correlations of some measures and outcomes of a block.

    Attributes
    ----------
    clusters : ndarray of int, shape (n,)
        Cluster of each model that takes part.
    i, j : list of int
        Which measures and outcomes.
    permuted : callable
        From arrangements (m, n) to correlations (m, len(i), len(j)).
    """

    clusters: Integers
    i: list[int]
    j: list[int]
    permuted: Permuted


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Significance:
    """What a permutation test found.

    Attributes
    ----------
    p : ndarray, shape (blocks, measures, outcomes)
        Two-sided p-values; NaN where there is no correlation.
    pooled_p : ndarray, shape (measures, outcomes)
        Of the weighted mean over the blocks.
    deviation, pooled_deviation : ndarray, as p and pooled_p
        Standard deviation of the permuted correlations.
    least, pooled_least : ndarray, as p and pooled_p
        The smallest p-value that the number of arrangements allows.
    """

    p: Floats
    pooled_p: Floats
    deviation: Floats
    pooled_deviation: Floats
    least: Floats
    pooled_least: Floats


def arrangements(clusters: Integers, count: int, rng: np.random.Generator) -> Integers:
    """Exchange whole clusters of equal size at random.

    Parameters
    ----------
    clusters : ndarray of int, shape (n,)
        Cluster of each row.
    count : int
        Number of arrangements.
    rng : numpy.random.Generator
        Source of the arrangements.

    Returns
    -------
    ndarray of int, shape (count, n)
        Which row's outcome each row gets; rows of a cluster stay together and in their order.
    """
    order = np.argsort(clusters, kind="stable")
    _, starts, sizes = np.unique(clusters[order], return_index=True, return_counts=True)
    found = np.tile(np.arange(len(clusters)), (count, 1))
    for size in np.unique(sizes):
        rows = order[starts[sizes == size][:, None] + np.arange(size)]  # (clusters of this size, size)
        drawn = rng.permuted(np.tile(np.arange(len(rows)), (count, 1)), axis=1)
        found[:, rows.ravel()] = rows[drawn].reshape(count, -1)
    return found


def log_arrangements(clusters: Integers) -> float:
    """Logarithm of the number of ways to exchange whole clusters of equal size.

    Parameters
    ----------
    clusters : ndarray of int, shape (n,)
        Cluster of each row.

    Returns
    -------
    float
        Sum of log(c!) over the sizes, with c clusters of a size.
    """
    from scipy.special import gammaln

    _, sizes = np.unique(clusters, return_counts=True)
    _, alike = np.unique(sizes, return_counts=True)
    return float(gammaln(alike + 1).sum())


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
    """
    (first, second), signs_x = pair_signs(x)
    table = np.sign(y[:, None, :] - y[None, :, :]).astype(np.float32).reshape(len(x) ** 2, -1)
    scale_x = np.sqrt(np.abs(signs_x).sum(axis=1, dtype=np.float64))
    scale_y = np.sqrt(np.abs(table).sum(axis=0, dtype=np.float64) / 2)

    def permuted(orders: Integers) -> Floats:
        found = np.empty((len(orders), x.shape[1], y.shape[1]))
        chunk = max(1, _CACHED // (max(1, len(first)) * y.shape[1]))
        for start in range(0, len(orders), chunk):
            part = orders[start : start + chunk]
            pairs = part[:, first] * len(x) + part[:, second]
            signs_y = np.take(table, pairs, axis=0)  # (m, pairs, q)
            found[start : start + chunk] = np.matmul(signs_x, signs_y)
        with np.errstate(invalid="ignore"):
            found /= scale_x[:, None] * scale_y
        return found

    return permuted


def permutation_test(
    shuffles: Sequence[Sequence[Shuffle]],
    values: Floats,
    weights: Floats,
    count: int,
    rng: np.random.Generator,
) -> Significance:
    """Test all correlations of all blocks, and their weighted means over the blocks.

    Parameters
    ----------
    shuffles : sequence of sequences of Shuffle
        For each block the parts of its table.
    values : ndarray, shape (blocks, measures, outcomes)
        The correlations; NaN where there is none.
    weights : ndarray, shape (blocks, measures, outcomes)
        Weights of the means over the blocks; 0 where there is no correlation.
    count : int
        Number of permutations m.
    rng : numpy.random.Generator
        Source of the arrangements.

    Returns
    -------
    Significance
        p = (b + 1)/(m + 1), where b of the permuted correlations are at least as large in absolute value.

    References
    ----------
    Phipson and Smyth (2010), Permutation p-values should never be zero, Statistical Applications in Genetics
    and Molecular Biology 9(1), 39.
    """
    known = ~np.isnan(values)
    observed = np.where(known, np.abs(values), 0.0) - _TIE
    pooled = np.abs(np.where(known, weights * values, 0.0).sum(axis=0)) - _TIE
    beyond, squares = np.zeros(values.shape), np.zeros(values.shape)
    pooled_beyond, pooled_squares = np.zeros(pooled.shape), np.zeros(pooled.shape)
    chunk = max(1, min(count, _CACHED // (4 * pooled.size)))
    for start in range(0, count, chunk):
        m = min(chunk, count - start)
        mean = np.zeros((m, *pooled.shape))
        for b, parts in enumerate(shuffles):
            drawn = np.zeros((m, *pooled.shape))
            for part in parts:
                drawn[:, np.array(part.i)[:, None], np.array(part.j)] = part.permuted(
                    arrangements(part.clusters, m, rng)
                )
            drawn[:, ~known[b]] = 0.0
            beyond[b] += (np.abs(drawn) >= observed[b]).sum(axis=0)
            squares[b] += (drawn**2).sum(axis=0)
            drawn *= weights[b]
            mean += drawn
        pooled_beyond += (np.abs(mean) >= pooled).sum(axis=0)
        pooled_squares += (mean**2).sum(axis=0)
    ways = np.zeros(values.shape)
    for b, parts in enumerate(shuffles):
        for part in parts:
            ways[b][np.ix_(part.i, part.j)] = log_arrangements(part.clusters)
    blank = np.where(known, 1.0, np.nan)
    pooled_blank = np.where(known.any(axis=0), 1.0, np.nan)
    return Significance(
        blank * (beyond + 1) / (count + 1),
        pooled_blank * (pooled_beyond + 1) / (count + 1),
        blank * np.sqrt(squares / count),
        pooled_blank * np.sqrt(pooled_squares / count),
        blank * np.maximum(1 / (count + 1), np.exp(-ways)),
        pooled_blank * np.maximum(1 / (count + 1), np.exp(-(ways * known).sum(axis=0))),
    )


def _products(left: Floats, right: Floats, scale_left: Floats, scale_right: Floats) -> Permuted:
    columns = np.ascontiguousarray(right.T)

    def permuted(orders: Integers) -> Floats:
        rows = np.take(columns, orders, axis=1)  # (q, m, n)
        found = (rows.reshape(-1, len(left)) @ left).reshape(len(columns), len(orders), -1)
        with np.errstate(invalid="ignore"):
            found /= scale_right[:, None, None] * scale_left
        return found.transpose(1, 2, 0)

    return permuted


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
    return np.asarray(np.sign(values[:, None, :] - values[None, :, :]).sum(axis=1))
