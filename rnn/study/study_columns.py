"""Which columns of a study are measures, outcomes and configuration, and what they are called: said once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnn.measuring.measures import BASELINES, LABELS, column_label
from rnn.study.experiment import DURING
from rnn.study.network_rows import is_outcome
from rnn.study.trials import FIELDS

if TYPE_CHECKING:
    import pandas as pd

BLOCKS = ("task", "cell")
SEED = "seed"
REFERENCE = "fooling_reference"
ACCURACY = "clean_accuracy"

_BESIDE = ("version", "numbers", "part", "seconds", "finished", "attempts", "warnings", "key")
_COUNTS = ("matrices", "clean_correct", "attacked_examples")
_LEARNT = ("loss", "train_accuracy", "test_accuracy", ACCURACY)
_BEFORE = ("initial_", "normalised_")
_NOT_CONFIGURATION = (*BLOCKS, SEED, "audited")  # the attacks of an audit change no network
_ALIKE = {
    "kick_": ("growth_peak", "growth_end", "lyapunov_exponent"),
    "minimal_": ("io_jacobian_per_margin",),
}
_WORDS = {
    REFERENCE: "fooling rate",
    ACCURACY: "clean accuracy",
    "kreiss_constant_scaled": "Kreiss constant, scaled",
    "input_spectral_norm": "input matrix: spectral norm",
    "linear_spectral_norm": "readout: spectral norm",
    "growth_peak": "growth along trajectories, peak",
    "growth_end": "growth along trajectories, end",
    "lyapunov_exponent": "Lyapunov exponent",
    "io_jacobian_norm": "slope of the output",
    "margin": "margin of the output",
    "io_jacobian_per_margin": "slope over margin",
    "kick_end_worst": "worst kick, at the end",
    "kick_peak_worst": "worst kick, at its peak",
    "kick_end_random": "random kick, at the end",
    "kick_peak_random": "random kick, at its peak",
}


def measure_columns(rows: pd.DataFrame) -> list[str]:
    """Give the columns that are measures: what is asked whether it tells something about robustness.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    list of str
        All columns of numbers, in their order, but outcomes; the configuration (`Trial`) and what the engine
        keeps beside it; counts (matrices, examples); accuracies and loss, which the attacks' success follows
        by construction or which are held fixed in partial correlations; and what was true before
        (``initial_...``) or by the normalisation (``normalised_...``), which is no property of the network
        that was attacked.
    """
    apart = {*FIELDS, *_BESIDE, *_COUNTS, *_LEARNT}
    return [
        name
        for name in _numbers(rows)
        if name not in apart and not name.startswith(_BEFORE) and not is_outcome(name)
    ]


def main_outcomes(rows: pd.DataFrame) -> list[str]:
    """Give the outcomes that a report is about; chosen before any result was seen.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    list of str
        ``fooling_reference``, the first ``minimal_<norm>`` and ``kick_end_worst``, as far as they are there;
        without any of them the first outcome there is.
    """
    there = [name for name in _numbers(rows) if is_outcome(name)]
    nearest = [name for name in there if name.startswith("minimal_")][:1]
    main = [name for name in (REFERENCE, *nearest, "kick_end_worst") if name in there]
    return main or there[:1]


def further_outcomes(rows: pd.DataFrame) -> list[str]:
    """Give all other outcomes, without those that repeat another one number for number.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    list of str
        They make a family of their own, for the tables beside a report.
    """
    kept = main_outcomes(rows)
    count = len(kept)
    for name in _numbers(rows):
        if is_outcome(name) and not any(rows[name].equals(rows[other]) for other in kept):
            kept.append(name)
    return kept[count:]


def baseline_columns(rows: pd.DataFrame) -> list[str]:
    """Give the measures that another one has to beat: spectral radius and spectral norm.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    list of str
        Those that are there.
    """
    return [name for name in BASELINES if name in measure_columns(rows)]


def configuration_columns(rows: pd.DataFrame) -> list[str]:
    """Give the columns that say how a network was made, and differ within some block.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    list of str
        Fields of `Trial` without the block (task, cell), the seed, and whether it was audited: networks that
        agree in them are replicates of one configuration. Each is an axis of the granulated coefficients too.
    """
    fields = [name for name in FIELDS if name in rows and name not in _NOT_CONFIGURATION]
    blocks = rows.groupby(list(BLOCKS))
    return [name for name in fields if (blocks[name].nunique(dropna=False) > 1).any()]


def training_strata(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Say which configurations of a block may be exchanged with each other: those that share a training.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    ndarray of int, shape (networks,)
        Number of the stratum of each network. A training is a configuration without a normalisation that came
        after it and without the target of that. Configurations of a training that at least two of a block
        share are a stratum of their own, from 1; all others are together in stratum 0.
    """
    columns = configuration_columns(rows)
    training = rows[[*BLOCKS, *columns]].copy()
    after = ~rows["normalisation"].str.endswith(DURING)
    for name, before in (("normalisation", "none"), ("target", 1.0)):
        if name in columns:
            training.loc[after, name] = before
    configurations, trainings = (
        table.groupby([*BLOCKS, *columns], dropna=False).ngroup() for table in (rows, training)
    )
    shared = configurations.groupby(trainings).transform("nunique") > 1
    return np.where(shared, trainings + 1, 0).astype(np.int64)


