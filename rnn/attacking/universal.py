"""Universal perturbations: one δ that is added to every input, found on some examples, judged on others."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rnn.attacking.attack_checks import check_for_attacks, threat_of
from rnn.attacking.bench import Bench, checked_bench, representable, undisturbed
from rnn.attacking.padding import warn_of_padding
from rnn.attacking.rounds import Stage
from rnn.attacking.strength import Watch, lead
from rnn.attacking.threats import Threat
from rnn.attacking.universal_ascent import UniversalStage
from rnn.attacking.universal_verdicts import UniversalPerturbation
from rnn.study.statistics import wilson_interval
from spectra.checks import generator, one_of, real_number, whole_number
from spectra.errors import AccuracyWarning

_RANDOM = 10  # random perturbations beside which the one found is judged
_HELD_OUT = 0.25


def universal_perturbation(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    norm: str,
    budget: float,
    x_test: Tensor | None = None,
    y_test: Tensor | ArrayLike | None = None,
    held_out: float | None = None,
    bounds: tuple[float, float] | None = None,
    frames: str = "all",
    lengths: ArrayLike | None = None,
    lengths_test: ArrayLike | None = None,
    tolerance: float | None = None,
    wrong_share: float = 0.0,
    epochs: int = 10,
    starts: int = 4,
    minibatch: int = 64,
    rng: int | np.random.Generator = 0,
    batch_size: int | None = None,
    level: float = 0.95,
) -> UniversalPerturbation:
    """Find one δ with ‖δ‖ <= budget so that the answers at x + δ are wrong for as many x as possible.

    Parameters
    ----------
    model, x, y, norm, budget, bounds, lengths, tolerance, wrong_share, batch_size
        See `rnn.attack`. Budget and bounds hold for every input; δ leaves padding alone.
    x_test, y_test : Tensor and array_like, optional
        Further examples of the same shape, on which δ is judged but not sought.
    held_out : float, optional
        Without `x_test`: share of the examples that is held out for that, drawn at random; 0 holds none out,
        0.25 if not given.
    frames : {"all", "each"}
        What the budget is for: the norm over all frames, or that of each frame alone.
    lengths_test : array_like of int, shape (M,), optional
        Frames of each sequence in a padded `x_test`.
    epochs : int, optional
        Passes over the examples from each start.
    starts : int, optional
        The first one takes a full step along the mean gradient, the others begin at random.
    minibatch : int, optional
        Examples whose mean gradient makes a step.
    rng : int or numpy.random.Generator, optional
        Determines starts, order and what is held out.
    level : float, optional
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    UniversalPerturbation
        δ, whom it fools among the examples it was found on and among held-out ones.

    Warns
    -----
    AccuracyWarning
        If there are signs that a stronger δ exists (`UniversalPerturbation.signs`).

    Raises
    ------
    TypeError
        As `rnn.attack`.
    ValueError
        As `rnn.attack`; if options for held-out examples contradict each other, or leave no example; or if
        the output of model does not depend differentiably on x.

    Notes
    -----
    Projected gradient ascent of the mean over a mini-batch of min(ℓ, β), where ℓ are the log-odds of a wrong
    class at x + δ and β is the median of those of the true class when clean: without a cap, the examples that
    are turned already would lead. A step goes along the sign of the gradient (linf) or the gradient itself,
    over a length that falls from the budget to 0 along a half cosine. The δ that fools most on the examples
    of the search wins, of all after each pass, the starts, and ten random ones; its success there is thus
    optimistic, a held-out one is not. Shafahi et al. cap the cross-entropy instead. The rate is a lower bound
    of what the best δ reaches.

    Cost: starts x epochs forward and backward passes over the examples and as many forward ones.

    References
    ----------
    A. Shafahi, M. Najibi, Z. Xu, J. Dickerson, L. S. Davis and T. Goldstein, "Universal adversarial
    training", AAAI 2020.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model, load_task
    >>> task = load_task("digits")
    >>> model = build_model(ModelConfig("tanh", features=8, steps=8))
    >>> x, y = task.x_test[:60], task.y_test[:60]
    >>> found = universal_perturbation(model, x, y, norm="l2", budget=0.5, epochs=2, starts=1)
    >>> tuple(found.delta.shape), len(found.fooled), len(found.test_fooled)
    ((8, 8), 45, 15)
    """
    threat = threat_of(norm, budget, bounds, one_of(frames, "frames", ("all", "each")))
    options = {"epochs": whole_number(epochs, "epochs"), "minibatch": whole_number(minibatch, "minibatch")}
    starts = whole_number(starts, "starts")
    level = _checked_level(level)
    check_for_attacks(model, x, frames, threat.budget)
    asked: dict[str, Any] = {"sequences": True, "tolerance": tolerance, "wrong_share": wrong_share}
    whole = checked_bench(model, x, y, threat.bounds, batch_size, lengths=lengths, **asked)
    further = _further(model, x_test, y_test, threat, batch_size, lengths_test, whole, held_out, asked)
    random = generator(rng)
    with undisturbed(model, random):
        bench, rows = whole, np.arange(0)
        if further is None:
            bench, further, rows = _split(whole, _share(held_out, len(whole.x)), random)
        stage = _stage(bench, threat, random)
        delta, climbed, found, draws = _searched(stage, starts, options)
        test = _stage(further, threat, random) if further is not None else stage
        rates = [float(test.fooled(draw).sum()) / max(len(test.alive), 1) for draw in draws]
        fooled = stage.fooled(delta)
        verdict = _verdict(fooled, stage.alive, level)
        warn_of_padding(whole)
        nobody = torch.zeros(0, dtype=torch.bool)
        tested = (nobody, nobody.nonzero()[:, 0]) if further is None else (test.fooled(delta), test.alive)
        test_verdict = _verdict(*tested, level)
    result = UniversalPerturbation(
        delta=delta,
        norm=threat.norm,
        budget=threat.budget,
        frames=frames,
        fooled=verdict[0],
        clean_correct=verdict[1],
        test_fooled=test_verdict[0],
        test_clean_correct=test_verdict[1],
        held_out=rows,
        interval=verdict[2],
        test_interval=test_verdict[2],
        level=level,
        random_rate=float(np.mean(rates)),
        found=np.array(found, dtype=np.int64),
        climbed=climbed,
        flat=int((stage.watch.flat & ~fooled).sum()),
        broken=int((stage.watch.broken & ~fooled).sum()),
    )
    if result.signs:
        text = f"the universal perturbation of {norm} {threat.budget:g} may be weak: "
        warnings.warn(text + "; ".join(result.signs), AccuracyWarning, stacklevel=2)
    return result


def _searched(
    stage: UniversalStage, starts: int, options: dict[str, int]
) -> tuple[Tensor, bool, list[int], list[Tensor]]:
    """Give the best δ, whether gradients found it, how many each start fools, and random perturbations."""
    zero = torch.zeros_like(stage.bench.x[0])
    if len(stage.alive) == 0 or stage.threat.budget == 0:
        return zero, True, [0] * starts, [zero]
    draws = [stage.random_point() for _ in range(max(_RANDOM, starts - 1))]
    first = stage.step(zero, stage.alive, stage.threat.budget, math.inf)
    best, most = first, int(stage.fooled(first).sum())
    found = []
    for start in [first, *draws[: starts - 1]]:
        delta, count = stage.climbed(start, **options)
        found.append(count)
        if count > most:
            best, most = delta, count
    found[0] = max(found[0], int(stage.fooled(first).sum()))
    lucky = max(draws, key=lambda draw: int(stage.fooled(draw).sum()))
    if int(stage.fooled(lucky).sum()) > most:
        return lucky, False, found, draws
    return best, True, found, draws


def _stage(bench: Bench, threat: Threat, random: np.random.Generator) -> UniversalStage:
    threat = dataclasses.replace(threat, bounds=representable(threat.bounds, bench.x))
    scores, right = bench.judge(bench.x)
    watch, alive = Watch(lead(scores, bench.truth)), right.nonzero()[:, 0]
    if len(alive) and not Stage(bench, scores, threat, False, random, watch).differentiable(alive):
        raise ValueError(
            "the output of model does not depend differentiably on x, so that no gradient leads to a "
            "universal perturbation; remove no_grad, detach, argmax or rounding from its forward pass"
        )
    return UniversalStage(bench, scores, alive, threat, random, watch)


def _further(
    model: nn.Module,
    x: Any,
    y: Any,
    threat: Threat,
    batch_size: int | None,
    lengths: Any,
    whole: Bench,
    held_out: Any,
    asked: dict[str, Any],
) -> Bench | None:
    """Check the held-out examples that are given."""
    if (x is None) != (y is None) or (x is None and lengths is not None):
        raise ValueError("x_test and y_test belong together, and lengths_test to them; pass both, or neither")
    if x is None:
        return None
    if held_out is not None:
        raise ValueError("held_out is given beside x_test; leave one of them out")
    found = checked_bench(model, x, y, threat.bounds, batch_size, lengths=lengths, **asked)
    if found.x.shape[1:] != whole.x.shape[1:] or found.y.shape[1:] != whole.y.shape[1:]:
        raise ValueError(
            f"x_test and y_test have examples of shape {tuple(found.x.shape[1:])} and "
            f"{tuple(found.y.shape[1:])}, x and y of {tuple(whole.x.shape[1:])} and "
            f"{tuple(whole.y.shape[1:])}; expected the same: pad sequences and pass lengths"
        )
    return dataclasses.replace(found, x=found.x.to(whole.x.device), y=found.y.to(whole.y.device))


def _share(held_out: Any, count: int) -> int:
    """Give how many of `count` examples are held out."""
    share = _HELD_OUT if held_out is None else real_number(held_out, "held_out")
    if not 0 <= share < 1:
        raise ValueError(f"held_out is {held_out}; expected a share of the examples, at least 0 and below 1")
    number = round(share * count)
    if number == count or (share > 0 and number == 0):
        raise ValueError(
            f"held_out is {share:g}, of {count} examples {number}; expected some on both sides: pass more "
            "examples, x_test, or held_out=0"
        )
    return number


def _split(
    whole: Bench, number: int, random: np.random.Generator
) -> tuple[Bench, Bench | None, NDArray[np.int64]]:
    """Hold some examples out."""
    if number == 0:
        return whole, None, np.arange(0)
    order = random.permutation(len(whole.x))
    rows = np.sort(order[:number])
    return _part(whole, np.sort(order[number:])), _part(whole, rows), rows


def _part(bench: Bench, rows: NDArray[np.int64]) -> Bench:
    index = torch.from_numpy(rows).to(bench.x.device)
    lengths = None if bench.lengths is None else bench.lengths[index]
    return dataclasses.replace(bench, x=bench.x[index], y=bench.y[index], lengths=lengths)


def _checked_level(level: Any) -> float:
    if not 0 < real_number(level, "level") < 1:
        raise ValueError(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    return float(level)


def _verdict(
    fooled: Tensor, alive: Tensor, level: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    """Give who is fooled, who was right, and the interval of the share."""
    right = torch.zeros_like(fooled)
    right[alive] = True
    ends = wilson_interval(int(fooled.sum()), len(alive), confidence=level)
    return fooled.cpu().numpy(), right.cpu().numpy(), np.array([float(end) for end in ends])
