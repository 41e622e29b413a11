import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from rnn.study.engine import run_trials
from rnn.study.workers import one_line

ROOT = Path(__file__).resolve().parents[1]


def numbers(seed):
    import torch

    rng = np.random.default_rng(seed)
    A = rng.standard_normal((150, 150))
    weight = torch.tensor(A, dtype=torch.float32)
    return float(np.linalg.eigvals(A).real.max()), float((weight @ weight).sum())


def threads(_):
    import torch

    return torch.get_num_threads(), max([pool["num_threads"] for pool in threadpool_info()], default=1)


def troubled(kind):
    if kind == "raise":
        raise ValueError("this one\nis wrong")
    if kind == "exit":
        sys.exit(3)
    if kind == "wordless":
        raise WordlessError
    if kind == "surrogate":
        raise ValueError("\ud800\0" + 5000 * "x")
    if kind == "unpicklable":
        return lambda: None
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return kind


class WordlessError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Unpicklable:
    def __reduce__(self):
        raise TypeError("not to be sent")


def test_results_come_in_order_and_do_not_depend_on_the_number_of_workers():
    seeds = list(range(7))
    seen = []
    one = run_trials(numbers, seeds, workers=1)
    two = run_trials(numbers, seeds, workers=3, progress=lambda done, total, _: seen.append((done, total)))
    assert [result.value for result in one] == [result.value for result in two]
    assert [result.config for result in two] == seeds
    assert [result.index for result in two] == seeds
    assert seen == [(done, 7) for done in range(1, 8)]
    assert all(result.seconds > 0 and not result.error for result in two)
    assert repr(two[0]).startswith("TrialResult 0: done after")


def test_a_worker_has_one_thread():
    assert run_trials(threads, [0])[0].value == (1, 1)


def test_an_executor_of_the_caller_gives_the_same_and_stays_open():
    seeds = list(range(4))
    seen = []
    own = run_trials(numbers, seeds, workers=1)
    with ThreadPoolExecutor(3) as pool:
        theirs = run_trials(numbers, seeds, executor=pool, progress=lambda *what: seen.append(what[:2]))
        assert pool.submit(abs, -1).result() == 1
    assert [result.value for result in theirs] == [result.value for result in own]
    assert [result.index for result in theirs] == seeds
    assert seen == [(done, 4) for done in range(1, 5)]


def alone(seconds):
    with COUNT_LOCK:
        COUNTS.append(COUNTS[-1] + 1)
    time.sleep(seconds)
    with COUNT_LOCK:
        COUNTS.append(COUNTS[-1] - 1)
    return threads(seconds)


COUNT_LOCK, COUNTS = threading.Lock(), [0]


def test_trials_in_one_process_run_one_at_a_time_on_one_thread(monkeypatch):
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with ThreadPoolExecutor(3) as pool:
        results = run_trials(alone, [0.02] * 6, executor=pool)
    assert [result.value for result in results] == [(1, 1)] * 6
    assert max(COUNTS) == 1
    assert torch.get_num_threads() == before
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


def test_failures_in_an_executor_are_recorded_and_what_has_not_begun_is_taken_back():
    def stop(*_):
        raise RuntimeError("enough")

    with ThreadPoolExecutor(1) as pool:
        results = run_trials(troubled, ["a", "raise", "exit"], executor=pool)
        assert [result.error for result in results] == ["", "ValueError: this one is wrong", "SystemExit: 3"]
        start = time.perf_counter()
        with pytest.raises(RuntimeError, match="enough"):
            run_trials(time.sleep, [0.01, 0.3, 60, 60], executor=pool, progress=stop)
    assert time.perf_counter() - start < 20


def test_nothing_to_do():
    assert run_trials(numbers, []) == []


