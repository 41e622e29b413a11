"""IDX files are read as they are, and damaged ones are refused before memory is taken."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rnn.data.idx_files import read_idx


def content(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def written(path: Path, data: bytes, zipped: bool = False) -> Path:
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


ARRAY = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_array_comes_back(zipped: bool, tmp_path: Path) -> None:
    for array in (ARRAY, ARRAY[:, 0, 0].copy()):
        path = written(tmp_path / "a", content(array), zipped)
        np.testing.assert_array_equal(read_idx(path, dimensions=array.ndim), array)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with the bytes of nothing; expected 00 00 08 03"),
        (b"\x00\x00\x08\x01" + content(ARRAY)[4:], "begins with the bytes 00 00 08 01; expected 00 00 08 03"),
        (b"\x00\x00\x0d\x03" + content(ARRAY)[4:], "begins with the bytes 00 00 0d 03"),
        (content(ARRAY)[:10], "ends at byte 10, inside its header"),
        (content(ARRAY)[:-1], "asks for (5 x 4 x 3|60) bytes from byte 16 on, and"),
        (content(ARRAY) + b"\x00", "asks for 60 bytes from byte 16 on, and holds more; get it again"),
        (content(ARRAY[:0]), "asks for 0 x 4 x 3 bytes"),
    ],
)
def test_damaged_files_are_refused(data: bytes, words: str, zipped: bool, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_idx(written(tmp_path / "images", data, zipped), dimensions=3)
    assert str(tmp_path / "images") in str(caught.value)
    assert "get it again" in str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_absurd_sizes_take_no_memory(zipped: bool, tmp_path: Path) -> None:
    data = b"\x00\x00\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**31, 28) + bytes(100)
    path = written(tmp_path / "images", data, zipped)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"asks for 4294967295 x 2147483648 x 28 bytes .* holds at most"):
        read_idx(path, dimensions=3)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_gzip_file_that_unpacks_to_more_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "images", content(ARRAY) + bytes(2**24), zipped=True)
    tracemalloc.start()
    with pytest.raises(ValueError, match="and holds more"):
        read_idx(path, dimensions=3)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("keep", [5, 30, -9])
def test_a_truncated_gzip_file_is_damaged(keep: int, tmp_path: Path) -> None:
    path = written(tmp_path / "images", gzip.compress(content(ARRAY))[:keep])
    with pytest.raises(ValueError, match=r"images is a damaged gzip file \(.*\); get it again"):
        read_idx(path, dimensions=3)


def test_flipped_bytes_of_a_gzip_file_are_noticed(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(content(ARRAY)))
    for place in range(12, len(packed)):
        damaged = packed.copy()
        damaged[place] ^= 0x55
        with pytest.raises(ValueError, match="get it again"):
            read_idx(written(tmp_path / "images", bytes(damaged)), dimensions=3)
