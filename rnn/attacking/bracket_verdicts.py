"""What several attacks leave right beside what is proven, as a record: certified <= true <= attacked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.attacking.verdicts import RobustnessCurve
from rnn.study.statistics import wilson_interval
from spectra.checks import one_of
from spectra.results import Record

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOGETHER = "all together"  # the name of the worst over several methods


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RobustnessBracket(Record):
    """What several attacks leave right at several budgets, and what is proven: certified <= true <= attacked.

    Attributes
    ----------
    budgets : ndarray, shape (B,)
        The budgets, increasing.
    methods : ndarray of str, shape (M,)
        The attacks.
    minimal_budget : ndarray, shape (M, N)
        Smallest of the budgets at which each attack turned an example: 0 for a clean mistake, inf where none
        did.
    queries, gradients : ndarray of int, shape (M, N)
        Forward and backward passes that each attack spent on an example at all budgets.
    certified : ndarray of bool, shape (B, N) or (0, N)
        Which examples are proven to stay right at which budget; no rows where no proof was asked for.
    perturbed : ndarray, shape (N, ...)
        Of each example the first input found that is answered wrongly, at the smallest budget; the clean
        input where there is none, and of clean mistakes.
    signs : ndarray of str
        Sentences on attacks that were weak; see `AttackStrength`.
    norm, frames : str
        What the budgets measure.
    level : float
        Coverage of the intervals.
    """

    budgets: Floats
    methods: NDArray[np.str_]
    minimal_budget: Floats
    queries: Ints
    gradients: Ints
    certified: Bools
    perturbed: NDArray[Any]
    signs: NDArray[np.str_]
    norm: str
    frames: str
    level: float

    @property
    def clean_accuracy(self) -> float:
        """Share of examples predicted correctly without any attack."""
        return float((self.minimal_budget[0] > 0).mean())

    @property
    def worst(self) -> RobustnessCurve:
        """The curve of all attacks together: an example is lost to the first that turns it."""
        return self._curve(self.minimal_budget.min(axis=0), self.methods, self.queries.sum(axis=0))

    def curve(self, method: str) -> RobustnessCurve:
        """Give the curve of one attack alone.

        Parameters
        ----------
        method : str
            One of `methods`.

        Returns
        -------
        RobustnessCurve
            Its accuracies with intervals.

        Raises
        ------
        ValueError
            If it is none of them.
        """
        row = list(self.methods).index(one_of(method, "method", tuple(map(str, self.methods))))
        return self._curve(self.minimal_budget[row], self.methods[row : row + 1], self.queries[row])

    @property
    def curves(self) -> dict[str, RobustnessCurve]:
        """The curves by name: of each attack, and of all together where there are several."""
        found = {str(method): self.curve(str(method)) for method in self.methods}
        return found if len(found) == 1 else found | {TOGETHER: self.worst}

    @property
    def certified_interval(self) -> tuple[Floats, Floats, Floats]:
        """Certified accuracy at each budget, with Wilson's interval: three arrays of shape (B,) or (0,)."""
        counts = self.certified.sum(axis=1)
        lower, upper = wilson_interval(counts, self.certified.shape[1], confidence=self.level)
        return counts / self.certified.shape[1], lower, upper

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each attack and budget, as plain numbers; None for a share of nothing.

        The accuracy with its interval, `fooled` and `fooling_rate` among the `clean_correct`, the queries of
        the attack at all budgets, in the mean over the examples, and what is certified at the budget.
        """
        proven = self.certified_interval[0].tolist()
        found: list[dict[str, Any]] = []
        for name, curve in self.curves.items():
            smallest = curve.minimal_budget
            correct = int((smallest > 0).sum())
            for place, budget in enumerate(curve.budgets.tolist()):
                fooled = int(((smallest > 0) & (smallest <= budget)).sum())
                row = {
                    "method": name,
                    "norm": self.norm,
                    "budget": budget,
                    "examples": len(smallest),
                    "clean_correct": correct,
                    "fooled": fooled,
                    "fooling_rate": fooled / correct if correct else None,
                    "robust_accuracy": float(curve.accuracy[place]),
                    "lower": float(curve.lower[place]),
                    "upper": float(curve.upper[place]),
                    "mean_queries": float(curve.queries.mean()),
                }
                found.append(row | ({"certified_accuracy": proven[place]} if proven else {}))
        return found

    def to_json(self, about: Mapping[str, Any] | None = None) -> str:
        """Give everything but the inputs as JSON.

        Parameters
        ----------
        about : mapping, optional
            What else to say, such as where network and data came from; it stands first.

        Returns
        -------
        str
            An object; `minimal_budget` holds null for examples that were not turned.
        """
        content = dict(about or {}) | {
            "norm": self.norm,
            "frames": self.frames,
            "level": self.level,
            "examples": self.minimal_budget.shape[1],
            "clean_accuracy": self.clean_accuracy,
            "rows": self.rows,
            "minimal_budget": {
                str(method): [size if np.isfinite(size) else None for size in sizes.tolist()]
                for method, sizes in zip(self.methods, self.minimal_budget, strict=True)
            },
            "certified": self.certified.tolist(),
            "signs": self.signs.tolist(),
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    def _curve(self, minimal: Floats, methods: NDArray[np.str_], queries: Ints) -> RobustnessCurve:
        right = (minimal > self.budgets[:, None]).sum(axis=1)
        lower, upper = wilson_interval(right, len(minimal), confidence=self.level)
        return RobustnessCurve(
            budgets=self.budgets,
            accuracy=right / len(minimal),
            lower=lower,
            upper=upper,
            minimal_budget=minimal,
            methods=methods,
            norm=self.norm,
            level=self.level,
            queries=queries,
        )

    def _check_shapes(self) -> None:
        shape = (len(self.methods), len(self.perturbed))
        if {self.minimal_budget.shape, self.queries.shape, self.gradients.shape} != {shape}:
            raise ValueError("rows of other methods or examples")
        if self.certified.shape not in {(0, shape[1]), (len(self.budgets), shape[1])}:
            raise ValueError("proofs for other budgets or examples")

    def __str__(self) -> str:
        """One line."""
        text = str(self.worst)
        if not len(self.certified):
            return text
        proven = zip(self.certified_interval[0], self.budgets, strict=True)
        return text + "; certified: " + ", ".join(f"{share:.1%} at {size:g}" for share, size in proven)

    __repr__ = __str__
