"""Intervals for every number of a straight program, by propagation, wide enough for all rounding."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rnn.bounds.straight_programs import Affine, Elementwise, Operation, StraightProgram, sources

UNIT = 2.0**-53  # of float64, in which the bounds are computed
FUNCTION_ERROR = 8.0  # units of roundoff by which tanh, sigmoid, products and blends are widened


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Where the inputs of a batch may be: within a radius of x, and within a box.

    Attributes
    ----------
    parts : tuple of Tensor, each of shape (N, width)
        The clean inputs x, float64, one for each input of the program.
    lower, upper : tuple of Tensor, each of shape (N, width)
        The box.
    radius : Tensor, shape (N,)
        Largest distance from x.
    norm : {"linf", "l2"}
        Its norm; for "linf" the box lies within the radius.
    unit : float
        Unit roundoff of the precision in which the network computes.
    """

    parts: tuple[Tensor, ...]
    lower: tuple[Tensor, ...]
    upper: tuple[Tensor, ...]
    radius: Tensor
    norm: str
    unit: float

    @staticmethod
    def around(
        x: Tensor, radius: Tensor, *, norm: str, bounds: tuple[float, float] | None, parts: int
    ) -> Region:
        """Give the region around a batch, in float64.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            The clean inputs, in the precision of the network.
        radius : Tensor, shape (N,)
            Largest distance of each.
        norm : {"linf", "l2"}
            Its norm.
        bounds : tuple of float, or None
            Range of valid inputs.
        parts : int
            Number of inputs of the program.

        Returns
        -------
        Region
            The region; the box is rounded outward.
        """
        flat, spacing = x.flatten(1).double(), torch.finfo(x.dtype).eps
        r = radius.double()[:, None]
        lower, upper = flat - r, flat + r
        outward = torch.where(r > 0, 2 * UNIT * (flat.abs() + r), 0.0)
        lower, upper = lower - outward, upper + outward
        if bounds is not None:
            low, high = (
                value + sign * spacing * abs(value) for value, sign in zip(bounds, (-1, 1), strict=True)
            )
            lower, upper = lower.clamp_min(low), upper.clamp_max(high)
        split = (value.chunk(parts, dim=1) for value in (flat, lower, upper))
        clean, low_parts, high_parts = map(tuple, split)
        return Region(clean, low_parts, high_parts, radius.double(), norm, spacing / 2)


@dataclasses.dataclass(slots=True, eq=False)
class Intervals:
    """What is known of the numbers of a program on a region; filled operation by operation.

    Attributes
    ----------
    program : StraightProgram
        The program.
    region : Region
        Where its inputs are.
    lower, upper : dict of int to Tensor, shape (N, width)
        The bounds, by operation.
    error : dict of int to Tensor, shape (N, width)
        How far what the network computes may be from the formula applied to what it computed before, plus
        what is lost in float64 when coefficients are carried through the operation.
    """

    program: StraightProgram
    region: Region
    lower: dict[int, Tensor]
    upper: dict[int, Tensor]
    error: dict[int, Tensor]

    def largest(self, number: int) -> Tensor:
        """Bound the absolute values that an operation takes.

        Parameters
        ----------
        number : int
            The operation.

        Returns
        -------
        Tensor, shape (N, width)
            The bounds.
        """
        return torch.maximum(self.lower[number].abs(), self.upper[number].abs())

    def propagate(self, number: int) -> None:
        """Bound an operation by the bounds of those before it.

        Parameters
        ----------
        number : int
            The operation.

        Notes
        -----
        Sums by the midpoint rule of signs, W⁺ l + W⁻ u; monotone functions at the ends; products at the four
        corners; a blend n + z (h − n) with 0 ≤ z ≤ 1 at the ends of z. An affine map straight from the inputs
        is bounded over the whole region: for "l2" by the length of each row.
        """
        operation = self.program.operations[number]
        if isinstance(operation, Affine):
            low = high = operation.bias.expand(len(self.region.radius), -1)
            size = low.abs()
            for k, w in operation.parts:
                size = size + applied(w.abs(), self.largest(k))
                low, high = low + self.least(k, w), high - self.least(k, -w)
            inputs = sum(self.program.operations[k].width for k in sources(operation))
            relative = 1.1 * (inputs + 8) * self.region.unit + self.carrying(operation)
            self.error[number] = relative * size + self._tiny(operation)
        elif isinstance(operation, Elementwise):
            low, high = self._elementwise(operation)
            size = torch.maximum(low.abs(), high.abs())
            if operation.kind == "blend":
                z, h, n, d = (self.largest(k) for k in operation.arguments)
                size = size + h + n + z * d
            self.error[number] = FUNCTION_ERROR * (self.region.unit + UNIT) * size + self._tiny(operation)
        else:
            low, high = self.region.lower[number], self.region.upper[number]
            size = torch.maximum(low.abs(), high.abs())
            self.error[number] = self.carrying(operation) * size
            self.lower[number], self.upper[number] = low, high
            return
        self.lower[number], self.upper[number] = low - self.error[number], high + self.error[number]

    def least(self, number: int, rows: Tensor) -> Tensor:
        """Bound from below linear functions of the values of one operation; rounding is not counted.

        Parameters
        ----------
        number : int
            The operation; for an input, the whole region counts.
        rows : Tensor, shape (N, R, width), (R, width) or (width,)
            The coefficients, of the last the diagonal.

        Returns
        -------
        Tensor, shape (N, R)
            The bounds.
        """
        low, high = self.lower[number], self.upper[number]
        found = applied(rows.clamp_min(0), low) + applied(rows.clamp_max(0), high)
        if number < len(self.region.parts) and self.region.norm == "l2":
            centre, length = applied(rows, self.region.parts[number]), rows.norm(dim=-1)
            if rows.ndim == 1:
                length = rows.abs()
            found = torch.maximum(found, centre - self.region.radius[:, None] * length)
        return found

    def carrying(self, operation: Operation) -> float:
        """Bound what is lost in float64 when a bound is computed, or coefficients carried, here.

        Parameters
        ----------
        operation : Operation
            Where.

        Returns
        -------
        float
            The error relative to the sum of the absolute values.
        """
        inputs = sum(self.program.operations[number].width for number in sources(operation))
        return 4 * (inputs + operation.width + len(self.program.operations) + 8) * UNIT

    def _tiny(self, operation: Operation) -> float:
        """Bound what underflow loses."""
        smallest = 2.0**-126 if self.region.unit > UNIT else 2.0**-1022
        return self.carrying(operation) / UNIT * smallest

    def _elementwise(self, operation: Elementwise) -> tuple[Tensor, Tensor]:
        low = [self.lower[number] for number in operation.arguments]
        high = [self.upper[number] for number in operation.arguments]
        if operation.kind == "product":
            corners = torch.stack([a * b for a in (low[0], high[0]) for b in (low[1], high[1])])
            return corners.amin(0), corners.amax(0)
        if operation.kind == "blend":
            ends = (low[0].clamp(0, 1), high[0].clamp(0, 1))
            return (
                torch.minimum(*(low[2] + z * (low[1] - low[2]) for z in ends)),
                torch.maximum(*(high[2] + z * (high[1] - high[2]) for z in ends)),
            )
        function = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}[operation.kind]
        return function(low[0]), function(high[0])


