"""Granulated rank correlation: pairs of models that differ in one hyperparameter only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.study.blocks import Floats, Integers, check_columns
from rnn.study.resampling import LEAST_CLUSTERS, percentiles, tail

if TYPE_CHECKING:
    import pandas as pd

ALL_AXES = "mean of the axes"

GRANULATED_COLUMNS = {
    "measure": "column of the measure",
    "outcome": "column of the outcome",
    "axis": f"the hyperparameter that varies; {ALL_AXES} for their mean",
    "sets": "sets of models that differ in this hyperparameter only",
    "pairs": "pairs of models within these sets",
    "kendall": "Kendall's tau within the sets, averaged over them; or the mean of that over the axes",
    "lower": "lower end of its interval, replicates resampled within blocks; empty without replicates",
    "upper": "upper end",
}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Kendall's tau in each set of models that differ in one hyperparameter only.

    Attributes
    ----------
    name : str
        The hyperparameter.
    unit : ndarray of int, shape (sets,)
        Which replicate of which block a set belongs to.
    tau : ndarray, shape (sets, measures, outcomes)
        Sum over pairs of sign(difference of the measure) sign(difference of the outcome), over the number of
        pairs; 0 where a set has no pair.
    pairs : ndarray, shape (sets, measures, outcomes)
        Number of pairs with numbers.
    """

    name: str
    unit: Integers
    tau: Floats
    pairs: Floats


