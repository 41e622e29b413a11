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

from rnn.attacks import ATTACKS, Attack
from rnn.bench import Bench, checked_bench, checked_bounds, undisturbed
from rnn.strength import AttackStrength, Watch, Watched, WatchedObjective, lead, second_look
from rnn.threats import NORMS, Threat
from rnn.verdicts import AttackResult, RobustnessCurve
from spectra.checks import generator, non_negative, one_of, real_number
from spectra.errors import AccuracyWarning

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HARMLESS = ("noise-", "frames-")  # methods that do not look for the worst


def attack(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    method: str,
    norm: str,
    budget: float,
    bounds: tuple[float, float] | None = None,
    rng: int | np.random.Generator = 0,
    batch_size: int | None = None,
    **options: Any,
) -> AttackResult:
    """Attack a classifier: find δ with ‖δ‖ <= budget so that the prediction at x + δ is wrong.

    Parameters
    ----------
    model : nn.Module
        Maps a batch to logits (N, C), or to a tuple that begins with them. It is judged in evaluation mode
        and comes back bit-identical: modes, requires_grad, gradients, buffers, global random state.
    x : Tensor, shape (N, ...)
        Clean inputs in the precision of the model, on any device.
    y : Tensor or array_like of int, shape (N,)
        True labels, 0 to C - 1.
    method : {"fgsm", "pgd"}
        The attack; see `rnn.attacks`.
    norm : {"linf", "l2", "l1"}
        Norm of the perturbation over all dimensions but the first.
    budget : float
        Largest norm, in the units of `x`; 0 gives the clean accuracy.
    bounds : tuple of float, optional
        Range of valid inputs; None does not clip.
    rng : int or numpy.random.Generator
        Determines random starting points, example by example.
    batch_size : int, optional
        Examples at a time, to bound memory; None takes all together. It changes the result by rounding only.
    **options
        Options of the method (`steps`, `step_size`, `rounds` of "pgd").

    Returns
    -------
    AttackResult
        Who was turned, the final inputs and their distances.

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
    chosen = _built_attack(method, options)
    threat = Threat(one_of(norm, "norm", NORMS), non_negative(budget, "budget"), checked_bounds(bounds))
    bench = checked_bench(model, x, y, threat.bounds, batch_size)
    random = generator(rng)
    with undisturbed(model, random):
        scores, clean_correct = bench.judge(bench.x)
        watch = Watch(lead(scores, bench.y))
        perturbed = bench.x.clone()
        alive = clean_correct.nonzero()[:, 0]
        turned = _attack_rounds(bench, perturbed, scores, alive, chosen, threat, random, watch)
        queries, gradients = watch.queries.cpu().numpy().copy(), watch.gradients.cpu().numpy().copy()
        _, correct = bench.judge(perturbed)
        missed, stuck = _overlooked(bench, scores, correct & clean_correct, method, threat, watch)
    right = clean_correct.cpu().numpy()
    success = ~(correct.cpu().numpy() & right)
    result = AttackResult(
        success=success,
        fooled=success & right,
        clean_correct=right,
        perturbed=perturbed,
        distances=threat.length(perturbed.double() - bench.x.double()).cpu().numpy(),
        method=method,
        norm=threat.norm,
        budget=threat.budget,
        queries=queries,
        gradients=gradients,
        flat=watch.flat.cpu().numpy(),
        broken=watch.broken.cpu().numpy(),
        stuck=stuck.cpu().numpy(),
        missed=missed.cpu().numpy(),
        turned=np.array(turned, dtype=np.int64),
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
    rng: int | np.random.Generator = 0,
    batch_size: int | None = None,
    level: float = 0.95,
) -> RobustnessCurve:
    """Accuracy under attack at several budgets, for each example the worst over several methods.

    Parameters
    ----------
    model : nn.Module
        The classifier; see `attack`.
    x : Tensor, shape (N, ...)
        Clean inputs.
    y : Tensor or array_like of int, shape (N,)
        True labels.
    methods : sequence of str, or mapping of str to options
        The attacks, as ["fgsm", "pgd"] or {"pgd": {"steps": 20}}.
    norm : {"linf", "l2", "l1"}
        Norm of the perturbations.
    budgets : sequence of float
        Largest norms; sorted, repeated ones once.
    bounds : tuple of float, optional
        Range of valid inputs; None does not clip.
    rng : int or numpy.random.Generator
        Determines random starting points.
    batch_size : int, optional
        Examples at a time, to bound memory.
    level : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    RobustnessCurve
        Accuracies with intervals, and the smallest budget that turned each example.

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
    chosen = {name: _built_attack(name, options) for name, options in _named_options(methods).items()}
    sizes = _checked_budgets(budgets)
    one_of(norm, "norm", NORMS)
    if not 0 < real_number(level, "level") < 1:
        raise ValueError(f"level is {level}; expected a coverage between 0 and 1, such as 0.95")
    limits = checked_bounds(bounds)
    bench = checked_bench(model, x, y, limits, batch_size)
    random = generator(rng)
    with undisturbed(model, random):
        scores, correct = bench.judge(bench.x)
        watch = Watch(lead(scores, bench.y))
        minimal = torch.where(correct, np.inf, 0.0).double()
        for size in sizes:
            for method in chosen.values():
                alive = minimal.isinf().nonzero()[:, 0]
                perturbed = bench.x.clone()
                threat = Threat(norm, size, limits)
                _attack_rounds(bench, perturbed, scores, alive, method, threat, random, watch)
                turned = ~bench.judge(perturbed)[1] & minimal.isinf()
                minimal[turned] = size
    smallest = minimal.cpu().numpy()
    return _curve(sizes, smallest, list(chosen), norm, level, watch.queries.cpu().numpy())


