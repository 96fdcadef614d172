"""Frames of pandas, polars and pyarrow, and dicts of columns, as tables; none of these libraries is imported here."""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.data.table import Column, Holds, Table
from aecompress.errors import DataError
from aecompress.parsing import quoted

Doubles = NDArray[np.float64]
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class Cells(NamedTuple):
    """The cells of one column: float64 ``[N]``, NaN where missing, and what they stand for."""

    values: Doubles
    holds: Holds = "number"
    texts: tuple[str, ...] = ()


def is_frame(value: object) -> bool:
    """Return whether :func:`table_of` takes a value: a frame, a dict of columns, or a NumPy array of records."""
    if isinstance(value, np.ndarray):
        return value.dtype.names is not None
    return isinstance(value, Mapping) or library_of(value) in READERS


def library_of(value: object) -> str:
    """Return the library that a value's class comes from: ``pandas``."""
    return type(value).__module__.partition(".")[0]


def table_of(frame: Any) -> Table:
    """Return a frame of pandas, polars or pyarrow, a dict of columns, or an array of records as a table.

    A pandas index is no column. Numbers as names of columns, as an array without names gets them, are no names.

    Raises:
        DataError: it is none of these, has no columns, or columns of different lengths or of unusable types.
    """
    if not is_frame(frame):
        raise DataError(
            f"rows: {quoted(type(frame))} is not a frame; give pandas, polars, pyarrow or a dict of columns"
        )
    if isinstance(frame, np.ndarray):
        frame = {name: frame[name] for name in frame.dtype.names or ()}
    names, columns, read = parts_of(frame)
    if not names:
        raise DataError("rows: the frame has no columns; give at least one")
    named = any(isinstance(name, str) for name in names)
    cells: Doubles | None = None
    about = []
    for place, (name, column) in enumerate(zip(names, columns, strict=True)):
        try:
            values, holds, texts = read(column)
        except (TypeError, ValueError) as fault:
            raise DataError(f"rows: column {quoted(repr(name))} cannot be read ({quoted(fault)})") from fault
        if cells is None:
            cells = np.empty((len(values), len(names)))
        if len(values) != len(cells):
            raise DataError(
                f"rows: column {quoted(repr(name))} has {len(values)} cells, the first one {len(cells)}; give as many"
            )
        cells[:, place] = values
        about.append(Column(name=str(name) if named else "", holds=holds, texts=texts))
    assert cells is not None
    return Table(cells=cells, columns=tuple(about), named=named)


def parts_of(frame: Any) -> tuple[list[Any], Iterable[Any], Callable[[Any], Cells]]:
    """Return the names of a frame's columns, the columns, and what reads one."""
    if isinstance(frame, Mapping):
        return list(frame), frame.values(), array_cells
    library = library_of(frame)
    if hasattr(frame, "collect") and library == "polars":
        frame = frame.collect()
    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):  # a series
        frame = frame.to_frame()
    if library == "pyarrow":
        return list(frame.column_names), map(frame.column, range(frame.num_columns)), pyarrow_cells
    if library == "polars":
        return list(frame.columns), frame.get_columns(), polars_cells
    names = list(frame.columns)
    return names, (frame.iloc[:, place] for place in range(len(names))), pandas_cells


def array_cells(values: Any) -> Cells:
    """Return the cells of a NumPy array ``[N]``, or of anything that becomes one."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"has shape {array.shape}, not (rows,)")
    if array.dtype.kind in "iuf":
        return Cells(array.astype(np.float64))
    if array.dtype.kind == "b":
        return Cells(array.astype(np.float64), "boolean")
    if array.dtype.kind == "M":
        return Cells(seconds_of(array), "date")
    if array.dtype.kind == "m":
        return Cells(array / np.timedelta64(1, "s"))
    if array.dtype.kind == "U":
        return text_cells(array.tolist())
    if array.dtype.kind == "O":
        return object_cells(array.tolist())
    raise ValueError(f"its type is {array.dtype}")


def seconds_of(dates: NDArray[Any]) -> Doubles:
    """Return NumPy's dates as seconds since 1970, NaN where there is none."""
    unit = np.datetime_data(dates.dtype)[0]
    if unit not in PER_SECOND:
        dates = dates.astype("datetime64[s]")
        unit = "s"
    seconds = dates.astype(f"datetime64[{unit}]").astype(np.int64) / PER_SECOND[unit]
    return np.where(np.isnat(dates), np.nan, seconds)


