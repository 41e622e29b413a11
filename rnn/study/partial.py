"""Partial rank correlation: what is left when the ranks of some columns are held fixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnn.study.block_tables import Table, dense_ranks, empty_table, note, put
from rnn.study.blocks import Block, Floats, fault, faults, rectangles
from rnn.study.permutations import Shuffle, permuted_partial
from rnn.study.resampling import inner_products, weighted_ranks

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
    fixed = np.nan_to_num(weighted_ranks(held, weights))  # a column without variation holds nothing
    inverse = np.linalg.pinv(np.matmul(fixed.transpose(0, 2, 1), fixed), hermitian=True)

    def left(values: Floats) -> Floats:
        ranks = weighted_ranks(values, weights)
        fitted = np.matmul(inverse, np.matmul(fixed.transpose(0, 2, 1), ranks))
        ranks -= np.matmul(fixed, fitted)
        norms = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
        return np.asarray(ranks / np.where(norms > _LEFT, norms, np.nan))

    return inner_products(left(x), left(y))


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
    table = empty_table(block.X.shape[1], block.Y.shape[1], len(weights))
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
        table.shuffles.append(Shuffle(clusters, part.i, part.j, permuted_partial(x, y, held)))
    return table


def _own_faults(notes: NDArray[np.object_], held: Floats, covariates: Sequence[str]) -> None:
    for name, column in zip(covariates, held.T, strict=True):
        if np.isinf(column).any():
            notes[notes == ""] = fault(column, f"{name} ")
