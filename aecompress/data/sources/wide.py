"""Lines of very many cells, parsed as one column: a frame of so many columns takes polars minutes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aecompress.data.sources.cells import Doubles
from aecompress.data.sources.dialect import Dialect

WIDE = 500
"""Cells of a line from which lines are parsed so."""


@dataclass(frozen=True, eq=False)
class Wide:
    """Lines of W cells each."""

    values: Doubles
    """``[N, W]``; NaN where a cell is no number."""
    block: bytes
    ends: NDArray[np.int64]
    """Where each cell ends, row by row."""

    def texts(self, rows: NDArray[np.int64], column: int) -> pl.Series:
        """Return cells of a column as texts."""
        places = rows * self.values.shape[1] + column
        starts = np.where(places > 0, self.ends[places - 1] + 1, 0)
        pairs = zip(starts.tolist(), self.ends[places].tolist(), strict=True)
        return pl.Series([self.block[start:end].decode() for start, end in pairs], dtype=pl.String)


def wide_of(block: bytes, dialect: Dialect) -> Wide | None:
    """Return the cells of lines; None where they are few, quoted, or not as many in each line."""
    mark = dialect.delimiter.encode()
    pointed = dialect.decimal_comma and b"." in block
    if dialect.width < WIDE or b'"' in block or pointed or (dialect.comments and b"#" in block):
        return None
    if not block.endswith(b"\n"):
        block += b"\n"
    raw = np.frombuffer(block, np.uint8)
    lines = raw == 10
    ends = np.flatnonzero(lines | (raw == mark[0]))
    last = ends[dialect.width - 1 :: dialect.width]
    if len(ends) != dialect.width * np.count_nonzero(lines) or not lines[last].all():
        return None
    values = pl.read_csv(
        block.replace(mark, b"\n"),
        has_header=False,
        schema={"cell": pl.Float64},
        separator="\x01",
        quote_char=None,
        ignore_errors=True,
        decimal_comma=dialect.decimal_comma,
    )["cell"]
    if len(values) != len(ends):
        return None
    return Wide(values.fill_null(float("nan")).to_numpy().reshape(-1, dialect.width), block, ends)
