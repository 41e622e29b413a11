"""Square: random search that changes one window of frames and features at a time; it needs logits only."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from rnn.attacking.objectives import Objective
from rnn.attacking.threats import Threat, per_example
from spectra.checks import positive, whole_number

# Of 10000 queries, after which the share of changed entries is halved (Andriushchenko et al., section 3.2).
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclasses.dataclass(frozen=True, slots=True)
class Square:
    """Random search by windows; a proposal stays where it raises the margin of the likeliest wrong class.

    Attributes
    ----------
    steps : int
        Proposals in each round; each costs a forward pass.
    share : float
        Share of the entries in the first windows, at most 1.
    rounds : int
        How often it starts anew.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.

    Notes
    -----
    A window spans frames x features of a sequence, some neighbouring entries of a vector, and the last two
    dimensions of anything larger, in all channels. In L-infinity an entry is always at ±budget: at first one
    sign for each feature over all frames, then one for each window and channel. In L2 (and in l1 alike) a
    window takes up the perturbation of another one, as two bumps of opposite signs. The windows shrink as the
    queries pass. Each example draws its own random numbers.

    References
    ----------
    M. Andriushchenko, F. Croce, N. Flammarion and M. Hein, "Square attack: a query-efficient black-box
    adversarial attack via random search", ECCV 2020.
    """

    steps: int = 5000
    share: float = 0.8
    rounds: int = 1

    def __post_init__(self) -> None:
        """Check the options."""
        whole_number(self.steps, "steps")
        if positive(self.share, "share") > 1:
            raise ValueError(f"share is {self.share}; expected a share of the entries, above 0 and at most 1")
        whole_number(self.rounds, "rounds")

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give perturbed inputs: the first misclassified point, or else the one of largest margin."""
        del turn
        dice = _Dice(_seeds(noise))
        planes = x.reshape(len(x), -1, *x.shape[1:][-2:]) if x.ndim > 2 else x[:, None, None]
        start = _stripes(planes, dice) if threat.norm == "linf" else _bumps(planes, dice)
        best = threat.project(x + threat.budget * threat.ascent(start.view_as(x)), x)
        value, wrong = objective.excess(best)
        result, index = best.clone(), torch.arange(len(x), device=x.device)
        for step in range(self.steps):
            if wrong.any():
                result[index] = best
                if wrong.all():
                    return result
                index, x, best, value = index[~wrong], x[~wrong], best[~wrong], value[~wrong]
                objective, dice = objective.rows(~wrong), dice.rows(~wrong)
            window = _window(_share_at(self.share, step, self.steps), planes.shape[2:])
            delta = (best - x).view(-1, *planes.shape[1:])
            if threat.norm == "linf":
                delta = _flip(delta, window, threat.budget, dice)
            else:
                delta = _take_up(delta, window, _mass(threat, x), dice, 2 if threat.norm == "l2" else 1)
            candidate = threat.project(x + delta.view_as(x), x)
            new, wrong = objective.excess(candidate)
            better = (new > value) | wrong
            best = torch.where(per_example(better, x), candidate, best)
            value = torch.where(better, new, value)
        result[index] = best
        return result


class _Dice:
    """Random numbers of each example: splitmix64 of its seed and a counter."""

    def __init__(self, seeds: Tensor, drawn: int = 0) -> None:
        self._seeds, self._drawn = seeds, drawn

    def rows(self, keep: Tensor) -> _Dice:
        return _Dice(self._seeds[keep], self._drawn)

    def uniform(self, count: int) -> Tensor:
        """Give (N, count) numbers of [0, 1)."""
        counter = torch.arange(self._drawn + 1, self._drawn + 1 + count, device=self._seeds.device)
        self._drawn += count
        bits = _mixed(self._seeds[:, None] + counter * _GOLDEN)
        return _shifted(bits, 11).double() * 2.0**-53

    def below(self, limit: int) -> Tensor:
        """Give N whole numbers from 0 to limit - 1."""
        return (self.uniform(1)[:, 0] * limit).long()

    def signs(self, like: Tensor, count: int) -> Tensor:
        """Give (N, count) signs in the precision of `like`."""
        return (self.uniform(count) < 0.5).to(like.dtype) * 2 - 1


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FACTORS = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _shifted(bits: Tensor, by: int) -> Tensor:
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _FACTORS[0]
    bits = (bits ^ _shifted(bits, 27)) * _FACTORS[1]
    return bits ^ _shifted(bits, 31)


def _seeds(noise: Tensor) -> Tensor:
    bits = noise.flatten(1).double().view(torch.int64)
    return _mixed(bits + torch.arange(bits.shape[1], device=bits.device) * _GOLDEN).sum(1)


