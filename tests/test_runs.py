import dataclasses
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pandas as pd
import pytest
from toy_trials import cheap, once_in_trouble, slow, warning, wrong

from rnn.study import runs
from rnn.study.configuration import study_from
from rnn.study.estimates import Pace
from rnn.study.runs import resume_study, run_study
from rnn.study.status import study_status
from rnn.study.store import opened_store
from rnn.study.tables import study_rows

CONTENT = {"name": "s", "description": "d", "grid": {"task": "digits", "cell": ["gru", "tanh"], "seeds": 3}}
STUDY = study_from(CONTENT)
BOOKKEEPING = ["seconds", "finished"]


class Backwards(Executor):
    """Ends what it is given in the opposite order."""

    def __init__(self):
        self.given = []

    def submit(self, function, *arguments):
        future = Future()
        self.given.append((future, function, arguments))
        if len(self.given) == len(STUDY.trials):
            threading.Thread(target=self.work).start()
        return future

    def work(self):
        for future, function, arguments in reversed(self.given):
            future.set_result(function(*arguments))


class Cancelling(Backwards):
    """Does one trial, and gives the others up."""

    def work(self):
        future, function, arguments = self.given[0]
        future.set_result(function(*arguments))
        for other, _, _ in self.given[1:]:
            other.cancel()
            other.set_running_or_notify_cancel()


class Broken(Backwards):
    """Breaks after one trial, as a pool does whose worker dies."""

    def work(self):
        future, function, arguments = self.given[0]
        future.set_result(function(*arguments))
        for other, _, _ in self.given[1:]:
            other.set_exception(BrokenProcessPool("a worker died"))


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_same_numbers_whatever_the_executor_the_order_and_the_number_of_workers(tmp_path, threads):
    places = [{"workers": 2}, {"executor": threads}, {"executor": Backwards()}]
    tables = []
    for number, place in enumerate(places):
        assert run_study(STUDY, tmp_path / str(number), function=cheap, **place).complete
        tables.append(study_rows(tmp_path / str(number)).drop(columns=BOOKKEEPING))
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_a_run_goes_on_where_the_last_one_ended(tmp_path, threads):
    ended, calls = [], []

    def progress(*what):
        calls.append(what)

    status = run_study(STUDY, tmp_path, function=cheap, executor=threads, limit=4, progress=progress)
    assert (status.done, status.pending, status.total, status.complete) == (4, 2, 6, False)
    assert status.name == "s"
    assert status.description == "d"
    assert [call[:2] for call in calls] == [(n, 6) for n in range(5)]
    assert str(calls[-1][2]).startswith("4 of 6 trials finished")
    first = study_rows(tmp_path)
    assert first["seed"].tolist() == [0, 0, 1, 1]  # seed after seed
    status = resume_study(tmp_path, function=cheap, executor=threads, progress=lambda n, *_: ended.append(n))
    assert status.complete
    assert ended == [4, 5, 6]
    pd.testing.assert_frame_equal(study_rows(tmp_path)[:4], first)
    assert run_study(STUDY, tmp_path, function=never, executor=threads).complete


def never(trial):
    raise AssertionError("nothing is left to be run")


def test_failed_trials_are_recorded_and_retried_on_request(tmp_path, threads, monkeypatch):
    mark = tmp_path / "mark"
    monkeypatch.setenv("TOY_MARK", str(mark))
    out, seen = tmp_path / "out", []
    status = run_study(
        STUDY, out, function=once_in_trouble, executor=threads, progress=lambda *a: seen.append(a[2])
    )
    assert (status.done, status.failed, status.pending) == (4, 2, 0)
    label = "digits gru h32 gaussian 1 none adamw lr 0.005 seed 1"
    assert status.failures[0] == (label, "RuntimeError: not yet")
    assert repr(status) == f"Study 's' in {out}: 4 of 6 trials finished, 2 failed"
    assert [one.error for one in seen if one.error] == ["RuntimeError: not yet"] * 2
    mark.touch()
    assert run_study(STUDY, out, function=once_in_trouble, executor=threads).failed == 2
    status = run_study(STUDY, out, function=once_in_trouble, executor=threads, retry_failed=True)
    assert status.complete
    assert status.failures == ()
    attempts = study_rows(out).set_index(["cell", "seed"])["attempts"]
    assert (attempts.xs(1, level="seed") == 2).all()
    assert (attempts.drop(1, level="seed") == 1).all()


