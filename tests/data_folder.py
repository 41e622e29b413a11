"""The folder of the real data sets, for the tests that need them."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
DATA = Path(os.environ.get("SPECTRA_DATA") or _BESIDE)

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="no data sets: let SPECTRA_DATA name the folder that holds them"
)
