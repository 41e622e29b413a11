"""How long a study still takes, from how long its finished trials took."""

from __future__ import annotations

import bisect
from collections.abc import Mapping

Block = tuple[object, ...]


class Pace:
    """How long trials take: medians by block, and by parts of it where a block is not known yet."""

    def __init__(self) -> None:
        self._seconds: dict[Block, list[float]] = {}

    def add(self, block: Block, seconds: float) -> None:
        """Take note of a finished trial.

        Parameters
        ----------
        block : tuple
            From `Trial.block`.
        seconds : float
            How long it took.
        """
        for length in range(len(block) + 1):
            bisect.insort(self._seconds.setdefault(block[:length], []), seconds)

    def seconds_left(self, waiting: Mapping[Block, int], workers: float) -> float | None:
        """Estimate how long trials take together.

        Parameters
        ----------
        waiting : mapping of block to int
            How many trials there still are.
        workers : float
            How many run at a time.

        Returns
        -------
        float or None
            None where no trial has finished yet, or none runs.

        Examples
        --------
        >>> pace = Pace()
        >>> pace.add(("digits", "gru"), 10.0)
        >>> pace.add(("digits", "tanh"), 4.0)
        >>> pace.seconds_left({("digits", "gru"): 2, ("digits", "lstm"): 1}, workers=2)
        13.5
        """
        if not any(waiting.values()):
            return 0.0
        if not self._seconds or workers <= 0:
            return None
        return sum(count * self._median(block) for block, count in waiting.items()) / workers

    def _median(self, block: Block) -> float:
        while block not in self._seconds:
            block = block[:-1]
        found = self._seconds[block]
        return (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2
