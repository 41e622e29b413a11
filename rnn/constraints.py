"""Recurrent matrices scaled to a spectral radius or norm, once after training or after each step of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rnn.networks.scalable_matrices import ScalableMatrix, scalable_matrices
from spectra.checks import generator, one_of, positive, whole_number
from spectra.errors import UnsupportedModelError

Floats = NDArray[np.float64]

KINDS = ("radius", "radius-power", "radius-rayleigh", "norm")

_ACCURACY = 1e-6  # relative, of what is scaled: it ends in [(1 - 1e-6) target, target]
_AIM = 1 - 0.4 * _ACCURACY
_ROUNDS = 8
_RESIDUAL = 1e-8  # of an eigenpair that the power method has found, relative


@dataclasses.dataclass(frozen=True, slots=True)
class NormalisedMatrix:
    """What `normalised` did to one recurrent matrix.

    Attributes
    ----------
    name : str
        As `named_matrices` calls it: ``weight_hh_l0[n]``.
    kind : str
        What was normalised.
    target : float
        Its wanted value.
    estimate : float
        What the matrix was taken to have before: the radius or norm, or what the iteration gave for it.
    converged : bool
        Whether the estimate is right: for "radius" and "norm" always; for the others, whether the iteration
        ended at an eigenvector.
    factor : float
        What the matrix, or the free part of a constrained one, was multiplied by; 1.0 where it was left.
    radius_before, radius_after : float
        Spectral radius, by dense eigenvalues.
    norm_before, norm_after : float
        Spectral norm.
    """

    name: str
    kind: str
    target: float
    estimate: float
    converged: bool
    factor: float
    radius_before: float
    radius_after: float
    norm_before: float
    norm_after: float

    def __str__(self) -> str:
        """One line."""
        doubt = "" if self.converged else ", not converged"
        return (
            f"NormalisedMatrix({self.name}: {self.kind} {self.estimate:.6g}{doubt}, times {self.factor:.6g}; "
            f"radius {self.radius_before:.6g} -> {self.radius_after:.6g}, "
            f"norm {self.norm_before:.6g} -> {self.norm_after:.6g})"
        )

    __repr__ = __str__


def normalised(
    model: nn.Module,
    kind: str,
    *,
    target: float = 1.0,
    only_above: bool = False,
    iterations: int = 100,
    rng: int | np.random.Generator = 0,
) -> tuple[NormalisedMatrix, ...]:
    """Scale the recurrent matrices of a network in place, W to (target/s) W with s its radius or norm.

    Parameters
    ----------
    model : nn.Module
        A network with recurrent weights under torch's names, or `FeedForward`, whose hidden matrix stands for
        them. Nothing else in it is changed.
    kind : {"radius", "radius-power", "radius-rayleigh", "norm"}
        What s is: the spectral radius, by dense eigenvalues; ‖W v‖ for the unit vector v after `iterations`
        steps of the power method; the Rayleigh quotient |vᵀ W v| of that v; or the spectral norm.
    target : float, optional
        The value that it is to have. 1 puts the spectrum on the unit disc.
    only_above : bool, optional
        Leave matrices with s ≤ target as they are: the projection of a constraint. Otherwise they are
        stretched.
    iterations : int, optional
        Most steps of the power method; it stops at an eigenvector, ‖W v − (vᵀ W v) v‖ ≤ 1e-8 ‖W v‖.
    rng : int or numpy.random.Generator, optional
        Determines its first vector.

    Returns
    -------
    tuple of NormalisedMatrix
        One for each matrix, with radius and norm before and after.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an option is out of range, or a matrix is not finite or cannot reach the target because its s is 0
        or held by a constraint.
    UnsupportedModelError
        If there is no recurrent matrix, or one is constrained in a way that takes no scaling (an orthogonal
        matrix has radius and norm 1 whatever its weights). Then no matrix is changed.

    Notes
    -----
    Gates are scaled one by one: a stack of them is not square and has no radius, and a common factor would
    tie the scale of one gate to that of another. The norm of the stack is at most √gates times the target.

    The value that is scaled ends in [(1 − 1e-6) target, target] of float32 and float64 weights: never above,
    so that rounding does not decide whether a matrix is stable. For "radius" this needs eigenvalues of a
    condition below about 10, since rounding W to float32 moves an eigenvalue by some 3e-8 times its
    condition; `radius_after` is what came out.

    The power method converges if one eigenvalue is largest in modulus. The leading eigenvalues of a real W
    are often a complex pair: then v turns for ever, ‖W v‖ is off by up to the condition of the pair, and the
    Rayleigh quotient, ρ |cos θ| or so, can be anything down to 0. Networks are normalised in this way in the
    literature (Sengupta and Friston 2018); it is done here as written there, and the record says what came
    out: `converged`, `radius_after`.

    Of "antisymmetric" and "lipschitz" cells, the free part M is scaled until W has the target (W holds −γI,
    which is fixed); the drift A of the latter is left. Their W does not act on the state by itself, see
    `RecurrentClassifier`.

    Cost for each matrix: two dense eigenvalue problems and two norms, one each where it is left.

    References
    ----------
    .. [1] B. Sengupta and K. J. Friston, "How robust are deep neural networks?", arXiv:1804.11313, 2018.

    Examples
    --------
    >>> layer = nn.RNN(2, 2)
    >>> with torch.no_grad():
    ...     _ = layer.weight_hh_l0.copy_(torch.tensor([[2.0, 8.0], [0.0, 1.0]]))
    >>> normalised(layer, "radius")
    (NormalisedMatrix(weight_hh_l0: radius 2, times 0.5; radius 2 -> 1, norm 8.30313 -> 4.15156),)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    one_of(kind, "kind", KINDS)
    target, iterations, random = (
        positive(target, "target"),
        whole_number(iterations, "iterations"),
        generator(rng),
    )
    with torch.no_grad():
        matrices = [*scalable_matrices(model)]
        if not matrices:
            raise UnsupportedModelError(
                f"model ({type(model).__name__}) has no recurrent matrix weight_hh that is a parameter; "
                "expected nn.RNN, nn.GRU, nn.LSTM, their cells, or a model of rnn.build_model"
            )
        scalings = [_Scaling(matrix, kind, target, iterations, random) for matrix in matrices]
        for scaling in scalings:
            scaling.check(only_above)
        return tuple(scaling.done(only_above) for scaling in scalings)


