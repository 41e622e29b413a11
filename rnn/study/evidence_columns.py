"""What the columns of a study's statistics are."""

from __future__ import annotations

from rnn.study.correlation_tables import CORRELATION_COLUMNS
from rnn.study.granulated import GRANULATED_COLUMNS
from rnn.study.power import POWER_COLUMNS
from rnn.study.prediction import PREDICTION_COLUMNS

_PAIR = {name: CORRELATION_COLUMNS[name] for name in ("measure", "outcome", "block")}
_POOLING = {
    "lower": "lower end of the random-effects interval (Hartung and Knapp)",
    "upper": "upper end",
    "p_mean": "p-value of 'the random-effects mean is 0', by Student's t",
    "tau2": "variance of Fisher's z between blocks (DerSimonian and Laird)",
    "i2": "share of the variance between blocks that chance within them does not explain",
    "new_lower": "lower end of the interval for the true correlation in a new block",
    "new_upper": "upper end",
    "mean": "mean over these blocks, weighted by n",
    "mean_lower": "lower end of its bootstrap interval",
    "mean_upper": "upper end",
    "p": "permutation p-value of 'nothing in any block', by the mean over these blocks",
    "holm": "p adjusted by Holm over all pooled rows",
    "q": "p adjusted by Benjamini and Hochberg over all pooled rows",
    "least_p": "the smallest p that permutations and exchangeable configurations allow",
}
COLUMNS: dict[str, dict[str, str]] = {
    "per_block": {name: text for name, text in CORRELATION_COLUMNS.items() if "gain" not in name},
    "pooled": _PAIR
    | {
        "blocks": "blocks with a correlation",
        "n": "models in them",
        "clusters": "configurations in them",
        "spearman": "random-effects mean of Spearman's correlations",
    }
    | _POOLING
    | {
        "detectable": "abs(Spearman) found with probability 0.8 at level 0.05 over the number of pooled rows",
        "kendall": "random-effects mean of Kendall's tau-b",
    }
    | {f"kendall_{name}": f"of Kendall's: {text}" for name, text in _POOLING.items() if name != "least_p"}
    | {"note": "which blocks"},
    "partial": _PAIR
    | {
        "blocks": "blocks with a partial correlation",
        "n": "models",
        "clusters": "configurations among them",
        "partial": "Spearman's correlation of the residuals of the ranks; pooled: random-effects mean",
    }
    | _POOLING
    | {
        "lower": "lower end: within a block of the bootstrap, pooled of random effects",
        "p": "permutation p-value (residuals of the outcome permuted)",
        "note": "why there is none, or what weakens it",
    },
    "gains": _PAIR
    | {
        "n": "models with measure and outcome",
        "clusters": "configurations among them",
        "gain": "abs(spearman) less the largest of the baselines; pooled: of the means over the blocks",
        "lower": "lower end of its bootstrap interval",
        "upper": "upper end",
        "p": "one-sided p-value of 'no gain', normal approximation with the deviation of the resamples",
        "holm": "adjusted by Holm over all rows within blocks, or over all pooled rows",
        "q": "the same by Benjamini and Hochberg",
        "baseline": "the baseline that had to be beaten",
    },
    "prediction": PREDICTION_COLUMNS,
    "granulated": GRANULATED_COLUMNS,
    "power": POWER_COLUMNS,
    "left_out": {
        "analysis": "correlation, partial or prediction",
        "block": "values of the columns that make the block, or the column to leave out in turn",
        "measure": "column of the measure; empty where it holds for all",
        "outcome": "column of the outcome; empty where it holds for all",
        "n": "models with both",
        "reason": "why",
    },
}
