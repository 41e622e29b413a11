"""IDX files, the format of MNIST: a header of whole numbers, then bytes; plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 0x08
_DEFLATE = 1032  # a gzipped byte can stand for no more bytes than this (RFC 1951: 258 bytes in 2 bits)


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Read the array of unsigned bytes of an IDX file.

    Parameters
    ----------
    path : Path
        The file; gzipped if it begins as a gzip file does.
    dimensions : int
        How many dimensions it must have: 3 for images, 1 for labels.

    Returns
    -------
    ndarray of uint8
        The array.

    Raises
    ------
    ValueError
        If it is no such file, is damaged, or is shorter or longer than its header says.

    Notes
    -----
    The header (big-endian) is two zero bytes, the type (8: unsigned byte), the number of dimensions, and a
    32-bit size for each. Memory is taken only after the sizes were compared with the length of the file; of a
    gzipped file, with the most that its length can hold.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            return _array(file, path, dimensions, most=size)
        with gzip.GzipFile(fileobj=file) as unzipped:
            try:
                return _array(cast("BinaryIO", unzipped), path, dimensions, most=_DEFLATE * size)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"{path} is a damaged gzip file ({error}); get it again") from None


def _array(file: BinaryIO, path: Path, dimensions: int, *, most: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    expected = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if magic != expected:
        raise ValueError(
            f"{path} begins with the bytes {magic.hex(' ') or 'of nothing'}; expected {expected.hex(' ')}, "
            f"an IDX file of unsigned bytes with {dimensions} dimensions: get it again"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise ValueError(f"{path} ends at byte {4 + len(header)}, inside its header; get it again")
    shape = struct.unpack(f">{dimensions}I", header)
    count, start = math.prod(shape), 4 + 4 * dimensions
    if count == 0 or count > most - start:
        raise ValueError(
            f"{path} has a header that asks for {' x '.join(map(str, shape))} bytes from byte {start} on, "
            f"and the file holds at most {max(most - start, 0)}; it is cut off or damaged: get it again"
        )
    content = file.read(count + 1)
    if len(content) != count:
        found = f"only {len(content)}" if len(content) < count else "more"
        raise ValueError(
            f"{path} has a header that asks for {count} bytes from byte {start} on, and holds {found}; "
            "get it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
