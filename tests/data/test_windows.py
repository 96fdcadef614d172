"""Windows: block by block, the same as by indices; their rows, each once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aecompress.data import windows
from aecompress.data.base import Request
from aecompress.data.dataset import Dataset, load
from aecompress.data.sources.formats import open_array
from aecompress.data.windows import WindowIndex, Windows, window_index
from aecompress.errors import DataError


@pytest.mark.parametrize("block", [1, 30, 100_000])
@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("chosen", ["all", "few"])
def test_blocks_hold_the_windows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, alternating: bool, chosen: str
) -> None:
    monkeypatch.setattr(windows, "BLOCK", block)
    rows = np.arange(900, dtype=np.int16).reshape(300, 3)
    index = window_index(np.arange(300) % 2 if alternating else np.zeros(300, int), 4, 3)
    if chosen == "few":  # far apart: taken by their places
        index = index.of(np.arange(len(index)) % 40 == 0)
    order = np.argsort(np.arange(300) % 2, kind="stable") if alternating else np.arange(300)
    expected = [rows[order[first : first + 4]].ravel() for first in index.starts]
    these = Windows(rows, index)
    found = list(these.blocks())
    assert np.array_equal(np.concatenate(found), expected)
    assert these.shape == (len(index), 12) and these.dtype == np.int16 and these.whole is None
    assert len(found) == -(-len(index) // max(1, block // 12))
    once = np.unique([order[first + step] for first in index.starts for step in range(4)])
    assert np.array_equal(np.concatenate(list(these.each.blocks())), rows[once])
    np.save(tmp_path / "rows.npy", rows)
    stored = open_array(tmp_path / "rows.npy")
    assert not isinstance(stored, np.ndarray)
    assert np.array_equal(np.concatenate(list(Windows(stored, index).blocks())), expected)


def test_windows_of_none_have_no_blocks() -> None:
    index = WindowIndex(starts=np.empty(0, np.int64), length=3, count=10)
    assert list(Windows(np.zeros((10, 2)), index).blocks()) == [] and not index.covered.any()


def test_segments_of_any_size_give_their_own_windows() -> None:
    index = window_index(np.repeat([0, 1, 2, 3], [2, 5, 9, 4]), 4, 2)
    assert index.starts.tolist() == [2, 7, 9, 11, 16] and index.order is None
    assert index.counts(np.arange(20) >= 10).tolist() == [0, 1, 3, 4, 4]


# ---------------------------------------------------------------- of a table


def machines(count: int, seed: int) -> pd.DataFrame:
    """Return rows of four machines in turn, one a minute: time, machine, two numbers, a rare anomaly."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=count, freq="min").astype(str),
            "machine": np.array(list("ABCD"))[np.arange(count) % 4],
            "power": generator.normal(size=count).round(3),
            "heat": generator.normal(size=count).round(3) * 50,
            "label": (generator.random(count) < 0.02).astype(int),
        }
    )


def by_hand(frame: pd.DataFrame, length: int, stride: int) -> list[tuple[np.ndarray, int]]:
    """Return the windows without a gap of each machine, and whether an anomaly is in them."""
    found = []
    for _, own in frame.groupby("machine"):
        for first in range(0, len(own) - length + 1, stride):
            window = own[first : first + length]
            if not window[["power", "heat"]].isna().any(axis=None):
                found.append((window[["power", "heat"]].to_numpy(), int(window["label"].max())))
    return found


