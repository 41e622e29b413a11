"""All rank correlations of a block with their resamples, and their means over blocks."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnn.study.blocks import Block, Floats, Integers, Rectangle, faults, rectangles
from rnn.study.permutations import Permuted, Shuffle
from rnn.study.permuted_ranks import lopsided, permuted_kendall, permuted_spearman
from rnn.study.resampled_ranks import RankedBlock
from rnn.study.resampling import LEAST_CLUSTERS, kendall_draws, percentiles, tail


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All correlations of one sort in one block, as arrays (measures, outcomes); NaN where there is none.

    Attributes
    ----------
    value : ndarray, shape (measures, outcomes)
        The correlations.
    draws : ndarray, shape (draws, measures, outcomes)
        The correlation of each resample.
    n, clusters, blocks : ndarray of int, shape (measures, outcomes)
        Number of models, of clusters and of blocks that it rests on.
    note : ndarray of str, shape (measures, outcomes)
        Why there is no value, or what weakens it.
    shuffles : list of Shuffle
        The same correlations with permuted outcomes.
    held : int
        Number of columns that are held fixed.
    """

    value: Floats
    draws: Floats
    n: Integers
    clusters: Integers
    blocks: Integers
    note: NDArray[np.object_]
    shuffles: list[Shuffle]
    held: int = 0


def empty_table(measures: int, outcomes: int, draws: int, *, held: int = 0) -> Table:
    """Give a table without any correlation, to be filled.

    Parameters
    ----------
    measures, outcomes, draws : int
        Its shape.
    held : int
        Number of columns that are held fixed.

    Returns
    -------
    Table
        NaN and zeros.
    """
    shape = (measures, outcomes)
    return Table(
        value=np.full(shape, np.nan),
        draws=np.full((draws, *shape), np.nan),
        n=np.zeros(shape, dtype=np.int64),
        clusters=np.zeros(shape, dtype=np.int64),
        blocks=np.zeros(shape, dtype=np.int64),
        note=np.full(shape, "", dtype=object),
        shuffles=[],
        held=held,
    )


def rank_tables(ranked: RankedBlock, measures: Sequence[str]) -> tuple[Table, Table]:
    """Correlate each measure with each outcome by Spearman and by Kendall, and again in each resample.

    Parameters
    ----------
    ranked : RankedBlock
        The models and their resamples.
    measures : sequence of str
        Names of the columns of X, for the notes.

    Returns
    -------
    spearman, kendall : Table
        The correlations.
    """
    block, weights = ranked.block, ranked.weights
    tables = [empty_table(block.X.shape[1], block.Y.shape[1], len(weights) - 1) for _ in range(2)]
    for part in rectangles(block.X, block.Y, np.ones(len(block.X), dtype=np.bool_)):
        x, y = block.X[part.rows][:, part.i], block.Y[part.rows][:, part.j]
        clusters = block.clusters[part.rows]
        notes = faults(x, y, [measures[k] for k in part.i])
        for table in tables:
            note(table, part, clusters, notes)
        if (notes == "").any():
            ranks = dense_ranks(x), dense_ranks(y)
            outcomes = [ranked.places[0] + j for j in part.j]
            drawn = (
                ranked.products(part.rows, part.i, outcomes).values,
                kendall_draws(*ranks, clusters, weights[:, part.rows]),
            )
            shuffles = permuted_spearman(*ranks), permuted_kendall(*ranks)
            skew = lopsided(*ranks)
            for table, found, shuffle in zip(tables, drawn, shuffles, strict=True):
                put(table, part, found[0], found[1:])
                table.shuffles.append(shuffled(block, part, shuffle, skew))
    return tables[0], tables[1]


def note(table: Table, part: Rectangle, clusters: Integers, notes: NDArray[np.object_]) -> None:
    """Write down what a part of a table rests on, and why some of it has no correlation.

    Parameters
    ----------
    table : Table
        To be filled.
    part : Rectangle
        The part.
    clusters : ndarray of int
        Clusters of its models.
    notes : ndarray of str
        Why a pair has no correlation; empty where it has one.
    """
    cells = np.ix_(part.i, part.j)
    table.n[cells], table.clusters[cells] = len(clusters), len(np.unique(clusters))
    table.note[cells], table.blocks[cells] = notes, notes == ""


def shuffled(
    block: Block, part: Rectangle, permuted: Permuted, lopsided: NDArray[np.bool_] | bool = False
) -> Shuffle:
    """Give what a permutation test needs of a part of a block.

    Parameters
    ----------
    block : Block
        The models.
    part : Rectangle
        The part.
    permuted : callable
        From arrangements to correlations.
    lopsided : ndarray of bool or bool
        Pairs whose permuted correlations are too skew for a normal tail.

    Returns
    -------
    Shuffle
        With clusters and strata of the models of the part.
    """
    strata = None if block.strata is None else block.strata[part.rows]
    return Shuffle(block.clusters[part.rows], part.i, part.j, permuted, lopsided, strata)


