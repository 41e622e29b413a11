"""The judge: the counts of Foolbox, budgets kept, curves that never rise, models that come back untouched."""

import copy
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

import rnn.attacks
from rnn.attacking.threats import NORMS, Threat
from rnn.attacks import FGSM, Objective
from rnn.harness import AttackResult, RobustnessCurve, attack, robustness
from rnn.models import CELLS, ModelConfig, build_model
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from spectra.errors import AccuracyWarning

DIGITS = load_task("digits")
X, Y, BOUNDS = DIGITS.x_test, DIGITS.y_test, DIGITS.bounds
FEW, LABELS = X[:60], Y[:60]


class Layered(nn.Module):
    """A classifier around torch's own LSTM, with dropout, batch statistics and a state beside the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 24, num_layers=2, batch_first=True, dropout=0.3)
        self.norm = nn.BatchNorm1d(24)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(24, 10))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output, _ = self.rnn(x)
        return self.head(self.norm(output[:, -1])), output


@functools.cache
def trained(kind: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Layered() if kind == "layered" else build_model(ModelConfig(kind, features=8, steps=8))
    train(model, DIGITS, config=TrainingConfig(epochs=10, learning_rate=1e-2))
    return model


def predictions(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    twin = copy.deepcopy(model).eval()
    with torch.no_grad():
        output = twin(x)
    return (output[0] if isinstance(output, tuple) else output).argmax(1)


def run(kind: str = "tanh", x: torch.Tensor = FEW, y: torch.Tensor = LABELS, **changes: Any) -> AttackResult:
    chosen = {"method": "pgd", "norm": "linf", "budget": 0.08, "bounds": BOUNDS, **changes}
    return attack(trained(kind), x, y, **chosen)


# Against a published implementation and the definition


def foolbox_counts(kind: str, norm: str, budgets: list[float]) -> list[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # foolbox 3.3.4 uses names that SciPy and setuptools have deprecated
        import foolbox

        class First(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = copy.deepcopy(trained(kind))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                output = self.inner(x)
                return output[0] if isinstance(output, tuple) else output

        judged = foolbox.PyTorchModel(First().eval(), bounds=BOUNDS, device="cpu")
        method = {
            "linf": foolbox.attacks.LinfFastGradientAttack,
            "l2": foolbox.attacks.L2FastGradientAttack,
            "l1": foolbox.attacks.L1FastGradientAttack,
        }[norm]()
        _, _, success = method(judged, X, Y, epsilons=budgets)
    return (~success).sum(1).tolist()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [*CELLS, "layered"])
def test_fgsm_gives_exactly_the_robust_counts_of_foolbox(kind: str, norm: str) -> None:
    budgets = {
        "linf": [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4],
        "l2": [0.0, 0.1, 0.2, 0.4, 0.8, 1.6],
        "l1": [0.0, 0.5, 1.0, 2.0, 4.0, 8.0],
    }[norm]
    ours = [
        int((~attack(trained(kind), X, Y, method="fgsm", norm=norm, budget=b, bounds=BOUNDS).success).sum())
        for b in budgets
    ]
    assert ours == foolbox_counts(kind, norm, budgets)
    assert len(set(ours)) >= 4  # the budgets tell something


@pytest.mark.parametrize("kind", ["tanh", "gru"])
@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.03), ("linf", 0.1), ("l2", 0.2), ("l2", 0.6)])
def test_pgd_with_the_steps_and_the_start_of_foolbox_agrees_within_one_percent(
    kind: str, norm: str, budget: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        family = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]

        class Cosine(family):  # type: ignore[misc, valid-type]  # from the clean input, first as far as FGSM
            def get_optimizer(self, x: Any, stepsize: float) -> Callable[[Any], Any]:
                falling = (2 * budget * (1 + np.cos(np.pi * k / 20)) / 2 for k in range(1, 20))
                lengths = iter([budget, *falling])
                return lambda gradient: next(lengths) * gradient

        judged = foolbox.PyTorchModel(copy.deepcopy(trained(kind)).eval(), bounds=BOUNDS, device="cpu")
        _, _, success = Cosine(steps=20, random_start=False)(judged, X, Y, epsilons=budget)
        ours = run(kind, X, Y, norm=norm, budget=budget, steps=20, rounds=1).success
    theirs = int((~success).sum())
    assert abs(int((~ours).sum()) - theirs) <= 0.01 * len(X)
    assert 0 < theirs < int((predictions(trained(kind), X) == Y).sum()) - 10  # it did something


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["fgsm", "pgd"])
@pytest.mark.parametrize("kind", [*CELLS, "layered"])
def test_a_result_is_what_the_model_says(kind: str, method: str, norm: str) -> None:
    model = trained(kind)
    result = attack(model, X, Y, method=method, norm=norm, budget=0.2, bounds=BOUNDS)
    clean, final = (predictions(model, x) == Y for x in (X, result.perturbed))
    assert isinstance(result.success, np.ndarray)
    assert result.success.dtype == result.fooled.dtype == result.clean_correct.dtype == bool
    np.testing.assert_array_equal(result.clean_correct, clean.numpy())
    np.testing.assert_array_equal(result.success, (~final).numpy())
    np.testing.assert_array_equal(result.fooled, (clean & ~final).numpy())
    assert result.fooling_rate == pytest.approx((clean & ~final).sum().item() / clean.sum().item())
    assert result.success_rate == pytest.approx((~final).double().mean().item())
    assert result.clean_accuracy == pytest.approx(clean.double().mean().item())
    delta = (result.perturbed.double() - X.double()).flatten(1).numpy()
    measured = np.linalg.norm(delta, {"linf": np.inf, "l2": 2, "l1": 1}[norm], axis=1)
    np.testing.assert_allclose(result.distances, measured, rtol=1e-12)
    assert result.distances.max() <= 0.2 * (1 + (0 if norm == "linf" else 1e-6))
    assert result.perturbed.min() >= 0
    assert result.perturbed.max() <= 1
    assert torch.equal(result.perturbed[~clean], X[~clean])
    assert (result.method, result.norm, result.budget) == (method, norm, 0.2)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.02), ("linf", 0.1), ("l2", 0.1), ("l2", 0.5)])
def test_pgd_turns_whatever_fgsm_turns(kind: str, norm: str, budget: float) -> None:
    weak, strong = (
        attack(trained(kind), X, Y, method=method, norm=norm, budget=budget, bounds=BOUNDS).success
        for method in ("fgsm", "pgd")
    )
    assert not (weak & ~strong).any()


def test_pgd_turns_clearly_more_than_fgsm() -> None:
    for kind in CELLS:
        weak, strong = (
            run(kind, X, Y, method=method, budget=0.1).success.sum() for method in ("fgsm", "pgd")
        )
        assert strong - weak > 0.3 * (len(X) - weak)  # of those that FGSM leaves


def linear(margin: float) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Two classes: the distance of x from the boundary is `margin` in L2 and margin / √2 in L-infinity."""
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    return model, torch.tensor([[margin / 2**0.5] * 2]), torch.tensor([1])


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
@pytest.mark.parametrize(("norm", "distance"), [("l2", 0.3), ("linf", 0.3 / 2**0.5)])
def test_a_linear_model_is_fooled_exactly_beyond_its_margin(method: str, norm: str, distance: float) -> None:
    model, x, y = linear(0.3)
    assert not attack(model, x, y, method=method, norm=norm, budget=distance * 0.999).success.any()
    result = attack(model, x, y, method=method, norm=norm, budget=distance * 1.001)
    assert result.fooled.all()
    curve = robustness(
        model, x, y, methods=[method], norm=norm, budgets=[distance * f for f in (0.5, 0.999, 1.001, 2)]
    )
    assert curve.minimal_budget == pytest.approx(distance * 1.001)
    assert curve.accuracy.tolist() == [1, 1, 0, 0]


