"""Tables of text: CSV and its relatives, parsed by polars block by block."""

from __future__ import annotations

import csv
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import BinaryIO, NamedTuple

import numpy as np
import polars as pl

from aecompress.data.base import Part
from aecompress.data.sources.blocks import ahead, collected, mapped
from aecompress.data.sources.cells import Doubles, Reading, infer, values_of
from aecompress.data.sources.dialect import Dialect, dialect_of
from aecompress.data.sources.text import Text
from aecompress.data.sources.wide import Wide, wide_of
from aecompress.data.table import Table
from aecompress.errors import DataError
from aecompress.parsing import decimal, quoted

_FILTERS = threading.Lock()


def parse_csv(where: str, file: BinaryIO, part: Part) -> Table:
    """Return the table of a file.

    Raises:
        DataError: naming the line and what is wrong with it, or the memory that the rows would take.
    """
    return collected(where, tables(where, file, part), "has a header and no rows")


def tables(where: str, file: BinaryIO, part: Part) -> Iterator[Table]:
    """Return the rows of a file block by block; the columns of the last table hold for all.

    The texts of a column only grow, so places of earlier tables stay right; numbers of unread cells are of all so far.

    Raises:
        DataError: naming the line and what is wrong with it.
    """
    text = Text(where, file)
    blocks = ahead(text.blocks())
    number, block = next((lines for lines in blocks if not lines[1].isspace()), (0, b""))
    if not block:
        raise DataError(f"{where}: has no rows; give at least two")
    dialect = dialect_of(where, block, part)
    number, block = _below(number, block, dialect.skip)
    reader = _Blocks(where, dialect, part)
    reader.infer(number, block)
    for parsed in mapped(reader.parse, chain([(number, block)], blocks)):
        if parsed is None:
            continue
        cells = reader.cells(parsed)
        if reader.changed:
            notes = [*dialect.notes, *(note for reading in reader.readings for note in reading.notes())]
            columns = tuple(reading.column for reading in reader.readings)
            reader.changed = False
        assumed = [f"its text is taken as {text.encoding}"] if text.encoding != "UTF-8" else []
        yield Table(cells=cells, columns=columns, named=dialect.names is not None, notes=(*assumed, *notes))


class _Parsed(NamedTuple):
    """Lines of text, parsed."""

    number: int
    """Of the first line."""
    block: bytes
    """The lines that were read."""
    frame: pl.DataFrame | Wide | None
    """None: there are only blank ones."""
    numbers: list[int] | None
    """Of the lines, where these are not all of the block."""


def _below(number: int, block: bytes, skip: int) -> tuple[int, bytes]:
    """Return a block without its first lines, and the number of the first that is left."""
    place = 0
    for _ in range(skip):
        place = block.find(b"\n", place) + 1
        if not place:
            return number + skip, b""
    return number + skip, block[place:]


