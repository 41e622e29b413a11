"""Weights of attention: fused query, key and value apart, and which other weights belong to it."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from rnn.reading.factors import Weight
from rnn.reading.matrices import NamedMatrix
from rnn.reading.tensors import ANY_ARRAY, NotUnderstoodError

FUSED = {"in_proj_weight", "qkv", "Wqkv", "c_attn", "query_key_value", "qkv_proj"}
_TRIPLES = (
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("to_q", "to_k", "to_v"),
    ("q_lin", "k_lin", "v_lin"),
    ("wq", "wk", "wv"),
    ("q", "k", "v"),
)
_SINGLE = {name for triple in _TRIPLES for name in triple} | {"q_attn"}
_OUTWARDS = {"out_proj", "o_proj", "c_proj", "proj", "dense", "out_lin", "to_out", "wo", "o", "out"}
_GPT2 = {"c_attn", "q_attn", "c_proj", "c_fc"}  # layers that transformers writes as Conv1D, (in, out)
_BY_HEAD = {"", "gpt_neox", "gpt_neox_japanese", "bloom", "persimmon", "falcon", "gpt_bigcode"}


def is_fused(name: str) -> bool:
    """Tell whether a weight holds query, key and value at once, by its name.

    Parameters
    ----------
    name : str
        Key, without the names of wrappers.

    Returns
    -------
    bool
        True for ``attn.qkv.weight``, ``in_proj_weight`` and the like.
    """
    return _place(name)[1] in FUSED


def is_attention(name: str, names: Collection[str]) -> bool:
    """Tell whether a linear weight belongs to attention, by its name and those beside it.

    Parameters
    ----------
    name : str
        Key, without the names of wrappers.
    names : collection of str
        Those of the whole network.

    Returns
    -------
    bool
        True for projections of queries, keys, values and of the result, in a layer that is called attention
        or that holds all three, or fused ones.
    """
    parent, part = _place(name)
    if part in {"q_proj_weight", "k_proj_weight", "v_proj_weight"}:
        return True
    if part not in _SINGLE | _OUTWARDS:
        return False
    called = [word.lower() for word in parent.split(".")[-3:-1]]
    if any("attn" in word or "attention" in word for word in called):
        return True
    if f"{parent}in_proj_weight" in names or any(f"{parent}{fused}.weight" in names for fused in FUSED):
        return True
    return any(all(f"{parent}{one}.weight" in names for one in triple) for triple in _TRIPLES)


def conv1d_names(weights: Mapping[str, Weight]) -> set[str]:
    """Give the names of weights that are stored (in, out), as GPT-2 has them in transformers.

    Parameters
    ----------
    weights : mapping of str to Weight
        Those of the whole network.

    Returns
    -------
    set of str
        In each block in which ``c_attn`` has three times (or beside ``q_attn``, twice) as many columns as
        rows: it, ``c_proj`` and ``c_fc``, unless the kind of the layer is known.
    """
    blocks = set()
    for name, weight in weights.items():
        parent, part = _place(name)
        if part == "c_attn" and len(weight.shape) == 2 and weight.shape[1] in _widths(weights, name):
            blocks.add(parent.removesuffix(".").rpartition(".")[0] + "." if parent.count(".") > 1 else "")
    return {
        name
        for name, weight in weights.items()
        if _place(name)[1] in _GPT2
        and len(weight.shape) == 2
        and weight.kind in {"", ANY_ARRAY}
        and any(name.startswith(block) for block in blocks)
    }


def fused_records(
    weights: Mapping[str, Weight], name: str, config: Mapping[str, Any], origin: str, *, transposed: bool
) -> list[NamedMatrix]:
    """Split a fused weight into the matrices of query, key and value.

    Parameters
    ----------
    weights : mapping of str to Weight
        Those of the whole network.
    name : str
        The one to split.
    config : mapping
        Architecture: ``num_attention_heads``, ``num_key_value_heads``, ``model_type``.
    origin : str
        Name of the source.
    transposed : bool
        Whether it is stored (in, out).

    Returns
    -------
    list of NamedMatrix
        Named ``[q]``, ``[k]`` and ``[v]``.

    Raises
    ------
    NotUnderstoodError
        If its shape does not tell the rows, and the configuration does not either.

    Notes
    -----
    ``in_proj_weight``, ``qkv``, ``Wqkv`` and ``c_attn`` hold all of q, then k, then v; of unequal heights
    where ``num_key_value_heads`` says so. ``query_key_value`` holds q, k and v of each head in turn, or those
    of each group of heads (Falcon). ``qkv_proj`` is read for Phi-3: its order
    differs from model to model.
    """
    weight = weights[name]
    height, width = weight.shape[::-1] if transposed else weight.shape
    records = []
    for part, rows in _parts(weights, name, height, width, config).items():
        read = functools.partial(_chosen, weight, rows, transposed)
        count = len(range(height)[rows]) if isinstance(rows, slice) else len(rows)
        place = f"[{rows.start}:{rows.stop}]" if isinstance(rows, slice) else f"[{count} rows, by head]"
        cited = weight.cite(origin, f"{'.T' if transposed else ''}{place}")
        records.append(
            NamedMatrix(
                f"{name}[{part}]", 0, "forward", "", "attention", cited, "discrete", (count, width), read
            )
        )
    return records


def _place(name: str) -> tuple[str, str]:
    """Give the prefix of the layer around a weight, with its dot, and the name of the weight's own layer."""
    inner = name.removesuffix(".weight") if name.endswith(".weight") else name
    parent, dot, part = inner.rpartition(".")
    if part.isdigit() and inner != name:  # to_out.0
        parent, dot, part = parent.rpartition(".")
    return parent + dot, part


