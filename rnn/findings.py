"""What is worth knowing in the measures of a matrix: number, threshold, why it matters, what to do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from rnn.details import MatrixDetail, noise_distance
from rnn.report import prose
from rnn.weights import NamedMatrix

LEVELS = ("pass", "notice", "warning")

_NUMBERS = re.compile(r"[-+]?\d[\d.]*(?:e[-+]?\d+)?|inf|∞")
_NAMED = 12  # names that a line lists
_NEARLY_DEFECTIVE = 1e8  # κ(V) at which rounding can cost half of the digits of an eigenvalue
_EDGE = 1e-6  # times the norm: so far rounding to float32 alone moves the spectrum of a normal matrix
_SENSITIVE = 10.0  # times as far as the perturbation is large
_TRANSIENT = 3.0  # Kreiss constant from which growth before decay is worth a word
_NOISE_ORDER = 32  # smaller size from which a distribution of singular values says something


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something worth knowing about a matrix, a layer or the whole network.

    Attributes
    ----------
    level : {"pass", "notice", "warning"}
        How much it matters.
    subject : str
        Name of the matrix or layer, or "network".
    text : str
        The number, the threshold, why it matters and what to do.
    """

    level: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.subject}: {self.text}"


class _Said(Protocol):
    @property
    def level(self) -> str: ...
    @property
    def text(self) -> str: ...


_Any = TypeVar("_Any", bound=_Said)


def grouped(findings: Sequence[_Any], *, least: int = 2) -> list[tuple[_Any, list[_Any]]]:
    """Put findings that say the same, but for their numbers, behind the first of them.

    Parameters
    ----------
    findings : sequence of Finding
        In the order of importance; or anything with a level and a text.
    least : int
        Smallest number of such findings that are put together.

    Returns
    -------
    list of (Finding, list of Finding)
        The first of each kind and level, and the others.
    """
    alike: dict[tuple[str, str], list[_Any]] = {}
    for finding in findings:
        alike.setdefault((finding.level, _NUMBERS.sub("#", finding.text)), []).append(finding)
    groups: list[tuple[_Any, list[_Any]]] = []
    for members in alike.values():
        if len(members) >= least:
            groups.append((members[0], members[1:]))
        else:
            groups += [(one, []) for one in members]
    return groups


def grouped_lines(findings: Sequence[Finding]) -> list[str]:
    """Give findings as lines, those that say the same together.

    Parameters
    ----------
    findings : sequence of Finding
        In the order of importance.

    Returns
    -------
    list of str
        A line each, with the names of those that it stands for.
    """
    lines = []
    for first, others in grouped(findings):
        line = str(first)
        if others:
            names = ", ".join(other.subject for other in others[:_NAMED])
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            line += f" (The same, with other numbers: {names}{more}.)"
        lines.append(line)
    return lines


def carries_state(record: NamedMatrix) -> bool:
    """Tell whether a matrix alone maps the state on: W_hh, of a GRU gate n, of an LSTM gate g.

    Parameters
    ----------
    record : NamedMatrix
        The matrix.

    Returns
    -------
    bool
        False for the other gates, which do not act alone.
    """
    return record.role == "recurrent" and record.gate in {"", "n", "g"}


def matrix_findings(
    record: NamedMatrix, detail: MatrixDetail, epsilon: float, *, on_data: bool = False
) -> Iterator[Finding]:
    """Say what is worth knowing about one matrix.

    Parameters
    ----------
    record : NamedMatrix
        Which matrix it is.
    detail : MatrixDetail
        Its measures.
    epsilon : float
        Level of its pseudospectral measures.
    on_data : bool
        Whether the network is examined on data as well.

    Yields
    ------
    Finding
        One for each.
    """
    name, values = detail.name, detail.values
    for failure in detail.failures:
        yield Finding("notice" if "above largest=" in failure else "warning", name, failure)
    if values.get("spectral_norm") == 0 and detail.dynamics == "discrete":
        yield Finding("warning", name, "all entries are 0: nothing passes; was it trained or loaded?")
        return
    if carries_state(record) and "spectral_radius" in values:
        judge = _discrete if detail.dynamics == "discrete" else _continuous
        yield _edge(detail, _REALLY[on_data]) or judge(detail, epsilon, _REALLY[on_data])
        yield from _transients(detail)
    if "eigenvector_condition_number" in values:
        yield from _nonnormality(detail)
    if record.role in {"recurrent", "linear", "attention"} and not record.derived:
        yield from _noise(record, detail)


