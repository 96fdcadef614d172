"""``interactions:FILE``: a CSV file of user,item pairs, read as sparse rows of users."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from aecompress.data.base import Raw, Request
from aecompress.data.sources.limits import LONGEST_LINE, check_cells, check_line
from aecompress.data.sources.packed import unpack
from aecompress.data.sparse import SparseRows
from aecompress.errors import DataError
from aecompress.parsing import decimal, quoted

USER_NAMES = ("user", "users", "userid", "user_id", "user id", "uid")
"""First cells that make the first line a header."""


def read_interactions(request: Request) -> Raw[SparseRows]:
    """Read the users of a file of interactions; the notes give their number and density.

    Raises:
        DataError: naming the file, the line and the cure.
    """
    path = request.directory / request.source.partition(":")[2]
    users, items = users_and_items(path, request.columns, request.header)
    ones = len(users.places)
    return Raw(
        name=path.name.partition(".")[0],
        train=users,
        notes={"interactions": float(ones), "density": ones / (len(users) * users.inputs)},
        inputs=tuple(items),
    )


def users_and_items(path: Path, columns: str = "", header: str = "auto") -> tuple[SparseRows, list[str]]:
    """Return the users of a CSV file (or ``.csv.gz``) as rows, and the names of the items that the inputs stand for.

    Users and items are numbered in the order in which they first occur; a repeated pair counts once.

    Args:
        columns: two names or numbers, user then item; empty: the first two.
        header: whether the first line names the columns; auto: when its first cell is a usual name of users
            (:data:`USER_NAMES`).

    Raises:
        DataError: naming the file, the line and the cure.
    """
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    owners, places = array("q"), array("q")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: cannot be read (not a file); name a CSV file of users and items")
    try:
        with path.open("rb") as data, text_of(path, data) as file:
            content = bounded_lines(path, file)
            top = next(content, "")
            lines = csv.reader(chain([top], content), delimiter="\t" if "\t" in top else ",")
            chosen: tuple[int, int] | None = None
            for cells in lines:
                if not cells:
                    continue
                if chosen is None:
                    named = header == "yes" or (header == "auto" and cells[0].strip().lower() in USER_NAMES)
                    chosen = two_columns(path, columns, [cell.strip() for cell in cells], named)
                    if named:
                        continue
                if len(cells) <= max(chosen):
                    raise DataError(
                        f"{path}: line {lines.line_num} has {len(cells)} cells; a user and an item are needed"
                    )
                owners.append(users.setdefault(cells[chosen[0]], len(users)))
                places.append(items.setdefault(cells[chosen[1]], len(items)))
    except OSError as fault:
        raise DataError(
            f"{path}: cannot be read ({fault.strerror or fault}); name a CSV file of users and items"
        ) from fault
    except (UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: is not CSV text ({fault}); write lines of user,item in UTF-8") from fault
    if len(users) < 2 or len(items) < 2:
        raise DataError(f"{path}: has {len(users)} users and {len(items)} items; give at least two of each")
    return sparse_rows(owners, places, len(users), len(items)), list(items)


def sparse_rows(owners: array[int], places: array[int], users: int, items: int) -> SparseRows:
    """Return rows ``[users, items]`` with ones at the pairs (owner, place); a repeated pair counts once."""
    pairs = np.unique(np.frombuffer(owners, np.int64) * items + np.frombuffer(places, np.int64))
    rows, columns = np.divmod(pairs, items)
    starts = np.searchsorted(rows, np.arange(users + 1)).astype(np.int64)
    return SparseRows(starts, columns.astype(np.int32), items)


def text_of(path: Path, data: BinaryIO) -> TextIO:
    """Return the text of a file, decompressed where it is gzip; reading raises DataError where that is damaged."""
    return io.TextIOWrapper(unpack(str(path), data), encoding="utf-8-sig", newline="")


def bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    """Return the lines of a file, with their ends.

    Raises:
        DataError: one is too long.
    """
    while line := file.readline(LONGEST_LINE + 1):
        check_line(str(path), len(line))
        check_cells(str(path), line)
        yield line


def two_columns(path: Path, columns: str, first: list[str], named: bool) -> tuple[int, int]:
    """Return the columns of user and item.

    Args:
        first: the cells of the first line, which are names where ``named``.

    Raises:
        DataError: there are not two, or the file has no such column.
    """
    found = []
    for part in [part.strip() for part in columns.split(",")] if columns else ["0", "1"]:
        if named and part in first:
            found.append(first.index(part))
        elif (number := decimal(part)) is not None and number < len(first):
            found.append(number)
        else:
            has = ", ".join(first) if named else f"columns 0 to {len(first) - 1}"
            raise DataError(
                f"{path}: has no column {quoted(repr(part))} (data.columns, --columns); it has {quoted(has)}"
            )
    if len(found) != 2:
        raise DataError(
            f"{path}: data.columns = {quoted(repr(columns))} names {len(found)} columns; name user and item"
        )
    return found[0], found[1]
