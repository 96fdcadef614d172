"""Who used what: pairs of user and item as 0/1 rows that are never dense as a whole."""

from __future__ import annotations

import csv
import gzip
import io
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aecompress.errors import DataError

Floats = NDArray[np.float32]
PREFIX = "interactions:"
FEW = 512
"""Rows of a sparse set that are made dense where some stand for all: files are verified on them."""


USER_NAMES = ("user", "users", "userid", "user_id", "user id", "uid")
"""First cells that make the first line a header."""


@dataclass(frozen=True)
class SparseRows:
    """N rows of D zeros and ones, kept as the places of the ones; looks like an array where it has to."""

    starts: NDArray[np.int64]
    """``[N + 1]``: row i's ones are at ``places[starts[i]:starts[i + 1]]``."""
    places: NDArray[np.int32]
    inputs: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, D)``."""
        return len(self), self.inputs

    @property
    def size(self) -> int:
        """Values that are held."""
        return len(self.places) + len(self.starts)

    def __getitem__(self, which: slice) -> Floats:
        """A stretch of rows, dense."""
        first, last, step = which.indices(len(self))
        assert step == 1
        rows = np.zeros((max(last - first, 0), self.inputs), dtype=np.float32)
        counts = np.diff(self.starts[first : last + 1])
        rows[np.repeat(np.arange(len(rows)), counts), self.places[self.starts[first] : self.starts[last]]] = 1
        return rows

    def pick(self, index: NDArray[np.int64]) -> SparseRows:
        """Some rows, sparse."""
        counts = self.starts[index + 1] - self.starts[index]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        return SparseRows(starts, self.places[np.repeat(self.starts[index], counts) + within], self.inputs)

    def mean(self, axis: int | None = None, dtype: DTypeLike = float) -> NDArray[np.float64]:
        """Share of ones: of each input under axis 0, else of all values."""
        share = np.bincount(self.places, minlength=self.inputs) / max(len(self), 1)
        return np.asarray(share if axis == 0 else share.mean(), dtype=dtype)


Rows = Floats | SparseRows


def few(rows: Rows) -> Floats:
    """Dense rows: all of them, or the first of a sparse set."""
    return rows[:FEW] if isinstance(rows, SparseRows) else rows


def read_interactions(source: str, columns: str, header: str, directory: Path) -> tuple[SparseRows, list[str]]:
    """The users of a CSV file (or ``.csv.gz``) as rows, and the items that its inputs stand for.

    Users and items are numbered as they first come up; a pair that comes again counts once.

    Args:
        source: ``interactions:FILE``.
        columns: two names or numbers, user then item; empty: the first two.
        header: whether the first line names the columns; auto: when its first cell is a usual name of users
            (:data:`USER_NAMES`).

    Raises:
        DataError: naming the file, the line and the cure.
    """
    path = directory / source.removeprefix(PREFIX)
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    rows, places = array("q"), array("q")
    try:
        with path.open("rb") as data, text_of(path, data) as file:
            lines = csv.reader(file, delimiter=separator(file))
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
                rows.append(users.setdefault(cells[chosen[0]], len(users)))
                places.append(items.setdefault(cells[chosen[1]], len(items)))
    except OSError as fault:
        raise DataError(
            f"{path}: cannot be read ({fault.strerror or fault}); name a CSV file of users and items"
        ) from fault
    except (UnicodeDecodeError, EOFError, csv.Error) as fault:
        raise DataError(f"{path}: is not CSV text ({fault}); write lines of user,item in UTF-8") from fault
    if len(users) < 2 or len(items) < 2:
        raise DataError(f"{path}: has {len(users)} users and {len(items)} items; give at least two of each")
    pairs = np.unique(np.frombuffer(rows, np.int64) * len(items) + np.frombuffer(places, np.int64))
    owners, used = np.divmod(pairs, len(items))
    starts = np.searchsorted(owners, np.arange(len(users) + 1)).astype(np.int64)
    return SparseRows(starts, used.astype(np.int32), len(items)), list(items)


def text_of(path: Path, data: BinaryIO) -> TextIO:
    """The text of a file, unpacked where its name ends in .gz."""
    unpacked = gzip.GzipFile(fileobj=data) if path.suffix == ".gz" else data
    return io.TextIOWrapper(cast(BinaryIO, unpacked), encoding="utf-8-sig", newline="")


def separator(file: TextIO) -> str:
    """What stands between the cells: a tab where the first line has one, as in the Million Song triplets."""
    first = file.readline()
    file.seek(0)
    return "\t" if "\t" in first else ","


def two_columns(path: Path, columns: str, first: list[str], named: bool) -> tuple[int, int]:
    """The places of user and item in a line.

    Raises:
        DataError: there are not two, or the file has no such column.
    """
    asked = [part.strip() for part in columns.split(",")] if columns else ["0", "1"]
    found = []
    for part in asked:
        if named and part in first:
            found.append(first.index(part))
        elif part.isdigit() and int(part) < len(first):
            found.append(int(part))
        else:
            has = ", ".join(first) if named else f"columns 0 to {len(first) - 1}"
            raise DataError(f"{path}: has no column {part!r} (data.columns, --columns); it has {has[:200]}")
    if len(found) != 2:
        raise DataError(f"{path}: data.columns = {columns!r} names {len(found)} columns; name user and item")
    return found[0], found[1]
