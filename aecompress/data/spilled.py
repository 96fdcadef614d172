"""A table that does not fit memory: converted once, block by block, to a file that goes when nothing reads it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aecompress.data.file_rows import FileRows, Handle
from aecompress.data.table import Table
from aecompress.errors import DataError

SECONDS = 5.0
"""Between two reports of how far it is."""
MAPPED = 1.5
"""Bytes that rows take in memory, as cells and as float32, for each byte of their file of text."""
PACKED = 4
"""How many times as many they are for each byte of a compressed or columnar file."""


class MappedCells(np.ndarray[Any, np.dtype[np.float64]]):
    """Cells ``[N, C]`` that are mapped from a file."""

    stored: FileRows | None = None
    """The same rows, to be read one by one; None of what is only a view of a part of them."""


def stored_of(rows: object) -> FileRows | None:
    """Return the rows of a file that an array is mapped from; None where it is another, or a part of one."""
    return rows.stored if isinstance(rows, MappedCells) else None


def memory_of(path: Path) -> float:
    """Return about how many bytes the rows of a table take in memory."""
    text = path.name.lower().endswith((".csv", ".tsv", ".txt"))
    return path.stat().st_size * MAPPED * (1 if text else PACKED)


def spilled(where: str, tables: Iterator[Table], folder: Path, report: Callable[[str], None]) -> Table:
    """Write the cells of tables one after the other to a file without a name in ``folder``, and map it.

    Args:
        tables: of one file; the columns of the last hold for all.
        report: is given a line now and then.

    Raises:
        DataError: the disk is full, or there are no rows.
    """
    last: Table | None = None
    rows, due = 0, time.monotonic() + SECONDS
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for last in tables:
                file.write(np.ascontiguousarray(last.cells, np.float64).data)
                rows += len(last)
                if time.monotonic() >= due:
                    report(f"converting {where}: {rows:,} rows")
                    due = time.monotonic() + SECONDS
            file.flush()
            if last is None or not rows:
                raise DataError(f"{where}: holds no rows; give at least two")
            shape = (rows, last.cells.shape[1])
            cells = np.memmap(file, np.float64, "r", shape=shape).view(MappedCells)
            cells.stored = FileRows(Path(where), 0, shape, np.dtype(np.float64), Handle.of(file.fileno()))
    except OSError as fault:
        raise DataError(
            f"{where}: {folder.resolve()}: its rows cannot be written there ({fault.strerror}); make room, or start in "
            "another folder"
        ) from fault
    report(f"converted {where}: {rows:,} rows, which are read from the disk")
    return Table(cells=cells, columns=last.columns, named=last.named, notes=last.notes)
