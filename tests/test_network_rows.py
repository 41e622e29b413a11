"""The row of a network equals what its parts say, one by one."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnn.bounds.slopes import local_lipschitz
from rnn.dynamics import mean_state_jacobian
from rnn.harness import robustness
from rnn.models import FeedForward, ModelConfig, build_model
from rnn.motion.propagation import finite_time_growth
from rnn.study.network_rows import AttackPlan, NetworkRow, is_outcome, network_row
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from spectra.errors import UnsupportedModelError
from spectra.stability import kreiss_constant

PLAN = AttackPlan(methods=("fgsm", "pgd"), budgets=(("linf", (0.05, 0.1)), ("l2", (0.5,))), trajectories=5)
TASK = load_task("digits")
X, Y = TASK.x_test[:40], TASK.y_test[:40]


def trained(cell: str) -> nn.Module:
    model = build_model(ModelConfig(cell, features=8, steps=8, hidden=12))
    train(model, TASK, config=TrainingConfig(epochs=3))
    return model.eval()


@pytest.fixture(scope="module")
def gru() -> nn.Module:
    return trained("gru")


@pytest.fixture(scope="module")
def row(gru: nn.Module) -> NetworkRow:
    return network_row(gru, X, Y, plan=PLAN, bounds=TASK.bounds, rng=3)


def test_matrix_columns_equal_textbook_definitions(gru: nn.Module, row: NetworkRow) -> None:
    W = gru.weight_hh_l0.detach().double().numpy()[24:]  # gate n
    rho = np.abs(np.linalg.eigvals(W)).max()
    assert row.values["matrices"] == 1
    assert row.values["spectral_radius"] == pytest.approx(rho, rel=1e-10)
    assert row.values["spectral_norm"] == pytest.approx(np.linalg.norm(W, 2), rel=1e-12)
    scaled = kreiss_constant(0.95 * W / rho, dynamics="discrete")
    assert row.values["kreiss_constant_scaled"] == pytest.approx(float(scaled), rel=1e-9)
    J = mean_state_jacobian(gru, X[:5])
    assert row.values["jacobian_spectral_norm"] == pytest.approx(np.linalg.norm(J, 2), rel=1e-10)
    gates = gru.weight_ih_l0.detach().double().numpy()
    norms = [np.linalg.norm(gates[k : k + 12], 2) for k in (0, 12, 24)]
    assert row.values["input_spectral_norm"] == pytest.approx(max(norms), rel=1e-6)
    growth = finite_time_growth(gru, X[:5])
    assert row.values["growth_end"] == pytest.approx(np.log10(growth.norms[:, -1]).mean(), rel=1e-9)


def test_outcomes_are_shares_of_the_clean_correct(gru: nn.Module, row: NetworkRow) -> None:
    with torch.no_grad():
        correct = (gru(X).argmax(1) == Y).numpy()
    assert row.values["clean_correct"] == correct.sum()
    assert row.values["clean_accuracy"] == correct.mean()
    for norm, budget in (("linf", 0.05), ("linf", 0.1), ("l2", 0.5)):
        turned = []
        for method in ("fgsm", "pgd"):
            minimal = row.arrays[f"minimal_{method}_{norm}"]
            curve = robustness(
                gru, X, Y, methods=[method], norm=norm, budgets=dict(PLAN.budgets)[norm], bounds=(0, 1), rng=3
            )
            assert np.array_equal(minimal, curve.minimal_budget)
            turned.append(minimal[correct] <= budget)
            assert row.values[f"fooling_{method}_{norm}_{budget:g}"] == turned[-1].mean()
        assert row.values[f"fooling_all_{norm}_{budget:g}"] == np.logical_or(*turned).mean()
    distances = row.arrays["minimal_l2"]
    assert np.array_equal(distances > 0, correct)
    assert row.values["minimal_l2"] == np.median(distances[correct])


def test_kicks_and_slopes_are_there_and_named_as_outcomes(row: NetworkRow) -> None:
    outcomes = {name for name in row.values if is_outcome(name)}
    assert {"kick_peak_random", "kick_end_worst", "minimal_l2", "fooling_pgd_l2_0.5"} <= outcomes
    assert not outcomes & {"clean_accuracy", "margin", "io_jacobian_norm", "growth_peak", "attacked_examples"}
    assert row.values["kick_peak_worst"] >= row.values["kick_end_worst"] > 0
    ratio = row.values["io_jacobian_norm"] / row.values["margin"]
    assert row.values["io_jacobian_per_margin"] == pytest.approx(ratio)
    infinite = {name for name, value in row.values.items() if not math.isfinite(value)}
    assert infinite <= {"kreiss_constant", "jacobian_kreiss_constant"}  # of an unstable matrix


def test_same_seed_same_row_and_the_model_is_left_alone(gru: nn.Module, row: NetworkRow) -> None:
    before = copy.deepcopy(gru.state_dict())
    again = network_row(gru, X, Y, plan=PLAN, bounds=TASK.bounds, rng=3)
    assert again.values == row.values
    assert all(torch.equal(value, before[name]) for name, value in gru.state_dict().items())
    assert not gru.training


def test_a_feed_forward_network_has_an_input_jacobian_and_no_motion() -> None:
    model = trained("feedforward")
    assert isinstance(model, FeedForward)
    values = network_row(model, X, Y, plan=PLAN, bounds=TASK.bounds).values
    W = model.hidden.weight.detach().double().numpy()
    assert values["spectral_norm"] == pytest.approx(np.linalg.norm(W, 2), rel=1e-12)
    assert "jacobian_spectral_norm" in values
    assert not {"growth_end", "kick_end_worst", "lyapunov_exponent"} & set(values)


class Readout(nn.Module):
    """Two layers, a head on the last state that a sequence has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell = nn.GRU(8, 6, num_layers=2, batch_first=True)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        states = self.cell(x)[0]
        last = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        return self.head(states[torch.arange(len(x)), last.to(torch.int64) - 1])


