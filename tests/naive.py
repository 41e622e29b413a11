"""Textbook definitions, at most ten lines each, that the package is measured against; no import of it."""

import numpy as np
import scipy.integrate
import scipy.linalg
import scipy.optimize
from numpy.typing import ArrayLike, NDArray


def eigenvalues(A: ArrayLike) -> NDArray[np.complex128]:
    return np.linalg.eigvals(np.asarray(A)).astype(complex)


def spectral_radius(A: ArrayLike) -> float:
    return float(np.abs(eigenvalues(A)).max())


def spectral_abscissa(A: ArrayLike) -> float:
    return float(eigenvalues(A).real.max())


def spectral_norm(A: ArrayLike) -> float:
    A = np.asarray(A)
    return float(np.sqrt(np.linalg.eigvalsh(A.conj().T @ A)[-1]))


def frobenius_norm(A: ArrayLike) -> float:
    return float(np.sqrt((np.abs(A) ** 2).sum()))


def stable_rank(A: ArrayLike) -> float:
    return (frobenius_norm(A) / spectral_norm(A)) ** 2


def sigma_min(A: ArrayLike, z: complex) -> float:
    A = np.asarray(A)
    return float(np.linalg.svd(z * np.eye(len(A)) - A, compute_uv=False)[-1])


