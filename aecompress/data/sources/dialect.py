"""How a file of lines is written: its delimiter, decimal sign, comments and header, seen from its first lines."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aecompress.data.base import Part
from aecompress.data.sources.limits import check_cells
from aecompress.errors import DataError

csv.field_size_limit(1 << 31)  # a cell of any length gets a message of ours, not an error of the csv module

LOOKED_AT = 200
"""Lines from which the rest is inferred."""
DELIMITERS = (",", ";", "\t", "|", " ")
"""A space stands for any run of white space."""
MISSING = frozenset(
    (
        *("", "nan", "-nan", "nan(ind)", "-nan(ind)", "1.#qnan", "-1.#ind", "na", "n/a", "<na>", "nat", "null", "none"),
        *("nil", "\\n", "missing", "undefined", "?", "-", "--", ".", "#n/a", "#div/0!", "#value!", "#ref!", "#num!"),
    )
)
"""Usual words for a missing value, in small letters."""
TRUTH = {"true": 1.0, "false": 0.0}
COMMA_NUMBER = re.compile(r"[+-]?\d+(\.\d{3})*,\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}.*)?")
DRESSED = re.compile(
    r"[+-]?[$€£¥]?[+-]?\d+([.,]\d+)*([eEdD][+-]?\d+)?[ \u00a0]?[%$€£¥]?|[+-]?\d{1,3}([ \u00a0\u202f']\d{3})+([.,]\d+)?"
)
"""Numbers with a currency or a percent sign, Fortran's exponent, or spaces between thousands."""
MOST_TITLES = 20
"""Lines above the columns that are taken as titles."""

Line = tuple[int, str]
"""The number of a line, from 1, and its text."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How the cells of a file are written."""

    width: int
    """Cells of each line."""
    delimiter: str = ","
    decimal_comma: bool = False
    comments: bool = False
    """Whether lines that begin with # are comments."""
    skip: int = 0
    """Lines above the first row."""
    names: tuple[str, ...] | None = None
    """Of the columns, where a line names them."""
    ended: bool = False
    """Whether a delimiter ends every line, so that the last cell is none."""
    spaced: bool = False
    """Whether spaces stand between delimiters and cells."""
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> int:
        """Return the number of columns."""
        return self.width - self.ended


def dialect_of(where: str, start: bytes, part: Part) -> Dialect:
    """Return how a file is written, from its first block.

    Raises:
        DataError: it has no rows, or a line of too many cells.
    """
    lines, comments, marked = first_lines(start)
    if not lines:
        raise DataError(f"{where}: has no rows; give at least two")
    check_cells(where, lines[0][1])
    above = titles_in([text for _, text in lines])
    titles, lines = lines[:above], lines[above:]
    texts = [text for _, text in lines]
    delimiter = marked or delimiter_of(texts)
    rows = squared([cells_of(text, delimiter) for text in texts])
    ended = len(rows[0]) > 1 and all(len(row) == len(rows[0]) and not row[-1].strip() for row in rows)
    decimal_comma, why = decimal_of(rows, delimiter)
    if decimal_comma and delimiter == "," and not any('"' in text for text in texts):
        delimiter, rows, ended = ";", [[text.strip()] for text in texts], False
    notes = [f"cells are separated by {_spoken(delimiter)}"] * (delimiter != "," and len(rows[0]) > 1)
    notes += [why] * bool(why)
    if titles:
        upto = f"lines {titles[0][0]} to {titles[-1][0]} are titles" if above > 1 else f"line {titles[0][0]} is a title"
        notes.append(f"{upto} ({titles[0][1].strip()[:40]!r}), left out")
    if ended:
        rows = [row[:-1] for row in rows]
        notes.append("a delimiter ends every line")
    if comments and all(text.lstrip().startswith("#") for _, text in comments):
        notes.append("lines that begin with # are comments")
    names, header, about = header_of(rows, part.header, decimal_comma)
    if names is None and comments and part.header != "no":
        names = _of_comment(comments[-1][1], delimiter, len(rows[0]))
        about = "a comment names the columns" if names is not None else about
    notes += [about] * bool(about)
    if names is not None and (unlike := distinct(names)) != names:
        again = next(name for name, given in zip(unlike, names, strict=True) if name != given)
        names = unlike
        notes.append(f"columns of one name are numbered, as in {again!r:.60}")
    skip = lines[0][0] - 1
    if header:
        skip = lines[1][0] - 1 if len(lines) > 1 else start.count(b"\n") + 1
        if (units := units_of(rows)) and len(lines) > 2:
            skip = lines[2][0] - 1
            notes.append(f"line {lines[1][0]} holds units ({units}) and is left out")
    return Dialect(
        width=len(rows[0]) + ended,
        delimiter=delimiter,
        decimal_comma=decimal_comma,
        comments=bool(comments),
        skip=skip,
        names=names,
        ended=ended,
        spaced=delimiter != " " and any(f"{delimiter} " in text for text in texts),
        notes=tuple(notes),
    )


