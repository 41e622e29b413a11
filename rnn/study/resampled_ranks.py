"""Rank correlations of the columns of a block in every resample, each column ranked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnn.study.blocks import Block, Floats

Float32s = NDArray[np.float32]

_ENTRIES = 40_000_000  # of the ranks that are held at a time
_CACHED = 400_000  # of those that are multiplied at a time


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Products:
    """Correlations of some columns of a block over some of its rows, resample by resample.

    Attributes
    ----------
    rows : bytes
        The rows.
    left, right : list of int
        The columns that are correlated, each of the first with each of the second.
    values : ndarray, shape (1 + draws, left, right)
        Correlations; NaN where a column does not vary.
    varies : ndarray of bool, shape (1 + draws, left)
        Whether the first columns vary.
    """

    rows: bytes
    left: list[int]
    right: list[int]
    values: Floats
    varies: NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RankedBlock:
    """A block whose rank correlations are computed when they are asked for, and kept.

    Columns are numbered through: measures, outcomes, covariates.

    Attributes
    ----------
    block : Block
        The models.
    weights : ndarray, shape (1 + draws, n)
        How often each model occurs: once in the first row, then in each resample.
    known : list of int
        Columns that others are held against: covariates and baselines. Their correlations are computed with
        those that are asked for.
    kept : list of Products
        What has been computed.
    """

    block: Block
    weights: Floats
    known: list[int]
    kept: list[Products]

    @property
    def places(self) -> tuple[int, int]:
        """Numbers of the first outcome and of the first covariate."""
        measures = self.block.X.shape[1]
        return measures, measures + self.block.Y.shape[1]

    def products(self, rows: NDArray[np.bool_], left: Sequence[int], right: Sequence[int]) -> Products:
        """Correlate columns over those rows, anew in each resample.

        Parameters
        ----------
        rows : ndarray of bool, shape (n,)
            The models to use; every one has all of the columns.
        left, right : sequence of int
            The columns.

        Returns
        -------
        Products
            Of exactly these columns, in this order.
        """
        marks, found = rows.tobytes(), None
        for one in self.kept:
            if one.rows == marks and {*left} <= {*one.left} and {*right} <= {*one.right}:
                found = one
        if found is None:
            values = np.concatenate([self.block.X, self.block.Y, self.block.C], axis=1)[rows]
            known = [column for column in self.known if not np.isnan(values[:, column]).any()]
            second = sorted({*right, *known})
            first = [*second, *sorted({*left} - {*second})]
            computed = rank_products(values[:, first], len(second), self.weights[:, rows])
            found = Products(marks, first, second, *computed)
            self.kept.append(found)
        i, j = [found.left.index(one) for one in left], [found.right.index(one) for one in right]
        return Products(marks, [*left], [*right], found.values[:, i][:, :, j], found.varies[:, i])


def ranked_block(block: Block, weights: Floats, baselines: Sequence[int] = ()) -> RankedBlock:
    """Prepare the rank correlations of a block.

    Parameters
    ----------
    block : Block
        The models.
    weights : ndarray, shape (draws, n)
        How often each model occurs in each resample.
    baselines : sequence of int
        Measures that others are held against, beside the covariates.

    Returns
    -------
    RankedBlock
        With nothing computed.
    """
    covariates = block.X.shape[1] + block.Y.shape[1] + np.arange(block.C.shape[1])
    once = np.concatenate([np.ones((1, weights.shape[1])), weights])
    return RankedBlock(block, once, [*baselines, *covariates.tolist()], [])


def rank_products(values: Floats, right: int, weights: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Spearman's correlation of every column with the first ones, in every resample.

    Parameters
    ----------
    values : ndarray, shape (n, columns)
        Numbers without NaN.
    right : int
        How many of the columns all are correlated with.
    weights : ndarray, shape (draws, n)
        How often each row occurs.

    Returns
    -------
    correlations : ndarray, shape (draws, columns, right)
        NaN where a column does not vary in a resample.
    varies : ndarray of bool, shape (draws, columns)
        Whether it does.

    Notes
    -----
    Twice the centred average ranks are whole numbers, so sums of their products are exact. Time grows with
    draws x n x columns.
    """
    n, columns = values.shape
    products = np.empty((len(weights), columns, right))
    squares = np.empty((len(weights), columns))
    width, piece = (max(1, entries // max(1, n * columns)) for entries in (_ENTRIES, _CACHED))
    room = np.empty((min(piece, len(weights)), columns, n))
    for part in _slices(0, len(weights), width):
        by_row = np.ascontiguousarray(weights[part].T, dtype=np.float32)
        ranks = np.empty((columns, *by_row.shape), dtype=np.float32)
        for column, place in zip(values.T, ranks, strict=True):
            weighted_ranks(column, by_row, out=place)
        for some in _slices(part.start, part.stop, piece):
            drawn, factors = weights[some], room[: some.stop - some.start]
            factors[:] = ranks[:, :, some.start - part.start : some.stop - part.start].transpose(2, 0, 1)
            products[some] = factors @ (factors[:, :right] * drawn[:, None, :]).transpose(0, 2, 1)
            factors *= factors
            squares[some] = (factors @ drawn[:, :, None])[:, :, 0]
    with np.errstate(invalid="ignore"):  # 0/0: the resample has no variation
        products /= np.sqrt(squares[:, :, None] * squares[:, None, :right])
    return products, squares > 0


def weighted_ranks(values: Floats, weights: Float32s, *, out: Float32s) -> None:
    """Rank the rows of each resample: twice the average rank, less that of the middle.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Numbers without NaN.
    weights : ndarray of float32, shape (n, draws)
        How often each row occurs.
    out : ndarray of float32, shape (n, draws)
        To be filled with the ranks: whole numbers around 0, exact below 8 million rows.

    Notes
    -----
    The rows are sorted once; from one to the next larger, and half way on equal ones, ranks of all resamples
    rise by the weights.
    """
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    ends = np.flatnonzero(np.append(sorted_values[1:] != sorted_values[:-1], True)) + 1
    level, start = -weights.sum(axis=0), 0
    rows = order.tolist()
    for end in ends.tolist():
        equal = rows[start] if end - start == 1 else rows[start:end]
        share = weights[equal] if end - start == 1 else weights[equal].sum(axis=0)
        middle = level + share
        out[equal] = middle
        level, start = middle + share, end


def _slices(start: int, stop: int, width: int) -> list[slice]:
    return [slice(at, min(at + width, stop)) for at in range(start, stop, width)]
