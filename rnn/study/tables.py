"""The finished trials of a study as a table: a DataFrame, CSV, Parquet."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rnn.extra import require
from rnn.study.database import DATABASE
from rnn.study.selection import chosen
from rnn.study.status import reading
from rnn.study.trial_files import curves_path, read_curves, weights_path
from rnn.study.trials import FIELDS
from spectra.results import replaced_file

if TYPE_CHECKING:
    import pandas as pd

_AFTER = ("seconds", "finished", "attempts", "warnings", "key")


def study_rows(out: str | os.PathLike[str], *, every: bool = False) -> pd.DataFrame:
    """Give one row per finished trial of a study; a run may be at work.

    Parameters
    ----------
    out : path-like
        Folder of the study.
    every : bool
        Whether trials that are no longer part of the study are there as well; the column `part` says which.

    Returns
    -------
    DataFrame
        In the order of the study: the fields of `Trial` (lists as JSON), the columns that the trials gave,
        then seconds, finished, attempts, warnings (texts as JSON), key. NaN where a trial gave no number.

    Raises
    ------
    ValueError
        If there is no study in the folder.
    DamagedStudyError
        If its database is damaged, or a row is not as it was written.
    """
    require("pandas", what="a table of trials")
    import pandas as pd

    folder = Path(out)
    with reading(folder) as connection:
        found = connection.execute(
            "SELECT content, row, position IS NOT NULL, seconds, finished, attempts, warnings, key"
            " FROM trials WHERE status = 'done' AND (? OR position IS NOT NULL)"
            " ORDER BY position IS NULL, position, key",
            (every,),
        ).fetchall()
    configs = _columns([content for content, *_ in found])
    ordered = sorted(configs, key=lambda name: FIELDS.index(name) if name in FIELDS else len(FIELDS))
    columns = {name: [_flat(value) for value in configs[name]] for name in ordered}
    columns |= {"part": [bool(entry[2]) for entry in found]} if every else {}
    columns |= _columns([row for _, row, *_ in found])
    columns |= {name: [entry[3 + place] for entry in found] for place, name in enumerate(_AFTER)}
    return pd.DataFrame(columns)


def trial_arrays(out: str | os.PathLike[str], key: str) -> dict[str, NDArray[Any]]:
    """Give the arrays of a finished trial.

    Parameters
    ----------
    out : path-like
        Folder of the study.
    key : str
        Of the trial, from the column `key` of `study_rows`.

    Returns
    -------
    dict of str to ndarray
        By name.

    Raises
    ------
    ValueError
        If there are none, or the file is damaged.
    """
    return read_curves(_present(curves_path(Path(out), key), key))[1]


def trial_weights(out: str | os.PathLike[str], key: str) -> Path:
    """Give the path of the checkpoint of a finished trial, for `rnn.load_checkpoint`.

    Parameters
    ----------
    out : path-like
        Folder of the study.
    key : str
        Of the trial, from the column `key` of `study_rows`.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    ValueError
        If there is none.
    """
    return _present(weights_path(Path(out), key), key)


def export_study(
    out: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    every: bool = False,
    only: Mapping[str, object] | None = None,
) -> Path:
    """Write the finished trials of a study to a file, whole or not at all.

    Parameters
    ----------
    out : path-like
        Folder of the study.
    path : path-like
        Ends in .csv or .parquet; an existing file is replaced in one step.
    every : bool
        See `study_rows`.
    only : mapping of str to value or sequence of values, optional
        Columns and what they may be, such as ``{"task": "digits", "gain": [0.5, 1]}``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the name ends otherwise, there is no study, or no network with these values.
    ModuleNotFoundError
        If pyarrow is not installed, which writes Parquet.

    Notes
    -----
    A CSV file holds every digit of each number; an empty field is no number, ``inf`` is infinite.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in {".csv", ".parquet"}:
        raise ValueError(f"path is {target}; expected a name that ends in .csv or .parquet")
    if ending == ".parquet":
        require("pyarrow", what="a Parquet file")
    if target.resolve().parent == Path(out).resolve() and target.name.startswith(
        DATABASE.partition(".")[0] + "."
    ):
        raise ValueError(f"path is {target}, a name of the study itself; choose another")
    table = chosen(study_rows(out, every=every), only or {})
    content = io.BytesIO()
    if ending == ".csv":
        table.to_csv(content, index=False)
    else:
        table.to_parquet(content, index=False, engine="pyarrow")
    with replaced_file(target) as file:
        file.write(content.getvalue())
    return target


def _columns(records: list[str]) -> dict[str, list[Any]]:
    """Give the values of each name over all records, in the order in which names first come."""
    found: list[dict[str, Any]] = json.loads(f"[{','.join(records)}]")  # at once: equal names are one object
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(found)))
    return {name: [record.get(name) for record in found] for name in names}


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def _present(path: Path, key: str) -> Path:
    if not path.is_file():
        raise ValueError(f"key is {key!r}, and there is no {path}; take one from study_rows(out).key")
    return path
