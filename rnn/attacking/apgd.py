"""APGD: projected gradient ascent that sets its own step size, on three objectives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from rnn.attacking.objectives import Objective, Slope
from rnn.attacking.threats import Threat, per_example
from spectra.checks import whole_number

_MOMENTUM = 0.75  # share of the new step, and the least share of moves that must rise


@dataclasses.dataclass(frozen=True, slots=True)
class _Rounds:
    """What the three have in common: rounds that start at random points."""

    steps: int = 100
    rounds: int = 1

    def __post_init__(self) -> None:
        """Check the options."""
        whole_number(self.steps, "steps")
        whole_number(self.rounds, "rounds")


@dataclasses.dataclass(frozen=True, slots=True)
class APGDCrossEntropy(_Rounds):
    """APGD on the cross-entropy.

    Attributes
    ----------
    steps : int
        Moves in each round; a round costs at most steps + 1 gradients.
    rounds : int
        How often it starts anew, at a random point.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.

    Notes
    -----
    See `climb`. It follows log((1 - p_y) / p_y): the same moves as -log p_y would give, since the algorithm
    only compares values and follows directions, but without their underflow when p_y rounds to 1.
    """

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give perturbed inputs: the first misclassified point, or else the one of largest objective."""
        del turn
        start = threat.scatter(noise, x)
        return climb(objective, Objective.log_odds, x, threat, start=start, steps=self.steps)


@dataclasses.dataclass(frozen=True, slots=True)
class APGDRatio(_Rounds):
    """APGD on the difference of logits ratio.

    Attributes
    ----------
    steps : int
        Moves in each round; a round costs at most steps + 1 gradients.
    rounds : int
        How often it starts anew, at a random point.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.

    Notes
    -----
    See `climb` and, for models with two or three classes, `Objective.logits_ratio`.
    """

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give perturbed inputs: the first misclassified point, or else the one of largest objective."""
        del turn
        start = threat.scatter(noise, x)
        return climb(objective, Objective.logits_ratio, x, threat, start=start, steps=self.steps)


@dataclasses.dataclass(frozen=True, slots=True)
class APGDTargeted:
    """APGD on the difference of logits ratio towards one wrong class after the other.

    Attributes
    ----------
    steps : int
        Moves in each round; a round costs at most steps + 1 gradients.
    classes : int
        How many of the wrong classes that are most likely when clean are tried, one in each round; rounds
        past the last wrong class do nothing.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.

    Notes
    -----
    See `climb` and, for models with two or three classes, `Objective.logits_ratio`.
    """

    steps: int = 100
    classes: int = 9

    def __post_init__(self) -> None:
        """Check the options."""
        whole_number(self.steps, "steps")
        whole_number(self.classes, "classes")

    @property
    def rounds(self) -> int:
        """One for each class."""
        return self.classes

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give perturbed inputs: the first misclassified point, or else the one of largest objective."""
        if turn >= objective.rivals:
            return x

        def towards(part: Objective, point: Tensor) -> Slope:
            return part.logits_ratio(point, rival=turn)

        return climb(objective, towards, x, threat, start=threat.scatter(noise, x), steps=self.steps)


