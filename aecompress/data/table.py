"""Columns of a file or frame as they are there, before anything is decided about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Holds = Literal["number", "boolean", "date", "text"]
"""What cells were read as; a date is in seconds since 1970 (UTC), a text a place in the texts of its column."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table: its name, and what its cells stand for."""

    name: str
    """Empty where the file gives none."""
    holds: Holds = "number"
    texts: tuple[str, ...] = ()
    """Of a column of texts: each different one, in the order in which they first occur."""
    unread: int = 0
    """Cells of a column of numbers that are no number and no usual word for a missing one; they are missing here."""
    example: str = ""
    """The first of them, with where it stands: ``line 812 is 'abc'``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """N rows of C columns, all cells as float64: numbers, 0 or 1, seconds, or places in a column's texts."""

    cells: NDArray[np.float64]
    """``[N, C]``; a missing cell is NaN."""
    columns: tuple[Column, ...]
    named: bool = True
    """Whether the columns' names come from the file: a header, a frame."""
    notes: tuple[str, ...] = ()
    """What was assumed when it was read, as clauses a person reads: ``cells are separated by ';'``."""

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(column.name for column in self.columns)


ColumnKind = Literal["number", "boolean", "date", "category", "text", "constant", "index", "counter", "label", "empty"]
"""What a column is to a person: ``index`` numbers the rows from 0 or 1, a ``counter`` rises in equal steps elsewhere,
a ``label`` is 0/1 or two texts under a usual name of labels, a ``category`` is a text of few values."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What one column of a table holds, in numbers a person can check."""

    name: str
    kind: ColumnKind
    why: str
    """What shows its kind, as a clause: ``numbers the rows from 0``; empty where its name is enough."""
    missing: int
    """Cells without a value."""
    infinite: int = 0
    """Cells that are infinite; range, outliers and sentinels are those of the others."""
    distinct: int
    """Different values, counted up to a limit; the limit where there are more."""
    low: float
    """Smallest value; NaN for texts, or where all are missing."""
    high: float
    outliers: int
    """Values far outside the others' range."""
    sentinels: tuple[float, ...]
    """Values such as -9999 that usually stand for a missing one."""
    examples: tuple[str, ...]
    """The first three cells, as the file has them."""
