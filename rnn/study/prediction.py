"""Out-of-sample prediction: what a measure adds in a task or an architecture that was not fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.study.block_tables import Table
from rnn.study.blocks import LEAST_MODELS, Block, Floats, Models
from rnn.study.resampled_ranks import RankedBlock
from rnn.study.resampling import LEAST_CLUSTERS, percentiles, tail

if TYPE_CHECKING:
    import pandas as pd

RIDGE = 0.01

PREDICTION_COLUMNS = {
    "measure": "column of the measure",
    "outcome": "column of the outcome",
    "leave_out": "column whose values are left out in turn: the blocks with one of them are predicted",
    "folds": "number of these values",
    "n": "models predicted",
    "clusters": "configurations among them",
    "r2_known": "out-of-sample R2 of the regression on what is known already: baselines and covariates",
    "r2_with": "the same with the measure added",
    "gain": "r2_with less r2_known",
    "lower": "lower end of its bootstrap interval, everything fitted anew in each resample",
    "upper": "upper end",
    "helped": "number of folds that are predicted better with the measure",
}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Inner products of the standardised ranks of a block, for each resample.

    Attributes
    ----------
    keys : tuple
        The values that name the block.
    n : int
        Number of models.
    KK, KX, KY : ndarray, shapes (draws, k, k), (draws, k, p), (draws, k, q)
        Of what is known with itself, the measures and the outcomes.
    XX, XY, YY : ndarray, shapes (draws, p), (draws, p, q), (draws, q)
        Of the measures and outcomes; XX and YY are 1, or 0 where a column does not vary.
    """

    keys: tuple[object, ...]
    n: int
    KK: Floats
    KX: Floats
    KY: Floats
    XX: Floats
    XY: Floats
    YY: Floats


def moments(
    ranked: RankedBlock, rows: NDArray[np.bool_], i: Sequence[int], j: Sequence[int], baselines: Sequence[int]
) -> Moments:
    """Rank the columns of a block and take all inner products that a regression needs.

    Parameters
    ----------
    ranked : RankedBlock
        The models and their resamples.
    rows : ndarray of bool, shape (n,)
        Models that have all of the columns.
    i, j : sequence of int
        Measures and outcomes.
    baselines : sequence of int
        Measures that are known, beside the covariates.

    Returns
    -------
    Moments
        Of the average ranks, centred and of length 1; a column without variation is 0. First of the models
        as they are, then of each resample.
    """
    outcomes, first = ranked.places
    own = [outcomes + column for column in j]
    known = [*baselines, *range(first, first + ranked.block.C.shape[1])]
    found = ranked.products(rows, [*known, *i, *own], [*known, *own])
    whole, varies = np.nan_to_num(found.values), found.varies.astype(np.float64)
    k, p = len(known), len(known) + len(i)
    return Moments(
        keys=ranked.block.keys,
        n=int(rows.sum()),
        KK=whole[:, :k, :k],
        KX=whole[:, k:p, :k].transpose(0, 2, 1),
        KY=whole[:, :k, k:],
        XX=varies[:, k:p],
        XY=whole[:, k:p, k:],
        YY=varies[:, p:],
    )


def left_out_errors(
    train: Sequence[Moments], test: Sequence[Moments], ridge: float = RIDGE
) -> tuple[Floats, Floats, Floats]:
    """Fit on some blocks and add up the squared errors on others, with and without the measure.

    Parameters
    ----------
    train, test : sequence of Moments
        Blocks to fit and to predict.
    ridge : float
        Penalty of the squared coefficients, as a share of the number of models.

    Returns
    -------
    total, known, added : ndarray, shapes (draws, q), (draws, q) and (draws, p, q)
        Sum of squares of the outcome, and of the errors without and with the measure.

    Notes
    -----
    Ridge regression of the outcome's ranks on those of what is known and of one measure at a time, all
    measures and resamples at once: with β_y, β_x the coefficients of outcome and measure on what is known,
    the measure gets γ = (xy - β_x'Ky)/(xx - β_x'Kx) and the known ones β_y - β_x γ.
    """

    def total(name: str, blocks: Sequence[Moments]) -> Floats:
        return np.asarray(sum(block.n * getattr(block, name) for block in blocks))

    shrink = ridge * sum(block.n for block in train)
    KK, KX, KY, XX, XY = (total(name, train) for name in ("KK", "KX", "KY", "XX", "XY"))
    inverse = np.linalg.inv(KK + shrink * np.eye(KK.shape[1]))
    of_x, of_y = inverse @ KX, inverse @ KY
    left = XX + shrink - (of_x * KX).sum(axis=1)
    slope = (XY - of_x.transpose(0, 2, 1) @ KY) / left[:, :, None]
    KK, KX, KY, XX, XY, YY = (total(name, test) for name in ("KK", "KX", "KY", "XX", "XY", "YY"))
    known = YY - 2 * (of_y * KY).sum(axis=1) + (of_y * (KK @ of_y)).sum(axis=1)
    # The measure's part that the known ones do not predict, x - K β_x, times the residual of the outcome.
    turned = of_x.transpose(0, 2, 1)
    across = XY - turned @ KY - (KX.transpose(0, 2, 1) - turned @ KK) @ of_y
    square = XX - 2 * (of_x * KX).sum(axis=1) + (of_x * (KK @ of_x)).sum(axis=1)
    added = known[:, None, :] - 2 * slope * across + slope**2 * square[:, :, None]
    return YY, known, added


