"""Number formats as perturbations: what storing a matrix in fewer bits does to its stability."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike

from rnn.measuring.rounding import NUMBER_FORMATS, nearest, real_matrix, refuse_complex
from spectra.checks import one_of
from spectra.extremes import pseudospectral_abscissa, pseudospectral_radius
from spectra.norms import spectral_norm
from spectra.results import Record
from spectra.schur import SchurForm, schur_form
from spectra.spectrum import spectral_abscissa, spectral_radius
from spectra.stability import DYNAMICS
from spectra.threads import available_threads, one_blas_thread


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RoundingEffect(Record):
    """What rounding a matrix W to a number format does to the eigenvalue farthest out, and could do at most.

    Below, "reach" is the spectral radius in discrete time and the spectral abscissa in continuous time.

    Attributes
    ----------
    number_format : str
        One of `NUMBER_FORMATS`.
    dynamics : str
        "discrete": stable below a reach of 1; "continuous": stable below 0.
    order : int
        Order of W.
    epsilon : float
        ‖W - rounded(W)‖₂, the size of the perturbation; inf where an entry overflows.
    relative : float
        ``epsilon`` / ‖W‖₂; 0 for W = 0.
    before, after : float
        Reach of W and of rounded(W), from computed eigenvalues; `after` is inf where an entry overflows.
    worst : float
        The largest reach that any perturbation of norm at most `epsilon`, also a complex one, gives: the
        pseudospectral radius or abscissa at that level. Inf where an entry overflows.
    worst_lower, worst_upper : float
        The interval of `worst`, as `spectra.pseudospectral_radius` proves it.
    beyond : int
        Number of entries beyond the largest number of the format: infinite in float16 and bfloat16, cut down
        to that number in float8_e4m3fn.
    verdict : str
        "overflows", "unstable before", "stable whatever the rounding" (`worst_upper` is stable), "this
        rounding keeps it stable" (`after` is), or "becomes unstable"; the first that is true.
    """

    number_format: str
    dynamics: str
    order: int
    epsilon: float
    relative: float
    before: float
    after: float
    worst: float
    worst_lower: float
    worst_upper: float
    beyond: int
    verdict: str

    def __str__(self) -> str:
        """One line."""
        reach = "spectral radius" if self.dynamics == "discrete" else "spectral abscissa"
        if self.verdict == "overflows":
            return f"{self.number_format}: overflows, {self.beyond} entries beyond its largest number"
        return (
            f"{self.number_format}: {self.verdict}; {reach} {self.before:.6g}, rounded {self.after:.6g}, at "
            f"most {self.worst_upper:.6g} under any change of norm {self.epsilon:.2g}"
        )

    def __repr__(self) -> str:
        """One line with the class."""
        return f"RoundingEffect({self})"


def rounding_effect(
    A: ArrayLike | SchurForm, number_format: str, *, dynamics: str = "discrete"
) -> RoundingEffect:
    """Say what rounding a square matrix to a number format does to its stability, and could do at most.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real matrix.
    number_format : str
        As for `rounded`.
    dynamics : {"discrete", "continuous"}
        A step h ↦ W h, stable for a spectral radius below 1, or h' = W h, stable for an abscissa below 0.

    Returns
    -------
    RoundingEffect
        The size of the perturbation, the reach of the spectrum before and after, and the bound on it.

    Raises
    ------
    TypeError
        If A is no array of real numbers.
    ValueError
        If A is not square, is empty or holds NaN or inf, its entries come near the largest float, or an
        option is none of its words.
    ConvergenceError
        If the search for the pseudospectral radius does not settle.

    Warns
    -----
    AccuracyWarning
        If ε is above 0, but below the rounding level of W: the interval of `worst` says what is left.

    Notes
    -----
    rounded(W) = W + E with ‖E‖₂ = ε, so its eigenvalues lie in the ε-pseudospectrum of W. The norm is from a
    dense singular value decomposition. "stable whatever the rounding" is as certain as the upper end of
    `spectra.pseudospectral_radius`; "this rounding keeps it stable" rests on the computed eigenvalues of one
    matrix. The matrix is taken alone: gates and the nonlinearity are not looked at. At order 512 one format
    takes about a second, more than half of it for the pseudospectral radius and a quarter for the eigenvalues
    of the rounded matrix.

    Examples
    --------
    >>> from rnn.measuring.number_formats import rounding_effect
    >>> print(rounding_effect([[0.9, 5.0], [0.0, 0.9]], "float8_e4m3fn"))
    float8_e4m3fn: this rounding keeps it stable; spectral radius 0.9, rounded 0.875, at most 1.25444 under \