def test_failed_trials_are_recorded_and_the_rest_go_on():
    kinds = ["a", "raise", "b", "exit", "unpicklable", "c", Unpicklable()]
    results = run_trials(troubled, kinds, workers=2)
    assert [result.value for result in results] == ["a", None, "b", None, None, "c", None]
    assert results[1].error == "ValueError: this one is wrong"
    assert "in troubled" in results[1].details
    assert results[3].error == "SystemExit: 3"
    assert re.search("ickl|local object", results[4].error)  # the words differ between versions of Python
    assert "not to be sent" in results[6].error


def test_errors_can_be_written_whatever_they_say():
    with ThreadPoolExecutor(1) as pool:
        wordless, surrogate, left = run_trials(troubled, ["wordless", "surrogate", "exit"], executor=pool)
    assert wordless.error == "WordlessError: (no message: its __str__ raised RuntimeError)"
    assert surrogate.error.startswith(r"ValueError: \ud800\0xxx")
    assert len(surrogate.error) < 2100
    assert one_line(UserWarning("\udc80")) == r"UserWarning: \udc80"
    surrogate.details.encode()
    assert (left.error, "in troubled" in left.details) == ("SystemExit: 3", True)


def test_a_dead_worker_costs_only_the_trial_that_killed_it():
    done = []
    kinds = ["a", "die", "b", "c", "d"]
    results = run_trials(
        troubled, kinds, workers=2, progress=lambda n, _total, result: done.append(result.index)
    )
    assert [result.value for result in results] == ["a", None, "b", "c", "d"]
    assert "worker process died" in results[1].error
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_an_exception_from_progress_stops_everything():
    def stop(*_):
        raise RuntimeError("enough")

    start = time.perf_counter()
    with pytest.raises(RuntimeError, match="enough"):
        run_trials(time.sleep, [0.01, 60, 60], workers=2, progress=stop)
    assert time.perf_counter() - start < 20


def test_refusals():
    with pytest.raises(TypeError, match="does not pickle"):
        run_trials(lambda config: config, [1])
    with pytest.raises(TypeError, match="function is a int; expected a function of a module"):
        run_trials(3, [1])
    with pytest.raises(ValueError, match="workers"):
        run_trials(numbers, [1], workers=0)
    with pytest.raises(TypeError, match="workers"):
        run_trials(numbers, [1], workers="two")
    with pytest.raises(TypeError, match=r"executor is a str; expected .*client.get_executor"):
        run_trials(numbers, [1], executor="tcp://here")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="both given"):
        run_trials(numbers, [1], executor=pool, workers=1)


def script(tmp_path, body):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(body))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # a group of its own: a signal to it is like Ctrl-C in a terminal
    )


SLEEPERS = """
    import os, time
    from rnn.study.engine import run_trials

    def trial(name):
        print(os.getpid(), flush=True)
        time.sleep(100)

    if __name__ == "__main__":
        run_trials(trial, [1, 2, 3, 4], workers=2)
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(os.name == "nt", reason="signals to process groups are POSIX")
def test_an_interrupt_stops_within_a_second_and_leaves_no_worker(tmp_path):
    with script(tmp_path, SLEEPERS) as process:
        workers = [int(process.stdout.readline()) for _ in range(2)]
        start = time.perf_counter()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        seconds = time.perf_counter() - start
    assert seconds < 1
    assert not any(map(alive, workers))
    assert errors.count("Traceback") == 1  # the parent's own; none from the workers
    assert errors.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    with script(tmp_path, SLEEPERS) as process:
        workers = [int(process.stdout.readline()) for _ in range(2)]
        process.kill()
        process.wait()
        deadline = time.perf_counter() + 10
        while any(map(alive, workers)) and time.perf_counter() < deadline:
            time.sleep(0.05)
        assert not any(map(alive, workers))
        process.stdout.close()
        process.stderr.close()


def test_a_script_without_guard_is_told_what_to_do(tmp_path):
    body = """
        from rnn.study.engine import run_trials
        run_trials(abs, [1, 2, 3], workers=2)
    """
    with script(tmp_path, body) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "if __name__ == '__main__':" in errors.splitlines()[-1]
