"""Zeros and small local minima of norm(F(s) - s), from many starting states at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

Map = Callable[[Tensor], Tensor]

FIXED, STATIONARY, UNFINISHED = range(3)

_ROUNDOFF = 2.0**-53
_MOST_STEPS = 400
_FLAT = 1e-7  # of norm(G) norm(g): a gradient below that share is looked at with second derivatives,
_NEARLY_ZERO = 1e-6  # unless norm(g) is below that, times 1 + norm(s): zeros of higher order are flat as well
_SHORT = 0.02  # times 1 + norm(s): the longest Newton step
_PATIENCE = 25  # steps in which a fast end has to become slower
_FASTER = 0.99  # and by how much
_NUMBERS = 2**23  # entries in a stack of Jacobians


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Where each start led.

    Attributes
    ----------
    states : Tensor, shape (S, s)
        The last states.
    residuals : Tensor, shape (S,)
        ‖F(s) − s‖ there.
    outcomes : Tensor of int, shape (S,)
        `FIXED` where the residual is at rounding level, `STATIONARY` where the gradient of
        ‖F(s) − s‖²/2 is at most 1e-7 ‖J − I‖_F ‖F(s) − s‖, or where ‖F(s) − s‖ is
        at most 1e-6 (1 + ‖s‖) and a step makes it less than a tenth smaller, or where it is above `fast` and
        25 steps make it less than a hundredth smaller; `UNFINISHED` otherwise.
    """

    states: Tensor
    residuals: Tensor
    outcomes: Tensor


def jacobians(step: Map, states: Tensor) -> Tensor:
    """Give ∂F/∂s at each state.

    Parameters
    ----------
    step : callable
        F, from (s,) to (s,), in operations that ``torch.func`` knows.
    states : Tensor, shape (S, s)
        The states.

    Returns
    -------
    Tensor, shape (S, s, s)
        The Jacobians.
    """
    return vmap(jacrev(step))(states).detach()


def rounding_level(states: Tensor, jacobian: Tensor) -> Tensor:
    """Give the residual below which F(s) − s is rounding noise: 16 u s^½ (1 + ‖J‖_F) (1 + ‖s‖).

    Parameters
    ----------
    states : Tensor, shape (S, s)
        The states.
    jacobian : Tensor, shape (S, s, s)
        ∂F/∂s there.

    Returns
    -------
    Tensor, shape (S,)
        The levels.
    """
    size = states.shape[1] ** 0.5
    return 16 * _ROUNDOFF * size * (1 + jacobian.flatten(1).norm(dim=1)) * (1 + states.norm(dim=1))


