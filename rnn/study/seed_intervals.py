"""Intervals of means and shares over networks of which those of one task and seed belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn.study.statistics import wilson_interval

if TYPE_CHECKING:
    import pandas as pd

Interval = tuple[float, float, float]

BLOCK = ["task", "cell"]
_UPPER = 0.975  # both ends of 95 %


def share_interval(rows: pd.DataFrame, hits: ArrayLike) -> Interval:
    """Give the share of networks of which something is true, with a 95 % interval.

    Parameters
    ----------
    rows : DataFrame
        The networks, at least one, with the columns task and seed.
    hits : array_like of bool
        Whether it is true, for each.

    Returns
    -------
    share, lower, upper : float
        Wilson's interval of as many independent networks as would tell as much as these do.

    Notes
    -----
    Networks of one task and seed share data, attacked examples and sometimes the training: they are a
    cluster. With u the sum over a cluster of the deviations from the mean of the task, the variance of the
    share p of n networks is v = Σ k/(k - 1) Σ u²/n², the outer sum over the tasks, of k clusters each. n
    networks count as n min(1, (p (1 - p)/n) / (v t²/z²)) independent ones, t and z the quantiles of Student's
    (Satterthwaite's degrees of freedom) and of the normal distribution. Where all networks agree, or a task
    has one seed only, v cannot be seen, and each cluster counts as one network. The interval is about other
    seeds of these tasks and cells, not about other tasks.

    References
    ----------
    Korn and Graubard (1998), Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data, Survey Methodology 24.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"task": "digits", "seed": [0, 0, 1, 1, 2, 2, 3, 3]})
    >>> [round(end, 2) for end in share_interval(rows, [1, 1, 0, 0, 1, 1, 1, 0])]
    [0.62, 0.12, 0.95]
    """
    import pandas as pd
    from scipy.special import ndtri

    values = pd.Series(np.asarray(hits, dtype=np.float64))
    share, count = float(values.mean()), float(len(values))
    deviations = values - values.groupby(rows["task"].to_numpy()).transform("mean")
    variance, t = _variance(rows, deviations.to_numpy() / count)
    if 0 < share < 1 and np.isfinite(variance):
        chance = share * (1 - share) / count
        worth = count * chance / max(chance, variance * (t / float(ndtri(_UPPER))) ** 2)
    else:
        worth = float(rows.groupby(["task", "seed"]).ngroups)
    lower, upper = wilson_interval(share * worth, worth)
    return share, float(lower), float(upper)


def mean_interval(rows: pd.DataFrame, values: ArrayLike) -> Interval:
    """Give the mean over blocks of the means inside them, with a 95 % interval.

    Parameters
    ----------
    rows : DataFrame
        The networks, at least one, with the columns task, cell and seed.
    values : array_like of float
        One finite number for each.

    Returns
    -------
    mean, lower, upper : float
        The ends are NaN where a task has one seed only.

    Notes
    -----
    A block is a task and a cell. The networks of one task and seed are a cluster, as in `share_interval`;
    with u the sum over a cluster of the deviations from the mean of the block, divided by the size of the
    block and the number of blocks, the variance of the mean is Σ k/(k - 1) Σ u², and the interval that of
    Student's t with Satterthwaite's degrees of freedom. It is about other seeds of these blocks.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"task": "digits", "cell": "gru", "seed": [0, 1, 2]})
    >>> [round(end, 2) for end in mean_interval(rows, [1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    import pandas as pd

    numbers = pd.Series(np.asarray(values, dtype=np.float64))
    groups = numbers.groupby([rows[name].to_numpy() for name in BLOCK])
    mean = float(groups.mean().mean())
    influence = (numbers - groups.transform("mean")) / groups.transform("size") / groups.ngroups
    variance, t = _variance(rows, influence.to_numpy())
    half = t * np.sqrt(variance)
    return mean, float(mean - half), float(mean + half)


def _variance(rows: pd.DataFrame, influence: NDArray[np.float64]) -> tuple[float, float]:
    # Of the sum of what the networks bring in, which is 0 for each task; and Student's quantile for it.
    import pandas as pd
    from scipy.special import stdtrit

    sums = pd.Series(influence).groupby([rows[name].to_numpy() for name in ("task", "seed")]).sum()
    tasks = (sums**2).groupby(level=0)
    k = tasks.size()
    if (k < 2).any():
        return np.nan, np.nan
    parts = tasks.sum() * k / (k - 1)
    total = float(parts.sum())
    freedom = total**2 / float((parts**2 / (k - 1)).sum()) if total > 0 else np.inf
    return total, float(stdtrit(freedom, _UPPER)) if total > 0 else 0.0