def first_lines(start: bytes) -> tuple[list[Line], list[Line], str]:
    """Return the first lines that are not blank, the comments above them, and the delimiter of a line ``sep=;``.

    The next line is part of one that ends within quotes.
    """
    lines: list[Line] = []
    comments: list[Line] = []
    marked = ""
    physical = start.split(b"\n", LOOKED_AT * 4)
    if len(physical) > LOOKED_AT * 4:
        physical.pop()
    number = 0
    while number < len(physical) and len(lines) < LOOKED_AT:
        text, first = physical[number], number + 1
        number += 1
        while text.count(b'"') % 2 and number < len(physical):
            text += b"\n" + physical[number]
            number += 1
        line = text.decode("utf-8", "replace")
        if not line.strip():
            continue
        if not lines and re.fullmatch(r"sep=.", line.strip("\r\n")):
            marked = line[4]
        elif line.lstrip().startswith("#") and (comments or not lines):
            if not lines:
                comments.append((first, line))
        else:
            lines.append((first, line))
    return lines, comments, marked


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of which none is given twice, as pandas does: ``a``, ``a.1``, ``a.2``; empty ones stay."""
    given, taken, found = set(names), set[str](), []
    for name in names:
        fresh, count = name, 0
        while fresh and (fresh in taken or (count and fresh in given)):
            count += 1
            fresh = f"{name}.{count}"
        taken.add(fresh)
        found.append(fresh)
    return tuple(found)


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line."""
    if delimiter == " ":
        return next(csv.reader([" ".join(line.split())], delimiter=" "), [])
    if '"' in line:
        return next(csv.reader([line.replace("\n", " ")], delimiter=delimiter, skipinitialspace=True), [])
    cells = line.split(delimiter)
    return [unquoted(cell) for cell in cells] if "'" in line else cells


def unquoted(cell: str) -> str:
    """Return a cell without single quotes around it."""
    cell = cell.strip()
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == "'" else cell


def delimiter_of(texts: Sequence[str]) -> str:
    """Return the delimiter by which most lines have the same number of cells, most of them numbers."""
    best, most = ",", 0.0
    for delimiter in DELIMITERS:
        rows = squared([cells_of(text, delimiter) for text in texts])
        width = len(rows[0])
        if width == 1:
            continue
        fitting = [row for row in rows if len(row) == width]
        cells = [cell for row in fitting[1:] or fitting for cell in row]
        comma = delimiter != ","
        read = sum(is_readable(cell, comma) for cell in cells) / len(cells)
        score = len(fitting) / len(rows) * (read + 0.01)
        if score > most + 1e-9:
            best, most = delimiter, score
    return best


def squared(rows: list[list[str]]) -> list[list[str]]:
    """Return rows with an empty cell before the header, where it has none for the names or numbers of rows, as in R."""
    first, body = rows[0], rows[1:]
    if len(body) < 2 or len(first) < 2 or any(len(row) != len(first) + 1 for row in body):
        return rows
    called = [row[0].strip() for row in body]
    numbered = called == [str(place) for place in range(1, len(body) + 1)]
    named = not any(map(is_number, (*called, *first)))
    return [["", *first], *body] if (numbered or named) and any(row[-1].strip() for row in body) else rows


def is_readable(cell: str, comma: bool = False) -> bool:
    """Return whether a cell is a number, a date, true or false, or a usual word for a missing value."""
    cell = cell.strip().replace("\u2212", "-")
    return (
        is_number(cell)
        or DRESSED.fullmatch(cell) is not None
        or cell.lower() in MISSING
        or cell.lower() in TRUTH
        or DATE.fullmatch(cell) is not None
        or (comma and COMMA_NUMBER.fullmatch(cell) is not None)
        or THOUSANDS.fullmatch(cell) is not None
    )


