"""Published and reference values as cases for parametrised tests: (matrix, quantity, value, kind)."""

import dataclasses
import functools
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from conftest import SHARED
from numpy.typing import NDArray

from spectra import gallery

REFERENCE = SHARED / "reference"


@dataclasses.dataclass(frozen=True)
class Case:
    """One known value of one quantity of one matrix."""

    matrix: str
    quantity: str  # "alpha_eps", "sigmin", ... without its argument
    argument: str  # "0.0001", "(1+1j)", or "" for none
    value: float
    kind: str  # "320-bit": right to all digits; "double": plain double precision; or where it is published
    A: NDArray[Any] = dataclasses.field(repr=False, compare=False)

    @property
    def epsilon(self) -> float:
        return float(self.argument)

    @property
    def z(self) -> complex:
        return complex(self.argument)


@functools.cache
def _reference() -> tuple[Case, ...]:
    if not (REFERENCE / "pseudospectra.json").exists():
        return ()
    table = json.loads((REFERENCE / "pseudospectra.json").read_text(encoding="utf-8"))
    with np.load(REFERENCE / "matrices.npz", allow_pickle=False) as archive:
        matrices = dict(archive)
    return tuple(
        Case(matrix, *_parsed(name), float(entry["value"]), entry["kind"], matrices[matrix])
        for matrix, quantities in table.items()
        for name, entry in quantities.items()
    )


@functools.cache
def _published() -> tuple[Case, ...]:
    overton = "Guglielmi and Overton print 2.41276 and 2.85216; more digits in 320-bit arithmetic"
    circle = "closed form: the boundary is the circle abs(z - a)**2 = epsilon * (epsilon + k)"
    A, J, N = gallery.grcar(100), gallery.jordan_block(5), np.array([[0.25, 3.0], [0.0, 0.25]])
    disc = (0.01 * (0.01 + 3)) ** 0.5
    return (
        Case("grcar100", "alpha_eps", "1e-4", 2.412764923593, overton, A),
        Case("grcar100", "rho_eps", "1e-4", 2.852156096332, overton, A),
        Case("circle", "alpha_eps", "0.01", 0.25 + disc, circle, N),
        Case("circle", "rho_eps", "0.01", 0.25 + disc, circle, N),
        Case("circle", "henrici_schur_F", "", 3.0, "closed form", N),
        Case("circle", "commutator_F", "", 9 * 2**0.5, "closed form", N),
        Case("jordan5", "numerical_abscissa", "", 3**0.5 / 2, "closed form cos(pi/6)", J),
        Case("jordan5", "numerical_radius", "", 3**0.5 / 2, "closed form cos(pi/6)", J),
        Case("jordan5", "norm2", "", 1.0, "closed form", J),
        Case("jordan5", "henrici_schur_F", "", 2.0, "closed form", J),
        Case("jordan5", "commutator_F", "", 2**0.5, "closed form", J),
    )


def _parsed(name: str) -> tuple[str, str]:
    """("alpha_eps", "0.01") from "alpha_eps=0.01" and ("sigmin", "(1+1j)") from "sigmin((1+1j))"."""
    if name.startswith("sigmin("):
        return "sigmin", name[len("sigmin(") : -1]
    quantity, _, argument = name.partition("=")
    return quantity, argument


def published(*quantities: str) -> list[Any]:
    """Parameters as from `reference`, of values from papers and closed forms: they need no folder."""
    return _parameters(_published(), quantities)


def reference_matrices() -> dict[str, NDArray[Any]]:
    return {case.matrix: case.A for case in _reference()}


def reference(*quantities: str, kind: str | None = None) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`: one case each, or one that skips where there is no folder."""
    if not _reference():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no reference values at {REFERENCE}"))]
    return _parameters([case for case in _reference() if kind in (None, case.kind)], quantities)


def _parameters(cases: Iterable[Case], quantities: tuple[str, ...]) -> list[Any]:
    found = [case for case in cases if case.quantity in quantities]
    assert found, f"no value of {quantities}"
    return [pytest.param(c, id="-".join(filter(None, (c.matrix, c.quantity, c.argument)))) for c in found]
