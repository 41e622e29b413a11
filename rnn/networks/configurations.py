"""Everything that determines an untrained model, as one frozen record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from rnn.networks.cell_kinds import FEEDFORWARD, cell_kind
from spectra.checks import non_negative, one_of, positive, whole_number

READOUTS = ("last", "each")
INITIALISATIONS = ("gaussian", "orthogonal")


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that determines an untrained model, weights included.

    Attributes
    ----------
    cell : str
        The family: "tanh", "gru", "lstm", "relu", "orthogonal", "antisymmetric", "lipschitz", "nnrnn",
        "feedforward", or the name of a cell given to `register_cell`.
    features, steps : int
        An input is a sequence of `steps` vectors of `features` entries.
    hidden : int
        Width h of the recurrent or hidden layer.
    classes : int
        Number of logits; 1 for regression.
    gain : float
        Spectral scale of the initial square matrices: their entries are normal with standard deviation
        gain/√h, so that the eigenvalues fill a disc of about this radius. For "relu" the matrix starts as
        gain I, for "nnrnn" with all its eigenvalues on the circle of this radius, and for "antisymmetric" and
        "lipschitz" it is the free matrix M that has this scale. "orthogonal" takes none.
    seed : int
        Determines the initial weights.
    readout : {"last", "each"}
        Whether there is one row of logits for a sequence, after its last step, or one after each step.
    eta : float, optional
        Step size η of "antisymmetric" and "lipschitz" (default 0.3); others take none.
    gamma : float, optional
        Damping γ of "antisymmetric" (default 0.01) and "lipschitz" (0.001); others take none.
    beta : float, optional
        Share β in [0, 1] of the skew part of the matrices of "lipschitz" (default 0.75); others take none.
    initialisation : {"gaussian", "orthogonal"}
        Whether the entries of the initial recurrent matrix of each gate are independent, as said at `gain`,
        or the matrix is gain times a random orthogonal one, which is normal. "relu", "orthogonal", "nnrnn"
        and "feedforward" start in a way of their own.

    Raises
    ------
    TypeError
        If a field is of the wrong kind.
    ValueError
        If a field is out of range, or the cell has no use for it.

    Examples
    --------
    >>> ModelConfig("antisymmetric", features=8, steps=8).eta
    0.3
    """

    cell: str
    features: int
    steps: int
    hidden: int = 32
    classes: int = 10
    gain: float = 1.0
    seed: int = 0
    readout: str = "last"
    eta: float | None = None
    gamma: float | None = None
    beta: float | None = None
    initialisation: str = "gaussian"

    def __post_init__(self) -> None:
        """Check the fields, and fill in what the cell has by default."""
        kind = None if self.cell == FEEDFORWARD else cell_kind(self.cell)
        for name in ("features", "steps", "hidden", "classes"):
            whole_number(getattr(self, name), name)
        whole_number(self.seed, "seed", least=0, most=2**63 - 1)
        positive(self.gain, "gain")
        one_of(self.readout, "readout", READOUTS)
        one_of(self.initialisation, "initialisation", INITIALISATIONS)
        if self.initialisation != "gaussian" and (kind is None or kind.own_start):
            raise ValueError(
                f"initialisation is {self.initialisation!r}, but cell {self.cell!r} starts in a way of its "
                "own; leave it out"
            )
        if kind is None and self.readout == "each":
            raise ValueError("readout is 'each', but cell 'feedforward' takes no steps; expected 'last'")
        if kind is not None and kind.no_gain and self.gain != 1:
            raise ValueError(
                f"gain is {self.gain}, but cell {self.cell!r} takes none: {kind.no_gain}; leave it out"
            )
        for name, check in _CHECKS.items():
            self._fill(name, None if kind is None else kind.hyperparameters.get(name), check)

    def _fill(self, name: str, default: float | None, check: Callable[[Any, str], float]) -> None:
        """Check a hyperparameter that not every cell has, or put its default in its place."""
        value = getattr(self, name)
        if default is None and value is not None:
            raise ValueError(f"{name} is {value}, but cell {self.cell!r} takes none; leave it out")
        if default is not None:
            object.__setattr__(self, name, default if value is None else check(value, name))


def _share(value: Any, name: str) -> float:
    if non_negative(value, name) > 1:
        raise ValueError(f"{name} is {value}; expected a number in [0, 1]")
    return float(value)


_CHECKS: dict[str, Callable[[Any, str], float]] = {"eta": positive, "gamma": non_negative, "beta": _share}
