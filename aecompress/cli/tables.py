"""Rows of words as a table: columns on a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aecompress.cli.exits import emit_row, width_of
from aecompress.printable import in_cell

if TYPE_CHECKING:
    from aecompress.events import Compared

LEAST_LOOKED_FOR = ("non-zeros", "smaller", "ms, 64", "ms, ", "faster, 1")
"""Beginnings of the columns of the before/after table that a narrow terminal goes without."""
GAP = "  "


def emit_table(rows: Sequence[Sequence[object]], left: int = 1, spare: Sequence[int] = ()) -> None:
    """Print rows to stdout: in columns on a terminal, tab-separated elsewhere.

    A table that is wider than the terminal is turned, so that rows become columns, where that is narrower; else its
    cells are not padded, so that it is broken as late as can be.

    Args:
        left: number of columns that hold words, which are aligned to the left.
        spare: columns that a terminal too narrow for all goes without, the first one first.
    """
    width = width_of(sys.stdout)
    if width is None:
        for row in rows:
            emit_row(*row)
        return
    cells = [tuple(map(str, row)) for row in rows]
    kept = list(range(len(cells[0])))
    table = columns(cells, left=left)
    for column in spare:
        if longest(table) > width:
            kept.remove(column)
            table = columns(cells, kept, left)
    if longest(table) > width:
        turned = columns(list(zip(*cells, strict=True)))
        table = turned if longest(turned) < longest(table) else "\n".join(GAP.join(map(in_cell, row)) for row in cells)
    print(table)


def longest(table: str) -> int:
    """Return the characters of the longest line."""
    return max(map(len, table.split("\n")))


def columns(rows: Sequence[tuple[str, ...]], kept: Sequence[int] | None = None, left: int = 1) -> str:
    """Return rows of words as lines, of all columns or those ``kept``: the first ``left`` to the left, others right."""
    rows = [tuple(in_cell(row[place]) for place in (range(len(row)) if kept is None else kept)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        GAP.join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def before_and_after(event: Compared, width: int | None = None) -> str:
    """Return the before/after table in columns; where it is wider than ``width``, without those least looked for."""
    head, *rows = event.table()
    kept, left_out = list(range(len(head))), list[str]()
    for name in dict.fromkeys(name for start in LEAST_LOOKED_FOR for name in head if name.startswith(start)):
        if width is None or longest(columns([head, *rows], kept)) <= width:
            break
        kept.remove(head.index(name))
        left_out.append(name)
    note = f"\n({'; '.join(left_out)}: in the model's README.md)" if left_out else ""
    return columns([head, *rows], kept) + note
