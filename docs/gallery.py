"""Draw one figure for each kind of result; docs/gallery.md shows and explains them.

Run from the root of the repository: ``python docs/gallery.py`` writes into docs/gallery,
``python docs/gallery.py --out DIR`` elsewhere, ``--only portrait,pencil`` some of them, and ``--points 30``
makes the grids coarse. Some twenty seconds on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array, kron
from scipy.sparse.linalg import aslinearoperator

import spectra
from spectra import gallery, plots

Matrix = NDArray[np.float64]
VERMILION = "#D55E00"


def recurrent(n: int = 64) -> Matrix:
    """Stand-in for trained weights: noise and strong feed-forward connections, spectral radius 0.9."""
    W = 0.5 * gallery.ginibre(n, rng=3) + 1.2 * np.triu(gallery.ginibre(n, rng=4), 1)
    return np.asarray(0.9 / spectra.spectral_radius(W) * W)


def crank_nicolson(n: int = 60, step: float = 0.05) -> tuple[Matrix, Matrix]:
    """Pencil of B x_{k+1} = A x_k: finite elements for u' = u_xx / 30 + u_x, and Crank-Nicolson in time."""
    h = 1 / (n + 1)
    one, above, below = np.eye(n), np.eye(n, k=1), np.eye(n, k=-1)
    mass = (4 * one + above + below) / 6
    stiffness = (above - 2 * one + below) / (30 * h**2) + (above - below) / (2 * h)
    return mass + step / 2 * stiffness, mass - step / 2 * stiffness


def euler_step(m: int = 24) -> csr_array:
    """Sparse matrix of x_{k+1} = A x_k: explicit Euler for diffusion and a wind on an m x m grid."""
    diffusion = diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(m, m))
    wind = diags_array([-1.0, 1.0], offsets=[-1, 1], shape=(m, m))
    one = eye_array(m)
    rate = kron(diffusion + 0.8 * wind, one) + kron(one, diffusion + 0.4 * wind)
    return csr_array(eye_array(m * m) + 0.22 * rate)


def noisy_weights() -> Matrix:
    """Give 400 x 200 weights: noise of standard deviation 0.05 and three directions that stand out."""
    rng = np.random.default_rng(0)
    noise, left, right = (
        rng.standard_normal((400, 200)),
        rng.standard_normal((400, 3)),
        rng.standard_normal((3, 200)),
    )
    return np.asarray(0.05 * (noise + left * [0.28, 0.21, 0.15] @ right))


def heavy_tailed_weights() -> Matrix:
    """Give 600 x 300 weights from Student's t distribution with two degrees of freedom."""
    return np.asarray(0.05 * np.random.default_rng(0).standard_t(2, (600, 300)))


def portrait(points: int) -> Axes:
    """Draw one classic."""
    result = spectra.pseudospectrum(
        gallery.grcar(100), shape=(points, points), epsilons=10.0 ** np.arange(-12, 0, 2)
    )
    ax = plots.plot_pseudospectrum(result)
    ax.set_title("Grcar matrix, n = 100")
    return ax


def unit_circle(points: int) -> Axes:
    """Draw a recurrent matrix that is stable, but not by much."""
    epsilons = [0.01, 0.03, 0.1, 0.3]
    result = spectra.pseudospectrum(recurrent(), shape=(points, points), epsilons=epsilons)
    ax = plots.plot_pseudospectrum(result)
    ax.set_title("Recurrent matrix, 64 units, spectral radius 0.9")
    return ax


def real_or_complex(points: int) -> Axes:
    """Draw what real perturbations reach beside what complex ones reach."""
    A, side = gallery.ginibre(6, rng=1), points // 3 // 2 * 2 + 1  # odd: a row of the grid on the real axis
    region = (-1.35, 1.35, -1.25, 1.25)
    real = spectra.real_pseudospectrum(A, region=region, shape=(side, side))
    both = spectra.pseudospectrum(A, region=region, shape=(side, side))
    _, axes = plt.subplots(1, 2, figsize=(10, 5.6), layout="constrained")
    plots.plot_real_pseudospectrum(real, axes[0]).set_title("E real")
    plots.plot_pseudospectrum(both, axes[1]).set_title("E complex")
    return axes[0]


