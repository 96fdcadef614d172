"""Dense rows: checked, and read for a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecompress.data.arrays import checked, digest_of, labels_of, read_labels, scale_rows, split_rows
from aecompress.data.base import Raw, Request
from aecompress.errors import DataError


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint64", "float16", "float32", "float64"])
def test_finite_numbers_pass_the_check_untouched(dtype: str) -> None:
    rows = np.ones((2, 3), dtype)
    assert checked("here", rows) is rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([["a", "b"]]), "here: holds values of type <U1, not numbers"),
        (np.array([[1 + 2j]]), "here: holds values of type complex128, not numbers"),
        (np.array([["2024-01-01"]], "datetime64[D]"), r"here: holds values of type datetime64\[D\], not numbers"),
        (np.zeros((2, 2), [("a", "f4")]), "here: holds values of type .*, not numbers"),
        (np.zeros(3), r"here: has shape \(3,\); rows of inputs are needed, shape \(rows, inputs\); of a series, --win"),
        (np.array(3.0), r"here: has shape \(\); rows of inputs are needed"),
        (np.zeros((0, 3)), r"here: has shape \(0, 3\), so no values"),
        (np.zeros((3, 0)), r"here: has shape \(3, 0\), so no values"),
        (np.zeros((3, 0, 2)), r"here: has shape \(3, 0, 2\), so no values"),
    ],
    ids=["text", "complex", "dates", "records", "1-D", "0-D", "no rows", "no inputs", "no pixels"],
)
def test_rows_that_are_not_a_table_of_numbers_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked("here", rows)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_first_value_that_is_not_finite_is_named(value: float, dtype: str) -> None:
    rows = np.zeros((4, 2, 3), dtype)
    rows[2, 1, 1] = rows[3, 0, 0] = value
    with pytest.raises(DataError, match=rf"here: row 2, column 4 is {value}; remove or fill in such values first"):
        checked("here", rows)


# ---------------------------------------------------------------- split_rows


def test_rows_are_flattened_and_given_files_are_taken_whole(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((20, 2, 3))
    np.savez(tmp_path / "more.npz", other=images[:4])
    request = Request(source="mine", test="more.npz:other", directory=tmp_path)
    splits = split_rows(Raw(name="mine", train=images), request).splits
    assert [rows.shape for rows in splits] == [(18, 6), (2, 6), (4, 6)]
    assert np.array_equal(splits.test.rows, images[:4].reshape(4, 6))


def rows_of(rows: np.ndarray, **fields: object) -> list[np.ndarray]:
    """Return the rows or windows of each split."""
    splits = split_rows(Raw(name="mine", train=rows), Request(source="mine", **fields)).splits
    return [np.concatenate([np.empty((0, part.shape[1])), *part.blocks()]) for part in splits]


def test_a_series_of_one_value_a_row_has_windows_of_one_channel() -> None:
    values = np.arange(100.0)
    partition = split_rows(Raw(name="mine", train=values), Request(source="mine", window=5, stride=5))
    assert partition.shape == (5, 1)
    train, validation, test = rows_of(values, window=5, stride=5)
    assert np.array_equal(np.concatenate([train, validation, test]), values.reshape(20, 5))
    images = split_rows(Raw(name="mine", train=np.zeros((100, 2, 3))), Request(source="mine", window=5))
    assert images.shape == (5, 2, 3) and images.splits.train.shape == (76, 30)


def test_the_column_of_the_groups_is_no_input(tmp_path: Path) -> None:
    rows = np.c_[np.arange(40.0), np.repeat(np.arange(8), 5), -np.arange(40.0)]
    named = Raw(name="mine", train=rows, inputs=("time", "pump", "back"))
    for request in (Request(split_by="group:pump"), Request(split_by="group:1")):
        partition = split_rows(named, request)
        assert partition.inputs == ("time", "back") and partition.shape == (2,)
        assert np.array_equal(np.sort(np.concatenate(list(partition.splits.train.blocks()))[:, 0]) % 5, [*range(5)] * 6)
    np.save(tmp_path / "test.npy", rows[:15])
    given = split_rows(named, Request(split_by="group:pump", window=4, test="test.npy", directory=tmp_path))
    assert given.splits.test.shape == (6, 8)


@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        (np.zeros((9, 2)), {"split_by": "group:pump"}, r"'group:pump': mine has columns 0 to 1; name one"),
        (np.zeros((9, 2)), {"split_by": "group:2"}, r"'group:2': mine has columns 0 to 1; name one"),
        (np.zeros((9, 1)), {"split_by": "group:0"}, r"'group:0': mine has columns 0 to 0; name one"),
        (np.zeros((9, 2)), {"split_by": "file"}, r"data\.split_by = 'file': mine is one file; give several, or choose"),
    ],
)
def test_a_split_that_the_rows_do_not_allow_is_refused(rows: np.ndarray, fields: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows_of(rows, **fields)


def test_windows_are_scaled_by_what_each_channel_has_in_all_training_rows() -> None:
    series = np.random.default_rng(0).normal(size=(200, 3)) * (1, 10, 100)
    request = Request(source="mine", window=4, stride=2, scaling="standard")
    scaling, scaled = scale_rows(split_rows(Raw(name="mine", train=series), request).splits, request)
    mean, deviation = series[:160].mean(0), series[:160].std(0)
    assert np.allclose(scaling.offset, np.tile(mean, 4)) and np.allclose(scaling.divisor, np.tile(deviation, 4))
    by_hand = np.stack([((series - mean) / deviation)[first : first + 4].ravel() for first in range(0, 157, 2)])
    assert np.allclose(scaled.train, by_hand, atol=1e-6) and scaled.train.dtype == np.float32
    one = scale_rows(split_rows(Raw(name="mine", train=series[:, 0]), request).splits, request)[0]
    assert one.offset == pytest.approx(mean[0]) and one.divisor == pytest.approx(deviation[0])


def test_the_digest_of_windows_depends_on_rows_and_places() -> None:
    series = np.random.default_rng(0).normal(size=(200, 2))

    def digest(rows: np.ndarray, **fields: int) -> str:
        request = Request(source="mine", **fields)
        return digest_of(split_rows(Raw(name="mine", train=rows), request).splits)

    other = series.copy()
    other[-1, 0] += 1
    digests = [digest(series, window=4), digest(series, window=5), digest(series, window=4, stride=2)]
    assert len({*digests, digest(other, window=4)}) == 4 and digest(series.copy(), window=4) == digests[0]


# ---------------------------------------------------------------- read_labels


def written(tmp_path: Path, labels: list[float], test: str = "test.npy", rows: int = 4) -> np.ndarray:
    np.save(tmp_path / "labels.npy", np.array(labels))
    return read_labels(Request(labels="labels.npy", test=test, directory=tmp_path), rows)


def test_labels_are_zeros_and_ones_one_for_each_test_row(tmp_path: Path) -> None:
    labels = written(tmp_path, [0, 1, 1, 0])
    assert labels.dtype == np.int8 and labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("labels", "test", "message"),
    [
        ([0, 1, 1, 0], "", r"data\.labels = 'labels\.npy': are for the rows of data\.test; name those too"),
        ([0, 1, 1], "test.npy", r"labels\.npy: has 3 labels for the 4 rows of test\.npy; give one a row"),
        ([0, 1, 2, 0], "test.npy", r"labels\.npy: holds \[0, 1, 2\]; 0 \(normal\) and 1 \(anomaly\) are needed"),
        ([1, 1, 1, 1], "test.npy", r"labels\.npy: holds \[1\]; 0 \(normal\) and 1 \(anomaly\) are needed"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: list[float], test: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        written(tmp_path, labels, test)


def test_a_test_window_is_an_anomaly_where_one_of_its_rows_is(tmp_path: Path) -> None:
    np.save(tmp_path / "test.npy", np.arange(12.0))
    request = Request(window=3, stride=3, test="test.npy", labels="labels.npy", directory=tmp_path)
    test = split_rows(Raw(name="mine", train=np.arange(99.0)), request).splits.test
    np.save(tmp_path / "labels.npy", np.arange(12) == 4)
    assert labels_of(request, test).tolist() == [0, 1, 0, 0]
    np.save(tmp_path / "labels.npy", np.arange(12) % 2)
    with pytest.raises(
        DataError, match=r"labels\.npy: every window of 3 rows has an anomaly; choose a smaller --window"
    ):
        labels_of(request, test)
