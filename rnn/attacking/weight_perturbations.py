"""What perturbations of its weights do to the accuracy of a classifier: noise, worst cases, fewer bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import PackedSequence

from rnn.attacking.bench import Bench, checked_bench, undisturbed
from rnn.attacking.extremal_perturbations import pseudospectral_perturbation
from rnn.attacking.padding import warn_of_padding
from rnn.attacking.weight_ascent import ascended
from rnn.attacking.weight_slots import WeightSlot, plain_twin, shifted, weight_slots
from rnn.attacking.weight_verdicts import WeightRobustness
from rnn.measuring.rounding import NUMBER_FORMATS, nearest
from rnn.study.statistics import wilson_interval
from spectra.checks import generator, non_negative, one_of, real_number, whole_number

Floats = NDArray[np.float64]

WEIGHT_PERTURBATIONS = ("gaussian", "gradient", "pseudospectral", "pruning", *NUMBER_FORMATS)

_ROUNDING = 1e-12  # by which a norm may exceed its size


def weight_robustness(
    model: nn.Module,
    x: Tensor | PackedSequence,
    y: Tensor | ArrayLike,
    *,
    kinds: Iterable[str] | None = None,
    sizes: Iterable[float] = (0.01, 0.03, 0.1, 0.3),
    shares: Iterable[float] = (0.3, 0.6, 0.9),
    matrices: Iterable[str] | None = None,
    lengths: ArrayLike | None = None,
    tolerance: float | None = None,
    wrong_share: float = 0.0,
    draws: int = 20,
    steps: int = 40,
    rng: int | np.random.Generator = 0,
    batch_size: int | None = None,
    level: float = 0.95,
) -> WeightRobustness:
    """Accuracy of a classifier when E is added to its recurrent matrices W, of several kinds and sizes.

    Parameters
    ----------
    model : nn.Module
        Maps a batch to logits (N, C), to logits of frames (N, T, C), or to numbers (N, ...), alone or first
        in a tuple. A float64 copy in evaluation mode is perturbed and judged; the model itself is not
        touched.
    x : Tensor of floats, shape (N, ...), or PackedSequence
        Inputs, on any device.
    y : Tensor or array_like
        True labels (N,), 0 to C - 1; labels of frames (N, T); or, with `tolerance`, targets (N, ...).
    kinds : iterable of str, optional
        Some of those in the notes; by default all that can be made of these matrices: what cannot is in
        `left_out` of the record, with the reason.
    sizes : iterable of float, optional
        ‖E‖₂ / ‖W‖₂ of the kinds "gaussian", "gradient" and "pseudospectral"; sorted, repeated ones once.
    shares : iterable of float, optional
        Shares of entries that "pruning" sets to 0, from 0 to 1.
    matrices : iterable of str, optional
        Which are perturbed, all at once, by their names in `rnn.named_matrices`; by default the recurrent
        ones, gate by gate, and all where there is none. With ``proj_size`` they are the stored ones.
    lengths, tolerance, wrong_share
        See `rnn.attack`: lengths of padded sequences, and when an answer is wrong.
    draws : int, optional
        How often noise is drawn, at least 2.
    steps : int, optional
        Gradients of each of the two losses of "gradient", at each size.
    rng : int or numpy.random.Generator, optional
        Determines the noise.
    batch_size : int, optional
        Examples at a time, to bound memory; None takes all together.
    level : float, optional
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    WeightRobustness
        A row for each kind and size.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an argument is out of range, "pseudospectral" is asked of a matrix that is not square, a weight
        overflows in a number format, or logits or gradients become NaN or infinite.
    UnsupportedModelError
        If the model cannot be copied, or has no matrix.
    ConvergenceError
        If an iteration of LAPACK or the search for a pseudospectral radius does not settle.

    Notes
    -----
    *gaussian*: E is a matrix G of independent normal numbers, brought to the norm; the same G at all sizes.

    *gradient*: projected gradient ascent of the loss on these very examples, over all matrices together, each
    in its ball of the spectral norm (`rnn.attacking.weight_ascent.ascended`). It starts where the smaller
    size ended, so that the accuracy never rises with the size, and ends where no prediction is right. An
    upper bound of the worst case: a better search may find more. On the 360 test digits with sizes 0.01,
    0.03, 0.1, 0.3, a tanh network with 64 hidden units keeps 336, 295, 38, 11 right predictions after 20
    steps, 336, 294, 38, 0 after 40 and the same after 80; a GRU 345, 299, 35, 6, then 345, 297, 35, 0, then
    345, 297, 34, 0.

    *pseudospectral*: the real E that leads an eigenvalue of W + E to the point that attains the
    pseudospectral radius of W, brought back to the norm (`rnn.pseudospectral_perturbation`). It looks at the
    matrix alone, not at the examples. Square matrices only.

    *pruning*: of each matrix the entries of smallest modulus become 0.

    A number format rounds the stored tensor, so that all gates in it share the scale of int8_per_tensor, and
    only the chosen matrices are replaced.

    The three kinds of a given norm share one ball, so that their accuracies can be compared. Gradients take
    steps + 1 forward and steps backward passes over the data for each loss and size.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model, load_task
    >>> task = load_task("digits")
    >>> model = build_model(ModelConfig("gru", features=8, steps=8, hidden=8))
    >>> x, y = task.x_test[:20], task.y_test[:20]
    >>> found = weight_robustness(model, x, y, kinds=["gradient", "bfloat16"], sizes=[0.1, 0.2], steps=3)
    >>> found.kinds.tolist()
    ['gradient', 'gradient', 'bfloat16']
    >>> bool(found.accuracy[1] <= found.accuracy[0] <= found.clean_accuracy)
    True
    """
    asked_for = WEIGHT_PERTURBATIONS if kinds is None else kinds
    wanted = _several(asked_for, "kinds", lambda kind: one_of(kind, "kinds", WEIGHT_PERTURBATIONS))
    norms = sorted(_several(sizes, "sizes", lambda size: non_negative(size, "sizes")))
    parts = sorted(_several(shares, "shares", _share))
    whole_number(draws, "draws", least=2)
    whole_number(steps, "steps")
    if not 0 < real_number(level, "level") < 1:
        raise ValueError(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    random = generator(rng)
    twin = plain_twin(model)
    slots = weight_slots(twin, matrices)
    obstacles = (
        {kind: reason for kind in wanted if (reason := _obstacle(slots, kind))} if kinds is None else {}
    )
    wanted = [kind for kind in wanted if kind not in obstacles]
    asked = {"lengths": lengths, "tolerance": tolerance, "wrong_share": wrong_share}
    bench = checked_bench(twin, _wide(x), y, None, batch_size, sequences=True, **asked)
    judge = _Judge(bench, slots)
    noise = [_directions(slots, random) for _ in range(draws)] if "gaussian" in wanted else []
    with undisturbed(twin, random):
        clean = judge.judged([torch.zeros_like(slot.matrix) for slot in slots])
        warn_of_padding(bench)
        rows: list[tuple[str, float, list[_Outcome]]] = []
        for kind in wanted:
            if kind in NUMBER_FORMATS:
                rounded = judge.judged(_rounding(slots, kind))
                rows.append((kind, rounded.relative_norm, [rounded]))
                continue
            values = parts if kind == "pruning" else norms
            found = _outcomes(judge, kind, values, noise, steps)
            rows += [(kind, size, outcomes) for size, outcomes in zip(values, found, strict=True)]
    record = _record(rows, clean, slots, draws, len(bench.x), float(level))
    left_out = [f"{kind}: {reason}" for kind, reason in obstacles.items()]
    return dataclasses.replace(record, left_out=np.array(left_out, dtype=np.str_))


@dataclasses.dataclass(frozen=True, slots=True)
class _Outcome:
    correct: int
    loss: float
    relative_norm: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Adds perturbations, looks at the predictions, and takes the perturbations away."""

    bench: Bench
    slots: tuple[WeightSlot, ...]

    @property
    def norms(self) -> list[float]:
        return [_norm(slot.matrix) for slot in self.slots]

    def judged(self, shifts: Sequence[Tensor], size: float | None = None) -> _Outcome:
        """Judge E of each matrix; where a size is given, none is let through that is longer."""
        norms, kept, relative = self.norms, [], [0.0]
        for shift, norm in zip(shifts, norms, strict=True):
            length = _norm(shift)
            if size is not None and length > size * norm * (1 + _ROUNDING):
                shift, length = shift * (size * norm / length), size * norm
            kept.append(shift)
            relative.append(length / norm if norm > 0 else 0.0)
        with torch.no_grad(), shifted(self.slots, kept):
            scores, correct = self.bench.judge(self.bench.x)
        loss = float(cross_entropy(scores, self.bench.truth))
        return _Outcome(int(correct.sum()), loss, max(relative))