def test_what_cannot_be_kept_is_a_failure_of_its_trial(tmp_path, threads):
    study = study_from({"name": "w", "grid": {"task": "digits", "cell": "gru", "seeds": 5}})
    status = run_study(study, tmp_path, function=wrong, executor=threads)
    words = ["NaN", "is a list", "holds objects", "expected a TrialOutcome", "RuntimeError: no array"]
    assert status.failed == 5
    for (_, error), word in zip(status.failures, words, strict=True):
        assert word in error


def test_warnings_of_trials_are_kept(tmp_path):
    status = run_study(STUDY, tmp_path, function=warning, workers=1)
    assert status.warned == 2
    assert repr(status).endswith("6 of 6 trials finished, 2 with warnings")
    words = study_rows(tmp_path).set_index("seed")["warnings"]
    assert words[1].tolist() == ['["UserWarning: rather weak"]'] * 2
    assert (words.drop(1) == "[]").all()


def test_trials_of_a_former_configuration_are_kept_and_not_counted(tmp_path, threads):
    run_study(STUDY, tmp_path, function=cheap, executor=threads)
    changed = study_from(CONTENT | {"grid": {"task": "digits", "cell": ["gru", "lstm"], "seeds": 2}})
    status = run_study(changed, tmp_path, function=cheap, executor=threads, limit=1)
    assert (status.total, status.done, status.other) == (4, 3, 4)
    assert "4 of other configurations" in repr(status)
    assert set(study_rows(tmp_path)["cell"]) == {"gru", "lstm"}
    every = study_rows(tmp_path, every=True)
    assert every["part"].tolist() == [True] * 3 + [False] * 4
    back = run_study(STUDY, tmp_path, function=never, executor=threads)
    assert back.complete
    assert back.other == 1


def test_another_terminal_sees_the_run(tmp_path):
    seen = []

    def look(*_):
        seen.append(study_status(tmp_path))

    status = run_study(STUDY, tmp_path, function=slow, workers=2, progress=look)
    assert [one.done for one in seen] == list(range(7))
    assert all(one.live for one in seen)
    assert not status.live
    assert max(one.running for one in seen) in {1, 2}
    assert all(one.done + one.running + one.pending == 6 for one in seen)
    assert seen[0].seconds_left is None
    assert 0.05 < seen[1].seconds_left < 60
    assert status.seconds_left == 0
    assert "with 2 workers, since" in seen[0].run
    assert status.run.endswith(": ended")
    assert status.blocks == (("digits", "gru", 3, 0, 3), ("digits", "tanh", 3, 0, 3))


def test_tasks_without_data_are_listed_and_the_others_run(tmp_path, threads, monkeypatch):
    monkeypatch.delenv("SPECTRA_DATA", raising=False)
    monkeypatch.setattr(runs, "run_trial", cheap)
    study = study_from({"name": "m", "grid": {"task": ["digits", "ecg5000"], "cell": "gru", "seeds": 2}})
    status = run_study(study, tmp_path, executor=threads)
    assert (status.done, status.pending, status.absent, status.complete) == (2, 2, 2, False)
    ((task, reason),) = status.missing
    assert task == "ecg5000"
    assert "get it from" in reason
    assert "2 without data" in repr(status)
    assert status.seconds_left == 0
    empty = run_study(study, tmp_path, executor=threads, data_root=tmp_path)
    assert str(tmp_path) in empty.missing[0][1]


def test_options_that_a_task_does_not_have_are_no_missing_data(tmp_path, threads):
    study = study_from(CONTENT | {"tasks": {"digits": {"stepps": 3}}})
    with pytest.raises(ValueError, match=r"the task 'digits' cannot be loaded with its options .*stepps"):
        run_study(study, tmp_path, executor=threads)


