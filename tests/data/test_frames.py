"""Frames of pandas, polars and pyarrow as tables: each against what the library itself says of its cells."""

from __future__ import annotations

import datetime
import subprocess
import sys
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from aecompress.data.frames import is_frame, table_of
from aecompress.errors import DataError

BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS: dict[str, list[Any]] = {
    "float": [1.5, None, -3.0],
    "int": [1, None, 3],
    "bool": [True, None, False],
    "text": ["a", None, "b"],
    "decimal": [Decimal("1.5"), None, Decimal(2)],
    "time": [datetime.datetime(2024, 1, 1, 1), datetime.datetime(1960, 2, 1), None],
    "zone": [datetime.datetime(2024, 7, 1, tzinfo=BERLIN), None, datetime.datetime(2024, 1, 1, tzinfo=BERLIN)],
    "day": [datetime.date(2024, 1, 2), None, datetime.date(1970, 1, 1)],
}
"""Three cells of each kind; the third time is missing, of the others the second."""


def utc(*moment: int) -> float:
    return datetime.datetime(*moment, tzinfo=datetime.UTC).timestamp()  # type: ignore[misc,arg-type]


NAN = float("nan")
EXPECTED = {
    "float": ("number", [1.5, NAN, -3]),
    "int": ("number", [1, NAN, 3]),
    "bool": ("boolean", [1, NAN, 0]),
    "text": ("text", [0, NAN, 1]),
    "decimal": ("number", [1.5, NAN, 2]),
    "time": ("date", [utc(2024, 1, 1, 1), utc(1960, 2, 1), NAN]),
    "zone": ("date", [utc(2024, 6, 30, 22), NAN, utc(2023, 12, 31, 23)]),
    "day": ("date", [utc(2024, 1, 2), NAN, 0]),
}
FRAMES = {
    "pandas objects": lambda: pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in COLUMNS.items()}),
    "pandas own types": lambda: pd.DataFrame(
        {
            "float": np.array([1.5, NAN, -3]),
            "int": pd.array([1, None, 3], dtype="Int32"),
            "bool": pd.array([True, None, False], dtype="boolean"),
            "text": pd.Categorical(["a", None, "b"], categories=["unused", "b", "a"]),
            "decimal": COLUMNS["decimal"],
            "time": pd.to_datetime(COLUMNS["time"]),
            "zone": pd.Series(pd.to_datetime(COLUMNS["zone"], utc=True)).dt.tz_convert("Europe/Berlin"),
            "day": COLUMNS["day"],
        }
    ),
    "pandas of arrow": lambda: pa.table(COLUMNS).to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda: pl.DataFrame(COLUMNS, strict=False),
    "polars lazy": lambda: pl.DataFrame(COLUMNS).with_columns(pl.col("text").cast(pl.Categorical)).lazy(),
    "pyarrow": lambda: pa.table(COLUMNS),
    "pyarrow batch": lambda: pa.record_batch(
        {
            **{name: pa.array(cells) for name, cells in COLUMNS.items()},
            "text": pa.array(["a", None, "b"]).dictionary_encode(),
        }
    ),
    "dict": lambda: COLUMNS,
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_every_library_gives_the_same_table(make: Any) -> None:
    table = table_of(make())
    assert table.named and table.names == tuple(COLUMNS)
    for place, (name, (holds, cells)) in enumerate(EXPECTED.items()):
        assert table.columns[place].holds == holds, name
        np.testing.assert_allclose(table.cells[:, place], cells, rtol=0, atol=1e-6, err_msg=name)
    assert table.columns[3].texts == ("a", "b")


def test_an_array_of_records_and_a_frame_without_names_are_tables() -> None:
    records = table_of(np.array([(1, 2), (3, 4)], dtype=[("a", "f4"), ("b", "i2")]))
    assert records.names == ("a", "b") and records.cells.tolist() == [[1, 2], [3, 4]]
    numbered = table_of(pd.DataFrame([[1, 2], [3, 4]]))
    assert not numbered.named and numbered.names == ("", "") and numbered.cells.tolist() == [[1, 2], [3, 4]]
    assert table_of(pd.Series([1, 2], name="a")).names == ("a",)
    assert table_of({"wait": np.array([90, 30], "m8[m]")}).cells.tolist() == [[5400], [1800]]
    assert table_of({"wait": ["x", 7, "x"]}).columns[0].texts == ("x", "7")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame(), "has no columns"),
        ({"a": [1, 2], "b": [1]}, "'b' has 1 cells, the first one 2"),
        ({"a": [[1, 2], [3, 4]]}, r"'a' cannot be read \(has shape \(2, 2\)"),
        (pd.DataFrame({"a": [[1], [2]]}), "'a' cannot be read .it holds values of type list"),
        (pa.table({"a": [{"b": 1}]}), "'a' cannot be read .it holds values of type dict"),
        (pl.DataFrame({"a": [b"x"]}), "'a' cannot be read .it holds values of type bytes"),
        (pd.DataFrame({"a": [1j]}), "'a' cannot be read .its type is complex128"),
        ([[1, 2]], "is not a frame; give pandas, polars, pyarrow or a dict of columns"),
    ],
)
def test_what_is_no_table_is_refused(frame: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table_of(frame)


def test_arrays_and_lists_are_no_frames_and_no_library_is_imported() -> None:
    assert not is_frame(np.zeros((2, 2))) and not is_frame([[1]]) and is_frame({"a": [1]})
    code = "import sys, aecompress.data.frames as f; f.table_of({'a': [1]}); print([*{*f.READERS} & {*sys.modules}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
