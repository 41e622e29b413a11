"""Named test matrices of the field, each with the paper it comes from.

Sizes are whole numbers (TypeError otherwise), at least 1 unless the function says more (ValueError below).
Random matrices take `rng`, a ``numpy.random.Generator`` or a seed; the same seed gives the same matrix.
"""

from __future__ import annotations

from math import comb, factorial

import numpy as np
from numpy.typing import NDArray

from spectra.checks import generator, positive, real_number, whole_number

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def grcar(n: int, k: int = 3) -> Real:
    """Grcar's Toeplitz matrix: -1 below the diagonal, 1 on it and on `k` diagonals above it.

    Parameters
    ----------
    n : int
        Order.
    k : int, default 3
        Number of superdiagonals of ones, at least 0.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix.

    References
    ----------
    J. F. Grcar, "Operator coefficient methods for linear equations", report SAND89-8691, Sandia National
    Laboratories, 1989.

    Examples
    --------
    >>> grcar(3, 1)
    array([[ 1.,  1.,  0.],
           [-1.,  1.,  1.],
           [ 0., -1.,  1.]])
    """
    size = whole_number(n, "n")
    band = np.tri(size, k=min(whole_number(k, "k", least=0), size)) - np.tri(size, k=-1)
    return band - np.eye(size, k=-1)


def jordan_block(n: int, eigenvalue: float = 0.0) -> Real:
    """Jordan block: one real eigenvalue on the diagonal, ones above it; defective for n > 1.

    Parameters
    ----------
    n : int
        Order.
    eigenvalue : float, default 0
        The diagonal.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix.

    References
    ----------
    L. N. Trefethen and M. Embree, "Spectra and Pseudospectra", Princeton University Press, 2005.

    Examples
    --------
    >>> jordan_block(2, 3)
    array([[3., 1.],
           [0., 3.]])
    """
    size = whole_number(n, "n")
    return real_number(eigenvalue, "eigenvalue") * np.eye(size) + np.eye(size, k=1)


def tridiagonal_toeplitz(n: int, *, lower: float = 0.25, diagonal: float = 0.0, upper: float = 1.0) -> Real:
    """Toeplitz matrix of three diagonals, with eigenvalues diagonal + 2 √(lower · upper) cos(jπ / (n + 1)).

    Parameters
    ----------
    n : int
        Order.
    lower, diagonal, upper : float
        The entries below, on and above the diagonal.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix. Its pseudospectra fill the ellipse diagonal + lower/z + upper z, abs(z) = 1, as n grows.

    References
    ----------
    L. Reichel and L. N. Trefethen, "Eigenvalues and pseudo-eigenvalues of Toeplitz matrices", Linear Algebra
    Appl. 162-164 (1992), 153-185.

    Examples
    --------
    >>> tridiagonal_toeplitz(3)
    array([[0.  , 1.  , 0.  ],
           [0.25, 0.  , 1.  ],
           [0.  , 0.25, 0.  ]])
    """
    size = whole_number(n, "n")
    bands = ((lower, "lower", -1), (diagonal, "diagonal", 0), (upper, "upper", 1))
    return np.sum([real_number(value, name) * np.eye(size, k=k) for value, name, k in bands], axis=0)


def limacon(n: int) -> Real:
    """Nilpotent Toeplitz matrix with symbol z + z²: ones on the first two superdiagonals.

    Parameters
    ----------
    n : int
        Order.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix. Its pseudospectra approach the inside of a limaçon, the image of the unit circle.

    References
    ----------
    L. Reichel and L. N. Trefethen, "Eigenvalues and pseudo-eigenvalues of Toeplitz matrices", Linear Algebra
    Appl. 162-164 (1992), 153-185.

    Examples
    --------
    >>> limacon(3)
    array([[0., 1., 1.],
           [0., 0., 1.],
           [0., 0., 0.]])
    """
    size = whole_number(n, "n")
    return np.eye(size, k=1) + np.eye(size, k=2)


