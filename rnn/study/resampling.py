"""The vectorised bootstrap: configurations are resampled, and all rank correlations of a block follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnn.study.blocks import Floats, Integers
from spectra.checks import positive

Float32s = NDArray[np.float32]

LEAST_CLUSTERS = 4
_ENTRIES = 20_000_000  # of a working array


def cluster_weights(clusters: Integers, draws: int, rng: np.random.Generator) -> Floats:
    """Say how often each row occurs in each resample of whole clusters.

    Parameters
    ----------
    clusters : ndarray of int, shape (n,)
        Number of the cluster of each row, from 0.
    draws : int
        Number of resamples.
    rng : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    ndarray, shape (draws, n)
        Counts; equal for rows of one cluster.
    """
    count = int(clusters.max()) + 1
    return rng.multinomial(count, np.full(count, 1 / count), size=draws)[:, clusters].astype(np.float64)


def weighted_ranks(values: Floats, weights: Floats) -> Floats:
    """Rank the rows of each resample: average ranks, centred, of length 1.

    Parameters
    ----------
    values : ndarray, shape (n, columns)
        Numbers without NaN.
    weights : ndarray, shape (draws, n)
        How often each row occurs.

    Returns
    -------
    ndarray, shape (draws, n, columns)
        For each resample vectors of length 1, whose inner products are the rank correlations; NaN where a
        column does not vary in a resample.

    Notes
    -----
    The rank of row i is a matrix product, sum over j of w_j ([x_j < x_i] + [x_j = x_i]/2) + 1/2: ties are
    exact, nothing is sorted. A row that occurs w_i times has the entry sqrt(w_i) times its centred rank.
    """
    ranks = np.empty((*weights.shape, values.shape[1]))
    width = max(1, _ENTRIES // len(values) ** 2)
    for start in range(0, values.shape[1], width):
        part = values[:, start : start + width]
        before = (part[:, None, :] < part[None, :, :]) + 0.5 * (part[:, None, :] == part[None, :, :])
        ranks[:, :, start : start + width] = np.tensordot(weights, before, axes=(1, 0))
    ranks -= weights.sum(axis=1)[:, None, None] / 2
    ranks *= np.sqrt(weights)[:, :, None]
    with np.errstate(invalid="ignore"):  # 0/0: the resample has no variation
        ranks /= np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    return np.asarray(ranks)


def inner_products(left: Floats, right: Floats) -> Floats:
    """Correlate what `weighted_ranks` gave.

    Parameters
    ----------
    left, right : ndarray, shapes (draws, n, p) and (draws, n, q)
        Vectors of length 1.

    Returns
    -------
    ndarray, shape (draws, p, q)
        Correlations in [-1, 1].
    """
    return np.clip(np.matmul(left.transpose(0, 2, 1), right), -1.0, 1.0)


def spearman_draws(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman's correlation of every column of x with every column of y, in every resample.

    Parameters
    ----------
    x, y : ndarray, shapes (n, p) and (n, q)
        Numbers without NaN.
    weights : ndarray, shape (draws, n)
        How often each row occurs.

    Returns
    -------
    ndarray, shape (draws, p, q)
        Correlations; NaN where a column does not vary in a resample.
    """
    return np.concatenate(
        [
            inner_products(weighted_ranks(x, w), weighted_ranks(y, w))
            for w in parts_of(weights, x.shape[1] + y.shape[1])
        ]
    )


