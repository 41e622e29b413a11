"""The numbers of a report on a study: its statistics, one line for each measure and outcome, curves."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.study.blocks import LEAST_MODELS, POOLED
from rnn.study.claims import Claim
from rnn.study.evidence import StudyStatistics, study_statistics
from rnn.study.status import StudyStatus
from rnn.study.study_columns import (
    ACCURACY,
    BLOCKS,
    SEED,
    alike,
    baseline_columns,
    configuration_columns,
    further_outcomes,
    main_outcomes,
    measure_columns,
    training_strata,
)
from rnn.study.tables import trial_arrays

if TYPE_CHECKING:
    import pandas as pd

_TRAINING = "(training)"
CENTRAL_COLUMNS = {
    "measure": "column of the measure",
    "outcome": "column of the outcome",
    "baseline": "whether the measure is one that others have to beat",
    "alike": "whether measure and outcome are close by what both are, see rnn.study.study_columns.alike",
    "block": "pooled, or the block if there is one only",
    "blocks": "blocks with a correlation",
    "n": "models in them",
    "spearman": "Spearman's correlation: the random-effects mean over blocks, or that of the only block",
    "lower": "lower end of its interval",
    "upper": "upper end",
    "kendall": "Kendall's tau-b, in the same way",
    "p": "permutation p-value of 'nothing in any block'",
    "holm": "adjusted by Holm over all measures and main outcomes",
    "i2": "share of the variance between blocks that chance within them does not explain",
    "gain": "abs(spearman) less that of the better baseline, of means over the blocks",
    "gain_lower": "lower end of its interval",
    "gain_upper": "upper end",
    "by_seed_lower": "lower end if networks of one seed belong together, not those of one configuration",
    "by_seed_upper": "upper end",
    "gain_holm": "one-sided p-value of 'no gain', adjusted by Holm",
    "rival": "the baseline that had to be beaten",
    "partial": "partial correlation, clean accuracy held fixed",
    "partial_lower": "lower end of its interval",
    "partial_upper": "upper end",
    "partial_holm": "its p-value, adjusted by Holm",
}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyNumbers:
    """What the statistics of a study give its report.

    Attributes
    ----------
    main : StudyStatistics or None
        Of the main outcomes; None where there are too few models.
    further : StudyStatistics or None
        Of all others, a family of their own.
    central : DataFrame
        One line for each measure and main outcome, with the columns of `CENTRAL_COLUMNS`.
    reason : str
        Why there are no statistics; empty where there are.
    """

    main: StudyStatistics | None
    further: StudyStatistics | None
    central: pd.DataFrame
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyFindings:
    """All that was computed for a report.

    Attributes
    ----------
    status : StudyStatus
        How far the study is.
    rows : DataFrame
        One row for each network.
    numbers : StudyNumbers
        The statistics.
    claims : tuple of Claim
        The verdicts.
    unclaimed : str
        Why there are none, or which networks take no part; empty if there is nothing to say.
    curves : DataFrame
        Measures along training.
    missing : int
        Networks without curves.
    outcomes, baselines : list of str
        The main outcomes, and the measures that others have to beat.
    only : str
        Which networks were chosen, in a sentence; empty for all.
    """

    status: StudyStatus
    rows: pd.DataFrame
    numbers: StudyNumbers
    claims: tuple[Claim, ...]
    unclaimed: str
    curves: pd.DataFrame
    missing: int
    outcomes: list[str]
    baselines: list[str]
    only: str = ""


def study_numbers(
    rows: pd.DataFrame, *, draws: int = 2000, rng: int | np.random.Generator = 0
) -> StudyNumbers:
    """Compute the statistics of a study for its report.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.
    draws : int
        Number of resamples.
    rng : int or numpy.random.Generator
        Source of resamples and permutations.

    Returns
    -------
    StudyNumbers
        The statistics.

    Notes
    -----
    Blocks are task and cell, clusters configurations without the seed, replicates the seeds. Where a block
    has one configuration only, all its networks count as independent. Permutations exchange configurations
    that share a training with each other, and the rest with each other
    (`rnn.study.study_columns.training_strata`). The intervals of gains "by seed" come
    from a second computation with the seed for cluster: networks of one seed have the same data and initial
    weights, and where a normalisation is applied after training, the same training too.
    """
    import pandas as pd

    empty = pd.DataFrame(columns=list(CENTRAL_COLUMNS))
    reason = too_few(rows)
    if reason:
        return StudyNumbers(None, None, empty, reason)
    configuration = configuration_columns(rows)
    seeded = rows.groupby(list(BLOCKS))[SEED].nunique().max() > 1
    given: dict[str, Any] = {
        "measures": measure_columns(rows),
        "blocks": BLOCKS,
        "replicate": SEED if configuration and seeded else None,
        "covariates": [ACCURACY] if ACCURACY in rows and rows[ACCURACY].notna().any() else [],
        "baselines": baseline_columns(rows),
        "draws": draws,
        "rng": rng,
    }
    cluster, further = configuration or None, further_outcomes(rows)
    own = given | {"cluster": cluster, "strata": _TRAINING}
    known = rows.assign(**{_TRAINING: training_strata(rows)})
    main = study_statistics(known, outcomes=main_outcomes(rows), axes=configuration, **own)
    others = study_statistics(known, outcomes=further, **own) if further else None
    by_seed = None
    if configuration and seeded:
        given |= {"cluster": SEED, "replicate": None, "permutations": 1}
        by_seed = study_statistics(rows, outcomes=main_outcomes(rows), **given)
    return StudyNumbers(main, others, central_frame(main, by_seed, given["baselines"]))


def too_few(rows: pd.DataFrame) -> str:
    """Say why there can be no statistics on a table of models.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    str
        The reason; empty where there can be some.
    """
    if rows.empty:
        return "No network is finished yet."
    most = int(rows.groupby(list(BLOCKS)).size().max())
    if most < LEAST_MODELS:
        return (
            f"A correlation needs at least {LEAST_MODELS} networks of one task and cell; the most that are "
            f"finished is {most}."
        )
    for columns, what in ((measure_columns(rows), "measure"), (main_outcomes(rows), "outcome")):
        if not columns:
            return f"The table of this study has no {what}: no column of numbers that is one."
    return ""


def central_frame(
    main: StudyStatistics, by_seed: StudyStatistics | None, baselines: Sequence[str]
) -> pd.DataFrame:
    """Lay out what is known of each measure and outcome in one line.

    Parameters
    ----------
    main : StudyStatistics
        The statistics.
    by_seed : StudyStatistics or None
        The same with seeds as clusters.
    baselines : sequence of str
        Measures that others have to beat.

    Returns
    -------
    DataFrame
        With the columns of `CENTRAL_COLUMNS`, the strongest correlation with the first outcome first.
    """
    label = POOLED
    if main.pooled.empty:  # of the blocks the one that has most correlations, mostly the only one
        known = main.per_block[main.per_block["spearman"].notna()]["block"]
        label = str((known if len(known) else main.per_block["block"]).mode()[0])
    lines = _lines(main, label)
    pair = ["measure", "outcome"]
    gains = _of(
        main.gains,
        label,
        {
            "gain": "gain",
            "lower": "gain_lower",
            "upper": "gain_upper",
            "holm": "gain_holm",
            "baseline": "rival",
        },
    )
    partial = _of(
        main.partial,
        label,
        {"partial": "partial", "lower": "partial_lower", "upper": "partial_upper", "holm": "partial_holm"},
    )
    lines = lines.merge(gains, on=pair, how="left").merge(partial, on=pair, how="left")
    if by_seed is not None:
        names = {"lower": "by_seed_lower", "upper": "by_seed_upper"}
        lines = lines.merge(_of(by_seed.gains, label, names), on=pair, how="left")
    lines["baseline"] = lines["measure"].isin(baselines)
    lines["alike"] = [alike(*found) for found in zip(lines["measure"], lines["outcome"], strict=True)]
    lines = lines.reindex(columns=list(CENTRAL_COLUMNS))
    first = lines[lines["outcome"] == lines["outcome"].iloc[0]] if len(lines) else lines
    strength = first.set_index("measure")["spearman"].abs()
    order = lines["measure"].map(strength).fillna(-1)
    outcomes = {name: place for place, name in enumerate(dict.fromkeys(lines["outcome"]))}
    places = np.lexsort((-order, lines["outcome"].map(outcomes)))
    return lines.iloc[places].reset_index(drop=True)


def along_training(out: str | os.PathLike[str], rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Give the measures along the training of the networks without normalisation.

    Parameters
    ----------
    out : path-like
        Folder of the study.
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    curves : DataFrame
        Columns task, cell, seed, key, measure, epoch, value; empty where no trial followed any.
    missing : int
        How many networks have no file of arrays, or a damaged one.
    """
    import pandas as pd

    found: list[dict[str, Any]] = []
    missing = 0
    plain = rows if rows.empty else rows[rows["normalisation"] == "none"]
    for row in plain.to_dict("records"):
        try:
            arrays = trial_arrays(out, row["key"])
        except ValueError:
            missing += 1
            continue
        same = {name: row[name] for name in (*BLOCKS, SEED, "key")}
        for name, values in arrays.items():
            if name.startswith("along_") and name != "along_epochs":
                pairs = zip(arrays["along_epochs"].tolist(), values.tolist(), strict=True)
                found += [
                    same | {"measure": name.removeprefix("along_"), "epoch": epoch, "value": value}
                    for epoch, value in pairs
                ]
    columns = [*BLOCKS, SEED, "key", "measure", "epoch", "value"]
    return pd.DataFrame(found, columns=columns), missing


def _lines(statistics: StudyStatistics, label: str) -> pd.DataFrame:
    if label == POOLED:
        return statistics.pooled
    return statistics.per_block[statistics.per_block["block"] == label].assign(blocks=1)


def _of(table: pd.DataFrame, label: str, names: dict[str, str]) -> pd.DataFrame:
    rows = table[table["block"] == label]
    return rows[["measure", "outcome", *names]].rename(columns=names)
