"""Three claims about recurrent networks, each held against the table of a study, with a verdict in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn.study.statistics import wilson_interval
from rnn.study.trials import FIELDS
from spectra.checks import generator

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

HOLDS, FAILS, PARTLY, UNDECIDED = "holds", "fails", "holds in part", "undecided"
ACCURATE = 0.95  # of the best accuracy on the task
FOOLED = 0.5  # share of the clean-correct from which on a network counts as not robust
DEFECTIVE = 1e8  # condition number of eigenvectors: half of the digits of an eigenvalue may be lost
UNIT_DISC = ("radius", "radius-power", "radius-rayleigh")  # what "norm" bounds is more than the spectrum
_C1 = "High accuracy implies neither stability nor robustness."
_C2 = "A recurrent spectrum on the unit disc makes networks stable, but not robust."
_C3 = "Training makes recurrent matrices non-normal."
_BLOCK = ["task", "cell"]
_NOT_PAIRED = {"normalisation", "target", "audited"}
_NON_NORMALITY = {
    "henrici_departure_relative": "relative Henrici departure",
    "log10_eigenvector_condition_number": "log10 of the eigenvector condition number",
    "log10_kreiss_constant_scaled": "log10 of the Kreiss constant at spectral radius 0.95",
}
_DRAWS = 2000


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


def claims(rows: pd.DataFrame, *, rng: int | np.random.Generator = 0) -> tuple[Claim, ...]:
    """Hold the three claims against the finished trials of a study.

    Parameters
    ----------
    rows : DataFrame
        One row for each network, as `rnn.study.runs.study_rows` gives it, with the columns of
        `rnn.study.experiment.run_trial`.
    rng : int or numpy.random.Generator
        Determines the resampling.

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
    worst direction has shrunk by the end of the sequence, in the median.

    A part of a claim is shown or refuted where its whole interval lies on one side: of one half for a share,
    of 0 for a change. A claim holds when all of its parts are shown, holds in part when some are, fails
    when a part is refuted and none is shown, and is undecided when none is either. A share has Wilson's
    interval, for which the networks count as independent. A mean difference is the mean over blocks (task
    and cell) of the means inside them, its 95 % interval that of the percentile bootstrap over pairs
    within blocks.

    References
    ----------
    B. Sengupta and K. J. Friston, "How Robust are Deep Neural Networks?", arXiv 1804.11313, 2018.
    """
    _check(rows)
    random = generator(rng)
    return (_accuracy_claim(rows), _unit_disc_claim(rows, random), _training_claim(rows, random))


def stable(rows: pd.DataFrame) -> pd.Series:
    """Say which networks are stable: negative Lyapunov exponent, and the worst kick has shrunk in the end.

    Parameters
    ----------
    rows : DataFrame
        One row for each network.

    Returns
    -------
    Series of bool
        One entry for each row.
    """
    return (rows["lyapunov_exponent"] < 0) & (rows["kick_end_worst"] < 1)


def robust(rows: pd.DataFrame) -> pd.Series:
    """Say which networks are robust: less than half of the clean-correct turned at the reference budget.

    Parameters
    ----------
    rows : DataFrame
        One row for each network.

    Returns
    -------
    Series of bool
        One entry for each row.
    """
    return rows["fooling_reference"] < FOOLED


def accurate(rows: pd.DataFrame) -> pd.Series:
    """Say which networks are accurate: at least 95 % of the best accuracy on their task.

    Parameters
    ----------
    rows : DataFrame
        One row for each network; the best is taken over these.

    Returns
    -------
    Series of bool
        One entry for each row.
    """
    return rows["clean_accuracy"] >= ACCURATE * rows.groupby("task")["clean_accuracy"].transform("max")


def _accuracy_claim(rows: pd.DataFrame) -> Claim:
    plain = rows[rows["normalisation"] == "none"]
    good = plain[accurate(plain)]
    table = _shares(
        good, {"not_robust": lambda part: ~robust(part), "not_stable": lambda part: ~stable(part)}
    )
    if table.empty:
        words = ["No network of this study is accurate and without normalisation."]
        return Claim("C1", _C1, UNDECIDED, tuple(words), table)
    total = table.iloc[-1]
    words = [
        f"Of {total['n']:.0f} accurate networks {_interval(total, 'not_robust')} are not robust and "
        f"{_interval(total, 'not_stable')} not stable.",
        f"Their clean accuracy lies between {good['clean_accuracy'].min():.1%} and "
        f"{good['clean_accuracy'].max():.1%}, their fooling rate at the reference budget between "
        f"{good['fooling_reference'].min():.1%} and {good['fooling_reference'].max():.1%}.",
    ]
    verdict = _verdict([_side(total, name, 0.5) for name in ("not_robust", "not_stable")])
    return Claim("C1", _C1, verdict, tuple(words), table)


def _unit_disc_claim(rows: pd.DataFrame, random: np.random.Generator) -> Claim:
    import pandas as pd

    lines: list[dict[str, Any]] = []
    words, sides = [], []
    for kind in sorted(set(rows["normalisation"]) - {"none"}):
        pairs = _pairs(rows, kind)
        if pairs.empty:
            continue
        shares = _shares(
            rows.loc[pairs["after"]], {"stable": stable, "not_robust": lambda part: ~robust(part)}
        )
        total = shares.iloc[-1]
        line: dict[str, Any] = {"normalisation": kind} | {
            str(k): v for k, v in total.items() if k not in _BLOCK
        }
        for column in ("clean_accuracy", "fooling_reference", "lyapunov_exponent"):
            line |= _named(f"{column}_change", _mean_change(rows, pairs, column, random))
        lines.append(line)
        words.append(
            f"With {kind}: {_interval(total, 'stable')} of {total['n']:.0f} networks are stable and "
            f"{_interval(total, 'not_robust')} not robust; accuracy changes by "
            f"{_change(line, 'clean_accuracy_change')}, the fooling rate by "
            f"{_change(line, 'fooling_reference_change')}."
        )
        if kind.removesuffix("-during") in UNIT_DISC:
            sides += [_side(total, name, 0.5) for name in ("stable", "not_robust")]
    return Claim("C2", _C2, _verdict(sides), tuple(words), pd.DataFrame(lines))


def _training_claim(rows: pd.DataFrame, random: np.random.Generator) -> Claim:
    import pandas as pd

    plain = rows[rows["normalisation"] == "none"].copy()
    for name in ("eigenvector_condition_number", "kreiss_constant_scaled"):
        for prefix in ("", "initial_"):
            plain[f"{prefix}log10_{name}"] = np.log10(plain[f"{prefix}{name}"].astype(float))
    lines: list[dict[str, Any]] = []
    words = []
    for column, label in _NON_NORMALITY.items():
        change = plain[column] - plain[f"initial_{column}"]
        usable = np.isfinite(change)
        if not usable.any():
            continue
        line = {"measure": column, "n": int(usable.sum()), "rose": float((change[usable] > 0).mean())}
        line |= _named("change", _block_mean(plain[usable], change[usable].to_numpy(), random))
        lines.append(line)
        words.append(
            f"From initialisation to the end the {label} changes by {_change(line, 'change')} in the mean of "
            f"blocks; it rose in {line['rose']:.0%} of {usable.sum()} networks."
        )
    before, after = (
        (plain[f"{when}eigenvector_condition_number"] > DEFECTIVE).sum() for when in ("initial_", "")
    )
    words.append(f"Nearly defective (condition number above 1e8): {before} at the start, {after} at the end.")
    sides = [_side(line, "change", 0.0) for line in lines]
    return Claim("C3", _C3, _verdict(sides), tuple(words), pd.DataFrame(lines))


def _side(line: Mapping[str, Any] | pd.Series, name: str, limit: float) -> int:
    """Give 1 where an interval lies above a limit, -1 where below it, 0 where it holds the limit."""
    return int(line[f"{name}_lower"] > limit) - int(line[f"{name}_upper"] < limit)


def _verdict(sides: Sequence[int]) -> str:
    """Give the verdict on a claim of several parts, each shown (1), refuted (-1) or neither (0)."""
    if not any(sides):
        return UNDECIDED
    return HOLDS if min(sides) > 0 else PARTLY if max(sides) > 0 else FAILS


def _shares(rows: pd.DataFrame, judges: dict[str, Callable[[pd.DataFrame], pd.Series]]) -> pd.DataFrame:
    """Count the networks of each block, and last of all together, of which something is true."""
    import pandas as pd

    parts = [(key, part) for key, part in rows.groupby(_BLOCK, sort=True)]
    lines = []
    for (task, cell), part in [*parts, *([(("all", "all"), rows)] if parts else [])]:
        line: dict[str, object] = {"task": task, "cell": cell, "n": len(part)}
        for name, judge in judges.items():
            count = int(judge(part).sum())
            lower, upper = wilson_interval(count, len(part))
            line |= {name: count / len(part), f"{name}_lower": float(lower), f"{name}_upper": float(upper)}
        lines.append(line)
    return pd.DataFrame(lines)


def _pairs(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Pair each network of one normalisation with the one without, all else equal."""
    import pandas as pd

    same = [name for name in FIELDS if name in rows and name not in _NOT_PAIRED]
    before = rows[rows["normalisation"] == "none"][same].assign(before=lambda part: part.index)
    after = rows[rows["normalisation"] == kind][same].assign(after=lambda part: part.index)
    return pd.merge(before, after, on=same, validate="one_to_many")


