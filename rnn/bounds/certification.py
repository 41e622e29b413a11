"""Certified robustness: what no perturbation within a budget can change, rounding included."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rnn.attacking.bench import Bench, checked_bench, checked_bounds, representable, undisturbed
from rnn.bounds.interval_bounds import Region, interval_bounds, least_margins
from rnn.bounds.linear_relaxation import linear_bounds, linear_margins
from rnn.bounds.traced_programs import ProgramOfModel, program_of
from spectra.checks import generator, non_negative, one_of, positive, real_number
from spectra.errors import UnsupportedModelError
from spectra.results import Record

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

NORMS = ("linf", "l2")
_FINEST = 1e-6  # relative accuracy of a radius
_BOUNDS = {"interval": (interval_bounds, least_margins), "linear": (linear_bounds, linear_margins)}
_TOGETHER = 128  # examples at a time, unless the caller says so
_SLACK = 1e-5  # relative, by which an attack may exceed its budget
_LEAST = 2.0**-20  # of the largest radius asked for: below it, none is given


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CertifiedCurve(Record):
    """Share of examples proven robust, as a function of the budget.

    Attributes
    ----------
    budgets : ndarray, shape (B,)
        The budgets, increasing.
    accuracy : ndarray, shape (B,)
        Share of examples whose prediction is right and proven to stay so; it never rises. A lower bound of
        the true robust accuracy, as that under attack is an upper one.
    lower, upper : ndarray, shape (B,)
        Wilson interval of `accuracy` over the draw of the examples.
    certified : ndarray of bool, shape (B, N)
        Which examples are proven at which budget.
    clean_correct : ndarray of bool, shape (N,)
        True where the clean prediction is right.
    method, norm : str
        How they were proven, and the norm.
    level : float
        Coverage of the intervals.
    """

    budgets: Floats
    accuracy: Floats
    lower: Floats
    upper: Floats
    certified: Bools
    clean_correct: Bools
    method: str
    norm: str
    level: float

    @property
    def clean_accuracy(self) -> float:
        """Share of examples predicted correctly without any perturbation."""
        return float(self.clean_correct.mean())

    def __str__(self) -> str:
        """One line."""
        points = ", ".join(f"{a:.1%} at {b:g}" for b, a in zip(self.budgets, self.accuracy, strict=True))
        return f"Certified accuracy ({self.norm}, {self.method}): {points}; clean {self.clean_accuracy:.1%}"

    __repr__ = __str__


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CertifiedRadii(Record):
    """The largest radius around each example within which its prediction is proven to stay right.

    Attributes
    ----------
    radius : ndarray, shape (N,)
        The radii, in the units of the input; 0 where nothing around the example is proven.
    clean_correct : ndarray of bool, shape (N,)
        True where the clean prediction is right.
    method, norm : str
        How they were proven, and the norm.
    largest : float
        The largest radius that was looked for.
    rtol : float
        Relative accuracy: what the method could prove beyond is at most this much larger, as far as its
        bounds grow with the radius.
    """

    radius: Floats
    clean_correct: Bools
    method: str
    norm: str
    largest: float
    rtol: float

    def __str__(self) -> str:
        """One line."""
        found = self.radius[self.clean_correct]
        middle = f"median {np.median(found):.3g} over" if len(found) else "none over"
        return f"Certified radii ({self.norm}, {self.method}): {middle} {len(found)} correct predictions"

    __repr__ = __str__


def certified_accuracy(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    norm: str,
    budgets: Iterable[float],
    bounds: tuple[float, float] | None = None,
    method: str = "linear",
    batch_size: int | None = None,
    level: float = 0.95,
) -> CertifiedCurve:
    """Share of examples proven robust: z_y > z_k at x + δ for every class k ≠ y and every ‖δ‖ <= budget.

    Parameters
    ----------
    model : nn.Module
        `RecurrentClassifier`, `FeedForward`, or a classifier that ``torch.fx`` can trace, made of ``nn.RNN``,
        ``nn.GRU``, ``nn.LSTM``, ``nn.Linear``, tanh, ReLU, sigmoid, sums and slices; judged in evaluation
        mode. It comes back bit-identical.
    x : Tensor, shape (N, ...)
        Clean inputs in the precision of the model, float32 or float64.
    y : Tensor or array_like of int, shape (N,)
        True labels, 0 to C - 1.
    norm : {"linf", "l2"}
        Norm of the perturbation over all dimensions but the first: over all steps of a sequence.
    budgets : sequence of float
        Largest norms, in the units of `x`; sorted, repeated ones once.
    bounds : tuple of float, optional
        Range of valid inputs; None: there is none.
    method : {"linear", "interval"}
        Linear relaxation, together with intervals; or intervals alone, which are quick and prove little
        beyond a few steps.
    batch_size : int, optional
        Examples at a time, to bound memory; 128 without it.
    level : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    CertifiedCurve
        Accuracies with intervals, and which examples are proven at which budget.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, x is in half precision, or the model is not understood
        (`UnsupportedModelError`).
    ValueError
        If an argument is out of range, lengths differ, x or the logits hold NaN or inf, or x lies outside
        `bounds`.

    Notes
    -----
    Bounds of all differences z_y − z_k, by `rnn.bounds.linear_relaxation.linear_bounds` or
    `rnn.bounds.interval_bounds.interval_bounds`. They count the rounding of the network in its own precision
    and that of the bounds, and budgets are widened by what attacks may exceed them: a relative 1e-5 and one
    unit in the last place of the largest entry. So what is proven holds for every input an attack can reach,
    under the assumptions on floating-point arithmetic stated there. At budget 0 the one input there is
    decides. What was read from the model is held against its logits at all clean inputs. An example that is
    not proven at one budget is not tried at a larger one. Memory: batch_size times the square of the largest
    width times the number of operations of a step, roughly.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model, certified_accuracy, load_task
    >>> task = load_task("digits")
    >>> model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=4))
    >>> x, y = task.x_test[:20], task.y_test[:20]
    >>> curve = certified_accuracy(model, x, y, norm="linf", budgets=[0, 0.01])
    >>> bool(curve.accuracy[1] <= curve.accuracy[0] == curve.clean_accuracy)
    True
    """
    if isinstance(budgets, str) or not isinstance(budgets, Iterable):
        raise TypeError(f"budgets is {budgets!r}; expected a sequence of numbers >= 0 such as [0.05, 0.1]")
    sizes = sorted({non_negative(size, "budgets") for size in budgets})
    if not sizes:
        raise ValueError("budgets is empty; expected at least one number >= 0")
    if not 0 < real_number(level, "level") < 1:
        raise ValueError(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    prover = _checked_prover(model, x, y, norm, bounds, method, batch_size)
    alive, proven = prover.correct, []
    for size in sizes:
        if size > 0:
            radius = torch.full((len(alive),), size, dtype=torch.float64, device=alive.device)
            alive = prover.proven(radius, alive)
        proven.append(alive.cpu().numpy())
    certified = np.array(proven)
    return _curve(sizes, certified, prover, level)


def certified_radius(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    norm: str,
    bounds: tuple[float, float] | None = None,
    method: str = "linear",
    largest: float = 1.0,
    rtol: float = 0.01,
    batch_size: int | None = None,
) -> CertifiedRadii:
    """Largest radius r found, for each example, with z_y > z_k at x + δ for every k ≠ y and every ‖δ‖ <= r.

    Parameters
    ----------
    model : nn.Module
        The classifier; see `certified_accuracy`.
    x : Tensor, shape (N, ...)
        Clean inputs.
    y : Tensor or array_like of int, shape (N,)
        True labels.
    norm : {"linf", "l2"}
        Norm of the perturbation over all dimensions but the first.
    bounds : tuple of float, optional
        Range of valid inputs.
    method : {"linear", "interval"}
        How to prove.
    largest : float
        Where to stop looking; radii below `largest` / 2²⁰ count as 0.
    rtol : float
        Relative accuracy of the search, at least 1e-6.
    batch_size : int, optional
        Examples at a time; 128 without it.

    Returns
    -------
    CertifiedRadii
        The radii: each is itself proven.

    Raises
    ------
    TypeError
        As `certified_accuracy`.
    ValueError
        As `certified_accuracy`; or `largest` is not positive, or `rtol` below 1e-6.

    Notes
    -----
    Bisection of the logarithm of the radius: some 13 bounds for the defaults. The prediction may hold farther
    out.

    Examples
    --------
    >>> from rnn import certified_radius
    >>> model = nn.Linear(1, 2)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[1.0], [-1.0]])), model.bias.zero_()
    >>> certified_radius(model, torch.tensor([[0.5]]), [0], norm="l2", rtol=1e-4).radius.round(3)
    array([0.5])
    """
    largest, rtol = positive(largest, "largest"), positive(rtol, "rtol")
    if rtol < _FINEST:
        raise ValueError(f"rtol is {rtol:g}; expected at least {_FINEST:g}, for bounds round more than that")
    prover = _checked_prover(model, x, y, norm, bounds, method, batch_size)
    low = torch.zeros(len(prover.correct), dtype=torch.float64, device=prover.correct.device)
    whole = prover.proven(low + largest, prover.correct)
    low[whole] = largest
    started = prover.proven(low + largest * _LEAST, prover.correct & ~whole)
    low[started], high = largest * _LEAST, torch.full_like(low, largest)
    for _ in range(math.ceil(math.log2(max(-math.log(_LEAST) / math.log1p(rtol), 1.0)))):
        trial = (low * high).sqrt()
        better = prover.proven(trial, started)
        low, high = torch.where(better, trial, low), torch.where(started & ~better, trial, high)
    return CertifiedRadii(
        radius=low.cpu().numpy(),
        clean_correct=prover.correct.cpu().numpy(),
        method=prover.method,
        norm=prover.norm,
        largest=largest,
        rtol=rtol,
    )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Prover:
    """A network that is understood, and examples."""

    network: ProgramOfModel
    bench: Bench
    correct: Tensor
    classes: int
    norm: str
    method: str
    bounds: tuple[float, float] | None

    @torch.no_grad()
    def proven(self, radius: Tensor, which: Tensor) -> Tensor:
        """Say which of some examples are proven within their radii, rounding of attacks included."""
        found = torch.zeros_like(which)
        for index in which.nonzero()[:, 0].split(self.bench.batch):
            x, y = self.bench.x[index], self.bench.y[index]
            spacing = torch.finfo(x.dtype).eps * x.flatten(1).abs().amax(1).double()
            region = self.region(x, radius[index] * (1 + _SLACK) + spacing)
            bounds_of, margins_of = _BOUNDS[self.method]
            eye = torch.eye(self.classes, dtype=torch.float64, device=x.device)
            bounds = bounds_of(self.network.program, region, self.network.logits)
            margins = margins_of(bounds, self.network.logits, eye[y][:, None] - eye)
            found[index] = ((margins > 0) | (eye[y] > 0)).all(1)  # what overflowed is NaN, and not proven
        return found

    def region(self, x: Tensor, radius: Tensor) -> Region:
        return Region.around(x, radius, norm=self.norm, bounds=self.bounds, parts=self.network.inputs)

    @torch.no_grad()
    def check_reading(self, scores: Tensor) -> None:
        """Hold the bounds at the clean inputs against the logits of the model."""
        for index in torch.arange(len(scores), device=scores.device).split(self.bench.batch):
            x = self.bench.x[index]
            region = self.region(x, torch.zeros(len(x), dtype=torch.float64, device=x.device))
            bounds = interval_bounds(self.network.program, region, self.network.logits)
            low, high = bounds.lower[self.network.logits], bounds.upper[self.network.logits]
            if low.shape != scores[index].shape or ((scores[index] < low) | (scores[index] > high)).any():
                raise UnsupportedModelError(
                    "model is not understood: what was read from it gives other logits than it gives itself; "
                    "write its forward pass with the operations listed in rnn.certified_accuracy"
                )


def _checked_prover(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    norm: str,
    bounds: tuple[float, float] | None,
    method: str,
    batch_size: int | None,
) -> _Prover:
    one_of(norm, "norm", NORMS)
    one_of(method, "method", tuple(_BOUNDS))
    limits = checked_bounds(bounds)
    bench = checked_bench(model, x, y, limits, batch_size)
    if bench.x.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"x is {bench.x.dtype}, whose sums round in ways that are not known; certify model.float() on "
            "x.float()"
        )
    together = min(_TOGETHER, len(x)) if batch_size is None else bench.batch
    bench = dataclasses.replace(bench, x=bench.x.to(bench.device), y=bench.y.to(bench.device), batch=together)
    with undisturbed(model, generator(0)):
        scores, correct = bench.judge(bench.x)
        network = program_of(model, bench.x)
    prover = _Prover(network, bench, correct, scores.shape[1], norm, method, representable(limits, bench.x))
    prover.check_reading(scores)
    return prover


def _curve(sizes: list[float], certified: Bools, prover: _Prover, level: float) -> CertifiedCurve:
    from scipy.stats import binomtest

    count = certified.shape[1]
    intervals = [binomtest(int(row.sum()), count).proportion_ci(level, method="wilson") for row in certified]
    return CertifiedCurve(
        budgets=np.array(sizes),
        accuracy=certified.mean(1),
        lower=np.array([interval.low for interval in intervals]),
        upper=np.array([interval.high for interval in intervals]),
        certified=certified,
        clean_correct=prover.correct.cpu().numpy(),
        method=prover.method,
        norm=prover.norm,
        level=float(level),
    )
