"""Several attacks at several budgets, each alone and all together, and proofs beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rnn.attacking.bracket_verdicts import RobustnessBracket
from rnn.attacking.verdicts import AttackResult
from rnn.bounds.certification import CertifiedCurve, certified_accuracy
from rnn.harness import attack, robustness
from spectra.checks import non_negative, whole_number

Floats = NDArray[np.float64]


def robustness_bracket(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    methods: Iterable[str] | Mapping[str, Mapping[str, Any]],
    norm: str,
    budgets: Iterable[float],
    repeats: int = 1,
    certify: bool = False,
    bounds: tuple[float, float] | None = None,
    frames: str = "all",
    lengths: ArrayLike | None = None,
    tolerance: float | None = None,
    wrong_share: float = 0.0,
    rng: int | np.random.Generator = 0,
    batch_size: int | None = None,
    level: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> RobustnessBracket:
    """Accuracy under several attacks, each alone and all together, and the share proven robust beside it.

    Parameters
    ----------
    model : nn.Module
        The model; see `rnn.attack`.
    x : Tensor, shape (N, ...)
        Clean inputs.
    y : Tensor or array_like
        True labels, labels of frames, or targets.
    methods : sequence of str, or mapping of str to options
        The attacks, as ["fgsm", "pgd"] or {"pgd": {"steps": 20}}.
    norm : {"linf", "l2", "l1"}
        Norm of the perturbations.
    budgets : sequence of float
        Largest norms; sorted, repeated ones once.
    repeats : int
        How often each attack is made, every time with other random numbers; see `rnn.attack`.
    certify : bool
        Also prove what no perturbation can change, by `rnn.certified_accuracy`: for linf and l2, and one
        label for each sequence, all of one length.
    bounds : tuple of float, optional
        Range of valid inputs; None does not clip.
    frames : {"all", "each", "worst"}
        What a budget is for; see `rnn.attack`.
    lengths : array_like of int, shape (N,), optional
        Frames of each padded sequence; None where all count.
    tolerance : float, optional
        Regression: the largest error that is right.
    wrong_share : float
        Labels of frames: an answer is wrong when more than this share of its frames is.
    rng : int or numpy.random.Generator
        Determines random numbers; a seed is used for each attack anew.
    batch_size : int, optional
        Examples at a time, to bound memory.
    level : float
        Coverage of the intervals, between 0 and 1.
    progress : callable, optional
        Is called as ``progress(done, total)`` before and after each attack, and the proof.

    Returns
    -------
    RobustnessBracket
        Curves, minimal budgets, proofs, and the inputs found.

    Raises
    ------
    TypeError
        As `rnn.robustness` and, with `certify`, `rnn.certified_accuracy`.
    ValueError
        As these; or `certify` is asked for what cannot be proven.

    Warns
    -----
    AccuracyWarning
        Where an attack was weak, or Square took its place; see `rnn.attack`.

    Notes
    -----
    Each attack alone, at each budget, goes for all examples; what it turned at a smaller budget stays turned,
    so that no curve rises. All together: the smallest budget of any. Everything is checked, and the proof is
    made, before the first attack. A proof for all frames holds for one frame (``frames="worst"``) too.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model, load_task
    >>> task = load_task("digits")
    >>> model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=4))
    >>> x, y = task.x_test[:20], task.y_test[:20]
    >>> found = robustness_bracket(
    ...     model, x, y, methods=["fgsm", "pgd"], norm="linf", budgets=[0.01, 0.05], certify=True
    ... )
    >>> list(found.curves)
    ['fgsm', 'pgd', 'all together']
    >>> bool((found.certified_interval[0] <= found.worst.accuracy).all())
    True
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}; expected a tensor: padded sequences, with lengths=")
    question: dict[str, Any] = {"norm": norm, "bounds": bounds, "frames": frames, "batch_size": batch_size}
    question |= {"lengths": lengths, "tolerance": tolerance, "wrong_share": wrong_share}
    often: dict[str, Any] = {} if whole_number(repeats, "repeats") == 1 else {"repeats": repeats}
    named = dict(methods) if isinstance(methods, Mapping) else methods
    sizes = _checked_budgets(budgets)
    # budget 0 costs a forward pass, checks all the rest, and says which predictions are right
    clean = robustness(model, x, y, methods=named, budgets=[0.0], rng=rng, level=level, **question)
    names = [str(name) for name in clean.methods]
    total = len(sizes) * len(names) + certify
    show = progress or (lambda done, total: None)
    show(0, total)
    proofs = _proofs(model, x, y, sizes, level, question) if certify else None
    found = _Findings(clean.minimal_budget, x.detach().cpu().numpy().copy(), names)
    for done, (size, row) in enumerate(itertools.product(sizes, range(len(names))), start=1 + certify):
        show(done - 1, total)
        options = named[names[row]] if isinstance(named, dict) else {}
        result = attack(model, x, y, method=names[row], budget=size, rng=rng, **question, **often, **options)
        found.note(row, result)
        show(done, total)
    return RobustnessBracket(
        budgets=np.array(sizes),
        methods=np.array(names),
        minimal_budget=found.minimal,
        queries=found.queries,
        gradients=found.gradients,
        certified=np.zeros((0, len(x)), dtype=np.bool_) if proofs is None else proofs.certified,
        perturbed=found.perturbed,
        signs=np.array(found.signs, dtype=np.str_),
        norm=norm,
        frames=frames,
        level=float(level),
    )


