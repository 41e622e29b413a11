"""What many tests at once can bear: adjusted p-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Give Holm's adjusted p-values: the smallest family-wise error rate at which each test would be called.

    Parameters
    ----------
    p : array_like, shape (m,)
        p-values between 0 and 1; they may depend on each other in any way.

    Returns
    -------
    ndarray, shape (m,)
        p_(i) -> max over j <= i of (m - j + 1) p_(j), at most 1, where p_(1) <= ... <= p_(m).

    Raises
    ------
    ValueError
        If an entry is not between 0 and 1.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6.

    Examples
    --------
    >>> from rnn.study.corrections import holm
    >>> holm([0.01, 0.02, 0.5]).tolist()
    [0.03, 0.04, 0.5]
    """
    values = _probabilities(p)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(values) else scaled
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Give q-values: the smallest false discovery rate at which each test would be called.

    Parameters
    ----------
    p : array_like, shape (m,)
        p-values between 0 and 1, independent or positively dependent.

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
    >>> from rnn.study.corrections import benjamini_hochberg
    >>> benjamini_hochberg([0.01, 0.02, 0.5]).tolist()
    [0.03, 0.03, 0.5]
    """
    values = _probabilities(p)
    order = np.argsort(values)
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    q = np.empty_like(values)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return q


def _probabilities(p: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p holds an entry outside [0, 1]; expected p-values")
    return values


def adjusted(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Adjust the p-values of one family, leaving out those that are not there.

    Parameters
    ----------
    p : ndarray
        p-values; NaN where nothing was tested.

    Returns
    -------
    holm, q : ndarray
        Of the same shape, NaN where nothing was tested.
    """
    tested = ~np.isnan(p)
    family_wise, q = np.full(p.shape, np.nan), np.full(p.shape, np.nan)
    family_wise[tested], q[tested] = holm(p[tested]), benjamini_hochberg(p[tested])
    return family_wise, q
