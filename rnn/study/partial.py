"""Partial rank correlation: what is left when the ranks of some columns are held fixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnn.study.block_tables import Table, dense_ranks, empty_table, note, put
from rnn.study.blocks import Block, Floats, Integers, fault, faults, rectangles
from rnn.study.permutations import Permuted, Shuffle, whole_ranks
from rnn.study.resampling import inner_products, parts_of, weighted_ranks

_LEFT = 1e-6  # a residual shorter than this share of its vector is rounding errors


def partial_draws(x: Floats, y: Floats, held: Floats, weights: Floats) -> Floats:
    """Partial Spearman correlation of every column of x with every column of y, in every resample.

    Parameters
    ----------
    x, y, held : ndarray, shapes (n, p), (n, q) and (n, c)
        Numbers without NaN.
    weights : ndarray, shape (draws, n)
        How often each row occurs.

    Returns
    -------
    ndarray, shape (draws, p, q)
        Correlations of the residuals of the ranks of x and y in the regressions on the ranks of `held`; NaN
        where nothing is left of a column.

    Notes
    -----
    With one column held this is (r_xy - r_xc r_yc) / sqrt((1 - r_xc²)(1 - r_yc²)) of Spearman's
    correlations. Ranks are taken anew in each resample.
    """
    parts = parts_of(weights, x.shape[1] + y.shape[1] + held.shape[1])
    return np.concatenate([_partial_draws(x, y, held, part) for part in parts])


def _partial_draws(x: Floats, y: Floats, held: Floats, weights: Floats) -> Floats:
    fixed = np.nan_to_num(weighted_ranks(held, weights))  # a column without variation holds nothing
    inverse = np.linalg.pinv(np.matmul(fixed.transpose(0, 2, 1), fixed), hermitian=True)

    def left(values: Floats) -> Floats:
        ranks = weighted_ranks(values, weights)
        fitted = np.matmul(inverse, np.matmul(fixed.transpose(0, 2, 1), ranks))
        ranks -= np.matmul(fixed, fitted)
        norms = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
        return np.asarray(ranks / np.where(norms > _LEFT, norms, np.nan))

    return inner_products(left(x), left(y))


def permuted_partial(x: Floats, y: Floats, held: Floats, clusters: Integers) -> Permuted:
    """Prepare partial rank correlations of x with y, the residuals of y permuted.

    Parameters
    ----------
    x, y, held : ndarray, shapes (n, p), (n, q) and (n, c)
        Numbers without NaN; the ranks of `held` are held fixed.
    clusters : ndarray of int, shape (n,)
        Cluster of each row.

    Returns
    -------
    callable
        From arrangements (m, n) to correlations (m, p, q); NaN where nothing is left of a column.

    Notes
    -----
    Freedman and Lane: the residuals e of the ranks of y are permuted, added to the fitted values and fitted
    again. With Q an orthonormal basis of what is held fixed that is the correlation of the residuals of x
    with Pe - QQ'Pe. Residuals vary less than errors do; where a cluster has several rows, the means of the
    clusters lose more of their variance by it than the rest, and with few clusters permuted correlations
    would be too small. So these means are stretched to the variance that they are expected to have lost: by
    the root of (k - 1)/(k - 1 - 2 tr(T) + tr(T^2)) with k clusters, T = Q'BQ and B the projection on the
    means.
    """
    ranks_x, ranks_y, basis = whole_ranks(x), whole_ranks(y), _basis(whole_ranks(held))
    left_x, left_y = (ranks - basis @ (basis.T @ ranks) for ranks in (ranks_x, ranks_y))
    norm_x, norm_y = (_norm_left(left, ranks) for left, ranks in ((left_x, ranks_x), (left_y, ranks_y)))
    both = np.concatenate([left_x / norm_x, basis], axis=1)
    stretched = _stretched(left_y / norm_y, basis, clusters)
    columns = np.ascontiguousarray((stretched / np.sqrt((stretched**2).sum(axis=0))).T)

    def permuted(orders: Integers) -> Floats:
        rows = np.take(columns, orders, axis=1)  # (q, m, n)
        products = (rows.reshape(-1, len(x)) @ both).reshape(y.shape[1], len(orders), -1)
        fitted = (products[:, :, x.shape[1] :] ** 2).sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = products[:, :, : x.shape[1]] / np.sqrt(1 - fitted)[:, :, None]
        return np.clip(found.transpose(1, 2, 0), -1.0, 1.0)

    return permuted


def partial_table(
    block: Block, measures: Sequence[str], outcomes: Sequence[str], covariates: Sequence[str], weights: Floats
) -> Table:
    """Correlate each measure with each outcome of a block, the covariates held fixed.

    Parameters
    ----------
    block : Block
        The models; those without one of the covariates are left out.
    measures, outcomes, covariates : sequence of str
        Names of the columns of X, Y and C, for the notes.
    weights : ndarray, shape (draws, n)
        How often each model occurs in each resample.

    Returns
    -------
    Table
        The correlations.
    """
    table = empty_table(block.X.shape[1], block.Y.shape[1], len(weights), held=len(covariates))
    if not covariates:
        return table
    complete = np.array([not np.isnan(row).any() for row in block.C])
    for part in rectangles(block.X, block.Y, complete):
        x, y, held = block.X[part.rows][:, part.i], block.Y[part.rows][:, part.j], block.C[part.rows]
        notes = faults(x, y, [measures[k] for k in part.i])
        _own_faults(notes, held, covariates)
        notes[[measures[k] in covariates for k in part.i]] = "held fixed"
        notes[:, [outcomes[k] in covariates for k in part.j]] = "outcome held fixed"
        clusters = block.clusters[part.rows]
        note(table, part, clusters, notes)
        if not (notes == "").any():
            continue
        x, y, held = dense_ranks(x), dense_ranks(y), dense_ranks(held)
        once = partial_draws(x, y, held, np.ones((1, len(x))))[0]
        notes[np.isnan(once) & (notes == "")] = f"determined by {' and '.join(covariates)}"
        note(table, part, clusters, notes)
        put(table, part, once, partial_draws(x, y, held, weights[:, part.rows]))
        table.shuffles.append(Shuffle(clusters, part.i, part.j, permuted_partial(x, y, held, clusters)))
    return table


def _own_faults(notes: NDArray[np.object_], held: Floats, covariates: Sequence[str]) -> None:
    for name, column in zip(covariates, held.T, strict=True):
        if np.isinf(column).any():
            notes[notes == ""] = fault(column, f"{name} ")


def _stretched(left: Floats, basis: Floats, clusters: Integers) -> Floats:
    # The means of clusters stretched to the variance that they had before columns were held fixed.
    members = (clusters[:, None] == np.unique(clusters)).astype(np.float64)
    count = members.shape[1]

    def means(values: Floats) -> Floats:
        return np.asarray(members @ (members.T @ values / members.sum(axis=0)[:, None]))

    inner = basis.T @ means(basis)
    rest = count - 1 - 2 * np.trace(inner) + np.trace(inner @ inner)
    factor = np.sqrt((count - 1) / rest) if rest > 0.5 else 1.0
    return left + (factor - 1) * means(left)


def _basis(columns: Floats) -> Floats:
    # An orthonormal basis of centred columns; those that the others determine add nothing.
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, sizes > 1e-9 * max(1.0, float(sizes.max(initial=0.0)))])


def _norm_left(left: NDArray[np.float64], ranks: NDArray[np.float64]) -> Floats:
    # Length of the residuals; NaN where rounding errors are all that is left.
    norms, whole = (np.sqrt((columns**2).sum(axis=0)) for columns in (left, ranks))
    return np.where(norms > 1e-6 * whole, norms, np.nan)