def put(table: Table, part: Rectangle, value: Floats, draws: Floats) -> None:
    """Write the correlations of a part of a table where `note` left them out for no reason.

    Parameters
    ----------
    table : Table
        To be filled.
    part : Rectangle
        The part.
    value, draws : ndarray
        Its correlations, and those of the resamples.
    """
    cells = np.ix_(part.i, part.j)
    fine = table.note[cells] == ""
    table.value[cells] = np.where(fine, value, np.nan)
    table.draws[:, np.array(part.i)[:, None], np.array(part.j)] = np.where(fine, draws, np.nan)
    remarks = _remarks(value, draws, int(table.clusters[cells].max(initial=0)))
    table.note[cells] = np.where(fine, remarks, table.note[cells])


def dense_ranks(values: Floats) -> Floats:
    """Replace numbers by the place of their value in each column, from 0: infinities become finite.

    Parameters
    ----------
    values : ndarray, shape (n, columns)
        Numbers without NaN.

    Returns
    -------
    ndarray, shape (n, columns)
        Numbers in the same order, with the same ties.
    """
    ranks = np.empty(values.shape)
    for column, place in zip(values.T, ranks.T, strict=True):
        place[:] = np.unique(column, return_inverse=True)[1]
    return ranks


def intervals(table: Table, level: float) -> tuple[Floats, Floats]:
    """Return the ends of the bootstrap intervals.

    Parameters
    ----------
    table : Table
        The correlations.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    lower, upper : ndarray, shape (measures, outcomes)
        NaN where there is no correlation, or where it rests on fewer than 4 clusters to a block.
    """
    return percentiles(reliable(table), tails(table, level))


def reliable(table: Table) -> Floats:
    """Give the draws, with NaN for correlations that rest on fewer than 4 clusters to a block.

    Parameters
    ----------
    table : Table
        The correlations.

    Returns
    -------
    ndarray, shape (draws, measures, outcomes)
        The draws that an interval may be taken from.
    """
    return np.where(table.clusters >= LEAST_CLUSTERS * table.blocks, table.draws, np.nan)


def tails(table: Table, level: float) -> Floats:
    """Give the share to leave out at each end, for each correlation of a table.

    Parameters
    ----------
    table : Table
        The correlations.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    ndarray, shape (measures, outcomes)
        As `tail` gives it.
    """
    shares = np.empty(table.value.shape)
    for cell in np.ndindex(shares.shape):
        fitted = int(table.blocks[cell]) * (1 + table.held)
        shares[cell] = tail(level, int(table.clusters[cell]), fitted, int(table.n[cell]))
    return shares


def mean_table(tables: Sequence[Table], labels: Sequence[str]) -> tuple[Table, Floats]:
    """Average the correlations over the blocks with weights n / sum of n, where at least two have one.

    Parameters
    ----------
    tables : sequence of Table
        The blocks, with the same measures, outcomes and number of resamples.
    labels : sequence of str
        Their names.

    Returns
    -------
    Table
        The averages; `blocks` counts those with a correlation, and is 0 where there are fewer than two.
    weights : ndarray, shape (blocks, measures, outcomes)
        The weights; 0 where a block has no correlation.

    Notes
    -----
    Ranks of a resample have ties that draw strong correlations towards 0, by an amount that blocks share and
    that does not average out: the resampled means are moved so that their mean is the estimate.
    """
    values = np.stack([table.value for table in tables])
    usable = ~np.isnan(values)
    enough = usable.sum(axis=0) >= 2
    n = np.stack([table.n for table in tables]) * usable
    clusters = (np.stack([table.clusters for table in tables]) * usable).sum(axis=0)
    weights = n / np.maximum(n.sum(axis=0), 1)
    mean = np.where(usable, weights * values, 0.0).sum(axis=0)
    draws = np.zeros_like(tables[0].draws)
    for use, weight, table in zip(usable, weights, tables, strict=True):
        draws += np.where(use, weight * table.draws, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pairs without any resample
        draws = np.clip(draws - np.nanmean(draws, axis=0) + mean, -1.0, 1.0)
    notes = np.full(mean.shape, "", dtype=object)
    for cell in np.argwhere(enough):
        joined = ", ".join(np.array(labels, dtype=object)[usable[(slice(None), *cell)]])
        notes[tuple(cell)] = f"mean of the correlations within {joined}, weighted by n"
    blank = np.where(enough, 1.0, np.nan)
    models, groups, count = (
        np.where(enough, all_, 0) for all_ in (n.sum(axis=0), clusters, usable.sum(axis=0))
    )
    return Table(mean * blank, draws * blank, models, groups, count, notes, [], tables[0].held), weights


def _remarks(value: Floats, draws: Floats, clusters: int) -> NDArray[np.object_]:
    # For each correlation what weakens its interval.
    if clusters < LEAST_CLUSTERS:
        few = f"only {clusters} clusters: no interval, at least {LEAST_CLUSTERS} are needed"
        return np.full(value.shape, few, dtype=object)
    share = np.isnan(draws).mean(axis=0)
    flat = np.char.add(
        np.char.mod("%.0f", 100 * share), " % of the resamples had no variation and were left out"
    )
    perfect = "perfect agreement of ranks: the true interval is wider"
    return np.where(np.abs(value) > 1 - 1e-12, perfect, np.where(share >= 0.005, flat, "")).astype(object)
