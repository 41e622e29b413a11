"""Readers of trained networks: a module, a dictionary or a file becomes one flat table of named tensors."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from rnn.reading.archives import read_torch_archive
from rnn.reading.hub_folders import read_folder, with_config
from rnn.reading.mappings import tensors_of_mapping
from rnn.reading.modules import tensors_of_module
from rnn.reading.neighbours import readable_file
from rnn.reading.numpy_files import read_numpy
from rnn.reading.onnx_graphs import read_onnx
from rnn.reading.safetensor_files import read_safetensors
from rnn.reading.shards import INDEX, lone_shard, read_index
from rnn.reading.tensors import Tensors
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
        table = tensors_of_mapping(source, "state_dict")
    elif isinstance(source, (str, os.PathLike)):
        table = _from_path(Path(source))
    else:
        raise UnsupportedModelError(
            f"source is a {type(source).__name__}; expected a torch.nn.Module, a state_dict, or a path to a "
            f"file ({', '.join(FORMATS)}); a single matrix W: {{'weight_hh': W}}"
        )
    if not table.entries:
        listed = "".join(
            f" ({' '.join(f'{key}: {why}'.split()):.300})" for key, why in table.unrecognised[:1]
        )
        raise UnsupportedModelError(
            f"source ({table.origin}) holds no tensors{listed}; pass a model with parameters, or its "
            "state_dict()"
        )
    return table


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


FORMATS: dict[str, Callable[[Path], Tensors]] = {
    ".pt": read_torch_archive,
    ".pth": read_torch_archive,
    ".npz": read_numpy,
    ".npy": read_numpy,
    ".bin": read_torch_archive,
    ".ckpt": read_torch_archive,
    ".pkl": read_torch_archive,
    ".pickle": read_torch_archive,
    ".safetensors": read_safetensors,
    ".onnx": read_onnx,
}
