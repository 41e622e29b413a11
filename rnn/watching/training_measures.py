"""The record of what was measured in the course of a training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spectra.results import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TrainingMeasures(Record):
    """Measures of the matrices of a network in the course of its training.

    Attributes
    ----------
    steps : ndarray of int, shape (s,)
        Numbers of optimiser steps made when it was measured.
    seconds : ndarray, shape (s,)
        Time since the start of the training then, measuring included.
    matrices : ndarray of str, shape (m,)
        Names of the matrices, as `named_matrices` gives them.
    measures : ndarray of str, shape (q,)
        Names of the measures.
    values : ndarray, shape (s, m, q)
        The numbers; inf where a measure is infinite, NaN where it could not be had: see `failures`.
    failures : ndarray of str
        One line for each thing that went wrong or was left out, with step, name and reason.
    every : int
        Steps from one due measurement to the next.
    share : float
        The time for measuring per time for training that was allowed.
    training_seconds, measuring_seconds : float
        What each took so far.
    setup_seconds : float
        Time before the first step for compiling and timing, in neither of them.
    due : int
        Measurements that were due so far.
    put_off : int
        Those of them that were not made at their step because their time was not earned yet. They are made
        as soon as it is; those overtaken by the next due one are never made.
    """

    steps: NDArray[np.int64]
    seconds: NDArray[np.float64]
    matrices: NDArray[np.str_]
    measures: NDArray[np.str_]
    values: NDArray[np.float64]
    failures: NDArray[np.str_]
    every: int
    share: float
    training_seconds: float
    measuring_seconds: float
    setup_seconds: float
    due: int
    put_off: int

    def _check_shapes(self) -> None:
        shape = (*self.steps.shape, *self.matrices.shape, *self.measures.shape)
        if len(shape) != 3 or self.values.shape != shape or self.seconds.shape != self.steps.shape:
            raise ValueError("values of another shape than steps, matrices and measures")

    @property
    def actual_share(self) -> float:
        """Time spent on measuring per time spent on training."""
        return self.measuring_seconds / self.training_seconds if self.training_seconds > 0 else 0.0

    @property
    def table(self) -> pd.DataFrame:
        """One row per step and matrix: step, seconds, matrix, and a column for each measure."""
        import pandas as pd

        rows = [
            {"step": step, "seconds": seconds, "matrix": matrix}
            | dict(zip(map(str, self.measures), numbers, strict=True))
            for step, seconds, block in zip(self.steps, self.seconds, self.values, strict=True)
            for matrix, numbers in zip(map(str, self.matrices), block, strict=True)
        ]
        return pd.DataFrame(rows, columns=["step", "seconds", "matrix", *map(str, self.measures)])

    def __str__(self) -> str:
        """One line."""
        noun = "matrix" if len(self.matrices) == 1 else "matrices"
        failures = f", {len(self.failures)} failures" if len(self.failures) else ""
        return (
            f"{len(self.measures)} measures of {len(self.matrices)} {noun} at {len(self.steps)} steps, "
            f"{self.put_off} of {self.due} due put off, {self.actual_share:.1%} of the training time"
            f"{failures}"
        )

    __repr__ = __str__
