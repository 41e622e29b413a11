"""Lipschitz bounds of recurrent layers, from a sequence of inputs to the outputs and to the last state."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rnn.motion.cells import UnrolledCell, unrolled_cells
from spectra.norms import spectral_norm

Floats = NDArray[np.float64]

_EXACT = 512  # steps up to which the norm of the map from step to step is that of its matrix
_UNIT_ROUNDOFF = 2.0**-53


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RecurrentBound:
    """Upper bounds of the Lipschitz constants of a recurrent layer, all in the 2-norm.

    Attributes
    ----------
    output : float
        Of the map from the whole sequence of inputs to the whole sequence of outputs.
    last : float
        Of the map to the outputs of the last step, forward direction; inf if the layer has both.
    hidden : float
        Of the map to the last hidden states h_n of all layers and directions.
    cell : float
        Of the map to the last cell states c_n; 0 if there are none.
    """

    output: float
    last: float
    hidden: float
    cell: float


def norm_above(matrix: Floats) -> float:
    """Give the spectral norm of a matrix, rounded up past the error of its computation.

    Parameters
    ----------
    matrix : ndarray, shape (m, n)
        Finite numbers.

    Returns
    -------
    float
        At least ‖matrix‖₂: 1 + 8 max(m, n) u times the computed one.
    """
    return spectral_norm(matrix) * (1 + 8 * max(matrix.shape) * _UNIT_ROUNDOFF)


def recurrent_bound(layer: nn.Module, steps: int) -> RecurrentBound:
    """Bound the Lipschitz constants of a recurrent layer over a number of steps.

    Parameters
    ----------
    layer : nn.Module
        ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, in evaluation mode; or an `UnrolledCell`.
    steps : int
        Length T of the sequences.

    Returns
    -------
    RecurrentBound
        The bounds, for the starting state zero; inf where they exceed the largest float.

    Notes
    -----
    Two inputs give two runs. Let ξ_t, δ_t and γ_t be the norms of the differences of their inputs, hidden
    states and cell states at step t; |tanh'| ≤ 1, |σ'| ≤ 1/4, σ ≤ 1 and, entry by entry,
    ab − a'b' = a(b − b') + (a − a')b'.

    * tanh or ReLU: δ_t ≤ ‖W_hh‖ δ_{t−1} + ‖W_ih‖ ξ_t.
    * Euler steps h + η (A h + tanh(...)): the slopes of tanh are D = (I + S)/2 with |S| ≤ 1, so that
      δ_t ≤ (‖I + η A + η W_hh/2‖ + η ‖W_hh‖/2) δ_{t−1} + η ‖W_ih‖ ξ_t.
    * GRU, where |h| ≤ 1 since h is a mean of h and n = tanh(...): with μ the sums of |W_hn| by row plus
      |b_hn|, which bound |W_hn h + b_hn|, the n differ by at most α ξ_t + β δ_{t−1}, where
      α = ‖W_in‖ + ‖diag(μ) W_ir‖/4 and β = ‖W_hn‖ + ‖diag(μ) W_hr‖/4. The mean (1 − z) Δn + z Δh is no
      longer than Δn and Δh side by side, and |h − n| ≤ 2, so that
      δ_t ≤ ((1 + β²)^½ + ‖W_hz‖/2) δ_{t−1} + (α + ‖W_iz‖/2) ξ_t.
    * LSTM, where |c_t| ≤ t since c grows by at most 1 a step:
      γ_t ≤ γ_{t−1} + p_t δ_{t−1} + q_t ξ_t with p_t = ‖W_hg‖ + ‖W_hi‖/4 + (t − 1) ‖W_hf‖/4, the same for
      q_t with W_i., and δ_t ≤ ‖W_hr‖ (γ_t + ‖W_ho‖ δ_{t−1}/4 + ‖W_io‖ ξ_t/4), with ‖W_hr‖ = 1 without
      projection.

    The inequalities make a lower triangular matrix M with δ ≤ M ξ; its norm bounds the map to all outputs (up
    to 512 steps, beyond them (‖M‖₁ ‖M‖_∞)^½), that of its last row the map to the last state. Layers
    multiply; directions add in squares. The bounds of gates grow exponentially with T: they are true, and
    seldom tight.

    Examples
    --------
    >>> import torch
    >>> cell = UnrolledCell("tanh", {"weight_ih": torch.eye(1), "weight_hh": torch.full((1, 1), 0.5)})
    >>> round(recurrent_bound(cell, 2).last ** 2, 9)
    1.25
    """
    cells = (layer,) if isinstance(layer, UnrolledCell) else unrolled_cells(layer)
    by_layer: dict[int, list[UnrolledCell]] = {}
    for cell in cells:
        by_layer.setdefault(cell.layer, []).append(cell)
    into, hidden, last_cell, last = 1.0, 0.0, 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for together in by_layer.values():
            gains = [_gains(cell, steps) for cell in together]
            hidden = math.hypot(hidden, *(_times(into, gain.hidden) for gain in gains))
            last_cell = math.hypot(last_cell, *(_times(into, gain.cell) for gain in gains))
            last = _times(into, gains[0].last) if len(gains) == 1 else math.inf
            into = _times(into, math.hypot(*(gain.output for gain in gains)))
    return RecurrentBound(into, last, hidden, last_cell)


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _gains(cell: UnrolledCell, steps: int) -> RecurrentBound:
    weights = _matrices(cell)
    rows = _euler(weights, cell.eta) if cell.kind == "euler" else _ROWS[cell.kind](weights)
    size = len(rows(1)[1])
    # Z[:, s] bounds what a difference of 1 in the input of step s makes of (h, c) so far
    Z, output = np.zeros((size, steps)), np.zeros((steps, steps) if steps <= _EXACT else (0, steps))
    row_sum, columns = 0.0, np.zeros(steps)
    for t in range(1, steps + 1):
        A, b = rows(t)
        Z = A @ Z
        Z[:, t - 1] = b
        if not np.isfinite(Z).all():
            return RecurrentBound(*[math.inf] * (3 + (size == 2)), *[0.0] * (size == 1))
        if steps <= _EXACT:
            output[t - 1] = Z[0]
        row_sum, columns = max(row_sum, Z[0].sum()), columns + Z[0]
    whole = math.sqrt(row_sum) * math.sqrt(columns.max())
    if steps <= _EXACT and np.isfinite(output).all():
        whole = min(whole, norm_above(output))
    ends = [float(math.hypot(*row)) for row in Z]
    slack = 1 + 8 * steps * size * _UNIT_ROUNDOFF
    last = ends[0] * slack
    return RecurrentBound(whole * slack, last, last, ends[1] * slack if size == 2 else 0.0)


Rows = Callable[[int], tuple[Floats, Floats]]


def _plain(weights: dict[str, Floats]) -> Rows:
    A, b = np.array([[norm_above(weights["h"])]]), np.array([norm_above(weights["i"])])
    return lambda t: (A, b)


def _euler(weights: dict[str, Floats], eta: float) -> Rows:
    middle = np.eye(len(weights["h"])) + eta * (weights["drift"] + weights["h"] / 2)
    A = np.array([[norm_above(middle) + eta * norm_above(weights["h"]) / 2]])
    b = np.array([eta * norm_above(weights["i"])])
    return lambda t: (A, b)


def _gru(weights: dict[str, Floats]) -> Rows:
    h_r, h_z, h_n = np.split(weights["h"], 3)
    i_r, i_z, i_n = np.split(weights["i"], 3)
    mu = np.abs(h_n).sum(1) + np.abs(np.split(weights["bias_h"], 3)[2])
    alpha = norm_above(i_n) + norm_above(mu[:, None] * i_r) / 4
    beta = norm_above(h_n) + norm_above(mu[:, None] * h_r) / 4
    A = np.array([[math.hypot(1, beta) + norm_above(h_z) / 2]])
    b = np.array([alpha + norm_above(i_z) / 2])
    return lambda t: (A, b)


def _lstm(weights: dict[str, Floats]) -> Rows:
    h_i, h_f, h_g, h_o = map(norm_above, np.split(weights["h"], 4))
    i_i, i_f, i_g, i_o = map(norm_above, np.split(weights["i"], 4))
    back = norm_above(weights["back"]) if "back" in weights else 1.0

    def rows(t: int) -> tuple[Floats, Floats]:
        p, q = h_g + h_i / 4 + (t - 1) * h_f / 4, i_g + i_i / 4 + (t - 1) * i_f / 4
        return np.array([[back * (p + h_o / 4), back], [p, 1.0]]), np.array([back * (q + i_o / 4), q])

    return rows


_ROWS: dict[str, Callable[[dict[str, Floats]], Rows]] = {
    "tanh": _plain,
    "relu": _plain,
    "gru": _gru,
    "lstm": _lstm,
}


def _matrices(cell: UnrolledCell) -> dict[str, Floats]:
    found = {"i": cell.weight_ih, "h": cell.weight_hh, "back": cell.weight_hr, "bias_h": cell.bias_hh}
    found["drift"] = cell.weight_drift
    matrices = {
        key: value.detach().cpu().double().numpy() for key, value in found.items() if value is not None
    }
    matrices.setdefault("bias_h", np.zeros(len(matrices["h"])))
    matrices.setdefault("drift", np.zeros_like(matrices["h"]))
    return matrices
