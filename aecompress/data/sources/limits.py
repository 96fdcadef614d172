"""What a file of rows may take: memory, and the length of a line."""

from __future__ import annotations

from typing import Any

import numpy as np

from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import quoted

LONGEST_LINE = 64 << 20
"""Bytes of a line of CSV."""
MOST_CELLS = 1 << 20
"""Cells of a line of CSV: each is a text of its own before it is a number."""


def called(*names: str) -> str:
    """Return names of arrays as a message lists them, on one line."""
    return quoted(", ".join(name if name.isprintable() else repr(name) for name in names))


def check_fits(where: str, values: int, each: int) -> None:
    """Refuse rows of that many ``values``, of ``each`` bytes, where this machine cannot hold them.

    They are held as float32 beside what was read while they are scaled: three times float32 at most.

    Raises:
        DataError: it cannot.
    """
    needed = values * (each + 4)
    if needed > memory_bytes():
        raise DataError(f"{where}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; give fewer rows")


def check_numbers(where: str, dtype: np.dtype[Any]) -> None:
    """Refuse values that are not real numbers.

    Raises:
        DataError: they are not.
    """
    if dtype.kind not in "buif":
        raise DataError(f"{where}: holds values of type {quoted(dtype)}, not numbers; convert them to numbers first")


def check_line(where: str, length: int) -> None:
    """Refuse a line of CSV that is longer than :data:`LONGEST_LINE`.

    Raises:
        DataError: it is.
    """
    if length > LONGEST_LINE:
        raise DataError(f"{where}: has a line of more than {LONGEST_LINE >> 20} MiB; write a line for each row")


def check_cells(where: str, line: str) -> None:
    """Refuse a line of CSV that has more than :data:`MOST_CELLS` cells.

    Raises:
        DataError: it has.
    """
    if len(line) < MOST_CELLS:
        return
    cells = max(line.count(","), line.count("\t")) + 1
    if cells > MOST_CELLS:
        raise DataError(f"{where}: has {cells:,} columns; CSV has at most {MOST_CELLS:,}, so give the rows as .npy")
