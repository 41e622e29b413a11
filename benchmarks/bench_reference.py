"""How far are the measures from the 320-bit reference values, and do their intervals hold them?

The values and matrices lie in ``../shared/reference``, beside the repository; without it this is skipped.
Values at levels below 10 n u norm(A), or so small themselves, are rounding noise and counted apart.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import spectra

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"

MEASURES = {
    "alpha_eps": lambda A, level: spectra.pseudospectral_abscissa(A, float(level)),
    "rho_eps": lambda A, level: spectra.pseudospectral_radius(A, float(level)),
    "dist_instab_cont": lambda A, _: spectra.distance_to_instability(A, dynamics="continuous"),
    "dist_instab_disc": lambda A, _: spectra.distance_to_instability(A, dynamics="discrete"),
    "kreiss_cont": lambda A, _: spectra.kreiss_constant(A, dynamics="continuous"),
    "kreiss_disc": lambda A, _: spectra.kreiss_constant(A, dynamics="discrete"),
    "numerical_abscissa": lambda A, _: spectra.numerical_abscissa(A),
    "numerical_radius": lambda A, _: spectra.numerical_radius(A),
    "sigmin": lambda A, z: 1.0 / spectra.resolvent_norm(A, complex(z)),
}


def cases(quantity):
    table = json.loads((REFERENCE / "pseudospectra.json").read_text(encoding="utf-8"))
    for matrix, values in table.items():
        for name, entry in values.items():
            head, _, argument = name.replace("(", "=", 1).partition("=")
            if head == quantity and entry["kind"] == "320-bit":
                yield matrix, argument[:-1] if head == "sigmin" else argument, float(entry["value"])


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"no reference values at {REFERENCE}")
@pytest.mark.parametrize("quantity", MEASURES)
def test_reference(benchmark, row, quantity):
    with np.load(REFERENCE / "matrices.npz", allow_pickle=False) as archive:
        matrices = dict(archive)
    known = list(cases(quantity))
    compute = lambda: [MEASURES[quantity](matrices[name], argument) for name, argument, _ in known]  # noqa: E731
    found = benchmark.pedantic(compute, rounds=1)
    errors, outside, noise = {}, 0, 0
    for (name, argument, exact), value in zip(known, found, strict=True):
        floor = 10 * len(matrices[name]) * 2.0**-53 * np.linalg.norm(matrices[name], 2)
        level = exact if quantity == "sigmin" else float(argument or "inf")
        if isinstance(value, spectra.Extremum):
            outside += not value.lower <= exact <= value.upper
        if level < floor:
            noise += 1
        else:
            errors[name] = max(errors.get(name, 0.0), abs(float(value) - exact) / abs(exact))
    worst = max(errors, key=errors.get)
    row(
        {
            "quantity": quantity,
            "values": f"{len(known)}",
            "worst relative error": f"{errors[worst]:.0e}",
            "at": worst,
            "outside their interval": f"{outside}",
            "at noise level": f"{noise}",
        }
    )
    assert outside == 0
