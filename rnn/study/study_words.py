"""What the tables of a study say, in sentences computed from them, and what its figures show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rnn.report import counted, prose
from rnn.study.blocks import POOLED
from rnn.study.claims import Claim
from rnn.study.evidence import StudyStatistics
from rnn.study.status import StudyStatus, duration
from rnn.study.study_columns import listed, norm_label, study_label
from rnn.study.study_figures import SIGNIFICANT

if TYPE_CHECKING:
    import pandas as pd

NONE = "-"
_NAMED = 5  # measures that a sentence names
PRIMER = (
    """A recurrent network reads a sequence step by step and carries a state along; its recurrent matrix, and
    the state Jacobian (how a step passes small changes of the state on), decide what becomes of a small
    change. Measures are numbers of these matrices: the spectral radius and the spectral norm, which are the
    baselines, and others that see what eigenvalues do not, such as non-normality.""",
    """Outcomes say how little it takes to break a network. The fooling rate is the share of rightly answered
    examples that an attacker turns by changing the input within a budget; the minimal distance is the length
    of the smallest such change; a kick is a small change of the state, watched as it grows or fades.""",
    """A rank correlation (Spearman's, from -1 to 1) says whether networks with the larger measure have the
    larger outcome. It is taken among networks of one task and one cell only, a block; the blocks are then
    averaged. The interval in brackets is where the true value should lie in 95 of 100 such studies.""",
)


def lead_words(status: StudyStatus, found: Sequence[Claim]) -> str:
    """Say in one sentence how far the study is and what became of the claims.

    Parameters
    ----------
    status : StudyStatus
        How far it is.
    found : sequence of Claim
        The verdicts.

    Returns
    -------
    str
        The sentence.
    """
    networks = counted(status.done, "trained network")
    if not found:
        return f"{networks}; no verdict on the claims yet."
    return f"{networks}: {'; '.join(f'{claim.name} {claim.verdict}' for claim in found)}."


def notices(status: StudyStatus) -> list[str]:
    """Say what is not as it should be: trials that are open, failed or without data.

    Parameters
    ----------
    status : StudyStatus
        How far the study is.

    Returns
    -------
    list of str
        Sentences; none where all is finished.
    """
    words = []
    if not status.complete:
        words.append(
            f"This study is not finished: {status.done} of {status.total} trials are. All that stands here "
            f"may change with the others{'; a run is at work now' if status.live else ''}."
        )
    if status.failed:
        words.append(
            f"{counted(status.failed, 'trial')} failed and are missing here; their errors are below."
        )
    if status.missing:
        tasks = listed([task for task, _ in status.missing])
        words.append(f"There are no data for {tasks} ({counted(status.absent, 'trial')}).")
    return words


def finding_words(central: pd.DataFrame, statistics: StudyStatistics, outcomes: Sequence[str]) -> list[str]:
    """Say what correlations were found, beside the baselines, and which could have been.

    Parameters
    ----------
    central : DataFrame
        From `rnn.study.study_numbers.central_frame`.
    statistics : StudyStatistics
        Of the main outcomes.
    outcomes : sequence of str
        The main outcomes.

    Returns
    -------
    list of str
        Sentences.
    """
    known = central[central["spearman"].notna()]
    if known.empty:
        return ["No measure has a correlation with an outcome; the reasons are below."]
    sure = known[known["holm"] < SIGNIFICANT]
    words = [
        f"{len(sure)} of {counted(len(known), 'correlation')} of a measure with an outcome have a p-value "
        f"below 0.05 after Holm's correction for all of them."
    ]
    for outcome in outcomes:
        part = known[known["outcome"] == outcome]
        words += [_strongest_words(part, outcome)] if len(part) else []
    words.append("The strongest of many looks stronger than it is: other networks are likely to give less.")
    words.append(_gain_words(known))
    return [*words, *_seed_words(known), power_words(statistics)]


def power_words(statistics: StudyStatistics) -> str:
    """Say which correlation could have been found.

    Parameters
    ----------
    statistics : StudyStatistics
        Of a study.

    Returns
    -------
    str
        The sentence.
    """
    pooled = statistics.power[statistics.power["block"] == POOLED]
    rows = pooled if len(pooled) else statistics.power
    if rows.empty:
        return "Nothing could have been found: no block has a correlation."
    row = rows.iloc[0]
    what = "mean over the blocks" if len(pooled) else "correlation"
    if np.isnan(row["smallest"]):
        return prose(f"""
            With these configurations and seeds no {what}, however strong, would have been found with
            probability 0.8 after correction for {row["tests"]:.0f} tests: they are too few.
            {_alone(row["smallest_alone"])}
        """)
    return prose(f"""
        With these {counted(int(row["n"]), "network")} of {counted(int(row["clusters"]), "configuration")} a
        {what} of {row["smallest"]:.2f} in strength would have been found with probability 0.8 after
        correction for {row["tests"]:.0f} tests. {_alone(row["smallest_alone"])} Weaker ones may be there
        unseen.
    """)


def audit_words(rows: pd.DataFrame) -> list[str]:
    """Say how much more the full ensemble of attacks turned than the attacks that all networks had.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    list of str
        A sentence; none without audited networks.
    """
    if "audited" not in rows or not rows["audited"].any():
        return []
    audited = rows[rows["audited"]]
    names = [str(name) for name in rows if str(name).startswith("fooling_worst_")]
    pairs = [(name, name.replace("fooling_worst_", "fooling_all_")) for name in names]
    more = [(audited[name] - audited[other]).dropna() for name, other in pairs if other in rows]
    found = np.concatenate([np.asarray(part, dtype=float) for part in more]) if more else np.empty(0)
    if not len(found):
        return []
    return [
        prose(f"""
            On {counted(len(audited), "audited network")} the full ensemble of attacks ran too, at all
            budgets: in the mean of networks and budgets it turned {100 * found.mean():.1f} percentage points
            more than the attacks that all networks had together, {100 * found.max():.1f} at most.
        """)
    ]


def attack_words(rows: pd.DataFrame) -> str:
    """Say which attacks the outcomes come from.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    str
        A sentence for each way in which tasks were attacked.
    """
    words = []
    for (methods, budgets, examples), part in rows.groupby(["methods", "budgets", "examples"], sort=False):
        norms = json.loads(str(budgets))
        tried = "; ".join(
            f"{norm_label(norm)} {', '.join(f'{size:g}' for size in sizes)}" for norm, sizes in norms
        )
        norm, sizes = norms[0]
        names = listed([method.upper() for method in json.loads(str(methods))])
        words.append(
            f"{listed(sorted(part['task'].unique()))}: {examples} test examples at most, attacked by "
            f"{names} at {tried}; the fooling rate without further words is that of the worst of them at "
            f"{norm_label(norm)} {sizes[len(sizes) // 2]:g}."
        )
    return " ".join(words)


def work_words(rows: pd.DataFrame) -> str:
    """Say how long the finished trials took.

    Parameters
    ----------
    rows : DataFrame
        From `rnn.study.tables.study_rows`.

    Returns
    -------
    str
        Hours of one processor, and of one trial.
    """
    if rows.empty:
        return "none yet"
    return f"{duration(rows['seconds'].sum())} in workers, {duration(rows['seconds'].median())} for a trial"


def interval(row: pd.Series, name: str = "spearman") -> str:
    """Give a value with its interval.

    Parameters
    ----------
    row : Series
        Of `rnn.study.study_numbers.CENTRAL_COLUMNS`.
    name : {"spearman", "gain", "partial"}
        Which.

    Returns
    -------
    str
        Such as "+0.50 [+0.20, +0.70]"; a dash where there is no value, no brackets without an interval.
    """
    prefix = "" if name == "spearman" else f"{name}_"
    value, lower, upper = (float(row[key]) for key in (name, f"{prefix}lower", f"{prefix}upper"))
    if np.isnan(value) or np.isnan(lower):
        return signed(value)
    return f"{signed(value)} [{signed(lower)}, {signed(upper)}]"


def named(row: pd.Series) -> str:
    """Give a measure with its correlation.

    Parameters
    ----------
    row : Series
        Of `rnn.study.study_numbers.CENTRAL_COLUMNS`.

    Returns
    -------
    str
        Its name, value and interval.
    """
    return f"{study_label(row['measure'])} {interval(row)}"


def signed(value: float) -> str:
    """Give a number with its sign and two decimals.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    str
        A dash where there is none.

    Examples
    --------
    >>> signed(-0.001), signed(0.456), signed(float("nan"))
    ('+0.00', '+0.46', '-')
    """
    return NONE if np.isnan(value) else f"{round(value, 2) + 0.0:+.2f}"


def _strongest_words(part: pd.DataFrame, outcome: str) -> str:
    own = part if part["baseline"].all() else part[~part["baseline"]]
    wide = own[own["blocks"] == own["blocks"].max()]  # one of two blocks may be strong and say little
    top = wide.loc[wide["spearman"].abs().idxmax()]
    text = f"Strongest with the {study_label(outcome)}: {named(top)}, p = {top['holm']:.2g} after correction."
    if top["alike"]:
        text += " The two are close by what they are (†)."
    beaten = [named(row) for _, row in part[part["baseline"]].iterrows()]
    return f"{text} The baselines: {'; '.join(beaten)}." if beaten else text


def _gain_words(known: pd.DataFrame) -> str:
    gains = known[known["gain"].notna()]
    if gains.empty:
        return "There is no gain over the baselines to speak of: they have no correlation, or are not there."
    if gains["gain_lower"].isna().all():
        return (
            "How much more than the better of spectral radius and norm a measure says cannot be told: blocks "
            "have too few configurations for an interval."
        )
    better = gains[(gains["gain_holm"] < SIGNIFICANT) & ~gains["alike"]]
    alone = int(((gains["gain_lower"] > 0) & ~gains["alike"]).sum())
    text = (
        f"Of {counted(int((~gains['alike']).sum()), 'pair')} of a measure and an outcome (without those "
        f"marked †) {alone} beat the better of spectral radius and norm with an interval above 0"
    )
    if better.empty:
        return f"{text}; after correction for all of them none."
    top = better.sort_values("gain", ascending=False).head(_NAMED)
    shown = [
        f"{study_label(row['measure'])} with the {study_label(row['outcome'])} {interval(row, 'gain')}"
        for _, row in top.iterrows()
    ]
    more = f", and {len(better) - len(top)} more" if len(better) > len(top) else ""
    return f"{text}; after correction {len(better)} of them: {'; '.join(shown)}{more}."


def _seed_words(known: pd.DataFrame) -> list[str]:
    above = known[(known["gain_lower"] > 0) & known["by_seed_lower"].notna() & ~known["alike"]]
    if above.empty:
        return []
    kept = int((above["by_seed_lower"] > 0).sum())
    return [
        prose(f"""
            Where networks of one seed, not those of one configuration, are taken to belong together, {kept}
            of these {counted(len(above), "interval")} {"stays" if kept == 1 else "stay"} above 0.
        """)
    ]


def _alone(value: float) -> str:
    return "" if np.isnan(value) else f"Alone, without correction, {value:.2f} would have been found."