def applied(rows: Tensor, values: Tensor) -> Tensor:
    """Apply linear functions to vectors.

    Parameters
    ----------
    rows : Tensor, shape (N, R, width), (R, width) or (width,)
        The coefficients: for each vector its own, for all the same, or a diagonal.
    values : Tensor, shape (N, width)
        The vectors.

    Returns
    -------
    Tensor, shape (N, R)
        The values.
    """
    if rows.ndim == 1:
        return values * rows
    return values @ rows.T if rows.ndim == 2 else (rows @ values[..., None])[..., 0]


def composed(rows: Tensor, weight: Tensor) -> Tensor:
    """Give linear functions of W a as functions of a.

    Parameters
    ----------
    rows : Tensor, shape (N, R, width)
        The coefficients.
    weight : Tensor, shape (width, n) or (width,)
        W, or its diagonal.

    Returns
    -------
    Tensor, shape (N, R, n)
        The coefficients.
    """
    return rows * weight if weight.ndim == 1 else rows @ weight


def interval_bounds(program: StraightProgram, region: Region, last: int) -> Intervals:
    """Bound all numbers that an operation depends on, and its own, by interval propagation.

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
        The bounds: they hold for the network in exact arithmetic, and as computed in the precision of the
        region.

    Notes
    -----
    Rounding is bounded by the standard model of floating-point arithmetic: a sum of n products is wrong by at
    most n u Σ|w a| / (1 − n u) in whatever order it is taken; tanh and sigmoid are assumed to be right to
    four units of roundoff u, relative. The bounds are widened by twice that, for the network and for
    float64. It does not hold where a library rounds the factors (TF32) or uses half precision.

    References
    ----------
    .. [1] N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002, section 3.1.
    """
    found = Intervals(program, region, {}, {}, {})
    for number in sorted(program.behind(last)):
        found.propagate(number)
    return found


def least_margins(intervals: Intervals, last: int, rows: Tensor) -> Tensor:
    """Bound linear functions of the result of an operation from below, by the intervals before it.

    Parameters
    ----------
    intervals : Intervals
        From `interval_bounds`.
    last : int
        The operation.
    rows : Tensor, shape (N, R, width)
        The coefficients, whole numbers of at most 1.

    Returns
    -------
    Tensor, shape (N, R)
        The bounds, rounding included.

    Notes
    -----
    If the operation is affine, the coefficients go through its matrix first: a difference of two logits is
    bounded as one linear function of the last hidden values, not by the ends of two intervals.
    """
    operation = intervals.program.operations[last]
    found = intervals.least(last, rows)
    if isinstance(operation, Affine):
        through = rows @ operation.bias - applied(rows.abs(), intervals.error[last])
        for number, weight in operation.parts:
            through = through + intervals.least(number, composed(rows, weight))
        found = torch.maximum(found, through)
    return found