# Invariants


@given(
    budget=st.floats(0, 2),
    norm=st.sampled_from(NORMS),
    method=st.sampled_from(["fgsm", "pgd"]),
    bounds=st.sampled_from([BOUNDS, None]),
    seed=st.integers(0, 1000),
)
@example(budget=2.0**-149, norm="l2", method="pgd", bounds=BOUNDS, seed=0)  # the smallest number of float32
def test_budgets_and_bounds_are_kept(
    budget: float, norm: str, method: str, bounds: tuple[float, float] | None, seed: int
) -> None:
    result = run(x=FEW[:8], y=LABELS[:8], budget=budget, norm=norm, method=method, bounds=bounds, rng=seed)
    assert result.distances.max() <= budget * (1 + (0 if norm == "linf" else 1e-6))
    if bounds is not None:
        assert result.perturbed.min() >= 0
        assert result.perturbed.max() <= 1
    assert (result.success | result.clean_correct).all()  # a clean mistake stays a success
    np.testing.assert_array_equal(result.fooled, result.success & result.clean_correct)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_budget_zero_gives_the_clean_accuracy(method: str, norm: str) -> None:
    result = run(x=X, y=Y, method=method, norm=norm, budget=0)
    assert torch.equal(result.perturbed, X)
    np.testing.assert_array_equal(result.success, (predictions(trained("tanh"), X) != Y).numpy())
    assert result.fooling_rate == 0
    assert result.distances.max() == 0


