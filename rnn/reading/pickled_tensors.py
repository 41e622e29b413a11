"""Tensors that stand in a pickle, as `Stored`: what torch's rebuild functions make, without calling them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnn.reading.pickle_machine import Global, Made, Makers, Refused
from rnn.reading.pickled_arrays import ARRAY, stored_array
from rnn.reading.tensors import NotUnderstoodError, Stored

MOST_DENSE = 2**27  # entries of a sparse tensor in its dense form: 1 GiB of doubles
DTYPES = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "QInt8Storage": torch.qint8,
    "QUInt8Storage": torch.quint8,
    "QInt32Storage": torch.qint32,
    "QUInt4x2Storage": torch.quint4x2,
    "QUInt2x4Storage": torch.quint2x4,
    "UntypedStorage": torch.uint8,
    "_UntypedStorage": torch.uint8,
}
_RAW = {torch.qint8: torch.int8, torch.quint8: torch.uint8, torch.qint32: torch.int32}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Numbers in a row in a file, where tensors are cut from.

    Attributes
    ----------
    dtype : torch.dtype
        Type of the numbers; uint8 where the tensors say it.
    size : int
        Number of bytes.
    read : callable
        Takes the first byte and the number of bytes, gives them, least significant first.
    swapped : bool
        Whether the file has the most significant byte first.
    """

    dtype: torch.dtype
    size: int
    read: Callable[[int, int], bytearray]
    swapped: bool = False


def storage_dtype(kind: Any) -> torch.dtype:
    """Give the type of numbers in a class of storages.

    Parameters
    ----------
    kind : Global
        The class.

    Returns
    -------
    torch.dtype
        The type, uint8 for plain bytes.

    Raises
    ------
    NotUnderstoodError
        If there is no such class.
    """
    name = kind.name.rpartition(".")[2] if isinstance(kind, Global) else ""
    if name not in _STORAGES:
        raise NotUnderstoodError("a storage of unknown type; the file may be damaged")
    return _STORAGES[name]


def _checked(value: Any) -> Stored:
    """Give a tensor, or pass on why there is none."""
    if isinstance(value, Made) and value.maker == ARRAY:
        return stored_array(value)
    if isinstance(value, Refused):
        raise NotUnderstoodError(value.reason)
    if not isinstance(value, Stored):
        raise NotUnderstoodError("a tensor made of something else than numbers; the file may be damaged")
    return value


def _strided(
    storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None = None, metadata: Any = None
) -> Stored:
    """Cut a tensor out of a storage: entry (i, j, ...) stands at offset + i·stride[0] + j·stride[1] + ..."""
    if isinstance(storage, Refused):
        raise NotUnderstoodError(storage.reason)
    shape, steps = _numbers(size), _numbers(stride)
    if not isinstance(storage, Storage) or len(shape) != len(steps) or not _numbers((offset,)):
        raise NotUnderstoodError("a tensor without storage, shape or strides; the file may be damaged")
    dtype = storage.dtype if dtype is None else dtype
    length, count = storage.size // dtype.itemsize, math.prod(shape)
    extent = 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) if count else 0
    if offset + extent > length and count:
        raise NotUnderstoodError(f"shape {shape} reaches outside its storage of {length} numbers")
    if count > length:
        raise NotUnderstoodError(
            f"shape {shape} is expanded from a storage of {length} numbers; save it after .contiguous()"
        )

    def read() -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            content = storage.read(offset * dtype.itemsize, extent * dtype.itemsize)
            tensor = _numbers_of(content, dtype, swapped=storage.swapped)
            tensor = tensor.as_strided(shape, steps).contiguous() if count else tensor.reshape(shape)
            if isinstance(metadata, dict) and metadata.get("conj"):
                tensor = tensor.conj().resolve_conj()
            return -tensor if isinstance(metadata, dict) and metadata.get("neg") else tensor

    return Stored(shape, str(dtype).removeprefix("torch."), read)


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > 64:
        raise NotUnderstoodError("a shape that is no row of whole numbers; the file may be damaged")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in values):
        raise NotUnderstoodError("a shape with numbers out of range; the file may be damaged")
    return tuple(values)


def _numbers_of(content: bytearray, dtype: torch.dtype, *, swapped: bool) -> Tensor:
    if not content:
        return torch.empty(0, dtype=_RAW.get(dtype, dtype), device="cpu")
    found = torch.frombuffer(content, dtype=torch.uint8)
    if swapped:
        width = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
        found = found.view(-1, width).flip(1).flatten()
    return found.view(_RAW.get(dtype, dtype))


def _quantised(storage: Any, offset: Any, size: Any, stride: Any, scheme: Any, *_: Any) -> Stored:
    """Give the real numbers (q - zero point)·scale, with one scale or one for each index of an axis."""
    if isinstance(storage, Storage) and storage.dtype not in _RAW:
        raise NotUnderstoodError("quantised numbers, several in one byte, are not read yet")
    codes = _strided(storage, offset, size, stride)
    name = scheme[0].name if isinstance(scheme[0], Global) else ""
    if name in {"torch.per_tensor_affine", "torch.per_tensor_symmetric"}:
        scales, zeros, axis = [float(scheme[1])], [int(scheme[2])], 0
    elif name in {"torch.per_channel_affine", "torch.per_channel_affine_float_qparams"}:
        scales, zeros, axis = scheme[1:]
        if not (type(axis) is int and 0 <= axis < len(codes.shape)):
            raise NotUnderstoodError("quantised along an axis that it does not have; the file may be damaged")
    else:
        raise NotUnderstoodError("quantised in a way that is not known")

    def read() -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            q = codes.read()
            width = [q.shape[axis] if "channel" in name else 1] + [1] * (q.ndim - axis - 1)
            scale, zero = (_factors(values, width) for values in (scales, zeros))
            return ((q - zero) * scale).float()

    return dataclasses.replace(codes, read=read)


