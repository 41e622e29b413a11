import contextlib
import json
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
from toy_trials import cheap

from rnn.study.backups import restore_database, write_backup
from rnn.study.configuration import study_from
from rnn.study.database import BACKUP, DATABASE, check_database
from rnn.study.faults import DamagedStudyError, FullDiskError, faults_named
from rnn.study.locks import folder_lock, is_locked
from rnn.study.runs import restore_study, run_study
from rnn.study.status import study_status
from rnn.study.store import opened_store
from rnn.study.tables import export_study, study_rows, trial_arrays, trial_weights
from rnn.study.trial_files import finished_trial, read_curves, swept
from rnn.study.trials import Trial, TrialOutcome

STUDY = study_from({"name": "s", "grid": {"task": ["digits", "copy"], "cell": ["gru", "tanh"], "seeds": 4}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished study."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    with ThreadPoolExecutor(2) as pool:
        assert run_study(STUDY, folder, function=cheap, executor=pool).complete
    return folder


@pytest.fixture
def out(finished, tmp_path):
    """A copy of it, to be spoilt."""
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def change(folder, statement, *values):
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute(statement, values)


def test_rows_are_what_the_trials_gave(finished):
    frame = study_rows(finished)
    assert len(frame) == len(STUDY.trials)
    for (_, row), trial in zip(frame.iterrows(), STUDY.trials, strict=True):
        outcome = cheap(trial)
        assert row["key"] == trial.key
        assert (row["task"], row["cell"], row["seed"], row["gain"]) == (
            trial.task,
            trial.cell,
            trial.seed,
            1.0,
        )
        for name, value in outcome.row.items():
            assert row[name] == value or (value is None and pd.isna(row[name]))
        assert pd.isna(row["only_gru"]) == (trial.cell != "gru")
        assert json.loads(row["budgets"]) == [[norm, list(sizes)] for norm, sizes in trial.budgets]
        arrays = trial_arrays(finished, trial.key)
        assert arrays.keys() == outcome.arrays.keys()
        assert all(np.array_equal(arrays[name], outcome.arrays[name]) for name in arrays)
        assert trial_weights(finished, trial.key).read_bytes() == outcome.weights
    assert frame["attempts"].eq(1).all()
    assert list(frame.columns[:3]) == ["task", "cell", "options"]
    assert list(frame.columns[-5:]) == ["seconds", "finished", "attempts", "warnings", "key"]


def test_a_table_without_rows(tmp_path):
    with opened_store(tmp_path) as store:
        store.enter(STUDY)
    assert len(study_rows(tmp_path)) == 0
    assert list(study_rows(tmp_path)) == ["seconds", "finished", "attempts", "warnings", "key"]


def test_exports_hold_every_digit(finished, tmp_path):
    frame = study_rows(finished)
    csv = pd.read_csv(export_study(finished, tmp_path / "a.csv"))
    parquet = pd.read_parquet(export_study(finished, str(tmp_path / "a.parquet")))
    for table in (csv, parquet):
        assert list(table.columns) == list(frame.columns)
        for name in ("norm", "radius", "growth", "seconds", "key", "cell", "only_gru"):
            pd.testing.assert_series_equal(table[name], frame[name], check_dtype=False, check_exact=True)


def test_refused_exports(finished, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in \.csv or \.parquet"):
        export_study(finished, tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="a name of the study itself"):
        export_study(finished, finished / "study.csv")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"a Parquet file needs pyarrow.*\[rnn,parquet\]"):
        export_study(finished, tmp_path / "a.parquet")


def test_unknown_keys_and_folders(finished, tmp_path):
    with pytest.raises(ValueError, match=r"key is 'no'.*study_rows"):
        trial_arrays(finished, "no")
    with pytest.raises(ValueError, match="key is 'no'"):
        trial_weights(finished, "no")
    for reader in (study_rows, study_status):
        with pytest.raises(ValueError, match=r"there is no study \(study\.sqlite\)"):
            reader(tmp_path)


def test_a_finished_store_is_one_plain_file_with_a_backup(finished):
    assert {path.name for path in finished.iterdir()} == {
        DATABASE,
        BACKUP,
        "study.lock",
        "weights",
        "curves",
    }
    study_status(finished)
    study_rows(finished)
    assert len(list(finished.iterdir())) == 5  # readers leave nothing
    assert check_database(finished / BACKUP) == check_database(finished / DATABASE) == len(STUDY.trials)


class Unwritable(sqlite3.Connection):
    """As in a folder in which SQLite can make no index of the log."""

    def execute(self, *_):
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorname = "SQLITE_CANTOPEN"
        raise error


def test_a_study_can_be_read_where_nothing_can_be_written(finished, monkeypatch):
    real = sqlite3.connect

    def connect(name, **options):
        return real(name, factory=Unwritable if "mode=ro" in name else sqlite3.Connection, **options)

    monkeypatch.setattr("rnn.study.database.sqlite3.connect", connect)
    assert len(study_rows(finished)) == len(STUDY.trials)


@pytest.mark.parametrize("spoilt", ["flipped", "cut", "empty", "text", "missing", "row"])
def test_a_damaged_database_is_named_and_restored_without_loss(out, spoilt):
    before = study_rows(out)
    path = out / DATABASE
    content = bytearray(path.read_bytes())
    if spoilt == "flipped":
        rng = np.random.default_rng(0)
        for place in rng.integers(4096, len(content), 2000):
            content[place] ^= 0xFF
        path.write_bytes(content)
    elif spoilt == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif spoilt == "empty":
        path.write_bytes(b"")
    elif spoilt == "text":
        path.write_bytes(b"no database at all " * 500)
    elif spoilt == "missing":
        path.unlink()
    else:  # one digit, inside a row: the structure is intact
        change(
            out, "UPDATE trials SET row = replace(row, '\"norm\":1', '\"norm\":2') WHERE seconds IS NOT NULL"
        )
    backup = (out / BACKUP).read_bytes()
    message = r"study\.sqlite is damaged .*intact \(16 finished trials\).*spectra study restore"
    with pytest.raises(DamagedStudyError, match=message) as caught:
        run_study(STUDY, out, function=cheap, workers=1)
    assert isinstance(caught.value, ValueError)  # exit code 2
    assert "\n" not in str(caught.value)
    assert (out / BACKUP).read_bytes() == backup
    if spoilt in {"cut", "empty", "text", "row"}:
        with pytest.raises(DamagedStudyError):
            study_rows(out)
    assert restore_study(out).complete
    pd.testing.assert_frame_equal(study_rows(out), before)
    assert (out / "study.damaged-1.sqlite").exists() == (spoilt != "missing")


def test_what_finished_after_the_backup_is_taken_from_files(out):
    before = study_rows(out)
    late = [trial.key for trial in STUDY.trials[5:12]]
    with opened_store(out) as store:
        for key in late:
            change_row = (
                "UPDATE trials SET status = 'pending', row = NULL, digest = NULL, attempts = 0 WHERE key = ?"
            )
            store.connection.execute(change_row, (key,))
        write_backup(store)
    (out / DATABASE).write_bytes(b"")
    assert restore_study(out).complete
    pd.testing.assert_frame_equal(study_rows(out), before)


def test_without_any_database_the_files_of_the_trials_are_enough(out):
    before = study_rows(out)
    (out / DATABASE).write_bytes(b"")
    (out / BACKUP).write_bytes(b"no")
    words = r"study\.backup\.sqlite is damaged too .*Move study\.sqlite away and run the study again"
    with pytest.raises(DamagedStudyError, match=words):
        run_study(STUDY, out, function=cheap, workers=1)
    with pytest.raises(ValueError, match=r"no intact backup; move study\.sqlite away and run"):
        restore_study(out)
    (out / DATABASE).unlink()
    (out / BACKUP).unlink()
    assert run_study(STUDY, out, function=never, workers=1).complete
    pd.testing.assert_frame_equal(study_rows(out), before)


def never(trial):
    raise AssertionError("it was finished")


def test_a_damaged_file_of_a_trial_is_told_and_not_taken_over(out):
    key = STUDY.trials[3].key
    path = out / "curves" / f"{key}.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        trial_arrays(out, key)
    change(out, "UPDATE trials SET status = 'pending' WHERE key = ?", key)
    with opened_store(out) as store:
        assert store.collect() == 0


@pytest.mark.parametrize(
    "record",
    ["[]", '"x"', "{}", '{"row": {"task": 1}}', '{"row": {"x": NaN}}', '{"seconds": NaN}', '{"key": 3}'],
)
def test_a_record_that_nobody_wrote_is_not_taken_over(out, record):
    path = out / "curves" / f"{STUDY.trials[3].key}.npz"
    content = json.loads(record)
    if isinstance(content, dict) and content:
        content = read_curves(path)[0] | content
    np.savez(path, record=np.array(json.dumps(content)))
    change(out, "UPDATE trials SET status = 'pending' WHERE key = ?", STUDY.trials[3].key)
    with opened_store(out) as store:
        assert store.collect() == 0
    with pytest.raises(ValueError, match="is damaged"):
        read_curves(path)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE missing", "it has no table 'missing'"),
        (
            "UPDATE trials SET content = '{' WHERE position = 2",
            "the configuration of trial .* is not as it was",
        ),
    ],
)
def test_what_sqlite_does_not_notice_is_damage_too(out, statement, words):
    change(out, statement)
    with pytest.raises(DamagedStudyError, match=words):
        study_status(out)
    assert restore_study(out).complete


