"""Lyapunov exponents of trained recurrent networks along their trajectories on data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import nn

from rnn.motion.drives import Drive
from rnn.motion.jacobians import jacobian_blocks, one_drive
from spectra.checks import callback, generator, whole_number
from spectra.results import Record
from spectra.scaling import UNIT_ROUNDOFF
from spectra.threads import Progress, one_blas_thread

Floats = NDArray[np.float64]

_UNITS = 8  # means that an error is read from: trajectories, or blocks of time of fewer of them
_CONFIDENCE = 0.95
_FEWEST = 4  # steps of the longest trajectory below which nothing tells a transient


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LyapunovSpectrum(Record):
    """Lyapunov exponents: the mean rates at which small perturbations of the state grow, per step.

    Attributes
    ----------
    name : str
        Name of the cell.
    exponents : ndarray, shape (k,)
        In falling order, natural logarithm per step; -inf for a direction that some step takes to 0.
    errors : ndarray, shape (k,)
        Estimated half-widths of 95 % intervals of each; inf where there are not enough steps for one: fewer
        than two means, or fewer than four steps in every trajectory.
    kaplan_yorke : float
        Dimension j + (λ_1 + ... + λ_j) / abs(λ_{j+1}), with the largest j for which the sum is not negative;
        k where no sum is negative, which is a lower bound if k is below the order of the state.
    kolmogorov_sinai : float
        Sum of the positive exponents, which bounds the entropy rate from above.
    steps : int
        Number of steps that were averaged over, of all trajectories together.
    trajectories : int
        Number of trajectories that they belong to.
    skip : int
        Number of first steps of each trajectory that were left out.
    state_size : int
        Order s of the state Jacobians.
    """

    name: str
    exponents: Floats
    errors: Floats
    kaplan_yorke: float
    kolmogorov_sinai: float
    steps: int
    trajectories: int
    skip: int
    state_size: int

    def _check_shapes(self) -> None:
        if self.exponents.ndim != 1 or self.errors.shape != self.exponents.shape:
            raise ValueError("errors of another shape than exponents")

    def __str__(self) -> str:
        """One line."""
        return (
            f"LyapunovSpectrum of {self.name}: largest {self.exponents[0]:.4g} +- {self.errors[0]:.1g} per "
            f"step, {int((self.exponents > 0).sum())} of {len(self.exponents)} positive, Kaplan-Yorke "
            f"dimension {self.kaplan_yorke:.3g}, {self.steps} steps of {self.trajectories} trajectories"
        )

    __repr__ = __str__


def lyapunov_spectrum(
    model: nn.Module | Drive,
    x: Any = None,
    *,
    exponents: int | None = None,
    skip: int | None = None,
    rng: np.random.Generator | int = 0,
    progress: Progress | None = None,
) -> LyapunovSpectrum:
    """Lyapunov exponents λ_i = lim 1/T log σ_i(J_T ... J_1) of a network along its trajectories on data.

    Parameters
    ----------
    model : nn.Module or Drive
        A module with the methods `initial_state` and `step`, a network with one of torch's recurrent layers
        in one direction, or one of `recorded_drives`.
    x : Tensor, shape (N, T, F)
        Input sequences, or whatever the network takes; None for a drive.
    exponents : int, optional
        How many of them, the largest first; without it all s.
    skip : int, optional
        How many first steps of each trajectory only turn the directions and are not averaged over; without
        it a fifth of the longest trajectory.
    rng : numpy.random.Generator or int, optional
        Draws the first directions.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of steps of groups of trajectories.

    Returns
    -------
    LyapunovSpectrum
        The exponents with errors.

    Raises
    ------
    UnsupportedModelError
        If the model ran no recurrent layer, or more than one.
    TypeError
        If an option is of the wrong kind.
    ValueError
        If x does not fit or is given beside a drive, more exponents are asked for than the state has
        entries, a Jacobian is not finite, or `skip` leaves no step.

    Notes
    -----
    *Algorithm.* Benettin's: orthonormal directions Q, random for each trajectory, are led on by the state
    Jacobians, J_t Q_t = Q_{t+1} R_t, and λ_i is the mean of log R_t[i, i] over steps and trajectories. Each
    step costs the Jacobian, one product and one QR factorisation, some 2 s² k + 4 s k² operations.

    *Singular steps.* An R[i, i] of at most s u times the norm of its column is 0 to rounding (units of a ReLU
    network that are off, saturated gates), and the exponent -inf, with error 0.

    *Errors are estimated, not proven.* Each is the sum of three. (1) The half-width of Student's 95 %
    interval from at least eight means: of the trajectories, or, if they are fewer than eight, of equal blocks
    of their steps, as if these were independent. (2) The difference between the means of the first and second
    halves of the trajectories, which tells a transient of the states or of Q that goes on behind `skip`: half
    of it is the bias of one that ends with the first half, and twice that leaves room for slower ones (the
    bias falls like 1/T). (3) Rounding, the mean of 4 s u norm(J) / R[i, i]. The exponents are those of the
    trajectories' own statistics: sequences that are too short to have any get wide errors, and what happens
    only after their end is not seen.

    References
    ----------
    G. Benettin, L. Galgani, A. Giorgilli and J.-M. Strelcyn, Lyapunov characteristic exponents for smooth
    dynamical systems, Meccanica 15, 1980.
    R. Engelken, F. Wolf and L. F. Abbott, Lyapunov spectra of chaotic recurrent neural networks,
    arXiv:2006.02427, 2020.
    R. Vogt, M. Puelma Touzel, E. Shlizerman and G. Lajoie, On Lyapunov exponents for RNNs, Frontiers in
    Applied Mathematics and Statistics 8, 2022.

    Examples
    --------
    Around the state 0 a tanh cell without input is linear, and the exponents are log abs(eigenvalues):

    >>> import torch
    >>> from rnn import UnrolledCell
    >>> weights = {"weight_ih": torch.zeros(2, 1), "weight_hh": torch.tensor([[0.5, 8.0], [0.0, 0.25]])}
    >>> spectrum = lyapunov_spectrum(UnrolledCell("tanh", weights), torch.zeros(1, 200, 1))
    >>> (spectrum.exponents / np.log(2)).round(6)
    array([-1., -2.])
    """
    callback(progress)
    drive = one_drive(model, x)
    _, steps, size = drive.states.shape
    wanted = size if exponents is None else whole_number(exponents, "exponents", most=size)
    skipped = steps // 5 if skip is None else whole_number(skip, "skip", least=0)
    taken = drive.taken.cpu().numpy().copy()
    taken[:, :skipped] = False
    if not taken.any():
        raise ValueError(
            f"skip is {skipped}, and the longest of the trajectories has {steps} steps; skip fewer"
        )
    with one_blas_thread():  # many small matrices
        rates, noise = _growth_rates(drive, wanted, generator(rng), progress)
    means = rates[taken].mean(axis=0)
    errors = np.zeros(wanted)
    finite = np.isfinite(means)
    errors[finite] = _errors(rates[..., finite], taken) + noise[taken].mean(axis=0)[finite]
    order = np.argsort(-means, kind="stable")
    return LyapunovSpectrum(
        name=drive.name,
        exponents=means[order],
        errors=errors[order],
        kaplan_yorke=_kaplan_yorke(means[order]),
        kolmogorov_sinai=float(means[means > 0].sum()),
        steps=int(taken.sum()),
        trajectories=int(taken.any(axis=1).sum()),
        skip=skipped,
        state_size=size,
    )


def _growth_rates(
    drive: Drive, wanted: int, random: np.random.Generator, progress: Progress | None
) -> tuple[Floats, Floats]:
    """Give log R[i, i] of each trajectory and step, (N, T, k), and the relative rounding error of R[i, i]."""
    count, steps, size = drive.states.shape
    rates, noise = np.empty((2, count, steps, wanted))
    start = np.linalg.qr(random.standard_normal((count, size, wanted)))[0]
    Q = start
    for part, step, J in jacobian_blocks(drive, progress=progress):
        if step == 0:
            Q = start[part]
        powers = np.frexp(np.abs(J).max(axis=(1, 2)))[1][:, None]  # so that no product over- or underflows
        scaled = np.ldexp(J, -powers[..., None])
        image = scaled @ Q
        Q, R = np.linalg.qr(image)
        sizes = np.abs(np.diagonal(R, axis1=1, axis2=2))
        lost = sizes <= size * UNIT_ROUNDOFF * np.linalg.norm(image, axis=1)
        sizes = np.where(lost, 1.0, sizes)
        rates[part, step] = np.where(lost, -np.inf, np.log(sizes) + powers * np.log(2))
        scale = np.linalg.norm(scaled, axis=(1, 2))[:, None]
        noise[part, step] = np.where(lost, 0.0, 4 * size * UNIT_ROUNDOFF * scale / sizes)
    return rates, noise


def _errors(rates: Floats, taken: NDArray[np.bool_]) -> Floats:
    """Half-widths of intervals of the mean of rates over the steps taken, without rounding."""
    used = taken.any(axis=1)
    blocks = -(-_UNITS // int(used.sum()))
    sums, sizes = _block_sums(rates[used], taken[used], blocks)
    units = len(sizes)
    if units < 2 or taken.sum(axis=1).max() < _FEWEST:
        return np.full(rates.shape[-1], np.inf)
    mean = sums.sum(axis=0) / sizes.sum()
    spread = ((sums - sizes[:, None] * mean) ** 2).sum(axis=0)
    quantile = stdtrit(units - 1, (1 + _CONFIDENCE) / 2)
    half_width = quantile * np.sqrt(spread * units / (units - 1)) / sizes.sum()
    first, second = (rates[half].mean(axis=0) for half in _halves(taken))
    return np.asarray(half_width + np.abs(first - second))


def _block_sums(rates: Floats, taken: NDArray[np.bool_], blocks: int) -> tuple[Floats, Floats]:
    """Give sums over equal blocks of the steps of each trajectory, and how many steps; empty ones go."""
    number = taken.cumsum(axis=1) - 1
    block = number * blocks // taken.sum(axis=1, keepdims=True)
    found = [taken & (block == index) for index in range(blocks)]
    sums = np.concatenate([np.where(inside[..., None], rates, 0.0).sum(axis=1) for inside in found])
    sizes = np.concatenate([inside.sum(axis=1) for inside in found]).astype(np.float64)
    return sums[sizes > 0], sizes[sizes > 0]


def _halves(taken: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Give the first and the second half of the steps of each trajectory; a single step is in both."""
    number, total = taken.cumsum(axis=1), taken.sum(axis=1, keepdims=True)
    return taken & (2 * number <= total + 1), taken & (2 * number > total)


def _kaplan_yorke(exponents: Floats) -> float:
    sums = exponents.cumsum()
    below = np.flatnonzero(sums < 0)
    if not len(below):
        return float(len(exponents))
    j = int(below[0])
    return float(j + (sums[j - 1] / -exponents[j] if j else 0.0))
