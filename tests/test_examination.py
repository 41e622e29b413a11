import numpy as np
import pandas as pd
import pytest
import torch

import spectra
from rnn.diagnosis import COLUMNS
from rnn.examination import diagnose
from rnn.findings import LEVELS
from rnn.measuring.measures import MEASURES
from rnn.weights import named_matrices
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
    expected = spectra.measures(gate, dynamics="discrete", epsilon=0.2)
    for name in expected:
        assert row[name] == pytest.approx(expected[name], rel=1e-12)
    reach = expected["pseudospectral_radius"] - expected["spectral_radius"]
    assert row["pseudospectral_sensitivity"] == pytest.approx(reach / 0.2)
    law = spectra.singular_value_distribution(gate)
    assert row["singular_value_outliers"] == law.outliers
    assert row["marchenko_pastur_distance"] == law.ks_distance
    assert not row[[measure.name for measure in MEASURES]].isna().any()
    intervals = found.intervals.set_index(["name", "measure"]).loc["0.weight_hh_l0[n]"]
    assert list(intervals.index) == list(expected)
    np.testing.assert_allclose(intervals["lower"], expected.lower, rtol=1e-12)
    np.testing.assert_allclose(intervals["upper"], expected.upper, rtol=1e-12)
    assert (intervals["lower"] <= intervals["value"]).all()
    assert (intervals["value"] <= intervals["upper"]).all()
    assert found.source == "Sequential"
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
            "spectral radius 0.95 is at most 1, but a perturbation of norm 0.1",
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
    def failing(form, **options):
        raise ConvergenceError("no luck")

    monkeypatch.setattr("rnn.details.measures", failing)
    found = diagnose(recurrent(np.eye(2)) | {"head.weight": torch.ones(3, 2)})
    assert "warning: rnn.weight_hh_l0: measures not computed: no luck" in map(str, found.findings)
    table = found.table.set_index("name")
    assert np.isnan(table.loc["rnn.weight_hh_l0", "kreiss_constant"])
    assert table.loc["rnn.weight_hh_l0", "spectral_radius"] == 1
    assert table.loc["head.weight", "spectral_norm"] > 0


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


def test_progress_and_printing():
    seen = []
    found = diagnose(torch.nn.GRU(2, 3), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (7, 7)  # six matrices, and the bounds of the network
    assert sorted(seen) == seen
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
    assert "measures not computed: A and epsilon reach up to" in str(found)
    assert found.table["spectral_norm"].tolist()[1] == 1


def test_the_quick_mode_has_the_direct_formulas_only():
    model = torch.nn.GRU(3, 4)
    full, quick = diagnose(model), diagnose(model, quick=True)
    known = quick.table.columns[quick.table.notna().any()]
    assert {"spectral_radius", "spectral_norm", "henrici_departure", "stable_rank"} <= set(known)
    assert not {"pseudospectral_radius", "kreiss_constant", "condition_number"} & set(known)
    pd.testing.assert_frame_equal(quick.table[known], full.table[known])
    assert all(detail.portrait is None and detail.growth is None for detail in quick.details)
    assert len(quick.intervals) == 0
    assert len(quick.rounding) == 0
    assert quick.to_json()


def test_large_matrices_get_their_norms_only():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((6, 6))
    found = diagnose(recurrent(W) | {"head.weight": torch.ones(3, 5)}, largest=5)
    row = found.table.set_index("name").loc["rnn.weight_hh_l0"]
    assert row["spectral_norm"] == pytest.approx(np.linalg.norm(W, 2))
    assert row["stable_rank"] == pytest.approx((np.linalg.norm(W) / np.linalg.norm(W, 2)) ** 2)
    assert np.isnan(row["spectral_radius"])
    text = "smaller size 6 is above largest=5: only its norms"
    assert [str(finding) for finding in found.findings] == [f"notice: rnn.weight_hh_l0: {text}"]


def test_what_named_matrices_gave_can_be_diagnosed_in_part():
    found = named_matrices(torch.nn.GRU(3, 4))
    assert diagnose(found[3:5], quick=True).table["name"].tolist() == ["weight_hh_l0[r]", "weight_hh_l0[z]"]
    with pytest.raises(ValueError, match="not for its result"):
        diagnose(found, leak=0.5)


def test_continuous_cells_are_judged_in_continuous_time():
    W = np.array([[0.2, 1.5], [0.0, 0.2]])
    found = diagnose(recurrent(W), dt=0.1, epsilon=0.01)
    row = found.table.iloc[0]
    assert row["dynamics"] == "continuous"
    assert row["spectral_abscissa"] == pytest.approx(-8)
    assert row["distance_to_instability"] == pytest.approx(
        spectra.distance_to_instability((W - np.eye(2)) / 0.1, dynamics="continuous").value
    )
    assert "no state grows at any moment" in str(found)


def test_threads_change_no_number():
    torch.manual_seed(0)
    model = torch.nn.LSTM(3, 8)
    one, two = diagnose(model, threads=1), diagnose(model, threads=2)
    pd.testing.assert_frame_equal(one.table, two.table)
    with pytest.raises(ValueError, match="threads"):
        diagnose(model, threads=0)


def test_ctrl_c_is_passed_on():
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diagnose(torch.nn.LSTM(3, 8), progress=interrupt)


def test_rounding_to_number_formats_is_judged():
    W = np.array([[0.9, 5.0], [0.0, 0.9]])
    found = diagnose(recurrent(W), epsilon=1e-4)
    formats = found.rounding.set_index("number_format")
    assert formats.loc["float16", "verdict"] == "stable whatever the rounding"
    assert formats.loc["float8_e4m3fn", "verdict"] == "this rounding keeps it stable"
    assert set(found.rounding["name"]) == {"rnn.weight_hh_l0"}


def test_arrays_without_a_recurrent_one_are_said_not_to_be_judged(tmp_path):
    np.savez(tmp_path / "w.npz", J=np.eye(2) / 2)
    found = diagnose(tmp_path / "w.npz", quick=True)
    assert "name those that are: recurrent=" in found.findings[-1].text
    assert found.findings[-1].text.endswith("taken as (out, in)")
    judged = diagnose(tmp_path / "w.npz", quick=True, recurrent="J")
    assert [finding.level for finding in judged.findings] == ["pass"]


def test_the_state_of_an_optimiser_is_no_reason_to_fail():
    found = diagnose({"model": {"weight_hh": torch.eye(2) / 2}, "optimizer": {"state": {}}}, quick=True)
    assert found.level == "pass"
    assert found.unrecognised == [("optimizer", "state of an optimiser or scheduler, not weights")]


def test_what_is_said_of_a_large_radius_knows_of_data():
    W = torch.diag(torch.tensor([1.5, 0.2]))
    layer = torch.nn.RNN(1, 2, batch_first=True)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(W)
    assert "diagnose it with some" in str(diagnose(layer, quick=True))
    assert "diagnose it with some" not in str(diagnose(layer, data=torch.zeros(1, 4, 1), quick=True))


@pytest.mark.parametrize("unit", [1e307, 1.0, 1e-300])
def test_squares_of_numbers_in_matrices_above_largest_stay_floats(unit):
    row = diagnose(recurrent(np.diag([3.0, 4.0, 1.0]) * unit), largest=1).table.iloc[0]
    np.testing.assert_allclose(row.spectral_norm, 4 * unit, rtol=1e-6)
    np.testing.assert_allclose(row.stable_rank, 26 / 16, rtol=1e-6)