def _widths(weights: Mapping[str, Weight], name: str) -> set[int]:
    """How many rows the fused weight has per row of the state: three times, beside q_attn twice."""
    parent, _ = _place(name)
    size = weights[name].shape[0]
    return {2 * size} if f"{parent}q_attn.weight" in weights else {3 * size}


def _chosen(weight: Weight, rows: slice | Tensor, transposed: bool) -> Tensor:
    values = weight.stored.read()
    return (values.T if transposed else values)[rows]


def _parts(
    weights: Mapping[str, Weight], name: str, height: int, width: int, config: Mapping[str, Any]
) -> dict[str, slice | Tensor]:
    """Give the rows of q, k and v (beside a separate ``q_attn``: k and v)."""
    parent, part = _place(name)
    family = str(config.get("model_type", ""))
    if part == "query_key_value" or (family == "gpt_bigcode" and not config.get("multi_query", True)):
        return _by_head(height, config, family)
    if part == "qkv_proj":
        if family != "phi3":
            raise NotUnderstoodError(
                "a fused query, key and value whose order of rows differs between models, known for Phi-3; "
                "pass the module, its folder with config.json, or the parts as {'attn.q_proj.weight': Q, ...}"
            )
        return _stacked(height, config)
    if f"{parent}q_attn.weight" in weights and height % 2 == 0:
        return {"k": slice(0, height // 2), "v": slice(height // 2, height)}
    if height == 3 * width:
        return {p: slice(k * width, (k + 1) * width) for k, p in enumerate("qkv")}
    return _stacked(height, config)


def _heads(config: Mapping[str, Any]) -> int:
    for key in ("num_attention_heads", "n_head", "n_heads"):
        if isinstance(config.get(key), int) and config[key] > 0:
            return int(config[key])
    raise NotUnderstoodError(
        "a fused query, key and value whose rows depend on the number of heads, which the source does not "
        "tell; pass the module, or its folder with config.json"
    )


def _stacked(height: int, config: Mapping[str, Any]) -> dict[str, slice | Tensor]:
    """All of q, then k, then v, where k and v may have fewer heads."""
    heads = _heads(config)
    groups = 1 if config.get("multi_query") else config.get("num_key_value_heads") or heads
    size = _whole(height, heads + 2 * groups)
    q, kv = heads * size, groups * size
    return {"q": slice(0, q), "k": slice(q, q + kv), "v": slice(q + kv, q + 2 * kv)}


def _by_head(height: int, config: Mapping[str, Any], family: str) -> dict[str, slice | Tensor]:
    """For each group of heads its queries, then its key and value."""
    heads = _heads(config)
    if family not in _BY_HEAD:
        raise NotUnderstoodError(
            f"a fused query, key and value of model type {family!r}, whose order of rows is not known here; "
            "pass the parts as {'attn.q_proj.weight': Q, ...}"
        )
    groups = heads
    if family == "falcon" and config.get("new_decoder_architecture"):
        groups = config.get("num_kv_heads") or heads
    elif family == "falcon" and config.get("multi_query", True):
        groups = 1
    queries = _whole(heads, groups)
    rows = torch.arange(height).reshape(groups, queries + 2, _whole(height, groups * (queries + 2)))
    return {
        "q": rows[:, :queries].flatten(),
        "k": rows[:, queries].flatten(),
        "v": rows[:, queries + 1].flatten(),
    }


def _whole(rows: int, parts: int) -> int:
    if rows % parts:
        raise NotUnderstoodError(
            f"{rows} rows do not fall into {parts} equal parts, as the configuration says"
        )
    return rows // parts
