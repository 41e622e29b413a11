"""One number for many blocks that may truly differ: the random-effects mean."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnn.study.resampling import confidence_level

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RandomEffects:
    """Means of blocks that may truly differ, with intervals, as arrays over everything but the blocks.

    Attributes
    ----------
    mean : ndarray
        Estimate of the mean over all blocks that could have been; NaN with fewer than two blocks.
    error : ndarray
        Its standard error, by Hartung and Knapp with a floor.
    lower, upper : ndarray
        Interval of the mean.
    p : ndarray
        Two-sided p-value of "the mean is 0".
    tau2 : ndarray
        Variance of the true values between blocks, by DerSimonian and Laird.
    i2 : ndarray
        max(0, (Q - k + 1)/Q): share of the variance between the estimates that chance within blocks does not
        explain.
    new_lower, new_upper : ndarray
        Interval for the true value of a new block; NaN with fewer than three blocks.
    blocks : ndarray of int
        Number k of blocks.
    """

    mean: Floats
    error: Floats
    lower: Floats
    upper: Floats
    p: Floats
    tau2: Floats
    i2: Floats
    new_lower: Floats
    new_upper: Floats
    blocks: NDArray[np.int64]

    def __str__(self) -> str:
        if self.mean.ndim:
            return (
                f"RandomEffects of {self.mean.size} quantities in at most {self.blocks.max(initial=0)} blocks"
            )
        return (
            f"RandomEffects: {self.mean:.3g} [{self.lower:.3g}, {self.upper:.3g}] over {self.blocks} blocks, "
            f"between them a standard deviation of {np.sqrt(self.tau2):.3g}"
        )

    __repr__ = __str__


def random_effects(values: ArrayLike, variances: ArrayLike, *, confidence: float = 0.95) -> RandomEffects:
    """Pool estimates y_b of blocks with variances v_b: mean = sum(w y)/sum(w), w = 1/(v + tau2).

    Parameters
    ----------
    values, variances : array_like, shape (blocks, ...)
        Estimates and their variances; NaN where a block has none.
    confidence : float
        Probability that the intervals are meant to hold the truth with.

    Returns
    -------
    RandomEffects
        Arrays of the shape of one block.

    Raises
    ------
    ValueError
        If the shapes differ, an entry is infinite, a variance is not positive, or `confidence` is not
        between 0 and 1.

    Notes
    -----
    With fixed weights a = 1/v: Q = sum a (y - sum(a y)/sum(a))^2 and
    tau2 = max(0, (Q - k + 1)/(sum(a) - sum(a^2)/sum(a))) (DerSimonian and Laird). The standard error is that
    of Hartung and Knapp with the floor of Röver, Knapp and Friede, sqrt(q/sum(w)) with
    q = max(1, sum w (y - mean)^2/(k - 1)): blocks that agree by chance do not make an interval short; it and
    the p-value are by Student's t with k - 1 degrees of freedom. With few blocks that agree that is on the
    safe side; with few of very different variance that differ it is too narrow. The interval of a new
    block is mean +- t sqrt(tau2 + error^2) with k - 2 degrees of freedom (Higgins, Thompson and
    Spiegelhalter); with fewer than ten blocks it tends to be too narrow where blocks differ.

    References
    ----------
    DerSimonian and Laird (1986), Meta-analysis in clinical trials, Controlled Clinical Trials 7.
    Hartung and Knapp (2001), On tests of the overall treatment effect in meta-analysis with normally
    distributed responses, Statistics in Medicine 20.
    Röver, Knapp and Friede (2015), Hartung-Knapp-Sidik-Jonkman approach and its modification for
    random-effects meta-analysis with few studies, BMC Medical Research Methodology 15.
    Higgins, Thompson and Spiegelhalter (2009), A re-evaluation of random-effects meta-analysis, JRSS A 172.

    Examples
    --------
    >>> from rnn.study.random_effects import random_effects
    >>> random_effects([0.1, 0.3, 0.8], [0.02, 0.02, 0.04])
    RandomEffects: 0.376 [-0.494, 1.25] over 3 blocks, between them a standard deviation of 0.278
    """
    from scipy.special import stdtr, stdtrit

    y, v = np.asarray(values, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if y.shape != v.shape or not y.shape:
        raise ValueError(f"values have shape {y.shape} and variances {v.shape}; expected (blocks, ...) twice")
    if np.isinf(y).any() or np.isinf(v).any():
        raise ValueError("values or variances hold an infinite entry; leave that block out (NaN)")
    used = ~np.isnan(y) & ~np.isnan(v)
    if not (v[used] > 0).all():
        raise ValueError("variances must be above 0; leave a block without chance out, or give it a floor")
    level = confidence_level(confidence)
    k = used.sum(axis=0)
    y, v = np.where(used, y, 0.0), np.where(used, v, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = used / v
        Q = (a * (y - (a * y).sum(axis=0) / a.sum(axis=0)) ** 2).sum(axis=0)
        tau2 = np.maximum(0.0, (Q - k + 1) / (a.sum(axis=0) - (a**2).sum(axis=0) / a.sum(axis=0)))
        w = used / (v + tau2)
        mean = (w * y).sum(axis=0) / w.sum(axis=0)
        q = np.maximum(1.0, (w * (y - mean) ** 2).sum(axis=0) / (k - 1))
        error = np.sqrt(q / w.sum(axis=0))
        i2 = np.where(Q > 0, np.maximum(0.0, (Q - k + 1) / Q), 0.0)
        half = stdtrit(np.maximum(k - 1, 1), 0.5 + level / 2) * error
        new = stdtrit(np.maximum(k - 2, 1), 0.5 + level / 2) * np.sqrt(tau2 + error**2)
        p = 2 * stdtr(np.maximum(k - 1, 1), -np.abs(mean) / error)
    two, three = (np.where(k >= least, 1.0, np.nan) for least in (2, 3))
    return RandomEffects(
        mean=two * mean,
        error=two * error,
        lower=two * (mean - half),
        upper=two * (mean + half),
        p=two * p,
        tau2=two * tau2,
        i2=two * i2,
        new_lower=three * (mean - new),
        new_upper=three * (mean + new),
        blocks=k,
    )


def pooled_correlations(
    values: Floats, deviations: Floats, n: NDArray[np.int64], *, least: Floats, confidence: float = 0.95
) -> RandomEffects:
    """Pool rank correlations of blocks by random effects on Fisher's scale, and map back.

    Parameters
    ----------
    values : ndarray, shape (blocks, measures, outcomes)
        Correlations r; NaN where there is none.
    deviations : ndarray, as values
        Their standard deviations where measure and outcome have nothing to do with each other (permuted).
    n : ndarray of int, as values
        Numbers of models.
    least : ndarray, as values
        Variance of z with n independent models.
    confidence : float
        Probability that the intervals are meant to hold the truth with.

    Returns
    -------
    RandomEffects
        Mean and intervals as correlations; error and tau2 on Fisher's scale, z = artanh(r).

    Notes
    -----
    On Fisher's scale the variance hardly depends on the correlation, so that of a block is taken to be the
    permuted one, which knows the clusters, and at least that of independent models. A perfect correlation is
    moved half a swap of neighbours inwards, to 1 - 6/(n^3 - n), so that z is finite.
    """
    known = ~np.isnan(values)
    size = np.maximum(n, 2).astype(np.float64)
    edge = 1 - 6 / (size**3 - size)
    z = np.where(known, np.arctanh(np.clip(values, -edge, edge)), np.nan)
    variance = np.where(known, np.maximum(deviations**2, least), np.nan)
    found = random_effects(z, variance, confidence=confidence)
    back = {
        name: np.tanh(getattr(found, name)) for name in ("mean", "lower", "upper", "new_lower", "new_upper")
    }
    return dataclasses.replace(found, **back)
