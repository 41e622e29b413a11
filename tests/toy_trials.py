"""Cheap trials for tests of the engine: importable by worker processes, quick to import."""

import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np

from rnn.study.trials import TrialOutcome


def cheap(trial):
    """Numbers that depend on the trial alone."""
    rng = np.random.default_rng([trial.seed, int(1000 * trial.gain), len(trial.cell), len(trial.task)])
    A = trial.gain * rng.standard_normal((60, 60))
    row = {
        "norm": np.linalg.norm(A, 2),
        "radius": float(np.abs(np.linalg.eigvals(A)).max()),
        "count": np.int64(3),
        "growth": np.inf if trial.seed == 1 else 0.5,
        "word": trial.cell.upper(),
        "absent": None,
    }
    row |= {"only_gru": 1.0} if trial.cell == "gru" else {}
    return TrialOutcome(row, {"values": A[0], "names": np.array(["a", "b"])}, A.tobytes()[:64])


def warning(trial):
    """Warns twice of the same with the seed 1, each time that it runs."""
    if trial.seed == 1:
        for _ in range(2):
            warnings.warn("rather\nweak", UserWarning, stacklevel=1)
    return cheap(trial)


def slow(trial):
    """Like `cheap`, after a while."""
    time.sleep(0.1)
    return cheap(trial)


def a_second(trial):
    """Like `cheap`, after a second."""
    time.sleep(1.0)
    return cheap(trial)


def once_in_trouble(trial):
    """Fails with the seed 1 until there is the file that TOY_MARK names."""
    if trial.seed == 1 and not Path(os.environ["TOY_MARK"]).exists():
        raise RuntimeError("not\nyet")
    return cheap(trial)


def killed_once(trial):
    """Kills its worker the first time that the seed is 1; says so by the file that TOY_MARK names."""
    mark = Path(os.environ["TOY_MARK"])
    if trial.seed == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return slow(trial)


class Unruly:
    """Raises when it is looked at."""

    def __array__(self, *_, **__):
        raise RuntimeError("no array")


def wrong(trial):
    """Gives what cannot be kept, in five ways."""
    ways = [
        TrialOutcome({"x": float("nan")}),
        TrialOutcome({"x": [1.0]}),
        TrialOutcome({"x": 1.0}, {"a": np.array([None])}),
        {"x": 1.0},
        TrialOutcome({"x": 1.0}, {"a": Unruly()}),
    ]
    return ways[trial.seed]
