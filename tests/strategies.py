"""Random matrices for hypothesis: a seed and a size, so that what is drawn shrinks and is generic."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Square = NDArray[np.float64] | NDArray[np.complex128]


def gaussian(rows: int, columns: int, *, is_complex: bool, seed: int) -> Square:
    rng = np.random.default_rng(seed)
    real = rng.standard_normal((rows, columns))
    return real + 1j * rng.standard_normal((rows, columns)) if is_complex else real


def unitary(n: int, *, is_complex: bool, seed: int) -> Square:
    """Orthogonal where not complex."""
    Q, R = np.linalg.qr(gaussian(n, n, is_complex=is_complex, seed=seed))
    return Q * (np.diag(R) / np.abs(np.diag(R)))


SIZES = st.integers(1, 8)
SEEDS = st.integers(0, 2**20)
POINTS = st.complex_numbers(max_magnitude=10, allow_nan=False, allow_subnormal=False)
SCALES = st.floats(1e-6, 1e6)


@st.composite
def squares(draw: st.DrawFn, least: int = 1, is_complex: bool | None = None) -> Square:
    """Real or complex matrices of order up to 8, from nearly normal to strongly upper triangular."""
    n, seed = draw(st.integers(least, 8)), draw(SEEDS)
    kind = draw(st.booleans()) if is_complex is None else is_complex
    lower = draw(st.sampled_from([1.0, 0.5, 0.0]))
    matrix = gaussian(n, n, is_complex=kind, seed=seed)
    return np.triu(matrix) + lower * np.tril(matrix, -1)


@st.composite
def rectangles(draw: st.DrawFn) -> Square:
    """Real or complex matrices of up to 8 rows and columns."""
    return gaussian(draw(SIZES), draw(SIZES), is_complex=draw(st.booleans()), seed=draw(SEEDS))


@st.composite
def normals(draw: st.DrawFn) -> Square:
    """Normal matrices, some with repeated eigenvalues."""
    n, seed = draw(SIZES), draw(SEEDS)
    Q = unitary(n, is_complex=True, seed=seed)
    eigenvalues = np.array(draw(st.lists(POINTS, min_size=n, max_size=n)))
    return (Q * eigenvalues) @ Q.conj().T
