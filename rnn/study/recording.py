"""What a run writes down: every trial as it ends, the backup from time to time, and how far it is."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence

from rnn.study.backups import Backups
from rnn.study.estimates import Block, Pace
from rnn.study.status import duration
from rnn.study.store import Store
from rnn.study.trial_files import finished_trial
from rnn.study.trials import Trial
from rnn.study.workers import TrialResult, one_line


@dataclasses.dataclass(frozen=True, slots=True)
class StudyProgress:
    """How far a study is, after a trial.

    Attributes
    ----------
    label : str
        The trial that has just ended; empty at the beginning.
    error : str
        Its error; empty if it finished.
    done, failed, total : int
        Trials of the study, those of earlier runs included.
    seconds_left : float or None
        Estimate for this run; None where nothing is known.
    """

    label: str
    error: str
    done: int
    failed: int
    total: int
    seconds_left: float | None

    def __str__(self) -> str:
        """One line."""
        failed = f", {self.failed} failed" if self.failed else ""
        left = f", about {duration(self.seconds_left)} left" if self.seconds_left else ""
        return f"{self.done} of {self.total} trials finished{failed}{left}"


Progress = Callable[[int, int, StudyProgress], None]


class Recorder:
    """Writes down what the trials of one run give.

    Parameters
    ----------
    store : Store
        Where to.
    trials : sequence of Trial
        Those of this run.
    progress : callable or None
        Called as ``progress(ended, total, StudyProgress)``.
    workers : int or None
        How many run at a time; None where only the executor knows.
    """

    def __init__(
        self, store: Store, trials: Sequence[Trial], *, progress: Progress | None, workers: int | None
    ) -> None:
        self.store = store
        self._trials, self._progress, self._workers = trials, progress, workers
        self._backups = Backups(store)
        self._begun, self._spent = time.monotonic(), 0.0
        self._pace = Pace()
        self._waiting: Counter[Block] = Counter(trial.block for trial in trials)
        own = {trial.key for trial in trials}
        self._total, self._done, self._failed = 0, 0, 0
        for key, block, status, seconds in store.known():
            self._total += 1
            if status == "done":
                self._done += 1
                self._pace.add(tuple(json.loads(block)), seconds)
            elif status == "failed" and key not in own:
                self._failed += 1

    def started(self, index: int) -> None:
        """Note that a worker has begun a trial."""
        self.store.begin(self._trials[index].key)

    def record(self, result: TrialResult) -> None:
        """Keep what a trial gave: files and row, or its error.

        Parameters
        ----------
        result : TrialResult
            From the engine.
        """
        trial, error = self._trials[result.index], result.error
        if not error:
            try:
                finished = finished_trial(
                    trial, result.value, seconds=result.seconds, warnings=result.warnings
                )
            except Exception as failure:  # what a trial gave may be anything
                error = one_line(failure)
        if error:
            self.store.fail(trial.key, error=error, details=result.details, seconds=result.seconds)
            self._failed += 1
        else:
            self.store.finish(finished)
            self._pace.add(trial.block, result.seconds)
            self._done += 1
        self._waiting[trial.block] -= 1
        self._spent += result.seconds
        self._backups.write_when_due()
        self.show(trial.label, error)

    def show(self, label: str = "", error: str = "") -> None:
        """Tell how far the study is.

        Parameters
        ----------
        label : str
            The trial that has just ended.
        error : str
            Its error.
        """
        if self._progress is not None:
            busy = self._workers or self._spent / max(time.monotonic() - self._begun, 1e-9)
            left = self._pace.seconds_left(self._waiting, busy)
            now = StudyProgress(label, error, self._done, self._failed, self._total, left)
            self._progress(self._done + self._failed, self._total, now)
