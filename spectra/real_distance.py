"""Least norm of a real perturbation that gives a real matrix a wanted eigenvalue, at many points at once."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from spectra.real_form import best_pair, perturbation_sizes, rounding, scaled_blocks, second_smallest

Floats = NDArray[np.float64]
Points = NDArray[np.complex128]
Indices = NDArray[np.int64]

_DIRECT = 12  # up to this order the search is not on subspaces
_ROUNDS = 8  # of enlarging a subspace
_RTOL = 1e-7  # relative gap between the bounds at which a point is done
_SCAN = 9  # values of t that bracket the best one
_SHARE = (np.sqrt(5.0) - 1.0) / 2.0  # golden section
_SECTIONS = 36


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RealDistances:
    """Real-structured distances at a vector of m points.

    Attributes
    ----------
    distance, lower, upper : ndarray, shape (m,)
        Value and interval; inf for n = 1 off the real axis.
    t : ndarray, shape (m,)
        Scaling that proves `lower`, by the second smallest singular value of K(t). 0 on the real axis.
    vectors : ndarray, shape (m, n, 2)
        The pair p, q that proves `upper`, in the scaling `t_upper`.
    t_upper : ndarray, shape (m,)
        Scaling of `vectors`.
    """

    distance: Floats
    lower: Floats
    upper: Floats
    t: Floats
    vectors: Floats
    t_upper: Floats


def real_distances(A: Floats, z: Points, stop: NDArray[np.uint8] | None = None) -> RealDistances:
    """Least ‖E‖₂ over real E such that z is an eigenvalue of A + E, at each point z.

    Parameters
    ----------
    A : ndarray of float, shape (n, n)
        Real matrix; its entries and the points are far from the largest and the smallest float.
    z : ndarray of complex, shape (m,)
        Points of the closed upper half-plane.
    stop : ndarray, shape (1,), optional
        Once it is set, what remains is left undone.

    Returns
    -------
    RealDistances
        Values and intervals, proven up to the rounding of singular values, which they include.

    Notes
    -----
    On the real axis the distance is σ_min(zI - A). Elsewhere the search for t runs on K(t) restricted to a
    few columns, real and imaginary parts of singular vectors: the two of the smallest singular values of
    zI - A, then those of K at the t found, until the bounds meet, mostly after 2 to 4 rounds. A round takes
    one singular value decomposition of order 2n.
    """
    m, n = len(z), len(A)
    distance, lower, upper, t, t_upper = np.zeros((5, m))
    found = RealDistances(distance, lower, upper, t, np.zeros((m, n, 2)), t_upper)
    on_axis, off_axis = np.flatnonzero(z.imag == 0), np.flatnonzero(z.imag != 0)
    if len(on_axis):
        _solve_real(A, z, on_axis, found)
    if n == 1:
        found.distance[off_axis] = found.lower[off_axis] = found.upper[off_axis] = np.inf
    elif len(off_axis):
        _solve_complex(A, z, off_axis, found, stop)
    return found


def perturbation(A: Floats, z: complex, found: RealDistances, which: int) -> Floats:
    """Real matrix E that puts an eigenvalue of A + E at a solved point z; ‖E‖ is `upper` to rounding.

    Parameters
    ----------
    A : ndarray of float, shape (n, n)
        The matrix.
    z : complex
        The point.
    found : RealDistances
        What `real_distances` gave.
    which : int
        The index of z there.

    Returns
    -------
    ndarray of float, shape (n, n)
        The perturbation, of rank at most 2.
    """
    (p, q), t, y = found.vectors[which].T, found.t_upper[which], z.imag
    B = z.real * np.eye(len(A)) - A
    moved = np.stack([B @ p - (y * (y / t) if y else 0.0) * q, t * p + B @ q], axis=1)
    return np.asarray(moved @ np.linalg.pinv(found.vectors[which]))


def _solve_real(A: Floats, z: Points, here: Indices, found: RealDistances) -> None:
    x = z.real[here]
    _, singular, right = np.linalg.svd(x[:, None, None] * np.eye(len(A)) - A)
    noise = rounding(A, x, np.zeros_like(x), np.zeros_like(x))
    found.distance[here] = singular[:, -1]
    found.lower[here], found.upper[here] = np.maximum(singular[:, -1] - noise, 0.0), singular[:, -1] + noise
    found.vectors[here, :, 0] = right[:, -1]


def _solve_complex(
    A: Floats, z: Points, here: Indices, found: RealDistances, stop: NDArray[np.uint8] | None
) -> None:
    n, identity = len(A), np.eye(len(A))
    x, y = z.real[here], z.imag[here]
    B = x[:, None, None] * identity - A
    _, singular, right = np.linalg.svd(B + 1j * y[:, None, None] * identity)
    found.distance[here], found.t[here], found.upper[here] = singular[:, -1], y, np.inf
    found.lower[here] = singular[:, -1] - rounding(A, x, y, y)
    # at t the second smallest singular value is at most (that of B^2 + y^2 I) / t, and at most sigma_min + t
    floor = np.maximum(rounding(A, x, y, y), np.finfo(float).tiny)
    least = np.maximum(y, floor)
    curved = B @ B + (y**2)[:, None, None] * identity
    most = np.maximum(second_smallest(curved) / np.maximum(singular[:, -1], floor), least)
    basis = np.broadcast_to(identity, B.shape)
    if n > _DIRECT:
        nearest = np.swapaxes(right[:, -2:].conj(), 1, 2)
        basis = np.linalg.qr(np.concatenate([nearest.real, nearest.imag], axis=2))[0]
    unmet = np.arange(len(here))
    for _ in range(_ROUNDS):
        if stop is not None and stop[0]:
            return
        restricted = _restricted(B[unmet], basis)
        t = _best_scaling(*restricted, y[unmet], least[unmet], most[unmet])
        K = scaled_blocks(B[unmet], np.broadcast_to(identity, B[unmet].shape), y[unmet], t)
        _, singular, right = np.linalg.svd(K)
        noise = rounding(A, x[unmet], y[unmet], t)
        _take_lower(found, here[unmet], singular[:, -2], t, noise)
        pairs = best_pair(*restricted, y[unmet], t)
        _take_upper(found, here[unmet], K, _lifted(basis, pairs), t, noise)
        gap = found.upper[here[unmet]] - found.lower[here[unmet]]
        wide = gap > _RTOL * found.distance[here[unmet]] + 4 * noise
        if basis.shape[2] == n or not wide.any():
            break
        nearest = np.swapaxes(right[wide, -3:], 1, 2)
        basis = np.linalg.qr(np.concatenate([basis[wide], nearest[:, :n], nearest[:, n:]], axis=2))[0]
        unmet = unmet[wide]
    found.lower[here] = np.clip(found.lower[here], 0.0, found.upper[here])
    found.distance[here] = np.clip(found.distance[here], found.lower[here], found.upper[here])


def _take_lower(found: RealDistances, here: Indices, value: Floats, t: Floats, noise: Floats) -> None:
    better = value - noise > found.lower[here]
    chosen = here[better]
    found.distance[chosen], found.t[chosen] = value[better], t[better]
    found.lower[chosen] = (value - noise)[better]


def _take_upper(
    found: RealDistances, here: Indices, K: Floats, pairs: Floats, t: Floats, noise: Floats
) -> None:
    size, weakness = perturbation_sizes(K, pairs[:, :, None])
    value = (size + noise[:, None] * weakness * np.linalg.norm(pairs, axis=1)[:, None])[:, 0]
    better = value < found.upper[here]
    chosen = here[better]
    found.upper[chosen], found.t_upper[chosen] = value[better], t[better]
    found.vectors[chosen] = np.stack(np.split(pairs[better], 2, axis=1), axis=2)


def _restricted(B: Floats, basis: Floats) -> tuple[Floats, Floats]:
    """B and I on a subspace, in coordinates that keep norms."""
    k = basis.shape[2]
    both = np.linalg.qr(np.concatenate([B @ basis, basis], axis=2))[1]
    return both[:, :, :k], both[:, :, k:]


def _lifted(basis: Floats, pairs: Floats) -> Floats:
    p, q = np.split(pairs[:, :, None], 2, axis=1)
    return np.asarray(np.concatenate([basis @ p, basis @ q], axis=1)[:, :, 0])


def _best_scaling(B: Floats, identity: Floats, y: Floats, least: Floats, most: Floats) -> Floats:
    """Maximise the second smallest singular value of K(t) over [least, most]: a scan, then golden section."""

    def value(s: Floats) -> Floats:
        return second_smallest(scaled_blocks(B, identity, y, np.exp(s)))

    low, high = np.log(least), np.log(most)
    samples = low + np.linspace(0.0, 1.0, _SCAN)[:, None] * (high - low)
    values = np.array([value(s) for s in samples])
    top, each = values.argmax(axis=0), np.arange(len(y))
    best, height = samples[top, each], values[top, each]
    a, b = samples[np.maximum(top - 1, 0), each], samples[np.minimum(top + 1, _SCAN - 1), each]
    c, d = b - _SHARE * (b - a), a + _SHARE * (b - a)
    at_c, at_d = value(c), value(d)
    for _ in range(_SECTIONS):
        left = at_c >= at_d
        a, b = np.where(left, a, c), np.where(left, d, b)
        new = np.where(left, b - _SHARE * (b - a), a + _SHARE * (b - a))
        at_new = value(new)
        c, d = np.where(left, new, d), np.where(left, c, new)
        at_c, at_d = np.where(left, at_new, at_d), np.where(left, at_c, at_new)
    for s, at in ((c, at_c), (d, at_d)):
        best, height = np.where(at > height, s, best), np.maximum(at, height)
    return np.asarray(np.exp(best))
