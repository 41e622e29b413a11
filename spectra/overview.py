"""All scalar measures of one matrix at once, from one Schur form."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import callback, one_of, positive
from spectra.conditioning import eigenvalue_condition_numbers
from spectra.extremes import pseudospectral_abscissa, pseudospectral_radius
from spectra.field_of_values import numerical_abscissa, numerical_radius
from spectra.nonnormality import commutator_norm, eigenvector_condition_number, henrici_departure
from spectra.norms import condition_number, spectral_norm, stable_rank
from spectra.results import Extremum, Record
from spectra.schur import SchurForm, schur_form
from spectra.spectrum import spectral_abscissa, spectral_radius
from spectra.stability import DYNAMICS, distance_to_instability, kreiss_constant
from spectra.threads import Progress

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Measures(Record):
    """Scalar measures of one matrix by name; ``measures["spectral_radius"]`` is a number.

    Attributes
    ----------
    names : ndarray of str
        What was measured: names of functions of this package.
    values : ndarray
        The numbers.
    lower, upper : ndarray
        The interval of each; direct formulas have none but their value.
    seconds : ndarray
        Time each of them took, the Schur form not counted.
    schur_seconds : float
        Time for the Schur form, which all share.
    order : int
        Order of the matrix.
    dynamics : str
        "discrete" or "continuous".
    epsilon : float
        Level of the pseudospectral measures.
    """

    names: NDArray[np.str_]
    values: Floats
    lower: Floats
    upper: Floats
    seconds: Floats
    schur_seconds: float
    order: int
    dynamics: str
    epsilon: float

    def _check_shapes(self) -> None:
        fields = (self.values, self.lower, self.upper, self.seconds)
        if self.names.ndim != 1 or any(field.shape != self.names.shape for field in fields):
            raise ValueError("numbers of another count than names")

    def __getitem__(self, name: str) -> float:
        """Give the number of one measure."""
        found = np.flatnonzero(self.names == name)
        if len(found) == 0:
            raise KeyError(f"{name!r} was not measured; known are {', '.join(map(str, self.names))}")
        return float(self.values[found[0]])

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return map(str, self.names)

    def __len__(self) -> int:
        """Count the measures."""
        return len(self.names)

    def __str__(self) -> str:
        """One line."""
        total = self.schur_seconds + float(self.seconds.sum())
        return f"{len(self)} measures of a matrix of order {self.order}, {self.dynamics}, in {total:.2g} s"

    __repr__ = __str__

    def _rows(self) -> list[tuple[str, str]]:
        rows = []
        for name, value, low, high in zip(self.names, self.values, self.lower, self.upper, strict=True):
            interval = f" in [{low:.8g}, {high:.8g}]" if low < high else ""
            rows.append((str(name), f"{value:.8g}{interval}"))
        return rows


def measures(
    A: ArrayLike | SchurForm,
    *,
    dynamics: str,
    epsilon: float = 1e-2,
    progress: Progress | None = None,
) -> Measures:
    """Scalar measures of a square matrix, all at once: size, growth, stability, non-normality.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    dynamics : {"discrete", "continuous"}
        x_{k+1} = A x_k, measured against the unit disc, or x' = A x, against the left half-plane.
    epsilon : float
        Level ε > 0 of the pseudospectral measures, in the units of A.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of measures.

    Returns
    -------
    Measures
        Values, intervals and times.

    Raises
    ------
    TypeError
        If A is no array of numbers, or an option is of the wrong type.
    ValueError
        If A is not square, is empty or holds NaN or inf, `dynamics` is unknown or `epsilon` out of range.
    ConvergenceError
        If one of the searches does not settle.

    Notes
    -----
    Each measure is the function of its name, with its certificate; one Schur form serves all.

    Examples
    --------
    >>> from spectra import measures
    >>> found = measures([[0.5, 1.0], [0.0, 0.5]], dynamics="discrete")
    >>> found["spectral_radius"], found["henrici_departure"]
    (0.5, 1.0)
    """
    callback(progress)
    dynamics = one_of(dynamics, "dynamics", DYNAMICS)
    epsilon = positive(epsilon, "epsilon")
    start = time.perf_counter()
    form = schur_form(A)
    schur_seconds = time.perf_counter() - start
    wanted = _wanted(form, dynamics, epsilon)
    rows = np.zeros((4, len(wanted)))
    for done, compute in enumerate(wanted.values()):
        start = time.perf_counter()
        found = compute()
        ends = (found.value, found.lower, found.upper) if isinstance(found, Extremum) else (found,) * 3
        rows[:, done] = (*ends, time.perf_counter() - start)
        if progress is not None:
            progress(done + 1, len(wanted))
    values, lower, upper, seconds = rows
    return Measures(
        names=np.array(list(wanted)),
        values=values,
        lower=lower,
        upper=upper,
        seconds=seconds,
        schur_seconds=schur_seconds,
        order=form.n,
        dynamics=dynamics,
        epsilon=epsilon,
    )


def _wanted(form: SchurForm, dynamics: str, epsilon: float) -> dict[str, Callable[[], float | Extremum]]:
    return {
        "spectral_radius": lambda: spectral_radius(form),
        "spectral_abscissa": lambda: spectral_abscissa(form),
        "spectral_norm": lambda: spectral_norm(form),
        "condition_number": lambda: condition_number(form),
        "stable_rank": lambda: stable_rank(form),
        "henrici_departure": lambda: henrici_departure(form),
        "henrici_departure_relative": lambda: henrici_departure(form, relative=True),
        "commutator_norm": lambda: commutator_norm(form),
        "eigenvector_condition_number": lambda: eigenvector_condition_number(form),
        "largest_eigenvalue_condition_number": lambda: float(eigenvalue_condition_numbers(form).max()),
        "numerical_abscissa": lambda: numerical_abscissa(form),
        "numerical_radius": lambda: numerical_radius(form),
        "pseudospectral_radius": lambda: pseudospectral_radius(form, epsilon),
        "pseudospectral_abscissa": lambda: pseudospectral_abscissa(form, epsilon),
        "distance_to_instability": lambda: distance_to_instability(form, dynamics=dynamics),
        "kreiss_constant": lambda: kreiss_constant(form, dynamics=dynamics),
    }
