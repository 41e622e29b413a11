"""Parts of files: ranges of bytes, and the uncompressed records of zip archives, read where they stand."""

from __future__ import annotations

import dataclasses
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FileBytes:
    """A file that is read in parts and must stay as it is.

    Attributes
    ----------
    path : Path
        Where it is.
    size : int
        Its number of bytes.
    state : tuple of int
        By which a change is noticed.
    """

    path: Path
    size: int
    state: tuple[int, ...]

    def read(self, start: int, length: int) -> bytearray:
        """Give bytes of the file.

        Parameters
        ----------
        start, length : int
            Which ones.

        Returns
        -------
        bytearray
            Exactly as many.

        Raises
        ------
        ValueError
            If there are fewer, or the file has changed.
        """
        if not 0 <= start <= start + length <= self.size:
            raise ValueError(f"{self.path} is cut off; get the file again")
        content = bytearray(length)
        with open(self.path, "rb") as file:
            if _state(os.fstat(file.fileno())) != self.state:
                raise ValueError(f"{self.path} has changed since it was opened; read it again")
            file.seek(start)
            if file.readinto(content) != length:
                raise ValueError(f"{self.path} is cut off; get the file again")
        return content


def file_bytes(path: Path) -> FileBytes:
    """Give a file as bytes that are read later.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    FileBytes
        Its bytes.

    Raises
    ------
    ValueError
        If it is a directory, a pipe, or anything else that is no file.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file; expected a file that torch.save wrote")
    found = os.stat(path)
    return FileBytes(path, found.st_size, _state(found))


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ino


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One uncompressed record of a zip archive.

    Attributes
    ----------
    file : FileBytes
        The archive.
    header : int
        Where its header begins.
    size : int
        Its number of bytes.
    checksum : int
        CRC-32 of its bytes, 0 where it was not computed.
    """

    file: FileBytes
    header: int
    size: int
    checksum: int

    def read(self, start: int, length: int) -> bytearray:
        """Give bytes of the record, checked if they are all of them.

        Parameters
        ----------
        start, length : int
            Which ones.

        Returns
        -------
        bytearray
            Exactly as many.

        Raises
        ------
        ValueError
            If there are fewer, or they are not those that were written.
        """
        signature, name, extra = _LOCAL_HEADER.unpack(self.file.read(self.header, _LOCAL_HEADER.size))
        if signature != b"PK\x03\x04" or not 0 <= start <= start + length <= self.size:
            raise ValueError(f"{self.file.path} is damaged; get the file again")
        content = self.file.read(self.header + _LOCAL_HEADER.size + name + extra + start, length)
        if self.checksum and length == self.size and zlib.crc32(content) != self.checksum:
            raise ValueError(f"{self.file.path} is damaged: a checksum does not fit; get the file again")
        return content


def zip_records(file: FileBytes) -> dict[str, Record]:
    """Give the records of a zip archive by name; only the directory of the archive is read.

    Parameters
    ----------
    file : FileBytes
        The archive.

    Returns
    -------
    dict of str to Record
        Compressed and encrypted records are left out: torch writes no tensor so.

    Raises
    ------
    ValueError
        If its directory is damaged.
    """
    try:
        with zipfile.ZipFile(file.path) as archive:
            found = archive.infolist()
    except Exception as error:  # a damaged directory fails in a dozen ways
        first = (str(error).strip() or "damaged").splitlines()[0]
        raise ValueError(f"its directory cannot be read: {first}") from None
    return {
        info.filename: Record(file, info.header_offset, info.file_size, info.CRC)
        for info in found
        if info.compress_type == zipfile.ZIP_STORED
        and not info.flag_bits & 1
        and info.file_size == info.compress_size
        and 0 <= info.header_offset <= file.size - info.file_size
    }


class Bounded:
    """A file as a stream that never reserves memory for bytes which are not there.

    Parameters
    ----------
    file : binary file
        Stands at its beginning.
    size : int
        Its number of bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int, /) -> bytes:
        """Give the next bytes, fewer at the end."""
        found = self._file.read(min(size, self._left))
        self._left -= len(found)
        return found

    def readline(self, size: int, /) -> bytes:
        """Give the rest of the line, at most `size` bytes."""
        found = self._file.readline(min(size, self._left))
        self._left -= len(found)
        return found
