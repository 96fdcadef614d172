"""The rows of a table: which split each is in, and which inputs they have there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aecompress.data.base import Raw, Request
from aecompress.data.dataset import Dataset, load
from aecompress.data.frames import table_of
from aecompress.data.tables import encoded_rows
from aecompress.errors import DataError

DRAWS = np.random.default_rng(0)
N = 100
FRAME = pd.DataFrame(DRAWS.normal(size=(N, 3)), columns=["a", "b", "c"])
LABEL = np.where(np.arange(N) % 10 == 3, "anomaly", "normal")


def loaded(frame: pd.DataFrame, test: pd.DataFrame | None = None, **request: Any) -> Dataset:
    given = Raw(name="X", train=table_of(frame), test=None if test is None else table_of(test))
    return load(Request(**{"source": "X", "scaling": "none", **request}), given)


def test_a_tidy_table_has_the_bits_of_its_array(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    np.save(tmp_path / "rows.npy", FRAME.to_numpy())
    table, array = (load(Request(source=str(tmp_path / name))) for name in ("rows.csv", "rows.npy"))
    assert table.fingerprint == array.fingerprint and table.decisions == ()
    assert all(np.array_equal(table.splits[name], rows) for name, rows in array.splits.items())
    assert table.inputs == ("a", "b", "c") and table.encoding is not None and table.encoding.plain


def test_inputs_of_all_splits_are_those_of_the_training_rows_encoding() -> None:
    frame = FRAME.assign(kind=np.where(np.arange(N) % 2, "x", "y"))
    dataset = loaded(frame)
    rows = pd.concat([frame[["a", "b", "c"]], pd.get_dummies(frame["kind"])], axis=1).to_numpy(np.float32)
    assert dataset.inputs == ("a", "b", "c", "kind=x", "kind=y")
    for part in dataset.splits.values():
        assert all((row == rows).all(1).any() for row in part)
    assert sum(map(len, dataset.splits.values())) == N


def test_anomalies_are_test_rows_alone_and_their_labels_fit_them() -> None:
    dataset = loaded(FRAME.assign(label=LABEL), label="label")
    assert dataset.inputs == ("a", "b", "c") and dataset.labels is not None
    anomalies = FRAME.to_numpy(np.float32)[LABEL == "anomaly"]
    found = (dataset.test[:, None] == anomalies).all(2).any(1)
    assert dataset.labels.tolist() == found.tolist() and found.sum() == len(anomalies)
    for part in (dataset.train, dataset.validation):
        assert not (part[:, None] == anomalies).all(2).any()


def test_a_test_table_has_labels_of_its_own_and_anomalies_elsewhere_are_left_out() -> None:
    frame, test = FRAME.assign(label=LABEL), FRAME.head(20).assign(label=1)
    test.loc[:5, "label"] = 0
    dataset = loaded(frame.assign(label=(LABEL == "anomaly").astype(int)), test, label="label")
    assert sum(map(len, dataset.splits.values())) == 90 + 20
    assert dataset.labels is not None and dataset.labels.tolist() == [0] * 6 + [1] * 14
    assert np.array_equal(dataset.test, FRAME.head(20).to_numpy(np.float32))


def test_one_kind_of_test_row_gives_no_labels() -> None:
    dataset = loaded(FRAME.assign(label=0), label="label")
    assert dataset.labels is None and "all test rows are normal, so there is no AUROC" in dataset.decisions


def test_rows_with_missing_cells_are_dropped_or_filled() -> None:
    frame = FRAME.mask(DRAWS.random(FRAME.shape) < 0.1)
    whole = frame.notna().all(axis=1)
    dropped, filled = loaded(frame, missing="drop"), loaded(frame, missing="mean")
    kept = np.concatenate(list(dropped.splits.values()))
    assert sorted(kept.tolist()) == sorted(frame[whole].to_numpy(np.float32).tolist())
    assert f"{(~whole).sum()} rows with missing cells left out" in dropped.decisions
    assert sum(map(len, filled.splits.values())) == N
    means = {column.name: column.fill for column in filled.encoding.columns}  # type: ignore[union-attr]
    known = frame.to_numpy(np.float32)
    train = [
        row for row in known if any(np.array_equal(row, other, equal_nan=True) for other in unfilled(filled, means))
    ]
    assert np.allclose(np.nanmean(np.array(train, float), axis=0), list(means.values()), atol=1e-6)  # type: ignore[arg-type]


def unfilled(dataset: Dataset, fills: Any) -> np.ndarray:
    """Return the training rows with NaN again where a cell was filled."""
    return np.where(dataset.train == np.array(list(fills.values()), np.float32), np.nan, dataset.train)


def test_gaps_of_an_array_are_filled_on_request(tmp_path: Path) -> None:
    rows = FRAME.to_numpy().copy()
    rows[7, 1] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    source = str(tmp_path / "rows.npy")
    with pytest.raises(
        DataError, match=r"row 7, column 1 is nan; .*\nthis works: aecompress prune \S+ --missing median"
    ):
        load(Request(source=source))
    dataset = load(Request(source=source, missing="drop"))
    assert sum(map(len, dataset.splits.values())) == N - 1 and dataset.inputs == ()
    filled = load(Request(source=source, missing="mean"))
    assert sum(map(len, filled.splits.values())) == N and filled.inputs == ()
    with pytest.raises(DataError, match="data.label = 'y': .* has no named columns; give labels with --labels"):
        load(Request(source=source, label="y"))


def test_new_rows_are_matched_dropped_and_reported(tmp_path: Path) -> None:
    encoding = loaded(FRAME.assign(kind="x", label=LABEL, other=1.0).replace({"kind": {}}), label="label").encoding
    assert encoding is not None
    new = FRAME[["c", "b", "a"]].assign(extra=1, other=1.0)
    rows, notes = encoded_rows(Raw(name="X", train=table_of(new)), Request(source="X"), encoding)
    assert np.array_equal(np.concatenate(list(rows.blocks()))[:, :3], FRAME.to_numpy())
    assert notes == ("column 'extra': not of the model, ignored",)
    gaps = new.mask(DRAWS.random(new.shape) < 0.1)
    rows, notes = encoded_rows(
        Raw(name="X", train=table_of(gaps)), Request(source="X"), replace(encoding, missing="drop")
    )
    left = gaps[["a", "b", "c", "other"]].dropna()
    assert np.array_equal(np.concatenate(list(rows.blocks()))[:, :3], left.to_numpy()[:, :3])
    assert f"{N - len(left)} rows with missing cells left out" in notes


def test_windows_and_groups_of_a_table() -> None:
    frame = FRAME.assign(machine=np.repeat(["p", "q"], 50))
    dataset = loaded(frame, window=4, stride=4, split_by="group:machine", split=(0.5, 0.0, 0.5))
    assert dataset.inputs == ("a", "b", "c") and dataset.shape == (4, 3) and dataset.group == "machine"
    halves = [FRAME.to_numpy(np.float32)[first : first + 48].reshape(12, 12) for first in (0, 50)]
    assert any(np.array_equal(dataset.train, half) for half in halves)
    assert any(np.array_equal(dataset.test, half) for half in halves)


def test_dates_that_do_not_vary_are_no_inputs() -> None:
    frame = pd.DataFrame({"time": pd.to_datetime(["2024-01-01"] * N), "a": FRAME["a"]})
    assert loaded(frame, dates="cyclic").inputs == ("a",)
    with pytest.raises(DataError, match="X: no input is left, as its dates do not vary; give more columns"):
        loaded(frame[["time"]], dates="cyclic")


def test_every_row_with_a_gap_cannot_be_dropped() -> None:
    with pytest.raises(DataError, match="X: every row has a missing cell; choose --missing median instead of drop"):
        loaded(FRAME.assign(a=[np.nan] * 50 + [1.0] * 50, b=[1.0] * 50 + [np.nan] * 50), missing="drop")


@pytest.mark.parametrize(
    "request_",
    [
        {"columns": "a,kind,b", "split_by": "group:kind"},
        {"columns": "0-2", "split_by": "group:kind"},
        {"columns": "0-2", "split_by": "group:1"},
        {"columns": "0-2", "label": "kind"},
    ],
)
def test_a_column_of_groups_or_labels_that_columns_names_too_is_no_input(tmp_path: Path, request_: Any) -> None:
    kinds = np.where(np.arange(N) % 2, "normal", "bad")
    FRAME.assign(kind=kinds)[["a", "kind", "b", "c"]].to_csv(tmp_path / "rows.csv", index=False)
    dataset = load(Request(source=str(tmp_path / "rows.csv"), split=(0.5, 0.0, 0.5), **request_))
    assert dataset.inputs == ("a", "b")
    assert sum("column 'kind'" in decision for decision in dataset.decisions) == 1