def granulated_frame(
    frame: pd.DataFrame,
    *,
    measures: Sequence[str],
    outcomes: Sequence[str],
    axes: Sequence[str],
    blocks: Sequence[str],
    replicate: str | None = None,
    level: float = 0.95,
    draws: int = 2000,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Give the granulated Kendall coefficients of each measure with each outcome.

    Parameters
    ----------
    frame : DataFrame
        One row per model.
    measures, outcomes : sequence of str
        Columns of numbers; empty and infinite cells are left out pair by pair.
    axes : sequence of str
        Columns of hyperparameters; empty for none.
    blocks : sequence of str
        Columns that are the same within a set, beside the other axes.
    replicate : str, optional
        Column that numbers the replicates; the same within a set.
    level : float
        Probability that an interval is meant to hold the truth with.
    draws : int
        Number of resamples.
    rng : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    DataFrame
        With the columns of `GRANULATED_COLUMNS`.

    Raises
    ------
    ValueError
        If a column is missing or an axis names a block, or two models agree in all of blocks, axes and
        replicate.

    Notes
    -----
    For the axis i, ψ_i is the mean, over all settings of the other hyperparameters, of
    τ = (1/number of pairs) Σ sign(μ - μ') sign(g - g') over the pairs of models with that setting, and
    Ψ = (1/number of axes) Σ ψ_i. A tie counts 0. Here block and replicate are settings too, and settings with
    fewer than two models are left out, so that the grid may have holes.

    References
    ----------
    Jiang, Neyshabur, Mobahi, Krishnan and Bengio (2020), Fantastic generalization measures and where to find
    them, ICLR.
    """
    import pandas as pd

    axes, numbering = list(axes), [] if replicate is None else [replicate]
    if not axes:
        return pd.DataFrame(columns=list(GRANULATED_COLUMNS))
    held = [*blocks, *numbering]
    check_columns(frame, numbers=[*measures, *outcomes], labels=[*held, *axes])
    if {*axes} & {*held}:
        raise ValueError(f"axes {sorted({*axes} & {*held})} are blocks or the replicate; name other columns")
    if frame.duplicated([*held, *axes]).any():
        raise ValueError(
            f"two models agree in {', '.join([*held, *axes])}; name what tells them apart as an axis, or as "
            "the replicate"
        )
    X, Y = (
        frame[list(part)].to_numpy(dtype=np.float64, na_value=np.nan).copy() for part in (measures, outcomes)
    )
    X[np.isinf(X)], Y[np.isinf(Y)] = np.nan, np.nan
    unit = frame.groupby(held, sort=True).ngroup().to_numpy().astype(np.int64)
    stratum = frame.groupby(list(blocks), sort=True).ngroup().to_numpy()
    strata = np.array([stratum[unit == one][0] for one in range(int(unit.max()) + 1)])
    found = []
    for axis in axes:
        settings = frame.groupby([*held, *(other for other in axes if other != axis)], sort=True).ngroup()
        found.append(_axis(axis, settings.to_numpy().astype(np.int64), unit, X, Y))
    weights = _unit_weights(strata, draws if replicate is not None else 0, rng)
    return _laid_out(found, (list(measures), list(outcomes)), weights, strata, level)


def _axis(name: str, settings: Integers, unit: Integers, X: Floats, Y: Floats) -> Axis:
    taus, pairs, units = [], [], []
    for setting in range(int(settings.max()) + 1):
        rows = np.flatnonzero(settings == setting)
        if len(rows) < 2:
            continue
        first, second = rows[np.stack(np.triu_indices(len(rows), 1))]
        x, y = (np.sign(values[first] - values[second]) for values in (X, Y))
        count = (~np.isnan(x)).astype(np.float64).T @ ~np.isnan(y)
        taus.append(np.nan_to_num(x).T @ np.nan_to_num(y) / np.maximum(count, 1))
        pairs.append(count)
        units.append(unit[rows[0]])
    shape = (len(units), X.shape[1], Y.shape[1])
    return Axis(name, np.array(units, dtype=np.int64), *(np.reshape(part, shape) for part in (taus, pairs)))


def _unit_weights(strata: Integers, draws: int, rng: np.random.Generator) -> Floats:
    # How often each replicate occurs in each resample, after a first row with all of them once.
    weights = np.ones((draws + 1, len(strata)))
    for stratum in np.unique(strata):
        own = strata == stratum
        count = int(own.sum())
        weights[1:, own] = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return weights


def _laid_out(
    axes: Sequence[Axis],
    columns: tuple[list[str], list[str]],
    weights: Floats,
    strata: Integers,
    level: float,
) -> pd.DataFrame:
    import pandas as pd

    coefficients, frames = [], []
    share = tail(level, len(strata), len(np.unique(strata)), 0)
    for axis in axes:
        filled = (axis.pairs > 0).astype(np.float64)
        own = weights[:, axis.unit]
        with np.errstate(invalid="ignore"):
            found = np.tensordot(own, axis.tau * filled, axes=1) / np.tensordot(own, filled, axes=1)
        coefficients.append(found)
        frames.append((axis.name, filled.sum(axis=0), axis.pairs.sum(axis=0), found))
    whole = np.mean(coefficients, axis=0)
    sets, pairs = (np.sum(parts, axis=0) for parts in zip(*(frame[1:3] for frame in frames), strict=True))
    frames.append((ALL_AXES, sets, pairs, whole))
    rows: list[dict[str, Any]] = []
    for name, sets, pairs, found in frames:
        lower, upper = _ends(found[1:], share, len(strata) >= LEAST_CLUSTERS * len(np.unique(strata)))
        for i, measure in enumerate(columns[0]):
            rows += [
                dict(
                    zip(
                        GRANULATED_COLUMNS,
                        (
                            measure,
                            outcome,
                            name,
                            int(sets[i, j]),
                            int(pairs[i, j]),
                            found[0, i, j],
                            lower[i, j],
                            upper[i, j],
                        ),
                        strict=True,
                    )
                )
                for j, outcome in enumerate(columns[1])
            ]
    return pd.DataFrame(rows, columns=list(GRANULATED_COLUMNS))


def _ends(draws: Floats, share: float, enough: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(draws) and enough:
        return percentiles(draws, share)
    nothing = np.full(draws.shape[1:], np.nan)
    return nothing, nothing
