"""Each finding is made on one side of its threshold and not on the other."""

import numpy as np
import pytest
import torch

from rnn.details import matrix_detail
from rnn.findings import Finding, carries_state, matrix_findings
from rnn.weights import named_matrices


def found(W, *, epsilon=0.1, dt=None, quick=False, name="weight_hh_l0"):
    (record,) = named_matrices({name: torch.tensor(np.array(W), dtype=torch.float64)}, dt=dt)
    detail = matrix_detail(record.name, record.matrix, dynamics=record.dynamics, epsilon=epsilon, quick=quick)
    return list(matrix_findings(record, detail, epsilon))


def said(findings, words):
    return [finding.level for finding in findings if words in finding.text]


@pytest.mark.parametrize(
    ("W", "level", "words"),
    [
        (np.diag([0.5, 0.2]), "pass", "spectral radius 0.5 and norm 0.5 are at most 1"),
        (np.diag([1.5, 0.2]), "notice", "spectral radius 1.5 is above 1"),
        (np.diag([0.95, 0.2]), "warning", "(one of norm 0.05 is enough, 5.3% of that of the matrix; a real"),
        ([[0.05, 1.2], [0.0, 0.05]], "notice", "the norm 1.202 is above 1"),
    ],
)
def test_stability_in_discrete_time(W, level, words):
    first = found(W)[0]
    assert (first.level, first.subject) == (level, "weight_hh_l0")
    assert words in first.text


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1 + 2e-7, 1 - 2e-7])
def test_the_edge_of_stability_is_told_whatever_the_last_digits(quick, scale):
    for W in (np.eye(3), np.eye(4)[[1, 2, 3, 0]], [[0.6, -0.8], [0.8, 0.6]]):
        first = found(scale * np.array(W), quick=quick)[0]
        assert first.level == "warning"
        assert "spectral radius 1 cannot be told from 1 (they differ by " in first.text
    for W in (np.eye(3), np.eye(4)[[1, 2, 3, 0]]):
        first = found(W, quick=quick, dt=0.1)[0]
        assert first.level == "warning"
        assert "cannot be told from 0" in first.text


def test_numbers_are_written_so_that_they_differ_from_their_limit():
    assert "spectral radius 1.0001 is above 1" in found(np.diag([1.0001, 0.2]))[0].text
    assert "spectral radius 0.99999 is at most 1" in found(np.diag([0.99999, 0.2]))[0].text


def test_the_quick_mode_says_what_it_cannot_tell():
    assert found(np.diag([0.95, 0.2]), quick=True)[0].level == "pass"
    (finding,) = found([[0.05, 1.2], [0.0, 0.05]], quick=True)
    assert finding.level == "notice"
    assert "the full diagnosis says" in finding.text


@pytest.mark.parametrize(
    ("W", "level", "words"),
    [
        ([[0.5, 0.0], [0.0, 0.2]], "pass", "no state grows at any moment"),
        ([[1.2, 0.0], [0.0, 0.2]], "notice", "spectral abscissa 0.2 is above 0"),
        ([[0.95, 0.0], [0.0, 0.2]], "warning", "can bring it to 0.05"),
        ([[0.1, 3.0], [0.0, 0.2]], "notice", "can grow for a while"),
    ],
)
def test_stability_in_continuous_time(W, level, words):
    first = found(W, dt=1.0)[0]
    assert first.level == level
    assert words in first.text


def test_growth_before_decay_is_told_from_its_threshold_on():
    assert said(found([[0.5, 20.0], [0.0, 0.5]], epsilon=1e-4), "Kreiss constant") == ["notice"]
    assert said(found([[0.5, 1.5], [0.0, 0.5]], epsilon=1e-4), "Kreiss constant") == []
    assert said(found(np.diag([1.5, 0.5])), "Kreiss constant") == []  # infinite: that it grows is said before


def test_non_normality_is_told_from_its_thresholds_on():
    assert said(found([[0.2, 1.0], [0.0, 0.2]], epsilon=1e-4), "eigenvector condition number inf") == [
        "notice"
    ]
    assert said(found([[0.2, 50.0], [0.0, -0.2]]), "pseudospectral sensitivity") == ["notice"]
    assert said(found([[0.2, 1.0], [0.0, -0.2]]), "pseudospectral sensitivity") == []


def test_pure_noise_looks_untrained_and_a_written_direction_does_not():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((64, 64)) / 16
    direction = np.outer(rng.standard_normal(64), rng.standard_normal(64)) / 64 * 4
    assert said(found(noise), "untrained") == ["notice"]
    assert said(found(noise + direction), "untrained") == []
    assert said(found(np.linalg.qr(noise)[0]), "untrained") == []
    assert said(found(noise[:8, :8]), "untrained") == []  # too small to tell


def test_zeros_are_a_warning_and_nothing_more():
    (finding,) = found(np.zeros((2, 2)))
    assert finding.level == "warning"
    assert "all entries are 0" in finding.text
    assert str(finding) == f"warning: weight_hh_l0: {finding.text}"


def test_only_gates_that_carry_the_state_are_judged():
    gates = {record.gate: carries_state(record) for record in named_matrices(torch.nn.LSTM(2, 3))[4:]}
    assert gates == {"i": False, "f": False, "g": True, "o": False}
    assert not carries_state(named_matrices(torch.nn.Linear(3, 3))[0])
    assert found(np.diag([1.5, 0.2]), name="weight") == []


def test_findings_are_records():
    finding = Finding("pass", "W", "text")
    with pytest.raises(AttributeError):
        finding.level = "warning"
