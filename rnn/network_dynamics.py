"""A whole network examined as a map: its recurrent layers on data, and its Lipschitz constants."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from rnn.drives import recorded_drives
from rnn.findings import Finding
from rnn.layer_dynamics import LayerDynamics, dynamics_findings, layer_dynamics
from rnn.lipschitz import LipschitzBounds, lipschitz_bounds
from rnn.report import prose
from rnn.slopes import LocalLipschitz, local_lipschitz
from spectra.errors import ConvergenceError, UnsupportedModelError

_EXAMPLES = 64  # of the data at which the Jacobian of the network is computed


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NetworkDynamics:
    """What was found out about a network as a map.

    Attributes
    ----------
    dynamics : tuple of LayerDynamics
        Each recurrent layer and direction on data.
    lipschitz : LipschitzBounds or None
        Bounds from above.
    local_lipschitz : LocalLipschitz or None
        Norms of the Jacobian at data.
    findings : tuple of Finding
        What is worth knowing.
    seconds : dict of str to float
        Time by part.
    """

    dynamics: tuple[LayerDynamics, ...]
    lipschitz: LipschitzBounds | None
    local_lipschitz: LocalLipschitz | None
    findings: tuple[Finding, ...]
    seconds: dict[str, float]


def examined(network: nn.Module | None, data: Any, *, epsilon: float, quick: bool) -> NetworkDynamics:
    """Examine a network as a map, as far as there is one.

    Parameters
    ----------
    network : nn.Module or None
        The network.
    data : Tensor, tuple, mapping or None
        What it takes.
    epsilon : float
        Level of the pseudospectral measures of state Jacobians.
    quick : bool
        Without pseudospectra and fixed points; without data nothing at all.

    Returns
    -------
    NetworkDynamics
        What was found out; parts that cannot be computed are findings.

    Raises
    ------
    ValueError
        If the data do not fit the network.
    """
    if network is None or (quick and data is None):
        return NetworkDynamics((), None, None, (), {})
    findings: list[Finding] = []
    start = time.perf_counter()
    dynamics = () if data is None else tuple(_layers(network, data, epsilon, quick, findings))
    middle = time.perf_counter()
    x = data if isinstance(data, Tensor) else None
    bounds = local = None
    try:
        bounds = lipschitz_bounds(network, x)
        if x is not None and x.is_floating_point():
            local = local_lipschitz(network, x[:_EXAMPLES])
    except (ValueError, TypeError, RuntimeError) as error:
        findings.append(Finding("notice", "network", f"no Lipschitz bound: {' '.join(str(error).split())}"))
    findings += _lipschitz_findings(bounds, local)
    seconds = {"dynamics on data": middle - start, "Lipschitz bounds": time.perf_counter() - middle}
    return NetworkDynamics(dynamics, bounds, local, tuple(findings), seconds)


def _layers(
    network: nn.Module, data: Any, epsilon: float, quick: bool, findings: list[Finding]
) -> Iterator[LayerDynamics]:
    try:
        drives = recorded_drives(network, data)
    except UnsupportedModelError as error:
        findings.append(Finding("notice", "network", f"no dynamics: {error}"))
        return
    except Exception as error:  # whatever the network's own forward raises
        first = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"data cannot be run through the network ({first}); check their shape") from error
    findings += [Finding("notice", name, f"not examined on data: {why}") for name, why in drives.unrecognised]
    for drive in drives:
        try:
            found = layer_dynamics(drive, epsilon=epsilon, quick=quick)
        except (ValueError, ConvergenceError) as error:
            findings.append(Finding("warning", drive.name, f"not examined on data: {error}"))
        else:
            findings += dynamics_findings(found)
            yield found


def _lipschitz_findings(bounds: LipschitzBounds | None, local: LocalLipschitz | None) -> Iterator[Finding]:
    if bounds is None or local is None or not bounds.certified:
        return
    ratio = bounds.bound / local.largest if local.largest > 0 else float("inf")
    text = f"""
        Lipschitz constant between {local.largest:.3g}, the largest norm of the Jacobian on the data, and
        {bounds.bound:.3g}, a proven bound: {ratio:.3g} times as much. A perturbation of the input of norm d
        moves the logits by at most {bounds.bound:.3g} d.
    """
    yield Finding("pass", "network", prose(text))
