import numpy as np
import pytest
import torch

import spectra
from rnn.models import ModelConfig, build_model
from rnn.motion.cells import UnrolledCell
from rnn.motion.drives import cell_drive
from rnn.motion.layer_dynamics import dynamics_findings, layer_dynamics


def drive_of(W, *, count=3, steps=40):
    """A tanh cell that starts at 0 and gets no input stays there: its Jacobian is W at every step."""
    W = torch.tensor(np.array(W), dtype=torch.float64)
    cell = UnrolledCell("tanh", {"weight_ih": torch.zeros(len(W), 1), "weight_hh": W})
    return cell_drive(cell, torch.zeros(count, steps, 1))


def levels(found, words):
    return [finding.level for finding in dynamics_findings(found) if words in finding.text]


def test_around_rest_a_layer_is_its_matrix():
    W = np.array([[0.5, 1.0], [0.0, 0.3]])
    found = layer_dynamics(drive_of(W), epsilon=0.1)
    assert (found.sequences, found.of, found.steps, found.states) == (3, 3, 40, 2)
    np.testing.assert_allclose(found.radii, 0.5)
    np.testing.assert_allclose(found.norms, np.linalg.norm(W, 2))
    assert (np.abs(found.lyapunov.exponents - np.log([0.5, 0.3])) <= found.lyapunov.errors).all()
    assert found.jacobian.values["spectral_radius"] == pytest.approx(0.5)
    assert found.growth.norms[0, 1] == pytest.approx(np.linalg.norm(W @ W, 2))
    assert found.points.kinds.tolist() == ["attractor"]
    assert found.failures == ()
    assert found.worst.values["spectral_norm"] == pytest.approx(np.linalg.norm(W, 2))
    assert found.reaches == pytest.approx([spectra.pseudospectral_radius(W, 0.1).value])
    np.testing.assert_allclose(sorted(found.portraits[0].eigenvalues.real), [0.3, 0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("W", "words", "level"),
    [
        (np.diag([0.5, 0.2]), "is below 0", "pass"),
        (np.diag([1.2, 0.2]), "is above 0", "notice"),
        (np.diag([0.5, 0.2]), "1 attractor", "pass"),
        ([[0.5, 60.0], [0.0, 0.5]], "grows", "notice"),
    ],
)
def test_findings_about_dynamics(W, words, level):
    found = layer_dynamics(drive_of(W), epsilon=0.1)
    assert levels(found, words) == [level]


@pytest.mark.parametrize(
    ("steps", "words"), [(40, "40 steps cannot tell"), (200, "That lasts over 200 steps")]
)
def test_chaos_is_not_spoken_of_after_a_few_steps(steps, words):
    found = layer_dynamics(drive_of(np.diag([1.2, 0.2]), steps=steps), epsilon=0.1, quick=True)
    assert levels(found, words) == ["notice"]


@pytest.mark.parametrize("steps", [1, 3])
def test_one_or_three_steps_decide_nothing(steps):
    found = layer_dynamics(drive_of(np.diag([0.5, 0.2]), count=20, steps=steps), epsilon=0.1, quick=True)
    assert levels(found, "cannot be told from 0: too few steps") == ["notice"]


def test_what_neither_grows_nor_dies_out_is_left_open():
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert levels(layer_dynamics(drive_of(turn), epsilon=0.1), "cannot be told from 0") == ["notice"]


def test_the_quick_mode_searches_no_fixed_points():
    found = layer_dynamics(drive_of(np.diag([0.5, 0.2])), epsilon=0.1, quick=True)
    assert found.points is None
    assert found.jacobian.portrait is None
    assert len(found.lyapunov.exponents) == 2


def test_wide_layers_are_looked_at_on_fewer_sequences(monkeypatch):
    monkeypatch.setattr("rnn.motion.layer_dynamics._BUDGET", 40.0 * 40 * 2**3 * 2)
    drive = drive_of(np.diag([0.5, 0.2]), count=9)
    found = layer_dynamics(drive, epsilon=0.1)
    assert (found.sequences, found.of) == (2, 9)
    assert found.radii.shape == (2, 40)
    assert layer_dynamics(drive, epsilon=0.1, quick=True).sequences == 1


def test_steps_behind_the_end_of_a_sequence_are_left_out():
    model = build_model(ModelConfig("gru", features=2, steps=5, hidden=3))
    drive = cell_drive(model, torch.randn(2, 5, 2), lengths=[5, 2])
    found = layer_dynamics(drive, epsilon=0.1, quick=True)
    assert found.worst.values["spectral_norm"] == pytest.approx(np.nanmax(found.norms))
    assert np.isnan(found.radii).tolist() == [[False] * 5, [False] * 2 + [True] * 3]
