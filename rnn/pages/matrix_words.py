"""What the numbers and pictures of one matrix say, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from rnn.details import MatrixDetail, noise_distance
from rnn.measuring.measures import MEASURES
from rnn.report import prose
from spectra.distribution import SpectralDistribution
from spectra.results import Pseudospectrum
from spectra.transients import TransientGrowth

_ALIKE = 1e-6  # difference of numbers that a sentence calls equal
_NEARLY_NORMAL, _FAR_FROM_NORMAL = 0.1, 0.5  # relative Henrici departure
_FEWEST = 32  # singular values that can be compared with noise

_LINES = {"discrete": "the unit circle", "continuous": "the imaginary axis"}  # limits of stability
BEYOND = {"discrete": "outside the unit circle", "continuous": "right of the imaginary axis"}


def number(value: float, *, digits: int = 4) -> str:
    """Give a number in few digits, and ∞ for an infinite one.

    Parameters
    ----------
    value : float
        The number.
    digits : int
        How many digits.

    Returns
    -------
    str
        The digits; a dash for NaN, which stands for "not defined".

    Examples
    --------
    >>> number(0.123456), number(float("inf"))
    ('0.1235', '∞')
    """
    if np.isnan(value):
        return "\N{EN DASH}"
    return f"{'-' if value < 0 else ''}∞" if np.isinf(value) else f"{value:.{digits}g}"


def sentences(detail: MatrixDetail) -> list[str]:
    """Say what is known about a matrix.

    Parameters
    ----------
    detail : MatrixDetail
        The numbers.

    Returns
    -------
    list of str
        Sentences for a reader who knows the words but not the numbers; each number is of `detail`.
    """
    found = [*_eigenvalues(detail), *_stability(detail), *_reach(detail)]
    if detail.growth is not None:
        found += _growth(detail.growth)
    found += _normality(detail.values)
    if detail.distribution is not None:
        found += _noise(detail.distribution)
    if detail.portrait is not None:
        found += _precision(detail.portrait)
    return [prose(text) for text in found]


def _eigenvalues(detail: MatrixDetail) -> Iterator[str]:
    discrete = detail.dynamics == "discrete"
    extreme = detail.values.get("spectral_radius" if discrete else "spectral_abscissa")
    if extreme is None:
        return
    limit, size = (1.0, "modulus") if discrete else (0.0, "real part")
    line, outside = _LINES[detail.dynamics], BEYOND[detail.dynamics]
    if abs(extreme - limit) <= _ALIKE:
        yield f"The largest {size} of an eigenvalue, {number(extreme)}, is on {line}, the limit of stability."
    elif extreme < limit:
        yield f"No eigenvalue is {outside}: the largest {size} is {number(extreme)}."
    elif detail.portrait is None:
        yield f"The largest {size} of an eigenvalue, {number(extreme)}, is {outside}."
    else:
        sizes = np.abs(detail.portrait.eigenvalues) if discrete else detail.portrait.eigenvalues.real
        count = max(1, int(np.count_nonzero(sizes > limit)))
        lie = "eigenvalues lies" if count == 1 else "eigenvalues lie"
        yield f"{count} of {len(sizes)} {lie} {outside}, the largest {size} being {number(extreme)}."


def _stability(detail: MatrixDetail) -> Iterator[str]:
    distance, norm = (detail.values.get(name, 0.0) for name in ("distance_to_instability", "spectral_norm"))
    lower, _ = detail.interval("distance_to_instability") if distance > 0 else (0.0, 0.0)
    if lower <= 0:
        return
    share = f", {number(100 * distance / norm, digits=3)} % of the norm of the matrix," if norm > 0 else ""
    yield f"""
        A perturbation of norm {number(distance, digits=3)}{share} can bring an eigenvalue to
        {_LINES[detail.dynamics]}, though a real one may have to be larger; none of norm below
        {number(lower, digits=3)} can.
    """


def _reach(detail: MatrixDetail) -> Iterator[str]:
    if detail.measures is None:
        return
    name, size = ("radius", "modulus") if detail.dynamics == "discrete" else ("abscissa", "real part")
    plain, reach = detail.values[f"spectral_{name}"], detail.values[f"pseudospectral_{name}"]
    epsilon = detail.measures.epsilon
    times = (reach - plain) / epsilon
    far = f"{number(times, digits=3)} times as far as" if times > 1.01 else "no farther than"
    yield f"""
        Perturbations of norm at most ε = {epsilon:g} can take the largest {size} of an eigenvalue from
        {number(plain)} to {number(reach)}, {far} with a normal matrix.
    """


def _growth(result: TransientGrowth) -> Iterator[str]:
    discrete = result.dynamics == "discrete"
    unit, power, per = ("step", "‖A^k‖", "a step") if discrete else ("time", "‖exp(tA)‖", "in a unit of time")
    if result.rate > (1 if discrete else 0) + _ALIKE:
        rate = number(result.rate if discrete else float(np.exp(result.rate)))
        yield f"""
            As a linear map it makes states grow without end, in the long run {rate} times {per}; until
            {unit} {number(result.times[-1])} up to {number(result.peak)} times.
        """
    elif result.peak <= 1 + _ALIKE:
        yield f"No state grows at any {unit} that was looked at: {power} never exceeds its first value, 1."
    else:
        most = result.peak_upper
        known = np.isfinite(most) and most > result.peak * 1.01
        more = f"; at all times together at most {number(most)} times" if known else ""
        yield f"""
            Even unperturbed, a state can grow to {number(result.peak)} times its size (at {unit}
            {number(result.peak_time)}){more}.
        """


def _normality(values: Mapping[str, float]) -> Iterator[str]:
    departure = values.get("henrici_departure_relative")
    if departure is None:
        return
    scale = f"relative Henrici departure {number(departure, digits=3)} on a scale from 0 to 1"
    if departure <= _ALIKE:
        yield f"The matrix is normal, as far as can be told ({scale}): its eigenvalues tell the whole story."
        return
    degree = "nearly normal" if departure < _NEARLY_NORMAL else "non-normal"
    degree = "far from normal" if departure > _FAR_FROM_NORMAL else degree
    condition = values.get("eigenvector_condition_number")
    more = ""
    if condition is not None:
        more = f", eigenvector condition number {number(condition, digits=3)}, where a normal matrix has 1"
    yield f"The matrix is {degree}: {scale}{more}."


def _noise(result: SpectralDistribution) -> Iterator[str]:
    total = len(result.singular_values)
    if result.variance <= 0:
        yield "At least half of the singular values are 0: there is no noise to compare with."
        return
    if total < _FEWEST:
        yield f"The singular values, {total} in number, are too few to be compared with those of noise."
        return
    limit = np.sqrt(result.threshold) * np.sqrt(max(result.rows, result.columns))
    count = {0: "None", 1: "One"}.get(result.outliers, str(result.outliers))
    yield f"""
        {count} of its {total} singular values {"lies" if result.outliers <= 1 else "lie"} above
        {number(limit, digits=3)}, the most to be expected of noise of this shape and variance.
    """
    chance = noise_distance(max(1, total - result.outliers))
    distance = f"KS distance {number(result.ks_distance, digits=2)}"
    if result.ks_distance <= chance:
        yield f"The others are spread like those of independent random numbers ({distance})."
    else:
        yield f"""
            The others are not spread like those of independent random numbers: {distance}, where chance
            gives at most some {number(chance, digits=2)}.
        """


def _precision(result: Pseudospectrum) -> Iterator[str]:
    levels = result.epsilons if result.epsilons.size else result.sigma_min
    if result.storage_floor > levels.min():
        yield f"""
            Levels below {number(result.storage_floor, digits=2)} depend on digits that the stored weights do
            not have (dotted).
        """


def measure_rows(detail: MatrixDetail) -> list[tuple[str, str, str]]:
    """Give every measure of a matrix with its interval.

    Parameters
    ----------
    detail : MatrixDetail
        The numbers.

    Returns
    -------
    list of (str, str, str)
        Label, value, interval ("direct formula" where there is none).
    """
    rows = []
    for measure in MEASURES:
        if measure.name in detail.values:
            lower, upper = detail.interval(measure.name)
            value = number(detail.values[measure.name], digits=6)
            rows.append((measure.label, value, _ends(lower, upper) if lower < upper else "direct formula"))
    return rows


def row_words(row: Mapping[str, object]) -> str:
    """Say shape and role of a matrix.

    Parameters
    ----------
    row : mapping
        A row of the table of a diagnosis.

    Returns
    -------
    str
        Such as "recurrent, 64 x 64, gate n, layer 1, reverse".
    """
    words = [f"{row['role']}, {row['rows']} x {row['columns']}"]
    words += [f"gate {row['gate']}"] if row["gate"] else []
    words += [f"layer {row['layer']}"] if row["layer"] else []
    words += ["reverse"] if row["direction"] == "reverse" else []
    return ", ".join(words)


def _ends(lower: float, upper: float) -> str:
    """Give both ends in as many digits as it takes to tell them apart."""
    ends = ""
    for digits in range(6, 18):
        low, high = number(lower, digits=digits), number(upper, digits=digits)
        ends = f"{low} to {high}"
        if low != high:
            break
    return ends