def is_number(cell: str) -> bool:
    """Return whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def decimal_of(rows: Sequence[Sequence[str]], delimiter: str) -> tuple[bool, str]:
    """Return whether numbers have a decimal comma, and why that is assumed, as a clause.

    Two columns of whole numbers, the second with leading zeros, are one with a decimal comma.
    """
    body = [[cell.strip() for cell in row] for row in (rows[1:] or rows)]
    if delimiter == "," and len(rows[0]) == 2:
        whole = all(len(row) == 2 and re.fullmatch(r"[+-]?\d+", row[0]) and row[1].isdecimal() for row in body)
        if whole and any(len(row[1]) > 1 and row[1][0] == "0" for row in body):
            return True, "numbers have a decimal comma, in one column"
    cells = [cell for row in body for cell in row]
    commas = [cell for cell in cells if COMMA_NUMBER.fullmatch(cell)]
    grouped = all(THOUSANDS.fullmatch(cell) for cell in commas)
    if not commas or (grouped and (delimiter == "," or any(POINT_NUMBER.fullmatch(cell) for cell in cells))):
        return False, ""
    return True, "numbers have a decimal comma"


def header_of(
    rows: Sequence[Sequence[str]], header: str, decimal_comma: bool
) -> tuple[tuple[str, ...] | None, bool, str]:
    """Return the names of the columns, whether the first line names them, and what is assumed of it, as a clause.

    It does where ``header`` is yes; under auto, where it has a text in a column of other cells, or its cells are the
    numbers of the columns.
    """
    first = [cell.strip() for cell in rows[0]]
    names = tuple(first)
    if header == "yes":
        return names, True, ""
    if header == "no":
        return None, False, ""
    body = [row for row in rows[1:] if len(row) == len(first)]

    def reads(cell: str) -> bool:
        return is_readable(cell, decimal_comma)

    texts = [place for place, cell in enumerate(first) if not reads(cell)]
    if not texts and body and all(DATE.fullmatch(cell) for cell in first):
        dates = sum(DATE.fullmatch(cell.strip()) is not None for row in body for cell in row)
        if not dates:
            return names, True, "the first line, of dates, names the columns"
    if not texts:
        return (
            (names, True, f"the first line, {first[0] or 'no name'} to {first[-1]}, numbers the columns")
            if (numbers_columns(first, body))
            else (None, False, "")
        )
    broken = any(
        is_number(cell) and re.search(r"\d", cell) and not cell.isdecimal() for cell in first
    )  # inf may be a name
    if not body:
        return (None, False, "") if broken else (names, True, "")
    over = [place for place in texts if sum(reads(row[place]) for row in body) * 2 >= len(body)]
    below = {row[place].strip() for row in body for place in texts}
    named = bool(over) or (len(texts) == len(first) and not below & {first[place] for place in texts})
    return (names, True, "") if named and not broken else (None, False, "")


def numbers_columns(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Return whether a line of numbers is a header: 0 to n - 1, or these after an empty cell.

    It is a row where the lines below it count on, or, of two columns, hold whole numbers too.
    """
    if steps_evenly(first) and body:
        return not any(cell.strip().lstrip("+-").isdecimal() for row in body for cell in row)
    unnamed = first[0] == ""
    expected = [str(place) for place in range(len(first) - unnamed)]
    if len(first) < 2 or list(first[unnamed:]) != expected or not body:
        return False
    if unnamed:
        return True
    if all(cell.strip().isdecimal() for cell in body[0]) and int(body[0][0]) == len(first):
        return False
    return len(first) > 2 or any(not cell.strip().lstrip("+-").isdecimal() for row in body for cell in row)


def steps_evenly(cells: Sequence[str]) -> bool:
    """Return whether cells are at least three whole numbers above 0 that rise in equal steps, as years do."""
    if len(cells) < 3 or not all(cell.isascii() and cell.isdecimal() and len(cell) < 9 for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    step = numbers[1] - numbers[0]
    return numbers[0] > 0 and step > 0 and all(b - a == step for a, b in itertools.pairwise(numbers))


def titles_in(texts: Sequence[str]) -> int:
    """Return how many lines above the columns are titles: lines of one text, above at least three of several cells."""
    for delimiter in DELIMITERS[:-1]:
        rows = [cells_of(text, delimiter) for text in texts]
        width = len(rows[-1])
        count = next((place for place, row in enumerate(rows) if len(row) == width), 0)
        if not 0 < count <= MOST_TITLES:
            continue
        even = all(len(row) == width for row in rows[count:])
        texts_only = not any(is_readable(text) or set(text) & set(DELIMITERS[:-1]) for text in texts[:count])
        plausible = width > 1 and even and texts_only and len(rows) - count > 3
        if plausible and delimiter_of(texts[count:]) == delimiter:
            return count
    return 0


def units_of(rows: Sequence[Sequence[str]]) -> str:
    """Return the units that stand below a header, as a text; empty where numbers or texts begin at once.

    They are texts in the second line alone, in columns of numbers.
    """
    if len(rows) < 3 or len(rows[1]) != len(rows[0]):
        return ""
    second, body = [cell.strip() for cell in rows[1]], [row for row in rows[2:] if len(row) == len(rows[0])]
    read = any(is_readable(cell, comma=True) and cell.lower() not in MISSING for cell in second)
    if not body or read or any(len(cell) > 12 for cell in second) or not any(second):
        return ""
    named = [place for place, cell in enumerate(second) if cell.lower() not in MISSING or cell == "-"]
    over = all(sum(is_number(row[place].replace(",", ".")) for row in body) == len(body) for place in named)
    return ", ".join(second[:6]) if over and len(named) * 2 >= len(second) else ""


def _of_comment(text: str, delimiter: str, width: int) -> tuple[str, ...] | None:
    """Return the names that a comment lists above rows without a header; None where it does not."""
    cells = [cell.strip() for cell in cells_of(text.lstrip().lstrip("#").strip(), delimiter)]
    if len(cells) != width or any(is_readable(cell) for cell in cells):
        return None
    return tuple(cells)


def _spoken(delimiter: str) -> str:
    return {"\t": "tabs", " ": "white space"}.get(delimiter, repr(delimiter))