def parts_of(weights: Floats, columns: int) -> list[Floats]:
    """Split resamples so that the ranks of some columns in one part fit into memory.

    Parameters
    ----------
    weights : ndarray, shape (draws, n)
        How often each row occurs.
    columns : int
        Number of columns that are ranked.

    Returns
    -------
    list of ndarray
        The same in order.
    """
    chunk = max(1, _ENTRIES // max(1, weights.shape[1] * columns))
    return np.split(weights, range(chunk, len(weights), chunk))


def pair_signs(values: Floats) -> tuple[Integers, Float32s]:
    """Say for each pair of rows which of them is larger, column by column.

    Parameters
    ----------
    values : ndarray, shape (n, columns)
        Numbers without NaN.

    Returns
    -------
    pairs : ndarray of int, shape (2, n (n - 1)/2)
        The two rows of each pair.
    signs : ndarray of float32, shape (columns, pairs)
        1, 0 or -1.
    """
    pairs = np.stack(np.triu_indices(len(values), 1))
    signs = np.sign(values[pairs[0]] - values[pairs[1]]).T
    return pairs, np.ascontiguousarray(signs, dtype=np.float32)


def kendall_draws(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Kendall's tau-b of every column of x with every column of y, in every resample.

    Parameters
    ----------
    x, y : ndarray, shapes (n, p) and (n, q)
        Numbers without NaN.
    weights : ndarray, shape (draws, n)
        How often each row occurs.

    Returns
    -------
    ndarray, shape (draws, p, q)
        tau-b; NaN where a column does not vary in a resample.

    Notes
    -----
    tau-b = S / sqrt(T_x T_y) with S the sum over pairs of w_i w_j sign(x_i - x_j) sign(y_i - y_j), and T_x
    that of w_i w_j [x_i != x_j]: copies of one row tie with each other. All sums are products of matrices,
    and exact in single precision below 5 700 models.
    """
    (first, second), signs_x = pair_signs(x)
    _, signs_y = pair_signs(y)
    found = np.empty((len(weights), x.shape[1], y.shape[1]))
    chunk = max(1, _ENTRIES // max(1, len(first)))
    for start in range(0, len(weights), chunk):
        part = weights[start : start + chunk].astype(np.float32)
        products = part[:, first] * part[:, second]
        scale_x, scale_y = (products @ np.abs(signs).T for signs in (signs_x, signs_y))
        for i, row in enumerate(signs_x):
            scale = np.sqrt(scale_x[:, i, None].astype(np.float64) * scale_y)
            with np.errstate(invalid="ignore"):  # 0/0: the resample has no variation
                found[start : start + chunk, i] = (products @ (row * signs_y).T) / scale
    return found


def tail(level: float, clusters: int, fitted: int, models: int) -> float:
    """Give the share of resamples to leave out at each end of an interval.

    Parameters
    ----------
    level : float
        Probability that the interval is meant to hold the truth with.
    clusters, fitted, models : int
        Number of clusters that were resampled, of quantities that were fitted to them (a level for each
        block, a slope for each column that is held fixed in it), and of models.

    Returns
    -------
    float
        (1 - level)/2 where every model is a cluster of its own; else the smaller
        Φ(-sqrt(k/f) t) with k clusters, f = k - fitted and t the quantile of Student's t with f degrees of
        freedom.

    Notes
    -----
    The expanded percentile interval: a bootstrap of few clusters is too narrow by sqrt(f/k), and Student's t
    is wider than the normal distribution.

    References
    ----------
    Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician 69.
    """
    from scipy.special import ndtr, stdtrit

    if clusters == models or clusters <= fitted:
        return 0.5 - level / 2
    freedom = clusters - fitted
    return float(ndtr(-np.sqrt(clusters / freedom) * stdtrit(freedom, 0.5 + level / 2)))


def percentiles(draws: Floats, share: float | Floats) -> tuple[Floats, Floats]:
    """Return the end points of the central interval over the first axis.

    Parameters
    ----------
    draws : ndarray, shape (draws, ...)
        Resampled values; NaN is left out.
    share : float or ndarray
        What to leave out at each end; one for all, or of the shape of a draw.

    Returns
    -------
    lower, upper : ndarray
        NaN where no value is left.
    """
    shares = np.broadcast_to(share, draws.shape[1:])
    found = np.full((2, *draws.shape[1:]), np.nan)
    whole = ~np.isnan(draws).any(axis=0)
    for one in np.unique(shares):
        cells = whole & (shares == one)
        found[:, cells] = np.quantile(draws[:, cells], [one, 1 - one], axis=0)
    for cell in np.argwhere(~whole & ~np.isnan(draws).all(axis=0)):
        place = (slice(None), *cell)
        found[place] = np.nanquantile(draws[place], [shares[tuple(cell)], 1 - shares[tuple(cell)]])
    return found[0], found[1]


def confidence_level(value: float) -> float:
    """Give a probability strictly between 0 and 1.

    Parameters
    ----------
    value : float
        The probability.

    Returns
    -------
    float
        The same.

    Raises
    ------
    ValueError
        If it is not.
    """
    level = positive(value, "confidence")
    if level >= 1:
        raise ValueError(f"confidence is {level}; expected a number between 0 and 1, such as 0.95")
    return level
