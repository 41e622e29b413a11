"""The field of values (numerical range) {x*Ax : ‖x‖ = 1} and what can be read off it."""

from __future__ import annotations

import dataclasses
from warnings import warn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, positive, whole_number
from spectra.errors import AccuracyWarning
from spectra.outermost import outermost_point
from spectra.results import Extremum, Record
from spectra.scaling import refuse_overflow, rescaled, unit_scaled
from spectra.schur import SchurForm, matrix_of, schur_form
from spectra.supporting_lines import Floats, Lines, Points, first_lines, more_lines
from spectra.threads import one_blas_thread


def numerical_abscissa(A: ArrayLike | SchurForm) -> float:
    """Numerical abscissa ω(A) = max Re x*Ax over unit vectors x, the largest eigenvalue of (A + A*)/2.

    It is the growth rate of ‖exp(tA)‖₂ at t = 0, and α(A) ≤ ω(A) ≤ ‖A‖₂.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    float
        ω(A) in the units of A; ±inf where it exceeds the largest float.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf.

    Notes
    -----
    LAPACK ``heevd`` on the Hermitian part, 4/3 n³ operations; the absolute error is of the order of n u ‖A‖₂.

    Examples
    --------
    >>> from spectra import numerical_abscissa
    >>> numerical_abscissa([[0.0, 1.0], [0.0, 0.0]])
    0.5
    """
    matrix, scale = unit_scaled(matrix_of(A))
    return float(np.linalg.eigvalsh((matrix + matrix.conj().T) / 2)[-1]) * scale


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class NumericalRange(Record):
    """The numerical range W(A), a convex set, between two polygons.

    Attributes
    ----------
    angles : ndarray, shape (m,)
        Directions θ of outward normals e^{iθ}, rising from 0 and below 2π.
    support : ndarray, shape (m,)
        Support function h(θ) = max Re(e^{-iθ} z) over W(A), the largest eigenvalue of
        (e^{-iθ} A + e^{iθ} A*)/2.
    inner : ndarray of complex, shape (m,)
        Points x*Ax where the supporting lines touch W(A), counterclockwise: their polygon lies inside.
    outer : ndarray of complex, shape (m,)
        Where each supporting line meets the next one: W(A) lies inside this polygon.
    eigenvalues : ndarray of complex, shape (n,)
        Eigenvalues of A, which lie in W(A).
    gap : float
        No point of the outer polygon is farther than this from the inner one.
    floor : float
        Rounding of `support`, `inner` and `outer`: they belong to matrices that differ from A by about this.
    """

    angles: Floats
    support: Floats
    inner: Points
    outer: Points
    eigenvalues: NDArray[np.complex128]
    gap: float
    floor: float

    def _check_shapes(self) -> None:
        fields = (self.angles, self.support, self.inner, self.outer)
        if self.angles.ndim != 1 or any(field.shape != self.angles.shape for field in fields):
            raise ValueError("angles, support, inner and outer of different shapes")

    def __str__(self) -> str:
        """One line."""
        x, y = self.inner.real, self.inner.imag + 0.0
        return (
            f"Numerical range of order {len(self.eigenvalues)}: {len(self.angles)} angles, real parts "
            f"{x.min():.6g} to {x.max():.6g}, imaginary {y.min():.6g} to {y.max():.6g}, gap {self.gap:.1g}"
        )

    def __repr__(self) -> str:
        """One line with the class."""
        return f"NumericalRange({self})"


def numerical_range(A: ArrayLike | SchurForm, *, rtol: float = 1e-3, angles: int = 1000) -> NumericalRange:
    """Numerical range W(A) = {x*Ax : ‖x‖₂ = 1}, a convex set that contains the eigenvalues, by two polygons.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.
    rtol : float, default 1e-3
        The Hausdorff distance of the polygons wanted, relative to half the diameter of W(A) (at most ‖A‖₂).
    angles : int, default 1000
        The most directions to use, at least 4.

    Returns
    -------
    NumericalRange
        A polygon inside and one around W(A), in the units of A.

    Raises
    ------
    TypeError
        If A is no array of numbers, or an option of another type.
    ValueError
        If A is not square, is empty, holds NaN or inf or reaches the largest floats, or an option is out of
        range.
    ConvergenceError
        If an eigenvalue iteration of LAPACK fails.

    Warns
    -----
    AccuracyWarning
        If that many directions do not bring the polygons together; the `gap` is right all the same.

    Notes
    -----
    Johnson's (1978) method: for each direction the largest eigenpair of a Hermitian matrix, about 16/3 n³
    operations. A new direction is normal to an edge of the inner polygon that is far from its corner of
    the outer one, so that flat parts and corners take few directions, and the polygon of a normal matrix
    comes out to rounding. A smooth boundary takes some 4 rtol^(-1/2) directions, and for a real matrix half
    of them are mirror images. The inclusions hold up to `floor`, n u times a bound of ‖A‖₂.

    References
    ----------
    C. R. Johnson, "Numerical determination of the field of values of a general complex matrix", SIAM J.
    Numer. Anal. 15 (1978), 595-602.

    Examples
    --------
    >>> from spectra import numerical_range
    >>> W = numerical_range([[0.0, 2.0], [0.0, 0.0]])  # the unit disc
    >>> bool(abs(W.support - 1.0).max() < 1e-15), W.gap < 1e-3
    (True, True)
    """
    rtol = positive(rtol, "rtol")
    most = whole_number(angles, "angles", least=4)
    form = schur_form(A)
    matrix, scale = unit_scaled(form.A)
    with one_blas_thread():
        lines = _sandwich(matrix, rtol, most)
    gap, outer, floor = float(lines.gaps().max()), lines.corners(), lines.floor(form.n)
    refuse_overflow(float(np.abs(outer).max()) * scale, "the entries of A")
    turns, support, inner = lines.angles[:-1], lines.support[:-1], lines.points[:-1]
    if form.is_real:  # the lower half is the mirror image
        turns = np.append(turns, 2 * np.pi - lines.angles[:0:-1])
        support = np.append(support, lines.support[:0:-1])
        inner = np.append(inner, lines.points[:0:-1].conj())
        outer = np.append(outer, outer[::-1].conj())
    return NumericalRange(
        angles=turns,
        support=support * scale,
        inner=rescaled(inner, scale),
        outer=rescaled(outer, scale),
        eigenvalues=form.eigenvalues,
        gap=gap * scale,
        floor=floor * scale,
    )


