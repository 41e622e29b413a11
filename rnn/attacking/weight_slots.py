"""The matrices of a network in the place where they are used, so that they can be perturbed one by one."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from rnn.motion.twins import float64_twin
from rnn.reading.gates import GATES, is_recurrent
from spectra.errors import UnsupportedModelError


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class WeightSlot:
    """One matrix of a network, as a view of the tensor that the network computes with.

    Attributes
    ----------
    name : str
        As `rnn.named_matrices` calls it: ``rnn.weight_hh_l0[n]``, ``head.weight``.
    parameter : nn.Parameter
        The tensor it lies in.
    rows : slice
        Its rows there: of a recurrent tensor those of one gate.
    """

    name: str
    parameter: nn.Parameter
    rows: slice

    @property
    def tensor(self) -> Tensor:
        """The whole tensor, flattened to two dimensions."""
        return self.parameter.detach().view(len(self.parameter), -1)

    @property
    def matrix(self) -> Tensor:
        """A view of the matrix: what is written to it, the network uses."""
        return self.tensor[self.rows]

    @property
    def is_recurrent(self) -> bool:
        """Whether it multiplies the state."""
        return self.name.rpartition(".")[2].startswith("weight_hh")


def plain_twin(model: nn.Module) -> nn.Module:
    """Give a float64 copy of a network in evaluation mode whose effective weights are plain parameters.

    Parameters
    ----------
    model : nn.Module
        Any module, also compiled, in ``DataParallel``, or with parametrised, normed or pruned weights.

    Returns
    -------
    nn.Module
        The copy; nothing of it is shared with the original.

    Raises
    ------
    UnsupportedModelError
        If it is no module, or cannot be copied.
    """
    twin = float64_twin(model)
    with torch.no_grad():
        for module in list(twin.modules()):
            _compose(module)
    return twin.requires_grad_(False)


def weight_slots(twin: nn.Module, names: Iterable[str] | None = None) -> tuple[WeightSlot, ...]:
    """Give the matrices of a plain twin, recurrent ones gate by gate.

    Parameters
    ----------
    twin : nn.Module
        From `plain_twin`.
    names : iterable of str, optional
        Which ones; None takes the recurrent matrices, or all where there is none.

    Returns
    -------
    tuple of WeightSlot
        In the order of the network; a tensor that several layers share stands once.

    Raises
    ------
    TypeError
        If `names` is one string.
    ValueError
        If a name is unknown, `names` is empty, or a parameter is NaN or infinite.
    UnsupportedModelError
        If the network has no matrix.
    """
    if isinstance(names, str):
        raise TypeError(f"matrices is {names!r}; expected several names: [{names!r}]")
    found = {slot.name: slot for slot in _all_slots(dict(twin.named_parameters()))}
    if not found:
        raise UnsupportedModelError(
            f"model ({type(twin).__name__}) has no weight matrix that could be changed"
        )
    for name, parameter in twin.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"model has a NaN or infinite entry in {name}; train it again, or load it anew")
    if names is None:
        recurrent = tuple(slot for slot in found.values() if slot.is_recurrent)
        return recurrent or tuple(found.values())
    wanted = set(names)
    unknown = sorted(wanted - set(found))
    if unknown or not wanted:
        said = f"holds {unknown[0]!r}" if unknown else "is empty"
        raise ValueError(f"matrices {said}; expected some of {', '.join(found)}")
    return tuple(slot for name, slot in found.items() if name in wanted)


@contextlib.contextmanager
def shifted(slots: Sequence[WeightSlot], shifts: Sequence[Tensor]) -> Iterator[None]:
    """Within it, to each matrix W its E is added; afterwards all are as before, bit by bit.

    Parameters
    ----------
    slots : sequence of WeightSlot
        The matrices.
    shifts : sequence of Tensor
        Their perturbations E.

    Yields
    ------
    None
        Nothing.
    """
    before = [slot.matrix.clone() for slot in slots]
    try:
        for slot, weight, shift in zip(slots, before, shifts, strict=True):
            slot.matrix.copy_(weight + shift)
        yield
    finally:
        for slot, weight in zip(slots, before, strict=True):
            slot.matrix.copy_(weight)


def _all_slots(parameters: Mapping[str, nn.Parameter]) -> Iterator[WeightSlot]:
    for name, parameter in parameters.items():
        if parameter.ndim < 2 or parameter.numel() == 0 or not parameter.is_floating_point():
            continue
        parameter.data = parameter.data.contiguous()
        for title, rows in _gate_rows(name, parameter, parameters):
            yield WeightSlot(title, parameter, rows)


def _gate_rows(
    name: str, parameter: nn.Parameter, parameters: Mapping[str, nn.Parameter]
) -> Iterator[tuple[str, slice]]:
    """Give names and rows of the gates of a recurrent tensor, or those of a whole matrix."""
    rows = len(parameter)
    hidden = parameters.get(name.replace("weight_ih", "weight_hh"))
    back = parameters.get(name.replace("weight_ih", "weight_hr").replace("weight_hh", "weight_hr"))
    gates: tuple[str, ...] = ("",)
    if is_recurrent(name) and "weight_hr" not in name and hidden is not None:
        width = hidden.shape[1] if back is None else back.shape[1]
        gates = GATES.get(rows // width, gates) if rows % width == 0 else gates
    height = rows // len(gates)
    for number, gate in enumerate(gates):
        yield (f"{name}[{gate}]" if gate else name), slice(number * height, (number + 1) * height)


def _compose(module: nn.Module) -> None:
    """Make plain parameters of weights that are computed from others, in a copy."""
    if parametrize.is_parametrized(module):
        assert isinstance(module.parametrizations, nn.ModuleDict)
        values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}
        # torch.nn.utils.parametrize.remove_parametrizations would change the class, which the original shares
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        for name, value in values.items():
            setattr(module, name, nn.Parameter(value, requires_grad=False))
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, (WeightNorm, SpectralNorm, BasePruningMethod)):
            hook.remove(module)
            del module._forward_pre_hooks[key]
