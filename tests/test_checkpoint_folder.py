"""Folders of checkpoints: what is read, what is kept, and on what it is judged."""

import dataclasses
import errno
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rnn.models import ModelConfig, build_model
from rnn.study import checkpoint_trials
from rnn.study.checkpoint_folder import correlate_checkpoints
from rnn.study.folder_files import folder_files, labels_of
from rnn.study.network_rows import AttackPlan, network_row
from rnn.study.runs import run_study
from rnn.study.tables import study_rows
from rnn.tasks import load_task
from rnn.training import TrainingConfig, load_checkpoint, save_checkpoint, train

PLAN = AttackPlan(methods=("fgsm",), budgets=(("linf", (0.1,)),), minimal=(), trajectories=3)
FEW = ("spectral_radius", "spectral_norm")
FACTORY = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(8, 4, batch_first=True)
        self.out = nn.Linear(4, 10)
    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])
"""


def saved(path, *, cell="tanh", seed=0, rng=0, epochs=0):
    task = load_task("digits", rng=rng)
    config = ModelConfig(cell, task.features, task.steps, hidden=4, seed=seed, gain=1 + seed / 4)
    model = build_model(config)
    record = train(model, task, config=TrainingConfig(epochs=epochs, seed=seed))
    path.parent.mkdir(exist_ok=True)
    save_checkpoint(path, model, task=task, record=record)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("checkpoints")
    for seed in range(6):
        saved(place / f"run{seed % 3}" / f"epoch{seed}.pt", seed=seed, rng=seed)
    (place / "notes.md").write_text("ours")
    (place / "broken.pth").write_bytes(b"nothing")
    shutil.copy(place / "run0" / "epoch0.pt", place / "run0" / "last.pt")
    (place / ".cache").mkdir()
    (place / ".cache" / "x.pt").write_bytes(b"")
    return place


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def kept(folder, tmp_path_factory):
    """The results of the whole folder, and where they are kept."""
    out = tmp_path_factory.mktemp("kept")
    with ThreadPoolExecutor(1) as pool:
        found = correlate_checkpoints(folder, out=out, plan=PLAN, examples=40, measures=FEW, executor=pool)
    return out, found


def counted(monkeypatch):
    """Count the networks that are measured from now on."""
    calls = []

    def measured(*given, **options):
        calls.append(1)
        return network_row(*given, **options)

    monkeypatch.setattr(checkpoint_trials, "network_row", measured)
    return calls


def test_every_file_is_a_row_a_failure_or_left_out(folder, kept):
    _, found = kept
    assert found.rows["name"].tolist() == [f"run{k % 3}/epoch{k}.pt" for k in (0, 3, 1, 4, 2, 5)]
    assert [name for name, _ in found.failures] == ["broken.pth"]
    assert "broken.pth is no readable torch file" in found.failures[0][1]
    assert dict(found.unread) == {
        "notes.md": "no model: its name ends in '.md'",
        "run0/last.pt": "the same as run0/epoch0.pt",
    }
    assert folder_files(folder).unread == found.unread


def test_each_is_judged_on_the_test_set_of_its_own_split(folder, kept):
    _, found = kept
    path = folder / "run1" / "epoch4.pt"
    trained = load_checkpoint(path)
    task = load_task("digits", rng=4)
    chosen = np.sort(np.random.default_rng(0).permutation(len(task.x_test))[:40])
    row = network_row(
        trained.model, task.x_test[chosen], task.y_test[chosen], plan=PLAN, bounds=task.bounds, rng=0
    ).values
    mine = found.rows.set_index("name").loc["run1/epoch4.pt"]
    assert {name: mine[name] for name in row} == row
    assert mine[["group", "architecture", "judged_on"]].tolist() == ["tanh", "tanh", "the test set of digits"]


def test_the_task_by_name_is_the_own_split_too(folder, kept, threads):
    found = correlate_checkpoints(
        folder / "run1", data="digits", plan=PLAN, examples=40, measures=FEW, executor=threads
    )
    assert found.statistics is None
    expected = kept[1].rows.set_index("name")["clean_accuracy"]
    assert found.rows["clean_accuracy"].tolist() == expected[["run1/epoch1.pt", "run1/epoch4.pt"]].tolist()


def test_a_second_call_computes_only_what_is_new(folder, kept, threads, tmp_path, monkeypatch):
    place, out = tmp_path / "checkpoints", tmp_path / "kept"
    shutil.copytree(folder, place)
    shutil.copytree(kept[0], out)
    calls = counted(monkeypatch)
    given = {"out": out, "plan": PLAN, "examples": 40, "measures": FEW, "executor": threads}
    again = correlate_checkpoints(place, **given)
    assert calls == []
    pd.testing.assert_frame_equal(again.rows, kept[1].rows)
    pd.testing.assert_frame_equal(again.table, kept[1].table)
    saved(place / "run2" / "epoch5.pt", seed=9)
    saved(place / "run2" / "new.pt", seed=10)
    changed = correlate_checkpoints(place, **given)
    assert len(calls) == 2
    assert len(changed.rows) == 7
    correlate_checkpoints(place / "run0", **given | {"plan": dataclasses.replace(PLAN, trajectories=2)})
    assert len(calls) == 4


def test_failures_are_tried_again_on_request(folder, kept, threads, tmp_path, monkeypatch):
    out = tmp_path / "kept"
    shutil.copytree(kept[0], out)
    tried = []
    plain = checkpoint_trials.model_and_examples
    monkeypatch.setattr(
        checkpoint_trials, "model_and_examples", lambda path, **o: tried.append(path) or plain(path, **o)
    )
    given = {"out": out, "plan": PLAN, "examples": 40, "measures": FEW, "executor": threads}
    assert len(correlate_checkpoints(folder, **given).failures) == 1
    assert tried == []
    assert len(correlate_checkpoints(folder, retry_failed=True, **given).failures) == 1
    assert [path.name for path in tried] == ["broken.pth"]


def test_labels_of_groups_and_clusters(folder, kept, threads):
    given = {"out": kept[0], "plan": PLAN, "examples": 40, "measures": FEW, "executor": threads}
    found = correlate_checkpoints(folder, cluster_by=r"^(run\d|broken)", group_by="^[rb]", **given)
    assert found.statistics.clusters == 3
    assert set(found.rows["group"]) == {"r"}
    split = correlate_checkpoints(folder / "run0", group_by="subfolder", **given)
    assert set(split.rows["group"]) == {"."}
    assert labels_of(["a/b/c.pt"], "subfolder", "group_by") == {"a/b/c.pt": "a/b"}
    assert labels_of([], None, "group_by") is None


def test_data_of_a_file_and_a_factory(tmp_path, threads, monkeypatch):
    task = load_task("digits")
    (tmp_path / "some_nets.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    place = tmp_path / "nets"
    place.mkdir()
    from some_nets import Net

    for seed in range(2):
        torch.manual_seed(seed)
        torch.save(Net().state_dict(), place / f"{seed}.pt")
    saved(place / "ours.pt")
    data = place / "data.npz"  # among the checkpoints, and none of them
    np.savez(data, x=task.x_test[:50].double().numpy(), y=task.y_test[:50].numpy())
    given = {"data": str(data), "factory": "some_nets:Net", "plan": PLAN, "executor": threads}
    found = correlate_checkpoints(place, out="kept", **given)
    assert found.failures == found.unread == ()
    assert found.rows["architecture"].tolist() == ["Net", "Net", "tanh"]
    assert found.rows["attacked_examples"].tolist() == [50] * 3
    model = load_checkpoint(place / "ours.pt").model
    row = network_row(model, task.x_test[:50], task.y_test[:50], plan=PLAN).values  # no bounds are known
    assert found.rows.iloc[2]["fooling_all_linf_0.1"] == row["fooling_all_linf_0.1"]
    calls = counted(monkeypatch)
    correlate_checkpoints(place, out="kept", **given)
    assert calls == []
    (tmp_path / "some_nets.py").write_text(FACTORY + "# changed\n")
    correlate_checkpoints(place, out="kept", **given)
    assert len(calls) == 3
    clipped = correlate_checkpoints(place, out="kept", bounds=(0, 1), **given)
    assert len(calls) == 6
    assert len(clipped.rows) == 3
    sys.modules.pop("some_nets")


def test_a_bare_recurrent_layer_of_another_file(tmp_path, threads):
    torch.save(nn.GRU(3, 4).state_dict(), tmp_path / "gru.pt")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((12, 5, 3)), y=np.zeros((12, 5), int))
    found = correlate_checkpoints(tmp_path, data=str(tmp_path / "d.npz"), plan=PLAN, executor=threads)
    assert found.rows["architecture"].tolist() == ["GRU"]


def test_the_weights_of_a_study_are_checkpoints(tmp_path, threads, folder):
    curves = tmp_path / "curves"
    curves.mkdir()
    (tmp_path / "study.sqlite").write_bytes(b"")
    np.savez(curves / "a.npz", x=np.zeros(3))
    (tmp_path / "weights").mkdir()
    shutil.copy(folder / "run0" / "epoch0.pt", tmp_path / "weights" / "a.pt")
    files = folder_files(tmp_path)
    assert [name for name, _ in files.models] == ["weights/a.pt"]
    assert files.unread == (("study.sqlite", "no model: its name ends in '.sqlite'"),)


@pytest.mark.skipif(os.name == "nt", reason="names, links and pipes of POSIX")
def test_what_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"a")
    (tmp_path / "nowhere.pt").symlink_to("no")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    with open(os.fsencode(tmp_path) + b"/\xff.pt", "wb"):
        pass
    found = folder_files(tmp_path)
    assert [name for name, _ in found.models] == ["a.pt"]
    assert dict(found.unread) == {
        "loop.pt": "no regular file",
        "nowhere.pt": "no regular file",
        "pipe.pt": "no regular file",
        r"\udcff.pt": "its name is no UTF-8; rename it",
    }


def test_a_file_that_the_disk_does_not_give_is_left_out(tmp_path, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "a.pt").write_bytes(b"a")
    monkeypatch.setattr("rnn.study.folder_files.sha256_of", broken)
    ((name, reason),) = folder_files(tmp_path).unread
    assert (name, reason) == ("a.pt", f"it cannot be read: {os.strerror(errno.EIO)}")


def test_results_inside_the_folder_are_no_checkpoints(folder, kept, threads, tmp_path, monkeypatch):
    place = tmp_path / "c"
    shutil.copytree(folder / "run0", place)
    given = {"out": place / "out", "plan": PLAN, "examples": 40, "executor": threads}
    first = correlate_checkpoints(place, **given)
    calls = counted(monkeypatch)
    first.write(place / "out")
    assert correlate_checkpoints(place, **given).unread == first.unread
    assert calls == []


def test_a_folder_of_another_study_is_refused(folder, kept, threads):
    from toy_trials import cheap

    from rnn.study.configuration import study_from

    other = study_from({"name": "s", "grid": {"task": "digits", "cell": "gru"}})
    with pytest.raises(ValueError, match="holds the study 'models of a folder', not 's'"):
        run_study(other, kept[0], function=cheap, executor=threads)
    assert len(study_rows(kept[0], every=True)) >= 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"folder": "no/such"}, "folder is no/such; expected a folder"),
        ({"out": "."}, "the folder of the checkpoints; name another"),
        ({"data": "chess"}, "data is 'chess'"),
        ({"data": "none.npz"}, "none.npz"),
        ({"group_by": "("}, r"group_by is '\(', which is no regular expression"),
        ({"cluster_by": "seed"}, "cluster_by is 'seed', which is not in broken.pth"),
        ({"bounds": "wide"}, "bounds is 'wide'"),
        ({"examples": 0}, "examples is 0"),
        ({"rng": -1}, "rng is -1"),
        ({"measures": ["charm"]}, "measures has 'charm'"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_work(change, words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    given = {"plan": PLAN} | change
    with pytest.raises((ValueError, OSError), match=words):
        correlate_checkpoints(given.pop("folder", "."), **given)
    assert not list(folder.glob("study*"))


def test_no_model_at_all_is_refused(tmp_path, threads):
    with pytest.raises(ValueError, match=r"there is no file in it that ends in \.pt"):
        correlate_checkpoints(tmp_path, executor=threads)
    (tmp_path / "a.pt").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"none of 1 files in .* could be measured; a\.pt: ValueError"):
        correlate_checkpoints(tmp_path, plan=PLAN, executor=threads)
