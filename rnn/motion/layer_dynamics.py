"""What a trained recurrent layer does on data: Jacobians, Lyapunov exponents, growth and fixed points."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rnn.details import PORTRAIT, MatrixDetail, matrix_detail
from rnn.dynamics import mean_state_jacobian
from rnn.findings import Finding
from rnn.motion.drives import Drive
from rnn.motion.equilibria import FixedPoints, fixed_points
from rnn.motion.jacobians import jacobian_blocks
from rnn.motion.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from rnn.motion.propagation import FiniteTimeGrowth, finite_time_growth
from rnn.report import prose
from spectra.errors import ConvergenceError
from spectra.extremes import pseudospectral_radius
from spectra.pseudospectra import pseudospectrum
from spectra.results import Pseudospectrum
from spectra.schur import schur_form
from spectra.threads import Progress

Floats = NDArray[np.float64]

UNITS = 10  # in which the progress of one layer is counted

_MOST = 64  # sequences
_STARTS = 16  # of the search for fixed points
_BUDGET = 2e10  # operations for the Jacobians of the sequences, and for those of the search
_QUICK = 0.1  # share of it in the quick mode
_EXPONENTS = 64
_WIDE = 512  # states beyond which only the mean Jacobian gets pseudospectra
_JUDGED = 20  # points whose Jacobian gets a pseudospectral radius
_PICTURED = 3  # and a portrait
_LONG = 200  # steps from which on growth counts as lasting
_GROWTH = 10.0  # times that a disturbance grows, from which it is worth a word


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LayerDynamics:
    """One recurrent layer and direction on data.

    Attributes
    ----------
    name : str
        Name of the cell.
    sequences, of, steps, states : int
        Number of sequences looked at, of how many that were given, their most steps, and the size of the
        state (of an LSTM h and c).
    jacobian : MatrixDetail
        The state Jacobian at the mean state and mean input, with all its measures.
    worst : MatrixDetail
        The state Jacobian of largest norm along the sequences, with all its measures.
    radii, norms : ndarray, shape (N, T)
        Spectral radius and norm of J_t = ∂s_{t+1}/∂s_t at each step of each sequence; NaN behind its end.
    lyapunov : LyapunovSpectrum
        Mean growth rates of small perturbations along the sequences, at most 64 of them.
    growth : FiniteTimeGrowth
        Norms of the products J_t ... J_1.
    points : FixedPoints or None
        Fixed and slow points at the mean input, from states of the sequences; None in the quick mode.
    reaches : ndarray, shape (P,)
        Pseudospectral radius of the state Jacobian at each point, NaN beyond the first 20; none in wide
        layers.
    portraits : tuple of Pseudospectrum
        Those of the state Jacobian at the first points.
    failures : tuple of str
        What was not computed, each with the reason.
    """

    name: str
    sequences: int
    of: int
    steps: int
    states: int
    jacobian: MatrixDetail
    worst: MatrixDetail
    radii: Floats
    norms: Floats
    lyapunov: LyapunovSpectrum
    growth: FiniteTimeGrowth
    points: FixedPoints | None
    reaches: Floats
    portraits: tuple[Pseudospectrum, ...]
    failures: tuple[str, ...]

    def __repr__(self) -> str:
        """One line."""
        return f"LayerDynamics({self.name}, {self.sequences} of {self.of} sequences, {self.lyapunov})"


def layer_dynamics(
    drive: Drive, *, epsilon: float, quick: bool = False, progress: Progress | None = None
) -> LayerDynamics:
    """Examine one recurrent layer on the sequences that drove it.

    Parameters
    ----------
    drive : Drive
        From `recorded_drives`.
    epsilon : float
        Level of the pseudospectral measures of the mean Jacobian.
    quick : bool
        Without pseudospectra and without the search for fixed points.
    progress : callable, optional
        Called as ``progress(done, UNITS)``, done a whole number.

    Returns
    -------
    LayerDynamics
        The results.

    Raises
    ------
    ValueError
        If a Jacobian is not finite.

    Notes
    -----
    For wide layers fewer sequences are looked at, spread evenly over those given: of 100 steps 64 up to 42
    states, 19 with 64, one from 170 on; in the quick mode a tenth of that.
    """
    failures: list[str] = []
    mean, used, size = mean_state_jacobian(drive), _some_of(drive, quick), drive.states.shape[-1]
    jacobian = matrix_detail(f"state Jacobian of {drive.name}", mean, epsilon=epsilon, quick=quick)
    radii, norms, largest = _along(used, _part_of(progress, 1))
    name = f"state Jacobian of largest norm of {drive.name}"
    worst = matrix_detail(name, largest, epsilon=epsilon, quick=quick or size > _WIDE)
    lyapunov = lyapunov_spectrum(used, exponents=min(size, _EXPONENTS), progress=_part_of(progress, 2))
    growth = finite_time_growth(used, progress=_part_of(progress, 3))
    points = None
    if not quick:
        try:
            points = _points(drive, used, _part_of(progress, 4))
        except (ValueError, ConvergenceError) as error:
            failures.append(f"fixed points not computed: {error}")
    reaches, portraits = _around(points, epsilon) if size <= _WIDE else _around(None, epsilon)
    if progress is not None:
        progress(UNITS, UNITS)
    return LayerDynamics(
        name=drive.name,
        sequences=len(used.states),
        of=len(drive.states),
        steps=drive.states.shape[1],
        states=size,
        jacobian=jacobian,
        worst=worst,
        radii=radii,
        norms=norms,
        lyapunov=lyapunov,
        growth=growth,
        points=points,
        reaches=reaches,
        portraits=portraits,
        failures=tuple(failures),
    )


def _part_of(progress: Progress | None, number: int) -> Progress | None:
    """Give what one of the five parts of the work calls, each of two units."""
    if progress is None:
        return None
    return lambda done, total: progress(2 * number + 2 * done // total, UNITS)


def dynamics_findings(found: LayerDynamics) -> Iterator[Finding]:
    """Say what is worth knowing about the dynamics of one layer.

    Parameters
    ----------
    found : LayerDynamics
        The results.

    Yields
    ------
    Finding
        One for each.
    """
    for failure in (*found.failures, *found.jacobian.failures):
        yield Finding("warning", found.name, failure)
    first, error = float(found.lyapunov.exponents[0]), float(found.lyapunov.errors[0])
    rate = f"largest Lyapunov exponent {first:.3g} ± {error:.1g} per step"
    if first - error > 0:
        text = f"""
            {rate} is above 0: along these sequences small disturbances of the state grow, by the factor
            {np.exp(first):.3g} a step in the mean. {_about_chaos(found.steps)} If states must be reliable,
            lower the norm of the recurrent matrix or train with noise.
        """
        yield Finding("notice", found.name, prose(text))
    elif first + error < 0:
        text = f"""
            {rate} is below 0: along the data small disturbances of the state shrink, by the factor
            {np.exp(first):.3g} a step in the mean.
        """
        yield Finding("pass", found.name, prose(text))
    else:
        text = f"""
            {rate} cannot be told from 0: too few steps, or at the edge of stability. Give longer sequences to
            decide.
        """
        yield Finding("notice", found.name, prose(text))
    yield from _growth_findings(found)
    yield from _point_findings(found)


def _about_chaos(steps: int) -> str:
    if steps < _LONG:
        return f"Whether that lasts, which would be chaos, {steps} steps cannot tell."
    return f"That lasts over {steps} steps: chaos, as far as they can tell."


def _growth_findings(found: LayerDynamics) -> Iterator[Finding]:
    peak = 10.0 ** float(np.minimum(found.growth.log10_peaks.max(), 300))
    if peak > _GROWTH:
        text = f"""
            on some sequence a small disturbance of the first state grows {peak:.3g} times before the end,
            above {_GROWTH:g}: noise or an attack that hits the worst direction is amplified so much, as long
            as it stays small. Its growth curve shows at which step.
        """
        yield Finding("notice", found.name, prose(text))


def _point_findings(found: LayerDynamics) -> Iterator[Finding]:
    if found.points is None:
        return
    kinds = found.points.kinds.tolist()
    attractors = kinds.count("attractor")
    words = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "none"
    lost = found.points.too_fast + found.points.unfinished
    text = f"""
        fixed and slow points at the mean input: {words}, from {found.points.starts} states of the data, of
        which {lost} led to none. {{}}
    """
    if attractors:
        meaning = "Held at that input, states near an attractor settle there."
    else:
        meaning = """
            No attractor was found, which does not say that there is none: held at that input, the state may
            wander, cycle or drift, or settle at a point that the search missed.
        """
    yield Finding("pass" if attractors else "notice", found.name, prose(text.format(meaning)))


def _some_of(drive: Drive, quick: bool) -> Drive:
    """Give as many sequences as the budget allows, evenly spread."""
    count, steps, size = drive.states.shape
    budget = _BUDGET * (_QUICK if quick else 1.0)
    most = int(min(_MOST, max(1.0, budget / (40.0 * steps * size**3))))
    if most >= count:
        return drive
    chosen = np.linspace(0, count - 1, most).round().astype(int)
    fields = ("inputs", "initial", "states", "lengths")
    return dataclasses.replace(drive, **{field: getattr(drive, field)[chosen] for field in fields})


def _along(drive: Drive, progress: Progress | None) -> tuple[Floats, Floats, Floats]:
    """Give spectral radius and norm of all Jacobians, and the one of largest norm."""
    count, steps, _ = drive.states.shape
    radii, norms = np.full((2, count, steps), np.nan)
    taken = drive.taken.cpu().numpy()
    largest, most = np.zeros(0), -1.0
    for part, step, J in jacobian_blocks(drive, progress=progress):
        radii[part, step] = np.abs(np.linalg.eigvals(J)).max(axis=-1)
        norms[part, step] = np.linalg.norm(J, 2, axis=(1, 2))
        sizes = np.where(taken[part, step], norms[part, step], -1.0)
        if sizes.max() > most:
            most, largest = sizes.max(), J[sizes.argmax()].copy()
    radii[~taken] = norms[~taken] = np.nan
    return radii, norms, largest


def _around(points: FixedPoints | None, epsilon: float) -> tuple[Floats, tuple[Pseudospectrum, ...]]:
    """Give pseudospectral radii and portraits of the Jacobians at the first points."""
    if points is None:
        return np.zeros(0), ()
    forms = [schur_form(J) for J in points.jacobians[:_JUDGED]]
    reaches = np.full(len(points), np.nan)
    reaches[: len(forms)] = [pseudospectral_radius(form, epsilon).value for form in forms]
    levels = (epsilon / 100, epsilon / 10, epsilon)
    portraits = [pseudospectrum(form, epsilons=levels, shape=PORTRAIT) for form in forms[:_PICTURED]]
    return reaches, tuple(portraits)


def _points(drive: Drive, used: Drive, progress: Progress | None) -> FixedPoints:
    size = drive.states.shape[-1]
    most = int(min(_STARTS, max(4.0, _BUDGET / (100.0 * size**3))))
    states = used.states[used.taken.to(used.states.device)]
    chosen = np.linspace(0, len(states) - 1, min(most, len(states))).round().astype(int)
    mean = drive.inputs[drive.taken.to(drive.inputs.device)].mean(0)
    return fixed_points(drive.cell, x_t=mean, starts=states[chosen], progress=progress)