def _attack_rounds(
    bench: Bench,
    perturbed: Tensor,
    scores: Tensor,
    alive: Tensor,
    method: Attack,
    threat: Threat,
    random: np.random.Generator,
    watch: Watch,
) -> list[int]:
    """Fill `perturbed` at the indices `alive`; who is turned leaves. Gives how many are in each round."""
    turned: list[int] = []
    for turn in range(method.rounds):
        if len(alive) == 0 or threat.budget == 0:
            break
        noise = torch.from_numpy(random.standard_normal(bench.x.shape, dtype=np.float32)).to(bench.x.dtype)
        still = []
        for index in alive.split(bench.batch):
            x, y, clean = (part[index].to(bench.device) for part in (bench.x, bench.y, scores))
            local = noise[index.cpu()].to(bench.device)
            objective = WatchedObjective(Watched(bench.model, y, index, watch), clean)
            with torch.enable_grad():
                proposal = method.perturb(objective, x.clone(), threat, noise=local, turn=turn)
            proposal = proposal.detach().to(x)
            if proposal.shape != x.shape or not proposal.isfinite().all():
                raise ValueError(
                    f"{type(method).__name__} returned NaN, infinity or another shape than its input has"
                )
            final = threat.project(proposal, x)
            perturbed[index] = final.to(perturbed.device)
            wrong = objective.excess(final)[1]
            still.append(index[~wrong.to(index.device)])
        before, alive = len(alive), torch.cat(still)
        turned.append(before - len(alive))
    return turned


def _overlooked(
    bench: Bench, scores: Tensor, resisting: Tensor, method: str, threat: Threat, watch: Watch
) -> tuple[Tensor, Tensor]:
    """Look again at the examples that stayed right: whom one step turns, and whose loss never rose."""
    missed, stuck = torch.zeros_like(resisting), torch.zeros_like(resisting)
    alive = resisting.nonzero()[:, 0]
    if method == "fgsm" or method.startswith(_HARMLESS) or threat.budget == 0:
        return missed, stuck
    for index in alive.split(bench.batch):
        x, y, clean = (part[index].to(bench.device) for part in (bench.x, bench.y, scores))
        objective = WatchedObjective(Watched(bench.model, y, index, watch), clean)
        tried = watch.rise[index] <= 0
        with torch.enable_grad():
            wrong, promised = second_look(objective, x, threat)
        missed[index] = wrong.to(missed.device)
        noticeable = promised > 1e-3 * clean.abs().amax(1)
        stuck[index] = tried & noticeable.to(tried.device)
    return missed, stuck


def _warn_if_weak(strength: AttackStrength, what: str) -> None:
    if strength.signs:
        warnings.warn(f"{what} may be weak: {strength}", AccuracyWarning, stacklevel=3)


def _built_attack(method: str, options: Mapping[str, Any]) -> Attack:
    kind = ATTACKS[one_of(method, "method", tuple(ATTACKS))]
    if not isinstance(options, Mapping):
        raise TypeError(
            f"methods gives {method!r} the options {options!r}; expected a mapping such as {{'steps': 20}}"
        )
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = [name for name in options if name not in known]
    if unknown:
        offered = f"it takes {', '.join(known)}" if known else "it takes none"
        raise TypeError(f"{unknown[0]} is no option of method {method!r}; {offered}")
    return kind(**options)


def _named_options(methods: object) -> dict[str, Mapping[str, Any]]:
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise TypeError(f"methods is {methods!r}; expected a sequence of names such as ['fgsm', 'pgd']")
    named: dict[str, Mapping[str, Any]] = dict(methods) if isinstance(methods, Mapping) else {}
    for name in methods:
        named.setdefault(one_of(name, "methods", tuple(ATTACKS)), {})
    if not named:
        raise ValueError(f"methods is empty; expected at least one of {', '.join(ATTACKS)}")
    return named


def _checked_budgets(budgets: object) -> list[float]:
    if isinstance(budgets, str) or not isinstance(budgets, Iterable):
        raise TypeError(f"budgets is {budgets!r}; expected a sequence of numbers >= 0 such as [0.05, 0.1]")
    sizes = sorted({non_negative(size, "budgets") for size in budgets})
    if not sizes:
        raise ValueError("budgets is empty; expected at least one number >= 0")
    return sizes


def _curve(
    sizes: list[float], minimal: Floats, methods: list[str], norm: str, level: float, queries: Ints
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
    )
