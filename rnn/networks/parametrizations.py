"""Recurrent matrices that are computed from free ones, by ``torch.nn.utils.parametrize``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def cayley(free: Tensor) -> Tensor:
    """Give the rotation (I + S/2)⁻¹ (I − S/2) of the skew matrix S = L − Lᵀ.

    Parameters
    ----------
    free : Tensor, shape (h, h)
        Its lower triangle is L; the rest has no effect.

    Returns
    -------
    Tensor, shape (h, h)
        Orthogonal, without the eigenvalue −1; the identity for L = 0.

    Examples
    --------
    >>> cayley(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    tensor([[ 0.,  1.],
            [-1.,  0.]])
    """
    lower = free.tril(-1)
    skew, eye = lower - lower.mT, torch.eye(len(free), dtype=free.dtype, device=free.device)
    return torch.linalg.solve(eye + skew / 2, eye - skew / 2)


class Orthogonal(nn.Module):
    """Orthogonal matrices Q = B C(S), with a fixed orthogonal B and the Cayley transform C of a skew S.

    Parameters
    ----------
    base : Tensor, shape (h, h)
        B, orthogonal: the matrix at S = 0.

    Notes
    -----
    The entries of S below the diagonal are free, so that any optimiser may move them and Q stays orthogonal,
    to some units of roundoff: ‖QQᵀ − I‖ is about 1e-6 in float32 for h = 64. From one B, all orthogonal
    matrices of its determinant are within reach but for a set of measure 0, those where BᵀQ has the
    eigenvalue −1.
    """

    cayley_base: Tensor  # a name of its own: torch's orthogonal matrices have a `base` and other maps

    def __init__(self, base: Tensor) -> None:
        super().__init__()
        self.register_buffer("cayley_base", base.detach().clone())

    def forward(self, free: Tensor) -> Tensor:
        """Give Q.

        Parameters
        ----------
        free : Tensor, shape (h, h)
            S below its diagonal.

        Returns
        -------
        Tensor, shape (h, h)
            The matrix.
        """
        return self.cayley_base @ cayley(free)


class SkewMixture(nn.Module):
    """Matrices W = (1 − β)(M + Mᵀ) + β(M − Mᵀ) − γI; with β = 1 a skew matrix minus γI.

    Parameters
    ----------
    beta : float
        Share β of the skew part.
    gamma : float
        Damping γ.
    """

    beta: Tensor
    gamma: Tensor

    def __init__(self, beta: float, gamma: float) -> None:
        super().__init__()
        self.register_buffer("beta", torch.tensor(float(beta)))  # so that files hold them
        self.register_buffer("gamma", torch.tensor(float(gamma)))

    def forward(self, free: Tensor) -> Tensor:
        """Give W.

        Parameters
        ----------
        free : Tensor, shape (h, h)
            M.

        Returns
        -------
        Tensor, shape (h, h)
            The matrix.
        """
        damping = self.gamma * torch.eye(len(free), dtype=free.dtype, device=free.device)
        return (1 - self.beta) * (free + free.mT) + self.beta * (free - free.mT) - damping

    def scale(self, free: Tensor, factor: float) -> None:
        """Scale M in place: W moves along with it but for γI, which is fixed.

        Parameters
        ----------
        free : Tensor, shape (h, h)
            M.
        factor : float
            The factor.
        """
        free.mul_(factor)


class SchurFactors(nn.Module):
    """Matrices W = P Θ Pᵀ, with P orthogonal and Θ lower block-triangular: rotations with scale, and T.

    Parameters
    ----------
    base : Tensor, shape (h, h)
        An orthogonal matrix B; P = B C(S) as in `Orthogonal`.
    moduli : Tensor, shape (ceil(h/2),)
        Starting scales γ_i.
    angles : Tensor, shape (floor(h/2),)
        Starting angles θ_i, in radians.

    Notes
    -----
    The blocks γ_i [[cos θ_i, −sin θ_i], [sin θ_i, cos θ_i]] on the diagonal of Θ give the eigenvalues
    γ_i e^{±iθ_i} of W; for an odd h the last block is γ alone. T is free below the blocks and makes W
    non-normal.

    References
    ----------
    .. [1] G. Kerg et al., "Non-normal recurrent neural network (nnRNN): learning long time dependencies while
       improving expressivity with transient dynamics", NeurIPS 2019.
    """

    cayley_base: Tensor

    def __init__(self, base: Tensor, moduli: Tensor, angles: Tensor) -> None:
        super().__init__()
        self.register_buffer("cayley_base", base.detach().clone())
        self.skew = nn.Parameter(torch.zeros_like(base))
        self.moduli, self.angles = nn.Parameter(moduli), nn.Parameter(angles)

    def forward(self, free: Tensor) -> Tensor:
        """Give W.

        Parameters
        ----------
        free : Tensor, shape (h, h)
            T below the blocks; the rest has no effect.

        Returns
        -------
        Tensor, shape (h, h)
            The matrix.
        """
        P = self.cayley_base @ cayley(self.skew)
        return P @ self.triangle(free) @ P.mT

    def triangle(self, free: Tensor) -> Tensor:
        """Give Θ.

        Parameters
        ----------
        free : Tensor, shape (h, h)
            T below the blocks; the rest has no effect.

        Returns
        -------
        Tensor, shape (h, h)
            The blocks and what is below them.
        """
        pairs = len(self.angles)
        cosines = self.moduli[:pairs] * self.angles.cos()
        sines = self.moduli[:pairs] * self.angles.sin()
        diagonal = torch.cat((cosines.repeat_interleave(2), self.moduli[pairs:]))
        inside = torch.stack((sines, torch.zeros_like(sines)), dim=1).flatten()[: len(free) - 1]
        block = torch.arange(len(free), device=free.device) // 2
        below = torch.where(block[:, None] > block, free, 0.0)
        return below + diagonal.diag_embed() + inside.diag_embed(-1) - inside.diag_embed(1)

    def scale(self, free: Tensor, factor: float) -> None:
        """Scale W in place, by its moduli and T.

        Parameters
        ----------
        free : Tensor, shape (h, h)
            T.
        factor : float
            The factor.
        """
        free.mul_(factor)
        self.moduli.mul_(factor)


KEPT = {
    frozenset({"original", "0.cayley_base"}): Orthogonal,
    frozenset({"original", "0.beta", "0.gamma"}): SkewMixture,
    frozenset({"original", "0.cayley_base", "0.skew", "0.moduli", "0.angles"}): SchurFactors,
}  # what a state_dict holds of each, under ``parametrizations.weight_hh_l0.``


@torch.no_grad()
def constrained_matrix(parts: Mapping[str, Tensor]) -> Tensor:
    """Give the matrix that a constraint makes of what a state_dict holds of it.

    Parameters
    ----------
    parts : mapping of str to Tensor
        By name, one of the sets in `KEPT`, all in one precision, float32 or float64.

    Returns
    -------
    Tensor, shape (h, h)
        The matrix.

    Raises
    ------
    ValueError
        If their shapes do not fit each other.
    """
    kind, free = KEPT[frozenset(parts)], parts["original"]
    link: nn.Module
    if kind is SkewMixture:
        link = SkewMixture(0.0, 0.0)
    elif kind is Orthogonal:
        link = Orthogonal(torch.empty_like(free))
    else:
        pairs = len(free) // 2
        link = SchurFactors(torch.empty_like(free), free.new_empty(len(free) - pairs), free.new_empty(pairs))
    link.to(free)
    state = link.state_dict()
    given = {name.removeprefix("0."): part for name, part in parts.items() if name != "original"}
    if (
        free.ndim != 2
        or len(set(free.shape)) != 1
        or any(state[k].shape != v.shape for k, v in given.items())
    ):
        shapes = {name: tuple(part.shape) for name, part in parts.items()}
        raise ValueError(f"the parts of a constrained matrix have shapes that do not fit: {shapes}")
    link.load_state_dict(given)
    return link(free)
