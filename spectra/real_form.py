"""The real form K(t) of zI - A with its imaginary part rescaled by t, and what its singular vectors prove.

Let A be real, z = x + iy with y > 0, B = xI - A and, for t > 0, K(t) = [[B, -(y²/t) I], [t I, B]], a real
matrix of order 2n that is similar to the real form of zI - A. By Qiu et al. (1995), the least ‖E‖ over real E
such that z is an eigenvalue of A + E is the maximum over t of the second smallest singular value of K(t),
which rises and then falls in t. Hence every t proves a lower bound. Every pair of vectors p, q proves an
upper bound: E = [Bp - (y²/t) q, tp + Bq] [p, q]^+ gives A + E the eigenvector p + i (y/t) q. At the best t a
singular vector (p, q) makes the two equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectra.scaling import UNIT_ROUNDOFF

Floats = NDArray[np.float64]

_MEETING = 1e-6  # relative distance at which singular values count as equal
_PAIRS = ((0, 1), (0, 2), (1, 2))  # among the three smallest


def scaled_blocks(B: Floats, identity: Floats, y: Floats, t: Floats) -> Floats:
    """Give K(t) = [[B, -(y²/t) I], [t I, B]] for stacks of matrices and vectors of y and t.

    Parameters
    ----------
    B, identity : ndarray, shape (m, r, k)
        xI - A and I, or the same restricted to a subspace.
    y, t : ndarray, shape (m,)
        Imaginary parts and scalings, above 0.

    Returns
    -------
    ndarray, shape (m, 2r, 2k)
        The matrices.
    """
    m, r, k = B.shape
    K = np.empty((m, 2 * r, 2 * k))
    K[:, :r, :k] = K[:, r:, k:] = B
    K[:, :r, k:] = -(y * (y / t))[:, None, None] * identity
    K[:, r:, :k] = t[:, None, None] * identity
    return K


def second_smallest(K: Floats) -> Floats:
    """Second smallest singular value of each matrix of a stack.

    Parameters
    ----------
    K : ndarray, shape (m, r, k)
        The matrices, k >= 2.

    Returns
    -------
    ndarray, shape (m,)
        The values.
    """
    return np.asarray(np.linalg.svd(K, compute_uv=False)[:, -2])


def rounding(A: Floats, x: Floats, y: Floats, t: Floats) -> Floats:
    """Bound of the rounding error of singular values of K(t), n u (‖A‖ + |x| + t + y²/t), at least n = 10.

    Parameters
    ----------
    A : ndarray, shape (n, n)
        The matrix.
    x, y, t : ndarray, shape (m,)
        Points and scalings.

    Returns
    -------
    ndarray, shape (m,)
        The bounds.
    """
    size = np.linalg.norm(A) + np.abs(x) + t + y * (y / np.where(t > 0, t, 1.0))
    return np.asarray(max(len(A), 10) * UNIT_ROUNDOFF * size)


def best_pair(B: Floats, identity: Floats, y: Floats, t: Floats) -> Floats:
    """Vector (p, q) that proves the smallest upper bound, of several from small singular vectors of K(t).

    Parameters
    ----------
    B, identity, y, t : ndarray
        As for `scaled_blocks`.

    Returns
    -------
    ndarray, shape (m, 2k)
        The vectors.

    Notes
    -----
    Where the second smallest singular value is simple, its vector does. Where several meet, it takes the one
    of their space along which the value is stationary in t; where t = y, so that all are double, one whose p
    and q have the inner products of their images; and where all vectors have parallel p and q, which prove
    nothing, p of one beside q of another.
    """
    K = scaled_blocks(B, identity, y, t)
    left, singular, right = np.linalg.svd(K, full_matrices=False)
    right = np.swapaxes(right, 1, 2)
    candidates = [right[:, :, -2], *_stationary(K, left, singular, right), *_isotropic(B, identity, y, t)]
    for pair in _PAIRS:
        first, second = (_longer_half(right[:, :, -1 - j]) for j in pair)
        candidates += [np.concatenate([first, sign * second], axis=1) for sign in (1.0, -1.0)]
    vectors = np.stack(candidates, axis=2)
    sizes, _ = perturbation_sizes(K, vectors)
    return np.take_along_axis(vectors, sizes.argmin(axis=1)[:, None, None], axis=2)[:, :, 0]


def _stationary(K: Floats, left: Floats, singular: Floats, right: Floats) -> list[Floats]:
    """Vectors v of groups of singular values with u' (dK / d log t) v = 0 for u = Kv."""
    r, k = K.shape[1] // 2, K.shape[2] // 2
    slope = np.zeros_like(K)
    slope[:, :r, k:], slope[:, r:, :k] = -K[:, :r, k:], K[:, r:, :k]
    form = np.swapaxes(left, 1, 2) @ slope @ right
    form = form + np.swapaxes(form, 1, 2)
    away = np.abs(singular - singular[:, -2:-1])
    meeting = away <= _MEETING * (singular[:, -2:-1] + np.abs(slope).max(axis=(1, 2))[:, None])
    groups = [meeting, *(np.isin(np.arange(2 * k), 2 * k - 1 - np.array(pair)) for pair in _PAIRS)]
    found = []
    for group in groups:
        chosen = np.broadcast_to(group, singular.shape)
        values, axes = np.linalg.eigh(form * chosen[:, :, None] * chosen[:, None, :])
        low, high = np.sqrt(np.maximum(-values[:, :1], 0.0)), np.sqrt(np.maximum(values[:, -1:], 0.0))
        ends = right @ (axes * chosen[:, :, None])[:, :, [0, -1]]
        found += [high * ends[:, :, 0] + sign * low * ends[:, :, 1] for sign in (1.0, -1.0)]
    return found