def sigma_min_grid(A: ArrayLike, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    return np.array([[sigma_min(A, complex(re, im)) for re in np.asarray(x)] for im in np.asarray(y)])


def resolvent_norm(A: ArrayLike, z: complex) -> float:
    A = np.asarray(A)
    return spectral_norm(np.linalg.inv(z * np.eye(len(A)) - A))


def henrici_departure(A: ArrayLike) -> float:
    T = scipy.linalg.schur(np.asarray(A), output="complex")[0]
    return float(np.linalg.norm(np.triu(T, 1)))


def henrici_formula(A: ArrayLike) -> float:
    return float(np.sqrt(frobenius_norm(A) ** 2 - (np.abs(eigenvalues(A)) ** 2).sum()))


def commutator_norm(A: ArrayLike) -> float:
    A = np.asarray(A)
    return frobenius_norm(A.conj().T @ A - A @ A.conj().T)


def eigenvector_condition_number(A: ArrayLike) -> float:
    V = np.linalg.eig(np.asarray(A))[1]
    return float(np.linalg.norm(V, 2) * np.linalg.norm(np.linalg.inv(V), 2))


def numerical_abscissa(A: ArrayLike) -> float:
    A = np.asarray(A)
    return float(np.linalg.eigvals((A + A.conj().T) / 2).real.max())


def noise_floor(A: ArrayLike, z: complex = 0.0) -> float:
    """Where rounding alone, n u norm(zI - A), hides a singular value of zI - A."""
    A = np.asarray(A)
    return len(A) * 2.0**-53 * float(np.linalg.norm(z * np.eye(len(A)) - A, 2))


def eigenvalue_condition_numbers(A: ArrayLike) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """With the eigenvalues that they belong to: rows of the inverse are left eigenvectors."""
    values, V = np.linalg.eig(np.asarray(A))
    return values, np.linalg.norm(V, axis=0) * np.linalg.norm(np.linalg.inv(V), axis=1)


def distance_to_normality(A: ArrayLike, starts: int = 10) -> float:
    """The least norm of what is off the diagonal in a unitary basis, by descent from random bases."""
    A, n, rng = np.asarray(A), len(A), np.random.default_rng(0)

    def off_diagonal(x: NDArray[np.float64]) -> float:
        Q = scipy.linalg.qr((x[: n * n] + 1j * x[n * n :]).reshape(n, n))[0]
        B = Q.conj().T @ A @ Q
        return float((np.abs(B - np.diag(np.diag(B))) ** 2).sum())

    found = [scipy.optimize.minimize(off_diagonal, rng.normal(size=2 * n * n)).fun for _ in range(starts)]
    return float(np.sqrt(min(found)))


def convolution_matrix(kernel: ArrayLike, shape: tuple[int, ...], padding: str, stride: int = 1) -> NDArray:
    """Rows: outputs; columns: inputs; both in C order, as torch with padding "same" and a stride."""
    K = np.asarray(kernel)
    C = np.zeros((K.shape[0], *(-(-n // stride) for n in shape), K.shape[1], *shape), dtype=K.dtype)
    for t in np.ndindex(C.shape[1 : 1 + len(shape)]):
        for k in np.ndindex(K.shape[2:]):
            x = [stride * a + b - (w - 1) // 2 for a, b, w in zip(t, k, K.shape[2:], strict=True)]
            if padding == "circular" or all(0 <= a < n for a, n in zip(x, shape, strict=True)):
                C[:, *t, :, *(a % n for a, n in zip(x, shape, strict=True))] += K[:, :, *k]
    return C.reshape(-1, K.shape[1] * int(np.prod(shape)))


def power_law(sample: ArrayLike) -> tuple[float, float, float]:
    """Exponent, start and Kolmogorov-Smirnov distance of the tail, by Clauset, Shalizi and Newman's plfit."""
    x, found = np.sort(np.asarray(sample)), []
    for xmin in np.unique(x)[:-1]:
        z = x[x >= xmin]
        alpha = 1 + len(z) / np.log(z / xmin).sum()
        gaps = np.abs(1 - (xmin / z) ** (alpha - 1) - np.arange(len(z)) / len(z))
        found.append((float(gaps.max()), float(alpha), float(xmin)))
    distance, alpha, xmin = min(found)
    return alpha, xmin, distance


def marchenko_pastur_distribution(x: float, y: float) -> float:
    """By integration of the density, for variance 1."""
    a, b = (1 - y**0.5) ** 2, (1 + y**0.5) ** 2

    def rate(angle: float) -> float:
        t = a + (b - a) * np.sin(angle / 2) ** 2
        return (b - a) ** 2 * np.sin(angle) ** 2 / (8 * np.pi * y * t) if t > 0 else 0.0

    end = 2 * np.arcsin(np.sqrt(np.clip((x - a) / (b - a), 0, 1)))
    return float(scipy.integrate.quad(rate, 0, end, epsabs=1e-12)[0])


def condition_number(A: ArrayLike) -> float:
    singular = np.linalg.svd(np.asarray(A), compute_uv=False)
    return float(singular[0] / singular[-1])


def sigma_min_of_pencil(A: ArrayLike, B: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
    """At each z; the matrices may have more rows than columns."""
    A, B = np.asarray(A), np.asarray(B)
    return np.array([np.linalg.svd(at * B - A, compute_uv=False)[-1] for at in np.ravel(z)])


def real_distance(A: ArrayLike, z: complex) -> float:
    """Qiu et al. (1995): the inverse of the infimum over gamma of a second largest singular value."""
    if z.imag == 0:
        return sigma_min(A, z)
    M = np.linalg.inv(z * np.eye(len(np.asarray(A))) - np.asarray(A))
    scaled = lambda g: np.block([[M.real, -g * M.imag], [M.imag / g, M.real]])  # noqa: E731
    second = lambda s: np.linalg.svd(scaled(np.exp(s)), compute_uv=False)[1]  # noqa: E731
    samples = np.linspace(-15, 0, 121)
    i = int(np.argmin([second(s) for s in samples]))
    bounds = samples[max(i - 1, 0)], samples[min(i + 1, 120)]
    return 1 / float(
        min(scipy.optimize.minimize_scalar(second, bounds=bounds, method="bounded").fun, second(0))
    )


def power_norms(A: ArrayLike, times: ArrayLike) -> NDArray[np.float64]:
    powers = [np.linalg.matrix_power(np.asarray(A), int(k)) for k in np.asarray(times)]
    return np.array([np.linalg.norm(P, 2) for P in powers])


def exponential_norms(A: ArrayLike, times: ArrayLike) -> NDArray[np.float64]:
    return np.array([np.linalg.norm(scipy.linalg.expm(t * np.asarray(A)), 2) for t in np.asarray(times)])


def supports(A: ArrayLike, angles: ArrayLike) -> NDArray[np.float64]:
    """At each angle, the largest real part over the numerical range of A turned back by it."""
    return np.array([numerical_abscissa(np.exp(-1j * angle) * np.asarray(A)) for angle in np.ravel(angles)])


def numerical_radius(A: ArrayLike) -> float:
    """The best of 360 directions, improved between its neighbours."""
    angles = 2 * np.pi * np.arange(360) / 360
    best, minus = angles[np.argmax(supports(A, angles))], lambda angle: -supports(A, angle)[0]
    bounds = best - angles[1], best + angles[1]
    options = {"xatol": 1e-9}
    return -scipy.optimize.minimize_scalar(minus, bounds=bounds, method="bounded", options=options).fun


def boundary_distance(A: ArrayLike, dynamics: str, count: int = 1000) -> float:
    """Distance to instability of a stable matrix, from dense samples of the boundary."""
    reach = 2 * spectral_norm(A) + 1e-300
    line = 1j * np.linspace(-reach, reach, count)
    z = line if dynamics == "continuous" else np.exp(2j * np.pi * np.arange(count) / count)
    return min(sigma_min(A, complex(at)) for at in z)


def kreiss_samples(A: ArrayLike, dynamics: str, count: int = 40) -> float:
    """Largest of |z| - 1 or Re z, over sigma_min, on a grid outside the stable region: at most K."""
    gains = np.geomspace(1e-3, 10, count) * (spectral_norm(A) if dynamics == "continuous" else 1.0)
    if dynamics == "continuous":
        grid = [(g, g + 1j * y) for g in gains for y in np.linspace(-2, 2, 2 * count) * spectral_norm(A)]
    else:
        grid = [(g, (1 + g) * np.exp(1j * t)) for g in gains for t in np.linspace(-np.pi, np.pi, 2 * count)]
    return max(g / sigma_min(A, complex(z)) for g, z in grid)
