"""Two matrices to learn by: the same eigenvalues, one normal and one not."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from rnn.pages.detail_figures import portrait_png
from rnn.pages.matrix_words import number
from rnn.report import Picture, prose
from spectra.pseudospectra import pseudospectrum
from spectra.stability import distance_to_instability
from spectra.transients import transient_growth

LEVELS = (0.01, 0.03, 0.1, 0.3)
POINT = 1.1 + 0.3j  # outside the unit circle, and an eigenvalue after a change of norm 0.1
_EIGENVALUES = (0.75, 0.45, 0.15, -0.15, -0.45, -0.75)
_COUPLING = 0.9
_REGION = (-1.8, 1.8, -1.5, 1.5)
_SHAPE = (101, 121)  # the eigenvalues are points of the grid, so that no level is missed
_REMARKS = (
    ("1  an eigenvalue", _EIGENVALUES[-1] + 0j, -1.7 + 1.35j),
    ("2  the unit circle", complex(np.exp(-0.75j * np.pi)), -1.7 - 1.35j),
    ("3  outside, and reached by\n    a change of norm 0.1", POINT, 0.3 + 1.33j),
)


def example_matrix(*, coupling: float = _COUPLING) -> NDArray[np.float64]:
    """Matrix of order 6 to learn by, with eigenvalues ±0.15, ±0.45, ±0.75.

    Parameters
    ----------
    coupling : float
        Its entries on the two diagonals above the main one; 0 makes it normal.

    Returns
    -------
    ndarray, shape (6, 6)
        An upper triangular matrix.
    """
    n = len(_EIGENVALUES)
    return np.diag(_EIGENVALUES) + coupling * (np.eye(n, k=1) + np.eye(n, k=2))


@functools.cache
def examples() -> tuple[Picture, Picture]:
    """Draw the portraits of both matrices, and say in words what they teach.

    Returns
    -------
    (Picture, Picture)
        The normal matrix, and the other with remarks.
    """
    normal, other = example_matrix(coupling=0.0), example_matrix()
    portraits = [pseudospectrum(A, region=_REGION, shape=_SHAPE, epsilons=LEVELS) for A in (normal, other)]
    far = number(distance_to_instability(normal, dynamics="discrete").value, digits=2)
    near = number(distance_to_instability(other, dynamics="discrete").value, digits=2)
    growth = transient_growth(other, 30, dynamics="discrete")
    levels = ", ".join(f"{level:g}" for level in LEVELS)
    both = f"Eigenvalues ±0.15, ±0.45 and ±0.75; contours ε = {levels}; dashed the unit circle."
    return (
        Picture(
            "A normal matrix",
            prose(f"""
                Eigenvalues move at most as far as the perturbation is large: every contour is made of circles
                around them. No perturbation of norm below {far} brings one to the unit circle.
            """),
            f"{both} The contours are circles of radius ε around the eigenvalues.",
            portrait_png(portraits[0]),
        ),
        Picture(
            "Not normal, same eigenvalues",
            prose(f"""
                A perturbation of norm {near} brings an eigenvalue to the unit circle, and without any a
                vector can grow to {number(growth.peak, digits=2)} times its length, at step
                {number(growth.peak_time)}, before it shrinks. The eigenvalues alone say nothing of this.
            """),
            prose(f"""
                {both} The contour ε = 0.1 encloses all eigenvalues and reaches beyond the unit circle on the
                right. Arrows point at an eigenvalue (1), at the unit circle (2), and at a point outside it
                but within that contour (3).
            """),
            portrait_png(portraits[1], _REMARKS),
        ),
    )
