"""Whatever happens to a run, nothing that has finished is lost, and nothing is counted twice."""

import contextlib
import errno
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from toy_trials import a_second, cheap, killed_once, slow

from rnn.study import store as store_room
from rnn.study import trial_files
from rnn.study.configuration import study_from
from rnn.study.database import DATABASE, check_database
from rnn.study.executors import dask_executor
from rnn.study.faults import FullDiskError
from rnn.study.runs import run_study
from rnn.study.status import study_status
from rnn.study.tables import study_rows

ROOT = Path(__file__).resolve().parents[1]
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals and mounts are POSIX")

CONTENT = {"name": "f", "grid": {"task": "digits", "cell": ["gru", "tanh"], "seeds": 20}}
STUDY = study_from(CONTENT)
SMALL = study_from({"name": "f", "grid": {"task": "digits", "cell": "gru", "seeds": 4}})


def table(folder):
    """What trials gave, without what depends on the clock."""
    return study_rows(folder).drop(columns=["seconds", "finished"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The table of a run to which nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with ThreadPoolExecutor(1) as pool:
        run_study(STUDY, folder, function=cheap, executor=pool)
    return table(folder)


RUN = """
    import sys

    if __name__ == "__main__":
        import toy_trials
        from rnn.study.configuration import study_from
        from rnn.study.runs import run_study

        study = study_from({content!r})
        run_study(study, sys.argv[1], function=toy_trials.{function}, workers=2)
"""


@contextlib.contextmanager
def running(folder, function):
    """A run in a process of its own, in a group of its own; whatever is left of it ends with the block."""
    script = folder.parent / "script.py"
    script.write_text(textwrap.dedent(RUN).format(content=CONTENT, function=function))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def wait_for(folder, done, seconds=90):
    """Wait until a run has finished so many trials; give its status."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (folder / DATABASE).exists():
            status = study_status(folder)
            if status.done >= done:
                return status
        time.sleep(0.05)
    raise AssertionError(f"not {done} trials within {seconds} s")


@POSIX
def test_a_killed_run_goes_on(tmp_path, undisturbed):
    out = tmp_path / "out"
    with running(out, "slow") as process:
        live = wait_for(out, 3)
        assert live.live
        with pytest.raises(ValueError, match=f"another run is at work .*process {process.pid} on "):
            run_study(STUDY, out, function=cheap, workers=1)
        process.kill()
        process.wait()
    status = study_status(out)
    assert not status.live
    assert status.running == 0
    assert status.run.endswith(": killed")
    assert 3 <= status.done < status.total
    finished = study_rows(out)
    ended = []
    with ThreadPoolExecutor(1) as pool:
        run_study(STUDY, out, function=cheap, executor=pool, progress=lambda n, *_: ended.append(n))
    assert ended[0] - status.done in {0, 1, 2}  # what was on disk but not yet in the database is taken over
    assert len(ended) == len(STUDY.trials) - ended[0] + 1  # and only the others ran
    pd.testing.assert_frame_equal(table(out), undisturbed, check_exact=True)
    again = study_rows(out).set_index("key").loc[finished["key"]]
    assert again["finished"].tolist() == finished["finished"].tolist()  # not run a second time
    assert not list(out.rglob("*.part"))


@POSIX
def test_an_interrupt_leaves_what_is_finished(tmp_path):
    out = tmp_path / "out"
    with running(out, "slow") as process:
        wait_for(out, 3)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == -signal.SIGINT  # 130 where a shell or `spectra` says so
        assert errors.rstrip().endswith("KeyboardInterrupt")
    status = study_status(out)
    assert status.done >= 3
    assert (status.running, status.failed, status.live) == (0, 0, False)
    assert status.run.endswith(": interrupted")
    assert check_database(out / DATABASE) == status.done


@POSIX
def test_a_killed_worker_costs_nothing(tmp_path, monkeypatch, undisturbed):
    monkeypatch.setenv("TOY_MARK", str(tmp_path / "mark"))
    study = study_from({"name": "f", "grid": {"task": "digits", "cell": ["gru", "tanh"], "seeds": 3}})
    assert run_study(study, tmp_path / "out", function=killed_once, workers=2).complete
    assert (tmp_path / "mark").exists()
    pd.testing.assert_frame_equal(table(tmp_path / "out"), undisturbed[:6], check_exact=True)


class Killed(BaseException):
    """Stands for kill -9: nobody handles it."""


@pytest.mark.parametrize("moment", range(12))
def test_a_kill_at_any_write_loses_and_doubles_nothing(tmp_path, monkeypatch, undisturbed, moment):
    """Four trials write two files and a row each; the run is killed before one of these writes."""
    count = 0

    def counted(write):
        def killed_at_the_moment(*arguments):
            nonlocal count
            count += 1
            if count == moment + 1:
                raise Killed
            return write(*arguments)

        return killed_at_the_moment

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(trial_files, "write_durably", counted(trial_files.write_durably))
        patch.setattr(store_room.Store, "_set_done", counted(store_room.Store._set_done))
        with pytest.raises(Killed):
            run_study(SMALL, tmp_path, function=cheap, executor=pool)
    before = study_status(tmp_path)
    assert before.done == moment // 3
    ended = []
    with ThreadPoolExecutor(1) as pool:
        assert run_study(
            SMALL, tmp_path, function=cheap, executor=pool, progress=lambda n, *_: ended.append(n)
        ).complete
    assert ended[0] == before.done + (moment % 3 == 2)  # both files were there: the trial was finished
    assert study_rows(tmp_path)["attempts"].eq(1).all()
    pd.testing.assert_frame_equal(
        table(tmp_path),
        undisturbed[undisturbed["cell"] == "gru"][:4].reset_index(drop=True),
        check_dtype=False,
    )


class FullAfter:
    """A disk with room for so many writes."""

    def __init__(self, writes, real):
        self.writes, self.real = writes, real

    def __call__(self, path, content):
        if self.writes == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.writes -= 1
        self.real(path, content)


@pytest.mark.parametrize("writes", [0, 1, 4, 5])
def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(tmp_path, monkeypatch, writes):
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(trial_files, "write_durably", FullAfter(writes, trial_files.write_durably))
        with pytest.raises(
            FullDiskError, match=f"no space left for {tmp_path}; .*make room, then run it again"
        ):
            run_study(SMALL, tmp_path, function=cheap, executor=pool)
    status = study_status(tmp_path)
    assert (status.done, status.failed, status.live) == (writes // 2, 0, False)
    assert not list(tmp_path.rglob("*.part"))
    with ThreadPoolExecutor(1) as pool:
        assert run_study(SMALL, tmp_path, function=cheap, executor=pool).complete


@pytest.mark.parametrize("pages", [0, 1])
def test_a_database_without_room_stops_the_run(tmp_path, monkeypatch, pages):
    class Limited(sqlite3.Connection):
        """May grow by so many pages of 4096 bytes from its beginning on."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            (now,) = super().execute("PRAGMA page_count").fetchone()
            super().execute(f"PRAGMA max_page_count = {now + pages}")

    study = study_from({"name": "f", "grid": {"task": "digits", "cell": "gru", "seeds": 150}})
    with ThreadPoolExecutor(1) as pool:
        run_study(study, tmp_path, function=cheap, executor=pool, limit=1)
        real = sqlite3.connect
        with monkeypatch.context() as patch:
            patch.setattr(
                store_room.sqlite3,
                "connect",
                lambda path, **options: real(
                    path, factory=Limited if path == tmp_path / DATABASE else sqlite3.Connection, **options
                ),
            )
            with pytest.raises(FullDiskError, match="no space left"):
                run_study(study, tmp_path, function=cheap, executor=pool)
        status = study_status(tmp_path)
        assert 1 <= status.done < 150
        assert check_database(tmp_path / DATABASE) == status.done
        assert run_study(study, tmp_path, function=cheap, executor=pool).complete
    assert study_rows(tmp_path)["attempts"].eq(1).all()


@POSIX
@pytest.mark.slow
def test_a_disk_that_is_really_full(tmp_path, undisturbed):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(FullDiskError, match="no space left"):
                run_study(STUDY, disk / "out", function=cheap, executor=pool)
            status = study_status(disk / "out")
            assert 0 < status.done < status.total
            assert not list((disk / "out").rglob("*.part"))
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            assert run_study(STUDY, disk / "out", function=cheap, executor=pool).complete
        pd.testing.assert_frame_equal(table(disk / "out"), undisturbed, check_exact=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@POSIX
@pytest.mark.slow
def test_kills_again_and_again(tmp_path, undisturbed):
    """The parent is killed at some moment, ten times over, until the study is complete."""
    out, done = tmp_path / "out", 0
    for round_ in range(10):
        with running(out, "slow") as process:
            done = wait_for(out, min(done + 2, len(STUDY.trials))).done
            time.sleep(0.013 * round_)
            process.kill()
            process.wait()
    with ThreadPoolExecutor(1) as pool:
        assert run_study(STUDY, out, function=cheap, executor=pool).complete
    pd.testing.assert_frame_equal(table(out), undisturbed, check_exact=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def started(*command, **environment):
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=os.environ | paths | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def cluster(folder, **environment):
    """An executor on a scheduler and two workers, each a process of its own; and these."""
    port = str(free_port())
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    worker += ("--local-directory", str(folder))
    with (
        started(*scheduler, **environment) as main,
        started(*worker, **environment) as first,
        started(*worker, **environment) as second,
        connected(address) as executor,
    ):
        yield executor, main, (first, second)


@POSIX
@pytest.mark.slow
def test_a_dask_cluster_whose_worker_is_killed(tmp_path, undisturbed):
    killed, out, short = [], tmp_path / "out", tmp_path / "short"
    with cluster(tmp_path / "dask") as (executor, _, (first, _)):

        def kill(ended, *_):
            if ended == 5:
                first.kill()
                first.wait()
                killed.append(ended)

        status = run_study(STUDY, out, function=slow, executor=executor, progress=kill)
        assert killed
        assert status.complete
        assert status.run.split(" with ")[1].startswith("ClientExecutor")
        pd.testing.assert_frame_equal(table(out), undisturbed, check_exact=True)

        def stop(ended, *_):
            if ended == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_study(SMALL, short, function=a_second, executor=executor, progress=stop)
        assert study_status(short).done == 1
        assert executor.submit(abs, -3).result(timeout=30) == 3  # left open, and free again


@POSIX
@pytest.mark.slow
def test_a_trial_that_kills_its_dask_worker_fails(tmp_path, monkeypatch):
    mark = str(tmp_path / "mark")
    monkeypatch.setenv("TOY_MARK", mark)
    study = study_from({"name": "f", "grid": {"task": "digits", "cell": "gru", "seeds": 6}})
    limits = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "TOY_MARK": mark}
    with cluster(tmp_path / "dask", **limits) as (executor, _, workers):
        status = run_study(study, tmp_path / "out", function=killed_once, executor=executor)
        assert sum(worker.poll() is not None for worker in workers) == 1
        assert status.done + status.failed == 6
        assert 1 <= status.failed <= 2  # and perhaps what waited on the same worker
        assert all(error.startswith("KilledWorker: ") for _, error in status.failures)
        again = run_study(study, tmp_path / "out", function=killed_once, executor=executor, retry_failed=True)
        assert again.complete


@POSIX
@pytest.mark.slow
def test_a_dask_scheduler_that_dies_stops_the_run(tmp_path):
    with cluster(tmp_path / "dask") as (executor, scheduler, _):

        def kill(ended, *_):
            if ended == 2:
                scheduler.kill()
                scheduler.wait()

        with pytest.raises(RuntimeError, match="gave trials up"):
            run_study(STUDY, tmp_path / "out", function=slow, executor=executor, progress=kill)
    status = study_status(tmp_path / "out")
    assert status.done >= 2
    assert status.failed == 0


@contextlib.contextmanager
def connected(address):
    """An executor, as soon as the scheduler answers and both workers are there."""
    deadline = time.monotonic() + 90
    while True:
        try:
            with dask_executor(address) as executor:
                executor._client.wait_for_workers(2, timeout=60)
                yield executor
                return
        except ValueError:
            if time.monotonic() > deadline:
                raise


def test_no_scheduler_is_said_at_once():
    words = r"no Dask scheduler answers there .*start one with `dask scheduler`"
    with pytest.raises(ValueError, match=words), dask_executor("no-address"):
        pass
