"""One network as a row of numbers: measures of its matrices and Jacobians, and what attacks do to it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rnn.attacking.length_arguments import LengthArgument, length_argument
from rnn.bounds.slopes import local_lipschitz
from rnn.dynamics import input_jacobian, mean_state_jacobian
from rnn.harness import attack, robustness
from rnn.measuring.measures import matrix_measures
from rnn.models import FeedForward, in_mode, logits
from rnn.motion.drives import Drive, recorded_drives
from rnn.motion.kicks import state_kicks
from rnn.motion.lyapunov import lyapunov_spectrum
from rnn.motion.propagation import finite_time_growth
from rnn.weights import NamedMatrix, named_matrices
from spectra.checks import non_negative, positive, whole_number
from spectra.errors import UnsupportedModelError
from spectra.norms import spectral_norm
from spectra.stability import distance_to_instability, kreiss_constant

Floats = NDArray[np.float64]
Row = dict[str, float]

OUTCOMES = ("fooling_", "minimal_", "kick_")  # beginnings of the names of outcomes
SCALED_RADIUS = 0.95


@dataclasses.dataclass(frozen=True, slots=True)
class AttackPlan:
    """What is done to each network of a study.

    Attributes
    ----------
    methods : tuple of str
        Attacks, each alone; the worst over them is reported too.
    budgets : tuple of (str, tuple of float)
        For each norm the budgets, such as ``(("linf", (0.05, 0.1)), ("l2", (0.5,)))``.
    minimal : tuple of str
        Norms in which DeepFool and FAB look for the nearest misclassified point.
    ensemble : bool
        Whether the method "worst" runs as well, at all budgets.
    trajectories : int
        On how many of the examples, the first ones, Jacobians along trajectories and kicks are computed.
    kick : float
        Length of a kick of the state, in units of the root mean square length of the states.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.
    """

    methods: tuple[str, ...] = ("pgd", "apgd-ce")
    budgets: tuple[tuple[str, tuple[float, ...]], ...] = (("linf", (0.02, 0.05, 0.1)),)
    minimal: tuple[str, ...] = ("l2",)
    ensemble: bool = False
    trajectories: int = 30
    kick: float = 0.1

    def __post_init__(self) -> None:
        """Check the options that nobody checks later."""
        whole_number(self.trajectories, "trajectories")
        positive(self.kick, "kick")
        for name in ("methods", "minimal"):
            if not isinstance(getattr(self, name), (tuple, list)):
                raise TypeError(f"{name} is {getattr(self, name)!r}; expected a tuple of names")
        if not self.methods:
            raise ValueError("methods is empty; expected at least one attack")
        check_budgets(self.budgets)


def check_budgets(budgets: Sequence[tuple[str, Sequence[float]]]) -> None:
    """Refuse budgets that would share a column of outcomes, which is named by six digits.

    Parameters
    ----------
    budgets : sequence of (str, sequence of float)
        See `AttackPlan`.

    Raises
    ------
    TypeError
        If they are nothing of the kind.
    ValueError
        If a norm or a budget is there twice, or a budget is negative.
    """
    if not isinstance(budgets, (tuple, list)) or not all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in budgets
    ):
        raise TypeError(f'budgets is {budgets!r}; expected pairs such as (("linf", (0.05, 0.1)),)')
    known: set[str] = set()
    for norm, sizes in budgets:
        for column in (f"{norm}", *(f"{norm} {non_negative(size, 'budgets'):g}" for size in sizes)):
            if column in known:
                raise ValueError(f"budgets has {column} twice (to six digits); name each once")
            known.add(column)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NetworkRow:
    """What one network gives a study.

    Attributes
    ----------
    values : dict of str to float
        Its row: measures and outcomes by column name; no entry where one is not defined.
    arrays : dict of str to ndarray
        For each method and norm the smallest budget that turned each example, as ``minimal_pgd_linf``.
    """

    values: Row
    arrays: dict[str, NDArray[Any]]


def network_row(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    *,
    plan: AttackPlan | None = None,
    bounds: tuple[float, float] | None = None,
    lengths: Tensor | None = None,
    tolerance: float | None = None,
    rng: int = 0,
) -> NetworkRow:
    """Measure one network and attack it.

    Parameters
    ----------
    model : nn.Module
        The network; it comes back as it was.
    x : Tensor, shape (N, ...)
        Examples.
    y : Tensor or array_like
        Labels, labels of frames, or targets; see `rnn.attack`.
    plan : AttackPlan, optional
        What is done; None is ``AttackPlan()``.
    bounds, lengths, tolerance
        See `rnn.attack`.
    rng : int
        Seed of attacks, kicks and power iterations.

    Returns
    -------
    NetworkRow
        The row and the arrays.

    Notes
    -----
    Columns of measures: those of `rnn.matrix_measures` for the matrices that carry the state (`matrices` of
    them; where there are several, the largest value), with ``kreiss_constant_scaled``, the Kreiss constant of
    W scaled to spectral radius 0.95, which is finite for every W; the same with ``jacobian_`` for the state
    Jacobian at mean state and input; ``input_spectral_norm`` and ``linear_spectral_norm`` (readout);
    ``growth_peak`` and ``growth_end``, means of log10 of the norm of the product of the state Jacobians;
    ``lyapunov_exponent``; ``io_jacobian_norm``, the median of ‖∂logits/∂x‖; ``margin``, the median of z_y -
    max z_k; their ratio ``io_jacobian_per_margin``; none of the three where sequences have lengths that the
    model does not take.

    Columns of outcomes: ``fooling_<method>_<norm>_<budget>``, the share of the clean-correct that is turned,
    with method "all" for the worst over all; ``minimal_<norm>``, the median distance of the misclassified
    points that DeepFool and FAB find from the clean-correct; ``kick_peak_<direction>`` and
    ``kick_end_<direction>``, how many times its length a kick of the state grows at most and until the end,
    in the median.
    """
    plan = plan or AttackPlan()
    given = {"bounds": bounds, "lengths": lengths, "tolerance": tolerance, "rng": rng}
    row = dict(matrix_columns(model))
    correct = _clean_correct(model, x, y, given)  # refuses labels and inputs that do not fit
    row |= _motion_columns(model, _short(x, lengths, plan.trajectories), plan, rng)
    row |= _slope_columns(model, x, y, lengths, tolerance)
    attacked, arrays = _attack_columns(model, x, y, plan, given, correct)
    return NetworkRow(row | attacked, arrays)


def matrix_columns(model: nn.Module) -> Row:
    """Give the measures of the matrices of a network; see `network_row`.

    Parameters
    ----------
    model : nn.Module
        The network.

    Returns
    -------
    dict of str to float
        The columns.

    Raises
    ------
    UnsupportedModelError
        If the network has no matrix that is understood.
    """
    found = named_matrices(model)
    carrying = _carrying(found, model)
    rows = [_measures(record.matrix) for record in carrying]
    row: Row = {"matrices": len(carrying)} | _largest(rows)
    for role in ("input", "linear"):
        norms = [spectral_norm(record.matrix) for record in found if record.role == role]
        row |= {f"{role}_spectral_norm": max(norms)} if norms else {}
    return row


def is_outcome(column: str) -> bool:
    """Say whether a column of a study is an outcome.

    Parameters
    ----------
    column : str
        Its name.

    Returns
    -------
    bool
        Whether it is.

    Examples
    --------
    >>> is_outcome("fooling_pgd_linf_0.1"), is_outcome("spectral_norm")
    (True, False)
    """
    return column.startswith(OUTCOMES)


def _carrying(found: Sequence[NamedMatrix], model: nn.Module) -> list[NamedMatrix]:
    """Give the candidate matrices of recurrent layers, or else the square linear ones, or else all."""
    recurrent = [record for record in found if record.role == "recurrent" and record.gate in {"", "n", "g"}]
    linear = [record for record in found if record.role == "linear"]
    if isinstance(model, FeedForward):
        linear = [record for record in linear if record.name == "hidden.weight"]
    square = [record for record in linear if len(set(record.shape)) == 1]
    chosen = recurrent or square or linear
    if not chosen:
        raise UnsupportedModelError(
            f"model ({type(model).__name__}) has neither recurrent nor linear matrices that are understood; "
            "see rnn.named_matrices(model).unrecognised"
        )
    return chosen


def _measures(W: Floats) -> dict[str, float]:
    row = matrix_measures(W)
    if W.shape[0] == W.shape[1]:
        row["kreiss_constant"] = float(kreiss_constant(W, dynamics="discrete"))
        row["distance_to_instability"] = float(distance_to_instability(W, dynamics="discrete"))
        if (rho := row["spectral_radius"]) > 0:
            scaled = kreiss_constant(W * (SCALED_RADIUS / rho), dynamics="discrete")
            row["kreiss_constant_scaled"] = float(scaled)
    return row


def _largest(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: max(row[name] for row in rows) for name in names}


def _short(x: Tensor, lengths: Tensor | None, count: int) -> Tensor:
    """Give the first examples, cut to their shortest length: trajectories without padding."""
    first = x[:count]
    return first if lengths is None else first[:, : int(lengths[:count].min())]


def _motion_columns(model: nn.Module, x: Tensor, plan: AttackPlan, rng: int) -> Row:
    try:
        drives = list(recorded_drives(model, x))
    except UnsupportedModelError:
        if isinstance(model, FeedForward):
            return _prefixed("jacobian_", matrix_measures(input_jacobian(model, x)))
        return {}
    return _largest([_drive_columns(drive, plan, rng) for drive in drives])


def _drive_columns(drive: Drive, plan: AttackPlan, rng: int) -> dict[str, float]:
    growth = finite_time_growth(drive)
    row = _prefixed("jacobian_", _measures(mean_state_jacobian(drive)))
    row |= {
        "growth_peak": float(growth.log10_peaks.mean()),
        "growth_end": float(growth.log10_mean[-1]),
        "lyapunov_exponent": float(lyapunov_spectrum(drive).exponents[0]),
    }
    size = plan.kick * math.sqrt(float(drive.states[drive.taken].square().sum(-1).mean()))
    if size > 0:
        kicks = state_kicks(drive, size=size, directions=("random", "worst"), rng=rng)
        row |= dict(_kick_columns(kicks.directions, kicks.growth))
    return row


def _kick_columns(directions: NDArray[np.str_], growth: Floats) -> Iterator[tuple[str, float]]:
    for name in dict.fromkeys(directions.tolist()):
        chosen = growth[directions == name]
        yield f"kick_peak_{name}", float(np.median(chosen.max(-1)))
        yield f"kick_end_{name}", float(np.median(chosen[..., -1]))


class _WithLengths(nn.Module):
    """A model of padded sequences as a function of these alone."""

    def __init__(self, model: nn.Module, argument: LengthArgument, lengths: Tensor) -> None:
        super().__init__()
        self.model, self.argument, self.lengths = model, argument, lengths

    def forward(self, x: Tensor) -> object:
        return self.argument.call(self.model, x, self.lengths)


def _slope_columns(
    model: nn.Module, x: Tensor, y: Tensor | ArrayLike, lengths: Tensor | None, tolerance: float | None
) -> Row:
    if lengths is not None:
        argument = length_argument(model)
        if argument is None:
            return {}
        model = _WithLengths(model, argument, lengths)
    slope = float(np.median(local_lipschitz(model, x).values))
    labels = torch.as_tensor(y)
    if tolerance is not None or labels.ndim != 1:
        return {"io_jacobian_norm": slope}
    with in_mode(model, training=False), torch.no_grad():
        scores = logits(model, x).double().cpu()
    true = labels.cpu()[:, None]
    rival = scores.scatter(1, true, -math.inf).amax(1)
    margin = float(np.median((scores.gather(1, true)[:, 0] - rival).numpy()))
    row: Row = {"io_jacobian_norm": slope, "margin": margin}
    return row | ({"io_jacobian_per_margin": slope / margin} if margin > 0 else {})


def _attack_columns(
    model: nn.Module,
    x: Tensor,
    y: Tensor | ArrayLike,
    plan: AttackPlan,
    given: dict[str, Any],
    correct: NDArray[Any],
) -> tuple[Row, dict[str, NDArray[Any]]]:
    row: Row = {}
    arrays: dict[str, NDArray[Any]] = {}
    methods = [*plan.methods, *(["worst"] if plan.ensemble else [])]
    for norm, budgets in plan.budgets:
        for method in methods:
            curve = robustness(model, x, y, methods=[method], norm=norm, budgets=budgets, **given)
            arrays[f"minimal_{method}_{norm}"] = curve.minimal_budget
            row |= _fooling_columns(f"fooling_{method}_{norm}", curve.minimal_budget, budgets)
        every = np.min([arrays[f"minimal_{method}_{norm}"] for method in plan.methods], axis=0)
        row |= _fooling_columns(f"fooling_all_{norm}", every, budgets)
    row |= {"clean_accuracy": float(correct.mean()), "clean_correct": int(correct.sum())}
    row |= {"attacked_examples": len(correct)}
    for norm in plan.minimal if correct.any() else ():
        distances = _distances(model, x, y, norm, given)
        arrays[f"minimal_{norm}"] = np.where(correct, distances, 0.0)
        row[f"minimal_{norm}"] = float(np.median(distances[correct]))
    return row, arrays


def _distances(
    model: nn.Module, x: Tensor, y: Tensor | ArrayLike, norm: str, given: dict[str, Any]
) -> Floats:
    """Give the distances of the nearest misclassified points found; FAB looks where DeepFool points to."""
    found, budget = np.full(len(x), np.inf), _FAR
    for method in ("deepfool", "fab"):
        hit = attack(model, x, y, method=method, norm=norm, budget=budget, **given)
        found = np.minimum(found, np.where(hit.fooled, hit.distances, np.inf))
        typical = float(np.median(found[hit.clean_correct]))
        budget = 2 * typical if np.isfinite(typical) else budget
    return found


_FAR = 1e6


def _fooling_columns(prefix: str, minimal: Floats, budgets: Sequence[float]) -> Row:
    correct = minimal > 0
    if not correct.any():
        return {}
    return {f"{prefix}_{budget:g}": float((minimal[correct] <= budget).mean()) for budget in budgets}


def _clean_correct(model: nn.Module, x: Tensor, y: Tensor | ArrayLike, given: dict[str, Any]) -> NDArray[Any]:
    clean = attack(model, x, y, method="fgsm", norm="linf", budget=0.0, **given)
    return clean.clean_correct


def _prefixed(prefix: str, measures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}{name}": value for name, value in measures.items()}