def _isotropic(B: Floats, identity: Floats, y: Floats, t: Floats) -> list[Floats]:
    """Vectors (p, q) from the complex plane of the two smallest singular values of N = B + iy I.

    Where w'w = h'h for the images h = Nw / σ (transposes, not adjoints), p and q have the inner products of
    their images.

    Returns
    -------
    list of ndarray, shape (m, 2k)
        The vectors.
    """
    left, _, right = np.linalg.svd(B + 1j * y[:, None, None] * identity)
    k = B.shape[2]
    W, H = np.swapaxes(right[:, k - 2 : k].conj(), 1, 2), left[:, :, k - 2 : k]
    S = np.swapaxes(W, 1, 2) @ W - np.swapaxes(H, 1, 2) @ H
    root = np.sqrt(S[:, 0, 1] ** 2 - S[:, 0, 0] * S[:, 1, 1])
    found = []
    for sign in (1.0, -1.0):  # two forms of each root of S11 a^2 + 2 S12 ab + S22 b^2, as each can be 0 / 0
        for a, b in ((S[:, 1, 1], -S[:, 0, 1] + sign * root), (-S[:, 0, 1] + sign * root, S[:, 0, 0])):
            w = W[:, :, 0] * a[:, None] + W[:, :, 1] * b[:, None]
            found.append(np.concatenate([w.real * (y / t)[:, None], w.imag], axis=1))
    return found


def perturbation_sizes(K: Floats, vectors: Floats) -> tuple[Floats, Floats]:
    """Norms ‖F V^+‖ for V = [p, q] and F = [upper, lower half of K (p, q)], and ‖V^+‖; inf for parallel p, q.

    Parameters
    ----------
    K : ndarray, shape (m, 2r, 2k)
        The matrices.
    vectors : ndarray, shape (m, 2k, c)
        For each matrix c vectors (p, q).

    Returns
    -------
    sizes, weaknesses : ndarray, shape (m, c)
        The norms; the first is an upper bound of the distance, the second says how rounding changes it.
    """
    V, F = (np.stack(np.split(np.swapaxes(X, 1, 2), 2, axis=2), axis=3) for X in (vectors, K @ vectors))
    _, lengths, axes = np.linalg.svd(V, full_matrices=False)
    usable = lengths[..., 1] > 16 * UNIT_ROUNDOFF * lengths[..., 0]
    lengths = np.where(usable[..., None], lengths, 1.0)
    norms = np.linalg.svd(F @ np.swapaxes(axes, 2, 3) / lengths[..., None, :], compute_uv=False)[..., 0]
    return np.where(usable, norms, np.inf), np.where(usable, 1.0 / lengths[..., 1], np.inf)


def _longer_half(vectors: Floats) -> Floats:
    halves = np.stack(np.split(vectors, 2, axis=1))
    lengths = np.linalg.norm(halves, axis=2)
    longer = halves[lengths.argmax(axis=0), np.arange(len(vectors))]
    return np.asarray(longer / lengths.max(axis=0)[:, None])
