"""The only judge of attacks: it projects what they return and looks at the predictions itself."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rnn.attacking.attack_checks import (
    built_attack,
    check_for_attacks,
    checked_budgets,
    named_options,
    threat_of,
)
from rnn.attacking.bench import checked_bench, representable, undisturbed
from rnn.attacking.first_looks import first_look
from rnn.attacking.padding import warn_of_padding
from rnn.attacking.repeats import Traces, repeated, unsteady
from rnn.attacking.rounds import Stage
from rnn.attacking.strength import AttackStrength, Watch, lead
from rnn.attacking.verdicts import AttackResult, RobustnessCurve
from rnn.attacks import ATTACKS, Attack
from spectra.checks import generator, real_number, whole_number
from spectra.errors import AccuracyWarning

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WITHOUT_GRADIENTS = ("square", "noise-", "frames-")  # beginnings of their names


def attack(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    method: str,
    norm: str,
    budget: float,
    bounds: tuple[float, float] | None = None,
    frames: str = "all",
    lengths: ArrayLike | None = None,
    tolerance: float | None = None,
    wrong_share: float = 0.0,
    rng: int | np.random.Generator = 0,
    batch_size: int | None = None,
    repeats: int = 1,
    **options: Any,
) -> AttackResult:
    """Attack a model: find δ with ‖δ‖ <= budget so that the answer at x + δ is wrong.

    Parameters
    ----------
    model : nn.Module
        Maps a batch to logits (N, C), to logits of frames (N, T, C), or to numbers (N, ...), alone or first
        in a tuple. It is judged in evaluation mode and comes back bit-identical: modes, requires_grad,
        gradients, buffers, global random state.
    x : Tensor, shape (N, ...), or PackedSequence
        Clean inputs in the precision of the model, float32 or float64, on any device. Packed ones are given
        to the model packed, and come back padded.
    y : Tensor or array_like
        True labels (N,), 0 to C - 1; labels of frames (N, T); or, with `tolerance`, targets (N, ...).
    method : str
        The attack: "fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "deepfool", "square",
        "noise-gaussian", "noise-uniform", "noise-salt", "frames-dropped", "frames-repeated",
        "frames-shifted", or "worst", an ensemble of strong ones. See `rnn.attacks`.
    norm : {"linf", "l2", "l1"}
        Norm of the perturbation over all dimensions but the first, or see `frames`.
    budget : float
        Largest norm, in the units of `x`; 0 gives the clean accuracy.
    bounds : tuple of float, optional
        Range of valid inputs, rounded inwards to the precision of x; None does not clip.
    frames : {"all", "each", "worst"}
        For sequences (N, T, ...), what the budget is for: the norm over all frames; the norm of each frame
        alone; or one frame, whichever, the others untouched: every frame is tried, at T times the cost.
    lengths : array_like of int, shape (N,), optional
        Frames of each sequence in a padded x. Padding is neither moved nor judged. The model is given them
        by the argument of its forward that is named lengths, length, lens, seq_lens or alike, by keyword; or
        as the second argument, if it cannot do without one; else it is called with x alone.
    tolerance : float, optional
        Regression: an answer is wrong when any entry is further than this from the target.
    wrong_share : float
        Labels of frames: an answer is wrong when more than this share of its frames is; 0 means any.
    rng : int or numpy.random.Generator
        Determines random numbers, example by example.
    batch_size : int, optional
        Examples at a time, to bound memory; None takes all together. It changes the result by rounding only.
    repeats : int
        How often the attack is run, each time from the start with further random numbers, at as many times
        the cost. An example counts as turned if any run turned it, and the record says how far they agree.
    **options
        Options of the method (`steps`, `step_size`, `rounds` of "pgd").

    Returns
    -------
    AttackResult
        Who was turned, the final inputs and their distances, the queries, and signs of weakness.

    Warns
    -----
    AccuracyWarning
        If there are signs that the attack was weak (`AttackResult.strength`), so that the accuracy under it
        says little; if the model answers differently when asked twice; if it has no gradients, and Square
        took the place of the method; or if it takes no lengths, and padding changes its answers.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or an option is unknown to the method.
    ValueError
        If an argument is out of range, lengths differ, x, the logits or gradients hold NaN or inf, or x
        lies outside `bounds`.

    Notes
    -----
    The attack sees only the clean-correct examples and only proposes: its proposals are projected onto budget
    and bounds and judged by a forward pass, and examples that are turned leave. In the end one fresh forward
    pass over all final inputs decides. The success is a lower bound of what a stronger attack would reach.

    Examples
    --------
    >>> from rnn import ModelConfig, attack, build_model, load_task
    >>> task = load_task("digits")
    >>> model = build_model(ModelConfig("gru", features=8, steps=8))
    >>> result = attack(model, task.x_test, task.y_test, method="fgsm", norm="linf", budget=0.1)
    >>> bool(result.distances.max() <= 0.1)
    True
    """
    chosen = built_attack(method, options)
    threat = threat_of(norm, budget, bounds, frames)
    repeats = whole_number(repeats, "repeats")
    check_for_attacks(model, x, frames, threat.budget)
    asked: dict[str, Any] = {"lengths": lengths, "tolerance": tolerance, "wrong_share": wrong_share}
    bench = checked_bench(model, x, y, threat.bounds, batch_size, sequences=True, **asked)
    threat = dataclasses.replace(threat, bounds=representable(threat.bounds, bench.x))
    random = generator(rng)
    with undisturbed(model, random):
        before = Traces.of(model)
        first = first_look(bench, _losses([method], [threat.budget], frames))
        watch = Watch(lead(first.scores, bench.truth))
        stage = Stage(bench, first.scores, threat, frames == "worst", random, watch, first)
        alive = first.right.nonzero()[:, 0]
        method, chosen = _usable(stage, alive, method, chosen)
        runs = repeated(stage, chosen, alive, repeats)
        outcome = runs.outcome
        again = (outcome.right & first.right).nonzero()[:, 0] if _looks_again(stage, method) else alive[:0]
        missed, stuck = stage.overlooked(again)
        wavering = unsteady(bench, first, outcome, before)
        warn_of_padding(bench)
    perturbed, right = outcome.perturbed, first.right.cpu().numpy()
    success = ~(outcome.right.cpu().numpy() & right)
    result = AttackResult(
        success=success,
        fooled=success & right,
        clean_correct=right,
        perturbed=perturbed,
        distances=threat.length(perturbed.double() - bench.x.double()).cpu().numpy(),
        method=method,
        norm=threat.norm,
        budget=threat.budget,
        queries=watch.queries.cpu().numpy(),
        gradients=watch.gradients.cpu().numpy(),
        flat=watch.flat.cpu().numpy(),
        broken=watch.broken.cpu().numpy(),
        stuck=stuck.cpu().numpy(),
        missed=missed.cpu().numpy(),
        turned=np.array(outcome.turned, dtype=np.int64),
        frames=frames,
        robust_counts=np.array(runs.robust, dtype=np.int64),
        times=runs.times.cpu().numpy(),
        unsteady=wavering.cpu().numpy(),
    )
    _warn_if_weak(result.strength, f"{method} at {norm} {threat.budget:g}")
    return result


def robustness(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
    norm: str,
    budgets: Iterable[float],
    bounds: tuple[float, float] | None = None,
    frames: str = "all",
    lengths: ArrayLike | None = None,
    tolerance: float | None = None,
    wrong_share: float = 0.0,
    repeats: int = 1,
    rng: int | np.random.Generator = 0,
    batch_size: int | None = None,
    level: float = 0.95,
) -> RobustnessCurve:
    """Accuracy under attack at several budgets, for each example the worst over several methods.

    Parameters
    ----------
    model : nn.Module
        The model; see `attack`.
    x : Tensor, shape (N, ...), or PackedSequence
        Clean inputs.
    y : Tensor or array_like
        True labels, labels of frames, or targets.
    methods : sequence of str, or mapping of str to options
        The attacks, as ["fgsm", "pgd"] or {"pgd": {"steps": 20}}.
    norm : {"linf", "l2", "l1"}
        Norm of the perturbations.
    budgets : sequence of float
        Largest norms; sorted, repeated ones once.
    bounds : tuple of float, optional
        Range of valid inputs; None does not clip.
    frames, lengths, tolerance, wrong_share
        See `attack`.
    repeats : int
        How often each attack is made at each budget, every time with other random numbers; the rounds that
        the record counts are those of the first time.
    rng : int or numpy.random.Generator
        Determines random numbers.
    batch_size : int, optional
        Examples at a time, to bound memory.
    level : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    RobustnessCurve
        Accuracies with intervals, and the smallest budget that turned each example.

    Warns
    -----
    AccuracyWarning
        At the first budget at which there are signs that all methods together were weak; see `attack`.

    Raises
    ------
    TypeError
        As `attack`; or `methods` or `budgets` is no sequence.
    ValueError
        As `attack`; or `methods` or `budgets` is empty.

    Notes
    -----
    Budgets are taken in increasing order, and an example that is turned stays turned, since its perturbation
    is allowed at every larger budget too: the curve never rises, and later attacks cost less.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model, load_task, robustness
    >>> task = load_task("digits")
    >>> model = build_model(ModelConfig("tanh", features=8, steps=8))
    >>> curve = robustness(model, task.x_test, task.y_test, methods=["fgsm"], norm="l2", budgets=[0.1, 0.2])
    >>> bool(curve.accuracy[0] >= curve.accuracy[1])
    True
    """
    chosen = {name: built_attack(name, options) for name, options in named_options(methods).items()}
    sizes = checked_budgets(budgets)
    limits = threat_of(norm, 0.0, bounds, frames).bounds
    if not 0 < real_number(level, "level") < 1:
        raise ValueError(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    check_for_attacks(model, x, frames, max(sizes))
    bench = checked_bench(
        model,
        x,
        y,
        limits,
        batch_size,
        sequences=True,
        lengths=lengths,
        tolerance=tolerance,
        wrong_share=wrong_share,
    )
    limits = representable(limits, bench.x)
    whole_number(repeats, "repeats")
    random = generator(rng)
    with undisturbed(model, random):
        before = Traces.of(model)
        first = first_look(bench, _losses(chosen, sizes, frames))
        watch = Watch(lead(first.scores, bench.truth))
        minimal = torch.where(first.right, np.inf, 0.0).double()
        counts = np.zeros((3, len(sizes), len(chosen)), dtype=np.int64)  # turned, in the last round, rounds
        signs = np.zeros((4, len(sizes)), dtype=np.int64)
        for b, size in enumerate(sizes):
            threat = dataclasses.replace(threat_of(norm, size, None, frames), bounds=limits)
            stage = Stage(bench, first.scores, threat, frames == "worst", random, watch, first)
            for m, (name, built) in enumerate(chosen.items()):
                alive = minimal.isinf().nonzero()[:, 0]
                method = _usable(stage, alive, name, built)[1]
                outcome = repeated(stage, method, alive, repeats).outcome
                turned = ~outcome.right & minimal.isinf()
                minimal[turned] = size
                counts[:, b, m] = int(turned.sum()), outcome.turned[-1], method.rounds
            signs[:, b] = _signs(stage, minimal.isinf().nonzero()[:, 0], chosen)
        wavering = int(unsteady(bench, first, outcome, before).sum())
        warn_of_padding(bench)
    smallest = minimal.cpu().numpy()
    queries = watch.queries.cpu().numpy()
    curve = _curve(sizes, smallest, list(chosen), norm, level, queries, counts, signs, wavering)
    for size, strength in zip(sizes, curve.strengths, strict=True):
        if strength.signs:
            _warn_if_weak(strength, f"the worst of {', '.join(chosen)} at {norm} {size:g}")
            break
    return curve


def _usable(stage: Stage, alive: Tensor, name: str, method: Attack) -> tuple[str, Attack]:
    """Give the attack itself, or Square where there is no gradient to follow."""
    if name.startswith(_WITHOUT_GRADIENTS) or len(alive) == 0 or stage.threat.budget == 0:
        return name, method
    if stage.first is not None and stage.first.gradients:
        return name, method
    warnings.warn(
        f"the output of model does not depend differentiably on x, so that {name!r} cannot work; "
        "'square' takes its place, which needs none",
        AccuracyWarning,
        stacklevel=3,
    )
    return "square", ATTACKS["square"]()


def _losses(names: Iterable[str], budgets: Iterable[float], frames: str) -> list[str]:
    """Give the losses whose gradients at the clean inputs some attack or `Stage.overlooked` asks for."""
    by_gradients = [name for name in names if not name.startswith(_WITHOUT_GRADIENTS)]
    if not by_gradients or not any(budgets):
        return []
    again = frames != "worst" and by_gradients != ["fgsm"]
    return ["cross-entropy", "log-odds"] if again else ["cross-entropy"]


def _looks_again(stage: Stage, name: str) -> bool:
    """Whether one step from the clean input may find what the attack should have found."""
    return not (
        name == "fgsm" or name.startswith(_WITHOUT_GRADIENTS) or stage.one_frame or stage.threat.budget == 0
    )


def _warn_if_weak(strength: AttackStrength, what: str) -> None:
    if strength.signs:
        warnings.warn(f"{what} may be weak: {strength}", AccuracyWarning, stacklevel=3)


def _signs(stage: Stage, alive: Tensor, names: Iterable[str]) -> list[int]:
    """Count those that still stand after several attacks: flat, broken, stuck, missed."""
    look = any(_looks_again(stage, name) for name in names)
    missed, stuck = stage.overlooked(alive if look else alive[:0])
    signs = (stage.watch.flat[alive], stage.watch.broken[alive], stuck, missed)
    return [int(sign.sum()) for sign in signs]


def _curve(
    sizes: list[float],
    minimal: Floats,
    methods: list[str],
    norm: str,
    level: float,
    queries: Ints,
    counts: Ints,
    signs: Ints,
    wavering: int,
) -> RobustnessCurve:
    from scipy.stats import binomtest

    survivors = [int((minimal > size).sum()) for size in sizes]
    intervals = [binomtest(k, len(minimal)).proportion_ci(level, method="wilson") for k in survivors]
    return RobustnessCurve(
        budgets=np.array(sizes),
        accuracy=np.array(survivors) / len(minimal),
        lower=np.array([interval.low for interval in intervals]),
        upper=np.array([interval.high for interval in intervals]),
        minimal_budget=minimal,
        methods=np.array(methods),
        norm=norm,
        level=float(level),
        queries=queries,
        rounds=counts[2].max(axis=0),
        turned=counts[0],
        last=counts[1],
        flat=signs[0],
        broken=signs[1],
        stuck=signs[2],
        missed=signs[3],
        unsteady=wavering,
    )