def checkpoints(steps: int) -> list[int]:
    """Give the numbers of moves after which APGD looks back, w_j = ⌈p_j steps⌉.

    Parameters
    ----------
    steps : int
        Moves in all.

    Returns
    -------
    list of int
        From 0 on; p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).

    Examples
    --------
    >>> checkpoints(100)
    [0, 22, 41, 57, 70, 80, 87, 93, 99]
    """
    hundredths = [0, 22]  # whole numbers: 0.22 + 0.19 + ... would round
    while hundredths[-1] < 100:
        hundredths.append(hundredths[-1] + max(hundredths[-1] - hundredths[-2] - 3, 6))
    return [-(-p * steps // 100) for p in hundredths if p <= 100]


def climb(
    objective: Objective,
    slope_at: Callable[[Objective, Tensor], Slope],
    x: Tensor,
    threat: Threat,
    *,
    start: Tensor,
    steps: int,
) -> Tensor:
    """Climb an objective within the allowed set by APGD.

    Parameters
    ----------
    objective : Objective
        The model as the attack may see it.
    slope_at : callable
        Gives the objective's slope at a batch of points.
    x : Tensor, shape (N, ...)
        Clean inputs.
    threat : Threat
        Norm, budget, bounds.
    start : Tensor, shape (N, ...)
        Allowed points.
    steps : int
        Moves.

    Returns
    -------
    Tensor, shape (N, ...)
        The first misclassified point of each example, or else the one of largest objective.

    Notes
    -----
    From the step 2 budget on, a move goes 3/4 of the way of a projected gradient step and adds 1/4 of the
    last move. At each checkpoint (see `checkpoints`) an example halves its step and returns to its best point
    if fewer than 3/4 of the moves since the last checkpoint rose, or if the step was not halved there and the
    best value has not risen since. Examples that are misclassified leave at once.

    In l1 it is weak where one objective is climbed, and a larger first step hardly helps: of 100 inputs of an
    MLP of 10 features, at budget 1 within bounds, it left 32 right by the cross-entropy and 34 by the ratio,
    where PGD left 20. In l1 rather take PGD, the targeted one, or "worst".

    References
    ----------
    F. Croce and M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020, Algorithm 1.
    """
    result = start.clone()
    first = slope_at(objective, start)
    run = _Run.begin(x, start, first, threat)
    looks, share = checkpoints(steps), 1.0
    for move in range(1, steps + 1):
        if first.wrong.any():
            run, objective = _leave(run, objective, first.wrong, result)
            if len(run.index) == 0:
                return result
        before = run.point
        run.advance(threat, share)
        first = slope_at(objective, run.point)
        run.note(first)
        run.previous, share = before, _MOMENTUM
        if move in looks:
            run.look_back(move - looks[looks.index(move) - 1])
    run, _ = _leave(run, objective, first.wrong, result)
    result[run.index] = run.best
    return result


@dataclasses.dataclass(slots=True)
class _Run:
    """Where the examples that are still right stand; every field has one row for each of them."""

    index: Tensor
    x: Tensor
    point: Tensor
    previous: Tensor
    gradient: Tensor
    value: Tensor
    best: Tensor
    best_gradient: Tensor
    best_value: Tensor
    best_then: Tensor  # at the last checkpoint
    size: Tensor
    rises: Tensor
    halved: Tensor

    @classmethod
    def begin(cls, x: Tensor, start: Tensor, slope: Slope, threat: Threat) -> _Run:
        zeros = torch.zeros_like(slope.value)
        return cls(
            index=torch.arange(len(x), device=x.device),
            x=x,
            point=start,
            previous=start,
            gradient=slope.gradient,
            value=slope.value,
            best=start,
            best_gradient=slope.gradient,
            best_value=slope.value,
            best_then=slope.value,
            size=zeros + 2 * threat.budget,
            rises=zeros,
            halved=zeros > 0,
        )

    def advance(self, threat: Threat, share: float) -> None:
        step = per_example(self.size, self.point) * threat.ascent(self.gradient)
        point = threat.project(self.point + step, self.x, exact=False)
        if share < 1:
            point = torch.lerp(self.point + (self.point - self.previous), point, share)
            point = threat.project(point, self.x, exact=False)
        self.point = point

    def note(self, slope: Slope) -> None:
        self.rises = self.rises + (slope.value > self.value)
        self.gradient, self.value = slope.gradient, slope.value
        better = slope.value > self.best_value
        wide = per_example(better, self.point)
        self.best = torch.where(wide, self.point, self.best)
        self.best_gradient = torch.where(wide, slope.gradient, self.best_gradient)
        self.best_value = torch.where(better, slope.value, self.best_value)

    def look_back(self, moves: int) -> None:
        stuck = ~self.halved & (self.best_value == self.best_then)
        self.halved = (self.rises < _MOMENTUM * moves) | stuck
        self.size = torch.where(self.halved, self.size / 2, self.size)
        wide = per_example(self.halved, self.point)
        self.point = torch.where(wide, self.best, self.point)
        self.gradient = torch.where(wide, self.best_gradient, self.gradient)
        self.value = torch.where(self.halved, self.best_value, self.value)
        self.best_then, self.rises = self.best_value, torch.zeros_like(self.rises)

    def rows(self, keep: Tensor) -> _Run:
        return _Run(*(getattr(self, field.name)[keep] for field in dataclasses.fields(self)))


def _leave(run: _Run, objective: Objective, wrong: Tensor, result: Tensor) -> tuple[_Run, Objective]:
    leave, stay = wrong.nonzero()[:, 0], (~wrong).nonzero()[:, 0]
    result[run.index[leave]] = run.point[leave]
    return run.rows(stay), objective.rows(stay)