def rectangular(points: int) -> Axes:
    """Draw the leading columns of a matrix."""
    region, epsilons = (-1.2, 3.7, -3.8, 3.8), [1e-8, 1e-6, 1e-4, 1e-2]
    result = spectra.pseudospectrum(
        gallery.grcar(100)[:, :60], region=region, shape=(points // 2, points // 2), epsilons=epsilons
    )
    ax = plots.plot_pseudospectrum(result)
    ax.set_title("Grcar matrix, 100 rows, 60 columns")
    return ax


def pencil(points: int) -> Axes:
    """Draw an implicit time step."""
    A, B = crank_nicolson()
    region, epsilons = (-1.25, 1.25, -1.25, 1.25), [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    result = spectra.pseudospectrum(A, B=B, region=region, shape=(points, points), epsilons=epsilons)
    ax = plots.plot_pseudospectrum(result)
    ax.set_title("Crank-Nicolson step, pencil of order 60")
    return ax


def operator(points: int) -> Axes:
    """Draw upper bounds from 60 products beside the values themselves."""
    A, epsilons, region = euler_step(), [1e-3, 1e-2, 1e-1, 0.3], (-1.15, 1.4, -1.2, 1.2)
    bound = spectra.pseudospectrum(
        aslinearoperator(A), region=region, shape=(points // 2, points // 2), epsilons=epsilons, subspace=60
    )
    truth = spectra.pseudospectrum(A.toarray(), region=region, shape=(points, points), epsilons=epsilons)
    ax = plots.plot_pseudospectrum(bound)
    ax.contour(truth.x, truth.y, truth.sigma_min, epsilons, colors=VERMILION, linewidths=1.2)
    ax.set_title("Order 576, bounds from 60 products\n(orange: the same levels of the whole matrix)")
    return ax


def numerical_range(points: int) -> Axes:
    """Draw the convex set that contains the eigenvalues."""
    ax = plots.plot_numerical_range(spectra.numerical_range(gallery.grcar(30)))
    ax.set_title("Grcar matrix, n = 30")
    return ax


def powers(points: int) -> Axes:
    """Draw growth in discrete time."""
    ax = plots.plot_transient_growth(
        spectra.transient_growth(gallery.transient(20), 100, dynamics="discrete")
    )
    ax.set_title("Powers of gallery.transient(20)")
    return ax


def exponential(points: int) -> Axes:
    """Draw growth in continuous time."""
    A = gallery.grcar(30) - 2 * np.eye(30)
    ax = plots.plot_transient_growth(spectra.transient_growth(A, 40.0, dynamics="continuous"))
    ax.set_title("Exponential of Grcar - 2I, n = 30")
    return ax


def pseudomode(points: int) -> Axes:
    """Draw what is nearly an eigenvector, far from every eigenvalue."""
    return plots.plot_pseudomode(spectra.pseudomode(gallery.grcar(100), 2 + 1.5j))


def singular_values(points: int) -> Axes:
    """Draw noise and what stands out of it."""
    return plots.plot_spectral_distribution(spectra.singular_value_distribution(noisy_weights()))


def power_law(points: int) -> Axes:
    """Draw the tail of a heavy-tailed matrix."""
    return plots.plot_power_law(
        spectra.power_law_fit(spectra.singular_value_distribution(heavy_tailed_weights()))
    )


FIGURES: dict[str, Callable[[int], Axes]] = {
    "portrait": portrait,
    "unit_circle": unit_circle,
    "real_or_complex": real_or_complex,
    "rectangular": rectangular,
    "pencil": pencil,
    "operator": operator,
    "numerical_range": numerical_range,
    "powers": powers,
    "exponential": exponential,
    "pseudomode": pseudomode,
    "singular_values": singular_values,
    "power_law": power_law,
}


def main(arguments: list[str] | None = None) -> None:
    """Compute and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_suffix(""), help="folder for the figures"
    )
    parser.add_argument(
        "--only", default=",".join(FIGURES), help="names with commas between them; all by default"
    )
    parser.add_argument("--points", type=int, default=200, help="grid points along a side, at least 12")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if unknown := [name for name in names if name not in FIGURES]:
        parser.error(f"--only names {', '.join(unknown)}; expected some of {', '.join(FIGURES)}")
    if options.points < 12:
        parser.error(f"--points is {options.points}; expected 12 or more, such as 200")
    options.out.mkdir(parents=True, exist_ok=True)
    for count, name in enumerate(names, 1):
        start = time.perf_counter()
        figure = FIGURES[name](options.points).figure
        path = options.out / f"{name}.png"
        figure.savefig(path, dpi=90, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
        print(f"{count:2} of {len(names)}  {path}  {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
