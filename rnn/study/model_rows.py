"""Models that somebody else has trained, taken one at a time: each becomes a row of measures and outcomes."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from rnn.models import ModelConfig
from rnn.reading.rebuilding import rebuilt_model
from rnn.study.engine import each_trial
from rnn.study.network_rows import AttackPlan, network_row
from rnn.study.workers import TrialResult, trial_result
from spectra.checks import callback, whole_number

if TYPE_CHECKING:
    import pandas as pd

Source = nn.Module | str | os.PathLike[str] | Callable[[], nn.Module]
Entry = tuple[str, Source]
Progress = Callable[[int, int, "ModelRow"], None]
REST = "the rest of the models"
"""Name of the row that says why an iterator ended too early."""

_EXPECTED = (
    "a torch.nn.Module, the path of a checkpoint, a function without arguments that gives a module, or a "
    "pair (name, one of these)"
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ModelRow:
    """What one model gave.

    Attributes
    ----------
    name : str
        Of the model.
    columns : dict of str to object
        Its row: ``architecture``, ``parameters``, and the columns of `network_row`; empty if it failed.
    error : str
        What went wrong, in one line; empty if nothing did.
    warnings : tuple of str
        What measuring and attacking warned of.
    seconds : float
        How long it took.
    """

    name: str
    columns: dict[str, Any]
    error: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What every model is judged on, and how.

    Attributes
    ----------
    x : Tensor, shape (N, ...)
        Inputs.
    y : Tensor
        Labels (N,), labels of frames (N, T), or targets.
    plan : AttackPlan
        What is done.
    bounds, lengths, tolerance
        See `rnn.attack`.
    rng : int
        Seed of attacks and kicks.
    """

    x: Tensor
    y: Tensor
    plan: AttackPlan
    bounds: tuple[float, float] | None = None
    lengths: Tensor | None = None
    tolerance: float | None = None
    rng: int = 0

    def __post_init__(self) -> None:
        """Check what no model can be judged on; the rest is checked where it is used.

        Raises
        ------
        TypeError
            If x or y is no tensor.
        ValueError
            If there are no examples, or not as many labels.
        """
        for name, value in (("x", self.x), ("y", self.y)):
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"{name} is a {type(value).__name__}; expected a tensor or an array of numbers"
                )
        if self.x.ndim == 0 or self.y.ndim == 0 or not 0 < len(self.x) == len(self.y):
            raise ValueError(
                f"x has shape {tuple(self.x.shape)} and y {tuple(self.y.shape)}; expected one label for each "
                "of at least one example"
            )
        whole_number(self.rng, "rng", least=0)


def judged(entry: Entry, on: Judgement) -> dict[str, Any]:
    """Give the row of one model.

    Parameters
    ----------
    entry : tuple of str and source
        Its name, and what holds it.
    on : Judgement
        What it is judged on.

    Returns
    -------
    dict of str to object
        See `ModelRow.columns`.

    Raises
    ------
    TypeError
        If the source gives no model.
    """
    model = _loaded(entry[1])
    if not isinstance(model, nn.Module):
        raise TypeError(f"model {entry[0]!r} is a {type(model).__name__}; expected a torch.nn.Module")
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is not None and weight.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    x = on.x if weight is None or not on.x.is_floating_point() else on.x.to(weight.dtype)
    found = network_row(
        model, x, on.y, plan=on.plan, bounds=on.bounds, lengths=on.lengths, tolerance=on.tolerance, rng=on.rng
    )
    return about(model) | found.values


def about(model: nn.Module) -> dict[str, Any]:
    """Say what a model is.

    Parameters
    ----------
    model : nn.Module
        Any.

    Returns
    -------
    dict of str to object
        ``architecture``, the cell of a model of ours or the class of any other; ``parameters``, how many.

    Examples
    --------
    >>> about(nn.GRU(2, 3))
    {'architecture': 'GRU', 'parameters': 63}
    """
    config = getattr(model, "config", None)
    name = config.cell if isinstance(config, ModelConfig) else type(model).__name__
    return {"architecture": name, "parameters": sum(p.numel() for p in model.parameters())}


