"""Set before anything numerical is imported: one thread per library, no display, reproducible hypothesis."""

import os
from pathlib import Path

from hypothesis import HealthCheck, settings

for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # read by NumPy, SciPy and torch when they load
os.environ["MPLBACKEND"] = "Agg"

SHARED = Path(__file__).resolve().parents[2] / "shared"  # reference values and data sets, where there are any

settings.register_profile(
    "reproducible",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("reproducible")
