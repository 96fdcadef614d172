"""Files that are whole or not there: written under a temporary name, then renamed; and read without surprises."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write ``text`` under a temporary name, then rename it into place."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name, then rename it into place."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())  # a rename that outlives a power cut must not name an empty file
    temporary.replace(path)


def aside(path: Path) -> Path:
    """Return where a folder is while a new one takes its place."""
    return path.with_name(f".{path.name}.old")


def standing(path: Path) -> Path:
    """Return where a folder is to be read: the old one, where a kill came before the new one took its place."""
    return path if path.exists() or not aside(path).is_dir() else aside(path)


def read_own(path: Path) -> bytes:
    """Return the content of a file that a run of ours wrote; a link is not followed, a pipe not waited for.

    Raises:
        OSError: it cannot be read, or is not a file; ``strerror`` says which.
    """
    with open_own(path) as file:
        return file.read()


def open_own(path: Path) -> BufferedReader:
    """Open a file that a run of ours wrote for reading; a link is not followed, a pipe not waited for.

    Raises:
        OSError: it cannot be read, or is not a file; ``strerror`` says which.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "a link, which is not followed", str(path))
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return os.fdopen(descriptor, "rb")