def model_rows(
    models: Iterable[Source | Entry] | Mapping[str, Source] | Callable[[], Iterable[Source | Entry]],
    on: Judgement,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> list[ModelRow]:
    """Measure and attack models, one after the other or in worker processes.

    Parameters
    ----------
    models : iterable, mapping or callable
        See `rnn.correlate`.
    on : Judgement
        What they are judged on.
    workers : int
        Number of worker processes; 1 works here.
    executor : concurrent.futures.Executor, optional
        Where to work instead.
    progress : callable, optional
        Called as ``progress(done, total, ModelRow)``; total is 0 where nobody knows it.

    Returns
    -------
    list of ModelRow
        In the order of the models, failures among them.

    Raises
    ------
    TypeError
        If `models` is nothing of the kind, or an argument is of the wrong kind.
    ValueError
        If `workers` is given together with `executor`, or models without end are to go to workers.

    Notes
    -----
    Of models that an iterator or functions give, at most two are held at a time.
    """
    callback(progress)
    count = whole_number(workers, "workers")
    if executor is not None and count > 1:
        raise ValueError("workers and executor are both given; an executor brings its own: leave workers out")
    given, total = _iterable(models)
    function = functools.partial(judged, on=on)
    found: dict[int, ModelRow] = {}

    def record(result: TrialResult) -> None:
        name = result.config[0]
        row = ModelRow(name, result.value or {}, result.error, result.warnings, result.seconds)
        found[result.index] = row
        if progress is not None:
            progress(len(found), max(total, len(found)) if total else 0, row)

    if count == 1 and executor is None:
        for index, entry in enumerate(_entries(given)):
            if isinstance(entry, ModelRow):
                found[index] = entry
            else:
                record(trial_result(function, index, entry))
    else:
        _in_parallel(function, given, total, record, None if executor else count, executor)
    return [found[index] for index in sorted(found)]


def rows_frame(rows: Sequence[ModelRow], groups: Sequence[str] | None = None) -> pd.DataFrame:
    """Lay out rows as a table.

    Parameters
    ----------
    rows : sequence of ModelRow
        Those that failed have no row.
    groups : sequence of str, optional
        A label for each of `rows`; the architecture if None.

    Returns
    -------
    DataFrame
        ``name``, ``group``, ``architecture``, ``parameters``, the columns of `network_row`, ``warnings``,
        ``seconds``; NaN where a model has no such number.
    """
    import pandas as pd

    labels = [row.columns.get("architecture") for row in rows] if groups is None else groups
    lines = [
        {"name": row.name, "group": str(label), **row.columns}
        | {"warnings": "; ".join(row.warnings), "seconds": row.seconds}
        for row, label in zip(rows, labels, strict=True)
        if not row.error
    ]
    table = pd.DataFrame(lines)
    last = [name for name in ("warnings", "seconds") if name in table]
    return table[[name for name in table if name not in last] + last]


def _loaded(source: Any) -> Any:
    if isinstance(source, (str, os.PathLike)):
        return rebuilt_model(source)
    return source() if callable(source) and not isinstance(source, nn.Module) else source


def _iterable(models: Any) -> tuple[Iterable[Any], int]:
    """Give what to iterate over, and how many there are; 0 where nobody knows."""
    if isinstance(models, (nn.Module, str, bytes, os.PathLike, type, Tensor, np.ndarray)):
        if isinstance(models, nn.Module):
            raise TypeError(f"models is a {type(models).__name__}, one model; pass several, such as a list")
        raise TypeError(f"models is a {type(models).__name__}; expected several models, each {_EXPECTED}")
    found = models() if callable(models) else models
    if isinstance(found, Mapping):
        found = [(str(name), source) for name, source in found.items()]
    if not isinstance(found, Iterable):
        raise TypeError(f"models is a {type(models).__name__}; expected several models, each {_EXPECTED}")
    if isinstance(found, Sequence):
        names = [_named(entry, place)[0] for place, entry in enumerate(found)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"models has two with the name {twice!r}; name each once")
        if not names:
            raise ValueError("models is empty; expected at least one")
        return found, len(found)
    return found, 0


def _named(entry: Any, place: int) -> Entry:
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str):
        name, source = entry
    else:
        path = isinstance(entry, (str, os.PathLike))
        name, source = os.fspath(entry) if path else f"model {place}", entry
    if not (isinstance(source, (nn.Module, str, os.PathLike)) or callable(source)):
        raise TypeError(f"models[{place}] is a {type(source).__name__}; expected {_EXPECTED}")
    return name, source


def _entries(given: Iterable[Any]) -> Iterator[Entry | ModelRow]:
    """Give named entries one at a time; a failure of the iterable itself ends it, and is told as a row."""
    place, known = 0, set()
    source = iter(given)
    while True:
        try:
            entry = _named(next(source), place)
            if entry[0] in known:
                raise ValueError(f"there is another model of the name {entry[0]!r}; name each once")
        except StopIteration:
            return
        except Exception as error:  # the user's own code
            what = " ".join(f"{type(error).__name__}: {error}".split())
            yield ModelRow(REST, {}, f"models ended after {place} ({what})")
            return
        known.add(entry[0])
        yield entry
        place += 1


def _in_parallel(
    function: Callable[[Entry], Any],
    given: Iterable[Any],
    total: int,
    record: Callable[[TrialResult], None],
    workers: int | None,
    executor: Executor | None,
) -> None:
    if not total:
        raise ValueError(
            "models is an iterator, which only this process can go through; leave workers and executor out, "
            "or pass a list of paths or of functions that load a model"
        )
    entries = [_named(entry, place) for place, entry in enumerate(given)]
    each_trial(function, entries, record=record, executor=executor, workers=workers)
