"""What can go wrong, by name: failed computation, missing certificate, model that is not understood."""

from __future__ import annotations

import numpy as np


class ConvergenceError(np.linalg.LinAlgError):
    """A computation stopped before it reached its tolerance.

    Parameters
    ----------
    message : str
        What failed and what to try next.
    best : object, optional
        The best result so far (for an extremum, an ``Extremum`` with its interval).
    """

    def __init__(self, message: str, best: object = None) -> None:
        super().__init__(message)
        self.best = best


class AccuracyWarning(UserWarning):
    """A result is delivered, but its certificate is weaker than what was asked for."""


class UnsupportedModelError(TypeError):
    """A model, layer or checkpoint is of a kind that this package does not understand."""
