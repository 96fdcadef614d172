"""CSV files of numbers, gzip or not."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np

from aecompress.data.base import Array, Part
from aecompress.data.sources.gzipped import unpack
from aecompress.data.sources.limits import LONGEST_LINE, check_cells, check_fits, check_line
from aecompress.errors import DataError
from aecompress.parsing import decimal, quoted

csv.field_size_limit(1 << 31)  # a cell of any length gets a message of ours, not an error of the csv module

Line = tuple[int, str]
"""The number of a line, from 1, and its text."""
BLOCK = 1 << 18
"""Bytes of lines that are held as text at once."""


def parse_csv(where: str, file: BinaryIO, part: Part) -> Array:
    """Return rows of comma-separated numbers, float64 ``[N, D]``: those of :func:`parse_named`.

    Raises:
        DataError: as there.
    """
    return parse_named(where, file, part)[1]


def parse_named(where: str, file: BinaryIO, part: Part) -> tuple[tuple[str, ...], Array]:
    """Return the names of the columns, none without a header, and their numbers, float64 ``[N, D]``, block by block.

    The first line is a header where ``part.header`` is yes; under auto, where one of its cells is not a number.

    Raises:
        DataError: naming the line and the cell that is wrong, or the memory that the rows would take.
    """
    lines = numbered_lines(where, unpack(where, file))
    top = next(lines, None)
    if top is None:
        raise DataError(f"{where}: has no rows; give at least two")
    first, names = header_of(where, top, part)
    chosen = choose_columns(where, part.columns, names, len(first))
    values = bytearray()  # it grows in place: no second copy is held while it does
    for block in blocks_of(lines if names is not None else chain([top], lines)):
        values += rows_of(where, block, len(first), chosen).tobytes()
        check_fits(where, len(values) // 8, 8)
    if not values:
        raise DataError(f"{where}: has a header and no rows; give at least two")
    picked = range(len(first)) if chosen is None else chosen
    called = () if names is None else tuple(names[column] for column in picked)
    return called, np.frombuffer(values, np.float64).reshape(-1, len(picked))


def csv_names(where: str, file: BinaryIO, part: Part) -> tuple[str, ...]:
    """Return the names of the columns that are taken, from the first line alone; none without a header.

    Raises:
        DataError: as :func:`parse_named` does for the first line.
    """
    top = next(numbered_lines(where, unpack(where, file)), None)
    first, names = header_of(where, top, part) if top is not None else ([], None)
    if names is None:
        return ()
    chosen = choose_columns(where, part.columns, names, len(first))
    return tuple(names if chosen is None else (names[column] for column in chosen))


def header_of(where: str, top: Line, part: Part) -> tuple[list[str], list[str] | None]:
    """Return the cells of the first line, and the names of the columns where it is a header.

    Raises:
        DataError: it has too many cells.
    """
    check_cells(where, top[1])
    first = next(csv.reader([top[1]]))
    named = part.header == "yes" or (part.header == "auto" and not all(is_number(cell) for cell in first))
    return first, [cell.strip() for cell in first] if named else None


def numbered_lines(where: str, file: BinaryIO) -> Iterator[Line]:
    """Return the lines of a file that are not blank, with their numbers from 1.

    Raises:
        DataError: they are not UTF-8, or too long.
    """
    number = place = 0
    while piece := file.readline(LONGEST_LINE + 1):
        check_line(where, len(piece))
        try:
            text = piece.decode("utf-8-sig" if place == 0 else "utf-8")
        except UnicodeDecodeError as fault:
            raise DataError(f"{where}: is not text (byte {place + fault.start}); give CSV in UTF-8") from fault
        place += len(piece)
        for line in text.splitlines():
            number += 1
            if line.strip():
                yield number, line


def blocks_of(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Cut lines into blocks that take about :data:`BLOCK` bytes each."""
    block: list[Line] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line[1]) + 150  # what Python keeps about a line
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def rows_of(where: str, block: list[Line], width: int, chosen: list[int] | None) -> Array:
    """Return the chosen columns of lines of ``width`` cells, float64 ``[N, columns]``.

    Raises:
        DataError: naming the line and the cell that is wrong.
    """
    for number, line in block:
        cells = line.count(",") + 1 if '"' not in line else len(next(csv.reader([line])))
        if cells != width:
            raise DataError(
                f"{where}: line {number} has {cells} cells, the first line {width}; give every line as many"
            )
    try:
        return np.loadtxt(
            (line for _, line in block), delimiter=",", ndmin=2, usecols=chosen, quotechar='"', comments=None
        )
    except ValueError as fault:
        raise DataError(
            f"{where}: {first_bad_cell(block, width, chosen) or f'{quoted(fault)}; give numbers only'}"
        ) from fault


def is_number(cell: str) -> bool:
    """Return whether a CSV cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def choose_columns(where: str, columns: str, header: list[str] | None, width: int) -> list[int] | None:
    """Return the numbers of the columns that ``columns`` names; None for all.

    Args:
        columns: comma-separated header names, or numbers and ranges from 0 (``0,3-5``); empty for all.
        header: the names of the ``width`` columns, where they have names.

    Raises:
        DataError: a name or number that the file does not have.
    """
    if not columns:
        return None
    chosen = []
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
    return chosen


def first_bad_cell(body: list[tuple[int, str]], width: int, chosen: list[int] | None) -> str:
    """Return where the first chosen cell that is not a number lies, in words; empty where there is none."""
    for (number, _), cells in zip(body, csv.reader(line for _, line in body), strict=False):
        for column in range(width) if chosen is None else chosen:
            if not is_number(cells[column]):
                value = repr(cells[column][:40]) if cells[column].strip() else "empty"
                return f"line {number}, column {column} is {value}, not a number; choose numeric columns with --columns"
    return ""
