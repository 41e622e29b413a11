"""Ando's bound of the numerical radius: every factorisation A = LB proves w(A) <= norm(LL* + B*B)/2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from spectra.checks import Matrix
from spectra.scaling import UNIT_ROUNDOFF

_MOST_STEPS = 64


def ando_bound(A: Matrix, target: float) -> float:
    """Upper bound of w(A), close to `target` where that exceeds w(A) and inf where it is below.

    Parameters
    ----------
    A : ndarray, shape (n, n)
        A matrix whose largest entry is near 1.
    target : float
        The bound hoped for, above 0.

    Returns
    -------
    float
        A bound of w(A), whatever the target; inf where none was found. It is proven but for the rounding of
        two products and of the largest eigenvalue of a Hermitian matrix.

    Notes
    -----
    For unit x, 2 |x*Ax| ≤ 2 ‖L*x‖ ‖Bx‖ + 2 ‖A − LB‖ ≤ x*(LL* + B*B)x + 2 ‖A − LB‖. With X = LL* and B = L⁻¹A
    this is a bound by the largest eigenvalue of X + A*X⁻¹A, and the least bound is w(A) itself (Ando 1973):
    X + A*X⁻¹A = 2γI has a positive definite solution X for every γ > w(A) and for no γ < w(A). It is found by
    cyclic reduction (Meini 2002), which stops at a Cholesky factorisation where there is none, and settles
    in about log₂(γ/w − 1)^(-1/2) steps of 8 n³ operations else. How accurate X is matters to how good the
    bound is, and not to whether it is one.

    References
    ----------
    T. Ando, "Structure of operators with numerical radius one", Acta Sci. Math. (Szeged) 34 (1973), 11-15.
    J. C. Engwerda, A. C. M. Ran and A. L. Rijkeboer, "Necessary and sufficient conditions for the existence
    of a positive definite solution of the matrix equation X + A*X^{-1}A = Q", Linear Algebra Appl. 186
    (1993), 255-275.
    B. Meini, "Efficient computation of the extreme solutions of X + A*X^{-1}A = Q and X - A*X^{-1}A = Q",
    Math. Comp. 71 (2002), 1189-1204.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # below w(A); Cholesky then refuses inf and NaN
            L = np.linalg.cholesky(_solution(A, target))
    except np.linalg.LinAlgError:
        return float("inf")
    B = solve_triangular(L, A, lower=True, check_finite=False)
    largest = np.linalg.eigvalsh(L @ L.conj().T + B.conj().T @ B)[-1]
    return float(largest / 2 + np.linalg.norm(A - L @ B))


def _solution(A: Matrix, target: float) -> Matrix:
    """Solve X + A*X⁻¹A = 2 target I, or raise LinAlgError where a matrix on the way is not positive."""
    R: NDArray[Any] = A
    X: NDArray[Any] = 2.0 * target * np.eye(len(A), dtype=A.dtype)
    Q = X
    for _ in range(_MOST_STEPS):
        L = np.linalg.cholesky(Q)
        right = solve_triangular(L, R, lower=True, check_finite=False)
        left = solve_triangular(L, R.conj().T, lower=True, check_finite=False)
        step = right.conj().T @ right
        X = X - step
        if np.abs(step).max() <= UNIT_ROUNDOFF * target / 8:
            break
        Q = Q - step - left.conj().T @ left
        R = left.conj().T @ right
    return X