class _Blocks:
    """A reader of blocks of lines, whose columns are inferred from the first."""

    def __init__(self, where: str, dialect: Dialect, part: Part) -> None:
        names = dialect.names or ("",) * dialect.columns
        header = list(names) if dialect.names is not None else None
        chosen = choose_columns(where, part.columns, header, dialect.columns)
        self.where, self.dialect = where, dialect
        self.changed = True
        """Whether the last block may have changed what is known of the columns."""
        self.readings = [
            Reading(place, names[place], decimal_comma=dialect.decimal_comma)
            for place in (range(dialect.columns) if chosen is None else chosen)
        ]

    def infer(self, number: int, block: bytes) -> None:
        """Set what the columns hold from the lines of a block, of which the first has that number.

        Raises:
            DataError: a line has another number of cells than the first.
        """
        block = _normal(block, self.dialect)
        if (broad := wide_of(block, self.dialect)) is not None:
            unread = np.asarray(np.isnan(broad.values).any(0))
            for reading in self.readings:
                if unread[reading.place]:
                    infer(reading, broad.texts(np.arange(len(broad.values)), reading.place))
            return
        frame, _, _ = self._lines(number, block, {*range(self.dialect.width)})
        if frame is None:
            return
        for reading in self.readings:
            infer(reading, frame[_called(reading.place)])

    def parse(self, lines: tuple[int, bytes]) -> _Parsed | None:
        """Return the lines of a block, of which the first has that number, as columns; None where all are blank.

        Raises:
            DataError: a line has another number of cells than the first.
        """
        number, block = lines
        if not block or block.isspace():
            return None
        block = _normal(block, self.dialect)
        if (broad := wide_of(block, self.dialect)) is not None:
            return _Parsed(number, block, broad, None)
        frame, block, numbers = self._lines(number, block, self._texts(block))
        return _Parsed(number, block, frame, numbers)

    def _texts(self, block: bytes) -> set[int]:
        """Return the places of the columns that are read as texts."""
        if self.dialect.decimal_comma and b"." in block:
            return {reading.place for reading in self.readings}
        return {reading.place for reading in self.readings if reading.holds != "number"}

    def cells(self, parsed: _Parsed) -> Doubles:
        """Return the chosen cells of parsed lines ``[N, C]``."""
        number, block, frame, numbers = parsed
        if isinstance(frame, Wide):
            return self._read_wide(number, frame)
        self.changed = True
        if frame is None:
            return np.empty((0, len(self.readings)))
        texts = self._texts(block)
        frame = frame.select([_called(reading.place) for reading in self.readings])
        nulls = dict(zip(frame.columns, frame.null_count().row(0), strict=True))
        if not texts and not any(nulls.values()):
            cells = frame.to_numpy(order="c")
            self._name_missing(number, block, cells, numbers)
            return cells
        cells = np.empty((len(frame), len(self.readings)))
        again = {reading.place for reading in self.readings if nulls[_called(reading.place)]} - texts
        strings = self._frame(block, again, only=True) if again else None
        for column, reading in enumerate(self.readings):
            series, into = frame[_called(reading.place)], cells[:, column]
            if reading.place in texts or (reading.place in again and strings is not None):
                source = series if strings is None or reading.place in texts else strings[_called(reading.place)]
                into[:], unread = values_of(reading, source)
                reading.unread += int(unread.sum())
                if not reading.example and unread.any():
                    numbers = numbers or self._tidy(number, block)[1]
                    row = int(unread.argmax())
                    reading.example = f"line {numbers[row]} is {source[row].strip()[:40]!r}"
            else:
                into[:] = series.to_numpy()
        self._name_missing(number, block, cells, numbers)
        return cells

    def _read_wide(self, number: int, broad: Wide) -> Doubles:
        """Return the chosen cells of lines of very many ``[N, C]``, of which the first has that number."""
        cells = broad.values[:, [reading.place for reading in self.readings]]
        missing = np.isnan(cells)
        for column in np.flatnonzero(missing.any(0)).tolist():
            reading = self.readings[column]
            rows = np.flatnonzero(missing[:, column]) if reading.holds == "number" else np.arange(len(cells))
            source = broad.texts(rows, reading.place)
            values, unread = values_of(reading, source)
            cells[rows, column] = values
            reading.unread += int(unread.sum())
            self.changed = True
            if not reading.example and np.isnan(values).any():
                at = int((unread if unread.any() else np.isnan(values)).argmax())
                is_what = repr(source[at].strip()[:40]) if unread.any() else "empty"
                reading.example = f"line {number + int(rows[at])} is {is_what}"
        return cells

    def _name_missing(self, number: int, block: bytes, cells: Doubles, numbers: list[int] | None) -> None:
        """Name the first missing cell of each column that has no example yet."""
        missing = np.isnan(cells)
        if not missing.any():
            return
        for column, reading in enumerate(self.readings):
            if not reading.example and missing[:, column].any():
                numbers = numbers or self._tidy(number, block)[1]
                reading.example = f"line {numbers[int(missing[:, column].argmax())]} is empty"

    def _lines(self, number: int, block: bytes, texts: set[int]) -> tuple[pl.DataFrame | None, bytes, list[int] | None]:
        """Return lines as columns, None where there are only blank ones; the lines that were read; and, where these
        are fewer, their numbers.

        Raises:
            DataError: a line has another number of cells than the first.
        """
        frame = self._frame(block, texts)
        plain = not (self.dialect.comments and b"#" in block)
        if (
            plain
            and frame is not None
            and (not frame[_called(self.dialect.width - 1)].has_nulls() or self._even(block, len(frame)))
        ):
            return frame, block, None
        lines, numbers = self._tidy(number, block)
        frame = self._frame(lines, texts)
        if numbers and (frame is None or len(frame) != len(numbers)):
            raise DataError(
                f"{self.where}: lines {numbers[0]} to {numbers[-1]} have quotes that do not match; correct them"
            )
        return frame, lines, numbers

    def _frame(self, lines: bytes, texts: set[int], only: bool = False) -> pl.DataFrame | None:
        """Return lines as columns of numbers, those of ``texts`` as texts; None where a line has too many cells."""
        dialect = self.dialect
        if not lines or lines.isspace():
            return None
        schema = {_called(place): pl.String if place in texts else pl.Float64 for place in range(dialect.width)}
        wanted = texts if only else {reading.place for reading in self.readings} | {dialect.width - 1}
        quoted_cells = b'"' in lines
        try:
            with _silent() if quoted_cells else nullcontext():
                return pl.read_csv(
                    lines,
                    has_header=False,
                    schema=schema,
                    columns=None if len(wanted) == dialect.width else [_called(place) for place in sorted(wanted)],
                    separator=dialect.delimiter,
                    quote_char='"' if quoted_cells else None,
                    ignore_errors=True,
                    decimal_comma=dialect.decimal_comma,
                )
        except (pl.exceptions.PolarsError, UserWarning):
            return None

    def _even(self, lines: bytes, rows: int) -> bool:
        """Return whether lines have as many cells as the first, where that is seen from their delimiters."""
        if b'"' in lines or self.dialect.width == 1:
            return False
        return lines.count(self.dialect.delimiter.encode()) == rows * (self.dialect.width - 1)

    def _tidy(self, number: int, lines: bytes) -> tuple[bytes, list[int]]:
        """Return lines without blank ones and comments, and their numbers.

        Raises:
            DataError: a line has another number of cells than the first.
        """
        kept: list[bytes] = []
        numbers: list[int] = []
        width, mark = self.dialect.width, self.dialect.delimiter.encode()
        for first, line in logical_lines(number, lines):
            if not (line.strip() or mark in line) or (self.dialect.comments and line.lstrip().startswith(b"#")):
                continue
            cells = line.count(mark) + 1
            if b'"' in line:
                cells = len(next(csv.reader([line.decode().replace("\n", " ")], delimiter=self.dialect.delimiter)))
            if cells != width and line.lstrip().startswith(b"#"):
                continue  # a comment, as some programs end a file with
            if cells != width:
                raise DataError(
                    f"{self.where}: line {first} has {cells} cells, the first line {width}; give every line as many"
                )
            kept.append(line)
            numbers.append(first)
        return b"\n".join(kept) + b"\n" * bool(kept), numbers


