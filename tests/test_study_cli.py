"""The commands `spectra study` and `spectra correlate`: what they print, write, refuse, and how they end."""

import json
import os
import re
import shlex
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import Here, finished, interrupted, start
from toy_trials import cheap, once_in_trouble, warning

from rnn.models import ModelConfig, build_model
from rnn.study import checkpoint_trials, runs
from rnn.study.checkpoint_folder import correlate_checkpoints
from rnn.study.executors import in_executor
from rnn.study.experiment import run_trial
from rnn.study.locks import folder_lock
from rnn.study.network_rows import AttackPlan
from rnn.study.status import study_status
from rnn.study.tables import study_rows
from rnn.tasks import load_task
from rnn.training import TrainingConfig, save_checkpoint, train
from rnn.verbs import study as verb
from rnn.verbs.interrupts import told_when_interrupted

TINY = """
name = "tiny"
description = "A tiny study."
[[grid]]
task = {tasks}
cell = ["tanh", "gru"]
hidden = 6
seeds = {seeds}
[training]
epochs = 2
[measures]
trajectories = 3
[attacks]
methods = ["fgsm"]
budgets = {{ linf = [0.1] }}
minimal = []
examples = 20
"""
PLAN = AttackPlan(methods=("fgsm",), budgets=(("linf", (0.1,)),), minimal=())
OPTIONS = ("--method", "fgsm", "--budget", "0.1", "--minimal", "none", "--examples", "40")
FEW = ("spectral_norm", "growth_end")
VERBS = ("run", "resume", "status", "report", "export", "show", "list", "restore")


class Quiet(Here):
    """Without the lines that a slow machine gets to see."""

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        code, out, error = super().__call__(*arguments)
        return code, out, re.sub(r"(?m)^\w+: .*, after \d+ s\n", "", error)


@pytest.fixture
def spectra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Quiet(monkeypatch, capsys)


@pytest.fixture
def cheaply(monkeypatch: pytest.MonkeyPatch):
    """Let trials run in a thread of this process, and be cheap ones; `cheaply(other)` changes them."""
    with ThreadPoolExecutor(1) as pool:

        def each_trial(function, configs, *, record, started=None, executor=None, workers=None):
            in_executor(function, configs, executor=pool, record=record)

        monkeypatch.setattr(runs, "each_trial", each_trial)
        monkeypatch.setattr(runs, "run_trial", cheap)
        yield lambda other: monkeypatch.setattr(runs, "run_trial", other)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "tiny.toml")


def written(path: Path, *, tasks: str = '"digits"', seeds: int = 3) -> Path:
    path.write_text(TINY.format(tasks=tasks, seeds=seeds))
    return path


def test_run_goes_on_where_the_last_one_ended(spectra, cheaply, file, tmp_path):
    out = tmp_path / "out"
    code, printed, error = spectra("study", "run", file, "--out", out, "--limit", 4)
    assert (code, error) == (0, "")
    assert printed.startswith(f"Study 'tiny' in {out}: 4 of 6 trials finished")
    assert f"2 trials are left: spectra study resume {out}\n" in printed
    assert re.search(r"digits +tanh +2 +0 +3\b", printed)
    first = study_rows(out)
    cheaply(never)
    assert spectra("study", "run", file, "--out", out, "--limit", 1)[0] == 0  # fails, and goes on
    cheaply(cheap)
    code, printed, error = spectra("study", "resume", out, "--retry-failed")
    assert (code, error) == (0, "")
    assert f"next: spectra study report {out} --out FOLDER\n" in printed
    pd.testing.assert_frame_equal(study_rows(out)[:4], first)
    cheaply(never)
    assert spectra("study", "run", file, "--out", out)[0] == 0
    assert study_status(out).complete


def never(trial):
    raise AssertionError("nothing is left to be run")


