"""Compressed files, known by their first bytes and unpacked piece by piece."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO, Protocol, cast

from aecompress.errors import DataError

MOST_TIMES = 200
"""How many times its size a compressed file may unpack to; text of rows stays below 100."""
ALWAYS = 4 << 20
"""Bytes that any file may unpack to."""
PIECE = 1 << 16
"""Bytes that are unpacked at once."""
XZ_MEMORY = 256 << 20
"""Bytes that unpacking ``.xz`` may take; the strongest preset needs a quarter of them."""
ZIP = b"PK\x03\x04"


class Readable(Protocol):
    """What gives the bytes of a file."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, none at its end."""


class _Counted:
    """A file that counts the bytes read from it."""

    def __init__(self, file: Readable) -> None:
        self.file, self.count = file, 0

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.count += len(data)
        return data


class _Xz:
    """The content of an ``.xz`` or ``.lzma`` file of one or several streams."""

    def __init__(self, file: Readable) -> None:
        self.file, self.left = file, b""
        self.stream: lzma.LZMADecompressor | None = None

    def read(self, size: int = -1, /) -> bytes:
        while True:
            if self.stream is None:
                self.left = self.left or self.file.read(PIECE)
                self.left = self.left.lstrip(b"\0")  # padding between streams
                if not self.left:
                    return b""
                self.stream = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
            packed = b""
            if self.stream.needs_input:
                packed, self.left = self.left or self.file.read(PIECE), b""
                if not packed:
                    raise EOFError("it ends too early")
            data = self.stream.decompress(packed, size)
            if self.stream.eof:
                self.left, self.stream = self.stream.unused_data, None
            if data:
                return data


def _gz(where: str, file: Readable) -> Readable:
    return cast(Readable, gzip.GzipFile(fileobj=cast(BinaryIO, file), mode="rb"))


def _bz2(where: str, file: Readable) -> Readable:
    return cast(Readable, bz2.BZ2File(cast(BinaryIO, file)))


def _xz(where: str, file: Readable) -> Readable:
    return _Xz(file)


def _zst(where: str, file: Readable) -> Readable:
    check_library(where, "zstandard")
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    frames = _Frames(file)
    return _Zst(cast(Readable, unpacker.stream_reader(cast(BinaryIO, frames), read_across_frames=True)), frames)


class _Frames:
    """A file of zstd, and whether what was read of it ends with a frame, of which the library takes a part as a whole.

    A frame is a mark, a header, blocks and a checksum (RFC 8878, section 3.1).
    """

    def __init__(self, file: Readable) -> None:
        self.file, self.held, self.skip = file, b"", 0
        self.inside = self.checksum = False

    def read(self, size: int = -1, /) -> bytes:
        data = self.file.read(size)
        self.held += data
        while self.held:
            gone = min(self.skip, len(self.held))
            self.skip, self.held = self.skip - gone, self.held[gone:]
            if self.skip or not self._advanced():
                break
        return data

    @property
    def whole(self) -> bool:
        """Return whether nothing is missing."""
        return not (self.inside or self.held or self.skip)

    def _advanced(self) -> bool:
        """Take the next header off what is held; return whether it is all there."""
        head = self.held
        if self.inside:
            block = int.from_bytes(head[:3], "little")
            if len(head) < 3:
                return False
            self.inside = not block & 1
            size = 1 if block >> 1 & 3 == 1 else block >> 3
            self.skip = 3 + size + 4 * (self.checksum and not self.inside)
        elif 0x184D2A50 <= int.from_bytes(head[:4], "little") <= 0x184D2A5F:
            if len(head) < 8:
                return False
            self.skip = 8 + int.from_bytes(head[4:8], "little")
        elif len(head) < 5:
            return False
        else:
            about = head[4]
            single = about >> 5 & 1
            self.skip = 5 + (1 - single) + (0, 1, 2, 4)[about & 3] + (single, 2, 4, 8)[about >> 6]
            self.inside, self.checksum = True, bool(about >> 2 & 1)
        return True


class _Zst:
    """The content of a ``.zst`` file."""

    def __init__(self, content: Readable, frames: _Frames) -> None:
        self.content, self.frames = content, frames

    def read(self, size: int = -1, /) -> bytes:
        data = self.content.read(size)
        if not data and not self.frames.whole:
            raise EOFError("it ends too early")
        return data


PACKED: dict[str, tuple[bytes, Callable[[str, Readable], Readable]]] = {
    "gzip": (b"\x1f\x8b", _gz),
    "bzip2": (b"BZh", _bz2),
    "xz": (b"\xfd7zXZ\0", _xz),
    "zstd": (b"\x28\xb5\x2f\xfd", _zst),
}
"""Compressions by name: first bytes, and what unpacks them."""
ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")