def test_whatever_a_loader_of_ones_own_raises_is_told_as_missing_data(tmp_path, threads, monkeypatch):
    monkeypatch.setattr("rnn.tasks._registered", {"no-files": lambda *_: (tmp_path / "no.csv").read_text()})
    study = study_from({"name": "u", "grid": {"task": "no-files", "cell": "gru"}})
    status = run_study(study, tmp_path / "out", executor=threads)
    assert status.missing[0][1].startswith("FileNotFoundError: ")
    assert (status.absent, status.failed) == (1, 0)


def test_modules_are_imported_where_trials_run(tmp_path, monkeypatch):
    module = tmp_path / "module_of_a_user.py"
    module.write_text("from rnn.tasks import register_task\nregister_task('of-a-user', print)\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = {"name": "u", "modules": ["module_of_a_user"], "grid": {"task": "of-a-user", "cell": "gru"}}
    assert run_study(study_from(content), tmp_path / "out", function=knows_the_task, workers=1).complete


def knows_the_task(trial):
    from rnn.tasks import task_names

    assert trial.task in task_names()
    return cheap(trial)


@pytest.mark.parametrize("kind", [Cancelling, Broken])
def test_an_executor_that_gives_up_stops_the_run_and_nothing_is_lost(tmp_path, threads, kind):
    with pytest.raises(RuntimeError, match="gave trials up"):
        run_study(STUDY, tmp_path, function=cheap, executor=kind())
    status = study_status(tmp_path)
    assert (status.done, status.failed, status.live) == (1, 0, False)
    assert "stopped: RuntimeError: the executor gave trials up" in status.run
    assert run_study(STUDY, tmp_path, function=cheap, executor=threads).complete


def test_refusals(tmp_path, threads):
    with pytest.raises(ValueError, match="workers and executor are both given"):
        run_study(STUDY, tmp_path / "a", function=cheap, executor=threads, workers=2)
    with pytest.raises(TypeError, match="executor is a str; expected a concurrent"):
        run_study(STUDY, tmp_path / "a", function=cheap, executor="tcp://here")
    with pytest.raises(ValueError, match="limit is 0"):
        run_study(STUDY, tmp_path / "a", function=cheap, limit=0)
    with pytest.raises(TypeError, match="function is a int; expected a function of a module"):
        run_study(STUDY, tmp_path / "a", function=3)
    with pytest.raises(TypeError, match="progress"):
        run_study(STUDY, tmp_path / "a", function=cheap, progress=3)
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="out is empty; name a folder"):
        run_study(STUDY, "", function=cheap)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="which is no folder"):
        run_study(STUDY, tmp_path / "file", function=cheap)
    with pytest.raises(ValueError, match="there is no study"):
        resume_study(tmp_path)
    with opened_store(tmp_path), pytest.raises(ValueError, match="holds no study yet; run one"):
        resume_study(tmp_path)


def test_times_left_come_from_trials_of_the_same_kind():
    pace = Pace()
    assert pace.seconds_left({("a", "x"): 1}, 1) is None
    for seconds in (1.0, 3.0, 100.0):
        pace.add(("a", "x"), seconds)
    for seconds in (10.0, 20.0):
        pace.add(("b", "x"), seconds)
    assert pace.seconds_left({("a", "x"): 2}, 1) == 6
    assert pace.seconds_left({("b", "x"): 4}, 2) == 30
    assert pace.seconds_left({("a", "y"): 1}, 1) == 3  # by its task
    assert pace.seconds_left({("c", "x"): 1}, 1) == 10  # by all
    assert pace.seconds_left({("c", "x"): 0}, 1) == 0
    assert pace.seconds_left({("c", "x"): 1}, 0) is None


def test_a_study_keeps_its_trials_whatever_the_status(tmp_path, threads):
    run_study(STUDY, tmp_path, function=cheap, executor=threads)
    renamed = dataclasses.replace(STUDY, description="other words")
    assert run_study(renamed, tmp_path, function=never, executor=threads).description == "other words"
