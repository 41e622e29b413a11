"""Fixed points and slow points of a recurrent network at one constant input, and the spectra there."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rnn.dynamics import recurrent_twin
from rnn.models import RecurrentClassifier
from rnn.motion.descent import FIXED, STATIONARY, Map, descend
from rnn.motion.rest_points import RestPoint, distinct_minima, distinct_zeros, spectrum_at
from spectra.checks import callback, generator, numeric_array, positive, whole_number
from spectra.results import Record
from spectra.threads import Progress

Floats = NDArray[np.float64]

KINDS = ("attractor", "saddle", "repeller", "marginal", "kink", "slow")

_FAST = 10.0  # times as fast as a slow point: a descent that stops above that is given up
_WARM_UP = 20  # steps of the network at most, from a random state to a start


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FixedPoints(Record):
    """Fixed points s = F(x, s) and slow points of a recurrent network, with the linear dynamics at each.

    Attributes
    ----------
    states : ndarray, shape (P, s)
        The points: fixed points first, and among those the ones first that more starts led to.
    kinds : ndarray of str, shape (P,)
        Of a fixed point "attractor" (all eigenvalues inside the unit circle), "repeller" (all outside),
        "saddle", "marginal" (one is on the circle as far as rounding and the error of the state can tell) or
        "kink" (∂F/∂s jumps there, as that of a ReLU, so that the eigenvalues are those of one side); "slow"
        where ‖F(s) − s‖ is above zero and nothing near is slower.
    speeds : ndarray, shape (P,)
        ‖F(s) − s‖ = (2q)^½, the way that the state goes in one step; of a fixed point rounding noise.
    errors : ndarray, shape (P,)
        Estimated distance to the true point; inf where nothing says that it is isolated: on a line of fixed
        points, or in a valley of slow ones.
    spectral_radii : ndarray, shape (P,)
        Largest modulus of an eigenvalue.
    unstable_dimensions : ndarray of int, shape (P,)
        How many eigenvalues are outside the unit circle, beyond doubt.
    eigenvalues : ndarray of complex, shape (P, s)
        Of `jacobians`, the largest modulus first.
    jacobians : ndarray, shape (P, s, s)
        ∂F/∂s: ``spectra.pseudospectrum(points.jacobians[k])`` is the pseudospectrum at point k.
    found : ndarray of int, shape (P,)
        How many starts led there.
    x_t : ndarray, shape (F,)
        The constant input.
    slow : float
        The largest speed of a slow point.
    starts : int
        How many starts there were: found.sum() + too_fast + unfinished.
    too_fast : int
        Starts that ended where the gradient of the speed vanishes, but the speed is above `slow`; or where it
        is above ten times `slow` and hardly falls.
    unfinished : int
        Starts that ended nowhere: at numbers that are not finite, or after too many steps.
    """

    states: Floats
    kinds: NDArray[np.str_]
    speeds: Floats
    errors: Floats
    spectral_radii: Floats
    unstable_dimensions: NDArray[np.int64]
    eigenvalues: NDArray[np.complex128]
    jacobians: Floats
    found: NDArray[np.int64]
    x_t: Floats
    slow: float
    starts: int
    too_fast: int
    unfinished: int

    def __len__(self) -> int:
        """Give the number of points P."""
        return len(self.states)

    def _check_shapes(self) -> None:
        points, size = self.states.shape
        columns = (
            self.kinds,
            self.speeds,
            self.errors,
            self.spectral_radii,
            self.unstable_dimensions,
            self.found,
        )
        fits = all(column.shape == (points,) for column in columns)
        if not fits or self.eigenvalues.shape != (points, size) or self.jacobians.shape[1:] != (size, size):
            raise ValueError("fields of different lengths")

    def __str__(self) -> str:
        """One line."""
        tally = Counter(self.kinds.tolist())
        parts = [f"{tally[kind]} {kind}" for kind in KINDS if tally[kind]]
        dropped = self.too_fast + self.unfinished
        text = ", ".join(parts) or "none"
        return f"FixedPoints: {text}, from {self.starts} starts ({dropped} led to no point)"

    __repr__ = __str__


def fixed_points(
    model: RecurrentClassifier | nn.Module,
    *,
    x_t: ArrayLike | Tensor | None = None,
    starts: ArrayLike | Tensor | None = None,
    count: int = 64,
    slow: float = 0.01,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> FixedPoints:
    """Find the fixed points s = F(x, s) of a recurrent network at a constant input x, and slow points.

    Parameters
    ----------
    model : RecurrentClassifier, UnrolledCell or nn.Module
        Anything with the methods `initial_state` and `step`, where ``step(x_t, state)`` is F. It is copied to
        float64 in evaluation mode.
    x_t : array_like, shape (F,), optional
        The input of every step; zeros by default.
    starts : array_like, shape (..., s), optional
        States to start from, such as those of ``rnn.trajectory``. By default `count` random ones.
    count : int
        How many starts are drawn: states that the network reaches from its initial state, plus normal noise
        of up to the larger of 1 and their root mean square; half of them are taken up to 20 steps further.
        Not used with `starts`.
    slow : float
        Largest speed ‖F(s) − s‖ of a slow point, in the units of the state per step.
    rng : int or numpy.random.Generator
        For the starts, and the directions in which the change of ∂F/∂s is tried.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of starts.

    Returns
    -------
    FixedPoints
        The points, each once. No search of this kind can say that there are no others.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If `x_t` or `starts` does not fit the model or holds NaN or inf, a number is out of range, or `x_t` is
        needed because the model does not say how long its input is.
    UnsupportedModelError
        If the model has no `step`.

    Notes
    -----
    Minimises q(s) = ‖F(s) − s‖²/2 (Sussillo and Barak) by Levenberg and Marquardt's method, all starts at
    once. A fixed point has a residual of at most 16 u s^½ (1 + ‖J‖_F) (1 + ‖s‖). A slow point is an end where
    the gradient of q is at most 1e-7 ‖J − I‖_F ‖F(s) − s‖, or whose speed is below 1e-6 (1 + ‖s‖) and falls
    by less than a tenth in a step. A descent whose speed is above ten times `slow` and falls by less than
    1 % in 25 steps is given up. If the Hessian of q is positive definite there, it is a local minimum,
    polished by Newton's method, and its error is the last step; if not, as in a valley along which q hardly
    changes, its error is inf.

    The error of a fixed point is that of the Newton-Kantorovich theorem, 2 η / (1 + (1 − 2 β L η)^½), where
    β = ‖(I − J)⁻¹‖ and η = β (residual + rounding). It would be proven with a Lipschitz constant L of J
    around the point; ours is the largest change of J along the weakest direction of I − J and two random
    ones, so that it is an estimate. Where 2 β L η > 1 the error is inf: the point may belong to a line of
    fixed points, or several may have met. Two ends are one point where they are closer than 1 / (β L), the
    distance within which I − J stays regular, and never where they are further apart than 1e-4 (1 + ‖s‖).

    An eigenvalue λ counts as on the unit circle within κ (s u ‖J‖_F + L error), with its condition number κ,
    taken as 1e8 at most. Cost: some 15 Jacobians and Cholesky factorisations of order s per start, and a
    singular value and a Schur decomposition per point; with 64 starts about 1 s for s = 64, 6 s for 256 and
    50 s for 512 on one core.

    References
    ----------
    D. Sussillo and O. Barak, "Opening the black box: low-dimensional dynamics in high-dimensional recurrent
    neural networks", Neural Computation 25 (2013), 626-649.

    Examples
    --------
    One tanh unit that excites itself rests at 0, which is unstable, and at the two solutions of h = tanh(2h):

    >>> from rnn import UnrolledCell
    >>> cell = UnrolledCell("tanh", {"weight_ih": torch.zeros(1, 1), "weight_hh": torch.full((1, 1), 2.0)})
    >>> points = fixed_points(cell)
    >>> points
    FixedPoints: 2 attractor, 1 repeller, from 64 starts (0 led to no point)
    >>> sorted(points.states[:, 0].round(6) + 0.0)
    [np.float64(-0.957504), np.float64(0.0), np.float64(0.957504)]
    """
    twin = recurrent_twin(model)
    slow, count, random = positive(slow, "slow"), whole_number(count, "count"), generator(rng)
    callback(progress)
    with torch.inference_mode(False), torch.enable_grad():
        origin = twin.initial_state(1)
        x = _checked_input(twin, x_t, origin)

        def step(state: Tensor) -> Tensor:
            return twin.step(x, state)

        if starts is None:
            begin = _random_starts(step, origin[0], count, random)
        else:
            begin = origin.new_tensor(_checked_starts(starts, origin.shape[1]))
        ends = descend(step, begin, fast=_FAST * slow, progress=progress)
        directions = torch.from_numpy(random.standard_normal((2, origin.shape[1]))).to(origin.device)
        points = distinct_zeros(step, ends.states[ends.outcomes == FIXED], directions)
        flat = ends.outcomes == STATIONARY
        points += distinct_minima(step, ends.states[flat & (ends.residuals <= slow)], slow)
    left = Counter(ends.outcomes.tolist())
    kept = sum(point.found for point in points)
    unfinished = len(begin) - left[FIXED] - left[STATIONARY]
    return FixedPoints(
        **_columns(points, origin.shape[1]),
        x_t=x.cpu().numpy(),
        slow=slow,
        starts=len(begin),
        too_fast=len(begin) - kept - unfinished,
        unfinished=unfinished,
    )


def _checked_input(twin: nn.Module, x_t: Any, origin: Tensor) -> Tensor:
    features = getattr(twin, "features", getattr(getattr(twin, "config", None), "features", None))
    if x_t is None:
        if not isinstance(features, int):
            raise ValueError("x_t is None, and the model does not say how long its input is; pass the vector")
        return origin.new_zeros(features)
    values = _real(x_t, "x_t")
    if values.ndim != 1 or (isinstance(features, int) and len(values) != features):
        raise ValueError(
            f"x_t has shape {values.shape}; expected one vector of {features or 'the'} features of a step"
        )
    return origin.new_tensor(values)


def _checked_starts(starts: Any, size: int) -> Floats:
    values = _real(starts, "starts")
    if values.ndim < 1 or values.shape[-1] != size:
        raise ValueError(
            f"starts has shape {values.shape}; expected (..., {size}): states of {size} entries (an LSTM's "
            "are h and c in one vector)"
        )
    return values.reshape(-1, size)


def _real(value: Any, name: str) -> Floats:
    array = numeric_array(value.detach().cpu().numpy() if isinstance(value, Tensor) else value, name)
    if np.iscomplexobj(array):
        raise TypeError(f"{name} is complex; expected real numbers")
    return np.asarray(array, dtype=np.float64)


def _random_starts(step: Map, origin: Tensor, count: int, random: np.random.Generator) -> Tensor:
    visited = [origin]
    for _ in range(100):
        after = step(visited[-1])
        if not torch.isfinite(after).all():
            break
        visited.append(after)
    states = torch.stack(visited)[torch.from_numpy(random.integers(len(visited), size=count))]
    scale = max(1.0, float(torch.stack(visited).square().mean().sqrt()))
    noise = random.uniform(size=(count, 1)) * random.standard_normal(states.shape)
    states = states + scale * torch.from_numpy(noise).to(origin.device)
    left = torch.from_numpy(np.maximum(0, random.integers(-_WARM_UP, _WARM_UP + 1, size=count)))
    left = left.to(origin.device)
    for number in range(_WARM_UP):
        after = step(states)
        moving = (number < left) & torch.isfinite(after).all(1)
        states = torch.where(moving[:, None], after, states)
    return states


def _columns(points: list[RestPoint], size: int) -> dict[str, Any]:
    points = sorted(points, key=lambda point: (point.slow, -point.found))
    spectra = [spectrum_at(point) for point in points]
    return {
        "states": np.array([point.state for point in points]).reshape(-1, size),
        "kinds": np.array([kind for _, _, kind in spectra], dtype=np.str_),
        "speeds": np.array([point.speed for point in points], dtype=np.float64),
        "errors": np.array([point.error for point in points], dtype=np.float64),
        "spectral_radii": np.array([abs(values[0]) for values, _, _ in spectra], dtype=np.float64),
        "unstable_dimensions": np.array([unstable for _, unstable, _ in spectra], dtype=np.int64),
        "eigenvalues": np.array([values for values, _, _ in spectra], dtype=np.complex128).reshape(-1, size),
        "jacobians": np.array([point.jacobian for point in points]).reshape(-1, size, size),
        "found": np.array([point.found for point in points], dtype=np.int64),
    }
