"""What does the engine of a study cost beside its trials, and how long does it take to open 10,000 of them?

A trial burns one second of processor time, gives a row of 80 numbers and writes 100 kB of weights. "overhead"
is the time that workers did not spend in trials, from the beginning of the first one to the end of the run,
as a share of the time in trials; "start" is what comes before, the start of the workers included. "parent" is
the processor time of the process that hands out and records. The table of a finished study is read and
checked in a new process: status, table (pandas included), one filter and one grouped mean of it; "processor"
is the processor time of all that.
"""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from rnn.study.trials import TrialOutcome

COLUMNS = 80
WORKERS = 2

OPEN = """
import sys, time; start = time.perf_counter()
from rnn.study.status import study_status
from rnn.study.tables import study_rows
begun = time.perf_counter()
status = study_status(sys.argv[1]); counted = time.perf_counter()
frame = study_rows(sys.argv[1]); read = time.perf_counter()
few = frame[(frame["cell"] == "gru") & (frame["gain"] > 2)].groupby(["task", "cell"])["column_3"].mean()
assert status.done == len(frame) == int(sys.argv[2]) and len(few)
print(begun - start, counted - begun, read - counted, time.perf_counter() - read, time.process_time())
"""


def burn(trial):
    end = time.thread_time() + trial.kick
    rng = np.random.default_rng(trial.seed)
    A = rng.standard_normal((100, 100))
    while time.thread_time() < end:
        A = A @ A / np.linalg.norm(A)
    row = {f"column_{i}": float(value) for i, value in enumerate(rng.random(COLUMNS))}
    return TrialOutcome(row, {"curve": rng.random(300)}, rng.bytes(100_000))


@pytest.mark.parametrize("trials", [60])
def test_overhead(benchmark, row, tmp_path, trials):
    from rnn.study.configuration import study_from
    from rnn.study.runs import run_study
    from rnn.study.tables import study_rows

    grid = {"task": "digits", "cell": "gru", "seeds": trials}
    study = study_from({"name": "burn", "grid": grid, "measures": {"kick": 1.0}})
    moments = []

    def run():
        moments.append((time.perf_counter(), time.process_time()))
        run_study(study, tmp_path, function=burn, workers=WORKERS, progress=record)
        moments.append((time.perf_counter(), time.process_time()))

    first = []

    def record(ended, *_):
        if ended == 1:
            first.append(time.perf_counter())

    benchmark.pedantic(run, rounds=1)
    seconds = study_rows(tmp_path)["seconds"]
    begun = first[0] - seconds.iloc[0]  # of the first trial, to a few milliseconds
    spent = WORKERS * (moments[1][0] - begun) - (seconds.sum())
    row(
        {
            "trials": trials,
            "seconds in trials": seconds.sum(),
            "start (s)": begun - moments[0][0],
            "overhead": f"{spent / seconds.sum():.2%}",
            "overhead a trial (ms)": 1000 * spent / trials,
            "parent a trial (ms)": 1000 * (moments[1][1] - moments[0][1]) / trials,
        }
    )


@pytest.mark.parametrize("trials", [10_000])
def test_opening(benchmark, row, tmp_path, trials):
    from rnn.study.configuration import study_from
    from rnn.study.database import digest_of
    from rnn.study.store import opened_store

    grid = {"task": ["digits", "copy"], "cell": ["gru", "tanh"], "gain": [0.5, 1.0, 2.0, 4.0, 8.0]}
    study = study_from({"name": "big", "grid": grid | {"seeds": trials // 20}})
    rng = np.random.default_rng(0)
    with opened_store(tmp_path) as store:
        store.enter(study)
        with store.transaction() as connection:
            for trial in study.trials:
                values = json.dumps({f"column_{i}": float(v) for i, v in enumerate(rng.random(COLUMNS))})
                connection.execute(
                    "UPDATE trials SET status = 'done', row = ?, digest = ?, seconds = 1, warnings = '[]',"
                    " finished = '2026-01-01T00:00:00Z' WHERE key = ?",
                    (values, digest_of(trial.key, values), trial.key),
                )
    found = []

    def opened():
        done = subprocess.run(
            [sys.executable, "-c", OPEN, str(tmp_path), str(trials)],
            capture_output=True,
            text=True,
            check=True,
        )
        found.append([float(number) for number in done.stdout.split()])

    benchmark.pedantic(opened, rounds=3)
    imports, status, table, filtering, processor = np.median(found, axis=0)
    size = (tmp_path / "study.sqlite").stat().st_size / 1e6
    row(
        {
            "trials": trials,
            "MB": size,
            "import": imports,
            "status": status,
            "table": table,
            "filter": filtering,
            "in all": imports + status + table + filtering,
            "processor": processor,
        }
    )
