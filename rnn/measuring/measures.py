"""The measures of one matrix that tables hold: their names, what they mean, and their values."""

from __future__ import annotations

import dataclasses
import re

from numpy.typing import ArrayLike

from rnn.measuring.measured_matrix import FUNCTIONS, MeasuredMatrix
from spectra.checks import any_matrix, positive

EPSILON = 0.1
BASELINES = ("spectral_radius", "spectral_norm")


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """A measure by name.

    Attributes
    ----------
    name : str
        Column name, and the function of `spectra` where there is one.
    label : str
        A few words for a figure or a heading.
    definition : str
        One sentence: what it is and what it says.
    square : bool
        Whether only square matrices have it.
    studied : bool
        Whether `matrix_measures` computes it, for studies of many models; the others take longer, or are
        infinite or zero for most trained matrices.
    """

    name: str
    label: str
    definition: str
    square: bool = True
    studied: bool = True


MEASURES = (
    Measure(
        "spectral_radius",
        "spectral radius",
        "Largest modulus of an eigenvalue: how much repeated steps grow or shrink a vector in the long run.",
    ),
    Measure(
        "spectral_norm",
        "spectral norm",
        "Largest singular value ‖A‖: the most that one step can stretch a vector.",
        square=False,
    ),
    Measure(
        "spectral_abscissa",
        "spectral abscissa",
        "Largest real part of an eigenvalue: the growth rate in the long run in continuous time.",
    ),
    Measure(
        "stable_rank",
        "stable rank",
        "‖A‖_F²/‖A‖²: over how many directions the stretching is spread.",
        square=False,
    ),
    Measure(
        "henrici_departure",
        "Henrici departure",
        "(‖A‖_F² - Σ|λ|²)^½: how far A is from being normal, that is, from having orthogonal eigenvectors.",
    ),
    Measure(
        "henrici_departure_relative",
        "Henrici departure, relative",
        "Henrici's departure divided by ‖A‖_F: from 0 (normal) to 1, whatever the scale of A.",
    ),
    Measure(
        "commutator_norm",
        "commutator norm",
        "‖A*A - AA*‖_F: another measure of non-normality, in squared units.",
    ),
    Measure(
        "eigenvector_condition_number",
        "eigenvector condition number",
        "How nearly dependent the eigenvectors are: 1 for normal matrices, infinite where there are too few. "
        "A perturbation moves eigenvalues at most this many times its own norm.",
    ),
    Measure(
        "numerical_abscissa",
        "numerical abscissa",
        "Largest eigenvalue of (A + A*)/2: the fastest growth at the first moment in continuous time.",
    ),
    Measure(
        "pseudospectral_radius",
        "pseudospectral radius",
        "Largest modulus that an eigenvalue can reach when A is perturbed by a matrix of norm at most ε.",
    ),
    Measure(
        "pseudospectral_abscissa",
        "pseudospectral abscissa",
        "Largest real part that an eigenvalue can reach when A is perturbed by a matrix of norm at most ε.",
    ),
    Measure(
        "pseudospectral_sensitivity",
        "pseudospectral sensitivity",
        "(pseudospectral radius - spectral radius)/ε: 1 for normal matrices, more for others.",
    ),
    Measure(
        "condition_number",
        "condition number",
        "Largest over smallest singular value: how unevenly directions are stretched.",
        square=False,
        studied=False,
    ),
    Measure(
        "largest_eigenvalue_condition_number",
        "largest eigenvalue condition number",
        "How many times its own norm a small perturbation can move the most sensitive eigenvalue.",
        studied=False,
    ),
    Measure(
        "numerical_radius",
        "numerical radius",
        "Largest |x*Ax| over unit vectors x: between the spectral radius and the spectral norm; if it is at "
        "most 1, no power of A exceeds norm 2.",
        studied=False,
    ),
    Measure(
        "distance_to_instability",
        "distance to instability",
        "Norm of the smallest change of A that brings an eigenvalue to the boundary of stability (the unit "
        "circle; in continuous time the imaginary axis); 0 where one is outside.",
        studied=False,
    ),
    Measure(
        "kreiss_constant",
        "Kreiss constant",
        "A state can grow at least this many times before it decays; 1 where nothing need grow, infinite "
        "where the growth never ends.",
        studied=False,
    ),
    Measure(
        "singular_value_outliers",
        "singular value outliers",
        "Number of singular values beyond what a matrix of pure noise of this shape and size would have: "
        "directions that training has written into it.",
        square=False,
        studied=False,
    ),
    Measure(
        "marchenko_pastur_distance",
        "distance from the Marchenko-Pastur law",
        "Kolmogorov-Smirnov distance between the other singular values and those of pure noise: near 0 for "
        "an untrained matrix with independent entries.",
        square=False,
        studied=False,
    ),
)
LABELS = {measure.name: measure.label for measure in MEASURES}
STUDIED = tuple(measure for measure in MEASURES if measure.studied)


