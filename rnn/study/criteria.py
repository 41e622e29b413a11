"""What counts as accurate, robust and stable: limits that were set before any result was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ACCURATE = 0.95  # of the best accuracy on the task
FOOLED = 0.5  # share of the clean-correct from which on a network counts as not robust


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
