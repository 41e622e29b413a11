"""How steep a network is at given examples: the norm of the Jacobian of its outputs by its input."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnn.motion.twins import float64_twin
from spectra.checks import callback, generator
from spectra.results import Record
from spectra.threads import Progress

Floats = NDArray[np.float64]

_MOST_OUTPUTS = 64  # up to that many, the Jacobian is computed row by row
_TURNS = 30  # of the power iteration beyond


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LocalLipschitz(Record):
    """Norms of the Jacobian of a network at examples; ``float(r) == r.largest``.

    Attributes
    ----------
    values : ndarray, shape (N,)
        ‖∂f/∂x‖₂ at each example, or a lower bound of it.
    exact : bool
        Whether the Jacobians were computed whole. If not, each value is ‖Jᵀu‖ for a unit vector u from a
        power iteration, and so below the norm.
    largest : float
        The largest value: a lower bound of the Lipschitz constant of the network.
    place : int
        The example that has it.
    """

    values: Floats
    exact: bool
    largest: float
    place: int

    def __float__(self) -> float:
        """Give the largest value."""
        return self.largest

    def quantiles(self, levels: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Floats:
        """Give quantiles of the values.

        Parameters
        ----------
        levels : tuple of float
            From 0 to 1.

        Returns
        -------
        ndarray, shape (len(levels),)
            The quantiles.
        """
        return np.quantile(self.values, levels)

    def __str__(self) -> str:
        """One line."""
        how = "" if self.exact else ", all from below"
        return (
            f"LocalLipschitz: {self.largest:.6g} at example {self.place} of {len(self.values)}, "
            f"median {np.median(self.values):.6g}{how}"
        )

    __repr__ = __str__


def local_lipschitz(
    model: nn.Module,
    x: Tensor,
    *,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> LocalLipschitz:
    """Give the norm ‖∂f/∂x‖₂ of the Jacobian of the outputs by the input, at each example.

    Parameters
    ----------
    model : nn.Module
        The network, copied to float64 in evaluation mode; of several outputs the first counts.
    x : Tensor of floats, shape (N, ...)
        The examples, first axis; they must not influence each other.
    rng : int or numpy.random.Generator
        For the start of the power iteration.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of backward passes.

    Returns
    -------
    LocalLipschitz
        The norms. The largest is a lower bound of the Lipschitz constant of the network.

    Raises
    ------
    TypeError
        If model is no module, x is no tensor of floats, or the model returns no tensor.
    UnsupportedModelError
        If the model is one of TorchScript, or cannot be copied.
    ValueError
        If x is empty or holds NaN or inf, the model returns other than one row of finite numbers per example,
        or one example influences another.

    Notes
    -----
    With at most 64 outputs the Jacobian is computed whole, one backward pass per output for all examples
    together, and its singular values by LAPACK. With more it is a power iteration of 30 turns: Jv by central
    differences, u = Jv/‖Jv‖, and Jᵀu by a backward pass; whatever the differences are worth, ‖Jᵀu‖ ≤ ‖J‖.

    Examples
    --------
    >>> model = nn.Linear(2, 2)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    >>> local_lipschitz(model, torch.zeros(5, 2))
    LocalLipschitz: 4 at example 0 of 5, median 4
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    if not isinstance(x, Tensor) or not x.is_floating_point():
        what = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"x is {what}; expected a tensor of floats (for words, pass what their embedding gives)"
        )
    if x.ndim < 2 or x.numel() == 0 or not torch.isfinite(x).all():
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (N, ...) with N >= 1, all entries finite")
    callback(progress)
    random = generator(rng)
    twin = float64_twin(model)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.backends.cudnn.flags(enabled=False),
        torch.random.fork_rng(devices=[]),
    ):
        points = placed_like(x.detach(), twin).clone().requires_grad_()
        outputs = _outputs(twin, points)
        _refuse_company(outputs, points)
        if outputs.shape[1] <= _MOST_OUTPUTS:
            values = _whole_norms(outputs, points, progress)
        else:
            values = _power_norms(twin, outputs, points, random, progress)
    place = int(values.argmax())
    return LocalLipschitz(values, outputs.shape[1] <= _MOST_OUTPUTS, float(values[place]), place)


def placed_like(x: Tensor, twin: nn.Module) -> Tensor:
    """Give an input on the device of a network, floats as float64.

    Parameters
    ----------
    x : Tensor
        The input.
    twin : nn.Module
        The network.

    Returns
    -------
    Tensor
        The input there.
    """
    weight = next(twin.parameters(), x)
    return x.detach().to(weight.device, torch.float64 if x.is_floating_point() else x.dtype)


def _outputs(twin: nn.Module, points: Tensor) -> Tensor:
    """Give the outputs as rows (N, C)."""
    output = twin(points)
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(
            f"model returns {type(output).__name__}; expected a tensor, or a tuple that begins with one"
        )
    if output.ndim < 1 or len(output) != len(points) or output.numel() == 0:
        raise ValueError(
            f"model returns shape {tuple(output.shape)} for {len(points)} examples; expected one row each, "
            "along the first axis (wrap a layer that has the batch on its second)"
        )
    if not torch.isfinite(output).all():
        raise ValueError("model returns NaN or infinite outputs; check its weights and x")
    return output.reshape(len(points), -1)


def _backward(outputs: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Give Jᵀ w for each example, as rows (N, D)."""
    if not outputs.requires_grad:  # a constant
        return torch.zeros_like(points).flatten(1)
    (found,) = torch.autograd.grad(outputs, points, weights, retain_graph=True, allow_unused=True)
    return (torch.zeros_like(points) if found is None else found).flatten(1).detach()


def _refuse_company(outputs: Tensor, points: Tensor) -> None:
    """Refuse a network in which the outputs of the last example depend on others."""
    weights = torch.zeros_like(outputs)
    weights[-1] = 1.0
    if _backward(outputs, points, weights)[:-1].any():
        raise ValueError(
            "the outputs of one example of x depend on others; expected independent examples along the first "
            "axis (normalisation by the batch, or a recurrent layer without batch_first?)"
        )


def _whole_norms(outputs: Tensor, points: Tensor, progress: Progress | None) -> Floats:
    rows, count = [], outputs.shape[1]
    for place in range(count):
        weights = torch.zeros_like(outputs)
        weights[:, place] = 1.0
        rows.append(_backward(outputs, points, weights))
        if progress is not None:
            progress(place + 1, count)
    return np.asarray(torch.linalg.matrix_norm(torch.stack(rows, dim=1), 2).cpu().numpy())


def _power_norms(
    twin: nn.Module, outputs: Tensor, points: Tensor, random: np.random.Generator, progress: Progress | None
) -> Floats:
    u = torch.from_numpy(random.standard_normal(outputs.shape)).to(points.device)
    best = np.zeros(len(points))
    for turn in range(_TURNS):
        u = u / u.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        back = _backward(outputs, points, u)
        size = back.norm(dim=1, keepdim=True)
        best = np.maximum(best, size[:, 0].cpu().numpy())
        step = 1e-6 * (1 + points.detach().flatten(1).norm(dim=1, keepdim=True)) / size.clamp_min(1e-300)
        move = (step * back).reshape(points.shape)
        with torch.no_grad():
            change = _outputs(twin, points + move) - _outputs(twin, points - move)
        u = torch.where(change.norm(dim=1, keepdim=True) > 0, change, u)
        if progress is not None:
            progress(turn + 1, _TURNS)
    return best
