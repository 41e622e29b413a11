"""All statistics of a study by one call: which measures go with which outcomes, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.study.blocks import Models, names, split_models
from rnn.study.correlation_tables import (
    averaged,
    baseline_rows,
    correlated,
    correlation_frame,
    enough_permutations,
)
from rnn.study.evidence_tables import (
    gains_frame,
    left_out_frame,
    partial_frame,
    pooled_frame,
    within_frame,
)
from rnn.study.granulated import granulated_frame
from rnn.study.partial import partial_table
from rnn.study.power import power_frame
from rnn.study.prediction import prediction_frame
from rnn.study.resampled_ranks import ranked_block
from rnn.study.resampling import cluster_weights, confidence_level
from spectra.checks import generator, whole_number

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyStatistics:
    """What a study says about measures and outcomes, as tables.

    `rnn.study.evidence_columns.COLUMNS` says what each column is.

    Attributes
    ----------
    per_block : DataFrame
        Spearman's and Kendall's correlation of each measure with each outcome within each block.
    pooled : DataFrame
        The same over all blocks: random-effects mean, mean over these blocks, tests.
    partial : DataFrame
        Partial rank correlations, the covariates held fixed, within blocks and pooled.
    gains : DataFrame
        How much stronger a correlation is than that of the best baseline, within blocks and pooled.
    prediction : DataFrame
        Out-of-sample R2 with and without each measure, one task (cell, ...) left out at a time.
    granulated : DataFrame
        Kendall's tau over models that differ in one hyperparameter only.
    power : DataFrame
        Which correlation could have been found.
    left_out : DataFrame
        What has no correlation in which block, and why.
    models, blocks, clusters : int
        How many there are.
    confidence : float
        Probability that an interval is meant to hold the truth with.
    draws, permutations : int
        Numbers of resamples and of permutations.
    """

    per_block: pd.DataFrame
    pooled: pd.DataFrame
    partial: pd.DataFrame
    gains: pd.DataFrame
    prediction: pd.DataFrame
    granulated: pd.DataFrame
    power: pd.DataFrame
    left_out: pd.DataFrame
    models: int
    blocks: int
    clusters: int
    confidence: float
    draws: int
    permutations: int

    def __str__(self) -> str:
        table, what = (
            (self.pooled, "pooled correlations") if len(self.pooled) else (self.per_block, "correlations")
        )
        known = table[table["spearman"].notna()]
        tail = ""
        if len(known):
            top = known.iloc[int(known["spearman"].abs().argmax())]
            tail = f"; strongest {top['spearman']:+.2f}, {top['measure']} with {top['outcome']}"
        found = int((known["holm"] < 0.05).sum())
        return (
            f"StudyStatistics: {self.models} models of {self.clusters} configurations in {self.blocks} "
            f"blocks; {found} of {len(known)} {what} with Holm's p below 0.05{tail}"
        )

    __repr__ = __str__


def study_statistics(
    frame: pd.DataFrame,
    *,
    measures: Sequence[str],
    outcomes: Sequence[str],
    blocks: str | Sequence[str] = ("task", "cell"),
    cluster: str | Sequence[str] | None = None,
    strata: str | Sequence[str] | None = None,
    replicate: str | None = None,
    axes: Sequence[str] = (),
    covariates: Sequence[str] = ("clean_accuracy",),
    baselines: Sequence[str] = ("spectral_radius", "spectral_norm"),
    confidence: float = 0.95,
    draws: int = 2000,
    permutations: int | None = None,
    rng: int | np.random.Generator = 0,
) -> StudyStatistics:
    """Correlate measures with outcomes over the models of a study, in every way that the claims need.

    Parameters
    ----------
    frame : DataFrame
        One row per model; a cell that is empty (NaN) is left out pair by pair.
    measures, outcomes : sequence of str
        Columns of numbers.
    blocks : str or sequence of str
        Columns that name the block: models are only ever compared within one.
    cluster : str, sequence of str or None
        Columns that name the configuration whose replicates belong together; None where every model is
        independent of the others. See Notes.
    strata : str, sequence of str or None
        Columns that say which configurations of a block may be exchanged with each other in permutations:
        those that agree in them. None where all may be. See Notes.
    replicate : str or None
        Column that numbers the replicates of a configuration, such as the seed.
    axes : sequence of str
        Columns of hyperparameters for the granulated coefficients; empty for none.
    covariates : sequence of str
        Columns that are held fixed in the partial correlations, and known in the predictions.
    baselines : sequence of str
        Measures that another one has to beat, and that are known in the predictions; empty for none.
    confidence : float
        Probability that an interval is meant to hold the truth with, between 0 and 1.
    draws : int
        Number of resamples.
    permutations : int or None
        Number of permutations; None for 2 tests / 0.05 and at least 9999, with as many tests as there are
        pairs of a measure and an outcome: the smallest p-value is then half of what Holm's first step asks.
        Kendall's get fewer, down to 199, where blocks are so large that they would take minutes; their
        smallest p-values are then tails of Student's t, see `rnn.study.permutations.permutation_test`.
    rng : numpy.random.Generator or int
        Source of resamples and permutations. The numbers do not depend on the order of the rows where
        cluster and replicate tell all rows of a block apart.

    Returns
    -------
    StudyStatistics
        The tables.

    Raises
    ------
    ValueError
        If a column is missing, is named twice or is of another kind, if a row has no block, cluster,
        stratum, axis or replicate, a cluster lies in several strata, a baseline is no measure, or a number is
        out of range.

    Notes
    -----
    *Intervals* within blocks are percentiles over resamples of whole clusters within blocks, ranks taken anew
    in each; with several models to a cluster they are widened as `rnn.study.resampling.tail` says.

    *p-values* come from permuting the outcome within blocks, whole clusters of equal size together and row
    by row in the order of the replicates: (b + 1)/(m + 1) with b of m permuted values as large. They are
    exact where the clusters of a block are exchangeable under "measure and outcome have nothing to do with
    each other", also where all clusters share the effects of a replicate, as they do when a seed fixes data
    and initial weights. Clusters that share more than that, such as several normalisations of one training,
    are not exchangeable with others: `strata` keeps them apart, and whole clusters of equal size and stratum
    are exchanged. What the strata differ in then stays in every permuted value and proves nothing.
    Simulated without effect, 400 studies of 9 blocks of 10 configurations with 5 seeds, five of them one
    training that decides 0, 50 and 80 % of the variance: the pooled p was at most 0.05 in 6, 6 and 4 % (in 6,
    6 and 5 % where these five also lie one deviation apart from the others), but in 6, 8 and 15 % (12, 18 and
    25 %) where all ten were exchanged.
    The pooled test permutes in all blocks at once and looks at the mean correlation weighted by n. For
    partial correlations the residuals of the outcome's ranks are permuted (Freedman and Lane), which is not
    exact. Linear regression of ranks does not take all of a covariate away: where normal
    measure and outcome have nothing in common but one, in 9 blocks of 7 configurations with 5 seeds, p was at
    most 0.05 in 7 % of simulated studies when both correlated 0.7 with it, and in 17 % at 0.95.

    *Families* for Holm and for Benjamini and Hochberg, each apart: all pooled correlations; all correlations
    within blocks; the same two of Kendall's, of partial correlations and of gains.

    *Pooling*: Fisher's z of the blocks by random effects, see `rnn.study.random_effects`; ``p_mean`` tests
    whether their mean over all blocks that could have been is 0, ``p`` whether there is anything in these.

    *Resamples know clusters, not seeds that clusters share*: where networks of one seed in different
    configurations are nearly the same network (one training, several normalisations afterwards), intervals
    are too narrow; cluster by the seed then.
    """
    level, count, source = confidence_level(confidence), whole_number(draws, "draws"), generator(rng)
    sorted_by = [
        *names(blocks, "blocks"),
        *names(cluster or (), "cluster"),
        *([replicate] if replicate else []),
    ]
    ordered = frame.sort_values([name for name in sorted_by if name in frame], kind="stable")
    data = split_models(
        ordered,
        measures=measures,
        outcomes=outcomes,
        covariates=covariates,
        blocks=blocks,
        cluster=cluster,
        strata=strata,
    )
    beaten = baseline_rows(data.measures, baselines)
    granulated = granulated_frame(
        ordered,
        measures=data.measures,
        outcomes=data.outcomes,
        axes=axes,
        blocks=data.by,
        replicate=replicate,
        level=level,
        draws=count,
        rng=source,
    )
    shuffles = enough_permutations(permutations, len(data.measures) * len(data.outcomes))
    ranked = [
        ranked_block(block, cluster_weights(block.clusters, count, source), beaten) for block in data.blocks
    ]
    spearman, kendall = correlated(data, ranked, shuffles, source)
    held = [partial_table(one, data.measures, data.outcomes, data.covariates) for one in ranked]
    partial = averaged(held, [block.label for block in data.blocks], shuffles, source)
    layout = correlation_frame((spearman, kendall), data, beaten, level)
    prediction = prediction_frame(data, spearman.tables, ranked, beaten, level)
    return StudyStatistics(
        per_block=within_frame(layout),
        pooled=pooled_frame(layout, (spearman, kendall), data, level),
        partial=partial_frame(partial, data, level),
        gains=gains_frame(spearman, data, beaten, level),
        prediction=prediction,
        granulated=granulated,
        power=power_frame(spearman, data),
        left_out=left_out_frame(data, spearman.tables, held, prediction, beaten),
        models=len(frame),
        blocks=len(data.blocks),
        clusters=_clusters(data),
        confidence=level,
        draws=count,
        permutations=shuffles,
    )


def _clusters(data: Models) -> int:
    return sum(int(block.clusters.max()) + 1 for block in data.blocks)
