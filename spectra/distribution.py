"""The distribution of the singular values of a matrix, against that of a matrix of pure noise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from spectra.checks import any_matrix
from spectra.norms import singular_values
from spectra.results import Record
from spectra.scaling import UNIT_ROUNDOFF, unit_scaled
from spectra.schur import SchurForm

Floats = NDArray[np.float64]

_TRACY_WIDOM = 3.2724  # 99.9% of the Tracy-Widom law of order 1 lies below


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SpectralDistribution(Record):
    """Eigenvalues of W*W / N against the Marchenko-Pastur law, for W with N rows and M ≤ N columns.

    A wide matrix counts as its transpose: N is the larger, M the smaller size.

    Attributes
    ----------
    singular_values : ndarray, shape (M,)
        Singular values σ of W, falling, in its units.
    rows, columns : int
        Shape of W as it was given.
    variance : float
        Variance s² of the entries of the noise whose median eigenvalue is that of W: robust against outliers.
    lower_edge, upper_edge : float
        Ends s² (1 ∓ √(M / N))² of the Marchenko-Pastur law.
    threshold : float
        Above `upper_edge`: of pure noise of this shape and variance 99.9% have no eigenvalue beyond it.
    outliers : int
        Number of eigenvalues above `threshold`.
    ks_distance : float
        Kolmogorov-Smirnov distance between the other eigenvalues, the bulk, and the Marchenko-Pastur law.
    """

    singular_values: Floats
    rows: int
    columns: int
    variance: float
    lower_edge: float
    upper_edge: float
    threshold: float
    outliers: int
    ks_distance: float

    @property
    def aspect_ratio(self) -> float:
        """Ratio M / N of the smaller to the larger size."""
        return min(self.rows, self.columns) / max(self.rows, self.columns)

    @property
    def eigenvalues(self) -> Floats:
        """Eigenvalues σ² / N of the correlation matrix W*W / N, falling; inf or 0 beyond the floats."""
        with np.errstate(over="ignore", under="ignore"):
            return np.square(self.singular_values / np.sqrt(max(self.rows, self.columns)))

    def _check_shapes(self) -> None:
        if self.singular_values.shape != (min(self.rows, self.columns),):
            raise ValueError("another number of singular values than the shape has")

    def __str__(self) -> str:
        """One line."""
        return (
            f"Singular values of a {self.rows} x {self.columns} matrix: noise of variance "
            f"{self.variance:.3g}, {self.outliers} outliers, KS distance of the bulk {self.ks_distance:.3g}"
        )

    __repr__ = __str__


def singular_value_distribution(A: ArrayLike | SchurForm) -> SpectralDistribution:
    """Spectral density of A*A / N beside the Marchenko-Pastur law of noise with the same median.

    Parameters
    ----------
    A : array_like, shape (m, n), or SchurForm
        Real or complex matrix, such as a weight matrix; N = max(m, n), M = min(m, n).

    Returns
    -------
    SpectralDistribution
        Singular values, fitted variance, edges, outliers, and the distance of the bulk from the law.
        Variance, edges and threshold are in the squared units of A, and inf or 0 beyond the floats.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not two-dimensional, is empty, or holds NaN or inf.
    ConvergenceError
        If LAPACK's singular value iteration fails.

    Notes
    -----
    Independent entries of mean 0 and variance s² give eigenvalues σ² / N with the density
    √((b - λ)(λ - a)) / (2π s² y λ) between the edges a, b = s² (1 ∓ √y)², y = M / N (Marchenko and Pastur
    1967). s² is the median eigenvalue divided by the median of the law for s² = 1, so it is that of the noise
    as long as outliers are few; singular values up to N u σ₁ count as 0. The largest eigenvalue of real
    Gaussian noise is μ + τ T, where μ = s² (√(N - ½) + √(M - ½))² / N, τ = s² (√(N - ½) + √(M - ½))
    (1 / √(N - ½) + 1 / √(M - ½))^(1/3) / N and T follows the Tracy-Widom law of order 1 for large sizes
    (Johnstone 2001, the halves by Ma 2012); `threshold` is its quantile at 99.9%. With the scatter of the
    fitted s² some 1% of Gaussian matrices of order 50 and 4% of order 10 have an outlier by chance. A signal
    of rank one added to the noise shows as an outlier only if its singular value exceeds s √N y^(1/4), for
    finite sizes by some margin (the transition of Baik, Ben Arous and Péché).

    The distance is not to be judged by Kolmogorov's tables: eigenvalues repel, and the bulk of Gaussian noise
    is within some 3 / M of the law. It grows where the entries are heavy-tailed, of unequal variance or
    correlated, as they are after training. Cost: one singular value decomposition.

    References
    ----------
    V. A. Marchenko and L. A. Pastur, "Distribution of eigenvalues for some sets of random matrices",
    Math. USSR Sbornik 1 (1967).

    I. M. Johnstone, "On the distribution of the largest eigenvalue in principal components analysis", Annals
    of Statistics 29 (2001).

    Z. Ma, "Accuracy of the Tracy-Widom limits for the extreme eigenvalues in white Wishart matrices",
    Bernoulli 18 (2012).

    Examples
    --------
    >>> from spectra import singular_value_distribution
    >>> W = np.random.default_rng(0).standard_normal((400, 200))
    >>> W[:, 0] += 5 * W[:, 1]
    >>> found = singular_value_distribution(W)
    >>> found.outliers
    1
    >>> round(found.variance, 1)
    1.0
    """
    matrix, scale = unit_scaled(A.A if isinstance(A, SchurForm) else any_matrix(A))
    M, N = sorted(matrix.shape)
    y = M / N
    sigma = singular_values(matrix)
    with np.errstate(under="ignore"):
        eigenvalues = np.square(np.where(sigma > N * UNIT_ROUNDOFF * sigma[0], sigma, 0.0)) / N
    variance = float(np.median(eigenvalues)) / _median(y)
    threshold = variance * _noise_threshold(M, N)
    outliers = int(np.count_nonzero(eigenvalues > threshold))
    with np.errstate(over="ignore", under="ignore"):
        return SpectralDistribution(
            singular_values=sigma * scale,
            rows=matrix.shape[0],
            columns=matrix.shape[1],
            variance=variance * scale * scale,
            lower_edge=variance * (1 - math.sqrt(y)) ** 2 * scale * scale,
            upper_edge=variance * (1 + math.sqrt(y)) ** 2 * scale * scale,
            threshold=threshold * scale * scale,
            outliers=outliers,
            ks_distance=_distance(eigenvalues[outliers:][::-1], y, variance),
        )


def marchenko_pastur_density(x: Floats, aspect_ratio: float, variance: float) -> Floats:
    """Density √((b - x)(x - a)) / (2π s² y x) of the Marchenko-Pastur law, 0 outside its edges a and b.

    Parameters
    ----------
    x : ndarray
        Points above 0.
    aspect_ratio : float
        y = M / N in (0, 1].
    variance : float
        Variance s² > 0 of the entries.

    Returns
    -------
    ndarray
        The density, per unit of x.
    """
    t, root = x / variance, np.sqrt(aspect_ratio)
    inside = np.maximum(((1 + root) ** 2 - t) * (t - (1 - root) ** 2), 0.0)
    return np.asarray(np.sqrt(inside) / (2 * np.pi * variance * aspect_ratio * t))


def marchenko_pastur_distribution(x: Floats, aspect_ratio: float, variance: float) -> Floats:
    """Distribution function of the Marchenko-Pastur law, in closed form.

    Parameters
    ----------
    x : ndarray
        Points.
    aspect_ratio : float
        y = M / N in (0, 1].
    variance : float
        Variance s² > 0 of the entries.

    Returns
    -------
    ndarray
        Probability of values up to x.
    """
    y, root = aspect_ratio, np.sqrt(aspect_ratio)
    t = np.clip(x / variance, (1 - root) ** 2, (1 + root) ** 2)
    # t = 1 + y + 2 √y cos φ
    phi = 2 * np.arctan2(np.sqrt((1 + root) ** 2 - t), np.sqrt(t - (1 - root) ** 2))
    ratio = (1 - root) / (1 + root)
    above = (1 + y) * phi - 2 * root * np.sin(phi) - 2 * (1 - y) * np.arctan(ratio * np.tan(phi / 2))
    return np.asarray(1 - above / (2 * np.pi * y))


def _median(y: float) -> float:
    ends = (1 - np.sqrt(y)) ** 2, (1 + np.sqrt(y)) ** 2
    return float(brentq(lambda x: float(marchenko_pastur_distribution(np.array(x), y, 1.0)) - 0.5, *ends))


def _noise_threshold(M: int, N: int) -> float:
    """Quantile at 99.9% of the largest eigenvalue of noise of variance 1."""
    long, short = np.sqrt(N - 0.5), np.sqrt(M - 0.5)
    centre, spread = (long + short) ** 2, (long + short) * (1 / long + 1 / short) ** (1 / 3)
    return float(centre + _TRACY_WIDOM * spread) / N


def _distance(bulk: Floats, y: float, variance: float) -> float:
    """Kolmogorov-Smirnov distance of values, rising, from the law; with variance 0 that is the point 0."""
    if variance == 0:
        return 0.0  # the values too
    n = len(bulk)
    law = marchenko_pastur_distribution(bulk, y, variance)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))
