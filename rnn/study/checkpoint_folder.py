"""A folder of checkpoints: each is measured and attacked once, and its row kept; then they are correlated."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from rnn.reading.labelled_examples import read_examples
from rnn.reading.sources import FORMATS
from rnn.study.checkpoint_trials import asked_of, checkpoint_trial, judged_checkpoint
from rnn.study.configuration import StudyConfig
from rnn.study.folder_files import folder_files, labels_of
from rnn.study.model_correlations import ModelCorrelations, model_correlations
from rnn.study.network_rows import AttackPlan
from rnn.study.probes import check_asked
from rnn.study.recording import Progress
from rnn.study.runs import run_study
from rnn.study.tables import study_rows
from rnn.study.trials import FIELDS, canonical
from spectra.checks import whole_number

if TYPE_CHECKING:
    import pandas as pd

STUDY = "models of a folder"
_BESIDE = ("version", "numbers", "finished", "attempts", "key")


def correlate_checkpoints(
    folder: str | os.PathLike[str],
    *,
    data: str | None = None,
    factory: str | None = None,
    out: str | os.PathLike[str] | None = None,
    plan: AttackPlan | None = None,
    examples: int = 300,
    bounds: tuple[float, float] | str | None = "data",
    tolerance: float | None = None,
    group_by: str | None = None,
    cluster_by: str | None = None,
    measures: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
    covariates: Sequence[str] = ("clean_accuracy",),
    workers: int | None = None,
    executor: Executor | None = None,
    retry_failed: bool = False,
    rng: int = 0,
    progress: Progress | None = None,
) -> ModelCorrelations:
    """Find out which measures go with robustness among the checkpoints of a folder.

    Parameters
    ----------
    folder : path-like
        Folder of checkpoints; its subfolders belong to it.
    data : str, optional
        A ``.npz`` file with arrays x, y and perhaps lengths, or the name of a task. None, or the task that a
        checkpoint of ours was trained on, judges it on the test set of its own split.
    factory : str, optional
        ``"module:function"`` that builds the untrained network; its code is run. Checkpoints of ours, and
        files that hold one recurrent layer, need none.
    out : path-like, optional
        Folder that keeps the rows: a second call goes on there, and computes only what is new.
    plan : AttackPlan, optional
        Attacks and budgets; None is ``AttackPlan()``.
    examples : int
        How many examples are attacked, drawn at random; all where there are fewer.
    bounds : tuple of float, None, or "data"
        Range of valid inputs; None does not clip; "data" takes that of the task, and does not clip data of a
        file.
    tolerance : float, optional
        Regression: a larger error is wrong.
    group_by : str, optional
        Models are only compared within a group: "subfolder", or a regular expression whose first group (or
        whole match) in the path is the label. None groups by architecture and by what they were judged on.
    cluster_by : str, optional
        In the same way, which models belong together, such as checkpoints of one training.
    measures, outcomes, covariates
        See `rnn.correlate`.
    workers : int, optional
        Number of worker processes; the number of usable processors if None.
    executor : concurrent.futures.Executor, optional
        Where to work instead; see `rnn.run_trials`.
    retry_failed : bool
        Whether files that failed in an earlier call are tried again.
    rng : int
        Determines the examples, attacks, kicks, resamples and permutations.
    progress : callable, optional
        Called as ``progress(ended, total, StudyProgress)``.

    Returns
    -------
    ModelCorrelations
        ``.failures`` names the files that could not be measured, ``.unread`` those that are no models.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If there is no such folder, no model in it, none that can be measured, or an argument is not as
        described.

    Notes
    -----
    A row is kept by the sha256 of its file, of the data and of the module of the factory, with the plan and
    the version of the code: a file that changes is measured again. Of two files with the same content one
    counts. Hidden files and folders are left out.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ValueError(f"folder is {place}; expected a folder of checkpoints")
    if out is not None and os.path.realpath(out) == os.path.realpath(place):
        raise ValueError(f"out is {out}, the folder of the checkpoints; name another")
    if data is not None:
        read_examples(data)  # refuses what is no data before the work
    everywhere = os.path.abspath(data) if data is not None and Path(data).is_file() else data
    files = folder_files(place, spared=[one for one in (out, data) if one is not None])
    if not files.models:
        raise ValueError(f"folder is {place}, and there is no file in it that ends in {', '.join(FORMATS)}")
    names = [name for name, _ in files.models]
    groups, clusters = labels_of(names, group_by, "group_by"), labels_of(names, cluster_by, "cluster_by")
    asked = asked_of(data, factory, bounds=bounds, tolerance=tolerance)
    wanted, count = AttackPlan() if plan is None else plan, whole_number(examples, "examples")
    check_asked(wanted, {"measures": measures, "outcomes": outcomes, "covariates": covariates})
    trials = tuple(
        checkpoint_trial(file, asked, plan=wanted, examples=count, folder=place, seed=rng)
        for file in files.models
    )
    with _kept_in(out) as kept:
        content = canonical({"name": STUDY, "folder": str(place.absolute())})
        status = run_study(
            StudyConfig(STUDY, f"checkpoints in {place}", trials, content),
            kept,
            function=functools.partial(judged_checkpoint, data=everywhere),
            workers=workers,
            executor=executor,
            retry_failed=retry_failed,
            progress=progress,
        )
        if not status.done:
            name, error = status.failures[0]
            raise ValueError(f"none of {status.total} files in {place} could be measured; {name}: {error}")
        rows = _rows(study_rows(kept))
    return model_correlations(
        _grouped(rows, groups),
        plan=wanted,
        measures=measures,
        outcomes=outcomes,
        covariates=covariates,
        clusters=None if clusters is None else [clusters[name] for name in rows["name"]],
        failures=status.failures,
        unread=files.unread,
        rng=rng,
    )


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    apart = [name for name in (*FIELDS, *_BESIDE) if name in table]
    last = [name for name in table if name not in apart and name not in {"warnings", "seconds"}]
    rows = table[[*last, "warnings", "seconds"]]
    return rows.assign(warnings=["; ".join(json.loads(text)) for text in rows["warnings"]])


def _grouped(rows: pd.DataFrame, groups: dict[str, str] | None) -> pd.DataFrame:
    if groups is not None:
        labels = [groups[name] for name in rows["name"]]
    elif rows["judged_on"].nunique() > 1:
        labels = (rows["architecture"] + " on " + rows["judged_on"]).tolist()
    else:
        labels = rows["architecture"].tolist()
    found = rows.copy()
    found.insert(1, "group", labels)
    return found


@contextlib.contextmanager
def _kept_in(out: str | os.PathLike[str] | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="spectra-") as folder:
        yield Path(folder)
