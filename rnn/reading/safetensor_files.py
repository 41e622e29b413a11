"""Reader of ``.safetensors`` files, tensor by tensor."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from rnn.extra import require
from rnn.reading.tensors import NotUnderstoodError, Stored, Tensors

# The names of the format (safetensors, enum Dtype) in torch's words.
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}


def read_safetensors(path: Path) -> Tensors:
    """Read the header of a ``.safetensors`` file; each tensor is read when it is asked for.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Tensors
        The flat table.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind: the format checks its whole length at once.

    Notes
    -----
    Held in memory: the header alone. The file is opened anew for each tensor, so that it may be moved or
    changed in between, which then is a reason in the list and no crash.
    """
    require("safetensors", what="reading .safetensors files")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            parts = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (it has no __iter__)
            entries = {key: _stored(path, key, p.get_shape(), p.get_dtype()) for key, p in parts.items()}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"source {path} is no readable .safetensors file ({reason:.200}); get or save it again"
        ) from None
    return Tensors(path.name, entries, {}, [])


def _stored(path: Path, key: str, shape: list[int], name: str) -> Stored:
    dtype = _DTYPES.get(name)
    if dtype is None:
        return Stored(
            tuple(shape), name, lambda: _refuse(f"numbers of type {name}, several to a byte; not read")
        )
    return Stored(tuple(shape), dtype, lambda: _tensor(path, key))


def _tensor(path: Path, key: str) -> Tensor:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key)
    except (SafetensorError, OSError, RuntimeError, ValueError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NotUnderstoodError(f"cannot be read any more ({reason:.200})") from None


def _refuse(reason: str) -> Tensor:
    raise NotUnderstoodError(reason)