def prediction_frame(
    data: Models, tables: Sequence[Table], ranked: Sequence[RankedBlock], baselines: list[int], level: float
) -> pd.DataFrame:
    """Predict outcomes of the blocks of a task (a cell, ...) from all others, with and without each measure.

    Parameters
    ----------
    data : Models
        The models in blocks.
    tables : sequence of Table
        Spearman's correlations of the blocks: what has none in a block is left out there.
    ranked : sequence of RankedBlock
        The blocks with their resamples.
    baselines : list of int
        Measures that are known already, beside the covariates.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    DataFrame
        With the columns of `PREDICTION_COLUMNS`; only where at least two values can be left out in turn.

    Notes
    -----
    Target and regressors are the average ranks within each block, centred and scaled: the question is which
    models of a new task or architecture are the less robust ones, not how robust they are as a whole. Each
    block is ranked for itself, so nothing of the predicted blocks enters the fit. Both regressions see the
    same models: those with the measure, the outcome, all baselines and all covariates, in blocks where
    measure and outcome vary. R2 = 1 - (squared errors)/(squares of the outcome's centred ranks), over all
    folds; it is negative where a prediction is worse than none. Ridge penalty 0.01.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    usable = np.stack([~np.isnan(table.value) for table in tables])
    usable[:, baselines] = False
    usable[:, [i for i, name in enumerate(data.measures) if name in data.covariates]] = False
    usable[:, :, [j for j, name in enumerate(data.outcomes) if name in data.covariates]] = False
    for i, j, pairs, parts in _groups(data, usable, baselines):
        if not parts:
            continue
        whole = [moments(ranked[b], rows_, i, j, baselines) for _, rows_, b in parts]
        n = sum(int(rows_.sum()) for _, rows_, _ in parts)
        clusters = sum(len(np.unique(block.clusters[rows_])) for block, rows_, _ in parts)
        share = tail(level, clusters, len(parts), n)
        for place, column in enumerate(data.by):
            folds = sorted({block.keys[place] for block, _, _ in parts}, key=str)
            if len(folds) < 2:
                continue
            found = _scores(whole, folds, place)
            lower, upper = percentiles(found["gain"][1:], share)
            if clusters < LEAST_CLUSTERS * len(parts):
                lower, upper = np.full_like(lower, np.nan), np.full_like(upper, np.nan)
            for a, b in pairs:
                rows.append(
                    {
                        "measure": data.measures[i[a]],
                        "outcome": data.outcomes[j[b]],
                        "leave_out": column,
                        "folds": len(folds),
                        "n": n,
                        "clusters": clusters,
                        "r2_known": found["known"][0, b],
                        "r2_with": found["added"][0, a, b],
                        "gain": found["gain"][0, a, b],
                        "lower": lower[a, b],
                        "upper": upper[a, b],
                        "helped": int(found["helped"][0, a, b]),
                    }
                )
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def _scores(blocks: Sequence[Moments], folds: Sequence[object], place: int) -> dict[str, Floats]:
    sums: list[Any] = [0.0, 0.0, 0.0]
    helped = np.zeros(blocks[0].XY.shape)
    for fold in folds:
        test = [block for block in blocks if block.keys[place] == fold]
        total, known, added = left_out_errors([b for b in blocks if b.keys[place] != fold], test)
        helped += added < known[:, None, :]
        sums = [one + more for one, more in zip(sums, (total, known, added), strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        known, added = 1 - sums[1] / sums[0], 1 - sums[2] / sums[0][:, None, :]
    return {"known": known, "added": added, "gain": added - known[:, None, :], "helped": helped}


def _groups(
    data: Models, usable: NDArray[np.bool_], baselines: list[int]
) -> Iterator[tuple[list[int], list[int], list[tuple[int, int]], list[tuple[Block, NDArray[np.bool_], int]]]]:
    # Pairs that rest on the same models: measures, outcomes, places of the pairs among them, and for each
    # block its rows and its number.
    filled = []
    for block in data.blocks:
        complete = ~np.isnan(np.concatenate([block.X[:, baselines], block.C], axis=1)).any(axis=1)
        filled.append((~np.isnan(block.X) & complete[:, None], ~np.isnan(block.Y)))
    groups: dict[tuple[bytes, ...], list[tuple[int, int]]] = {}
    for i, j in np.argwhere(usable.any(axis=0)):
        marks = [np.concatenate([x[:, i], y[:, j]]).tobytes() for x, y in filled]
        groups.setdefault((usable[:, i, j].tobytes(), *marks), []).append((int(i), int(j)))
    for pairs in groups.values():
        i, j = sorted({a for a, _ in pairs}), sorted({b for _, b in pairs})
        parts = []
        for b, (block, (x, y)) in enumerate(zip(data.blocks, filled, strict=True)):
            rows = x[:, i[0]] & y[:, j[0]]
            if usable[b, pairs[0][0], pairs[0][1]] and rows.sum() >= LEAST_MODELS:
                parts.append((block, rows, b))
        yield i, j, [(i.index(a), j.index(b)) for a, b in pairs], parts