def basor_morrison(n: int) -> Complex:
    """Toeplitz matrix of a symbol with a jump: i / (j - k - 1) in row j, column k, and π where j - k = 1.

    Parameters
    ----------
    n : int
        Order.

    Returns
    -------
    ndarray of complex, shape (n, n)
        The matrix. Its pseudospectra approach those of the operator only very slowly as n grows.

    References
    ----------
    E. L. Basor and K. E. Morrison, "The Fisher-Hartwig conjecture and Toeplitz eigenvalues", Linear Algebra
    Appl. 202 (1994), 129-142.

    Examples
    --------
    >>> basor_morrison(2)
    array([[0.        -1.j , 0.        -0.5j],
           [3.14159265+0.j , 0.        -1.j ]])
    """
    size = whole_number(n, "n")
    steps = np.subtract.outer(np.arange(size), np.arange(size)) - 1
    matrix = np.zeros((size, size), dtype=np.complex128)
    matrix.imag[steps != 0] = 1 / steps[steps != 0]
    matrix.real[steps == 0] = np.pi
    return matrix


def twisted_toeplitz(n: int) -> Real:
    """Periodic "cross" matrix: 2 sin(2πj/n) on the diagonal, 1 above and -1 below it, with wrap-around.

    Parameters
    ----------
    n : int
        Order, at least 3.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix, exponentially non-normal although nearly circulant.

    References
    ----------
    L. N. Trefethen and S. J. Chapman, "Wave packet pseudomodes of twisted Toeplitz matrices", Comm. Pure
    Appl. Math. 57 (2004), 1233-1264.

    Examples
    --------
    >>> twisted_toeplitz(4).round(12)
    array([[ 0.,  1.,  0., -1.],
           [-1.,  2.,  1.,  0.],
           [ 0., -1.,  0.,  1.],
           [ 1.,  0., -1., -2.]])
    """
    size = whole_number(n, "n", least=3)
    shift = np.roll(np.eye(size), 1, axis=1)
    return np.diag(2 * np.sin(2 * np.pi * np.arange(size) / size)) + shift - shift.T


def kahan(n: int) -> Real:
    """Kahan's upper triangular matrix diag(1, s, s², ...) (I - c U), s² + c² = 1.

    U holds ones above the diagonal, and the last entry is s^(n-1) = 0.1.

    Parameters
    ----------
    n : int
        Order, at least 2.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix. QR with column pivoting does not see how nearly singular it is.

    References
    ----------
    W. Kahan, "Numerical linear algebra", Canad. Math. Bull. 9 (1966), 757-801.

    Examples
    --------
    >>> kahan(3).round(4)
    array([[ 1.    , -0.9487, -0.9487],
           [ 0.    ,  0.3162, -0.3   ],
           [ 0.    ,  0.    ,  0.1   ]])
    """
    size = whole_number(n, "n", least=2)
    powers = 0.1 ** (np.arange(size) / (size - 1))
    c = np.sqrt(1 - powers[1] ** 2)
    return powers[:, None] * (np.eye(size) - c * np.triu(np.ones((size, size)), 1))


def demmel(n: int) -> Real:
    """Demmel's upper triangular Toeplitz matrix: -b^(k-j) in row j, column k >= j, with b^(n-1) = 10⁴.

    Parameters
    ----------
    n : int
        Order, at least 2.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix: all its eigenvalues are -1, and yet an unstable matrix is close by.

    References
    ----------
    J. W. Demmel, "A counterexample for two conjectures about stability", IEEE Trans. Automat. Control 32
    (1987).

    Examples
    --------
    >>> demmel(3)
    array([[-1.e+00, -1.e+02, -1.e+04],
           [ 0.e+00, -1.e+00, -1.e+02],
           [ 0.e+00,  0.e+00, -1.e+00]])
    """
    size = whole_number(n, "n", least=2)
    steps = np.maximum(np.subtract.outer(np.arange(size), np.arange(size)).T, 0)
    upper = np.triu(np.ones((size, size), dtype=bool))
    return np.where(upper, -(10.0 ** (4 * steps / (size - 1))), 0.0)


