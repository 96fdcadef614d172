"""Files that are whole or not there: written under a temporary name, then renamed; and read without surprises."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import TextIO

MOST_BYTES = 64 << 20
"""Of a file of ours that is read at once: the ``config.json`` of a model of a million inputs has less."""


def write_text(path: Path, text: str) -> None:
    """Write ``text`` under a temporary name, then rename it into place."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name, then rename it into place."""
    with whole(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BufferedWriter]:
    """Open a file under a temporary name; rename it into place on success, remove it on error."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)  # what a kill left, or a link or a pipe that somebody put there
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # a rename that outlives a power cut must not name an empty file
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def aside(path: Path) -> Path:
    """Return where a folder is while a new one takes its place."""
    return path.with_name(f".{path.name}.old")


def standing(path: Path) -> Path:
    """Return where a folder is to be read: the old one, where a kill came before the new one took its place."""
    return path if path.exists() or not aside(path).is_dir() else aside(path)


def recover(final: Path) -> None:
    """Put back a folder that was renamed aside, where a kill came before the new one took its place."""
    if not final.exists() and aside(final).is_dir():
        aside(final).replace(final)


def discard(path: Path) -> None:
    """Remove a folder, or whatever else stands at its place, where that is possible; a pipe is not waited for."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def read_own(path: Path) -> bytes:
    """Return the content of a file that a run of ours wrote; a link is not followed, a pipe not waited for.

    Raises:
        OSError: it cannot be read, is not a file, or is larger than :data:`MOST_BYTES`; ``strerror`` says which.
    """
    with open_own(path) as file:
        if len(data := file.read(MOST_BYTES + 1)) > MOST_BYTES:
            raise OSError(errno.EFBIG, f"larger than {MOST_BYTES >> 20} MiB", str(path))
        return data


def open_own(path: Path) -> BufferedReader:
    """Open a file that a run of ours wrote for reading; a link is not followed, a pipe not waited for.

    Raises:
        OSError: it cannot be read, or is not a file; ``strerror`` says which.
    """
    return os.fdopen(_opened(path, os.O_RDONLY), "rb")


def append_own(path: Path) -> TextIO:
    """Open a file of a run of ours for appending lines, made if missing; a link is not followed, a pipe not waited for.

    Raises:
        OSError: it cannot be written, or is not a file; ``strerror`` says which.
    """
    return os.fdopen(_opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "a", encoding="utf-8", buffering=1)


def _opened(path: Path, flags: int) -> int:
    if path.is_symlink():
        raise OSError(errno.ELOOP, "a link, which is not followed", str(path))
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return descriptor
