"""What the harness found, as records: one attack at one budget, and accuracy over budgets."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnn.attacking.strength import AttackStrength
from spectra.results import Record

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WHERE = {"all": "", "each": " in each frame", "worst": " in one frame"}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class AttackResult(Record):
    """What an attack achieved at one budget, example by example.

    Attributes
    ----------
    success : ndarray of bool, shape (N,)
        True where the final prediction is wrong; clean mistakes are included.
    fooled : ndarray of bool, shape (N,)
        True where the clean prediction is right and the final one wrong.
    clean_correct : ndarray of bool, shape (N,)
        True where the clean prediction is right.
    perturbed : Tensor, shape (N, ...)
        The final inputs, on the device of `x`; clean mistakes are left as they were.
    distances : ndarray, shape (N,)
        Norm of each perturbation, measured in float64.
    method, norm : str
        The attack and its norm.
    budget : float
        What it was allowed.
    queries : ndarray of int, shape (N,)
        Forward passes that the attack spent on each example; 0 for clean mistakes. The judge's own are not
        counted. It depends on the batch size, as a batch goes on until its last example is turned.
    gradients : ndarray of int, shape (N,)
        Backward passes.
    flat, broken, stuck, missed : ndarray of bool, shape (N,)
        Signs of a weak attack; `strength` counts them among the examples that stayed right.
    turned : ndarray of int, shape (rounds,)
        Examples turned in each round.
    frames : {"all", "each", "worst"}
        What the budget was for: all frames together, each of them, or any one.
    robust_counts : ndarray of int, shape (repeats,)
        Examples that stay right under each repeat alone; under all together it is the number of False in
        `success`.
    times : ndarray of int, shape (N,)
        How many of the repeats turned an example.
    unsteady : ndarray of bool, shape (N,)
        Whose clean scores differ when the model is asked again.
    """

    success: Bools
    fooled: Bools
    clean_correct: Bools
    perturbed: Tensor
    distances: Floats
    method: str
    norm: str
    budget: float
    queries: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    gradients: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    flat: Bools = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    broken: Bools = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    stuck: Bools = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    missed: Bools = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    turned: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    frames: str = "all"
    robust_counts: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    times: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    unsteady: Bools = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    @property
    def strength(self) -> AttackStrength:
        """What speaks against the attack: signs that examples which stayed right were not attacked well."""
        flat, broken, stuck, missed = (
            int(np.sum(sign & ~self.success)) if len(sign) else 0
            for sign in (self.flat, self.broken, self.stuck, self.missed)
        )
        resisted = int((~self.success).sum())
        return AttackStrength(
            attacked=int(self.clean_correct.sum()),
            resisted=resisted,
            flat=flat,
            broken=broken,
            stuck=stuck,
            missed=missed,
            rounds=len(self.turned),
            last=int(self.turned[-1]) if len(self.turned) > 1 and resisted else 0,
            repeats=max(len(self.robust_counts), 1),
            once=int((self.times == 1).sum()) if len(self.robust_counts) > 1 and resisted else 0,
            unsteady=int(self.unsteady.sum()),
            sparse=resisted if self.budget > 0 and _is_sparse(self.norm, [self.method]) else 0,
        )

    @property
    def success_rate(self) -> float:
        """Share of all examples whose final prediction is wrong; 1 minus the robust accuracy."""
        return float(self.success.mean())

    @property
    def clean_accuracy(self) -> float:
        """Share of all examples whose clean prediction is right."""
        return float(self.clean_correct.mean())

    @property
    def fooling_rate(self) -> float:
        """Share of the examples predicted correctly when clean that the attack turned.

        Raises
        ------
        ValueError
            If no example is predicted correctly when clean: there is nothing to fool, and no number to give.
        """
        if not self.clean_correct.any():
            raise ValueError(
                "fooling_rate is undefined: none of the examples is predicted correctly when clean; "
                "use success_rate, or train the model first"
            )
        return float(self.fooled.sum() / self.clean_correct.sum())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to `path` (a ``.npz`` file), whole or not at all.

        Parameters
        ----------
        path : path-like
            Where to write; an existing file is replaced in one step.
        """
        Record.save(dataclasses.replace(self, perturbed=self.perturbed.cpu()), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a result that `save` wrote; `perturbed` is then on the CPU.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        AttackResult
            The result.
        """
        stored = Record.load.__func__(cls, path)  # type: ignore[attr-defined]  # slots leave super() without its class
        return dataclasses.replace(stored, perturbed=torch.from_numpy(stored.perturbed))

    def __str__(self) -> str:
        """One line."""
        text = (
            f"{self.method} at {self.norm} {self.budget:g}{_WHERE[self.frames]}: {self.fooled.sum()} of "
            f"{self.clean_correct.sum()} correct predictions fooled, "
            f"robust accuracy {1 - self.success_rate:.1%} (clean {self.clean_accuracy:.1%})"
        )
        if len(self.robust_counts) > 1:
            alone = ", ".join(map(str, self.robust_counts))
            text += f"; repeats alone leave {alone} right, together {(~self.success).sum()}"
        return text

    __repr__ = __str__


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RobustnessCurve(Record):
    """Accuracy under attack as a function of the budget, the worst over several methods.

    Attributes
    ----------
    budgets : ndarray, shape (B,)
        The budgets, increasing.
    accuracy : ndarray, shape (B,)
        Share of examples that no method turned at this or a smaller budget; it never rises. An upper bound of
        the true robust accuracy: a stronger attack may find more.
    lower, upper : ndarray, shape (B,)
        Wilson interval of `accuracy` over the draw of the examples.
    minimal_budget : ndarray, shape (N,)
        Smallest of the budgets at which an example was turned: 0 for a clean mistake, inf where none was.
    methods : ndarray of str
        The attacks.
    norm : str
        Their norm.
    level : float
        Coverage of the intervals.
    queries : ndarray of int, shape (N,)
        Forward passes that all methods at all budgets together spent on each example.
    rounds : ndarray of int, shape (M,)
        Rounds of each method.
    turned, last : ndarray of int, shape (B, M)
        Examples that each method turned at each budget, of those which the budgets and methods before had
        left; and how many of them in its last round.
    flat, broken, stuck, missed : ndarray of int, shape (B,)
        Signs of weakness among the examples that still stood after all methods; see `strengths`.
    unsteady : int
        Examples whose clean scores differ when the model is asked again.
    """

    budgets: Floats
    accuracy: Floats
    lower: Floats
    upper: Floats
    minimal_budget: Floats
    methods: NDArray[np.str_]
    norm: str
    level: float
    queries: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    rounds: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    turned: Ints = dataclasses.field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    last: Ints = dataclasses.field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    flat: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    broken: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    stuck: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    missed: Ints = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    unsteady: int = 0

    @property
    def clean_accuracy(self) -> float:
        """Share of examples predicted correctly without any attack."""
        return float((self.minimal_budget > 0).mean())

    @property
    def strengths(self) -> tuple[AttackStrength, ...]:
        """For each budget, what speaks against all methods together; empty if read from an older file.

        `last` and `rounds` are those of the method whose last of several rounds turned most.
        """
        found = []
        for b, budget in enumerate(self.budgets if len(self.flat) else ()):
            resisted = int((self.minimal_budget > budget).sum())
            lasts = np.where((self.rounds > 1) & (resisted > 0), self.last[b], 0)
            most = int(lasts.argmax())
            found.append(
                AttackStrength(
                    attacked=int((self.minimal_budget > 0).sum()),
                    resisted=resisted,
                    flat=int(self.flat[b]),
                    broken=int(self.broken[b]),
                    stuck=int(self.stuck[b]),
                    missed=int(self.missed[b]),
                    rounds=int(self.rounds[most]),
                    last=int(lasts[most]),
                    unsteady=self.unsteady,
                    sparse=resisted if budget > 0 and _is_sparse(self.norm, self.methods) else 0,
                )
            )
        return tuple(found)

    def __str__(self) -> str:
        """One line."""
        points = ", ".join(f"{a:.1%} at {b:g}" for b, a in zip(self.budgets, self.accuracy, strict=True))
        worst = f"worst of {', '.join(self.methods)}"
        return f"Robust accuracy ({self.norm}, {worst}): {points}; clean {self.clean_accuracy:.1%}"

    __repr__ = __str__


def _is_sparse(norm: str, methods: Iterable[str]) -> bool:
    """Whether only APGD on one loss was tried in l1, where the steps that help are sparse."""
    return norm == "l1" and {*map(str, methods)} <= {"apgd-ce", "apgd-dlr"}
