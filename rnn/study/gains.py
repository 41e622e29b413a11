"""How much more closely a measure goes with an outcome than the trivial ones do."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from rnn.study.block_tables import Table, reliable, tails
from rnn.study.blocks import Floats
from rnn.study.resampling import percentiles


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """How much larger correlations are than those of the baselines, as arrays (measures, outcomes).

    Attributes
    ----------
    value : ndarray
        abs(correlation) less the largest abs(correlation) of the baselines; NaN where there is none, and for
        the baselines themselves.
    lower, upper : ndarray
        Bootstrap interval, from the resamples of the correlations.
    p : ndarray
        One-sided p-value of "no gain": Φ(-value/s) with s the standard deviation of the resamples.
    best : ndarray of int
        Row of the baseline that had to be beaten; -1 where there is none.
    """

    value: Floats
    lower: Floats
    upper: Floats
    p: Floats
    best: NDArray[np.int64]


def gains(table: Table, baselines: list[int], level: float) -> Gains:
    """Compare each correlation with the strongest of the baselines.

    Parameters
    ----------
    table : Table
        The correlations.
    baselines : list of int
        Rows of the table to beat; empty for none.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    Gains
        With NaN where there is no gain.

    Notes
    -----
    A baseline without a correlation (constant in the block, say) has nothing to beat and is left out; in a
    resample a baseline counts when it has a correlation there.
    """
    from scipy.special import ndtr

    shape = table.value.shape
    value, best = np.full(shape, np.nan), np.full(shape, -1)
    draws = np.full_like(table.draws, np.nan)
    rivals = np.abs(table.value[baselines])
    present = ~np.isnan(rivals)
    some = present.any(axis=0) if baselines else np.zeros(shape[1], dtype=np.bool_)
    if some.any():
        filled = np.where(present, rivals, -1.0)
        drawn = np.abs(reliable(table))
        rival = np.where(present, np.nan_to_num(drawn[:, baselines], nan=-1.0), -1.0).max(axis=1)
        rival[rival < 0] = np.nan
        value[:, some] = np.abs(table.value[:, some]) - filled.max(axis=0)[some]
        draws[:, :, some] = drawn[:, :, some] - rival[:, None, some]
        best[:, some] = np.array(baselines)[filled.argmax(axis=0)[some]]
        draws[:, baselines], value[baselines] = np.nan, np.nan
        best[np.isnan(value)] = -1
    lower, upper = percentiles(draws, tails(table, level))
    known = ~np.isnan(value) & ~np.isnan(lower)
    p = np.full(shape, np.nan)
    spread = np.nanstd(draws[:, known], axis=0)
    p[known] = ndtr(-value[known] / np.maximum(spread, np.finfo(float).tiny))
    return Gains(value, lower, upper, p, best)
