"""The ensemble: strong attacks one after the other, each on what the ones before it have left."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from rnn.attacking.apgd import APGDCrossEntropy, APGDTargeted
from rnn.attacking.minimal_norms import FABTargeted
from rnn.attacking.objectives import Objective
from rnn.attacking.pgd import PGD
from rnn.attacking.square import Square
from rnn.attacking.threats import Threat
from spectra.checks import whole_number


@dataclasses.dataclass(frozen=True, slots=True)
class Worst:
    """APGD on the cross-entropy, APGD and FAB towards each likely class, PGD, then Square if asked for.

    Attributes
    ----------
    steps : int
        Steps of each round.
    classes : int
        How many of the wrong classes that are most likely when clean the targeted attacks try.
    square : int
        Queries of Square at the end; 0 leaves it out.

    Raises
    ------
    TypeError
        If an option is of the wrong kind.
    ValueError
        If an option is out of range.

    Notes
    -----
    An example that resists costs about steps x (1 + 2 classes) gradients, and PGD 10 a
    class; one that is turned leaves at once.

    References
    ----------
    F. Croce and M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", ICML 2020.
    """

    steps: int = 100
    classes: int = 9
    square: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        whole_number(self.steps, "steps")
        whole_number(self.classes, "classes")
        whole_number(self.square, "square", least=0)

    @property
    def rounds(self) -> int:
        """Two for APGD and PGD, three for each class, and one for Square."""
        return sum(part.rounds for part in self._parts())

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give what the attack whose turn it is proposes."""
        own = turn
        for part in self._parts():
            if own < part.rounds:
                return part.perturb(objective, x, threat, noise=noise, turn=own)
            own -= part.rounds
        raise ValueError(f"turn is {turn} beyond the last round; expected less than {self.rounds}")

    def _parts(self) -> list[APGDCrossEntropy | APGDTargeted | FABTargeted | PGD | Square]:
        parts: list[APGDCrossEntropy | APGDTargeted | FABTargeted | PGD | Square] = [
            APGDCrossEntropy(steps=self.steps),
            APGDTargeted(steps=self.steps, classes=self.classes),
            FABTargeted(steps=self.steps, classes=self.classes, refine=False),
            PGD(rounds=1 + self.classes),
        ]
        return [*parts, Square(steps=self.square)] if self.square else parts
