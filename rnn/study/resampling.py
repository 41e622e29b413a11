"""The vectorised bootstrap: all rank correlations of a block at once, on the same resamples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_MODELS = 5
UNDEFINED = "not defined in this block"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Table:
    """All correlations of one block, as arrays (measures, outcomes); NaN where `note` says why there is none.

    Attributes
    ----------
    value, p : ndarray, shape (measures, outcomes)
        Spearman's correlation and its two-sided p-value.
    draws : ndarray, shape (draws, measures, outcomes)
        The correlation of each resample.
    n : ndarray of int, shape (measures, outcomes)
        Number of pairs.
    note : ndarray of str, shape (measures, outcomes)
        Why there is no value, or what weakens it.
    """

    value: Floats
    draws: Floats
    p: Floats
    n: NDArray[np.int64]
    note: NDArray[np.object_]


def block_table(X: Floats, Y: Floats, names: list[str], draws: int, rng: np.random.Generator) -> Table:
    """Correlate each column of X with each column of Y, and again in each resample of the rows.

    Parameters
    ----------
    X, Y : ndarray, shapes (n, measures) and (n, outcomes)
        One row per model; NaN marks an empty cell.
    names : list of str
        Names of the columns of X, for the notes.
    draws : int
        Number of resamples.
    rng : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    Table
        The correlations.

    Notes
    -----
    A resample is the vector w of how often each row occurs (multinomial), and the rank of row i in it is a
    matrix product, sum over j of w_j ([x_j < x_i] + [x_j = x_i]/2) + 1/2: ties are exact, nothing is sorted.
    """
    shape = (X.shape[1], Y.shape[1])
    table = Table(
        value=np.full(shape, np.nan),
        draws=np.full((draws, *shape), np.nan),
        p=np.full(shape, np.nan),
        n=np.zeros(shape, dtype=np.int64),
        note=np.full(shape, "", dtype=object),
    )
    for keep, i, j in _patterns(X, Y):
        n = int(keep.sum())
        x, y = X[keep][:, i], Y[keep][:, j]
        cells = np.ix_(i, j)
        table.n[cells] = n
        notes = _notes(x, y, [names[k] for k in i])
        table.note[cells] = notes
        fine = notes == ""
        if not fine.any():
            continue
        value = _correlations(x, y, np.ones((1, n)))[0]
        resampled = _correlations(x, y, rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64))
        table.value[cells] = np.where(fine, value, np.nan)
        table.p[cells] = np.where(fine, _p_value(value, n), np.nan)
        table.draws[np.ix_(range(draws), i, j)] = np.where(fine, resampled, np.nan)
        table.note[cells] = np.where(fine, _remarks(value, resampled), notes)
    return table


def _patterns(X: Floats, Y: Floats) -> Iterator[tuple[NDArray[np.bool_], list[int], list[int]]]:
    # Groups of columns that have the same rows filled: (rows, columns of X, columns of Y).
    def groups(values: Floats) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for column in range(values.shape[1]):
            found.setdefault((~np.isnan(values[:, column])).tobytes(), []).append(column)
        return found

    for x_filled, i in groups(X).items():
        for y_filled, j in groups(Y).items():
            yield np.frombuffer(x_filled, dtype=np.bool_) & np.frombuffer(y_filled, dtype=np.bool_), i, j


def _correlations(X: Floats, Y: Floats, weights: Floats) -> Floats:
    # Correlations (draws, columns of X, columns of Y) of resamples given by how often rows occur.
    def standardised(values: Floats) -> Floats:
        n = len(values)
        before = (values[:, None, :] < values[None, :, :]) + 0.5 * (values[:, None, :] == values[None, :, :])
        ranks = np.tensordot(weights, before, axes=(1, 0)) + 0.5  # (draws, n, columns): average rank of row i
        centred = (ranks - (n + 1) / 2) * np.sqrt(weights)[:, :, None]
        with np.errstate(invalid="ignore"):  # 0/0: the resample has no variation
            return centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))

    product: Floats = np.matmul(standardised(X).transpose(0, 2, 1), standardised(Y))
    return np.clip(product, -1.0, 1.0)


def _notes(x: Floats, y: Floats, names: list[str]) -> NDArray[np.object_]:
    # For each pair of columns why it has no correlation; empty where it has one.
    n = len(x)
    notes = np.full((x.shape[1], y.shape[1]), "", dtype=object)
    if n < LEAST_MODELS:
        notes[:] = f"only {n} models, at least {LEAST_MODELS} are needed" if n else UNDEFINED
        return notes
    for j, outcome in enumerate(y.T):
        notes[:, j] = _fault(outcome, "outcome ")
    for i, measure in enumerate(x.T):
        twin = next((names[k] for k in range(i) if np.array_equal(x[:, k], measure)), None)
        fault = _fault(measure, "") or (f"the same numbers as {twin}" if twin else "")
        notes[i] = fault or notes[i]
    return notes


def _fault(values: Floats, prefix: str) -> str:
    infinite = int(np.isinf(values).sum())
    if infinite:
        return f"{prefix}infinite in {infinite} of {len(values)} models"
    return f"{prefix}constant: {values[0]:.6g}" if np.ptp(values) == 0 else ""


def _remarks(value: Floats, draws: Floats) -> NDArray[np.object_]:
    # For each correlation what weakens its interval.
    share = np.isnan(draws).mean(axis=0)
    flat = np.char.add(
        np.char.mod("%.0f", 100 * share), " % of the resamples had no variation and were left out"
    )
    perfect = "perfect agreement of ranks: the true interval is wider"
    return np.where(np.abs(value) > 1 - 1e-12, perfect, np.where(share >= 0.005, flat, "")).astype(object)


def _p_value(value: Floats, n: int) -> Floats:
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(value) * np.sqrt((n - 2) / np.maximum(1 - value**2, 0.0))
    p: Floats = 2 * stdtr(n - 2, -t)
    return p


def pooled_table(tables: dict[str, Table]) -> Table:
    """Average the blocks with weights n / sum of n, where at least two of them have a correlation.

    Parameters
    ----------
    tables : dict of str to Table
        The blocks by name, with the same measures, outcomes and number of resamples.

    Returns
    -------
    Table
        The averages, n = 0 where there is none; `p` by the normal approximation with variance 1/(n - 1) in
        each block.
    """
    from scipy.special import ndtr

    parts = list(tables.values())
    value = np.stack([part.value for part in parts])
    usable = ~np.isnan(value)
    n = np.stack([part.n for part in parts]) * usable
    total = n.sum(axis=0)
    enough = usable.sum(axis=0) >= 2
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = n / total
        variance = np.where(usable, weight**2 / (n - 1), 0.0).sum(axis=0)
        mean = np.where(usable, weight * value, 0.0).sum(axis=0)
        p = 2 * ndtr(-np.abs(mean) / np.sqrt(variance))
    draws = sum(np.where(k, w * part.draws, 0.0) for k, w, part in zip(usable, weight, parts, strict=True))
    labels = np.array(list(tables), dtype=object)
    note = np.full(mean.shape, "", dtype=object)
    for cell in np.ndindex(mean.shape):
        names = ", ".join(labels[usable[(slice(None), *cell)]])
        note[cell] = f"mean of the correlations within {names}, weighted by n" if enough[cell] else ""
    blank = np.where(enough, 1.0, np.nan)
    return Table(mean * blank, draws * blank, p * blank, np.where(enough, total, 0), note)


def gains(table: Table, baselines: list[int], level: float) -> tuple[Floats, Floats, Floats]:
    """Return abs(correlation) less the largest of the baselines, with the ends of its interval.

    Parameters
    ----------
    table : Table
        The correlations.
    baselines : list of int
        Rows of the table to beat; they have no gain themselves (NaN).
    level : float
        Probability that the interval is meant to hold the truth with.

    Returns
    -------
    value, lower, upper : ndarray, shape (measures, outcomes)
        NaN where there is no gain.
    """
    draws = np.full_like(table.draws, np.nan)
    value = np.full_like(table.value, np.nan)
    if baselines:
        with np.errstate(invalid="ignore"):
            draws = np.abs(table.draws) - np.abs(table.draws[:, baselines]).max(axis=1, keepdims=True)
            value = np.abs(table.value) - np.abs(table.value[baselines]).max(axis=0)
        draws[:, baselines], value[baselines] = np.nan, np.nan
    return value, *percentiles(draws, level)


def percentiles(draws: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the end points of the central interval over the first axis.

    Parameters
    ----------
    draws : ndarray, shape (draws, ...)
        Resampled values; NaN is left out.
    level : float
        Probability inside the interval.

    Returns
    -------
    lower, upper : ndarray
        NaN where no value is left.
    """
    ends = np.array([0.5 - level / 2, 0.5 + level / 2])
    found = np.full((2, *draws.shape[1:]), np.nan)
    whole = ~np.isnan(draws).any(axis=0)
    found[:, whole] = np.quantile(draws[:, whole], ends, axis=0)
    for cell in np.argwhere(~whole & ~np.isnan(draws).all(axis=0)):
        found[(slice(None), *cell)] = np.nanquantile(draws[(slice(None), *cell)], ends)
    return found[0], found[1]
