"""Kicks of the state: how far a trajectory departs when its state is changed, and how far theory says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnn.dynamics import mean_state_jacobian
from rnn.motion.cells import unrolled_states
from rnn.motion.drives import Drive
from rnn.motion.jacobians import one_drive
from rnn.motion.kick_directions import (
    drive_from,
    linear_distances,
    mean_direction,
    random_directions,
    worst_directions,
)
from rnn.motion.propagation import finite_time_growth
from rnn.motion.readouts import Readout
from rnn.reading.tensors import NotUnderstoodError
from spectra.checks import generator, non_negative, one_of, whole_number
from spectra.results import Record
from spectra.transients import transient_growth

Floats = NDArray[np.float64]

KICKS = ("random", "worst", "mean-jacobian")

_LARGEST = 1e150  # of sizes, so that squares of distances do not overflow


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StateKicks(Record):
    """How far trajectories of a recurrent layer depart after kicks of one size, and how far theory says.

    Below, K is the number of steps from the kick to the end, and M the state Jacobian at the mean state and
    input of the whole trajectories.

    Attributes
    ----------
    name : str
        Name of the cell.
    size : float
        ‖δ_0‖₂, the length of every kick, in the units of the state; for an LSTM of (h, c) in one vector.
    at : int
        The kick is added to the state before this step, from 0.
    directions : ndarray of str, shape (D,)
        "random" as often as it was drawn; "worst": of each trajectory the first right singular vector of the
        product of its state Jacobians, up to the step where the norm of that is largest; "mean-jacobian":
        the same of the powers of M, one direction for all.
    distances : ndarray, shape (D, N, K + 1)
        ‖δ_t‖₂, the distance between kicked and unkicked state after t = 0, ..., K steps of the network; after
        the end of a shorter sequence it stays.
    linear : ndarray, shape (D, N, K + 1)
        The same by linear theory, ‖J_t ... J_1 δ_0‖₂.
    norms : ndarray, shape (N, K + 1)
        ‖J_t ... J_1‖₂, the largest linear growth of any kick; 1 at t = 0.
    worst_steps : ndarray of int, shape (N,)
        Number of steps after which "worst" attains `norms`, where that is largest.
    of_mean_jacobian : ndarray, shape (K + 1,)
        ‖M^t‖₂.
    mean_lower : ndarray, shape (K + 1,)
        Lower bound of the largest ‖M^j‖₂ with j <= t, by the resolvent of M.
    kreiss_lower : float
        Lower end of the Kreiss constant of M, which bounds the largest ‖M^t‖₂ of all times from below; inf
        where M is unstable.
    changed : ndarray, shape (D,)
        Share of the N predictions that the kick changed; empty where there are none.
    unjudged : str
        Why there are no predictions; empty where there are.
    kicks : ndarray, shape (D, N, s)
        The kicks δ_0 themselves: what was added to the state of each trajectory, in the order of
        `directions`; no rows if read from an older file.
    """

    name: str
    size: float
    at: int
    directions: NDArray[np.str_]
    distances: Floats
    linear: Floats
    norms: Floats
    worst_steps: NDArray[np.int64]
    of_mean_jacobian: Floats
    mean_lower: Floats
    kreiss_lower: float
    changed: Floats
    unjudged: str
    kicks: Floats = dataclasses.field(default_factory=lambda: np.zeros((0, 0, 0)))

    @property
    def growth(self) -> Floats:
        """‖δ_t‖ / ‖δ_0‖, shape (D, N, K + 1).

        Raises
        ------
        ValueError
            If the kicks have length 0: there is nothing to grow.
        """
        if self.size == 0:
            raise ValueError("growth is undefined for kicks of size 0; kick with a larger size")
        return np.asarray(self.distances / self.distances[:, :, :1])

    def _check_shapes(self) -> None:
        count, steps = self.norms.shape
        shape = (len(self.directions), count, steps)
        if self.distances.shape != shape or self.linear.shape != shape:
            raise ValueError("distances of another shape than norms")
        if self.of_mean_jacobian.shape != (steps,) or self.mean_lower.shape != (steps,):
            raise ValueError("predictions of another length than norms")
        if self.kicks.ndim != 3 or (len(self.kicks) and self.kicks.shape[:2] != shape[:2]):
            raise ValueError("kicks of other directions or trajectories")

    def __str__(self) -> str:
        """One line."""
        parts = []
        for kind in dict.fromkeys(map(str, self.directions)):
            chosen = self.directions == kind
            text = f"{kind} {np.median(self.distances[chosen].max(axis=2)):.3g}"
            if len(self.changed):
                text += f" ({self.changed[chosen].mean():.1%} of predictions changed)"
            parts.append(text)
        count, steps = self.norms.shape
        return (
            f"StateKicks of {self.name}: size {self.size:.3g} before step {self.at}, {count} trajectories, "
            f"{steps - 1} steps; largest distance in the median: {', '.join(parts)}"
        )

    __repr__ = __str__


def state_kicks(
    model: nn.Module | Drive,
    x: Any = None,
    *,
    size: float,
    at: int = 0,
    directions: Iterable[str] = KICKS,
    draws: int = 10,
    rng: int | np.random.Generator = 0,
) -> StateKicks:
    """Kick the state of a recurrent layer and follow ‖δ_t‖, beside ‖J_t ... J_1‖ and ‖M^t‖ of linear theory.

    Parameters
    ----------
    model : nn.Module or Drive
        A module with the methods `initial_state` and `step`, a network with one of torch's recurrent layers
        in one direction, or one of `recorded_drives`.
    x : Tensor, shape (N, T, F)
        Input sequences, or whatever the network takes; None for a drive.
    size : float
        Length ‖δ_0‖₂ of each kick, in the units of the state, below 1e150; 0 kicks nothing.
    at : int, optional
        The kick comes before this step: 0 kicks the first state, 3 the state after three steps.
    directions : iterable of str, optional
        Some of "random", "worst", "mean-jacobian"; see `StateKicks`.
    draws : int, optional
        Random directions for each trajectory.
    rng : int or numpy.random.Generator, optional
        Determines them.

    Returns
    -------
    StateKicks
        Distances over time, what linear theory says of them, and the share of predictions that change.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If x does not fit or is given beside a drive, an option is out of range, a sequence ends before the
        kick, the size is lost in the rounding of the state, or a state or a distance becomes NaN or infinite.
    UnsupportedModelError
        If the model ran no recurrent layer, or more than one.
    ConvergenceError
        If an iteration of LAPACK fails.

    Notes
    -----
    The true network is run on from the kicked state, in float64 on the recorded inputs. Where the model is a
    classifier with one recurrent layer, the rest of it then says what it makes of the states; that this
    gives its own predictions without a kick is checked, and `unjudged` says why where there are none (a
    drive has none).

    A kick δ_0 with ‖δ_0‖ small follows linear theory up to terms in ‖δ_0‖²; no kick then grows more than
    `norms`. The mean Jacobian is one linearisation for all: a prediction, not a bound of what the network
    does; `mean_lower` and `kreiss_lower` bound its own powers.

    One unrolling for each direction, and the Jacobians once more than `rnn.finite_time_growth`.

    Examples
    --------
    A linear network does what linear theory says:

    >>> from rnn import UnrolledCell
    >>> weights = {"weight_ih": torch.zeros(2, 1), "weight_hh": torch.tensor([[0.5, 4.0], [0.0, 0.5]])}
    >>> cell = UnrolledCell("relu", weights)
    >>> kicks = state_kicks(cell, torch.zeros(1, 3, 1), size=0.1, directions=["mean-jacobian"])
    >>> kicks.distances.shape
    (1, 1, 4)
    """
    if non_negative(size, "size") >= _LARGEST:
        raise ValueError(f"size is {size}, whose square overflows; expected a size below {_LARGEST:g}")
    size = float(size)
    wanted = _checked_directions(directions)
    draws = whole_number(draws, "draws")
    random = generator(rng)
    whole = one_drive(model, x)
    drive = drive_from(whole, _checked_place(at, whole))
    growth, M = finite_time_growth(drive), mean_state_jacobian(whole)
    count, steps, width = drive.states.shape
    with np.errstate(over="ignore", under="ignore"):
        powers = transient_growth(M, np.arange(steps + 1.0), dynamics="discrete")
    worst, worst_steps = worst_directions(drive, growth)
    named = {
        "random": lambda: random_directions(count, width, draws, random),
        "worst": lambda: worst[None],
        "mean-jacobian": lambda: np.broadcast_to(mean_direction(M, powers), (1, count, width)),
    }
    kicked = {kind: size * named[kind]() for kind in wanted}
    kicks = np.concatenate([*kicked.values()])
    found = [_followed(drive, torch.as_tensor(kick).to(drive.initial), size) for kick in kicks]
    changed, reason = _changed(model, x, whole, at, [states for states, _ in found])
    return StateKicks(
        name=drive.name,
        size=size,
        at=at,
        directions=np.array([kind for kind, some in kicked.items() for _ in some]),
        distances=np.stack([distances for _, distances in found]),
        linear=linear_distances(drive, kicks),
        norms=np.concatenate((np.ones((count, 1)), growth.norms), axis=1),
        worst_steps=worst_steps,
        of_mean_jacobian=powers.norms,
        mean_lower=powers.lower_until,
        kreiss_lower=powers.kreiss_lower,
        changed=changed,
        unjudged=reason,
        kicks=kicks,
    )


def _followed(drive: Drive, kick: Tensor, size: float) -> tuple[Tensor, Floats]:
    """Give the states after a kick, and their distances from the unkicked ones, its own included."""
    kicked = drive.initial + kick
    first = torch.linalg.vector_norm(kicked - drive.initial, dim=-1)[:, None]
    if size > 0 and not (first > 0).all():
        raise ValueError(f"size is {size}, which rounding loses beside the state; kick with a larger size")
    with torch.inference_mode(False), torch.no_grad():
        states = unrolled_states(drive.cell, drive.inputs, kicked, drive.lengths)
    distances = torch.linalg.vector_norm(states - drive.states, dim=-1)
    if not (states.isfinite().all() and distances.isfinite().all()):
        raise ValueError(
            f"the states of {drive.name}, or distances of them, become NaN or infinite after the kick; "
            "use a smaller size"
        )
    return states, torch.cat((first, distances), dim=1).cpu().numpy()


def _changed(
    model: nn.Module | Drive, x: Any, drive: Drive, at: int, kicked: list[Tensor]
) -> tuple[Floats, str]:
    """Give the share of predictions that each kick changed, or why there are none."""
    if isinstance(model, Drive):
        return np.empty(0), "a drive has no predictions; pass the network and x"
    try:
        readout = Readout(model, x, drive)
        found = [readout.predictions(torch.cat((drive.states[:, :at], states), dim=1)) for states in kicked]
    except NotUnderstoodError as reason:
        return np.empty(0), str(reason)
    return np.array([float((labels != readout.clean).double().mean()) for labels in found]), ""


def _checked_directions(directions: Any) -> list[str]:
    if isinstance(directions, str) or not isinstance(directions, Iterable):
        raise TypeError(f"directions is {directions!r}; expected several: [{directions!r}]")
    wanted = list(dict.fromkeys(one_of(kind, "directions", KICKS) for kind in directions))
    if not wanted:
        raise ValueError(f"directions is empty; expected some of {', '.join(KICKS)}")
    return wanted


def _checked_place(at: Any, drive: Drive) -> int:
    shortest = int(drive.lengths.min())
    if whole_number(at, "at", least=0) >= shortest:
        raise ValueError(f"at is {at}, but a sequence has {shortest} steps; expected 0 to {shortest - 1}")
    return int(at)