class _Scaling:
    """What is to be done to one matrix: measured first, then scaled."""

    def __init__(
        self, matrix: ScalableMatrix, kind: str, target: float, iterations: int, random: np.random.Generator
    ) -> None:
        self.matrix, self.kind, self.target, self.iterations = matrix, kind, target, iterations
        W = matrix.values()
        self.radius, self.norm = _radius(W), _norm(W)
        self.start = random.standard_normal(len(W))
        self.estimate, self.converged = self._measure(W, self.radius, self.norm)

    def check(self, only_above: bool) -> None:
        """Refuse what cannot reach the target."""
        if self._is_right(self.estimate, only_above):
            return
        name, kind = self.matrix.name, self.kind
        if self.matrix.held >= self.target:
            raise ValueError(
                f"{name} holds the fixed part {-self.matrix.held:g} I (gamma), so that its {kind} cannot be "
                f"{self.target:g}; choose a larger target or a smaller gamma"
            )
        largest = torch.finfo(self.matrix.read().dtype).max
        if self.estimate == 0 or self.norm * (self.target / self.estimate) > largest:
            raise ValueError(
                f"{name} has {kind} {self.estimate:g}, so that no scaling gives it {self.target:g}; choose "
                "another kind, such as 'norm', or only_above=True"
            )

    def done(self, only_above: bool) -> NormalisedMatrix:
        """Scale the matrix until its value is right, and say what came out."""
        value, factor, radius, norm = self.estimate, 1.0, self.radius, self.norm
        for _ in range(_ROUNDS):
            if self._is_right(value, only_above and factor == 1.0):
                break
            step = _AIM * self.target / value
            self.matrix.scale(step)
            factor *= step
            W = self.matrix.values()
            radius, norm = _radius(W), _norm(W)
            value, _ = self._measure(W, radius, norm)
        return NormalisedMatrix(
            name=self.matrix.name,
            kind=self.kind,
            target=self.target,
            estimate=self.estimate,
            converged=self.converged,
            factor=factor,
            radius_before=self.radius,
            radius_after=radius,
            norm_before=self.norm,
            norm_after=norm,
        )

    def _is_right(self, value: float, only_above: bool) -> bool:
        return value <= self.target and (only_above or value >= (1 - _ACCURACY) * self.target)

    def _measure(self, W: Floats, radius: float, norm: float) -> tuple[float, bool]:
        if self.kind in {"radius", "norm"}:
            return (radius if self.kind == "radius" else norm), True
        length, quotient, converged = _power_method(W, self.start, self.iterations)
        return (length if self.kind == "radius-power" else abs(quotient)), converged


def _radius(W: Floats) -> float:
    return float(np.abs(np.linalg.eigvals(W)).max())


def _norm(W: Floats) -> float:
    return float(np.linalg.norm(W, 2))


def _power_method(W: Floats, start: Floats, iterations: int) -> tuple[float, float, bool]:
    """Give ‖W v‖ and vᵀ W v for the last unit vector v, and whether it is an eigenvector."""
    v, length, quotient, converged = start / np.linalg.norm(start), 0.0, 0.0, False
    for _ in range(iterations):
        image = W @ v
        length, quotient = float(np.linalg.norm(image)), float(v @ image)
        converged = bool(np.linalg.norm(image - quotient * v) <= _RESIDUAL * length)
        if converged:
            break
        v = image / length
    return length, quotient, converged