@contextmanager
def _silent() -> Iterator[None]:
    """Leave out what polars warns of: quotes that do not match, of which lines have other widths.

    Filters of warnings are of the whole process, so one thread at a time sets them.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _called(place: int) -> str:
    return f"column_{place + 1}"


def _normal(block: bytes, dialect: Dialect) -> bytes:
    """Return lines whose cells are separated by the delimiter alone."""
    if dialect.delimiter == " ":
        return re.sub(rb"(?m)[ \t]+$", b"", re.sub(rb"(?m)^ +", b"", re.sub(rb"[ \t]+", b" ", block)))
    mark = dialect.delimiter.encode()
    if not dialect.spaced:
        return block
    return block.replace(mark + b' "', mark + b'"') if b'"' in block else block.replace(mark + b" ", mark)


def logical_lines(number: int, lines: bytes) -> Iterator[tuple[int, bytes]]:
    """Return lines with their numbers, from ``number``; the next is part of one that ends within quotes."""
    held, first = b"", number
    for line in lines.split(b"\n"):
        held = held + b"\n" + line if held else line
        number += 1
        if held.count(b'"') % 2 == 0:
            yield first, held
            held, first = b"", number
    if held:
        yield first, held


def choose_columns(where: str, columns: str, header: list[str] | None, width: int) -> list[int] | None:
    """Return the numbers of the columns that ``columns`` names, each once; None for all.

    Args:
        columns: comma-separated header names, or numbers and ranges from 0 (``0,3-5``); empty for all.
        header: the names of the ``width`` columns, where they have names.

    Raises:
        DataError: a name or number that the file does not have.
    """
    if not columns:
        return None
    chosen: list[int] = []
    for part in (part.strip() for part in columns.split(",")):
        start, dash, end = part.partition("-")
        first, last = decimal(start), decimal(end if dash else start)
        if header is not None and part in header:
            chosen.append(header.index(part))
        elif first is not None and last is not None and first <= last < width:
            chosen += range(first, last + 1)
        else:
            has = ", ".join(header) if header is not None else f"columns 0 to {width - 1}"
            raise DataError(
                f"{where}: has no column {quoted(repr(part))} (data.columns, --columns); it has {quoted(has)}"
            )
    return list(dict.fromkeys(chosen))
