"""Bounds by backward linear relaxation: each nonlinearity between two lines, followed back to the input."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rnn.bounds.interval_bounds import UNIT, Intervals, Region, applied, composed, least_margins
from rnn.bounds.straight_programs import Affine, Elementwise, StraightProgram

_BISECTIONS = 25


class Lines(NamedTuple):
    """Linear functions below and above a function of some arguments, entry by entry.

    Attributes
    ----------
    lower, upper : tuple of Tensor, each of shape (N, width)
        The slopes in each argument.
    lower_constant, upper_constant : Tensor, shape (N, width)
        The constants, rounded outward.
    """

    lower: tuple[Tensor, ...]
    lower_constant: Tensor
    upper: tuple[Tensor, ...]
    upper_constant: Tensor


def relaxed(kind: str, low: list[Tensor], high: list[Tensor]) -> Lines:
    """Give lines below and above a function where its arguments are in intervals.

    Parameters
    ----------
    kind : {"tanh", "sigmoid", "relu", "product", "blend"}
        The function; see `rnn.bounds.straight_programs.Elementwise`.
    low, high : list of Tensor
        The ends of the intervals, one pair for each argument.

    Returns
    -------
    Lines
        They hold on the intervals, for exact functions.

    Notes
    -----
    * tanh: the line above is the least one at the middle of the interval [l, u]: the chord, or a tangent at
      d ≥ 0 that does not pass below (l, tanh l). Whatever its slope α, its constant is the largest of
      tanh z − α z, found in closed form: at an end or where tanh² z = 1 − α. Below, by symmetry. The sigmoid
      is (1 + tanh(z/2))/2.
    * ReLU on l < 0 < u: above the chord, below z if u > −l and else 0.
    * Product: x y lies within r_x r_y of m_y x + m_x y − m_x m_y, with the midpoints m and radii r. A blend
      n + z d likewise.
    """
    if kind in ("product", "blend"):
        return _bilinear(kind, low, high)
    if kind == "relu":
        return _relu(low[0], high[0])
    scale = 1.0 if kind == "tanh" else 0.5
    above, constant = _above_tanh(scale * low[0], scale * high[0])
    below, minus = _above_tanh(-scale * high[0], -scale * low[0])
    if kind == "tanh":
        return Lines((below,), -minus, (above,), constant)
    outward = 4 * UNIT
    return Lines((below / 4,), (1 - minus) / 2 - outward, (above / 4,), (1 + constant) / 2 + outward)


def linear_bounds(program: StraightProgram, region: Region, last: int) -> Intervals:
    """Bound all numbers that an operation depends on, by intervals and by linear relaxation together.

    Parameters
    ----------
    program : StraightProgram
        The network.
    region : Region
        Where its inputs are.
    last : int
        The operation.

    Returns
    -------
    Intervals
        The intersection of both bounds, operation by operation; it is never wider than that of
        `rnn.bounds.interval_bounds.interval_bounds`.

    Notes
    -----
    What enters a nonlinearity is followed back to the input before its lines are drawn, as in CROWN [1]_; for
    recurrent networks see [2]_. The time grows with the square of the number of steps. Rounding as in
    `rnn.bounds.interval_bounds.interval_bounds`.

    References
    ----------
    .. [1] H. Zhang, T.-W. Weng, P.-Y. Chen, C.-J. Hsieh and L. Daniel, Efficient Neural Network Robustness
       Certification with General Activation Functions, NeurIPS 2018.
    .. [2] C.-Y. Ko, Z. Lyu, T.-W. Weng, L. Daniel, N. Wong and D. Lin, POPQORN: Quantifying Robustness of
       Recurrent Neural Networks, ICML 2019.
    """
    found = Intervals(program, region, {}, {}, {})
    needed = sorted(program.behind(last))
    bent = {
        source
        for number in needed
        if isinstance(operation := program.operations[number], Elementwise)
        for source in operation.arguments
    }
    first = len(region.parts)
    for number in needed:
        found.propagate(number)
        operation = program.operations[number]
        straight = isinstance(operation, Affine) and all(source < first for source, _ in operation.parts)
        if number in bent and isinstance(operation, Affine) and not straight:
            eye = torch.eye(operation.width).to(operation.bias)
            rows = torch.cat((eye, -eye)).expand(len(region.radius), -1, -1)
            low, high = backward_bounds(found, number, rows).chunk(2, dim=1)
            found.lower[number] = torch.maximum(found.lower[number], low)
            found.upper[number] = torch.minimum(found.upper[number], -high)
    return found


def backward_bounds(intervals: Intervals, last: int, rows: Tensor) -> Tensor:
    """Bound linear functions of the result of an operation from below, followed back to the input.

    Parameters
    ----------
    intervals : Intervals
        Bounds of the operations before it, and its error.
    last : int
        The operation.
    rows : Tensor, shape (N, R, width)
        The coefficients.

    Returns
    -------
    Tensor, shape (N, R)
        The bounds, rounding included.

    Notes
    -----
    A coefficient that comes to an operation pays its error; at a nonlinearity a positive one takes the line
    below, a negative one the line above. All constants are added up in absolute value too, to bound what
    adding them loses.
    """
    program, region = intervals.program, intervals.region
    waiting = {last: rows}
    constant = torch.zeros_like(rows[..., 0])
    size = torch.zeros_like(constant)
    square = torch.zeros_like(constant)
    centre, box = torch.zeros_like(constant), torch.zeros_like(constant)
    for number in range(last, -1, -1):
        if number not in waiting:
            continue
        coefficients = waiting.pop(number)
        absolute = coefficients.abs()
        operation, error = program.operations[number], intervals.error[number]
        passed: list[tuple[int, Tensor]] = []
        if isinstance(operation, Affine):
            terms = [coefficients @ operation.bias, -applied(absolute, error)]
            passed = [(k, composed(coefficients, weight)) for k, weight in operation.parts]
        elif isinstance(operation, Elementwise):
            middle, half, passed = _through_lines(intervals, operation, coefficients, absolute)
            terms = [applied(coefficients, middle), -applied(absolute, half + error)]
        else:
            low, high = intervals.lower[number], intervals.upper[number]
            reach = applied(absolute, (high - low) / 2)
            terms = [-applied(absolute, error)]
            middles = [applied(coefficients, (low + high) / 2), applied(coefficients, region.parts[number])]
            box, centre = box + middles[0] - reach, centre + middles[1]
            square = square + coefficients.square().sum(-1)
            size = size + middles[0].abs() + middles[1].abs() + reach
        for term in terms:
            constant, size = constant + term, size + term.abs()
        for k, more in passed:
            waiting[k] = waiting[k] + more if k in waiting else more
    reached = box
    if region.norm == "l2":
        length = square.sqrt() * region.radius[:, None]
        reached, size = torch.maximum(box, centre - length), size + length
    lost = 8 * (len(program.operations) + max(map(_width, program.operations)) + 8) * UNIT * size
    return constant + reached - lost


def linear_margins(intervals: Intervals, last: int, rows: Tensor) -> Tensor:
    """Bound linear functions of the result from below: the better of linear relaxation and intervals.

    Parameters
    ----------
    intervals : Intervals
        From `linear_bounds`.
    last : int
        The operation.
    rows : Tensor, shape (N, R, width)
        The coefficients.

    Returns
    -------
    Tensor, shape (N, R)
        The bounds.
    """
    return torch.maximum(backward_bounds(intervals, last, rows), least_margins(intervals, last, rows))


def _width(operation: object) -> int:
    return int(getattr(operation, "width", 0))


def _through_lines(
    intervals: Intervals, operation: Elementwise, coefficients: Tensor, absolute: Tensor
) -> tuple[Tensor, Tensor, list[tuple[int, Tensor]]]:
    """Give the middle and half the distance of the constants of the lines, and what the arguments get."""
    # a coefficient c takes the line m - r if it is positive, and m + r if not: c m - |c| r in all
    arguments = operation.arguments
    lines = relaxed(
        operation.kind, [intervals.lower[k] for k in arguments], [intervals.upper[k] for k in arguments]
    )
    size = torch.maximum(lines.lower_constant.abs(), lines.upper_constant.abs())
    passed = []
    for k, below, above in zip(arguments, lines.lower, lines.upper, strict=True):
        size = size + torch.maximum(below.abs(), above.abs()) * intervals.largest(k)
        more = coefficients * ((below + above) / 2)[:, None]
        passed.append((k, more if below is above else more + absolute * ((below - above) / 2)[:, None]))
    middle = (lines.lower_constant + lines.upper_constant) / 2
    half = (lines.upper_constant - lines.lower_constant) / 2
    return middle, half + intervals.carrying(operation) * size, passed


def _above_tanh(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Give slope and constant of a line above tanh on [low, high]."""
    at_low, at_high, middle = torch.tanh(low), torch.tanh(high), (low + high) / 2
    near, far = low.clamp_min(0), high.clamp_min(0)
    for _ in range(_BISECTIONS):  # for the point where the tangent through (low, tanh low) touches
        d = (near + far) / 2
        value = torch.tanh(d)
        passes_below = at_low + (1 - value**2) * (d - low) > value
        near, far = torch.where(passes_below, d, near), torch.where(passes_below, far, d)
    tangent = 1 - torch.tanh(torch.maximum(far, middle)) ** 2
    wide = high - low > 1e-7
    chord = torch.where(
        wide, (at_high - at_low) / torch.where(wide, high - low, 1.0), 1 - torch.tanh(middle) ** 2
    )
    slope = torch.where(far >= high, chord, tangent).clamp(1e-300, 1.0)
    root = (1 - slope).sqrt()
    peak = torch.minimum(torch.maximum(((1 + root) / slope.sqrt()).log(), low), high)
    highest = torch.maximum(
        torch.tanh(peak) - slope * peak, torch.maximum(at_low - slope * low, at_high - slope * high)
    )
    return slope, highest + 16 * UNIT * (1 + slope * torch.maximum(low.abs(), high.abs()))


def _relu(low: Tensor, high: Tensor) -> Lines:
    bent = (low < 0) & (high > 0)
    on = (low >= 0).to(low)
    chord = torch.where(bent, high / torch.where(bent, high - low, 1.0), on)
    outward = 8 * UNIT * torch.maximum(low.abs(), high.abs())
    constant = torch.where(bent, outward - chord * low, 0.0)
    return Lines((torch.where(bent, (high > -low).to(low), on),), torch.zeros_like(low), (chord,), constant)


def _bilinear(kind: str, low: list[Tensor], high: list[Tensor]) -> Lines:
    first, second = (0, len(low) - 1)
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    x, y = middle[first], middle[second]
    r_x, r_y = (torch.maximum(high[k] - middle[k], middle[k] - low[k]) for k in (first, second))
    spread = r_x * r_y * (1 + 16 * UNIT) + 16 * UNIT * (x * y).abs()
    slopes = (y, x) if kind == "product" else (y, torch.zeros_like(x), torch.ones_like(x), x)  # z, h, n, d
    return Lines(slopes, -x * y - spread, slopes, -x * y + spread)
