"""Rows that the benchmarks report, printed as tables at the end of the run."""

import collections
import os
import platform

for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402  (after the number of threads)
import pytest  # noqa: E402

TABLES = collections.defaultdict(list)


def pytest_collection_modifyitems(config, items):
    """With --benchmark-disable a benchmark is only checked to run: small orders do."""
    if config.getoption("benchmark_disable"):
        items[:] = [
            item for item in items if getattr(item, "callspec", None) is None or small(item.callspec.params)
        ]


def small(parameters):
    return parameters.get("n", 0) <= 64


@pytest.fixture(autouse=True)
def one_torch_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def row(request):
    """Add a row, a mapping of column to text or number, to the table of the benchmark's question."""
    question = request.module.__doc__.splitlines()[0]
    return TABLES[question, request.node.originalname].append


def pytest_terminal_summary(terminalreporter):
    import numba
    import scipy

    tables = {which: rows for which, rows in TABLES.items() if rows}
    for (question, _), rows in tables.items():
        terminalreporter.section(question)
        columns = list(dict.fromkeys(name for entry in rows for name in entry))
        lines = [
            columns,
            ["---"] * len(columns),
            *[[_text(entry.get(name, "")) for name in columns] for entry in rows],
        ]
        for line in lines:
            terminalreporter.write_line("| " + " | ".join(line) + " |")
    if tables:
        versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}, Numba {numba.__version__}"
        terminalreporter.write_line(
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {versions}"
        )


def _text(value):
    return value if isinstance(value, str) else f"{value:.3g}"
