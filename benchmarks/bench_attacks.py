"""How many examples that some attack turns does the default PGD miss, and Foolbox's, and at what cost?

Digits, 360 test examples, 64 hidden units, one thread. The reference is the union of everything run here and
of PGD with 19 rounds of 50 steps; "missed" are its examples that an attack leaves correct.
"""

import functools
import time
import warnings

import numpy as np
import pytest

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


def foolbox_pgd(cell, norm, budget):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        model = foolbox.PyTorchModel(trained(cell), bounds=TASK.bounds, device="cpu")
        method = foolbox.attacks.LinfPGD() if norm == "linf" else foolbox.attacks.L2PGD()
        start = time.perf_counter()
        _, _, success = method(model, TASK.x_test, TASK.y_test, epsilons=budget)
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
        "Foolbox PGD": foolbox_pgd(cell, norm, budget),
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
