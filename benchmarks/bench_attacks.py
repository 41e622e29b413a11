"""How many examples that some attack turns does the default PGD miss, and Foolbox's, and at what cost?

Digits, 360 test examples, 64 hidden units, one thread. The reference is the union of everything run here and
of PGD with 19 rounds of 50 steps; "missed" are its examples that an attack leaves correct.

`test_ensemble` compares "worst" with AutoAttack's standard set (APGD-CE, APGD-T, FAB-T, 100 steps each) as
torchattacks runs it, where torchattacks can be imported, and its time with that of the same gradients alone.
`test_speed` holds single attacks against Foolbox's.
"""

import functools
import time
import warnings

import numpy as np
import pytest
import torch

from rnn import ModelConfig, attack, build_model, load_task, train

TASK = load_task("digits")
CASES = [("linf", 0.05), ("linf", 0.1), ("l2", 0.3), ("l2", 0.6)]


@functools.cache
def trained(cell):
    model = build_model(ModelConfig(cell, features=8, steps=8, hidden=64))
    train(model, TASK)
    return model.eval()


def ours(cell, norm, budget, method, **options):
    start = time.perf_counter()
    result = attack(
        trained(cell),
        TASK.x_test,
        TASK.y_test,
        method=method,
        norm=norm,
        budget=budget,
        bounds=TASK.bounds,
        **options,
    )
    return time.perf_counter() - start, result.success


def foolbox_run(cell, norm, budget, method="pgd"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        model = foolbox.PyTorchModel(trained(cell), bounds=TASK.bounds, device="cpu")
        prefix = "Linf" if norm == "linf" else "L2"
        names = {"pgd": "PGD", "fgsm": "FastGradientAttack", "deepfool": "DeepFoolAttack"}
        attack_of = getattr(foolbox.attacks, prefix + names[method])()
        start = time.perf_counter()
        _, _, success = attack_of(model, TASK.x_test, TASK.y_test, epsilons=budget)
        return time.perf_counter() - start, success.numpy()


@pytest.mark.parametrize(("norm", "budget"), CASES)
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm", "feedforward"])
def test_attacks(benchmark, row, cell, norm, budget):
    trained(cell)
    seconds, default = benchmark.pedantic(lambda: ours(cell, norm, budget, "pgd"), rounds=1)
    if not benchmark.stats:  # only checked to run
        return
    runs = {
        "FGSM": ours(cell, norm, budget, "fgsm"),
        "Foolbox PGD": foolbox_run(cell, norm, budget),
        "one round of 50 steps": ours(cell, norm, budget, "pgd", steps=50, rounds=1),
        "default": (seconds, default),
    }
    strong = ours(cell, norm, budget, "pgd", steps=50, rounds=19, rng=1)[1]
    turned = np.logical_or.reduce([strong, *(success for _, success in runs.values())])
    row(
        {"cell": cell, "norm": norm, "budget": f"{budget}", "turned": f"{turned.sum()} of {len(turned)}"}
        | {f"missed by {name}": f"{(turned & ~success).sum()}" for name, (_, success) in runs.items()}
        | {"seconds": seconds, "Foolbox / ours": runs["Foolbox PGD"][0] / seconds}
    )


@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.05), ("linf", 0.1), ("l2", 0.5)])
def test_speed(benchmark, row, norm, budget):
    trained("gru")
    benchmark.pedantic(lambda: ours("gru", norm, budget, "fgsm"), rounds=1)
    for method in ("fgsm", "pgd", "deepfool"):
        times = [
            (ours("gru", norm, budget, method), foolbox_run("gru", norm, budget, method)) for _ in range(3)
        ]
        mine, theirs = (min(run[side][0] for run in times) for side in (0, 1))
        robust = [f"{(~run[1]).sum()}" for run in times[0]]
        row(
            {"method": method, "norm": norm, "budget": f"{budget}", "robust, ours": robust[0]}
            | {"robust, Foolbox": robust[1], "ms": 1e3 * mine, "Foolbox / ours": theirs / mine}
        )


@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.05), ("linf", 0.1), ("l2", 0.5)])
def test_ensemble(benchmark, row, norm, budget):
    if not benchmark.enabled:  # a minute each
        pytest.skip("only measured")
    sizes = []
    hook = trained("gru").register_forward_pre_hook(
        lambda _, given: sizes.append(len(given[0])) if given[0].requires_grad else None
    )
    start = time.process_time()
    _, success = benchmark.pedantic(lambda: ours("gru", norm, budget, "worst"), rounds=1)
    seconds = time.process_time() - start
    hook.remove()
    theirs = autoattack("gru", norm, budget)
    row(
        {"norm": norm, "budget": f"{budget}", "robust, ours": f"{(~success).sum()}"}
        | {"robust, AutoAttack": "" if theirs is None else f"{theirs.sum()}", "CPU seconds": seconds}
        | {"gradients": f"{sum(sizes)}", "ours / gradients alone": seconds / time_of_gradients(sizes)}
    )


def time_of_gradients(sizes):
    """Forward and backward passes of these batch sizes, one after the other, and nothing else."""
    model = trained("gru")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    start = time.process_time()
    for size in sizes:
        x = TASK.x_test[:size].clone().requires_grad_()
        torch.autograd.grad(model(x)[:, 0].sum(), x)
    seconds = time.process_time() - start
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return seconds


def autoattack(cell, norm, budget):
    """Which examples AutoAttack's standard set leaves right; None without torchattacks."""
    try:
        from torchattacks.attacks.apgd import APGD
        from torchattacks.attacks.apgdt import APGDT
        from torchattacks.attacks.fab import FAB
    except ImportError:
        return None

    class Image(torch.nn.Module):  # it takes (N, channels, height, width) only
        def __init__(self):
            super().__init__()
            self.inner = trained(cell)

        def forward(self, x):
            return self.inner(x[:, 0])

    model, x, y = Image().eval(), TASK.x_test, TASK.y_test
    robust = model.inner(x).argmax(1) == y
    given = {"eps": budget, "norm": "Linf" if norm == "linf" else "L2", "steps": 100, "seed": 0}
    for method in (
        APGD(model, loss="ce", **given),
        APGDT(model, **given),
        FAB(model, multi_targeted=True, **given),
    ):
        index = robust.nonzero()[:, 0]
        found = method(x[index][:, None], y[index])[:, 0].detach()
        delta = (found - x[index]).flatten(1)
        length = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
        robust[index] = (model.inner(found).argmax(1) == y[index]) | (length > budget * (1 + 1e-5))
    return robust.numpy()
