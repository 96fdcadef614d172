"""Parquet and Arrow, read by a process of its own: of a damaged file, polars may end the process that reads it."""

from __future__ import annotations

import io
import json
import pkgutil
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from aecompress.children import isolated
from aecompress.data.base import Part
from aecompress.data.sources.blocks import collected
from aecompress.data.table import Table, columns_of, with_columns
from aecompress.errors import DataError

_FRAMES = "aecompress.data.sources.frames:"


def parse_parquet(where: str, file: BinaryIO, part: Part) -> Table:
    """Return the table of a Parquet file.

    Raises:
        DataError: damaged, without numbers, or too large.
    """
    return collected(where, parquet_tables(where, file, part))


def parquet_tables(where: str, file: BinaryIO, part: Part) -> Iterator[Table]:
    """Return the rows of a Parquet file block by block; the columns of the last table hold for all.

    Raises:
        DataError: damaged, without numbers, or too large.
    """
    return _tables("parquet_tables", where, file, part)


def parse_arrow(where: str, file: BinaryIO, part: Part) -> Table:
    """Return the table of an Arrow file or stream, which is also what Feather files are.

    Raises:
        DataError: damaged, without numbers, or too large.
    """
    return collected(where, arrow_tables(where, file, part))


def arrow_tables(where: str, file: BinaryIO, part: Part) -> Iterator[Table]:
    """Return the rows of an Arrow file or stream block by block; the columns of the last table hold for all.

    Raises:
        DataError: damaged, without numbers, or too large.
    """
    return _tables("arrow_tables", where, file, part)


def _tables(reader: str, where: str, file: BinaryIO, part: Part) -> Iterator[Table]:
    """Return what ``reader`` of the module of frames gives, carried out by a child process.

    The child sends a line of JSON for each block, followed by its cells, and an empty object at the end.
    """
    with ExitStack() as stack:
        command = isolated(f"from {__name__} import main; main()", reader, where, *part)
        source = _descriptor(file, stack)
        child = stack.enter_context(
            subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        )
        stack.callback(child.kill)  # where the blocks are not taken to their end
        assert child.stdout is not None
        while about := _line(where, child):
            cells = np.empty((about["rows"], len(about["columns"])))
            into = cells.reshape(-1).view(np.uint8).data
            if child.stdout.readinto(into) < len(into):  # type: ignore[attr-defined]
                raise _ended(where, child)
            yield cast(Table, with_columns(cells, about))


def _descriptor(file: BinaryIO, stack: ExitStack) -> IO[bytes] | BinaryIO:
    """Return a file with a descriptor, which a child can read: itself, or a copy."""
    file.seek(0)
    try:
        file.fileno()
    except io.UnsupportedOperation:
        copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        shutil.copyfileobj(file, copy)
        copy.flush()
        return copy
    return file


def _line(where: str, child: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return what the child says of its next block; nothing at the end.

    Raises:
        DataError: what it raised, or that it ended early.
    """
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line.endswith(b"\n"):
        raise _ended(where, child)
    about: dict[str, Any] = json.loads(line)
    if "memory" in about:
        raise MemoryError
    if "error" in about:
        raise DataError(about["error"])
    return about


def _ended(where: str, child: subprocess.Popen[bytes]) -> DataError:
    code = child.wait()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return DataError(
        f"{where}: cannot be read (its reader ended with {how}, as it does of damage); write the file again"
    )


def main() -> None:
    """Read standard input, a file, by the reader that the first argument names, and write its blocks."""
    reader, where, *part = sys.argv[1:]
    sys.stdin.buffer.seek(0)
    try:
        for table in pkgutil.resolve_name(_FRAMES + reader)(where, _opened(), Part(*part)):
            _write({"rows": len(table), **(columns_of(table) or {})})
            sys.stdout.buffer.write(table.cells.reshape(-1).view(np.uint8).data)
        _write({})
    except DataError as fault:
        _write({"error": str(fault)})
    except MemoryError:
        _write({"memory": True})


def _opened() -> BinaryIO:
    """Return standard input, by a path where that is possible: polars then reads parts of it."""
    path = Path(f"/dev/fd/{sys.stdin.fileno()}")
    return path.open("rb") if path.exists() else sys.stdin.buffer


def _write(about: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(about).encode() + b"\n")
    sys.stdout.buffer.flush()
