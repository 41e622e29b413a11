"""What one perturbation for all inputs does, as a record: whom it fools, where it was found and elsewhere."""

from __future__ import annotations

import dataclasses
import os
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectra.results import Record

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NOTICED = 0.02  # share of the clean-correct examples from which on a sign counts


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class UniversalPerturbation(Record):
    """One perturbation δ for all inputs, and the predictions that it turns.

    Attributes
    ----------
    delta : Tensor, shape (...)
        δ, of the shape of one example, on the device of `x`; what is judged is x + δ, clipped to the bounds.
    norm : str
        Its norm.
    budget : float
        Largest norm it was allowed.
    frames : {"all", "each"}
        What the budget is for: all frames together, or each of them.
    fooled, clean_correct : ndarray of bool, shape (N,)
        Of the examples that δ was found on: whether it turns a right prediction, and whether that of the
        clean input is right.
    test_fooled, test_clean_correct : ndarray of bool, shape (M,)
        The same of the held-out examples, which played no part in finding δ; empty where there are none.
    held_out : ndarray of int, shape (M,)
        Which rows of x were held out; empty where `x_test` was given.
    interval, test_interval : ndarray, shape (2,)
        Wilson intervals of `fooling_rate` and `test_fooling_rate` over the draw of the examples. δ was chosen
        by its success on the former, so that only the latter says what it does to further examples.
    level : float
        Coverage of the intervals.
    random_rate : float
        Mean fooling rate of random perturbations of the same norm on the held-out examples; on those of the
        search where none are held out.
    found : ndarray of int, shape (starts,)
        How many examples the best δ of each start fools among those it was found on.
    climbed : bool
        Whether δ came out of gradient ascent; False where nothing beat a random perturbation.
    flat, broken : int
        Examples still right at the end which met a gradient of exactly 0, or one with NaN or infinity.
    """

    delta: Tensor
    norm: str
    budget: float
    frames: str
    fooled: Bools
    clean_correct: Bools
    test_fooled: Bools
    test_clean_correct: Bools
    held_out: Ints
    interval: Floats
    test_interval: Floats
    level: float
    random_rate: float
    found: Ints
    climbed: bool
    flat: int
    broken: int

    @property
    def fooling_rate(self) -> float:
        """Share of the right predictions that δ turns, on the examples that it was found on.

        Raises
        ------
        ValueError
            If no clean prediction is right.
        """
        return _rate(self.fooled, self.clean_correct, "fooling_rate")

    @property
    def test_fooling_rate(self) -> float:
        """Share of the right predictions that δ turns, on held-out examples.

        Raises
        ------
        ValueError
            If there are no held-out examples, or no clean prediction of them is right.
        """
        return _rate(self.test_fooled, self.test_clean_correct, "test_fooling_rate")

    @property
    def signs(self) -> tuple[str, ...]:
        """One sentence for each sign that a stronger δ may exist, met at more than 2 % of the examples."""
        attacked, best = int(self.clean_correct.sum()), int(self.fooled.sum())
        stayed = f"of the {attacked - best} examples that stayed right"
        runners = np.sort(self.found)[:-1]
        lead = int(self.found.max() - runners[-1]) if len(runners) else 0
        signs = {
            f"{self.flat} {stayed} met a gradient of exactly 0: something saturates or is rounded": self.flat,
            f"{self.broken} {stayed} met NaN or infinite gradients, taken as 0": self.broken,
            f"one of {len(self.found)} starts fools {lead} more than any other, take more": lead
            if lead > 1
            else 0,
            "nothing that gradients found beats a random perturbation": 0 if self.climbed else attacked,
        }
        return tuple(sign for sign, count in signs.items() if count > _NOTICED * attacked)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record to `path` (a ``.npz`` file), whole or not at all.

        Parameters
        ----------
        path : path-like
            Where to write; an existing file is replaced in one step.
        """
        Record.save(dataclasses.replace(self, delta=self.delta.cpu()), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record that `save` wrote; `delta` is then on the CPU.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        UniversalPerturbation
            The record.
        """
        stored = Record.load.__func__(cls, path)  # type: ignore[attr-defined]  # slots leave super() without its class
        return dataclasses.replace(stored, delta=torch.from_numpy(stored.delta))

    def _check_shapes(self) -> None:
        if self.fooled.shape != self.clean_correct.shape:
            raise ValueError("verdicts of different lengths")
        if self.test_fooled.shape != self.test_clean_correct.shape:
            raise ValueError("verdicts of different lengths")
        if self.interval.shape != (2,) or self.test_interval.shape != (2,):
            raise ValueError("an interval without two ends")

    def __str__(self) -> str:
        """One line."""
        each = " in each frame" if self.frames == "each" else ""
        text = (
            f"UniversalPerturbation of {self.norm} {self.budget:g}{each}: fools {self.fooled.sum()} of "
            f"{self.clean_correct.sum()} correct predictions"
        )
        if len(self.test_fooled):
            low, high = self.test_interval
            text += (
                f", held out {self.test_fooled.sum()} of {self.test_clean_correct.sum()} "
                f"({low:.1%} to {high:.1%})"
            )
        return f"{text}; random ones {self.random_rate:.1%}"

    __repr__ = __str__


def _rate(fooled: Bools, clean_correct: Bools, name: str) -> float:
    if len(fooled) == 0:
        raise ValueError(f"{name} is undefined: no examples were held out; pass x_test and y_test")
    if not clean_correct.any():
        raise ValueError(
            f"{name} is undefined: none of the examples is predicted correctly when clean; "
            "train the model first"
        )
    return float(fooled.sum() / clean_correct.sum())