def _outcomes(
    judge: _Judge, kind: str, sizes: Sequence[float], noise: Sequence[Sequence[Tensor]], steps: int
) -> list[list[_Outcome]]:
    """Give the outcomes of one kind at each size: of noise one for each draw, else one."""
    slots, norms = judge.slots, judge.norms
    if kind == "pruning":
        return [[judge.judged([_pruning(slot.matrix, share) for slot in slots])] for share in sizes]
    if kind == "gaussian":
        return [[judge.judged(_scaled(unit, norms, size), size) for unit in noise] for size in sizes]
    if kind == "pseudospectral":
        return [[judge.judged(_extremal(slots, norms, size), size)] for size in sizes]
    found, point = [], [torch.zeros_like(slot.matrix) for slot in slots]
    for size in sizes:
        point = ascended(judge.bench, slots, [size * norm for norm in norms], point, steps=steps)
        found.append([judge.judged(point, size)])
    return found


def _directions(slots: Sequence[WeightSlot], random: np.random.Generator) -> list[Tensor]:
    """Draw for each matrix one of norm 1."""
    drawn = [torch.from_numpy(random.standard_normal(tuple(slot.matrix.shape))) for slot in slots]
    return [(G / _norm(G)).to(slot.matrix) for G, slot in zip(drawn, slots, strict=True)]