def test_a_run_says_with_which_versions_it_was_made(out):
    with contextlib.closing(sqlite3.connect(out / DATABASE)) as connection:
        (text,) = connection.execute("SELECT value FROM meta WHERE name = 'versions of run 1'").fetchone()
    versions = json.loads(text)
    assert versions["torch"] == metadata.version("torch")
    assert set(versions) == {"spectra-rnn", "python", "torch", "numpy", "scipy"}


def test_nothing_to_restore(out, tmp_path):
    with pytest.raises(ValueError, match="is intact; there is nothing to restore"):
        restore_study(out)
    with pytest.raises(ValueError, match="expected the folder of a study"):
        restore_study(tmp_path / "no")
    with pytest.raises(ValueError, match="no intact backup"), folder_lock(tmp_path):
        restore_database(tmp_path)


def test_the_backup_of_a_damaged_store_is_not_replaced(out, monkeypatch):
    before = (out / BACKUP).read_bytes()
    with opened_store(out) as store:
        real = sqlite3.connect

        class Damaged(sqlite3.Connection):
            def execute(self, statement, *rest):
                if "quick_check" in statement:
                    return super().execute("SELECT 'row 3 missing from index'")
                return super().execute(statement, *rest)

        monkeypatch.setattr(
            "rnn.study.backups.sqlite3.connect", lambda *a, **k: real(*a, factory=Damaged, **k)
        )
        with pytest.raises(sqlite3.DatabaseError, match="row 3 missing"):
            write_backup(store)
    assert (out / BACKUP).read_bytes() == before
    assert not list(out.glob(".*.part"))


