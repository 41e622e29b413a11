"""The correlations of a study, tested, and as a table with one row for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.study.block_tables import Table, intervals, mean_table, rank_tables
from rnn.study.blocks import POOLED, Floats, Models
from rnn.study.corrections import adjusted
from rnn.study.gains import gains
from rnn.study.permutations import Significance, permutation_test
from rnn.study.resampled_ranks import RankedBlock
from spectra.checks import whole_number

if TYPE_CHECKING:
    import pandas as pd

_PRODUCTS = 200_000_000_000  # of signs of pairs, summed for Kendall's permutations
_FEWEST = 199  # permutations, however large the blocks
LEVEL = 0.05  # of the error rates that permutations and power are planned for

CORRELATION_COLUMNS = {
    "measure": "column of the measure",
    "outcome": "column of the outcome",
    "block": "values of the columns that make the block, or pooled",
    "n": "models with both",
    "clusters": "configurations among them",
    "spearman": "Spearman's rank correlation; pooled: mean over the blocks weighted by n",
    "lower": "lower end of its bootstrap interval",
    "upper": "upper end",
    "p": "its two-sided permutation p-value",
    "holm": "adjusted by Holm over all rows within blocks, or over all pooled rows",
    "q": "the same by Benjamini and Hochberg",
    "least_p": "the smallest p-value that permutations and exchangeable configurations allow",
    "kendall": "Kendall's tau-b; pooled as above",
    "kendall_lower": "lower end of its bootstrap interval",
    "kendall_upper": "upper end",
    "kendall_p": "its two-sided permutation p-value",
    "kendall_holm": "adjusted by Holm over the same family",
    "kendall_q": "adjusted by Benjamini and Hochberg",
    "gain": "abs(spearman) less the largest abs(spearman) of the baselines",
    "gain_lower": "lower end of its interval, on the same resamples",
    "gain_upper": "upper end",
    "note": "why there is no correlation, or what weakens it",
}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Correlated:
    """Correlations of one sort in all blocks, averaged and tested.

    Attributes
    ----------
    tables : list of Table
        The blocks.
    mean : Table
        Weighted means over the blocks.
    weights : ndarray, shape (blocks, measures, outcomes)
        Their weights.
    tested : Significance
        The permutation tests.
    """

    tables: list[Table]
    mean: Table
    weights: Floats
    tested: Significance


def enough_permutations(permutations: int | None, tests: int) -> int:
    """Give the number of permutations.

    Parameters
    ----------
    permutations : int or None
        What was asked for.
    tests : int
        Number of tests in the family that is corrected.

    Returns
    -------
    int
        What was asked for, or 2 tests / 0.05 and at least 9999: the smallest p-value times the number of
        tests is then at most 0.025.
    """
    if permutations is not None:
        return whole_number(permutations, "permutations")
    return max(9999, int(np.ceil(2 * tests / LEVEL)))


def baseline_rows(measures: Sequence[str], baselines: Sequence[str]) -> list[int]:
    """Find the baselines among the measures.

    Parameters
    ----------
    measures, baselines : sequence of str
        Names.

    Returns
    -------
    list of int
        Places.

    Raises
    ------
    ValueError
        If a baseline is no measure.
    """
    missing = [name for name in baselines if name not in measures]
    if missing:
        raise ValueError(f"baselines {missing} are not among the measures; add them there")
    return [list(measures).index(name) for name in baselines]


def averaged(
    tables: list[Table], labels: Sequence[str], count: int, rng: np.random.Generator, *, wanted: int = 0
) -> Correlated:
    """Average tables over the blocks and test everything by permutation.

    Parameters
    ----------
    tables : list of Table
        The blocks.
    labels : sequence of str
        Their names.
    count : int
        Number of permutations.
    rng : numpy.random.Generator
        Source of the permutations.
    wanted : int
        Number of permutations that small p-values would need.

    Returns
    -------
    Correlated
        All of it.
    """
    mean, weights = mean_table(tables, labels)
    values = np.stack([table.value for table in tables])
    shuffles = [table.shuffles for table in tables]
    found = permutation_test(shuffles, values, weights, count, rng, wanted=wanted)
    return Correlated(tables, mean, weights, found)


def correlated(
    data: Models, ranked: Sequence[RankedBlock], count: int, rng: np.random.Generator
) -> tuple[Correlated, Correlated]:
    """Correlate all measures with all outcomes by Spearman and by Kendall.

    Parameters
    ----------
    data : Models
        The models in blocks.
    ranked : sequence of RankedBlock
        The blocks with their resamples.
    count : int
        Number of permutations.
    rng : numpy.random.Generator
        Source of the permutations.

    Returns
    -------
    spearman, kendall : Correlated
        The correlations.
    """
    pairs = [rank_tables(one, data.measures) for one in ranked]
    labels = [block.label for block in data.blocks]
    spearman = averaged([pair[0] for pair in pairs], labels, count, rng)
    affordable = _PRODUCTS // max(
        1, sum(block.X.shape[1] * block.Y.size * len(block.X) // 2 for block in data.blocks)
    )
    fewer = min(count, max(_FEWEST, affordable))
    kendall = averaged([pair[1] for pair in pairs], labels, fewer, rng, wanted=count)
    return spearman, kendall


def correlation_frame(
    both: tuple[Correlated, Correlated], data: Models, baselines: list[int], level: float
) -> pd.DataFrame:
    """Lay out correlations as `CORRELATION_COLUMNS` says.

    Parameters
    ----------
    both : tuple of Correlated
        By Spearman and by Kendall.
    data : Models
        The models.
    baselines : list of int
        Rows to beat.
    level : float
        Probability that an interval is meant to hold the truth with.

    Returns
    -------
    DataFrame
        One row for each measure, outcome and block; then the means, where there are any.
    """
    import pandas as pd

    spearman, kendall = both
    labels = [block.label for block in data.blocks]
    frames = []
    for b, label in enumerate(labels):
        one = {
            "p": spearman.tested.p[b],
            "kendall_p": kendall.tested.p[b],
            "least_p": spearman.tested.least[b],
        }
        frames.append(_rows(label, (spearman.tables[b], kendall.tables[b]), one, data, baselines, level))
    within = with_adjusted(pd.concat(frames, ignore_index=True))
    if len(labels) < 2:
        return within
    one = {
        "p": spearman.tested.pooled_p,
        "kendall_p": kendall.tested.pooled_p,
        "least_p": spearman.tested.pooled_least,
    }
    means = _rows(POOLED, (spearman.mean, kendall.mean), one, data, baselines, level)
    return pd.concat([within, with_adjusted(means[means["n"] > 0])], ignore_index=True)


def with_adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill the columns ``holm`` and ``q`` from ``p``, for each kind of p-value that the rows have.

    Parameters
    ----------
    frame : DataFrame
        One family of tests.

    Returns
    -------
    DataFrame
        A copy with the columns filled.
    """
    frame = frame.copy()
    for prefix in ("", "kendall_"):
        if f"{prefix}p" in frame:
            holm, q = adjusted(frame[f"{prefix}p"].to_numpy(dtype=np.float64))
            frame[f"{prefix}holm"], frame[f"{prefix}q"] = holm, q
    return frame