def _factors(values: Any, shape: list[int]) -> Tensor:
    if isinstance(values, list) and not all(isinstance(one, (int, float)) for one in values):
        raise NotUnderstoodError("quantised with scales that are no numbers; the file may be damaged")
    found = torch.tensor(values, device="cpu") if isinstance(values, list) else _checked(values).read()
    if found.numel() != shape[0] or found.is_complex():
        raise NotUnderstoodError("quantised with another number of scales than channels")
    return found.double().reshape(shape)


def _sparse(layout: Any, parts: Any) -> Stored:
    """Give the dense form of a sparse tensor; its indices are checked when it is read."""
    indexed = layout == "torch.sparse_coo"
    if not indexed and layout not in _LAYOUTS:
        raise NotUnderstoodError("a sparse tensor in a layout that is not known")
    indices = [_checked(part) for part in parts[: 1 if indexed else 2]]
    values, shape = _checked(parts[len(indices)]), _numbers(parts[len(indices) + 1])
    if math.prod(shape) > MOST_DENSE:
        raise NotUnderstoodError(f"a sparse tensor of shape {shape}, too large for its dense form")

    def read() -> Tensor:
        made: Any = torch.sparse_coo_tensor if indexed else torch.sparse_compressed_tensor
        how = {} if indexed else {"layout": _LAYOUTS[layout]}
        numbers = [part.read() for part in (*indices, values)]
        try:
            with torch.inference_mode(False), torch.no_grad():
                return made(*numbers, shape, check_invariants=True, device="cpu", **how).to_dense()
        except (RuntimeError, TypeError):
            raise NotUnderstoodError("a sparse tensor whose indices do not fit its shape") from None

    return Stored(shape, values.dtype, read)


_LAYOUTS = {f"torch.sparse_{name}": getattr(torch, f"sparse_{name}") for name in ("csr", "csc", "bsr", "bsc")}


def _meta(dtype: Any, size: Any, *_: Any) -> Stored:
    def read() -> Tensor:
        raise NotUnderstoodError("a meta tensor, which has a shape but no values; load the weights first")

    return Stored(_numbers(size), str(DTYPES[dtype.name]).removeprefix("torch."), read)


def _plain(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any = False, __: Any = None, *more: Any
) -> Stored:
    return _strided(storage, offset, size, stride, None, *more[:1])


def _untyped(
    storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *more: Any
) -> Stored:
    return _strided(storage, offset, size, stride, DTYPES[dtype.name], *more[:1])


def _subclass(function: Any, kind: Any, arguments: Any, *_: Any) -> Stored:
    """Give the tensor of a class that is not made here: its numbers."""
    if function.name == "torch._utils._rebuild_wrapper_subclass" or function.name not in TENSOR_MAKERS:
        raise NotUnderstoodError(f"a tensor of class {kind.name}, which has no numbers of its own")
    return TENSOR_MAKERS[function.name](*arguments[:16])


def _refuses(reason: str) -> Callable[..., Refused]:
    return lambda *_: Refused(reason)


_UNSHAPED = _refuses("a parameter without a shape yet; run the model once before it is saved")
TENSOR_MAKERS: Makers = {
    "torch._utils._rebuild_tensor": _plain,
    "torch._utils._rebuild_tensor_v2": _plain,
    "torch._utils._rebuild_tensor_v3": _untyped,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_nested_tensor": _refuses("a nested tensor, of rows with unequal lengths"),
    "torch._utils._rebuild_wrapper_subclass": _refuses("a tensor that has no numbers of its own"),
    "torch._tensor._rebuild_from_type": _subclass,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.tensor._rebuild_from_type": _subclass,
    "torch.serialization._get_layout": lambda name: name,
    "torch.nn.parameter.UninitializedParameter": _UNSHAPED,
    "torch.nn.parameter.UninitializedBuffer": _UNSHAPED,
    **dict.fromkeys(
        (
            "torch._utils._rebuild_parameter",
            "torch._utils._rebuild_parameter_with_state",
            "torch._utils._rebuild_device_tensor_from_cpu_tensor",
            "torch._utils._rebuild_device_tensor_from_numpy",
            "torch._utils._rebuild_xla_tensor",
            "torch.nn.parameter.Parameter",
            "torch.nn.parameter.Buffer",
        ),
        lambda data, *_: _checked(data),
    ),
    "torch.jit._pickle.restore_type_tag": lambda value, _: value,
    **dict.fromkeys(
        (f"torch.jit._pickle.build_{kind}list" for kind in ("tensor", "int", "double", "bool")),
        lambda values: values if isinstance(values, list) else [],
    ),
}
