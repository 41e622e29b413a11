"""How many examples that some attack turns does the default PGD miss, and Foolbox's, and at what cost?

Digits, 360 test examples, 64 hidden units, one thread. The reference is the union of everything run here and
of PGD with 19 rounds of 50 steps; "missed" are its examples that an attack leaves correct.

`test_ensemble` compares "worst" with AutoAttack's standard set (APGD-CE, APGD-T, FAB-T, 100 steps each) as
torchattacks runs it, where torchattacks can be imported, and its time with that of the same gradients alone.
`test_speed` holds single attacks against Foolbox's.

Times are processor times; what is compared runs in turns, and stated are the median and the range from the
10th to the 90th percentile. "limit" is what Foolbox / ours would be if an attack took no more than its passes
through the model. "error" is our robust count less theirs: a positive one says that we were weaker.
"""

import contextlib
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
    given = {"method": method, "norm": norm, "budget": budget, "bounds": TASK.bounds, **options}
    return attack(trained(cell), TASK.x_test, TASK.y_test, **given).success


def foolbox_run(cell, norm, budget, method="pgd"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        model = foolbox.PyTorchModel(trained(cell), bounds=TASK.bounds, device="cpu")
        prefix = "Linf" if norm == "linf" else "L2"
        names = {"pgd": "PGD", "fgsm": "FastGradientAttack", "deepfool": "DeepFoolAttack"}
        attack_of = getattr(foolbox.attacks, prefix + names[method])()
        return attack_of(model, TASK.x_test, TASK.y_test, epsilons=budget)[2].numpy()


def passes(cell):
    """What FGSM cannot do without: a gradient with respect to the inputs, and a pass over the final ones."""
    model, x = trained(cell), TASK.x_test.clone().requires_grad_()
    with frozen(model):
        loss = torch.nn.functional.cross_entropy(model(x), TASK.y_test, reduction="sum")
        torch.autograd.grad(loss, x)
        with torch.no_grad():
            model(TASK.x_test)


@contextlib.contextmanager
def frozen(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    yield
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def in_turns(runs, repetitions):
    """Results and processor seconds, shape (repetitions,), of each; a first repetition goes unmeasured."""
    results, seconds = {}, {name: [] for name in runs}
    for repetition in range(repetitions + 1):
        for name, run in runs.items():
            start = time.process_time()
            results[name] = run()
            if repetition:
                seconds[name].append(time.process_time() - start)
    return results, {name: np.array(measured) for name, measured in seconds.items()}


def spread(values, digits=2):
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


@pytest.mark.filterwarnings("ignore:.*may be weak")  # how weak is the question
@pytest.mark.parametrize(("norm", "budget"), CASES)
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm", "feedforward"])
def test_attacks(benchmark, row, cell, norm, budget):
    trained(cell)
    default = benchmark.pedantic(lambda: ours(cell, norm, budget, "pgd"), rounds=1)
    if not benchmark.stats:  # only checked to run
        return
    runs = {
        "FGSM": lambda: ours(cell, norm, budget, "fgsm"),
        "Foolbox PGD": lambda: foolbox_run(cell, norm, budget),
        "one round of 50 steps": lambda: ours(cell, norm, budget, "pgd", steps=50, rounds=1),
        "default": lambda: ours(cell, norm, budget, "pgd"),
    }
    found, seconds = in_turns(runs, 5)
    assert (found["default"] == default).all()
    strong = ours(cell, norm, budget, "pgd", steps=50, rounds=19, rng=1)
    turned = np.logical_or.reduce([strong, *found.values()])
    row(
        {"cell": cell, "norm": norm, "budget": f"{budget}", "turned": f"{turned.sum()} of {len(turned)}"}
        | {f"missed by {name}": f"{(turned & ~success).sum()}" for name, success in found.items()}
        | {"CPU seconds": spread(seconds["default"])}
        | {"Foolbox / ours": spread(seconds["Foolbox PGD"] / seconds["default"])}
    )


@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.05), ("linf", 0.1), ("l2", 0.5)])
def test_speed(benchmark, row, norm, budget):
    trained("gru")
    benchmark.pedantic(lambda: ours("gru", norm, budget, "fgsm"), rounds=1)
    if not benchmark.stats:
        return
    for method, repetitions in (("fgsm", 40), ("pgd", 10), ("deepfool", 5)):
        runs = {
            "ours": functools.partial(ours, "gru", norm, budget, method),
            "Foolbox": functools.partial(foolbox_run, "gru", norm, budget, method),
            "passes": functools.partial(passes, "gru"),
        }
        found, seconds = in_turns(runs, repetitions)
        mine, theirs = ((~found[name]).sum() for name in ("ours", "Foolbox"))
        row(
            {"method": method, "norm": norm, "budget": f"{budget}"}
            | {"robust, ours": f"{mine}", "robust, Foolbox": f"{theirs}", "error": f"{mine - theirs:+d}"}
            | {"CPU ms": spread(1e3 * seconds["ours"], 1)}
            | {"Foolbox / ours": spread(seconds["Foolbox"] / seconds["ours"])}
            | ({"limit": spread(seconds["Foolbox"] / seconds["passes"])} if method == "fgsm" else {})
        )


@pytest.mark.parametrize(("norm", "budget"), [("linf", 0.05), ("linf", 0.1), ("l2", 0.5)])
def test_ensemble(benchmark, row, norm, budget):
    if not benchmark.enabled:  # half a minute each
        pytest.skip("only measured")
    model, bare = trained("gru"), Bare()
    benchmark.pedantic(lambda: ours("gru", norm, budget, "fgsm"), rounds=1)
    seconds, ratios = [], []
    for _ in range(3):
        bare.reset()
        hook = model.register_forward_pre_hook(bare)
        start = time.process_time()
        success = ours("gru", norm, budget, "worst")
        seconds.append(time.process_time() - start - bare.spent)
        hook.remove()
        ratios.append(seconds[-1] / bare.seconds)
    theirs = autoattack("gru", norm, budget)
    known = {} if theirs is None else {"error": f"{(~success).sum() - theirs.sum():+d}"}
    row(
        {"norm": norm, "budget": f"{budget}", "robust, ours": f"{(~success).sum()}"}
        | {"robust, AutoAttack": "" if theirs is None else f"{theirs.sum()}", **known}
        | {"CPU seconds": spread(seconds, 1), "gradients": f"{bare.gradients}"}
        | {"ours / gradients alone": spread(ratios)}
    )


class Bare:
    """A hook that repeats every 7th pass with a gradient, forward and backward and nothing else, timed."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.busy, self.passes, self.gradients, self.repeated, self.spent = False, 0, 0, 0, 0.0

    @property
    def seconds(self):
        """What all passes would take."""
        return self.spent * self.passes / self.repeated

    def __call__(self, model, given):
        if self.busy or not given[0].requires_grad:
            return
        self.passes += 1
        self.gradients += len(given[0])
        if self.passes % 7 == 0:
            self.busy, self.repeated, start = True, self.repeated + 1, time.process_time()
            x = given[0].detach().clone().requires_grad_()
            torch.autograd.grad(model(x)[:, 0].sum(), x)
            self.spent, self.busy = self.spent + time.process_time() - start, False


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
