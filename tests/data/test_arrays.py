"""Dense rows: checked, and read for a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecompress.data.arrays import checked, read_labels, split_rows
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
        (np.zeros(3), r"here: has shape \(3,\); rows of inputs are needed, shape \(rows, inputs\)"),
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
    splits = split_rows(Raw(name="mine", train=images), request)
    assert [rows.shape for rows in splits] == [(18, 6), (2, 6), (4, 6)]
    assert np.array_equal(splits.test.rows, images[:4].reshape(4, 6))


# ---------------------------------------------------------------- read_labels


def labels_of(tmp_path: Path, labels: list[float], test: str = "test.npy", rows: int = 4) -> np.ndarray:
    np.save(tmp_path / "labels.npy", np.array(labels))
    return read_labels(Request(labels="labels.npy", test=test, directory=tmp_path), rows)


def test_labels_are_zeros_and_ones_one_for_each_test_row(tmp_path: Path) -> None:
    labels = labels_of(tmp_path, [0, 1, 1, 0])
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
        labels_of(tmp_path, labels, test)
