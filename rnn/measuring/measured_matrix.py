"""One matrix to be measured by names of measures, with one Schur form for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import NDArray

from spectra.conditioning import eigenvalue_condition_numbers
from spectra.extremes import pseudospectral_abscissa, pseudospectral_radius
from spectra.field_of_values import numerical_abscissa, numerical_radius
from spectra.nonnormality import commutator_norm, eigenvector_condition_number, henrici_departure
from spectra.norms import condition_number, spectral_norm, stable_rank
from spectra.schur import SchurForm, schur_form
from spectra.spectrum import spectral_abscissa, spectral_radius
from spectra.stability import distance_to_instability, kreiss_constant


class MeasuredMatrix:
    """A square matrix whose Schur form is computed when the first measure asks for it.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
        The matrix.
    epsilon : float
        Level of the pseudospectral measures.
    dynamics : {"discrete", "continuous"}
        For the distance to instability and the Kreiss constant.
    """

    def __init__(self, matrix: NDArray[Any], *, epsilon: float, dynamics: str) -> None:
        self.matrix, self.epsilon, self.dynamics = matrix, epsilon, dynamics
        self._form: SchurForm | None = None

    @property
    def form(self) -> SchurForm:
        """The Schur form."""
        if self._form is None:  # no cached_property: in Python 3.11 its lock lets one matrix at a time pass
            self._form = schur_form(self.matrix)
        return self._form

    def measure(self, name: str) -> float:
        """Give the value of one measure.

        Parameters
        ----------
        name : str
            A key of `FUNCTIONS`.

        Returns
        -------
        float
            The value; inf where it is infinite.
        """
        return float(FUNCTIONS[name](self))


FUNCTIONS: dict[str, Callable[[MeasuredMatrix], Any]] = {
    "spectral_radius": lambda it: spectral_radius(it.form),
    "spectral_norm": lambda it: spectral_norm(it.matrix),
    "spectral_abscissa": lambda it: spectral_abscissa(it.form),
    "stable_rank": lambda it: stable_rank(it.matrix),
    "condition_number": lambda it: condition_number(it.matrix),
    "henrici_departure": lambda it: henrici_departure(it.form),
    "henrici_departure_relative": lambda it: henrici_departure(it.form, relative=True),
    "commutator_norm": lambda it: commutator_norm(it.form),
    "eigenvector_condition_number": lambda it: eigenvector_condition_number(it.form),
    "largest_eigenvalue_condition_number": lambda it: eigenvalue_condition_numbers(it.form).max(),
    "numerical_abscissa": lambda it: numerical_abscissa(it.form),
    "numerical_radius": lambda it: numerical_radius(it.form),
    "pseudospectral_radius": lambda it: pseudospectral_radius(it.form, it.epsilon),
    "pseudospectral_abscissa": lambda it: pseudospectral_abscissa(it.form, it.epsilon),
    "distance_to_instability": lambda it: distance_to_instability(it.form, dynamics=it.dynamics),
    "kreiss_constant": lambda it: kreiss_constant(it.form, dynamics=it.dynamics),
}


def checked_measures(names: Iterable[str]) -> list[str]:
    """Give names of measures, each once.

    Parameters
    ----------
    names : iterable of str
        Keys of `FUNCTIONS`.

    Returns
    -------
    list of str
        In the order given.

    Raises
    ------
    TypeError
        If it is one string.
    ValueError
        If one is unknown, or there is none.
    """
    if isinstance(names, str):
        raise TypeError(f"measures is {names!r}; expected several names: [{names!r}]")
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in FUNCTIONS:
            raise ValueError(f"measures holds {name!r}; expected some of {', '.join(FUNCTIONS)}")
    if not wanted:
        raise ValueError(f"measures is empty; expected some of {', '.join(FUNCTIONS)}")
    return wanted