@pytest.mark.parametrize("batch_size", [1, 7, 29, 30, 1000])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    whole, parts = (run(x=FEW[:30], y=LABELS[:30], batch_size=size) for size in (None, batch_size))
    np.testing.assert_array_equal(whole.success, parts.success)
    torch.testing.assert_close(whole.perturbed, parts.perturbed, atol=1e-4, rtol=0)


def test_no_batch_exceeds_the_batch_size() -> None:
    seen = []
    model = copy.deepcopy(trained("tanh"))
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    attack(model, FEW, LABELS, method="pgd", norm="linf", budget=0.1, batch_size=16)
    assert max(seen) == 16


def test_same_seed_same_numbers() -> None:
    one, again, other = run(rng=3), run(rng=3), run(rng=4)
    assert torch.equal(one.perturbed, again.perturbed)
    assert not torch.equal(one.perturbed, other.perturbed)
    generator = np.random.default_rng(3)
    assert torch.equal(run(rng=generator).perturbed, one.perturbed)
    assert not torch.equal(run(rng=generator).perturbed, one.perturbed)  # a generator moves on


def test_any_shape_and_labels_of_any_integer_kind() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    x = torch.rand(5, 3, 2, 2, dtype=torch.float64)
    y = predictions(model, x)
    expected = attack(model, x, y, method="pgd", norm="l2", budget=0.5)
    assert expected.perturbed.shape == x.shape
    assert expected.perturbed.dtype == torch.float64
    for labels in (y.tolist(), y.numpy(), y.numpy().astype(np.uint8), y.int()):
        result = attack(model, x, labels, method="pgd", norm="l2", budget=0.5)
        assert torch.equal(result.perturbed, expected.perturbed)
    flat = attack(model, x.reshape(5, 12), y, method="pgd", norm="l2", budget=0.5)
    torch.testing.assert_close(
        flat.perturbed.reshape(x.shape), expected.perturbed
    )  # l2 is over all dimensions


# The caller's model


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything a caller could notice, to the bit."""
    return {
        "state": {key: value.clone() for key, value in model.state_dict().items()},
        "identity": [id(entry) for entry in (*model.parameters(), *model.buffers())],
        "modes": [module.training for module in model.modules()],
        "wants": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad for parameter in model.parameters()],
        "gradient values": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "torch": torch.random.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "grad mode": torch.is_grad_enabled(),
        "cudnn": torch.backends.cudnn.enabled,
    }


def assert_same(one: Any, two: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list):
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert one == two


def odd_model(kind: str) -> nn.Module:
    """A copy in a state of its own: modes mixed, some parameters frozen, gradients there."""
    model = copy.deepcopy(trained(kind)).train()
    list(model.modules())[-1].training = False
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    for parameter in parameters[1:3]:
        parameter.grad = torch.full_like(parameter, 0.25)
    return model


def interrupting(model: nn.Module, error: type[BaseException], calls: int) -> None:
    count = iter(range(10_000))

    def hook(*_: object) -> None:
        if next(count) == calls:
            raise error

    model.register_forward_hook(hook)


JUDGES: list[Callable[[nn.Module, torch.Tensor], Any]] = [
    lambda model, x: attack(model, x, LABELS, method="fgsm", norm="linf", budget=0.1, bounds=BOUNDS),
    lambda model, x: attack(model, x, LABELS, method="pgd", norm="l2", budget=0.3, batch_size=20),
    lambda model, x: robustness(model, x, LABELS, methods=["pgd"], norm="linf", budgets=[0.05, 0.1]),
]


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("kind", [*CELLS, "layered"])
def test_the_model_comes_back_bit_identical(kind: str, judge: Callable[..., Any]) -> None:
    model, x = odd_model(kind), FEW.clone().requires_grad_()
    before = state_of(model)
    judge(model, x)
    assert_same(before, state_of(model))
    assert x.grad is None
    assert x.requires_grad
    assert torch.equal(x.detach(), FEW)


@pytest.mark.parametrize("calls", [0, 1, 5])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("judge", JUDGES[1:])
def test_the_model_comes_back_after_errors_and_interrupts(
    judge: Callable[..., Any], error: type[BaseException], calls: int
) -> None:
    model = odd_model("layered")
    interrupting(model, error, calls)
    before = state_of(model)
    with pytest.raises(error):
        judge(model, FEW)
    assert_same(before, state_of(model))


class Restless(nn.Module):
    """A model that draws random numbers and rewrites its buffers whenever it is called, in any mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = copy.deepcopy(trained("tanh"))
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.last = torch.rand(1)
        return self.inner(nn.functional.dropout(x, 0.1, training=True))


