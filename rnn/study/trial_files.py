"""The files of a finished trial: weights, and curves with its row; whole, and on disk before the row is."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.study.trials import Trial, TrialOutcome, plain_row
from spectra.results import replaced_file

WEIGHTS, CURVES = "weights", "curves"
_RECORD = "record"  # the array that holds the trial's row as JSON
_TAKEN = (_RECORD, "file", "allow_pickle")  # the last two are parameters of np.savez_compressed


def weights_path(folder: Path, key: str) -> Path:
    """Give the path of a trial's checkpoint."""
    return folder / WEIGHTS / f"{key}.pt"


def curves_path(folder: Path, key: str) -> Path:
    """Give the path of a trial's arrays."""
    return folder / CURVES / f"{key}.npz"


def write_durably(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and wait until the disk has it.

    Parameters
    ----------
    path : Path
        Where to write.
    content : bytes
        What to write.
    """
    with replaced_file(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if os.name == "posix":  # the new name is on disk only when its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FinishedTrial:
    """A trial that is finished and checked, as it goes to disk.

    Attributes
    ----------
    record : dict
        Plain values: key, content, row, seconds, finished, warnings.
    curves : bytes
        The ``.npz`` file: the arrays, and the record, from which a lost database can be made again.
    weights : bytes, optional
        The checkpoint.
    """

    record: dict[str, Any]
    curves: bytes
    weights: bytes | None


def finished_trial(
    trial: Trial, outcome: object, *, seconds: float, warnings: tuple[str, ...] = ()
) -> FinishedTrial:
    """Check what a trial gave.

    Parameters
    ----------
    trial : Trial
        Which.
    outcome : TrialOutcome
        What it gave.
    seconds : float
        How long it took.
    warnings : tuple of str
        What it warned of.

    Returns
    -------
    FinishedTrial
        As it goes to disk.

    Raises
    ------
    TypeError
        If it gave something else, a value is not plain, or an array holds objects.
    ValueError
        If a number in the row is NaN, or a name is taken.
    """
    if not isinstance(outcome, TrialOutcome):
        raise TypeError(f"the trial gave {type(outcome).__name__}; expected a TrialOutcome")
    if not (outcome.weights is None or isinstance(outcome.weights, bytes)):
        raise TypeError(f"weights is a {type(outcome.weights).__name__}; expected bytes or None")
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record: dict[str, Any] = {"key": trial.key, "content": trial.content, "row": plain_row(outcome.row)}
    record |= {"seconds": seconds, "finished": finished, "warnings": list(warnings)}
    return FinishedTrial(record, _packed(record, outcome.arrays), outcome.weights)


def write_trial(folder: Path, finished: FinishedTrial) -> None:
    """Write the files of a finished trial: the weights first, so that curves mean that all is there.

    Parameters
    ----------
    folder : Path
        Of the study.
    finished : FinishedTrial
        The trial.
    """
    key = finished.record["key"]
    if finished.weights is not None:
        write_durably(weights_path(folder, key), finished.weights)
    write_durably(curves_path(folder, key), finished.curves)


def read_curves(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the record and the arrays of a trial.

    Parameters
    ----------
    path : Path
        From `curves_path`.

    Returns
    -------
    record : dict
        See `FinishedTrial`.
    arrays : dict of str to ndarray
        By name.

    Raises
    ------
    OSError
        If the disk does not give it.
    ValueError
        If the file is damaged.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _checked_record(json.loads(str(arrays.pop(_RECORD)))), arrays
    except OSError:
        raise
    except Exception as error:  # of zip, NumPy and JSON: whatever they raise on other bytes
        raise ValueError(f"{path} is damaged ({error}); remove it and run the study again") from None


def swept(folder: Path) -> int:
    """Make the folders of weights and curves, and remove what a killed run left half-written.

    Parameters
    ----------
    folder : Path
        Of the study; nobody else writes to it.

    Returns
    -------
    int
        How many files were removed.
    """
    removed = 0
    for place in (folder, folder / WEIGHTS, folder / CURVES):
        place.mkdir(exist_ok=True)
        for path in place.glob(".*.part"):
            path.unlink()
            removed += 1
    return removed


def _checked_record(record: Any) -> dict[str, Any]:
    """Refuse a record that this package has not written."""
    plain_row(record["row"])
    kinds: dict[str, Any] = {
        "key": str,
        "content": str,
        "seconds": (int, float),
        "finished": str,
        "warnings": list,
    }
    for name, kind in kinds.items():
        if not isinstance(record[name], kind):
            raise TypeError(f"{name} is a {type(record[name]).__name__}")
    if not math.isfinite(record["seconds"]):
        raise ValueError(f"seconds is {record['seconds']}")
    return dict(record)


def _packed(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    if not (isinstance(arrays, Mapping) and all(isinstance(name, str) for name in arrays)):
        raise TypeError("arrays is no mapping from names to arrays; give a dict")
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"arrays[{name!r}] holds objects; expected numbers or text")
    for name in _TAKEN:
        if name in plain:
            raise ValueError(f"arrays holds {name!r}, which is taken; use another name")
    target = io.BytesIO()
    np.savez_compressed(target, **{_RECORD: np.array(json.dumps(dict(record)))}, **plain)  # type: ignore[arg-type]
    return target.getvalue()
