"""The networks studied: plain unrolled cells with torch's parameter names, and a feed-forward net."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from spectra.checks import one_of, positive, whole_number

CELLS = ("tanh", "gru", "lstm", "feedforward")

_GATES = {"tanh": 1, "gru": 3, "lstm": 4}


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that determines an untrained model, weights included.

    Attributes
    ----------
    cell : {"tanh", "gru", "lstm", "feedforward"}
        The family.
    features, steps : int
        An input is a sequence of `steps` vectors of `features` entries.
    hidden : int
        Width h of the recurrent or hidden layer.
    classes : int
        Number of logits, at least 2.
    gain : float
        Spectral scale of the initial square matrices: their entries are normal with standard deviation
        gain/√h, so that the eigenvalues fill a disc of about this radius.
    seed : int
        Determines the initial weights.

    Raises
    ------
    TypeError
        If a field is of the wrong kind.
    ValueError
        If a field is out of range.
    """

    cell: str
    features: int
    steps: int
    hidden: int = 32
    classes: int = 10
    gain: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the fields."""
        one_of(self.cell, "cell", CELLS)
        for name in ("features", "steps", "hidden"):
            whole_number(getattr(self, name), name)
        whole_number(self.classes, "classes", least=2)
        whole_number(self.seed, "seed", least=0, most=2**63 - 1)
        positive(self.gain, "gain")


class RecurrentClassifier(nn.Module):
    """One recurrent layer, read out after the last step: logits = head(h_T).

    The cell is written out in plain operations, so that ``torch.func`` transforms work on it. Its parameters
    have the names, shapes and gate order of ``nn.RNN``, ``nn.GRU`` and ``nn.LSTM`` with one layer.

    Parameters
    ----------
    config : ModelConfig
        With a recurrent `cell`; determines the weights. Biases start at 0, the LSTM's forget gate at 1.

    Raises
    ------
    ValueError
        If `config.cell` is not recurrent.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        one_of(config.cell, "cell", tuple(_GATES))
        self.config = config
        rows, h = _GATES[config.cell] * config.hidden, config.hidden
        random = torch.Generator().manual_seed(config.seed)
        self.weight_ih_l0 = _drawn((rows, config.features), 1 / math.sqrt(config.features), random)
        self.weight_hh_l0 = _drawn((rows, h), config.gain / math.sqrt(h), random)
        self.bias_ih_l0 = nn.Parameter(torch.zeros(rows))
        self.bias_hh_l0 = nn.Parameter(torch.zeros(rows))
        if config.cell == "lstm":
            with torch.no_grad():
                self.bias_ih_l0[h : 2 * h] = 1.0
        self.head = _linear(h, config.classes, 1 / math.sqrt(h), random)

    @property
    def state_size(self) -> int:
        """Length s of the state: h, or 2h for the LSTM, whose state is (h, c) in one vector."""
        return self.config.hidden * (2 if self.config.cell == "lstm" else 1)

    def initial_state(self, batch: int) -> Tensor:
        """Give the state before the first step: zeros of shape (batch, s).

        Parameters
        ----------
        batch : int
            Number of sequences.

        Returns
        -------
        Tensor, shape (batch, s)
            On the device and in the precision of the weights.
        """
        return self.weight_hh_l0.new_zeros(batch, self.state_size)

    def step(self, x_t: Tensor, state: Tensor) -> Tensor:
        """Give the state after one step.

        Parameters
        ----------
        x_t : Tensor, shape (..., features)
            Input of this step.
        state : Tensor, shape (..., s)
            State before it.

        Returns
        -------
        Tensor, shape (..., s)
            State after it.
        """
        from_input = linear(x_t, self.weight_ih_l0, self.bias_ih_l0)
        from_hidden = linear(state[..., : self.config.hidden], self.weight_hh_l0, self.bias_hh_l0)
        return STEPS[self.config.cell](from_input, from_hidden, state)

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of whole sequences, of any number of steps.

        Parameters
        ----------
        x : Tensor, shape (N, T, features)
            The sequences.

        Returns
        -------
        Tensor, shape (N, classes)
            The logits.
        """
        _check_input(x, self.config)
        state = self.initial_state(x.shape[0])
        for x_t in x.unbind(1):
            state = self.step(x_t, state)
        return self.head(state[..., : self.config.hidden])


class FeedForward(nn.Module):
    """Two hidden layers over the flattened sequence: logits = head(relu(hidden(relu(embed(x))))).

    `hidden` is square and stands where the recurrent matrix stands in the other families.

    Parameters
    ----------
    config : ModelConfig
        With `cell` "feedforward"; determines the weights. Biases start at 0.

    Raises
    ------
    ValueError
        If `config.cell` is recurrent.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        one_of(config.cell, "cell", ("feedforward",))
        self.config = config
        inputs, h = config.steps * config.features, config.hidden
        random = torch.Generator().manual_seed(config.seed)
        self.embed = _linear(inputs, h, math.sqrt(2 / inputs), random)
        self.hidden = _linear(h, h, config.gain / math.sqrt(h), random)
        self.head = _linear(h, config.classes, 1 / math.sqrt(h), random)

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of whole sequences.

        Parameters
        ----------
        x : Tensor, shape (N, steps, features)
            The sequences.

        Returns
        -------
        Tensor, shape (N, classes)
            The logits.

        Raises
        ------
        ValueError
            If the number of steps is not that of the configuration.
        """
        _check_input(x, self.config)
        if x.shape[1] != self.config.steps:
            raise ValueError(
                f"x has {x.shape[1]} steps; this feed-forward model was built for {self.config.steps}"
            )
        return self.head(self.hidden(self.embed(x.flatten(1)).relu()).relu())


def build_model(config: ModelConfig) -> RecurrentClassifier | FeedForward:
    """Build the untrained model of a configuration; same configuration, same weights.

    Parameters
    ----------
    config : ModelConfig
        What to build.

    Returns
    -------
    RecurrentClassifier or FeedForward
        On the CPU, float32, in training mode, with the configuration as attribute `config`. Global random
        state is neither read nor changed.

    Raises
    ------
    ValueError
        If it does not fit into memory.

    Examples
    --------
    >>> model = build_model(ModelConfig("gru", features=8, steps=8, hidden=16))
    >>> tuple(model.weight_hh_l0.shape)
    (48, 16)
    """
    try:
        return FeedForward(config) if config.cell == "feedforward" else RecurrentClassifier(config)
    except (RuntimeError, TypeError, OverflowError):  # torch's many ways to say that there is no room
        raise ValueError(
            f"config asks for {config.hidden} hidden units on {config.features} features and {config.steps} "
            "steps, more than memory holds; use a smaller hidden"
        ) from None


def logits(model: nn.Module, x: Tensor) -> Tensor:
    """Give the logits of any classifier, also of one that returns (logits, state).

    Parameters
    ----------
    model : nn.Module
        Maps a batch of inputs to logits (N, C), alone or first in a tuple.
    x : Tensor, shape (N, ...)
        The batch.

    Returns
    -------
    Tensor, shape (N, C)
        The logits.

    Raises
    ------
    TypeError
        If the model returns something else than a dense tensor of floats (first).
    ValueError
        If the logits are not of shape (N, C) with C at least 2.
    """
    output = model(x)
    found = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(found, Tensor):
        raise TypeError(
            f"model returns {type(found).__name__}; expected logits (N, C), or a tuple that begins with them"
        )
    if not found.is_floating_point() or found.layout != torch.strided:
        raise TypeError(
            f"model returns {found.dtype}, {found.layout}; expected a dense tensor of floats, the logits"
        )
    if found.ndim != 2 or found.shape[0] != x.shape[0] or found.shape[1] < 2:
        raise ValueError(
            f"model returns shape {tuple(found.shape)} for {x.shape[0]} inputs; expected logits (N, C) with "
            "C >= 2: wrap the model so that it returns one row of class scores per input"
        )
    return found


@contextlib.contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Within it, every module of the model is in training or evaluation mode; afterwards each as it was.

    Parameters
    ----------
    model : nn.Module
        The model. Its modes are set directly, so that a ``train()`` with side effects is not called.
    training : bool
        The mode.

    Yields
    ------
    None
        Nothing.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = training
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextlib.contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Within it, torch's generators of the CPU and the model's devices are seeded; afterwards as before.

    Parameters
    ----------
    model : nn.Module
        The model that may draw from them (dropout, say).
    seed : int
        The seed.

    Yields
    ------
    None
        Nothing.
    """
    devices = sorted({p.device.index for p in model.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch every other device too
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield


def _tanh_step(from_input: Tensor, from_hidden: Tensor, _: Tensor) -> Tensor:
    return torch.tanh(from_input + from_hidden)


def _gru_step(from_input: Tensor, from_hidden: Tensor, h: Tensor) -> Tensor:
    r_x, z_x, n_x = from_input.chunk(3, dim=-1)
    r_h, z_h, n_h = from_hidden.chunk(3, dim=-1)
    z = torch.sigmoid(z_x + z_h)
    n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
    return n + z * (h - n)


def lstm_step(from_input: Tensor, from_hidden: Tensor, state: Tensor) -> Tensor:
    """Give the next (h, c) of an LSTM from the sums of its gates and the present (h, c)."""
    i, f, g, o = (from_input + from_hidden).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state.chunk(2, dim=-1)[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.cat((torch.sigmoid(o) * torch.tanh(c), c), dim=-1)


STEPS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tanh": _tanh_step,
    "gru": _gru_step,
    "lstm": lstm_step,
}


def _drawn(shape: tuple[int, int], scale: float, random: torch.Generator) -> nn.Parameter:
    return nn.Parameter(scale * torch.randn(shape, generator=random))


def _linear(inputs: int, outputs: int, scale: float, random: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(
        nn.Linear, inputs, outputs
    )  # nn.Linear itself would draw from the global generator
    with torch.no_grad():
        layer.weight.copy_(_drawn((outputs, inputs), scale, random))
        layer.bias.zero_()
    return layer


def _check_input(x: Tensor, config: ModelConfig) -> None:
    if x.ndim != 3 or x.shape[2] != config.features or x.shape[1] == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; expected (N, T, {config.features}): N sequences of T >= 1 "
            f"vectors of {config.features} features (one sequence alone: x[None])"
        )
