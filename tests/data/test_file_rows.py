"""Rows of a file: the same values as in memory, whichever are taken, and of a file that stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from aecompress.data import file_rows
from aecompress.data.file_rows import FileRows
from aecompress.errors import DataError

ROWS = np.random.default_rng(0).normal(size=(500, 2, 3)).astype(np.float32)


def stored(folder: Path, rows: np.ndarray = ROWS) -> FileRows:
    (folder / "rows.raw").write_bytes(b"header" + rows.tobytes())
    return FileRows.of(folder / "rows.raw", 6, rows.shape, rows.dtype)


@pytest.mark.parametrize(("near", "span"), [(0, 1 << 20), (100, 1 << 20), (1 << 12, 1 << 20), (1 << 12, 60)])
def test_rows_are_those_of_the_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near: int, span: int) -> None:
    monkeypatch.setattr(file_rows, "NEAR", near)
    monkeypatch.setattr(file_rows, "SPAN", span)
    rows = stored(tmp_path)
    assert len(rows) == 500 and rows.shape == ROWS.shape and rows.dtype == np.float32 and rows.size == ROWS.size
    assert np.array_equal(rows.read(3, 17), ROWS[3:17]) and len(rows.read(5, 5)) == 0
    draws = np.random.default_rng(1)
    for index in (draws.integers(0, 500, 300), np.arange(500), np.array([7, 7, 499, 0]), np.array([], np.int64)):
        assert np.array_equal(rows.take(index), ROWS[index])
        assert np.array_equal(rows.take(index.astype(np.uint32)), ROWS[index])
    assert np.array_equal(np.asarray(rows.flat()), ROWS.reshape(500, 6))
    assert np.array_equal(np.asarray(rows[10:20][2:5]), ROWS[12:15]) and len(rows[:0]) == 0


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.raw").write_bytes(ROWS.tobytes())
    with pytest.raises(DataError, match=r"rows\.raw: has 12000 bytes, too few for rows of shape \(501, 6\)"):
        FileRows.of(tmp_path / "rows.raw", 0, (501, 6), np.float32)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    rows = stored(tmp_path)
    os.utime(rows.path, (1, 1))
    for read in (lambda: rows.read(0, 5), lambda: rows.take(np.array([1, 400]))):
        with pytest.raises(DataError, match=r"rows\.raw: was changed while its rows were read"):
            read()
    rows = stored(tmp_path)
    os.truncate(rows.path, 100)
    with pytest.raises(DataError, match=r"rows\.raw: was changed while its rows were read"):
        rows.read(0, 500)


def test_a_file_that_is_replaced_stays_what_it_was(tmp_path: Path) -> None:
    rows = stored(tmp_path)
    (tmp_path / "other").write_bytes(bytes(12006))
    (tmp_path / "other").replace(rows.path)
    assert np.array_equal(rows.read(0, 500), ROWS)
