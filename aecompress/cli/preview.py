"""A preview of data: sections for a person on a terminal, tab-separated lines in a pipe, or one JSON object."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from aecompress.cli.exits import emit_row, emit_text, width_of
from aecompress.cli.tables import GAP, columns, emit_table, longest
from aecompress.printable import in_cell

if TYPE_CHECKING:
    from aecompress.data.preview import ColumnFacts, Preview

MOST_COLUMNS = 24
"""Columns that get a line each on a terminal; more are summed up by kind."""
LONGEST_CELL = 20
"""Characters of a name, or of a cell of the first rows, on a terminal."""
LONGEST_NUMBER = 9
"""Characters of a number that is shown with all its digits."""
LONGEST_RANGE = 25
"""Characters of a range on a terminal: two dates, or a date and two times."""
DONE = {"keep": "input", "leave out": "left out"}
"""What a column becomes, for people."""
HEAD = ("column", "kind", "missing", "range", "far out", "distinct", "becomes")
SPARED = (5, 4)
"""Places in :data:`HEAD` that a narrow terminal goes without."""


def record(preview: Preview, facts: Mapping[str, Any], notes: Sequence[str], faults: Sequence[str]) -> dict[str, Any]:
    """Return all of a preview as one JSON object; ``facts`` come first, under their names."""
    return {
        **facts,
        "read_as": preview.read_as,
        "names": preview.names,
        "first_rows": preview.first_rows,
        "columns": [asdict(column) for column in preview.columns],
        "notes": notes,
        "faults": faults,
        "command": preview.command,
    }


def emit_rows(preview: Preview) -> None:
    """Print what is read to stdout: its format, first rows and columns; in a pipe, a tab-separated line for each."""
    width = width_of(sys.stdout)
    if width is not None:
        parts = wrapped("; ".join(preview.read_as), width), first_rows(preview, width), column_table(preview, width)
        emit_text("".join(f"{part}\n\n" for part in parts if part))
        return
    for clause in preview.read_as:
        emit_row("read_as", clause)
    for name, column in zip(preview.names, preview.columns, strict=bool(preview.columns)):
        low, high = (end if isinstance(end, str) else "" if end is None else f"{end:.9g}" for end in ends(column))
        found = (column.kind, column.missing, low, high, column.outliers, column.distinct, column.becomes, column.why)
        emit_row("column", name, *found)


def emit_facts(preview: Preview, facts: Mapping[str, Any], gap: bool = False) -> None:
    """Print to stdout what a run sees of the rows, and the command line that works.

    Args:
        facts: empty where the rows cannot be used; a terminal then has the command from the error.
        gap: whether notes stand before them on a terminal.
    """
    width = width_of(sys.stdout)
    if facts:
        emit_text("\n" if gap and width is not None else "")
        emit_table([(name, f"{value:.6g}" if isinstance(value, float) else value) for name, value in facts.items()], 2)
    if width is None:
        emit_row("command", preview.command)
    elif facts:
        emit_text(f"\nnext:\n  {in_cell(preview.command)}\n")


def ends(column: ColumnFacts) -> tuple[float | str | None, float | str | None]:
    """Return the smallest and the largest value of a column."""
    return column.low, column.high


def wrapped(text: str, width: int) -> str:
    """Return a sentence in lines of at most ``width`` characters."""
    return textwrap.fill(in_cell(text), width, break_long_words=False, break_on_hyphens=False)


def short(text: str, most: int = LONGEST_CELL) -> str:
    """Return the first ``most`` characters of a cell."""
    text = in_cell(text)
    return text if len(text) <= most else text[: most - 3] + "..."


def cell(text: str) -> str:
    """Return a cell of the first rows as a terminal shows it: long numbers with six digits."""
    try:
        return f"{float(text):.6g}" if len(text) > LONGEST_NUMBER and "." in text else short(text)
    except ValueError:
        return short(text)


def first_rows(preview: Preview, width: int) -> str:
    """Return the first rows under their names, of as many columns as fit; empty where rows are not shown."""
    if not preview.first_rows:
        return ""
    cells = [tuple(map(short, preview.names)), *(tuple(map(cell, row)) for row in preview.first_rows)]
    shown, used = 0, -len(GAP)
    for column in zip(*cells, strict=True):
        used += len(GAP) + max(map(len, column))
        if shown and used > width:
            break
        shown += 1
    total = preview.width
    title = "first rows" if shown == total else f"first rows, {shown:,} of {total:,} columns"
    return f"{title}\n{columns([row[:shown] for row in cells], left=0)}"


def column_table(preview: Preview, width: int) -> str:
    """Return a line per column, or per kind of column where there are many; empty for an array."""
    if not preview.columns:
        return ""
    found = [(place, column, 1) for place, column in zip(preview.names, preview.columns, strict=True)]
    rows = [line_of(*one, preview.rows) for one in (found if len(found) <= MOST_COLUMNS else summed(preview))]
    kept = [place for place in range(len(HEAD)) if any(row[place] for row in rows)]
    for place in SPARED:
        if place in kept and longest(columns([HEAD, *rows], kept, left=2)) > width:
            kept.remove(place)
    return columns([HEAD, *rows], kept, left=2)


def line_of(name: str, column: ColumnFacts, count: int, rows: int) -> tuple[str, ...]:
    """Return the cells under :data:`HEAD` of a column, or of ``count`` columns together."""
    missing = f"{column.missing / max(1, rows * count):.2%}" if column.missing else ""
    outliers = f"{column.outliers:,}" if column.outliers else ""
    becomes = DONE.get(column.becomes, column.becomes)
    reach = reach_of(column)
    return short(name), column.kind, missing, short(reach, LONGEST_RANGE), outliers, f"{column.distinct:,}", becomes


def reach_of(column: ColumnFacts) -> str:
    """Return the range of a column: numbers, dates, the time of one day; of texts, some of them."""
    low, high = column.low, column.high
    if isinstance(low, str) and isinstance(high, str):
        return f"{low[:16]} to {high[11:16]}" if low[:10] == high[:10] and high[11:] else f"{low[:10]} to {high[:10]}"
    if low is None:
        return ", ".join(dict.fromkeys(filter(None, column.examples)))
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def summed(preview: Preview) -> list[tuple[str, ColumnFacts, int]]:
    """Return columns of one kind, with which the same is done, as one: its name, sums and range, and their number."""
    groups: dict[tuple[object, ...], list[tuple[str, ColumnFacts]]] = {}
    for name, column in zip(preview.names, preview.columns, strict=True):
        alike = (column.kind, column.becomes, column.missing > 0, column.sentinels, isinstance(column.low, str))
        groups.setdefault(alike, []).append((name, column))
    found = []
    for group in groups.values():
        (name, first), count = group[0], len(group)
        together = replace(
            first,
            missing=sum(column.missing for _, column in group),
            outliers=sum(column.outliers for _, column in group),
            distinct=max(column.distinct for _, column in group),
            low=min((column.low for _, column in group if column.low is not None), default=None, key=lambda end: end),
            high=max(
                (column.high for _, column in group if column.high is not None), default=None, key=lambda end: end
            ),
        )
        found.append((name if count == 1 else f"{short(name)[:12]} + {count - 1:,} more", together, count))
    return found
