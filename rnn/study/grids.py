"""The grids of a study and the tables beside them: which keys there are, and what may stand there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from rnn.attacking.threats import NORMS
from rnn.attacks import ATTACKS
from rnn.constraints import KINDS
from rnn.learning.records import OPTIMISERS
from rnn.models import ModelConfig, build_model
from rnn.networks.cell_kinds import cell_names
from rnn.networks.configurations import INITIALISATIONS
from rnn.networks.scalable_matrices import scalable_matrices
from rnn.study.network_rows import check_budgets
from rnn.study.settings import Check, Settings, each, known_name
from rnn.study.toml_places import KeyPath
from rnn.tasks import task_names
from spectra.checks import non_negative, positive, whole_number
from spectra.errors import UnsupportedModelError

NORMALISATIONS = ("none", *KINDS, *(f"{kind}-during" for kind in KINDS))
MOST = 100_000  # points of all grids


def _whole(least: int) -> Check:
    return lambda value, name: whole_number(value, name, least=least, most=2**31 - 1)


def _seeds(value: Any, name: str) -> tuple[int, ...]:
    if isinstance(value, list):
        return tuple(each(lambda seed, _: whole_number(seed, name, least=0, most=2**31 - 1))(value, name))
    return tuple(range(whole_number(value, name, most=MOST)))


def _budgets(value: Any, name: str) -> tuple[tuple[str, tuple[float, ...]], ...]:
    if not isinstance(value, Mapping) or not value:
        raise TypeError(f"{name} is {value!r}; expected a table of norms such as {{ linf = [0.05, 0.1] }}")
    found = {
        known_name(lambda: NORMS)(norm, name): each(positive)(sizes, norm) for norm, sizes in value.items()
    }
    budgets = tuple((norm, tuple(sorted(found[norm]))) for norm in NORMS if norm in found)
    check_budgets(budgets)
    return budgets


AXES: dict[str, Check] = {
    "task": known_name(task_names),
    "cell": known_name(cell_names),
    "hidden": _whole(1),
    "gain": positive,
    "initialisation": known_name(lambda: INITIALISATIONS),
    "normalisation": known_name(lambda: NORMALISATIONS),
    "target": positive,
    "optimiser": known_name(lambda: OPTIMISERS),
    "learning_rate": positive,
    "weight_decay": non_negative,
}
TABLES: dict[str, dict[str, Check]] = {
    "training": {"epochs": _whole(0), "batch_size": _whole(1), "gradient_clip": non_negative},
    "measures": {"trajectories": _whole(1), "kick": positive},
    "attacks": {
        "methods": each(known_name(lambda: tuple(ATTACKS))),
        "budgets": _budgets,
        "minimal": each(known_name(lambda: NORMS), least=0),
        "examples": _whole(1),
    },
}


def points_of_grids(top: Settings) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the points of all grids.

    Parameters
    ----------
    top : Settings
        The whole file.

    Yields
    ------
    place : int
        Of the seed among the seeds of its grid.
    values : dict
        Fields of `Trial`.

    Raises
    ------
    ValueError
        If there is no grid, or something in one is missing, unknown or out of range.
    """
    given = top.values.get("grid")
    tables = given if isinstance(given, list) else [given]
    if not tables or not all(isinstance(table, Mapping) for table in tables):
        raise top.refusal("expected at least one table [[grid]] with task and cell", "grid")
    left = MOST
    for place, table in enumerate(tables):
        path: KeyPath = ("grid", place) if isinstance(given, list) else ("grid",)
        points = _grid_points(Settings(table, path, top.source, top.lines), left)
        left -= len(points)
        yield from points


def _grid_points(grid: Settings, most: int) -> list[tuple[int, dict[str, Any]]]:
    grid.check_known((*AXES, "seeds"))
    axes = {name: grid.take(name, each(check), None) for name, check in AXES.items()}
    for name in ("task", "cell"):
        if axes[name] is None:
            raise grid.refusal(f"{name} is missing; name at least one", name)
    chosen = {name: values for name, values in axes.items() if values is not None}
    seeds = grid.take("seeds", _seeds, (0,))
    count = math.prod(map(len, chosen.values())) * len(seeds)
    if count > most:
        before = f" after the {MOST - most} of the grids above" if most < MOST else ""
        raise grid.refusal(f"{count} combinations{before}; expected at most {MOST}, so leave values out")
    _check_normalisations(grid, chosen)
    points = []
    for place, seed in enumerate(seeds):
        for values in itertools.product(*chosen.values()):
            point = dict(zip(chosen, values, strict=True)) | {"seed": seed}
            if point.get("normalisation", "none") == "none":
                point.pop("target", None)  # means nothing there
            points.append((place, point))
    return points


def _check_normalisations(grid: Settings, chosen: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse a target without a normalisation, and normalisations of cells whose matrices take none."""
    if all(one == "none" for one in chosen.get("normalisation", ())):
        if "target" in chosen:
            raise grid.refusal("target is given without a normalisation; name one, or leave it out", "target")
        return
    for cell in chosen["cell"]:
        reason = _no_scaling(cell)
        if reason:
            raise grid.refusal(
                f'the cell "{cell}" takes no normalisation ({reason}); give it a [[grid]] of its own',
                "normalisation",
            )


def _no_scaling(cell: str) -> str:
    """Say why the matrices of a cell cannot be normalised; empty where they can."""
    try:
        model = build_model(ModelConfig(cell, features=2, steps=2, hidden=3, classes=2))
        return "" if [*scalable_matrices(model)] else "it has no recurrent matrix"
    except UnsupportedModelError as error:
        return str(error)
    except Exception:  # a cell of one's own that wants other sizes: its trials say what is wrong
        return ""


def plans_of_tasks(top: Settings, tasks: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Give, for each task, what all its trials have in common.

    Parameters
    ----------
    top : Settings
        The whole file.
    tasks : tuple of str
        The tasks of the study.

    Returns
    -------
    dict of str to dict
        For each task fields of `Trial`.
    """
    plans: dict[str, dict[str, Any]] = {task: {} for task in tasks}
    for name, checks in TABLES.items():
        table = top.table(name)
        table.check_known((*checks, *tasks))
        for task in tasks:
            own = table.table(task)
            own.check_known(checks)
            for key, check in checks.items():
                value = own.take(key, check, table.take(key, check, None))
                if value is not None:
                    plans[task][key] = value
    options = top.table("tasks")
    options.check_known(tasks)
    for task in tasks:
        plans[task]["options"] = _options(options.table(task))
    return plans


def _options(table: Settings) -> tuple[tuple[str, Any], ...]:
    for name, value in table.values.items():
        if not isinstance(value, (bool, int, float, str)):
            raise table.refusal(f"{name} is {value!r}; expected a number, a text, true or false", name)
    return tuple(sorted(table.values.items()))
