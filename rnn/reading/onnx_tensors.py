"""Constants of an ONNX graph: tensors inside the file or beside it, read when they are asked for."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn.reading.neighbours import neighbour
from rnn.reading.tensors import NotUnderstoodError

Array = NDArray[Any]

_WORDS = {"FLOAT": "float32", "DOUBLE": "float64", "COMPLEX64": "complex64", "COMPLEX128": "complex128"}
_QUANTISED = {"int8", "uint8", "int4", "uint4", "int2", "uint2"}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value of the graph that does not depend on its input.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        Type of its numbers, in torch's words.
    read : callable
        Takes nothing, gives a NumPy array.
    source : str
        Name of the tensor that it comes from.
    whole : bool
        Whether it is all of that tensor, and nothing else: at most transposed or in other numbers.
    depth : int
        How many operators lie between.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]
    source: str
    whole: bool = True
    depth: int = 0

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether it may be weights that are more than a vector."""
        real = self.dtype in _QUANTISED or self.dtype.startswith(("float", "bfloat"))
        return real and sum(length > 1 for length in self.shape) > 1


def stored_constant(tensor: Any, folder: Path) -> Constant:
    """Describe one tensor of a model.

    Parameters
    ----------
    tensor : onnx.TensorProto
        As it stands in the file.
    folder : Path
        Folder of the model, where external data must lie.

    Returns
    -------
    Constant
        Nothing is read yet. Bytes inside the file are held by the tensor.

    Raises
    ------
    NotUnderstoodError
        If it holds no numbers, or has not as many bytes as its shape needs, or they are not in the folder.
    """
    import onnx

    if tensor.data_type not in onnx.TensorProto.DataType.values():
        raise NotUnderstoodError(f"values of an unknown type, number {tensor.data_type}")
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    shape = tuple(tensor.dims)
    if name in {"UNDEFINED", "STRING"}:
        raise NotUnderstoodError(f"values of type {name.lower()}, not of numbers")
    if any(length < 0 for length in shape):
        raise NotUnderstoodError(f"a shape of {shape}")
    if tensor.HasField("segment"):
        raise NotUnderstoodError("a tensor in segments; save the model again without them")
    needed = (math.prod(shape) * _bits(name) + 7) // 8
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        place = _external(tensor, folder, needed)
        return Constant(shape, _word(name), lambda: _beside(tensor, *place), tensor.name)
    if tensor.HasField("raw_data") and len(tensor.raw_data) != needed:
        raise NotUnderstoodError(f"shape {shape} needs {needed} bytes, there are {len(tensor.raw_data)}")
    return Constant(shape, _word(name), lambda: _native(onnx.numpy_helper.to_array(tensor)), tensor.name)


def cast(values: Array, code: int) -> Array:
    """Round numbers to another type, as the operator ``Cast`` does.

    Parameters
    ----------
    values : ndarray
        The numbers.
    code : int
        The type, in the words of ONNX.

    Returns
    -------
    ndarray
        In a type that NumPy itself has.
    """
    import onnx

    return _native(values.astype(onnx.helper.tensor_dtype_to_np_dtype(code)))


def type_word(code: int) -> str:
    """Give the name of a type in torch's words.

    Parameters
    ----------
    code : int
        The type, in the words of ONNX.

    Returns
    -------
    str
        Such as "float32".
    """
    import onnx

    return _word(onnx.TensorProto.DataType.Name(code))


def _word(name: str) -> str:
    word = _WORDS.get(name, name.lower())
    return f"float8_{word.removeprefix('float8')}" if word.startswith("float8") else word


def _bits(name: str) -> int:
    """Give the width of one number as it is packed into bytes."""
    import onnx

    for bits in (2, 4, 6):
        if name in {f"INT{bits}", f"UINT{bits}"} or name.startswith(f"FLOAT{bits}E"):
            return bits
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(name))
    return 8 * dtype.itemsize


def _external(tensor: Any, folder: Path, needed: int) -> tuple[Path, int, int]:
    """Find file, offset and number of bytes of a tensor that stands beside the model."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    path = neighbour(folder, told.get("location"))
    try:
        offset, length = int(told.get("offset", 0)), int(told.get("length", needed))
    except ValueError:
        raise NotUnderstoodError("offset or length of its external data is no number") from None
    if offset < 0 or length != needed or offset + length > os.path.getsize(path):
        raise NotUnderstoodError(
            f"{needed} bytes at {offset} of {path.name} are needed, which has {os.path.getsize(path)}"
        )
    return path, offset, length


def _beside(tensor: Any, path: Path, offset: int, length: int) -> Array:
    import onnx

    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if dtype.isbuiltin == 1:
        count = length // dtype.itemsize
        return np.fromfile(path, dtype.newbyteorder("<"), count, offset=offset).reshape(tensor.dims)
    with open(path, "rb") as file:
        file.seek(offset)
        content = file.read(length)
    inside = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=content)
    return _native(onnx.numpy_helper.to_array(inside))


def _native(values: Array) -> Array:
    """Widen numbers that NumPy itself does not have (bfloat16, 8 and fewer bits), exactly."""
    if values.dtype.isbuiltin == 1:
        return values
    return values.astype(np.int8 if "int" in values.dtype.name else np.float32)