def pair_columns(data: Models) -> dict[str, list[str]]:
    """Name the measure and the outcome of each entry of a table, row by row.

    Parameters
    ----------
    data : Models
        The models.

    Returns
    -------
    dict
        Columns ``measure`` and ``outcome``.
    """
    return {
        "measure": [name for name in data.measures for _ in data.outcomes],
        "outcome": data.outcomes * len(data.measures),
    }


def _rows(
    label: str,
    tables: tuple[Table, Table],
    tests: dict[str, Floats],
    data: Models,
    baselines: list[int],
    level: float,
) -> pd.DataFrame:
    import pandas as pd

    spearman, kendall = tables
    ends, kendall_ends = intervals(spearman, level), intervals(kendall, level)
    gain = gains(spearman, baselines, level)
    known = ~np.isnan(spearman.value)
    columns = {
        "n": spearman.n,
        "clusters": spearman.clusters,
        "spearman": spearman.value,
        "lower": ends[0],
        "upper": ends[1],
        "kendall": kendall.value,
        "kendall_lower": kendall_ends[0],
        "kendall_upper": kendall_ends[1],
        **{name: np.where(known, p, np.nan) for name, p in tests.items()},
        "gain": gain.value,
        "gain_lower": gain.lower,
        "gain_upper": gain.upper,
        "note": spearman.note.astype(str),
    }
    flat = {name: value.ravel() for name, value in columns.items()}
    return pd.DataFrame(pair_columns(data) | {"block": label} | flat).reindex(
        columns=list(CORRELATION_COLUMNS)
    )
