"""Set before anything numerical is imported: one thread per library, no display, reproducible hypothesis."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # read by NumPy, SciPy and torch when they load
os.environ["MPLBACKEND"] = "Agg"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # or the commands under test would not hear Ctrl-C

SHARED = Path(__file__).resolve().parents[2] / "shared"  # reference values and data sets, where there are any

settings.register_profile(
    "reproducible",
    deadline=None,
    max_examples=50,  # the slow set says how many it wants
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Weights that a test draws without a seed are the same whatever ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
