"""Reader of folders of weights: those that Hugging Face libraries save, or that hold one file of weights."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnn.reading.neighbours import neighbour, read_json
from rnn.reading.shards import INDEX, SHARD, Readers, places_in_index, read_index, read_shards
from rnn.reading.tensors import NotUnderstoodError, Tensors
from spectra.errors import UnsupportedModelError

# In the order in which transformers, diffusers and peft look for them.
STANDARD = (
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
CONFIGS = ("config.json", "adapter_config.json")

_TRAINING = re.compile(r"optim|sched|scaler|rng_state|random_states|training_args|sampler", re.IGNORECASE)
_FOREIGN = {".h5", ".keras", ".msgpack", ".ot", ".gguf", ".ggml", ".tflite", ".pb", ".pdparams", ".distcp"}
_DATA = {".npz", ".npy", ".pkl", ".pickle"}  # often something else; read where nothing but them is there

# Models whose Conv1D holds its matrix as (in, out) (transformers.pytorch_utils), and what it is called there.
_CONV1D_MODELS = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "clvp_decoder"}
_CONV1D = re.compile(r"(?:^|\.)(?:c_attn|q_attn|c_proj|c_fc)\.weight$")
_EMBEDDING = re.compile(r"(?:^|\.)(?:wte|wpe|shared|relative_attention_bias)\.weight$")
_HEAD = re.compile(r"(?:^|\.)embed_out\.weight$")  # a linear layer in spite of its name


def read_folder(folder: Path, readers: Readers) -> Tensors:
    """Read the weights in a folder, with its ``config.json``.

    Parameters
    ----------
    folder : Path
        For example what ``save_pretrained`` wrote.
    readers : mapping of str to callable
        Suffix to reader of one file.

    Returns
    -------
    Tensors
        Of the first name of `STANDARD` that is there, else of the only index, else of the only file or the
        shards of the only model. Every other file of weights is listed as not read.

    Raises
    ------
    UnsupportedModelError
        If no file of weights is there, or several without a standard name.
    ValueError
        If the folder cannot be opened, or its weights are damaged.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ValueError(f"source {folder} cannot be opened ({error.strerror}); check the path") from None
    weights = [name for name in names if _suffix(name) in {*readers, *_FOREIGN} or name.endswith(INDEX)]
    group = _chosen(folder, weights, readers)
    try:
        first = neighbour(folder, group[0])
    except NotUnderstoodError as reason:
        raise ValueError(f"source {folder} cannot be read ({reason}); pass the file itself") from None
    if first.name.endswith(INDEX):
        table = read_index(first, readers)
        group = [first.name, *places_in_index(first).values()]
    elif SHARD.fullmatch(first.name):
        table = read_shards(folder, group, readers)
    else:
        table = readers[_suffix(first.name)](first)
    left = [(name, _reason_left(name, first.name)) for name in weights if name not in group]
    origin = f"{folder.resolve().name}/{first.name}"
    table = dataclasses.replace(table, origin=origin, unrecognised=[*table.unrecognised, *left])
    return with_config(table, folder)


def with_config(table: Tensors, folder: Path) -> Tensors:
    """Add what the ``config.json`` of a folder says about the architecture.

    Parameters
    ----------
    table : Tensors
        Read from files in the folder.
    folder : Path
        The folder.

    Returns
    -------
    Tensors
        With `config`, and with the kinds of layers that follow from it. A damaged description is listed.
    """
    name = next((name for name in CONFIGS if os.path.lexists(folder / name)), "")
    if not name:
        return table
    try:
        config = read_json(neighbour(folder, name))
    except (NotUnderstoodError, ValueError, OSError) as reason:
        return dataclasses.replace(table, unrecognised=[*table.unrecognised, (name, str(reason))])
    kinds = {key: "embedding" for key in table.entries if _EMBEDDING.search(key)}
    kinds |= {key: "linear" for key in table.entries if _HEAD.search(key)}
    if _CONV1D_MODELS & set(_model_types(config)):
        kinds |= {key: "transposed linear" for key in table.entries if _CONV1D.search(key)}
    return dataclasses.replace(table, config=config, kinds=kinds | table.kinds)


def _chosen(folder: Path, weights: list[str], readers: Readers) -> list[str]:
    """Choose the file, or the shards of one model, that are read."""
    standard = [name for name in STANDARD if name in weights]
    if standard:
        return standard[:1]
    indices = [[name] for name in weights if name.endswith(INDEX)]
    usable = [name for name in weights if _suffix(name) in readers and not _TRAINING.match(name)]
    models: dict[str, list[str]] = {}
    for name in [name for name in usable if _suffix(name) not in _DATA] or usable:
        shard = SHARD.fullmatch(name)
        models.setdefault(shard["stem"] + shard["suffix"] if shard else name, []).append(name)
    choices = indices or list(models.values())
    if len(choices) == 1:
        return choices[0]
    found = ", ".join([group[0] for group in choices[:5]] or weights[:5]) or "nothing of the kind"
    if choices:
        raise UnsupportedModelError(
            f"source {folder} holds {len(choices)} models, none of a standard name ({found}); pass one file"
        )
    raise UnsupportedModelError(
        f"source {folder} is a folder without weights that can be read (it holds {found}); expected "
        f"{STANDARD[0]}, {STANDARD[1]}, pytorch_model.bin, or one file with a suffix of {', '.join(readers)}"
    )


def _reason_left(name: str, chosen: str) -> str:
    if _TRAINING.match(name):
        return "state of training, not weights"
    if _suffix(name) in _FOREIGN:
        return f"not read: {_suffix(name)} files are not understood, {chosen} is read"
    return f"not read: {chosen} is; to read this one, pass the file itself"


def _model_types(config: Mapping[str, Any]) -> Iterator[str]:
    """Give the types of the model and of the parts that it is composed of."""
    for part in (config, *(value for value in config.values() if isinstance(value, Mapping))):
        if isinstance(part.get("model_type"), str):
            yield part["model_type"]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
