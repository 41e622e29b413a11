"""The summary of a study: the groups are counted as by hand, what is asked for is kept, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from planted_trials import fed_forward, hopeless, planted

from rnn.study.claims import claims
from rnn.study.configuration import study_from
from rnn.study.runs import run_study
from rnn.study.selection import chosen
from rnn.study.study_report import study_report
from rnn.study.summary import group_table, study_summary, summary_table, verdicts
from rnn.study.tables import export_study, study_rows

GRID = {
    "task": ["digits", "adding"],
    "cell": ["gru", "tanh"],
    "normalisation": ["none", "radius"],
    "gain": [0.5, 1.0],
    "seeds": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    with ThreadPoolExecutor(1) as pool:
        run_study(study_from({"name": "planted", "grid": GRID}), out, function=planted, executor=pool)
    return out


@pytest.fixture(scope="module")
def rows(folder):
    return study_rows(folder)


def test_each_group_is_what_its_networks_are(folder, rows):
    found = study_summary(folder)
    table = found.table
    assert list(table) == [
        *("task", "cell", "gain", "normalisation"),
        *("networks", "accuracy", "fooling", "stable", "radius"),
    ]
    assert len(table) == 16
    assert table["networks"].tolist() == [3] * 16
    for line in table.to_dict("records"):
        own = rows
        for name in ("task", "cell", "normalisation", "gain"):
            own = own[own[name] == line[name]]
        held = [
            exponent < 0 and kick < 1
            for exponent, kick in zip(own["lyapunov_exponent"], own["kick_end_worst"], strict=True)
        ]
        assert line["stable"] == np.mean(held)
        assert line["accuracy"] == np.median(own["clean_accuracy"])
        assert line["fooling"] == np.median(own["fooling_reference"])
    again = claims(rows)
    assert [claim.words for claim in found.claims] == [claim.words for claim in again]
    assert str(found).startswith("48 trained networks: C1 ")


def test_groups_are_those_that_are_asked_for(folder):
    table = study_summary(folder, by=["seed", "task"]).table
    assert table[["seed", "task", "networks"]].to_numpy().tolist() == [
        [seed, task, 8] for seed in range(3) for task in ("adding", "digits")
    ]
    assert study_summary(folder, only={"task": "digits"}, by=["task"]).table["networks"].tolist() == [24]


def test_a_network_without_a_number_is_not_counted_as_unstable(rows):
    rows = rows.assign(kick_end_worst=rows["kick_end_worst"].mask(rows["seed"] == 0))
    known = group_table(rows[rows["seed"] != 0])
    pd.testing.assert_series_equal(group_table(rows)["stable"], known["stable"])


def test_networks_without_state_have_no_verdict_and_no_share(tmp_path):
    study = study_from({"name": "forward", "grid": {"task": "digits", "cell": "feedforward", "seeds": 2}})
    with ThreadPoolExecutor(1) as pool:
        run_study(study, tmp_path, function=fed_forward, executor=pool)
    found = study_summary(tmp_path)
    assert "stable" not in found.table
    assert found.claims == ()
    assert found.note.startswith("No verdict")
    assert str(found) == "2 trained networks: no verdict yet"


def test_texts_in_place_of_numbers_are_no_numbers(rows):
    odd = rows.assign(clean_accuracy="high")
    assert "accuracy" not in group_table(odd)
    assert verdicts(odd) == ((), "No verdict: the networks have no clean_accuracy.")


def test_what_is_asked_for_is_kept(folder, rows, tmp_path):
    only = {"task": "digits", "gain": ["0.50", 1]}
    kept = chosen(rows, only)
    assert set(kept["key"]) == set(rows[rows["task"] == "digits"]["key"])
    assert kept.index.tolist() == list(range(24))
    assert len(chosen(rows, {})) == 48
    half = chosen(rows, {"gain": 0.5, "cell": ("gru",)})
    assert set(half["key"]) == set(rows[(rows["gain"] == 0.5) & (rows["cell"] == "gru")]["key"])
    assert study_summary(folder, only=only).networks == 24
    written = pd.read_csv(export_study(folder, tmp_path / "half.csv", only={"gain": 0.5, "cell": "gru"}))
    assert written["key"].tolist() == half["key"].tolist()


def test_a_report_says_what_it_is_about(folder, monkeypatch):
    monkeypatch.setattr("rnn.study.study_pictures.small_png", lambda figure: b"\x89PNG")
    report = study_report(folder, only={"task": "digits"}, draws=20)
    assert "about task = digits: 24 of 48 trained networks" in report.html
    assert set(report.tables["measures"]["task"]) == {"digits"}
    assert report.tables["summary"]["networks"].sum() == 24


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ({"taks": "digits"}, "only names the column 'taks', which is not there; there are "),
        ({"task": "digitz"}, "task = digitz, which no finished network has; there are adding, digits"),
        ({"gain": [1, 3]}, r"gain = 3\.0, which no finished network has; there are 0\.5, 1\.0"),
        ({"gain": []}, "no finished network has all of it"),
    ],
)
def test_what_is_not_there_is_refused(folder, only, message):
    with pytest.raises(ValueError, match=message):
        study_summary(folder, only=only)


def test_columns_to_group_by_are_checked(folder):
    with pytest.raises(ValueError, match=r"by names the column 'cel', which is not there; .* and \d+ more"):
        study_summary(folder, by=["cel"])
    with pytest.raises(ValueError, match="by names a column twice"):
        study_summary(folder, by=["cell", "cell"])


def test_a_study_without_a_network_has_an_empty_table(tmp_path):
    study = study_from({"name": "none", "grid": {"task": "digits", "cell": "gru"}})
    with ThreadPoolExecutor(1) as pool:
        run_study(study, tmp_path, function=hopeless, executor=pool)
    found = study_summary(tmp_path)
    assert found.table.empty
    assert found.note == "No network is finished yet, so there is no verdict."


def test_rates_are_shown_in_percent():
    table = pd.DataFrame({"cell": ["gru"], "networks": [4], "accuracy": [0.975], "stable": [np.nan]})
    shown = summary_table(table)
    assert shown.heads == ["cell", "networks", "accuracy", "stable"]
    assert [cell.text for cell in shown.rows[0]] == ["gru", "4", "97.5%", "-"]
