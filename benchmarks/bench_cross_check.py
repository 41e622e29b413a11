"""Do the attacks that Foolbox has too find the same there, and how long do they take?

Digits, 64 hidden units, one thread; "robust" counts the test examples whose prediction is right and stays so
(noise turns some mistakes into right answers: Foolbox counts them, here they count on neither side).

`test_counts`: FGSM must agree exactly. PGD takes the same 20 steps of the same lengths from the same start
(that of FGSM) and must agree within 1 % of the examples, or be stronger in l1, where Foolbox scales a long
step down instead of projecting it. "pgd (SLIDE)" holds the defaults in l1 against SparseL1DescentAttack.
DeepFool must be at least as strong.

`test_noise`: means over independent draws of all examples, and their difference in standard errors, where the
two draw from the same distribution. Foolbox has no Gaussian noise in L-infinity, and divides uniform noise by
the largest entry, not by the largest modulus; its salt and pepper is a search of many draws for the least
noise that fools, held here against as many draws of ours.
"""

import functools
import math
import time
import warnings

import numpy as np
import pytest
import torch

from rnn import ModelConfig, attack, build_model, load_task, train

TASK = load_task("digits")
STEPS = 20
EXAMPLES = pytest.mark.parametrize("n", [50, 360])  # 50 only to check that it runs


@functools.cache
def trained(cell):
    model = build_model(ModelConfig(cell, features=8, steps=8, hidden=64))
    train(model, TASK)
    return model.eval()


def ours(cell, n, method, norm, budget, **options):
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same few steps as Foolbox's, be they weak
        result = attack(
            trained(cell),
            TASK.x_test[:n],
            TASK.y_test[:n],
            method=method,
            norm=norm,
            budget=budget,
            bounds=TASK.bounds,
            **options,
        )
    return time.process_time() - start, int((~result.success).sum())


def theirs(cell, n, build, budget):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # foolbox uses names that SciPy and setuptools have deprecated
        import foolbox

        model = foolbox.PyTorchModel(trained(cell), bounds=TASK.bounds, device="cpu")
        x, y = TASK.x_test[:n], TASK.y_test[:n]
        chosen = build(foolbox.attacks)
        start = time.process_time()
        _, _, success = chosen(model, x, y, epsilons=budget)
        seconds = time.process_time() - start
        with torch.no_grad():
            right = trained(cell)(x).argmax(1) == y
        return seconds, int((~success & right).sum())


def same_steps(attacks, norm):
    """PGD of Foolbox with the steps of ours: that of FGSM, then a half cosine that falls from two budgets."""
    kind = getattr(attacks, f"{norm.title()}ProjectedGradientDescentAttack")

    class Cosine:
        def __init__(self, budget):
            self.budget, self.step = budget, 0

        def __call__(self, gradient):
            share = 1 + math.cos(math.pi * self.step / STEPS) if self.step else 1
            self.step += 1
            return share * self.budget * gradient

    class SameSteps(kind):
        def get_optimizer(self, x, stepsize):
            del x
            return Cosine(stepsize)

    return SameSteps(rel_stepsize=1.0, steps=STEPS, random_start=False)


PAIRS = {
    "fgsm": (lambda attacks, norm: getattr(attacks, f"{norm.title()}FastGradientAttack")(), "fgsm", {}),
    "pgd": (same_steps, "pgd", {"steps": STEPS, "step_size": 2.0, "rounds": 1}),
    "pgd (SLIDE)": (lambda attacks, _: attacks.SparseL1DescentAttack(), "pgd", {}),
    "deepfool": (lambda attacks, norm: getattr(attacks, f"{norm.title()}DeepFoolAttack")(), "deepfool", {}),
}
BUDGETS = {"linf": (0.02, 0.05, 0.1, 0.2), "l2": (0.1, 0.3, 0.5, 0.8), "l1": (0.5, 1.0, 2.0, 4.0)}
CASES = [
    (name, norm)
    for name, norms in {
        "fgsm": BUDGETS,
        "pgd": BUDGETS,
        "pgd (SLIDE)": ["l1"],
        "deepfool": ["linf", "l2"],
    }.items()
    for norm in norms
]


@EXAMPLES
@pytest.mark.parametrize(("method", "norm"), CASES)
@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_counts(benchmark, row, cell, method, norm, n):
    if benchmark.enabled and n == 50:
        pytest.skip("only checked to run")
    build, name, options = PAIRS[method]
    for budget in BUDGETS[norm]:
        times = []
        for _ in range(3 if benchmark.enabled else 1):
            mine = ours(cell, n, name, norm, budget, **options)
            times.append((mine, theirs(cell, n, lambda attacks: build(attacks, norm), budget)))
        robust, other = times[0][0][1], times[0][1][1]
        assert robust == other if method == "fgsm" else robust <= other + 0.01 * n
        assert method != "pgd" or norm == "l1" or abs(robust - other) <= 0.01 * n
        assert method != "deepfool" or robust <= other
        mine, foolbox = (min(pair[side][0] for pair in times) for side in (0, 1))
        if benchmark.enabled:
            row(
                {"cell": cell, "method": method, "norm": norm, "budget": f"{budget}"}
                | {"robust, ours": f"{robust}", "robust, Foolbox": f"{other}"}
                | {"ms": 1e3 * mine, "Foolbox / ours": foolbox / mine}
            )
    benchmark.pedantic(lambda: ours(cell, n, name, norm, BUDGETS[norm][0], **options), rounds=1)


NOISES = {
    ("noise-gaussian", "l2"): lambda attacks: attacks.L2AdditiveGaussianNoiseAttack(),
    ("noise-uniform", "l2"): lambda attacks: attacks.L2AdditiveUniformNoiseAttack(),
    ("noise-uniform", "linf"): lambda attacks: attacks.LinfAdditiveUniformNoiseAttack(),
    ("noise-salt", "l2"): lambda attacks: attacks.SaltAndPepperNoiseAttack(steps=100),
}


@EXAMPLES
@pytest.mark.parametrize(("method", "norm"), list(NOISES))
@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_noise(benchmark, row, cell, method, norm, n):
    if benchmark.enabled and n == 50:
        pytest.skip("only checked to run")
    build, options = NOISES[method, norm], {"rounds": 100} if method == "noise-salt" else {}
    for budget in (0.2, 0.5) if norm == "linf" else (1.5, 3.0):
        mine, foolbox = [], []
        for repeat in range((5 if options else 50) if benchmark.enabled else 2):
            mine.append(ours(cell, n, method, norm, budget, rng=repeat, **options))
            with torch.random.fork_rng():
                torch.manual_seed(repeat)
                foolbox.append(theirs(cell, n, build, budget))
        (seconds, robust), (other_seconds, other) = (np.array(runs).T for runs in (mine, foolbox))
        error = math.sqrt((robust.var(ddof=1) + other.var(ddof=1)) / len(robust))
        apart = (robust.mean() - other.mean()) / error if error else 0.0
        if benchmark.enabled:
            row(
                {"cell": cell, "method": method, "norm": norm, "budget": f"{budget}"}
                | {"robust, ours": f"{robust.mean():.1f}", "robust, Foolbox": f"{other.mean():.1f}"}
                | {"standard errors apart": "" if options else f"{apart:+.1f}", "ms": 1e3 * seconds.min()}
                | {"Foolbox / ours": other_seconds.min() / seconds.min()}
            )
            assert options or norm == "linf" or abs(apart) < 4
    benchmark.pedantic(lambda: ours(cell, n, method, norm, 1.0, **options), rounds=1)
