"""Partial rank correlation: what is left when the ranks of some columns are held fixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnn.study.block_tables import Table, dense_ranks, empty_table, note, put, shuffled
from rnn.study.blocks import Floats, Integers, Rectangle, fault, faults, rectangles
from rnn.study.permutations import Permuted
from rnn.study.permuted_ranks import whole_ranks
from rnn.study.resampled_ranks import RankedBlock

_LEFT = 1e-6  # a residual shorter than this share of its vector is rounding errors


def partial_draws(xy: Floats, xc: Floats, yc: Floats, cc: Floats) -> Floats:
    """Partial correlation of every column of x with every column of y, in every resample.

    Parameters
    ----------
    xy, xc, yc, cc : ndarray, shapes (draws, p, q), (draws, p, c), (draws, q, c) and (draws, c, c)
        Rank correlations of x, y and what is held fixed; NaN where a column does not vary.

    Returns
    -------
    ndarray, shape (draws, p, q)
        Correlations of the residuals of the ranks of x and y in the regressions on the ranks of what is held
        fixed; NaN where nothing is left of a column.

    Notes
    -----
    (xy - xc cc⁻¹ yc') / sqrt((1 - xc cc⁻¹ xc')(1 - yc cc⁻¹ yc')). A column without variation holds nothing.
    """
    xc, yc, cc = (np.nan_to_num(part) for part in (xc, yc, cc))
    inverse = np.linalg.pinv(cc, hermitian=True)
    of_x, of_y = xc @ inverse, yc @ inverse
    left_x, left_y = (1 - (of_ * own).sum(axis=2) for of_, own in ((of_x, xc), (of_y, yc)))
    left_x, left_y = (np.where(left > _LEFT**2, left, np.nan) for left in (left_x, left_y))
    found = (xy - of_x @ yc.transpose(0, 2, 1)) / np.sqrt(left_x[:, :, None] * left_y[:, None, :])
    return np.clip(found, -1.0, 1.0)


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
    ranked: RankedBlock, measures: Sequence[str], outcomes: Sequence[str], covariates: Sequence[str]
) -> Table:
    """Correlate each measure with each outcome of a block, the covariates held fixed.

    Parameters
    ----------
    ranked : RankedBlock
        The models and their resamples; models without one of the covariates are left out.
    measures, outcomes, covariates : sequence of str
        Names of the columns of X, Y and C, for the notes.

    Returns
    -------
    Table
        The correlations.
    """
    block = ranked.block
    table = empty_table(block.X.shape[1], block.Y.shape[1], len(ranked.weights) - 1, held=len(covariates))
    if not covariates:
        return table
    complete = np.asarray(~np.isnan(block.C).any(axis=1))
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
        drawn = _resampled(ranked, part)
        notes[np.isnan(drawn[0]) & (notes == "")] = f"determined by {' and '.join(covariates)}"
        note(table, part, clusters, notes)
        put(table, part, drawn[0], drawn[1:])
        shuffle = permuted_partial(dense_ranks(x), dense_ranks(y), dense_ranks(held), clusters)
        table.shuffles.append(shuffled(block, part, shuffle))
    return table


def _resampled(ranked: RankedBlock, part: Rectangle) -> Floats:
    # Partial correlations of a part of a table: once, then in each resample.
    outcomes, first = ranked.places
    held = list(range(first, first + ranked.block.C.shape[1]))
    own = [outcomes + j for j in part.j]
    whole = ranked.products(part.rows, [*part.i, *own, *held], [*own, *held]).values
    p, q = len(part.i), len(own)
    return partial_draws(whole[:, :p, :q], whole[:, :p, q:], whole[:, p : p + q, q:], whole[:, p + q :, q:])


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
