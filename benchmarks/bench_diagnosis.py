"""How long does the diagnosis of a checkpoint take, in how much memory, and where does the time go?

A two-layer bidirectional LSTM of n units with an embedding of 10,000 words and a head: 16 recurrent gates of
order n. The command runs in a process of its own, imports included; times by part are sums over two threads.
The largest resident set is the kernel's. The order 512 takes four minutes: set SPECTRA_LARGE=1.
"""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
GOALS = {"--quick": 5, "full": 120, "with page": 120}


def network(n):
    torch.manual_seed(0)
    rnn = nn.LSTM(300, n, num_layers=2, bidirectional=True)
    return nn.ModuleDict({"embedding": nn.Embedding(10_000, 300), "rnn": rnn, "head": nn.Linear(2 * n, 10)})


@pytest.mark.parametrize("mode", list(GOALS))
@pytest.mark.parametrize("n", [50, 128, 512])
def test_diagnosis(benchmark, row, tmp_path, n, mode):
    if n > 128 and "SPECTRA_LARGE" not in os.environ:
        pytest.skip("two minutes; set SPECTRA_LARGE=1")
    path, found = tmp_path / "net.pt", tmp_path / "found.json"
    torch.save(network(n).state_dict(), path)
    options = {"--quick": ["--quick"], "full": [], "with page": ["--html", tmp_path / "page.html"]}[mode]
    command = [os.path.join(os.path.dirname(sys.executable), "spectra"), "diagnose", path, "--json", found]
    free = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}

    def run():
        line = [sys.executable, "-c", MEASURE, *command, *options]
        done = subprocess.run(line, capture_output=True, text=True, check=True, env=free)
        code, seconds, peak = done.stdout.split()
        assert code == "0", done.stderr
        return float(seconds), float(peak)

    rounds = 3 if mode == "--quick" else 1
    times = [run() for _ in range(rounds)]
    benchmark.pedantic(lambda: None, rounds=1)
    content = json.loads(found.read_text("utf-8"))
    assert len(content["matrices"]) == 34
    parts = {name: round(value, 1) for name, value in content["seconds"].items() if value >= 0.05}
    in_all = parts.pop("in all")
    largest = sorted(parts.items(), key=lambda part: -part[1])[:5]
    row(
        {
            "n": n,
            "mode": mode,
            "seconds": f"{sorted(seconds for seconds, _ in times)[len(times) // 2]:.2f}",
            "goal at 512": GOALS[mode],
            "without imports and page": in_all,
            "MiB": f"{max(peak for _, peak in times):.0f}",
            "largest parts": ", ".join(f"{name} {value}" for name, value in largest),
            "page, MB": f"{(tmp_path / 'page.html').stat().st_size / 1e6:.1f}" if mode == "with page" else "",
        }
    )