def frank(n: int) -> Real:
    """Frank's upper Hessenberg matrix n + 1 - max(j, k), whose small eigenvalues are ill-conditioned.

    Parameters
    ----------
    n : int
        Order.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix: determinant 1, and eigenvalues that are real and positive and come in pairs λ, 1/λ.

    References
    ----------
    W. L. Frank, "Computing eigenvalues of complex matrices by determinant evaluation and by methods of
    Danilewski and Wielandt", J. Soc. Indust. Appl. Math. 6 (1958), 378-392.

    Examples
    --------
    >>> frank(3)
    array([[3., 2., 1.],
           [2., 2., 1.],
           [0., 1., 1.]])
    """
    size = whole_number(n, "n")
    down = np.arange(size, 0, -1.0)
    return np.triu(np.minimum.outer(down, down), -1)


def godunov() -> Real:
    """Godunov's 7 x 7 integer matrix with the eigenvalues -4, -2, -1, 0, 1, 2, 4.

    Returns
    -------
    ndarray, shape (7, 7)
        The matrix: with a norm of 4322, its eigenvalues are computed to about one digit.

    References
    ----------
    S. K. Godunov, "Modern Aspects of Linear Algebra", Translations of Mathematical Monographs 175, American
    Mathematical Society, 1998.

    Examples
    --------
    >>> int(godunov().trace())
    0
    """
    rows = [
        [289, 2064, 336, 128, 80, 32, 16],
        [1152, 30, 1312, 512, 288, 128, 32],
        [-29, -2000, 756, 384, 1008, 224, 48],
        [512, 128, 640, 0, 640, 512, 128],
        [1053, 2256, -504, -384, -756, 800, 208],
        [-287, -16, 1712, -128, 1968, -30, 2032],
        [-2176, -287, -1565, -512, -541, -1152, -289],
    ]
    return np.array(rows, dtype=np.float64)


def gallery5() -> Real:
    """Matrix 5 of MATLAB's gallery: 5 x 5 integers, nilpotent, a single Jordan block in disguise.

    Returns
    -------
    ndarray, shape (5, 5)
        The matrix; its computed eigenvalues have modulus 0.04, the exact one is 0.

    References
    ----------
    The MathWorks, MATLAB, function ``gallery``: "an interesting eigenvalue problem".

    Examples
    --------
    >>> import numpy as np
    >>> np.linalg.matrix_power(gallery5(), 5).any()
    np.False_
    """
    rows = [
        [-9, 11, -21, 63, -252],
        [70, -69, 141, -421, 1684],
        [-575, 575, -1149, 3451, -13801],
        [3891, -3891, 7782, -23345, 93365],
        [1024, -1024, 2048, -6144, 24572],
    ]
    return np.array(rows, dtype=np.float64)


def transient(n: int) -> Complex:
    """Periodic bidiagonal matrix, stable in both times, whose powers and exponential grow before they decay.

    0.4 exp(2πij/n) - 0.5 on the diagonal, 0.4 above it and in the lower left corner.

    Parameters
    ----------
    n : int
        Order, at least 2.

    Returns
    -------
    ndarray of complex, shape (n, n)
        The matrix.

    References
    ----------
    T. G. Wright, EigTool, 2002, ``transient_demo``.

    Examples
    --------
    >>> transient(4).round(12)
    array([[-0.1+0.j ,  0.4+0.j ,  0. +0.j ,  0. +0.j ],
           [ 0. +0.j , -0.5+0.4j,  0.4+0.j ,  0. +0.j ],
           [ 0. +0.j ,  0. +0.j , -0.9+0.j ,  0.4+0.j ],
           [ 0.4+0.j ,  0. +0.j ,  0. +0.j , -0.5-0.4j]])
    """
    size = whole_number(n, "n", least=2)
    matrix = np.diag(np.exp(2j * np.pi * np.arange(size) / size))
    matrix += np.roll(np.eye(size), 1, axis=1)
    return np.asarray(0.4 * matrix - 0.5 * np.eye(size), dtype=np.complex128)


