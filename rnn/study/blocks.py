"""A table of models in blocks: which rows are compared with each other, and which of them belong together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEAST_MODELS = 5
UNDEFINED = "not defined in this block"
POOLED = "pooled"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Models that are ranked among each other: those of one task and cell.

    Attributes
    ----------
    label : str
        The values of the columns that make the block, with " / " between them.
    keys : tuple
        The same values.
    X, Y, C : ndarray, shapes (n, measures), (n, outcomes), (n, covariates)
        One row per model; NaN marks an empty cell.
    clusters : ndarray of int, shape (n,)
        Number of the configuration that a model is a replicate of, from 0.
    strata : ndarray of int, shape (n,), or None
        Number of the stratum; only clusters of one stratum may be exchanged. None where all may be.
    """

    label: str
    keys: tuple[object, ...]
    X: Floats
    Y: Floats
    C: Floats
    clusters: Integers
    strata: Integers | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The table of a study, checked and split.

    Attributes
    ----------
    measures, outcomes, covariates : list of str
        Names of the columns of X, Y and C.
    blocks : list of Block
        In the order of their keys.
    by : list of str
        The columns that make the blocks.
    """

    measures: list[str]
    outcomes: list[str]
    covariates: list[str]
    blocks: list[Block]
    by: list[str]


def split_models(
    frame: pd.DataFrame,
    *,
    measures: Sequence[str],
    outcomes: Sequence[str],
    covariates: Sequence[str],
    blocks: str | Sequence[str],
    cluster: str | Sequence[str] | None,
    strata: str | Sequence[str] | None = None,
) -> Models:
    """Check a table of models and split it into blocks.

    Parameters
    ----------
    frame : DataFrame
        One row per model.
    measures, outcomes, covariates : sequence of str
        Columns of numbers; NaN is an empty cell.
    blocks : str or sequence of str
        Columns that name the block.
    cluster : str, sequence of str or None
        Columns that name the configuration; None where every model has its own.
    strata : str, sequence of str or None
        Columns that say which configurations of a block may be exchanged with each other; None for all.

    Returns
    -------
    Models
        The blocks.

    Raises
    ------
    ValueError
        If a column is missing, is named twice, or is no column of numbers, a row has no block, cluster or
        stratum, or a configuration lies in several strata.
    """
    by, configuration = names(blocks, "blocks"), names(cluster or (), "cluster")
    measures, outcomes = names(measures, "measures"), names(outcomes, "outcomes")
    covariates, layers = names(covariates, "covariates"), names(strata or (), "strata")
    if not (measures and outcomes and by):
        raise ValueError("measures, outcomes and blocks must name at least one column each")
    check_columns(frame, numbers=[*measures, *outcomes, *covariates], labels=[*by, *configuration, *layers])
    X, Y, C = (frame[part].to_numpy(dtype=np.float64) for part in (measures, outcomes, covariates))
    found = []
    for keys, rows in sorted(frame.groupby(by, sort=True).indices.items()):
        keys = keys if isinstance(keys, tuple) else (keys,)
        clusters = _numbered(frame.iloc[rows], configuration)
        label = " / ".join(map(str, keys))
        strata_ = _strata(frame.iloc[rows], layers, clusters, label)
        found.append(Block(label, keys, X[rows], Y[rows], C[rows], clusters, strata_))
    return Models(measures, outcomes, covariates, found, by)


def names(value: str | Sequence[str], argument: str) -> list[str]:
    """Give one column or several as a list of names.

    Parameters
    ----------
    value : str or sequence of str
        The column or columns.
    argument : str
        What to call it in a message.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    ValueError
        If a name comes twice.
    """
    found = [value] if isinstance(value, str) else list(value)
    if len(set(found)) < len(found):
        raise ValueError(f"{argument} names a column twice; name each once")
    return found


def check_columns(frame: pd.DataFrame, *, numbers: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse a table that lacks a column, or has one of another kind.

    Parameters
    ----------
    frame : DataFrame
        One row per model.
    numbers, labels : sequence of str
        Columns of numbers, and columns in which every row must have something.

    Raises
    ------
    ValueError
        If a column is missing, or not of its kind, or the table is empty.
    """
    for name in (*numbers, *labels):
        if name not in frame.columns:
            raise ValueError(f"models has no column {name!r}; it has {', '.join(map(str, frame.columns))}")
    for name in numbers:
        if frame[name].dtype.kind not in "iuf":
            raise ValueError(f"column {name!r} has dtype {frame[name].dtype}; expected numbers")
    for name in labels:
        if frame.empty or frame[name].isna().any():
            raise ValueError(f"models is empty or has a row without {name!r}; each model needs one")