def column_label(column: str) -> str:
    """Give the name of a column of a table of models in words.

    Parameters
    ----------
    column : str
        Such as ``spectral_norm``, ``f_stable_rank``, ``jacobian_spectral_norm``, ``fooling_pgd_linf_0.1``.

    Returns
    -------
    str
        The words; the name itself where it follows no such pattern.

    Examples
    --------
    >>> column_label("jacobian_spectral_norm"), column_label("fooling_apgd-ce_linf_0.1")
    ('Jacobian: spectral norm', 'fooling rate, APGD-CE, L∞ 0.1')
    """
    outcome = re.fullmatch(r"(fooling|success)_([\w-]+)_(linf|l1|l2)_([\d.e+-]+)", column)
    if outcome:
        what, method, norm, budget = outcome.groups()
        return f"{what} rate, {method.upper()}, {'L∞' if norm == 'linf' else norm.upper()} {budget}"
    prefix, _, rest = column.partition("_")
    if column in LABELS or rest not in LABELS:
        return LABELS.get(column, column)
    return f"Jacobian: {LABELS[rest]}" if prefix == "jacobian" else f"gate {prefix}: {LABELS[rest]}"


def matrix_measures(A: ArrayLike, *, epsilon: float = EPSILON) -> dict[str, float]:
    """Measures of one matrix for studies of many models, by name, in the order of `STUDIED`.

    Parameters
    ----------
    A : array_like, shape (m, n)
        Real or complex matrix; a rectangular one has only norms.
    epsilon : float
        Level of the pseudospectral measures, in the units of A.

    Returns
    -------
    dict of str to float
        The values; inf where a measure is infinite, no entry where it is not defined.

    Raises
    ------
    TypeError, ValueError
        If A is no matrix of finite numbers, or `epsilon` is not positive.
    ConvergenceError
        If an iteration fails.

    Notes
    -----
    One Schur form for all; the pseudospectral measures cost several eigenproblems of twice the order.

    Examples
    --------
    >>> found = matrix_measures([[0.5, 1.0], [0.0, 0.5]])
    >>> found["spectral_radius"], round(found["pseudospectral_sensitivity"], 3)
    (0.5, 3.317)
    >>> list(matrix_measures([[3.0, 4.0]]))
    ['spectral_norm', 'stable_rank']
    """
    matrix = any_matrix(A)
    epsilon = positive(epsilon, "epsilon")
    one = MeasuredMatrix(matrix, epsilon=epsilon, dynamics="discrete")
    square = matrix.shape[0] == matrix.shape[1]
    wanted = [measure.name for measure in STUDIED if square or not measure.square]
    found = {name: one.measure(name) for name in wanted if name in FUNCTIONS}
    if square:
        reach = found["pseudospectral_radius"] - found["spectral_radius"]
        found["pseudospectral_sensitivity"] = reach / epsilon
    return {measure.name: found[measure.name] for measure in STUDIED if measure.name in found}
