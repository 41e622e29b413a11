"""Three claims about recurrent networks, each held against the table of a study, with a verdict in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn.report import counted
from rnn.study.criteria import ACCURATE, accurate, robust, stable
from rnn.study.seed_intervals import BLOCK, Interval, mean_interval, share_interval
from rnn.study.trials import FIELDS

if TYPE_CHECKING:
    import pandas as pd

HOLDS, FAILS, PARTLY, UNDECIDED = "holds", "fails", "holds in part", "undecided"
DEFECTIVE = 1e8  # condition number of eigenvectors: half of the digits of an eigenvalue may be lost
ON_DISC = 1.01  # largest spectral radius that counts as on the unit disc: rounding and slack of an iteration
NORMAL = 0.01  # relative Henrici departure of a matrix that counts as normal
UNIT_DISC = ("radius", "radius-power", "radius-rayleigh")  # what "norm" bounds is more than the spectrum
_C1 = "High accuracy implies neither stability nor robustness."
_C2 = "A recurrent spectrum on the unit disc makes networks stable, but not robust."
_C3 = "Training makes recurrent matrices non-normal."
_NOT_PAIRED = {"normalisation", "target", "audited"}
_JUDGED = ["clean_accuracy", "fooling_reference", "lyapunov_exponent", "kick_end_worst"]
_CHANGES = ["clean_accuracy", "fooling_reference", "lyapunov_exponent"]
_NON_NORMALITY = {
    "henrici_departure_relative": "relative Henrici departure",
    "log10_eigenvector_condition_number": "log10 of the eigenvector condition number",
    "log10_kreiss_constant_scaled": "log10 of the Kreiss constant at spectral radius 0.95",
}
_NO_ACCURATE = "No network of this study is accurate and without normalisation."
_SIDES = {1: "shown", -1: "refuted", 0: "open"}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A claim and what a study says of it.

    Attributes
    ----------
    name : str
        Short, such as "C1".
    statement : str
        What is claimed.
    verdict : {"holds", "fails", "holds in part", "undecided"}
        What the data say.
    words : tuple of str
        The numbers behind it, in sentences.
    table : DataFrame
        The numbers block by block.
    """

    name: str
    statement: str
    verdict: str
    words: tuple[str, ...]
    table: pd.DataFrame

    def __str__(self) -> str:
        """Give the verdict and the first sentence."""
        return f"{self.name} {self.verdict}: {self.statement} {self.words[0] if self.words else ''}".strip()


def claims(rows: pd.DataFrame) -> tuple[Claim, ...]:
    """Hold the three claims against the finished trials of a study.

    Parameters
    ----------
    rows : DataFrame
        One row for each network, as `rnn.study.runs.study_rows` gives it, with the columns of
        `rnn.study.experiment.run_trial`.

    Returns
    -------
    tuple of Claim
        C1 (accuracy does not imply stability and robustness), C2 (a spectrum on the unit disc makes networks
        stable but not robust), C3 (training makes recurrent matrices non-normal).

    Raises
    ------
    ValueError
        If a column is missing.

    Notes
    -----
    The claims are those of the abstract of Sengupta and Friston (2018). Their networks, data, sizes and
    perturbations are not known: this is a conceptual test of them, not a reproduction. The limits were set
    before any result was seen: *accurate* is at least 95 % of the best accuracy found on the task; *not
    robust*, that the worst of the attacks turns at least half of the clean-correct examples at the middle
    budget; *stable*, that the largest Lyapunov exponent is negative and that a kick of the state along its
    worst direction has shrunk by the end of the sequence, in the median. Both are about sequences of the
    length of the data: of eight steps, say, and not of stability for all time.

    A part of a claim is shown or refuted where its whole interval lies on one side: of one half for a share,
    of 0 for a change. A claim holds when all of its parts are shown, holds in part when some are, fails
    when a part is refuted and none is shown, and is undecided when none is either; the words say which part
    is what. C1 denies an implication: each of its two parts is shown by one accurate network that is not
    robust (not stable), and refuted where there is none and their share is below one half for sure. Whether
    it is most networks is said beside it. Intervals are those of `rnn.study.seed_intervals`: networks of one
    task and seed belong together, tasks and cells are these. They are not corrected for the number of parts.

    Four things were put right after the first networks were seen, since they were wrong whatever the result
    (the limits stayed). C1 asked for most accurate networks, which is more than it claims. C2 leaves out
    networks whose spectrum is not on the unit disc after all: the power method and the Rayleigh quotient can
    miss the radius. C3 leaves out networks that began with a normal matrix, as an orthogonal one is: there
    these numbers can only rise; they get a sentence of their own. Intervals took networks of one seed for
    independent. Networks without an accuracy, a fooling rate (none was right), a Lyapunov exponent or a kick
    take no part in C1 and C2.

    The fooling rate is taken among the clean-correct. Before and after a normalisation these are not the same
    examples, and a network that gives nearly always the same answer is hard to fool: C2 says how many
    networks stay accurate, and how many of these are not robust.

    References
    ----------
    B. Sengupta and K. J. Friston, "How Robust are Deep Neural Networks?", arXiv 1804.11313, 2018.
    """
    _check(rows)
    judged = rows[rows[_JUDGED].notna().all(axis=1)]
    left = len(rows) - len(judged)
    note = [f"{counted(left, 'network')} without a number of {', '.join(_JUDGED)} left out."] if left else []
    return (_accuracy_claim(judged, note), _unit_disc_claim(judged, note), _training_claim(rows))


