"""The callback of measures during training, for Lightning's Trainer."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterable
from typing import Any

from rnn.measuring.measured_matrix import checked_measures
from rnn.measuring.measures import EPSILON
from rnn.watching.callbacks import DEFAULT_MEASURES, SpectralCallback
from rnn.watching.sinks import Sink, sinks
from spectra.checks import one_of, positive, whole_number
from spectra.stability import DYNAMICS

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def lightning_callback(
    *,
    every: int = 100,
    share: float = 0.05,
    measures: Iterable[str] = DEFAULT_MEASURES,
    to: Any = None,
    matrices: Iterable[str] | None = None,
    epsilon: float = EPSILON,
    dynamics: str = "discrete",
    at_start: bool = False,
) -> Any:
    """Make a callback for Lightning's Trainer that measures the matrices that carry the state.

    Parameters
    ----------
    every, share, measures, to, matrices, epsilon, dynamics, at_start
        As for `SpectralCallback`; steps are the Trainer's ``global_step``. The names of matrices begin with
        the attribute of the LightningModule that holds the network.

    Returns
    -------
    Callback
        A ``Callback`` of ``lightning.pytorch``, or of ``pytorch_lightning`` where only that is imported or
        installed. Its `measurements` is the `SpectralCallback` of the last fit, None before.

    Raises
    ------
    ModuleNotFoundError
        If neither is installed.
    TypeError, ValueError
        If an option is out of range; names of matrices are looked at when training starts.

    Notes
    -----
    Each fit has a record and a budget of its own. Finite numbers also go to the loggers of the Trainer, under
    "spectra/matrix/measure", at the step they belong to, whatever ``log_every_n_steps``. In distributed
    training the first process measures alone.

    Examples
    --------
    >>> callback = lightning_callback(every=50, share=0.02)
    >>> callback.measurements is None
    True
    """
    options = {
        "every": whole_number(every, "every"),
        "share": positive(share, "share"),
        "measures": checked_measures(measures),
        "matrices": matrices,
        "epsilon": positive(epsilon, "epsilon"),
        "dynamics": one_of(dynamics, "dynamics", DYNAMICS),
        "at_start": at_start,
    }
    return _made(_base(), options, sinks(to))


def _base() -> type[Any]:
    """Give the class Callback of the package in use, or else of the first that is installed."""
    in_use = [name for name in _PACKAGES if name in sys.modules]
    for name in [*in_use, *_PACKAGES]:
        try:
            return importlib.import_module(name).Callback
        except ModuleNotFoundError as error:
            if error.name not in {name, name.partition(".")[0]}:
                raise
    raise ModuleNotFoundError(
        "lightning_callback needs lightning, not installed here: pip install lightning", name="lightning"
    )


def _made(base: type[Any], options: dict[str, Any], to: list[Sink]) -> Any:
    class LightningSpectralCallback(base):
        """Measures the matrices of the module in training after each optimiser step."""

        def __init__(self) -> None:
            super().__init__()
            self.measurements: SpectralCallback | None = None
            self._step = 0

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.is_global_zero:
                return
            loggers = [_to_logger(logger) for logger in trainer.loggers]
            self._step = trainer.global_step
            self.measurements = SpectralCallback(
                pl_module, to=[*to, *loggers], first_step=self._step, **options
            )

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if self.measurements is None:
                return
            for _step in range(self._step, trainer.global_step):  # none while gradients are accumulated
                self.measurements()
            self._step = trainer.global_step

    return LightningSpectralCallback()


def _to_logger(logger: Any) -> Any:
    def write(step: int, numbers: dict[str, float]) -> None:
        finite = {f"spectra/{name}": value for name, value in numbers.items() if math.isfinite(value)}
        logger.log_metrics(finite, step=step)

    return write
