"""Cells whose recurrent matrix is constrained: formulas, what the constraint keeps, Jacobians."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn.utils import parametrize

from rnn.attacking.weight_perturbations import weight_robustness
from rnn.dynamics import state_jacobian
from rnn.models import CELLS, ModelConfig, RecurrentClassifier, build_model
from rnn.motion.cells import unrolled_cells
from rnn.motion.drives import recorded_drives
from rnn.motion.equilibria import fixed_points
from rnn.motion.jacobians import state_jacobians
from rnn.motion.kicks import state_kicks
from rnn.networks.parametrizations import cayley
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from rnn.weights import candidate_matrix, named_matrices

RECURRENT = tuple(cell for cell in CELLS if cell != "feedforward")
NEW = ("relu", "orthogonal", "antisymmetric", "lipschitz", "nnrnn")
DIGITS = load_task("digits")


def small(cell: str, hidden: int = 6, **options: float) -> RecurrentClassifier:
    """A small model whose every parameter, biases and constrained parts included, is non-zero."""
    model = RecurrentClassifier(ModelConfig(cell, features=3, steps=5, hidden=hidden, classes=4, **options))
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=random)
        for name, buffer in model.double().named_buffers():
            if name.endswith("cayley_base"):
                buffer.copy_(torch.linalg.qr(buffer)[0])  # orthogonal in float64 too
    return model


def matrix(model: RecurrentClassifier) -> Tensor:
    return model.weight_hh_l0.detach()


def factors(model: RecurrentClassifier) -> tuple[nn.Module, Tensor]:
    """The parametrization of the recurrent matrix, and its free tensor."""
    chain = model.parametrizations["weight_hh_l0"]
    return chain[0], chain.original.detach()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_steps_are_those_of_the_docstring() -> None:
    x, h = normal(7, 3), normal(7, 6, seed=1)
    for cell in NEW:
        model = small(cell)
        W, A = matrix(model), model.drift.weight.detach() if cell == "lipschitz" else torch.zeros(6, 6)
        sums = x @ model.weight_ih_l0.T + h @ W.T + model.bias_ih_l0 + model.bias_hh_l0
        expected = {
            "relu": sums.clamp(min=0),
            "orthogonal": sums.tanh(),
            "antisymmetric": h + 0.3 * sums.tanh(),
            "lipschitz": h + 0.3 * (h @ A.double().T + sums.tanh()),
            "nnrnn": sums.tanh(),
        }[cell]
        torch.testing.assert_close(model.step(x, h), expected, atol=1e-14, rtol=0)


def test_starting_matrices() -> None:
    config = ModelConfig("relu", features=3, steps=5, hidden=6, gain=0.5)
    assert torch.equal(build_model(config).weight_hh_l0, 0.5 * torch.eye(6))
    for hidden in (6, 7):
        config = ModelConfig("nnrnn", features=3, steps=5, hidden=hidden, gain=0.5)
        W = build_model(config).weight_hh_l0.detach().double()
        moduli = torch.linalg.eigvals(W).abs()
        torch.testing.assert_close(moduli, torch.full_like(moduli, 0.5), atol=1e-6, rtol=0)
        torch.testing.assert_close(W @ W.T, W.T @ W, atol=1e-6, rtol=0)  # normal: T is 0 at first
    one, two = (
        matrix(RecurrentClassifier(ModelConfig("lipschitz", features=3, steps=5, gain=gain, gamma=0.0)))
        for gain in (1.0, 2.0)
    )
    torch.testing.assert_close(two, 2 * one)


def test_the_cayley_transform_is_that_of_the_skew_part() -> None:
    free = normal(5, 5)
    skew = np.tril(free.numpy(), -1) - np.tril(free.numpy(), -1).T
    expected = np.linalg.inv(np.eye(5) + skew / 2) @ (np.eye(5) - skew / 2)
    np.testing.assert_allclose(cayley(free), expected, atol=1e-14)


def test_orthogonal_stays_orthogonal_while_it_trains() -> None:
    model = build_model(ModelConfig("orthogonal", features=8, steps=8, hidden=64))
    first = matrix(model).clone()
    train(model, DIGITS, config=TrainingConfig(epochs=2, learning_rate=2e-2))
    W = matrix(model)
    assert (W - first).abs().max() > 0.05
    torch.testing.assert_close(W @ W.T, torch.eye(64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("gamma", [0.0, 0.25])
def test_antisymmetric_is_skew_but_for_the_damping_and_its_jacobian_nearly_neutral(gamma: float) -> None:
    model = small("antisymmetric", eta=0.1, gamma=gamma)
    W = matrix(model)
    torch.testing.assert_close(W + W.T, -2 * gamma * torch.eye(6).double(), atol=1e-15, rtol=0)
    h, x = normal(6), normal(3, seed=1)
    slopes = (state_jacobian(model, h, x) - np.eye(6)) / 0.1  # D W, with D = diag(tanh')
    real = np.linalg.eigvals(slopes).real
    if gamma == 0:  # Chang et al. 2019: D^(1/2) W D^(1/2) is skew too, with the same eigenvalues
        np.testing.assert_allclose(real, 0, atol=1e-13)
    else:
        assert (real < 0).all()


def test_lipschitz_mixes_the_parts_of_free_matrices() -> None:
    model = small("lipschitz", beta=0.625, gamma=0.125)
    for module, name in ((model, "weight_hh_l0"), (model.drift, "weight")):
        M = module.parametrizations[name].original.detach()
        expected = 0.375 * (M + M.T) + 0.625 * (M - M.T) - 0.125 * torch.eye(6).double()
        torch.testing.assert_close(getattr(module, name).detach(), expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize("hidden", [1, 2, 6, 7])
def test_nnrnn_has_the_eigenvalues_of_its_blocks(hidden: int) -> None:
    model = small("nnrnn", hidden)
    link, free = factors(model)
    W, blocks = matrix(model), link.triangle(free).detach()
    pairs = (link.moduli[: hidden // 2] * torch.exp(1j * link.angles)).detach().numpy()
    expected = np.concatenate((pairs, pairs.conj(), link.moduli[hidden // 2 :].detach().numpy()))
    for matrix_of_both in (W, blocks):
        found = np.linalg.eigvals(matrix_of_both.numpy())
        gaps = np.abs(found[:, None] - expected)
        np.testing.assert_allclose(gaps.min(0), 0, atol=1e-8)
        np.testing.assert_allclose(gaps.min(1), 0, atol=1e-8)
    assert np.linalg.norm(np.triu(blocks, 2)) == 0
    if hidden > 2:
        assert not torch.allclose(W @ W.T, W.T @ W, atol=1e-3)  # T makes it non-normal
    torch.testing.assert_close(
        torch.linalg.matrix_norm(W, 2), torch.linalg.matrix_norm(blocks, 2)
    )  # P is orthogonal


@pytest.mark.parametrize("cell", RECURRENT)
def test_state_jacobians_are_the_derivatives_of_the_step(cell: str) -> None:
    model, x = small(cell), normal(2, 5, 3)
    found = state_jacobians(model, x)
    drive = recorded_drives(model, x)[0]
    for n, t in ((0, 0), (1, 3)):
        state, frame = drive.before[n, t], x[n, t]
        with torch.no_grad():
            exact = jacrev(model.step, argnums=1)(frame, state)
            kicks = 1e-6 * torch.eye(model.state_size, dtype=torch.float64)
            ends = model.step(frame, state + kicks), model.step(frame, state - kicks)
        np.testing.assert_allclose(found[n, t], exact, atol=1e-13)
        np.testing.assert_allclose(found[n, t], (ends[0] - ends[1]).T / 2e-6, atol=1e-8)
    W = matrix(model)
    if cell in {"antisymmetric", "lipschitz"}:
        A = model.drift.weight.detach() if cell == "lipschitz" else torch.zeros(6, 6).double()
        slopes = 1 - ((drive.states[1, 3] - drive.before[1, 3]) / 0.3 - A @ drive.before[1, 3]) ** 2
        expected = torch.eye(6) + 0.3 * (A + slopes[:, None] * W)
        np.testing.assert_allclose(found[1, 3], expected, atol=1e-13)


@pytest.mark.parametrize("cell", RECURRENT)
def test_the_unrolled_cell_steps_like_the_model(cell: str) -> None:
    model, x = small(cell), normal(7, 3)
    state = normal(7, model.state_size, seed=2)
    (unrolled,) = unrolled_cells(model, "cell")
    assert unrolled.name == "cell"
    torch.testing.assert_close(unrolled.step(x, state), model.step(x, state), atol=1e-14, rtol=0)
    outputs, last = unrolled(normal(2, 5, 3))
    torch.testing.assert_close(model.head(outputs[:, -1]), model(normal(2, 5, 3)), atol=1e-13, rtol=0)
    torch.testing.assert_close(last[:, :6], outputs[:, -1])


@pytest.mark.parametrize("cell", NEW)
def test_matrices_are_read_and_the_model_stays_as_it_was(cell: str) -> None:
    model, x, y = small(cell), normal(4, 5, 3), torch.tensor([0, 1, 2, 3])
    before = copy.deepcopy(model.state_dict())
    names = [record.name for record in named_matrices(model)]
    assert names.count("weight_hh_l0") == 1
    assert named_matrices(model).unrecognised == []
    assert candidate_matrix(model).name == "weight_hh_l0"
    np.testing.assert_allclose(candidate_matrix(model).matrix, matrix(model), atol=1e-14)
    found = weight_robustness(model, x, y, sizes=[0.1], shares=[0.5], draws=2, steps=2)
    assert found is not None
    assert fixed_points(model, count=4).starts == 4
    assert state_kicks(model, x, size=0.1, draws=2).unjudged == ""
    assert parametrize.is_parametrized(model) == (cell != "relu")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("hidden", [1, 6, 7])
@pytest.mark.parametrize("cell", NEW)
def test_files_hold_all_that_the_matrix_is_made_of(cell: str, hidden: int, tmp_path: Path) -> None:
    model = small(cell, hidden)
    torch.save({"module." + key: value for key, value in model.state_dict().items()}, tmp_path / "model.pt")
    live, found = named_matrices(model), named_matrices(tmp_path / "model.pt")
    assert found.unrecognised == []
    assert [record.name for record in found] == [record.name for record in live]
    for record, other in zip(found, live, strict=True):
        np.testing.assert_allclose(record.matrix, other.matrix, atol=1e-14)
    half = {key: value.half() for key, value in model.state_dict().items()}
    W = {record.name: record.matrix for record in named_matrices(half)}["weight_hh_l0"]
    np.testing.assert_allclose(W, matrix(model), atol=0.01)


def test_parts_that_do_not_fit_are_listed() -> None:
    state = small("nnrnn").state_dict()
    stem = "parametrizations.weight_hh_l0."
    for key, value in ((f"{stem}0.angles", torch.zeros(2)), (f"{stem}original", torch.zeros(6, 5))):
        found = named_matrices(state | {key: value})
        assert "shapes that do not fit" in dict(found.unrecognised)["weight_hh_l0"]
    singular = {f"{stem}original": torch.full((2, 2), float("inf")), f"{stem}0.cayley_base": torch.eye(2)}
    assert named_matrices(singular | {"head.weight": torch.eye(2)}).unrecognised != []
    lone = named_matrices({f"{stem}original": torch.eye(2), "head.weight": torch.eye(2)})
    assert "needs its partners" in lone.unrecognised[0][1]


@pytest.mark.parametrize("cell", NEW)
def test_new_cells_learn_digits(cell: str) -> None:
    model = build_model(ModelConfig(cell, features=8, steps=8))
    record = train(model, DIGITS, config=TrainingConfig(epochs=8, learning_rate=1e-2))
    assert record.test_accuracy > 0.75
    assert record.losses[-1] < record.losses[0] / 2


def test_the_matrix_is_computed_once_for_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = small("nnrnn"), []
    link, _ = factors(model)
    forward = link.forward
    monkeypatch.setattr(link, "forward", lambda free: (calls.append(1), forward(free))[1])
    model(normal(2, 5, 3))
    assert len(calls) == 1
    with torch.no_grad():
        before = model(normal(2, 5, 3))
        link.angles += 0.1
        assert not torch.equal(model(normal(2, 5, 3)), before)  # and anew for the next one


def test_hyperparameters_are_taken_by_the_cells_that_have_them() -> None:
    config = ModelConfig("lipschitz", features=3, steps=5)
    assert (config.eta, config.gamma, config.beta) == (0.3, 0.001, 0.75)
    assert ModelConfig(**dataclasses.asdict(config)) == config
    assert dataclasses.replace(config, eta=0.03).eta == 0.03
    for cell, name in (
        ("tanh", "eta"),
        ("orthogonal", "gamma"),
        ("antisymmetric", "beta"),
        ("feedforward", "eta"),
    ):
        with pytest.raises(ValueError, match=rf"{name} is 0\.5, but cell '{cell}' takes none; leave it out"):
            ModelConfig(cell, features=3, steps=5, **{name: 0.5})
    for name, value, expected in (
        ("eta", 0.0, "> 0"),
        ("gamma", -1.0, ">= 0"),
        ("beta", 1.5, r"in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=rf"{name} is {value}; expected a number {expected}"):
            ModelConfig("lipschitz", features=3, steps=5, **{name: value})
    with pytest.raises(TypeError, match="beta is '1'; expected a real number"):
        ModelConfig("lipschitz", features=3, steps=5, beta="1")
    with pytest.raises(ValueError, match=r"gain is 2\.0, but cell 'orthogonal' takes none: its recurrent"):
        ModelConfig("orthogonal", features=3, steps=5, gain=2.0)
