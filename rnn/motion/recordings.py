"""One forward pass of a network with ears on its recurrent layers, and the runs that were heard."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnn.models import seeded
from rnn.motion.cells import UnrolledCell, unrolled_cells, unrolled_states
from rnn.motion.unrolled import initial_states, own_order, padded_batch
from rnn.reading.tensors import NotUnderstoodError

_AGREEMENT = 1e-6  # of the outputs of a layer and of its cells in float64, over the first steps
_FIRST_STEPS = 10  # later ones of a chaotic network may differ by rounding alone


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a module was given and what it returned.

    Attributes
    ----------
    args, kwargs : tuple, dict
        Its arguments, copied.
    output : object
        What it returned, copied.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    def argument(self, place: int, name: str) -> Any:
        """Give one argument, by place or name.

        Parameters
        ----------
        place : int
            Its place.
        name : str
            Its name.

        Returns
        -------
        object
            The argument, None where it was not given.
        """
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Sequences that one cell went through from one state on.

    Attributes
    ----------
    inputs : Tensor, shape (N, T, F)
        In the cell's own order of time.
    initial : Tensor, shape (N, s)
        The states s_0.
    states : Tensor, shape (N, T, s)
        The states s_1, ..., s_T.
    lengths : Tensor of int64, shape (N,)
        Number of steps of each sequence.
    """

    inputs: Tensor
    initial: Tensor
    states: Tensor
    lengths: Tensor


def recorded_calls(twin: nn.Module, layers: Mapping[str, nn.Module], x: Any) -> dict[str, list[Call]]:
    """Run a float64 twin on data once and give the calls of some of its modules.

    Parameters
    ----------
    twin : nn.Module
        In float64 and evaluation mode.
    layers : mapping of str to nn.Module
        Modules of it, by name.
    x : Tensor, tuple or mapping
        What it takes: one value, several arguments, or keyword arguments.

    Returns
    -------
    dict of str to list of Call
        The calls of each, in order.
    """
    calls: dict[str, list[Call]] = {name: [] for name in layers}
    device = next((p.device for p in twin.parameters()), torch.device("cpu"))
    for module in twin.modules():
        if any(parameter.is_floating_point() for parameter in module.parameters(recurse=False)):
            module.register_forward_pre_hook(_to_float64, with_kwargs=True)
    for name, layer in layers.items():
        layer.register_forward_hook(_ear(calls[name]), with_kwargs=True, prepend=True)
    given = _mapped(x, lambda value: _placed(value, device))
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.backends.cudnn.flags(enabled=False),
        seeded(twin, 0),
        _default_float64(),
    ):
        if isinstance(given, Mapping):
            twin(**given)
        elif isinstance(given, tuple) and not isinstance(given, PackedSequence):
            twin(*given)
        else:
            twin(given)
    return calls


def layer_runs(layer: nn.Module, name: str, calls: list[Call]) -> dict[UnrolledCell, list[Run]]:
    """Give the runs of each cell of one of torch's recurrent modules from its calls.

    Parameters
    ----------
    layer : nn.Module
        The module, in float64.
    name : str
        Its name.
    calls : list of Call
        At least one.

    Returns
    -------
    dict of UnrolledCell to list of Run
        For each layer and direction; a call that was given the final state of an earlier one goes on with
        its run.

    Raises
    ------
    NotUnderstoodError
        If the module does not do what torch's layer does.
    """
    cells = unrolled_cells(layer, name)
    heard = [_heard(layer, cells, call) for call in calls]
    chains: list[list[_Heard]] = []
    for call in heard:
        before = next((chain for chain in reversed(chains) if call.follows(chain[-1])), None)
        if before is None:
            chains.append([call])
        else:
            before.append(call)
    return {
        cell: [_chained([call.runs[k] for call in chain]) for chain in chains] for k, cell in enumerate(cells)
    }


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """One call of a layer: the run of each cell, and initial and final states as torch has them."""

    runs: list[Run]
    given: list[Tensor] | None
    finals: list[Tensor]

    def follows(self, before: _Heard) -> bool:
        """Tell whether it was given the states that an earlier call returned."""
        steps = before.runs[0].states.shape[1]
        return (
            self.given is not None
            and all(map(torch.equal, self.given, before.finals))
            and bool((before.runs[0].lengths == steps).all())
        )


