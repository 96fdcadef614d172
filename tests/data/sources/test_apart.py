"""Parquet and Arrow are read by a process of its own, which may end without an end to ours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aecompress.data.base import WHOLE, Part
from aecompress.data.sources import apart
from aecompress.errors import DataError

DAMAGED = Path(__file__).parents[2] / "fixtures" / "damaged.parquet"
"""Found by flipping bits: polars aborts the process that reads it."""


def test_a_file_of_which_its_reader_dies_is_refused_in_a_sentence() -> None:
    with DAMAGED.open("rb") as file, pytest.raises(DataError) as fault:
        apart.parse_parquet("a.parquet", file, WHOLE)
    assert str(fault.value) == (
        "a.parquet: cannot be read (its reader ended with SIGABRT, as it does of damage); write the file again"
    )


def test_blocks_come_as_they_are_read_and_need_not_be_taken_to_their_end(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(400_000, 2))
    frame = pl.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "c": ["x", "y"] * 200_000})
    frame.write_parquet(tmp_path / "a.parquet")
    with (tmp_path / "a.parquet").open("rb") as file:
        blocks = apart.parquet_tables("a.parquet", file, Part(columns="a,c"))
        first = next(blocks)
        blocks.close()  # type: ignore[attr-defined]
    assert 0 < len(first) < 400_000 and first.names == ("a", "c") and first.columns[1].texts == ("x", "y")
    assert np.array_equal(first.cells[:, 0], rows[: len(first), 0]) and first.cells[:3, 1].tolist() == [0, 1, 0]


def test_a_file_in_memory_is_read_as_one_on_disk() -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"a": [1.0, 2.0], "b": [3, None]}).write_ipc(buffer)
    table = apart.parse_arrow("-", buffer, WHOLE)
    assert table.names == ("a", "b") and np.array_equal(table.cells, [[1, 3], [2, np.nan]], equal_nan=True)


def test_what_the_reader_refuses_is_refused_here() -> None:
    buffer = io.BytesIO(b"no Parquet")
    with pytest.raises(DataError, match=r"^a\.parquet: cannot be read as Parquet \(it does not begin with PAR1\)"):
        apart.parse_parquet("a.parquet", buffer, WHOLE)
