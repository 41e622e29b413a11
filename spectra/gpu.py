"""The grid on a torch device: inverse Lanczos for thousands of points in step. Imports torch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spectra import kernels
from spectra.layout import Accuracy, padded_factor
from spectra.schur import SchurForm
from spectra.threads import Progress

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

_BLOCK = 32  # rows of a diagonal block, inverted for each point
_SHARE = 0.3  # of the free memory of a device that a batch may take
_LEAST_GAIN = 0.7  # finished points leave a batch when at most this share is left


def solve_on_device(
    form: SchurForm,
    unit: float,
    z: NDArray[np.complex128],
    accuracy: Accuracy,
    *,
    device: str,
    progress: Progress | None = None,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Smallest singular values of zI - T at many points, in batches on a torch device.

    Parameters
    ----------
    form : SchurForm
        The matrix.
    unit : float
        The unit of everything else, in the units of A.
    z : ndarray of complex, shape (m,)
        The points.
    accuracy : Accuracy
        When a point is done.
    device : str
        A torch device: "cuda", "cuda:1", "cpu".
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    sigma, lower, steps : ndarray
        As of `kernels.solve_points`.

    Raises
    ------
    ValueError
        If torch is not installed or knows no such device.

    Notes
    -----
    T stays real for a real matrix, and its products with blocks of vectors are matrix products on real and
    imaginary parts; the diagonal blocks of order 32 are inverted for each point. Ritz values come from the
    same compiled code as on the cores.
    """
    batches = _Batches.on(device, form, unit)
    sigma, lower = np.zeros(len(z)), np.zeros(len(z))
    steps = np.zeros(len(z), dtype=np.int64)
    for start in range(0, len(z), batches.size):
        part = slice(start, min(start + batches.size, len(z)))
        sigma[part], lower[part], steps[part] = batches.solve(z[part], start, accuracy)
        if progress is not None:
            progress(part.stop, len(z))
    return sigma, lower, steps


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Batches:
    """The factor on a device, and how many points it takes at a time."""

    T: torch.Tensor
    roots: NDArray[np.complex128]
    starts: torch.Tensor
    size: int

    @classmethod
    def on(cls, device: str, form: SchurForm, unit: float) -> _Batches:
        try:
            import torch

            place = torch.device(device)
            torch.zeros(1, device=place).cpu()  # which a device without values (meta) cannot
        except (ImportError, RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"device {device!r} cannot be used ({reason}); leave device out to compute on the cores"
            ) from None
        factor = padded_factor(form, unit, _BLOCK)
        free = torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else 2**30
        point = 16 * len(factor.T) * (_BLOCK + 6)
        size = int(np.clip(_SHARE * free / point, 16, 16384))
        starts = torch.view_as_complex(torch.from_numpy(factor.starts)).T.contiguous().to(place)
        return cls(torch.from_numpy(factor.T).to(place), factor.roots, starts, size)

    def solve(
        self, z: NDArray[np.complex128], first: int, accuracy: Accuracy
    ) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Solve one batch in step; points leave together when enough of them are done."""
        import torch

        sigma, lower = np.full(len(z), -1.0), np.full(len(z), -1.0)
        steps = np.zeros(len(z), dtype=np.int64)
        on_root = np.abs(z[:, None] - self.roots[None, :]).min(axis=1) <= accuracy.floor
        sigma[on_root], lower[on_root] = 0.0, 0.0
        here = np.flatnonzero(~on_root)
        lanczos = _Lanczos.start(self, z[here], (here + first) % self.starts.shape[1])
        caution = kernels.CAUTION * np.sqrt(len(self.T))
        ceiling = min(accuracy.floor**-2.0, 1e300) if accuracy.floor > 0 else 1e300
        while len(here) and lanczos.steps < kernels.MAX_STEPS:
            theta, first2, residual = lanczos.step()
            settled = np.isfinite(theta) & (theta < ceiling) & np.isfinite(residual)
            hidden = np.sqrt(first2) * residual
            small = np.maximum(residual, caution * hidden) <= accuracy.rtol * theta
            done = ~settled | small
            excess = accuracy.widening * hidden
            with np.errstate(all="ignore"):
                value = np.where(np.isfinite(theta) & (theta < 1e300), 1 / np.sqrt(theta), 0.0)
                bound = np.where(settled, 1 / np.sqrt(theta + excess), 0.0)
            new = done & (steps[here] == 0)
            sigma[here[new]], lower[here[new]] = value[new], bound[new]
            steps[here[new]] = lanczos.steps
            left = steps[here] == 0
            if left.mean() <= _LEAST_GAIN:
                lanczos.keep(torch.from_numpy(np.flatnonzero(left)).to(self.T.device))
                here = here[left]
        steps[here[steps[here] == 0]] = lanczos.steps
        return sigma, lower, steps


@dataclasses.dataclass(slots=True, eq=False)
class _Lanczos:
    """The state of a batch: two Lanczos vectors a point, inverted diagonal blocks, projected matrices."""

    T: torch.Tensor
    inverses: torch.Tensor  # (blocks, m, b, b)
    q: torch.Tensor  # (n, m)
    before: torch.Tensor
    alpha: list[Floats]
    beta: list[Floats]
    theta: Floats

    @classmethod
    def start(cls, batches: _Batches, z: NDArray[np.complex128], which: NDArray[np.int64]) -> _Lanczos:
        import torch

        T, device = batches.T, batches.T.device
        blocks = torch.stack([T[i : i + _BLOCK, i : i + _BLOCK] for i in range(0, len(T), _BLOCK)])
        shifts = torch.from_numpy(z).to(device)[None, :, None, None]
        eye = torch.eye(_BLOCK, dtype=torch.complex128, device=device)
        inverses = torch.linalg.inv(shifts * eye - blocks[:, None].to(torch.complex128))
        q = batches.starts[:, torch.from_numpy(which).to(device)]
        return cls(T, inverses, q, torch.zeros_like(q), [], [], np.zeros(len(z)))

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.alpha)

    def step(self) -> tuple[Floats, Floats, Floats]:
        """Take one step; give the top Ritz values, squared first components and residuals."""
        v = self._solve(self.q, adjoint=True)
        alpha = (v.real**2 + v.imag**2).sum(0)
        w = self._solve(v, adjoint=False) - alpha * self.q
        if self.beta:
            w -= self._on_device(self.beta[-1]) * self.before
        size = (w.real**2 + w.imag**2).sum(0).sqrt()
        self.before, self.q = self.q, w / size
        self.alpha.append(alpha.cpu().numpy())
        theta, first2, last2 = self._ritz()
        self.beta.append(size.cpu().numpy())
        self.theta = theta
        return theta, first2, np.sqrt(last2) * self.beta[-1]

    def keep(self, index: torch.Tensor) -> None:
        """Go on with some of the points only."""
        self.inverses, self.q, self.before = self.inverses[:, index], self.q[:, index], self.before[:, index]
        chosen = index.cpu().numpy()
        self.alpha, self.beta = [a[chosen] for a in self.alpha], [b[chosen] for b in self.beta]
        self.theta = self.theta[chosen]

    def _on_device(self, values: Floats) -> torch.Tensor:
        import torch

        return torch.from_numpy(values).to(self.T.device)

    def _solve(self, right: torch.Tensor, *, adjoint: bool) -> torch.Tensor:
        """(zI - T)^-1 or (zI - T)^-* times the columns of `right`, block by block."""
        x = right.clone()
        starts = list(range(0, len(x), _BLOCK))
        for i in starts if adjoint else reversed(starts):
            rows = slice(i, i + _BLOCK)
            inverse = self.inverses[i // _BLOCK]
            inverse = inverse.mH if adjoint else inverse
            x[rows] = (inverse @ x[rows].T[:, :, None])[:, :, 0].T
            if adjoint and i + _BLOCK < len(x):
                x[i + _BLOCK :] += self._product(self.T[rows, i + _BLOCK :].mH, x[rows])
            elif not adjoint and i > 0:
                x[:i] += self._product(self.T[:i, rows], x[rows])
        return x

    def _product(self, M: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """M @ x; for real M on real and imaginary parts side by side."""
        import torch

        if M.is_complex():
            return M @ x
        parts = torch.view_as_real(x.contiguous()).flatten(1)
        return torch.view_as_complex((M @ parts).unflatten(1, (-1, 2)))

    def _ritz(self) -> tuple[Floats, Floats, Floats]:
        """Top Ritz values with the ends of their eigenvectors, from the compiled code."""
        m = len(self.theta)
        width = -(-m // kernels.LANES) * kernels.LANES
        alpha, beta = np.ones((self.steps, width)), np.zeros((self.steps, width))
        alpha[:, :m] = self.alpha
        if self.beta:
            beta[:-1, :m] = self.beta
        middle, half = (self.theta + alpha[-1, :m]) / 2, (self.theta - alpha[-1, :m]) / 2
        high = np.ones((1, width))
        last = self.beta[-1] if self.beta else 0.0
        high[0, :m] = (1 + 1e-14) * (middle + np.sqrt(half**2 + last**2))
        theta, first2, last2 = np.zeros((1, width)), np.zeros((1, width)), np.zeros((1, width))
        kernels.ritz_values(alpha, beta, high, theta, first2, last2)
        return theta[0, :m], first2[0, :m], last2[0, :m]
