"""A whole network examined as a map: its recurrent layers on data, and its Lipschitz constants."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from rnn.bounds.lipschitz import LipschitzBounds, lipschitz_bounds
from rnn.bounds.slopes import LocalLipschitz, local_lipschitz
from rnn.findings import Finding
from rnn.motion.drives import Drive, recorded_drives
from rnn.motion.layer_dynamics import UNITS, LayerDynamics, dynamics_findings, layer_dynamics
from rnn.report import prose
from spectra.errors import ConvergenceError, UnsupportedModelError
from spectra.threads import Progress

_CLOSE = 100.0  # times the largest slope seen: a bound beyond that says little
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


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A network that is to be examined as a map, and its recurrent layers as they ran on the data.

    Attributes
    ----------
    network : nn.Module or None
        The network; None if it is not to be examined.
    data : Tensor, tuple, mapping or None
        What it takes.
    drives : sequence of Drive
        Its recurrent layers on the data.
    findings : tuple of Finding
        About layers that did not run or were not understood.
    """

    network: nn.Module | None
    data: Any
    drives: Sequence[Drive]
    findings: tuple[Finding, ...]

    @property
    def units(self) -> int:
        """In how many units the progress of its examination is counted."""
        return 0 if self.network is None else len(self.drives) * UNITS + 1


def subject(network: nn.Module | None, data: Any, *, quick: bool) -> Subject:
    """Run the data through a network once, before anything that takes long.

    Parameters
    ----------
    network : nn.Module or None
        The network.
    data : Tensor, tuple, mapping or None
        What it takes.
    quick : bool
        Without data nothing at all is examined.

    Returns
    -------
    Subject
        What is to be examined.

    Raises
    ------
    ValueError
        If the data do not fit the network.
    """
    if network is None or data is None:
        return Subject(None if quick else network, data, (), ())
    try:
        drives = recorded_drives(network, data)
    except UnsupportedModelError as error:
        return Subject(network, data, (), (Finding("notice", "network", f"no dynamics: {error}"),))
    except Exception as error:  # whatever the network's own forward raises
        raise ValueError(
            f"data cannot be run through the network ({_first(error)}); pass what it takes"
        ) from error
    left = (Finding("notice", name, f"not examined on data: {why}") for name, why in drives.unrecognised)
    return Subject(network, data, drives, tuple(left))


def examined(
    found: Subject, *, epsilon: float, quick: bool, progress: Progress | None = None
) -> NetworkDynamics:
    """Examine a network as a map, as far as there is one.

    Parameters
    ----------
    found : Subject
        The network, its data and its layers on them.
    epsilon : float
        Level of the pseudospectral measures of state Jacobians.
    quick : bool
        Without pseudospectra and fixed points.
    progress : callable, optional
        Called as ``progress(done, found.units)``.

    Returns
    -------
    NetworkDynamics
        What was found out; parts that cannot be computed are findings.
    """
    if found.network is None:
        return NetworkDynamics((), None, None, (), {})
    findings = list(found.findings)
    start = time.perf_counter()
    dynamics = tuple(_layers(found, epsilon, quick, findings, progress))
    middle = time.perf_counter()
    x = found.data if isinstance(found.data, Tensor) else None
    bounds = local = None
    try:
        bounds = lipschitz_bounds(found.network, x)
    except Exception as error:  # the network's own code runs here too
        findings.append(Finding("notice", "network", f"no Lipschitz bound: {_first(error)}"))
    try:
        if x is not None and x.is_floating_point():
            local = local_lipschitz(found.network, x[:_EXAMPLES])
    except Exception as error:
        findings.append(Finding("notice", "network", f"no Jacobian on data: {_first(error)}"))
    findings += _lipschitz_findings(bounds, local)
    if progress is not None:
        progress(found.units, found.units)
    seconds = {"dynamics on data": middle - start, "Lipschitz bounds": time.perf_counter() - middle}
    return NetworkDynamics(dynamics, bounds, local, tuple(findings), seconds)


def _layers(
    found: Subject, epsilon: float, quick: bool, findings: list[Finding], progress: Progress | None
) -> Iterator[LayerDynamics]:
    for number, drive in enumerate(found.drives):

        def tell(done: int, _: int, before: int = number * UNITS) -> None:
            if progress is not None:
                progress(before + done, found.units)

        try:
            layer = layer_dynamics(drive, epsilon=epsilon, quick=quick, progress=tell)
        except (ValueError, ConvergenceError) as error:
            findings.append(Finding("warning", drive.name, f"not examined on data: {error}"))
        else:
            findings += dynamics_findings(layer)
            yield layer


def _first(error: Exception) -> str:
    """Give what an error says on one line; its sort as well where that is not one of the package's own."""
    said = " ".join(str(error).split())[:400]
    own = isinstance(error, (ValueError, TypeError))
    return said if own and said else f"{type(error).__name__}: {said}".rstrip(": ")


def _lipschitz_findings(bounds: LipschitzBounds | None, local: LocalLipschitz | None) -> Iterator[Finding]:
    if bounds is None or local is None or not bounds.certified:
        return
    ratio = bounds.bound / local.largest if local.largest > 0 else float("inf")
    text = f"""
        Lipschitz constant between {local.largest:.3g}, the largest norm of the Jacobian on the data, and
        {bounds.bound:.3g}, a proven bound: {ratio:.3g} times as much.
    """
    if ratio <= _CLOSE:
        text += f"""
            No perturbation of the input of norm d moves the output by more than {bounds.bound:.3g} d.
        """
        yield Finding("pass", "network", prose(text))
    else:
        text += f"""
            That is more than {_CLOSE:g} times: the bound is true but too coarse to vouch for anything, as
            that of deep and gated networks mostly is. Test robustness by attacks (rnn.robustness).
        """
        yield Finding("notice", "network", prose(text))