_REALLY = {
    False: "What the network really does is seen on data: diagnose it with some.",
    True: "What the network really does is said by its dynamics on data.",
}


def _edge(detail: MatrixDetail, really: str) -> Finding | None:
    """Say that a spectrum ends at the limit of stability, on which side only rounding decides."""
    norm, radius = detail.values["spectral_norm"], detail.values["spectral_radius"]
    abscissa = detail.values["spectral_abscissa"]
    if detail.dynamics == "discrete" and abs(radius - 1) <= _EDGE:
        where = f"spectral radius {radius:.4g} cannot be told from 1 (they differ by {abs(radius - 1):.1g},"
        meant = "Identity and orthogonal weights are so by intent"
    elif detail.dynamics == "continuous" and abs(abscissa) <= _EDGE * norm:
        where = f"spectral abscissa {abscissa:.1g} cannot be told from 0 (the norm is {norm:.4g},"
        meant = "An integrator is so by intent"
    else:
        return None
    text = f"""
        {where} the rounding of weights can do as much): in the linear map some part of the state stays
        for ever, and the smallest change decides whether it grows. {meant}; else lower the norm. {really}
    """
    return Finding("warning", detail.name, prose(text))


def _discrete(detail: MatrixDetail, epsilon: float, really: str) -> Finding:
    values = detail.values
    radius, norm = values["spectral_radius"], values["spectral_norm"]
    reach = values.get("pseudospectral_radius")
    most = None if reach is None else detail.interval("pseudospectral_radius")[1]
    near, far = _beside(radius, 1), _beside(norm, 1)
    if radius > 1:
        level = "notice"
        text = f"""
            spectral radius {near} is above 1: as a linear map the matrix makes states grow by that
            factor a step, and only the nonlinearity and the gates hold them back. {really} If states or
            gradients blow up, rescale the matrix or penalise its norm.
        """
    elif norm <= 1 and (most is None or most <= 1):
        level = "pass"
        text = f"""
            spectral radius {radius:.4g} and norm {norm:.4g} are at most 1: no linear step makes the state
            grow.
        """
    elif reach is None or most is None:
        level = "notice"
        text = f"""
            spectral radius {near} is at most 1, but the norm {far} is above 1: a state can grow
            for some steps before it shrinks. How much, and how near instability is, the full diagnosis says.
        """
    elif most > 1:
        level = "warning"
        text = f"""
            spectral radius {near} is at most 1, but a perturbation of norm {epsilon:g} can bring it to
            {reach:.4g}{_nearest(detail)}. So near the limit rounding, noise or further training may make the
            linear map unstable. Lower the norm ({norm:.4g}), or diagnose again after every such change.
        """
    else:
        level = "notice"
        text = f"""
            spectral radius {near} stays at most 1 under every change of norm {epsilon:g}, but the
            norm {far} is above 1: a state can grow for some steps before it shrinks. If that matters,
            bound the norm by 1.
        """
    return Finding(level, detail.name, prose(text))


