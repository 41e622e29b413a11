import io
import json

import numpy as np
import pandas as pd
import pytest
import torch

import spectra
from rnn.diagnosis import COLUMNS, LEVELS, diagnose
from rnn.measures import matrix_measures
from spectra.errors import ConvergenceError, UnsupportedModelError


def recurrent(W):
    return {"rnn.weight_hh_l0": torch.tensor(np.array(W), dtype=torch.float64)}


def levels(found):
    return [finding.level for finding in found.findings]


def test_every_matrix_has_a_row_with_its_measures():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.GRU(3, 4), torch.nn.Linear(4, 2))
    found = diagnose(model, epsilon=0.2)
    assert list(found.table.columns) == list(COLUMNS)
    assert len(found.table) == 7
    assert found.epsilon == 0.2
    gate = model[0].weight_hh_l0.detach().double().numpy()[8:]
    row = found.table.set_index("name").loc["0.weight_hh_l0[n]"]
    for name, value in matrix_measures(gate, epsilon=0.2).items():
        assert row[name] == value
    head = found.table.set_index("name").loc["1.weight"]
    assert (head["rows"], head["columns"], head["role"]) == (2, 4, "linear")
    assert head["spectral_norm"] == pytest.approx(spectra.spectral_norm(model[1].weight.detach().numpy()))
    assert np.isnan(head["spectral_radius"])


@pytest.mark.parametrize(
    ("W", "level", "words"),
    [
        (np.diag([0.5, 0.2]), "pass", "spectral radius 0.5 and norm 0.5 are at most 1"),
        (np.diag([1.5, 0.2]), "notice", "spectral radius 1.5 is above 1"),
        (
            np.diag([0.95, 0.2]),
            "warning",
            "spectral radius 0.95 is at most 1, but a change of the weights of norm 0.1",
        ),
        (
            [[0.05, 1.2], [0.0, 0.05]],
            "notice",
            "stays at most 1 under every change of norm 0.1, but the norm 1.202",
        ),
        (np.zeros((2, 2)), "warning", "all entries are 0"),
    ],
)
def test_findings_about_stability(W, level, words):
    found = diagnose(recurrent(W))
    assert found.level == level
    assert words in found.findings[0].text
    assert found.findings[0].subject == "rnn.weight_hh_l0"
    assert str(found.findings[0]) == f"{level}: rnn.weight_hh_l0: {found.findings[0].text}"


def test_findings_about_nonnormality():
    jordan = diagnose(recurrent([[0.2, 1.0], [0.0, 0.2]]), epsilon=1e-4)
    assert "eigenvector condition number inf is above 1e+08" in jordan.findings[-1].text
    sensitive = diagnose(recurrent([[0.2, 50.0], [0.0, -0.2]]))
    assert any("pseudospectral sensitivity" in finding.text for finding in sensitive.findings)


def test_gates_that_do_not_carry_the_state_get_no_verdict():
    stacked = torch.cat([5 * torch.eye(2), 5 * torch.eye(2), 0.5 * torch.eye(2)]).double()
    found = diagnose({"weight_hh_l0": stacked})  # r, z, n of a GRU
    assert [finding.subject for finding in found.findings] == ["weight_hh_l0[n]"]
    assert found.level == "pass"


def test_warnings_come_first_and_what_is_not_understood_is_listed():
    state = recurrent(np.diag([1.5, 0.2])) | {
        "zero.weight": torch.zeros(2, 3),
        "strange": torch.ones(3, 3),
    }
    found = diagnose(state)
    assert levels(found) == sorted(levels(found), key=lambda level: -LEVELS.index(level))
    assert levels(found) == ["warning", "notice", "notice"]
    assert [name for name, _ in found.unrecognised] == ["strange"]
    assert any("not understood" in finding.text for finding in found.findings if finding.subject == "strange")


def test_a_matrix_that_cannot_be_measured_does_not_stop_the_others(monkeypatch):
    def failing(A, epsilon):
        if A.shape == (2, 2):
            raise ConvergenceError("no luck")
        return matrix_measures(A, epsilon=epsilon)

    monkeypatch.setattr("rnn.diagnosis.matrix_measures", failing)
    found = diagnose(recurrent(np.eye(2)) | {"head.weight": torch.ones(3, 2)})
    assert [str(finding) for finding in found.findings] == [
        "warning: rnn.weight_hh_l0: not measured: no luck"
    ]
    assert len(found.table) == 2
    assert np.isnan(found.table.loc[0, "spectral_norm"])
    assert found.table.loc[1, "spectral_norm"] > 0


def test_no_matrix_is_a_warning():
    found = diagnose(torch.nn.LayerNorm(3))
    assert [finding.subject for finding in found.findings] == ["network"]
    assert found.level == "warning"
    assert found.to_csv() == ",".join(COLUMNS) + "\n"


def test_a_checkpoint_file_is_diagnosed_like_the_model(tmp_path):
    torch.manual_seed(1)
    model = torch.nn.LSTM(3, 4)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    pd.testing.assert_frame_equal(diagnose(model).table, diagnose(tmp_path / "model.pt").table)


def test_formats_hold_the_same_numbers():
    state = recurrent([[0.2, 1.0], [0.0, 0.2]]) | {
        "<b>.weight": torch.ones(1, 2),
        "odd|name": torch.ones(2, 2),
    }
    found = diagnose(state, epsilon=1e-3)
    table = pd.read_csv(io.StringIO(found.to_csv()), dtype={"gate": str}).fillna({"gate": ""})
    pd.testing.assert_frame_equal(table, found.table, check_dtype=False)
    assert "nan" not in found.to_csv().lower()

    content = json.loads(found.to_json())
    assert content["level"] == found.level
    assert content["matrices"][0]["eigenvector_condition_number"] == "inf"
    assert content["matrices"][1]["spectral_radius"] is None
    assert content["matrices"][0]["spectral_norm"] == found.table.loc[0, "spectral_norm"]
    assert [entry["text"] for entry in content["findings"]] == [finding.text for finding in found.findings]
    assert content["unrecognised"][0]["name"] == "odd|name"

    page = found.to_html()
    assert page.startswith("<!doctype html>")
    assert "&lt;b&gt;.weight" in page
    assert "<b>" not in page
    assert "<b>" not in found._repr_html_()
    markdown = found.to_markdown()
    widths = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert widths == {len(COLUMNS) + 1}


def test_progress_and_printing():
    seen = []
    found = diagnose(torch.nn.GRU(2, 3), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]
    assert repr(found).startswith("Diagnosis of 6 matrices: ")
    assert str(found).startswith("6 matrices, 0 entries not understood")


def test_the_model_is_left_as_it_was():
    model = torch.nn.GRU(2, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    diagnose(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_refusals(tmp_path):
    with pytest.raises(UnsupportedModelError):
        diagnose(3)
    with pytest.raises(ValueError, match="epsilon"):
        diagnose(torch.nn.Linear(2, 2), epsilon=-1)
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"bad\.pt"):
        diagnose(tmp_path / "bad.pt")


def test_numbers_near_the_largest_float_do_not_stop_the_others():
    huge = torch.full((3, 3), 1.7e308, dtype=torch.float64)
    found = diagnose({"a.weight": huge, "b.weight": torch.eye(3)})
    assert "not measured: A and epsilon reach up to" in str(found)
    assert found.table["spectral_norm"].tolist()[1] == 1
