"""Rank correlation with bootstrap intervals, block by block, and what many of them at once can bear."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn.study.resampling import Floats, Table, block_table, gains, percentiles, pooled_table
from spectra.checks import generator, positive, whole_number

if TYPE_CHECKING:
    import pandas as pd

POOLED = "pooled"


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
    level, source = _confidence(confidence), generator(rng)
    table = block_table(first[:, None], second[:, None], ["x"], whole_number(draws, "draws"), source)
    if np.isnan(table.value[0, 0]):
        return Correlation(None, None, None, None, len(first), str(table.note[0, 0]))
    lower, upper = percentiles(table.draws, level)
    value, p = float(table.value[0, 0]), float(table.p[0, 0])
    return Correlation(value, float(lower[0, 0]), float(upper[0, 0]), p, len(first), str(table.note[0, 0]))


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
    z2 = float(ndtri(0.5 + _confidence(confidence) / 2)) ** 2
    total = m + z2
    centre = (k + z2 / 2) / total
    half = np.sqrt(z2 * (np.where(m > 0, k * (m - k) / np.maximum(m, 1), 0.0) + z2 / 4)) / total
    lower = np.where(k == 0, 0.0, centre - half)
    upper = np.where(k == m, 1.0, centre + half)
    return lower, upper


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Give q-values: the smallest false discovery rate at which each test would be called.

    Parameters
    ----------
    p : array_like, shape (m,)
        p-values between 0 and 1.

    Returns
    -------
    ndarray, shape (m,)
        q_i = min over p_j >= p_i of m p_j / rank(p_j), at most 1.

    Raises
    ------
    ValueError
        If an entry is not between 0 and 1.

    References
    ----------
    Benjamini and Hochberg (1995), Controlling the false discovery rate, JRSS B 57.

    Examples
    --------
    >>> from rnn.study.statistics import benjamini_hochberg
    >>> benjamini_hochberg([0.01, 0.02, 0.5]).tolist()
    [0.03, 0.03, 0.5]
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p holds an entry outside [0, 1]; expected p-values")
    order = np.argsort(values)
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    q = np.empty_like(values)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return q


def rank_correlations(
    models: pd.DataFrame,
    *,
    measures: Sequence[str],
    outcomes: Sequence[str],
    block: str = "cell",
    baselines: Sequence[str] = (),
    confidence: float = 0.95,
    draws: int = 2000,
    rng: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Correlate every measure with every outcome inside every block, and averaged over the blocks.

    Parameters
    ----------
    models : DataFrame
        One row per model.
    measures, outcomes : sequence of str
        Columns of `models`; an empty cell (NaN) is left out pair by pair.
    block : str
        Column that names the block (architecture, task); models are ranked within their block only.
    baselines : sequence of str
        Measures that another one has to beat; empty for none.
    confidence, draws, rng
        As in `spearman`.

    Returns
    -------
    DataFrame
        Columns ``measure, outcome, block, n, spearman, lower, upper, note``; then ``p``; ``q``
        (Benjamini-Hochberg over all block rows, and apart from them over all pooled rows); ``gain`` with its
        interval: abs(spearman) less the largest abs(spearman) of the baselines, on the same resamples. A row
        without a correlation has empty cells (NaN in the frame, nothing in CSV) and says why in ``note``.

    Raises
    ------
    ValueError
        If a column is missing, is named twice, or is no column of numbers, or a row has no block.

    Notes
    -----
    A row of the block ``pooled`` is the mean of the within-block correlations weighted by their numbers of
    models; resampling is within blocks. It is an average over these blocks and says nothing about others. A
    measure that repeats an earlier one number for number in a block is noted and not counted twice.

    Over simulated normal pairs in 4 blocks of 12 the pooled interval held the truth in 95 % of samples for
    true correlations up to 0.6, in 92 % at 0.8 and in 85 % at 0.95, where it missed on the side of 0.
    """
    level, count, source = _confidence(confidence), whole_number(draws, "draws"), generator(rng)
    measures, outcomes, baselines = list(measures), list(outcomes), list(baselines)
    _check_columns(models, measures, outcomes, block, baselines)
    tables: dict[str, Table] = {}
    for label, rows in models.groupby(block, sort=True):
        X, Y = (rows[names].to_numpy(dtype=np.float64) for names in (measures, outcomes))
        tables[str(label)] = block_table(X, Y, measures, count, source)
    frames = [_frame(label, table, measures, outcomes, baselines, level) for label, table in tables.items()]
    blocks = _with_q(frames)
    if len(tables) < 2:
        return blocks
    pooled = _frame(POOLED, pooled_table(tables), measures, outcomes, baselines, level)
    return _stacked([blocks, _with_q([pooled[pooled["n"] > 0]])])


def _frame(
    label: str, table: Table, measures: list[str], outcomes: list[str], baselines: list[str], level: float
) -> pd.DataFrame:
    import pandas as pd

    lower, upper = percentiles(table.draws, level)
    gain, gain_lower, gain_upper = gains(table, [measures.index(name) for name in baselines], level)
    return pd.DataFrame(
        {
            "measure": np.repeat(measures, len(outcomes)),
            "outcome": np.tile(outcomes, len(measures)),
            "block": label,
            "n": table.n.ravel(),
            "spearman": table.value.ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
            "note": table.note.ravel().astype(str),
            "p": table.p.ravel(),
            "q": np.nan,
            "gain": gain.ravel(),
            "gain_lower": gain_lower.ravel(),
            "gain_upper": gain_upper.ravel(),
        }
    )


def _with_q(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frame = _stacked(frames)
    tested = frame["p"].notna()
    frame.loc[tested, "q"] = benjamini_hochberg(frame.loc[tested, "p"].to_numpy())
    return frame


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)


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


def _confidence(value: float) -> float:
    level = positive(value, "confidence")
    if level >= 1:
        raise ValueError(f"confidence is {level}; expected a number between 0 and 1, such as 0.95")
    return level


def _check_columns(
    models: pd.DataFrame, measures: list[str], outcomes: list[str], block: str, baselines: list[str]
) -> None:
    if not measures or not outcomes:
        raise ValueError("measures and outcomes must name at least one column each")
    for name in (*measures, *outcomes, block):
        if name not in models.columns:
            raise ValueError(f"models has no column {name!r}; it has {', '.join(map(str, models.columns))}")
    for name in (*measures, *outcomes):
        if models[name].dtype.kind not in "iuf":
            raise ValueError(f"column {name!r} has dtype {models[name].dtype}; expected numbers")
    if models.empty or models[block].isna().any():
        raise ValueError(f"models is empty or has a row without {block!r}; each model needs one")
    if len(set(measures)) < len(measures) or len(set(outcomes)) < len(outcomes):
        raise ValueError("measures or outcomes names a column twice; name each once")
    missing = [name for name in baselines if name not in measures]
    if missing:
        raise ValueError(f"baselines {missing} are not among the measures; add them there")
