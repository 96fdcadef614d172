"""gzip, known by its first bytes and unpacked piece by piece."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import BinaryIO, cast

from aecompress.errors import DataError

MAGIC = b"\x1f\x8b"
MOST_TIMES = 200
"""How many times its size a compressed file may unpack to; text of rows stays below 100."""
ALWAYS = 4 << 20
"""Bytes that any file may unpack to."""


class _Counted:
    """A file that counts the bytes read from it."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.file, self.count = file, 0

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.count += len(data)
        return data


class _Unpacked(io.RawIOBase):
    """The content of a gzip file; reading raises DataError where it is damaged or unpacks to far more than its size."""

    def __init__(self, where: str, file: io.BufferedReader) -> None:
        self.where, self.packed, self.count = where, _Counted(file), 0
        self.content = gzip.GzipFile(fileobj=cast(BinaryIO, self.packed), mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self.content.read(len(buffer))
        except (EOFError, OSError, zlib.error) as fault:
            raise DataError(f"{self.where}: is damaged gzip ({fault}); compress it again") from fault
        self.count += len(data)
        check_ratio(self.where, self.packed.count, self.count)
        buffer[: len(data)] = data
        return len(data)


def check_ratio(where: str, packed: int, unpacked: int) -> None:
    """Refuse what unpacks to more than :data:`MOST_TIMES` its size.

    Raises:
        DataError: it does, and to more than :data:`ALWAYS` bytes.
    """
    if unpacked > max(ALWAYS, MOST_TIMES * packed):
        raise DataError(f"{where}: unpacks to more than {MOST_TIMES} times its size; give it unpacked")


def unpack(where: str, file: BinaryIO) -> io.BufferedReader:
    """Return ``file``, which is read from its beginning, decompressed where it is gzip.

    Reading from it raises DataError where the gzip is truncated, damaged or a bomb.
    """
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, file))
    if not buffered.peek(2).startswith(MAGIC):
        return buffered
    return io.BufferedReader(_Unpacked(where, buffered), 1 << 16)
