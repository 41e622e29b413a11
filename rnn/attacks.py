"""Attacks: each only perturbs, one round at a time; `rnn.harness` projects and judges what comes out."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from rnn.attacking.apgd import APGDCrossEntropy, APGDRatio, APGDTargeted
from rnn.attacking.corruptions import FramesDropped, FramesRepeated, FramesShifted
from rnn.attacking.ensemble import Worst
from rnn.attacking.minimal_norms import FAB, DeepFool, FABTargeted
from rnn.attacking.noise import GaussianNoise, SaltNoise, UniformNoise
from rnn.attacking.objectives import Objective
from rnn.attacking.pgd import FGSM, PGD
from rnn.attacking.square import Square
from rnn.attacking.threats import Threat


class Attack(Protocol):
    """What the harness asks of an attack: a number of rounds, and in each a perturbed batch."""

    @property
    def rounds(self) -> int:
        """How often `perturb` is called; examples that are fooled leave after each round."""
        ...

    def perturb(self, objective: Objective, x: Tensor, threat: Threat, *, noise: Tensor, turn: int) -> Tensor:
        """Give perturbed inputs.

        Parameters
        ----------
        objective : Objective
            The model as the attack may see it.
        x : Tensor, shape (N, ...)
            Clean inputs.
        threat : Threat
            Norm, budget, bounds.
        noise : Tensor, shape (N, ...)
            Standard normal numbers, fresh in each round, that belong to the examples and not to the batch.
        turn : int
            Number of the round, from 0.

        Returns
        -------
        Tensor, shape (N, ...)
            The perturbed inputs.
        """
        ...


_Kind = (
    type[FGSM]
    | type[PGD]
    | type[APGDCrossEntropy]
    | type[APGDRatio]
    | type[APGDTargeted]
    | type[FAB]
    | type[FABTargeted]
    | type[DeepFool]
    | type[Square]
    | type[GaussianNoise]
    | type[UniformNoise]
    | type[SaltNoise]
    | type[FramesDropped]
    | type[FramesRepeated]
    | type[FramesShifted]
    | type[Worst]
)

ATTACKS: dict[str, _Kind] = {
    "fgsm": FGSM,
    "pgd": PGD,
    "apgd-ce": APGDCrossEntropy,
    "apgd-dlr": APGDRatio,
    "apgd-t": APGDTargeted,
    "fab": FAB,
    "fab-t": FABTargeted,
    "deepfool": DeepFool,
    "square": Square,
    "noise-gaussian": GaussianNoise,
    "noise-uniform": UniformNoise,
    "noise-salt": SaltNoise,
    "frames-dropped": FramesDropped,
    "frames-repeated": FramesRepeated,
    "frames-shifted": FramesShifted,
    "worst": Worst,
}
