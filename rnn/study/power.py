"""Which correlation could have been seen: the power of the permutation tests of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.study.block_tables import Table
from rnn.study.blocks import POOLED, Floats, Integers, Models
from rnn.study.correlation_tables import LEVEL, Correlated

if TYPE_CHECKING:
    import pandas as pd

POWER = 0.8

POWER_COLUMNS = {
    "block": "values of the columns that make the block, or pooled",
    "n": "models, at the most",
    "clusters": "configurations among them",
    "tests": "tests in the family that is corrected",
    "level": "0.05 over the number of tests: what the smallest p-value has to beat",
    "error": "standard deviation of a correlation where there is none, median over the pairs",
    "smallest": "abs(Spearman) that is found with probability 0.8 at this level, median over the pairs",
    "smallest_best": "the same for the pair with the smallest error",
    "smallest_worst": "the same for the pair with the largest error",
    "smallest_alone": "the same, median, if it were the only test (level 0.05)",
    "note": "why no correlation can be found, where that is so",
}


def detectable(error: Floats, level: float, *, blocks: Integers | int = 1) -> Floats:
    """Give the smallest Spearman correlation that a two-sided permutation test finds with probability 0.8.

    Parameters
    ----------
    error : ndarray
        Standard deviation s of the correlation, or of its mean over blocks, where there is none.
    level : float
        Of the test.
    blocks : ndarray of int or int
        Number of blocks that the mean is over.

    Returns
    -------
    ndarray
        The r that solves E(r) - z(0.8) d(r) = z(1 - level/2) s, with z the quantiles of the normal
        distribution; NaN where the right side is 1 or more.

    Notes
    -----
    With m = 1 + 1/(blocks s²), the number of independent models in a block that would give this s:
    E(r) = ((m - 2) r + 3 τ)/(m + 1) is the expectation of the estimate, with τ the Kendall correlation of
    normal pairs whose Spearman correlation is r; d(r) = s (1 - r²) sqrt(1 + r²/2) is its standard deviation
    (Bonett and Wright). As s is that of the permuted correlations, it knows the clusters. It is an
    approximation: ``tests/test_power.py`` plants this correlation in simulated studies and counts how often
    it is found.

    References
    ----------
    Bonett and Wright (2000), Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations, Psychometrika 65.
    """
    from scipy.special import ndtri

    s = np.asarray(error, dtype=np.float64)
    m = np.maximum(1 + 1 / np.maximum(blocks * s**2, 1e-12), 2.0)  # no spread at all: any r is found
    low, high = np.zeros(s.shape), np.ones(s.shape)
    for _ in range(40):
        r = (low + high) / 2
        tau = 2 / np.pi * np.arcsin(2 * np.sin(np.pi / 6 * r))
        expected = ((m - 2) * r + 3 * tau) / (m + 1)
        found = expected - ndtri(POWER) * s * (1 - r**2) * np.sqrt(1 + r**2 / 2) >= ndtri(1 - level / 2) * s
        low, high = np.where(found, low, r), np.where(found, r, high)
    return np.where(ndtri(1 - level / 2) * s < 1, high, np.nan)


def power_frame(spearman: Correlated, data: Models) -> pd.DataFrame:
    """Say which correlations a study of this size and clustering could have found.

    Parameters
    ----------
    spearman : Correlated
        The correlations of the study, tested.
    data : Models
        The models.

    Returns
    -------
    DataFrame
        A row for each block with a correlation, and one for the pooled ones, with the columns of
        `POWER_COLUMNS`. The level is that of Holm's first step in the family of the row: all pooled
        correlations, or all within blocks.
    """
    import pandas as pd

    tested, pooled = spearman.tested, spearman.mean
    known = np.stack([~np.isnan(table.value) for table in spearman.tables])
    rows = []
    for b, (block, table) in enumerate(zip(data.blocks, spearman.tables, strict=True)):
        if known[b].any():
            rows.append(_row(block.label, table, int(known.sum()), tested.deviation[b], tested.least[b]))
    several = ~np.isnan(pooled.value)
    if several.any():
        blank = np.where(several, 1.0, np.nan)
        deviation, least = blank * tested.pooled_deviation, blank * tested.pooled_least
        rows.append(_row(POOLED, pooled, int(several.sum()), deviation, least))
    return pd.DataFrame(rows, columns=list(POWER_COLUMNS))


def _row(label: str, table: Table, tests: int, error: Floats, least: Floats) -> dict[str, Any]:
    level = LEVEL / tests

    def smallest(at: float) -> Floats:
        fine = least <= at
        found = detectable(error[fine], at, blocks=table.blocks[fine])
        found = found[~np.isnan(found)]
        return found if len(found) else np.array([np.nan])

    several = smallest(level)
    missed = int((~np.isnan(error)).sum()) - int((~np.isnan(several)).sum())
    note = (
        f"for {missed} of them no correlation, however strong, is found with probability 0.8"
        if missed
        else ""
    )
    return {
        "block": label,
        "n": int(table.n.max()),
        "clusters": int(table.clusters.max()),
        "tests": tests,
        "level": level,
        "error": float(np.nanmedian(error)),
        "smallest": float(np.median(several)),
        "smallest_best": float(several.min()),
        "smallest_worst": float(several.max()),
        "smallest_alone": float(np.median(smallest(LEVEL))),
        "note": note,
    }
