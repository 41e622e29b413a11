"""How much longer does a training take with measures at a share of 0.05, and without any bound?

A GRU of n units reads batches of 32 sequences of 20 steps; measurements of its three gates are due at every
10th optimiser step. The ratio with / without is the median of five pairs of runs in turn, the set-up of the
callback left out and listed by itself. "without bound" is one run that measures whenever it is due.
"""

import statistics
import time

import pytest
import torch
from torch import nn

from rnn.watching.callbacks import DEFAULT_MEASURES, SpectralCallback

SETS = {
    "default": DEFAULT_MEASURES,
    "costly": (*DEFAULT_MEASURES, "numerical_radius", "pseudospectral_radius", "kreiss_constant"),
}
STEPS = {32: 600, 128: 250, 256: 300}
CASES = [(32, "default"), (32, "costly"), (128, "default"), (256, "default")]


def training(n, share, names):
    """Seconds of the steps, and the callback."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, head = nn.GRU(16, n), nn.Linear(n, 1)
        x = torch.randn(20, 32, 16)
    optimiser = torch.optim.Adam([*model.parameters(), *head.parameters()])
    callback = None if share is None else SpectralCallback(model, every=10, share=share, measures=names)
    start = time.perf_counter()
    for _ in range(STEPS[n]):
        optimiser.zero_grad()
        (head(model(x)[0]) - 1).square().mean().backward()
        optimiser.step()
        if callback is not None:
            callback()
    return time.perf_counter() - start, callback


def idle_call(n):
    """Seconds of a call at which nothing is due."""
    callback = SpectralCallback(nn.GRU(2, n), every=10**9)
    start = time.perf_counter()
    for _ in range(100_000):
        callback()
    return (time.perf_counter() - start) / 100_000


@pytest.mark.parametrize(("n", "which"), CASES)
def test_callback(benchmark, row, n, which):
    names = SETS[which]
    seconds, callback = benchmark.pedantic(lambda: training(n, 0.05, names), rounds=1)
    if not benchmark.stats:  # only checked to run
        return
    plain, ratios, records = [], [], []
    for _ in range(5):
        plain.append(training(n, None, names)[0])
        seconds, callback = training(n, 0.05, names)
        ratios.append(seconds / plain[-1])
        records.append(callback.record)
    unbounded, _ = training(n, 1e9, names)
    record = sorted(records, key=lambda one: one.actual_share)[2]
    row(
        {
            "n": n,
            "measures": which,
            "seconds of training": record.training_seconds,
            "with / without": statistics.median(ratios),
            "share measured": record.actual_share,
            "without bound": unbounded / statistics.median(plain),
            "measured": f"{len(record.steps)} of {record.due}",
            "put off": record.put_off,
            "set-up": record.setup_seconds,
            "idle call, seconds": idle_call(n),
        }
    )
