"""A study as a TOML file: which networks, how trained, what is asked of them; and its trials in order."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn.study.grids import TABLES, plans_of_tasks, points_of_grids
from rnn.study.settings import Settings, each, text
from rnn.study.toml_places import KeyPath, parsed
from rnn.study.trials import Trial, canonical
from spectra.checks import real_number

SHIPPED = Path(__file__).with_name("files")

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyConfig:
    """A study: its trials in the order in which they run.

    Attributes
    ----------
    name, description : str
        In words.
    trials : tuple of Trial
        All with the first seed, then all with the second: what is finished is balanced at any time.
    content : str
        What the study was made from, as JSON.
    """

    name: str
    description: str
    trials: tuple[Trial, ...]
    content: str

    def __repr__(self) -> str:
        """One line."""
        tasks, cells, seeds = (
            len({getattr(trial, axis) for trial in self.trials}) for axis in ("task", "cell", "seed")
        )
        return f"Study {self.name!r}: {len(self.trials)} trials ({tasks} tasks, {cells} cells, {seeds} seeds)"


def read_study(study: str | os.PathLike[str]) -> StudyConfig:
    """Read a study from a TOML file, or one that comes with the package by its name.

    Parameters
    ----------
    study : path-like or str
        A file, or one of `shipped_studies()`, such as "recurrent-robustness".

    Returns
    -------
    StudyConfig
        With at least one trial.

    Raises
    ------
    ValueError
        If there is no such file, it is no TOML, or something in it is unknown or out of range; the message
        names file, line and key.

    Notes
    -----
    ::

        name = "example"
        description = "what for"      # optional, as is all but name and grid
        data_root = "data"            # beside this file
        modules = ["my_cells"]        # imported first, in every worker; they register tasks and cells

        [[grid]]                      # all combinations; several [[grid]] unite
        task = ["digits", "mnist"]    # one value or a list, here and below
        cell = ["tanh", "gru"]
        hidden = 64                   # and gain, initialisation, target, optimiser, learning_rate,
                                      # weight_decay
        normalisation = ["none", "radius", "norm-during"]   # once after training, or during it
        seeds = 5                     # the seeds 0 to 4; or a list

        [training]
        epochs = 20                   # and batch_size, gradient_clip
        [training.mnist]              # of one task alone; in measures and attacks as well
        epochs = 3

        [tasks.mnist]                 # options of rnn.load_task
        train_size = 10000

        [measures]
        trajectories = 30             # examples for Jacobians and kicks; and kick, their relative length

        [attacks]
        methods = ["pgd", "apgd-ce"]
        budgets = { linf = [0.02, 0.05, 0.1], l2 = [0.5] }
        minimal = ["l2"]              # norms of the nearest misclassified point
        examples = 300

        [audit]
        share = 0.15                  # of the trials, for which the full ensemble of attacks runs too
    """
    path = _study_file(study)
    content, lines = parsed(_text_of(path), path.name)
    if isinstance(content.get("data_root"), str) and content["data_root"]:
        content["data_root"] = os.path.abspath(path.parent / os.path.expanduser(content["data_root"]))
    return study_from(content, source=path.name, lines=lines)


def shipped_studies() -> tuple[str, ...]:
    """Give the names of the studies that come with the package.

    Returns
    -------
    tuple of str
        For `read_study`.
    """
    return tuple(sorted(path.stem.replace("_", "-") for path in SHIPPED.glob("*.toml")))


def shipped_text(name: str) -> str:
    """Give the TOML file of a study that comes with the package.

    Parameters
    ----------
    name : str
        One of `shipped_studies`.

    Returns
    -------
    str
        Its text.

    Raises
    ------
    ValueError
        If there is no such study.
    """
    if name not in shipped_studies():
        raise ValueError(f"there is no study {name!r}; there are {', '.join(shipped_studies())}")
    return _text_of(SHIPPED / f"{name.replace('-', '_')}.toml")


def study_from(
    content: Mapping[str, Any], *, source: str = "study", lines: dict[KeyPath, int] | None = None
) -> StudyConfig:
    """Make a study of plain values, as a TOML file holds them.

    Parameters
    ----------
    content : mapping
        See `read_study`.
    source : str
        Where it comes from, for messages.
    lines : dict, optional
        Line of each key.

    Returns
    -------
    StudyConfig
        With at least one trial.

    Raises
    ------
    ValueError
        If something is missing, unknown or out of range.

    Examples
    --------
    >>> study_from({"name": "small", "grid": {"task": "digits", "cell": ["tanh", "gru"], "seeds": 3}})
    Study 'small': 6 trials (1 tasks, 2 cells, 3 seeds)
    """
    top = Settings(content, (), source, lines or {})
    top.check_known(("name", "description", "data_root", "modules", "grid", "tasks", "audit", *TABLES))
    name = top.take("name", _not_blank, None)
    if name is None:
        raise top.refusal('name is missing; begin with a line such as name = "first-study"')
    description = top.take("description", text, "")
    shared = {
        "modules": top.take("modules", each(_imported, least=0), ()),
        "data_root": top.take("data_root", text, ""),
    }
    points = sorted(
        points_of_grids(top), key=lambda point: point[0]
    )  # stable: in each seed the order of the file
    tasks = tuple(dict.fromkeys(point["task"] for _, point in points))
    plans = plans_of_tasks(top, tasks)
    share = _share(top)
    trials: dict[str, Trial] = {}
    for _, point in points:
        trial = Trial(**point, **plans[point["task"]], **shared)
        trial = dataclasses.replace(trial, audited=_audited(trial, share))
        trials.setdefault(trial.key, trial)
    return StudyConfig(name, description, tuple(trials.values()), canonical(dict(content)))


def study_again(content: str, *, data_root: str | os.PathLike[str] | None = None) -> StudyConfig:
    """Make a study of its `StudyConfig.content`.

    Parameters
    ----------
    content : str
        JSON.
    data_root : path-like, optional
        Folder of the data, in place of that of the study.

    Returns
    -------
    StudyConfig
        The same study.
    """
    moved = {} if data_root is None else {"data_root": os.path.abspath(data_root)}
    return study_from(json.loads(content) | moved)


def _not_blank(value: Any, name: str) -> str:
    if not text(value, name).strip():
        raise ValueError(f"{name} is blank; expected a few words")
    return str(value)


def _imported(value: Any, name: str) -> str:
    module = text(value, name)
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the import of a foreign module may raise
        raise ValueError(
            f'"{module}" cannot be imported ({type(error).__name__}: {error}); install it, or add its folder '
            "to PYTHONPATH"
        ) from None
    return module


def _share(top: Settings) -> float:
    audit = top.table("audit")
    audit.check_known(("share",))

    def check(value: Any, name: str) -> float:
        if not 0 <= real_number(value, name) <= 1:
            raise ValueError(f"{name} is {value}; expected a number from 0 to 1")
        return float(value)

    return float(audit.take("share", check, 0.0))


def _audited(trial: Trial, share: float) -> bool:
    """Choose by hash and seed: about the same share of the seeds of each configuration, for ever."""
    same = dataclasses.replace(trial, seed=0, audited=False).content
    start = int(hashlib.sha256(same.encode()).hexdigest()[:12], 16) / 16**12
    return (start + trial.seed * _GOLDEN) % 1 < share


def _study_file(study: str | os.PathLike[str]) -> Path:
    path = Path(study)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{path.name.replace('-', '_')}.toml"
    if str(study) == path.name and shipped.is_file():
        return shipped
    offered = ", ".join(shipped_studies()) or "none"
    raise ValueError(f"study is {str(study)!r}; expected a TOML file, or a study that is shipped: {offered}")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: no UTF-8 text ({error.reason} at byte {error.start})") from None
