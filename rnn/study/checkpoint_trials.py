"""A checkpoint as a trial: what determines its row, and the row."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnn.reading.labelled_examples import LabelledInputs, model_and_examples
from rnn.study.folder_files import sha256_of
from rnn.study.model_rows import about
from rnn.study.network_rows import AttackPlan, network_row
from rnn.study.trials import Trial, TrialOutcome
from rnn.training import is_checkpoint, load_checkpoint
from spectra.checks import real_number, whole_number


@dataclasses.dataclass(frozen=True, slots=True)
class ModelTrial(Trial):
    """A checkpoint that is measured and attacked, as a trial of a study; its options say which."""

    @property
    def label(self) -> str:
        """The file, from its folder."""
        return str(dict(self.options)["file"])


def asked_of(
    data: str | None,
    factory: str | None,
    *,
    bounds: tuple[float, float] | str | None,
    tolerance: float | None,
) -> dict[str, Any]:
    """Give what determines the row of a checkpoint beside its file and the plan.

    Parameters
    ----------
    data, factory, bounds, tolerance
        See `rnn.correlate_checkpoints`.

    Returns
    -------
    dict of str to object
        Plain values: names, and digests of files.

    Raises
    ------
    ValueError
        If bounds are neither numbers nor "data" nor None.
    """
    if isinstance(bounds, str) and bounds != "data":
        raise ValueError(f'bounds is {bounds!r}; expected two numbers, None, or "data"')
    plain = bounds is None or isinstance(bounds, str)
    limits = bounds if plain else tuple(real_number(bound, "bounds") for bound in bounds)  # type: ignore[union-attr]
    file = Path(data or "")
    return {
        "data": file.name,
        "data_sha256": sha256_of(file) if file.is_file() else "",
        "factory": factory or "",
        "factory_sha256": _factory_digest(factory),
        "bounds": limits,
        "tolerance": None if tolerance is None else real_number(tolerance, "tolerance"),
    }


def checkpoint_trial(
    file: tuple[str, str],
    asked: dict[str, Any],
    *,
    plan: AttackPlan,
    examples: int,
    folder: Path,
    seed: int,
) -> ModelTrial:
    """Give the trial of a checkpoint.

    Parameters
    ----------
    file : tuple of str
        Path from the folder, and sha256.
    asked : dict
        From `asked_of`.
    plan : AttackPlan
        What is done.
    examples : int
        How many examples are attacked.
    folder : Path
        Where the file is; no part of the key.
    seed : int
        Of examples, attacks and kicks.

    Returns
    -------
    ModelTrial
        Its key changes with the content of the file, with the data, and with all that is asked.
    """
    name, digest = file
    return ModelTrial(
        task=asked["data"] or "own test sets",
        cell="checkpoint",
        options=tuple(sorted((asked | {"file": name, "sha256": digest}).items())),
        seed=whole_number(seed, "rng", least=0),
        methods=plan.methods,
        budgets=plan.budgets,
        minimal=plan.minimal,
        examples=examples,
        trajectories=plan.trajectories,
        kick=plan.kick,
        audited=plan.ensemble,
        data_root=str(folder.absolute()),
    )


def judged_checkpoint(trial: Trial, *, data: str | None) -> TrialOutcome:
    """Give the row of a checkpoint.

    Parameters
    ----------
    trial : Trial
        From `correlate_checkpoints`.
    data : str or None
        See there; a file by its absolute path.

    Returns
    -------
    TrialOutcome
        ``name``, ``architecture``, ``parameters``, ``judged_on``, and the columns of `network_row`.
    """
    options = dict(trial.options)
    path, factory = Path(trial.data_root, options["file"]), options["factory"] or None
    if is_checkpoint(path):  # it rebuilds itself; and on another split of its task it may know the test set
        factory, data = None, None if data == load_checkpoint(path).task else data
    model, found = model_and_examples(path, factory=factory, data=data)
    chosen = _drawn(found, trial.examples, trial.seed)
    plan = AttackPlan(
        trial.methods, trial.budgets, trial.minimal, trial.audited, trial.trajectories, trial.kick
    )
    row = network_row(
        model,
        chosen.x,
        chosen.y,
        plan=plan,
        bounds=chosen.bounds if options["bounds"] == "data" else options["bounds"],
        lengths=chosen.lengths,
        tolerance=chosen.tolerance if options["tolerance"] is None else options["tolerance"],
        rng=trial.seed,
    )
    said = {"name": options["file"], **about(model), "judged_on": found.name}
    return TrialOutcome(said | row.values, dict(row.arrays))


def _factory_digest(factory: str | None) -> str:
    """Give the digest of the file of a factory, so that networks built in another way are measured again."""
    if factory is None:
        return ""
    found = Path(*factory.partition(":")[0].split(".")).with_suffix(".py")
    return sha256_of(found) if found.is_file() else ""


def _drawn(found: LabelledInputs, count: int, seed: int) -> LabelledInputs:
    """Draw examples: files may hold them class by class."""
    order = np.random.default_rng(seed).permutation(len(found.x))[:count]
    chosen = torch.from_numpy(np.sort(order))
    lengths = None if found.lengths is None else found.lengths[chosen]
    return dataclasses.replace(found, x=found.x[chosen], y=found.y[chosen], lengths=lengths)
