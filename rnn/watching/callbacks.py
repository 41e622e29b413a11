"""Measures of the matrices of a network while it trains, within a share of the time that training takes."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rnn.measuring.measured_matrix import MeasuredMatrix, checked_measures
from rnn.measuring.measures import EPSILON
from rnn.watching.sinks import sinks
from rnn.watching.time_budget import TimeBudget
from rnn.watching.tracked_matrices import matrix_reader, tracked_matrices
from rnn.watching.training_measures import TrainingMeasures
from spectra.checks import one_of, positive, whole_number
from spectra.stability import DYNAMICS

DEFAULT_MEASURES = ("spectral_radius", "spectral_norm", "henrici_departure_relative")

_TRIAL_ORDER = 128  # of the random matrix on which a measure is timed before the training
_READ, _WRITE = "read", "write"


class SpectralCallback:
    """Measure the matrices that carry the state every few optimiser steps, within a share of the time.

    Call it once after each optimiser step. Nothing of the training changes: weights, gradients, modes and
    random states are the same as without it.

    Parameters
    ----------
    model : nn.Module
        The network in training; it is read, never changed.
    every : int
        Optimiser steps from one due measurement to the next.
    share : float
        Most time for measuring per time for training, as 0.05: a training of 100 s may take 105 s.
    measures : iterable of str
        Names of measures: spectral_radius, spectral_norm, spectral_abscissa, stable_rank, condition_number,
        henrici_departure, henrici_departure_relative, commutator_norm, eigenvector_condition_number,
        largest_eigenvalue_condition_number, numerical_abscissa, numerical_radius, pseudospectral_radius,
        pseudospectral_abscissa, distance_to_instability, kreiss_constant.
    to : callable, writer, or several of them, optional
        Where numbers go besides the `record`: a function of (step, {"matrix/measure": value}), or a
        TensorBoard ``SummaryWriter`` (anything with ``add_scalar``), which gets the finite ones under
        "spectra/matrix/measure".
    matrices : iterable of str, optional
        Names of square matrices, as `named_matrices` gives them. By default all with the role recurrent.
    epsilon : float
        Level of the pseudospectral measures, in the units of the weights.
    dynamics : {"discrete", "continuous"}
        For the distance to instability and the Kreiss constant: h ↦ W h, or h' = W h.
    at_start : bool
        Whether to measure also before the first step, on credit.
    first_step : int
        Steps already made, in a training that is taken up again.
    clock : callable
        Gives seconds.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If one is out of range, a name is unknown, or a matrix is not square.
    UnsupportedModelError
        If no matrix is named and the model has no recurrent one.

    Notes
    -----
    A measurement is made in pieces: reading the weights, each measure of each matrix (the first that needs
    it computes the Schur form for all), and handing the numbers on. It begins when all pieces, as predicted,
    fit into what training has earned: spent + predicted ≤ share · trained; until then it is put off, and
    tried again after each step. The same is asked before each further piece; if the earlier ones took longer
    than predicted, the rest is left out and noted. A piece is predicted to take as long as the longest of its
    last three runs, and before the first as long as on a random matrix of order up to 128, timed when the
    callback is made, times the cube of the ratio of orders. So the share is exceeded by no more than what one
    piece, and handing on, take beyond their prediction, and then nothing is measured until training has made
    up for it. From the first call on all time that is not measuring counts as training, and so does deciding
    whether to measure, below a microsecond in most steps. A costly measure makes the others wait for their
    common time: give it a callback of its own, with a share of its own.

    A matrix with NaN or infinite entries, a measure that fails, or a place that does not take the numbers
    leaves NaN and a line in ``record.failures``, warns once, and does not stop the training.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.RNN(2, 3)
    >>> optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> callback = SpectralCallback(model, every=5, share=0.5, at_start=True)
    >>> for _ in range(200):
    ...     optimiser.zero_grad()
    ...     model(torch.ones(20, 1, 2))[0].square().mean().backward()
    ...     optimiser.step()
    ...     callback()
    >>> list(callback.record.table)
    ['step', 'seconds', 'matrix', 'spectral_radius', 'spectral_norm', 'henrici_departure_relative']
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int = 100,
        share: float = 0.05,
        measures: Iterable[str] = DEFAULT_MEASURES,
        to: Any = None,
        matrices: Iterable[str] | None = None,
        epsilon: float = EPSILON,
        dynamics: str = "discrete",
        at_start: bool = False,
        first_step: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"model is a {type(model).__name__}; expected the torch.nn.Module that is trained"
            )
        self._every, self._share = whole_number(every, "every"), positive(share, "share")
        self._measures = checked_measures(measures)
        self._sinks = sinks(to)
        self._epsilon, self._dynamics = positive(epsilon, "epsilon"), one_of(dynamics, "dynamics", DYNAMICS)
        self._step = whole_number(first_step, "first_step", least=0)
        if not callable(clock):
            raise TypeError(f"clock is {clock!r}; expected a function without arguments that gives seconds")
        chosen = tracked_matrices(model, matrices)
        self._names = [record.name for record in chosen]
        self._read = matrix_reader(model, chosen)
        self._pieces = [_READ, *((name, m) for name in self._names for m in self._measures), _WRITE]
        self._steps: list[int] = []
        self._seconds: list[float] = []
        self._values: list[NDArray[np.float64]] = []
        self._failures: list[str] = []
        self._due = self._put_off = 0
        self._waiting = self._warned = self._begun = False
        began = clock()
        self._budget = TimeBudget(self._share, clock)
        self._try_out({record.name: len(record.matrix) for record in chosen})
        self._setup_seconds = clock() - began
        if at_start:
            self._budget.restart()
            self._measure(on_credit=True)

    def __call__(self) -> None:
        """Count one optimiser step, and measure if that is due and affordable."""
        if not self._begun:  # whatever happened before is no training
            self._begun = True
            self._budget.restart()
        self._step += 1
        due = self._step % self._every == 0
        if due:
            self._due += 1
            self._waiting = True
        if not self._waiting:
            return
        self._budget.training_ended()
        if self._budget.affords(*self._pieces):
            self._waiting = False
            self._measure(on_credit=False)
        elif due:
            self._put_off += 1

    def step(self) -> None:
        """Count one optimiser step, as a call does."""
        self()

    @property
    def record(self) -> TrainingMeasures:
        """All that was measured so far."""
        shape = (len(self._steps), len(self._names), len(self._measures))
        return TrainingMeasures(
            steps=np.array(self._steps, dtype=np.int64),
            seconds=np.array(self._seconds, dtype=np.float64),
            matrices=np.array(self._names),
            measures=np.array(self._measures),
            values=np.array(self._values, dtype=np.float64).reshape(shape),
            failures=np.array(self._failures, dtype=np.str_),
            every=self._every,
            share=self._share,
            training_seconds=self._budget.trained,
            measuring_seconds=self._budget.spent,
            setup_seconds=self._setup_seconds,
            due=self._due,
            put_off=self._put_off,
        )

    def _try_out(self, orders: dict[str, int]) -> None:
        """Compile what needs it, and time every piece on a random matrix of moderate order."""
        rng = np.random.default_rng(0)
        for _ in range(2):  # the first time compiles
            self._budget.restart()
            self._read()
            self._budget.expect(_READ, factor=1.0)
        for n in dict.fromkeys(orders.values()):
            m = min(n, _TRIAL_ORDER)
            matrix = rng.standard_normal((m, m)) / (2 * math.sqrt(m))
            same = [name for name in self._names if orders[name] == n]
            for _ in range(2):
                trial = MeasuredMatrix(matrix, epsilon=self._epsilon, dynamics=self._dynamics)
                for measure in self._measures:
                    self._budget.restart()
                    trial.measure(measure)
                    self._budget.expect(*((name, measure) for name in same), factor=(n / m) ** 3)

    def _measure(self, *, on_credit: bool) -> None:
        """Measure all matrices, as far as the budget goes, and hand the numbers on."""
        self._steps.append(self._step)
        self._seconds.append(self._budget.trained + self._budget.spent)
        values = np.full((len(self._names), len(self._measures)), math.nan)
        self._values.append(values)
        present, reasons = self._present()
        self._budget.piece_ended(_READ)
        for row, name in enumerate(self._names):
            if name not in present:
                self._failed(f"{name}: not read: {reasons}")
                continue
            one = MeasuredMatrix(present[name], epsilon=self._epsilon, dynamics=self._dynamics)
            for column, measure in enumerate(self._measures):
                if not (on_credit or self._budget.affords((name, measure), _WRITE)):
                    self._failed(f"from {name}, {measure} on: left out, no time left", warn=False)
                    return self._hand_on(values)
                try:
                    values[row, column] = one.measure(measure)
                except Exception as error:  # whatever it is, the training is worth more
                    self._failed(f"{name}, {measure}: {_first_line(error)}")
                self._budget.piece_ended((name, measure))
        return self._hand_on(values)

    def _present(self) -> tuple[dict[str, NDArray[np.float64]], str]:
        try:
            return self._read()
        except Exception as error:
            return {}, _first_line(error)

    def _hand_on(self, values: NDArray[np.float64]) -> None:
        numbers = {
            f"{name}/{measure}": float(value)
            for name, row in zip(self._names, values, strict=True)
            for measure, value in zip(self._measures, row, strict=True)
        }
        for sink in self._sinks:
            try:
                sink(self._step, dict(numbers))
            except Exception as error:
                self._failed(f"handing on: {_first_line(error)}")
        self._budget.piece_ended(_WRITE)

    def _failed(self, what: str, *, warn: bool = True) -> None:
        line = f"step {self._step}: {what}"
        self._failures.append(line)
        if warn and not self._warned:
            self._warned = True
            message = f"{line}; the training goes on, and further ones are only noted in record.failures"
            warnings.warn(message, RuntimeWarning, stacklevel=4)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no reason given'}".splitlines()[0]
