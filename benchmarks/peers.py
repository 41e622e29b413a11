"""What the grid is measured against, written as well as NumPy and SciPy allow."""

import numpy as np
import scipy.linalg
from scipy.linalg.blas import ztrsv
from scipy.linalg.lapack import dstev


def svd_loop(A, points):
    """One dense SVD a point."""
    eye = np.eye(len(A))
    return np.array([np.linalg.svd(z * eye - A, compute_uv=False)[-1] for z in points])


class InverseLanczos:
    """One complex Schur form, then inverse Lanczos point by point, two solves with it a step (Lui 1997)."""

    def __init__(self, A):
        T = scipy.linalg.schur(A.astype(complex), output="complex")[0]
        self.T, self.n = np.asfortranarray(T), len(A)
        self.diagonal = np.einsum("ii->i", self.T)
        self.eigenvalues = self.diagonal.copy()
        start = np.random.default_rng(0).standard_normal((2, self.n))
        self.start = (start[0] + 1j * start[1]) / np.linalg.norm(start)

    def sigma_min(self, z, tolerance=1e-6):
        np.subtract(self.eigenvalues, z, out=self.diagonal)  # T - zI has the same singular values
        alpha, beta = [], []
        previous, q = np.zeros(self.n, dtype=complex), self.start
        for _ in range(self.n):
            v = ztrsv(self.T, ztrsv(self.T, q, trans=2), overwrite_x=1)
            alpha.append(np.vdot(q, v).real)
            if not alpha[-1] < 1e150:  # sigma below 1e-75: its square would overflow next
                return 0.0
            v -= alpha[-1] * q
            if beta:
                v -= beta[-1] * previous
            theta, s, _ = dstev(alpha, beta or [0.0])
            size = np.sqrt(np.vdot(v, v).real)
            if size * abs(s[-1, -1]) <= tolerance * theta[-1]:
                break
            beta.append(size)
            previous, q = q, v / size
        return 1 / np.sqrt(theta[-1])

    def __call__(self, points):
        return np.array([self.sigma_min(z) for z in points])