def _mean_change(
    rows: pd.DataFrame, pairs: pd.DataFrame, column: str, random: np.random.Generator
) -> tuple[float, float, float]:
    after, before = (rows.loc[pairs[side], column].to_numpy(dtype=float) for side in ("after", "before"))
    change = after - before
    usable = np.isfinite(change)
    return _block_mean(pairs[usable], change[usable], random) if usable.any() else (np.nan,) * 3


def _block_mean(
    rows: pd.DataFrame, numbers: Floats, random: np.random.Generator
) -> tuple[float, float, float]:
    """Give the mean over blocks of the means inside them, with its bootstrap interval."""
    means, draws = [], np.zeros(_DRAWS)
    groups = list(rows.groupby(_BLOCK, sort=True).indices.values())
    for places in groups:
        inside = numbers[places]
        means.append(inside.mean())
        draws += inside[random.integers(len(inside), size=(_DRAWS, len(inside)))].mean(1)
    lower, upper = np.quantile(draws / len(groups), [0.025, 0.975])
    return float(np.mean(means)), float(lower), float(upper)


def _interval(line: pd.Series, name: str) -> str:
    return f"{line[name]:.0%} [{line[f'{name}_lower']:.0%}, {line[f'{name}_upper']:.0%}]"


def _change(line: Mapping[str, Any], name: str) -> str:
    return f"{line[name]:+.3f} [{line[f'{name}_lower']:+.3f}, {line[f'{name}_upper']:+.3f}]"


def _named(name: str, interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_lower", f"{name}_upper"), interval, strict=True))


def _check(rows: pd.DataFrame) -> None:
    needed = ["task", "cell", "normalisation", "seed", "clean_accuracy", "fooling_reference"]
    needed += ["lyapunov_exponent", "kick_end_worst"]
    for name in ("henrici_departure_relative", "eigenvector_condition_number", "kreiss_constant_scaled"):
        needed += [name, f"initial_{name}"]
    missing = [name for name in needed if name not in rows]
    if missing:
        raise ValueError(
            f"rows lacks the columns {', '.join(missing)}; expected the table of a study "
            "(rnn.study.runs.study_rows)"
        )
