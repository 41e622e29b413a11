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

from rnn.hub_folders import read_folder, with_config
from rnn.modules import tensors_of_module
from rnn.neighbours import readable_file
from rnn.numpy_files import read_numpy
from rnn.onnx_graphs import read_onnx
from rnn.safetensor_files import read_safetensors
from rnn.shards import INDEX, lone_shard, read_index
from rnn.tensors import Stored, Tensors, stored_tensor
from rnn.training import read_torch_file
from spectra.errors import UnsupportedModelError


def read_source(source: Any) -> Tensors:
    """Read a trained network from whatever holds it; no code of a file is run.

    Parameters
    ----------
    source : nn.Module, mapping, or path
        A module, a state_dict, a training checkpoint with nested dictionaries, or a path to a file with a
        suffix in `FORMATS`, to the index of a model in shards, or to a folder of weights.

    Returns
    -------
    Tensors
        The flat table.

    Raises
    ------
    UnsupportedModelError
        If it is nothing of the kind, or holds no tensor.
    ValueError
        If a file is damaged or cannot be opened.
    FileNotFoundError
        If nothing is at the path.
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
        listed = "".join(f" ({key}: {reason})" for key, reason in table.unrecognised[:1])
        raise UnsupportedModelError(
            f"source ({table.origin}) holds no tensors{listed}; pass a model with parameters, or its state_dict()"
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
    if os.path.isdir(path):
        return read_folder(path, FORMATS)
    readable_file(path)
    if path.name.endswith(INDEX):
        return with_config(read_index(path, FORMATS), path.parent)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UnsupportedModelError(
            f"source {path} has the suffix {path.suffix!r}; expected one of {', '.join(FORMATS)}, a "
            f"*{INDEX}, or a folder: save model.state_dict() with torch.save to a .pt file"
        )
    table = FORMATS[suffix](path)
    table = dataclasses.replace(table, unrecognised=[*table.unrecognised, *lone_shard(path)])
    return with_config(table, path.parent) if suffix in {".safetensors", ".bin"} else table


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


FORMATS: dict[str, Callable[[Path], Tensors]] = {
    ".pt": _from_torch_file,
    ".pth": _from_torch_file,
    ".npz": read_numpy,
    ".npy": read_numpy,
    ".bin": _from_torch_file,
    ".safetensors": read_safetensors,
    ".onnx": read_onnx,
}
