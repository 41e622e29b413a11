"""Rank correlation with bootstrap intervals, block by block, and what many of them at once can bear."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn.study.block_tables import intervals, rank_tables
from rnn.study.blocks import POOLED, Block, Floats, split_models
from rnn.study.correlation_tables import (
    baseline_rows,
    correlated,
    correlation_frame,
    enough_permutations,
)
from rnn.study.resampled_ranks import ranked_block
from rnn.study.resampling import cluster_weights, confidence_level
from spectra.checks import generator, whole_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["POOLED", "Correlation", "rank_correlations", "spearman", "wilson_interval"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """A rank correlation with its interval, or the reason why there is none.

    Attributes
    ----------
    value : float or None
        Spearman's correlation; None where it is not defined (then `note` says why).
    lower, upper : float or None
        Bootstrap interval.
    p : float or None
        Two-sided p-value of "no monotone relation" by Student's t with n - 2 degrees of freedom.
    n : int
        Number of pairs.
    note : str
        Why there is no value, or what to know about it; empty when there is nothing to say.
    """

    value: float | None
    lower: float | None
    upper: float | None
    p: float | None
    n: int
    note: str

    def __str__(self) -> str:
        if self.value is None:
            return f"no correlation (n = {self.n}): {self.note}"
        tail = f"; {self.note}" if self.note else ""
        return f"{self.value:+.2f} [{self.lower:+.2f}, {self.upper:+.2f}] (n = {self.n}){tail}"


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    rng: int | np.random.Generator = 0,
) -> Correlation:
    """Spearman's rank correlation of two samples with a percentile bootstrap interval.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        The pairs; ties get their average rank. Infinite entries are noted, not correlated.
    confidence : float
        Probability that the interval is meant to hold the truth with, between 0 and 1.
    draws : int
        Number of resamples.
    rng : numpy.random.Generator or int
        Source of the resamples.

    Returns
    -------
    Correlation
        The correlation, or a note when a sample is constant, infinite, or shorter than 5.

    Raises
    ------
    ValueError
        If the samples are not two vectors of one length, or hold NaN.

    Notes
    -----
    Percentile interval over resampled pairs, ranks taken anew in each. Over simulated normal pairs with
    n = 12 it held the truth in 95 to 98 % of samples for true correlations from 0 to 0.95, and excluded 0 in
    5 % where there was none; the bias-corrected accelerated interval was as safe but found fewer real effects
    (``tests/test_statistics.py`` repeats this). With n = 6 it is too short for strong correlations: 77 % at
    0.95.

    Examples
    --------
    >>> from rnn.study.statistics import spearman
    >>> spearman([1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 4, 3, 6, 5, 8, 7]).value.__round__(6)
    0.904762
    """
    first, second = _sample(x, "x"), _sample(y, "y")
    if len(first) != len(second):
        raise ValueError(
            f"y has {len(second)} entries and x {len(first)}; expected pairs, so the same number"
        )
    level, source = confidence_level(confidence), generator(rng)
    alone = np.arange(len(first))
    block = Block("", (), first[:, None], second[:, None], np.empty((len(first), 0)), alone)
    drawn = cluster_weights(alone, whole_number(draws, "draws"), source)
    table, _ = rank_tables(ranked_block(block, drawn), ["x"])
    note = str(table.note[0, 0])
    if np.isnan(table.value[0, 0]):
        return Correlation(None, None, None, None, len(first), note)
    lower, upper = (float(end[0, 0]) for end in intervals(table, level))
    value = float(table.value[0, 0])
    return Correlation(value, lower, upper, _student_p(value, len(first)), len(first), note)


def _student_p(value: float, n: int) -> float:
    from scipy.special import stdtr

    left = max(1 - value**2, 0.0)
    return 2 * float(stdtr(n - 2, -abs(value) * np.sqrt((n - 2) / left))) if left else 0.0


def wilson_interval(
    successes: ArrayLike, trials: ArrayLike, *, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's interval for a probability: all p with |successes/trials - p| <= z sqrt(p (1 - p)/trials).

    Parameters
    ----------
    successes, trials : array_like of int
        How often it happened, and out of how many; 0 of 0 gives (0, 1).
    confidence : float
        Probability that the interval is meant to hold the truth with.

    Returns
    -------
    lower, upper : ndarray
        End points within [0, 1], of the broadcast shape.

    Raises
    ------
    ValueError
        If a count is negative or there are more successes than trials.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.

    Examples
    --------
    >>> from rnn.study.statistics import wilson_interval
    >>> lower, upper = wilson_interval(0, 10)
    >>> float(lower), round(float(upper), 6)
    (0.0, 0.277533)
    """
    from scipy.special import ndtri

    k, m = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    if not ((k >= 0) & (k <= m)).all():
        raise ValueError("successes must lie between 0 and trials; pass counts, not rates")
    z2 = float(ndtri(0.5 + confidence_level(confidence) / 2)) ** 2
    total = m + z2
    centre = (k + z2 / 2) / total
    half = np.sqrt(z2 * (np.where(m > 0, k * (m - k) / np.maximum(m, 1), 0.0) + z2 / 4)) / total
    lower = np.where(k == 0, 0.0, centre - half)
    upper = np.where(k == m, 1.0, centre + half)
    return lower, upper