def _heard(layer: nn.Module, cells: tuple[UnrolledCell, ...], call: Call) -> _Heard:
    x, hx = call.argument(0, "input"), call.argument(1, "hx")
    try:
        if isinstance(layer, nn.RNNBase):
            inputs, lengths = padded_batch(x, layer.batch_first)
            output, final = call.output
            outputs = padded_batch(output, layer.batch_first)[0]
        else:
            inputs, lengths, final = torch.atleast_2d(x)[:, None], None, _as_layer(call.output)
            hx, outputs = _as_layer(hx), torch.atleast_2d(_first(call.output))[:, None]
        given = None if hx is None else initial_states(cells, hx, inputs)
        initial = given or initial_states(cells, None, inputs)
        finals = initial_states(cells, final, inputs)
        runs = _unrolled_runs(cells, inputs, initial, lengths)
        _check_outputs(cells, runs, outputs, lengths)
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise NotUnderstoodError(
            f"its forward takes or returns other things than torch's {type(layer).__name__} ({error})"
        ) from None
    return _Heard(runs, given, finals)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) else value


def _as_layer(state: Any) -> Any:
    """Give the state of a single cell in the form of a layer: (1, N, h)."""
    if state is None:
        return None
    parts = state if isinstance(state, (tuple, list)) else (state,)
    return tuple(torch.atleast_2d(part)[None] for part in parts)


def _unrolled_runs(
    cells: tuple[UnrolledCell, ...], inputs: Tensor, initial: list[Tensor], lengths: Tensor | None
) -> list[Run]:
    """Unroll a stack of cells, each layer on the outputs of the one below."""
    runs: list[Run] = []
    outputs: list[Tensor] = []
    whole = torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
    for number, cell in enumerate(cells):
        if number and cell.layer > cells[number - 1].layer:
            inputs, outputs = torch.cat(outputs, dim=-1), []
        shown = own_order(inputs, cell, lengths)
        states = unrolled_states(cell, shown, initial[number], lengths)
        outputs.append(own_order(states[..., : cell.output_size], cell, lengths))
        runs.append(Run(shown, initial[number], states, whole if lengths is None else lengths))
    return runs


def _check_outputs(
    cells: tuple[UnrolledCell, ...], runs: list[Run], outputs: Tensor, lengths: Tensor | None
) -> None:
    """Hold the outputs of the last layer against those of its cells."""
    last = [(cell, run) for cell, run in zip(cells, runs, strict=True) if cell.layer == cells[-1].layer]
    for (cell, run), theirs in zip(last, outputs.chunk(len(last), dim=-1), strict=True):
        seen = own_order(theirs, cell, lengths)[:, :_FIRST_STEPS]
        ours = run.states[:, :_FIRST_STEPS, : cell.output_size]
        taken = torch.arange(seen.shape[1], device=seen.device) < run.lengths[:, None]
        difference = float(((ours - seen).abs().amax(-1) * taken).max())
        if difference > _AGREEMENT * max(1.0, float(ours.abs().max())):
            raise NotUnderstoodError(
                f"what it returns differs by {difference:.1g} from what its weights give; its forward does "
                "something else than torch's"
            )


def _chained(runs: list[Run]) -> Run:
    """Join the calls of one run in time."""
    if len(runs) == 1:
        return runs[0]
    inputs, states = (
        torch.cat(parts, dim=1) for parts in zip(*((r.inputs, r.states) for r in runs), strict=True)
    )
    *before, last = (run.lengths for run in runs)
    return Run(inputs, runs[0].initial, states, sum(before, start=last))


def _ear(calls: list[Call]) -> Callable[..., None]:
    def listen(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls.append(Call(*(_mapped(value, Tensor.clone) for value in (args, kwargs, output))))

    return listen


def _to_float64(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return _mapped(args, _widened), _mapped(kwargs, _widened)


def _widened(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def _placed(value: Tensor, device: torch.device) -> Tensor:
    return _widened(value.detach()).to(device)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor and array in nested tuples, lists and dictionaries."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, PackedSequence):
        data = function(value.data)
        order, back = (None if i is None else i.to(data.device) for i in value[2:])
        return PackedSequence(data, value.batch_sizes, order, back)
    if isinstance(value, tuple):
        parts = (_mapped(part, function) for part in value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [_mapped(part, function) for part in value]
    if isinstance(value, Mapping):
        return {key: _mapped(part, function) for key, part in value.items()}
    return value


@contextlib.contextmanager
def _default_float64() -> Iterator[None]:
    """Within it, tensors that a network makes in its forward (initial states) are float64."""
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        yield
    finally:
        torch.set_default_dtype(before)