class _Findings:
    """What the attacks found so far."""

    def __init__(self, clean: Floats, perturbed: NDArray[Any], names: list[str]) -> None:
        self.minimal = np.tile(clean, (len(names), 1))
        self.queries = np.zeros(self.minimal.shape, dtype=np.int64)
        self.gradients = np.zeros_like(self.queries)
        self.perturbed, self.names, self.signs = perturbed, names, list[str]()

    def note(self, row: int, result: AttackResult) -> None:
        """Note one attack at one budget; budgets come in increasing order."""
        first = result.fooled & np.isinf(self.minimal).all(axis=0)
        self.perturbed[first] = result.perturbed[torch.from_numpy(first)].cpu().numpy()
        self.minimal[row, result.fooled & np.isinf(self.minimal[row])] = result.budget
        self.queries[row] += result.queries
        self.gradients[row] += result.gradients
        where = f"{self.names[row]} at {result.norm} {result.budget:g}"
        self.signs += [f"{where}: {sign}" for sign in result.strength.signs]
        if result.method != self.names[row]:
            self.signs.append(f"{where}: the model has no gradients, {result.method} took its place")


def _checked_budgets(budgets: object) -> list[float]:
    if isinstance(budgets, str) or not isinstance(budgets, Iterable):
        raise TypeError(f"budgets is {budgets!r}; expected a sequence of numbers >= 0 such as [0.05, 0.1]")
    sizes = sorted({non_negative(size, "budget") for size in budgets})
    if not sizes:
        raise ValueError("budgets is empty; expected at least one number >= 0")
    return sizes


def _proofs(
    model: nn.Module, x: Tensor, y: Any, sizes: list[float], level: float, question: Mapping[str, Any]
) -> CertifiedCurve:
    norm, frames = question["norm"], question["frames"]
    if frames == "each" and norm != "linf":
        raise ValueError(
            f"frames is 'each' in {norm}, which is more than is certified: a budget for all frames; "
            "certify frames 'all' or norm 'linf', or nothing"
        )
    for name in ("lengths", "tolerance"):
        if question.get(name) is not None:
            raise ValueError(
                f"{name} is given, but certificates are for one label a sequence, all of one length; "
                "do not certify"
            )
    keys = ("norm", "bounds", "batch_size")
    return certified_accuracy(model, x, y, budgets=sizes, level=level, **{key: question[key] for key in keys})