def test_of_several_matrices_the_largest_measure_counts() -> None:
    model = Readout()
    values = network_row(model, X, Y, plan=PLAN, bounds=TASK.bounds).values
    norms = [
        np.linalg.norm(weight.detach().double().numpy()[12:], 2)
        for weight in (model.cell.weight_hh_l0, model.cell.weight_hh_l1)
    ]
    assert values["matrices"] == 2
    assert values["spectral_norm"] == pytest.approx(max(norms), rel=1e-12)


def test_padding_takes_no_part() -> None:
    model, lengths = Readout(), torch.arange(40) % 5 + 4
    noisy = X.clone()
    for i, length in enumerate(lengths):
        noisy[i, length:] = 0.5
    one = network_row(model, X, Y, plan=PLAN, lengths=lengths).values
    two = network_row(model, noisy, Y, plan=PLAN, lengths=lengths).values
    assert one == two
    alone = [X[i : i + 1, :length] for i, length in enumerate(lengths)]
    slopes = [float(local_lipschitz(model, x)) for x in alone]
    with torch.no_grad():
        scores = np.concatenate([model(x).double().numpy() for x in alone])
    margins = [row[k] - np.delete(row, k).max() for row, k in zip(scores, Y.tolist(), strict=True)]
    assert one["io_jacobian_norm"] == pytest.approx(np.median(slopes), rel=1e-5)
    assert one["margin"] == pytest.approx(np.median(margins), rel=1e-4)


def test_refusals() -> None:
    with pytest.raises(UnsupportedModelError, match="neither recurrent nor linear"):
        network_row(nn.Sequential(nn.Conv1d(8, 10, 8), nn.Flatten()), X, Y, plan=PLAN)
    with pytest.raises(ValueError, match="trajectories"):
        AttackPlan(trajectories=0)
    with pytest.raises(ValueError, match="kick"):
        AttackPlan(kick=0.0)
    with pytest.raises(ValueError, match="methods is empty; expected at least one attack"):
        AttackPlan(methods=())
    with pytest.raises(TypeError, match="minimal is 'l2'; expected a tuple of names"):
        AttackPlan(minimal="l2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"budgets is .*; expected pairs such as"):
        AttackPlan(budgets={"linf": (0.1,)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="budgets has linf twice"):
        AttackPlan(budgets=(("linf", (0.1,)), ("linf", (0.2,))))
    with pytest.raises(ValueError, match=r"budgets has l2 0\.1 twice \(to six digits\)"):
        AttackPlan(budgets=(("l2", (0.1, 0.10000001)),))