def test_models_that_draw_and_write_come_back_and_are_judged_reproducibly() -> None:
    model = Restless()
    before = state_of(model)
    with pytest.warns(AccuracyWarning, match="turned by one step"):
        results = [attack(model, FEW, LABELS, method="pgd", norm="linf", budget=0.1, rng=5) for _ in "ab"]
    assert_same(before, state_of(model))
    assert torch.equal(results[0].perturbed, results[1].perturbed)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradient_modes_of_the_caller_do_not_matter(mode: type) -> None:
    expected = run("layered")
    with mode():
        result = run("layered", x=FEW.clone())
        assert torch.is_grad_enabled() == (mode is torch.enable_grad)
    assert torch.equal(result.perturbed, expected.perturbed)
    assert not result.perturbed.is_inference()


def test_the_gradient_is_that_of_evaluation_mode() -> None:
    model = copy.deepcopy(trained("layered")).train()
    found = attack(model, FEW, LABELS, method="fgsm", norm="linf", budget=0.05)
    expected = attack(model.eval(), FEW, LABELS, method="fgsm", norm="linf", budget=0.05)
    assert torch.equal(found.perturbed, expected.perturbed)


# The judge trusts nobody


class Cheat:
    """An attack that breaks every rule it can."""

    rounds = 2

    def perturb(
        self, objective: Objective, x: torch.Tensor, threat: Threat, *, noise: torch.Tensor, turn: int
    ) -> torch.Tensor:
        x += 100.0
        return x.double() if turn else x


class Nowhere(Cheat):
    def perturb(self, objective: Objective, x: torch.Tensor, threat: Threat, **_: Any) -> torch.Tensor:
        return x * torch.nan


class Beyond(Cheat):
    def perturb(self, objective: Objective, x: torch.Tensor, threat: Threat, **_: Any) -> torch.Tensor:
        return x + torch.inf


class Misshapen(Cheat):
    def perturb(self, objective: Objective, x: torch.Tensor, threat: Threat, **_: Any) -> torch.Tensor:
        return x[:1, :1]