def _continuous(detail: MatrixDetail, epsilon: float, really: str) -> Finding:
    values = detail.values
    abscissa, first = values["spectral_abscissa"], values["numerical_abscissa"]
    reach = values.get("pseudospectral_abscissa")
    if abscissa > 0:
        level = "notice"
        text = f"""
            spectral abscissa {abscissa:.4g} is above 0: around the origin states grow at that rate, and only
            the nonlinearity holds them back. {really} If states blow up, lower the norm of W.
        """
    elif reach is not None and detail.interval("pseudospectral_abscissa")[1] > 0:
        level = "warning"
        text = f"""
            spectral abscissa {abscissa:.4g} is at most 0, but a perturbation of the operator of norm
            {epsilon:g} can bring it to {reach:.4g}{_nearest(detail)}. So near the limit rounding, noise or
            further training may make the linear system unstable. Lower the norm of W, or diagnose again after
            every such change.
        """
    elif first > 0:
        level = "notice"
        text = f"""
            spectral abscissa {abscissa:.4g} is at most 0, but the numerical abscissa {first:.4g} is above 0:
            a state can grow for a while, at first at that rate, before it decays.
        """
    else:
        level = "pass"
        text = f"""
            spectral abscissa {abscissa:.4g} and numerical abscissa {first:.4g} are at most 0: no state grows
            at any moment.
        """
    return Finding(level, detail.name, prose(text))


def _beside(value: float, limit: float) -> str:
    """Write a number to four digits, or to as many as tell it from a limit."""
    texts = (f"{value:.{digits}g}" for digits in range(4, 18))
    return next((text for text in texts if float(text) != limit), f"{limit:g}")


def _nearest(detail: MatrixDetail) -> str:
    """Say how small a perturbation is enough; that one is complex in general, and changes of weights real."""
    distance, norm = detail.values["distance_to_instability"], detail.values["spectral_norm"]
    enough = f"one of norm {distance:.2g} is enough, {distance / norm:.1%} of that of the matrix"
    return f" ({enough}; a real one may have to be larger)"


def _transients(detail: MatrixDetail) -> Iterator[Finding]:
    kreiss = detail.values.get("kreiss_constant", 1.0)
    if _TRANSIENT < kreiss < float("inf"):
        lower = detail.interval("kreiss_constant")[0]
        text = f"""
            Kreiss constant {kreiss:.4g} (at least {lower:.4g}) is above {_TRANSIENT:g}: although all
            eigenvalues are stable, some small disturbance of the state grows at least that many times before
            it decays. Look at its growth curve, and bound the norm or penalise non-normality if that matters.
        """
        yield Finding("notice", detail.name, prose(text))


def _nonnormality(detail: MatrixDetail) -> Iterator[Finding]:
    condition = detail.values["eigenvector_condition_number"]
    sensitivity = detail.values["pseudospectral_sensitivity"]
    if condition > _NEARLY_DEFECTIVE:
        text = f"""
            eigenvector condition number {condition:.3g} is above {_NEARLY_DEFECTIVE:g}: some eigenvectors
            are nearly dependent, and rounding alone can change half of the digits of an eigenvalue. Judge
            by pseudospectra (spectra.pseudospectrum), not by eigenvalues.
        """
        yield Finding("notice", detail.name, prose(text))
    elif sensitivity > _SENSITIVE:
        text = f"""
            pseudospectral sensitivity {sensitivity:.3g} is above {_SENSITIVE:g}: the spectral radius can
            move that many times as far as a perturbation is large (1 for a normal matrix). Judge by
            pseudospectra (spectra.pseudospectrum), not by eigenvalues.
        """
        yield Finding("notice", detail.name, prose(text))


def _noise(record: NamedMatrix, detail: MatrixDetail) -> Iterator[Finding]:
    least = min(record.shape)
    outliers, distance = (
        detail.values.get(key, 1.0) for key in ("singular_value_outliers", "marchenko_pastur_distance")
    )
    threshold = noise_distance(least)
    if least >= _NOISE_ORDER and outliers == 0 and distance < threshold:
        text = f"""
            its singular values cannot be told from those of pure noise: none is an outlier, and their
            distance from the Marchenko-Pastur law, {distance:.2g}, is below {threshold:.2g}, as that of 99 %
            of random matrices. It looks untrained; check that the right weights were loaded and that the
            layer learned.
        """
        yield Finding("notice", detail.name, prose(text))
