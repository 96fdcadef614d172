"""A table that is left on the disk gives the rows of one that is read into memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aecompress.data import spilled
from aecompress.data.base import Request
from aecompress.data.dataset import load
from aecompress.data.scaled_rows import ScaledRows
from aecompress.data.table import Column, Table
from aecompress.errors import DataError

CELLS = np.random.default_rng(0).normal(size=(300, 3))


def written(folder: Path) -> Path:
    lines = [",".join(map(str, [*row, ("pump", "fan")[place % 2]])) for place, row in enumerate(CELLS)]
    (folder / "rows.csv").write_text("a,b,c,kind\n" + "\n".join(lines))
    return folder


@pytest.mark.parametrize(
    "more", [{}, {"columns": "a,c"}, {"columns": "a,c", "window": 4}], ids=["all", "two", "windows"]
)
def test_rows_of_a_converted_file_are_those_of_memory(tmp_path: Path, more: dict[str, object]) -> None:
    reports: list[str] = []
    here, there = (
        load(
            Request(
                source="rows.csv",
                in_memory=each,
                directory=written(tmp_path),
                scratch=tmp_path,
                report=reports.append,
                **more,  # type: ignore[arg-type]
            )
        )
        for each in ("yes", "no")
    )
    assert here.fingerprint == there.fingerprint and here.scaling == there.scaling and here.inputs == there.inputs
    for name, right in here.splits.items():
        rows = there.splits[name]
        assert isinstance(rows, ScaledRows) and np.array_equal(rows[:], right)
        assert np.array_equal(rows.take(np.array([2, 0, 2])), right[[2, 0, 2]])
    assert reports == [f"converted {tmp_path / 'rows.csv'}: 300 rows, which are read from the disk"]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_a_file_is_converted_where_it_would_take_much_of_the_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(source="rows.csv", directory=written(tmp_path), scratch=tmp_path)
    assert isinstance(load(request).train, np.ndarray)
    monkeypatch.setattr("aecompress.data.sources.registry.free_bytes", lambda: 1000)
    monkeypatch.setattr("aecompress.data.scaled_rows.free_bytes", lambda: 1000)
    assert isinstance(load(request).train, ScaledRows)


def test_progress_is_reported_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled, "SECONDS", 0.0)

    def tables() -> Iterator[Table]:
        for first in (0, 100):
            yield Table(cells=CELLS[first : first + 100], columns=(Column(name="a"),) * 3)

    reports: list[str] = []
    table = spilled.spilled("rows.csv", tables(), tmp_path, reports.append)
    assert np.array_equal(table.cells, CELLS[:200]) and spilled.stored_of(table.cells[1:]) is None
    assert reports[:2] == ["converting rows.csv: 100 rows", "converting rows.csv: 200 rows"]


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(spilled.tempfile, "TemporaryFile", lambda dir: Full())
    tables = iter([Table(cells=CELLS, columns=(Column(name="a"),) * 3)])
    with pytest.raises(DataError, match=r"rows\.csv: .*: its rows cannot be written there \(No space left on device\)"):
        spilled.spilled("rows.csv", tables, tmp_path, print)
