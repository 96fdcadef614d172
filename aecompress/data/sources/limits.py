"""What a file of rows may take: memory, and the length of a line."""

from __future__ import annotations

from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes

LONGEST_LINE = 64 << 20
"""Bytes of a line of CSV."""


def check_fits(where: str, values: int, each: int) -> None:
    """Refuse rows of that many ``values``, of ``each`` bytes, where this machine cannot hold them.

    They are held twice while they are split, and as float32 beside the splits while they are scaled.

    Raises:
        DataError: it cannot.
    """
    needed = values * max(2 * each, each + 4)
    if needed > memory_bytes():
        raise DataError(f"{where}: would need {gib(needed)}, this machine has {gib(memory_bytes())}; give fewer rows")


def check_line(where: str, length: int) -> None:
    """Refuse a line of CSV that is longer than :data:`LONGEST_LINE`.

    Raises:
        DataError: it is.
    """
    if length > LONGEST_LINE:
        raise DataError(f"{where}: has a line of more than {LONGEST_LINE >> 20} MiB; write a line for each row")