def riffle_shuffle(n: int) -> Real:
    """Riffle shuffle of n cards on the number of rising sequences, less its limit: P - P^∞.

    P has C(n+1, 2j-k) E(k) / (2ⁿ E(j)) in row j, column k, with the Eulerian numbers E; each row of P^∞ is
    E / n!.

    Parameters
    ----------
    n : int
        Number of cards, the order.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix, each entry rounded once; its eigenvalues are 1/2, 1/4, ..., 2^(1-n) and 0.

    References
    ----------
    D. Bayer and P. Diaconis, "Trailing the dovetail shuffle to its lair", Ann. Appl. Probab. 2 (1992),
    294-313.

    G. F. Jonsson and L. N. Trefethen, "A numerical analyst looks at the cutoff phenomenon in card shuffling
    and other Markov chains", in Numerical Analysis 1997, Longman, 1998, 150-178.

    Examples
    --------
    >>> riffle_shuffle(2)
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    size = whole_number(n, "n")
    cards = range(1, size + 1)
    eulerian = [sum((-1) ** i * comb(size + 1, i) * (k - i) ** size for i in range(k)) for k in cards]
    total = factorial(size)

    def entry(j: int, k: int) -> float:
        paths = comb(size + 1, 2 * j - k) if 2 * j >= k else 0
        below = 2**size * eulerian[j - 1]
        return eulerian[k - 1] * (paths * total - below) / (below * total)

    return np.array([[entry(j, k) for k in cards] for j in cards])


def chebyshev_differentiation(n: int) -> Real:
    """Chebyshev spectral matrix of d/dx on [-1, 1] for functions with u(1) = 0.

    Parameters
    ----------
    n : int
        Order; the n + 1 Chebyshev points are cos(jπ/n), and the row and column of x = 1 are left out.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix. The operator has no spectrum at all, and its pseudospectra are half-planes.

    References
    ----------
    L. N. Trefethen and M. R. Trummer, "An instability phenomenon in spectral methods", SIAM J. Numer. Anal.
    24 (1987), 1008-1023.

    Examples
    --------
    >>> chebyshev_differentiation(1)
    array([[-0.5]])
    """
    return _chebyshev(whole_number(n, "n"))[1:, 1:]


def convection_diffusion(n: int, viscosity: float = 1 / 30) -> Real:
    """Chebyshev spectral matrix of viscosity u'' + u' on [-1, 1] with u(-1) = u(1) = 0.

    Parameters
    ----------
    n : int
        Order: the number of inner points of the Chebyshev grid.
    viscosity : float, default 1/30
        Factor of the second derivative, above 0 and at most 1e200.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix. The pseudospectra of the operator are nearly insides of parabolas, its eigenvalues real.

    References
    ----------
    S. C. Reddy and L. N. Trefethen, "Pseudospectra of the convection-diffusion operator", SIAM J. Appl. Math.
    54 (1994), 1634-1649.

    Examples
    --------
    >>> convection_diffusion(1, 0.5)
    array([[-1.]])
    """
    D = _chebyshev(whole_number(n, "n") + 1)
    return (_moderate(positive(viscosity, "viscosity"), "viscosity", 1e200) * D @ D + D)[1:-1, 1:-1]


def random_triangular(n: int, *, rng: int | np.random.Generator = 0) -> Real:
    """Random upper triangular matrix with independent N(0, 1/n) entries on and above the diagonal.

    Parameters
    ----------
    n : int
        Order.
    rng : int or numpy.random.Generator, default 0
        Seed or generator.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix. Its condition number grows exponentially with n.

    References
    ----------
    D. Viswanath and L. N. Trefethen, "Condition numbers of random triangular matrices", SIAM J. Matrix Anal.
    Appl. 19 (1998), 564-581.

    Examples
    --------
    >>> random_triangular(3)[1, 0]
    np.float64(0.0)
    """
    return np.triu(ginibre(n, rng=rng))


def ginibre(n: int, *, rng: int | np.random.Generator = 0) -> Real:
    """Random matrix with independent N(0, 1/n) entries, the usual start of a recurrent network.

    Parameters
    ----------
    n : int
        Order.
    rng : int or numpy.random.Generator, default 0
        Seed or generator.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix. As n grows the eigenvalues fill the unit disc, and the norm tends to 2.

    References
    ----------
    J. Ginibre, "Statistical ensembles of complex, quaternion, and real matrices", J. Math. Phys. 6 (1965),
    440-449.

    Examples
    --------
    >>> ginibre(3).shape
    (3, 3)
    """
    size = whole_number(n, "n")
    return generator(rng).standard_normal((size, size)) / np.sqrt(size)


def random_orthogonal(n: int, *, rng: int | np.random.Generator = 0) -> Real:
    """Random orthogonal matrix from the Haar measure: normal, with all eigenvalues on the unit circle.

    Parameters
    ----------
    n : int
        Order.
    rng : int or numpy.random.Generator, default 0
        Seed or generator.

    Returns
    -------
    ndarray, shape (n, n)
        The matrix.

    References
    ----------
    F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices Amer. Math. Soc.
    54 (2007), 592-604.

    Examples
    --------
    >>> import numpy as np
    >>> Q = random_orthogonal(4)
    >>> bool(np.allclose(Q @ Q.T, np.eye(4)))
    True
    """
    Q, R = np.linalg.qr(ginibre(n, rng=rng))
    return Q * np.sign(np.diag(R))


def hatano_nelson(n: int, asymmetry: float = 0.4, *, rng: int | np.random.Generator = 0) -> Real:
    """Open Hatano-Nelson chain: exp(-g) below the diagonal, exp(g) above it, disorder on it.

    Parameters
    ----------
    n : int
        Order.
    asymmetry : float, default 0.4
        The imaginary field g, at most 700 in size.
    rng : int or numpy.random.Generator, default 0
        Seed or generator of the disorder, uniform on [-1.5, 1.5).

    Returns
    -------
    ndarray, shape (n, n)
        The matrix, similar to a symmetric one, so that its eigenvalues are real, but exponentially
        non-normal.

    References
    ----------
    N. Hatano and D. R. Nelson, "Localization transitions in non-Hermitian quantum mechanics", Phys. Rev.
    Lett. 77 (1996), 570-573.

    Examples
    --------
    >>> hatano_nelson(3, 0.0)[0, 1]
    np.float64(1.0)
    """
    size = whole_number(n, "n")
    g = _moderate(real_number(asymmetry, "asymmetry"), "asymmetry", 700.0)
    disorder = generator(rng).uniform(-1.5, 1.5, size)
    return np.exp(-g) * np.eye(size, k=-1) + np.diag(disorder) + np.exp(g) * np.eye(size, k=1)


def _moderate(number: float, name: str, most: float) -> float:
    if abs(number) > most:
        raise ValueError(f"{name} is {number}; expected at most {most} in size, for entries that are floats")
    return number


def _chebyshev(n: int) -> Real:
    """Give the differentiation matrix on the points cos(jπ/n), j = 0..n; rows sum to zero exactly."""
    angles = np.arange(n + 1) * np.pi / (2 * n)  # half the angles: x_j - x_k without cancellation
    distances = -2 * np.sin(np.add.outer(angles, angles)) * np.sin(np.subtract.outer(angles, angles))
    weights = (-1.0) ** np.arange(n + 1)
    weights[[0, -1]] *= 2
    D = np.outer(weights, 1 / weights) / (distances + np.eye(n + 1))
    np.fill_diagonal(D, 0)
    return D - np.diag(D.sum(axis=1))
