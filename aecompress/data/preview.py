"""What a file holds and what is done with it, before a run: first rows, columns, hints, the command that works."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aecompress.data.advice import command_of
from aecompress.data.base import Array, Raw, Request
from aecompress.data.column_words import FAULTS, INPUTS, WORDS
from aecompress.data.columns import Decision, decide
from aecompress.data.file_rows import FileRows
from aecompress.data.profile import cell_text, date_text, profile
from aecompress.data.scaling import Scaling
from aecompress.data.table import Column, Profile, Table
from aecompress.data.tables import as_table

FIRST_ROWS = 5
MOST_VALUES = 1000
"""Values of a row that are shown at most."""
REFUSED = frozenset(WORDS[fault] for fault in FAULTS)
"""Why a column is refused, in words."""
SHOWN = ("constant", "counter", "empty", "index")
"""Kinds whose profile says more than the decision."""
WINDOW = 16
"""Rows of a window that is suggested for a series."""


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """What a column holds and what is done with it, as plain JSON values."""

    name: str
    kind: str
    becomes: str
    """The action of its decision; ``fault`` where a flag must say what is to be done."""
    why: str
    missing: int
    infinite: int
    low: float | str | None
    """Smallest value, a date as a text; None where it has none."""
    high: float | str | None
    outliers: int
    sentinels: tuple[float, ...]
    distinct: int
    examples: tuple[str, ...]
    """The first three cells; of texts, the first three different ones."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a person asks of a file before a run."""

    rows: int
    width: int
    """Columns."""
    read_as: tuple[str, ...]
    """Size and format, as clauses."""
    names: tuple[str, ...]
    """Of the columns as they are shown; their numbers where they have none."""
    first_rows: tuple[tuple[str, ...], ...]
    columns: tuple[ColumnFacts, ...]
    """Of a table; none of an array."""
    notes: tuple[str, ...]
    """What is done with columns, as sentences."""
    command: str
    """The command line that works, for a shell."""
    cures: bool = False
    """Whether it has more flags than the request, without which an array cannot be used."""


def preview(request: Request, raw: Raw[Any]) -> Preview:
    """Return what the rows of a request are, without splitting or scaling them.

    Args:
        raw: the rows, as read.
    """
    rows = as_table(raw.train, request)
    seen = None
    if isinstance(rows, Table):
        seen = _of_table(request, rows)
    elif isinstance(rows, np.ndarray | FileRows):
        seen = _of_array(request, rows, raw.inputs)
    if seen is not None:
        files = (f"{len(raw.files)} files, one after the other",) if len(raw.files) > 1 else ()
        return replace(seen, read_as=(*seen.read_as, *files))
    return Preview(
        rows=len(rows),
        width=rows.shape[1],
        read_as=(f"{len(rows):,} rows of {rows.shape[1]:,} columns, kept sparse",),
        names=(),
        first_rows=(),
        columns=(),
        notes=(),
        command=command_of(request, {}),
    )


def _of_table(request: Request, table: Table) -> Preview:
    profiles = profile(table)
    decisions = decide(table, profiles, request)
    columns = tuple(_facts(request, *one) for one in zip(table.columns, profiles, decisions.columns, strict=True))
    return Preview(
        rows=len(table),
        width=len(columns),
        read_as=(
            f"{len(table):,} rows of {len(table.columns):,} columns",
            *(() if table.named else ("columns have no names and are numbered from 0",)),
            *table.notes,
        ),
        names=names_of(table.names, len(table.columns)),
        first_rows=tuple(tuple(map(cell_text, table.columns, row.tolist())) for row in table.cells[:FIRST_ROWS]),
        columns=columns,
        notes=decisions.notes,
        command=decisions.command,
    )


def is_fault(seen: Profile, decision: Decision, request: Request) -> bool:
    """Return whether a column cannot be used unless a flag says what is to be done with it."""
    gaps = seen.missing + seen.infinite > 0 or (bool(seen.sentinels) and not request.columns)
    return decision.why in REFUSED or (gaps and request.missing == "error" and decision.action in INPUTS)


def _facts(request: Request, column: Column, seen: Profile, decision: Decision) -> ColumnFacts:
    """Return what is found about a column and done with it."""
    ends = [
        None if np.isnan(end) else date_text(end) if column.holds == "date" else end for end in (seen.low, seen.high)
    ]
    return ColumnFacts(
        name=column.name,
        kind=seen.kind,
        becomes="fault" if is_fault(seen, decision, request) else decision.action,
        why=seen.why if seen.kind in SHOWN else decision.why or seen.why,
        missing=seen.missing,
        infinite=seen.infinite,
        low=ends[0],
        high=ends[1],
        outliers=seen.outliers,
        sentinels=seen.sentinels,
        distinct=seen.distinct,
        examples=column.texts[:3] if column.holds == "text" else seen.examples,
    )


def _of_array(request: Request, rows: Array | FileRows, inputs: Sequence[str]) -> Preview:
    head = np.asarray(rows[:FIRST_ROWS])
    bare = rows.ndim == 1 and not request.window
    flat = head[:, None] if rows.ndim == 1 else head[:, :MOST_VALUES] if rows.ndim == 2 else head[:0]
    return Preview(
        rows=len(rows),
        width=math.prod(rows.shape[1:]),
        read_as=(f"{rows.dtype} array of shape {tuple(rows.shape)}",),
        names=names_of(inputs, flat.shape[1]) if len(flat) else (),
        first_rows=tuple(tuple(map(value_text, row)) for row in flat.tolist()),
        columns=(),
        notes=(),
        command=command_of(request, {"--window": str(min(WINDOW, max(2, len(rows) // 10)))} if bare else {}),
        cures=bare,
    )


def value_text(value: object) -> str:
    """Return a value of an array as a person reads it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def names_of(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the names of ``count`` columns: without any, their numbers; of one without, its number in parentheses."""
    if not any(names):
        return tuple(map(str, range(count)))
    return tuple(name or f"({place})" for place, name in enumerate(names))


def scaling_words(requested: str, scaling: Scaling) -> tuple[str, ...]:
    """Return what scaling does and why, as a clause; nothing where values stay as they are."""
    if scaling.kind == "none":
        return ()
    what = {
        "bytes": "bytes are divided by 255",
        "minmax": "each input is brought to [0, 1] by its range in the training rows",
        "standard": "each input is brought to mean 0 and deviation 1 in the training rows",
    }[scaling.kind]
    why = "they reach 128" if scaling.kind == "bytes" else "its values do not lie there"
    return (f"{what}: {why} (--scaling auto)" if requested == "auto" else f"{what} (--scaling {requested})",)
