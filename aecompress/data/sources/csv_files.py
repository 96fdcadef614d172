"""CSV files of numbers, gzip or not."""

from __future__ import annotations

import csv

import numpy as np

from aecompress.data.base import Array, Part
from aecompress.data.sources.gzipped import gunzip
from aecompress.errors import DataError
from aecompress.parsing import decimal, quoted

csv.field_size_limit(1 << 31)  # a cell of any length gets a message of ours, not an error of the csv module


def parse_csv(where: str, data: bytes, part: Part) -> Array:
    """Return rows of comma-separated numbers, float64 ``[N, D]``.

    The first line is a header where ``part.header`` is yes; under auto, where one of its cells is not a number.

    Raises:
        DataError: naming the line and the cell that is wrong.
    """
    try:
        text = gunzip(where, data).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise DataError(f"{where}: is not text (byte {fault.start}); give CSV in UTF-8") from fault
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise DataError(f"{where}: has no rows; give at least two")
    first = next(csv.reader([lines[0][1]]))
    named = part.header == "yes" or (part.header == "auto" and not all(is_number(cell) for cell in first))
    names = [cell.strip() for cell in first] if named else None
    body = lines[1:] if named else lines
    if not body:
        raise DataError(f"{where}: has a header and no rows; give at least two")
    chosen = choose_columns(where, part.columns, names, len(first))
    for number, line in body:
        cells = line.count(",") + 1 if '"' not in line else len(next(csv.reader([line])))
        if cells != len(first):
            raise DataError(
                f"{where}: line {number} has {cells} cells, the first line {len(first)}; give every line as many"
            )
    try:
        return np.loadtxt(
            (line for _, line in body), delimiter=",", ndmin=2, usecols=chosen, quotechar='"', comments=None
        )
    except ValueError as fault:
        raise DataError(
            f"{where}: {first_bad_cell(body, len(first), chosen) or f'{fault}; give numbers only'}"
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