def entered(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    import dataclasses

    monkeypatch.setitem(rnn.attacks.ATTACKS, "fgsm", dataclasses.dataclass(kind))


def test_an_attack_that_cheats_is_projected(monkeypatch: pytest.MonkeyPatch) -> None:
    entered(monkeypatch, Cheat)
    for norm in NORMS:
        result = run(method="fgsm", norm=norm, budget=0.1)
        assert result.distances.max() <= 0.1 * (1 + 1e-6)
        assert 0 <= result.perturbed.min() <= result.perturbed.max() <= 1
        np.testing.assert_array_equal(
            result.success, (predictions(trained("tanh"), result.perturbed) != LABELS).numpy()
        )


@pytest.mark.parametrize("kind", [Nowhere, Beyond, Misshapen])
def test_an_attack_that_returns_nonsense_is_refused(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    entered(monkeypatch, kind)
    with pytest.raises(ValueError, match=f"{kind.__name__} returned NaN, infinity or another shape"):
        run(method="fgsm")


def test_turned_examples_are_not_attacked_again() -> None:
    sizes = []

    class Counting(FGSM):
        rounds = 3

        def perturb(self, objective: Objective, x: torch.Tensor, threat: Threat, **more: Any) -> torch.Tensor:
            sizes.append(len(x))
            return FGSM().perturb(objective, x, threat, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(rnn.attacks.ATTACKS, "fgsm", Counting)
        result = run(method="fgsm", x=X, y=Y)
    assert sizes == [result.clean_correct.sum(), *[result.clean_correct.sum() - result.fooled.sum()] * 2]


# Curves


@pytest.mark.parametrize("kind", ["gru", "feedforward"])
@pytest.mark.parametrize("norm", NORMS)
def test_curves_never_rise_and_agree_with_attacks(kind: str, norm: str) -> None:
    budgets = [size * (8 if norm == "l1" else 1) for size in (0.2, 0.0, 0.02, 0.1, 0.05, 0.1)]
    curve = robustness(
        trained(kind), X[:150], Y[:150], methods=["fgsm", "pgd"], norm=norm, budgets=budgets, bounds=BOUNDS
    )
    assert curve.budgets.tolist() == sorted(set(budgets))
    assert (np.diff(curve.accuracy) <= 0).all()
    clean = predictions(trained(kind), X[:150]) == Y[:150]
    assert curve.accuracy[0] == curve.clean_accuracy == pytest.approx(clean.double().mean().item())
    np.testing.assert_array_equal(curve.minimal_budget == 0, (~clean).numpy())
    for budget, accuracy in zip(curve.budgets, curve.accuracy, strict=True):
        assert accuracy == (curve.minimal_budget > budget).mean()
        one_step = attack(
            trained(kind), X[:150], Y[:150], method="fgsm", norm=norm, budget=budget, bounds=BOUNDS
        )
        assert accuracy <= 1 - one_step.success_rate
    smallest = set(curve.minimal_budget)
    assert smallest <= {*budgets, np.inf}
    assert len(smallest) >= 4


def test_a_curve_of_one_budget_is_one_attack() -> None:
    curve = robustness(
        trained("lstm"), X, Y, methods={"pgd": {"steps": 5}}, norm="linf", budgets=[0.1], bounds=BOUNDS, rng=7
    )
    result = run("lstm", X, Y, budget=0.1, steps=5, rng=7)
    np.testing.assert_array_equal(curve.minimal_budget <= 0.1, result.success)


def test_repeats_of_a_curve_find_more_and_are_those_of_an_attack() -> None:
    chosen = {"methods": ["noise-uniform"], "norm": "linf", "budgets": [0.3], "bounds": BOUNDS, "rng": 7}
    once, often = (robustness(trained("tanh"), X, Y, repeats=repeats, **chosen) for repeats in (1, 6))
    assert (often.minimal_budget <= once.minimal_budget).all()
    assert often.queries.sum() > 3 * once.queries.sum()
    with pytest.warns(AccuracyWarning, match="by only one of 6 repeats"):
        result = run("tanh", X, Y, method="noise-uniform", budget=0.3, rng=7, repeats=6)
    np.testing.assert_array_equal(often.minimal_budget <= 0.3, result.success)


def test_intervals_are_those_of_wilson() -> None:
    model, x, y = linear(0.3)
    x, y = x.repeat(10, 1), y.repeat(10)
    x[:3] *= 3
    curve = robustness(model, x, y, methods=["fgsm"], norm="l2", budgets=[0.1, 0.5, 5.0])
    assert curve.accuracy.tolist() == [1.0, 0.3, 0.0]
    # Wilson's interval: roots of (p - share)^2 = z^2 p (1 - p) / N
    z2 = 1.959963984540054**2 / 10
    for share, low, high in zip(curve.accuracy, curve.lower, curve.upper, strict=True):
        expected = np.sort(np.roots([1 + z2, -(2 * share + z2), share**2]).real)
        np.testing.assert_allclose([low, high], expected, atol=1e-12)
    wide = robustness(model, x, y, methods=["fgsm"], norm="l2", budgets=[0.5], level=0.99)
    assert wide.lower[0] < curve.lower[1]
    assert wide.upper[0] > curve.upper[1]


# Records


def test_results_save_and_load(tmp_path: Path) -> None:
    result = run()
    result.save(tmp_path / "result.npz")
    loaded = AttackResult.load(tmp_path / "result.npz")
    assert isinstance(loaded, AttackResult)
    assert torch.equal(loaded.perturbed, result.perturbed)
    np.testing.assert_array_equal(loaded.fooled, result.fooled)
    assert (loaded.method, loaded.budget, str(loaded)) == ("pgd", 0.08, str(result))
    curve = robustness(trained("tanh"), FEW, LABELS, methods=["fgsm"], norm="l2", budgets=[0.1, 0.2])
    curve.save(tmp_path / "curve.npz")
    again = RobustnessCurve.load(tmp_path / "curve.npz")
    assert str(again) == str(curve)
    np.testing.assert_array_equal(again.minimal_budget, curve.minimal_budget)
    with pytest.raises(ValueError, match=r"curve\.npz is no saved result|curve\.npz holds a"):
        AttackResult.load(tmp_path / "curve.npz")


def test_results_print_as_one_line() -> None:
    model, x, y = linear(0.3)
    result = attack(model, x, y, method="pgd", norm="l2", budget=0.5)
    assert str(result) == (
        "pgd at l2 0.5: 1 of 1 correct predictions fooled, robust accuracy 0.0% (clean 100.0%)"
    )
    curve = robustness(model, x, y, methods=["fgsm", "pgd"], norm="l2", budgets=[0.1, 0.5])
    assert str(curve) == (
        "Robust accuracy (l2, worst of fgsm, pgd): 100.0% at 0.1, 0.0% at 0.5; clean 100.0%"
    )
    assert "<table>" in curve._repr_html_()


def test_nothing_to_fool_has_no_fooling_rate() -> None:
    model, x, _ = linear(0.3)
    result = attack(model, x, [0], method="pgd", norm="l2", budget=0.1)
    assert result.success_rate == 1.0
    assert result.clean_accuracy == 0.0
    with pytest.raises(
        ValueError, match="fooling_rate is undefined: none of the examples is predicted correctly"
    ):
        _ = result.fooling_rate


# Refusals


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "cw"}, ValueError, "method is 'cw'; expected one of 'fgsm', 'pgd'"),
        ({"norm": "l0"}, ValueError, "norm is 'l0'; expected one of 'linf', 'l2', 'l1'"),
        ({"budget": -0.1}, ValueError, r"budget is -0\.1; expected a number >= 0"),
        ({"budget": float("nan")}, ValueError, "budget is nan"),
        ({"budget": "big"}, TypeError, "budget is 'big'; expected a real number"),
        ({"stride": 2}, TypeError, "stride is no option of method 'pgd'; it takes steps, step_size, rounds"),
        ({"method": "fgsm", "steps": 2}, TypeError, "steps is no option of method 'fgsm'; it takes none"),
        ({"steps": 0}, ValueError, "steps is 0"),
        ({"bounds": (1.0, 0.0)}, ValueError, r"bounds is \(1\.0, 0\.0\); expected lowest < highest"),
        ({"bounds": 1.0}, TypeError, r"bounds is 1\.0; expected two numbers"),
        ({"bounds": (0.0, 0.5)}, ValueError, r"x spans 0 to 1, outside bounds \(0\.0, 0\.5\)"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"rng": "seed"}, TypeError, "rng is 'seed'"),
        ({"x": FEW.numpy()}, TypeError, "x is ndarray; expected a torch tensor of floats"),
        ({"x": FEW.int()}, TypeError, r"x is torch\.int32; expected a torch tensor of floats"),
        (
            {"x": FEW.double()},
            TypeError,
            r"x is torch\.float64 and model has torch\.float32 weights; pass x\.to",
        ),
        (
            {"x": FEW[:0], "y": LABELS[:0]},
            ValueError,
            r"x has shape \(0, 8, 8\); expected at least one example",
        ),
        ({"x": FEW[0, 0]}, ValueError, r"x has shape \(8,\)"),
        ({"x": torch.full_like(FEW, torch.nan)}, ValueError, r"x has a NaN or infinite entry at \(0, 0, 0\)"),
        ({"y": LABELS[:5]}, ValueError, r"y has shape \(5,\); expected \(60,\)"),
        ({"y": LABELS[:, None]}, ValueError, r"y has shape \(60, 1\)"),
        ({"y": LABELS.float()}, TypeError, r"y has dtype torch\.float32; expected whole numbers"),
        ({"y": LABELS > 3}, TypeError, r"y has dtype torch\.bool"),
        ({"y": "labels"}, TypeError, "y is a str"),
        ({"y": LABELS - 1}, ValueError, "y holds the label -1"),
        ({"y": LABELS + 1}, ValueError, "y holds the label 10, but model has 10 logits"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": "pgd"}, TypeError, "methods is 'pgd'; expected a sequence of names"),
        ({"methods": []}, ValueError, "methods is empty"),
        ({"methods": ["pdg"]}, ValueError, "methods is 'pdg'"),
        ({"methods": {"pgd": {"stride": 1}}}, TypeError, "stride is no option of method 'pgd'"),
        ({"methods": {"pgd": 3}}, TypeError, "methods gives 'pgd' the options 3; expected a mapping"),
        ({"budgets": 0.1}, TypeError, r"budgets is 0\.1; expected a sequence of numbers"),
        ({"budgets": []}, ValueError, "budgets is empty"),
        ({"budgets": [0.1, -1]}, ValueError, r"budgets is -1\.0"),
        ({"norm": "l0"}, ValueError, "norm is 'l0'"),
        ({"repeats": 0}, ValueError, "repeats is 0"),
        ({"level": 95}, ValueError, "level is 95; expected a coverage between 0 and 1"),
    ],
)
def test_bad_curves_are_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    chosen = {"methods": ["fgsm"], "norm": "linf", "budgets": [0.1], **changes}
    with pytest.raises(error, match=message):
        robustness(trained("tanh"), FEW, LABELS, **chosen)