def _numbered(rows: pd.DataFrame, columns: list[str]) -> Integers:
    if not columns:
        return np.arange(len(rows))
    return rows.groupby(columns, sort=True).ngroup().to_numpy().astype(np.int64)


def _strata(rows: pd.DataFrame, columns: list[str], clusters: Integers, block: str) -> Integers | None:
    # None where there is one only.
    strata = _numbered(rows, columns)
    if not columns or not strata.any():
        return None
    pairs = np.unique(np.column_stack([clusters, strata]), axis=0)
    if len(pairs) > len(np.unique(clusters)):
        raise ValueError(
            f"strata differ among the models of a cluster in block {block}; expected whole clusters in one "
            "stratum each, so name columns that are the same for all models of a cluster"
        )
    return strata


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Rectangle:
    """Columns of a block that have the same rows filled.

    Attributes
    ----------
    rows : ndarray of bool, shape (n,)
        The models that have all of these columns.
    i, j : list of int
        The measures and the outcomes.
    """

    rows: NDArray[np.bool_]
    i: list[int]
    j: list[int]


def rectangles(X: Floats, Y: Floats, among: NDArray[np.bool_]) -> Iterator[Rectangle]:
    """Group the pairs of a column of X and a column of Y by the rows that both have.

    Parameters
    ----------
    X, Y : ndarray, shapes (n, measures) and (n, outcomes)
        NaN marks an empty cell.
    among : ndarray of bool, shape (n,)
        The rows that may be used at all.

    Yields
    ------
    Rectangle
        Every pair lies in exactly one.
    """

    def groups(values: Floats) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for column in range(values.shape[1]):
            found.setdefault((~np.isnan(values[:, column])).tobytes(), []).append(column)
        return found

    for x_filled, i in groups(X).items():
        for y_filled, j in groups(Y).items():
            filled = [np.frombuffer(one, dtype=np.bool_) for one in (x_filled, y_filled)]
            yield Rectangle(filled[0] & filled[1] & among, i, j)


def faults(x: Floats, y: Floats, labels: Sequence[str]) -> NDArray[np.object_]:
    """Say for each pair of columns why it has no correlation; empty where it has one.

    Parameters
    ----------
    x, y : ndarray, shapes (n, measures) and (n, outcomes)
        Numbers without NaN.
    labels : sequence of str
        Names of the measures.

    Returns
    -------
    ndarray of str, shape (measures, outcomes)
        Too few models, infinite or constant numbers, or the same numbers as an earlier measure.
    """
    n = len(x)
    notes = np.full((x.shape[1], y.shape[1]), "", dtype=object)
    if n < LEAST_MODELS:
        notes[:] = f"only {n} models, at least {LEAST_MODELS} are needed" if n else UNDEFINED
        return notes
    for j, outcome in enumerate(y.T):
        notes[:, j] = fault(outcome, "outcome ")
    for i, measure in enumerate(x.T):
        twin = next((labels[k] for k in range(i) if np.array_equal(x[:, k], measure)), None)
        found = fault(measure, "") or (f"the same numbers as {twin}" if twin else "")
        notes[i] = found or notes[i]
    return notes


def fault(values: Floats, prefix: str) -> str:
    """Say why a column cannot be ranked; empty where it can.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Numbers without NaN.
    prefix : str
        What the column is.

    Returns
    -------
    str
        How many are infinite, or the constant.
    """
    infinite = int(np.isinf(values).sum())
    if infinite:
        return f"{prefix}infinite in {infinite} of {len(values)} models"
    return f"{prefix}constant: {values[0]:.6g}" if np.ptp(values) == 0 else ""