class _Unpacked(io.RawIOBase):
    """The content of a compressed file; reading raises DataError where it is damaged or unpacks to far more."""

    def __init__(self, where: str, file: io.BufferedReader, name: str) -> None:
        self.where, self.name, self.packed, self.count = where, name, _Counted(file), 0
        self.content = PACKED[name][1](where, self.packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self.content.read(len(buffer))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as fault:
            raise self._damaged(fault) from fault
        except Exception as fault:
            if type(fault).__name__ != "ZstdError":
                raise
            raise self._damaged(fault) from fault
        self.count += len(data)
        check_ratio(self.where, self.packed.count, self.count)
        buffer[: len(data)] = data
        return len(data)

    def _damaged(self, fault: Exception) -> DataError:
        return DataError(f"{self.where}: is damaged {self.name} ({fault}); compress it again")


def check_ratio(where: str, packed: int, unpacked: int) -> None:
    """Refuse what unpacks to more than :data:`MOST_TIMES` its size.

    Raises:
        DataError: it does, and to more than :data:`ALWAYS` bytes.
    """
    if unpacked > max(ALWAYS, MOST_TIMES * packed):
        raise DataError(f"{where}: unpacks to more than {MOST_TIMES} times its size; give it unpacked")


PACKAGES = {"PIL": "pillow"}
"""Packages whose module has another name."""


def check_library(where: str, module: str) -> None:
    """Refuse a file that is read through a library which is not installed.

    Raises:
        DataError: with the line that installs it.
    """
    if importlib.util.find_spec(module) is None:
        name = PACKAGES.get(module, module)
        raise DataError(f"{where}: needs {name}, which is not installed; pip install 'aecompress[formats]'")


def unpack(where: str, file: BinaryIO) -> io.BufferedReader:
    """Return ``file``, which is read from its beginning, unpacked where it is compressed.

    Reading from it raises DataError where it is truncated, damaged or a bomb.
    """
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, file))
    head = buffered.peek(6)
    for name, (magic, _) in PACKED.items():
        if head.startswith(magic):
            return io.BufferedReader(_Unpacked(where, buffered, name), PIECE)
    return buffered


def seekable(file: io.BufferedReader, stack: ExitStack) -> io.BufferedReader:
    """Return a file whose content can be read in any order: itself, or a copy of a stream that ``stack`` removes."""
    if file.seekable() and not isinstance(file.raw, _Unpacked):
        return file
    raw = cast(io.RawIOBase, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 closed with its reader
    copy: io.BufferedReader = stack.enter_context(io.BufferedReader(raw))
    while piece := file.read(PIECE):
        raw.write(piece)
    copy.seek(0)
    return copy


def members_of(where: str, file: io.BufferedReader) -> list[zipfile.ZipInfo]:
    """Return the files in a zip archive, without those that macOS adds.

    Raises:
        DataError: it is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            found = [member for member in archive.infolist() if not member.is_dir()]
    except Exception as fault:  # zipfile raises several classes for damage
        raise DataError(f"{where}: is damaged zip ({fault}); compress it again") from fault
    file.seek(0)
    return [member for member in found if not member.filename.startswith(("__MACOSX", "."))]


def only_member(
    where: str, file: io.BufferedReader, members: list[zipfile.ZipInfo], stack: ExitStack
) -> io.BufferedReader:
    """Return the content of the one file of a zip archive, which ``stack`` closes.

    Raises:
        DataError: it holds none, or several, or a bomb.
    """
    if len(members) != 1:
        raise DataError(f"{where}: holds {len(members)} files; unpack it, and name one of them")
    check_ratio(where, members[0].compress_size, members[0].file_size)
    archive = stack.enter_context(zipfile.ZipFile(file))
    return io.BufferedReader(_Member(where, archive, members[0], stack), PIECE)


class _Member(io.RawIOBase):
    """The content of a file in a zip archive; reading raises DataError where it is damaged."""

    def __init__(self, where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, stack: ExitStack) -> None:
        self.where = where
        try:
            self.content = stack.enter_context(archive.open(member))
        except Exception as fault:  # an unknown method, a password
            raise DataError(f"{where}: cannot be unpacked ({fault}); compress it again") from fault

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            data = self.content.read(len(buffer))
        except Exception as fault:  # zipfile raises several classes for damage
            raise DataError(f"{self.where}: is damaged zip ({fault}); compress it again") from fault
        buffer[: len(data)] = data
        return len(data)