def pandas_cells(series: Any) -> Cells:
    """Return the cells of a pandas series."""
    dtype, kind = series.dtype, getattr(series.dtype, "kind", "O")
    if hasattr(dtype, "pyarrow_dtype"):
        return pyarrow_cells(series.array.__arrow_array__())
    if hasattr(series, "cat") and str(dtype) == "category":
        return coded_cells(series.cat.codes.to_numpy(), [str(each) for each in series.cat.categories])
    if kind in "iufb":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return Cells(values, "boolean" if kind == "b" else "number")
    if kind == "M":
        if getattr(series.dt, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return Cells(seconds_of(series.to_numpy(dtype="datetime64[ns]")), "date")
    if kind == "m":
        return Cells(series.dt.total_seconds().to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "c":
        raise ValueError(f"its type is {dtype}")
    missing = series.isna().to_numpy()
    values = series.astype(object).to_numpy()
    return object_cells([None if lost else value for value, lost in zip(values, missing, strict=True)])


def polars_cells(series: Any) -> Cells:
    """Return the cells of a polars series."""
    name = str(series.dtype).partition("(")[0]
    if series.dtype.is_numeric() or name == "Boolean":
        values = series.cast(float).to_numpy()
        return Cells(values, "boolean" if name == "Boolean" else "number")
    if name in ("Date", "Datetime"):
        return Cells(series.dt.timestamp("us").cast(float).to_numpy() / PER_SECOND["us"], "date")
    if name == "Duration":
        return Cells(series.dt.total_microseconds().cast(float).to_numpy() / PER_SECOND["us"])
    if name in ("String", "Categorical", "Enum"):
        return text_cells(series.cast(str).to_list())
    return object_cells(series.to_list())


def pyarrow_cells(column: Any) -> Cells:
    """Return the cells of a pyarrow column."""
    name = str(column.type)
    if name.startswith(("int", "uint", "double", "float", "halffloat", "decimal")):
        return Cells(_arrow_doubles(column))
    if name == "bool":
        return Cells(_arrow_doubles(column.cast("uint8")), "boolean")
    if name.startswith("date"):
        column = column.cast("timestamp[ms]")
    if name.startswith(("timestamp", "date")):
        unit = str(column.type).partition("[")[2].rstrip("]").partition(",")[0]
        return Cells(_arrow_doubles(column.cast("int64")) / PER_SECOND[unit], "date")
    if name.startswith("duration"):
        unit = name.partition("[")[2].rstrip("]")
        return Cells(_arrow_doubles(column.cast("int64")) / PER_SECOND[unit])
    if name.startswith("dictionary"):
        return text_cells([None if value is None else str(value) for value in column.to_pylist()])
    return object_cells(column.to_pylist())


def _arrow_doubles(column: Any) -> Doubles:
    values: Doubles = column.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    return values


def coded_cells(codes: NDArray[Any], categories: list[str]) -> Cells:
    """Return the cells of a categorical column, whose codes ``[N]`` are places in its categories; -1 is missing."""
    found, first = np.unique(codes[codes >= 0], return_index=True)
    order = found[np.argsort(first, kind="stable")]
    place = np.full(len(categories) + 1, np.nan)
    place[order] = np.arange(len(order))
    return Cells(place[codes], "text", tuple(categories[code] for code in order))


def text_cells(values: list[str | None]) -> Cells:
    """Return the cells of a column of texts; None is missing."""
    places: dict[str, int] = {}
    cells = [np.nan if value is None else places.setdefault(value, len(places)) for value in values]
    return Cells(np.array(cells, dtype=np.float64), "text", tuple(places))


def object_cells(values: list[Any]) -> Cells:
    """Return the cells of a column of Python objects: booleans, numbers or dates where all are, else texts.

    Raises:
        ValueError: some are lists, dicts, bytes or complex numbers.
    """
    values = [None if is_nothing(value) else value for value in values]
    present = [value for value in values if value is not None]
    if bad := next((value for value in present if isinstance(value, list | dict | bytes | complex | np.ndarray)), None):
        raise ValueError(f"it holds values of type {type(bad).__name__}")
    if all(isinstance(value, bool | np.bool_) for value in present):
        holds: Holds = "boolean" if present else "number"
        return Cells(np.array([np.nan if value is None else value for value in values], dtype=np.float64), holds)
    if all(isinstance(value, numbers.Real | Decimal) for value in present):
        return Cells(np.array([np.nan if value is None else float(value) for value in values]))
    if all(isinstance(value, datetime.date | np.datetime64) for value in present):
        return Cells(np.array([np.nan if value is None else timestamp_of(value) for value in values]), "date")
    return text_cells([None if value is None else str(value) for value in values])


def is_nothing(value: object) -> bool:
    """Return whether a Python object stands for a missing cell: None, NaN, NaT, pandas' NA."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def timestamp_of(value: Any) -> float:
    """Return a date of Python or NumPy as seconds since 1970; without a time zone it is taken as UTC."""
    if isinstance(value, np.datetime64):
        return float(seconds_of(np.array([value]))[0])
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    moment = value if value.tzinfo is not None else value.replace(tzinfo=datetime.UTC)
    return float(moment.timestamp())


READERS = ("pandas", "polars", "pyarrow")
"""Libraries whose frames are read."""