def rank_correlations(
    models: pd.DataFrame,
    *,
    measures: Sequence[str],
    outcomes: Sequence[str],
    blocks: str | Sequence[str] = "cell",
    cluster: str | Sequence[str] | None = None,
    baselines: Sequence[str] = (),
    confidence: float = 0.95,
    draws: int = 2000,
    permutations: int | None = None,
    rng: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Correlate every measure with every outcome inside every block, and averaged over the blocks.

    Parameters
    ----------
    models : DataFrame
        One row per model.
    measures, outcomes : sequence of str
        Columns of `models`; an empty cell (NaN) is left out pair by pair.
    blocks : str or sequence of str
        Columns that name the block (task, architecture); models are ranked within their block only.
    cluster : str, sequence of str or None
        Columns that name the configuration whose replicates (seeds) belong together: they are resampled and
        permuted together, in the order of their rows. None: every model is independent of the others.
    baselines : sequence of str
        Measures that another one has to beat; empty for none.
    confidence : float
        Probability that an interval is meant to hold the truth with, between 0 and 1.
    draws : int
        Number of resamples.
    permutations : int or None
        Number of permutations; None for enough that Holm's correction can find one in the pooled family,
        2 tests / 0.05, and at least 9999. Kendall's get fewer, down to 199, where blocks are so large that
        they would take minutes; their smallest p-values are then tails of Student's t, see
        `rnn.study.permutations.permutation_test`.
    rng : numpy.random.Generator or int
        Source of resamples and permutations.

    Returns
    -------
    DataFrame
        A row for each measure, outcome and block, then for each pair the mean over the blocks (block
        ``pooled``), with the columns of `CORRELATION_COLUMNS`. A row without a correlation has empty cells
        (NaN in the frame, nothing in CSV) and says why in ``note``.

    Raises
    ------
    ValueError
        If a column is missing, is named twice, or is no column of numbers, or a row has no block or cluster.

    Notes
    -----
    A row of the block ``pooled`` is the mean of the within-block correlations weighted by their numbers of
    models; resampling and permuting are within blocks. It is an average over these blocks and says nothing
    about others: `study_statistics` pools by random effects too. A measure that repeats an earlier one number
    for number in a block is noted and not counted twice.

    The p-values are exact where whole configurations of a block can be exchanged under "this measure and
    this outcome have nothing to do with each other"; configurations of different size are never exchanged.
    ``holm`` and ``q`` adjust them over all block rows, and apart from them over all pooled rows, of Spearman
    and of Kendall apart.

    Over simulated normal pairs the pooled interval held the truth in 95 to 99 % of samples for correlations
    from 0 to 0.95 in 3 to 9 blocks of 12 independent models. With 7 configurations of 5 seeds in each of 9
    blocks it did so in 94 % up to 0.5, in 92 % at 0.8 and in 87 % at 0.95, where it missed on the side of 0;
    the interval of one such block held it in 97 %.
    """
    level, count, source = confidence_level(confidence), whole_number(draws, "draws"), generator(rng)
    data = split_models(
        models, measures=measures, outcomes=outcomes, covariates=(), blocks=blocks, cluster=cluster
    )
    beaten = baseline_rows(data.measures, baselines)
    shuffles = enough_permutations(permutations, len(data.measures) * len(data.outcomes))
    ranked = [ranked_block(block, cluster_weights(block.clusters, count, source)) for block in data.blocks]
    return correlation_frame(correlated(data, ranked, shuffles, source), data, beaten, level)


def _sample(value: ArrayLike, name: str) -> Floats:
    sample = np.asarray(value)
    if sample.dtype.kind not in "iuf" or sample.ndim != 1:
        raise ValueError(
            f"{name} is {sample.dtype} of shape {sample.shape}; expected a vector of real numbers"
        )
    sample = sample.astype(np.float64)
    if np.isnan(sample).any():
        raise ValueError(
            f"{name} holds NaN at {int(np.flatnonzero(np.isnan(sample))[0])}; leave that pair out first"
        )
    return sample
