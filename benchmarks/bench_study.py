"""What does the engine of a study cost beside its trials, and how long does a look at 10,000 of them take?

A trial burns one second of processor time, gives a row of 80 numbers and writes 100 kB of weights. "overhead"
is the time that workers did not spend in trials, from the beginning of the first one to the end of the run,
as a share of the time in trials; "start" is what comes before, the start of the workers included. "parent" is
the processor time of the process that hands out and records. A finished study is read and checked in a new
process: status, table (pandas included), those of one cell, and the summary of them with the verdicts;
"command" is the whole of `spectra study report DIR --only cell=gru`, from the start of Python to its end.
The statistics of the page take longer: they are measured apart.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from rnn.study.trials import TrialOutcome

COLUMNS = 80
WORKERS = 2
JUDGED = ("clean_accuracy", "fooling_reference", "lyapunov_exponent", "kick_end_worst")
NON_NORMALITY = ("henrici_departure_relative", "eigenvector_condition_number", "kreiss_constant_scaled")
NAMES = ("spectral_radius", *JUDGED)
NAMES += tuple(f"{when}{name}" for when in ("", "initial_") for name in NON_NORMALITY)
NAMES += tuple(f"column_{i}" for i in range(COLUMNS - len(NAMES)))

OPEN = """
import sys, time; start = time.perf_counter()
from rnn.study.selection import chosen
from rnn.study.status import study_status
from rnn.study.summary import group_table, verdicts
from rnn.study.tables import study_rows
begun = time.perf_counter()
status = study_status(sys.argv[1]); counted = time.perf_counter()
frame = study_rows(sys.argv[1]); read = time.perf_counter()
few = chosen(frame, {"cell": "gru"}); filtered = time.perf_counter()
table, (claims, note) = group_table(few), verdicts(few)
assert status.done == len(frame) == int(sys.argv[2]) and len(claims) == 3
print(begun - start, counted - begun, read - counted, filtered - read, time.perf_counter() - filtered)
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

    grid = {
        "task": ["digits", "mnist"],
        "cell": ["gru", "tanh"],
        "normalisation": ["none", "radius", "norm", "radius-during", "norm-during"],
        "gain": [0.5, 1.0, 2.0, 4.0],
    }
    study = study_from({"name": "big", "grid": grid | {"seeds": trials // 80}})
    rng = np.random.default_rng(0)
    with opened_store(tmp_path) as store:
        store.enter(study)
        with store.transaction() as connection:
            for trial in study.trials:
                values = json.dumps(dict(zip(NAMES, rng.random(len(NAMES)).tolist(), strict=True)))
                connection.execute(
                    "UPDATE trials SET status = 'done', row = ?, digest = ?, seconds = 1, warnings = '[]',"
                    " finished = '2026-01-01T00:00:00Z' WHERE key = ?",
                    (values, digest_of(trial.key, values), trial.key),
                )
    found = []

    def opened():
        begun = time.perf_counter()
        command = ["-m", "rnn.cli", "study", "report", str(tmp_path), "--only", "cell=gru"]
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        whole = time.perf_counter() - begun
        script = [sys.executable, "-c", OPEN, str(tmp_path), str(trials)]
        done = subprocess.run(script, capture_output=True, text=True, check=True)
        found.append([whole, *map(float, done.stdout.split())])

    benchmark.pedantic(opened, rounds=3)
    command, imports, status, table, filtering, summary = np.median(found, axis=0)
    row(
        {
            "trials": trials,
            "MB": (tmp_path / "study.sqlite").stat().st_size / 1e6,
            "command": command,
            "import": imports,
            "status": status,
            "table": table,
            "filter": filtering,
            "summary": summary,
        }
    )


@pytest.mark.parametrize("trials", [450, 10_080])
def test_statistics(benchmark, row, trials):
    """All of `study_statistics`: 9 blocks, configurations of 5 seeds, 38 measures with 3 outcomes."""
    import pandas as pd

    from rnn.study.evidence import study_statistics

    if trials > 450 and not os.environ.get("SPECTRA_LARGE"):
        pytest.skip("takes a minute; SPECTRA_LARGE=1 runs it")
    rng = np.random.default_rng(0)
    places = np.unravel_index(np.arange(trials), (3, 3, trials // 45, 5))
    frame = pd.DataFrame(dict(zip(("task", "cell", "kind", "seed"), places, strict=True)))
    common = rng.standard_normal(trials)
    measures, outcomes = [f"measure_{i}" for i in range(38)], ["first", "second", "third"]
    for name in [*measures, *outcomes, "clean_accuracy"]:
        frame[name] = rng.standard_normal(trials) + 0.5 * common
    given = {"cluster": "kind", "replicate": "seed", "axes": ["kind"], "baselines": measures[:2]}
    begun, spent = time.perf_counter(), time.process_time()
    found = benchmark.pedantic(
        lambda: study_statistics(frame, measures=measures, outcomes=outcomes, **given), rounds=1
    )
    assert (found.models, found.blocks) == (trials, 9)
    row({"trials": trials, "wall": time.perf_counter() - begun, "processor": time.process_time() - spent})