any change of norm 0.025
    """
    return rounding_effects(A, formats=(number_format,), dynamics=dynamics)[number_format]


def rounding_effects(
    A: ArrayLike | SchurForm,
    *,
    formats: Iterable[str] = NUMBER_FORMATS,
    dynamics: str = "discrete",
    threads: int | None = None,
) -> dict[str, RoundingEffect]:
    """Say for several number formats what rounding a square matrix to them does to its stability.

    Parameters
    ----------
    A : array_like, shape (n, n), or SchurForm
        Real matrix.
    formats : iterable of str
        As for `rounded`.
    dynamics : {"discrete", "continuous"}
        As for `rounding_effect`.
    threads : int, optional
        Formats worked on at the same time; by default as many as there are cores.

    Returns
    -------
    dict of str to RoundingEffect
        By format, in the order asked for.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `rounding_effect`.

    Notes
    -----
    One Schur form of W for all.

    Examples
    --------
    A normal matrix moves no farther than it is perturbed:

    >>> import numpy as np
    >>> found = rounding_effects(np.diag([0.3, 0.7]), formats=["float16", "int8_per_row"])
    >>> [effect.verdict for effect in found.values()]
    ['stable whatever the rounding', 'stable whatever the rounding']
    """
    wanted = _checked_formats(formats)
    dynamics = one_of(dynamics, "dynamics", DYNAMICS)
    workers = min(available_threads(threads), len(wanted))
    if not isinstance(A, SchurForm):
        A = real_matrix(A)
    form = schur_form(A)
    refuse_complex(form.A)
    with one_blas_thread():
        norm = spectral_norm(form)
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(lambda name: _effect(form, norm, name, dynamics), wanted)
            return dict(zip(wanted, found, strict=True))


def _checked_formats(formats: Iterable[str]) -> Sequence[str]:
    if isinstance(formats, str):
        raise TypeError(f"formats is {formats!r}; expected several: [{formats!r}]")
    wanted = [one_of(name, "formats", NUMBER_FORMATS) for name in formats]
    if not wanted:
        raise ValueError(f"formats is empty; expected some of {', '.join(NUMBER_FORMATS)}")
    return list(dict.fromkeys(wanted))


def _effect(form: SchurForm, norm: float, number_format: str, dynamics: str) -> RoundingEffect:
    discrete = dynamics == "discrete"
    reach = spectral_radius if discrete else spectral_abscissa
    farthest = pseudospectral_radius if discrete else pseudospectral_abscissa
    boundary = 1.0 if discrete else 0.0
    before = reach(form)
    values, beyond = nearest(np.asarray(form.A, dtype=np.float64), number_format)
    if np.isfinite(values).all():
        epsilon = spectral_norm(form.A - values)
        after = reach(values) if epsilon > 0 else before
        found = farthest(form, epsilon)
        worst, lower, upper = found.value, found.lower, found.upper
    else:
        epsilon = after = worst = lower = upper = math.inf
    stable = {
        "overflows": math.isinf(epsilon),
        "unstable before": before >= boundary,
        "stable whatever the rounding": upper < boundary,
        "this rounding keeps it stable": after < boundary,
        "becomes unstable": True,
    }
    return RoundingEffect(
        number_format=number_format,
        dynamics=dynamics,
        order=form.n,
        epsilon=epsilon,
        relative=epsilon / norm if norm > 0 else epsilon,
        before=before,
        after=after,
        worst=worst,
        worst_lower=lower,
        worst_upper=upper,
        beyond=beyond,
        verdict=next(verdict for verdict, true in stable.items() if true),
    )
