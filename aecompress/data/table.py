"""Columns of a file or frame as they are there, before anything is decided about them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aecompress.data.file_rows import FileRows
from aecompress.errors import DataError
from aecompress.parsing import quoted

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


BLOCK = 1 << 17
"""Cells that are looked at at once."""


def plain(where: str, rows: Table | NDArray[np.generic] | FileRows) -> NDArray[np.generic] | FileRows:
    """Return the cells of a table whose columns all hold numbers, none missing: ``[N, C]``; other rows as they are.

    Raises:
        DataError: another column is there, or a cell is missing or could not be read.
    """
    if not isinstance(rows, Table):
        return rows
    step = max(1, BLOCK // max(1, len(rows.columns)))
    missing = np.zeros(len(rows.columns), bool)
    for start in range(0, len(rows), step):
        missing |= np.isnan(rows.cells[start : start + step]).any(0)
    for place, column in enumerate(rows.columns):
        called = f"column {place}" + (f" ({quoted(repr(column.name))})" if column.name else "")
        if column.holds in ("text", "date"):
            first = f" such as {quoted(repr(column.texts[0]))}" if column.texts else ""
            raise DataError(
                f"{where}: {called} holds {column.holds}s{first}, not numbers; choose numeric columns with --columns"
            )
        if column.unread or missing[place]:
            line, of, value = (column.example or "a cell is empty").partition(" is ")
            raise DataError(
                f"{where}: {line}, column {place}{of}{value}, not a number; choose numeric columns with --columns"
            )
    return rows.cells


def cells_of(rows: NDArray[np.generic] | Table) -> NDArray[np.generic]:
    """Return rows, or the cells of a table."""
    return rows.cells if isinstance(rows, Table) else rows


def columns_of(rows: NDArray[np.generic] | Table) -> dict[str, Any] | None:
    """Return what a table is beside its cells, as plain JSON values; None for other rows."""
    if not isinstance(rows, Table):
        return None
    return {"named": rows.named, "notes": list(rows.notes), "columns": [asdict(column) for column in rows.columns]}


def with_columns(cells: NDArray[np.generic], about: dict[str, Any] | None) -> NDArray[np.generic] | Table:
    """Return the table with these cells and what :func:`columns_of` wrote of it; without that the cells.

    Raises:
        DataError: it is not what that function writes.
    """
    if about is None:
        return cells
    try:
        columns = tuple(Column(**column | {"texts": tuple(column["texts"])}) for column in about["columns"])
        table = Table(
            cells=cells.astype(np.float64), columns=columns, named=about["named"], notes=tuple(about["notes"])
        )
    except (KeyError, TypeError) as fault:
        raise DataError(
            f"run.json: dataset.columns: is not what a run writes ({quoted(fault)}); start again"
        ) from fault
    return table


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