def alike(measure: str, outcome: str) -> bool:
    """Say whether a measure is close to an outcome by what both are, so that they must go together.

    Parameters
    ----------
    measure, outcome : str
        Columns.

    Returns
    -------
    bool
        True for growth along trajectories and the Lyapunov exponent with kicks (the same motion, linearised),
        and for slope over margin with minimal distances (their search begins with margin over slope).

    Examples
    --------
    >>> alike("growth_end", "kick_end_worst"), alike("growth_end", "fooling_reference")
    (True, False)
    """
    return any(outcome.startswith(start) and measure in measures for start, measures in _ALIKE.items())


def study_label(column: str) -> str:
    """Give the name of a column of a study in words.

    Parameters
    ----------
    column : str
        Such as ``growth_peak``, ``minimal_l2`` or ``fooling_apgd-ce_linf_0.05``.

    Returns
    -------
    str
        The words; the name itself where it is not known.

    Examples
    --------
    >>> study_label("minimal_l2"), study_label("jacobian_kreiss_constant_scaled")
    ('minimal distance, L2', 'Jacobian: Kreiss constant, scaled')
    >>> study_label("fooling_apgd-ce_linf_0.05"), study_label("fooling_all_linf_0.05")
    ('fooling rate, APGD-CE, L∞ 0.05', 'fooling rate, all attacks, L∞ 0.05')
    """
    if column in _WORDS:
        return _WORDS[column]
    if column.startswith("log10_"):
        return f"log10 of {study_label(column.removeprefix('log10_'))}"
    if column.startswith("jacobian_"):
        rest = column.removeprefix("jacobian_")
        return f"Jacobian: {_WORDS.get(rest) or LABELS.get(rest, rest)}"
    fooling = re.fullmatch(r"fooling_([\w-]+)_(l\w+)_([\d.e+-]+)", column)
    if fooling:
        method, norm, budget = fooling.groups()
        by = "all attacks" if method == "all" else method.upper()
        return f"fooling rate, {by}, {norm_label(norm)} {budget}"
    nearest = re.fullmatch(r"minimal_(l\w+)", column)
    if nearest:
        return f"minimal distance, {norm_label(nearest[1])}"
    return column_label(column)


def norm_label(norm: str) -> str:
    """Give the name of a norm as people write it.

    Parameters
    ----------
    norm : str
        Such as ``linf``.

    Returns
    -------
    str
        Such as L∞.
    """
    return {"linf": "L∞"}.get(norm, norm.upper())


def listed(labels: Sequence[str]) -> str:
    """Give some words as a list in a sentence.

    Parameters
    ----------
    labels : sequence of str
        The words.

    Returns
    -------
    str
        With commas and an "and".

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    head, last = list(labels[:-1]), "".join(labels[-1:])
    return f"{', '.join(head)} and {last}" if head else last


def _numbers(rows: pd.DataFrame) -> list[str]:
    return [str(name) for name in rows.select_dtypes("number") if rows[name].notna().any()]