def test_a_database_of_another_program_or_of_a_later_version(out):
    change(out, "PRAGMA user_version = 99")
    with pytest.raises(ValueError, match=r"written by a later version of spectra-rnn \(schema 99") as caught:
        run_study(STUDY, out, function=cheap, workers=1)
    assert not isinstance(caught.value, DamagedStudyError)
    with pytest.raises(ValueError, match="later version"):
        study_status(out)
    change(out, "PRAGMA user_version = 1")
    change(out, "PRAGMA application_id = 5")
    with pytest.raises(DamagedStudyError, match="no database of a study"):
        run_study(STUDY, out, function=cheap, workers=1)


def test_another_study_needs_another_folder(out):
    other = study_from({"name": "other", "grid": {"task": "digits", "cell": "gru"}})
    with pytest.raises(ValueError, match="holds the study 's', not 'other'; name another folder"):
        run_study(other, out, function=cheap, workers=1)
    assert study_status(out).complete


def test_half_written_files_are_swept(out):
    for place in (out, out / "weights", out / "curves"):
        (place / ".0123456789abcdef.part").write_bytes(b"half")
    assert swept(out) == 3
    assert swept(out) == 0
    assert len(list((out / "curves").iterdir())) == len(STUDY.trials)


def test_the_record_stands_beside_the_arrays(finished):
    trial = STUDY.trials[2]
    record, _ = read_curves(finished / "curves" / f"{trial.key}.npz")
    assert record["key"] == trial.key
    assert record["content"] == trial.content
    assert record["row"]["norm"] == cheap(trial).row["norm"]


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        ({"x": 1.0}, TypeError, "the trial gave dict; expected a TrialOutcome"),
        (TrialOutcome({"x": np.float64("nan")}), ValueError, r"row\['x'\] is NaN; give None"),
        (TrialOutcome({"x": np.ones(2)}), TypeError, r"row\['x'\] is a ndarray"),
        (TrialOutcome({"seed": 1}), ValueError, "which stands beside it"),
        (TrialOutcome({}, {"a": np.array([{}])}), TypeError, r"arrays\['a'\] holds objects"),
        (TrialOutcome({}, {"record": np.ones(1)}), ValueError, "which is taken"),
        (TrialOutcome({}, {"file": np.ones(1)}), ValueError, "which is taken"),
        (TrialOutcome({}, {"allow_pickle": np.ones(1)}), ValueError, "which is taken"),
        (TrialOutcome({}, {}, "weights"), TypeError, "weights is a str; expected bytes or None"),
        (TrialOutcome(None), TypeError, "row is a NoneType; expected a dict"),
        (TrialOutcome({1: 2, "1": 3}), TypeError, "row has the name 1; expected a text"),
        (TrialOutcome({"x": "\ud800"}), ValueError, "which UTF-8 cannot write"),
        (TrialOutcome({"x": 2**63}), ValueError, r"row\['x'\] has more than 64 bits"),
        (TrialOutcome({}, None), TypeError, "arrays is no mapping"),
        (TrialOutcome({}, {3: np.ones(1)}), TypeError, "arrays is no mapping"),
    ],
)
def test_outcomes_that_cannot_be_kept(outcome, kind, message):
    with pytest.raises(kind, match=message):
        finished_trial(Trial("digits", "gru"), outcome, seconds=1.0)


def test_one_holder_of_a_lock_at_a_time(tmp_path):
    assert not is_locked(tmp_path)
    with folder_lock(tmp_path):
        assert is_locked(tmp_path)
        words = rf"another run is at work .*process {os.getpid()} on .*wait for it"
        with pytest.raises(ValueError, match=words), folder_lock(tmp_path):
            pass
    assert not is_locked(tmp_path)
    with folder_lock(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="flock is POSIX")
def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("rnn.study.locks.fcntl.flock", flock)
    words = r"without locks \(Operation not supported\); name a folder elsewhere"
    with pytest.raises(ValueError, match=words), folder_lock(tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_FULL", FullDiskError),
        ("SQLITE_BUSY", OSError),
        ("SQLITE_IOERR_WRITE", OSError),
        ("SQLITE_NOTADB", DamagedStudyError),
        ("SQLITE_MISUSE", sqlite3.DatabaseError),
    ],
)
def test_errors_of_the_database_have_a_name(tmp_path, name, kind):
    error = sqlite3.DatabaseError("words")
    error.sqlite_errorname = name
    with pytest.raises(kind, match=r"words|no space left"), faults_named(tmp_path):
        raise error