def test_what_is_no_model_or_gives_no_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model is a function; expected a torch\.nn\.Module"):
        attack(predictions, FEW, LABELS, method="fgsm", norm="linf", budget=0.1)
    model = copy.deepcopy(trained("tanh"))
    with torch.no_grad():
        model.head.bias[3] = torch.nan
    with pytest.raises(
        ValueError, match=r"model gives NaN or infinite logits for 60 of 60 inputs \(first: number 0\)"
    ):
        attack(model, FEW, LABELS, method="fgsm", norm="linf", budget=0.1)


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: y.numpy()[::-1].copy()[::-1],
        lambda y: np.frombuffer(y.numpy().tobytes(), dtype=np.int64),
        lambda y: y.numpy().astype(np.uint16),
        lambda y: y.numpy().astype(np.uint64),
        lambda y: y.byte(),
    ],
)
def test_labels_come_in_every_whole_type_and_layout(labels: Callable[[torch.Tensor], Any]) -> None:
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=4))
    x, y = DIGITS.x_test[:20], DIGITS.y_test[:20]
    known = attack(model, x, y, method="fgsm", norm="linf", budget=0.1)
    found = attack(model, x, labels(y), method="fgsm", norm="linf", budget=0.1)
    assert np.array_equal(found.success, known.success)


