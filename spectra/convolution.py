"""The spectral norm of a convolution as a linear map on images, without its matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectra.checks import Matrix, generator, numeric_array, one_of, whole_number
from spectra.lanczos import (
    extremum_at,
    failure_probability,
    largest_singular_value,
    relative_width,
    warn_if_wide,
)
from spectra.norms import singular_values
from spectra.operators import LinearMap, Vector
from spectra.pencils import refuse_memory
from spectra.results import Extremum
from spectra.scaling import UNIT_ROUNDOFF, unit_scaled
from spectra.threads import one_blas_thread

_CHUNK = 2**22  # numbers in a stack of symbols
_IMAGES = 4  # complex images that a product holds at a time


def convolution_norm_bounds(
    kernel: ArrayLike,
    *,
    shape: Iterable[int],
    padding: str,
    stride: int = 1,
    rtol: float = 1e-6,
    delta: float = 1e-6,
    rng: int | np.random.Generator = 0,
) -> Extremum:
    """Spectral norm ‖C‖₂ of a convolution layer y[o, t] = Σ K[o, i, k] x[i, s t + k - p], bracketed.

    Parameters
    ----------
    kernel : array_like, shape (out, in, k) or (out, in, kh, kw)
        The weight K as torch stores it, real or complex. As there, the sum is a cross-correlation.
    shape : (int,) or (int, int)
        Length, or height and width, of the images.
    padding : {"circular", "zero"}
        What x is outside the image: itself again, or 0. Before the image lie p = (k - 1) // 2 entries of it
        and behind it the other k - 1 - p, so that with stride 1 the output is as large as the image.
    stride : int, default 1
        The stride s, the same in both directions.
    rtol, delta, rng : float, float, int or numpy.random.Generator
        As for `spectral_norm_bounds`; not needed for circular padding with a stride that divides the shape.

    Returns
    -------
    Extremum
        `value` = ‖Cx‖₂ for the unit image x = `points` (length in · height · width, in C order). Circular
        padding, stride a divisor: the interval is `value` with its rounding error, and `steps` is 0. Else it
        is that of `spectral_norm_bounds`; `upper` is then at most the norm of a circular convolution that
        contains this one, and with `delta` = 0 it is that norm, which is proven. `residual` is
        ‖C*Cx − value² x‖₂ / value.

    Raises
    ------
    TypeError
        If kernel is no array of numbers, or shape or stride hold no whole numbers.
    ValueError
        If kernel has not 3 or 4 dimensions, is empty or holds NaN or inf, shape does not fit it or, for
        circular padding, is smaller than it, padding is no word of the list, stride is below 1, rtol or
        delta is out of range, or images of that shape do not fit into memory.

    Warns
    -----
    AccuracyWarning
        If 300 steps do not reach `rtol`; the interval holds, but is wider.

    Notes
    -----
    The Fourier transform makes a circular convolution block diagonal, with an out × in matrix for each
    frequency (Sedghi, Gupta and Long 2019); with stride s the s² frequencies that look alike on the output
    share an out × s² in block, divided by s. Cost: one singular value decomposition per frequency of the
    output, half of them for a real kernel. Zero padding is R C E, where E embeds the image in a torus that is
    k - 1 larger (rounded up to a multiple of s), C is circular there and R restricts: ‖R C E‖ ≤ ‖C‖. Its own
    norm comes from Lanczos on products that take out · in · k · height · width operations each.

    References
    ----------
    H. Sedghi, V. Gupta and P. M. Long, "The singular values of convolutional layers", ICLR 2019.

    Examples
    --------
    The difference of neighbours has the norm 2 on a circle of even length:

    >>> from spectra import convolution_norm_bounds
    >>> round(float(convolution_norm_bounds([[[1.0, -1.0]]], shape=(8,), padding="circular")), 9)
    2.0
    >>> round(float(convolution_norm_bounds([[[1.0, -2.0, 1.0]]], shape=(50,), padding="zero")), 9)
    3.996206657
    """
    K, size = _checked(kernel, shape)
    circular = one_of(padding, "padding", ("circular", "zero")) == "circular"
    s = min(whole_number(stride, "stride"), max(size))  # beyond that there is but one output all the same
    rtol, delta, rng = relative_width(rtol), failure_probability(delta), generator(rng)
    if circular and any(length < k for length, k in zip(size, K.shape[2:], strict=True)):
        raise ValueError(
            f"shape is {size}; expected at least the kernel's {K.shape[2:]} for circular padding, which "
            "otherwise wraps around more than once"
        )
    K, scale = unit_scaled(K)
    exact = circular and not any(length % s for length in size)
    if exact:
        torus, step = size, s
    elif circular:  # the output is a selection of that with stride 1
        torus, step = size, 1
    else:
        reach = [length + k - 1 for length, k in zip(size, K.shape[2:], strict=True)]
        torus, step = tuple(-(-length // s) * s for length in reach), s
    need = 16 * _IMAGES * K.shape[1] * math.prod(torus)
    refuse_memory(need, f"A convolution on images of {K.shape[1]} x {torus}", "a smaller shape")
    bound, x = _circular_norm(K, torus, step)
    products = _products(K, size, s, circular, scale, bound)
    if exact:
        return extremum_at(products, x, bound, steps=0)
    result = largest_singular_value(products, rtol=rtol, delta=delta, rng=rng)
    warn_if_wide(result, rtol, delta)
    return result


def _checked(kernel: ArrayLike, shape: Iterable[int]) -> tuple[Matrix, tuple[int, ...]]:
    K = numeric_array(kernel, "kernel")
    if K.ndim not in {3, 4}:
        raise ValueError(f"kernel has shape {K.shape}; expected (out, in, k) or (out, in, kh, kw)")
    if isinstance(shape, (str, bytes)) or not isinstance(shape, Iterable):
        raise TypeError(f"shape is {shape!r}; expected a tuple of whole numbers such as (32, 32)")
    size = tuple(whole_number(length, "shape") for length in shape)
    if len(size) != K.ndim - 2:
        raise ValueError(f"shape is {size}; expected {K.ndim - 2} numbers for a kernel of shape {K.shape}")
    return K, size


def _padding_before(k: int) -> int:
    return (k - 1) // 2


def _circular_norm(K: Matrix, torus: tuple[int, ...], s: int) -> tuple[float, NDArray[np.complex128]]:
    """Norm of the circular convolution on a torus, rounded up, and the unit image that attains it."""
    counts = [length // s for length in torus]
    if not np.iscomplexobj(K):  # the other half holds the conjugate blocks
        counts[-1] = counts[-1] // 2 + 1
    total, chunk = math.prod(counts), max(1, _CHUNK // (K[:, :, 0].size * s ** len(torus)))
    largest, where = -1.0, np.zeros((1, len(torus)), dtype=np.int64)
    with one_blas_thread():
        for start in range(0, total, chunk):
            part = np.stack(np.unravel_index(np.arange(start, min(start + chunk, total)), counts), axis=1)
            norms = singular_values(_symbols(K, part, torus, s))[:, 0]
            best = int(norms.argmax())
            if norms[best] > largest:
                largest, where = float(norms[best]), part[best : best + 1]
    noise = 2 * (max(K.shape[0], K.shape[1] * s ** len(torus), 10) + K[0, 0].size) * UNIT_ROUNDOFF
    return largest * (1 + noise), _image(K, where, torus, s)


def _aliases(frequencies: NDArray[np.int64], torus: tuple[int, ...], s: int) -> list[NDArray[np.int64]]:
    """Frequencies of the input that a stride s makes one of the output."""
    return [
        frequencies + np.array(shift) for shift in itertools.product(*(range(0, n, n // s) for n in torus))
    ]


def _symbols(K: Matrix, frequencies: NDArray[np.int64], torus: tuple[int, ...], s: int) -> Matrix:
    """Blocks of the convolution, in the Fourier basis, at frequencies of the output: (count, out, in s^d)."""
    taps = np.array(list(itertools.product(*map(range, K.shape[2:]))))
    offsets = taps - [_padding_before(k) for k in K.shape[2:]]
    entries = K.reshape(-1, len(taps)).T
    blocks = []
    for alias in _aliases(frequencies, torus, s):
        turns = sum((np.outer(alias[:, a], offsets[:, a]) % n) / n for a, n in enumerate(torus))
        blocks.append((np.exp(2j * np.pi * turns) @ entries).reshape(-1, *K.shape[:2]))
    return cast(Matrix, np.concatenate(blocks, axis=2) / s ** (len(torus) / 2))


def _image(K: Matrix, frequency: NDArray[np.int64], torus: tuple[int, ...], s: int) -> NDArray[np.complex128]:
    """Give the unit image whose output is as large as the norm of the block at this frequency."""
    v = np.linalg.svd(_symbols(K, frequency, torus, s)[0])[2][0].conj().reshape(-1, K.shape[1])
    image = np.zeros((K.shape[1], *torus), dtype=np.complex128)
    places = np.indices(torus)
    for alias, part in zip(_aliases(frequency[0], torus, s), v, strict=True):
        turns = sum((f * place % n) / n for f, place, n in zip(alias, places, torus, strict=True))
        image += part.reshape(-1, *(1,) * len(torus)) * np.exp(2j * np.pi * turns)
    return np.asarray(image.ravel() / math.sqrt(math.prod(torus)))


def _products(K: Any, size: tuple[int, ...], s: int, circular: bool, scale: float, bound: float) -> LinearMap:
    """Products with the convolution and its adjoint, one kernel entry at a time."""
    out, into, *widths = K.shape
    pads = [(_padding_before(k), k - 1 - _padding_before(k)) for k in widths]
    spread = [length + k - 1 for length, k in zip(size, widths, strict=True)]
    ends = tuple(-(-length // s) for length in size)
    taps = list(itertools.product(*map(range, widths)))
    windows = [
        tuple(slice(t, t + (e - 1) * s + 1, s) for t, e in zip(tap, ends, strict=True)) for tap in taps
    ]

    def apply(x: Vector) -> Any:
        image = x.reshape(into, *size)
        padded = np.pad(image, [(0, 0), *pads], mode="wrap" if circular else "constant")
        parts = (
            np.tensordot(K[:, :, *tap], padded[:, *window], 1)
            for tap, window in zip(taps, windows, strict=True)
        )
        return np.ravel(sum(parts))

    def adjoint(y: Vector) -> Any:
        image = y.reshape(out, *ends)
        padded: Any = np.zeros((into, *spread), dtype=np.result_type(K, y))
        for tap, window in zip(taps, windows, strict=True):
            padded[:, *window] += np.tensordot(K[:, :, *tap].conj().T, image, 1)
        return _folded(padded, pads, circular).ravel()

    return LinearMap(
        shape=(out * math.prod(ends), into * math.prod(size)),
        is_complex=np.iscomplexobj(K),
        apply=apply,
        adjoint=adjoint,
        scale=scale,
        bound=bound,
    )


def _folded(padded: Any, pads: list[tuple[int, int]], circular: bool) -> Any:
    """Give the adjoint of padding: what lies outside is dropped, or added where it came from."""
    for axis, (before, behind) in enumerate(pads, start=1):
        padded = np.moveaxis(padded, axis, 0)
        length = len(padded) - before - behind
        inner = padded[before : before + length].copy()
        if circular:
            inner[length - before :] += padded[:before]
            inner[:behind] += padded[before + length :]
        padded = np.moveaxis(inner, 0, axis)
    return padded
