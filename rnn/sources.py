"""Readers of trained networks: a module, a dictionary or a file becomes one flat table of named tensors."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnn.modules import tensors_of_module
from rnn.tensors import ANY_ARRAY, Stored, Tensors, stored_tensor
from rnn.training import read_torch_file
from spectra.errors import UnsupportedModelError


def read_source(source: Any) -> Tensors:
    """Read a trained network from whatever holds it; no code of a file is run.

    Parameters
    ----------
    source : nn.Module, mapping, or path
        A module, a state_dict, a training checkpoint with nested dictionaries, or a path to a file with a
        suffix in `FORMATS`.

    Returns
    -------
    Tensors
        The flat table.

    Raises
    ------
    UnsupportedModelError
        If it is nothing of the kind, or holds no tensor.
    """
    if isinstance(source, nn.Module):
        table = tensors_of_module(source)
    elif isinstance(source, Mapping):
        table = _from_mapping(source, "state_dict")
    elif isinstance(source, (str, os.PathLike)):
        table = _from_path(Path(source))
    else:
        raise UnsupportedModelError(
            f"source is a {type(source).__name__}; expected a torch.nn.Module, a state_dict, or a path to a "
            f"file ({', '.join(FORMATS)}); a single matrix W: {{'weight_hh': W}}"
        )
    if not table.entries:
        raise UnsupportedModelError(
            f"source ({table.origin}) holds no tensors; pass a model with parameters, or its state_dict()"
        )
    return table


_DEEPEST = 100  # dictionaries within each other that are still opened
_OPTIMISER = re.compile("optim|scheduler|scaler")


def _from_mapping(content: Mapping[Any, Any], origin: str) -> Tensors:
    groups: dict[str, dict[str, Stored]] = {}
    unrecognised: list[tuple[str, str]] = []
    for path, key, value in _leaves(content, ""):
        if isinstance(value, Tensor):
            groups.setdefault(path, {})[key] = stored_tensor(value)
        elif value is not None:
            unrecognised.append((f"{path}{key}", str(value)))
    alone = len(groups) == 1
    entries = {
        (key if alone else f"{path}{key}"): value
        for path, group in groups.items()
        for key, value in group.items()
    }
    return Tensors(origin, entries, {}, unrecognised)


def _leaves(
    content: Mapping[Any, Any], path: str, above: tuple[Mapping[Any, Any], ...] = ()
) -> Iterator[tuple[str, str, Tensor | str | None]]:
    """Walk nested dictionaries: (path, key, tensor); for others a reason, or None if plain data."""
    above = (*above, content)
    for key, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "iufcb":
            value = torch.from_numpy(np.ascontiguousarray(value))
        if isinstance(value, Tensor):
            yield path, str(key), value
        elif isinstance(value, Mapping):
            if "param_groups" in value or _OPTIMISER.search(str(key).lower()):
                yield path, str(key), "state of an optimiser or scheduler, not weights"
            elif any(value is one for one in above) or len(above) > _DEEPEST:
                yield path, str(key), "dictionaries within dictionaries without end"
            else:
                yield from _leaves(value, f"{path}{key}.", above)
        elif isinstance(value, (list, tuple)) and any(isinstance(e, (Tensor, np.ndarray)) for e in value):
            yield path, str(key), "a list of tensors without names; pass them in a dictionary"
        elif isinstance(value, np.ndarray):
            yield path, str(key), f"an array of dtype {value.dtype}, not of numbers"
        else:
            yield path, str(key), None


def _from_path(path: Path) -> Tensors:
    reader = FORMATS.get(path.suffix.lower())
    if reader is None:
        raise UnsupportedModelError(
            f"source {path} has the suffix {path.suffix!r}; expected one of {', '.join(FORMATS)}: "
            "save model.state_dict() with torch.save to a .pt file"
        )
    return reader(path)


def _from_torch_file(path: Path) -> Tensors:
    content = read_torch_file(path)
    if isinstance(content, Tensor):
        content = {path.stem: content}
    if not isinstance(content, Mapping):
        raise UnsupportedModelError(
            f"source {path} holds a {type(content).__name__}; expected a state_dict or a dictionary that "
            "holds one: torch.save(model.state_dict(), path)"
        )
    return _from_mapping(content, path.name)


def _from_numpy_file(path: Path) -> Tensors:
    with open(path, "rb") as file:
        try:
            loaded = np.load(file, allow_pickle=False)
            content = {path.stem: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except Exception as error:  # a damaged archive fails in a dozen ways
            first = (str(error).strip() or "it ends too early").splitlines()[0]
            first = "it holds Python objects, or is damaged" if "pickle" in first else first
            raise ValueError(
                f"source {path} is no readable {path.suffix} file of numbers ({first}); save it again"
            ) from None
    table = _from_mapping(content, path.name)
    return dataclasses.replace(table, kinds=dict.fromkeys(table.entries, ANY_ARRAY))


FORMATS: dict[str, Callable[[Path], Tensors]] = {
    ".pt": _from_torch_file,
    ".pth": _from_torch_file,
    ".npz": _from_numpy_file,
    ".npy": _from_numpy_file,
}
