"""Choices of labelled examples in which every class keeps its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stratified_choice(
    labels: NDArray[np.int64], size: int, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose `size` examples so that each class keeps its share to within one example.

    Parameters
    ----------
    labels : ndarray, shape (N,)
        Labels of the examples.
    size : int
        How many to choose, at most N.
    seed : int
        Determines the choice.

    Returns
    -------
    chosen, others : ndarray of int
        Indices, shuffled. A class with a share of s examples gives floor(s) or ceil(s), the largest
        remainders first.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> chosen, others = stratified_choice(labels, 3, seed=0)
    >>> sorted(labels[chosen].tolist()), sorted(labels[others].tolist())
    ([0, 0, 1], [0, 0, 1])
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * (size / len(labels))
    quotas = np.floor(shares + 1e-9).astype(int)
    quotas[np.argsort(quotas - shares, kind="stable")[: size - quotas.sum()]] += 1
    order = np.random.default_rng(seed).permutation(len(labels))
    taken = np.zeros(len(labels), dtype=bool)
    for label, quota in zip(classes, quotas, strict=True):
        taken[order[labels[order] == label][:quota]] = True
    return order[taken[order]], order[~taken[order]]
