"""Scaled rows that are read when they are taken: those of memory, to the last bit."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from aecompress.data import chosen, scaled_rows
from aecompress.data.base import Request
from aecompress.data.dataset import Dataset, load, write_npz
from aecompress.data.describe import describe
from aecompress.data.scaled_rows import ScaledRows
from aecompress.data.sparse import few, whole
from aecompress.errors import DataError


def loaded(folder: Path, in_memory: str, dtype: str = "float32", scaling: str = "auto", **more: object) -> Dataset:
    path = folder / "rows.npy"
    if not path.exists():
        np.save(path, (np.random.default_rng(0).normal(size=(300, 2, 3)) * 50 + 100).astype(dtype))
    return load(Request(source="rows.npy", in_memory=in_memory, scaling=scaling, directory=folder, **more))


@pytest.mark.parametrize("scaling", ["auto", "none", "standard"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_rows_taken_from_the_file_are_those_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, scaling: str
) -> None:
    monkeypatch.setattr(chosen, "BLOCK", 60)  # ten rows
    there, here = (loaded(tmp_path, each, dtype, scaling) for each in ("no", "yes"))
    assert there.fingerprint == here.fingerprint and there.scaling == here.scaling
    assert there.facts.stored and not here.facts.stored
    index = np.random.default_rng(1).integers(0, 30, 50)
    for name, right in here.splits.items():
        rows = there.splits[name]
        assert isinstance(rows, ScaledRows) and isinstance(right, np.ndarray)
        assert rows.shape == right.shape and rows.dtype == right.dtype and rows.size == len(right)  # their places
        assert np.array_equal(rows[:], right) and np.array_equal(rows[3:17], right[3:17]) and len(rows[5:2]) == 0
        assert np.array_equal(rows.take(index), right[index])
        assert np.array_equal(rows.pick(index).take(index[index < 20]), right[index][index[index < 20]])
        assert (rows.min(), rows.max()) == (right.min(), right.max())
        assert np.array_equal(rows.mean(0), right.mean(0, dtype=np.float64))
        assert np.allclose(rows.var(0), right.var(0, dtype=float)) and np.allclose(rows.mean(), right.mean())
        assert np.array_equal(whole(rows), right)
    assert describe(there).keys() == describe(here).keys()
    write_npz(there, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        assert np.array_equal(file["train"], here.train.reshape(-1, 2, 3))


def test_windows_of_a_file_are_made_when_they_are_taken(tmp_path: Path) -> None:
    there, here = (loaded(tmp_path, each, window=5, stride=2) for each in ("no", "yes"))
    index = np.array([7, 7, 0, 40])
    for name, right in here.splits.items():
        rows = there.splits[name]
        assert isinstance(rows, ScaledRows) and np.array_equal(rows[:], right)
        assert np.array_equal(rows.take(index % len(right)), right[index % len(right)])


def test_some_rows_spread_over_all_stand_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aecompress.data.sparse.FEW", 10)
    monkeypatch.setattr("aecompress.data.sparse.FEW_VALUES", 6 * 24)
    rows = loaded(tmp_path, "no").train
    assert np.array_equal(few(rows), rows[:][::10])
    monkeypatch.setattr("aecompress.data.sparse.FEW_VALUES", 1 << 20)
    assert np.array_equal(few(rows), rows[:])


def test_rows_are_read_when_needed_where_they_would_take_much_of_the_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(loaded(tmp_path, "auto").train, np.ndarray)
    monkeypatch.setattr(scaled_rows, "free_bytes", lambda: 2 * 300 * 6 * 4 - 1)
    assert isinstance(loaded(tmp_path, "auto").train, ScaledRows)
    monkeypatch.setattr(scaled_rows, "memory_bytes", lambda: 300 * 6 * 4 - 1)
    with pytest.raises(DataError, match=r"rows\.npy: would need .* has .*; leave out --in-memory yes"):
        loaded(tmp_path, "yes")


def test_rows_that_were_read_into_memory_cannot_be_left_in_their_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", np.ones((9, 2)))
    with pytest.raises(DataError, match=r"data\.in_memory = 'no': rows\.npz has no rows that can be read one by one"):
        load(Request(source="rows.npz", in_memory="no", directory=tmp_path))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize(("in_memory", "most"), [("yes", 1.25), ("no", 0.25)])
def test_a_load_holds_its_rows_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, in_memory: str, most: float
) -> None:
    monkeypatch.setattr(chosen, "BLOCK", 1 << 12)
    np.save(tmp_path / "rows.npy", (np.random.default_rng(0).random((10_000, 100)) * 200).astype(dtype))
    loaded(tmp_path, in_memory)  # imports are no rows
    tracemalloc.start()
    try:
        assert loaded(tmp_path, in_memory).facts.rows == 8000
        assert tracemalloc.get_traced_memory()[1] < most * 4 * 10_000 * 100
    finally:
        tracemalloc.stop()
