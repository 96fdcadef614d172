"""Parquet, Arrow and JSON, read by polars: their columns as a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import polars as pl

from aecompress.data.base import Part
from aecompress.data.sources.blocks import collected
from aecompress.data.sources.cells import Doubles, Reading, places_of
from aecompress.data.sources.csv_files import choose_columns
from aecompress.data.table import Table
from aecompress.errors import DataError
from aecompress.parsing import quoted

STEP = 1 << 18
"""Values of rows that are converted at once."""
INDEX = "__index_level_0__"
"""The column in which pandas keeps the index of a frame."""
Result = TypeVar("Result")
MOST_WIDE = 1 << 20
"""Columns of a table, lists counted by their length."""


def parquet_tables(where: str, file: BinaryIO, part: Part) -> Iterator[Table]:
    """Return the rows of a Parquet file block by block; the columns of the last table hold for all.

    Raises:
        DataError: damaged, without numbers, or too large.
    """
    if file.read(4) != b"PAR1":
        raise DataError(f"{where}: cannot be read as Parquet (it does not begin with PAR1); write the file again")
    file.seek(0)
    yield from slices(where, "Parquet", lambda: pl.scan_parquet(place_of(file)), part)


def slices(where: str, form: str, scan: Callable[[], pl.LazyFrame], part: Part) -> Iterator[Table]:
    """Return the rows of a file that polars reads in parts, block by block."""
    lazy = guarded(where, form, scan)
    columns = _Columns(where, part, guarded(where, form, lazy.collect_schema))
    step = max(1, STEP // max(1, len(columns.readings)))
    batches = guarded(where, form, lambda: lazy.select(columns.names).collect_batches(chunk_size=step))
    while (frame := guarded(where, form, lambda: next(batches, None))) is not None:
        yield columns.table(frame)


def place_of(file: BinaryIO) -> BinaryIO | Path:
    """Return the path of a file, of which polars then reads parts; the file itself where it has none."""
    name = getattr(file, "name", None)
    return Path(name) if isinstance(name, str) and Path(name).is_file() else file


def arrow_tables(where: str, file: BinaryIO, part: Part) -> Iterator[Table]:
    """Return the rows of an Arrow file or stream block by block; the columns of the last table hold for all.

    Raises:
        DataError: damaged, without numbers, or too large.
    """
    head = file.read(8)
    file.seek(0)
    if head.startswith(b"FEA1"):
        raise DataError(f"{where}: is Feather of version 1; write it again by to_feather of a pandas of today")
    if head.startswith(b"ARROW1"):
        yield from slices(where, "Arrow", lambda: pl.scan_ipc(place_of(file)), part)
    else:
        guarded(where, "Arrow", lambda: check_stream(where, file))
        file.seek(0)
        frame = guarded(where, "Arrow", lambda: pl.read_ipc_stream(place_of(file)))
        yield from blocks_of(where, frame, part)


def check_stream(where: str, file: BinaryIO) -> None:
    """Refuse an Arrow stream that ends within a message, of which polars takes what is there.

    A message is a mark, the size of its description (a table of flatbuffers), this, and a body of the size that its
    fourth field says (https://arrow.apache.org/docs/format/Columnar.html).

    Raises:
        DataError: it does.
        ValueError: it is no such stream.
    """
    size, place = file.seek(0, os.SEEK_END), 0
    while place < size:
        file.seek(place)
        head = file.read(8)
        mark, length = head[:4], int.from_bytes(head[4:], "little", signed=True)
        if mark != b"\xff\xff\xff\xff" or len(head) < 8 or length < 0:
            raise ValueError(f"byte {place} begins no message")
        if not length:
            return
        about = file.read(min(length, size))
        place += 8 + length + (_body(about) if len(about) == length else size)
    if place > size:
        raise DataError(f"{where}: is not whole; write the file again")


def _body(about: bytes) -> int:
    """Return the size of the body that the description of a message says."""
    root = int.from_bytes(about[:4], "little")
    fields = root - int.from_bytes(about[root : root + 4], "little", signed=True)
    if not 0 <= fields <= len(about) - 4 or root + 4 > len(about):
        raise ValueError("its description is damaged")
    offset = int.from_bytes(about[fields + 10 : fields + 12], "little")
    if int.from_bytes(about[fields : fields + 2], "little") < 12 or not offset:
        return 0
    size = int.from_bytes(about[root + offset : root + offset + 8], "little", signed=True)
    if size < 0:
        raise ValueError("its description is damaged")
    return size


def parse_json(where: str, file: BinaryIO, part: Part) -> Table:
    """Return the table of JSON records: one object a line, or a list of objects.

    Raises:
        DataError: it is something else.
    """
    head = file.read(1 << 12).lstrip()
    file.seek(0)
    if head.startswith(b"{") and (b"}\n" in head or b"}\r" in head or not head.rstrip().endswith(b"}}")):
        frame = guarded(where, "JSON", lambda: pl.read_ndjson(file.read(), infer_schema_length=None))
    elif head.startswith(b"["):
        frame = guarded(where, "JSON", lambda: pl.read_json(file.read(), infer_schema_length=None))
    else:
        frame = None
    if frame is None or any(isinstance(kind, pl.Struct) for kind in frame.dtypes):
        raise DataError(
            f"{where}: holds no records, one object for each row; convert it: python -c "
            f'"import pandas; pandas.read_json({where!r}).to_csv({"rows.csv"!r}, index=False)"'
        )
    return collected(where, blocks_of(where, frame, part))


def blocks_of(where: str, frame: pl.DataFrame, part: Part) -> Iterator[Table]:
    """Return the rows of a frame block by block; the columns of the last table hold for all."""
    columns = _Columns(where, part, frame.schema)
    step = max(1, STEP // max(1, len(columns.readings)))
    for start in range(0, len(frame), step):
        yield columns.table(frame.slice(start, step).select(columns.names))


def guarded(where: str, form: str, call: Callable[[], Result]) -> Result:
    """Return what a call of polars gives.

    Raises:
        DataError: polars refuses the file.
    """
    try:
        return call()
    except (DataError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as fault:  # a panic of polars is no Exception
        if isinstance(fault, SystemExit | GeneratorExit):
            raise
        reason = next(iter(str(fault).splitlines()), type(fault).__name__)
        raise DataError(f"{where}: cannot be read as {form} ({quoted(reason)}); write the file again") from fault


class _Columns:
    """The columns of a frame that are taken, each as one or more columns of a table."""

    def __init__(self, where: str, part: Part, schema: pl.Schema) -> None:
        self.where = where
        self.notes = (f"the index of pandas ({INDEX}) is left out",) if INDEX in schema and not part.columns else ()
        header = [name for name in schema if part.columns or name != INDEX]
        chosen = choose_columns(where, part.columns, header, len(header))
        self.names = header if chosen is None else [header[place] for place in dict.fromkeys(chosen)]
        self.readings = [Reading(place, name) for place, name in enumerate(self.names)]
        self.widths: dict[str, int] = {}
        for reading in self.readings:
            kind = schema[reading.name]
            if kind.is_temporal() and kind not in (pl.Time, pl.Duration):
                reading.holds = "date"
            elif isinstance(kind, pl.Boolean):
                reading.holds = "boolean"
            elif isinstance(kind, pl.String | pl.Categorical | pl.Enum):
                reading.holds = "text"
            elif not (kind.is_numeric() or isinstance(kind, pl.Null | pl.List | pl.Array)):
                raise DataError(
                    f"{where}: column {quoted(repr(reading.name))} holds values of type {quoted(kind)}; choose others "
                    "with --columns"
                )

    def table(self, frame: pl.DataFrame) -> Table:
        """Return the rows of a block."""
        parts: list[Doubles] = []
        columns = []
        for reading in self.readings:
            series = frame[reading.name]
            if isinstance(series.dtype, pl.List | pl.Array):
                values = self._lists(reading, series)
                parts.append(values)
                columns += [
                    Reading(place, f"{reading.name}.{place}").column for place in range(self.widths[reading.name])
                ]
                continue
            parts.append(_values(reading, series)[:, None])
            columns.append(reading.column)
        cells = np.empty((len(frame), len(columns)))
        np.concatenate(parts, axis=1, out=cells) if parts else None
        return Table(cells=cells, columns=tuple(columns), named=True, notes=self.notes)

    def _lists(self, reading: Reading, series: pl.Series) -> Doubles:
        """Return lists of numbers of one length as columns: ``[N, length]``.

        Raises:
            DataError: they hold something else, or have several lengths.
        """
        name = quoted(repr(reading.name))
        while isinstance(series.dtype, pl.Array):
            series = series.arr.to_list()
        lengths = series.list.len().unique().drop_nulls().to_list()
        width = self.widths.setdefault(reading.name, lengths[0] if lengths else 0)
        if lengths != [width] or series.has_nulls() or not 0 < width <= MOST_WIDE:
            raise DataError(
                f"{self.where}: the lists of column {name} have several lengths; choose other columns with --columns"
            )
        inner = series.explode()
        if isinstance(inner.dtype, pl.List | pl.Array):
            whole = self._lists(Reading(reading.place, f"{reading.name}[]"), inner)
            self.widths[reading.name] = width * whole.shape[1]
            return whole.reshape(len(series), -1)
        if not (inner.dtype.is_numeric() or isinstance(inner.dtype, pl.Boolean)):
            raise DataError(f"{self.where}: the lists of column {name} hold no numbers; choose others with --columns")
        return _floats(inner).reshape(len(series), width)


def _values(reading: Reading, series: pl.Series) -> Doubles:
    if reading.holds == "text":
        return places_of(reading, series.cast(pl.String))
    if reading.holds == "date":
        return _floats(series.cast(pl.Datetime("us")).dt.timestamp("us")) / 1e6
    return _floats(series)


def _floats(series: pl.Series) -> Doubles:
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
