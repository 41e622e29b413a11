"""What the tables of a study say, in sentences that are computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.figures import CELL_LABELS
from rnn.measuring.measures import BASELINES, column_label
from rnn.report import prose
from rnn.study.statistics import POOLED, wilson_interval

if TYPE_CHECKING:
    import pandas as pd

_ACCURATE = 0.95
_RELIABLE = 0.5
_NAMED = 5


def study_findings(
    models: pd.DataFrame, correlations: pd.DataFrame, *, outcome: str, measures: Sequence[str]
) -> list[str]:
    """Say what a study found, with its numbers.

    Parameters
    ----------
    models : DataFrame
        One row per model, with ``cell``, ``clean_accuracy``, ``clean_correct``, measures and outcomes.
    correlations : DataFrame
        From `rank_correlations` with the baselines.
    outcome : str
        The fooling rate that the sentences are about.
    measures : sequence of str
        The measures that the sentences are about.

    Returns
    -------
    list of str
        Sentences, the most general first.
    """
    pooled = _pooled(correlations, outcome, measures)
    return [
        *_robustness(models, outcome),
        *_spread(models, correlations, outcome, measures),
        *_spectra(models),
        *_baselines(pooled),
        *_strongest(pooled),
        *_gains(pooled),
        *_many_tests(correlations),
    ]


def study_verdict(correlations: pd.DataFrame, *, outcome: str, measures: Sequence[str]) -> str:
    """Say in one sentence whether spectra went with attack success, and whether more than their size did.

    Parameters
    ----------
    correlations : DataFrame
        From `rank_correlations` with the baselines.
    outcome : str
        The fooling rate.
    measures : sequence of str
        The measures looked at.

    Returns
    -------
    str
        The sentence.
    """
    pooled = _pooled(correlations, outcome, measures)
    if pooled.empty:
        return "Too few networks to tell: correlations need at least five of each family."
    strongest = pooled.loc[[pooled["spearman"].abs().idxmax()]].iloc[0]
    name = str(strongest["measure"])
    named = f"{column_label(name)}, {_interval(strongest)}{_which_jacobian(name, '; ')}"
    better = int((pooled["gain_lower"] > 0).sum())
    if better:
        return prose(f"""
            Some spectral measures go with attack success, and {better} more closely than the mere size of
            the matrix (strongest: {named}).
        """)
    if ((pooled["lower"] > 0) | (pooled["upper"] < 0)).any():
        return prose(f"""
            Some spectral measures go with attack success (strongest: {named}), but none is shown to do so
            more closely than the mere size of the matrix.
        """)
    return f"No spectral measure is shown to go with attack success here (strongest: {named})."


def study_limits(models: pd.DataFrame, *, outcome: str) -> list[str]:
    """Say what a study of these models cannot show.

    Parameters
    ----------
    models : DataFrame
        One row per model, with ``cell``, ``clean_correct`` and the outcome.
    outcome : str
        The fooling rate.

    Returns
    -------
    list of str
        Sentences.
    """
    from scipy.special import stdtrit

    trials = models["clean_correct"].to_numpy(dtype=float)
    lower, upper = wilson_interval(np.round(models[outcome].to_numpy(dtype=float) * trials), trials)
    found = [
        prose(f"""
            One fooling rate is measured on at most {int(trials.max())} examples, so to within about
            {50 * np.median(upper - lower):.0f} percentage points; this noise pulls every correlation
            towards 0.
        """)
    ]
    n = int(models.groupby("cell").size().min())
    if n > 2:
        t = float(stdtrit(n - 2, 0.975))
        found.append(
            prose(f"""
                With {n} models a family, a correlation within one family is told from 0 only beyond about
                ±{t / np.sqrt(n - 2 + t**2):.2f}.
            """)
        )
    found.append(
        prose("""
            It is one task and one size of network. The scale of the initialisation was varied on purpose;
            it can move spectra and robustness together, so a correlation may come from it and not from the
            spectrum. Nothing here shows a cause.
        """)
    )
    return found


def _pooled(correlations: pd.DataFrame, outcome: str, measures: Sequence[str]) -> pd.DataFrame:
    rows = correlations[(correlations["outcome"] == outcome) & correlations["measure"].isin(list(measures))]
    return rows[(rows["block"] == POOLED) & rows["spearman"].notna()]


def _robustness(models: pd.DataFrame, outcome: str) -> list[str]:
    accuracy, fooled = models["clean_accuracy"], models[outcome]
    found = prose(f"""
        The {len(models)} networks classify {_percent(accuracy.min())} to {_percent(accuracy.max())} of the
        test examples correctly. The attack ({column_label(outcome).removeprefix("fooling rate, ")}) fools
        them on {_percent(fooled.min())} to {_percent(fooled.max())} of the examples that they had right.
    """)
    accurate = models[accuracy >= _ACCURATE].sort_values(outcome)
    if len(accurate) < 2:
        return [found]
    least, most = accurate.iloc[0], accurate.iloc[-1]
    return [
        found,
        prose(f"""
            Accuracy alone does not tell how robust a network is: among the {len(accurate)} that classify at
            least {_percent(_ACCURATE)} correctly, the share fooled runs from {_percent(least[outcome])}
            ({_family(least)}) to {_percent(most[outcome])} ({_family(most)}).
        """),
    ]


def _spread(
    models: pd.DataFrame, correlations: pd.DataFrame, outcome: str, measures: Sequence[str]
) -> list[str]:
    # How much of the variance of the rates within a family is left when that of counting is taken off.
    shares = {}
    for cell, part in models.groupby("cell", sort=False):
        rate, trials = part[outcome], part["clean_correct"]
        variance = rate.var(ddof=1)
        if len(part) > 2 and variance > 0:
            shares[str(cell)] = max(0.0, 1 - (rate * (1 - rate) / trials).mean() / variance)
    found = []
    for cell, share in shares.items():
        if share >= _RELIABLE:
            continue
        family = CELL_LABELS.get(cell, cell)
        rows = correlations[
            (correlations["outcome"] == outcome)
            & correlations["measure"].isin(list(measures))
            & (correlations["block"] == cell)
            & correlations["spearman"].notna()
        ]
        example = ""
        if len(rows):
            top = rows.loc[[rows["spearman"].abs().idxmax()]].iloc[0]
            example = f", not even the strongest, {top['spearman']:+.2f} ({column_label(top['measure'])})"
        found.append(
            prose(f"""
                The fooling rates of the {family} networks hardly differ by more than the chance of a finite
                test set, which leaves {_percent(share)} of their variance to explain. Correlations within
                this family are mostly with noise and should not count for much{example}.
            """)
        )
    return found


def _spectra(models: pd.DataFrame) -> list[str]:
    recurrent = models[models["cell"] != "feedforward"]
    above = int((recurrent["spectral_radius"] > 1).sum())
    departure, sensitivity = models["henrici_departure_relative"], models["pseudospectral_sensitivity"]
    found = []
    if above:
        found.append(
            prose(f"""
                {above} of the {len(recurrent)} trained recurrent matrices have a spectral radius above 1.
                Taken alone, as linear maps, they would let states grow without bound; in the network the
                saturating nonlinearity and the gates hold the states back.
            """)
        )
    return [
        *found,
        prose(f"""
            Henrici's departure from normality is {departure.min():.2f} to {departure.max():.2f} of the
            Frobenius norm of the matrix (0 would be normal). A small perturbation can move the spectral
            radius {sensitivity.min():.1f} to {sensitivity.max():.1f} times as far as it is large (1 would
            be normal).
        """),
    ]


def _baselines(pooled: pd.DataFrame) -> list[str]:
    rows = pooled[pooled["measure"].isin(BASELINES)]
    if rows.empty:
        return ["There are too few models for correlations: each family needs at least five."]
    each = " and ".join(
        f"{_interval(row)} for the {column_label(row['measure'])}" for _, row in rows.iterrows()
    )
    return [
        prose(f"""
            The simple measures that another one has to beat: the rank correlation with the fooling rate,
            within families and averaged over them, is {each}.
        """)
    ]


def _strongest(pooled: pd.DataFrame) -> list[str]:
    if pooled.empty:
        return []
    order = pooled.sort_values("spearman", key=abs, ascending=False, kind="stable")
    clear = order[(order["lower"] > 0) | (order["upper"] < 0)]
    top = order.iloc[0]
    names = [f"{column_label(row['measure'])} ({row['spearman']:+.2f})" for _, row in clear.iterrows()]
    if len(names) > _NAMED:
        names[_NAMED:] = [f"and {len(names) - _NAMED} weaker ones"]
    tail = f"leaves out 0 for {len(clear)}: {', '.join(names)}." if len(clear) else "leaves out 0 for none."
    return [
        prose(f"""
            The strongest correlation, averaged over the families, is {_interval(top)}, that of
            "{column_label(top["measure"])}"{_which_jacobian(str(top["measure"]), " (", ")")}. Of the
            {len(order)} measures the interval {tail}
        """)
    ]


def _gains(pooled: pd.DataFrame) -> list[str]:
    rows = pooled[pooled["gain"].notna()]
    if rows.empty:
        return []
    better = rows[rows["gain_lower"] > 0].sort_values("gain", ascending=False)
    if better.empty:
        return [
            prose(f"""
                None of the other {len(rows)} measures is shown to say more about robustness than the better
                of the two simple ones: every interval of the gain reaches down to 0 or below.
            """)
        ]
    names = ", ".join(
        f"{column_label(row['measure'])} ({_interval(row, 'gain', 'gain_lower', 'gain_upper')})"
        for _, row in better.iterrows()
    )
    return [
        prose(f"""
            {len(better)} of the other {len(rows)} measures correlate more strongly than the better of the
            two simple ones, with an interval of the gain above 0 (not corrected for having looked at
            {len(rows)}): {names}.
        """)
    ]


def _many_tests(correlations: pd.DataFrame) -> list[str]:
    rows = correlations[(correlations["block"] != POOLED) & correlations["spearman"].notna()]
    if rows.empty:
        return []
    clear = int(((rows["lower"] > 0) | (rows["upper"] < 0)).sum())
    return [
        prose(f"""
            Many correlations were computed: {len(rows)} within families. {clear} of their 95 % intervals
            leave out 0, where about {0.05 * len(rows):.0f} would by chance if nothing were related; since
            measures go together, and attacks too, chance alone can give several times that number. With the
            false discovery rate held at 5 % (Benjamini and Hochberg) {int((rows["q"] < 0.05).sum())}
            remain.
        """)
    ]


def _which_jacobian(measure: str, before: str, after: str = "") -> str:
    if not measure.startswith("jacobian_"):
        return ""
    words = "the Jacobian is that of the state in recurrent networks, of the input in feed-forward ones"
    return f"{before}{words}{after}"


def _family(row: pd.Series) -> str:
    return f"{CELL_LABELS.get(row['cell'], row['cell'])}, seed {row['seed']}"


def _interval(row: pd.Series, value: str = "spearman", lower: str = "lower", upper: str = "upper") -> str:
    return f"{row[value]:+.2f} [{row[lower]:+.2f}, {row[upper]:+.2f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"
