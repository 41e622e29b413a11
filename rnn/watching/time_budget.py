"""A budget of time: what is measured during a training may take a share of what the training takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

_REMEMBERED = 3  # runs of a piece, of which the longest predicts the next


class TimeBudget:
    """Time spent on training and on measuring, and whether the next piece of measuring fits into a share.

    A clock is read at the border between the two, so that every moment is counted as one or the other.

    Parameters
    ----------
    share : float
        Time for measuring per time for training.
    clock : callable
        Takes nothing, gives seconds that never fall.

    Attributes
    ----------
    trained, spent : float
        Seconds of training and of measuring so far.
    """

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        self.share, self.trained, self.spent = share, 0.0, 0.0
        self._clock = clock
        self._runs: dict[Hashable, deque[float]] = {}
        self._expected: dict[Hashable, float] = {}
        self._border = clock()

    def _elapsed(self) -> float:
        last, self._border = self._border, self._clock()
        return self._border - last

    def restart(self) -> None:
        """Leave out the time since the last border."""
        self._elapsed()

    def training_ended(self) -> None:
        """Count the time since the last border as training."""
        self.trained += self._elapsed()

    def piece_ended(self, piece: Hashable) -> None:
        """Count the time since the last border as measuring, and remember it for the next time.

        Parameters
        ----------
        piece : hashable
            What was done.
        """
        seconds = self._elapsed()
        self.spent += seconds
        self._runs.setdefault(piece, deque(maxlen=_REMEMBERED)).append(seconds)

    def expect(self, *pieces: Hashable, factor: float) -> None:
        """Predict for pieces that have not run yet the time since the last border, times a factor.

        Parameters
        ----------
        *pieces : hashable
            What will be done.
        factor : float
            How much longer each will take than what was just done; that time counts as nothing.
        """
        self._expected |= dict.fromkeys(pieces, factor * self._elapsed())

    def predicted(self, piece: Hashable) -> float:
        """Say how long a piece will take: the longest of its last runs, or what was expected before any.

        Parameters
        ----------
        piece : hashable
            What is to be done.

        Returns
        -------
        float
            Seconds; 0 where nothing is known.
        """
        runs = self._runs.get(piece)
        return max(runs) if runs else self._expected.get(piece, 0.0)

    def affords(self, *pieces: Hashable) -> bool:
        """Say whether pieces, if they take as long as predicted, keep measuring within its share.

        Parameters
        ----------
        *pieces : hashable
            What is to be done.

        Returns
        -------
        bool
            Whether they fit.
        """
        return self.spent + sum(map(self.predicted, pieces)) <= self.share * self.trained
