"""What drives the recurrent cells of a network on data: their inputs, initial states and trajectories."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from rnn.attacking.weight_slots import plain_twin
from rnn.motion.cells import unrolled_states
from rnn.motion.recordings import Call, Run, layer_runs, recorded_calls
from rnn.motion.twins import float64_twin, is_stepped
from rnn.reading.tensors import NotUnderstoodError
from spectra.errors import UnsupportedModelError

_LOOKS_RECURRENT = re.compile("RNN|LSTM|GRU|Recurrent")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """One recurrent cell with the sequences it was shown and the states it passed through.

    Attributes
    ----------
    name : str
        Name of the cell in its network: ``encoder.rnn.l0_reverse``.
    cell : nn.Module
        With `step` and `initial_state`, in float64: an `UnrolledCell`, or a model of that kind.
    inputs : Tensor of float64, shape (N, T, F)
        What it was shown, in its own order of time: from the last step on if its direction is reverse.
    initial : Tensor of float64, shape (N, s)
        The states s_0.
    states : Tensor of float64, shape (N, T, s)
        The states s_1, ..., s_T; those behind the end of a sequence repeat its last one.
    lengths : Tensor of int64, shape (N,)
        Number of steps of each sequence, T where all are of one length.
    runs : int
        How often the network ran the cell from a new state. The sequences of all runs stand one below the
        other; calls that go on from the state where an earlier one ended are one run.
    """

    name: str
    cell: Any
    inputs: Tensor
    initial: Tensor
    states: Tensor
    lengths: Tensor
    runs: int = 1

    @property
    def before(self) -> Tensor:
        """The states s_0, ..., s_{T-1} before each step, shape (N, T, s)."""
        return torch.cat((self.initial[:, None], self.states[:, :-1]), dim=1)

    @property
    def taken(self) -> Tensor:
        """True where a sequence has a step, shape (N, T)."""
        return torch.arange(self.inputs.shape[1], device=self.lengths.device) < self.lengths[:, None]

    def __repr__(self) -> str:
        """One line."""
        (count, steps, size), shortest = self.states.shape, int(self.lengths.min())
        length = f"{steps}" if shortest == steps else f"{shortest} to {steps}"
        parts = (f"N={count}", f"T={length}", f"state_size={size}", f"runs={self.runs}")
        return f"Drive({self.name}, {', '.join(parts)})"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Drives(Sequence[Drive]):
    """The drives of a network in the order of its layers, and what was not understood.

    Attributes
    ----------
    records : tuple of Drive
        One for each layer and direction that ran.
    unrecognised : list of (str, str)
        Recurrent layers that did not run or could not be unrolled, each with the reason.
    """

    records: tuple[Drive, ...]
    unrecognised: list[tuple[str, str]]

    @overload
    def __getitem__(self, index: int) -> Drive: ...
    @overload
    def __getitem__(self, index: slice) -> Drives: ...
    def __getitem__(self, index: int | slice) -> Drive | Drives:
        """Give one drive, or some of them.

        Returns
        -------
        Drive or Drives
            One for an int, several for a slice.
        """
        if isinstance(index, slice):
            return Drives(self.records[index], self.unrecognised)
        return self.records[index]

    def __len__(self) -> int:
        """Give the number of drives."""
        return len(self.records)

    def __repr__(self) -> str:
        """One line for each drive and each layer that was not understood."""
        noun = "drive" if len(self.records) == 1 else "drives"
        lines = [f"{len(self.records)} {noun}, not understood: {len(self.unrecognised)}"]
        lines += [f"  {record!r}" for record in self.records]
        lines += [f"  not understood: {name}: {reason}" for name, reason in self.unrecognised]
        return "\n".join(lines)


def recorded_drives(model: nn.Module, x: Any) -> Drives:
    """Run a network on data and give for each recurrent layer and direction what it was shown and did.

    Parameters
    ----------
    model : nn.Module
        Any network with ``nn.RNN``, ``nn.GRU``, ``nn.LSTM`` or their cells somewhere in it, also compiled or
        in ``DataParallel``; or one with the methods `step` and `initial_state`.
    x : Tensor, tuple or mapping
        What the network takes: one tensor such as (N, T, F) or token ids (N, T), a `PackedSequence`, a tuple
        of arguments, or a mapping of keyword arguments.

    Returns
    -------
    Drives
        A sequence of `Drive`, in float64, with what was not understood in `unrecognised`.

    Raises
    ------
    UnsupportedModelError
        If nothing recurrent ran that could be unrolled, or the model cannot be copied.
    ValueError
        If states are NaN or infinite, or x does not fit a model with `step`.

    Notes
    -----
    One forward pass of a float64 copy in evaluation mode, without gradients, cuDNN off, under a fixed seed
    (some networks draw their initial state); floating-point inputs become float64 wherever a layer with
    weights takes them. The model itself is not touched. What its `forward` raises is passed on.

    The states are those of the unrolled cells on the recorded inputs. Over the first steps they are held
    against what the layer returned; a layer that does something else (a changed `forward`) is not
    understood. A cell that is called in a loop gives one sequence, as long as each call is given the state
    that an earlier one returned, bit by bit; where the network changes the state in between, each call is a
    sequence of one step.

    Examples
    --------
    >>> model = nn.Sequential(nn.Embedding(10, 3), nn.GRU(3, 4, num_layers=2, batch_first=True))
    >>> recorded_drives(model, torch.zeros(5, 6, dtype=torch.int64))[1]
    Drive(1.l1, N=5, T=6, state_size=4, runs=1)
    """
    twin = float64_twin(model)
    if is_stepped(twin):
        return Drives((cell_drive(twin, x),), [])
    found = {name: module for name, module in twin.named_modules() if _is_recurrent(module)}
    unrecognised = [
        (name, f"a {type(module).__name__} is none of torch's recurrent layers, and has no method step")
        for name, module in twin.named_modules()
        if _LOOKS_RECURRENT.search(type(module).__name__) and not any(map(_is_recurrent, module.modules()))
    ]
    records: list[Drive] = []
    for name, calls in (recorded_calls(twin, found, x) if found else {}).items():
        try:
            records += _drives_of(found[name], name, calls)
        except NotUnderstoodError as reason:
            unrecognised.append((name, str(reason)))
    if not records:
        said = "; ".join(f"{name}: {reason}" for name, reason in unrecognised) or "it has none"
        raise UnsupportedModelError(
            f"model ({type(model).__name__}) ran no recurrent layer that can be unrolled ({said}); expected "
            "nn.RNN, nn.GRU, nn.LSTM, their cells, or a module with step and initial_state; for other "
            "networks: rnn.input_jacobian"
        )
    return Drives(tuple(records), unrecognised)


def cell_drive(model: Any, x: Any, *, initial: Tensor | None = None, lengths: Any = None) -> Drive:
    """Give the drive of a module with `step` and `initial_state` on sequences.

    Parameters
    ----------
    model : nn.Module
        A cell: `UnrolledCell`, `RecurrentClassifier`, or any module with these two methods.
    x : Tensor, shape (N, T, F)
        Sequences; zeros for a network without input.
    initial : Tensor, shape (N, s), optional
        The states s_0; without them those of `initial_state`.
    lengths : sequence of int, shape (N,), optional
        Number of steps of each sequence; without them T.

    Returns
    -------
    Drive
        In float64.

    Raises
    ------
    UnsupportedModelError
        If the model lacks the methods, or cannot be copied.
    ValueError
        If a shape does not fit, or a state becomes NaN or infinite.

    Examples
    --------
    >>> from rnn import ModelConfig, build_model
    >>> model = build_model(ModelConfig("lstm", features=3, steps=5, hidden=4))
    >>> cell_drive(model, torch.zeros(2, 5, 3), initial=torch.ones(2, 8))
    Drive(RecurrentClassifier, N=2, T=5, state_size=8, runs=1)
    """
    twin = plain_twin(model)
    if not is_stepped(twin):
        raise UnsupportedModelError(
            f"model is a {type(model).__name__} without the methods step and initial_state; use "
            "rnn.recorded_drives for networks with torch's layers"
        )
    run = _stepped_run(twin, x)
    if initial is not None or lengths is not None:
        start = run.initial if initial is None else _checked_initial(initial, run)
        ends = run.lengths if lengths is None else _checked_lengths(lengths, run)
        states = unrolled_states(twin, run.inputs, start, ends)
        run = Run(run.inputs, start, states, ends)
    return _joined(twin, getattr(twin, "name", "") or type(twin).__name__, [run])


def _is_recurrent(module: nn.Module) -> bool:
    return isinstance(module, (nn.RNNBase, nn.RNNCellBase)) or is_stepped(module)


def _drives_of(module: nn.Module, name: str, calls: list[Call]) -> list[Drive]:
    if not calls:
        raise NotUnderstoodError("it did not run on x")
    if is_stepped(module):
        return [_joined(module, name, [_stepped_run(module, call.argument(0, "x")) for call in calls])]
    return [_joined(cell, cell.name, runs) for cell, runs in layer_runs(module, name, calls).items()]


def _stepped_run(cell: Any, x: Any) -> Run:
    """Give the run of a module with `step` and `initial_state` from its own initial state."""
    if not isinstance(x, Tensor) or x.ndim != 3 or x.numel() == 0:
        what = f"has shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"is a {type(x).__name__}"
        raise ValueError(f"x {what}; expected (N, T, F) with N, T, F >= 1")
    with torch.inference_mode(False), torch.no_grad():
        device = next((parameter.device for parameter in cell.parameters()), x.device)
        inputs = x.detach().to(device, torch.float64, copy=True)
        initial = cell.initial_state(len(inputs))
        lengths = torch.full((len(inputs),), inputs.shape[1], device=device)
        return Run(inputs, initial, unrolled_states(cell, inputs, initial), lengths)


def _checked_initial(initial: Tensor, run: Run) -> Tensor:
    if tuple(initial.shape) != tuple(run.initial.shape):
        raise ValueError(
            f"initial has shape {tuple(initial.shape)}; expected (N, s) = {tuple(run.initial.shape)}"
        )
    return initial.detach().to(run.initial)


def _checked_lengths(lengths: Any, run: Run) -> Tensor:
    given, (count, steps) = torch.as_tensor(lengths), run.states.shape[:2]
    if given.shape != (count,) or given.is_floating_point() or given.min() < 1 or given.max() > steps:
        raise ValueError(
            f"lengths are {given.tolist()}; expected {count} whole numbers from 1 to T = {steps}"
        )
    return given.to(run.lengths)


def _joined(cell: nn.Module, name: str, runs: list[Run]) -> Drive:
    """Put the sequences of all runs of a cell below each other, filled up to one length."""
    longest = max(run.states.shape[1] for run in runs)
    inputs, states = [], []
    for run in runs:
        missing = longest - run.states.shape[1]
        inputs.append(nn.functional.pad(run.inputs, (0, 0, 0, missing)))
        states.append(torch.cat((run.states, run.states[:, -1:].expand(-1, missing, -1)), dim=1))
    drive = Drive(
        name=name,
        cell=cell,
        inputs=torch.cat(inputs),
        initial=torch.cat([run.initial for run in runs]),
        states=torch.cat(states),
        lengths=torch.cat([run.lengths for run in runs]),
        runs=len(runs),
    )
    if not (drive.states.isfinite().all() and drive.initial.isfinite().all()):
        raise ValueError(
            f"the states of {name} are NaN or infinite on x; look for such entries in x and in the weights, "
            "or pass shorter sequences"
        )
    return drive
