"""Power laws: the exponent of a tail, where the tail begins, and whether it is one."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import generator, numeric_array, whole_number
from spectra.distribution import SpectralDistribution
from spectra.results import Record
from spectra.scaling import UNIT_ROUNDOFF

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PowerLawFit(Record):
    """Power law of density ∝ x^(-α) beyond xmin, fitted to the tail of a sample.

    Attributes
    ----------
    alpha : float
        Exponent α > 1 of the density.
    standard_error : float
        (α - 1) / √n, n = `tail_size`: the scatter of α over independent samples with this xmin. Eigenvalues
        are not independent, so for them it says little.
    xmin : float
        Where the tail begins, in the units of the sample: one of its values; inf or 0 beyond the floats.
    tail_size : int
        How many values are at least xmin.
    ks_distance : float
        Kolmogorov-Smirnov distance D between the tail and the power law, the least over all choices of xmin.
    logarithms : ndarray
        Natural logarithms of the whole sample, rising.
    """

    alpha: float
    standard_error: float
    xmin: float
    tail_size: int
    ks_distance: float
    logarithms: Floats

    def _check_shapes(self) -> None:
        if self.logarithms.ndim != 1 or not 0 < self.tail_size <= len(self.logarithms):
            raise ValueError("a tail larger than the sample")

    def __str__(self) -> str:
        """One line."""
        return (
            f"alpha = {self.alpha:.4g} +- {self.standard_error:.2g} beyond {self.xmin:.4g} "
            f"({self.tail_size} of {len(self.logarithms)} values), KS distance {self.ks_distance:.3g}"
        )

    def __repr__(self) -> str:
        """One line with the class."""
        return f"PowerLawFit({self})"


def power_law_fit(sample: ArrayLike | SpectralDistribution) -> PowerLawFit:
    """Exponent α of the tail p(x) ∝ x^(-α), x ≥ xmin, of positive numbers such as the eigenvalues of W*W.

    Parameters
    ----------
    sample : array_like, shape (n,), or SpectralDistribution
        Positive numbers, at least two of them different; of a distribution its eigenvalues, less those that
        are 0 to rounding.

    Returns
    -------
    PowerLawFit
        The exponent, where the tail begins and how well it fits. Some fit is always found: ask
        `power_law_p_value` whether the tail is a power law at all.

    Raises
    ------
    TypeError
        If the sample is no array of real numbers.
    ValueError
        If it is not one-dimensional, holds NaN, inf or a number <= 0, or no two different numbers.

    Notes
    -----
    For each value xmin of the sample but the largest, α = 1 + n / Σ log(x / xmin) over the n values x ≥ xmin
    (maximum likelihood, continuous x), and D is the Kolmogorov-Smirnov distance of these values from that
    law, where the empirical distribution function counts the values below x, as in the program of the paper;
    the xmin of smallest D is taken. n² operations. For the eigenvalues of W*W of a weight matrix this is the
    α of Martin and Mahoney. It does not depend on the unit of the sample.

    References
    ----------
    A. Clauset, C. R. Shalizi and M. E. J. Newman, "Power-law distributions in empirical data", SIAM Review 51
    (2009).

    Examples
    --------
    >>> from spectra import power_law_fit
    >>> quantiles = (1 - (np.arange(1000) + 0.5) / 1000) ** (-1 / 1.5)
    >>> round(power_law_fit(quantiles).alpha, 2)
    2.5
    """
    if isinstance(sample, SpectralDistribution):
        logs = _logarithms_of(sample)
    else:
        logs = np.log(np.sort(_positive_vector(sample)))
    best, alpha, distance = _best_tail(logs)
    size = len(logs) - best
    with np.errstate(over="ignore", under="ignore"):
        xmin = float(np.exp(logs[best]))
    return PowerLawFit(
        alpha=alpha,
        standard_error=(alpha - 1) / float(np.sqrt(size)),
        xmin=xmin,
        tail_size=size,
        ks_distance=distance,
        logarithms=logs,
    )


def power_law_p_value(
    fit: PowerLawFit, *, bootstraps: int = 100, rng: int | np.random.Generator = 0
) -> float:
    """Share of samples from the fitted power law whose own fit is worse than that of the data.

    Parameters
    ----------
    fit : PowerLawFit
        What `power_law_fit` returns.
    bootstraps : int, default 100
        Number of synthetic samples; the standard error of the p-value is at most 1 / (2 √bootstraps).
    rng : int or numpy.random.Generator, default 0
        For the samples.

    Returns
    -------
    float
        The p-value, from 0 to 1. Clauset, Shalizi and Newman rule a power law out where it is at most 0.1; a
        larger one does not confirm it. Eigenvalues repel each other and so lie closer to any smooth law than
        an independent sample, which makes the p-value of a spectrum too large.

    Raises
    ------
    TypeError
        If `fit` is no `PowerLawFit` or bootstraps no whole number.
    ValueError
        If bootstraps is below 1.

    Notes
    -----
    The semi-parametric bootstrap of the paper (section 4.1): each value of a synthetic sample comes from the
    power law with probability tail_size / n, and else is drawn from the values below xmin; the sample is
    fitted, xmin included, as the data were. Cost: that of one fit each.

    References
    ----------
    A. Clauset, C. R. Shalizi and M. E. J. Newman, "Power-law distributions in empirical data", SIAM Review 51
    (2009).

    Examples
    --------
    >>> from spectra import power_law_fit, power_law_p_value
    >>> uniform = np.linspace(1.0, 2.0, 200)
    >>> power_law_p_value(power_law_fit(uniform)) < 0.1
    True
    """
    if not isinstance(fit, PowerLawFit):
        raise TypeError(f"fit is a {type(fit).__name__}; expected what spectra.power_law_fit returns")
    count, rng = whole_number(bootstraps, "bootstraps"), generator(rng)
    logs, k = fit.logarithms, fit.tail_size
    n = len(logs)
    body, start = logs[: n - k], logs[n - k]
    worse = 0
    for _ in range(count):
        from_tail = int(rng.binomial(n, k / n))
        tail = start + rng.exponential(1 / (fit.alpha - 1), from_tail)
        drawn = rng.choice(body, n - from_tail) if from_tail < n else body[:0]
        worse += _best_tail(np.sort(np.concatenate([drawn, tail])))[2] >= fit.ks_distance
    return worse / count


def _positive_vector(sample: ArrayLike) -> Floats:
    x = numeric_array(sample, "sample")
    if x.ndim != 1:
        raise ValueError(f"sample has shape {x.shape}; expected one dimension: a vector of eigenvalues")
    if np.iscomplexobj(x):
        raise TypeError("sample is complex; expected real numbers > 0")
    if x.min() <= 0:
        raise ValueError(f"sample holds {x.min()}; expected numbers > 0: leave out those that are 0")
    if x.min() == x.max():
        raise ValueError(f"sample holds only {x[0]}; expected two different numbers at least")
    return np.asarray(x, dtype=np.float64)


def _logarithms_of(distribution: SpectralDistribution) -> Floats:
    """Give the logarithms of the eigenvalues above rounding noise, rising."""
    singular, N = distribution.singular_values, max(distribution.rows, distribution.columns)
    singular = singular[singular > N * UNIT_ROUNDOFF * singular[0]][::-1]
    if not len(singular) or singular[0] == singular[-1]:
        raise ValueError(f"sample is {distribution!r}; expected two different eigenvalues above 0 at least")
    return np.asarray(2 * np.log(singular) - np.log(N))


def _best_tail(logs: Floats) -> tuple[int, float, float]:
    """Give index of xmin, exponent and distance of the best tail, from the logarithms, rising."""
    n = len(logs)
    centred = logs - logs[-1]
    sums = np.cumsum(centred[::-1])[::-1]
    starts = np.flatnonzero(np.diff(logs, prepend=-np.inf) > 0)
    starts = starts[centred[starts] < 0]
    best, distance, alpha = 0, np.inf, np.inf
    for i in starts:
        excess = sums[i] - (n - i) * centred[i]  # sum of log(x / xmin)
        slope = (n - i) / excess
        law = -np.expm1(-slope * (centred[i:] - centred[i]))
        gap = float(np.abs(law - np.arange(n - i) / (n - i)).max())
        if gap < distance:
            best, distance, alpha = int(i), gap, 1 + float(slope)
    return best, alpha, distance
