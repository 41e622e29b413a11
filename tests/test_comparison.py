import json

import numpy as np
import pandas as pd
import pytest
import torch

from rnn.comparison import COLUMNS, compare
from rnn.examination import diagnose
from spectra.errors import UnsupportedModelError


def recurrent(W):
    return {"weight_hh_l0": torch.tensor(np.array(W), dtype=torch.float64)}


def test_every_measure_of_both_is_compared():
    torch.manual_seed(0)
    first, second = torch.nn.GRU(3, 4), torch.nn.GRU(3, 4)
    found = compare(first, second, epsilon=0.2, threads=1)
    assert list(found.table.columns) == list(COLUMNS)
    rows = found.table.set_index(["name", "measure"])
    one = diagnose(first, epsilon=0.2).table.set_index("name")
    two = diagnose(second, epsilon=0.2).table.set_index("name")
    for name in one.index:
        for measure in one.columns[7:]:
            if not np.isnan(one.loc[name, measure]):
                row = rows.loc[(name, measure)]
                assert (row["before"], row["after"]) == (one.loc[name, measure], two.loc[name, measure])
                assert row["change"] == row["after"] - row["before"]
    W, V = (layer.weight_hh_l0.detach().double().numpy()[8:] for layer in (first, second))
    moved = rows.loc[("weight_hh_l0[n]", "weight_change")]
    assert moved["after"] == pytest.approx(np.linalg.norm(V - W, 2), rel=1e-6)
    assert moved["before"] == pytest.approx(np.linalg.norm(W, 2))


@pytest.mark.parametrize(
    ("W", "V", "words"),
    [
        ([[0.5, 0.0], [0.0, 0.4]], [[0.5, 0.4], [0.0, 0.4]], "less normal: Henrici departure, relative 0 ->"),
        ([[0.5, 0.4], [0.0, 0.4]], [[0.5, 0.0], [0.0, 0.4]], "more normal: Henrici departure"),
        ([[0.5, 0.0], [0.0, 0.4]], [[0.6, 0.0], [0.0, 0.4]], "no measure of non-normality changed by more"),
    ],
)
def test_what_became_of_normality(W, V, words):
    findings = compare(recurrent(W), recurrent(V)).findings
    assert [finding.level for finding in findings] == ["notice"]
    assert words in findings[0].text


def test_crossing_the_unit_circle_is_a_warning():
    found = compare(recurrent(np.diag([0.9, 0.1])), recurrent(np.diag([1.1, 0.1])))
    assert found.findings[0].level == "warning"
    assert "went from 0.9 to 1.1, across 1" in found.findings[0].text
    assert found.level == "warning"
    back = compare(recurrent(np.diag([1.1, 0.1])), recurrent(np.diag([0.9, 0.1])), epsilon=0.01)
    assert back.level == "notice"


def test_what_only_one_of_them_has_is_listed():
    before = recurrent(np.eye(2)) | {"a.weight": torch.ones(2, 3), "b.weight": torch.ones(2, 3)}
    after = recurrent(np.eye(2)) | {"a.weight": torch.ones(2, 4), "c.weight": torch.ones(2, 3)}
    lines = [str(finding) for finding in compare(before, after).findings]
    assert "notice: a.weight: has shape (2, 3) before and (2, 4) after, and was not compared" in lines
    assert "notice: b.weight: is only in the network before, and was not compared" in lines
    assert "notice: c.weight: is only in the network after, and was not compared" in lines
    with pytest.raises(UnsupportedModelError, match="no matrix of the same name and shape"):
        compare(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))


def test_formats_hold_the_same_numbers():
    found = compare(recurrent([[0.5, 0.0], [0.0, 0.5]]), recurrent([[0.5, 0.4], [0.0, 0.5]]))
    content = json.loads(found.to_json())
    assert content["level"] == found.level
    assert content["before"] == json.loads(found.before.to_json())
    kappa = [row for row in content["changes"] if row["measure"] == "eigenvector_condition_number"]
    assert (kappa[0]["before"], kappa[0]["after"], kappa[0]["change"]) == (1.0, "inf", "inf")
    assert len(found.to_csv().splitlines()) == len(found.table) + 1
    assert found.to_markdown().count("\n| ") == len(found.table) + 2  # with head and rule
    assert "table" in found._repr_html_()
    assert repr(found) == f"Comparison of 1 matrix: {len(found.findings)} findings"


def test_progress_and_options():
    seen = []
    layer = torch.nn.GRU(2, 3)
    found = compare(layer, layer, quick=True, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    assert sorted(seen) == seen
    assert (found.table["change"].dropna() == 0).sum() == len(found.table)
    leaky = compare(recurrent(np.eye(2)), recurrent(np.eye(2)), leak=0.5).table
    assert leaky["name"].str.contains("0.5 I").all()
    with pytest.raises(ValueError, match="epsilon"):
        compare(layer, layer, epsilon=-1)
    with pytest.raises(TypeError, match="data and model are for"):
        compare(layer, layer, data=torch.zeros(1, 2, 2), model=layer)
    pd.testing.assert_frame_equal(
        compare(layer, layer, quick=True).after.table, diagnose(layer, quick=True).table
    )


def test_only_matrices_that_carry_the_state_are_judged():
    torch.manual_seed(0)
    before = torch.nn.LSTM(2, 4)
    after = torch.nn.LSTM(2, 4)
    with torch.no_grad():
        after.weight_hh_l0.copy_(8 * before.weight_hh_l0)
    found = {(finding.subject, finding.level) for finding in compare(before, after, quick=True).findings}
    gates = {f"weight_hh_l0[{gate}]": gate for gate in "ifgo"}
    levels = {(gates[subject], level) for subject, level in found if subject in gates}
    assert levels == {("g", "warning"), ("g", "notice"), ("i", "pass"), ("f", "pass"), ("o", "pass")}


def test_what_did_not_change_at_all_is_said():
    found = compare(recurrent(np.eye(2)), recurrent(np.eye(2)), quick=True)
    assert "did not change at all" in found.findings[0].text
    assert found.to_html(command="spectra x").count("spectra x") == 1
    assert "state_dict -&gt; state_dict" in found.to_html()
