"""Weights that are stored as several tensors: weight_norm, spectral_norm, pruning, integers beside scales."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from rnn.networks.parametrizations import KEPT, constrained_matrix
from rnn.reading.tensors import NotUnderstoodError, Stored, Tensors

_WRAPPER = re.compile(
    r"(?:(?<=^)|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_CHAIN = re.compile(r"(?P<stem>(?:.*\.)?)parametrizations\.(?P<weight>[^.]+)\.(?P<part>.+)")
_SUFFIX = re.compile(r"(?P<weight>.*[^.])_(?P<part>g|v|u|orig|mask|raw)")
_RECURRENT = re.compile(r"(?:.*\.)?weight_(?:ih|hh)_l\d{1,9}(?:_reverse)?")
_CODES = ("int8", "uint8", "float8")

Listed = list[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """One weight of a network, read when asked for.

    Attributes
    ----------
    name : str
        Key without the names of wrappers.
    key : str
        Key in the source.
    stored : Stored
        Its values; `Stored.where` names what they are computed from.
    kind : str
        As in `Tensors.kinds`.
    """

    name: str
    key: str
    stored: Stored
    kind: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.stored.shape

    def cite(self, origin: str, rows: str = "") -> str:
        """Say where it was taken from: source, key, rows, factors."""
        where = f" ({self.stored.where})" if self.stored.where else ""
        return f"{origin}: {self.key}{rows}{where}"


def whole_weights(table: Tensors) -> tuple[dict[str, Weight], Listed]:
    """Give the weights of a table by name without wrappers, those in several tensors composed.

    Parameters
    ----------
    table : Tensors
        What a source holds.

    Returns
    -------
    weights : dict of str to Weight
        In the order of the table; a composed weight stands where its first factor stood.
    unrecognised : list of (str, str)
        Factors that give no weight without their module or partner, each with the reason.

    Notes
    -----
    Formulas, in the precision of the file: weight_norm v g / ‖v‖, the norm over all axes along which g has
    one entry; spectral_norm W / (u* W v), W with its output axis first; pruning W mask; integers and float8
    beside scales (q - zero point) scale, by rows, columns or blocks, and beside ``SCB`` q SCB / 127 by rows;
    ``weight_hh_l0_raw`` (dropped connections) is the weight itself; constrained cells of our own as in
    `rnn.networks.parametrizations`. A chain of parametrisations leaves no
    trace of a link without tensors: the reading is named in `Stored.where`.
    """
    weights = _bare(table)
    kinds = {_WRAPPER.sub("", key): kind for key, kind in table.kinds.items()}
    unrecognised: Listed = []
    for name, names in (_factors(weights) | _scaled(weights)).items():
        parts = {part: weights[key] for part, key in names.items()}
        try:
            compute, shape = _composition(parts, kinds.get(name, ""))
        except NotUnderstoodError as reason:
            unrecognised += [(one.key, str(reason)) for one in parts.values() if len(one.shape) >= 2]
            weights = {key: one for key, one in weights.items() if key not in names.values()}
            continue
        weights = _with_composed(weights, name, names, compute, shape, kinds.get(name, ""), unrecognised)
    return weights, unrecognised


def _bare(table: Tensors) -> dict[str, Weight]:
    weights: dict[str, Weight] = {}
    for key, stored in table.entries.items():
        bare = _WRAPPER.sub("", key)
        name = key if bare in weights else bare
        weights[name] = Weight(name, key, stored, table.kinds.get(key, ""))
    return weights


def _factors(weights: dict[str, Weight]) -> dict[str, dict[str, str]]:
    """Find the weights that torch.nn.utils has split, and for each part the name of its entry."""
    chains: dict[str, dict[str, str]] = {}
    pairs: dict[str, dict[str, str]] = {}
    for name in weights:
        if match := _CHAIN.fullmatch(name):
            chains.setdefault(match["stem"] + match["weight"], {})[match["part"]] = name
        elif match := _SUFFIX.fullmatch(name):
            pairs.setdefault(match["weight"], {})[match["part"]] = name
    for name, found in pairs.items():
        if {"g", "v"} <= set(found):
            chains[name] = {part: found[part] for part in "gv"}
        elif "orig" in found:
            chains[name] = {part: key for part, key in found.items() if part != "raw"}
        elif "raw" in found and _RECURRENT.fullmatch(name):
            chains[name] = {"raw": found["raw"]}
        elif {"g", "v"} & set(found) and name.rpartition(".")[2].startswith("weight"):
            chains[name] = {part: key for part, key in found.items() if part in "gv"}
    return chains


def _scaled(weights: dict[str, Weight]) -> dict[str, dict[str, str]]:
    """Find the weights of small numbers that have scales beside them."""
    found = {}
    for name, weight in weights.items():
        if not weight.stored.dtype.startswith(_CODES) or len(weight.shape) < 2:
            continue
        stem = name.removesuffix("weight")
        beside = {"scale": f"{name}_scale", "inverse": f"{name}_scale_inv", "zero": f"{name}_zero_point"}
        if name.rpartition(".")[2] == "weight":
            beside |= {"SCB": f"{stem}SCB", "format": f"{stem}weight_format", "plain": f"{stem}scale"}
            beside["of weight"] = f"{stem}scale_weight"
        parts = {part: key for part, key in beside.items() if key in weights}
        if set(parts) - {"zero", "format"}:
            found[name] = {"codes": name} | parts
    return found


def _composition(parts: dict[str, Weight], kind: str) -> tuple[Callable[[], Tensor], tuple[int, ...]]:
    """Give the formula of a weight, and its shape."""
    given = frozenset(parts) - {"format", "zero"}
    if given in ({"g", "v"}, {"original0", "original1"}):
        g, v = (parts[part] for part in sorted(given))
        dim = _norm_dim(g.shape, v.shape)
        return lambda: torch._weight_norm(_floats(v), _floats(g), dim), v.shape
    if given in ({"orig", "u", "v"}, {"original", "0._u", "0._v"}):
        W, u, v = (parts[part] for part in sorted(given, key=lambda part: (part[0] != "o", part)))
        axis = _spectral_axis(W.shape, u.shape, v.shape, kind)
        return lambda: _spectrally_normalised(_floats(W), _floats(u), _floats(v), axis), W.shape
    if given == {"orig", "mask"} and parts["orig"].shape == parts["mask"].shape:
        W, mask = parts["orig"], parts["mask"]
        return lambda: (values := _floats(W)) * mask.stored.read().to(values.dtype), W.shape
    if given in KEPT:
        return lambda: _constrained({part: parts[part] for part in given}), parts["original"].shape
    if given == {"raw"}:
        return parts["raw"].stored.read, parts["raw"].shape
    if "codes" in given and len(given) == 2:
        (scale,) = given - {"codes"}
        return lambda: _rescaled(parts, scale), parts["codes"].shape
    raise NotUnderstoodError(
        "a factor of a parametrised weight, which needs its partners or its module; pass the module itself, "
        "or call torch.nn.utils.parametrize.remove_parametrizations first"
    )


def _floats(weight: Weight) -> Tensor:
    values = weight.stored.read()
    if not values.dtype.is_floating_point:
        raise NotUnderstoodError(f"its factor {weight.key} has numbers of type {weight.stored.dtype}")
    return values


def _norm_dim(g: tuple[int, ...], v: tuple[int, ...]) -> int:
    """Give the axis along which weight_norm keeps lengths apart; -1 for one length of everything."""
    if not g:
        return -1
    for dim in range(len(v)):
        if g == tuple(size if axis == dim else 1 for axis, size in enumerate(v)):
            return dim
    raise NotUnderstoodError(f"factors of shapes {g} and {v} are not those of weight_norm")


def _spectral_axis(W: tuple[int, ...], u: tuple[int, ...], v: tuple[int, ...], kind: str) -> int:
    """Give the axis of outputs; where two fit, torch's choice: 1 for a transposed convolution, else 0."""
    fits = [
        axis
        for axis, size in enumerate(W)
        if len(W) > 1 and u == (size,) and v == (math.prod(W) // max(size, 1),)
    ]
    if not fits:
        raise NotUnderstoodError(f"factors of shapes {W}, {u} and {v} are not those of spectral_norm")
    return 1 if kind == "transposed convolution" and 1 in fits else fits[0]


def _spectrally_normalised(W: Tensor, u: Tensor, v: Tensor, axis: int) -> Tensor:
    matrix = W.movedim(axis, 0).reshape(W.shape[axis], -1)
    return W / torch.dot(u, torch.mv(matrix, v))


def _constrained(parts: dict[str, Weight]) -> Tensor:
    """Compose a matrix of one of our own cells."""
    values = {name: _floats(part) for name, part in parts.items()}
    precision = torch.promote_types(values["original"].dtype, torch.float32)
    try:
        return constrained_matrix({name: value.to(precision) for name, value in values.items()})
    except (ValueError, RuntimeError) as reason:  # torch's, of a singular matrix
        raise NotUnderstoodError(str(reason).partition("\n")[0]) from None


def _rescaled(parts: dict[str, Weight], sort: str) -> Tensor:
    if "format" in parts and parts["format"].stored.read().any():
        raise NotUnderstoodError("int8 weights in a layout of the GPU; save them in rows (weight_format 0)")
    codes, scale = parts["codes"].stored.read().float(), _floats(parts[sort]).float()
    if "zero" in parts:
        codes = codes - _spread(parts["zero"].stored.read().float(), codes.shape)
    return codes * _spread(scale, codes.shape) / (127 if sort == "SCB" else 1)


def _spread(scale: Tensor, shape: torch.Size) -> Tensor:
    """Give each entry its scale: one for all, one for each row, or one for each block."""
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.shape == shape[:1]:
        scale = scale.reshape(-1, *[1] * (len(shape) - 1))
    if scale.ndim == len(shape) and all(
        size % count == 0 for size, count in zip(shape, scale.shape, strict=True)
    ):
        for axis, (size, count) in enumerate(zip(shape, scale.shape, strict=True)):
            scale = scale.repeat_interleave(size // count, axis) if 1 < count < size else scale
        return scale
    raise NotUnderstoodError(
        f"scales of shape {tuple(scale.shape)} do not fit weights of shape {tuple(shape)}"
    )


def _with_composed(
    weights: dict[str, Weight],
    name: str,
    names: dict[str, str],
    compute: Callable[[], Tensor],
    shape: tuple[int, ...],
    kind: str,
    unrecognised: Listed,
) -> dict[str, Weight]:
    """Put the whole weight where its first factor stands, in place of all of them."""
    factors = [weights[key] for key in names.values()]
    first, *_ = [key for key in weights if key in names.values()]
    if name in weights and name not in names.values():
        unrecognised.append((weights[name].key, f"stands beside {factors[0].key}, from which it is computed"))
    where = ", ".join(factor.key for factor in factors)
    whole = Weight(name, name, Stored(shape, factors[0].stored.dtype, compute, where), kind)
    ordered = {}
    for key, weight in weights.items():
        if key == first:
            ordered[name] = whole
        elif key not in names.values() and key != name:
            ordered[key] = weight
    return ordered
