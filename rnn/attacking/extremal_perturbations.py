"""The worst perturbation of a matrix: the one that moves an eigenvalue to the end of its pseudospectrum."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, non_negative, one_of
from spectra.conditioning import eigenvalue_condition_numbers
from spectra.extremes import pseudospectral_abscissa, pseudospectral_radius
from spectra.modes import pseudomode
from spectra.norms import spectral_norm
from spectra.resolvent import dense_sigma_min, norm_bound, rounding_floor
from spectra.results import Extremum, Record
from spectra.scaling import UNIT_ROUNDOFF
from spectra.schur import SchurForm, schur_form
from spectra.spectrum import spectral_abscissa, spectral_radius
from spectra.stability import DYNAMICS

Complex = NDArray[np.complex128]

_SLACK = 16.0  # times the rounding level, in `tolerance`


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PseudospectralPerturbation(Record):
    """A perturbation E of A for which A + E has an eigenvalue at the end of the ε-pseudospectrum of A.

    Below, "reach" is the spectral radius in discrete time and the spectral abscissa in continuous time.

    Attributes
    ----------
    dynamics : str
        "discrete" or "continuous".
    epsilon : float
        ε, in the units of A.
    x, y : float
        Real and imaginary part of the point z that attains the largest reach.
    before : float
        Reach of A.
    predicted : float
        The largest reach of A + E over all E of norm at most ε, complex ones too: the pseudospectral radius
        or abscissa.
    predicted_lower, predicted_upper : float
        Its interval, as `spectra.pseudospectral_radius` proves it.
    residual : float
        abs(σ_min(zI - A) - ε), what is left over at z.
    perturbation : ndarray, shape (n, n)
        E. Where a complex one is allowed, or z is real, E = ε u v* with the singular vectors of zI - A; else
        the real matrix ε [Re u, Im u] [Re v, Im v]⁺.
    norm : float
        ‖E‖₂: ε, or more for a real E and a z that is not real.
    landing : float
        Distance of the nearest computed eigenvalue of A + E from z.
    condition : float
        Condition number of that eigenvalue.
    tolerance : float
        About how far rounding and `residual` can move it, to first order: landing is below it where E does
        what it should.
    reached : float
        Reach of A + E, from computed eigenvalues; larger than `predicted` only where `norm` exceeds ε.
    scaled : ndarray, shape (n, n)
        E brought back to norm ε.
    scaled_reach : float
        Reach of A + scaled, at most `predicted`.
    """

    dynamics: str
    epsilon: float
    x: float
    y: float
    before: float
    predicted: float
    predicted_lower: float
    predicted_upper: float
    residual: float
    perturbation: Matrix
    norm: float
    landing: float
    condition: float
    tolerance: float
    reached: float
    scaled: Matrix
    scaled_reach: float

    @property
    def z(self) -> complex:
        """The point x + iy."""
        return complex(self.x, self.y)

    @property
    def lands(self) -> bool:
        """Whether an eigenvalue of A + E lies at z, as far as rounding lets one tell."""
        return self.landing <= self.tolerance

    def _check_shapes(self) -> None:
        if self.perturbation.ndim != 2 or self.perturbation.shape != self.scaled.shape:
            raise ValueError("perturbations of different orders")

    def __str__(self) -> str:
        """One line."""
        reach = "spectral radius" if self.dynamics == "discrete" else "spectral abscissa"
        return (
            f"PseudospectralPerturbation of norm {self.norm:.4g} at epsilon {self.epsilon:.4g}: {reach} "
            f"{self.before:.6g} becomes {self.reached:.6g} (predicted {self.predicted:.6g}, lands within "
            f"{self.landing:.1g}), scaled back to epsilon {self.scaled_reach:.6g}"
        )

    __repr__ = __str__


def pseudospectral_perturbation(
    A: ArrayLike | SchurForm, epsilon: float, *, dynamics: str = "discrete", real: bool = True
) -> PseudospectralPerturbation:
    """Give E of norm ε that moves an eigenvalue of A + E to the point z that attains ρ_ε(A) or α_ε(A).

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    epsilon : float
        ε >= 0, in the units of A.
    dynamics : {"discrete", "continuous"}
        Whether z is farthest from 0, for x_{k+1} = A x_k, or farthest to the right, for x' = A x.
    real : bool, optional
        Whether E must be real, as one that is added to real weights; A must be real then.

    Returns
    -------
    PseudospectralPerturbation
        E, where its eigenvalue lands, and for a real E of larger norm also what it does at norm ε.

    Raises
    ------
    TypeError
        If A is no array of numbers, or complex while `real` is True, or epsilon no real number.
    ValueError
        If A is not square, is empty or holds NaN or inf, epsilon is negative or not finite, or `dynamics` is
        none of its words.
    ConvergenceError
        If the search for the point, or an iteration of LAPACK, does not settle.

    Notes
    -----
    With (zI - A) v = ε u and u* (zI - A) = ε v*, E = ε u v* gives (A + E) v = z v. No E of norm ε leads
    farther than z, which is as certain as the upper end of `spectra.pseudospectral_radius`.

    For real A and a z that is not real this E is complex. The real ε [Re u, Im u] [Re v, Im v]⁺ maps v to
    ε u too, at the price of a larger norm, which grows without bound as v comes near a real vector; brought
    back to norm ε it is an admissible perturbation, and a strong one, but not proven to be the worst real
    one. Where a real point reaches as far as any other, that is taken, so that nothing is lost.

    One search for the point, about 40 n³ operations for the vectors, and three sets of eigenvalues.

    References
    ----------
    L. N. Trefethen and M. Embree, Spectra and Pseudospectra, Princeton University Press, 2005.

    Examples
    --------
    For [[0, 1], [0, 0]] the radius is √(ε (1 + ε)):

    >>> from rnn.attacking.extremal_perturbations import pseudospectral_perturbation
    >>> found = pseudospectral_perturbation([[0.0, 1.0], [0.0, 0.0]], 0.125)
    >>> round(found.reached, 12), round(found.norm, 12), found.lands
    (0.375, 0.125, True)
    """
    epsilon = non_negative(epsilon, "epsilon")
    dynamics = one_of(dynamics, "dynamics", DYNAMICS)
    discrete = dynamics == "discrete"
    form = schur_form(A)
    if real and form.A.dtype != np.float64:
        raise TypeError("A is complex; pass real=False for a complex perturbation, or a real matrix")
    found = (pseudospectral_radius if discrete else pseudospectral_abscissa)(form, epsilon)
    reach = spectral_radius if discrete else spectral_abscissa
    z = _point(form, epsilon, found, discrete, real=real)
    mode = pseudomode(form, z)
    E = _perturbation(mode.left_vector, mode.vector, epsilon, real=real)
    norm = spectral_norm(E)
    moved = schur_form(form.A + E)
    distances = np.abs(moved.eigenvalues - z)
    condition = float(eigenvalue_condition_numbers(moved)[distances.argmin()])
    residual = abs(mode.sigma - epsilon)
    scaled = E if norm <= epsilon else E * (epsilon / norm)
    return PseudospectralPerturbation(
        dynamics=dynamics,
        epsilon=epsilon,
        x=z.real,
        y=z.imag,
        before=reach(form),
        predicted=found.value,
        predicted_lower=found.lower,
        predicted_upper=found.upper,
        residual=residual,
        perturbation=E,
        norm=norm,
        landing=float(distances.min()),
        condition=condition,
        tolerance=condition * (residual + _SLACK * form.n * UNIT_ROUNDOFF * (norm_bound(form) + norm)),
        reached=reach(moved),
        scaled=scaled,
        scaled_reach=reach(form.A + scaled),
    )


def _point(form: SchurForm, epsilon: float, found: Extremum, discrete: bool, *, real: bool) -> complex:
    """Give the point that attains the reach: for a real perturbation a real one, where it reaches as far."""
    candidates = [complex(point) for point in found.points]
    if real:
        ends = (found.value, -found.value) if discrete else (found.value,)
        noise = max(found.residual, rounding_floor(form, abs(found.value)))
        attained = [complex(end) for end in ends if dense_sigma_min(form, complex(end)) <= epsilon + noise]
        candidates = attained + candidates
    return candidates[0]


def _perturbation(u: Complex, v: Complex, epsilon: float, *, real: bool) -> Matrix:
    """Give E with E v = ε u: of norm ε, or real."""
    if not real:
        return np.asarray(epsilon * np.outer(u, v.conj()))
    images, vectors = (np.column_stack([part.real, part.imag]) for part in (u, v))
    inverse = np.linalg.pinv(vectors, rcond=len(v) * UNIT_ROUNDOFF)
    return np.asarray(epsilon * (images @ inverse))
