"""What perturbed weights do to a classifier, as a record: accuracy for each kind and size."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from spectra.checks import one_of
from spectra.results import Record

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class WeightRobustness(Record):
    """Accuracy of a classifier whose weights are perturbed; one row for each kind and size.

    Attributes
    ----------
    kinds : ndarray of str, shape (R,)
        How the weights were perturbed.
    sizes : ndarray, shape (R,)
        ‖E‖₂ / ‖W‖₂ of each matrix, the same for all of them; of "pruning" the share of entries set to 0; of a
        number format the largest ‖E‖₂ / ‖W‖₂ that rounding makes.
    relative_norms : ndarray, shape (R,)
        Largest ‖E‖₂ / ‖W‖₂ of all matrices, measured; of several draws the largest.
    accuracy : ndarray, shape (R,)
        Share of examples predicted correctly; of "gaussian" the mean over the draws.
    lower, upper : ndarray, shape (R,)
        Wilson interval of `accuracy` over the draw of the examples.
    draws_lower, draws_upper : ndarray, shape (R,)
        Student's interval of the mean accuracy on these examples over the draws of the noise; `accuracy`
        itself where nothing is drawn.
    lowest, highest : ndarray, shape (R,)
        Smallest and largest accuracy of a draw.
    loss : ndarray, shape (R,)
        Mean cross-entropy, over the draws too; of labels of frames and of targets that of the scores which
        decide (`rnn.attacking.answers.Questions.ask`).
    clean_accuracy, clean_loss : float
        Without a perturbation.
    matrices : ndarray of str
        The perturbed matrices.
    draws, examples : int
        Number of draws of the noise, and of examples.
    level : float
        Coverage of the intervals.
    left_out : ndarray of str
        Kinds that were not asked for by name and cannot be made, each with the reason.
    """

    kinds: NDArray[np.str_]
    sizes: Floats
    relative_norms: Floats
    accuracy: Floats
    lower: Floats
    upper: Floats
    draws_lower: Floats
    draws_upper: Floats
    lowest: Floats
    highest: Floats
    loss: Floats
    clean_accuracy: float
    clean_loss: float
    matrices: NDArray[np.str_]
    draws: int
    examples: int
    level: float
    left_out: NDArray[np.str_] = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=np.str_))

    def curve(self, kind: str) -> tuple[Floats, Floats]:
        """Give sizes and accuracies of one kind.

        Parameters
        ----------
        kind : str
            One of `kinds`.

        Returns
        -------
        sizes, accuracy : ndarray
            In the order of the rows.

        Raises
        ------
        ValueError
            If it was not measured.
        """
        chosen = self.kinds == one_of(kind, "kind", tuple(dict.fromkeys(map(str, self.kinds))))
        return self.sizes[chosen], self.accuracy[chosen]

    def _check_shapes(self) -> None:
        columns = (
            self.sizes,
            self.relative_norms,
            self.accuracy,
            self.lower,
            self.upper,
            self.draws_lower,
            self.draws_upper,
            self.lowest,
            self.highest,
            self.loss,
        )
        if self.kinds.ndim != 1 or any(column.shape != self.kinds.shape for column in columns):
            raise ValueError("columns of different lengths")

    def __str__(self) -> str:
        """One line."""
        worst = int(self.accuracy.argmin())
        noun = "matrix" if len(self.matrices) == 1 else "matrices"
        return (
            f"WeightRobustness of {len(self.matrices)} {noun} on {self.examples} examples: clean accuracy "
            f"{self.clean_accuracy:.1%}, lowest {self.accuracy[worst]:.1%} by {self.kinds[worst]} at "
            f"{self.sizes[worst]:.3g}" + "".join(f"; left out {reason}" for reason in self.left_out)
        )

    __repr__ = __str__
