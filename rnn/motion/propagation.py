"""Finite-time growth: what products of state Jacobians do to perturbations along trajectories on data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rnn.dynamics import mean_state_jacobian
from rnn.motion.drives import Drive
from rnn.motion.jacobians import jacobian_blocks, one_drive
from spectra.checks import callback
from spectra.results import Record
from spectra.threads import Progress, one_blas_thread
from spectra.transients import transient_growth

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FiniteTimeGrowth(Record):
    """Norms of products of state Jacobians: how far a small change of the state can grow in t steps.

    Attributes
    ----------
    name : str
        Name of the cell.
    norms : ndarray, shape (N, T)
        ‖J_t ... J_1‖₂ of each trajectory after 1 to T steps; inf and 0 beyond the floats.
    log10_norms : ndarray, shape (N, T)
        Their logarithms, which are finite there too; -inf where a product is 0.
    log10_to_last : ndarray, shape (N, T)
        log10 ‖J_T ... J_t‖₂: how far a change of the state before step t can grow until the last state. After
        the end of a shorter sequence it is 0, the identity.
    log10_peaks : ndarray, shape (N,)
        Logarithm of the largest norm of each trajectory from time 0, where it is 1, to the last step.
    peak_steps : ndarray of int, shape (N,)
        After how many steps it is first reached; 0 where no norm is above 1.
    initial_directions, final_directions : ndarray, shape (N, s)
        Unit vectors v and w: at the peak a change along v of the first state has become peak * w, and no
        other direction leads to a larger one.
    log10_mean, log10_largest : ndarray, shape (T,)
        Mean of `log10_norms` over the trajectories (the geometric mean of the norms), and the largest.
    log10_of_mean_jacobian : ndarray, shape (T,)
        log10 ‖M^t‖₂ of the Jacobian M at mean state and mean input, for comparison; ±inf beyond the floats.
    lengths : ndarray of int, shape (N,)
        Number of steps of each sequence; behind its end the norms stay as they are.
    """

    name: str
    norms: Floats
    log10_norms: Floats
    log10_to_last: Floats
    log10_peaks: Floats
    peak_steps: NDArray[np.int64]
    initial_directions: Floats
    final_directions: Floats
    log10_mean: Floats
    log10_largest: Floats
    log10_of_mean_jacobian: Floats
    lengths: NDArray[np.int64]

    def _check_shapes(self) -> None:
        curves = (self.log10_norms, self.log10_to_last)
        if self.norms.ndim != 2 or any(curve.shape != self.norms.shape for curve in curves):
            raise ValueError("curves of another shape than norms")
        if self.initial_directions.shape != self.final_directions.shape:
            raise ValueError("directions of different shapes")

    def __str__(self) -> str:
        """One line."""
        worst = int(np.argmax(self.log10_peaks))
        count, steps = self.norms.shape
        return (
            f"FiniteTimeGrowth of {self.name}: largest 10^{self.log10_peaks[worst]:.3g} after "
            f"{self.peak_steps[worst]} of {steps} steps, at the end 10^{self.log10_mean[-1]:.3g} in the mean "
            f"of {count} trajectories, of the mean Jacobian 10^{self.log10_of_mean_jacobian[-1]:.3g}"
        )

    __repr__ = __str__


def finite_time_growth(
    model: nn.Module | Drive, x: Any = None, *, progress: Progress | None = None
) -> FiniteTimeGrowth:
    """Finite-time growth ‖J_t ... J_1‖₂ of perturbations of the state along trajectories on data.

    Parameters
    ----------
    model : nn.Module or Drive
        A module with the methods `initial_state` and `step`, a network with one of torch's recurrent layers
        in one direction, or one of `recorded_drives`.
    x : Tensor, shape (N, T, F)
        Input sequences, or whatever the network takes; None for a drive.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of steps of groups of trajectories, there and back.

    Returns
    -------
    FiniteTimeGrowth
        The norms over time, their peaks with the directions that attain them, and what the mean Jacobian
        alone predicts.

    Raises
    ------
    UnsupportedModelError
        If the model ran no recurrent layer, or more than one.
    ValueError
        If x does not fit, is given beside a drive, or a Jacobian is not finite.
    ConvergenceError
        If an iteration of LAPACK fails.

    Notes
    -----
    Two Jacobians, two products and two singular value decompositions for each step of each trajectory, from
    the first step on and from the last one back: about 4 s³ + 8 s³ operations besides the Jacobians. The
    products are scaled by powers of two, so that nothing over- or underflows. A product of t factors carries
    the rounding errors of a change of each J by some s u ‖J‖: where its norm is far below the product of the
    norms of its factors, few digits may be left.

    The norms are those of linear perturbation theory: a change of the state follows them as long as it is
    small. `spectra.transient_growth` gives the powers of the mean Jacobian.

    Examples
    --------
    >>> import torch
    >>> from rnn import UnrolledCell
    >>> weights = {"weight_ih": torch.zeros(2, 1), "weight_hh": torch.tensor([[0.5, 4.0], [0.0, 0.5]])}
    >>> growth = finite_time_growth(UnrolledCell("tanh", weights), torch.zeros(1, 3, 1))
    >>> growth.norms.round(6)
    array([[4.061553, 4.015564, 3.005199]])
    >>> growth.peak_steps
    array([1])
    """
    callback(progress)
    drive = one_drive(model, x)
    steps = drive.states.shape[1]

    def there(done: int, total: int) -> None:
        if progress is not None:
            progress(done, 2 * total)

    def back(done: int, total: int) -> None:
        if progress is not None:
            progress(total + done, 2 * total)

    with one_blas_thread():  # many small matrices
        (forward, peaks), backward = _forward_norms(drive, there), _backward_norms(drive, back)
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        norms = 10.0**forward
        predicted = transient_growth(mean_state_jacobian(drive), np.arange(1, steps + 1), dynamics="discrete")
        of_mean = np.log10(predicted.norms)
    return FiniteTimeGrowth(
        name=drive.name,
        norms=norms,
        log10_norms=forward,
        log10_to_last=backward,
        log10_peaks=peaks.log10,
        peak_steps=peaks.steps,
        initial_directions=peaks.initial,
        final_directions=peaks.final,
        log10_mean=forward.mean(axis=0),
        log10_largest=forward.max(axis=0),
        log10_of_mean_jacobian=of_mean,
        lengths=drive.lengths.cpu().numpy().astype(np.int64),
    )


class _Products:
    """Products of matrices of several trajectories, each a mantissa with a power of two."""

    def __init__(self, count: int, size: int) -> None:
        self.mantissas = np.broadcast_to(np.eye(size), (count, size, size)).copy()
        self.powers = np.zeros(count)

    def multiply(self, J: Floats, *, left: bool) -> None:
        scaled, powers = _scaled(J)
        product = scaled @ self.mantissas if left else self.mantissas @ scaled
        self.mantissas, more = _scaled(product)
        self.powers = self.powers + powers + more

    def log10_norms(self) -> Floats:
        with np.errstate(divide="ignore"):
            return np.log10(np.linalg.norm(self.mantissas, 2, axis=(1, 2))) + self.powers * np.log10(2.0)


class _Peaks:
    """The largest norm of each trajectory so far, and the directions that attain it."""

    def __init__(self, count: int, size: int) -> None:
        self.log10 = np.zeros(count)
        self.steps = np.zeros(count, dtype=np.int64)
        self.initial, self.final = np.broadcast_to(np.eye(size)[0], (2, count, size)).copy()
        self.products = np.empty((0, size, size))

    def take(self, part: slice, step: int, norms: Floats, mantissas: Floats) -> None:
        higher = norms > self.log10[part]
        self.log10[part] = np.where(higher, norms, self.log10[part])
        self.steps[part] = np.where(higher, step + 1, self.steps[part])
        if step == 0:
            self.products = np.broadcast_to(np.eye(mantissas.shape[-1]), mantissas.shape).copy()
        self.products[higher] = mantissas[higher]

    def finish(self, part: slice) -> None:
        grown = self.steps[part] > 0
        U, _, Vh = np.linalg.svd(self.products[grown])
        signs = np.sign(np.take_along_axis(Vh[:, 0], np.abs(Vh[:, 0]).argmax(axis=1)[:, None], axis=1))
        self.initial[part][grown] = signs * Vh[:, 0]
        self.final[part][grown] = signs * U[:, :, 0]


def _forward_norms(drive: Drive, progress: Progress) -> tuple[Floats, _Peaks]:
    count, steps, size = drive.states.shape
    logarithms = np.empty((count, steps))
    peaks, products = _Peaks(count, size), _Products(0, size)
    for part, step, J in jacobian_blocks(drive, progress=progress):
        if step == 0:
            products = _Products(len(J), size)
        products.multiply(J, left=True)
        logarithms[part, step] = norms = products.log10_norms()
        peaks.take(part, step, norms, products.mantissas)
        if step == steps - 1:
            peaks.finish(part)
    return logarithms, peaks


def _backward_norms(drive: Drive, progress: Progress) -> Floats:
    count, steps, size = drive.states.shape
    logarithms, products = np.empty((count, steps)), _Products(0, size)
    for part, step, J in jacobian_blocks(drive, backwards=True, progress=progress):
        if step == steps - 1:
            products = _Products(len(J), size)
        products.multiply(J, left=False)
        logarithms[part, step] = products.log10_norms()
    return logarithms


def _scaled(matrices: Floats) -> tuple[Floats, Floats]:
    """Give matrices with largest entries from 1/2 to 1, and the powers of two that were taken out."""
    powers = np.frexp(np.abs(matrices).max(axis=(1, 2)))[1]
    return np.ldexp(matrices, -powers[:, None, None]), powers.astype(np.float64)
