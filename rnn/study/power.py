"""Which correlation could have been seen: the power of the permutation tests of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.study.blocks import POOLED, Floats, Models
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


def detectable(error: Floats, level: float) -> Floats:
    """Give the smallest correlation that a two-sided test finds with probability 0.8.

    Parameters
    ----------
    error : ndarray
        Standard deviation of the correlation where there is none.
    level : float
        Of the test.

    Returns
    -------
    ndarray
        tanh((z(1 - level/2) + z(0.8)) error) with z the quantiles of the normal distribution.

    Notes
    -----
    The normal approximation on Fisher's scale, with the standard deviation of the permuted correlations for
    error: it knows the clusters. Simulated studies whose true Spearman correlation is this number were found
    in 76 to 86 % (``tests/test_power.py``).
    """
    from scipy.special import ndtri

    return np.asarray(np.tanh((ndtri(1 - level / 2) + ndtri(POWER)) * error))


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

    tested = spearman.tested
    known = np.stack([~np.isnan(table.value) for table in spearman.tables])
    rows = []
    for b, (block, table) in enumerate(zip(data.blocks, spearman.tables, strict=True)):
        counts = (int(table.n.max()), int(table.clusters.max()), int(known.sum()))
        if known[b].any():
            rows.append(_row(block.label, counts, tested.deviation[b], tested.least[b]))
    pooled = spearman.mean
    several = ~np.isnan(pooled.value)
    if several.any():
        counts = (int(pooled.n.max()), int(pooled.clusters.max()), int(several.sum()))
        blank = np.where(several, 1.0, np.nan)
        rows.append(_row(POOLED, counts, blank * tested.pooled_deviation, blank * tested.pooled_least))
    return pd.DataFrame(rows, columns=list(POWER_COLUMNS))


def _row(label: str, counts: tuple[int, int, int], error: Floats, least: Floats) -> dict[str, Any]:
    n, clusters, tests = counts
    level = LEVEL / tests
    reachable = error[least <= level]
    found = detectable(reachable, level) if len(reachable) else np.array([np.nan])
    alone = error[least <= LEVEL]
    missed = int((~np.isnan(error)).sum()) - len(reachable)
    note = f"{missed} of them have too few arrangements for a p-value of {level:.1g}" if missed else ""
    return {
        "block": label,
        "n": n,
        "clusters": clusters,
        "tests": tests,
        "level": level,
        "error": float(np.nanmedian(error)),
        "smallest": float(np.median(found)),
        "smallest_best": float(found.min()),
        "smallest_worst": float(found.max()),
        "smallest_alone": float(np.median(detectable(alone, LEVEL))) if len(alone) else np.nan,
        "note": note,
    }