def test_failed_trials_are_counted_and_exit_with_0(spectra, cheaply, file, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_MARK", str(tmp_path / "mark"))
    cheaply(once_in_trouble)
    out = tmp_path / "a folder"
    code, printed, error = spectra("study", "run", file, "--out", out)
    assert code == 0
    again = f"spectra study resume {shlex.quote(str(out))} --retry-failed"
    assert error.endswith(f"warning: 2 trials failed; to try them again: {again}\n")
    assert "failed: digits tanh h6" in printed
    assert printed.count("RuntimeError: not yet") == 2
    assert spectra("study", "resume", out)[2].startswith("warning: 2 trials failed")
    (tmp_path / "mark").touch()
    assert spectra("study", "resume", out, "--retry-failed")[2] == ""
    assert study_status(out).complete


def test_only_some_failures_are_printed(spectra, cheaply, tmp_path):
    cheaply(never)
    out = tmp_path / "out"
    code, printed, _ = spectra("study", "run", written(tmp_path / "s.toml", seeds=6), "--out", out)
    assert code == 0
    assert printed.count("failed: digits") == 10
    assert "and 2 more; --json - lists all\n" in printed
    assert len(json.loads(spectra("study", "status", out, "--json", "-")[1])["failures"]) == 12


def test_what_no_longer_belongs_is_said_and_another_study_refused(spectra, cheaply, file, tmp_path):
    out = tmp_path / "out"
    spectra("study", "run", file, "--out", out)
    error = spectra("study", "run", written(file, seeds=2), "--out", out)[2]
    assert "warning: 2 finished trials of other configurations are kept, and not counted\n" in error
    other = tmp_path / "other.toml"
    other.write_text(file.read_text().replace("tiny", "other"))
    code, printed, error = spectra("study", "run", other, "--out", out)
    assert (code, printed) == (2, "")
    assert error.endswith(f"error: {out} holds the study 'tiny', not 'other'; name another folder\n")
    with folder_lock(out):
        assert "another run is at work on" in spectra("study", "run", file, "--out", out)[2]


def test_tasks_without_data_are_listed(spectra, cheaply, tmp_path, monkeypatch):
    monkeypatch.delenv("SPECTRA_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    both = written(tmp_path / "s.toml", tasks='["digits", "mnist"]', seeds=1)
    code, printed, error = spectra("study", "run", both, "--out", out, "--data-root", tmp_path)
    assert code == 0
    assert "warning: 2 trials wait for data that are not there\n" in error
    assert "no data for mnist: " in printed
    assert str(tmp_path) in printed
    assert "next: spectra study report" in printed


@pytest.mark.filterwarnings("always:rather")
def test_status_tells_all_as_json(spectra, cheaply, file, tmp_path):
    cheaply(warning)
    out = tmp_path / "out"
    spectra("study", "run", file, "--out", out)
    code, printed, error = spectra("study", "status", out)
    assert (code, error) == (0, "")
    assert "6 of 6 trials finished, 2 with warnings" in printed
    assert re.search(r"last run: process \d+ on .*: ended\n", printed)
    content = json.loads(spectra("study", "status", out, "--json", "-")[1])
    assert (content["done"], content["total"], content["warned"], content["complete"]) == (6, 6, 2, True)
    assert content["blocks"][0] == {"task": "digits", "cell": "tanh", "done": 3, "failed": 0, "total": 3}
    assert spectra("study", "status", out, "--json", tmp_path / "s.json")[0] == 0
    assert json.loads((tmp_path / "s.json").read_text()) == content
    assert "which exists" in spectra.refusal("study", "status", out, "--json", tmp_path / "s.json")


def test_watching_ends_with_the_run(spectra, cheaply, file, tmp_path, monkeypatch):
    out = tmp_path / "out"
    spectra("study", "run", file, "--out", out)
    assert spectra("study", "status", out, "--watch")[0] == 0  # nothing runs
    monkeypatch.setattr(verb, "_PAUSE", 0.01)
    looks, end, held = [], threading.Event(), threading.Event()
    plain = study_status

    def look(folder):
        looks.append(plain(folder))
        if len(looks) == 3:
            end.set()
            holder.join()
        return looks[-1]

    def hold():
        with folder_lock(out):
            held.set()
            end.wait(30)

    monkeypatch.setattr("rnn.study.status.study_status", look)
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    code, printed, _ = spectra("study", "status", out, "--watch")
    assert code == 0
    assert [one.live for one in looks] == [True, True, True, False]
    assert "running" not in printed


def test_export_writes_a_table(spectra, cheaply, file, tmp_path):
    out, table = tmp_path / "out", tmp_path / "t.csv"
    spectra("study", "run", file, "--out", out)
    assert spectra("study", "export", out, "--out", table) == (0, f"{table}\n", "")
    pd.testing.assert_series_equal(pd.read_csv(table)["norm"], study_rows(out)["norm"])
    assert "which exists" in spectra.refusal("study", "export", out, "--out", table)
    written(file, seeds=1)
    spectra("study", "run", file, "--out", out)
    assert spectra("study", "export", out, "--out", table, "--force", "--every")[0] == 0
    assert pd.read_csv(table)["part"].sum() == 2


def test_a_damaged_database_is_restored(spectra, cheaply, file, tmp_path):
    out = tmp_path / "out"
    spectra("study", "run", file, "--out", out)
    assert "error: " in spectra.refusal("study", "restore", out)
    database = out / "study.sqlite"
    database.write_bytes(b"x" * database.stat().st_size)
    words = spectra.refusal("study", "status", out)
    assert f"`spectra study restore {out}`" in words
    assert "6 of 6 trials finished" in spectra("study", "restore", out)[1]
    assert spectra("study", "status", out)[0] == 0


def test_the_studies_of_the_package_are_listed(spectra):
    from rnn.study.configuration import read_study, shipped_studies

    code, printed, error = spectra("study", "list")
    assert (code, error) == (0, "")
    for name in shipped_studies():
        assert f"{name}: {len(read_study(name).trials)} trials\n" in printed


def test_a_study_of_the_package_is_shown_as_the_file_it_is(spectra, tmp_path):
    from rnn.study.configuration import read_study

    code, printed, error = spectra("study", "show", "recurrent-robustness-quick")
    assert (code, error) == (0, "")
    (tmp_path / "mine.toml").write_text(printed, "utf-8")
    assert read_study(tmp_path / "mine.toml").trials == read_study("recurrent-robustness-quick").trials
    assert "there is no study '../x'; there are recurrent-robustness" in spectra.refusal(
        "study", "show", "../x"
    )


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A study of real trials."""
    from rnn.study.runs import run_study

    place = tmp_path_factory.mktemp("real")
    with ThreadPoolExecutor(1) as pool:
        run_study(written(place / "tiny.toml", seeds=1), place / "out", function=run_trial, executor=pool)
    return place / "out"


def test_report_without_a_file_is_a_table_and_the_verdicts(spectra, real):
    code, printed, error = spectra("study", "report", real, "--only", "cell=gru", "--by", "task")
    assert (code, error) == (0, "")
    assert "with cell = gru: C1 " in printed
    assert re.search(r"^ *C3|^C3 (holds|fails|undecided)", printed, flags=re.MULTILINE)
    assert "no finished network has; there are gru, tanh" in spectra.refusal(
        "study", "report", real, "--only", "cell=x"
    )


def test_report_writes_where_it_is_told_to(spectra, real, tmp_path):
    page = tmp_path / "page.html"
    code, printed, error = spectra("study", "report", real, "--out", tmp_path / "r", "--html", page)
    assert (code, error) == (0, "")
    assert printed.splitlines()[-1] == str(page)
    assert (tmp_path / "r" / "report.html").read_text("utf-8") == page.read_text("utf-8")
    for path in printed.splitlines()[1:]:
        assert Path(path).is_file()
    assert "which exists" in spectra.refusal("study", "report", real, "--html", page)
    assert "which is no folder" in spectra.refusal("study", "report", real, "--out", page)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.toml", "--out", "o"), "study is 'none.toml'; expected a TOML file, or a study"),
        (("run", "{file}"), "Missing option '--out'; see spectra study run --help"),
        (("run", "{file}", "--out", "{file}"), "which is no folder"),
        (("run", "{file}", "--out", "o", "--limit", "0"), "limit is 0"),
        (("run", "{file}", "--out", "o", "--workers", "0"), "Invalid value for '--workers'"),
        pytest.param(
            ("run", "{file}", "--out", "o", "--dask", "tcp://127.0.0.1:1"), "no Dask scheduler answers there",
            marks=pytest.mark.slow,
        ),
        (("run", "{bad}", "--out", "o"), "bad.toml, line 3"),
        (("resume", "nowhere"), "Invalid value for 'DIR'"),
        (("resume", "{empty}"), "there is no study"),
        (("status", "{empty}"), "there is no study (study.sqlite)"),
        (("restore", "{empty}"), "has no intact backup"),
        (("report", "{empty}"), "there is no study"),
        (("report", "{empty}", "--only", "cell"), "expected COLUMN=VALUE"),
        (("report", "{empty}", "--only", "cell=gru", "--only", "cell=tanh"), "--only names cell twice"),
        (("report", "{empty}", "--by", "cell", "--out", "r"), "--by is for the table on the terminal"),
        (("report", "{empty}", "--seed", "3"), "--seed is for resamples"),
        (("report", "{empty}", "--html", "page.txt"), "expected a name that ends in .html"),
        (("report", "{empty}", "--html", "page.html"), "there is no study"),
        (("export", "{empty}", "--out", "t.xlsx"), "expected a name that ends in .csv, .parquet"),
        (("export", "{empty}", "--out", "t.csv"), "there is no study"),
        (("quake",), "No such command 'quake'; see spectra study --help"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(spectra, file, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "b"\n[[grid]]\ntask = "chess"\ncell = "gru"\n')
    places = {"file": file, "bad": bad, "empty": tmp_path / "empty"}
    assert words in spectra.refusal("study", *(one.format(**places) for one in arguments))
    assert not (tmp_path / "o" / "study.sqlite").exists()


def test_an_executor_that_breaks_is_one_line(spectra, cheaply, file, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the executor gave trials up (gone)")

    def faulty(*_, **__):
        raise NotImplementedError("a fault of ours")

    monkeypatch.setattr(runs, "each_trial", broken)
    code, _, error = spectra("study", "run", file, "--out", tmp_path / "o")
    assert code == 2
    assert error.splitlines()[-1] == "error: the executor gave trials up (gone)"
    monkeypatch.setattr(runs, "each_trial", faulty)
    assert spectra("study", "run", file, "--out", tmp_path / "o")[0] == 70


@pytest.mark.parametrize("arguments", [("correlate",), ("study",), *(("study", verb) for verb in VERBS)])
def test_help_loads_nothing_heavy(arguments):
    check = (
        "import atexit, sys\n"
        "heavy = {'numpy', 'torch', 'numba', 'matplotlib', 'pandas', 'sklearn', 'distributed'}\n"
        "atexit.register(lambda: print('loaded:', *sorted(heavy & set(sys.modules))))\n"
    )
    code, out, error = finished(start(*arguments, "--help", before=check))
    assert (code, error) == (0, "")
    assert out.splitlines()[-1] == "loaded:"


def test_an_interrupt_says_how_to_go_on(capfd):
    def work():
        with told_when_interrupted("to go on: try again"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capfd.readouterr().err == "to go on: try again\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_hear_no_interrupts():
    done = []

    def work():
        with told_when_interrupted("nothing"):
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


@pytest.mark.slow
def test_ctrl_c_in_a_run_and_on(file, tmp_path):
    out = tmp_path / "out"
    mark = (
        "import sys\nimport rnn.study.recording as room\nplain = room.Recorder.record\n"
        "def record(self, result):\n    plain(self, result)\n"
        "    print('ready', flush=True, file=sys.__stdout__)\nroom.Recorder.record = record\n"
    )
    process = start("study", "run", file, "--out", out, "--workers", 1, before=mark)
    seconds, printed, error = interrupted(process, after=0.0)
    assert seconds < 1.5
    assert process.returncode == 130
    assert f"what is finished is kept; to go on: spectra study resume {out}\n" in error
    assert error.endswith("interrupted\n")
    done = study_status(out).done
    assert 1 <= done < 6
    code, printed, _ = finished(start("study", "resume", out, "--workers", 2))
    assert code == 0
    assert "6 of 6 trials finished" in printed
    assert (study_rows(out)["attempts"] == 1).all()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    place = tmp_path_factory.mktemp("checkpoints")
    task = load_task("digits")
    for seed in range(6):
        config = ModelConfig("tanh", task.features, task.steps, hidden=4, seed=seed, gain=1 + seed / 4)
        model = build_model(config)
        record = train(model, task, config=TrainingConfig(epochs=1, seed=seed))
        save_checkpoint(place / f"m{seed}.pt", model, task=task, record=record)
    (place / "notes.txt").write_text("ours")
    (place / "bad.pt").write_bytes(b"no")
    return place


def test_correlate_prints_what_the_call_finds(spectra, cheaply, checkpoints, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ("correlate", checkpoints, "--out", out, *OPTIONS, "--measures", ",".join(FEW))
    code, printed, error = spectra(*arguments)
    assert code == 0
    assert error == (
        "left out: notes.txt: no model: its name ends in '.txt'\n"
        f"warning: bad.pt failed: {correlate_checkpoints_error(out)}\n"
    )
    with ThreadPoolExecutor(1) as pool:
        found = correlate_checkpoints(checkpoints, plan=PLAN, examples=40, measures=FEW, executor=pool)
    for sentence in found.findings:
        assert sentence in printed
    assert "the strongest of 2 measures" in printed
    for name in ("report.html", "models.csv", "correlations.csv"):
        assert str(out / name) in printed
    assert "spectra correlate" in (out / "report.html").read_text("utf-8")

    assert "run `spectra correlate` with --out" in spectra.refusal("study", "resume", out)
    monkeypatch.setattr(checkpoint_trials, "network_row", never)
    code, printed, _ = spectra(*arguments, "--json", "-")
    assert code == 0
    content = json.loads(printed)
    expected = json.loads(found.to_json())
    assert content["correlations"] == expected["correlations"]
    assert content["unread"] == [{"name": "notes.txt", "reason": "no model: its name ends in '.txt'"}]
    assert [row["name"] for row in content["failures"]] == ["bad.pt"]
    assert content["command"].startswith("spectra correlate")


def correlate_checkpoints_error(out):
    ((_, error),) = study_status(out).failures
    return error


def test_correlate_takes_data_bounds_groups_and_clusters(spectra, cheaply, checkpoints, tmp_path):
    data, json_file = tmp_path / "d.npz", tmp_path / "c.json"
    task = load_task("digits")
    np.savez(data, x=task.x_test[:30].numpy(), y=task.y_test[:30].numpy())
    (checkpoints / "bad.pt").unlink(missing_ok=True)
    arguments = ("correlate", checkpoints, "--data", data, *OPTIONS, "--measures", ",".join(FEW))
    more = (
        "--bounds",
        "0,1",
        "--group-by",
        "^(m)",
        "--cluster-by",
        r"m(\d)",
        "--seed",
        "3",
        "--json",
        json_file,
    )
    code, printed, _ = spectra(*arguments, *more)
    assert code == 0
    assert f"{json_file}\n" in printed
    content = json.loads(json_file.read_text())
    assert {row["group"] for row in content["models"]} == {"m"}
    assert {row["judged_on"] for row in content["models"]} == {"d.npz"}
    with ThreadPoolExecutor(1) as pool:
        found = correlate_checkpoints(
            checkpoints, data=str(data), plan=PLAN, examples=40, bounds=(0, 1), rng=3, measures=FEW,
            group_by="^(m)", cluster_by=r"m(\d)", executor=pool,
        )  # fmt: skip
    assert content["correlations"] == json.loads(found.to_json())["correlations"]
    assert "which exists" in spectra.refusal(*arguments, "--json", json_file)


def test_few_checkpoints_give_rows_and_a_word(spectra, cheaply, checkpoints, tmp_path):
    (tmp_path / "m.pt").write_bytes((checkpoints / "m0.pt").read_bytes())
    code, printed, error = spectra("correlate", tmp_path, *OPTIONS)
    assert (code, error) == (0, "")
    assert printed == "1 models measured; no correlations, which need at least 5 models.\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("{none}",), "Invalid value for 'DIR'"),
        (("{empty}",), "there is no file in it that ends in .pt"),
        (("{here}", "--method", "charm"), "charm"),
        (("{here}", "--norm", "l7"), "l7"),
        (("{here}", "--budget", "small"), "--budget is 'small'; expected numbers"),
        (("{here}", "--budget", "-1"), "-1"),
        (("{here}", "--minimal", "l7"), "l7"),
        (("{here}", "--bounds", "wide"), "--bounds is 'wide'; expected numbers"),
        (("{here}", "--examples", "0"), "examples is 0"),
        (("{here}", "--measures", "charm"), "measures has 'charm', which no network gives"),
        (("{here}", "--measures", "a,a"), "--measures is 'a,a'; expected different names"),
        (("{here}", "--outcomes", "luck"), "outcomes has 'luck'"),
        (("{here}", "--group-by", "("), "group_by is '('"),
        (("{here}", "--cluster-by", "run"), "cluster_by is 'run', which is not in"),
        (("{here}", "--data", "chess"), "data is 'chess'"),
        (("{here}", "--data", "none.npz"), "none.npz: No such file"),
        (("{here}", "--out", "{here}"), "the folder of the checkpoints; name another"),
        (("{here}", "--workers", "0"), "Invalid value for '--workers'"),
        (("{here}", "--json", "/no/such/f.json"), "there is no folder /no/such"),
    ],
)
def test_correlate_refuses_bad_input(spectra, checkpoints, tmp_path, options, words):
    (tmp_path / "empty").mkdir()
    places = {"here": checkpoints, "empty": tmp_path / "empty", "none": tmp_path / "none"}
    assert words in spectra.refusal("correlate", *(one.format(**places) for one in options))
