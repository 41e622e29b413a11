"""How much memory does it take to read every matrix of a checkpoint of 1 GB, one after the other?

64 linear layers of 2048 x 2048 in float32: 16 MiB each, 32 MiB as the float64 that is handed out. Each way of
reading runs in a process of its own. Memory is what it takes beyond the imports and a first small file: the
largest resident set (with pages of mapped files) and, sampled each millisecond, the largest anonymous part.
Set SPECTRA_LARGE=1 to run it (a minute, 1 GB of disk).
"""

import json
import os
import subprocess
import sys

import pytest
import torch

LAYERS, N = 64, 2048

CHILD = """
import json, sys, threading, time
import torch
from rnn import named_matrices

way, path, small = sys.argv[1:]

def read(where):
    if way == "torch.load":
        return sum(float(value.sum()) for value in torch.load(where, weights_only=True).values())
    return sum(float(record.matrix.sum()) for record in named_matrices(where))

def kibibytes(field):
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field))

torch.set_num_threads(1)
read(small)
with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
    file.write("5")  # the largest resident set starts anew
before, largest, running = (kibibytes("VmRSS"), kibibytes("RssAnon")), 0, True

def sample():
    global largest
    while running:
        largest = max(largest, kibibytes("RssAnon"))
        time.sleep(0.001)

thread = threading.Thread(target=sample)
thread.start()
begin = time.perf_counter()
total = read(path)
seconds, running = time.perf_counter() - begin, False
thread.join()
peak = [(kibibytes("VmHWM") - before[0]) / 1024, (largest - before[1]) / 1024]
print(json.dumps({"seconds": seconds, "resident": peak[0], "anonymous": peak[1], "total": total}))
"""


def measured(way, path, small):
    """Seconds and MiB of one way of reading."""
    run = subprocess.run(
        [sys.executable, "-c", CHILD, way, path, small], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.mark.skipif("SPECTRA_LARGE" not in os.environ, reason="a minute, 1 GB of disk; set SPECTRA_LARGE=1")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_streaming(benchmark, row, tmp_path, suffix):
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(0)
    state = {f"{k}.weight": torch.randn(N, N, generator=random) for k in range(LAYERS)}
    save = save_file if suffix == ".safetensors" else torch.save
    path, small = tmp_path / f"large{suffix}", tmp_path / f"small{suffix}"
    save(state, path)
    save({"0.weight": torch.eye(2)}, small)
    size, largest = path.stat().st_size / 2**20, N * N * 8 / 2**20
    del state
    ways = ["named_matrices"] + ["torch.load"] * (suffix == ".pt")
    found = {}
    for way in ways:
        found[way] = (
            benchmark.pedantic(measured, (way, path, small), rounds=1)
            if way == ways[0]
            else measured(way, path, small)
        )
        row(
            {
                "file": f"{suffix}, {size:.0f} MiB",
                "read by": way,
                "seconds": found[way]["seconds"],
                "resident": f"{found[way]['resident']:.0f} MiB",
                "anonymous": f"{found[way]['anonymous']:.0f} MiB",
                "anonymous / largest matrix": f"{found[way]['anonymous'] / largest:.1f}",
            }
        )
    assert found["named_matrices"]["anonymous"] < 4 * largest
