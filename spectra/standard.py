"""The standard pencil zI - A of a dense square matrix, by its Schur form and the compiled kernel."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from spectra.pencils import Region
from spectra.resolvent import SmallestSingularValues, dense_sigma_min, norm_bound, smallest_singular_values
from spectra.scaling import refuse_overflow
from spectra.schur import SchurForm
from spectra.threads import Progress, interruptible


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StandardPencil:
    """zI - A for a dense square A; a `spectra.pencils.Pencil`.

    Attributes
    ----------
    form : SchurForm
        The matrix.
    device : str or None
        A torch device to solve on instead of the cores.
    """

    form: SchurForm
    device: str | None = None

    @property
    def n(self) -> int:
        """Order of A."""
        return self.form.n

    @property
    def is_real(self) -> bool:
        """Whether A is real."""
        return self.form.is_real

    @property
    def eigenvalues(self) -> NDArray[np.complex128]:
        """Eigenvalues of A."""
        return self.form.eigenvalues

    @property
    def norm_bound(self) -> float:
        """Upper bound of ‖A‖."""
        return norm_bound(self.form)

    @property
    def slope(self) -> float:
        """The norm of I."""
        return 1.0

    def region(self) -> Region:
        """Enclose the spectrum, grown towards the numerical range, at most doubled, and a near unit circle.

        Returns
        -------
        (xmin, xmax, ymin, ymax)
            The rectangle.

        Raises
        ------
        ValueError
            If the entries of A come near the largest float.
        """
        form = self.form
        refuse_overflow(self.norm_bound, "the entries of A")
        parts = (form.T + form.T.conj().T) / 2, (form.T - form.T.conj().T) / 2j
        ends = [functools.partial(np.linalg.eigvalsh, H) for H in parts]
        real, imaginary = (interruptible(end, form.n)[[0, -1]] * form.scale for end in ends)
        e = form.eigenvalues
        spread = max(np.ptp(e.real), np.ptp(e.imag))
        reach = 0.5 * spread if spread > 1e-3 * form.scale else np.inf
        margin = 0.15 * (
            spread if spread > 0 else max(np.ptp(real), np.ptp(imaginary), abs(e[0]), form.scale)
        )
        xmin = max(real[0], e.real.min() - reach) - margin
        xmax = min(real[1], e.real.max() + reach) + margin
        ymin = max(imaginary[0], e.imag.min() - reach) - margin
        ymax = min(imaginary[1], e.imag.max() + reach) + margin
        if 0.25 <= np.abs(e).max() <= 4.0:
            xmin, xmax, ymin, ymax = min(xmin, -1.1), max(xmax, 1.1), min(ymin, -1.1), max(ymax, 1.1)
        if form.is_real:
            ymax = max(-ymin, ymax)
            ymin = -ymax
        return float(xmin), float(xmax), float(ymin), float(ymax)

    def sigma_min(self, z: complex) -> float:
        """σ_min(zI - A) by a dense SVD."""
        return dense_sigma_min(self.form, z)

    def smallest_singular_values(
        self,
        z: NDArray[np.complex128],
        *,
        rtol: float,
        delta: float,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SmallestSingularValues:
        """σ_min(zI - A) at each point z.

        Parameters
        ----------
        z : ndarray of complex, shape (m,)
            The points.
        rtol, delta, threads, progress
            As of `spectra.resolvent.smallest_singular_values`.

        Returns
        -------
        SmallestSingularValues
            Values and intervals.
        """
        return smallest_singular_values(
            self.form, z, rtol=rtol, delta=delta, threads=threads, device=self.device, progress=progress
        )
