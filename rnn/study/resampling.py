"""The bootstrap: configurations are resampled, Kendall's correlations follow, and intervals are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.study.blocks import Floats, Integers
from spectra.checks import positive

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


def kendall_draws(x: Floats, y: Floats, clusters: Integers, weights: Floats) -> Floats:
    """Kendall's tau-b of every column of x with every column of y, in every resample.

    Parameters
    ----------
    x, y : ndarray, shapes (n, p) and (n, q)
        Finite numbers.
    clusters : ndarray of int, shape (n,)
        Cluster of each row.
    weights : ndarray, shape (draws, n)
        How often each row occurs; equal for rows of one cluster.

    Returns
    -------
    ndarray, shape (draws, p, q)
        tau-b; NaN where a column does not vary in a resample.

    Notes
    -----
    tau-b = S / sqrt(T_x T_y) with S the sum over pairs of w_i w_j sign(x_i - x_j) sign(y_i - y_j), and T_x
    that of w_i w_j [x_i != x_j]: copies of one row tie with each other. The signs of the pairs of rows of two
    clusters are added up once; with k clusters all resamples are then products with a matrix of k (k + 1)/2
    rows. All sums are whole numbers, and exact.
    """
    order = np.argsort(clusters, kind="stable")
    _, starts = np.unique(clusters[order], return_index=True)
    sums = np.zeros((len(weights), x.shape[1] * y.shape[1] + x.shape[1] + y.shape[1]))
    exact = np.float32 if weights.sum(axis=1).max() ** 2 < 2**25 else np.float64
    drawn: NDArray[Any] = weights[:, order[starts]].astype(exact)
    x, y = x[order], y[order]
    most = max(1, _ENTRIES // len(weights))
    tables: list[NDArray[Any]] = []
    products: list[NDArray[Any]] = []
    for cluster in range(len(starts)):
        tables.append(_sign_sums(x, y, starts, cluster).astype(exact))
        products.append(drawn[:, cluster, None] * drawn[:, cluster:])
        if cluster == len(starts) - 1 or sum(map(len, tables)) > most:
            sums += np.concatenate(products, axis=1) @ np.concatenate(tables)
            tables, products = [], []
    both, scale_x, scale_y = np.split(sums, np.cumsum([x.shape[1] * y.shape[1], x.shape[1]]), axis=1)
    with np.errstate(invalid="ignore"):  # 0/0: the resample has no variation
        return both.reshape(-1, x.shape[1], y.shape[1]) / np.sqrt(scale_x[:, :, None] * scale_y[:, None, :])


def _sign_sums(x: Floats, y: Floats, starts: Integers, cluster: int) -> Floats:
    # For a cluster with itself and with each later one the sums of sign(x_i - x_j) sign(y_i - y_j) over their
    # pairs of rows, then of abs(sign(x_i - x_j)), then of abs(sign(y_i - y_j)): shape (clusters, pq + p + q).
    first, last = starts[cluster], starts[cluster + 1] if cluster + 1 < len(starts) else len(x)
    whole = np.zeros((len(x) - first, x.shape[1] * y.shape[1] + x.shape[1] + y.shape[1]), dtype=np.float32)
    some = max(1, _ENTRIES // (len(whole) * (x.shape[1] + y.shape[1])))
    for start in range(first, last, some):
        rows = slice(start, min(start + some, last))
        signs_x, signs_y = (np.sign(v[rows, None] - v[first:]).astype(np.float32) for v in (x, y))
        both = np.matmul(signs_x.transpose(1, 2, 0), signs_y.transpose(1, 0, 2))
        ties = (np.abs(signs, out=signs).sum(axis=0) for signs in (signs_x, signs_y))
        whole += np.concatenate([both.reshape(len(whole), -1), *ties], axis=1)
    sums = np.add.reduceat(whole, starts[cluster:] - first, axis=0)
    sums[0] /= 2  # pairs within the cluster come twice
    return np.asarray(sums)


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
