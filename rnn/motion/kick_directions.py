"""Directions in which a state is kicked: random ones, and the worst by linear theory."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.motion.drives import Drive
from rnn.motion.jacobians import jacobian_blocks
from rnn.motion.propagation import FiniteTimeGrowth
from spectra.transients import TransientGrowth

Floats = NDArray[np.float64]


def drive_from(drive: Drive, at: int) -> Drive:
    """Give the rest of a drive, from the state before step `at` on.

    Parameters
    ----------
    drive : Drive
        The drive.
    at : int
        Number of the step, from 0.

    Returns
    -------
    Drive
        The same trajectories without their first steps.
    """
    return dataclasses.replace(
        drive,
        inputs=drive.inputs[:, at:],
        initial=drive.before[:, at],
        states=drive.states[:, at:],
        lengths=drive.lengths - at,
    )


def random_directions(count: int, size: int, draws: int, random: np.random.Generator) -> Floats:
    """Draw unit vectors, evenly over the sphere.

    Parameters
    ----------
    count, size, draws : int
        N sequences, s entries of a state, D draws.
    random : numpy.random.Generator
        The source.

    Returns
    -------
    ndarray, shape (D, N, s)
        The vectors.
    """
    drawn = random.standard_normal((draws, count, size))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def worst_directions(drive: Drive, growth: FiniteTimeGrowth) -> tuple[Floats, NDArray[np.int64]]:
    """Give for each trajectory the kick whose linear growth is the largest of all kicks and times.

    Parameters
    ----------
    drive : Drive
        The trajectories, from the kick on.
    growth : FiniteTimeGrowth
        Their norms.

    Returns
    -------
    directions : ndarray, shape (N, s)
        First right singular vectors of J_t ... J_1.
    steps : ndarray of int, shape (N,)
        The number t >= 1 of steps after which the norm is largest.
    """
    steps = np.where(growth.peak_steps > 0, growth.peak_steps, growth.log10_norms.argmax(axis=1) + 1)
    directions = growth.initial_directions.copy()
    falling = np.flatnonzero(growth.peak_steps == 0)
    if len(falling):  # no norm is above 1, so that products only shrink: the largest is no peak
        chosen = torch.as_tensor(falling, device=drive.states.device)
        fields = ("inputs", "initial", "states", "lengths")
        part = dataclasses.replace(drive, **{name: getattr(drive, name)[chosen] for name in fields})
        directions[falling] = _first_singular_vectors(part, steps[falling])
    return directions, steps


def mean_direction(M: Floats, growth: TransientGrowth) -> Floats:
    """Give the kick that grows most under the powers of one matrix, the Jacobian at mean state and input.

    Parameters
    ----------
    M : ndarray, shape (s, s)
        The matrix.
    growth : TransientGrowth
        Of its powers.

    Returns
    -------
    ndarray, shape (s,)
        First right singular vector of the power with the largest norm, of M itself where none is above 1.
    """
    if growth.peak_time > 0:
        return np.asarray(growth.initial_state)
    return _turned(np.linalg.svd(M)[2][0])


def linear_distances(drive: Drive, kicks: Floats) -> Floats:
    """Give how long kicks are after each step by linear theory.

    Parameters
    ----------
    drive : Drive
        The trajectories, from the kick on.
    kicks : ndarray, shape (D, N, s)
        Changes of their initial states.

    Returns
    -------
    ndarray, shape (D, N, T + 1)
        ‖J_t ... J_1 kick‖ for t = 0, ..., T; inf beyond the floats.
    """
    count, steps, _ = drive.states.shape
    found = np.empty((len(kicks), count, steps + 1))
    found[:, :, 0] = np.linalg.norm(kicks, axis=-1)
    moved = kicks.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for part, step, J in jacobian_blocks(drive):
            moved[:, part] = (J @ moved[:, part, :, None])[..., 0]
            found[:, part, step + 1] = np.linalg.norm(moved[:, part], axis=-1)
    return np.where(np.isfinite(found), found, np.inf)


def _first_singular_vectors(drive: Drive, steps: NDArray[np.int64]) -> Floats:
    count, size = drive.initial.shape
    found = np.empty((count, size))
    products = np.empty((0, size, size))
    for part, step, J in jacobian_blocks(drive):
        products = J.copy() if step == 0 else J @ products
        ending = steps[part] == step + 1
        found[part][ending] = _turned(np.linalg.svd(products[ending])[2][:, 0])
    return found


def _turned(vectors: Floats) -> Floats:
    """Give each vector the sign with which its largest entry is positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=-1)[..., None], axis=-1)
    return np.asarray(np.where(largest < 0, -vectors, vectors))
