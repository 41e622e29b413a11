"""How wide is the bracket between certified accuracy and accuracy under attack, and what does it cost?

Digits, 360 test examples, 8 steps of 8 features, default training, one thread. Attacked is the share that
PGD leaves right; the truth lies between certified and attacked.
"""

import functools
import time

import pytest

from rnn import ModelConfig, attack, build_model, certified_accuracy, load_task, train

TASK = load_task("digits")
BUDGETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05]
CASES = [("tanh", 16), ("tanh", 32), ("gru", 16), ("lstm", 16), ("feedforward", 32)]


@functools.cache
def trained(cell, hidden):
    model = build_model(ModelConfig(cell, features=8, steps=8, hidden=hidden))
    train(model, TASK)
    return model.eval()


def certified(model, norm, method):
    start = time.process_time()
    found = certified_accuracy(
        model, TASK.x_test, TASK.y_test, norm=norm, budgets=BUDGETS, bounds=TASK.bounds, method=method
    )
    return time.process_time() - start, found


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("cell", "hidden"), CASES)
def test_certification(benchmark, row, cell, hidden, norm):
    model = trained(cell, hidden)
    seconds, linear = benchmark.pedantic(lambda: certified(model, norm, "linear"), rounds=1)
    if not benchmark.stats:  # only checked to run
        return
    _, interval = certified(model, norm, "interval")
    entry = {"network": f"{cell} {hidden}", "norm": norm, "clean": f"{linear.clean_accuracy:.1%}"}
    for budget, proven, plain in zip(BUDGETS, linear.accuracy, interval.accuracy, strict=True):
        left = attack(
            model, TASK.x_test, TASK.y_test, method="pgd", norm=norm, budget=budget, bounds=TASK.bounds
        )
        entry[f"{budget}"] = f"{plain:.1%} / {proven:.1%} / {1 - left.success_rate:.1%}"
    row(entry | {"CPU seconds": seconds})
