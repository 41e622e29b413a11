"""NumPy arrays and scalars that stand in a pickle, rebuilt from their bytes."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.reading.pickle_machine import Made, Makers, one_line
from rnn.reading.tensors import NotUnderstoodError, Stored

ARRAY = "numpy.ndarray"
_NUMBERS = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248]|c(?:8|16)|[?])")


def stored_array(made: Made) -> Stored:
    """Give the array that a pickle describes.

    Parameters
    ----------
    made : Made
        Note of an array, made by `ARRAY_MAKERS`.

    Returns
    -------
    Stored
        Its numbers.

    Raises
    ------
    NotUnderstoodError
        If it holds no numbers (Python objects, say), or fewer bytes than its shape needs.
    """
    if not isinstance(made.state, tuple) or len(made.state) < 4:
        raise NotUnderstoodError("an array without its numbers; the file may be damaged")
    shape, described, fortran, content = made.state[-4:]
    dtype = _dtype(described)
    if not isinstance(shape, tuple) or len(shape) > 64 or not all(type(n) is int and n >= 0 for n in shape):
        raise NotUnderstoodError("an array without a shape; the file may be damaged")

    def read() -> torch.Tensor:
        found = bytes_of(content)
        if len(found) != math.prod(shape) * dtype.itemsize:
            raise NotUnderstoodError(
                f"an array of shape {shape} in {len(found)} bytes; the file may be damaged"
            )
        flat: NDArray[Any] = np.frombuffer(found, dtype).astype(dtype.newbyteorder("="))
        return torch.from_numpy(flat.reshape(shape, order="F" if fortran is True else "C").copy())

    return Stored(shape, dtype.name, read)


def _dtype(made: Any) -> np.dtype[Any]:
    """Read the type of numbers off its note: the code as argument, the order of bytes in the state."""
    code = made.arguments[0] if isinstance(made, Made) and made.arguments else None
    if not isinstance(code, str) or len(code) > 4 or not _NUMBERS.fullmatch(code):
        raise NotUnderstoodError(f"an array of dtype {one_line(code, 20)}, not of numbers")
    dtype = np.dtype(code)
    order = made.state[1] if isinstance(made.state, tuple) and len(made.state) > 1 else "="
    return dtype.newbyteorder(">") if order == ">" else dtype


def bytes_of(content: Any) -> bytes:
    """Give the bytes that a pickle holds, which protocol 2 writes as latin-1 text and Python 2 as text.

    Parameters
    ----------
    content : object
        A value of the pickle.

    Returns
    -------
    bytes
        Its bytes, none if it is something else.
    """
    if isinstance(content, Made) and content.maker == "_codecs.encode" and content.arguments:
        content = content.arguments[0]
        return content.encode("latin1") if isinstance(content, str) else b""
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    return content if isinstance(content, bytes) else b""


def _scalar(dtype: Any, content: Any = b"") -> Any:
    if isinstance(content, Made) and content.arguments:
        content = Made(content.maker, (content.arguments[0][:16],))
    return np.frombuffer(
        bytes_of(content[:16] if isinstance(content, (str, bytes)) else content), _dtype(dtype)
    )[0].item()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any = "C") -> Made:
    return Made(ARRAY, state=(shape, dtype, order == "F", content))


ARRAY_MAKERS: Makers = {
    **{
        f"numpy.{core}.{name}": maker
        for core in ("core", "_core")
        for name, maker in (
            ("multiarray._reconstruct", lambda *_: Made(ARRAY)),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _from_buffer),
        )
    },
    "numpy.dtype": lambda *arguments: Made("numpy.dtype", arguments),
    "_codecs.encode": lambda *arguments: Made("_codecs.encode", arguments),
    "builtins.bytearray": lambda content=b"", *_: content,
}