def descend(step: Map, starts: Tensor, *, fast: float, progress: Callable[[int, int], None] | None) -> Ends:
    """Go down ‖F(s) − s‖² from every start.

    Parameters
    ----------
    step : callable
        F, from (s,) to (s,), in operations that ``torch.func`` knows.
    starts : Tensor of float64, shape (S, s)
        Where to begin.
    fast : float
        Residual above which an end is of no use: such a descent is given up once it all but stands still.
    progress : callable or None
        Called as ``progress(done, S)`` after each step.

    Returns
    -------
    Ends
        In the order of the starts.

    Notes
    -----
    Levenberg and Marquardt's steps (GᵀG + μ ‖g‖ I) δ = −Gᵀg with g = F(s) − s and G = J − I, where μ is
    divided or multiplied by 4 as the decrease is near to or far from the predicted one. They converge
    quadratically also towards zeros that are not isolated (Fan and Yuan). Zeros are polished by Newton's
    method, which sees (unlike GᵀG) also singular values of G below u^½ ‖G‖. A step costs a Jacobian and a
    Cholesky factorisation per start that is not yet finished.

    References
    ----------
    J. Fan and Y. Yuan, "On the quadratic convergence of the Levenberg-Marquardt method without nonsingularity
    assumption", Computing 74 (2005), 23-39.
    """
    count, size = starts.shape
    chunk, parts, done = max(1, _NUMBERS // size**2), [], 0
    for part in starts.split(chunk):
        before = done

        def tell(finished: int, before: int = before) -> None:
            if progress is not None:
                progress(before + finished, count)

        parts.append(_descend_together(step, part, fast, tell))
        done += len(part)
    states, residuals, outcomes = (torch.cat(column) for column in zip(*parts, strict=True))
    return Ends(states, residuals, outcomes)


def polished_minimum(step: Map, state: Tensor) -> tuple[Tensor, float] | None:
    """Give a local minimum of q(s) = ‖F(s) − s‖²/2 near a state, by Newton's method on q.

    Parameters
    ----------
    step : callable
        F, from (s,) to (s,), in operations that ``torch.func`` knows.
    state : Tensor of float64, shape (s,)
        A state where the gradient of q is small.

    Returns
    -------
    (Tensor, float) or None
        The minimum and the length of the last Newton step, an estimate of the distance to it; None where the
        Hessian is not positive definite, or the steps do not end.
    """

    def q(s: Tensor) -> Tensor:
        return 0.5 * (step(s) - s).square().sum()

    length, shortest = float("inf"), float("inf")
    for _ in range(50):
        factor, failed = torch.linalg.cholesky_ex(jacrev(grad(q))(state).detach())
        if failed:
            return None
        delta = -torch.cholesky_solve(grad(q)(state).detach()[:, None], factor)[:, 0]
        length = float(delta.norm())
        if not length < float("inf"):
            return None
        if length >= 0.5 * shortest and length <= 1e-6 * (1 + float(state.norm())):
            return state, length  # what is left is rounding
        state, shortest = state + delta, min(shortest, length)
    return None


def _descend_together(
    step: Map, s: Tensor, fast: float, tell: Callable[[int], None]
) -> tuple[Tensor, Tensor, Tensor]:
    s, g = s.clone(), _g(step, s)
    active = torch.isfinite(g).all(1)
    outcomes = torch.full((len(s),), UNFINISHED, device=s.device)
    damping, stalled = torch.ones_like(s[:, 0]), ~active
    eye = torch.eye(s.shape[1], dtype=s.dtype, device=s.device)
    G = jacobians(step, s) - eye
    earlier = torch.full_like(damping, torch.inf)
    for turn in range(_MOST_STEPS):
        here = active.nonzero()[:, 0]
        if len(here) == 0:
            break
        delta, gradient, predicted = _damped_step(G[here], g[here], damping[here])
        size, residual = G[here].flatten(1).norm(dim=1), g[here].norm(dim=1)
        level = rounding_level(s[here], G[here] + eye)
        fixed = (residual <= level) & torch.isfinite(level)
        scale = 1 + s[here].norm(dim=1)
        small = residual <= _NEARLY_ZERO * scale
        flat = torch.where(small, stalled[here], gradient <= _FLAT * size * residual)
        flat |= delta.norm(dim=1) <= _ROUNDOFF * scale
        if turn % _PATIENCE == 0:
            flat |= (residual > fast) & (residual > _FASTER * earlier[here])
            earlier[here] = residual
        outcomes[here[flat]], outcomes[here[fixed]] = STATIONARY, FIXED
        going = ~(fixed | flat)
        active[here[~going]] = False
        trial = s[here] + delta
        new = _g(step, trial)
        stalled[here] = new.norm(dim=1) > 0.9 * residual
        ratio = torch.nan_to_num((residual**2 - new.square().sum(1)) / predicted, nan=-1.0)
        damping[here] *= torch.where(ratio < 0.25, 4.0, torch.where(ratio > 0.75, 0.25, 1.0))
        taken = going & (ratio > 1e-4)
        s[here[taken]], g[here[taken]] = trial[taken], new[taken]
        if taken.any():
            G[here[taken]] = jacobians(step, trial[taken]) - eye
        tell(int((~active).sum()))
    scale = 1 + s.norm(dim=1)
    near = ((g.norm(dim=1) <= _NEARLY_ZERO * scale) & torch.isfinite(scale)).nonzero()[:, 0]
    if len(near):
        s[near], g[near], zero = _polished_zeros(step, s[near], g[near], eye)
        outcomes[near[zero]] = FIXED
    tell(len(s))
    return s, g.norm(dim=1), outcomes


def _g(step: Map, s: Tensor) -> Tensor:
    return (vmap(step)(s) - s).detach()


def _damped_step(G: Tensor, g: Tensor, damping: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give Levenberg-Marquardt steps, norms of the gradients, and the decrease of norm(g)^2 predicted."""
    gradient = G.mT @ g[:, :, None]
    shift = damping * g.norm(dim=1) + 1e-15 * G.square().sum((1, 2))
    normal = G.mT @ G
    normal.diagonal(dim1=1, dim2=2).add_(shift[:, None])
    delta = -torch.cholesky_solve(gradient, torch.linalg.cholesky_ex(normal)[0])
    linear = g[:, :, None] + G @ delta
    predicted = g.square().sum(1) - linear.square().sum((1, 2))
    return delta[:, :, 0], gradient.norm(dim=(1, 2)), predicted


def _polished_zeros(step: Map, s: Tensor, g: Tensor, eye: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take short Newton steps as long as the residual falls, and say where it is at rounding level."""
    zero = torch.zeros(len(s), dtype=torch.bool, device=s.device)
    for _ in range(_MOST_STEPS):
        J = jacobians(step, s)
        level = rounding_level(s, J)
        zero |= (g.norm(dim=1) <= level) & torch.isfinite(level)
        delta = torch.linalg.solve_ex(J - eye, -g[:, :, None])[0][:, :, 0]
        trial = s + delta
        new = _g(step, trial)
        better = new.norm(dim=1) < 0.9 * g.norm(dim=1)  # False for NaN
        better &= delta.norm(dim=1) <= _SHORT * (1 + s.norm(dim=1))
        if not better.any():
            break
        s, g = torch.where(better[:, None], trial, s), torch.where(better[:, None], new, g)
    return s, g, zero