def raw_windows(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return scaled windows as raw ones, ``[M, length, 2]``, rounded to the digits of the file."""
    scaling = dataset.scaling
    return np.round(rows * scaling.divisor + scaling.offset, 3).reshape(len(rows), *dataset.shape)


def all_of(made: np.ndarray, windows: list[np.ndarray]) -> bool:
    """Return whether each made window is one of ``windows``."""
    known = np.stack(windows)
    return len(made) > 0 and all(np.abs(known - one).max((1, 2)).min() < 2e-3 for one in made)


def test_windows_of_a_table_cross_no_group_and_no_gap_and_know_their_labels(tmp_path: Path) -> None:
    frame = machines(800, 0)
    frame.loc[[100, 101, 402], "heat"] = np.nan
    frame.loc[402, "label"] = 1
    frame.to_csv(tmp_path / "rows.csv", index=False)
    request = Request(
        source="rows.csv", directory=tmp_path, window=6, stride=2, split_by="group:machine", split=(0.5, 0.25, 0.25),
        missing="drop", dates="drop", label="label", scaling="standard",
    )  # fmt: skip
    dataset = load(request)
    assert dataset.shape == (6, 2) and dataset.inputs == ("power", "heat") and dataset.group == "machine"
    windows = by_hand(frame, 6, 2)
    anomalous = [window for window, label in windows if label]
    assert dataset.labels is not None and dataset.labels.sum() == len(anomalous)
    assert all_of(raw_windows(dataset, dataset.test[dataset.labels == 1]), anomalous)
    usual = [window for window, label in windows if not label]
    for rows in (dataset.train, dataset.validation, dataset.test[dataset.labels == 0]):
        assert all_of(raw_windows(dataset, rows), usual)
    count = int(frame["label"].drop([100, 101, 402]).sum())
    assert f"{count} rows labelled as anomalies are in no training rows" in dataset.decisions
    assert not any("order of time" in decision for decision in dataset.decisions)

    more = machines(120, 1)
    more.to_csv(tmp_path / "test.csv", index=False)
    given = load(replace(request, test="test.csv"))
    expected = by_hand(more, 6, 2)
    assert len(given.test) == len(expected) and all_of(raw_windows(given, given.test), [one for one, _ in expected])
    assert given.labels is not None and given.labels.sum() == sum(label for _, label in expected)
    more.drop(columns="machine").to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match=r"test\.csv: lacks column 'machine', the groups of the model's windows"):
        load(replace(request, test="test.csv"))


def test_a_table_that_is_not_in_the_order_of_its_dates_is_reported(tmp_path: Path) -> None:
    machines(100, 0)[::-1].to_csv(tmp_path / "rows.csv", index=False)
    request = Request(source="rows.csv", directory=tmp_path, split_by="order", dates="drop", label="label")
    assert "rows are not in the order of time: row 1 is earlier than row 0; sort them" in load(request).decisions


def test_gaps_of_a_series_of_single_values_are_filled_or_left_out(tmp_path: Path) -> None:
    series = np.arange(100.0)
    series[30] = np.nan
    np.save(tmp_path / "rows.npy", series)
    request = Request(source="rows.npy", directory=tmp_path, window=5, scaling="none")
    filled, dropped = load(replace(request, missing="median")), load(replace(request, missing="drop"))
    assert (len(filled.train), len(dropped.train)) == (76, 71)
    assert filled.shape == dropped.shape == (5, 1)
    assert np.median(np.delete(series[:80], 30)) == filled.train[26, 4] == filled.train[30, 0]
    assert not np.isnan(dropped.train).any() and (np.diff(dropped.train) == 1).all()


def test_rows_of_several_machines_that_alternate_are_reported(tmp_path: Path) -> None:
    frame = machines(160, 0)[["machine", "power", "heat"]]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.sort_values("machine").to_csv(tmp_path / "sorted.csv", index=False)
    clause = (
        "windows hold rows of several texts of column machine, which alternate; --split-by group:machine makes them of "
        "one each"
    )
    request = Request(source="rows.csv", directory=tmp_path, window=4)
    assert clause in load(request).decisions
    for other in (
        replace(request, split_by="group:machine"), replace(request, source="sorted.csv"), replace(request, window=0),
    ):  # fmt: skip
        assert clause not in load(other).decisions


def test_a_table_without_names_has_a_group_by_its_number(tmp_path: Path) -> None:
    machines(100, 0)[["power", "machine", "heat"]].to_csv(tmp_path / "rows.csv", index=False, header=False)
    dataset = load(Request(source="rows.csv", directory=tmp_path, split_by="group:1", window=3))
    assert dataset.shape == (3, 2) and len(dataset.train) == 46
