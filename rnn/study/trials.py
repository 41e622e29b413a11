"""A trial of a study: everything that determines one network and what is asked of it, and what it gives."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra import __version__

NUMBERS = 2  # raised whenever a change of the code changes what a trial gives

_NOT_IN_KEY = ("data_root", "modules")  # where things lie, not what they are
_INTEGERS = 2**63
_KEPT_BESIDE = ("version", "numbers", "part", "seconds", "finished", "attempts", "warnings", "key")


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """What determines one network of a study: plain values only.

    Attributes
    ----------
    task, cell : str
        By their names.
    options : tuple of (str, value)
        Options of the task, in the order of their names; see `rnn.load_task`.
    hidden : int
        Width of the recurrent layer.
    gain : float
        Spectral scale of the initial square matrices.
    initialisation : str
        See `rnn.ModelConfig`.
    normalisation : str
        "none", or a kind of `rnn.constraints`: applied once after training, or, with the ending "-during",
        after each step of it.
    target : float
        Of the normalisation; 1 where there is none.
    optimiser : str
        By its name.
    learning_rate, weight_decay, gradient_clip : float
        See `rnn.TrainingConfig`.
    epochs, batch_size : int
        See `rnn.TrainingConfig`.
    seed : int
        Of the split, the weights, the order of examples, and the attacks.
    methods : tuple of str
        The attacks.
    budgets : tuple of (str, tuple of float)
        For each norm the budgets, in increasing order.
    minimal : tuple of str
        Norms in which the nearest misclassified point is looked for.
    examples : int
        How many test examples are attacked.
    trajectories : int
        On how many of them Jacobians and kicks are computed.
    kick : float
        Length of a kick of the state, in units of the root mean square length of the states.
    audited : bool
        Whether the full ensemble of attacks runs as well.
    data_root : str
        Folder of the data; empty for the default. No part of the key.
    modules : tuple of str
        Modules to import first: they register tasks and cells. No part of the key.
    """

    task: str
    cell: str
    options: tuple[tuple[str, Any], ...] = ()
    hidden: int = 32
    gain: float = 1.0
    initialisation: str = "gaussian"
    normalisation: str = "none"
    target: float = 1.0
    optimiser: str = "adamw"
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    epochs: int = 30
    batch_size: int = 64
    seed: int = 0
    methods: tuple[str, ...] = ("pgd", "apgd-ce")
    budgets: tuple[tuple[str, tuple[float, ...]], ...] = (("linf", (0.02, 0.05, 0.1)),)
    minimal: tuple[str, ...] = ("l2",)
    examples: int = 300
    trajectories: int = 30
    kick: float = 0.1
    audited: bool = False
    data_root: str = ""
    modules: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """What determines the numbers, as canonical JSON, with the version of the code that gives them."""
        values = {name: getattr(self, name) for name in FIELDS if name not in _NOT_IN_KEY}
        return canonical({"version": __version__, "numbers": NUMBERS} | values)

    @property
    def key(self) -> str:
        """The sha256 of `content`, in hexadecimal digits."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    @property
    def block(self) -> tuple[bool, str, str, str]:
        """Whether audited, task, cell, normalisation: trials of one block take about the same time."""
        return self.audited, self.task, self.cell, self.normalisation

    @property
    def label(self) -> str:
        """A few words for people."""
        scale = "" if self.target == 1 else f" to {self.target:g}"
        words = [
            self.task,
            self.cell,
            f"h{self.hidden}",
            f"{self.initialisation} {self.gain:g}",
            f"{self.normalisation}{scale}",
        ]
        return " ".join([*words, self.optimiser, f"lr {self.learning_rate:g}", f"seed {self.seed}"])


FIELDS = tuple(field.name for field in dataclasses.fields(Trial))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TrialOutcome:
    """What a trial gives.

    Attributes
    ----------
    row : dict of str to float, int, str, bool or None
        Its columns; None where there is no number.
    arrays : dict of str to ndarray
        Curves and the like, by name.
    weights : bytes, optional
        A checkpoint as `rnn.save_checkpoint` writes it.
    """

    row: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    weights: bytes | None = None


def canonical(values: dict[str, Any]) -> str:
    """Give plain values as JSON with sorted names and without spaces: equal values, equal text."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def trial_from(content: str) -> Trial:
    """Give the trial of a `Trial.content`.

    Parameters
    ----------
    content : str
        Of any version whose fields are known.

    Returns
    -------
    Trial
        Without data root and modules.

    Raises
    ------
    ValueError
        If it has other fields than a trial of this version.
    """
    values = {name: _frozen(value) for name, value in json.loads(content).items()}
    try:
        return Trial(**{name: value for name, value in values.items() if name not in {"version", "numbers"}})
    except TypeError as error:
        raise ValueError(f"the trial was made by version {values.get('version')} ({error})") from None


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """Check the row of a trial, and give it as plain Python values.

    Parameters
    ----------
    row : dict
        From a trial.

    Returns
    -------
    dict
        With Python's own numbers.

    Raises
    ------
    TypeError
        If a value is no number, text, truth value or None, or a name no text.
    ValueError
        If a number is NaN or a whole one of more than 64 bits, a text cannot be written, or a column has the
        name of a field of `Trial` or of what is kept beside it.
    """
    if not isinstance(row, dict):
        raise TypeError(f"row is a {type(row).__name__}; expected a dict")
    plain: dict[str, Any] = {}
    for name, value in row.items():
        found = value.item() if isinstance(value, np.generic) else value
        for text in (name, *([found] if isinstance(found, str) else [])):
            _check_text(text)
        if name in FIELDS or name in _KEPT_BESIDE:
            raise ValueError(f"row holds {name!r}, which stands beside it in the table; use another name")
        if not (found is None or isinstance(found, (bool, int, float, str))):
            raise TypeError(f"row[{name!r}] is a {type(value).__name__}; expected a number, a text or None")
        if isinstance(found, float) and found != found:
            raise ValueError(f"row[{name!r}] is NaN; give None where there is no number")
        if isinstance(found, int) and not -_INTEGERS <= found < _INTEGERS:
            raise ValueError(f"row[{name!r}] has more than 64 bits; give it as a float")
        plain[name] = found
    return plain


def _check_text(text: Any) -> None:
    if not isinstance(text, str):
        raise TypeError(f"row has the name {text!r:.60}; expected a text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"row holds the text {text!r:.60}, which UTF-8 cannot write") from None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list) else value