def _sandwich(A: Matrix, rtol: float, most: int) -> Lines:
    """Add supporting lines parallel to edges of the inner polygon until each corner is near its edge."""
    lines = first_lines(A)
    room = most // 2 + 1 if A.dtype == np.float64 else most + 1  # the last line is at pi, or the first again
    while True:
        gaps = lines.gaps()
        wide = np.flatnonzero(gaps > max(rtol * lines.size, 2 * lines.floor(len(A))))
        if len(wide) == 0:
            return lines
        if len(lines.angles) >= room:
            warn(
                f"{most} angles leave the polygons {gaps.max() / lines.size:.1g} of half its diameter apart "
                f"where rtol = {rtol:.1g} was asked for: raise one of them",
                AccuracyWarning,
                stacklevel=3,
            )
            return lines
        wide = wide[np.argsort(-gaps[wide], kind="stable")[: room - len(lines.angles)]]
        step = np.diff(lines.angles)[wide]
        normal = np.angle(-1j * np.diff(lines.points)[wide] * np.exp(-1j * lines.angles[wide]))
        normal = np.where((normal > 0) & (normal < step), normal, step / 2)
        lines = more_lines(A, lines, lines.angles[wide] + normal)


def numerical_radius(A: ArrayLike | SchurForm) -> Extremum:
    """Numerical radius w(A) = max abs(z) over the numerical range, with a proof from both sides.

    It satisfies ρ(A) ≤ w(A) ≤ ‖A‖₂ ≤ 2 w(A) and w(A^k) ≤ w(A)^k.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real or complex matrix.

    Returns
    -------
    Extremum
        w(A) in the units of A; `points` holds a point of W(A) with that modulus, for real A both of a
        conjugate pair; `residual` is the norm of (e^{-iθ} A + e^{iθ} A*)x/2 - w x with x the unit vector that
        gives the point x*Ax, and θ its argument: 0 where the modulus is stationary; `steps` counts
        the bounds from above that were tried. What exceeds the largest float is inf.

    Raises
    ------
    TypeError
        If A is no array of numbers.
    ValueError
        If A is not square, is empty, or holds NaN or inf.
    ConvergenceError
        If an eigenvalue iteration of LAPACK fails.

    Notes
    -----
    `lower` is attained by the point. `upper` is Ando's bound, 2 abs(x*Ax) ≤ x*(LL* + B*B)x where A = LB, for
    a factorisation found by cyclic reduction; or the farthest corner of supporting lines, or ‖A‖₂, where they
    are as good. All are proven but for rounding, for which they are widened by n u ‖A‖₂. The interval is
    about 1e-12 w(A) wide, wider where a nearly unitary A spoils the factorisation.

    Supporting lines are put across the farthest corner so far (Uhlig 2009), and the best arcs searched for a
    maximum. Where Ando's bound fails just above it there may be more: the arcs of angles whose support is
    larger end at eigenvalues of a pencil of order 2n (Mengi and Overton 2005).

    Cost: 25 to 60 largest eigenpairs of Hermitian matrices of order n and 25 steps of 8 n³ operations, at
    n = 256 together 1.1 to 1.5 times the eigenvalues of one matrix of order 2n. QZ for the pencil takes about
    three times that; it is needed where nearly circular or nearly unitary matrices hide their maximum.

    References
    ----------
    T. Ando, "Structure of operators with numerical radius one", Acta Sci. Math. (Szeged) 34 (1973), 11-15.
    F. Uhlig, "Geometric computation of the numerical radius of a matrix", Numer. Algorithms 52 (2009),
    335-353.
    E. Mengi and M. L. Overton, "Algorithms for the computation of the pseudospectral radius and the numerical
    radius of a matrix", IMA J. Numer. Anal. 25 (2005), 648-669.

    Examples
    --------
    >>> from spectra import gallery, numerical_radius
    >>> found = numerical_radius(gallery.jordan_block(5))  # cos(pi / 6)
    >>> round(found.value, 12), found.upper - found.lower < 1e-12
    (0.866025403784, True)
    """
    matrix, scale = unit_scaled(matrix_of(A))
    with one_blas_thread():
        if isinstance(A, SchurForm):
            found = A.once("outermost_point", lambda: outermost_point(matrix))
        else:
            found = outermost_point(matrix)
    return dataclasses.replace(
        found,
        value=found.value * scale,
        lower=found.lower * scale,
        upper=found.upper * scale,
        points=rescaled(found.points, scale),
        residual=found.residual * scale,
    )
