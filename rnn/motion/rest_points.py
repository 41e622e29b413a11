"""The distinct points at which a descent ended: their errors, their spectra and what kind they are of."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnn.motion.descent import Map, jacobians, polished_minimum, rounding_level
from spectra.conditioning import eigenvalue_condition_numbers
from spectra.schur import schur_form
from spectra.threads import interruptible

Floats = NDArray[np.float64]

_SAME = 1e-4  # times 1 + norm(s): points within that distance may be one
_WORST = 1e8  # condition number beyond which half of the digits of an eigenvalue are lost anyway
_UNIT_ROUNDOFF = 2.0**-53


@dataclasses.dataclass(slots=True, eq=False)
class RestPoint:
    """A point at which the state rests, or moves slowly.

    Attributes
    ----------
    state : ndarray, shape (s,)
        The point.
    jacobian : ndarray, shape (s, s)
        ∂F/∂s there.
    speed : float
        ‖F(s) − s‖.
    error : float
        Estimated distance to the true point.
    reach : float
        Ends within that distance are the same point.
    wobble : float
        How far the Jacobian may be from that at the true point.
    kink : bool
        Whether ∂F/∂s jumps there.
    slow : bool
        Whether it is no fixed point.
    found : int
        How many starts led there.
    """

    state: Floats
    jacobian: Floats
    speed: float
    error: float
    reach: float
    wobble: float
    kink: bool = False
    slow: bool = False
    found: int = 1

    def is_near(self, state: Floats) -> bool:
        """Say whether a state is this point.

        Parameters
        ----------
        state : ndarray, shape (s,)
            The state.

        Returns
        -------
        bool
            Whether it is within `reach`.
        """
        return float(np.linalg.norm(state - self.state)) <= self.reach


def distinct_zeros(step: Map, states: Tensor, directions: Tensor) -> list[RestPoint]:
    """Give the fixed points among the ends, each once: the end with the smallest residual.

    Parameters
    ----------
    step : callable
        F, from (s,) to (s,).
    states : Tensor, shape (S, s)
        Ends at which the residual is at rounding level.
    directions : Tensor, shape (K, s)
        In which the change of ∂F/∂s is tried.

    Returns
    -------
    list of RestPoint
        The points.
    """
    points: list[RestPoint] = []
    order = torch.argsort((torch.func.vmap(step)(states) - states).norm(dim=1)) if len(states) else ()
    for index in order:
        state = states[index].cpu().numpy()
        same = next((point for point in points if point.is_near(state)), None)
        if same is not None:
            same.found += 1
        else:
            points.append(_zero(step, states[index], directions))
    return points


def _zero(step: Map, state: Tensor, directions: Tensor) -> RestPoint:
    J = jacobians(step, state[None])
    eye = torch.eye(len(state), dtype=J.dtype, device=J.device)
    values, rows = interruptible(lambda: torch.linalg.svd(eye - J[0])[1:], len(state))
    beta = 1 / max(float(values[-1]), float(np.finfo(float).tiny))
    along = torch.cat((rows[-1:], directions))
    along = along / along.norm(dim=1, keepdim=True)
    scale = 1 + float(state.norm())

    def change(distance: float) -> float:
        """How much J changes at most, either way."""
        around = jacobians(step, torch.cat((state + distance * along, state - distance * along)))
        return float((around - J).flatten(1).norm(dim=1).max())

    kink = change(1e-8 * scale) > 1e-4 * float(1 + J.norm())
    lipschitz = change(1e-4 * scale) / (1e-4 * scale)
    speed = float((step(state) - state).norm())
    eta = beta * (speed + float(rounding_level(state[None], J)))
    h = beta * lipschitz * eta
    isolated = h <= 0.5
    error = 2 * eta / (1 + math.sqrt(1 - 2 * h)) if isolated else math.inf
    reach = min(_SAME * scale, 1 / (beta * lipschitz)) if isolated and lipschitz else _SAME * scale
    wobble = lipschitz * min(error, _SAME * scale)
    return RestPoint(state.cpu().numpy(), J[0].cpu().numpy(), speed, error, reach, wobble, kink=kink)


def distinct_minima(step: Map, states: Tensor, slow: float) -> list[RestPoint]:
    """Give the slow points among the ends, each once.

    Parameters
    ----------
    step : callable
        F, from (s,) to (s,).
    states : Tensor, shape (S, s)
        Ends that are slow, and near which nothing is slower.
    slow : float
        The largest speed.

    Returns
    -------
    list of RestPoint
        The points.
    """
    points: list[RestPoint] = []
    for start in states:
        state, error = polished_minimum(step, start) or (start, math.inf)
        speed = float((step(state) - state).norm())
        J = jacobians(step, state[None])
        if not float(rounding_level(state[None], J)) < speed <= slow:
            continue
        same = next((point for point in points if point.is_near(state.cpu().numpy())), None)
        if same is not None:
            same.found += 1
            continue
        reach = _SAME * (1 + float(state.norm()))
        points.append(RestPoint(state.cpu().numpy(), J[0].cpu().numpy(), speed, error, reach, 0.0, slow=True))
    return points


def spectrum_at(point: RestPoint) -> tuple[NDArray[np.complex128], int, str]:
    """Give the eigenvalues of the Jacobian at a point, and what they say.

    Parameters
    ----------
    point : RestPoint
        The point.

    Returns
    -------
    (ndarray of complex, int, str)
        The eigenvalues, the largest modulus first; how many are outside the unit circle beyond doubt; and the
        kind of point.
    """
    J = point.jacobian
    form = schur_form(J)
    conditions = interruptible(lambda: eigenvalue_condition_numbers(form), len(J))
    values = np.asarray(form.eigenvalues, dtype=np.complex128)
    doubt = len(J) * _UNIT_ROUNDOFF * float(np.linalg.norm(J)) + point.wobble
    outside = np.abs(values) - 1
    clear = np.abs(outside) > np.minimum(conditions, _WORST) * doubt
    unstable = int((clear & (outside > 0)).sum())
    if point.slow or point.kink:
        kind = "slow" if point.slow else "kink"
    elif not clear.all():
        kind = "marginal"
    else:
        kind = {0: "attractor", len(J): "repeller"}.get(unstable, "saddle")
    return values[np.argsort(-np.abs(values), kind="stable")], unstable, kind
