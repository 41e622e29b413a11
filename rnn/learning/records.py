"""How to train, and what training did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

from rnn.constraints import KINDS
from spectra.checks import non_negative, one_of, positive, whole_number

OPTIMISERS = ("adamw", "adam", "sgd", "rmsprop")
CONSTRAINTS = ("none", *KINDS)

_WITH_MOMENTUM = {"sgd", "rmsprop"}


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train: an optimiser on the loss of shuffled batches.

    Attributes
    ----------
    epochs : int
        Passes over the training data; 0 leaves the model as it is, but for the constraint.
    batch_size : int
        Examples per step.
    learning_rate : float
        The optimiser's step size.
    weight_decay : float
        Decoupled from the gradient for "adamw"; for the others added to it (an L2 penalty).
    gradient_clip : float
        Largest 2-norm of the gradient of all parameters together; 0 does not clip.
    seed : int
        Determines the order of the examples (and dropout, where a model has it; and the start of a
        constraint's power method).
    optimiser : {"adamw", "adam", "sgd", "rmsprop"}
        torch's, with its defaults for what is not named here.
    momentum : float
        Of "sgd" and "rmsprop", in [0, 1).
    constraint : {"none", "radius", "radius-power", "radius-rayleigh", "norm"}
        What of the recurrent matrices is held at or below a target: before the first step and after each one
        `normalised` scales down those above it.
    constraint_target : float
        That target.

    Raises
    ------
    TypeError
        If a field is of the wrong kind.
    ValueError
        If a field is out of range, or would have no effect.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    seed: int = 0
    optimiser: str = "adamw"
    momentum: float = 0.0
    constraint: str = "none"
    constraint_target: float = 1.0

    def __post_init__(self) -> None:
        """Check the fields."""
        whole_number(self.epochs, "epochs", least=0)
        whole_number(self.batch_size, "batch_size")
        whole_number(self.seed, "seed", least=0, most=2**63 - 1)
        positive(self.learning_rate, "learning_rate")
        non_negative(self.weight_decay, "weight_decay")
        non_negative(self.gradient_clip, "gradient_clip")
        one_of(self.optimiser, "optimiser", OPTIMISERS)
        one_of(self.constraint, "constraint", CONSTRAINTS)
        positive(self.constraint_target, "constraint_target")
        if non_negative(self.momentum, "momentum") >= 1:
            raise ValueError(f"momentum is {self.momentum}; expected a number in [0, 1)")
        if self.momentum > 0 and self.optimiser not in _WITH_MOMENTUM:
            raise ValueError(
                f"momentum is {self.momentum}, but optimiser {self.optimiser!r} takes none; leave it out, or "
                "use 'sgd' or 'rmsprop'"
            )
        if self.constraint == "none" and self.constraint_target != 1:
            raise ValueError(
                f"constraint_target is {self.constraint_target}, but constraint is 'none'; leave it out, or "
                f"name a constraint: {', '.join(map(repr, KINDS))}"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What training did.

    Attributes
    ----------
    losses : tuple of float
        Mean loss over each epoch: cross-entropy in nats, for regression the squared error.
    train_accuracy, test_accuracy : float
        Share of right answers after training, in evaluation mode: of sequences, for labelling of the frames
        that are asked, for regression of answers within the tolerance.
    seconds : float
        Wall time, without that of `after_epoch`.
    config : TrainingConfig
        How it was done.
    test_balanced_accuracy : float or None
        Mean over the classes in the test set of the share that is right; None for regression.
    """

    losses: tuple[float, ...]
    train_accuracy: float
    test_accuracy: float
    seconds: float
    config: TrainingConfig
    test_balanced_accuracy: float | None = None


def optimiser_of(config: TrainingConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Give torch's optimiser of a configuration.

    Parameters
    ----------
    config : TrainingConfig
        Names it.
    parameters : list of nn.Parameter
        What it changes.

    Returns
    -------
    torch.optim.Optimizer
        Fresh.
    """
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "sgd": torch.optim.SGD,
        "rmsprop": torch.optim.RMSprop,
    }
    further = {"momentum": config.momentum} if config.optimiser in _WITH_MOMENTUM else {}
    return makers[config.optimiser](
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, **further
    )