def test_sparse_and_empty_shells_of_tensors_are_refused() -> None:
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=4))
    x, y = DIGITS.x_test[:20], DIGITS.y_test[:20]
    for bad_x, bad_y, name in (
        (x.to_sparse(), y, "x"),
        (x.to("meta"), y, "x"),
        (x, y.to_sparse(), "y"),
        (x, y.to("meta"), "y"),
    ):
        with pytest.raises(TypeError, match=f"{name} is a tensor of layout"):
            attack(model, bad_x, bad_y, method="fgsm", norm="linf", budget=0.1)


def test_bounds_beyond_the_precision_of_x_bind_nothing() -> None:
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=4))
    x, y = DIGITS.x_test[:20], DIGITS.y_test[:20]
    free = attack(model, x, y, method="pgd", norm="linf", budget=0.1)
    wide = attack(model, x, y, method="pgd", norm="linf", budget=0.1, bounds=(-1e308, 1e308))
    assert torch.equal(free.perturbed, wide.perturbed)


def test_methods_are_names() -> None:
    model = build_model(ModelConfig("tanh", features=8, steps=8, hidden=4))
    with pytest.raises(ValueError, match=r"methods is \['fgsm'\]; expected one of"):
        robustness(model, DIGITS.x_test, DIGITS.y_test, methods=[["fgsm"]], norm="l2", budgets=[0.1])  # type: ignore[list-item]