def _accuracy_claim(rows: pd.DataFrame, note: list[str]) -> Claim:
    plain = rows[rows["normalisation"] == "none"]
    good = plain[accurate(plain)]
    table = _shares(good, {"not_robust": _not_robust, "not_stable": _not_stable})
    if table.empty:
        return Claim("C1", _C1, UNDECIDED, (_NO_ACCURATE, *note), table)
    blocks, total = table.iloc[:-1], table.iloc[-1]
    sides = {name: _side(total, name, 0.5) for name in ("not_robust", "not_stable")}
    most = {
        name: f"{_SIDES[side]} ({(blocks[name] > 0.5).sum()} of {counted(len(blocks), 'block')})"
        for name, side in sides.items()
    }
    parts = {"accurate and not robust": _counterexample(total, "not_robust")}
    parts |= {"accurate and not stable": _counterexample(total, "not_stable")}
    words = [
        f"Of {counted(int(total['n']), 'accurate network')} {_not_robust(good).sum()} are not robust and "
        f"{_not_stable(good).sum()} not stable: {_interval(total, 'not_robust')} and "
        f"{_interval(total, 'not_stable')}. Against an implication one is enough.",
        f"Beyond that: that most accurate networks are not robust is "
        f"{most['not_robust']}, that most are not stable {most['not_stable']}.",
        f"Their clean accuracy lies between {good['clean_accuracy'].min():.1%} and "
        f"{good['clean_accuracy'].max():.1%}, their fooling rate at the reference budget between "
        f"{good['fooling_reference'].min():.1%} and {good['fooling_reference'].max():.1%}.",
    ]
    return Claim("C1", _C1, _verdict([*parts.values()]), (*words, *_parts_words(parts), *note), table)


def _unit_disc_claim(rows: pd.DataFrame, note: list[str]) -> Claim:
    import pandas as pd

    rows = rows.assign(accurate=_still_accurate(rows))
    lines: list[dict[str, Any]] = []
    words: list[str] = []
    parts: dict[str, int] = {}
    for kind in sorted(set(rows["normalisation"]) - {"none"}):
        pairs = _pairs(rows, kind)
        on_disc = (_radius(rows.loc[pairs["after"]]) <= ON_DISC).to_numpy()
        disc = kind.removesuffix("-during") in UNIT_DISC
        if disc and not on_disc.all():
            words.append(_missed_words(kind, rows.loc[pairs["after"][~on_disc]]))
            pairs = pairs[on_disc]
        if pairs.empty:
            continue
        line = {"normalisation": kind} | _normalised_line(rows, pairs)
        lines.append(line)
        words.append(_normalised_words(line))
        if disc:
            parts[f"stable with {kind}"] = _side(line, "stable", 0.5)
            parts[f"not robust with {kind}"] = _side(line, "not_robust", 0.5)
    if not lines and not words:
        words.append("No network of this study was normalised.")
    verdict = _verdict([*parts.values()])
    return Claim("C2", _C2, verdict, (*words, *_parts_words(parts), *note), pd.DataFrame(lines))