def _share_at(share: float, step: int, steps: int) -> float:
    passed = step * 10000 // steps
    return share / 2 ** sum(passed > halving for halving in _HALVINGS)


def _window(share: float, plane: torch.Size) -> tuple[int, int]:
    """Give the window nearest to a square that covers a share of the plane."""
    frames, features = plane
    area = share * frames * features
    height = min(frames, max(1, round(math.sqrt(area))))
    width = min(features, max(1, round(area / height)))
    return min(frames, max(1, round(area / width))), width


def _stripes(planes: Tensor, dice: _Dice) -> Tensor:
    n, channels, _, features = planes.shape
    return (
        dice.signs(planes, channels * features).view(n, channels, 1, features).expand_as(planes).contiguous()
    )


def _bumps(planes: Tensor, dice: _Dice) -> Tensor:
    n, channels, frames, features = planes.shape
    height, width = max(1, frames // 5), max(1, features // 5)
    down, right = -(-frames // height), -(-features // width)
    signs = dice.signs(planes, channels * down * right).view(n, channels, down, right)
    bump = _bump(height, width).to(planes)
    tiled = signs.repeat_interleave(height, 2).repeat_interleave(width, 3) * bump.repeat(down, right)
    return tiled[:, :, :frames, :features].contiguous()


def _bump(height: int, width: int) -> Tensor:
    """Give a hill: Σ_{k <= M} (n + 1 - k)^-2, n half the size, M = n minus the distance to the middle."""
    half = max(height, width) // 2
    rows, columns = (
        (torch.arange(size) - (size - 1) / 2).abs().mul(max(height, width) / size) for size in (height, width)
    )
    away = torch.maximum(rows[:, None], columns[None, :]).round().long().clamp_max(half)
    heights = torch.tensor([(half + 1 - k) ** -2.0 for k in range(half + 1)], dtype=torch.float64).cumsum(0)
    return heights[half - away]


def _cells(delta: Tensor, window: tuple[int, int], dice: _Dice) -> tuple[Tensor, ...]:
    """Give index tensors of one random window for each example, in all channels."""
    n, channels, frames, features = delta.shape
    top, left = dice.below(frames - window[0] + 1), dice.below(features - window[1] + 1)

    def along(size: int, dim: int) -> Tensor:
        return torch.arange(size, device=delta.device).view([-1 if d == dim else 1 for d in range(4)])

    rows = top.view(-1, 1, 1, 1) + along(window[0], 2)
    columns = left.view(-1, 1, 1, 1) + along(window[1], 3)
    return along(n, 0), along(channels, 1), rows, columns


def _flip(delta: Tensor, window: tuple[int, int], budget: float, dice: _Dice) -> Tensor:
    cells = _cells(delta, window, dice)
    signs = dice.signs(delta, delta.shape[1]).view(*delta.shape[:2], 1, 1)
    moved = delta.clone()
    moved[cells] = budget * signs.expand(-1, -1, *window)
    return moved


def _mass(threat: Threat, x: Tensor) -> float:
    """Give the budget as a sum of powers over all entries; frames with a budget of their own add up."""
    power = 2 if threat.norm == "l2" else 1
    return threat.budget**power * (x.shape[1] if threat.frames == "each" else 1)


def _take_up(delta: Tensor, window: tuple[int, int], mass: float, dice: _Dice, order: int) -> Tensor:
    """Move the perturbation of one window into another, with what of the budget was not used."""
    to, off = _cells(delta, window, dice), _cells(delta, window, dice)
    here, moved = delta[to], delta.clone()
    moved[to], moved[off] = 0, 0
    free = (mass - moved.flatten(1).abs().pow(order).sum(1)).clamp_min(0) / delta.shape[1]
    signs = dice.signs(delta, delta.shape[1]).view(*delta.shape[:2], 1, 1)
    fresh = signs * _unit(_pair(window, delta)[None, None], order) + _unit(here, order)
    moved[to] = _unit(fresh, order) * free.pow(1 / order).view(-1, 1, 1, 1)
    return moved


def _pair(window: tuple[int, int], like: Tensor) -> Tensor:
    """Give two bumps of opposite signs side by side along the longer dimension."""
    height, width = window
    if height > width:
        upper = height // 2
        both = torch.cat([_bump(upper, width), -_bump(height - upper, width)])
    elif width > 1:
        left = width // 2
        both = torch.cat([_bump(height, left), -_bump(height, width - left)], dim=1)
    else:
        both = _bump(height, width)
    return both.to(like)


def _unit(values: Tensor, order: int) -> Tensor:
    length = values.flatten(2).norm(p=order, dim=2).clamp_min(torch.finfo(values.dtype).tiny)
    return values / length[:, :, None, None]