def _scaled(units: Sequence[Tensor], norms: Sequence[float], size: float) -> list[Tensor]:
    return [size * norm * unit for unit, norm in zip(units, norms, strict=True)]


def _obstacle(slots: Sequence[WeightSlot], kind: str) -> str:
    """Say why a kind cannot be made of these matrices; empty if it can."""
    for slot in slots:
        if kind == "pseudospectral" and slot.matrix.shape[0] != slot.matrix.shape[1]:
            return f"{slot.name} is {' x '.join(map(str, slot.matrix.shape))}, not square"
        if kind in NUMBER_FORMATS and not np.isfinite(nearest(slot.tensor.cpu().numpy(), kind)[0]).all():
            return f"{slot.name} lies in a tensor with entries beyond the largest number of {kind}"
    return ""


def _extremal(slots: Sequence[WeightSlot], norms: Sequence[float], size: float) -> list[Tensor]:
    found = []
    for slot, norm in zip(slots, norms, strict=True):
        W = slot.matrix
        if W.shape[0] != W.shape[1]:
            raise ValueError(
                f"kinds holds 'pseudospectral', but {slot.name} is {W.shape[0]} x {W.shape[1]}; expected "
                "square matrices: choose them by matrices=[...], or leave the kind out"
            )
        E = pseudospectral_perturbation(W.cpu().numpy(), size * norm, dynamics="discrete").scaled
        found.append(torch.from_numpy(E).to(W))
    return found


def _pruning(W: Tensor, share: float) -> Tensor:
    """Give what takes the smallest entries away; of equal ones the first."""
    order = W.abs().flatten().argsort(stable=True)[: round(share * W.numel())]
    shift = torch.zeros_like(W).flatten()
    shift[order] = -W.flatten()[order]
    return shift.view_as(W)


def _rounding(slots: Sequence[WeightSlot], number_format: str) -> list[Tensor]:
    shifts = []
    for slot in slots:
        values, beyond = nearest(slot.tensor.cpu().numpy(), number_format)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{slot.name} lies in a tensor with {beyond} entries beyond the largest number of "
                f"{number_format}; leave that format out of kinds"
            )
        shifts.append(torch.from_numpy(values[slot.rows]).to(slot.matrix) - slot.matrix)
    return shifts


def _norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


def _record(
    rows: Sequence[tuple[str, float, list[_Outcome]]],
    clean: _Outcome,
    slots: Sequence[WeightSlot],
    draws: int,
    examples: int,
    level: float,
) -> WeightRobustness:
    counts = [np.array([outcome.correct for outcome in outcomes]) for _, _, outcomes in rows]
    accuracies = [values / examples for values in counts]
    means = np.array([values.sum() / (len(values) * examples) for values in counts])
    lower, upper = wilson_interval([values.mean() for values in counts], examples, confidence=level)
    halves = np.array([_student_half(values, level) for values in accuracies])
    return WeightRobustness(
        kinds=np.array([kind for kind, _, _ in rows]),
        sizes=np.array([size for _, size, _ in rows]),
        relative_norms=np.array([max(one.relative_norm for one in outcomes) for _, _, outcomes in rows]),
        accuracy=means,
        lower=lower,
        upper=upper,
        draws_lower=np.maximum(means - halves, 0.0),
        draws_upper=np.minimum(means + halves, 1.0),
        lowest=np.array([values.min() for values in accuracies]),
        highest=np.array([values.max() for values in accuracies]),
        loss=np.array([np.mean([one.loss for one in outcomes]) for _, _, outcomes in rows]),
        clean_accuracy=clean.correct / examples,
        clean_loss=clean.loss,
        matrices=np.array([slot.name for slot in slots]),
        draws=draws,
        examples=examples,
        level=level,
    )


def _student_half(values: Floats, level: float) -> float:
    """Half the width of Student's interval of a mean; 0 for one value."""
    from scipy.special import stdtrit

    if len(values) == 1:
        return 0.0
    return float(stdtrit(len(values) - 1, 0.5 + level / 2) * values.std(ddof=1) / np.sqrt(len(values)))


def _wide(x: Any) -> Any:
    if isinstance(x, PackedSequence):
        return x._replace(data=x.data.detach().double()) if x.data.is_floating_point() else x
    return x.detach().double() if isinstance(x, Tensor) and x.is_floating_point() else x


def _share(value: Any) -> float:
    if not 0 <= real_number(value, "shares") <= 1:
        raise ValueError(f"shares holds {value}; expected shares of entries from 0 to 1")
    return float(value)


def _several(values: Any, name: str, checked: Callable[[Any], Any]) -> list[Any]:
    """Give the distinct values of an option, checked one by one."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r}; expected several values: [{values!r}]")
    found = list(dict.fromkeys(checked(value) for value in values))
    if not found:
        raise ValueError(f"{name} is empty; expected at least one")
    return found