def _normalised_line(rows: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    before, after = (rows.loc[pairs[side]] for side in ("before", "after"))
    line: dict[str, Any] = {"n": len(after)}
    line |= _named("stable", share_interval(after, stable(after)))
    line |= _named("not_robust", share_interval(after, _not_robust(after)))
    line |= {"stable_before": float(stable(before).mean())}
    line |= {"not_robust_before": float(_not_robust(before).mean())}
    line |= {"both": float((stable(after) & _not_robust(after)).mean())}
    line |= {"accurate": int(after["accurate"].sum())}
    line |= {"accurate_not_robust": int((after["accurate"] & _not_robust(after)).sum())}
    for column in _CHANGES:
        change = after[column].to_numpy(dtype=float) - before[column].to_numpy(dtype=float)
        usable = np.isfinite(change)  # an exponent of -inf has no change
        known = mean_interval(pairs[usable], change[usable]) if usable.any() else (np.nan,) * 3
        line |= _named(f"{column}_change", known)
    return line


def _normalised_words(line: Mapping[str, Any]) -> str:
    return (
        f"With {line['normalisation']}: of {counted(line['n'], 'network')} {_interval(line, 'stable')} are "
        f"stable (without it {line['stable_before']:.0%}), {_interval(line, 'not_robust')} not robust "
        f"(without it {line['not_robust_before']:.0%}), {line['both']:.0%} both; "
        f"{line['accurate']} still accurate, {line['accurate_not_robust']} of them not robust; accuracy "
        f"changes by {_change(line, 'clean_accuracy_change')}, the fooling rate by "
        f"{_change(line, 'fooling_reference_change')}."
    )


def _missed_words(kind: str, rows: pd.DataFrame) -> str:
    return (
        f"{counted(len(rows), 'network')} with {kind} missed the unit disc (spectral radius up to "
        f"{_radius(rows).max():.3g}) and take no part; {stable(rows).mean():.0%} of them stable, "
        f"{_not_robust(rows).mean():.0%} not robust."
    )


def _training_claim(rows: pd.DataFrame) -> Claim:
    import pandas as pd

    plain = rows[rows["normalisation"] == "none"].copy()
    for name in ("eigenvector_condition_number", "kreiss_constant_scaled"):
        for prefix in ("", "initial_"):
            plain[f"{prefix}log10_{name}"] = np.log10(plain[f"{prefix}{name}"].astype(float))
    normal = plain["initial_henrici_departure_relative"] < NORMAL
    lines: list[dict[str, Any]] = []
    words: list[str] = []
    parts: dict[str, int] = {}
    for start, group in (("other", plain[~normal]), ("normal", plain[normal])):
        for column, label in _NON_NORMALITY.items():
            line = _risen_line(group, column)
            if line["infinite"]:
                words.append(
                    f"Of the {label} {counted(line['infinite'], 'network')}, infinite, are left out."
                )
            if line["n"]:
                lines.append({"start": start} | line)
                words.append(_risen_words(line, label, start))
            if line["n"] and start == "other":
                parts[label] = _side(line, "change", 0.0)
    before, after = (
        (plain[f"{when}eigenvector_condition_number"] > DEFECTIVE).sum() for when in ("initial_", "")
    )
    words.append(f"Nearly defective (condition number above 1e8): {before} at the start, {after} at the end.")
    verdict = _verdict([*parts.values()])
    return Claim("C3", _C3, verdict, (*words, *_parts_words(parts)), pd.DataFrame(lines))


def _risen_line(rows: pd.DataFrame, column: str) -> dict[str, Any]:
    after, before = rows[column].to_numpy(dtype=float), rows[f"initial_{column}"].to_numpy(dtype=float)
    known = ~np.isnan(after) & ~np.isnan(before)
    usable = known & np.isfinite(after) & np.isfinite(before)
    line: dict[str, Any] = {
        "measure": column,
        "n": int(usable.sum()),
        "infinite": int((known & ~usable).sum()),
    }
    if usable.any():
        change = after[usable] - before[usable]
        line |= {"rose": float((change > 0).mean())} | _named("change", mean_interval(rows[usable], change))
    return line


def _risen_words(line: Mapping[str, Any], label: str, start: str) -> str:
    numbers = (
        f"the {label} changes by {_change(line, 'change')} in the mean of blocks; it rose in "
        f"{line['rose']:.0%} of {counted(line['n'], 'network')}"
    )
    if start == "normal":
        return f"From a normal matrix, where it can only rise and which decides nothing, {numbers}."
    return f"From initialisation to the end {numbers}."


def _counterexample(line: pd.Series, name: str) -> int:
    """Give 1 where there is one, -1 where there is none and would be few, 0 where too little is known."""
    return 1 if line[name] > 0 else min(_side(line, name, 0.5), 0)


def _side(line: Mapping[str, Any] | pd.Series, name: str, limit: float) -> int:
    """Give 1 where an interval lies above a limit, -1 where below it, 0 where it holds it or is none."""
    return int(line[f"{name}_lower"] > limit) - int(line[f"{name}_upper"] < limit)


def _verdict(sides: Sequence[int]) -> str:
    """Give the verdict on a claim of several parts, each shown (1), refuted (-1) or neither (0)."""
    if not any(sides):
        return UNDECIDED
    return HOLDS if min(sides) > 0 else PARTLY if max(sides) > 0 else FAILS


def _parts_words(parts: Mapping[str, int]) -> list[str]:
    said = []
    for side, word in _SIDES.items():
        names = [name for name, found in parts.items() if found == side]
        said += [f"{word}: {', '.join(names)}"] if names else []
    return [f"Part by part, {'; '.join(said)}."] if said else []


def _shares(rows: pd.DataFrame, judges: dict[str, Callable[[pd.DataFrame], pd.Series]]) -> pd.DataFrame:
    """Count the networks of each block, and last of all together, of which something is true."""
    import pandas as pd

    parts = [(key, part) for key, part in rows.groupby(BLOCK, sort=True)]
    lines = []
    for (task, cell), part in [*parts, *([(("all", "all"), rows)] if parts else [])]:
        line: dict[str, object] = {"task": task, "cell": cell, "n": len(part)}
        for name, judge in judges.items():
            line |= _named(name, share_interval(part, judge(part)))
        lines.append(line)
    return pd.DataFrame(lines)


def _pairs(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Pair each network of one normalisation with the one without, all else equal."""
    import pandas as pd

    same = [name for name in FIELDS if name in rows and name not in _NOT_PAIRED]
    before = rows[rows["normalisation"] == "none"][same].assign(before=lambda part: part.index)
    after = rows[rows["normalisation"] == kind][same].assign(after=lambda part: part.index)
    return pd.merge(before, after, on=same, validate="one_to_many")


def _radius(rows: pd.DataFrame) -> pd.Series:
    """Give the largest spectral radius, of every gate where it is known."""
    known = [name for name in ("spectral_radius", "normalised_radius") if name in rows]
    return rows[known].max(axis=1)


def _still_accurate(rows: pd.DataFrame) -> pd.Series:
    plain = rows["clean_accuracy"].where(rows["normalisation"] == "none")
    return rows["clean_accuracy"] >= ACCURATE * plain.groupby(rows["task"]).transform("max")


def _not_robust(rows: pd.DataFrame) -> pd.Series:
    return ~robust(rows)


def _not_stable(rows: pd.DataFrame) -> pd.Series:
    return ~stable(rows)


def _interval(line: Mapping[str, Any] | pd.Series, name: str) -> str:
    return f"{line[name]:.0%} [{line[f'{name}_lower']:.0%}, {line[f'{name}_upper']:.0%}]"


def _change(line: Mapping[str, Any], name: str) -> str:
    value, lower, upper = (line[f"{name}{end}"] for end in ("", "_lower", "_upper"))
    if np.isnan(value):
        return "an unknown amount"
    return f"{value:+.3f} " + (
        "(no interval: one seed)" if np.isnan(lower) else f"[{lower:+.3f}, {upper:+.3f}]"
    )


def _named(name: str, interval: Interval) -> dict[str, float]:
    return dict(zip((name, f"{name}_lower", f"{name}_upper"), interval, strict=True))


def _check(rows: pd.DataFrame) -> None:
    needed = ["task", "cell", "normalisation", "seed", "spectral_radius", *_JUDGED]
    for name in ("henrici_departure_relative", "eigenvector_condition_number", "kreiss_constant_scaled"):
        needed += [name, f"initial_{name}"]
    missing = [name for name in needed if name not in rows]
    if missing:
        raise ValueError(
            f"rows lacks the columns {', '.join(missing)}; expected the table of a study "
            "(rnn.study.runs.study_rows)"
        )
